//! Requests that pass through a whole node, from the client's bytes to a scripted side and back, over both protocols.

use http::Method;
use jet9_cache::semantics::vary::SelectingFields;
use jet9_cluster::{Epoch, Mastership};
use jet9_config::ClusterId;
use jet9_config::site::{Post, UnknownCoding};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::clock;
use crate::exchange::Asked;
use crate::interim::Interims;
use crate::origin::connect::SitePlace;
use crate::origin::master::Route;
use crate::origin::testing::{Act, ScriptedSide, TestNode, nowhere};
use crate::request::client::Client;
use crate::request::guard;
use crate::story::{self, Answer};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Side: yes\r\nJet9-Epoch: 9\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nok";

fn serving(side: &str) -> String {
    format!(r#""phase":"serving","master":"{side}""#)
}

const SWITCHING: &str = r#""phase":"switching","master":null"#;

fn client() -> Client {
    Client {
        address: Some("203.0.113.7:5".parse().unwrap()),
        ..Client::edge()
    }
}

/// Lets the story answer one HTTP/1.1 request, which must be to pass through: the client's end of its connection, and its passing.
async fn lent(
    node: &TestNode,
    head: &str,
    content: &'static str,
) -> (DuplexStream, impl Future<Output = ()> + use<>) {
    let edge = &node.edge;
    let proxy = Phases::proxy(Arc::clone(edge));
    let client = Arc::new(client());
    let head = Bytes::from(head.to_owned());
    let request = guard::parse_http1(head, client.scheme(), &edge.limits)
        .unwrap()
        .request;
    let id = edge.request_ids.next();
    let mut exchange = Exchange::begin(client, id, clock::monotonic(), edge.clock.now());
    exchange.asked = Asked::of(&request);
    let answer = story::answer(edge, &mut exchange, &request, &Interims::unwanted()).await;
    assert!(matches!(answer, Answer::PassThrough), "{answer:?}");
    let (mut near, far) = duplex(1 << 16);
    let composed = guard::compose_http1_head(&request);
    near.write_all(&composed).await.unwrap();
    near.write_all(content.as_bytes()).await.unwrap();
    let mut session = ServerSession::new_http1(Box::new(far));
    let passing = Passing::new(request, exchange, DateSlot::default());
    session.set_connection_user_context(Some(Box::new(Lent {
        passing,
        close: true,
    })));
    let shutdown = edge.drain.signal();
    let passing = async move {
        proxy.process_new_http(session, &shutdown).await;
    };
    (near, passing)
}

/// Passes one HTTP/1.1 request; the client's bytes of the answer.
async fn http1(node: &TestNode, head: &str, content: &'static str) -> String {
    let (mut near, passing) = lent(node, head, content).await;
    let ((), seen) = tokio::join!(passing, async {
        let mut seen = Vec::new();
        near.read_to_end(&mut seen).await.unwrap();
        seen
    });
    String::from_utf8(seen).unwrap()
}

/// Sends one request over HTTP/2; the status and the content of its answer.
async fn http2(
    node: &TestNode,
    method: Method,
    content: &'static [u8],
) -> Result<(u16, String), h2::Error> {
    let edge = &node.edge;
    let (near, far) = duplex(1 << 16);
    let proxy = Phases::proxy(Arc::clone(edge));
    let serving = tokio::spawn(http2::serve(
        Arc::clone(edge),
        proxy,
        Box::new(far),
        Arc::new(client()),
    ));
    let (send, connection) = h2::client::handshake(near).await?;
    let driving = tokio::spawn(connection);
    let mut send = send.ready().await?;
    let request = http::Request::builder()
        .method(method)
        .uri("http://example.test/form?x=y");
    let (response, mut stream) =
        send.send_request(request.body(()).unwrap(), content.is_empty())?;
    if !content.is_empty() {
        stream.send_data(Bytes::from_static(content), true)?;
    }
    let (head, mut body) = response.await?.into_parts();
    let mut whole = Vec::new();
    while let Some(piece) = body.data().await {
        whole.extend_from_slice(&piece?);
    }
    serving.abort();
    driving.abort();
    Ok((head.status.as_u16(), String::from_utf8(whole).unwrap()))
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

#[tokio::test]
async fn interim_answers_reach_no_client_of_http10() {
    const HINTED: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (version, expected) in [("1.1", "103"), ("1.0", "200")] {
        let side = ScriptedSide::play(vec![vec![Act::Answer(HINTED)]]);
        let node = TestNode::new(|_| {});
        node.publish(7, &serving("b"), nowhere(), side.addr).await;
        let head =
            format!("POST / HTTP/{version}\r\nHost: example.test\r\nContent-Length: 5\r\n\r\n");
        let answer = http1(&node, &head, "hello").await;
        assert_eq!(status(&answer), expected, "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
}

#[tokio::test]
async fn a_side_that_never_comes_to_the_point_is_answered_for() {
    let hints = "HTTP/1.1 102 Processing\r\n\r\n".repeat(INTERIM_MAX + 1);
    let answer = hints + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let side = ScriptedSide::play(vec![vec![Act::Answer(answer.leak())]]);
    let node = TestNode::new(|_| {});
    node.publish(7, &serving("b"), nowhere(), side.addr).await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\n\r\n";
    let answer = http1(&node, head, "hello").await;
    assert_eq!(
        answer.matches("HTTP/1.1 102").count(),
        INTERIM_MAX,
        "{answer}"
    );
    assert!(answer.contains("\r\n\r\nHTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn a_post_reaches_the_live_master_composed_by_us_and_its_answer_comes_back() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(OK)]]);
    let node = TestNode::new(|_| {});
    node.publish(7, &serving("b"), nowhere(), side.addr).await;
    let head = "POST /form HTTP/1.1\r\nHost: example.test\r\nX-Forwarded-For: 10.0.0.1\r\nContent-Length: 5\r\n\r\n";
    let answer = http1(&node, head, "hello").await;
    assert_eq!(status(&answer), "200");
    let answer = answer.to_ascii_lowercase();
    assert!(
        answer.contains("x-side: yes") && answer.ends_with("\r\n\r\nok"),
        "{answer}"
    );
    assert!(
        answer.contains("via: ") && answer.contains("cache-status: "),
        "{answer}"
    );
    assert!(
        !answer.contains("jet9-epoch") && !answer.contains("x-hop"),
        "{answer}"
    );
    let request = side.requests().remove(0).to_ascii_lowercase();
    assert!(
        request.starts_with("post /form http/1.1\r\n") && request.ends_with("\r\n\r\nhello"),
        "{request}"
    );
    for line in [
        "\r\nhost: example.test",
        "x-forwarded-for: 203.0.113.7",
        "jet9-epoch: 7",
        "content-length: 5",
    ] {
        assert_eq!(request.matches(line).count(), 1, "{line} in {request}");
    }
    assert!(!request.contains("10.0.0.1"));
}

#[tokio::test]
async fn the_same_over_http2_with_content_of_unknown_length() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(OK)]]);
    let node = TestNode::new(|_| {});
    node.publish(7, &serving("a"), side.addr, nowhere()).await;
    let answer = http2(&node, Method::POST, b"hello").await.unwrap();
    assert_eq!(answer, (200, "ok".to_owned()));
    let request = side.requests().remove(0).to_ascii_lowercase();
    assert!(request.contains("transfer-encoding: chunked"), "{request}");
    assert!(request.contains("via: 2.0 edge-1"), "{request}");
    assert!(request.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{request}");
}

#[tokio::test]
async fn a_get_over_http2_is_answered_by_the_story() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nok",
    )]]);
    let node = TestNode::new(|_| {});
    node.publish(7, &serving("a"), side.addr, nowhere()).await;
    for _ in 0..2 {
        let answer = http2(&node, Method::GET, b"").await.unwrap();
        assert_eq!(answer, (200, "ok".to_owned()));
    }
    assert_eq!(side.requests().len(), 1, "the second is a hit");
}

