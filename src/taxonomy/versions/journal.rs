//! The journal of publications: a head that says how many there are, then one line each.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use super::{Publication, VersionsError};

/// The journal's name in the folder.
pub(super) const JOURNAL: &str = "journal.jsonl";

/// What this release writes and reads.
const FORMAT: u32 = 1;

/// Longest journal that is read, in bytes: the most publications that can be configured, each with its longest comment.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: u32,
    publications: usize,
}

/// The publications, oldest first; none if there is no journal.
pub(super) fn read(folder: &Path) -> Result<Vec<Publication>, VersionsError> {
    let path = folder.join(JOURNAL);
    let io = |problem| VersionsError::Io { path: path.clone(), problem };
    let damaged = |problem: String| VersionsError::Damaged { path: path.clone(), problem };
    match fs::metadata(&path) {
        Ok(found) if found.len() > MAX_BYTES => {
            return Err(damaged(format!("it has {} bytes, more than the {MAX_BYTES} that are read", found.len())));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(problem) => return Err(io(problem)),
    }
    let text = fs::read(&path).map_err(io)?;
    let text = String::from_utf8(text).map_err(|_| damaged("it is not UTF-8 text".to_owned()))?;
    let mut lines = text.lines().enumerate();
    let head = lines.next().map_or("", |(_, line)| line);
    let head: Head = serde_json::from_str(head).map_err(|error| damaged(format!("line 1: {error}")))?;
    if head.format != FORMAT {
        return Err(damaged(format!("line 1: format {}; this release reads {FORMAT}", head.format)));
    }
    let mut publications: Vec<Publication> = Vec::new();
    for (index, line) in lines {
        let number = index + 1;
        let publication: Publication =
            serde_json::from_str(line).map_err(|error| damaged(format!("line {number}: {error}")))?;
        if let Some(before) = publications.last()
            && (publication.number != before.number + 1 || publication.parent.as_ref() != Some(&before.version))
        {
            return Err(damaged(format!(
                "line {number}: publication {} does not follow the one before it",
                publication.number
            )));
        }
        publications.push(publication);
    }
    if publications.len() != head.publications || publications.is_empty() {
        let (said, found) = (head.publications, publications.len());
        return Err(damaged(format!("line 1 tells of {said} publications, at least 1, and {found} follow")));
    }
    Ok(publications)
}

/// Removes the journal, if there is one.
pub(super) fn remove(folder: &Path) -> Result<(), VersionsError> {
    let path = folder.join(JOURNAL);
    match fs::remove_file(&path) {
        Err(problem) if problem.kind() != ErrorKind::NotFound => Err(VersionsError::Io { path, problem }),
        _ => Ok(()),
    }
}

/// Writes the journal anew.
pub(super) fn write(folder: &Path, publications: &[Publication]) -> Result<(), VersionsError> {
    let path = folder.join(JOURNAL);
    let head = Head { format: FORMAT, publications: publications.len() };
    let written = serde_json::to_string(&head).and_then(|head| {
        let mut text = head + "\n";
        for publication in publications {
            text.push_str(&serde_json::to_string(publication)?);
            text.push('\n');
        }
        Ok(text)
    });
    let text = written.map_err(|error| VersionsError::Io { path: path.clone(), problem: error.into() })?;
    files::write_whole(&path, text.as_bytes())
}
