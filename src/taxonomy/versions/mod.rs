//! The versions of a taxonomy in a folder: what was published, when, by whom, and which one serves.
//!
//! Enters: the sources of taxonomies that were checked. Leaves: [`Publication`]s, newest last, and the source of each. `LOCK` is held
//! by the one process that may publish; reading needs no lock. `journal.jsonl` lists the publications, and its last line is the one
//! in force; each source lies beside it under a name made of its content. Every file is written whole under another name, brought
//! to the disk and renamed, the journal last: a process killed at any moment leaves the old version or the new one. Never here:
//! what serves, models, the network.

mod error;
mod files;
mod journal;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use error::VersionsError;

use super::Taxonomy;
use crate::feedback::named_enum;
use crate::tags::TaxonomyVersion;

named_enum! {
    /// How a version came into force.
    PublicationKind {
        /// It was configured, and served before anything was published.
        Configured = "configured",
        /// It was published.
        Published = "published",
        /// It had been in force before, and was put back.
        RolledBack = "rolled_back",
    }
}

/// One moment at which a version came into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// Its number: 0 is what was configured before the first publication, 1 is the first.
    pub number: u64,
    /// The version.
    pub version: TaxonomyVersion,
    /// The version that was in force before it; `None` for what was configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaxonomyVersion>,
    /// The taxonomy's short name.
    pub name: String,
    /// How it came into force.
    pub kind: PublicationKind,
    /// When it was published; `None` for what was configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Who published it, as far as was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What was said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// SHA-256 of the source, hexadecimal.
    pub source_sha256: String,
}

/// A checked taxonomy with the text that it was read from.
#[derive(Debug, Clone)]
pub struct SourcedTaxonomy {
    /// The taxonomy.
    pub taxonomy: Taxonomy,
    /// Its source, TOML.
    pub source: String,
}

impl SourcedTaxonomy {
    /// Reads and checks a source; see [`Taxonomy::parse`].
    ///
    /// # Errors
    /// [`TaxonomyError`](super::TaxonomyError) with every problem.
    pub fn parse(source: String, file_name: &str) -> Result<Self, super::TaxonomyError> {
        let taxonomy = Taxonomy::parse(&source, file_name)?;
        Ok(Self { taxonomy, source })
    }
}

/// What is said of a publication by whoever makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublicationNote {
    /// Who publishes.
    pub by: Option<String>,
    /// Why.
    pub comment: Option<String>,
}

/// The versions of a folder, open for publishing. No other process publishes there while this value lives.
#[derive(Debug)]
pub struct Versions {
    folder: PathBuf,
    /// Oldest first; never empty.
    publications: Vec<Publication>,
    /// The configured source, until something is published.
    configured: Option<String>,
    most: usize,
    _lock: File,
}

