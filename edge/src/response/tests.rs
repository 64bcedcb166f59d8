//! What clients see of a whole node, byte by byte over HTTP/1.1 and by field over HTTP/2: parts, conditions, HEAD, dates, whose error it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jet9_cache::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};

use crate::clock::{ManualClock, WallClock};
use crate::exchange::Exchange;
use crate::framework::front::{self, Node, Transport};
use crate::framework::http2;
use crate::framework::phases::Phases;
use crate::interim::Interims;
use crate::message::{Content, Response};
use crate::origin::testing::{Act, ScriptedSide, TestNode};
use crate::parts::Edge;
use crate::request::client::Client;
use crate::request::guard;
use crate::story::{self, Answer};

/// Ten bytes with everything that a range can be tied to.
const TEN: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\nContent-Type: text/plain\r\nETag: \"a\"\r\n\
                   Last-Modified: Fri, 15 Jan 2027 07:00:00 GMT\r\nCache-Control: max-age=60\r\n\r\n0123456789";

/// Friday, 15 January 2027 08:00:00 GMT.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// A node before this side, with a clock that stands still.
async fn node(side: SocketAddr) -> TestNode {
    node_with(side, |_| {}).await
}

async fn node_with(side: SocketAddr, change: impl FnOnce(&mut Edge)) -> TestNode {
    let mut node = TestNode::new(|_| {});
    let edge = Arc::get_mut(&mut node.edge).unwrap();
    edge.clock = WallClock::Manual(ManualClock::starting_at(NOW));
    change(edge);
    let serving = r#""phase":"serving","master":"a""#;
    node.publish(7, serving, side, side).await;
    node
}

/// One answer as a client sees it.
#[derive(Debug)]
struct Seen {
    status: u16,
    fields: HeaderMap,
    content: String,
}

impl Seen {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts status, `Content-Range` and content.
    #[track_caller]
    fn is(&self, status: u16, content_range: Option<&str>, content: &str) {
        let seen = (self.status, self.field("content-range"), &*self.content);
        assert_eq!(seen, (status, content_range, content), "{self:?}");
    }
}

/// Sends a request with these lines to `/` over HTTP/1.1 and reads the answer to its end.
async fn http1(node: &TestNode, method: &str, lines: &str) -> Seen {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let transport = Transport::Clear(listener.accept().await.unwrap().0);
    let edge = &node.edge;
    let front = Node::new(Arc::clone(edge), Phases::proxy(Arc::clone(edge)));
    let serving = tokio::spawn(front::serve(
        Arc::new(front),
        transport,
        Arc::new(Client::edge()),
        edge.drain.begin(),
    ));
    let request =
        format!("{method} / HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n{lines}\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    drop(client);
    serving.await.unwrap();
    parse(&String::from_utf8(bytes).unwrap(), method)
}

/// Checks the announced length against what came.
fn parse(answer: &str, method: &str) -> Seen {
    let (head, content) = answer.split_once("\r\n\r\n").expect(answer);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut fields = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let name = http::HeaderName::try_from(name).unwrap();
        fields.append(name, value.parse().unwrap());
    }
    let announced = fields.get("content-length");
    if let Some(length) = announced.filter(|_| method != "HEAD") {
        assert_eq!(
            length.to_str().unwrap(),
            content.len().to_string(),
            "{answer}"
        );
    }
    Seen {
        status: status.parse().unwrap(),
        fields,
        content: content.to_owned(),
    }
}

async fn get(node: &TestNode, lines: &str) -> Seen {
    http1(node, "GET", lines).await
}

