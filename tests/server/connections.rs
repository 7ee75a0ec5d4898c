//! Connections that break in the middle of their calls leave nothing behind.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use otklik::server::wire::v1;
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fakes::FakeTagger;
use crate::{Service, classify, eventually, feedback};

/// Connections of one round; `OTKLIK_CONNECTIONS` sets another number.
const ROUND: usize = 300;

/// What begins a connection of HTTP/2, and a frame of settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// A frame of headers of which most is missing.
const PART_OF_HEADERS: &[u8] = b"\x00\x00\xc8\x01\x04\x00\x00\x00\x01\x83\x86\x44\x10/otklik.v1.Tagg";

fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.encoded_len() as u32);
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

/// Opens a connection, gets it to the middle of a call, and gives back what keeps it there.
async fn half_a_call(service: &Service, number: usize) -> Box<dyn Send> {
    let mut socket = TcpStream::connect(service.address).await.unwrap();
    if number.is_multiple_of(2) {
        socket.write_all(PREFACE).await.unwrap();
        socket.write_all(PART_OF_HEADERS).await.unwrap();
        return Box::new(socket);
    }
    let (path, message) = match number % 4 {
        1 => {
            let request = v1::ClassifyStreamRequest { feedback: Some(feedback("f", "hold")), ..Default::default() };
            ("TaggingService/ClassifyStream", framed(&request))
        }
        _ => {
            let start = v1::assist_request::Part::Start(v1::AssistStart::default());
            ("AssistService/Assist", framed(&v1::AssistRequest { part: Some(start) }))
        }
    };
    let (mut send, connection) = h2::client::handshake(socket).await.unwrap();
    let driver = Driver(tokio::spawn(async move {
        // It is cut by whoever drops the driver.
        let _ = connection.await;
    }));
    let request = http::Request::post(format!("http://{}/otklik.v1.{path}", service.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (response, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
    // One message, and the beginning of another.
    body.send_data(message.clone(), false).unwrap();
    body.send_data(message.slice(..message.len() / 2), false).unwrap();
    Box::new((response, body, send, driver))
}

/// Ends a connection without a word when it is dropped.
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Files and connections that this process has open.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Memory of this process in use, in kB.
fn resident_kb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_in_the_middle_leave_nothing_behind() {
    // Other tests of this process open files too; what thousands of connections would leave is more than theirs.
    const OTHERS: usize = 100;
    const AT_ONCE: usize = 50;
    let round = std::env::var("OTKLIK_CONNECTIONS").ok().and_then(|number| number.parse().ok()).unwrap_or(ROUND);
    let mut service = Service::with(|config| config.server.max_concurrent_requests = AT_ONCE).await;
    eventually("the warm-up", async || FakeTagger::count(&service.tagger.finished) == 1).await;
    let files = open_files();
    let mut memory = Vec::new();
    for _ in 0..3 {
        for first in (0..round).step_by(AT_ONCE) {
            let mut held = Vec::new();
            for number in first..(first + AT_ONCE).min(round) {
                held.push(half_a_call(&service, number).await);
            }
            eventually("a call in work", async || FakeTagger::count(&service.tagger.in_work) > 0).await;
            drop(held);
            eventually("no call in work", async || FakeTagger::count(&service.tagger.in_work) == 0).await;
        }
        eventually("connections closed", async || open_files() <= files + OTHERS).await;
        memory.push(resident_kb());
    }
    // Every place is free: so many calls are let in at once, and answered.
    let channel = service.channel().await;
    eventually("every place is free", async || {
        let calls = (0..AT_ONCE).map(|_| {
            let mut client = v1::tagging_service_client::TaggingServiceClient::new(channel.clone());
            tokio::spawn(async move { client.classify(classify("wait:200")).await.is_ok() })
        });
        let mut answered = 0;
        for call in calls.collect::<Vec<_>>() {
            answered += usize::from(call.await.unwrap());
        }
        answered == AT_ONCE
    })
    .await;
    let (second, third) = (memory[1], memory[2]);
    assert!(third < second + 16 * 1_024, "memory grows with connections that broke: {memory:?} kB");
    service.stop();
    assert!(service.ended().await < Duration::from_secs(10), "nothing that broke is waited for");
}