impl Versions {
    /// Opens or makes a folder for publishing; at most `most` publications are kept in it, 2 or more. What `configured` gives is in
    /// force if nothing was published there yet; it is written down with the first publication, and not asked for after it.
    ///
    /// # Errors
    /// [`VersionsError::Locked`] if another process publishes there, [`VersionsError::Damaged`], [`VersionsError::Io`], and whatever
    /// `configured` says.
    pub fn open<E: From<VersionsError>>(
        folder: &Path,
        most: usize,
        configured: impl FnOnce() -> Result<SourcedTaxonomy, E>,
    ) -> Result<Self, E> {
        let lock = files::lock(folder)?;
        files::remove_unfinished(folder)?;
        let mut publications = journal::read(folder)?;
        let mut source = None;
        if publications.is_empty() {
            let SourcedTaxonomy { taxonomy, source: text } = configured()?;
            publications.push(Publication {
                number: 0,
                version: taxonomy.version().clone(),
                parent: None,
                name: taxonomy.name().to_owned(),
                kind: PublicationKind::Configured,
                at: None,
                by: None,
                comment: None,
                source_sha256: files::sha256(text.as_bytes()),
            });
            source = Some(text);
        }
        Ok(Self { folder: folder.to_owned(), publications, configured: source, most: most.max(2), _lock: lock })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every publication that is kept, oldest first; the last one is in force.
    pub fn publications(&self) -> &[Publication] {
        &self.publications
    }

    /// The publication in force.
    ///
    /// # Errors
    /// Never in practice: there is always one.
    pub fn current(&self) -> Result<&Publication, VersionsError> {
        self.publications.last().ok_or_else(|| VersionsError::Empty { folder: self.folder.clone() })
    }

    /// True if nothing was published yet, and what is configured is in force.
    pub fn is_unpublished(&self) -> bool {
        self.configured.is_some()
    }

    /// The newest publication of a version.
    ///
    /// # Errors
    /// [`VersionsError::Unknown`].
    pub fn publication(&self, version: &TaxonomyVersion) -> Result<&Publication, VersionsError> {
        newest(&self.publications, version)
    }

    /// A kept version with its source.
    ///
    /// # Errors
    /// [`VersionsError::Unknown`]; [`VersionsError::Damaged`] if the file is not what was published; [`VersionsError::Invalid`] if
    /// this release finds problems in it; [`VersionsError::Io`].
    pub fn load(&self, version: &TaxonomyVersion) -> Result<SourcedTaxonomy, VersionsError> {
        let publication = self.publication(version)?;
        match &self.configured {
            Some(source) => files::checked(source.clone(), publication, &self.folder),
            None => files::load(&self.folder, publication),
        }
    }

    /// Puts a taxonomy in force, if the version that is in force now is the expected one. When this returns, it survives a crash;
    /// when it fails, what was in force still is. Publications beyond the most that are kept are forgotten, the oldest first.
    ///
    /// # Errors
    /// [`VersionsError::Conflict`], [`VersionsError::Io`].
    pub fn publish(
        &mut self,
        new: &SourcedTaxonomy,
        kind: PublicationKind,
        expected: &TaxonomyVersion,
        note: PublicationNote,
        at: Timestamp,
    ) -> Result<Publication, VersionsError> {
        let current = self.current()?;
        if current.version != *expected {
            return Err(VersionsError::Conflict { expected: expected.clone(), current: current.version.clone() });
        }
        let publication = Publication {
            number: current.number + 1,
            version: new.taxonomy.version().clone(),
            parent: Some(current.version.clone()),
            name: new.taxonomy.name().to_owned(),
            kind,
            at: Some(at),
            by: note.by,
            comment: note.comment,
            source_sha256: files::sha256(new.source.as_bytes()),
        };
        if let Some(configured) = &self.configured {
            files::keep_source(&self.folder, current, configured)?;
        }
        files::keep_source(&self.folder, &publication, &new.source)?;
        let mut publications = self.publications.clone();
        publications.push(publication.clone());
        let surplus = publications.len().saturating_sub(self.most);
        let dropped: Vec<Publication> = publications.drain(..surplus).collect();
        if let Err(error) = journal::write(&self.folder, &publications) {
            self.put_journal_back();
            return Err(error);
        }
        files::forget_sources(&self.folder, &dropped, &publications);
        self.publications = publications;
        self.configured = None;
        Ok(publication)
    }

    /// The new journal may be there all the same, if only the last step to the disk failed.
    fn put_journal_back(&self) {
        let restored = match &self.configured {
            Some(_) => journal::remove(&self.folder),
            None => journal::write(&self.folder, &self.publications),
        };
        if let Err(error) = restored {
            tracing::error!(%error, "the journal of taxonomies can't be put back: the next start may find the new version");
        }
    }
}

/// The publications that are kept in a folder, oldest first; empty if nothing was published there. Takes no lock and changes nothing.
///
/// # Errors
/// [`VersionsError::Damaged`], [`VersionsError::Io`].
pub fn published(folder: &Path) -> Result<Vec<Publication>, VersionsError> {
    journal::read(folder)
}

/// The taxonomy in force in a folder; `None` if nothing was published there. Takes no lock and changes nothing.
///
/// # Errors
/// [`VersionsError::Damaged`], [`VersionsError::Invalid`], [`VersionsError::Io`].
pub fn in_force(folder: &Path) -> Result<Option<SourcedTaxonomy>, VersionsError> {
    journal::read(folder)?.last().map(|publication| files::load(folder, publication)).transpose()
}

fn newest<'p>(publications: &'p [Publication], version: &TaxonomyVersion) -> Result<&'p Publication, VersionsError> {
    let found = publications.iter().rev().find(|publication| publication.version == *version);
    found.ok_or_else(|| VersionsError::Unknown {
        version: version.clone(),
        known: publications.iter().rev().map(|publication| publication.version.clone()).collect(),
    })
}
