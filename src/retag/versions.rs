//! Whether two starts of a run, or two machines, would make the same tags.
//!
//! Enters: what made the tags then and now. Leaves: the first thing that is another, in words. Never here: files, queues.

use std::path::Path;

use crate::tags::Provenance;

use super::RetagError;
use super::journal::Begun;

/// The first thing that makes tags and is another: what it is, what it was, and what it is now.
pub(super) fn difference(was: &Provenance, is: &Provenance) -> Option<(&'static str, String, String)> {
    let encoder = |made_by: &Provenance| format!("{} {}", made_by.encoder_id, made_by.encoder_sha256);
    let heads = |made_by: &Provenance| {
        let heads = made_by.heads.iter().map(|head| format!("{} {}", head.name, head.sha256));
        heads.collect::<Vec<_>>().join(", ")
    };
    let versions = [
        ("the taxonomy", was.taxonomy_version.to_string(), is.taxonomy_version.to_string()),
        ("the encoder", encoder(was), encoder(is)),
        ("the set of heads", heads(was), heads(is)),
        ("the version of the prototypes", was.prototypes_version.clone(), is.prototypes_version.clone()),
        ("the version of otklik", was.otklik_version.clone(), is.otklik_version.clone()),
        ("the version of corrections", was.corrections_version.clone(), is.corrections_version.clone()),
    ];
    versions.into_iter().find(|(_, was, is)| was != is)
}

/// Refuses to go on with a run that was begun with other versions or other arguments.
pub(super) fn refuse_others(was: &Begun, is: &Begun, parts: &Path) -> Result<(), RetagError> {
    if let Some((what, was, is)) = difference(&was.made_by, &is.made_by) {
        return Err(RetagError::OtherVersions { parts: parts.to_owned(), what, was, is });
    }
    let keys = was.settings.keys().chain(is.settings.keys());
    let of = |begun: &Begun, key: &String| begun.settings.get(key).cloned().unwrap_or_default();
    let other = keys.map(|key| (key, of(was, key), of(is, key))).find(|(_, was, is)| was != is);
    match other {
        Some((key, was, is)) => Err(RetagError::OtherSettings { parts: parts.to_owned(), key: key.clone(), was, is }),
        None => Ok(()),
    }
}
