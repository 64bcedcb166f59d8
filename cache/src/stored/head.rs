//! The head of a stored response as HTTP/1.1 bytes (RFC 9112 §4), written once when it is stored.
//!
//! Called by `StoredResponse::assemble`. Framing, `Connection` and what one exchange adds are the carrier's: it appends its own lines
//! and the empty line. Invariant: values are written byte for byte as they came, obs-text included.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode, header};

/// The status line and field lines, without the empty line.
pub(super) fn http1(status: StatusCode, fields: &HeaderMap) -> Bytes {
    let lines = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    let mut head = BytesMut::with_capacity(64 + lines.sum::<usize>());
    head.put_slice(b"HTTP/1.1 ");
    head.put_slice(status.as_str().as_bytes());
    // The space stays when there is no phrase (RFC 9112 §4).
    head.put_u8(b' ');
    head.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.put_slice(b"\r\n");
    for (name, value) in fields {
        put_name(&mut head, name);
        head.put_slice(b": ");
        head.put_slice(value.as_bytes());
        head.put_slice(b"\r\n");
    }
    head.freeze()
}

/// Names are case-insensitive (RFC 9110 §5.1), yet some old clients know them only in their usual spelling.
fn put_name(head: &mut BytesMut, name: &HeaderName) {
    if *name == header::ETAG {
        return head.put_slice(b"ETag");
    }
    if *name == header::WWW_AUTHENTICATE {
        return head.put_slice(b"WWW-Authenticate");
    }
    let mut starts_word = true;
    for byte in name.as_str().bytes() {
        head.put_u8(if starts_word {
            byte.to_ascii_uppercase()
        } else {
            byte
        });
        starts_word = byte == b'-';
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(status: u16, fields: &[(&'static str, &[u8])], expected: &[u8]) {
        let fields = fields
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_bytes(value).unwrap(),
                )
            })
            .collect();
        assert_eq!(
            http1(StatusCode::from_u16(status).unwrap(), &fields),
            expected
        );
    }

    #[test]
    fn names_have_their_usual_spelling_and_values_their_bytes() {
        check(
            200,
            &[
                ("content-type", b"text/html"),
                ("etag", b"\"\xfc\""),
                ("www-authenticate", b"Basic"),
                ("x-a", b""),
            ],
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"\xfc\"\r\nWWW-Authenticate: Basic\r\nX-A: \r\n",
        );
    }

    #[test]
    fn an_unknown_status_has_an_empty_phrase() {
        check(599, &[], b"HTTP/1.1 599 \r\n");
        check(999, &[], b"HTTP/1.1 999 \r\n");
    }
}
