//! What goes onward: the head of an HTTP/1.1 request, composed from the parts of an accepted one.
//!
//! RFC 9112 §3, §5, §6. Called by `framework::front` for a request that it hands to Pingora. Writes nothing that the client wrote about framing,
//! host or connection: these are said anew, in one spelling. Invariant: [`super::parse_http1`] reads the head as the same request.

use std::io::Write;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, Method};

use crate::message::{Framing, Request, Upgrade};

/// Composes the head of a request in HTTP/1.1, its empty line included.
pub fn compose_http1_head(request: &Request) -> BytesMut {
    let mut head = BytesMut::with_capacity(room(request));
    head.extend_from_slice(request.method.as_str().as_bytes());
    head.put_u8(b' ');
    head.extend_from_slice(&request.path_and_query);
    head.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    put_authority(&mut head, request);
    put_fields(&mut head, &request.fields);
    put_framing(&mut head, request);
    if request.expects_continue {
        head.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    if request.upgrade == Some(Upgrade::WebSocket) {
        head.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The port stands there only when the client named one.
fn put_authority(head: &mut BytesMut, request: &Request) {
    head.extend_from_slice(request.host.as_str().as_bytes());
    if let Some(port) = request.port {
        put_number(head, b":", u64::from(port));
    }
    head.extend_from_slice(b"\r\n");
}

fn put_fields(head: &mut BytesMut, fields: &HeaderMap) {
    for (name, value) in fields {
        put_title_case(head, name.as_str());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
}

/// `user-agent` as `User-Agent`: what origins and their logs are used to.
fn put_title_case(head: &mut BytesMut, name: &str) {
    let mut at_start = true;
    for byte in name.bytes() {
        head.put_u8(if at_start {
            byte.to_ascii_uppercase()
        } else {
            byte
        });
        at_start = byte == b'-';
    }
}

fn put_framing(head: &mut BytesMut, request: &Request) {
    match request.content {
        Framing::None if expects_content(&request.method) => {
            head.extend_from_slice(b"Content-Length: 0\r\n");
        }
        Framing::None => {}
        Framing::Length(length) => {
            put_number(head, b"Content-Length: ", length);
            head.extend_from_slice(b"\r\n");
        }
        Framing::Unknown => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

/// Methods that give content a meaning: without any they say so, or servers answer 411 (RFC 9110 §8.6).
fn expects_content(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

fn put_number(head: &mut BytesMut, before: &[u8], number: u64) {
    head.extend_from_slice(before);
    // A buffer in memory takes whatever fits in memory: its `write_fmt` does not fail.
    let _ = write!(head.writer(), "{number}");
}

fn room(request: &Request) -> usize {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        name.as_str().len() + value.len() + 4
    };
    let fields: usize = request.fields.iter().map(line).sum();
    fields + request.path_and_query.len() + FIXED_BYTES
}

/// Room for everything but the fields and the target: method, host, framing, upgrade.
const FIXED_BYTES: usize = 384;
