//! Request lines, line ends, limits.

use super::*;
use crate::message::Protocol;

/// Whole heads that break a rule about their lines.
pub(super) const REFUSED: &[Refused] = &[
    // Line ends.
    (b"GET / HTTP/1.1\nHost: a.test\n\n", Rule::BareLf),
    (b"GET / HTTP/1.1\r\nHost: a.test\n\r\n", Rule::BareLf),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\n\n", Rule::BareLf),
    (b"\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", Rule::BareLf),
    (b"GET / HTTP/1.1\r\r\nHost: a.test\r\n\r\n", Rule::BareCr),
    (b"GET /\r HTTP/1.1\r\nHost: a.test\r\n\r\n", Rule::BareCr),
    (b"GET / HTTP/1.1\rHost: a.test\r\n\r\n", Rule::BareCr),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\r\n\r\n", Rule::BareCr),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nA: b\rC: d\r\n\r\n",
        Rule::BareCr,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nA\r: b\r\n\r\n",
        Rule::BareCr,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\rA: b\r\n\r\n",
        Rule::BareCr,
    ),
    (
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::EmptyLines,
    ),
    (b"\r\n\r\n", Rule::EmptyLines),
    (b"", Rule::HeadEnd),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\n", Rule::HeadEnd),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET /",
        Rule::HeadEnd,
    ),
    // The three parts of a request line.
    (b"GET\r\n\r\n", Rule::RequestLine),
    (b"GET /\r\n\r\n", Rule::RequestLine),
    (b"GET / \r\nHost: a.test\r\n\r\n", Rule::RequestLine),
    (
        b"GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::RequestLine,
    ),
    (
        b"GET /  HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::RequestLine,
    ),
    (
        b"GET / HTTP/1.1 \r\nHost: a.test\r\n\r\n",
        Rule::RequestLine,
    ),
    (
        b"GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::RequestLine,
    ),
    (
        b"GET\t/\tHTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::RequestLine,
    ),
    (
        b"GET /\tHTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::RequestLine,
    ),
    (b"GET\x0b/ HTTP/1.1\r\nHost: a.test\r\n\r\n", Rule::Method),
    // Versions.
    (b"GET / http/1.1\r\nHost: a.test\r\n\r\n", Rule::RequestLine),
    (
        b"GET / HTTP/1.1x\r\nHost: a.test\r\n\r\n",
        Rule::RequestLine,
    ),
    (
        b"GET / HTTP/01.1\r\nHost: a.test\r\n\r\n",
        Rule::RequestLine,
    ),
    (b"GET / HTTP/1.\r\nHost: a.test\r\n\r\n", Rule::RequestLine),
    (b"GET / HTTP/1\r\nHost: a.test\r\n\r\n", Rule::RequestLine),
    (
        b"GET / HTTP/1.10\r\nHost: a.test\r\n\r\n",
        Rule::RequestLine,
    ),
    (b"GET / HTTP 1.1\r\nHost: a.test\r\n\r\n", Rule::RequestLine),
    (b"GET / RTSP/1.0\r\nHost: a.test\r\n\r\n", Rule::RequestLine),
    (b"GET / HTTP/0.9\r\nHost: a.test\r\n\r\n", Rule::Version),
    (b"GET / HTTP/1.2\r\nHost: a.test\r\n\r\n", Rule::Version),
    (b"GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", Rule::Version),
    (b"PRI * HTTP/2.0\r\n\r\n", Rule::Version),
    // Methods.
    (b" GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", Rule::Method),
    (b"G(T / HTTP/1.1\r\nHost: a.test\r\n\r\n", Rule::Method),
    (b"G\x00T / HTTP/1.1\r\nHost: a.test\r\n\r\n", Rule::Method),
    (
        b"G\xc3\xa9T / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::Method,
    ),
    (b"\"GET\" / HTTP/1.1\r\nHost: a.test\r\n\r\n", Rule::Method),
    (
        b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
        Rule::MethodConnect,
    ),
    (
        b"TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::MethodTrace,
    ),
];

/// Beginnings that are refused before the rest arrives.
pub(super) const REFUSED_EARLY: &[Refused] = &[
    (b"\x16\x03\x01\x02\x00\x01", Rule::Method),
    (b"\x80", Rule::Method),
    (b"{", Rule::Method),
    (b"GET / HTTP/1.1\n", Rule::BareLf),
    (b"\r\n\r\n", Rule::EmptyLines),
];

