//! What stands behind the service in these tests: a tagger that does as the text says, and a store in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use otklik::cases::{
    Amendment, Case, CaseFilter, CasePage, CaseStore, CaseStoreError, Erasure, MatchedBy, NewCase, RequestMark,
    RetagOutcome, Retagging, SimilarCase, SimilarCases, SimilarQuery, SimilarTo, TenantId, UpsertOutcome, VectoredCase,
};
use otklik::feedback::{Body, CharSpan, Feedback};
use otklik::tagging::corrections::{Background, CorrectedCase, Corrections, CorrectionsByParty, TextFeatures};
use otklik::tagging::{Consult, Party, Retagger, Tagged, Tagger, TaggerCounts, TaggingError, Urgency};
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
    /// How often somebody waited, or waits, to be released.
    pub holding: AtomicUsize,
    pub deadlines: Mutex<Vec<Option<Duration>>>,
    /// Says that there is a language model to be asked; it never is.
    pub consults: AtomicBool,
    pub consulted: Mutex<Vec<Option<Consult>>>,
    /// The real thing, asked by a tagger that has nothing else to go by.
    pub corrections: CorrectionsByParty,
    /// Topic and team that stored cases are given when they are tagged anew.
    pub renewed: Mutex<Renewed>,
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
            holding: AtomicUsize::new(0),
            deadlines: Mutex::new(Vec::new()),
            consults: AtomicBool::new(false),
            consulted: Mutex::new(Vec::new()),
            corrections: CorrectionsByParty::new(100, background()),
            renewed: Mutex::new(Renewed { topic: "payments_transfers".into(), team: "payments".into() }),
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
    /// From now on stored cases are tagged anew with this topic and team.
    pub fn renew(&self, topic: &str, team: &str) {
        *self.renewed.lock().unwrap() = Renewed { topic: topic.to_owned(), team: team.to_owned() };
    }

    pub fn count(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::SeqCst)
    }

    /// Waits to be released.
    pub async fn hold(&self) {
        self.holding.fetch_add(1, Ordering::SeqCst);
        self.release.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl Tagger for FakeTagger {
    async fn tag(&self, feedback: Feedback, urgency: Urgency) -> Result<Tagged, TaggingError> {
        let text = match &feedback.body {
            Body::Text(text) => text.clone(),
            Body::Turns(turns) => turns.iter().map(|turn| turn.text.as_str()).collect::<Vec<_>>().join("\n"),
        };
        self.started.fetch_add(1, Ordering::SeqCst);
        let in_work = self.in_work.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_work.fetch_max(in_work, Ordering::SeqCst);
        let _in_work = InWork(&self.in_work);
        self.deadlines.lock().unwrap().push(urgency.deadline.map(|due| due.saturating_duration_since(Instant::now())));
        self.consulted.lock().unwrap().push(urgency.consult);
        if self.broken.load(Ordering::SeqCst) {
            return Err(TaggingError::Internal("broken on purpose".into()));
        }
        for word in text.split_whitespace() {
            match word.split_once(':').unwrap_or((word, "")) {
                ("wait", ms) => tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await,
                ("hold", _) => self.hold().await,
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
        let mut tags = tags(&feedback.id, &text);
        let corrections = self.corrections.of(urgency.party);
        let corrections = corrections.read().unwrap();
        tags.provenance.corrections_version = corrections.version();
        if !corrections.is_empty() {
            vote(&corrections, &mut tags, vector(&text));
        }
        Ok(Tagged { tags, vector: vector(&text), reading: None })
    }

    async fn learn(&self, party: Party, cases: Vec<CorrectedCase>) -> Result<(), TaggingError> {
        self.corrections
            .change(party, |corrections| cases.into_iter().for_each(|case| corrections.learn(case, thoughts())));
        Ok(())
    }

    async fn forget(&self, party: Party, case_ids: Vec<String>) -> Result<(), TaggingError> {
        self.corrections.change(party, |corrections| corrections.forget(&case_ids));
        Ok(())
    }

    fn consults(&self) -> bool {
        self.consults.load(Ordering::SeqCst)
    }

    fn knows_topic(&self, id: &TopicId) -> bool {
        ["payments_transfers", "card_delivery"].contains(&id.as_str())
    }

    fn knows_team(&self, id: &TeamId) -> bool {
        ["payments", "logistics"].contains(&id.as_str())
    }

    fn retagger(&self, _: Party) -> Option<Arc<dyn Retagger>> {
        Some(Arc::new(self.renewed.lock().unwrap().clone()))
    }

    fn counts(&self) -> TaggerCounts {
        TaggerCounts { queued_tokens: 7, batches: 2, batch_tokens: 40, cache_hits: 3, cache_misses: 1 }
    }

    fn provenance(&self) -> Provenance {
        Provenance {
            otklik_version: "0".into(),
            taxonomy_version: TaxonomyVersion::new("sha256:0123456789abcdef"),
            encoder_id: "fake".into(),
            encoder_sha256: "00".into(),
            prototypes_version: "sha256:fedcba9876543210".into(),
            heads: vec![HeadIdentity { name: "sentiment".into(), sha256: "0f".repeat(32) }],
            corrections_version: String::new(),
            language_model: None,
        }
    }
}

/// Tags stored cases with one topic and team; their texts need not be read.
#[derive(Debug, Clone)]
pub struct Renewed {
    topic: String,
    team: String,
}

impl Renewed {
    pub fn of(topic: &str, team: &str) -> Self {
        Self { topic: topic.to_owned(), team: team.to_owned() }
    }
}

#[async_trait]
impl Retagger for Renewed {
    fn provenance(&self) -> Provenance {
        let prototypes_version = format!("{}/{}", self.topic, self.team);
        Provenance { prototypes_version, ..FakeTagger::default().provenance() }
    }

    async fn by_kept(&self, cases: Arc<Vec<VectoredCase>>) -> Result<Vec<Option<Tags>>, TaggingError> {
        let renewed = |stored: &VectoredCase| {
            let mut tags = stored.case.tags.clone();
            tags.topics[0].topic_id = TopicId::new(self.topic.as_str());
            tags.team.team_id = TeamId::new(self.team.as_str());
            tags.provenance = self.provenance();
            Some(tags)
        };
        Ok(cases.iter().map(renewed).collect())
    }

    async fn anew(&self, _: &Case) -> Result<Tagged, TaggingError> {
        Err(TaggingError::Internal("nothing has to be read".into()))
    }
}

fn thoughts() -> Vec<(String, f32)> {
    vec![("payments_transfers".to_owned(), 0.5)]
}

fn background() -> Background {
    let vectors: Vec<Vec<f32>> = ('a'..='z').chain('а'..='я').map(|letter| vector(&letter.to_string())).collect();
    Background::of(vectors.iter().map(Vec::as_slice))
}

/// Leaves the topics that are more probable than not.
fn vote(corrections: &Corrections, tags: &mut Tags, vector: Vec<f32>) {
    let foretold = corrections.topics(&TextFeatures::of(&tags.masked_text, vector), &thoughts());
    let given = tags.topics[0].clone();
    let probable = foretold.labels.iter().filter(|(_, probability)| *probability >= 0.5);
    tags.topics = probable
        .map(|(label, probability)| TopicTag {
            topic_id: TopicId::new(label.as_str()),
            confidence: Confidence::new(*probability),
            source: if *label == thoughts()[0].0 { TagSource::Prototype } else { TagSource::Neighbour },
            neighbour_case_ids: foretold.voters(label),
            ..given.clone()
        })
        .collect();
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

/// Keeps cases in memory; filters by id, customer, channel and correction, which is all that these tests ask for.
#[derive(Default)]
pub struct MemoryStore {
    pub cases: Mutex<BTreeMap<(TenantId, String), NewCase>>,
    pub silent: AtomicBool,
    /// Answers nothing while this holds.
    pub hung: AtomicBool,
    pub busy: AtomicBool,
    pub probes: AtomicUsize,
}

impl MemoryStore {
    async fn answers(&self) -> Result<(), CaseStoreError> {
        while self.hung.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if self.silent.load(Ordering::SeqCst) {
            return Err(CaseStoreError::Unavailable("silent on purpose".into()));
        }
        if self.busy.load(Ordering::SeqCst) {
            return Err(CaseStoreError::Busy { waiting: 3, limit: 3 });
        }
        Ok(())
    }
}

/// The cases of a tenant.
fn of<'a>(
    stored: &'a BTreeMap<(TenantId, String), NewCase>,
    tenant: &'a TenantId,
) -> impl Iterator<Item = &'a NewCase> + use<'a> {
    stored.iter().filter(move |((of, _), _)| of == tenant).map(|(_, stored)| stored)
}

fn matches(case: &Case, filter: &CaseFilter) -> bool {
    let listed = |values: &[String], value: Option<&String>| {
        values.is_empty() || value.is_some_and(|value| values.contains(value))
    };
    listed(&filter.ids, Some(&case.id))
        && (filter.topics.is_empty() || case.topic_ids().iter().any(|topic| filter.topics.contains(topic)))
        && filter.corrected.is_none_or(|corrected| corrected == case.correction.is_some())
        && listed(&filter.channels, case.channel.as_ref())
        && (filter.customer_id.is_none() || filter.customer_id == case.customer_id)
        && (filter.not_made_by.is_none() || filter.not_made_by != case.made_by_version())
        && (filter.read_by.is_none() || filter.read_by == case.reading.as_ref().map(|kept| kept.encoder_sha256.clone()))
}

#[async_trait]
impl CaseStore for MemoryStore {
    async fn tenants(&self) -> Result<Vec<TenantId>, CaseStoreError> {
        self.answers().await?;
        let tenants: BTreeSet<TenantId> = self.cases.lock().unwrap().keys().map(|(tenant, _)| tenant.clone()).collect();
        Ok(tenants.into_iter().collect())
    }

    async fn upsert(&self, tenant: &TenantId, cases: Vec<NewCase>) -> Result<Vec<UpsertOutcome>, CaseStoreError> {
        self.answers().await?;
        let mut stored = self.cases.lock().unwrap();
        let put = cases.into_iter().map(|mut new| {
            let key = (tenant.clone(), new.case.id.clone());
            let before = stored.remove(&key);
            let outcome = if before.is_some() { UpsertOutcome::Replaced } else { UpsertOutcome::Created };
            new.case.requests.extend(new.request_id.take().map(|request_id| RequestMark { request_id, outcome }));
            if let Some(before) = before {
                new.case = new.case.replacing(&before.case);
            }
            stored.insert(key, new);
            outcome
        });
        Ok(put.collect())
    }

    async fn amend(&self, tenant: &TenantId, id: &str, amendment: Amendment) -> Result<VectoredCase, CaseStoreError> {
        self.answers().await?;
        let mut stored = self.cases.lock().unwrap();
        let found = stored.get_mut(&(tenant.clone(), id.to_owned()));
        let found = found.ok_or_else(|| CaseStoreError::NotFound { id: id.to_owned() })?;
        found.case = found.case.clone().amended(amendment);
        Ok(VectoredCase { case: found.case.clone(), vector: found.vector.clone() })
    }

    async fn retag(&self, tenant: &TenantId, cases: Vec<Retagging>) -> Result<Vec<RetagOutcome>, CaseStoreError> {
        self.answers().await?;
        let mut stored = self.cases.lock().unwrap();
        let written = cases.into_iter().map(|new| {
            let Some(found) = stored.get_mut(&(tenant.clone(), new.case.id.clone())) else { return RetagOutcome::Gone };
            if found.case.state() != new.seen {
                return RetagOutcome::Outdated;
            }
            found.case = found.case.taking_tags_of(new.case);
            RetagOutcome::Written
        });
        Ok(written.collect())
    }

    async fn page(
        &self,
        tenant: &TenantId,
        filter: &CaseFilter,
        from: Option<&str>,
        limit: usize,
    ) -> Result<CasePage, CaseStoreError> {
        self.answers().await?;
        let stored = self.cases.lock().unwrap();
        let begun = of(&stored, tenant).filter(|stored| from.is_none_or(|from| stored.case.id.as_str() >= from));
        let mut found: Vec<_> = begun.filter(|stored| matches(&stored.case, filter)).take(limit + 1).collect();
        let next = found.get(limit).map(|stored| stored.case.id.clone());
        found.truncate(limit);
        let whole = |stored: &NewCase| VectoredCase { case: stored.case.clone(), vector: stored.vector.clone() };
        Ok(CasePage { cases: found.into_iter().map(whole).collect(), next })
    }

    async fn get(&self, tenant: &TenantId, id: &str) -> Result<Case, CaseStoreError> {
        self.answers().await?;
        let stored = self.cases.lock().unwrap();
        let found = stored.get(&(tenant.clone(), id.to_owned())).map(|stored| stored.case.clone());
        found.ok_or_else(|| CaseStoreError::NotFound { id: id.to_owned() })
    }

    async fn get_many(&self, tenant: &TenantId, ids: &[String]) -> Result<Vec<Case>, CaseStoreError> {
        self.answers().await?;
        let stored = self.cases.lock().unwrap();
        let found = ids.iter().filter_map(|id| stored.get(&(tenant.clone(), id.clone())));
        Ok(found.map(|stored| stored.case.clone()).collect())
    }

    async fn find_similar(&self, tenant: &TenantId, query: SimilarQuery) -> Result<SimilarCases, CaseStoreError> {
        self.answers().await?;
        let stored = self.cases.lock().unwrap();
        let (vector, left_out) = match query.to {
            SimilarTo::Text { vector, .. } => (vector, None),
            SimilarTo::CaseId(id) => match stored.get(&(tenant.clone(), id.clone())) {
                Some(found) => (found.vector.clone(), Some(id)),
                None => return Err(CaseStoreError::NotFound { id }),
            },
        };
        let cosine = |other: &[f32]| other.iter().zip(&vector).map(|(a, b)| a * b).sum::<f32>();
        let mut hits: Vec<_> = of(&stored, tenant)
            .filter(|stored| matches(&stored.case, &query.filter) && Some(&stored.case.id) != left_out.as_ref())
            .map(|stored| SimilarCase {
                case: stored.case.clone(),
                score: cosine(&stored.vector),
                rank_score: 0.0,
                matched_by: MatchedBy::default(),
                duplicate_ids: vec![],
            })
            .filter(|found| query.min_score.is_none_or(|least| found.score >= least))
            .collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        let considered = hits.len();
        hits.truncate(query.limit);
        Ok(SimilarCases { hits, outcomes: vec![], considered })
    }

    async fn count(&self, tenant: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError> {
        self.answers().await?;
        let stored = self.cases.lock().unwrap();
        Ok(of(&stored, tenant).filter(|stored| matches(&stored.case, filter)).count() as u64)
    }

    async fn delete(&self, tenant: &TenantId, filter: &CaseFilter) -> Result<u64, CaseStoreError> {
        self.answers().await?;
        let mut stored = self.cases.lock().unwrap();
        let before = stored.len();
        stored.retain(|(of, _), stored| of != tenant || !matches(&stored.case, filter));
        Ok((before - stored.len()) as u64)
    }

    async fn erase(&self, tenant: &TenantId, customer_id: &str) -> Result<Erasure, CaseStoreError> {
        let filter = CaseFilter { customer_id: Some(customer_id.to_owned()), ..CaseFilter::default() };
        let found = self.page(tenant, &filter, None, usize::MAX - 1).await?;
        let ids = found.cases.into_iter().map(|stored| stored.case.id).collect();
        self.delete(tenant, &filter).await?;
        Ok(Erasure::new(tenant, customer_id, ids, vec!["/backup/1".to_owned()]))
    }

    async fn probe(&self) -> Result<u64, CaseStoreError> {
        self.probes.fetch_add(1, Ordering::SeqCst);
        self.answers().await?;
        Ok(self.cases.lock().unwrap().len() as u64)
    }

    async fn close(&self) -> Result<(), CaseStoreError> {
        Ok(())
    }
}