/// Sends a GET for `/` with one more field over HTTP/2.
async fn http2_get(node: &TestNode, name: &str, value: &str) -> Seen {
    let edge = &node.edge;
    let (near, far) = duplex(1 << 16);
    let proxy = Phases::proxy(Arc::clone(edge));
    let serving = tokio::spawn(http2::serve(
        Arc::clone(edge),
        proxy,
        Box::new(far),
        Arc::new(Client::edge()),
    ));
    let (send, connection) = h2::client::handshake(near).await.unwrap();
    let driving = tokio::spawn(connection);
    let mut send = send.ready().await.unwrap();
    let request = http::Request::get("http://example.test/").header(name, value);
    let (response, _) = send.send_request(request.body(()).unwrap(), true).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    let mut content = Vec::new();
    while let Some(piece) = body.data().await {
        content.extend_from_slice(&piece.unwrap());
    }
    serving.abort();
    driving.abort();
    Seen {
        status: head.status.as_u16(),
        fields: head.headers,
        content: String::from_utf8(content).unwrap(),
    }
}

/// What the story says to a GET for `/`, without a carrier that reads it.
async fn told(node: &TestNode, lines: &str) -> (Answer, Exchange) {
    let edge = &node.edge;
    let head = Bytes::from(format!(
        "GET / HTTP/1.1\r\nHost: example.test\r\n{lines}\r\n"
    ));
    let client = Arc::new(Client::edge());
    let request = guard::parse_http1(head, client.scheme(), &edge.limits)
        .unwrap()
        .request;
    let started = crate::clock::monotonic();
    let id = edge.request_ids.next();
    let mut exchange = Exchange::begin(client, id, started, edge.clock.now());
    let answer = story::answer(edge, &mut exchange, &request, &Interims::unwanted()).await;
    (answer, exchange)
}

/// The parts of a `multipart/byteranges`, each as `Content-Type`, `Content-Range` and content.
fn parts(seen: &Seen) -> Vec<String> {
    let media_type = seen.field("content-type").unwrap();
    let boundary = media_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    assert!((30..=70).contains(&boundary.len()), "{boundary}");
    let end = format!("\r\n--{boundary}--\r\n");
    let content = seen.content.strip_suffix(&end).unwrap();
    let begin = format!("\r\n--{boundary}\r\n");
    let mut parts = content.split(&begin);
    assert_eq!(parts.next(), Some(""));
    parts.map(str::to_owned).collect()
}

fn part(range: &str, content: &str) -> String {
    format!("Content-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{content}")
}

#[tokio::test]
async fn several_ranges_are_parts_out_of_a_fill_and_out_of_the_store_over_both_protocols() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(TEN)]]);
    let node = node(side.addr).await;
    let expected = [part("0-1", "01"), part("8-9", "89")];
    let range = "bytes=0-1,-2";
    let lines = format!("Range: {range}\r\n");
    let mut seen = vec![get(&node, &lines).await, get(&node, &lines).await];
    seen.push(http2_get(&node, "range", range).await);
    for seen in &seen {
        assert_eq!(seen.status, 206, "{seen:?}");
        assert_eq!(seen.field("content-range"), None);
        assert_eq!(parts(seen), expected);
        let length = seen.content.len().to_string();
        assert_eq!(seen.field("content-length"), Some(&*length));
    }
    let boundary = |n: usize| seen[n].field("content-type").unwrap().to_owned();
    assert_ne!(boundary(0), boundary(1), "nobody can know the next one");
    let request = side.requests().remove(0).to_ascii_lowercase();
    assert!(!request.contains("range:"), "{request}");
}

