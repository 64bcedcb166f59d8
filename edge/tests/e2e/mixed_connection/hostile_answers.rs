//! Answers of an origin that break HTTP: the client sees an error or a broken transfer, nothing of them is stored, and nothing of them
//! reaches the next request.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::support::cluster::Cluster;
use super::super::support::edge::Jet9;
use super::super::support::http1::{Broken, Response, get};
use super::super::support::origin::{After, Origin, Seen};
use super::super::support::scene::scene;
use super::super::support::setup::Setup;
use super::LIMIT;

/// What the client must see of a bad answer.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// 502, or a transfer that broke.
    Fault,
    /// This status with nothing of the excess, or 502.
    Harmless(u16),
}

struct Bad {
    what: &'static str,
    bytes: Vec<u8>,
    after: After,
    expected: Expected,
}

/// A whole answer that nobody asked for.
const INJECTED: &str =
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 8\r\n\r\ninjected";

fn bad_answers() -> Vec<Bad> {
    let bad = |what, head: &str, content: &str, after, expected| Bad {
        what,
        bytes: format!("{head}\r\nCache-Control: max-age=600\r\n{content}").into_bytes(),
        after,
        expected,
    };
    let ok = "HTTP/1.1 200 OK";
    use After::{Close, KeepAlive, Reset};
    use Expected::{Fault, Harmless};
    vec![
        bad(
            "two lengths",
            ok,
            "Content-Length: 3\r\nContent-Length: 6\r\n\r\nabcdef",
            KeepAlive,
            Fault,
        ),
        bad(
            "a length list",
            ok,
            "Content-Length: 3, 6\r\n\r\nabcdef",
            KeepAlive,
            Fault,
        ),
        bad(
            "a negative length",
            ok,
            "Content-Length: -3\r\n\r\nabc",
            Close,
            Fault,
        ),
        bad(
            "a length with a sign",
            ok,
            "Content-Length: +3\r\n\r\nabc",
            KeepAlive,
            Fault,
        ),
        bad(
            "length and coding",
            ok,
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            KeepAlive,
            Fault,
        ),
        bad(
            "an unknown coding",
            ok,
            "Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            Close,
            Fault,
        ),
        bad(
            "chunked twice",
            ok,
            "Transfer-Encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            Close,
            Fault,
        ),
        bad(
            "a bad chunk",
            ok,
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n",
            Close,
            Fault,
        ),
        bad(
            "a chunk longer than said",
            ok,
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
            Close,
            Fault,
        ),
        bad(
            "chunks without an end",
            ok,
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            Close,
            Fault,
        ),
        bad(
            "less than said",
            ok,
            "Content-Length: 6\r\n\r\nabc",
            Close,
            Fault,
        ),
        bad(
            "less than said, and a reset",
            ok,
            "Content-Length: 6\r\n\r\nabc",
            Reset,
            Fault,
        ),
        bad(
            "a field without a colon",
            ok,
            "Oops\r\nContent-Length: 3\r\n\r\nabc",
            KeepAlive,
            Fault,
        ),
        bad(
            "a space before the colon",
            ok,
            "Content-Length : 3\r\n\r\nabc",
            Close,
            // RFC 9112 §5.1: removed, and the field counts.
            Harmless(200),
        ),
        bad(
            "NUL in a value",
            ok,
            "X: a\0b\r\nContent-Length: 3\r\n\r\nabc",
            KeepAlive,
            Fault,
        ),
        bad(
            "a great head",
            ok,
            &format!(
                "X: {}\r\nContent-Length: 3\r\n\r\nabc",
                "y".repeat(128 << 10)
            ),
            Close,
            Fault,
        ),
        bad(
            "many fields",
            ok,
            &format!("{}Content-Length: 3\r\n\r\nabc", "X: y\r\n".repeat(300)),
            Close,
            Fault,
        ),
        bad(
            "no status",
            "HTTP/1.1 OK",
            "Content-Length: 3\r\n\r\nabc",
            Close,
            Fault,
        ),
        bad(
            "a status of two digits",
            "HTTP/1.1 99 Oops",
            "Content-Length: 3\r\n\r\nabc",
            Close,
            Fault,
        ),
        bad(
            "another protocol",
            "ICY 200 OK",
            "Content-Length: 3\r\n\r\nabc",
            Close,
            Fault,
        ),
        bad("no HTTP at all", "hello", "", Close, Fault),
        bad(
            "an upgrade that nobody asked for",
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: x\r\nConnection: Upgrade\r\n\r\n",
            Close,
            Fault,
        ),
        bad("no status line", "", "", Reset, Fault),
        bad(
            "204 with content",
            "HTTP/1.1 204 No Content",
            &format!("\r\n{INJECTED}"),
            KeepAlive,
            Harmless(204),
        ),
        bad(
            "204 with a length",
            "HTTP/1.1 204 No Content",
            "Content-Length: 3\r\n\r\nabc",
            KeepAlive,
            Harmless(204),
        ),
        bad(
            "304 that nobody asked for",
            "HTTP/1.1 304 Not Modified",
            &format!("\r\n{INJECTED}"),
            KeepAlive,
            Harmless(304),
        ),
        bad(
            "an answer too many",
            ok,
            &format!("Content-Length: 3\r\n\r\nabc{INJECTED}"),
            KeepAlive,
            Harmless(200),
        ),
    ]
}

