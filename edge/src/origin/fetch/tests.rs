//! Fetches against a side that says exactly what a test tells it to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;
use parking_lot::Mutex;

use super::*;
use crate::origin::connect::Planned;
use crate::origin::testing::{self, Act, ScriptedSide, nowhere};

/// A node as far as an attempt knows it.
struct Rig {
    origins: Origins,
    connections: Arc<SideConnections>,
    limits: Limits,
    origin: Origin,
    live: AtomicBool,
    sent: AtomicUsize,
    interim: Mutex<Vec<u16>>,
    said: Mutex<Option<Said>>,
    is_guarded: bool,
    site: SiteId,
}

impl Rig {
    fn new() -> Self {
        testing::provider();
        let limits = Limits::default();
        Self {
            origins: Origins::new(&limits),
            connections: Arc::new(SideConnections::new(&Limits {
                side_connections: 8,
                side_exchanges_per_site: 2,
                ..Limits::default()
            })),
            limits,
            origin: testing::origin(),
            live: AtomicBool::new(true),
            sent: AtomicUsize::new(0),
            interim: Mutex::default(),
            said: Mutex::default(),
            is_guarded: true,
            site: SiteId::parse("s-1").unwrap(),
        }
    }

    fn route(&self, addrs: &[SocketAddr]) -> Route {
        Route {
            cluster: self.origin.cluster.clone(),
            side: Side::A,
            epoch: Epoch(7),
            addrs: addrs.to_vec(),
            is_guarded: self.is_guarded,
        }
    }

    async fn attempt(&self, method: Method, addrs: &[SocketAddr]) -> Result<OriginAnswer, Failed> {
        let means = Means {
            site: &self.site,
            origins: &self.origins,
            connections: &self.connections,
            limits: &self.limits,
            origin: &self.origin,
            clock: &WallClock::System,
            is_live: &|| self.live.load(Ordering::Relaxed),
            heard: &|said, _| *self.said.lock() = Some(said),
        };
        let outgoing = Outgoing {
            method,
            path_and_query: Bytes::from_static(b"/"),
            fields: HeaderMap::from_iter([(http::header::HOST, "example.test".parse().unwrap())]),
        };
        let mut tell = |progress| match progress {
            Progress::Sent => {
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
            Progress::Interim(received) => self.interim.lock().push(received.status.as_u16()),
        };
        attempt(
            &means,
            &self.route(addrs),
            &outgoing,
            &mut tell,
            &mut Vec::new(),
        )
        .await
    }
}

async fn content(answer: &mut OriginAnswer) -> Result<String, Fault> {
    let mut whole = Vec::new();
    while let Some(piece) = answer.body.next().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(whole).unwrap())
}

