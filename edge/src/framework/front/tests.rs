//! The front over real loopback sockets, with a story of three lines behind it and a Pingora of five.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jet9_config::site::UnknownCoding;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::interim::Teller;
use crate::message::{Content, Head};
use crate::origin::receive::{self, Asked};

/// Answers `GET /hit*` at once, never answers `/never`, sends hints before `/hinted` and waits there to be let on, passes everything else to a side that echoes.
pub(in crate::framework) struct Fake {
    limits: Limits,
    pub(in crate::framework) drain: Drain,
    ids: RequestIds,
    finished: Mutex<Vec<(String, u16, Option<&'static str>)>>,
    never: AtomicUsize,
    let_on: Notify,
    pub(in crate::framework) open: IntGauge,
}

impl Fake {
    pub(in crate::framework) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            drain: Drain::new(),
            ids: RequestIds::new("test", 1, WallClock::System.now()),
            finished: Mutex::new(Vec::new()),
            never: AtomicUsize::new(0),
            let_on: Notify::new(),
            open: IntGauge::new("open", "open").unwrap(),
        })
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    Response {
        head: Head::Composed {
            status,
            fields: HeaderMap::new(),
        },
        content: Content::Whole(body.into()),
    }
}

fn hint(teller: Option<&mut Teller>, link: &str) {
    let head = format!("HTTP/1.1 103 Early Hints\r\nLink: {link}\r\n\r\n");
    let asked = Asked {
        method: &Method::GET,
        unknown_coding: UnknownCoding::Refuse,
    };
    let received = receive::head(head.as_bytes(), asked, &Limits::default()).unwrap();
    if let Some(teller) = teller {
        teller.tell(received);
    }
}

impl Handler for Fake {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn drain(&self) -> &Drain {
        &self.drain
    }

    fn clock(&self) -> &WallClock {
        &WallClock::System
    }

    fn request_ids(&self) -> &RequestIds {
        &self.ids
    }

    fn connections_open(&self, _protocol: Option<Protocol>) -> &IntGauge {
        &self.open
    }

    async fn answer(
        &self,
        _exchange: &mut Exchange,
        request: &Request,
        interims: &Interims,
    ) -> Answer {
        let path = String::from_utf8_lossy(&request.path_and_query).into_owned();
        if path == "/never" {
            self.never.fetch_add(1, Ordering::SeqCst);
            return std::future::pending().await;
        }
        if path == "/hinted" {
            let mut teller = interims.open();
            hint(teller.as_mut(), "</first>");
            self.let_on.notified().await;
            hint(teller.as_mut(), "</last>");
            return Answer::Respond(text(StatusCode::OK, "final"));
        }
        if path == "/slow" {
            tokio::task::yield_now().await;
        } else if !path.starts_with("/hit") {
            return Answer::PassThrough;
        }
        Answer::Respond(text(StatusCode::OK, format!("hit {path}")))
    }

    fn refuse(&self, _exchange: &mut Exchange, refusal: &Refusal) -> Response {
        text(refusal.status, refusal.rule.as_str())
    }

    fn late(&self, _exchange: &mut Exchange) -> Response {
        text(StatusCode::REQUEST_TIMEOUT, "late")
    }

    fn content_max(&self, _exchange: &Exchange) -> u64 {
        1 << 20
    }

    /// What Pingora does, as far as the front sees it: reads one request, answers with its content, and keeps the connection or not.
    async fn pass(&self, mut stream: FrontStream, passing: Passing, close: bool) -> bool {
        let Ok((head, content)) = read_request(&mut stream).await else {
            return false;
        };
        let line = head.split("\r\n").next().unwrap_or_default();
        let body = format!("passed {line} +{}", content.len());
        if passing.exchange.asked.path == "/breaks" {
            let begun = b"HTTP/1.1 200 OK\r\n\r\npart";
            return stream.write_all(begun).await.is_err();
        }
        let connection = if close { "close" } else { "keep-alive" };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n{body}",
            body.len()
        );
        let written = stream.write_all(answer.as_bytes()).await;
        self.finished
            .lock()
            .push((passing.exchange.asked.path, 200, None));
        let usable = written.is_ok() && !close && passing.request.protocol != Protocol::Http10;
        if usable {
            return stream.flush().await.is_ok();
        }
        // As Pingora's session does it: of the two methods of this name, the one of the boxed stream is tokio's.
        let mut stream: pingora_core::protocols::Stream = Box::new(stream);
        let _ = stream.shutdown().await;
        false
    }

    async fn http2(&self, _transport: Transport, _client: Arc<Client>) {}

    fn finished(&self, exchange: &Exchange) {
        let fact = (
            exchange.asked.path.clone(),
            exchange.answered.status,
            exchange.error,
        );
        self.finished.lock().push(fact);
    }
}

