//! Texts whose tags are known: recorded under each version of the taxonomy before anything is broken, and compared ever after.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use otklik::server::wire::v1;
use prost::Message;

use super::promises::{Promise, Promises};

/// Answers of other tenants that are remembered; whoever corrects has other tags with each correction.
const REMEMBERED: usize = 20_000;

/// Tenant, number of the text, and everything that made its tags.
type Seen = (usize, usize, Vec<u8>);

/// Texts and conversations that are asked again and again.
pub(super) struct Reference {
    feedback: Vec<v1::Feedback>,
    /// By version of the taxonomy and number of the text: the tags, without their id.
    recorded: Mutex<HashMap<(String, usize), Vec<u8>>>,
    /// Of tenants that correct.
    seen: Mutex<HashMap<Seen, Vec<u8>>>,
}

impl Reference {
    /// Texts, and conversations made of them.
    pub fn new(texts: &[String]) -> Self {
        let single = texts.iter().map(|text| v1::Feedback { text: text.clone(), ..Default::default() });
        let conversations = texts.chunks(3).map(|lines| v1::Feedback {
            kind: v1::FeedbackKind::Transcript.into(),
            turns: conversation(lines),
            ..Default::default()
        });
        let feedback = single.chain(conversations).collect();
        Self { feedback, recorded: Mutex::default(), seen: Mutex::default() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.feedback.len()
    }

    /// One of them.
    pub fn feedback(&self, number: usize) -> v1::Feedback {
        self.feedback.get(number % self.feedback.len().max(1)).cloned().unwrap_or_default()
    }

    /// Records tags as those that are right.
    pub fn record(&self, number: usize, tags: v1::Tags) {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.insert((version(&tags), number), bytes(tags));
    }

    /// Compares tags, given to a tenant that corrects nothing, with those that were recorded.
    pub fn compare(&self, promises: &Promises, number: usize, tags: v1::Tags, by: &str) {
        let (version, tags) = (version(&tags), bytes(tags));
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let right = recorded.get(&(version.clone(), number));
        promises.check(Promise::SameAnswer, right.is_some_and(|right| *right == tags), || match right {
            None => format!("{by}: reference text {number} was tagged under {version}, which was never in force"),
            Some(right) => format!(
                "{by}: reference text {number} under {version}: {}; recorded at the start: {}",
                shown(&tags),
                shown(right)
            ),
        });
    }

    /// Compares tags of a tenant that corrects with those that the same text had when the same made them.
    pub fn compare_seen(&self, promises: &Promises, tenant: usize, number: usize, tags: v1::Tags, by: &str) {
        let made_by = tags.provenance.clone().unwrap_or_default().encode_to_vec();
        let tags = bytes(tags);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        let before = seen.entry((tenant, number, made_by)).or_insert_with(|| tags.clone());
        promises.check(Promise::SameAnswer, *before == tags, || {
            format!("{by}: reference text {number}, same provenance: {}; before: {}", shown(&tags), shown(before))
        });
    }
}

/// Turns of two who talk.
pub(super) fn conversation(lines: &[String]) -> Vec<v1::Turn> {
    let speakers = [v1::Speaker::Customer, v1::Speaker::Operator].into_iter().cycle();
    let turns = lines.iter().zip(speakers).enumerate().map(|(index, (line, speaker))| v1::Turn {
        speaker: speaker.into(),
        text: line.clone(),
        offset_ms: Some(index as u64 * 4_000),
    });
    turns.collect()
}

fn version(tags: &v1::Tags) -> String {
    tags.provenance.as_ref().map(|provenance| provenance.taxonomy_version.clone()).unwrap_or_default()
}

fn bytes(tags: v1::Tags) -> Vec<u8> {
    v1::Tags { id: String::new(), ..tags }.encode_to_vec()
}

/// What there is in tags that people compare.
fn shown(tags: &[u8]) -> String {
    let Ok(tags) = v1::Tags::decode(tags) else { return "what can't be read".to_owned() };
    let topics = tags.topics.iter().map(|topic| format!("{} {}", topic.topic_id, topic.confidence));
    let topics = topics.collect::<Vec<_>>().join(", ");
    let sentiment = tags.sentiment.map(|sentiment| (sentiment.label, sentiment.score, sentiment.confidence));
    let team = tags.team.map(|team| (team.team_id, team.confidence)).unwrap_or_default();
    let signals = tags.signals.iter().map(|signal| format!("{} {}", signal.signal_id, signal.confidence));
    let signals = signals.collect::<Vec<_>>().join(", ");
    let corrections = tags.provenance.map(|provenance| provenance.corrections_version).unwrap_or_default();
    format!("topics [{topics}] sentiment {sentiment:?} team {team:?} signals [{signals}] corrections {corrections:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(version: &str, team: &str) -> v1::Tags {
        let provenance = v1::Provenance { taxonomy_version: version.into(), ..Default::default() };
        let team = v1::TeamTag { team_id: team.into(), ..Default::default() };
        v1::Tags { provenance: Some(provenance), team: Some(team), ..Default::default() }
    }

    #[test]
    fn other_tags_and_unknown_versions_are_told() {
        let reference = Reference::new(&["карта".to_owned(), "касса".to_owned()]);
        assert_eq!(reference.len(), 3);
        reference.record(0, tags("a", "cards"));
        reference.record(0, tags("b", "cash"));
        let broken = |tags: v1::Tags| {
            let promises = Promises::new();
            reference.compare(&promises, 0, tags, "test");
            promises.broken()
        };
        assert_eq!(broken(v1::Tags { id: "other".into(), ..tags("a", "cards") }), 0);
        assert_eq!(broken(tags("b", "cash")), 0);
        assert_eq!(broken(tags("b", "cards")), 1);
        assert_eq!(broken(tags("c", "cards")), 1);
    }
}
