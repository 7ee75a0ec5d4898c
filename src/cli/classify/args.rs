//! Arguments of `otklik classify`.

use std::ffi::OsString;
use std::path::PathBuf;

use otklik::feedback::{FeedbackKind, ScoreMetric};
use otklik::tables::{ColumnChoice, ColumnMap, InputFormat, OutputFormat};
use otklik::tagging::Consult;

use super::super::render::NameLanguage;

/// Tag one text, or each row of a table
///
/// A text is printed for people, its evidence underlined. A table (CSV, TSV, JSON Lines, or one text a line, each also as .gz or
/// .zst; Parquet) is written with its own columns and those of the tags, rows in their order.
///
/// Exit codes: 0 done, also when rows were skipped (the summary counts them); 2 bad input or usage; 1 a failure of otklik;
/// 130 interrupted. An output file appears under its name only when it is whole.
#[derive(Debug, Clone, clap::Args)]
pub struct ClassifyArgs {
    /// A text, a table's file, or `-` for standard input; an existing file is read as a table, anything else is a text
    #[arg(required_unless_present_any = ["text", "file"], conflicts_with_all = ["text", "file"])]
    pub input: Option<OsString>,
    /// Tag this text, even if a file has this name
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    pub text: Option<String>,
    /// Tag this table
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,

    /// Print the tags of a text as JSON
    #[arg(long)]
    pub json: bool,
    /// The text (of a plain text file or of standard input: the whole of it) is a conversation in lines like "Клиент: ..." or "Operator: ..."
    #[arg(long)]
    pub transcript: bool,
    /// Kind of feedback, where the table does not say: complaint, comment, review, transcript, exit_interview, employee, question
    #[arg(long)]
    pub kind: Option<FeedbackKind>,
    /// Channel, where the table does not say: call, chat, email, app_store, ...
    #[arg(long)]
    pub channel: Option<String>,
    /// Product, where the table does not say
    #[arg(long)]
    pub product: Option<String>,
    /// Partner, where the table does not say
    #[arg(long)]
    pub partner: Option<String>,
    /// Language of the names shown; by default the text's own
    #[arg(long, value_enum)]
    pub language: Option<NameLanguage>,

    /// Ask a language model which topic a text has: never, abstaining (when no topic was sure enough), always; seconds a text
    #[arg(long, value_name = "WHEN", default_value_t = Consult::Never)]
    pub consult: Consult,
    /// Id of that model; without it as `models.language_model` says
    #[arg(long, value_name = "ID")]
    pub language_model: Option<String>,

    /// Write the tagged table here; the ending tells the format (.jsonl, .csv, .tsv, each also with .gz or .zst, .parquet); `-` (the default) is standard output
    #[arg(short, long, value_name = "PATH", help_heading = "Tables")]
    pub output: Option<PathBuf>,
    /// Format of the input: csv, tsv, jsonl, lines, parquet; by default the ending tells, and on standard input `{` begins JSON Lines
    #[arg(long, help_heading = "Tables")]
    pub format: Option<InputFormat>,
    /// Format of the output: jsonl, csv, tsv, parquet; by default the ending tells, and standard output is JSON Lines
    #[arg(long, value_name = "FORMAT", help_heading = "Tables")]
    pub output_format: Option<OutputFormat>,
    /// What a bad row does; both tell its number
    #[arg(long, value_enum, default_value = "stop", help_heading = "Tables")]
    pub on_error: OnError,
    /// Read at most this many rows
    #[arg(long, value_name = "ROWS", help_heading = "Tables")]
    pub limit: Option<u64>,
    /// Put this before the names of the columns that are added
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true, help_heading = "Tables")]
    pub tag_prefix: String,
    /// Draw no progress and print no summary
    #[arg(short, long, help_heading = "Tables")]
    pub quiet: bool,
    /// Which column holds what
    #[command(flatten)]
    pub columns: ColumnArgs,
}

/// Which column holds what.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Columns (by default those of the same name; an empty name leaves the field out)")]
pub struct ColumnArgs {
    /// Column of the text; by default text, comment, review, message, текст, комментарий or отзыв if just one is there
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// Column of the id; by default the row number is the id
    #[arg(long, value_name = "NAME")]
    pub id_column: Option<String>,
    /// Column of the kind of feedback
    #[arg(long, value_name = "NAME")]
    pub kind_column: Option<String>,
    /// Column of the channel
    #[arg(long, value_name = "NAME")]
    pub channel_column: Option<String>,
    /// Column of the touchpoint or survey mechanic
    #[arg(long, value_name = "NAME")]
    pub touchpoint_column: Option<String>,
    /// Column of the product
    #[arg(long, value_name = "NAME")]
    pub product_column: Option<String>,
    /// Column of the partner
    #[arg(long, value_name = "NAME")]
    pub partner_column: Option<String>,
    /// Column of the customer's id
    #[arg(long, value_name = "NAME")]
    pub customer_id_column: Option<String>,
    /// Column of the time (RFC 3339, or a date)
    #[arg(long, value_name = "NAME")]
    pub occurred_at_column: Option<String>,
    /// Column of the score
    #[arg(long, value_name = "NAME")]
    pub score_column: Option<String>,
    /// What numbers in the score column answer: nps, csat, ces, enps, stars
    #[arg(long, value_name = "METRIC")]
    pub score_metric: Option<ScoreMetric>,
    /// Top of the scale of numbers in the score column
    #[arg(long, value_name = "NUMBER", requires = "score_metric")]
    pub score_scale: Option<f64>,
}

impl ColumnArgs {
    /// The columns as the reader of tables wants them.
    pub fn to_map(&self) -> ColumnMap {
        let choice = |flag: &Option<String>| ColumnChoice::from_flag(flag.as_deref());
        ColumnMap {
            text: choice(&self.text_column),
            id: choice(&self.id_column),
            kind: choice(&self.kind_column),
            channel: choice(&self.channel_column),
            touchpoint: choice(&self.touchpoint_column),
            product: choice(&self.product_column),
            partner: choice(&self.partner_column),
            customer_id: choice(&self.customer_id_column),
            occurred_at: choice(&self.occurred_at_column),
            score: choice(&self.score_column),
            score_metric: self.score_metric,
            score_scale: self.score_scale,
        }
    }
}

/// What a bad row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnError {
    /// Leave it out and go on
    Skip,
    /// Stop, and write no file
    Stop,
}
