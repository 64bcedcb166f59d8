//! What clients see of a whole node over HTTP/2, out of the store, straight from the side and passed through; and what the side sees of them.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, Request};
use jet9_cache::Timestamp;

use super::super::*;
use super::client::{Http2, SOON, read};
use crate::clock::{ManualClock, WallClock};
use crate::origin::testing::{Act, ScriptedSide, TestNode, nowhere};

/// Friday, 15 January 2027 08:00:00 GMT.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const NOW_TEXT: &str = "Fri, 15 Jan 2027 08:00:00 GMT";

async fn node(side: SocketAddr) -> TestNode {
    let mut node = TestNode::new(|_| {});
    let edge = Arc::get_mut(&mut node.edge).unwrap();
    edge.clock = WallClock::Manual(ManualClock::starting_at(NOW));
    let serving = r#""phase":"serving","master":"a""#;
    node.publish(7, serving, side, side).await;
    node
}

fn request(method: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri("http://example.test/")
}

/// What a side saw, without holding up the runtime until its script is over.
async fn requests(side: ScriptedSide) -> Vec<String> {
    let seen = tokio::task::spawn_blocking(move || side.requests());
    timeout(SOON, seen).await.expect("an end in time").unwrap()
}

#[tokio::test]
async fn the_date_is_the_side_s_whatever_way_the_answer_came() {
    let check = async |method: &str, answer: &'static str, expected: &str, asks: usize| {
        let side = ScriptedSide::play(vec![vec![Act::Answer(answer)]]);
        let node = node(side.addr).await;
        let mut client = Http2::new(&node).await;
        for _ in 0..asks {
            let seen = client.ask(request(method).body("").unwrap()).await.unwrap();
            let dates: Vec<_> = seen.fields.get_all("date").iter().collect();
            assert_eq!(dates, [expected], "{method} {answer}");
        }
    };
    const STORED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Fri, 15 Jan 2027 07:59:50 GMT\r\nCache-Control: max-age=60\r\n\r\nok";
    const PRIVATE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Fri, 15 Jan 2027 07:59:50 GMT\r\nCache-Control: no-store\r\n\r\nok";
    const TWICE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Fri, 15 Jan 2027 07:59:50 GMT\r\nDate: Fri, 15 Jan 2027 07:59:51 GMT\r\n\r\nok";
    const NONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\r\nok";
    const SAID: &str = "Fri, 15 Jan 2027 07:59:50 GMT";
    check("GET", STORED, SAID, 2).await;
    check("GET", PRIVATE, SAID, 1).await;
    check("POST", PRIVATE, SAID, 1).await;
    check("POST", TWICE, SAID, 1).await;
    check("GET", NONE, NOW_TEXT, 1).await;
    check("POST", NONE, NOW_TEXT, 1).await;
}

#[tokio::test]
async fn interim_responses_come_before_the_answer() {
    let check = async |request: Request<&'static str>, answer: &'static str, expected: &[u16]| {
        let side = ScriptedSide::play(vec![vec![Act::Answer(answer)]]);
        let node = node(side.addr).await;
        let seen = Http2::new(&node).await.ask(request).await.unwrap();
        let statuses: Vec<_> = seen
            .interims
            .iter()
            .map(|head| head.status().as_u16())
            .collect();
        assert_eq!((seen.status, &*statuses), (200, expected), "{seen:?}");
        assert_eq!(seen.content.unwrap(), "ok");
        for interim in seen.interims.iter().filter(|head| head.status() == 103) {
            assert_eq!(interim.headers()["link"], "</a>");
            assert!(!interim.headers().contains_key("keep-alive"));
            assert!(!interim.headers().contains_key("jet9-cache-control"));
        }
        assert_eq!(seen.fields.get("link"), None);
    };
    const HINTED: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nKeep-Alive: 1\r\nJet9-Cache-Control: no-store\r\n\r\n\
        HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const CONTINUED: &str =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    check(request("GET").body("").unwrap(), HINTED, &[103, 102]).await;
    check(request("POST").body("x").unwrap(), HINTED, &[103, 102]).await;
    let expecting = request("POST").header("expect", "100-continue");
    check(expecting.body("x").unwrap(), CONTINUED, &[100]).await;
}