#[tokio::test]
async fn what_a_range_gets_of_a_stored_answer() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(TEN)]]);
    let node = node(side.addr).await;
    get(&node, "").await.is(200, None, "0123456789");
    let date = "Fri, 15 Jan 2027 07:00:00 GMT";
    for (lines, status, content_range, content) in [
        ("Range: bytes=0-1\r\n", 206, Some("bytes 0-1/10"), "01"),
        ("Range: bytes=-3\r\n", 206, Some("bytes 7-9/10"), "789"),
        ("Range: bytes=7-99\r\n", 206, Some("bytes 7-9/10"), "789"),
        ("Range: bytes=0-5,5-9\r\n", 200, None, "0123456789"),
        ("Range: lines=0-1\r\n", 200, None, "0123456789"),
        (
            "Range: bytes=1-1\r\nIf-Range: \"a\"\r\n",
            206,
            Some("bytes 1-1/10"),
            "1",
        ),
        (
            "Range: bytes=1-1\r\nIf-Range: W/\"a\"\r\n",
            200,
            None,
            "0123456789",
        ),
        (
            "Range: bytes=1-1\r\nIf-Range: \"b\"\r\n",
            200,
            None,
            "0123456789",
        ),
        (
            &format!("Range: bytes=1-1\r\nIf-Range: {date}\r\n"),
            206,
            Some("bytes 1-1/10"),
            "1",
        ),
        // A 304 goes before a range (RFC 9110 §13.2.2).
        (
            "Range: bytes=1-1\r\nIf-None-Match: \"a\"\r\n",
            304,
            None,
            "",
        ),
        (
            "Range: bytes=1-1\r\nIf-None-Match: \"b\"\r\n",
            206,
            Some("bytes 1-1/10"),
            "1",
        ),
        ("If-None-Match: *\r\n", 304, None, ""),
        (&format!("If-Modified-Since: {date}\r\n"), 304, None, ""),
    ] {
        let seen = get(&node, lines).await;
        seen.is(status, content_range, content);
        assert_eq!(seen.field("cache-status"), Some("edge-1; hit; ttl=60"));
        let described = seen.fields.contains_key("content-type");
        let known = status == 304 || (status == 206 && lines.contains("If-Range"));
        assert_eq!(described, !known, "{lines}");
    }
    let backwards = get(&node, "Range: bytes=8-9,0-1\r\n").await;
    assert_eq!(parts(&backwards), [part("8-9", "89"), part("0-1", "01")]);
    let beyond = get(&node, "Range: bytes=10-\r\n").await;
    assert_eq!(
        (beyond.status, beyond.field("content-range")),
        (416, Some("bytes */10"))
    );
    let over2 = http2_get(&node, "range", "bytes=10-").await;
    assert_eq!(
        (over2.status, over2.field("content-range")),
        (416, Some("bytes */10"))
    );
    let head = http1(&node, "HEAD", "Range: bytes=0-1\r\n").await;
    head.is(200, None, "");
    assert_eq!(head.field("content-length"), Some("10"));
    assert_eq!(side.requests().len(), 1);
}

#[tokio::test]
async fn parts_of_a_fill_in_flight_are_sent_only_forward() {
    const BEGUN: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nCache-Control: max-age=60\r\n\r\n01234";
    for (range, status) in [("bytes=0-1,8-9", 206), ("bytes=8-9,0-1", 200)] {
        let side = ScriptedSide::play(vec![vec![Act::Stall(BEGUN)]]);
        let node = node(side.addr).await;
        let (answer, _) = told(&node, &format!("Range: {range}\r\n")).await;
        let Answer::Respond(Response { head, content }) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(head.status().as_u16(), status, "{range}");
        assert_eq!(matches!(content, Content::Parts(_)), status == 206);
    }
}

#[tokio::test]
async fn a_range_far_behind_what_a_fill_has_brought_is_asked_for_itself() {
    const BEGUN: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nCache-Control: max-age=60\r\n\r\n01";
    const PART: &str = "HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\nContent-Range: bytes 8-9/10\r\n\r\n89";
    let side = ScriptedSide::play(vec![vec![Act::Stall(BEGUN)], vec![Act::Answer(PART)]]);
    let node = node_with(side.addr, |edge| edge.limits.orphan_fill = 4).await;
    let seen = get(&node, "Range: bytes=8-9\r\n").await;
    seen.is(206, Some("bytes 8-9/10"), "89");
    assert_eq!(
        seen.field("cache-status"),
        Some("edge-1; fwd=uri-miss; fwd-status=206; detail=range")
    );
    let requests = side.requests();
    assert!(!requests[0].to_ascii_lowercase().contains("range:"));
    assert!(
        requests[1]
            .to_ascii_lowercase()
            .contains("range: bytes=8-9")
    );
}

