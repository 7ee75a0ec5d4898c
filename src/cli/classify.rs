//! `otklik classify`: tags one text, or a table of texts.

mod args;
mod preparation;
mod progress;
mod table;

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use otklik::feedback::{Body, Feedback};
use otklik::tables::{
    DEFAULT_MAX_ROW_BYTES, Destination, Input, InputFormat, OutputFormat, Preparation, ReaderOptions, SplitTurns,
};
use otklik::tagging::{Tagger, TaggingError, Urgency};
use otklik::tags::{Language, Tags};

use self::preparation::preparation;
use self::table::{TableJob, tag_table};
use super::render::{Look, NameLanguage, Names, render};

pub use self::args::{ClassifyArgs, ColumnArgs, OnError};

/// Exit codes beside 0.
const EXIT_BAD_INPUT: u8 = 2;
const EXIT_INTERRUPTED: u8 = 130;

/// Columns of a page that is no terminal.
const PIPE_WIDTH: usize = 100;

/// Endings that make an argument look like the name of a file.
const FILE_ENDINGS: &[&str] =
    &["csv", "tsv", "tab", "jsonl", "ndjson", "json", "txt", "parquet", "xlsx", "xls", "ods", "gz", "zst", "zip"];

/// Why the command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The input or the arguments are at fault.
    Input(anyhow::Error),
    /// Something broke on our side.
    Ours(anyhow::Error),
    /// The person pressed Ctrl-C.
    Interrupted,
    /// Nobody reads our standard output any longer.
    ReaderGone,
}

impl Failure {
    /// The input is at fault.
    pub fn input(error: impl Into<anyhow::Error>) -> Self {
        Self::Input(error.into())
    }
}

/// What to tag.
#[derive(Debug, PartialEq)]
enum Subject {
    Text(String),
    Table(Input),
}

/// Runs the command.
///
/// # Errors
/// A failure of otklik itself; bad input is told here and answered by the exit code.
pub async fn run(
    args: ClassifyArgs,
    tagger: Arc<dyn Tagger>,
    names: &dyn Names,
    split_turns: SplitTurns,
) -> anyhow::Result<ExitCode> {
    match classify(args, tagger, names, split_turns).await {
        Ok(()) | Err(Failure::ReaderGone) => Ok(ExitCode::SUCCESS),
        Err(Failure::Input(error)) => {
            say(&format!("error: {error:#}"));
            Ok(ExitCode::from(EXIT_BAD_INPUT))
        }
        Err(Failure::Interrupted) => {
            say("interrupted");
            Ok(ExitCode::from(EXIT_INTERRUPTED))
        }
        Err(Failure::Ours(error)) => Err(error),
    }
}

async fn classify(
    args: ClassifyArgs,
    tagger: Arc<dyn Tagger>,
    names: &dyn Names,
    split_turns: SplitTurns,
) -> Result<(), Failure> {
    let prepared = preparation(&args, split_turns);
    match subject(&args).map_err(Failure::Input)? {
        Subject::Text(text) => {
            if args.output.is_some() || args.output_format.is_some() {
                let message = "--output and --output-format are for tables; --json prints the tags of a text as JSON";
                return Err(Failure::Input(anyhow!(message)));
            }
            let urgency = Urgency { consult: Some(args.consult), ..Urgency::default() };
            let (body, tags) = tag_text(text, &prepared, tagger.as_ref(), urgency).await?;
            let page = if args.json { as_json(&tags)? } else { as_page(&body, &tags, names, args.language) };
            print(&page)
        }
        Subject::Table(input) => {
            let job = table_job(&args, input, prepared).map_err(Failure::Input)?;
            let summary = tag_table(job, tagger).await?;
            if !args.quiet {
                let language = args.language.unwrap_or_else(|| summary.language());
                say(&summary.in_words(|topic| names.topic(topic, language)));
            }
            Ok(())
        }
    }
}

fn subject(args: &ClassifyArgs) -> anyhow::Result<Subject> {
    if let Some(text) = &args.text {
        return Ok(Subject::Text(text.clone()));
    }
    let input = match (&args.file, &args.input) {
        (Some(path), _) => Input::File(path.clone()),
        (None, Some(given)) if given == "-" => Input::Stdin,
        (None, Some(given)) => match existing_file(given)? {
            Some(path) => Input::File(path),
            None => {
                let text = given.to_str().context("the text is not UTF-8")?;
                return Ok(Subject::Text(text.to_owned()));
            }
        },
        (None, None) => return Err(anyhow!("a text, a file or `-` is wanted")),
    };
    let format = args.format.or(match &input {
        Input::File(path) => InputFormat::of_path(path),
        Input::Stdin => Some(InputFormat::Lines),
    });
    if args.transcript && format == Some(InputFormat::Lines) {
        return whole_text(&input).map(Subject::Text);
    }
    Ok(Subject::Table(input))
}

