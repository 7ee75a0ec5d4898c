//! `otklik taxonomy`: start, check, show and compare taxonomy files; publish them and put earlier ones back.

mod publishing;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use clap::{Args, Subcommand};
use otklik::assembly;
use otklik::config::Config;
use otklik::tags::TopicId;
use otklik::taxonomy::{
    DEFAULT_SOURCE, Localized, OwnershipContext, OwnershipRule, PhraseRule, RuleTarget, Taxonomy, TaxonomyError, Topic,
    diff,
};
use serde::Serialize;

use super::StartProgress;

/// The exit code for a taxonomy that has problems.
const INVALID: u8 = 2;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const ID: Style = AnsiColor::Cyan.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// Start, check, show, compare and publish taxonomies: topics, signals, teams, ownership and phrase rules.
#[derive(Debug, Args)]
pub struct TaxonomyCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the default taxonomy to a file, as a start for your own
    ///
    /// The file has comments that explain the format. Change what does not fit, then run `otklik taxonomy check`.
    #[command(
        after_help = "Examples:\n  otklik taxonomy init\n  otklik taxonomy init bank.toml\n  otklik taxonomy init bank.toml --force"
    )]
    Init {
        /// The file to write
        #[arg(default_value = "taxonomy.toml")]
        path: PathBuf,
        /// Replace the file if it is there already
        #[arg(long)]
        force: bool,
    },
    /// Check a taxonomy and print every problem with its line and key
    ///
    /// Prints counts and the version and exits with 0 if the file can be used. Otherwise prints each problem as
    /// `file:line: key: what is wrong` and exits with 2.
    #[command(after_help = "Examples:\n  otklik taxonomy check taxonomy.toml")]
    Check {
        /// The file to check
        path: PathBuf,
    },
    /// Encode the examples of a taxonomy, so that a service starts at once
    ///
    /// A service encodes examples that it does not know when it starts and keeps them in `tagging.examples_dir`. Where that
    /// folder can't be written, or a start must be quick, run this first and put the file there.
    #[command(
        after_help = "Examples:\n  otklik taxonomy encode taxonomy.toml\n  otklik taxonomy encode --output examples.safetensors"
    )]
    Encode {
        /// The file [default: the taxonomy that comes with otklik]
        path: Option<PathBuf>,
        /// Where to write the vectors [default: where a service looks for them]
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Show a taxonomy as a tree of topics with owners, or all of one topic
    #[command(
        after_help = "Examples:\n  otklik taxonomy show\n  otklik taxonomy show taxonomy.toml --language en\n  otklik \
                            taxonomy show --topic cards\n  otklik taxonomy show --json | jq '.signals[].id'"
    )]
    Show {
        /// The file to show [default: the taxonomy that comes with otklik]
        path: Option<PathBuf>,
        /// Show all of this topic: description, owners, rules, examples
        #[arg(long, value_name = "ID")]
        topic: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Language of names and descriptions, such as ru or en [default: the first language of the taxonomy]
        #[arg(long, value_name = "CODE")]
        language: Option<String>,
    },
    /// Show what differs between two taxonomies, entry by entry
    ///
    /// Lines begin with `+` for what only NEW has, `-` for what only OLD has and `~` for what changed.
    #[command(
        after_help = "Examples:\n  otklik taxonomy diff old.toml new.toml\n  otklik taxonomy diff old.toml new.toml --json"
    )]
    Diff {
        /// The file before
        old: PathBuf,
        /// The file after
        new: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the versions that were published, newest first
    ///
    /// The first one serves. As long as nothing was published in `taxonomy.dir`, the file of `taxonomy.path` does, or the taxonomy
    /// that comes with otklik.
    #[command(
        after_help = "Examples:\n  otklik taxonomy versions\n  otklik taxonomy versions --json | jq -r '.[0].version'"
    )]
    Versions {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a taxonomy in force while no service runs: the next start serves it
    ///
    /// A running service holds `taxonomy.dir`: publish there by its `TaxonomyService`, which goes on serving. Stored cases keep
    /// their tags; nothing is tagged anew.
    #[command(
        after_help = "Examples:\n  otklik taxonomy publish bank.toml --comment \"delivery split in two\"\n  otklik taxonomy \
                      publish bank.toml --expect sha256:0123456789abcdef"
    )]
    Publish {
        /// The file to publish
        path: PathBuf,
        #[command(flatten)]
        about: publishing::About,
    },
    /// Put a version back that was in force before, while no service runs: the next start serves it
    #[command(
        after_help = "Examples:\n  otklik taxonomy rollback sha256:0123456789abcdef --comment \"too many in other\""
    )]
    Rollback {
        /// The version, as `otklik taxonomy versions` lists it
        #[arg(value_name = "VERSION")]
        version: String,
        #[command(flatten)]
        about: publishing::About,
    },
}

