//! The calls that change cases: each is noted in the ledger before it is made and when it is acknowledged, and cases are read back.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use otklik::server::wire::v1::{self, upsert_cases_result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tonic::{Code, Status};

use super::calls::ANCHORS;
use super::ledger::{Change, Held, Named, Place, State};
use super::promises::Promise;
use super::run::{DEADLINE, Run, WRITERS, words};

/// The attribute that says whose a case is.
pub(super) const OWNER: &str = "owner";

/// The attribute that says which write stored a case.
const REVISION: &str = "revision";

/// Cases of each tenant that are changed; their ids are the same for all tenants.
const CASES: u32 = 1_500;

/// One of so many may be corrected: what a service learns is kept in memory.
const CORRECTED_ONE_OF: u32 = 8;

/// Numbers of anchors begin here.
const FIRST_ANCHOR: u32 = 1_000_000;

/// Tries of a call whose answer did not come, under the same name.
const TRIES: u64 = 4;

/// Cases that are read back at once.
const READ_TOGETHER: usize = 4;

/// Id of a case.
fn id(number: u32) -> String {
    match number.checked_sub(FIRST_ANCHOR) {
        Some(anchor) => anchor_id(anchor),
        None => format!("case-{number}"),
    }
}

/// Id of a case that is only looked for.
pub(super) fn anchor_id(anchor: u32) -> String {
    format!("anchor-{anchor}")
}

/// What is said in it.
pub(super) fn anchor_text(run: &Run, tenant: usize, anchor: u32) -> String {
    let number = anchor as usize * WRITERS + tenant;
    let text = run.texts.get(number % run.texts.len().max(1)).map_or("", String::as_str);
    format!("{text} {}", words(0x00a0_0000 + number as u64))
}

impl Run {
    /// A case that nobody else has in hand.
    fn any_case(&self, random: &mut ChaCha8Rng, step: u32) -> Option<Held> {
        let tenant = random.random_range(0..WRITERS);
        let number = random.random_range(0..CASES / step) * step;
        self.ledger.take((tenant, number))
    }

    /// Stores the cases that are only looked for.
    ///
    /// # Errors
    /// What the service said.
    pub async fn store_anchors(&self) -> anyhow::Result<()> {
        for tenant in 0..WRITERS {
            for anchor in 0..ANCHORS {
                if let Some(held) = self.ledger.take((tenant, FIRST_ANCHOR + anchor)) {
                    let stored = self.store(vec![held], |run| anchor_text(run, tenant, anchor)).await;
                    stored.map_err(|status| anyhow::anyhow!("the first cases can't be stored: {status}"))?;
                }
            }
        }
        Ok(())
    }

    /// Stores some cases, new or over those of before.
    pub async fn upsert(&self, random: &mut ChaCha8Rng) {
        let Some(first) = self.any_case(random, 1) else { return };
        let (tenant, number) = first.place();
        let more = random.random_range(0..3);
        let others = (1..=more).filter_map(|next| self.ledger.take((tenant, (number + next) % CASES)));
        let held: Vec<Held> = std::iter::once(first).chain(others).collect();
        // How it ended is noted and judged where it is made.
        let _ = self.store(held, Self::new_text).await;
    }

    /// Stores cases of one tenant in one call.
    async fn store(&self, held: Vec<Held>, text: impl Fn(&Self) -> String) -> Result<(), Status> {
        let Some((tenant, _)) = held.first().map(Held::place) else { return Ok(()) };
        let revision = self.number();
        let change = Change::Store(revision);
        let items = held.iter().map(|held| v1::UpsertCasesItem {
            feedback: Some(v1::Feedback {
                id: id(held.place().1),
                text: text(self),
                attributes: [(OWNER, self.name(tenant).to_owned()), (REVISION, revision.to_string())]
                    .map(|(key, value)| (key.to_owned(), value))
                    .into(),
                ..Default::default()
            }),
            ..Default::default()
        });
        let message = v1::UpsertCasesRequest { items: items.collect(), request_id: format!("store-{revision}") };
        held.iter().for_each(|held| held.begin(change));
        let mut tries = Tries::default();
        let results = loop {
            match self.upsert_once(tenant, message.clone()).await {
                Ok(answer) => break answer.results,
                Err(status) if !tries.has_another(&status).await => return Err(status),
                Err(_) => {}
            }
        };
        let is_whole = results.len() == held.len();
        self.promises.check(Promise::WriteKept, is_whole, || {
            format!("UpsertCases of {} items has {} results", held.len(), results.len())
        });
        let mut all_stored = true;
        for (held, result) in held.iter().zip(&results) {
            match &result.result {
                Some(upsert_cases_result::Result::Stored(_)) => held.acknowledged(change, None),
                Some(upsert_cases_result::Result::Error(error)) => {
                    all_stored = false;
                    self.judge_item("an item of UpsertCases", error.code, &error.message);
                }
                None => self.judge_item("an item of UpsertCases", 2, "it is neither stored nor refused"),
            }
        }
        if all_stored && revision.is_multiple_of(4) && !self.forgets() {
            self.store_twice(tenant, message, &results).await;
        }
        Ok(())
    }

