//! Which files are read, and where each one's output goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::tables::{InputFormat, OutputFormat, parquet_row_count};

use super::MAX_FILES;
pub use super::plan_error::PlanError;

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Its name below the folder or the pattern that it was found by, parted by `/`.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// How it is read.
    pub format: InputFormat,
    /// Its size.
    pub bytes: u64,
    /// Its rows, where that is cheap to know.
    pub rows: Option<u64>,
}

/// The inputs of a run, in the order that they are read: that of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The inputs.
    pub files: Vec<PlannedFile>,
    /// Files in folders that are no tables and are left alone.
    pub left_alone: usize,
    /// True if the input was given as one file.
    one_file: bool,
    /// Folders that were given.
    folders: Vec<PathBuf>,
}

/// Where a file's output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: OutputFormat,
}

/// Where a run writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outputs {
    /// One for each input, in the plan's order.
    pub targets: Vec<Target>,
    /// The folder of the run's parts, until it is done.
    pub parts: PathBuf,
    /// The file of rows that could not be tagged.
    pub errors: PathBuf,
}

impl Plan {
    /// Finds the files of `inputs`: files, folders with all below them, and patterns as in `2024/*/reviews-*.csv`.
    ///
    /// # Errors
    /// [`PlanError`]; see its variants.
    pub fn new(inputs: &[String]) -> Result<Self, PlanError> {
        let mut found = Found::default();
        let mut one_file = false;
        let mut folders = Vec::new();
        for input in inputs {
            let path = Path::new(input);
            match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => {
                    found.walk(path, path)?;
                    folders.push(path.to_owned());
                }
                Ok(_) => {
                    one_file = inputs.len() == 1;
                    let format = InputFormat::of_path(path);
                    let format = format.ok_or_else(|| PlanError::UnknownFormat { path: path.to_owned() })?;
                    found.add(path, path.parent().unwrap_or(Path::new("")), format)?;
                }
                Err(_) => found.expand(input)?,
            }
        }
        if found.files.is_empty() {
            return Err(PlanError::NoTables);
        }
        Ok(Self { files: found.files.into_values().collect(), left_alone: found.left_alone, one_file, folders })
    }

    /// Bytes of all inputs.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Rows of all inputs, if every one's are known.
    pub fn rows(&self) -> Option<u64> {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Where the outputs go: `out` is a folder, or for one input also a file whose ending tells its format.
    ///
    /// # Errors
    /// [`PlanError`]; see its variants.
    pub fn outputs(&self, out: &Path) -> Result<Outputs, PlanError> {
        let no_name = || PlanError::NoName { path: out.to_owned() };
        let name = out.file_name().ok_or_else(no_name)?.to_owned();
        let beside = |ending: &str| {
            let mut name = name.clone();
            name.push(ending);
            out.with_file_name(name)
        };
        let ends_in_slash = out.as_os_str().to_string_lossy().ends_with('/');
        let as_file = OutputFormat::of_path(out).filter(|_| self.one_file && !ends_in_slash && !out.is_dir());
        let targets = match as_file {
            Some(format) => vec![Target { path: out.to_owned(), format }],
            None if out.is_file() => return Err(PlanError::OutputIsFile { path: out.to_owned() }),
            None => self.files.iter().map(|file| file.target(out)).collect::<Result<_, _>>()?,
        };
        let parts = beside(".parts");
        let place = absolute(out)?;
        for file in &self.files {
            let input = absolute(&file.path)?;
            if input.starts_with(&place) || input.starts_with(absolute(&parts)?) {
                return Err(PlanError::OutputAmongInputs { path: out.to_owned() });
            }
        }
        for folder in &self.folders {
            if place.starts_with(absolute(folder)?) {
                return Err(PlanError::OutputAmongInputs { path: out.to_owned() });
            }
        }
        Ok(Outputs { targets, parts, errors: beside(".errors.jsonl") })
    }
}

impl PlannedFile {
    fn target(&self, folder: &Path) -> Result<Target, PlanError> {
        let path = folder.join(&self.name);
        match OutputFormat::of_path(&path) {
            Some(format) => Ok(Target { path, format }),
            None => Err(PlanError::UnknownFormat { path: self.path.clone() }),
        }
    }
}

#[derive(Default)]
struct Found {
    files: BTreeMap<String, PlannedFile>,
    seen: BTreeSet<PathBuf>,
    left_alone: usize,
}

