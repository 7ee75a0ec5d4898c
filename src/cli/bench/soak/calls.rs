//! The calls that only ask: each is made, and its answer held against what is known.

use futures_util::StreamExt;
use otklik::server::wire::v1::{
    self, assist_request, assist_response, batch_classify_result, classify_stream_response, find_similar_request,
    suggest_response,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tonic::{Code, Status};

use super::promises::Promise;
use super::reference::conversation;
use super::run::{DEADLINE, Run, WITNESS, WRITERS};
use super::writes;

/// Texts of one batch, and messages of one stream.
const TOGETHER: usize = 8;

/// Cases that are stored at the start, never changed, and looked for.
pub(super) const ANCHORS: u32 = 32;

impl Run {
    /// Tags a text that was not said before.
    pub async fn classify(&self, random: &mut ChaCha8Rng) {
        let tenant = random.random_range(0..WRITERS);
        let feedback = v1::Feedback { text: self.new_text(), ..Default::default() };
        let message = v1::ClassifyRequest { feedback: Some(feedback), ..Default::default() };
        let (mut client, request) = (self.tagging(), self.request(tenant, DEADLINE, message));
        // How it ended is noted; there is nothing to compare it with.
        let _ = self.observe("Classify", DEADLINE, &[], client.classify(request)).await;
    }

    /// Tags a text whose tags are known.
    pub async fn classify_reference(&self, random: &mut ChaCha8Rng) {
        let tenant = random.random_range(0..=WITNESS);
        let number = random.random_range(0..self.reference.len());
        let message = v1::ClassifyRequest { feedback: Some(self.reference.feedback(number)), ..Default::default() };
        let (mut client, request) = (self.tagging(), self.request(tenant, DEADLINE, message));
        let answer = self.observe("Classify", DEADLINE, &[], client.classify(request)).await;
        if let Ok(Some(tags)) = answer.map(|answer| answer.into_inner().tags) {
            self.compare(tenant, number, tags, "Classify");
        }
    }

    fn compare(&self, tenant: usize, number: usize, tags: v1::Tags, by: &str) {
        if tenant == WITNESS {
            self.reference.compare(&self.promises, number, tags, by);
        } else {
            self.reference.compare_seen(&self.promises, tenant, number, tags, by);
        }
    }

    /// Tags a batch of texts whose tags are known.
    pub async fn batch(&self, random: &mut ChaCha8Rng) {
        let tenant = random.random_range(0..=WITNESS);
        let numbers: Vec<usize> = (0..TOGETHER).map(|_| random.random_range(0..self.reference.len())).collect();
        let items =
            numbers.iter().map(|number| v1::BatchClassifyItem { feedback: Some(self.reference.feedback(*number)) });
        let message = v1::BatchClassifyRequest { items: items.collect(), ..Default::default() };
        let (mut client, request) = (self.tagging(), self.request(tenant, DEADLINE, message));
        let answer = self.observe("BatchClassify", DEADLINE, &[], client.batch_classify(request)).await;
        let Ok(answer) = answer else { return };
        for (number, result) in numbers.into_iter().zip(answer.into_inner().results) {
            match result.result {
                Some(batch_classify_result::Result::Tags(tags)) => self.compare(tenant, number, tags, "BatchClassify"),
                Some(batch_classify_result::Result::Error(error)) => {
                    self.judge_item("an item of BatchClassify", error.code, &error.message);
                }
                None => self.judge_item("an item of BatchClassify", 2, "it has neither tags nor an error"),
            }
        }
    }

    /// Tags a stream of texts whose tags are known.
    pub async fn stream(&self, random: &mut ChaCha8Rng) {
        let tenant = random.random_range(0..=WITNESS);
        let numbers: Vec<usize> = (0..TOGETHER).map(|_| random.random_range(0..self.reference.len())).collect();
        let messages: Vec<v1::ClassifyStreamRequest> = numbers
            .iter()
            .map(|number| v1::ClassifyStreamRequest {
                feedback: Some(self.reference.feedback(*number)),
                ..Default::default()
            })
            .collect();
        let mut client = self.tagging();
        let request = self.request(tenant, DEADLINE, tokio_stream::iter(messages));
        let call = async {
            let mut answers = client.classify_stream(request).await?.into_inner();
            let mut all = Vec::new();
            while let Some(answer) = answers.next().await {
                all.push(answer?);
            }
            Ok(all)
        };
        let Ok(answers) = self.observe("ClassifyStream", DEADLINE, &[], call).await else { return };
        for (place, (number, answer)) in numbers.into_iter().zip(answers).enumerate() {
            match answer.result {
                Some(classify_stream_response::Result::Tags(tags)) if answer.sequence == place as u64 => {
                    self.compare(tenant, number, tags, "ClassifyStream");
                }
                Some(classify_stream_response::Result::Error(error)) => {
                    self.judge_item("an item of ClassifyStream", error.code, &error.message);
                }
                _ => self.judge_item("an item of ClassifyStream", 2, "it is not in its place, or empty"),
            }
        }
    }

    /// Looks for a case that was stored at the start, by its own words.
    pub async fn find_twin(&self, random: &mut ChaCha8Rng) {
        let tenant = random.random_range(0..WRITERS);
        let anchor = random.random_range(0..ANCHORS);
        let message = v1::FindSimilarRequest {
            query: Some(find_similar_request::Query::Text(writes::anchor_text(self, tenant, anchor))),
            limit: 10,
            keep_duplicates: true,
            ..Default::default()
        };
        let (mut client, request) = (self.cases(), self.request(tenant, DEADLINE, message));
        let answer = self.observe("FindSimilar", DEADLINE, &[], client.find_similar(request)).await;
        let Ok(answer) = answer else { return };
        let found = answer.into_inner().cases;
        let id = writes::anchor_id(anchor);
        let ids: Vec<&str> =
            found.iter().filter_map(|found| found.case.as_ref()).map(|case| case.id.as_str()).collect();
        self.promises.check(Promise::TwinFound, ids.contains(&id.as_str()), || {
            format!("{}: {id} is not among those that its own text finds: {ids:?}", self.name(tenant))
        });
        self.check_owners(tenant, found.iter().filter_map(|found| found.case.as_ref()), "FindSimilar");
    }

    /// Lists what a person should look at.
    pub async fn list_for_review(&self, random: &mut ChaCha8Rng) {
        let tenant = random.random_range(0..WRITERS);
        let message =
            v1::ListForReviewRequest { limit: 5, order: v1::ReviewOrder::LeastSure.into(), ..Default::default() };
        let (mut client, request) = (self.cases(), self.request(tenant, DEADLINE, message));
        let answer = self.observe("ListForReview", DEADLINE, &[], client.list_for_review(request)).await;
        if let Ok(answer) = answer {
            let listed = answer.into_inner().cases;
            self.check_owners(tenant, listed.iter().filter_map(|review| review.case.as_ref()), "ListForReview");
        }
    }

    /// Checks that all cases are of the tenant that is shown them.
    pub fn check_owners<'a>(&self, tenant: usize, cases: impl Iterator<Item = &'a v1::Case>, by: &str) {
        for case in cases {
            let owner = case.attributes.get(writes::OWNER).map(String::as_str);
            self.promises.check(Promise::TenantsApart, owner == Some(self.name(tenant)), || {
                format!("{by}: {} is shown case {} of {owner:?}", self.name(tenant), case.id)
            });
        }
    }

    /// Asks what an operator can do.
    pub async fn suggest(&self, random: &mut ChaCha8Rng) {
        let tenant = random.random_range(0..WRITERS);
        let feedback = v1::Feedback { text: self.new_text(), ..Default::default() };
        let message = v1::SuggestRequest { feedback: Some(feedback), ..Default::default() };
        let (mut client, request) = (self.assist(), self.request(tenant, DEADLINE, message));
        let call = async {
            let mut answers = client.suggest(request).await?.into_inner();
            let mut all = Vec::new();
            while let Some(answer) = answers.next().await {
                all.push(answer?);
            }
            Ok(all)
        };
        let Ok(answers) = self.observe("Suggest", DEADLINE, &[], call).await else { return };
        for answer in answers {
            match answer.result {
                Some(suggest_response::Result::Similar(similar)) => {
                    self.check_owners(tenant, similar.cases.iter().filter_map(|one| one.case.as_ref()), "Suggest");
                }
                Some(suggest_response::Result::Error(error)) => self.judge_slot("Suggest", &error),
                _ => {}
            }
        }
    }

    /// Follows a conversation and listens to what is suggested.
    pub async fn follow(&self, random: &mut ChaCha8Rng) {
        let tenant = random.random_range(0..WRITERS);
        let lines: Vec<String> = (0..3).map(|_| self.new_text()).collect();
        let start = v1::AssistRequest { part: Some(assist_request::Part::Start(v1::AssistStart::default())) };
        let turns = conversation(&lines).into_iter().map(|turn| v1::AssistRequest {
            part: Some(assist_request::Part::Turn(v1::AssistTurn {
                speaker: turn.speaker,
                text: turn.text,
                offset_ms: turn.offset_ms,
            })),
        });
        let requests: Vec<v1::AssistRequest> = std::iter::once(start).chain(turns).collect();
        let mut client = self.assist();
        let request = self.request(tenant, DEADLINE, tokio_stream::iter(requests));
        let call = async {
            let mut answers = client.assist(request).await?.into_inner();
            let mut all = Vec::new();
            while let Some(answer) = answers.next().await {
                all.push(answer?);
            }
            Ok(all)
        };
        let Ok(answers) = self.observe("Assist", DEADLINE, &[], call).await else { return };
        for answer in answers {
            match answer.result {
                Some(assist_response::Result::Similar(similar)) => {
                    self.check_owners(tenant, similar.cases.iter().filter_map(|one| one.case.as_ref()), "Assist");
                }
                Some(assist_response::Result::Error(error)) => self.judge_slot("Assist", &error),
                _ => {}
            }
        }
    }

    /// An empty slot may say that what it is made of is missing.
    fn judge_slot(&self, rpc: &str, error: &tonic_types::pb::Status) {
        if Code::from_i32(error.code) != Code::FailedPrecondition {
            self.judge_item(&format!("a slot of {rpc}"), error.code, &error.message);
        }
    }

    /// Tags what was recorded, as the tenant that only asks; what is right is what is answered now.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn record_reference(&self) -> Result<(), Status> {
        for number in 0..self.reference.len() {
            let message = v1::ClassifyRequest { feedback: Some(self.reference.feedback(number)), ..Default::default() };
            let request = self.request(WITNESS, DEADLINE, message);
            let answer = self.tagging().classify(request).await?.into_inner();
            let tags = answer.tags.ok_or_else(|| Status::internal("an answer without tags"))?;
            self.reference.record(number, tags);
        }
        Ok(())
    }
}
