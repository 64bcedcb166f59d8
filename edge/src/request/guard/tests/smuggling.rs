//! Known ways of making two servers see different requests in the same bytes. Each must end in a refusal, or go onward with one meaning.

use super::*;
use crate::message::Framing;

/// Nothing of these reaches an origin.
const VECTORS: &[&[u8]] = &[
    // CL.TE and TE.CL.
    b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    // TE.TE: one of two readers does not see the coding.
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding:\x0cchunked\r\n",
    b" Transfer-Encoding: chunked\r\n",
    b"X: X\nTransfer-Encoding: chunked\r\n",
    b"X: X\rTransfer-Encoding: chunked\r\n",
    b"X: X\r\n Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding\r\n: chunked\r\n",
    b"Transfer-Encoding: \r\n chunked\r\n",
    b"Transfer-Encoding:\n chunked\r\n",
    b"Transfer-Encoding: chunked\n\r\n",
    b"Transfer-Encoding: cow\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: \"chunked\"\r\n",
    b"Transfer-Encoding: chunked\x00\r\n",
    b"\x00Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding\x00: chunked\r\n",
    b"Transfer-Encoding\xa0: chunked\r\n",
    b"Transfer-Encoding: chunked, cow\r\n",
    b"Transfer-Encoding: cow, chunked\r\n",
    b"Transfer-Encoding: chunk\r\n",
    b"Transfer-Encoding: c\xcc\xa7hunked\r\n",
    // Two lengths.
    b"Content-Length: 5\r\nContent-Length: 0\r\n",
    b"Content-Length: 5, 0\r\n",
    b"Content-Length: 5\r\nContent-Length : 0\r\n",
    b"Content-Length: 5\r\n Content-Length: 0\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: 5\x00\r\n",
    b"Content-Length: 0x5\r\n",
    b"Content-Length:\r\n",
    b"Content-Length: \xef\xbc\x95\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    // Hop-by-hop abuse.
    b"Connection: Content-Length\r\nContent-Length: 5\r\n",
    b"Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
    b"Connection: Cookie\r\nCookie: a\r\n",
    // A second host.
    b"Host: b.test\r\n",
    b" Host: b.test\r\n",
    b"Host : b.test\r\n",
    b"X: y\nHost: b.test\r\n",
];

#[test]
fn no_vector_passes() {
    for fields in VECTORS {
        let head = with_fields(fields);
        if let Ok(accepted) = read(&head) {
            panic!("{}: {accepted:?}", head.escape_ascii());
        }
    }
}

#[test]
fn targets_cannot_carry_a_second_request() {
    for target in [
        "/ HTTP/1.1\r\nHost: b.test\r\n\r\nGET /",
        "/\r\nX: y",
        "/\nX:y",
        "/ HTTP/1.1\nHost: b.test",
        "/\u{10a}b",
        "/\u{560d}\u{560a}X:y",
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert!(read(head.as_bytes()).is_err(), "{head:?}");
    }
    // Encoded line ends are the origin's to judge; they stay encoded.
    check_composed(
        "GET /%0d%0aX:y HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /%0d%0aX:y HTTP/1.1\r\nHost: a.test\r\n\r\n",
    );
}

#[test]
fn a_request_in_the_content_stays_content() {
    let sent = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 32\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let end = Search::default()
        .end(sent, &Limits::default())
        .unwrap()
        .unwrap();
    let accepted = read(&sent[..end]).unwrap();
    assert_eq!(accepted.request.content, Framing::Length(32));
    assert_eq!(end + 32, sent.len());
}

#[test]
fn lookalikes_of_framing_fields_do_not_go_onward() {
    check_composed(
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent_Length: 6\r\ntransfer_encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n",
    );
}
