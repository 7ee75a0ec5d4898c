//! Random operations on a store beside a simple one in memory, with restarts: both must answer alike.
//!
//! `OTKLIK_MODEL_SEED` repeats a run, `OTKLIK_MODEL_OPS` sets its length.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use otklik::cases::{
    Amendment, Case, CaseFilter, CaseStore, CaseStoreError, Correction, NewCase, OutcomeStatus, RequestMark,
    SimilarQuery, TenantId, UpsertOutcome,
};
use otklik::tags::TopicId;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::sample::*;
use crate::stores::{Place, places};

const IDS: u32 = 40;
const CUSTOMERS: u32 = 5;
const CHANNELS: [&str; 3] = ["call", "chat", "email"];
const WORDS: [&str; 8] = ["карта", "кредит", "вклад", "перевод", "комиссия", "касса", "оператор", "приложение"];

/// What the store should hold.
#[derive(Default)]
struct Model {
    cases: BTreeMap<(TenantId, String), (Case, f32)>,
}

impl Model {
    fn of<'a>(&'a self, tenant: &'a TenantId, filter: &'a CaseFilter) -> impl Iterator<Item = &'a (Case, f32)> {
        let of_tenant = self.cases.iter().filter(move |((owner, _), _)| owner == tenant);
        of_tenant.map(|(_, stored)| stored).filter(move |(case, _)| matches(case, filter))
    }

    fn upsert(&mut self, tenant: &TenantId, new: NewCase, degrees: f32) -> UpsertOutcome {
        let key = (tenant.clone(), new.case.id.clone());
        let earlier = self.cases.get(&key).map(|(case, _)| case.clone());
        if let (Some(earlier), Some(request)) = (&earlier, &new.request_id)
            && let Some(done) = earlier.done_by(request)
        {
            return done;
        }
        let outcome = if earlier.is_some() { UpsertOutcome::Replaced } else { UpsertOutcome::Created };
        let mut case = new.case;
        case.requests.extend(new.request_id.map(|request_id| RequestMark { request_id, outcome }));
        if let Some(earlier) = earlier {
            // Said anew by hand, not by the function under test.
            case.correction = case.correction.or(earlier.correction);
            case.outcome = case.outcome.or(earlier.outcome);
            let mut requests = earlier.requests;
            requests.extend(case.requests);
            case.requests = requests.split_off(requests.len().saturating_sub(8));
        }
        self.cases.insert(key, (case, degrees));
        outcome
    }

    fn remove(&mut self, tenant: &TenantId, filter: &CaseFilter) -> u64 {
        let before = self.cases.len();
        self.cases.retain(|(owner, _), (case, _)| owner != tenant || !matches(case, filter));
        (before - self.cases.len()) as u64
    }
}

fn matches(case: &Case, filter: &CaseFilter) -> bool {
    (filter.ids.is_empty() || filter.ids.contains(&case.id))
        && (filter.channels.is_empty()
            || case.channel.as_ref().is_some_and(|channel| filter.channels.contains(channel)))
        && filter.customer_id.as_ref().is_none_or(|customer| case.customer_id.as_ref() == Some(customer))
        && (filter.statuses.is_empty() || filter.statuses.contains(&case.status()))
        && (filter.topics.is_empty() || case.topic_ids().iter().any(|topic| filter.topics.contains(topic)))
        && filter.corrected.is_none_or(|corrected| corrected == case.correction.is_some())
}

struct Run {
    random: ChaCha8Rng,
    model: Model,
    store: Arc<dyn CaseStore>,
    operations: u64,
}

impl Run {
    fn tenant(&mut self) -> TenantId {
        TenantId::new(["a", "b"][self.random.random_range(0..2)])
    }

    fn id(&mut self) -> String {
        self.random.random_range(0..IDS).to_string()
    }

    fn customer(&mut self) -> String {
        format!("customer {}", self.random.random_range(0..CUSTOMERS))
    }