#[tokio::test]
async fn a_request_is_sent_once_when_its_answer_never_comes_unless_it_may_be_repeated() {
    let check = async |method: &str, allowed: u32, expected: usize| {
        let side = ScriptedSide::play(vec![vec![Act::Hang]; expected]);
        let node = TestNode::new(|site| site.origin.retry_idempotent = allowed);
        node.publish(7, &serving("a"), side.addr, nowhere()).await;
        let head =
            format!("{method} / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\n\r\n");
        let answer = http1(&node, &head, "x").await;
        assert_eq!(status(&answer), "502", "{answer}");
        assert!(
            answer.to_ascii_lowercase().contains("proxy-status: "),
            "{answer}"
        );
        assert_eq!(side.requests().len(), expected, "{method}");
    };
    check("POST", 3, 1).await;
    check("PATCH", 3, 1).await;
    check("BREW", 3, 1).await;
    check("PUT", 0, 1).await;
    check("PUT", 1, 2).await;
    check("DELETE", 2, 3).await;
}

#[tokio::test]
async fn a_request_that_meets_a_refusing_side_waits_for_its_restart() {
    let addr = nowhere();
    let node = TestNode::new(|_| {});
    node.publish(7, &serving("a"), addr, nowhere()).await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\n\r\n";
    let answer = http1(&node, head, "x").await;
    assert_eq!(status(&answer), "502");
    assert!(answer.contains("connection_refused"), "{answer}");
}

