//! Field lines, framing, connection options, expectations, upgrades, and what goes onward.

use super::*;
use crate::message::{Framing, Upgrade};

/// Heads whose fields break a rule.
pub(super) const REFUSED: &[Refused] = &[
    // Lines, names, values.
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nnocolon\r\n\r\n", Rule::FieldLine),
    (b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n", Rule::FieldFolded),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nA: b\r\n c\r\n\r\n", Rule::FieldFolded),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nA: b\r\n\tc: d\r\n\r\n", Rule::FieldFolded),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nA: b\r\n \r\n\r\n", Rule::FieldFolded),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nA : b\r\n\r\n", Rule::FieldSpace),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nA\t: b\r\n\r\n", Rule::FieldSpace),
    (b"GET / HTTP/1.1\r\nHost : a.test\r\n\r\n", Rule::FieldSpace),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\n: b\r\n\r\n", Rule::FieldName),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nA b: c\r\n\r\n", Rule::FieldName),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nA\x00: c\r\n\r\n", Rule::FieldName),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\n\xc3\xa9: c\r\n\r\n", Rule::FieldName),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nA/B: c\r\n\r\n", Rule::FieldName),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\n\"A\": c\r\n\r\n", Rule::FieldName),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length\x0b: 5\r\n\r\n", Rule::FieldName),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nA: b\x00c\r\n\r\n", Rule::FieldValue),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nA: b\x0bc\r\n\r\n", Rule::FieldValue),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nA: \x7f\r\n\r\n", Rule::FieldValue),
    (b"GET / HTTP/1.1\r\nHost: a.test\x00\r\n\r\n", Rule::FieldValue),
    // Content-Length.
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length:\r\n\r\n", Rule::ContentLength),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +5\r\n\r\n", Rule::ContentLength),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: -5\r\n\r\n", Rule::ContentLength),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5, 5\r\n\r\n", Rule::ContentLength),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5,\r\n\r\n", Rule::ContentLength),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5 5\r\n\r\n", Rule::ContentLength),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x5\r\n\r\n", Rule::ContentLength),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5.0\r\n\r\n", Rule::ContentLength),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: \"5\"\r\n\r\n", Rule::ContentLength),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: five\r\n\r\n", Rule::ContentLength),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1_000\r\n\r\n", Rule::ContentLength),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9223372036854775808\r\n\r\n",
        Rule::ContentLength,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551621\r\n\r\n",
        Rule::ContentLength,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        Rule::ContentLengthRepeated,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\ncontent-length: 6\r\n\r\n",
        Rule::ContentLengthRepeated,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        Rule::ContentLengthRepeated,
    ),
    // Both.
    (
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        Rule::FramedTwice,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        Rule::FramedTwice,
    ),
    (
        b"POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
        Rule::TransferEncodingVersion,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        Rule::TransferCoding,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n",
        Rule::TransferEncoding,
    ),
    // Connection.
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: a b\r\n\r\n", Rule::Connection),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close;q=1\r\n\r\n", Rule::Connection),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: \"close\"\r\n\r\n", Rule::Connection),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Host\r\n\r\n", Rule::ConnectionNames),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close, content-LENGTH\r\n\r\n",
        Rule::ConnectionNames,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Transfer-Encoding\r\n\r\n",
        Rule::ConnectionNames,
    ),
    (b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Cookie\r\n\r\n", Rule::ConnectionNames),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: X-Forwarded-For\r\n\r\n",
        Rule::ConnectionNames,
    ),
    // Expect.
    (b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 200-ok\r\n\r\n", Rule::Expectation),
    (b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect:\r\n\r\n", Rule::Expectation),
    (
        b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue, x\r\n\r\n",
        Rule::Expectation,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue;x\r\n\r\n",
        Rule::Expectation,
    ),
    // Upgrade.
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n",
        Rule::UpgradeContent,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n",
        Rule::UpgradeContent,
    ),
];

#[test]
fn bad_fields_are_refused() {
    for (head, rule) in REFUSED {
        check_refused(head, *rule);
    }
}

#[test]
fn every_odd_transfer_encoding_is_refused() {
    let check = |value: &[u8], rule| {
        let line = [b"Transfer-Encoding:".as_slice(), value, b"\r\n"].concat();
        check_refused(&with_fields(&line), rule);
    };
    let odd: [&[u8]; 24] = [
        b"",
        b" ",
        b" ,",
        b" chunked,",
        b" ,chunked",
        b" chunked, chunked",
        b" chunked, identity",
        b" chunked, gzip",
        b" gzip",
        b" identity",
        b" xchunked",
        b" chunkedx",
        b" chunked x",
        b" chunked;",
        b" chunked;q=1",
        b" \"chunked\"",
        b" 'chunked'",
        b" chunked\xa0",
        b" \xc3\x87hunked",
        b" chun\tked",
        b" gzip;q=1, chunked",
        b" gzip chunked",
        b" gzip,, chunked",
        b" [chunked]",
    ];
    for value in odd {
        check(value, Rule::TransferEncoding);
    }
    check(b" \x0bchunked", Rule::FieldValue);
    check(b" chunked\x00", Rule::FieldValue);
    check(b" \rchunked", Rule::BareCr);
    check(b" chunked\r\n\r\nTransfer-Encoding: chunked", Rule::HeadEnd);
    check(b" gzip, chunked", Rule::TransferCoding);
    check(b" identity, chunked", Rule::TransferCoding);
    check(b" deflate,gzip , Chunked", Rule::TransferCoding);
    // Twice, in whatever way.
    for second in ["chunked", "identity", "", "gzip, chunked"] {
        let line = format!(" chunked\r\nTransfer-Encoding: {second}");
        let rule = read(&with_fields(
            format!("Transfer-Encoding:{line}\r\n").as_bytes(),
        ));
        assert!(
            matches!(rule, Err(Rule::TransferEncoding | Rule::TransferCoding)),
            "{second}: {rule:?}"
        );
    }
}

