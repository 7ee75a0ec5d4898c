//! What persons corrected, remembered so that the very next text profits, without training.
//!
//! Enters: corrected texts (vector and n-grams) with what a person said of them and what the model had thought. Leaves: for a new
//! text the probability of each label, mixed of the model's and what follows from the corrections, and the corrections that lie
//! nearest. How much the corrections count is learnt from how well they foretold each other. The same corrections in the same
//! order give the same answers to the last bit. Never here: where corrections are stored.

mod by_party;
mod memory;
mod mix;
#[cfg(test)]
mod tests;
mod text;
mod weights;

use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

pub use by_party::CorrectionsByParty;
pub use memory::{Answer, Answers, Foretold, Memory, Neighbour};
pub use text::{Background, TextFeatures};

use crate::cases::{CaseFilter, CaseStore, CaseStoreError, TenantId, VectoredCase};
use crate::tags::{Tags, TeamId, TeamTag, TopicId};

/// Cases of one part of a scan.
const PAGE: usize = 1_000;

/// Bytes of a version's hash.
const VERSION_BYTES: usize = 8;

/// A case that a person corrected.
#[derive(Debug, Clone, PartialEq)]
pub struct CorrectedCase {
    /// Id of the case.
    pub id: String,
    /// Its masked text.
    pub masked_text: String,
    /// Its unit vector.
    pub vector: Vec<f32>,
    /// The right topics, if the person named them; empty is "none".
    pub topics: Option<Vec<TopicId>>,
    /// The right team, if the person named it.
    pub team: Option<TeamId>,
    /// The tags that the models gave.
    pub tags: Tags,
}

impl CorrectedCase {
    /// What a stored case teaches; `None` if no person said anything of its topics or team.
    pub fn of(stored: VectoredCase) -> Option<Self> {
        let VectoredCase { case, vector } = stored;
        let correction = case.correction?;
        let teaches = correction.topics.is_some() || correction.team.is_some();
        teaches.then_some(Self {
            id: case.id,
            masked_text: case.masked_text,
            vector,
            topics: correction.topics,
            team: correction.team,
            tags: case.tags,
        })
    }
}

/// What the corrected cases of a store teach, in the order in which persons said it; the newest `most` of them.
///
/// # Errors
/// Those of [`CaseStore::page`].
pub async fn stored(
    cases: &dyn CaseStore,
    tenant: &TenantId,
    most: usize,
) -> Result<Vec<CorrectedCase>, CaseStoreError> {
    let filter = CaseFilter { corrected: Some(true), ..CaseFilter::default() };
    let mut found: Vec<(Timestamp, CorrectedCase)> = Vec::new();
    let mut from: Option<String> = None;
    loop {
        let page = cases.page(tenant, &filter, from.as_deref(), PAGE).await?;
        found.extend(page.cases.into_iter().filter_map(|stored| {
            let at = stored.case.correction.as_ref()?.corrected_at;
            Some((at, CorrectedCase::of(stored)?))
        }));
        if page.next.is_none() || found.len() > most.saturating_add(PAGE) {
            found.sort_by(|(one, a), (other, b)| one.cmp(other).then_with(|| a.id.cmp(&b.id)));
            found.drain(..found.len().saturating_sub(most));
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(found.into_iter().map(|(_, case)| case).collect()),
        }
    }
}

/// All corrections in force.
pub struct Corrections {
    topics: Memory,
    teams: Memory,
    /// Hash of everything that was learnt and forgotten, in order.
    chain: [u8; 32],
}

impl Corrections {
    /// None yet; of each question at most `most` are kept, the newest.
    pub fn new(most: usize, background: &Background) -> Self {
        Self {
            topics: Memory::new(Answers::Any, most, background.clone()),
            teams: Memory::new(Answers::One, most, background.clone()),
            chain: [0; 32],
        }
    }

