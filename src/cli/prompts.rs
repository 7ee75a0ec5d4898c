//! `otklik prompts`: list, show, render, answer and check ready-made prompts.

mod answer;

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use otklik::assembly;
use otklik::config::Config;
use otklik::prompts::{Prompt, PromptError, PromptFilesError, PromptLanguage, PromptOrigin, PromptSet, RenderedPrompt};
use serde::Serialize;
use serde_json::Value;

use self::answer::{AnswerArgs, answer};
use super::BAD_INPUT;

/// The longest input that is read, in bytes for each character that it may have.
const BYTES_PER_CHAR: u64 = 8;

/// What to do with prompts.
#[derive(Debug, Subcommand)]
pub enum PromptsCommand {
    /// List the prompts: those that come with the program, and those of `prompts.dir`
    #[command(after_help = "Examples:\n  otklik prompts list\n  otklik prompts list --json | jq '.[].id'")]
    List {
        /// Only those of this language: ru or en
        #[arg(long, value_name = "CODE")]
        language: Option<PromptLanguage>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the file of a prompt: what it is for, what it takes and gives, its examples and its body
    #[command(after_help = "Examples:\n  otklik prompts show draft-reply --language en > my-prompts/draft-reply.en.md")]
    Show(PromptArgs),
    /// Show what a model would read
    #[command(
        after_help = "Examples:\n  otklik prompts render draft-reply --example\n  otklik prompts render draft-reply \
                            --input appeal.json --json"
    )]
    Render {
        #[command(flatten)]
        prompt: PromptArgs,
        #[command(flatten)]
        input: InputArgs,
        /// Print JSON: messages, schema of the answer, most tokens
        #[arg(long)]
        json: bool,
    },
    /// Let the language model answer a prompt
    ///
    /// Prints the answer: JSON as the prompt's output schema has it, or free text, which a terminal shows as it is said. Needs
    /// `models.language_model`, `endpoint.url` or --model.
    #[command(
        after_help = "Examples:\n  otklik prompts run draft-reply --input appeal.json\n  otklik prompts run draft-reply \
                            --example --temperature 0.7 --seed 2"
    )]
    Run {
        #[command(flatten)]
        prompt: PromptArgs,
        #[command(flatten)]
        input: InputArgs,
        #[command(flatten)]
        answer: AnswerArgs,
    },
    /// Check prompts of your own and print every problem of every file
    ///
    /// Exits with 0 if all of them can be used; otherwise prints each problem as `file:line: key: what is wrong` and exits with 2.
    #[command(after_help = "Examples:\n  otklik prompts check my-prompts\n  otklik prompts check draft-reply.ru.md")]
    Check {
        /// A folder, or one file
        path: PathBuf,
    },
}

/// Which prompt.
#[derive(Debug, Args)]
pub struct PromptArgs {
    /// Id of the prompt
    id: String,
    /// Language of its instructions: ru or en [default: ru, or the one there is]
    #[arg(long, value_name = "CODE")]
    language: Option<PromptLanguage>,
}

/// What a prompt is given.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct InputArgs {
    /// A file of the input as JSON; - is standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// An example of the prompt's own [default without a name: the first]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    example: Option<String>,
}

/// An input that can't be read. Nothing of it is quoted.
#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error("{file}: can't be read: {problem}")]
    Read { file: String, problem: io::Error },
    #[error("{file}: has more than {most} bytes; prompts.max_input_chars is {chars}")]
    TooLong { file: String, most: u64, chars: usize },
    #[error("{file}:{line}:{column}: is not JSON", line = .problem.line(), column = .problem.column())]
    Json { file: String, problem: serde_json::Error },
    #[error("the prompt has no example {name:?}; it has: {there}")]
    Example { name: String, there: String },
}