fn existing_file(given: &OsStr) -> anyhow::Result<Option<PathBuf>> {
    let path = Path::new(given);
    // A text too long for a name, or with a zero byte in it, is an error to the system and simply no file to us.
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(anyhow!("{}: is a folder; a file is wanted", path.display())),
        Ok(_) => Ok(Some(path.to_owned())),
        Err(_) if looks_like_file(path) => {
            Err(anyhow!("{0}: no such file (to tag these very words: --text {0})", path.display()))
        }
        Err(_) => Ok(None),
    }
}

fn looks_like_file(path: &Path) -> bool {
    let has_space = path.to_str().is_some_and(|name| name.contains(char::is_whitespace));
    let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    !has_space && ending.is_some_and(|ending| FILE_ENDINGS.contains(&ending.as_str()))
}

/// A plain text as a whole, of at most as many bytes as a row may have.
fn whole_text(input: &Input) -> anyhow::Result<String> {
    let (name, reader): (String, Box<dyn Read>) = match input {
        Input::File(path) => {
            let name = path.display().to_string();
            let file = std::fs::File::open(path).with_context(|| name.clone())?;
            (name, Box::new(file))
        }
        Input::Stdin => ("standard input".to_owned(), Box::new(io::stdin())),
    };
    let mut bytes = Vec::new();
    reader.take(DEFAULT_MAX_ROW_BYTES as u64 + 1).read_to_end(&mut bytes).with_context(|| name.clone())?;
    if bytes.len() > DEFAULT_MAX_ROW_BYTES {
        return Err(anyhow!("{name}: longer than {DEFAULT_MAX_ROW_BYTES} bytes, the limit of a text"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        anyhow!("{name}: byte {} is not UTF-8; the text must be UTF-8", error.utf8_error().valid_up_to() + 1)
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

fn table_job(args: &ClassifyArgs, input: Input, preparation: Preparation) -> anyhow::Result<TableJob> {
    if args.json {
        return Err(anyhow!("--json is for one text; a table is written as JSON Lines unless told otherwise"));
    }
    let destination = match &args.output {
        Some(path) if path.as_os_str() != "-" => Destination::File(path.clone()),
        _ => Destination::Stdout,
    };
    let output_format = match (args.output_format, &destination) {
        (Some(format), _) => format,
        (None, Destination::Stdout) => OutputFormat::Jsonl,
        (None, Destination::File(path)) => OutputFormat::of_path(path).with_context(|| {
            let allowed = ".jsonl, .ndjson, .csv, .tsv, .parquet";
            format!("{}: the ending tells no format; allowed: {allowed}, or --output-format", path.display())
        })?,
    };
    if output_format == OutputFormat::Parquet && destination == Destination::Stdout && io::stdout().is_terminal() {
        return Err(anyhow!("Parquet is not for a terminal; name a file with --output"));
    }
    let reading = ReaderOptions { format: args.format, columns: args.columns.to_map(), ..ReaderOptions::default() };
    Ok(TableJob {
        input,
        reading,
        destination,
        output_format,
        tag_prefix: args.tag_prefix.clone(),
        on_error: args.on_error,
        limit: args.limit,
        quiet: args.quiet,
        preparation,
    })
}

async fn tag_text(
    text: String,
    preparation: &Preparation,
    tagger: &dyn Tagger,
    urgency: Urgency,
) -> Result<(Body, Tags), Failure> {
    if text.trim().is_empty() {
        return Err(Failure::Input(anyhow!("the text is empty")));
    }
    let mut feedback = Feedback::from_text("", text);
    preparation.apply(&mut feedback).map_err(|message| Failure::Input(anyhow!(message)))?;
    let body = feedback.body.clone();
    let tagged = tokio::select! {
        tagged = tagger.tag(feedback, urgency) => tagged,
        _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted),
    };
    match tagged {
        Ok(tagged) => Ok((body, tagged.tags)),
        Err(error @ TaggingError::Invalid { .. }) => Err(Failure::input(error)),
        Err(error) => Err(Failure::Ours(error.into())),
    }
}

fn as_json(tags: &Tags) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(tags).map_err(|error| Failure::Ours(error.into()))?;
    text.push('\n');
    Ok(text)
}

fn as_page(body: &Body, tags: &Tags, names: &dyn Names, language: Option<NameLanguage>) -> String {
    let colour = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    let width = if io::stdout().is_terminal() {
        terminal_size::terminal_size().map_or(PIPE_WIDTH, |(columns, _)| usize::from(columns.0))
    } else {
        PIPE_WIDTH
    };
    let of_text = if tags.language == Language::English { NameLanguage::En } else { NameLanguage::Ru };
    render(body, tags, names, &Look { width, colour, language: language.unwrap_or(of_text) })
}

fn print(page: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(page.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::ReaderGone),
        other => other.map_err(|error| Failure::Ours(error.into())),
    }
}

fn say(line: &str) {
    // Nobody is left to be told that standard error cannot be written to.
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
pub mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        classify: ClassifyArgs,
    }

    /// The arguments as given on a command line.
    pub fn parse(arguments: &[&str]) -> ClassifyArgs {
        Command::try_parse_from(["classify"].iter().chain(arguments)).unwrap().classify
    }

    /// The job of arguments that name a table.
    pub fn job(args: &ClassifyArgs) -> TableJob {
        let Subject::Table(input) = subject(args).unwrap() else { panic!("a table") };
        table_job(args, input, preparation(args, |_| None)).unwrap()
    }

    #[test]
    fn an_argument_is_a_file_if_there_is_one_and_a_text_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reviews.csv");
        std::fs::write(&path, "text\n").unwrap();
        let name = path.to_str().unwrap();
        let file = || Ok(Subject::Table(Input::File(path.clone())));
        let text = |text: &str| Ok(Subject::Text(text.to_owned()));
        let long = "очень длинный текст ".repeat(500);
        let is_folder = format!("{}: is a folder; a file is wanted", folder.path().display());
        let cases: Vec<(Vec<&str>, Result<Subject, &str>)> = vec![
            (vec![name], file()),
            (vec!["--file", name], file()),
            (vec!["--text", name], text(name)),
            (vec!["-"], Ok(Subject::Table(Input::Stdin))),
            (vec!["Третий день не работает касса"], text("Третий день не работает касса")),
            (vec!["и/или"], text("и/или")),
            (vec!["смотрите файл отчёт.csv"], text("смотрите файл отчёт.csv")),
            (vec![&long], text(&long)),
            (vec!["no-such.csv"], Err("no-such.csv: no such file (to tag these very words: --text no-such.csv)")),
            (vec!["no-such.xlsx"], Err("no-such.xlsx: no such file (to tag these very words: --text no-such.xlsx)")),
            (vec![folder.path().to_str().unwrap()], Err(&is_folder)),
        ];
        for (arguments, expected) in cases {
            let found = subject(&parse(&arguments)).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{arguments:?}");
        }
    }

    #[test]
    fn one_subject_is_wanted() {
        let parse = |arguments: &[&str]| Command::try_parse_from(["classify"].iter().chain(arguments)).map(|_| ());
        assert!(parse(&[]).is_err());
        assert!(parse(&["a", "--text", "b"]).is_err());
        assert!(parse(&["--file", "a.csv", "--text", "b"]).is_err());
        assert!(parse(&["a", "--kind", "rant"]).unwrap_err().to_string().contains("allowed: complaint, comment"));
    }

    #[test]
    fn a_conversation_in_a_text_file_is_one_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.txt");
        std::fs::write(&path, "\u{feff}Клиент: Алло\nОператор: Да\n").unwrap();
        let found = subject(&parse(&["--transcript", path.to_str().unwrap()])).unwrap();
        assert_eq!(found, Subject::Text("Клиент: Алло\nОператор: Да\n".to_owned()));
        std::fs::write(&path, b"ok \xCF").unwrap();
        let error = subject(&parse(&["--transcript", path.to_str().unwrap()])).unwrap_err().to_string();
        assert!(error.ends_with("call.txt: byte 4 is not UTF-8; the text must be UTF-8"), "{error}");
    }

    #[test]
    fn outputs_are_settled_before_anything_is_read() {
        let settled = |arguments: &[&str]| {
            let args = parse(arguments);
            let prepared = preparation(&args, |_| None);
            table_job(&args, Input::Stdin, prepared)
                .map(|job| (job.destination, job.output_format))
                .map_err(|error| error.to_string())
        };
        let file = |name: &str| Destination::File(name.into());
        assert_eq!(settled(&["-"]), Ok((Destination::Stdout, OutputFormat::Jsonl)));
        assert_eq!(settled(&["-", "-o", "-", "--output-format", "csv"]), Ok((Destination::Stdout, OutputFormat::Csv)));
        assert_eq!(settled(&["-", "-o", "a.parquet"]), Ok((file("a.parquet"), OutputFormat::Parquet)));
        let message =
            "a.xlsx: the ending tells no format; allowed: .jsonl, .ndjson, .csv, .tsv, .parquet, or --output-format";
        assert_eq!(settled(&["-", "-o", "a.xlsx"]), Err(message.to_owned()));
    }
}
