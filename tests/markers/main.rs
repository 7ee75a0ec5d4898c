//! Nothing that a customer wrote is in what the service tells of itself: its log at its finest level in both forms, its numbers, its
//! traces, its audit records, the calls that it keeps, and the statuses of calls that fail.
//!
//! Each text of each RPC has markers in it; then all of the output is searched for them. Ids are told on purpose and have none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod beside;
mod calls;
mod collector;
mod filled;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use futures_util::stream;
use otklik::server::wire::v1;
use prost::Message;
use prost::bytes::{Buf, BufMut};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use collector::{Collector, hex};

/// What customers write here, beside words.
pub const CYRILLIC: &str = "ЖЖмаркер7731";
/// The same in Latin letters.
pub const LATIN: &str = "zqmarker7731";
const EMAIL: &str = "zq7731@example.com";
const PHONE: &str = "+79167731731";
const MARKERS: [&str; 4] = [CYRILLIC, LATIN, EMAIL, "9167731731"];

/// Longest text of the service here.
const MOST_CHARS: usize = 2_000;

/// A span that a caller is in.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn marked() -> String {
    format!("{CYRILLIC} {LATIN}, пишите на {EMAIL} или {PHONE}")
}

/// The markers that stand in some output, in whatever case.
fn found(output: &[u8]) -> Vec<&'static str> {
    let output = String::from_utf8_lossy(output).to_lowercase();
    MARKERS.into_iter().filter(|marker| output.contains(&marker.to_lowercase())).collect()
}

#[track_caller]
fn assert_clean(name: &str, output: &[u8]) {
    let output = String::from_utf8_lossy(output);
    for line in output.lines() {
        assert!(found(line.as_bytes()).is_empty(), "{name} tells what a customer wrote: {line}");
    }
}

#[test]
fn the_search_finds_each_marker_wherever_it_stands() {
    for marker in MARKERS {
        for text in [marker.to_owned(), format!("до{marker}после"), format!("\"{}\"", marker.to_lowercase())] {
            let mut bytes = vec![0xff, 0x00];
            bytes.extend(text.as_bytes());
            bytes.push(0xff);
            assert_eq!(found(&bytes), [marker], "{text}");
        }
    }
    assert_eq!(found(marked().as_bytes()), MARKERS);
    assert!(found("ЖЖмаркер 7731".as_bytes()).is_empty());
}

