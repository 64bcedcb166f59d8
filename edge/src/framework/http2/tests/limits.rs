//! What a client may cost over HTTP/2: each flood and each stall ends at a limit, and others are served meanwhile.

use std::time::Duration;

use http::Request;

use super::super::*;
use super::client::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, RST_STREAM, Raw, SETTINGS,
    SOON, head, literal, read,
};
use crate::origin::testing::{Act, ScriptedSide, TestNode, nowhere};

/// A node whose clients may be idle for half a second.
async fn node(side: std::net::SocketAddr, change: impl FnOnce(&mut Edge)) -> TestNode {
    let mut node = TestNode::new(|_| {});
    let edge = Arc::get_mut(&mut node.edge).unwrap();
    edge.limits.client_idle = Duration::from_millis(500);
    change(edge);
    let serving = r#""phase":"serving","master":"a""#;
    node.publish(7, serving, side, side).await;
    node
}

/// Sends until the connection ends, or takes no more; how often.
async fn flood(most: u32, mut send: impl AsyncFnMut(u32) -> bool) -> u32 {
    for n in 0..most {
        if !send(n).await {
            return n;
        }
    }
    panic!("{most} of them, and still there");
}

fn stream(n: u32) -> u32 {
    2 * n + 1
}

#[tokio::test]
async fn requests_that_are_reset_at_once_end_the_connection_at_its_limit() {
    let node = node(nowhere(), |edge| {
        edge.limits.requests_per_connection = 50;
        edge.limits.http2_streams = 10;
    })
    .await;
    let mut raw = Raw::new(&node).await;
    // The end is announced after 50. This client goes on.
    flood(100_000, async |n| {
        raw.request(stream(n), "GET", true).await
            && raw
                .send(RST_STREAM, 0, stream(n), &8u32.to_be_bytes())
                .await
    })
    .await;
    assert_eq!(raw.end().await, Some(Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn one_malformed_request_after_the_other_ends_the_connection() {
    let node = node(nowhere(), |_| {}).await;
    let mut raw = Raw::new(&node).await;
    let mut bad = head("GET");
    literal(&mut bad, "host", "other.test");
    flood(100_000, async |n| {
        raw.send(HEADERS, END_HEADERS | END_STREAM, stream(n), &bad)
            .await
    })
    .await;
    assert_eq!(raw.end().await, Some(Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn a_head_without_an_end_ends_the_connection() {
    let node = node(nowhere(), |_| {}).await;
    for part in [&b""[..], b"\0\x01a\x01b"] {
        let mut raw = Raw::new(&node).await;
        assert!(raw.send(HEADERS, END_STREAM, 1, &head("GET")).await);
        let most = if part.is_empty() { 1_000 } else { 20_000 };
        flood(most, async |_| raw.send(CONTINUATION, 0, 1, part).await).await;
        let said = raw.end().await;
        assert_eq!(said, Some(Reason::ENHANCE_YOUR_CALM), "{part:?}");
    }
}

#[tokio::test]
async fn a_small_head_that_unpacks_to_a_large_one_is_refused() {
    let node = node(nowhere(), |_| {}).await;
    let mut raw = Raw::new(&node).await;
    // 4,000 bytes go into the dynamic table; each byte more is a field of that size (RFC 7541 §6.1).
    let mut bomb = head("GET");
    bomb.extend_from_slice(&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
    bomb.extend_from_slice(&[b'x'; 4_000]);
    bomb.extend_from_slice(&[0x80 | 62; 10_000]);
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &bomb).await;
    assert_eq!(raw.end().await, Some(Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn a_head_above_the_limit_is_answered_with_431() {
    let node = node(nowhere(), |edge| edge.limits.head_bytes = 2_000).await;
    let mut client = Http2::new(&node).await;
    let asked = Request::get("http://example.test/").header("x", "y".repeat(3_000));
    let seen = client.ask(asked.body("").unwrap()).await.unwrap();
    assert_eq!(seen.status, 431);
}

#[tokio::test]
async fn who_asks_without_reading_the_answers_is_not_read_either() {
    let node = node(nowhere(), |_| {}).await;
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, b"")] {
        let mut raw = Raw::new(&node).await;
        // Four times what the wire holds.
        let most = (256 << 10) / 9;
        flood(most, async |_| raw.send(kind, 0, 0, payload).await).await;
    }
}

#[tokio::test]
async fn content_in_crumbs_ends_the_connection() {
    let side = ScriptedSide::play(vec![vec![Act::Stall("")]]);
    let node = node(side.addr, |_| {}).await;
    let mut raw = Raw::new(&node).await;
    assert!(raw.request(1, "POST", false).await);
    flood(70_000, async |_| raw.send(DATA, 0, 1, b"x").await).await;
}

#[tokio::test]
async fn a_client_that_opens_no_window_is_reset_and_frees_the_side() {
    const BEGUN: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nCache-Control: no-store\r\n\r\nbegun";
    for method in ["GET", "POST"] {
        let side = ScriptedSide::play(vec![vec![Act::Stall(BEGUN)]]);
        let node = node(side.addr, |_| {}).await;
        let mut options = h2::client::Builder::new();
        options.initial_window_size(0);
        let mut client = Http2::with(&node, &options).await;
        let asked = Request::builder()
            .method(method)
            .uri("http://example.test/");
        let seen = client.ask(asked.body("").unwrap()).await.unwrap();
        assert_eq!(seen.status, 200);
        assert!(matches!(seen.content, Err(Some(_))), "{method} {seen:?}");
        let over = tokio::task::spawn_blocking(move || side.requests());
        timeout(SOON, over)
            .await
            .expect("the side is free")
            .unwrap();
    }
}

#[tokio::test]
async fn a_client_that_sends_no_content_is_answered_for_and_frees_the_side() {
    let side = ScriptedSide::play(vec![vec![Act::Hang]]);
    let node = node(side.addr, |_| {}).await;
    let client = Http2::new(&node).await;
    let mut send = client.send.clone().ready().await.unwrap();
    let asked = Request::post("http://example.test/").header("content-length", "5");
    let (answer, _stream) = send.send_request(asked.body(()).unwrap(), false).unwrap();
    let seen = read(answer).await.unwrap();
    assert_eq!(seen.status, 408);
    let over = tokio::task::spawn_blocking(move || side.requests());
    timeout(SOON, over)
        .await
        .expect("the side is free")
        .unwrap();
}

#[tokio::test]
async fn who_opens_its_windows_and_reads_nothing_loses_its_streams_and_its_connection() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(LARGE.get_or_init(large))]]);
    let node = node(side.addr, |edge| {
        edge.limits.keep_alive = Duration::from_millis(100);
    })
    .await;
    // What is asked for is there, and larger than all buffers on the way.
    let mut client = Http2::new(&node).await;
    let asked = Request::get("http://example.test/").body("").unwrap();
    assert_eq!(
        client.ask(asked).await.unwrap().content.unwrap().len(),
        LARGE_BYTES
    );
    let mut raw = Raw::new(&node).await;
    raw.open_windows().await;
    for n in 0..10 {
        assert!(raw.request(stream(n), "GET", true).await);
    }
    raw.served().await;
}

#[tokio::test]
async fn who_reads_slowly_gets_all_that_was_written_for_it() {
    // What the wire does not hold of it waits in `h2` when the stream is over.
    const BYTES: usize = 150 << 10;
    let head =
        format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {BYTES}\r\n\r\n");
    let answer = head + &"x".repeat(BYTES);
    let side = ScriptedSide::play(vec![vec![Act::Answer(answer.leak())]]);
    let node = node(side.addr, |edge| edge.limits = Limits::default()).await;
    let asked = Request::get("http://example.test/").body("").unwrap();
    let seen = Http2::new(&node).await.ask(asked).await.unwrap();
    assert_eq!(seen.content.unwrap().len(), BYTES);
    tokio::time::pause();
    for stops in [false, true] {
        let mut raw = Raw::new(&node).await;
        raw.open_windows().await;
        assert!(raw.request(1, "GET", true).await);
        // Longer for all of it than a connection may idle.
        let read = raw.content(1, Duration::from_secs(20), || {
            if stops {
                node.edge.drain.start();
            }
        });
        assert_eq!(read.await, Some(BYTES), "stops: {stops}");
        raw.served().await;
    }
}

const LARGE_BYTES: usize = 512 << 10;
static LARGE: std::sync::OnceLock<String> = std::sync::OnceLock::new();

fn large() -> String {
    let head = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {LARGE_BYTES}\r\n\r\n"
    );
    head + &"x".repeat(LARGE_BYTES)
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_brings_no_whole_request_is_closed_when_it_may_idle_no_longer() {
    let node = node(nowhere(), |_| {}).await;
    for head in [&b""[..], &head("GET")] {
        let mut raw = Raw::new(&node).await;
        if !head.is_empty() {
            assert!(raw.send(HEADERS, END_STREAM, 1, head).await);
        }
        let before = tokio::time::Instant::now();
        raw.served().await;
        let limits = &node.edge.limits;
        assert!(before.elapsed() < limits.keep_alive + CLOSING + Duration::from_secs(1));
    }
}

#[tokio::test]
async fn content_that_nobody_reads_keeps_no_answer_from_its_client_and_no_window_from_others() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(OK)]]);
    let node = node(side.addr, |_| {}).await;
    let mut client = Http2::new(&node).await;
    let content: &'static str = "x".repeat(200_000).leak();
    for _ in 0..3 {
        let asked = Request::post("http://example.test/").header("host", "other.test");
        let mut send = client.send.clone().ready().await.unwrap();
        let (answer, mut stream) = send.send_request(asked.body(()).unwrap(), false).unwrap();
        // All of it does not fit the window that the server opens.
        stream.send_data(content.into(), true).unwrap();
        let seen = read(answer).await.unwrap();
        assert_eq!(seen.status, 400);
        assert!(seen.content.unwrap().ends_with("</html>\n"));
    }
    let asked = Request::post("http://example.test/").body(content).unwrap();
    assert_eq!(
        client.ask(asked).await.unwrap().status,
        200,
        "the connection lives"
    );
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
