//! Requests made to be read in two ways. Each is refused, its connection closed, and the origin never hears of it.

use super::super::support::cluster::Cluster;
use super::super::support::edge::Jet9;
use super::super::support::http1::{Broken, Client, get};
use super::super::support::origin::{After, Origin};
use super::super::support::scene::scene;
use super::super::support::setup::Setup;
use super::{LIMIT, contains, echo};

/// Follows each hostile request on its connection. Whoever misreads the framing answers it.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// Heads, each with what is wrong with it. `@` stands for `/evil`, the target.
const HEADS: &[(&str, &[u8])] = &[
    ("no host", b"GET @ HTTP/1.1\r\n\r\n"),
    ("two hosts", b"GET @ HTTP/1.1\r\nHost: site.test\r\nHost: site.test\r\n\r\n"),
    ("host list", b"GET @ HTTP/1.1\r\nHost: site.test, other.test\r\n\r\n"),
    ("host with a path", b"GET @ HTTP/1.1\r\nHost: site.test/x\r\n\r\n"),
    ("host with a query", b"GET @ HTTP/1.1\r\nHost: site.test?x\r\n\r\n"),
    ("host with a bad port", b"GET @ HTTP/1.1\r\nHost: site.test:80x\r\n\r\n"),
    ("host with two ports", b"GET @ HTTP/1.1\r\nHost: site.test:80:80\r\n\r\n"),
    ("host with a great port", b"GET @ HTTP/1.1\r\nHost: site.test:65536\r\n\r\n"),
    ("host with a user", b"GET @ HTTP/1.1\r\nHost: me@site.test\r\n\r\n"),
    ("host with a space", b"GET @ HTTP/1.1\r\nHost: site .test\r\n\r\n"),
    ("host with 8 bits", b"GET @ HTTP/1.1\r\nHost: s\xe9te.test\r\n\r\n"),
    ("empty host", b"GET @ HTTP/1.1\r\nHost:\r\n\r\n"),
    ("relative target", b"GET evil HTTP/1.1\r\nHost: site.test\r\n\r\n"),
    ("asterisk for GET", b"GET * HTTP/1.1\r\nHost: site.test\r\nX: @\r\n\r\n"),
    ("foreign absolute form", b"GET ftp://site.test@ HTTP/1.1\r\nHost: site.test\r\n\r\n"),
    ("CONNECT", b"CONNECT site.test:443 HTTP/1.1\r\nHost: site.test:443\r\nX: @\r\n\r\n"),
    ("fragment", b"GET @#x HTTP/1.1\r\nHost: site.test\r\n\r\n"),
    ("8 bits in the target", b"GET @\xff HTTP/1.1\r\nHost: site.test\r\n\r\n"),
    ("control in the target", b"GET @\x01 HTTP/1.1\r\nHost: site.test\r\n\r\n"),
    ("two spaces", b"GET  @ HTTP/1.1\r\nHost: site.test\r\n\r\n"),
    ("tab in the request line", b"GET\t@ HTTP/1.1\r\nHost: site.test\r\n\r\n"),
    ("bad method", b"GE(T @ HTTP/1.1\r\nHost: site.test\r\n\r\n"),
    ("version 2.0 in text", b"GET @ HTTP/2.0\r\nHost: site.test\r\n\r\n"),
    ("version 1.2", b"GET @ HTTP/1.10\r\nHost: site.test\r\n\r\n"),
    ("version 0.9", b"GET @\r\n\r\n"),
    ("two lengths", b"POST @ HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\nContent-Length: 45\r\n\r\n"),
    ("the same length twice", b"POST @ HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"),
    ("length list", b"POST @ HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0, 45\r\n\r\n"),
    ("length with a sign", b"POST @ HTTP/1.1\r\nHost: site.test\r\nContent-Length: +0\r\n\r\n"),
    ("negative length", b"POST @ HTTP/1.1\r\nHost: site.test\r\nContent-Length: -1\r\n\r\n"),
    ("hexadecimal length", b"POST @ HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0x0\r\n\r\n"),
    ("overflowing length", b"POST @ HTTP/1.1\r\nHost: site.test\r\nContent-Length: 18446744073709551616\r\n\r\n"),
    ("empty length", b"POST @ HTTP/1.1\r\nHost: site.test\r\nContent-Length: \r\n\r\n"),
    ("length and coding", b"POST @ HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("coding and length", b"POST @ HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("unknown coding", b"POST @ HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("identity", b"POST @ HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: identity\r\n\r\n"),
    ("chunked not last", b"POST @ HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("chunked twice", b"POST @ HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("two codings", b"POST @ HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    ("quoted coding", b"POST @ HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("coding with a vertical tab", b"POST @ HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("coding after a comma", b"POST @ HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: ,chunked;x\r\n\r\n0\r\n\r\n"),
    ("coding in HTTP/1.0", b"POST @ HTTP/1.0\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("folded field", b"GET @ HTTP/1.1\r\nHost: site.test\r\nX: a\r\n b\r\n\r\n"),
    ("folded coding", b"POST @ HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("space before the first field", b"GET @ HTTP/1.1\r\n Host: site.test\r\n\r\n"),
    ("space before the colon", b"POST @ HTTP/1.1\r\nHost: site.test\r\nContent-Length : 45\r\n\r\n"),
    ("tab before the colon", b"POST @ HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    ("no colon", b"GET @ HTTP/1.1\r\nHost: site.test\r\nX\r\n\r\n"),
    ("empty field name", b"GET @ HTTP/1.1\r\nHost: site.test\r\n: x\r\n\r\n"),
    ("bad field name", b"GET @ HTTP/1.1\r\nHost: site.test\r\nX(: x\r\n\r\n"),
    ("8 bits in a field name", b"GET @ HTTP/1.1\r\nHost: site.test\r\n\xc3\xa9: x\r\n\r\n"),
    ("bare line feeds", b"GET @ HTTP/1.1\nHost: site.test\n\n"),
    ("one bare line feed", b"GET @ HTTP/1.1\r\nHost: site.test\nX: y\r\n\r\n"),
    ("bare carriage return", b"GET @ HTTP/1.1\r\nHost: site.test\r\nX: a\rContent-Length: 45\r\n\r\n"),
    ("carriage return in the request line", b"GET @\r HTTP/1.1\r\nHost: site.test\r\n\r\n"),
    ("NUL in a value", b"GET @ HTTP/1.1\r\nHost: site.test\r\nX: a\0b\r\n\r\n"),
    ("control in a value", b"GET @ HTTP/1.1\r\nHost: site.test\r\nX: a\x07b\r\n\r\n"),
    ("unknown expectation", b"POST @ HTTP/1.1\r\nHost: site.test\r\nExpect: 200-ok\r\nContent-Length: 0\r\n\r\n"),
    ("PROXY protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET @ HTTP/1.1\r\nHost: site.test\r\n\r\n"),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
];

/// Content whose framing breaks after a good head. The origin may have seen the head; it never sees a whole request.
const CONTENTS: &[(&str, &[u8])] = &[
    ("chunk extension", b"3;x=y\r\nabc\r\n0\r\n\r\n"),
    ("bare line feed after a size", b"3\nabc\r\n0\r\n\r\n"),
    ("bare line feed after a chunk", b"3\r\nabc\n0\r\n\r\n"),
    ("chunk longer than said", b"3\r\nabcd\r\n0\r\n\r\n"),
    ("size with a prefix", b"0x3\r\nabc\r\n0\r\n\r\n"),
    ("size with a sign", b"+3\r\nabc\r\n0\r\n\r\n"),
    ("size with a space", b"3 \r\nabc\r\n0\r\n\r\n"),
    ("negative size", b"-3\r\nabc\r\n0\r\n\r\n"),
    ("overflowing size", b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("empty size", b"\r\nabc\r\n0\r\n\r\n"),
    ("bare carriage return after a size", b"3\rabc\r\n0\r\n\r\n"),
];

#[test]
fn a_head_that_can_be_read_in_two_ways_is_refused_and_never_reaches_the_origin() {
    scene(LIMIT, |scene| {
        let origin = Origin::start(echo);
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        for (what, head) in HEADS {
            check_head(what, &edge, &with_target(head));
        }
        for (what, head) in great_heads() {
            check_head(what, &edge, &head);
        }
        let bytes = origin.bytes();
        assert!(
            !contains(&bytes, b"evil"),
            "{}",
            String::from_utf8_lossy(&bytes)
        );
        assert!(!contains(&bytes, b"smuggled"));
        assert_eq!(edge.get("site.test", "/fine").text(), "GET /fine ");
    });
}

#[test]
fn content_that_can_be_read_in_two_ways_ends_the_connection() {
    scene(LIMIT, |scene| {
        let origin = Origin::start(|seen, wire| {
            wire.content();
            match seen.target.as_str() {
                // The handler sees whole requests and cut ones alike: the answer to a cut one goes nowhere.
                "/evil" => After::Close,
                _ => echo(seen, wire),
            }
        });
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        for (what, content) in CONTENTS {
            let mut client = edge.clear();
            client.send(
                "POST /evil HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            client.send([content, SMUGGLED.as_bytes()].concat());
            check_refused(what, &mut client);
        }
        assert!(!contains(&origin.bytes(), b"smuggled"));
        assert_eq!(edge.get("site.test", "/fine").text(), "GET /fine ");
    });
}

fn check_head(what: &str, edge: &Jet9, head: &[u8]) {
    let mut client = edge.clear();
    client.send([head, SMUGGLED.as_bytes()].concat());
    check_refused(what, &mut client);
}

/// At most one answer, a refusal, and then the end.
fn check_refused(what: &str, client: &mut Client) {
    match client.answer("GET") {
        Ok(answer) => {
            assert!((400..600).contains(&answer.status), "{what}: {answer:?}");
            assert!(client.is_closed(), "{what}: open after {}", answer.status);
        }
        Err(Broken::Closed | Broken::Cut) => {}
        Err(broken) => panic!("{what}: {broken:?}"),
    }
}

fn with_target(head: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut named = false;
    for &byte in head {
        match byte {
            b'@' if !named => {
                named = true;
                bytes.extend(b"/evil");
            }
            byte => bytes.push(byte),
        }
    }
    bytes
}

/// Heads beyond the limits.
fn great_heads() -> Vec<(&'static str, Vec<u8>)> {
    let head = |fields: &str| {
        format!("GET /evil HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n").into_bytes()
    };
    vec![
        ("201 fields", head(&"X: y\r\n".repeat(200))),
        (
            "a great field",
            head(&format!("X: {}\r\n", "y".repeat(64 << 10))),
        ),
        (
            "a great target",
            get("site.test", &format!("/evil{}", "y".repeat(16 << 10))).into(),
        ),
    ]
}