/// Asks once and reads to the end.
async fn ask(method: Method, act: Act) -> Result<(u16, String), OriginFault> {
    let side = ScriptedSide::play(vec![vec![act]]);
    let mut rig = Rig::new();
    rig.origin.first_byte_timeout = Duration::from_millis(200);
    let mut answer = rig
        .attempt(method, &[side.addr])
        .await
        .map_err(|f| f.fault)?;
    match content(&mut answer).await {
        Ok(text) => Ok((answer.status.as_u16(), text)),
        Err(Fault::Origin(fault)) => Err(fault),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn good_answers_are_given_byte_by_byte_as_they_came() {
    let check = async |method: Method, text: &'static str, status: u16, expected: &str| {
        let got = ask(method, Act::Answer(text)).await;
        assert_eq!(got, Ok((status, expected.to_owned())), "{text:?}");
    };
    check(
        Method::GET,
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        200,
        "abc",
    )
    .await;
    check(
        Method::GET,
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        200,
        "",
    )
    .await;
    check(
        Method::GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        200,
        "abc",
    )
    .await;
    check(
        Method::GET,
        "HTTP/1.1 200 OK\r\n\r\nto the end",
        200,
        "to the end",
    )
    .await;
    check(Method::GET, "HTTP/1.0 200 OK\r\n\r\nold", 200, "old").await;
    check(
        Method::HEAD,
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
        200,
        "",
    )
    .await;
    check(
        Method::GET,
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
        304,
        "",
    )
    .await;
    check(
        Method::GET,
        "HTTP/1.1 999 Odd\r\nContent-Length: 1\r\n\r\nx",
        999,
        "x",
    )
    .await;
    check(
        Method::GET,
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        200,
        "x",
    )
    .await;
}

#[tokio::test]
async fn more_than_was_announced_is_not_given() {
    let check = async |text: &'static str, expected: &str| {
        let side = ScriptedSide::play(vec![vec![Act::Answer(text), Act::Hang], vec![Act::Hang]]);
        let rig = Rig::new();
        let mut answer = rig.attempt(Method::GET, &[side.addr]).await.unwrap();
        assert_eq!(content(&mut answer).await.unwrap(), expected, "{text:?}");
        let _ = rig.attempt(Method::GET, &[side.addr]).await;
        assert_eq!(
            side.requests().len(),
            2,
            "the next request came on a connection of its own"
        );
    };
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcEXTRA",
        "abc",
    )
    .await;
    check(
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nEXTRA",
        "",
    )
    .await;
    check("HTTP/1.1 304 Not Modified\r\n\r\nEXTRA", "").await;
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nEXTRA",
        "",
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_trusted_is_a_fault() {
    let check = async |act: Act, expected: fn(OriginFault) -> bool| {
        let text = match act {
            Act::Answer(text) | Act::Stall(text) => text,
            Act::Hang => "",
        };
        let fault = ask(Method::GET, act).await.unwrap_err();
        assert!(expected(fault), "{text:?}: {fault:?}");
    };
    let malformed: fn(OriginFault) -> bool = |fault| matches!(fault, OriginFault::Malformed(_));
    let incomplete: fn(OriginFault) -> bool = |fault| fault == OriginFault::BodyIncomplete;
    let closed: fn(OriginFault) -> bool = |fault| fault == OriginFault::Closed;
    check(
        Act::Answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        malformed,
    )
    .await;
    check(
        Act::Answer(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        malformed,
    )
    .await;
    check(
        Act::Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        malformed,
    )
    .await;
    check(
        Act::Answer("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        malformed,
    )
    .await;
    check(Act::Answer("garbage\r\n\r\n"), malformed).await;
    check(
        Act::Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"),
        malformed,
    )
    .await;
    check(
        Act::Answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"),
        incomplete,
    )
    .await;
    check(
        Act::Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        incomplete,
    )
    .await;
    check(
        Act::Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"),
        incomplete,
    )
    .await;
    check(Act::Answer("HTTP/1.1 200 OK\r\nContent-"), closed).await;
    check(Act::Hang, closed).await;
    check(Act::Stall(""), |fault| {
        fault == OriginFault::FirstByteTimeout
    })
    .await;
    check(
        Act::Stall("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"),
        |fault| fault == OriginFault::BodyTimeout,
    )
    .await;
}

#[tokio::test]
async fn a_head_larger_than_the_limit_is_refused() {
    let mut text = String::from("HTTP/1.1 200 OK\r\n");
    for _ in 0..3000 {
        text.push_str("X-Filler: 0123456789012345678901234567890123456789\r\n");
    }
    text.push_str("\r\n");
    let got = ask(Method::GET, Act::Answer(text.leak())).await;
    assert_eq!(got, Err(OriginFault::Malformed("head too large")));
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_clean_end() {
    let ok = Act::Answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    let side = ScriptedSide::play(vec![vec![ok, ok, ok]]);
    let rig = Rig::new();
    for _ in 0..3 {
        let mut answer = rig.attempt(Method::GET, &[side.addr]).await.unwrap();
        assert_eq!(content(&mut answer).await.unwrap(), "abc");
    }
    assert_eq!(side.requests().len(), 3);
    assert_eq!(rig.sent.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn an_answer_dropped_midway_closes_its_connection() {
    let long = Act::Stall("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    let side = ScriptedSide::play(vec![vec![long]]);
    let rig = Rig::new();
    let mut answer = rig.attempt(Method::GET, &[side.addr]).await.unwrap();
    assert_eq!(answer.length, Some(1000));
    assert!(answer.body.next().await.unwrap().is_some());
    drop(answer);
    assert_eq!(
        side.requests().len(),
        1,
        "the side saw the end of the connection"
    );
    assert_eq!(rig.connections.open(), 0);
}

#[tokio::test]
async fn the_next_address_of_the_same_side_is_tried_when_one_refuses() {
    let gone = nowhere();
    let side = ScriptedSide::play(vec![vec![Act::Answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    )]]);
    let rig = Rig::new();
    let answer = rig.attempt(Method::GET, &[gone, side.addr]).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let refused = rig.attempt(Method::GET, &[gone]).await.unwrap_err();
    let expected = Failed {
        fault: OriginFault::ConnectRefused,
        reached: Reached::Nothing,
    };
    assert_eq!(refused, expected);
    assert_eq!(rig.sent.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn nothing_is_sent_when_the_epoch_ended_while_connecting() {
    let side = ScriptedSide::play(vec![vec![Act::Hang]]);
    let rig = Rig::new();
    rig.live.store(false, Ordering::Relaxed);
    let failed = rig.attempt(Method::GET, &[side.addr]).await.unwrap_err();
    let expected = Failed {
        fault: OriginFault::EpochEnded,
        reached: Reached::Nothing,
    };
    assert_eq!(failed, expected);
    assert_eq!(rig.sent.load(Ordering::Relaxed), 0);
    assert_eq!(side.requests().len(), 0);
}

#[tokio::test]
async fn the_end_of_the_epoch_is_told_from_the_end_of_the_content() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ] {
        let side = ScriptedSide::play(vec![vec![Act::Stall(head)]]);
        let rig = Rig::new();
        let mut answer = rig.attempt(Method::GET, &[side.addr]).await.unwrap();
        assert_eq!(answer.ends_by_close, answer.length.is_none());
        assert!(answer.body.next().await.unwrap().is_some());
        let cluster = rig.origin.cluster.clone();
        rig.connections.epoch_ended(&cluster, Epoch(7), Planned::No);
        assert_eq!(
            answer.body.next().await,
            Err(Fault::Origin(OriginFault::EpochEnded))
        );
        assert_eq!(side.requests().len(), 1);
    }
}

#[test]
fn retries_follow_the_table() {
    let check = |fault, reached, site_allows: u32, expected: &[Next]| {
        let mut tries = Tries::new(site_allows);
        for next in expected {
            assert_eq!(
                tries.after(Failed { fault, reached }),
                *next,
                "{fault:?} {reached:?}"
            );
        }
    };
    let now = Next::Again(Duration::ZERO);
    let [short, middle, long] = CONNECT_PAUSES.map(Next::Again);
    let pauses = [short, middle, long, Next::GiveUp];
    check(OriginFault::ConnectRefused, Reached::Nothing, 0, &pauses);
    check(OriginFault::ConnectTimeout, Reached::Nothing, 0, &pauses);
    check(OriginFault::Closed, Reached::Sent, 0, &[Next::GiveUp]);
    check(
        OriginFault::Closed,
        Reached::Sent,
        2,
        &[now, now, Next::GiveUp],
    );
    check(OriginFault::Closed, Reached::Answered, 2, &[Next::GiveUp]);
    check(
        OriginFault::FirstByteTimeout,
        Reached::Sent,
        2,
        &[Next::GiveUp],
    );
    check(
        OriginFault::Malformed("x"),
        Reached::Answered,
        2,
        &[Next::GiveUp],
    );
    for reached in [Reached::Nothing, Reached::Sent, Reached::Answered] {
        check(
            OriginFault::EpochEnded,
            reached,
            0,
            &[now, now, now, now, Next::GiveUp],
        );
    }
}

#[test]
fn a_side_that_is_ahead_is_followed_and_one_that_is_behind_waited_for() {
    let refused = |refusal| Failed {
        fault: OriginFault::Refused(refusal),
        reached: Reached::Nothing,
    };
    let mut tries = Tries::new(0);
    for pause in CONNECT_PAUSES {
        assert_eq!(tries.after(refused(Refusal::Behind)), Next::Again(pause));
    }
    assert_eq!(tries.after(refused(Refusal::Behind)), Next::GiveUp);
    assert_eq!(tries.at_least(), Epoch(0));
    for epoch in [9, 8, 7, 9] {
        let next = tries.after(refused(Refusal::Ahead(Epoch(epoch))));
        assert_eq!(next, Next::Again(Duration::ZERO));
        assert_eq!(tries.at_least(), Epoch(9));
    }
    let next = tries.after(refused(Refusal::Ahead(Epoch(10))));
    assert_eq!(next, Next::GiveUp);
}

#[tokio::test]
async fn a_refusal_of_the_sides_guard_is_no_answer_and_a_421_of_an_application_is_one() {
    const GUARDED: &str = "HTTP/1.1 421 Misdirected Request\r\nJet9-Epoch: 8\r\n\
        Jet9-Not-Processed: ?1\r\nContent-Length: 0\r\n\r\n";
    let refused = OriginFault::Refused(Refusal::Ahead(Epoch(8)));
    assert_eq!(ask(Method::GET, Act::Answer(GUARDED)).await, Err(refused));
    let plain = "HTTP/1.1 421 Misdirected Request\r\nJet9-Epoch: 8\r\nContent-Length: 2\r\n\r\nno";
    let answer = ask(Method::GET, Act::Answer(plain)).await;
    assert_eq!(answer, Ok((421, "no".to_owned())));
    let side = ScriptedSide::play(vec![vec![Act::Answer(GUARDED)]]);
    let mut rig = Rig::new();
    rig.is_guarded = false;
    let answer = rig.attempt(Method::GET, &[side.addr]).await.unwrap();
    assert_eq!(answer.status, 421, "no guard is named");
    assert!(!answer.fields.contains_key("jet9-epoch"));
}

#[tokio::test]
async fn what_the_guard_says_is_told_and_no_part_of_the_answer() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(
        "HTTP/1.1 200 OK\r\nJet9-Epoch: 7;ttl=2000\r\nContent-Length: 2\r\n\r\nok",
    )]]);
    let rig = Rig::new();
    let answer = rig.attempt(Method::GET, &[side.addr]).await.unwrap();
    assert!(answer.fields.is_empty(), "{:?}", answer.fields);
    let said = rig.said.lock().unwrap();
    assert_eq!(said.vouches_ms(Epoch(7)), Some(2000));
}

#[tokio::test]
async fn interim_responses_are_told_and_are_no_part_of_the_answer() {
    let side = ScriptedSide::play(vec![vec![Act::Answer(
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )]]);
    let rig = Rig::new();
    let mut answer = rig.attempt(Method::GET, &[side.addr]).await.unwrap();
    assert_eq!(*rig.interim.lock(), [102, 103]);
    assert!(answer.fields.is_empty(), "{:?}", answer.fields);
    assert_eq!(content(&mut answer).await.unwrap(), "ok");
}

#[tokio::test]
async fn clients_that_read_slowly_keep_the_places_of_their_own_site_and_no_others() {
    let long = Act::Stall("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    let side = ScriptedSide::play(vec![vec![Act::Answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    )]]);
    let slow = [(); 2].map(|()| ScriptedSide::play(vec![vec![long]]));
    let mut rig = Rig::new();
    rig.origin.connect_timeout = Duration::from_millis(50);
    let mut read = Vec::new();
    for slow in &slow {
        read.push(rig.attempt(Method::GET, &[slow.addr]).await.unwrap());
    }
    let failed = rig.attempt(Method::GET, &[side.addr]).await.unwrap_err();
    let expected = Failed {
        fault: OriginFault::ConnectTimeout,
        reached: Reached::Nothing,
    };
    assert_eq!(failed, expected);
    rig.site = SiteId::parse("s-2").unwrap();
    let answer = rig.attempt(Method::GET, &[side.addr]).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
}