#[tokio::test]
async fn a_range_of_a_private_answer_is_the_origins_to_give_where_it_offers_ranges() {
    const PRIVATE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\nAccept-Ranges: bytes\r\n\
                           Cache-Control: private\r\n\r\nmine";
    const PLAIN: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\nCache-Control: private\r\n\r\nmine";
    const PART: &str =
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\nContent-Range: bytes 0-1/4\r\n\r\nmi";
    let range = "Range: bytes=0-1\r\n";
    let side = ScriptedSide::play(vec![vec![Act::Answer(PRIVATE)], vec![Act::Answer(PART)]]);
    let offering = node(side.addr).await;
    let seen = get(&offering, range).await;
    seen.is(206, Some("bytes 0-1/4"), "mi");
    assert!(
        side.requests()[1]
            .to_ascii_lowercase()
            .contains("range: bytes=0-1")
    );
    let side = ScriptedSide::play(vec![vec![Act::Answer(PLAIN)]]);
    let plain = node(side.addr).await;
    get(&plain, range).await.is(200, None, "mine");
}

#[tokio::test]
async fn a_private_answer_that_the_client_holds_is_a_304_to_it() {
    const PRIVATE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\nContent-Type: text/plain\r\nETag: \"a\"\r\n\
                           Set-Cookie: x=1\r\nCache-Control: private\r\n\r\nmine";
    let check = async |lines: &str, status: u16| {
        let side = ScriptedSide::play(vec![vec![Act::Answer(PRIVATE)]]);
        let node = node(side.addr).await;
        let seen = get(&node, lines).await;
        let content = if status == 304 { "" } else { "mine" };
        seen.is(status, None, content);
        assert_eq!(seen.field("set-cookie"), Some("x=1"));
        assert_eq!(seen.fields.contains_key("content-type"), status == 200);
        assert_eq!(
            seen.field("cache-status"),
            Some("edge-1; fwd=uri-miss; fwd-status=200; detail=private")
        );
    };
    check("If-None-Match: W/\"a\"\r\n", 304).await;
    check("If-None-Match: \"b\"\r\n", 200).await;
    check("If-Modified-Since: Fri, 15 Jan 2027 09:00:00 GMT\r\n", 200).await;
    check("", 200).await;
}

#[tokio::test]
async fn who_reads_nothing_fills_the_store_too() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nETag: \"a\"\r\n\
                           Cache-Control: max-age=60\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for (method, lines, status) in [("HEAD", "", 200), ("GET", "If-None-Match: \"a\"\r\n", 304)] {
        let side = ScriptedSide::play(vec![vec![Act::Answer(CHUNKED)]]);
        let node = node(side.addr).await;
        http1(&node, method, lines).await.is(status, None, "");
        get(&node, "").await.is(200, None, "abc");
        assert_eq!(side.requests().len(), 1, "{method}");
    }
}

#[tokio::test]
async fn a_head_that_the_origin_answers_freshens_or_outdates_what_is_stored() {
    const SAME: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"a\"\r\nX-New: yes\r\nCache-Control: max-age=100\r\n\r\n";
    const OTHER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"b\"\r\nCache-Control: max-age=100\r\n\r\n";
    const CONFIRMED: &str = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n";
    let side = ScriptedSide::play(vec![
        vec![Act::Answer(TEN)],
        vec![Act::Answer(SAME)],
        vec![Act::Answer(OTHER)],
        vec![Act::Answer(CONFIRMED)],
    ]);
    let node = node(side.addr).await;
    get(&node, "").await;
    // Conditions that only the origin can judge go there (RFC 9110 §13.1.1).
    let head = http1(&node, "HEAD", "If-Match: \"a\"\r\n").await;
    assert_eq!(head.field("x-new"), Some("yes"));
    let freshened = get(&node, "").await;
    freshened.is(200, None, "0123456789");
    assert_eq!(freshened.field("x-new"), Some("yes"));
    assert_eq!(
        freshened.field("cache-status"),
        Some("edge-1; hit; ttl=100")
    );
    http1(&node, "HEAD", "If-Match: \"a\"\r\n").await;
    let validated = get(&node, "").await;
    validated.is(200, None, "0123456789");
    let requests = side.requests();
    let methods: Vec<_> = requests
        .iter()
        .map(|r| r.split(' ').next().unwrap())
        .collect();
    assert_eq!(methods, ["GET", "HEAD", "HEAD", "GET"]);
    assert!(
        requests[3]
            .to_ascii_lowercase()
            .contains("if-none-match: \"a\"")
    );
}