    fn filter(&mut self) -> CaseFilter {
        let mut filter = CaseFilter::default();
        match self.random.random_range(0..7) {
            0 => filter.ids = (0..3).map(|_| self.id()).collect(),
            1 => filter.channels = vec![CHANNELS[self.random.random_range(0..3)].into()],
            2 => filter.customer_id = Some(self.customer()),
            3 => filter.statuses = vec![OutcomeStatus::ALL[self.random.random_range(0..3)]],
            4 => filter.topics = vec![TopicId::new(format!("topic {}", self.random.random_range(0..3)))],
            5 => filter.corrected = Some(self.random.random()),
            _ => {}
        }
        if self.random.random_range(0..4) == 0 {
            filter.channels = vec![CHANNELS[self.random.random_range(0..3)].into()];
        }
        filter
    }

    fn new_case(&mut self, id: String) -> (NewCase, f32) {
        let words = self.random.random_range(1..5);
        let text: Vec<&str> = (0..words).map(|_| WORDS[self.random.random_range(0..WORDS.len())]).collect();
        let mut case = case(&id, &text.join(" "));
        case.channel = self.random.random_bool(0.7).then(|| CHANNELS[self.random.random_range(0..3)].to_owned());
        case.customer_id = self.random.random_bool(0.7).then(|| self.customer());
        let degrees = self.random.random_range(0..3_600) as f32 / 10.0;
        let request_id = self.random.random_bool(0.4).then(|| format!("call {}", self.random.random_range(0..30)));
        (NewCase { request_id, ..new(case, degrees) }, degrees)
    }

    async fn operate(&mut self, place: &dyn Place) {
        let tenant = self.tenant();
        match self.random.random_range(0..100) {
            0..=29 => {
                let mut ids: Vec<String> = (0..self.random.random_range(1..6)).map(|_| self.id()).collect();
                ids.sort_unstable();
                ids.dedup();
                let cases: Vec<_> = ids.into_iter().map(|id| self.new_case(id)).collect();
                let given = cases.iter().map(|(new, _)| new.clone()).collect();
                let outcomes = self.store.upsert(&tenant, given).await.unwrap();
                let expected: Vec<_> =
                    cases.into_iter().map(|(new, degrees)| self.model.upsert(&tenant, new, degrees)).collect();
                assert_eq!(outcomes, expected);
            }
            30..=44 => {
                let id = self.id();
                let amendment = if self.random.random() {
                    Amendment::Correction(Correction {
                        topics: Some(vec![TopicId::new(format!("topic {}", self.random.random_range(0..3)))]),
                        team: None,
                        sentiment: None,
                        corrected_by: None,
                        corrected_at: second(1_765_000_000),
                        note: None,
                    })
                } else {
                    let status = OutcomeStatus::ALL[self.random.random_range(0..3)];
                    Amendment::Outcome { outcome: outcome(status, Some("refund")), links: None }
                };
                let done = self.store.amend(&tenant, &id, amendment.clone()).await;
                match self.model.cases.get_mut(&(tenant, id)) {
                    Some((case, _)) => {
                        *case = case.clone().amended(amendment);
                        assert_eq!(&done.unwrap().case, case);
                    }
                    None => assert!(matches!(done, Err(CaseStoreError::NotFound { .. }))),
                }
            }
            45..=49 => {
                let filter = self.filter();
                if filter != CaseFilter::default() {
                    let deleted = self.store.delete(&tenant, &filter).await.unwrap();
                    assert_eq!(deleted, self.model.remove(&tenant, &filter), "{filter:?}");
                }
            }
            50..=51 => {
                let customer = self.customer();
                let filter = CaseFilter { customer_id: Some(customer.clone()), ..CaseFilter::default() };
                let erased = self.store.erase(&tenant, &customer).await.unwrap();
                assert_eq!(erased.case_ids.len() as u64, self.model.remove(&tenant, &filter));
            }
            52..=64 => {
                let id = self.id();
                let found = self.store.get(&tenant, &id).await.ok();
                assert_eq!(found.as_ref(), self.model.cases.get(&(tenant, id)).map(|(case, _)| case));
            }
            65..=74 => {
                let filter = self.filter();
                let count = self.store.count(&tenant, &filter).await.unwrap();
                assert_eq!(count, self.model.of(&tenant, &filter).count() as u64, "{filter:?}");
            }
            75..=82 => {
                let filter = self.filter();
                let (mut found, mut from) = (Vec::new(), None::<String>);
                loop {
                    let page = self.store.page(&tenant, &filter, from.as_deref(), 7).await.unwrap();
                    found.extend(page.cases.into_iter().map(|stored| stored.case));
                    from = page.next;
                    if from.is_none() {
                        break;
                    }
                }
                found.sort_by(|one, other| one.id.cmp(&other.id));
                let expected: Vec<Case> = self.model.of(&tenant, &filter).map(|(case, _)| case.clone()).collect();
                assert_eq!(found, expected, "{filter:?}");
            }
            83..=96 => self.search(&tenant).await,
            _ => {
                self.store.close().await.unwrap();
                self.store = place.open().await;
            }
        }
        self.operations += 1;
    }

