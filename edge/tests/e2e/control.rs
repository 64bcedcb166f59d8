//! The control plane of one edge: what a call or a hand changes is in force at once, whole, and for nobody else.

use std::time::Duration;

use super::support::edge::Jet9;
use super::support::http1::{Client, Response};
use super::support::origin::Origin;

mod crash;
mod operations;
mod sites;

const LIMIT: Duration = Duration::from_secs(120);

/// An origin whose every page may be stored.
fn stored_pages() -> Origin {
    Origin::start(|seen, wire| {
        let content = format!("page {}", seen.target);
        wire.answer(
            "200 OK",
            "Cache-Control: max-age=600\r\n",
            content.as_bytes(),
        )
    })
}

/// One call over the Unix socket, with these fields and this content.
fn call(edge: &Jet9, line: &str, fields: &str, content: impl AsRef<[u8]>) -> Response {
    Client::unix(&edge.files.dir.join("data/admin.sock")).ask(request(line, fields, content))
}

fn request(line: &str, fields: &str, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let length = content.len();
    let head =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), content].concat()
}