#[test]
fn heads_with_bad_lines_are_refused() {
    for (head, rule) in REFUSED {
        check_refused(head, *rule);
    }
}

#[test]
fn hopeless_beginnings_are_refused_at_once() {
    for (start, rule) in REFUSED_EARLY {
        let found = Search::default().end(start, &Limits::default());
        assert_eq!(found, Err(Refusal::from(*rule)), "{}", start.escape_ascii());
    }
}

#[test]
fn methods_are_any_tokens_and_case_matters() {
    for method in ["GET", "get", "PURGE", "M-SEARCH", "!#$%&'*+-.^_`|~", "X"] {
        let head = with_request_line(format!("{method} / HTTP/1.1").as_bytes(), b"");
        assert_eq!(read(&head).unwrap().request.method.as_str(), method);
    }
}

#[test]
fn an_empty_line_before_the_request_is_skipped() {
    let accepted = read(b"\r\nGET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert_eq!(&accepted.request.path_and_query[..], b"/a");
    assert_eq!(accepted.head_bytes, 35);
}

#[test]
fn connections_stay_open_as_the_version_and_the_client_say() {
    let check = |version: &str, fields: &str, protocol, keep_alive| {
        let line = format!("GET / HTTP/{version}");
        let accepted = read(&with_request_line(line.as_bytes(), fields.as_bytes())).unwrap();
        assert_eq!(accepted.request.protocol, protocol, "{version} {fields}");
        assert_eq!(accepted.keep_alive, keep_alive, "{version} {fields}");
    };
    use Protocol::{Http10, Http11};
    check("1.1", "", Http11, true);
    check("1.1", "Connection: keep-alive\r\n", Http11, true);
    check("1.1", "Connection: close\r\n", Http11, false);
    check("1.1", "Connection: Keep-Alive, CLOSE\r\n", Http11, false);
    check(
        "1.1",
        "Connection: close\r\nConnection: keep-alive\r\n",
        Http11,
        false,
    );
    check("1.1", "Proxy-Connection: close\r\n", Http11, true);
    check("1.0", "", Http10, false);
    check("1.0", "Connection: keep-alive\r\n", Http10, true);
    check("1.0", "Connection: keep-alive, close\r\n", Http10, false);
    check("1.0", "Keep-Alive: timeout=5\r\n", Http10, false);
}

#[test]
fn limits_hold_to_the_byte() {
    let limits = Limits {
        head_bytes: 100,
        head_fields: 3,
        request_line_bytes: 30,
        ..Limits::default()
    };
    let check = |target: &str, fields: &str, expected: Result<(), Rule>| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        let parsed = parse_http1(Bytes::from(head.clone()), Scheme::Http, &limits);
        let parsed = parsed.map(|_| ()).map_err(|refusal| refusal.rule);
        assert_eq!(parsed, expected, "{head:?}");
        // Whatever the guard says, the search for the end said it before, or found the end.
        let found = Search::default().end(head.as_bytes(), &limits);
        assert_eq!(found.map(|_| ()).map_err(|refusal| refusal.rule), expected);
    };
    check("/", "", Ok(()));
    check(&format!("/{}", "a".repeat(16)), "", Ok(()));
    check(
        &format!("/{}", "a".repeat(17)),
        "",
        Err(Rule::RequestLineBytes),
    );
    check("/", "A: 1\r\nB: 2\r\n", Ok(()));
    check("/", "A: 1\r\nB: 2\r\nC: 3\r\n", Err(Rule::HeadFields));
    // Also those that are dropped count.
    check("/", "A_: 1\r\nTE: 2\r\nC: 3\r\n", Err(Rule::HeadFields));
    let long = |n: usize| format!("A: {}\r\n", "x".repeat(n));
    check("/", &long(63), Ok(()));
    check("/", &long(64), Err(Rule::HeadBytes));
}

#[test]
fn the_default_limits_are_those_of_the_manual() {
    let limits = Limits::default();
    assert_eq!((limits.head_bytes, limits.head_fields), (64 << 10, 200));
}