/// Runs the command and says how the process should exit: 0, or 2 for a taxonomy with problems.
///
/// # Errors
/// If a file can't be written or read, or a topic or language does not exist. A reader that closed the pipe is no error.
pub fn run(command: TaxonomyCommand, config: &Config) -> anyhow::Result<ExitCode> {
    match act(command.action, config, &mut anstream::stdout().lock()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref::<TaxonomyError>() {
            Some(invalid @ TaxonomyError::Invalid(_)) => {
                let count = invalid.problems().len();
                let found = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
                writeln!(anstream::stderr().lock(), "{invalid}\n{BAD}{found}{BAD:#}")?;
                Ok(ExitCode::from(INVALID))
            }
            _ if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
            _ => Err(error),
        },
    }
}

fn encode(path: Option<&Path>, output: Option<&Path>, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
    let taxonomy = assembly::load_taxonomy(path)?;
    let loaded = assembly::load_encoder(config)?;
    let pool = assembly::start_pool(config)?;
    let output = output.unwrap_or(loaded.examples_file());
    let count = assembly::encode_examples(&loaded, &taxonomy, &pool, output, &mut StartProgress::default())?;
    writeln!(
        out,
        "{count} example sentences of {} encoded by {} into {}",
        taxonomy.version(),
        loaded.identity.id,
        output.display()
    )?;
    Ok(())
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let of_io = error.downcast_ref::<io::Error>().map(io::Error::kind);
    let of_json = error.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
    of_io.or(of_json) == Some(io::ErrorKind::BrokenPipe)
}

