//! Taxonomies, their versions and what differs between them.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::Value;
use tonic::Status;

use super::feedback::check_id;
use super::{Faults, time};
use crate::config::LimitsConfig;
use crate::server::wire::v1::{self, taxonomy_reference};
use crate::serving::{Kept, PublishRequest, Wanted};
use crate::tags::{TaxonomyVersion, TopicId};
use crate::taxonomy::versions::{Publication, PublicationNote};
use crate::taxonomy::{
    AffectedTopics, Change, EntryChange, FieldChange, Localized, MAX_FILE_BYTES, OwnershipContext, Problem,
    SectionDiff, TaxonomyDiff,
};
use crate::text::prepare;

/// One of two taxonomies to be compared.
#[derive(Debug, PartialEq)]
pub(in crate::server) enum Compared {
    Current,
    Version(TaxonomyVersion),
    Source(String),
}

/// Checks a source, all but what it says.
///
/// # Errors
/// INVALID_ARGUMENT for none, and for one that is too long.
pub(in crate::server) fn check_source(source: &str, path: &str) -> Result<(), Status> {
    let mut faults = Faults::default();
    source_given(source, path, &mut faults);
    faults.or(())
}

fn source_given(source: &str, path: &str, faults: &mut Faults) {
    if source.trim().is_empty() {
        faults.add(path, "must be given: a taxonomy, TOML");
    } else if source.len() > MAX_FILE_BYTES {
        faults.add(path, format!("must be at most {MAX_FILE_BYTES} bytes long, not {}", source.len()));
    }
}

/// A version that may be named.
///
/// # Errors
/// INVALID_ARGUMENT for one that is none.
pub(in crate::server) fn wanted_version(
    version: String,
    path: &str,
    limits: &LimitsConfig,
) -> Result<Option<TaxonomyVersion>, Status> {
    let mut faults = Faults::default();
    if !version.is_empty() {
        check_id(&version, path, limits, &mut faults);
    }
    faults.or((!version.is_empty()).then(|| TaxonomyVersion::new(version)))
}

/// Checks one of two taxonomies to be compared.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn compared(
    given: Option<v1::TaxonomyReference>,
    path: &str,
    limits: &LimitsConfig,
) -> Result<Compared, Status> {
    match given.and_then(|given| given.taxonomy) {
        None => Ok(Compared::Current),
        Some(taxonomy_reference::Taxonomy::Version(version)) => {
            let mut faults = Faults::default();
            check_id(&version, &format!("{path}.version"), limits, &mut faults);
            faults.or(Compared::Version(TaxonomyVersion::new(version)))
        }
        Some(taxonomy_reference::Taxonomy::Source(source)) => {
            check_source(&source, &format!("{path}.source"))?;
            Ok(Compared::Source(source))
        }
    }
}

/// Checks what is to be published, all but what the source says.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn publication(
    message: v1::PublishTaxonomyRequest,
    limits: &LimitsConfig,
    due: Instant,
) -> Result<PublishRequest, Status> {
    let v1::PublishTaxonomyRequest { source, expected_version, published_by, comment, request_id: _ } = message;
    let mut faults = Faults::default();
    source_given(&source, "source", &mut faults);
    let expected = expected(expected_version, limits, &mut faults);
    let note = note(published_by, comment, limits, &mut faults);
    faults.or(PublishRequest { wanted: Wanted::Source(source), expected, note, due })
}

/// Checks what is to be put back.
///
/// # Errors
/// INVALID_ARGUMENT with each fault.
pub(in crate::server) fn rollback(
    message: v1::RollbackTaxonomyRequest,
    limits: &LimitsConfig,
    due: Instant,
) -> Result<PublishRequest, Status> {
    let v1::RollbackTaxonomyRequest { version, expected_version, published_by, comment, request_id: _ } = message;
    let mut faults = Faults::default();
    check_id(&version, "version", limits, &mut faults);
    let expected = expected(expected_version, limits, &mut faults);
    let note = note(published_by, comment, limits, &mut faults);
    faults.or(PublishRequest { wanted: Wanted::Kept(TaxonomyVersion::new(version)), expected, note, due })
}

fn expected(version: String, limits: &LimitsConfig, faults: &mut Faults) -> TaxonomyVersion {
    if version.is_empty() {
        faults.add("expected_version", "must be given: the version in force, as GetTaxonomy tells it");
    } else {
        check_id(&version, "expected_version", limits, faults);
    }
    TaxonomyVersion::new(version)
}

fn note(by: String, comment: String, limits: &LimitsConfig, faults: &mut Faults) -> PublicationNote {
    if !by.is_empty() {
        check_id(&by, "published_by", limits, faults);
    }
    let most = limits.max_attribute_chars;
    if comment.chars().nth(most).is_some() {
        faults.add("comment", format!("must be at most {most} characters (limits.max_attribute_chars)"));
    }
    let given = |text: String| (!text.trim().is_empty()).then_some(text);
    PublicationNote { by: given(by), comment: given(comment).map(|comment| prepare(&comment).clean().to_owned()) }
}

impl From<&Problem> for v1::TaxonomyProblem {
    fn from(problem: &Problem) -> Self {
        Self {
            line: number(problem.line),
            column: problem.column.map(number),
            key: problem.key.clone(),
            message: problem.message.clone(),
        }
    }
}

fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Publications, newest first.
pub(in crate::server) fn publications(publications: Vec<Publication>) -> v1::ListTaxonomyVersionsResponse {
    let current = publications.first().map(|newest| newest.version.clone());
    let publications = publications.into_iter().map(|publication| {
        let is_current = Some(&publication.version) == current.as_ref();
        publication_message(publication, is_current)
    });
    v1::ListTaxonomyVersionsResponse { publications: publications.collect() }
}

/// One publication.
pub(in crate::server) fn publication_message(publication: Publication, is_current: bool) -> v1::TaxonomyPublication {
    let Publication { number, version, parent, name, kind, at, by, comment, source_sha256: _ } = publication;
    v1::TaxonomyPublication {
        number,
        version: version.as_str().to_owned(),
        parent_version: parent.map(|parent| parent.as_str().to_owned()).unwrap_or_default(),
        name,
        kind: v1::PublicationKind::from(kind).into(),
        published_at: at.map(time::to_wire),
        published_by: by.unwrap_or_default(),
        comment: comment.unwrap_or_default(),
        current: is_current,
    }
}

/// A kept taxonomy.
pub(in crate::server) fn taxonomy(kept: Kept, include_source: bool) -> v1::GetTaxonomyResponse {
    let Kept { publication, is_current, sourced } = kept;
    let taxonomy = sourced.taxonomy;
    let nobody = OwnershipContext::default();
    let topics = taxonomy.topics().iter().map(|topic| v1::TaxonomyTopic {
        id: topic.id.as_str().to_owned(),
        parent_id: topic.parent.as_ref().map(|parent| parent.as_str().to_owned()).unwrap_or_default(),
        is_group: taxonomy.is_group(&topic.id),
        names: texts(&topic.names),
        descriptions: texts(&topic.descriptions),
        example_count: number(topic.examples.len()),
        team_id: taxonomy.owner(&topic.id, &nobody).team.as_str().to_owned(),
    });
    let signals = taxonomy.signals().iter();
    let signals = signals.map(|signal| entry(signal.id.as_str(), &signal.names, &signal.descriptions));
    let teams = taxonomy.teams().iter();
    let teams = teams.map(|team| entry(team.id.as_str(), &team.names, &team.descriptions));
    v1::GetTaxonomyResponse {
        publication: Some(publication_message(publication, is_current)),
        languages: taxonomy.languages().to_vec(),
        topics: topics.collect(),
        signals: signals.collect(),
        teams: teams.collect(),
        triage_team_id: taxonomy.triage_team().as_str().to_owned(),
        source: if include_source { sourced.source } else { String::new() },
    }
}

fn entry(id: &str, names: &Localized, descriptions: &Localized) -> v1::TaxonomyEntry {
    v1::TaxonomyEntry { id: id.to_owned(), names: texts(names), descriptions: texts(descriptions) }
}

fn texts(localized: &Localized) -> HashMap<String, String> {
    localized.iter().map(|(code, text)| (code.to_owned(), text.to_owned())).collect()
}

impl From<TaxonomyDiff> for v1::TaxonomyDiff {
    fn from(diff: TaxonomyDiff) -> Self {
        let TaxonomyDiff { old, new, head, topics, signals, teams, ownership, rules } = diff;
        Self {
            old_version: old.as_str().to_owned(),
            new_version: new.as_str().to_owned(),
            head: head.into_iter().map(Into::into).collect(),
            topics: Some(topics.into()),
            signals: Some(signals.into()),
            teams: Some(teams.into()),
            ownership: Some(ownership.into()),
            rules: Some(rules.into()),
        }
    }
}

impl From<SectionDiff> for v1::TaxonomySectionDiff {
    fn from(section: SectionDiff) -> Self {
        let SectionDiff { added, removed, changed, reordered } = section;
        let changed = changed.into_iter().map(|EntryChange { id, fields }| v1::TaxonomyEntryChange {
            id,
            fields: fields.into_iter().map(Into::into).collect(),
        });
        Self { added, removed, changed: changed.collect(), reordered }
    }
}

impl From<FieldChange> for v1::TaxonomyFieldChange {
    fn from(change: FieldChange) -> Self {
        let json = |values: Vec<Value>| values.iter().map(Value::to_string).collect();
        let FieldChange { field, change } = change;
        let empty = Self { field, ..Self::default() };
        match change {
            Change::Items { added, removed } => Self { added_json: json(added), removed_json: json(removed), ..empty },
            Change::Value { old, new } => Self {
                old_json: old.as_ref().map(Value::to_string),
                new_json: new.as_ref().map(Value::to_string),
                ..empty
            },
        }
    }
}

impl From<AffectedTopics> for v1::AffectedTopics {
    fn from(affected: AffectedTopics) -> Self {
        let ids = |topics: &[TopicId]| topics.iter().map(|topic| topic.as_str().to_owned()).collect();
        let worth = affected.worth_retagging();
        Self {
            added: ids(&affected.added),
            removed: ids(&affected.removed),
            renamed: ids(&affected.renamed),
            changed: ids(&affected.changed),
            reowned: ids(&affected.reowned),
            retag_filter: (!worth.is_empty())
                .then(|| v1::CaseFilter { topic_ids: ids(&worth), ..v1::CaseFilter::default() }),
        }
    }
}
