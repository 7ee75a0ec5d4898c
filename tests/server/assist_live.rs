//! Help while a conversation lasts, over the wire.

use std::sync::atomic::Ordering;

use otklik::server::wire::v1::assist_response::Result as Shown;
use otklik::server::wire::v1::{self, SuggestionSlot, assist_request};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::fakes::FakeTagger;
use super::{Service, blamed, eventually, feedback};

const APPEAL: &str = "Почему взяли комиссию за перевод, никто не предупредил";

/// The slots after a turn of the customer.
const ALL: [i32; 6] = [1, 2, 3, 4, 5, 6];

fn start() -> v1::AssistStart {
    v1::AssistStart { channel: "call".into(), team_id: "payments".into(), ..Default::default() }
}

fn beginning(start: v1::AssistStart) -> v1::AssistRequest {
    v1::AssistRequest { part: Some(assist_request::Part::Start(start)) }
}

fn said(speaker: v1::Speaker, text: &str) -> v1::AssistRequest {
    let turn = v1::AssistTurn { speaker: speaker.into(), text: text.into(), offset_ms: None };
    v1::AssistRequest { part: Some(assist_request::Part::Turn(turn)) }
}

fn customer(text: &str) -> v1::AssistRequest {
    said(v1::Speaker::Customer, text)
}

fn operator(text: &str) -> v1::AssistRequest {
    said(v1::Speaker::Operator, text)
}

/// A call in which both sides speak as they like.
struct Call {
    requests: mpsc::Sender<v1::AssistRequest>,
    responses: Streaming<v1::AssistResponse>,
}