fn act(action: Action, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
    match action {
        Action::Encode { path, output } => encode(path.as_deref(), output.as_deref(), config, out),
        Action::Versions { json } => publishing::list(config, json, out),
        Action::Publish { path, about } => publishing::publish(&path, about, config, out),
        Action::Rollback { version, about } => publishing::roll_back(&version, about, config, out),
        Action::Init { path, force } => init(&path, force, out),
        Action::Check { path } => Ok(summary(&Taxonomy::load(&path)?, &path, out)?),
        Action::Show { path, topic, json, language } => {
            let taxonomy = path.map_or_else(Taxonomy::default_taxonomy, |path| Taxonomy::load(&path))?;
            let view = View { taxonomy: &taxonomy, language: known_language(&taxonomy, language)? };
            let topic = topic.map(|id| known_topic(&taxonomy, &id)).transpose()?;
            match (topic, json) {
                (None, true) => print_json(&taxonomy, out),
                (Some(topic), true) => print_json(&view.all_of(topic), out),
                (None, false) => Ok(view.tree(out)?),
                (Some(topic), false) => Ok(view.topic(topic, out)?),
            }
        }
        Action::Diff { old, new, json } => {
            let difference = diff(&Taxonomy::load(&old)?, &Taxonomy::load(&new)?);
            if json { print_json(&difference, out) } else { Ok(print_diff(&difference.to_string(), out)?) }
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
    writeln!(out, "Wrote {BOLD}{shown}{BOLD:#}. After your changes: otklik taxonomy check {shown}")?;
    Ok(())
}

fn summary(taxonomy: &Taxonomy, path: &Path, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{GOOD}ok{GOOD:#} {}: {BOLD}{}{BOLD:#}, version {}",
        path.display(),
        taxonomy.name(),
        taxonomy.version()
    )?;
    let topics: Vec<&Topic> = taxonomy.taggable_topics().collect();
    let groups = taxonomy.topics().len() - topics.len();
    let signal_examples: usize = taxonomy.signals().iter().map(|signal| signal.examples.len()).sum();
    let topic_examples: usize = topics.iter().map(|topic| topic.examples.len()).sum();
    let counts = [
        (topics.len(), format!("topics, {topic_examples} examples; {groups} groups")),
        (taxonomy.signals().len(), format!("signals, {signal_examples} examples")),
        (taxonomy.teams().len(), format!("teams; {} takes what no topic decided", taxonomy.triage_team())),
        (taxonomy.ownership_rules().len(), "ownership rules".to_owned()),
        (taxonomy.phrase_rules().len(), "phrase rules".to_owned()),
        (taxonomy.languages().len(), format!("languages: {}", taxonomy.languages().join(", "))),
    ];
    for (count, what) in counts {
        writeln!(out, "{count:>6} {what}")?;
    }
    Ok(())
}

fn print_json(value: &impl Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

fn print_diff(difference: &str, out: &mut dyn Write) -> io::Result<()> {
    for line in difference.lines() {
        let style = match line.trim_start().chars().next() {
            Some('+') => GOOD,
            Some('-') => BAD,
            Some('~') => BOLD,
            _ => Style::new(),
        };
        writeln!(out, "{style}{line}{style:#}")?;
    }
    Ok(())
}

fn known_language(taxonomy: &Taxonomy, asked: Option<String>) -> anyhow::Result<String> {
    let languages = taxonomy.languages();
    match asked {
        None => Ok(languages.first().cloned().unwrap_or_default()),
        Some(code) if languages.contains(&code) => Ok(code),
        Some(code) => anyhow::bail!("the taxonomy has no language {code:?}; it has: {}", languages.join(", ")),
    }
}

fn known_topic<'t>(taxonomy: &'t Taxonomy, id: &str) -> anyhow::Result<&'t Topic> {
    taxonomy.topic(&TopicId::new(id)).with_context(|| {
        let ids: Vec<&str> = taxonomy.topics().iter().map(|topic| topic.id.as_str()).collect();
        format!("no topic {id:?}; the taxonomy has: {}", ids.join(", "))
    })
}

/// A taxonomy as seen in one language.
struct View<'t> {
    taxonomy: &'t Taxonomy,
    language: String,
}