    /// Sends what was stored once more: it must not be stored again.
    async fn store_twice(&self, tenant: usize, message: v1::UpsertCasesRequest, first: &[v1::UpsertCasesResult]) {
        let Ok(again) = self.upsert_once(tenant, message).await else { return };
        let outcome = |result: &v1::UpsertCasesResult| match &result.result {
            Some(upsert_cases_result::Result::Stored(stored)) => Some((result.id.clone(), stored.outcome)),
            _ => None,
        };
        let (before, after): (Vec<_>, Vec<_>) =
            (first.iter().map(outcome).collect(), again.results.iter().map(outcome).collect());
        self.promises.check(Promise::ActsOnce, after.iter().any(Option::is_none) || before == after, || {
            format!("UpsertCases twice under one request_id: first {before:?}, then {after:?}")
        });
    }

    async fn upsert_once(
        &self,
        tenant: usize,
        message: v1::UpsertCasesRequest,
    ) -> Result<v1::UpsertCasesResponse, Status> {
        let (mut client, request) = (self.cases(), self.request(tenant, DEADLINE, message));
        let answer = self.observe("UpsertCases", DEADLINE, &[], client.upsert_cases(request)).await;
        answer.map(tonic::Response::into_inner)
    }

    /// Corrects the topics of a case.
    pub async fn correct(&self, random: &mut ChaCha8Rng) {
        let Some(held) = self.any_case(random, CORRECTED_ONE_OF) else { return };
        let topics = self.topics();
        let Some(topic) = topics.get(random.random_range(0..topics.len().max(1))) else { return };
        let (tenant, number) = held.place();
        let correction = self.number();
        let change = Change::Correct(correction);
        let message = v1::CorrectTagsRequest {
            case_id: id(number),
            topics: Some(v1::TopicSet { topic_ids: vec![topic.clone()] }),
            note: format!("r{correction}"),
            request_id: format!("correct-{correction}"),
            ..Default::default()
        };
        let may_be_absent = held.may_be().contains(&State::Absent);
        held.begin(change);
        let mut tries = Tries::default();
        let answer = loop {
            match self.correct_once(tenant, message.clone(), may_be_absent).await {
                Err(status) if tries.has_another(&status).await => {}
                ended => break ended,
            }
        };
        match answer {
            Ok(case) => {
                let at = case.correction.and_then(|correction| correction.corrected_at);
                held.acknowledged(change, Some(Named::Correction(message, at)));
                if correction.is_multiple_of(4) {
                    self.name_again(&held).await;
                }
            }
            Err(status) if status.code() == Code::NotFound => {
                self.promises.check(Promise::WriteKept, may_be_absent, || {
                    format!("{}: {} was stored, and a correction does not find it", self.name(tenant), id(number))
                });
                held.is_absent();
            }
            Err(_) => {}
        }
    }

    async fn correct_once(
        &self,
        tenant: usize,
        message: v1::CorrectTagsRequest,
        may_be_absent: bool,
    ) -> Result<v1::Case, Status> {
        let provoked: &[Code] = if may_be_absent { &[Code::NotFound] } else { &[] };
        let (mut client, request) = (self.cases(), self.request(tenant, DEADLINE, message));
        let answer = self.observe("CorrectTags", DEADLINE, provoked, client.correct_tags(request)).await;
        answer.map(tonic::Response::into_inner)
    }

    /// Deletes a case.
    pub async fn delete(&self, random: &mut ChaCha8Rng) {
        let Some(held) = self.any_case(random, 1) else { return };
        let (tenant, number) = held.place();
        let (was_stored, may_be_stored) = (held.is_stored(), held.may_be().iter().any(|state| *state != State::Absent));
        let name = self.number();
        let message = v1::DeleteCasesRequest {
            ids: vec![id(number)],
            request_id: format!("delete-{name}"),
            ..Default::default()
        };
        held.begin(Change::Delete);
        let mut tries = Tries::default();
        let answer = loop {
            match self.delete_once(tenant, message.clone()).await {
                Err(status) if tries.has_another(&status).await => {}
                ended => break ended,
            }
        };
        let Ok(answer) = answer else { return };
        // Of a case that was there, one is deleted, unless a try before this one deleted it and died before it could keep its answer.
        self.promises.check(Promise::WriteKept, answer.deleted_count <= u64::from(may_be_stored), || {
            format!("{}: deleting {} deleted {} cases", self.name(tenant), id(number), answer.deleted_count)
        });
        held.acknowledged(Change::Delete, Some(Named::Deletion(Box::new(message), answer)));
        if was_stored && name.is_multiple_of(4) {
            self.name_again(&held).await;
        }
    }

