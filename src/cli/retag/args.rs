//! Arguments of `otklik retag`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use otklik::feedback::FeedbackKind;
use otklik::retag::{DEFAULT_PART_ROWS, RetagOptions, Sample};
use otklik::tables::{Preparation, ReaderOptions, SplitTurns};

use super::super::classify::ColumnArgs;
use super::super::render::NameLanguage;

/// Tag files again: whole archives, after the taxonomy or a model changed
///
/// Reads CSV, TSV, JSON Lines (each also as .gz or .zst) and Parquet, and writes the same tables with new tags in place of those that
/// an earlier run wrote. Columns and the order of rows are kept.
///
/// A run that was stopped, even by a power cut, goes on where it was when the same command is given again; what it writes in the end
/// is the same to the byte. Until a file is whole, its rows lie in OUT.parts, and nothing stands under its name. Rows that can't be
/// tagged stop nothing: OUT.errors.jsonl names their file, row and reason.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  otklik retag archive/ --out retagged                     a folder with all below it
  otklik retag reviews.parquet --out reviews-new.parquet   one file
  otklik retag '2024/*/calls-*.jsonl.gz' --out calls       all files that fit a pattern
  otklik retag archive/ --dry-run --sample 1% --taxonomy new.toml
                                                           what a new taxonomy would move, and to whom
  otklik retag archive/ --out retagged --queue nats://nats:4222
                                                           by `otklik worker` on any number of machines, which must find
                                                           the inputs and the output under the same names

Exit status: 0 done, perhaps with some rows that could not be tagged; 1 a failure of otklik, as a full disk; 2 bad input or
arguments, or more bad rows than --max-errors; 130 interrupted. After 1, 2 and 130 the same command goes on.")]
pub struct RetagArgs {
    /// Files, folders, and patterns as in '2024/*/*.csv'
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// Write here: a folder, or for one input also a file whose ending tells its format
    #[arg(short, long, value_name = "OUT", required_unless_present = "dry_run")]
    pub out: Option<PathBuf>,
    /// Write nothing; show what would change
    #[arg(long, conflicts_with = "restart")]
    pub dry_run: bool,
    /// Tag with this taxonomy: short for --set taxonomy.path=FILE
    #[arg(long, value_name = "FILE")]
    pub taxonomy: Option<PathBuf>,
    /// Let workers on other machines do the tagging: short for --set queue.url=URL, as in nats://nats:4222
    #[arg(long, value_name = "URL", conflicts_with = "dry_run")]
    pub queue: Option<String>,
    /// Only some rows, the same each time: a share as in 1%, or a number as in 1000
    #[arg(long, value_name = "SHARE|ROWS")]
    pub sample: Option<Sample>,
    /// Another seed draws other rows
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Forget what an earlier start of the run did, and begin anew
    #[arg(long)]
    pub restart: bool,
    /// Pass over files that can't be read, and name them at the end
    #[arg(long)]
    pub skip_bad_files: bool,
    /// Bad rows that are no failure: a share as in 1%, or a number as in 100
    #[arg(long, value_name = "SHARE|ROWS", default_value = "1%")]
    pub max_errors: MaxErrors,
    /// Threads that compute: short for --set compute.threads=NUMBER; 0 is one a core
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub threads: Option<u16>,
    /// Rows that are written at once: a run that is killed loses at most so many, or 20 seconds
    #[arg(long, value_name = "ROWS", default_value_t = DEFAULT_PART_ROWS, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub part_rows: u64,
    /// Tell nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Print the summary, or what would change, as JSON
    #[arg(long)]
    pub json: bool,
    /// Language of the names shown
    #[arg(long, value_enum, default_value = "ru")]
    pub language: NameLanguage,

    /// The names of the tags' columns begin with this, in the input and in the output
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true, help_heading = "Rows")]
    pub tag_prefix: String,
    /// Every text is a conversation in lines like "Клиент: ..." or "Operator: ..."
    #[arg(long, help_heading = "Rows")]
    pub transcript: bool,
    /// Kind of feedback, where the table does not say
    #[arg(long, help_heading = "Rows")]
    pub kind: Option<FeedbackKind>,
    /// Channel, where the table does not say
    #[arg(long, help_heading = "Rows")]
    pub channel: Option<String>,
    /// Product, where the table does not say
    #[arg(long, help_heading = "Rows")]
    pub product: Option<String>,
    /// Partner, where the table does not say
    #[arg(long, help_heading = "Rows")]
    pub partner: Option<String>,
    /// Which column holds what
    #[command(flatten)]
    pub columns: ColumnArgs,
}