    /// True if nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.teams.is_empty()
    }

    /// What follows for the topics of a text, given what the models think.
    pub fn topics(&self, text: &TextFeatures, model: &[(String, f32)]) -> Foretold {
        self.topics.foretell(text, Some(model))
    }

    /// What follows for the team of a text, given what routing thinks.
    pub fn teams(&self, text: &TextFeatures, model: &[(String, f32)]) -> Foretold {
        self.teams.foretell(text, Some(model))
    }

    /// Learns one correction, given what the models think of its topics. It takes milliseconds.
    pub fn learn(&mut self, case: CorrectedCase, thoughts: Vec<(String, f32)>) {
        self.note("learn", &case, &thoughts);
        let (topics, team) = answers(case, thoughts);
        if let Some(answer) = topics {
            self.topics.learn(answer);
        }
        if let Some(answer) = team {
            self.teams.learn(answer);
        }
    }

    /// Learns many corrections, the oldest first.
    pub fn learn_many(&mut self, cases: Vec<(CorrectedCase, Vec<(String, f32)>)>) {
        let (mut topics, mut teams) = (Vec::new(), Vec::new());
        for (case, thoughts) in cases {
            self.note("load", &case, &thoughts);
            let (topic, team) = answers(case, thoughts);
            topics.extend(topic);
            teams.extend(team);
        }
        self.topics.learn_many(topics);
        self.teams.learn_many(teams);
    }

    /// Forgets cases, as when they are erased, and says of how many anything was known.
    pub fn forget(&mut self, ids: &[String]) -> usize {
        let mut forgotten = 0;
        for id in ids {
            let known = [self.topics.forget(id), self.teams.forget(id)];
            if known.contains(&true) {
                forgotten += 1;
                self.link(|hasher| hasher.update(["forget", id].join("\0")));
            }
        }
        forgotten
    }

    /// Version of the corrections in force: how many they are, and a hash of what was learnt and forgotten since the start, in
    /// order. Empty if nothing ever was.
    pub fn version(&self) -> String {
        if self.chain == [0; 32] {
            return String::new();
        }
        let digits: String = self.chain.iter().take(VERSION_BYTES).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{digits}", self.topics.len().max(self.teams.len()))
    }

    fn note(&mut self, event: &str, case: &CorrectedCase, thoughts: &[(String, f32)]) {
        let CorrectedCase { id, masked_text, vector, topics, team, tags } = case;
        self.link(|hasher| {
            for part in [event, id, masked_text] {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            vector.iter().for_each(|value| hasher.update(value.to_le_bytes()));
            hasher.update(format!("{topics:?} {team:?} {thoughts:?} {:?}", model_teams(&tags.team)));
        });
    }

    fn link(&mut self, add: impl FnOnce(&mut Sha256)) {
        let mut hasher = Sha256::new_with_prefix(self.chain);
        add(&mut hasher);
        self.chain = hasher.finalize().into();
    }
}

fn answers(case: CorrectedCase, thoughts: Vec<(String, f32)>) -> (Option<Answer>, Option<Answer>) {
    let CorrectedCase { id, masked_text, vector, topics, team, tags } = case;
    let text = Arc::new(TextFeatures::of(&masked_text, vector));
    let answer = |labels: Vec<String>, model| Answer { id: id.clone(), text: Arc::clone(&text), labels, model };
    let thoughts = Some(thoughts);
    let topics = topics.map(|topics| {
        let mut labels: Vec<String> = topics.iter().map(ToString::to_string).collect();
        labels.sort_unstable();
        labels.dedup();
        answer(labels, thoughts)
    });
    let team = team.map(|team| answer(vec![team.to_string()], Some(model_teams(&tags.team))));
    (topics, team)
}

/// What routing thought of the teams; where neighbours overrode it, its choice stands among the alternatives.
pub(super) fn model_teams(team: &TeamTag) -> Vec<(String, f32)> {
    let first = team.neighbour_case_ids.is_empty().then_some((&team.team_id, team.confidence));
    let others = team.alternatives.iter().map(|team| (&team.team_id, team.confidence));
    first.into_iter().chain(others).map(|(team, confidence)| (team.to_string(), confidence.get())).collect()
}