/// A running service; killed when dropped.
struct Service {
    process: Child,
    channel: Channel,
    admin: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Service {
    /// Its standard output and error go to files of the folder.
    async fn start(folder: &Path, format: &str, collector: &str, language_model: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = free.local_addr().unwrap().to_string();
        drop(free);
        let mut command = Command::new(env!("CARGO_BIN_EXE_otklik"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            name.starts_with("OTKLIK_") || name.starts_with("OTEL_") || name == "RUST_LOG"
        }) {
            command.env_remove(name);
        }
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        command.env("OTKLIK_MODELS_DIR", models).env("OTKLIK_CASES_KEY", "5a".repeat(32)).current_dir(folder);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", &admin]);
        for setting in [
            // The same text is asked again and again: each time all the way.
            "compute.cache_mb=0",
            "log.level=trace",
            &format!("log.format={format}"),
            &format!("telemetry.otlp_endpoint={collector}"),
            &format!("endpoint.url={language_model}"),
            "endpoint.model=fake",
            "cases.texts=original",
            &format!("limits.max_text_chars={MOST_CHARS}"),
        ] {
            command.args(["--set", setting]);
        }
        let file = |name: &str| File::create(folder.join(name)).unwrap();
        let process = command.stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap();
        let started = Instant::now();
        let address = loop {
            let said = std::fs::read_to_string(folder.join("stdout")).unwrap();
            if let Some(line) = said.lines().find(|line| line.contains("listens on ")) {
                break line.rsplit(' ').next().unwrap().to_owned();
            }
            let errors = || std::fs::read_to_string(folder.join("stderr")).unwrap();
            assert!(started.elapsed() < Duration::from_secs(120), "it does not start:\n{}", errors());
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let service = Self { process, channel, admin };
        while !service.scrape("/readyz").await.starts_with("HTTP/1.1 200") {
            assert!(started.elapsed() < Duration::from_secs(120), "it is not ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        service
    }

    /// Sends requests on one stream and reads all that is answered: for the protocol, one request is a stream of one.
    async fn call(&self, rpc: &str, requests: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let mut request = Request::new(stream::iter(requests));
        request.set_timeout(Duration::from_secs(120));
        request.metadata_mut().insert("traceparent", format!("00-{TRACE}-{SPAN}-01").parse().unwrap());
        request.metadata_mut().insert("tracestate", format!("vendor={LATIN}").parse().unwrap());
        let path = format!("/{rpc}").parse().unwrap();
        let mut answers = grpc.streaming(request, path, Raw).await?.into_inner();
        let mut all = Vec::new();
        while let Some(answer) = answers.message().await? {
            all.push(answer);
        }
        Ok(all)
    }

    /// Calls, and looks at the status of a call that fails.
    async fn checked_call(&self, rpc: &str, requests: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Code> {
        self.call(rpc, requests).await.map_err(|status| {
            assert_clean(&format!("the status of {rpc}"), status.message().as_bytes());
            assert_clean(&format!("the details of {rpc}"), status.details());
            assert_clean(&format!("the metadata of {rpc}"), format!("{:?}", status.metadata()).as_bytes());
            status.code()
        })
    }

    async fn scrape(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(&self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: otklik\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn stop(mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                assert_eq!(status.code(), Some(0));
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "it does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Messages as bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

/// All files of a folder and those in it, as one.
fn bytes_of(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.extend(if path.is_dir() { bytes_of(&path) } else { std::fs::read(&path).unwrap() });
    }
    all
}

async fn nothing_is_told(format: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (collector, address) = Collector::start().await;
    let language_model = beside::language_model().await;
    let collector_url = format!("http://{address}");
    let model_url = format!("http://{language_model}/v1");
    let service = Service::start(folder.path(), format, &collector_url, &model_url).await;
    let text = marked();

    // Once all the way.
    let valid = calls::requests(&text);
    let filled = filled::requests(&text);
    let named: BTreeSet<String> = valid.keys().map(|rpc| format!("otklik.v1.{rpc}")).collect();
    assert_eq!(
        named,
        filled.keys().cloned().collect(),
        "a list of requests lacks an RPC, or has one that there is not"
    );
    let mut answered = BTreeSet::new();
    // A case is stored before anything is said of it, and deleted when all was.
    let mut valid: Vec<_> = valid.into_iter().collect();
    valid.sort_by_key(|(rpc, _)| match *rpc {
        "CaseService/UpsertCases" => 0,
        "CaseService/DeleteCases" => 2,
        _ => 1,
    });
    for (rpc, requests) in valid {
        let requests = match rpc {
            "TaxonomyService/PublishTaxonomy" => vec![publication(&service, &requests[0]).await],
            _ => requests,
        };
        if service.checked_call(&format!("otklik.v1.{rpc}"), requests).await.is_ok() {
            answered.insert(rpc);
        }
    }
    for rpc in [
        "TaggingService/Classify",
        "TaggingService/ClassifyStream",
        "TaggingService/BatchClassify",
        "CaseService/UpsertCases",
        "CaseService/CorrectTags",
        "CaseService/FindSimilar",
        "AssistService/Suggest",
        "AssistService/Assist",
        "PromptService/RenderPrompt",
        "RetagService/StartRetag",
        "TaxonomyService/PublishTaxonomy",
    ] {
        assert!(answered.contains(rpc), "{rpc} did not go all the way, only {answered:?}");
    }
    batch_errors_are_clean(&service, &text).await;
    // Then every field that there is; then too long; then what is no message.
    let long = text.repeat(MOST_CHARS / text.chars().count() + 1);
    let (too_long, mut refused) = (filled::requests(&long), 0);
    for (rpc, requests) in filled.into_iter().chain(too_long) {
        for request in requests {
            refused += usize::from(service.checked_call(&rpc, vec![request]).await.is_err());
        }
        let broken = [b"\xff\xff".as_slice(), text.as_bytes()].concat();
        refused += usize::from(service.checked_call(&rpc, vec![broken]).await.is_err());
    }
    assert!(refused > 100, "only {refused} calls were refused");

    let metrics = service.scrape("/metrics").await;
    for name in ["otklik_stage_duration_seconds_count{stage=\"encode\"}", "otklik_store_up 1", "otklik_store_cases "] {
        assert!(metrics.contains(name), "no {name} in {metrics}");
    }
    service.stop().await;
    assert_clean("the numbers", metrics.as_bytes());
    let log = std::fs::read(folder.path().join("stderr")).unwrap();
    let log_text = String::from_utf8_lossy(&log);
    for part in ["call ended", "batch", "traces go to this address", TRACE] {
        assert!(log_text.contains(part), "no {part:?} in the log");
    }
    assert_clean("the log", &log);
    assert_clean("the standard output", &std::fs::read(folder.path().join("stdout")).unwrap());
    assert_clean("the audit log", &bytes_of(&folder.path().join("data/audit")));
    assert_clean("the file of answered calls", &std::fs::read(folder.path().join("data/requests.redb")).unwrap());
    assert_clean("the traces", &collector.bytes());
    spans_tell_the_walk(&collector);
}

/// The publication, of whoever knows the version in force.
async fn publication(service: &Service, request: &[u8]) -> Vec<u8> {
    let asked = v1::GetTaxonomyRequest::default().encode_to_vec();
    let answers = service.call("otklik.v1.TaxonomyService/GetTaxonomy", vec![asked]).await.unwrap();
    let in_force = v1::GetTaxonomyResponse::decode(answers[0].as_slice()).unwrap().publication.unwrap();
    let request = v1::PublishTaxonomyRequest::decode(request).unwrap();
    v1::PublishTaxonomyRequest { expected_version: in_force.version, ..request }.encode_to_vec()
}

/// What is wrong with one item of a batch stands in its answer.
async fn batch_errors_are_clean(service: &Service, text: &str) {
    let items = [
        v1::Feedback { kind: 99, ..calls::feedback("b1", text) },
        v1::Feedback { text: text.repeat(MOST_CHARS), ..calls::feedback("b2", text) },
    ];
    let items = items.map(|feedback| v1::BatchClassifyItem { feedback: Some(feedback) }).to_vec();
    let request = v1::BatchClassifyRequest { items, ..Default::default() };
    let answers = service.call("otklik.v1.TaggingService/BatchClassify", vec![request.encode_to_vec()]).await.unwrap();
    let response = v1::BatchClassifyResponse::decode(answers[0].as_slice()).unwrap();
    for result in response.results {
        let Some(v1::batch_classify_result::Result::Error(error)) = result.result else { panic!("{result:?}") };
        assert_clean("the error of an item", &error.encode_to_vec());
    }
}

/// The spans of the calls are below the caller's, the stages below theirs, and none has an attribute that is not named here.
fn spans_tell_the_walk(collector: &Collector) {
    let spans = collector.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "a span is of another trace than its caller's");
    assert!(spans.iter().all(|span| span.trace_state.is_empty()));
    let call = spans.iter().find(|span| span.name == "otklik.v1.TaggingService/Classify").expect("a call has a span");
    assert_eq!(hex(&call.parent_span_id), SPAN);
    let below: BTreeSet<&str> =
        spans.iter().filter(|span| span.parent_span_id == call.span_id).map(|span| span.name.as_str()).collect();
    let stages =
        ["admission", "queue", "prepare", "tokenise", "batch_wait", "encode", "heads", "rules", "neighbours", "decide"];
    assert_eq!(below, BTreeSet::from(stages));
    for stage in ["cases_read", "cases_write", "language_model"] {
        assert!(spans.iter().any(|span| span.name == stage), "no span {stage}");
    }
    let attributes: BTreeSet<&str> =
        spans.iter().flat_map(|span| &span.attributes).map(|attribute| attribute.key.as_str()).collect();
    let told = [
        "answer_tokens",
        "batch_texts",
        "batch_tokens",
        "cached_tokens",
        "caller",
        "first_token_ms",
        "prompt_tokens",
        "request_id",
        "rpc.grpc.status_code",
        "rpc.method",
        "rpc.service",
        "rpc.system",
        "tenant",
    ];
    let unknown: Vec<_> = attributes.difference(&BTreeSet::from(told)).copied().collect();
    assert!(unknown.is_empty(), "attributes that nobody looked at: {unknown:?}");
    for key in ["batch_texts", "batch_tokens", "caller", "request_id", "rpc.grpc.status_code", "rpc.method", "tenant"] {
        assert!(attributes.contains(key), "no span has {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_customer_wrote_is_told_beside_a_log_for_people() {
    nothing_is_told("human").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_customer_wrote_is_told_beside_a_log_for_programs() {
    nothing_is_told("json").await;
}