#[tokio::test]
async fn a_side_that_sends_more_than_16_interim_responses_is_answered_for() {
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\r\nok";
    for (method, count, status) in [
        ("GET", 16, 200),
        ("POST", 16, 200),
        ("GET", 17, 502),
        ("POST", 17, 502),
    ] {
        let answer = "HTTP/1.1 102 Processing\r\n\r\n".repeat(count) + last;
        let side = ScriptedSide::play(vec![vec![Act::Answer(answer.leak())]]);
        let node = node(side.addr).await;
        let mut client = Http2::new(&node).await;
        let seen = client.ask(request(method).body("").unwrap()).await.unwrap();
        assert_eq!(seen.status, status, "{method} {count}");
        assert!(seen.interims.len() <= 16, "{method} {count}");
    }
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_answered_for() {
    const UPGRADED: &str =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nbytes";
    for method in ["GET", "POST"] {
        let side = ScriptedSide::play(vec![vec![Act::Answer(UPGRADED)]]);
        let node = node(side.addr).await;
        let mut client = Http2::new(&node).await;
        let seen = client.ask(request(method).body("").unwrap()).await.unwrap();
        assert_eq!((seen.status, seen.interims.len()), (502, 0), "{method}");
    }
}

#[tokio::test]
async fn fields_about_the_side_s_connection_do_not_get_through() {
    const HOPS: &str = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\
        Upgrade: h2c\r\nTE: gzip\r\nTrailer: X-Late\r\nTransfer-Encoding: chunked\r\nX-Kept: yes\r\n\r\n2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n";
    for method in ["GET", "POST"] {
        let side = ScriptedSide::play(vec![vec![Act::Answer(HOPS)]]);
        let node = node(side.addr).await;
        let seen = Http2::new(&node)
            .await
            .ask(request(method).body("").unwrap())
            .await
            .unwrap();
        assert_eq!((seen.status, seen.field("x-kept")), (200, Some("yes")));
        assert_eq!(
            seen.content.as_deref(),
            Ok("ok"),
            "trailers are left out, and the end is clean"
        );
        for name in [
            "connection",
            "x-hop",
            "keep-alive",
            "proxy-connection",
            "upgrade",
            "te",
            "trailer",
            "transfer-encoding",
            "x-late",
        ] {
            assert_eq!(seen.field(name), None, "{method} {name}");
        }
    }
}

#[tokio::test]
async fn answers_without_content_end_with_their_head() {
    let check = async |method: &str, answer: &'static str, status: u16, length: Option<&str>| {
        let side = ScriptedSide::play(vec![vec![Act::Answer(answer)]]);
        let node = node(side.addr).await;
        let seen = Http2::new(&node)
            .await
            .ask(request(method).body("").unwrap())
            .await
            .unwrap();
        assert_eq!(
            (seen.status, seen.field("content-length")),
            (status, length),
            "{method} {answer}"
        );
        assert_eq!(seen.content.as_deref(), Ok(""), "{method} {answer}");
        assert!(seen.ended_by_head, "{method} {answer}");
    };
    const EMPTY: &str = "HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n";
    const SAME: &str = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n";
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: no-store\r\n\r\n";
    check("GET", EMPTY, 204, None).await;
    check("POST", EMPTY, 204, None).await;
    check("HEAD", HEAD, 200, Some("5")).await;
    check(
        "POST",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        200,
        Some("0"),
    )
    .await;
    check("POST", SAME, 304, None).await;
}

#[tokio::test]
async fn ranges_and_conditions_are_answered_as_over_http11() {
    const TEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"a\"\r\nCache-Control: max-age=60\r\n\r\n0123456789";
    let side = ScriptedSide::play(vec![vec![Act::Answer(TEN)]]);
    let node = node(side.addr).await;
    let mut client = Http2::new(&node).await;
    for (name, value, status, range, content) in [
        ("range", "bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("if-none-match", "\"a\"", 304, None, ""),
        ("if-none-match", "\"b\"", 200, None, "0123456789"),
    ] {
        let asked = request("GET").header(name, value).body("").unwrap();
        let seen = client.ask(asked).await.unwrap();
        let got = (
            seen.status,
            seen.field("content-range"),
            seen.content.as_deref(),
        );
        assert_eq!(got, (status, range, Ok(content)), "{name}: {value}");
        assert_eq!(seen.ended_by_head, content.is_empty(), "{name}: {value}");
    }
}