impl Call {
    async fn open(service: &Service) -> Self {
        let (requests, receiver) = mpsc::channel(64);
        let mut client = service.assist().await;
        let responses = client.assist(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    /// A call whose service has read the script, so that its tagger is asked for the conversation alone.
    async fn begun(service: &Service) -> Self {
        let request = v1::SuggestRequest { feedback: Some(feedback("f1", APPEAL)), ..Default::default() };
        let slots = service.assist().await.suggest(request).await.unwrap().into_inner();
        assert_eq!(slots.collect::<Vec<_>>().await.len(), ALL.len());
        let call = Self::open(service).await;
        call.send(beginning(start())).await;
        call
    }

    async fn send(&self, request: v1::AssistRequest) {
        self.requests.send(request).await.unwrap();
    }

    async fn next(&mut self) -> v1::AssistResponse {
        self.responses.next().await.unwrap().unwrap()
    }

    /// So many responses.
    async fn take(&mut self, count: usize) -> Vec<v1::AssistResponse> {
        let mut responses = Vec::new();
        for _ in 0..count {
            responses.push(self.next().await);
        }
        responses
    }

    /// Closes the caller's side and gives what comes until the stream ends, and how it ends.
    async fn finish(self) -> (Vec<v1::AssistResponse>, Result<(), Status>) {
        let Self { requests, mut responses } = self;
        drop(requests);
        let mut found = Vec::new();
        loop {
            match responses.next().await {
                Some(Ok(response)) => found.push(response),
                Some(Err(status)) => return (found, Err(status)),
                None => return (found, Ok(())),
            }
        }
    }
}

fn numbers(responses: &[v1::AssistResponse]) -> Vec<i32> {
    let mut slots: Vec<i32> = responses.iter().map(|response| response.slot).collect();
    slots.sort_unstable();
    slots
}

/// The one slot of a response with its revision and the code of its error, if it is one.
fn shown(response: &v1::AssistResponse) -> (SuggestionSlot, u32, Option<i32>) {
    let code = match &response.result {
        Some(Shown::Error(error)) => Some(error.code),
        _ => None,
    };
    (response.slot(), response.revision, code)
}

#[tokio::test]
async fn turn_by_turn_a_slot_comes_when_it_changed() {
    let service = Service::start().await;
    let mut call = Call::begun(&service).await;
    call.send(operator("Здравствуйте, чем помочь?")).await;
    let greeting = call.next().await;
    assert_eq!(shown(&greeting), (SuggestionSlot::Promises, 1, None));

    call.send(customer(APPEAL)).await;
    let first = call.take(ALL.len()).await;
    assert_eq!((numbers(&first), first[0].slot()), (ALL.to_vec(), SuggestionSlot::Tags));
    assert!(first.iter().all(|response| response.revision == 2 && shown(response).2.is_none()), "{first:#?}");

    let tagged = FakeTagger::count(&service.tagger.finished);
    call.send(customer(APPEAL)).await;
    eventually("the turn is tagged", async || FakeTagger::count(&service.tagger.finished) > tagged).await;
    call.send(operator("Вернём вам комиссию 50 000 рублей завтра")).await;
    let promised = call.next().await;
    let Some(Shown::Promises(advice)) = &promised.result else { panic!("{promised:?}") };
    assert_eq!((promised.slot(), promised.revision, advice.turn), (SuggestionSlot::Promises, 4, 3));
    assert_ne!(advice.verdict(), v1::PromiseVerdict::Allowed);
    assert_eq!(advice.promises[0].gesture_id, "refund_fee");

    service.store.silent.store(true, Ordering::SeqCst);
    call.send(customer("Так")).await;
    let lost = call.next().await;
    assert_eq!(shown(&lost), (SuggestionSlot::Similar, 5, Some(Code::Unavailable as i32)));
    service.store.silent.store(false, Ordering::SeqCst);
    call.send(customer("Так")).await;
    assert_eq!(shown(&call.next().await), (SuggestionSlot::Similar, 6, None), "the others are as they were");
    let (rest, end) = call.finish().await;
    assert!(rest.is_empty() && end.is_ok(), "{rest:?} {end:?}");
}

#[tokio::test]
async fn fifty_turns_at_once_are_read_together() {
    let service = Service::start().await;
    let mut call = Call::begun(&service).await;
    call.send(customer("hold")).await;
    eventually("in work", async || FakeTagger::count(&service.tagger.in_work) == 1).await;
    let begun = FakeTagger::count(&service.tagger.started);
    for number in 0..49 {
        call.send(customer(&format!("Комиссия {number}"))).await;
    }
    // When this one is answered, all before it were read.
    call.send(operator("Минутку")).await;
    assert_eq!(shown(&call.next().await), (SuggestionSlot::Promises, 51, None));
    service.tagger.release.add_permits(50);
    let (responses, end) = call.finish().await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(FakeTagger::count(&service.tagger.started), begun + 1, "one suggestion from all that came meanwhile");
    let first: Vec<_> = responses.iter().filter(|response| response.revision == 1).cloned().collect();
    assert_eq!(numbers(&first), ALL);
    assert!(responses.iter().all(|response| [1, 51].contains(&response.revision)), "{responses:?}");
}

#[tokio::test]
async fn one_slot_that_is_late_does_not_keep_the_others() {
    let service = Service::with(|config| config.server.default_deadline_ms = 300).await;
    let mut call = Call::begun(&service).await;
    call.send(customer("wait:60000")).await;
    let found = call.take(ALL.len()).await;
    assert_eq!(numbers(&found), ALL);
    assert_eq!(shown(&found[0]), (SuggestionSlot::Tags, 1, Some(Code::DeadlineExceeded as i32)));
}

#[tokio::test]
async fn a_faulty_request_ends_the_stream_after_what_came_before() {
    let service = Service::with(|config| {
        (config.limits.max_turns, config.limits.max_text_chars) = (2, 60);
    })
    .await;
    let turn = || customer(APPEAL);
    let with = |change: fn(&mut v1::AssistStart)| {
        let mut start = start();
        change(&mut start);
        beginning(start)
    };
    let empty = v1::AssistRequest::default();
    for (requests, field, part, answered) in [
        (vec![turn()], "start", "in the first request", false),
        (vec![beginning(start()), turn(), beginning(start())], "start", "once", true),
        (vec![beginning(start()), turn(), empty.clone()], "part", "start or turn", true),
        (vec![empty], "part", "start or turn", false),
        (vec![beginning(start()), turn(), said(v1::Speaker::Unspecified, "Да")], "turn.speaker", "Speaker", true),
        (vec![beginning(start()), turn(), customer("семь!!!")], "turn.text", "limits.max_text_chars", true),
        (vec![beginning(start()), turn(), operator(""), operator("")], "turn", "limits.max_turns", true),
        (vec![with(|start| start.team_id = "nobody".into())], "start.team_id", "taxonomy", false),
        (vec![with(|start| start.kind = 99)], "start.kind", "FeedbackKind", false),
        (vec![with(|start| start.language = 9)], "start.language", "ReplyLanguage", false),
        (vec![with(|start| start.customer_id = "\n".into())], "start.customer_id", "limits.max_id_chars", false),
        (vec![with(|start| start.request_id = "два слова".into())], "start.request_id", "ASCII", false),
    ] {
        let call = Call::open(&service).await;
        for request in requests {
            call.send(request).await;
        }
        let (responses, end) = call.finish().await;
        let end = end.expect_err(field);
        assert_eq!((end.code(), blamed(&end)), (Code::InvalidArgument, vec![field.to_owned()]), "{end:?}");
        assert!(end.message().contains(part), "{field}: {end:?}");
        let expected: &[i32] = if answered { &ALL } else { &[] };
        assert_eq!(numbers(&responses), expected, "{field}");
    }
    let (responses, end) = Call::open(&service).await.finish().await;
    assert!(responses.is_empty() && end.is_ok(), "a caller may leave before it begins: {end:?}");
}

#[tokio::test]
async fn an_idle_conversation_is_ended() {
    let service = Service::with(|config| config.server.stream_idle_ms = 200).await;
    let mut call = Call::begun(&service).await;
    call.send(customer(APPEAL)).await;
    assert_eq!(numbers(&call.take(ALL.len()).await), ALL);
    let end = call.responses.next().await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::DeadlineExceeded);
    assert!(end.message().contains("server.stream_idle_ms"), "{end:?}");
}

#[tokio::test]
async fn a_draining_service_answers_what_was_said_and_ends_the_conversation() {
    let mut service = Service::start().await;
    let call = Call::begun(&service).await;
    call.send(customer("hold")).await;
    eventually("in work", async || FakeTagger::count(&service.tagger.in_work) == 1).await;
    service.stop();
    let address = service.address;
    eventually("the socket is closed", async || TcpStream::connect(address).await.is_err()).await;
    service.tagger.release.add_permits(1);
    let Call { requests, mut responses } = call;
    let mut found = Vec::new();
    let end = loop {
        match responses.next().await.unwrap() {
            Ok(response) => found.push(response),
            Err(end) => break end,
        }
    };
    assert_eq!((numbers(&found), end.code()), (ALL.to_vec(), Code::Unavailable));
    drop(requests);
}

#[tokio::test]
async fn a_caller_who_leaves_is_not_computed_for() {
    let service = Service::start().await;
    let call = Call::begun(&service).await;
    call.send(customer("hold")).await;
    eventually("in work", async || FakeTagger::count(&service.tagger.in_work) == 1).await;
    drop(call);
    eventually("nothing is in work", async || FakeTagger::count(&service.tagger.in_work) == 0).await;
}
