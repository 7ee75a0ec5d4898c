//! What stands behind the service in these tests: a tagger that does as the text says, and a store in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use otklik::cases::{
    Case, CaseFilter, CaseStore, CaseStoreError, NewCase, SimilarCase, SimilarQuery, SimilarTo, TenantId, UpsertOutcome,
};
use otklik::feedback::{Body, CharSpan, Feedback};
use otklik::tagging::{Tagged, Tagger, TaggingError};
use otklik::tags::*;
use tokio::sync::Semaphore;

/// Personal data, as far as this tagger knows.
pub const PERSONAL: &str = "+79160000000";

/// Obeys words in the text: `wait:MS`, `hold` (until released), `fail`, `overload`, `invalid`, `panic`.
pub struct FakeTagger {
    pub started: AtomicUsize,
    pub finished: AtomicUsize,
    pub in_work: AtomicUsize,
    pub most_in_work: AtomicUsize,
    pub broken: AtomicBool,
    pub release: Semaphore,
    pub deadlines: Mutex<Vec<Option<Duration>>>,
}

impl Default for FakeTagger {
    fn default() -> Self {
        Self {
            started: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            in_work: AtomicUsize::new(0),
            most_in_work: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            release: Semaphore::new(0),
            deadlines: Mutex::new(Vec::new()),
        }
    }
}

/// Counts a call as in work until it is finished or dropped.
struct InWork<'a>(&'a AtomicUsize);