#[tokio::test]
async fn the_side_sees_one_cookie_line_one_host_and_no_trailers() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let side = ScriptedSide::play(vec![vec![Act::Answer(OK)]]);
    let node = node(side.addr).await;
    let client = Http2::new(&node).await;
    let asked = request("POST")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("host", "EXAMPLE.test:80");
    let mut send = client.send.clone().ready().await.unwrap();
    let (answer, mut stream) = send.send_request(asked.body(()).unwrap(), false).unwrap();
    stream
        .send_data(Bytes::from_static(b"hello"), false)
        .unwrap();
    let late = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static("c=3"))]);
    stream.send_trailers(late).unwrap();
    let seen = read(answer).await.unwrap();
    assert_eq!((seen.status, seen.content.as_deref()), (200, Ok("ok")));
    let request = requests(side).await.remove(0).to_ascii_lowercase();
    assert!(request.contains("\r\ncookie: a=1; b=2\r\n"), "{request}");
    assert_eq!(request.matches("\r\nhost:").count(), 1, "{request}");
    assert!(
        request.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn what_names_two_servers_or_contradicts_itself_is_refused_and_the_connection_lives() {
    let node = node(nowhere()).await;
    let mut client = Http2::new(&node).await;
    let check = async |client: &mut Http2,
                       asked: http::request::Builder,
                       content: &'static str,
                       expected| {
        let seen = client.ask(asked.body(content).unwrap()).await;
        let got = seen.map(|seen| seen.status).map_err(|error| error.reason());
        assert_eq!(got, expected);
    };
    let broken = Err(Some(Reason::PROTOCOL_ERROR));
    check(
        &mut client,
        request("GET").header("host", "other.test"),
        "",
        Ok(400),
    )
    .await;
    check(
        &mut client,
        request("GET").header("host", "a").header("host", "a"),
        "",
        Ok(400),
    )
    .await;
    check(
        &mut client,
        request("POST").header("content-length", "9"),
        "short",
        broken,
    )
    .await;
    check(
        &mut client,
        request("POST").header("content-length", "2"),
        "long",
        broken,
    )
    .await;
    check(
        &mut client,
        request("POST").header("content-length", "x"),
        "y",
        broken,
    )
    .await;
    check(
        &mut client,
        request("POST").header("content-length", "+1"),
        "y",
        broken,
    )
    .await;
    check(&mut client, request("CONNECT"), "", Ok(501)).await;
}

#[tokio::test]
async fn a_client_that_resets_its_stream_frees_the_side_s_connection_and_no_other_stream() {
    const BEGUN: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nCache-Control: no-store\r\n\r\nbegun";
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for method in ["GET", "POST"] {
        let side = ScriptedSide::play(vec![vec![Act::Stall(BEGUN)], vec![Act::Answer(OK)]]);
        let node = node(side.addr).await;
        let mut client = Http2::new(&node).await;
        let mut send = client.send.clone().ready().await.unwrap();
        let asked = request(method).body(()).unwrap();
        let (answer, mut stream) = send.send_request(asked, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "begun");
        stream.send_reset(Reason::CANCEL);
        drop(body);
        // The side takes its next connection when this one has ended.
        let seen = client.ask(request("POST").body("").unwrap()).await.unwrap();
        assert_eq!(seen.content.as_deref(), Ok("ok"), "{method}");
        assert_eq!(requests(side).await.len(), 2);
    }
}

#[tokio::test]
async fn a_stop_says_goaway_and_lets_what_is_under_way_finish() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let side = ScriptedSide::play(vec![vec![Act::Answer(OK)]]);
    let node = node(side.addr).await;
    let client = Http2::new(&node).await;
    let mut send = client.send.clone().ready().await.unwrap();
    let asked = request("POST").body(()).unwrap();
    let (answer, mut stream) = send.send_request(asked, false).unwrap();
    while node.edge.drain.under_way() == 0 {
        tokio::task::yield_now().await;
    }
    node.edge.drain.start();
    let refused = async {
        // GOAWAY stops the client from opening streams.
        while client.send.clone().ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, refused).await.expect("GOAWAY in time");
    stream.send_data(Bytes::from_static(b"late"), true).unwrap();
    let seen = read(answer).await.unwrap();
    assert_eq!((seen.status, seen.content.as_deref()), (200, Ok("ok")));
    timeout(SOON, node.edge.drain.idle())
        .await
        .expect("the connection ends");
}
