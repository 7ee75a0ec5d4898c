//! Notes for the card on their way out.

use tonic_types::pb;

use crate::assist::note::{Note, NoteLine, NotePlace, NotePromise, NoteTask};
use crate::assist::playbook::Playbook;
use crate::server::wire::v1;

/// A note; `error` is its error as a status.
pub(in crate::server) fn note(note: Note, playbook: &Playbook, error: Option<pb::Status>) -> v1::SummarizeResponse {
    v1::SummarizeResponse {
        issue: note.issue.map(Into::into),
        steps: note.steps.into_iter().map(Into::into).collect(),
        promises: note.promises.into_iter().map(Into::into).collect(),
        outcome: v1::NoteOutcome::from(note.outcome).into(),
        outcome_source: v1::AdviceSource::from(note.outcome_source).into(),
        outcome_note: note.outcome_note.map(Into::into),
        left_to_do: note.left_to_do.into_iter().map(Into::into).collect(),
        error,
        refused_part_count: u32::try_from(note.refused_parts).unwrap_or(u32::MAX),
        playbook_version: playbook.version().to_string(),
    }
}

impl From<NoteLine> for v1::NoteLine {
    fn from(line: NoteLine) -> Self {
        let NoteLine { text, place, source } = line;
        Self { text, place: place.map(Into::into), source: v1::AdviceSource::from(source).into() }
    }
}

impl From<NotePlace> for v1::NotePlace {
    fn from(place: NotePlace) -> Self {
        Self { turn: place.turn, span: Some(place.span.into()) }
    }
}

impl From<NotePromise> for v1::NotePromise {
    fn from(promise: NotePromise) -> Self {
        let NotePromise { what, who, term, place, verdict, is_done, source } = promise;
        Self {
            what,
            who,
            term,
            place: Some(place.into()),
            verdict: verdict.map(|verdict| v1::PromiseVerdict::from(verdict).into()),
            done: is_done,
            source: v1::AdviceSource::from(source).into(),
        }
    }
}

impl From<NoteTask> for v1::NoteTask {
    fn from(task: NoteTask) -> Self {
        let NoteTask { what, who, source } = task;
        Self { what, who, source: v1::AdviceSource::from(source).into() }
    }
}