#[tokio::test]
async fn the_date_of_a_stored_answer_is_its_origins() {
    const DATED: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\nDate: Fri, 15 Jan 2027 07:59:50 GMT\r\n\
                         Cache-Control: max-age=60\r\n\r\nok";
    let side = ScriptedSide::play(vec![vec![Act::Answer(DATED)]]);
    let clock = ManualClock::starting_at(NOW);
    let node = node_with(side.addr, |edge| {
        edge.clock = WallClock::Manual(clock.clone());
    })
    .await;
    for age in ["10", "15", "20"] {
        let seen = get(&node, "").await;
        let dates: Vec<_> = seen.fields.get_all("date").iter().collect();
        assert_eq!(dates, ["Fri, 15 Jan 2027 07:59:50 GMT"]);
        assert_eq!(seen.field("age"), Some(age));
        clock.advance(Duration::from_secs(5));
    }
}

#[tokio::test]
async fn the_date_of_what_passes_through_over_http11_is_the_sides() {
    let check = async |lines: &str, expected: &str| {
        let answer = format!("{lines}Content-Length: 2\r\n\r\nok");
        let side = ScriptedSide::play(vec![vec![Act::Answer(answer.leak())]]);
        let node = node(side.addr).await;
        let seen = http1(&node, "POST", "Content-Length: 0\r\n").await;
        assert_eq!((seen.status, &*seen.content), (200, "ok"), "{seen:?}");
        let dates: Vec<_> = seen.fields.get_all("date").iter().collect();
        assert_eq!(dates, [expected], "{lines}");
    };
    const SAID: &str = "Fri, 15 Jan 2027 07:59:50 GMT";
    let large = "x".repeat(20_000);
    check(&format!("HTTP/1.1 200 OK\r\nDate: {SAID}\r\n"), SAID).await;
    check(
        &format!("HTTP/1.1 200 OK\r\ndate:{SAID}\r\nX: Date: y\r\n"),
        SAID,
    )
    .await;
    check(
        &format!("HTTP/1.1 200 OK\r\nX: {large}\r\nDate: {SAID}\r\n"),
        SAID,
    )
    .await;
    check("HTTP/1.1 200 OK\r\nDate: Friday\r\n", "Friday").await;
    check("HTTP/1.1 200 OK\r\n", "Fri, 15 Jan 2027 08:00:00 GMT").await;
    // What was held back before it goes out before it.
    let side = ScriptedSide::play(vec![vec![Act::Answer(
        "HTTP/1.1 103 Early Hints\r\nDate: never\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nDate: Fri, 15 Jan 2027 07:59:50 GMT\r\n\
         Content-Length: 2\r\n\r\nok",
    )]]);
    let node = node(side.addr).await;
    let seen = http1(&node, "POST", "Content-Length: 0\r\n").await;
    assert_eq!((seen.status, seen.field("link")), (103, Some("</a>")));
    let answer = seen.content.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
    assert!(
        answer.contains("\r\ndate: fri, 15 jan 2027 07:59:50 gmt\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_answer_of_our_own_says_whose_it_is() {
    let side = ScriptedSide::play(vec![]);
    let node = node(side.addr).await;
    let check = async |method: Method, lines: &str, status: u16, error: Option<&str>| {
        let seen = http1(&node, method.as_str(), lines).await;
        let said = error.map(|error| format!("edge-1; error={error}"));
        assert_eq!(
            (seen.status, seen.field("proxy-status")),
            (status, said.as_deref())
        );
        assert_eq!(seen.field("via"), Some("1.1 edge-1"));
    };
    let refused = Some("http_request_error");
    check(Method::GET, "Cache-Control: only-if-cached\r\n", 504, None).await;
    check(Method::GET, "Host: other.test\r\n", 400, refused).await;
    let large = "Content-Length: 2000000\r\n";
    check(Method::POST, large, 413, refused).await;
    drop(side);
}