impl Drop for InWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FakeTagger {
    pub fn count(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Tagger for FakeTagger {
    async fn tag(&self, feedback: Feedback, deadline: Option<Instant>) -> Result<Tagged, TaggingError> {
        let text = match &feedback.body {
            Body::Text(text) => text.clone(),
            Body::Turns(turns) => turns.iter().map(|turn| turn.text.as_str()).collect::<Vec<_>>().join("\n"),
        };
        self.started.fetch_add(1, Ordering::SeqCst);
        let in_work = self.in_work.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_work.fetch_max(in_work, Ordering::SeqCst);
        let _in_work = InWork(&self.in_work);
        self.deadlines.lock().unwrap().push(deadline.map(|due| due.saturating_duration_since(Instant::now())));
        if self.broken.load(Ordering::SeqCst) {
            return Err(TaggingError::Internal("broken on purpose".into()));
        }
        for word in text.split_whitespace() {
            match word.split_once(':').unwrap_or((word, "")) {
                ("wait", ms) => tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await,
                ("hold", _) => self.release.acquire().await.unwrap().forget(),
                ("fail", _) => return Err(TaggingError::Internal(format!("failed on {}", text.len()))),
                ("overload", _) => return Err(TaggingError::Overloaded { queued: 9, limit: 8 }),
                ("invalid", _) => {
                    return Err(TaggingError::Invalid {
                        field: "turns[0].text".into(),
                        problem: "must not be so".into(),
                    });
                }
                ("panic", _) => panic!("panicked on purpose"),
                _ => {}
            }
        }
        self.finished.fetch_add(1, Ordering::SeqCst);
        Ok(Tagged { tags: tags(&feedback.id, &text), vector: vector(&text) })
    }

    fn provenance(&self) -> Provenance {
        Provenance {
            otklik_version: "0".into(),
            taxonomy_version: TaxonomyVersion::new("sha256:0123456789abcdef"),
            encoder_id: "fake".into(),
            encoder_sha256: "00".into(),
            prototypes_version: "sha256:fedcba9876543210".into(),
            corrections_version: String::new(),
        }
    }
}

/// Texts of the same first letter are alike.
fn vector(text: &str) -> Vec<f32> {
    let angle = text.chars().next().map_or(0.0, |letter| letter as u32 as f32 / 100.0);
    vec![angle.cos(), angle.sin()]
}

fn tags(id: &str, text: &str) -> Tags {
    let sentiment = Sentiment { label: SentimentLabel::Negative, score: -0.5, confidence: Confidence::new(0.75) };
    let evidence = Evidence { turn: None, span: CharSpan::new(0, 3), weight: Confidence::ONE };
    Tags {
        id: id.to_owned(),
        language: Language::Russian,
        topics: vec![TopicTag {
            topic_id: TopicId::new("payments_transfers"),
            parent_id: Some(TopicId::new("money")),
            confidence: Confidence::new(0.5),
            sentiment,
            source: TagSource::Prototype,
            rule_id: None,
            neighbour_case_ids: vec![],
            evidence: vec![evidence],
        }],
        sentiment: Some(sentiment),
        team: TeamTag {
            team_id: TeamId::new("payments"),
            confidence: Confidence::new(0.25),
            reason: "owns payments_transfers".into(),
            rule_id: Some("payments".into()),
            escalates_to: None,
            alternatives: vec![],
            neighbour_case_ids: vec![],
        },
        signals: vec![SignalTag {
            signal_id: SignalId::new("promise"),
            confidence: Confidence::ONE,
            source: TagSource::Rule,
            rule_id: Some("term".into()),
            detail: Some("by 23:00".into()),
            evidence: vec![evidence],
        }],
        turns: vec![],
        sentiment_trend: None,
        review: Review { needed: true, reasons: vec![ReviewReason::TeamUnclear] },
        masked_text: text.replace(PERSONAL, "[PHONE]"),
        tokens: 7,
        provenance: FakeTagger::default().provenance(),
    }
}

/// Keeps cases in memory; filters by id, customer and channel, which is all that these tests ask for.
#[derive(Default)]
pub struct MemoryStore {
    pub cases: Mutex<BTreeMap<(TenantId, String), NewCase>>,
    pub silent: AtomicBool,
    pub busy: AtomicBool,
    pub probes: AtomicUsize,
}

impl MemoryStore {
    fn answers(&self) -> Result<(), CaseStoreError> {
        if self.silent.load(Ordering::SeqCst) {
            return Err(CaseStoreError::Unavailable("silent on purpose".into()));
        }
        if self.busy.load(Ordering::SeqCst) {
            return Err(CaseStoreError::Busy { waiting: 3, limit: 3 });
        }
        Ok(())
    }
}

fn matches(case: &Case, filter: &CaseFilter) -> bool {
    let listed = |values: &[String], value: Option<&String>| {
        values.is_empty() || value.is_some_and(|value| values.contains(value))
    };
    listed(&filter.ids, Some(&case.id))
        && listed(&filter.channels, case.channel.as_ref())
        && (filter.customer_id.is_none() || filter.customer_id == case.customer_id)
}

#[async_trait]
impl CaseStore for MemoryStore {
    async fn upsert(&self, tenant: &TenantId, cases: Vec<NewCase>) -> Result<Vec<UpsertOutcome>, CaseStoreError> {
        self.answers()?;
        let mut stored = self.cases.lock().unwrap();
        let put = cases.into_iter().map(|new| match stored.insert((tenant.clone(), new.case.id.clone()), new) {
            Some(_) => UpsertOutcome::Replaced,
            None => UpsertOutcome::Created,
        });
        Ok(put.collect())
    }

    async fn get(&self, tenant: &TenantId, id: &str) -> Result<Case, CaseStoreError> {
        self.answers()?;
        let stored = self.cases.lock().unwrap();
        let found = stored.get(&(tenant.clone(), id.to_owned())).map(|stored| stored.case.clone());
        found.ok_or_else(|| CaseStoreError::NotFound { id: id.to_owned() })
    }

    async fn find_similar(&self, tenant: &TenantId, query: SimilarQuery) -> Result<Vec<SimilarCase>, CaseStoreError> {
        self.answers()?;
        let stored = self.cases.lock().unwrap();
        let (vector, left_out) = match query.to {
            SimilarTo::Vector(vector) => (vector, None),
            SimilarTo::CaseId(id) => match stored.get(&(tenant.clone(), id.clone())) {
                Some(found) => (found.vector.clone(), Some(id)),
                None => return Err(CaseStoreError::NotFound { id }),
            },
        };
        let cosine = |other: &[f32]| other.iter().zip(&vector).map(|(a, b)| a * b).sum::<f32>();
        let mut found: Vec<_> = stored
            .values()
            .filter(|stored| matches(&stored.case, &query.filter) && Some(&stored.case.id) != left_out.as_ref())
            .map(|stored| SimilarCase { case: stored.case.clone(), score: cosine(&stored.vector) })
            .filter(|found| query.min_score.is_none_or(|least| found.score >= least))
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(query.limit);
        Ok(found)
    }

    async fn count(&self, _: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError> {
        let stored = self.cases.lock().unwrap();
        Ok(stored.values().filter(|stored| matches(&stored.case, filter)).count() as u64)
    }

    async fn delete(&self, _: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError> {
        self.answers()?;
        let mut stored = self.cases.lock().unwrap();
        let before = stored.len();
        stored.retain(|_, stored| !matches(&stored.case, filter));
        Ok((before - stored.len()) as u64)
    }

    async fn probe(&self) -> Result<(), CaseStoreError> {
        self.probes.fetch_add(1, Ordering::SeqCst);
        self.answers()
    }

    async fn close(&self) -> Result<(), CaseStoreError> {
        Ok(())
    }
}