    async fn delete_once(
        &self,
        tenant: usize,
        message: v1::DeleteCasesRequest,
    ) -> Result<v1::DeleteCasesResponse, Status> {
        let (mut client, request) = (self.cases(), self.request(tenant, DEADLINE, message));
        let answer = self.observe("DeleteCases", DEADLINE, &[], client.delete_cases(request)).await;
        answer.map(tonic::Response::into_inner)
    }

    /// True if named calls may have been forgotten.
    fn forgets(&self) -> bool {
        self.forgets_names.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Makes the named call that changed a case last once more: it must be answered as then, and not act.
    async fn name_again(&self, held: &Held) {
        let (tenant, number) = held.place();
        if self.forgets() {
            return;
        }
        match held.last() {
            Some(Named::Correction(message, at)) => {
                let Ok(case) = self.correct_once(tenant, message, false).await else { return };
                let now = case.correction.and_then(|correction| correction.corrected_at);
                self.promises.check(Promise::ActsOnce, now == at, || {
                    let id = id(number);
                    format!(
                        "{}: {id} was corrected at {at:?}; the same call again corrected it at {now:?}",
                        self.name(tenant)
                    )
                });
            }
            Some(Named::Deletion(message, first)) => {
                let Ok(again) = self.delete_once(tenant, *message).await else { return };
                self.promises.check(Promise::ActsOnce, again == first, || {
                    format!("{}: deleting {}: first {first:?}, then {again:?}", self.name(tenant), id(number))
                });
            }
            None => {}
        }
    }

    /// Reads a case back.
    pub async fn get(&self, random: &mut ChaCha8Rng) {
        if let Some(held) = self.any_case(random, 1) {
            self.read_back(&held).await;
        }
    }

    async fn read_back(&self, held: &Held) {
        let (tenant, number) = held.place();
        let message = v1::GetCaseRequest { id: id(number), ..Default::default() };
        let (mut client, request) = (self.cases(), self.request(tenant, DEADLINE, message));
        let answer = self.observe("GetCase", DEADLINE, &[Code::NotFound], client.get_case(request)).await;
        let is = match answer {
            Ok(case) => {
                let case = case.into_inner();
                self.check_owners(tenant, std::iter::once(&case), "GetCase");
                state(&case)
            }
            Err(status) if status.code() == Code::NotFound => Some(State::Absent),
            Err(_) => return,
        };
        let may_be: BTreeSet<State> = held.may_be();
        self.promises.check(Promise::WriteKept, is.is_some_and(|is| may_be.contains(&is)), || {
            let (name, at) = (self.name(tenant), held.changed_at());
            format!("{name}: {} is {is:?}; after what was acknowledged last, at {at}, it may be {may_be:?}", id(number))
        });
    }

    /// Reads back every case that was ever written, and makes the last named call of each once more if `again`.
    pub async fn read_all_back(&self, again: bool) {
        let places: Vec<Place> = self.ledger.places();
        let reading = stream::iter(places).map(|place| async move {
            let Some(held) = self.ledger.take(place) else { return };
            self.read_back(&held).await;
            if again && place.1.is_multiple_of(2 * CORRECTED_ONE_OF) {
                self.name_again(&held).await;
            }
        });
        reading.buffer_unordered(READ_TOGETHER).collect::<Vec<()>>().await;
    }
}

/// How often a named call was made whose answer did not come.
#[derive(Default)]
struct Tries(u64);

impl Tries {
    /// Waits a moment if the call may be made once more.
    async fn has_another(&mut self, status: &Status) -> bool {
        self.0 += 1;
        if self.0 >= TRIES || status.code() == Code::NotFound {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(300 * self.0)).await;
        true
    }
}

/// What a case says of itself; `None` if it says what nobody wrote.
fn state(case: &v1::Case) -> Option<State> {
    let revision = case.attributes.get(REVISION)?.parse().ok()?;
    let correction = match &case.correction {
        Some(correction) => Some(correction.note.strip_prefix('r')?.parse().ok()?),
        None => None,
    };
    Some(State::Stored { revision, correction })
}