impl View<'_> {
    fn text<'l>(&self, texts: &'l Localized) -> &'l str {
        texts.in_language(&self.language)
    }

    fn tree(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { taxonomy, .. } = self;
        writeln!(out, "{BOLD}{}{BOLD:#} {DIM}{}{DIM:#}", taxonomy.name(), taxonomy.version())?;
        let width = taxonomy.topics().iter().map(|topic| topic.id.as_str().len()).max().unwrap_or(0);
        for top in taxonomy.topics().iter().filter(|topic| topic.parent.is_none()) {
            writeln!(out)?;
            if !taxonomy.is_group(&top.id) {
                self.topic_line(top, width, out)?;
                continue;
            }
            writeln!(out, "{BOLD}{}{BOLD:#} {DIM}{}{DIM:#}", self.text(&top.names), top.id)?;
            for topic in taxonomy.topics().iter().filter(|topic| topic.parent.as_ref() == Some(&top.id)) {
                self.topic_line(topic, width, out)?;
            }
        }
        writeln!(out, "\n{BOLD}signals{BOLD:#}")?;
        let width = taxonomy.signals().iter().map(|signal| signal.id.as_str().len()).max().unwrap_or(0);
        for signal in taxonomy.signals() {
            let speakers: Vec<&str> = signal.speakers.iter().map(|speaker| speaker.as_str()).collect();
            writeln!(
                out,
                "  {ID}{:width$}{ID:#}  {}  {DIM}of {}, {} examples{DIM:#}",
                signal.id,
                self.text(&signal.names),
                speakers.join(" and "),
                signal.examples.len()
            )?;
        }
        writeln!(out, "\n{BOLD}teams{BOLD:#}")?;
        let width = taxonomy.teams().iter().map(|team| team.id.as_str().len()).max().unwrap_or(0);
        for team in taxonomy.teams() {
            let escalates = team.escalates_to.as_ref().map(|to| format!("  then {to}")).unwrap_or_default();
            let triage = if team.id == *taxonomy.triage_team() { "  takes what no topic decided" } else { "" };
            writeln!(out, "  {ID}{:width$}{ID:#}  {}{DIM}{escalates}{triage}{DIM:#}", team.id, self.text(&team.names))?;
        }
        Ok(())
    }

    fn topic_line(&self, topic: &Topic, width: usize, out: &mut dyn Write) -> io::Result<()> {
        let owner = self.taxonomy.owner(&topic.id, &OwnershipContext::default()).team;
        let exceptions = self.owners_of(topic).iter().filter(|rule| !conditions(rule).is_empty()).count();
        let exceptions = if exceptions == 0 { String::new() } else { format!(" (+{exceptions} by context)") };
        writeln!(
            out,
            "  {ID}{:width$}{ID:#}  {}  {DIM}-> {owner}{exceptions}, {} examples{DIM:#}",
            topic.id,
            self.text(&topic.names),
            topic.examples.len()
        )
    }

    /// The ownership rules that can decide for a topic, the most specific first.
    fn owners_of(&self, topic: &Topic) -> Vec<&OwnershipRule> {
        let of = |id: Option<&TopicId>| -> Vec<&OwnershipRule> {
            let mut rules: Vec<_> =
                self.taxonomy.ownership_rules().iter().filter(|rule| Some(&rule.topic) == id).collect();
            rules.sort_by_key(|rule| std::cmp::Reverse(conditions(rule).len()));
            rules
        };
        let mut rules = of(Some(&topic.id));
        if !rules.iter().any(|rule| conditions(rule).is_empty()) {
            rules.extend(of(topic.parent.as_ref()));
        }
        rules
    }

    fn rules_of(&self, topic: &Topic) -> Vec<&PhraseRule> {
        let gives = |rule: &&PhraseRule| matches!(&rule.target, RuleTarget::Topic(id) if *id == topic.id);
        self.taxonomy.phrase_rules().iter().filter(gives).collect()
    }

    fn topic(&self, topic: &Topic, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{ID}{}{ID:#}  {BOLD}{}{BOLD:#}", topic.id, self.text(&topic.names))?;
        if !topic.descriptions.is_empty() {
            writeln!(out, "{}", self.text(&topic.descriptions))?;
        }
        if let Some(group) = topic.parent.as_ref().and_then(|parent| self.taxonomy.topic(parent)) {
            writeln!(out, "in {} {DIM}{}{DIM:#}", self.text(&group.names), group.id)?;
        }
        for below in self.taxonomy.topics().iter().filter(|below| below.parent.as_ref() == Some(&topic.id)) {
            writeln!(out, "  {ID}{}{ID:#}  {}", below.id, self.text(&below.names))?;
        }
        writeln!(out, "\n{BOLD}owners{BOLD:#}")?;
        for rule in self.owners_of(topic) {
            let conditions = conditions(rule);
            let when =
                if conditions.is_empty() { "otherwise".to_owned() } else { format!("if {}", conditions.join(" and ")) };
            let inherited = if rule.topic == topic.id { "" } else { ", for the whole group" };
            writeln!(out, "  {}  {DIM}{when}{inherited} (rule {}){DIM:#}", rule.team, rule.id)?;
        }
        let rules = self.rules_of(topic);
        if !rules.is_empty() {
            writeln!(out, "\n{BOLD}phrase rules{BOLD:#}")?;
        }
        for rule in rules {
            writeln!(out, "  {}  {DIM}confidence {}{DIM:#}", rule.id, rule.confidence.get())?;
            for (name, phrases) in [("any of", &rule.any_of), ("all of", &rule.all_of), ("not", &rule.none_of)] {
                if !phrases.is_empty() {
                    writeln!(out, "    {name}: {}", phrases.join(" | "))?;
                }
            }
            if let Some(regex) = &rule.regex {
                writeln!(out, "    regex: {regex}")?;
            }
        }
        let mut language = "";
        for example in &topic.examples {
            if example.language != language {
                language = &example.language;
                writeln!(out, "\n{BOLD}examples, {language}{BOLD:#}")?;
            }
            writeln!(out, "  {}", example.text)?;
        }
        Ok(())
    }

    fn all_of<'a>(&'a self, topic: &'a Topic) -> AllOfTopic<'a> {
        AllOfTopic { topic, ownership: self.owners_of(topic), rules: self.rules_of(topic) }
    }
}

