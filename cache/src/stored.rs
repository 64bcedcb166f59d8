//! A stored response: what the origin said, and everything the hit path needs, computed once when it is stored or freshened.
//!
//! Made by `semantics::storable` (a fill) and `semantics::validation` (a 304), kept by `store`, read by `edge::response::deliver`.
//! The content is not here: the store keeps it beside. Invariant: no field of it needs parsing on a hit.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::time::Timestamp;

/// The head of a stored response with its derived facts. Immutable; freshening makes a new one.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    /// The status code that the origin sent.
    pub status: StatusCode,
    /// The end-to-end fields that may be stored (RFC 9111 §3.1), `Age` and `Content-Length` left out.
    pub fields: HeaderMap,
    /// The status line and the fields as HTTP/1.1 bytes, each line ended by CRLF, without the empty line that ends the head.
    pub http1_head: Bytes,
    /// When it was received and how old it was then, and how long it is fresh.
    pub times: Times,
    /// What the origin forbids or allows about reuse.
    pub reuse: Reuse,
    /// What it can be validated with.
    pub validators: Validators,
    /// The selecting fields named by `Vary`, lower case, sorted, without duplicates; empty when there is no `Vary`.
    pub vary: Box<[HeaderName]>,
    /// Names given by the origin for purging groups (`Cache-Groups`, `Surrogate-Key`, …).
    pub tags: Box<[Box<str>]>,
}

/// The times of RFC 9111 §4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When the request that it answers was sent (`request_time`).
    pub request_time: Timestamp,
    /// When its head arrived (`response_time`).
    pub response_time: Timestamp,
    /// `corrected_initial_age` (RFC 9111 §4.2.3).
    pub initial_age: Duration,
    /// `freshness_lifetime` (RFC 9111 §4.2.1), or the site's default where the origin gave none.
    pub lifetime: Duration,
}

/// What the response says about its own reuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reuse {
    /// `no-cache` without field names: validate before every reuse (RFC 9111 §5.2.2.4).
    pub no_cache: bool,
    /// `must-revalidate`, `proxy-revalidate` or `s-maxage`: never serve stale (RFC 9111 §4.2.4).
    pub must_revalidate: bool,
    /// May answer a request that has `Authorization` (RFC 9111 §3.5).
    pub shared_with_authorization: bool,
    /// How long after going stale it may be served while it is revalidated (RFC 5861 §3).
    pub stale_while_revalidate: Duration,
    /// How long after going stale it may be served when the origin fails (RFC 5861 §4, RFC 9111 §4.2.4).
    pub stale_if_error: Duration,
}

/// Validators (RFC 9110 §8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The entity tag as sent, quotes and `W/` included.
    pub etag: Option<http::HeaderValue>,
    /// `Last-Modified` as sent and as parsed.
    pub last_modified: Option<(http::HeaderValue, Timestamp)>,
}
