//! `otklik playbook`: start, check and show playbook files.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use clap::{Args, Subcommand};
use otklik::assembly;
use otklik::assist::playbook::{DEFAULT_SOURCE, Playbook, PlaybookError, ReplyLanguage, limit_in_words};
use otklik::config::Config;

/// The exit code for a playbook that has problems.
const INVALID: u8 = 2;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const ID: Style = AnsiColor::Cyan.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// Start, check and show playbooks: gestures, the script's intents, what to avoid, drafts.
#[derive(Debug, Args)]
pub struct PlaybookCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the default playbook to a file, as a start for your own
    ///
    /// The file has comments that explain the format. Change what does not fit, then run `otklik playbook check`.
    #[command(after_help = "Examples:\n  otklik playbook init\n  otklik playbook init bank.toml --force")]
    Init {
        /// The file to write
        #[arg(default_value = "playbook.toml")]
        path: PathBuf,
        /// Replace the file if it is there already
        #[arg(long)]
        force: bool,
    },
    /// Check a playbook against the configured taxonomy and print every problem with its line and key
    ///
    /// Prints counts and the version and exits with 0 if the file can be used. Otherwise prints each problem as
    /// `file:line: key: what is wrong` and exits with 2.
    #[command(
        after_help = "Examples:\n  otklik playbook check playbook.toml\n  otklik --set taxonomy.path=bank.toml playbook check playbook.toml"
    )]
    Check {
        /// The file to check
        path: PathBuf,
    },
    /// Show a playbook: gestures with limits, intents, what to avoid
    #[command(after_help = "Examples:\n  otklik playbook show\n  otklik playbook show playbook.toml --language en")]
    Show {
        /// The file to show [default: the configured playbook, or that which comes with otklik]
        path: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Language of names, ru or en
        #[arg(long, value_name = "CODE", default_value = "ru", value_parser = language)]
        language: ReplyLanguage,
    },
}

fn language(code: &str) -> Result<ReplyLanguage, String> {
    code.parse().map_err(|error: otklik::feedback::UnknownName| error.to_string())
}

/// Runs the command and says how the process should exit: 0, or 2 for a playbook with problems.
///
/// # Errors
/// If a file can't be written or read, or the taxonomy is at fault. A reader that closed the pipe is no error.
pub fn run(command: PlaybookCommand, config: &Config) -> anyhow::Result<ExitCode> {
    match act(command.action, config, &mut anstream::stdout().lock()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref::<PlaybookError>() {
            Some(invalid @ PlaybookError::Invalid(_)) => {
                let count = invalid.problems().len();
                let found = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
                writeln!(anstream::stderr().lock(), "{invalid}\n{BAD}{found}{BAD:#}")?;
                Ok(ExitCode::from(INVALID))
            }
            _ if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => {
                Ok(ExitCode::SUCCESS)
            }
            _ => Err(error),
        },
    }
}

fn act(action: Action, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
    let taxonomy = || assembly::taxonomy_in_force(config).map_err(anyhow::Error::from);
    match action {
        Action::Init { path, force } => init(&path, force, out),
        Action::Check { path } => Ok(summary(&Playbook::load(&path, &taxonomy()?)?, &path, out)?),
        Action::Show { path, json, language } => {
            let path = path.as_deref().or(config.assist.playbook.as_deref());
            let playbook = assembly::load_playbook(path, &taxonomy()?)?;
            if json {
                serde_json::to_writer_pretty(&mut *out, &playbook)?;
                return Ok(writeln!(out)?);
            }
            Ok(show(&playbook, language, out)?)
        }
    }
}

fn init(path: &Path, force: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let shown = path.display();
    let mut file = options.write(true).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => anyhow::anyhow!("{shown} is there already; --force replaces it"),
        _ => anyhow::Error::new(error).context(format!("can't write {shown}")),
    })?;
    file.write_all(DEFAULT_SOURCE.as_bytes()).with_context(|| format!("can't write {shown}"))?;
    writeln!(out, "Wrote {BOLD}{shown}{BOLD:#}. After your changes: otklik playbook check {shown}")?;
    Ok(())
}