/// What a taxonomy says about one topic.
#[derive(Debug, Serialize)]
struct AllOfTopic<'t> {
    topic: &'t Topic,
    ownership: Vec<&'t OwnershipRule>,
    rules: Vec<&'t PhraseRule>,
}

/// The conditions of an ownership rule: `channel chat`.
fn conditions(rule: &OwnershipRule) -> Vec<String> {
    let parts = [("product", &rule.product), ("channel", &rule.channel), ("partner", &rule.partner)];
    parts.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an action prints, without colour; or its error.
    fn printed(action: Action) -> Result<String, String> {
        let mut out = anstream::StripStream::new(Vec::new());
        act(action, &Config::default(), &mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out.into_inner()).unwrap())
    }

    fn show(topic: Option<&str>, json: bool, language: Option<&str>) -> Action {
        Action::Show { path: None, topic: topic.map(str::to_owned), json, language: language.map(str::to_owned) }
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
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        printed(init(true)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), DEFAULT_SOURCE);
    }

    #[test]
    fn a_file_with_problems_exits_with_2_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.toml");
        let check = || TaxonomyCommand { action: Action::Check { path: path.clone() } };
        assert!(run(check(), &Config::default()).unwrap_err().to_string().contains("broken.toml"));
        std::fs::write(&path, "schema = 2").unwrap();
        assert_eq!(run(check(), &Config::default()).unwrap(), ExitCode::from(2));
        assert!(printed(Action::Check { path }).unwrap_err().contains("broken.toml:1: schema: 2 is not known"));
    }

    #[test]
    fn show_prints_every_topic_in_the_language_asked_for() {
        let taxonomy = Taxonomy::default_taxonomy().unwrap();
        for language in ["ru", "en"] {
            let tree = printed(show(None, false, Some(language))).unwrap();
            assert!(!tree.contains('\u{1b}'), "no colour codes without a terminal");
            for topic in taxonomy.topics() {
                assert!(
                    tree.contains(topic.id.as_str()) && tree.contains(topic.names.get(language).unwrap()),
                    "{}",
                    topic.id
                );
            }
            let topic = taxonomy.taggable_topics().next().unwrap();
            let shown = printed(show(Some(topic.id.as_str()), false, Some(language))).unwrap();
            assert!(shown.contains(topic.names.get(language).unwrap()) && shown.contains(&topic.examples[0].text));
        }
        let json: serde_json::Value = serde_json::from_str(&printed(show(None, true, None)).unwrap()).unwrap();
        assert_eq!(json["version"], taxonomy.version().as_str());
        assert_eq!(json["topics"].as_array().unwrap().len(), taxonomy.topics().len());
        let unknown = printed(show(Some("nothing"), false, None)).unwrap_err();
        assert!(unknown.starts_with("no topic \"nothing\"; the taxonomy has: "), "{unknown}");
        assert_eq!(
            printed(show(None, false, Some("de"))).unwrap_err(),
            "the taxonomy has no language \"de\"; it has: ru, en"
        );
    }
}