#[tokio::test]
async fn a_request_is_held_while_the_cluster_switches_and_reaches_the_new_master_only() {
    let (old, new) = (
        ScriptedSide::play(vec![]),
        ScriptedSide::play(vec![vec![Act::Answer(OK)]]),
    );
    let node = TestNode::new(|_| {});
    node.publish(7, &serving("a"), old.addr, new.addr).await;
    node.publish(8, SWITCHING, old.addr, new.addr).await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\n\r\n";
    let switch = async {
        while node.edge.origins.holds().held() == 0 {
            tokio::task::yield_now().await;
        }
        node.publish(9, &serving("b"), old.addr, new.addr).await;
    };
    let (answer, ()) = tokio::join!(http1(&node, head, "x"), switch);
    assert_eq!(status(&answer), "200");
    assert_eq!(node.edge.origins.holds().held(), 0);
    assert!(new.requests().remove(0).contains("9"));
    assert!(old.requests().is_empty());
}

#[tokio::test]
async fn a_post_under_way_when_its_epoch_ends_is_cut_and_not_sent_again() {
    let (old, new) = (
        ScriptedSide::play(vec![vec![Act::Stall("")]]),
        ScriptedSide::play(vec![]),
    );
    let node = TestNode::new(|_| {});
    node.publish(7, &serving("a"), old.addr, new.addr).await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\n\r\n";
    let switch = async {
        while old.seen() == 0 {
            tokio::task::yield_now().await;
        }
        node.publish(8, &serving("b"), old.addr, new.addr).await;
    };
    let (answer, ()) = tokio::join!(http1(&node, head, "x"), switch);
    assert_eq!(status(&answer), "502", "{answer}");
    assert_eq!(old.requests().len(), 1);
    assert!(new.requests().is_empty());
}

/// A guard's refusal by a side that is at epoch 9.
const REFUSED: &str = "HTTP/1.1 421 Misdirected Request\r\nJet9-Epoch: 9\r\nJet9-Not-Processed: ?1\r\n\
    Content-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_post_that_the_sides_guard_refused_is_sent_to_the_new_master() {
    let (old, new) = (
        ScriptedSide::play(vec![vec![Act::Answer(REFUSED)]]),
        ScriptedSide::play(vec![vec![Act::Answer(OK)]]),
    );
    let node = TestNode::new(|_| {});
    node.publish_guarded(7, &serving("a"), old.addr, new.addr)
        .await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\n\r\n";
    let switch = async {
        while node.edge.origins.holds().held() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(old.seen(), 1);
        node.publish_guarded(9, &serving("b"), old.addr, new.addr)
            .await;
    };
    let (answer, ()) = tokio::join!(http1(&node, head, "hello"), switch);
    assert_eq!(status(&answer), "200", "{answer}");
    let request = new.requests().remove(0);
    assert!(request.ends_with("\r\n\r\nhello"), "{request}");
    assert!(
        request.to_ascii_lowercase().contains("jet9-epoch: 9"),
        "{request}"
    );
}