/// Reads a head and its content, chunked or counted.
async fn read_request(stream: &mut FrontStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let lower = head.to_ascii_lowercase();
    let mut content = Vec::new();
    if let Some((_, rest)) = lower.split_once("content-length: ") {
        let length: usize = rest.split("\r\n").next().unwrap().parse().unwrap();
        content.resize(length, 0);
        stream.read_exact(&mut content).await?;
    } else if lower.contains("transfer-encoding: chunked") {
        while !content.ends_with(b"0\r\n\r\n") {
            content.push(stream.read_u8().await?);
        }
    }
    Ok((head, content))
}

async fn start(fake: &Arc<Fake>) -> (TcpStream, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    client.set_nodelay(true).unwrap();
    let (server, address) = listener.accept().await.unwrap();
    let facts = Client {
        address: Some(address),
        local: None,
        tls: None,
    };
    let serving = tokio::spawn(serve(
        Arc::clone(fake),
        Transport::Clear(server),
        Arc::new(facts),
        fake.drain.begin(),
    ));
    (client, serving)
}

/// Sends `sent`, in one write or byte by byte, and gives back all that comes until the connection ends.
async fn talk(fake: &Arc<Fake>, sent: &[u8], bytewise: bool) -> String {
    let (client, serving) = start(fake).await;
    let (mut reading, mut writing) = client.into_split();
    let sent = sent.to_vec();
    let sending = tokio::spawn(async move {
        let step = if bytewise { 1 } else { sent.len().max(1) };
        for piece in sent.chunks(step) {
            if writing.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        writing
    });
    let mut answers = Vec::new();
    reading.read_to_end(&mut answers).await.unwrap();
    drop(sending.await.unwrap());
    serving.await.unwrap();
    String::from_utf8(answers).unwrap()
}

/// The status and the content of each answer in a transcript of answers with Content-Length.
fn answers(transcript: &str) -> Vec<String> {
    let mut rest = transcript;
    let mut found = Vec::new();
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        found.push(format!("{} {}", &head[9..12], &after[..length]));
        rest = &after[length..];
    }
    assert_eq!(
        rest, "",
        "something stands behind the answers: {transcript}"
    );
    found
}

async fn check(sent: &str, expected: &[&str]) {
    for bytewise in [false, true] {
        let fake = Fake::new(Limits::default());
        let transcript = talk(&fake, sent.as_bytes(), bytewise).await;
        assert_eq!(answers(&transcript), expected, "bytewise: {bytewise}");
        assert_eq!(fake.drain.under_way(), 0);
        assert_eq!(fake.finished.lock().len(), expected.len());
    }
}

