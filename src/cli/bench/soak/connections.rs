//! Faults of the connections: calls that break off in the middle, and bytes that are no calls.

use std::time::{Duration, Instant};

use anyhow::Context;
use otklik::server::wire::v1::{self, assist_request};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request};

use super::super::raw_calls::{Prepared, RawConnection};
use super::promises::Promise;
use super::run::{DEADLINE, Run};

/// Connections that are cut at once.
const CUT: usize = 100;

/// Open files that may be left over: those of calls of the load.
const SLACK_FILES: usize = 16;

/// Most time in which a service must have closed connections that broke.
const CLOSING_LIMIT: Duration = Duration::from_secs(15);

/// Connections of bytes without sense.
const SENSELESS: usize = 60;

/// Calls with wrong keys.
const WRONG_KEYS: usize = 100;

/// Longer than a message may be, in bytes.
const TOO_LONG: usize = 17 << 20;

/// What begins a connection of HTTP/2, and a frame of settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// A frame of headers of which most is missing.
const PART_OF_HEADERS: &[u8] = b"\x00\x00\xc8\x01\x04\x00\x00\x00\x01\x83\x86\x44\x10/otklik.v1.Tagg";

/// Opens connections, gets each to the middle of something, and cuts all at once.
pub(super) async fn cut(run: &Run, random: &mut ChaCha8Rng) -> anyhow::Result<String> {
    let before = run.service.open_files().unwrap_or(0);
    let address = run.service.address();
    let key = run.tenants.first().and_then(|tenant| tenant.key.to_str().ok());
    let text = || v1::Feedback { text: run.new_text(), ..Default::default() };
    let stream = v1::ClassifyStreamRequest { feedback: Some(text()), ..Default::default() };
    let start = v1::AssistRequest { part: Some(assist_request::Part::Start(v1::AssistStart::default())) };
    let classify = Prepared::new(address, "/otklik.v1.TaggingService/ClassifyStream", key, 60_000, &stream)?;
    let assist = Prepared::new(address, "/otklik.v1.AssistService/Assist", key, 60_000, &start)?;
    let (mut calls, mut heads) = (Vec::new(), Vec::new());
    for _ in 0..CUT {
        match random.random_range(0..4) {
            0 => {
                let mut socket = TcpStream::connect(address).await.context("nobody answers")?;
                socket.write_all(PREFACE).await.context("nobody listens")?;
                socket.write_all(PART_OF_HEADERS).await.context("nobody listens")?;
                heads.push(socket);
            }
            1 => {
                let connection = RawConnection::open(address).await?;
                let call = connection.sender().begin(&assist, 1).await?;
                calls.push((connection, call));
            }
            _ => {
                let connection = RawConnection::open(address).await?;
                let call = connection.sender().begin(&classify, random.random_range(0..5)).await?;
                calls.push((connection, call));
            }
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let most = run.service.open_files().unwrap_or(0);
    drop((calls, heads));
    let began = Instant::now();
    let mut left = most;
    while began.elapsed() < CLOSING_LIMIT && left > before + SLACK_FILES {
        tokio::time::sleep(Duration::from_millis(100)).await;
        left = run.service.open_files().unwrap_or(usize::MAX);
    }
    run.promises.check(Promise::NothingLeft, left <= before + SLACK_FILES, || {
        format!("{CUT} connections were cut: {before} open files before, {most} during, {left} afterwards")
    });
    Ok(format!("{before} open files before, {most} during, {left} after {:.1} s", began.elapsed().as_secs_f64()))
}

/// Sends what no caller should.
pub(super) async fn malformed(run: &Run, random: &mut ChaCha8Rng) -> anyhow::Result<String> {
    let before = run.service.open_files().unwrap_or(0);
    for number in 0..SENSELESS {
        let mut bytes: Vec<u8> = match number % 3 {
            0 => Vec::new(),
            1 => PREFACE.to_vec(),
            _ => b"POST /otklik.v1.TaggingService/Classify HTTP/1.1\r\n".to_vec(),
        };
        bytes.extend((0..random.random_range(1..4_096)).map(|_| random.random::<u8>()));
        let mut socket = TcpStream::connect(run.service.address()).await.context("nobody answers")?;
        // The service may have closed it by then, which is right.
        let _ = socket.write_all(&bytes).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_millis(20), socket.read_to_end(&mut answer)).await;
    }
    for number in 0..WRONG_KEYS {
        let message = v1::ClassifyRequest { feedback: Some(run.reference.feedback(number)), ..Default::default() };
        let mut request = Request::new(message);
        request.set_timeout(DEADLINE);
        let key = match number % 3 {
            0 => None,
            1 => Some("otk_0123456789ab_".to_owned() + &"x".repeat(32)),
            _ => Some(format!("otk_{}", random.random::<u64>())),
        };
        if let Some(key) = key {
            request.metadata_mut().insert("x-api-key", key.parse().context("a key that can't be sent")?);
        }
        let answer = run.tagging().classify(request).await;
        let is_refused = answer.as_ref().is_err_and(|status| {
            [Code::Unauthenticated, Code::Unavailable, Code::ResourceExhausted].contains(&status.code())
        });
        run.promises.check(Promise::KnownErrors, is_refused, || format!("a wrong key was answered with {answer:?}"));
    }
    let feedback = v1::Feedback { text: "a".repeat(TOO_LONG), ..Default::default() };
    let message = v1::ClassifyRequest { feedback: Some(feedback), ..Default::default() };
    // Of a channel of its own: a message as long as this takes the whole of one.
    let mut client = v1::tagging_service_client::TaggingServiceClient::new(run.service.channel()?);
    let answer = client.classify(run.request(0, DEADLINE, message)).await;
    let known = [Code::InvalidArgument, Code::ResourceExhausted, Code::DeadlineExceeded, Code::Cancelled];
    let is_refused = answer.as_ref().is_err_and(|status| known.contains(&status.code()));
    run.promises.check(Promise::KnownErrors, is_refused, || {
        let answer = answer.map(|_| ()).map_err(|status| (status.code(), status.message().to_owned()));
        format!("a message of {TOO_LONG} bytes was answered with {answer:?}")
    });
    let (began, mut left) = (Instant::now(), usize::MAX);
    while began.elapsed() < CLOSING_LIMIT && left > before + SLACK_FILES {
        left = run.service.open_files().unwrap_or(usize::MAX);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    run.promises.check(Promise::NothingLeft, left <= before + SLACK_FILES, || {
        format!("after senseless connections: {before} open files before, {left} afterwards")
    });
    Ok(format!("{SENSELESS} senseless connections, {WRONG_KEYS} wrong keys, one message too long"))
}