impl RetagArgs {
    /// How files are tagged.
    pub fn options(&self, split_turns: SplitTurns) -> RetagOptions {
        RetagOptions {
            reading: ReaderOptions { columns: self.columns.to_map(), ..ReaderOptions::default() },
            preparation: Preparation {
                kind: self.kind.or(self.transcript.then_some(FeedbackKind::Transcript)),
                channel: self.channel.clone(),
                product: self.product.clone(),
                partner: self.partner.clone(),
                transcript: self.transcript,
                split_turns,
            },
            tag_prefix: self.tag_prefix.clone(),
            sample: self.sample,
            seed: self.seed,
            part_rows: self.part_rows,
            skip_bad_files: self.skip_bad_files,
        }
    }

    /// The arguments that decide about the output, by which a run that goes on is known to be the same. The sample, its seed and
    /// the prefix are among the options.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let given = |text: &Option<String>| text.clone().unwrap_or_default();
        [
            ("--kind", self.kind.map(|kind| kind.to_string()).unwrap_or_default()),
            ("--channel", given(&self.channel)),
            ("--product", given(&self.product)),
            ("--partner", given(&self.partner)),
            ("--transcript", self.transcript.to_string()),
            ("the columns", format!("{:?}", self.columns)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

/// How many rows may be bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxErrors {
    /// A share of the rows, 0 to 1.
    Share(f64),
    /// A number of rows.
    Rows(u64),
}

impl MaxErrors {
    /// True if `failed` of `read` rows are more than allowed.
    pub fn is_exceeded(self, failed: u64, read: u64) -> bool {
        match self {
            Self::Share(share) => failed as f64 > share * read as f64,
            Self::Rows(rows) => failed > rows,
        }
    }
}

impl FromStr for MaxErrors {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = || format!("{text:?}: a share from 0% to 100% or a number of rows is wanted, as in 1% or 100");
        match text.strip_suffix('%') {
            Some(percent) => {
                let share = percent.trim().parse::<f64>().map_err(|_| allowed())? / 100.0;
                if (0.0..=1.0).contains(&share) { Ok(Self::Share(share)) } else { Err(allowed()) }
            }
            None => text.parse().map(Self::Rows).map_err(|_| allowed()),
        }
    }
}

impl fmt::Display for MaxErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{}%", share * 100.0),
            Self::Rows(rows) => write!(f, "{rows}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        retag: RetagArgs,
    }

    #[test]
    fn arguments_are_checked() {
        let parse = |arguments: &[&str]| {
            Command::try_parse_from(["retag"].iter().chain(arguments)).map(|command| command.retag)
        };
        assert!(parse(&["a.csv"]).is_err(), "an output is wanted");
        assert!(parse(&["--out", "b"]).is_err(), "an input is wanted");
        assert!(parse(&["a.csv", "--dry-run"]).is_ok());
        assert!(parse(&["a.csv", "--dry-run", "--restart"]).is_err());
        for bad in [["--sample", "0%"], ["--max-errors", "101%"], ["--threads", "2000"], ["--part-rows", "0"]] {
            assert!(parse(&[&["a.csv", "--out", "b"][..], &bad].concat()).is_err(), "{bad:?}");
        }
        let args = parse(&["a.csv", "--out", "b", "--text-column", "x"]).unwrap();
        assert_ne!(args.settings(), parse(&["a.csv", "--out", "b"]).unwrap().settings());
    }

    #[test]
    fn errors_are_allowed_up_to_a_share_or_a_number() {
        let exceeded = |max: &str, failed, read| max.parse::<MaxErrors>().unwrap().is_exceeded(failed, read);
        assert!(!exceeded("1%", 1, 100) && exceeded("1%", 2, 100));
        assert!(!exceeded("3", 3, 3) && exceeded("3", 4, 100));
        assert!(!exceeded("0", 0, 0) && exceeded("0%", 1, 9));
    }
}
