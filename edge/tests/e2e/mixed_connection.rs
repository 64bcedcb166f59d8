//! One connection, many kinds of requests: answers in order, nothing past the guard, nothing of one message in another.

use std::thread;
use std::time::Duration;

use super::support::cluster::Cluster;
use super::support::edge::Jet9;
use super::support::gate::Gate;
use super::support::http1::{Broken, Client, get};
use super::support::origin::{After, Origin, Seen, Wire};
use super::support::scene::scene;
use super::support::setup::Setup;
use super::support::wait::until_true;

mod hostile_answers;
mod hostile_requests;

const LIMIT: Duration = Duration::from_secs(60);

/// Stores what is under `/stored`; tells everything else what it was asked.
fn echo(seen: &Seen, wire: &mut Wire) -> After {
    let content = wire.content();
    if seen.target.starts_with("/stored") {
        return wire.answer("200 OK", "Cache-Control: max-age=600\r\n", STORED);
    }
    let mut told = format!("{} {} ", seen.method, seen.target).into_bytes();
    told.extend(content);
    wire.answer("200 OK", "Cache-Control: no-store\r\n", &told)
}

/// Every kind of request, the malformed one before the last. `/stored-{run}` is stored already.
fn mixed(run: &str) -> String {
    let stored = get("site.test", &format!("/stored-{run}"));
    [
        stored.clone(),
        get("site.test", &format!("/miss-{run}")),
        "POST /post HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "POST /chunked HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_owned(),
        "GET /body HTTP/1.1\r\nHost: site.test\r\nContent-Length: 4\r\n\r\nbody".to_owned(),
        stored.replacen("GET", "HEAD", 1),
        "GET /evil HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_owned(),
        stored,
    ]
    .concat()
}

fn check_mixed(run: &str, client: &mut Client) {
    let mut expect = |method: &str, content: &str, hit: bool| {
        let answer = client
            .answer(method)
            .unwrap_or_else(|broken| panic!("{run}: {broken:?} instead of {content:?}"));
        assert_eq!(answer.status, 200, "{run}: {answer:?}");
        assert_eq!(answer.text(), content, "{run}");
        assert_eq!(answer.is_hit(), hit, "{run}: {answer:?}");
        answer
    };
    expect("GET", "stored", true);
    expect("GET", &format!("GET /miss-{run} "), false);
    expect("POST", "POST /post hello", false);
    expect("POST", "POST /chunked abcde", false);
    expect("GET", "GET /body body", false);
    let head = expect("HEAD", "", true);
    assert_eq!(head.field("content-length"), Some("6"), "{run}");
    let refused = client.answer("GET").expect("a refusal");
    assert_eq!(refused.status, 400, "{run}");
    assert_eq!(refused.field("connection"), Some("close"), "{run}");
    assert!(client.is_closed(), "{run}: open after a malformed head");
}

fn connect(edge: &Jet9, wire: &str) -> Client {
    match wire {
        "clear" => edge.clear(),
        _ => edge.tls("site.test"),
    }
}

#[test]
fn mixed_requests_are_answered_in_order_and_the_malformed_one_ends_the_connection() {
    scene(LIMIT, |scene| {
        let origin = Origin::start(echo);
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        for wire in ["clear", "tls"] {
            for way in ["whole", "bytes"] {
                let run = format!("{wire}-{way}");
                let stored = get("site.test", &format!("/stored-{run}"));
                until_true("it is stored", || {
                    connect(&edge, wire).ask(&stored).is_hit()
                });
                let mut client = connect(&edge, wire);
                match way {
                    "whole" => client.send(mixed(&run)),
                    _ => client.send_byte_by_byte(mixed(&run)),
                }
                check_mixed(&run, &mut client);
                assert_eq!(origin.count(&format!("/stored-{run}")), 1);
            }
        }
        assert_eq!(origin.count("/evil"), 0);
        assert!(!contains(&origin.bytes(), b"evil"));
    });
}

#[test]
fn requests_sent_while_one_is_handed_over_wait_for_their_turn() {
    scene(LIMIT, |scene| {
        let gate = Gate::default();
        let before = gate.clone();
        let origin = Origin::start(move |seen, wire| {
            if seen.target == "/slow" {
                before.pass();
            }
            echo(seen, wire)
        });
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        edge.get("site.test", "/stored");
        let mut client = edge.clear();
        client.send("POST /slow HTTP/1.1\r\nHost: site.test\r\nContent-Length: 3\r\n\r\nabc");
        until_true("the origin has it", || origin.count("/slow") == 1);
        client.send(get("site.test", "/stored") + &get("site.test", "/after"));
        gate.open();
        for (method, content) in [
            ("POST", "POST /slow abc"),
            ("GET", "stored"),
            ("GET", "GET /after "),
        ] {
            let answer = client.answer(method).expect("an answer");
            assert_eq!((answer.status, answer.text()), (200, content.to_owned()));
        }
    });
}