/// Passes a request whose client leaves while it is held, to be sent again. Gives how long its place was kept after that.
async fn kept_after_leaving(
    node: &TestNode,
    (near, passing): (DuplexStream, impl Future<Output = ()>),
) -> Duration {
    let holds = node.edge.origins.holds();
    let leaving = async {
        while holds.held() == 0 {
            tokio::task::yield_now().await;
        }
        drop(near);
        clock::monotonic()
    };
    let ((), left) = tokio::join!(passing, leaving);
    assert_eq!(holds.held(), 0);
    left.elapsed()
}

#[tokio::test]
async fn a_client_that_leaves_while_its_request_waits_to_be_sent_again_frees_its_place() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(REFUSED)]]);
    let node = TestNode::new(|site| site.origin.hold_max = Duration::from_secs(60));
    node.publish_guarded(7, &serving("a"), side.addr, nowhere())
        .await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\n\r\n";
    let kept = kept_after_leaving(&node, lent(&node, head, "hello").await).await;
    assert!(kept < Duration::from_secs(5), "{kept:?}");
    assert_eq!(side.requests().len(), 1);
}

#[tokio::test]
async fn one_whose_content_was_not_read_yet_keeps_it_to_the_end_of_the_hold_and_no_longer() {
    const HOLD: Duration = Duration::from_millis(300);
    let node = TestNode::new(|site| site.origin.hold_max = HOLD);
    node.publish(7, &serving("a"), nowhere(), nowhere()).await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\n\r\n";
    let lent = lent(&node, head, "he").await;
    node.publish(8, SWITCHING, nowhere(), nowhere()).await;
    let kept = kept_after_leaving(&node, lent).await;
    assert!(kept < HOLD + Duration::from_secs(5), "{kept:?}");
}

/// Every place but these of the site at side a, taken until they are dropped.
async fn taken(node: &TestNode, epoch: u64, but: usize) -> Vec<SitePlace> {
    let cluster = ClusterId::parse("c-1").unwrap();
    let Mastership::Live { side, addrs, .. } = node.edge.masters.current(&cluster) else {
        panic!("side a serves");
    };
    let route = Route {
        cluster,
        side,
        epoch: Epoch(epoch),
        addrs,
        is_guarded: false,
    };
    let site = node.edge.sites.by_id("s-1").unwrap();
    let (_, group) = node
        .edge
        .side_connections
        .peer(&route, nowhere(), &site.site.origin);
    let mut taken = Vec::new();
    for _ in 0..node.edge.limits.side_exchanges_per_site - but {
        taken.push(group.enter(&site.site.id, Duration::ZERO).await.unwrap());
    }
    taken
}

#[tokio::test]
async fn a_client_that_leaves_while_its_request_waits_for_a_place_at_the_side_is_not_waited_for() {
    let side = ScriptedSide::play(vec![]);
    let node = TestNode::new(|site| site.origin.connect_timeout = Duration::from_secs(60));
    node.publish(7, &serving("a"), side.addr, nowhere()).await;
    let all = taken(&node, 7, 0).await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\n\r\n";
    let (near, passing) = lent(&node, head, "").await;
    let leaving = async {
        tokio::task::yield_now().await;
        drop(near);
    };
    let since = clock::monotonic();
    tokio::join!(passing, leaving);
    assert!(since.elapsed() < Duration::from_secs(20));
    drop(all);
    assert_eq!(side.requests().len(), 0);
}

#[tokio::test]
async fn what_waits_to_be_sent_again_keeps_no_place_at_the_side() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(REFUSED)]]);
    let node = TestNode::new(|site| site.origin.hold_max = Duration::from_secs(60));
    node.publish_guarded(7, &serving("a"), side.addr, nowhere())
        .await;
    let most = taken(&node, 7, 1).await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\n\r\n";
    let (near, passing) = lent(&node, head, "hello").await;
    let holds = node.edge.origins.holds();
    let looking = async {
        while holds.held() == 0 {
            tokio::task::yield_now().await;
        }
        let last = taken(&node, 7, node.edge.limits.side_exchanges_per_site - 1).await;
        assert_eq!(last.len(), 1, "it is free");
        drop((near, most));
    };
    tokio::join!(passing, looking);
    assert_eq!(side.requests().len(), 1);
}

