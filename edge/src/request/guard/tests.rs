//! Tables of what the guard accepts and refuses.

use bytes::Bytes;
use jet9_cache::Scheme;
use jet9_config::limits::Limits;

use super::*;

#[test]
fn a_plain_request_passes() {
    let head = Bytes::from_static(
        b"GET /a?b HTTP/1.1\r\nHost: Example.test.:8080\r\nConnection: x-y, close\r\nX-Y: 1\r\nAccept: */*\r\n\r\n",
    );
    let accepted = parse_http1(head, Scheme::Http, &Limits::default()).unwrap();
    assert!(!accepted.keep_alive);
    assert_eq!(
        &compose_http1_head(&accepted.request)[..],
        b"GET /a?b HTTP/1.1\r\nHost: example.test:8080\r\nAccept: */*\r\n\r\n"
    );
}