fn summary(playbook: &Playbook, path: &Path, out: &mut dyn Write) -> io::Result<()> {
    let (name, edition, version) = (playbook.name(), playbook.edition(), playbook.version());
    writeln!(out, "{GOOD}ok{GOOD:#} {}: {BOLD}{name}{BOLD:#} {edition}, version {version}", path.display())?;
    let examples: usize = playbook.intents().iter().map(|intent| intent.examples.len()).sum();
    for (count, what) in [
        (playbook.gestures().len(), format!("gestures, limits in {}", playbook.currency())),
        (playbook.intents().len(), format!("intents of the script, {examples} examples")),
        (playbook.avoidances().len(), "things to avoid".to_owned()),
        (playbook.drafts().len(), "templates of drafts".to_owned()),
    ] {
        writeln!(out, "{count:>6} {what}")?;
    }
    Ok(())
}

fn show(playbook: &Playbook, language: ReplyLanguage, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{BOLD}{} {}{BOLD:#} {DIM}{}{DIM:#}", playbook.name(), playbook.edition(), playbook.version())?;
    writeln!(out, "\n{BOLD}gestures{BOLD:#}")?;
    for gesture in playbook.gestures() {
        let limit = limit_in_words(gesture, playbook.currency(), language);
        let limit = if limit.is_empty() { limit } else { format!("  {limit}, then {}", gesture.above) };
        writeln!(out, "  {ID}{}{ID:#}  {}{DIM}{limit}{DIM:#}", gesture.id, gesture.name.get(language))?;
    }
    writeln!(out, "\n{BOLD}script{BOLD:#}")?;
    for intent in playbook.intents() {
        let count = intent.examples.len();
        writeln!(out, "  {ID}{}{ID:#}  {}  {DIM}{count} examples{DIM:#}", intent.id, intent.name.get(language))?;
    }
    writeln!(out, "\n{BOLD}avoid{BOLD:#}")?;
    for avoidance in playbook.avoidances() {
        writeln!(out, "  {ID}{}{ID:#}  {}", avoidance.id, avoidance.text.get(language))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(action: Action) -> Result<String, String> {
        let mut out = anstream::StripStream::new(Vec::new());
        act(action, &Config::default(), &mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out.into_inner()).unwrap())
    }

    #[test]
    fn init_writes_what_check_accepts_and_never_overwrites_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let init = |force| Action::Init { path: path.clone(), force };
        printed(init(false)).unwrap();
        let checked = printed(Action::Check { path: path.clone() }).unwrap();
        assert!(checked.starts_with("ok ") && checked.contains("version sha256:"), "{checked}");
        std::fs::write(&path, "mine").unwrap();
        let refused = printed(init(false)).unwrap_err();
        assert!(refused.ends_with("mine.toml is there already; --force replaces it"), "{refused}");
        let broken = || PlaybookCommand { action: Action::Check { path: path.clone() } };
        assert_eq!(run(broken(), &Config::default()).unwrap(), ExitCode::from(INVALID));
        printed(init(true)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), DEFAULT_SOURCE);
    }

    #[test]
    fn show_prints_every_entry_in_the_language_asked_for() {
        for language in ReplyLanguage::ALL {
            let show = |json| Action::Show { path: None, json, language: *language };
            let shown = printed(show(false)).unwrap();
            let taxonomy = assembly::load_taxonomy(None).unwrap();
            for gesture in Playbook::default_playbook(&taxonomy).unwrap().gestures() {
                assert!(shown.contains(&gesture.id) && shown.contains(gesture.name.get(*language)), "{}", gesture.id);
            }
            let json: serde_json::Value = serde_json::from_str(&printed(show(true)).unwrap()).unwrap();
            assert!(json["version"].as_str().unwrap().starts_with("sha256:"));
        }
    }
}