#[test]
fn an_answer_that_breaks_http_is_an_error_is_not_stored_and_harms_no_other() {
    scene(LIMIT, |scene| {
        let bad: Arc<Vec<Bad>> = Arc::new(bad_answers());
        let (script, asked) = (
            Arc::clone(&bad),
            Mutex::new(HashMap::<String, usize>::new()),
        );
        let origin = Origin::start(move |seen, wire| {
            wire.content();
            let times = {
                let mut asked = asked.lock();
                let times = asked.entry(seen.target.clone()).or_default();
                *times += 1;
                *times
            };
            let bad = bad_number(&seen.target).and_then(|number| script.get(number));
            match bad {
                // An idempotent request may be tried again: the second answer is as bad as the first.
                Some(bad) if times <= 2 && is_first_visit(seen) => {
                    wire.send(&bad.bytes);
                    bad.after
                }
                _ => wire.answer("200 OK", "Cache-Control: max-age=600\r\n", b"good"),
            }
        });
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        for (number, bad) in bad.iter().enumerate() {
            check(number, bad, &edge);
        }
    });
}

fn check(number: usize, bad: &Bad, edge: &Jet9) {
    let target = format!("/bad-{number}");
    let first = format!("GET {target} HTTP/1.1\r\nHost: site.test\r\nX-Visit: first\r\n\r\n");
    let mut client = edge.clear();
    client.send(first);
    let answer = client.answer("GET");
    check_seen(bad, &answer);
    // Not stored, and the connection to the origin is clean or gone: had either gone wrong, these would tell.
    for next in [target.clone(), format!("/good-{number}"), target] {
        let answer = edge.clear().ask(get("site.test", &next));
        let is_first_answer = matches!(bad.expected, Expected::Harmless(status) if status == answer.status && answer.is_hit());
        assert!(
            answer.text() == "good" || is_first_answer,
            "after {}: {answer:?}",
            bad.what
        );
        assert_ne!(answer.text(), "injected", "after {}", bad.what);
    }
}

fn check_seen(bad: &Bad, answer: &Result<Response, Broken>) {
    let is_fault = match answer {
        Ok(answer) => answer.status == 502,
        Err(Broken::Closed | Broken::Cut | Broken::Malformed(_)) => true,
        Err(Broken::Silent) => false,
    };
    let is_harmless = match (bad.expected, answer) {
        (Expected::Harmless(200), Ok(answer)) => answer.status == 200 && answer.text() == "abc",
        (Expected::Harmless(status), Ok(answer)) => {
            answer.status == status && answer.content.is_empty()
        }
        (Expected::Harmless(_) | Expected::Fault, _) => false,
    };
    assert!(is_fault || is_harmless, "{}: {answer:?}", bad.what);
}

fn bad_number(target: &str) -> Option<usize> {
    target.strip_prefix("/bad-")?.parse().ok()
}

/// The edge passes a client's own fields on.
fn is_first_visit(seen: &Seen) -> bool {
    seen.field("x-visit") == Some("first")
}
