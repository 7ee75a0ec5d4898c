//! All prompts there are: those built into the program, and a folder of one's own laid over them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PromptLanguage;
use super::error::PromptError;
use super::problems::{Problem, PromptFilesError, did_you_mean};
use super::prompt::{MAX_FILE_BYTES, Prompt, PromptOrigin};

/// The files of top-level `prompts/`, by name; made by the build.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/prompts.rs"));

/// A folder may have at most this many files.
const MAX_FILES: usize = 1_000;

/// A file of this name explains a folder and is no prompt.
const READ_ME: &str = "README.md";

/// What the files of prompts end with.
const ENDING: &str = ".md";

/// Prompts by id and language: checked, immutable.
#[derive(Debug, Clone, Default)]
pub struct PromptSet {
    prompts: BTreeMap<(String, PromptLanguage), Arc<Prompt>>,
}

impl PromptSet {
    /// The prompts that come with otklik.
    ///
    /// # Errors
    /// Every problem of every file; those that come with a release have none.
    pub fn built_in() -> Result<Self, PromptFilesError> {
        let files = BUILT_IN.iter().map(|(name, source)| {
            let name = *name;
            (PathBuf::from(name), PromptOrigin::BuiltIn, Ok((*source).to_owned()))
        });
        Self::read(files)
    }

    /// These prompts with those of a folder laid over them.
    ///
    /// # Errors
    /// Every problem of every file of the folder.
    pub fn overlaid(&self, folder: &Path) -> Result<Self, PromptFilesError> {
        let mut set = self.clone();
        set.prompts.extend(Self::from_folder(folder)?.prompts);
        Ok(set)
    }

    /// The prompts of a folder alone.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn from_folder(folder: &Path) -> Result<Self, PromptFilesError> {
        Self::from_files(&files_of(folder).map_err(|problem| PromptFilesError::new(vec![problem]))?)
    }

    /// The prompts of these files alone.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn from_files(files: &[PathBuf]) -> Result<Self, PromptFilesError> {
        Self::read(files.iter().map(|path| (path.clone(), PromptOrigin::File(path.clone()), read_file(path))))
    }

    fn read(
        files: impl Iterator<Item = (PathBuf, PromptOrigin, Result<String, String>)>,
    ) -> Result<Self, PromptFilesError> {
        let mut set = Self::default();
        let mut problems = Vec::new();
        for (path, origin, source) in files {
            let file = path.display().to_string();
            let whole = |message: String| Problem { file: file.clone(), line: None, key: String::new(), message };
            let named = path.file_name().and_then(|name| name.to_str()).and_then(parse_name);
            let (Some((id, language)), Ok(source)) = (named, &source) else {
                let languages = PromptLanguage::ALL.iter().map(|language| format!("<id>.{language}{ENDING}"));
                let names = languages.collect::<Vec<_>>().join(" or ");
                let problem = source.err().unwrap_or_else(|| {
                    format!("the name of a prompt's file must be {names}, an id of a-z, 0-9 and '-'")
                });
                problems.push(whole(problem));
                continue;
            };
            match Prompt::parse(source, &file, id, language, origin) {
                Ok(prompt) => {
                    if set.prompts.insert((id.to_owned(), language), Arc::new(prompt)).is_some() {
                        problems.push(whole(format!("another of these files is prompt {id}.{language} too")));
                    }
                }
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(set) } else { Err(PromptFilesError::new(problems)) }
    }

    /// One prompt. Without a language: the Russian one, or the one there is.
    ///
    /// # Errors
    /// [`PromptError::Unknown`], [`PromptError::Language`].
    pub fn get(&self, id: &str, language: Option<PromptLanguage>) -> Result<&Arc<Prompt>, PromptError> {
        let there = PromptLanguage::ALL.iter().filter_map(|language| self.prompts.get(&(id.to_owned(), *language)));
        let there: Vec<&Arc<Prompt>> = there.collect();
        let Some(first) = there.first() else {
            let ids = self.prompts.keys().map(|(id, _)| id.as_str());
            return Err(PromptError::Unknown { id: id.to_owned(), hint: did_you_mean(id, ids) });
        };
        let Some(asked) = language else { return Ok(first) };
        there.iter().find(|prompt| prompt.identity().language == asked).copied().ok_or_else(|| PromptError::Language {
            id: id.to_owned(),
            asked,
            languages: there.iter().map(|prompt| prompt.identity().language.as_str()).collect(),
        })
    }

    /// All of them, by id and language.
    pub fn prompts(&self) -> impl Iterator<Item = &Arc<Prompt>> {
        self.prompts.values()
    }

    /// How many there are; a prompt in two languages counts twice.
    pub fn len(&self) -> usize {
        self.prompts.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }
}

/// The files of a folder that are prompts by their ending, by name.
pub(super) fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let whole =
        |message: String| Problem { file: folder.display().to_string(), line: None, key: String::new(), message };
    let unreadable = |error: std::io::Error| whole(format!("can't be read: {error}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        if name.ends_with(ENDING) && name != READ_ME && !name.starts_with('.') && path.is_file() {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            return Err(whole(format!("has more than {MAX_FILES} prompts, the most allowed")));
        }
    }
    files.sort();
    Ok(files)
}

/// Id and language in a file's name.
fn parse_name(name: &str) -> Option<(&str, PromptLanguage)> {
    let (id, language) = name.strip_suffix(ENDING)?.rsplit_once('.')?;
    let is_id = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    (!id.is_empty() && id.len() <= 64 && id.chars().all(is_id)).then_some((id, language.parse().ok()?))
}

fn read_file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| format!("can't be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        format!("is not UTF-8 text: bad byte in line {line}")
    })
}