#[tokio::test]
async fn a_421_of_an_application_is_passed_on_and_its_post_not_repeated() {
    let plain = "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 2\r\n\r\nno";
    // The second one would be a guard's word, if the cluster's document named a guard.
    for answer in [plain, REFUSED] {
        let side = ScriptedSide::play(vec![vec![Act::Answer(answer)]]);
        let node = TestNode::new(|_| {});
        node.publish(7, &serving("a"), side.addr, nowhere()).await;
        let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\n\r\n";
        let answer = http1(&node, head, "x").await;
        assert_eq!(status(&answer), "421", "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("jet9-"), "{answer}");
        assert_eq!(side.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_side_that_refuses_to_the_last_is_told_of_as_away() {
    const BEHIND: &str = "HTTP/1.1 421 Misdirected Request\r\nJet9-Epoch: 0\r\nJet9-Not-Processed: ?1\r\n\
        Content-Length: 0\r\n\r\n";
    let side = ScriptedSide::play(vec![vec![Act::Answer(BEHIND)]; 4]);
    let node = TestNode::new(|_| {});
    node.publish_guarded(7, &serving("a"), side.addr, nowhere())
        .await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\n\r\n";
    let answer = http1(&node, head, "x").await;
    assert_eq!(status(&answer), "503", "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("retry-after: 1"),
        "{answer}"
    );
    assert_eq!(side.requests().len(), 4);
}

#[tokio::test]
async fn more_content_than_the_site_takes_is_refused_while_it_comes() {
    let side = ScriptedSide::play(vec![vec![Act::Hang]]);
    let node = TestNode::new(|site| site.body = 4);
    node.publish(7, &serving("a"), side.addr, nowhere()).await;
    let (status, _) = http2(&node, Method::POST, b"hello").await.unwrap();
    assert_eq!(status, 413);
    assert!(side.requests().is_empty(), "the side never had it whole");
}

#[tokio::test]
async fn an_upgrade_makes_a_tunnel() {
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbytes";
    let side = ScriptedSide::play(vec![vec![Act::Answer(agreed)]]);
    let node = TestNode::new(|_| {});
    node.publish(7, &serving("a"), side.addr, nowhere()).await;
    let head = "GET /chat HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let answer = http1(&node, head, "").await;
    assert_eq!(status(&answer), "101");
    assert!(
        answer.to_ascii_lowercase().contains("upgrade: websocket"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nbytes"), "{answer}");
    let request = side.requests().remove(0).to_ascii_lowercase();
    assert!(
        request.contains("connection: upgrade") && request.contains("upgrade: websocket"),
        "{request}"
    );
}

#[tokio::test]
async fn early_hints_pass_before_the_answer() {
    let hinted = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let side = ScriptedSide::play(vec![vec![Act::Answer(hinted)]]);
    let node = TestNode::new(|_| {});
    node.publish(7, &serving("a"), side.addr, nowhere()).await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\n\r\n";
    let answer = http1(&node, head, "x").await;
    assert!(
        answer.starts_with("HTTP/1.1 103 ") && answer.contains("HTTP/1.1 200 "),
        "{answer}"
    );
}

#[tokio::test]
async fn an_unknown_coding_passes_without_its_name_where_the_site_bears_it() {
    let coded = "HTTP/1.1 200 OK\r\nTransfer-Encoding: odd\r\n\r\nto the end";
    let side = ScriptedSide::play(vec![vec![Act::Answer(coded)]]);
    let node = TestNode::new(|site| {
        site.origin.unknown_transfer_coding = UnknownCoding::UntilClose;
    });
    node.publish(7, &serving("a"), side.addr, nowhere()).await;
    let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\n\r\n";
    let answer = http1(&node, head, "x").await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("to the end"), "{answer}");
    assert!(!answer.contains("odd"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_breaks_http_is_not_passed_on() {
    let check = async |answer: &'static str| {
        let side = ScriptedSide::play(vec![vec![Act::Answer(answer)]]);
        let node = TestNode::new(|_| {});
        node.publish(7, &serving("a"), side.addr, nowhere()).await;
        let head = "POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\n\r\n";
        let got = http1(&node, head, "x").await;
        assert_eq!(status(&got), "502", "{answer:?}: {got}");
        assert_eq!(side.requests().len(), 1);
    };
    check("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx").await;
    check("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx").await;
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx").await;
    check("garbage\r\n\r\n").await;
}

#[tokio::test]
async fn content_that_breaks_off_is_reset_over_http2() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    )]]);
    let node = TestNode::new(|_| {});
    node.publish(7, &serving("a"), side.addr, nowhere()).await;
    let answer = http2(&node, Method::POST, b"x").await;
    assert!(answer.unwrap_err().is_reset());
}

/// Whether the store has an answer for `GET http://example.test/form?x=y`.
async fn has_form(node: &TestNode) -> bool {
    let edge = &node.edge;
    let named = edge.sites.find("example.test").unwrap();
    let key = crate::request::key::of(
        edge.cache.keys(),
        named.site.partition,
        &named.site.site.cache.key,
        jet9_cache::Scheme::Http,
        &named.host,
        &Bytes::from_static(b"/form?x=y"),
    );
    let fields = HeaderMap::new();
    let found = edge.cache.lookup(&key, &SelectingFields::of(&fields)).await;
    matches!(found, jet9_cache::Lookup::Hit(_))
}

async fn wait_for_form(node: &TestNode) {
    let stored = async {
        while !has_form(node).await {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), stored).await;
    waited.expect("it is stored");
}

#[tokio::test]
async fn an_answer_to_post_that_is_what_a_get_would_get_answers_later_gets() {
    const HEAD: &str =
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Location: /form?x=y\r\n";
    let check = async |rest: &'static str, target: &str, post, stored: bool| {
        let answer = Act::Answer(Box::leak(format!("{HEAD}{rest}").into_boxed_str()));
        let side = ScriptedSide::play(vec![vec![answer]]);
        let node = TestNode::new(|site| {
            site.cache.post = post;
            site.cache.key.ignore_parameters = vec!["utm_*".into()];
        });
        node.publish(7, &serving("a"), side.addr, nowhere()).await;
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\n\r\n");
        let answer = http1(&node, &head, "hello").await;
        assert_eq!(
            answer.contains("fwd-status=200; stored"),
            stored,
            "{answer}"
        );
        assert_eq!(side.requests().len(), 1);
        if !stored || !answer.ends_with("ok") {
            return assert!(!has_form(&node).await, "{rest}");
        }
        wait_for_form(&node).await;
        let answer = http2(&node, Method::GET, b"").await.unwrap();
        assert_eq!(answer, (200, "ok".to_owned()));
    };
    use Post::{Pass, Store};
    check("Content-Length: 2\r\n\r\nok", "/form?x=y", Store, true).await;
    check("Content-Length: 2\r\n\r\nok", "/form?x=y", Pass, false).await;
    check("Content-Length: 2\r\n\r\nok", "/form", Store, false).await;
    check(
        "Content-Length: 2\r\n\r\nok",
        "/form?x=y&utm_a=1",
        Store,
        false,
    )
    .await;
    check("\r\nok", "/form?x=y", Store, false).await;
    // Broken off: the client sees it, and nothing is stored.
    check("Content-Length: 9\r\n\r\nbroken", "/form?x=y", Store, true).await;
}

#[tokio::test]
async fn an_answer_to_post_in_chunks_is_stored_over_http2_too() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Location: /form?x=y\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
    )]]);
    let node = TestNode::new(|site| site.cache.post = Post::Store);
    node.publish(7, &serving("a"), side.addr, nowhere()).await;
    let posted = http2(&node, Method::POST, b"hello").await.unwrap();
    assert_eq!(posted, (200, "ok".to_owned()));
    wait_for_form(&node).await;
    let answer = http2(&node, Method::GET, b"").await.unwrap();
    assert_eq!(answer, posted);
}