impl Found {
    /// A folder's tables; hidden files and links to folders are passed over.
    fn walk(&mut self, folder: &Path, root: &Path) -> Result<(), PlanError> {
        let read_error = |reason| PlanError::Read { path: folder.to_owned(), reason };
        for entry in fs::read_dir(folder).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let kind = entry.file_type().map_err(read_error)?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if kind.is_dir() {
                self.walk(&path, root)?;
            } else if path.is_file() {
                self.add_if_table(&path, root)?;
            }
        }
        Ok(())
    }

    fn add_if_table(&mut self, path: &Path, root: &Path) -> Result<(), PlanError> {
        match InputFormat::of_path(path) {
            Some(format) if OutputFormat::of_path(path).is_some() => self.add(path, root, format),
            _ => {
                self.left_alone += 1;
                Ok(())
            }
        }
    }

    /// The files that fit a pattern, and all below folders that do.
    fn expand(&mut self, pattern: &str) -> Result<(), PlanError> {
        let bad = |problem: String| PlanError::Pattern { input: pattern.to_owned(), problem };
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let paths = glob::glob_with(pattern, options).map_err(|error| bad(format!("not a pattern: {error}")))?;
        let is_plain = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
        let parts: PathBuf = Path::new(pattern).components().take_while(is_plain).collect();
        let mut any = false;
        for path in paths {
            let path = path.map_err(|error| bad(error.to_string()))?;
            any = true;
            if path.is_dir() { self.walk(&path, &parts)? } else { self.add_if_table(&path, &parts)? }
        }
        if any { Ok(()) } else { Err(PlanError::NoSuchInput { input: pattern.to_owned() }) }
    }

    fn add(&mut self, path: &Path, root: &Path, format: InputFormat) -> Result<(), PlanError> {
        let read_error = |reason| PlanError::Read { path: path.to_owned(), reason };
        let real = path.canonicalize().map_err(read_error)?;
        if !self.seen.insert(real) {
            return Ok(());
        }
        if self.files.len() >= MAX_FILES {
            return Err(PlanError::TooMany);
        }
        let below = path.strip_prefix(root).unwrap_or(path);
        let name = below.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
        let bytes = fs::metadata(path).map_err(read_error)?.len();
        // A Parquet file that is no whole one is told when its turn comes.
        let rows = if format == InputFormat::Parquet { parquet_row_count(path).ok() } else { None };
        let file = PlannedFile { name: name.clone(), path: path.to_owned(), format, bytes, rows };
        match self.files.insert(name.clone(), file) {
            None => Ok(()),
            Some(first) => Err(PlanError::SameName { name, first: first.path, second: path.to_owned() }),
        }
    }
}

/// The absolute path, with links followed as far as it exists.
fn absolute(path: &Path) -> Result<PathBuf, PlanError> {
    let read_error = |reason| PlanError::Read { path: path.to_owned(), reason };
    let whole = std::path::absolute(path).map_err(read_error)?;
    let existing = whole.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    Ok(match existing {
        Some((part, real)) => whole.strip_prefix(part).map_or_else(|_| real.clone(), |rest| real.join(rest)),
        None => whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text\na\n").unwrap();
        }
        folder
    }

    fn plan(folder: &Path, inputs: &[&str]) -> Result<Plan, PlanError> {
        let inputs: Vec<String> = inputs.iter().map(|input| folder.join(input).display().to_string()).collect();
        Plan::new(&inputs)
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn folders_and_patterns_are_read_in_the_order_of_names() {
        let folder =
            folder(&["in/b.csv", "in/a/z.jsonl.gz", "in/a/y.tsv.zst", "in/.hidden.csv", "in/notes.txt", "c.csv"]);
        let all = plan(folder.path(), &["in", "c.csv", "in/b.csv"]).unwrap();
        assert_eq!(names(&all), ["a/y.tsv.zst", "a/z.jsonl.gz", "b.csv", "c.csv"]);
        assert_eq!((all.left_alone, all.bytes(), all.rows()), (1, 28, None));
        assert_eq!(names(&plan(folder.path(), &["in/*/*.gz"]).unwrap()), ["a/z.jsonl.gz"]);
        assert_eq!(names(&plan(folder.path(), &["in/**/*.csv"]).unwrap()), ["b.csv"]);
        let outputs = all.outputs(&folder.path().join("out")).unwrap();
        assert_eq!(outputs.targets[0].path, folder.path().join("out/a/y.tsv.zst"));
        assert_eq!(outputs.targets[0].format, OutputFormat::Tsv);
        assert_eq!(outputs.parts, folder.path().join("out.parts"));
        assert_eq!(outputs.errors, folder.path().join("out.errors.jsonl"));
    }

    #[test]
    fn inputs_and_outputs_that_can_not_be_are_refused() {
        let folder = folder(&["in/b.csv", "other/b.csv", "in/notes.txt", "empty/notes.txt", "file"]);
        let error = |inputs: &[&str]| plan(folder.path(), inputs).unwrap_err().to_string();
        assert!(error(&["no.csv"]).contains("no such file"));
        assert!(error(&["in/[.csv"]).contains("not a pattern"));
        assert!(error(&["empty"]).contains("no table"));
        assert!(error(&["file"]).contains("tells no format"));
        assert!(error(&["in", "other"]).contains("would both be written as b.csv"));

        let out = |inputs: &[&str], out: &str| plan(folder.path(), inputs).unwrap().outputs(&folder.path().join(out));
        assert!(matches!(out(&["in"], "in/out"), Err(PlanError::OutputAmongInputs { .. })));
        assert!(matches!(out(&["in"], "in"), Err(PlanError::OutputAmongInputs { .. })));
        assert!(matches!(out(&["in/b.csv"], "in/b.csv"), Err(PlanError::OutputAmongInputs { .. })));
        assert!(matches!(out(&["in"], "file"), Err(PlanError::OutputIsFile { .. })));
        assert!(matches!(out(&["in/notes.txt"], "out"), Err(PlanError::UnknownFormat { .. })));
        assert_eq!(out(&["in/notes.txt"], "out.csv.gz").unwrap().targets[0].format, OutputFormat::Csv);
        assert_eq!(out(&["in/b.csv"], "o.parquet").unwrap().targets[0].format, OutputFormat::Parquet);
        assert!(out(&["in/b.csv"], "out").unwrap().targets[0].path.ends_with("out/b.csv"));
        assert!(out(&["in"], "o.parquet").unwrap().targets[0].path.ends_with("o.parquet/b.csv"));
    }
}