const HIT: &str = "GET /hit HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST_HIT: &str = "GET /hit HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn one_connection_mixed() {
    let mixed = [
        HIT,
        "GET /miss HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /",
        "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        "GET /odd HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz",
        "HEAD /hit HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ];
    let head = "200 passed";
    let expected = [
        "200 hit /hit".to_owned(),
        format!("{head} GET /miss HTTP/1.1 +0"),
        format!("{head} POST /upload HTTP/1.1 +5"),
        format!("{head} POST /upload HTTP/1.1 +20"),
        format!("{head} GET /odd HTTP/1.1 +3"),
    ];
    for bytewise in [false, true] {
        let fake = Fake::new(Limits::default());
        let transcript = talk(&fake, mixed.concat().as_bytes(), bytewise).await;
        let (before, head) = transcript.rsplit_once("HTTP/1.1 200 OK").unwrap();
        assert!(
            head.ends_with("\r\ncontent-length: 8\r\nconnection: close\r\n\r\n"),
            "{head}"
        );
        let mut got = answers(before);
        // Chunks are framed anew; how many there are depends on how they arrived.
        if bytewise {
            assert!(
                got[3].starts_with("200 passed POST /upload HTTP/1.1 +"),
                "{got:?}"
            );
            got[3].clone_from(&expected[3]);
        }
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_and_ends_the_connection() {
    check(
        &format!("{HIT}GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{HIT}"),
        &["200 hit /hit", "400 host-repeated"],
    )
    .await;
    check("\u{16}\u{3}\u{1}", &["400 method"]).await;
}

#[tokio::test]
async fn a_request_sent_during_another_one_is_answered_after_it() {
    check(
        &format!("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n{LAST_HIT}"),
        &["200 hit /slow", "200 hit /hit"],
    )
    .await;
}

#[tokio::test]
async fn http_1_0_ends_after_one_answer_unless_it_asks_for_more() {
    check("GET /hit HTTP/1.0\r\nHost: a\r\n\r\n", &["200 hit /hit"]).await;
    check(
        &format!("GET /hit HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n{LAST_HIT}"),
        &["200 hit /hit", "200 hit /hit"],
    )
    .await;
    check(
        "GET /miss HTTP/1.0\r\nHost: a\r\n\r\n",
        &["200 passed GET /miss HTTP/1.0 +0"],
    )
    .await;
}

#[tokio::test]
async fn content_that_only_the_end_of_the_connection_ends_is_reset_when_it_breaks_off() {
    let fake = Fake::new(Limits::default());
    let (mut client, serving) = start(&fake).await;
    client
        .write_all(b"GET /breaks HTTP/1.0\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut transcript = Vec::new();
    let error = client.read_to_end(&mut transcript).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    serving.await.unwrap();
}

#[tokio::test]
async fn unread_content_ends_the_connection() {
    check(
        &format!("POST /hit HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd{HIT}"),
        &["200 hit /hit"],
    )
    .await;
}

#[tokio::test]
async fn a_broken_chunk_ends_the_connection_and_nothing_behind_it_is_a_request() {
    let fake = Fake::new(Limits::default());
    let sent = format!(
        "POST /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n{HIT}"
    );
    assert_eq!(talk(&fake, sent.as_bytes(), false).await, "");
    assert!(fake.finished.lock().is_empty());
}

#[tokio::test]
async fn a_connection_ends_with_its_last_request() {
    let limits = Limits {
        requests_per_connection: 2,
        ..Limits::default()
    };
    let fake = Fake::new(limits);
    let transcript = talk(&fake, HIT.repeat(3).as_bytes(), false).await;
    assert_eq!(answers(&transcript), ["200 hit /hit", "200 hit /hit"]);
    assert_eq!(transcript.matches("connection: close").count(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_wait_for_an_answer() {
    let fake = Fake::new(Limits::default());
    let (mut client, serving) = start(&fake).await;
    client
        .write_all(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    while fake.never.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    drop(client);
    serving.await.unwrap();
    let finished = fake.finished.lock().clone();
    assert_eq!(finished, [("/never".to_owned(), 0, Some("client-left"))]);
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_lets_the_others_finish() {
    let fake = Fake::new(Limits::default());
    let (mut idle, idle_serving) = start(&fake).await;
    idle.write_all(HIT.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let read = idle.read(&mut answer).await.unwrap();
    assert!(read > 0);
    let (mut beginning, serving) = start(&fake).await;
    let (first, rest) = HIT.split_at(20);
    beginning.write_all(first.as_bytes()).await.unwrap();

    fake.drain.start();
    assert_eq!(idle.read(&mut answer).await.unwrap(), 0);
    idle_serving.await.unwrap();
    beginning.write_all(rest.as_bytes()).await.unwrap();
    let mut transcript = String::new();
    beginning.read_to_string(&mut transcript).await.unwrap();
    assert!(transcript.contains("connection: close"), "{transcript}");
    drop(beginning);
    serving.await.unwrap();
    fake.drain.idle().await;
}

#[tokio::test]
async fn a_head_that_does_not_arrive_in_time_is_told_so() {
    let limits = Limits {
        head_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let fake = Fake::new(limits);
    let transcript = talk(&fake, b"GET /hit HTTP/1.1\r\nHo", false).await;
    assert_eq!(answers(&transcript), ["408 late"]);
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let limits = Limits {
        keep_alive: Duration::from_millis(50),
        ..Limits::default()
    };
    let fake = Fake::new(limits);
    assert_eq!(talk(&fake, b"", false).await, "");
    assert!(fake.finished.lock().is_empty());
}

#[test]
fn an_idle_connection_takes_little_memory() {
    let fake = Fake::new(Limits::default());
    let future =
        |transport, client, under_way| serve(Arc::clone(&fake), transport, client, under_way);
    let size = size_of_return(&future);
    assert!(size < 1024, "{size} bytes");
}

fn size_of_return<F, A, B, C, R>(_: &F) -> usize
where
    F: Fn(A, B, C) -> R,
{
    size_of::<R>()
}

/// Reads until what came ends like this.
async fn read_to(client: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        read.push(client.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn interim_responses_go_out_when_they_come_and_before_the_answer() {
    let fake = Fake::new(Limits::default());
    let (mut client, serving) = start(&fake).await;
    for _ in 0..2 {
        let asked = b"GET /hinted HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(asked).await.unwrap();
        // The story goes on only after this was read.
        let first = read_to(&mut client, "\r\n\r\n").await;
        assert_eq!(first, "HTTP/1.1 103 Early Hints\r\nlink: </first>\r\n\r\n");
        fake.let_on.notify_one();
        let rest = read_to(&mut client, "final").await;
        let last = "HTTP/1.1 103 Early Hints\r\nlink: </last>\r\n\r\nHTTP/1.1 200 OK\r\n";
        assert!(rest.starts_with(last), "{rest}");
        assert_eq!(rest.matches("link").count(), 1, "{rest}");
    }
    drop(client);
    serving.await.unwrap();
}

#[tokio::test]
async fn clients_of_http10_are_told_nothing_before_the_answer() {
    let fake = Fake::new(Limits::default());
    fake.let_on.notify_one();
    let answer = talk(&fake, b"GET /hinted HTTP/1.0\r\nHost: a\r\n\r\n", false).await;
    assert_eq!(answers(&answer), ["200 final"]);
}