#[test]
fn framing_is_read_as_one_of_three() {
    let check = |fields: &str, framing| {
        let accepted = read(&with_fields(fields.as_bytes())).unwrap();
        assert_eq!(accepted.request.content, framing, "{fields}");
        assert!(!accepted.request.fields.contains_key("content-length"));
        assert!(!accepted.request.fields.contains_key("transfer-encoding"));
    };
    check("", Framing::None);
    check("Content-Length: 0\r\n", Framing::None);
    check("Content-Length: 5\r\n", Framing::Length(5));
    check("Content-Length:\t 005 \r\n", Framing::Length(5));
    check(
        "Content-Length: 9223372036854775807\r\n",
        Framing::Length(i64::MAX as u64),
    );
    check("Transfer-Encoding: chunked\r\n", Framing::Unknown);
    check("transfer-encoding:\tChunKED \r\n", Framing::Unknown);
    // Names that only resemble the framing fields are dropped.
    check(
        "Content_Length: 5\r\nTransfer_Encoding: chunked\r\n",
        Framing::None,
    );
}

#[test]
fn fields_that_end_here_do_not_go_onward() {
    check_composed(
        "GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: x\r\nTE: trailers\r\nTrailer: a\r\nKeep-Alive: 5\r\n\
         Proxy-Connection: close\r\nProxy-Authorization: Basic x\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\
         Connection: TE, HTTP2-Settings, Upgrade\r\nProxy: evil\r\nX_Forwarded_For: 127.0.0.1\r\n\
         cookie: a=b\r\nX-Custom:   v  w\t\r\nEmpty:\r\nBinary: \u{e9}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: x\r\nCookie: a=b\r\nX-Custom: v  w\r\nEmpty: \r\n\
         Binary: \u{e9}\r\n\r\n",
    );
}

#[test]
fn fields_that_connection_names_do_not_go_onward() {
    check_composed(
        "GET / HTTP/1.1\r\nHost: a.test\r\nX-Hop: 1\r\nA: b\r\nx-hop: 2\r\nConnection: , X-HOP ,,absent\r\n\
         Connection: keep-alive\r\nConnection:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nA: b\r\n\r\n",
    );
}

#[test]
fn repeated_fields_stay_in_order() {
    check_composed(
        "GET / HTTP/1.1\r\nA: 1\r\nHost: a.test\r\nB: 2\r\na: 3\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nA: 1\r\nA: 3\r\nB: 2\r\n\r\n",
    );
}

#[test]
fn content_is_announced_in_our_words() {
    let check = |line: &str, fields: &str, composed: &str| {
        let head = format!("{line} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        let composed = format!("{line} HTTP/1.1\r\nHost: a.test\r\n{composed}\r\n");
        check_composed(&head, &composed)
    };
    check("POST /", "content-length:007\r\n", "Content-Length: 7\r\n");
    check("POST /", "", "Content-Length: 0\r\n");
    check("GET /", "Content-Length: 0\r\n", "");
    check("DELETE /", "", "");
    check("GET /", "Content-Length: 3\r\n", "Content-Length: 3\r\n");
    check(
        "PUT /",
        "transfer-ENCODING: CHUNKED\r\n",
        "Transfer-Encoding: chunked\r\n",
    );
}

#[test]
fn an_expectation_waits_only_for_content() {
    let check = |version: &str, fields: &str, expected| {
        let line = format!("POST / HTTP/{version}");
        let accepted = read(&with_request_line(line.as_bytes(), fields.as_bytes())).unwrap();
        assert_eq!(
            accepted.request.expects_continue, expected,
            "{version} {fields}"
        );
        assert!(!accepted.request.fields.contains_key("expect"));
    };
    check("1.1", "Expect: 100-Continue\r\nContent-Length: 5\r\n", true);
    check(
        "1.1",
        "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
        true,
    );
    check("1.1", "Expect: 100-continue\r\n", false);
    check("1.1", "Content-Length: 5\r\n", false);
    check(
        "1.0",
        "Expect: 100-continue\r\nContent-Length: 5\r\n",
        false,
    );
    check("1.0", "Expect: something\r\nContent-Length: 5\r\n", false);
    check_composed(
        "PUT / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
}

#[test]
fn only_websocket_by_get_over_http_1_1_changes_the_protocol() {
    let check = |line: &str, fields: &str, upgrade| {
        let accepted = read(&with_request_line(line.as_bytes(), fields.as_bytes())).unwrap();
        assert_eq!(accepted.request.upgrade, upgrade, "{line} {fields}");
        assert!(!accepted.request.fields.contains_key("upgrade"));
        assert!(!accepted.request.fields.contains_key("connection"));
    };
    let (get, websocket) = ("GET / HTTP/1.1", Some(Upgrade::WebSocket));
    check(
        get,
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        websocket,
    );
    check(
        get,
        "Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n",
        websocket,
    );
    check(
        get,
        "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
        websocket,
    );
    check(get, "Upgrade: websocket\r\n", None);
    check(get, "Connection: upgrade\r\n", None);
    check(get, "Connection: Upgrade\r\nUpgrade: h2c\r\n", None);
    check(
        get,
        "Connection: Upgrade\r\nUpgrade: websocket/13\r\n",
        None,
    );
    check(get, "Connection: Upgraded\r\nUpgrade: websocket\r\n", None);
    check(
        "POST / HTTP/1.1",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        None,
    );
    check(
        "GET / HTTP/1.0",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        None,
    );
    check_composed(
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nSec-Websocket-Key: x\r\nSec-Websocket-Version: 13\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
}