#[test]
fn a_part_is_announced_with_its_own_length_and_the_connection_goes_on() {
    scene(LIMIT, |scene| {
        let origin = Origin::start(|_, wire| {
            wire.answer("200 OK", "Cache-Control: max-age=600\r\n", &large())
        });
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .disk("128MiB")
            .start(scene);
        for mut client in [edge.clear(), edge.tls("site.test")] {
            // Of content that is still arriving, and then of content that is stored.
            for _ in 0..2 {
                let answer = client.ask(
                    "GET /large HTTP/1.1\r\nHost: site.test\r\nRange: bytes=2000000-2000009\r\n\r\n",
                );
                assert_eq!(answer.status, 206);
                assert_eq!(answer.field("content-length"), Some("10"));
                assert_eq!(answer.content, &large()[2_000_000..2_000_010]);
            }
        }
    });
}

/// More than a piece of what the store reads at once.
fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_websocket_opens_and_is_the_last_of_its_connection() {
    scene(LIMIT, |scene| {
        let origin = Origin::start(websocket);
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        for wire in ["clear", "tls"] {
            let mut client = connect(&edge, wire);
            client.send(handshake("/socket"));
            let head = client.head("GET").expect("a head");
            assert_eq!(head.status, 101, "{head:?}");
            assert_eq!(head.field("upgrade"), Some("websocket"));
            assert_eq!(head.field("sec-websocket-accept"), Some(ACCEPT));
            // What would be a request is a message now: the origin gives it back.
            let message = get("site.test", "/smuggled");
            client.send(&message);
            assert_eq!(client.raw(message.len()), message.as_bytes());
            client.send("bye");
            assert_eq!(client.raw(3), b"bye");
            assert!(client.is_closed(), "the origin closed, the edge did not");
        }
        assert_eq!(origin.count("/smuggled"), 0);
        assert_eq!(origin.count("/socket"), 2);
    });
}

/// The side's answer may come before all of the request was seen off: none of the connections is lost for it.
#[test]
fn websockets_open_however_quickly_the_side_answers() {
    scene(LIMIT, |scene| {
        let origin = Origin::start(websocket);
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        thread::scope(|threads| {
            for _ in 0..WEBSOCKET_CLIENTS {
                threads.spawn(|| {
                    for _ in 0..WEBSOCKETS_EACH {
                        let mut client = edge.clear();
                        client.send(handshake("/socket"));
                        assert_eq!(client.head("GET").expect("a head").status, 101);
                        client.send("bye");
                        assert_eq!(client.raw(3), b"bye");
                    }
                });
            }
        });
        assert_eq!(origin.count("/socket"), WEBSOCKET_CLIENTS * WEBSOCKETS_EACH);
    });
}

#[test]
fn a_refused_websocket_too_is_the_last_of_its_connection() {
    scene(LIMIT, |scene| {
        let origin = Origin::start(echo);
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        edge.get("site.test", "/stored");
        let mut client = edge.clear();
        client.send(handshake("/refused") + &get("site.test", "/stored"));
        let answer = client.answer("GET").expect("an answer");
        assert_eq!(answer.text(), "GET /refused ");
        assert_eq!(client.answer("GET").err(), Some(Broken::Closed));
    });
}

/// Takes a WebSocket's bytes and gives them back until it is told `bye`.
fn websocket(seen: &Seen, wire: &mut Wire) -> After {
    if seen.field("upgrade") != Some("websocket") {
        return echo(seen, wire);
    }
    wire.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    ));
    let mut tail = Vec::new();
    while !tail.ends_with(b"bye") {
        let byte = wire.take(1);
        if byte.is_empty() {
            break;
        }
        wire.send(&byte);
        tail.extend(byte);
    }
    After::Close
}

fn handshake(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

const STORED: &[u8] = b"stored";

/// Clients that open WebSockets at once, and how many each opens.
const WEBSOCKET_CLIENTS: usize = 8;
const WEBSOCKETS_EACH: usize = 50;

/// What belongs to the key of [`handshake`]: the example of RFC 6455 §1.3.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