    async fn search(&mut self, tenant: &TenantId) {
        let filter = self.filter();
        let degrees = self.random.random_range(0..3_600) as f32 / 10.0;
        let by_meaning = SimilarQuery { filter: filter.clone(), ..near(degrees, 5) };
        let found = self.store.find_similar(tenant, by_meaning).await.unwrap();
        let cosine = |other: f32| (degrees - other).to_radians().cos();
        let mut expected: Vec<f32> = self.model.of(tenant, &filter).map(|(_, own)| cosine(*own)).collect();
        expected.sort_by(|one, other| other.total_cmp(one));
        expected.truncate(5);
        assert_eq!(found.hits.len(), expected.len(), "{filter:?}");
        for (hit, expected) in found.hits.iter().zip(expected) {
            assert!((hit.score - expected).abs() < 1e-3, "{}: {} and {expected}", hit.case.id, hit.score);
            assert_eq!(
                Some(&hit.case),
                self.model.cases.get(&(tenant.clone(), hit.case.id.clone())).map(|(case, _)| case)
            );
        }
        let word = WORDS[self.random.random_range(0..WORDS.len())];
        let hybrid = SimilarQuery { filter: filter.clone(), fold_duplicates: false, ..search(word, degrees, 100) };
        let found = self.store.find_similar(tenant, hybrid).await.unwrap();
        let mut found_ids = ids(&found);
        found_ids.sort_unstable();
        let expected: Vec<&str> = self.model.of(tenant, &filter).map(|(case, _)| case.id.as_str()).collect();
        let mut sorted = expected.clone();
        sorted.sort_unstable();
        assert_eq!(found_ids, sorted, "{filter:?}");
        for hit in &found.hits {
            let has_word = hit.case.masked_text.contains(word);
            assert_eq!(hit.matched_by.words_rank.is_some(), has_word, "{word} and {:?}", hit.case.masked_text);
            assert_eq!(!hit.matched_by.words.is_empty(), has_word);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_answers_as_a_simple_one_would_whatever_is_done_to_it() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("OTKLIK_MODEL_SEED").unwrap_or(now.as_nanos() as u64);
    let operations = number("OTKLIK_MODEL_OPS").unwrap_or(300);
    for place in places() {
        println!("OTKLIK_MODEL_SEED={seed} OTKLIK_MODEL_OPS={operations}, {}", place.name());
        let mut run = Run {
            random: ChaCha8Rng::seed_from_u64(seed),
            model: Model::default(),
            store: place.open().await,
            operations: 0,
        };
        while run.operations < operations {
            run.operate(&*place).await;
        }
        run.store.close().await.unwrap();
    }
}