/// Runs the command and says how the process should exit: 0, or 2 for what the caller can mend.
///
/// # Errors
/// If the model fails or nothing can be written. A reader that closed the pipe is no error.
pub fn run(command: PromptsCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let text = match act(command, config) {
        Ok(text) => text,
        Err(error) => {
            if let Some(invalid) = error.downcast_ref::<PromptFilesError>() {
                let count = invalid.count();
                let found = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
                anstream::eprintln!("{invalid}\n{found}");
                return Ok(ExitCode::from(BAD_INPUT));
            }
            if is_bad_input(&error) {
                anstream::eprintln!("otklik: {error:#}");
                return Ok(ExitCode::from(BAD_INPUT));
            }
            return Err(error);
        }
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn is_bad_input(error: &anyhow::Error) -> bool {
    error.downcast_ref::<InputError>().is_some() || error.downcast_ref::<PromptError>().is_some()
}

fn act(command: PromptsCommand, config: &Config) -> anyhow::Result<String> {
    match command {
        PromptsCommand::List { language, json } => list(&assembly::open_prompts(config)?.current(), language, json),
        PromptsCommand::Show(prompt) => Ok(find(&prompt, config)?.source().to_owned()),
        PromptsCommand::Render { prompt, input, json } => shown(&render(&prompt, &input, config)?, json),
        PromptsCommand::Run { prompt, input, answer: args } => answer(render(&prompt, &input, config)?, &args, config),
        PromptsCommand::Check { path } => check(&path),
    }
}

/// A prompt for JSON.
#[derive(Serialize)]
struct Listed<'p> {
    id: &'p str,
    language: PromptLanguage,
    version: u64,
    title: &'p str,
    purpose: &'p str,
    max_tokens: usize,
    tried_on: &'p [String],
    sha256: &'p str,
    /// `null` for those that come with the program.
    file: Option<String>,
}

fn list(set: &PromptSet, language: Option<PromptLanguage>, json: bool) -> anyhow::Result<String> {
    let prompts = set.prompts().filter(|prompt| language.is_none_or(|asked| prompt.identity().language == asked));
    let listed: Vec<Listed<'_>> = prompts
        .map(|prompt| Listed {
            id: &prompt.identity().id,
            language: prompt.identity().language,
            version: prompt.identity().version,
            title: prompt.title(),
            purpose: prompt.purpose(),
            max_tokens: prompt.max_tokens(),
            tried_on: prompt.tried_on(),
            sha256: &prompt.identity().sha256,
            file: match prompt.origin() {
                PromptOrigin::BuiltIn => None,
                PromptOrigin::File(path) => Some(path.display().to_string()),
            },
        })
        .collect();
    if json {
        return Ok(format!("{}\n", serde_json::to_string_pretty(&listed)?));
    }
    let width = listed.iter().map(|prompt| prompt.id.len()).max().unwrap_or_default().max("ID".len());
    let mut text = format!("{:width$}  LANGUAGE  VERSION  TITLE\n", "ID");
    for prompt in &listed {
        let Listed { id, language, version, title, file, .. } = prompt;
        write!(text, "{id:width$}  {language:8}  {version:<7}  {title}")?;
        if let Some(file) = file {
            write!(text, "  ({file})")?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn find(args: &PromptArgs, config: &Config) -> anyhow::Result<Arc<Prompt>> {
    let set = assembly::open_prompts(config)?.current();
    Ok(Arc::clone(set.get(&args.id, args.language)?))
}

fn render(args: &PromptArgs, input: &InputArgs, config: &Config) -> anyhow::Result<RenderedPrompt> {
    let prompt = find(args, config)?;
    let input = match (&input.input, &input.example) {
        (Some(path), _) => read_input(path, config.prompts.max_input_chars)?,
        (None, name) => example(&prompt, name.as_deref().unwrap_or_default())?,
    };
    Ok(prompt.render(&input, &assembly::prompt_limits(config))?)
}

/// The input of an example; an empty name is the first.
fn example(prompt: &Prompt, name: &str) -> Result<Value, InputError> {
    let found = prompt.examples().iter().find(|example| name.is_empty() || example.name == name);
    found.map(|example| example.input.clone()).ok_or_else(|| {
        let there: Vec<&str> = prompt.examples().iter().map(|example| example.name.as_str()).collect();
        InputError::Example { name: name.to_owned(), there: there.join(", ") }
    })
}

fn read_input(path: &Path, chars: usize) -> Result<Value, InputError> {
    let is_stdin = path == Path::new("-");
    let file = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let most = (chars as u64).saturating_mul(BYTES_PER_CHAR);
    let mut bytes = Vec::new();
    let read = if is_stdin {
        io::stdin().lock().take(most + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|opened| opened.take(most + 1).read_to_end(&mut bytes))
    };
    match read {
        Err(problem) => Err(InputError::Read { file, problem }),
        Ok(_) if bytes.len() as u64 > most => Err(InputError::TooLong { file, most, chars }),
        Ok(_) => serde_json::from_slice(&bytes).map_err(|problem| InputError::Json { file, problem }),
    }
}

fn shown(rendered: &RenderedPrompt, json: bool) -> anyhow::Result<String> {
    if json {
        let messages: Vec<Value> = rendered
            .messages
            .iter()
            .map(|message| serde_json::json!({"role": message.role, "content": message.content}))
            .collect();
        let whole = serde_json::json!({
            "prompt": rendered.identity(),
            "messages": messages,
            "output_schema": rendered.output_schema,
            "max_tokens": rendered.max_tokens,
        });
        return Ok(format!("{}\n", serde_json::to_string_pretty(&whole)?));
    }
    let messages = rendered.messages.iter().map(|message| format!("=== {}\n{}\n", message.role, message.content));
    Ok(messages.collect())
}

fn check(path: &Path) -> anyhow::Result<String> {
    let set = if path.is_dir() { PromptSet::from_folder(path)? } else { PromptSet::from_files(&[path.to_owned()])? };
    let count = set.len();
    let prompts = if count == 1 { "1 prompt".to_owned() } else { format!("{count} prompts") };
    Ok(format!("ok {}: {prompts}\n", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(id: &str) -> PromptArgs {
        PromptArgs { id: id.to_owned(), language: Some(PromptLanguage::English) }
    }

    fn with_example(name: &str) -> InputArgs {
        InputArgs { input: None, example: Some(name.to_owned()) }
    }

    fn with_file(path: &Path) -> InputArgs {
        InputArgs { input: Some(path.to_owned()), example: None }
    }

    #[test]
    fn a_list_is_aligned_and_names_files_of_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        let source = find(&args("analyse-appeal"), &config).unwrap().source().to_owned();
        std::fs::write(folder.path().join("analyse-appeal.en.md"), source).unwrap();
        config.prompts.dir = Some(folder.path().to_owned());
        let command = |json| PromptsCommand::List { language: Some(PromptLanguage::English), json };
        let text = act(command(false), &config).unwrap();
        let column = |line: &str| line.find("  en  ");
        let columns: Vec<_> = text.lines().skip(1).map(column).collect();
        assert!(columns.len() > 1 && columns.iter().all(|at| at.is_some() && *at == columns[0]), "{text}");
        assert!(text.contains("analyse-appeal.en.md)"), "{text}");
        let listed: Vec<Value> = serde_json::from_str(&act(command(true), &config).unwrap()).unwrap();
        assert_eq!(listed.len(), columns.len());
        assert_eq!(listed.iter().filter(|prompt| !prompt["file"].is_null()).count(), 1);
    }

    #[test]
    fn an_example_and_a_file_render_alike() {
        let (folder, config) = (tempfile::tempdir().unwrap(), Config::default());
        let prompt = find(&args("analyse-appeal"), &config).unwrap();
        let path = folder.path().join("input.json");
        std::fs::write(&path, prompt.examples()[0].input.to_string()).unwrap();
        let from_file = render(&args("analyse-appeal"), &with_file(&path), &config).unwrap();
        let from_example = render(&args("analyse-appeal"), &with_example(""), &config).unwrap();
        assert_eq!(from_file.messages, from_example.messages);
        assert!(shown(&from_file, false).unwrap().starts_with("=== system\n"));
        let json: Value = serde_json::from_str(&shown(&from_file, true).unwrap()).unwrap();
        assert_eq!(json["messages"][1]["role"], "user");
    }

    #[test]
    fn faults_of_an_input_are_told_without_quoting_it() {
        let (folder, config) = (tempfile::tempdir().unwrap(), Config::default());
        let path = folder.path().join("input.json");
        for (content, part) in
            [("{\n\"SECRET\"", ":2:8: is not JSON"), ("{\"text\": \"SECRET\"}", "input.topics: must be given")]
        {
            std::fs::write(&path, content).unwrap();
            let error = render(&args("analyse-appeal"), &with_file(&path), &config).unwrap_err();
            assert!(is_bad_input(&error));
            let told = format!("{error:#}");
            assert!(told.contains(part) && !told.contains("SECRET"), "{told}");
        }
        let error = render(&args("analyse-appeal"), &with_example("none such"), &config).unwrap_err();
        assert!(error.to_string().contains("no example \"none such\"; it has: "), "{error}");
        let error = render(&args("no-such"), &with_example(""), &config).unwrap_err();
        assert!(is_bad_input(&error) && error.to_string().starts_with("no prompt \"no-such\""), "{error}");
    }

    #[test]
    fn a_folder_is_checked_whole() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.en.md"), "nothing").unwrap();
        std::fs::write(folder.path().join("b.en.md"), "nothing").unwrap();
        let error = check(folder.path()).unwrap_err();
        assert_eq!(error.downcast_ref::<PromptFilesError>().map(PromptFilesError::count), Some(2));
    }
}
