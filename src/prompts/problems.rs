//! What is wrong with files of prompts: every problem at once, each with its file, line and key.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

/// At most this many problems are kept; the rest are counted.
const MAX_PROBLEMS: usize = 1_000;

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Line in it, from 1; `None` if the file as a whole is at fault.
    pub line: Option<usize>,
    /// Path of the key, as in `input.properties.text.type`; empty where there is none.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong with some files, one problem a line; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptFilesError {
    problems: Vec<Problem>,
    left_out: usize,
}

impl PromptFilesError {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        let left_out = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        Self { problems, left_out }
    }

    /// The problems, by file and line. The first thousand are kept.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many there are, those that are not kept included.
    pub fn count(&self) -> usize {
        self.problems.len() + self.left_out
    }
}

impl fmt::Display for PromptFilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        if self.left_out > 0 {
            write!(f, "\n{} more problems are not shown", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for PromptFilesError {}

/// The problems of one file, gathered while it is read and checked.
#[derive(Debug)]
pub(super) struct Problems {
    file: String,
    /// Lines of keys by their paths.
    lines: HashMap<String, usize>,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), lines: HashMap::new(), list: Vec::new() }
    }

    /// Remembers where a key stands. The first mention counts.
    pub(super) fn locate(&mut self, key: &str, line: usize) {
        self.lines.entry(key.to_owned()).or_insert(line);
    }

    /// A fault of a key. One that is not in the file is shown where the nearest table around it stands.
    pub(super) fn report(&mut self, key: &str, message: impl Into<String>) {
        let line = std::iter::successors(Some(key), |path| parent(path)).find_map(|path| self.lines.get(path).copied());
        self.push(line, key, message.into());
    }

    /// A fault of a line.
    pub(super) fn report_line(&mut self, line: Option<usize>, message: impl Into<String>) {
        self.push(line, "", message.into());
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// The problems in order of line, or `value` if there are none.
    pub(super) fn or<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => Err(self.into_list()),
        }
    }

    fn into_list(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| problem.line);
        self.list
    }

    fn push(&mut self, line: Option<usize>, key: &str, message: String) {
        if self.list.len() <= MAX_PROBLEMS {
            self.list.push(Problem { file: self.file.clone(), line, key: key.to_owned(), message });
        }
    }
}

/// The path of what a key stands in: `a.b[2].c`, `a.b[2]`, `a.b`, `a`.
fn parent(path: &str) -> Option<&str> {
    let cut = path.rfind(['.', '['])?;
    path.get(..cut)
}

/// `; did you mean "title"?` if one of the candidates is close to what was given, else nothing.
pub(super) fn did_you_mean<'c>(given: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    const ENOUGH: f64 = 0.8;
    let scored = candidates.into_iter().map(|candidate| (strsim::jaro_winkler(given, candidate), candidate));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(likeness, _)| *likeness >= ENOUGH);
    best.map_or_else(String::new, |(_, candidate)| format!("; did you mean {candidate:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_nearest_line_that_is_known() {
        let mut problems = Problems::new("a.ru.md");
        problems.locate("input", 3);
        problems.locate("input.properties.text", 7);
        problems.report("input.properties.text.minLength", "must be a whole number");
        problems.report("input.required[2]", "must be a field");
        problems.report("output", "must be a table");
        let shown: Vec<String> = problems.or(Some(())).unwrap_err().iter().map(Problem::to_string).collect();
        assert_eq!(
            shown,
            [
                "a.ru.md: output: must be a table",
                "a.ru.md:3: input.required[2]: must be a field",
                "a.ru.md:7: input.properties.text.minLength: must be a whole number",
            ]
        );
    }

    #[test]
    fn many_problems_are_counted_and_not_all_shown() {
        let problem = Problem { file: "a".into(), line: None, key: String::new(), message: "wrong".into() };
        let error = PromptFilesError::new(vec![problem; MAX_PROBLEMS + 5]);
        assert_eq!((error.problems().len(), error.count()), (MAX_PROBLEMS, MAX_PROBLEMS + 5));
        assert!(error.to_string().ends_with("\n5 more problems are not shown"));
    }
}
