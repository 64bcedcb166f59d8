//! A stored response: what the origin said, and everything the hit path needs, computed once when it is stored or freshened.
//!
//! Made by `semantics::storable` (a fill) and `semantics::validation` (a 304), kept by `store`, read by `edge::response::deliver`.
//! The content is not here: the store keeps it beside. Invariant: no field of it needs parsing on a hit.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::reason::Reason;
use crate::semantics::entity_tag::EntityTag;
use crate::semantics::rules::{Languages, LiteSpeed};
use crate::semantics::validation;
use crate::semantics::vary::{self, Selector};
use crate::time::Timestamp;

mod codec;
mod head;

pub use codec::ENCODED_BYTES_MAX;

/// The most bytes that the stored fields of one response may have, names and values together.
pub const FIELD_BYTES_MAX: usize = 128 * 1024;
/// The most field lines that one stored response may have.
pub const FIELD_LINES_MAX: usize = 1000;

/// The head of a stored response with its derived facts. Immutable; freshening makes a new one. Made by [`Self::assemble`].
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResponse {
    /// The status code that the origin sent.
    pub status: StatusCode,
    /// The end-to-end fields that may be stored (RFC 9111 §3.1), `Age` and `Content-Length` left out.
    pub fields: HeaderMap,
    /// Fields that visitors do not see but a later freshening needs (the edge's own cache control, cache tags).
    pub withheld: HeaderMap,
    /// The status line and the fields as HTTP/1.1 bytes, each line ended by CRLF, without the empty line that ends the head.
    pub http1_head: Bytes,
    /// When it was received and how old it was then, and how long it is fresh.
    pub times: Times,
    /// What the origin forbids or allows about reuse.
    pub reuse: Reuse,
    /// What it can be validated with.
    pub validators: Validators,
    /// What selects it again, made from `Vary`; empty when there is no `Vary`.
    pub vary: Box<[Selector]>,
    /// Names given by the origin for purging groups (`Cache-Groups`, `Surrogate-Key`, …).
    pub tags: Box<[Box<str>]>,
    /// How it was stored to be selected by `Accept-Language`.
    pub languages: Languages,
    /// Whether it was stored to be selected by what it says to a LiteSpeed server.
    pub litespeed: LiteSpeed,
}

/// What a stored response is made of; the rest of it is derived.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// [`StoredResponse::status`].
    pub status: StatusCode,
    /// [`StoredResponse::fields`].
    pub fields: HeaderMap,
    /// [`StoredResponse::withheld`].
    pub withheld: HeaderMap,
    /// [`StoredResponse::times`].
    pub times: Times,
    /// [`StoredResponse::reuse`].
    pub reuse: Reuse,
    /// [`StoredResponse::tags`].
    pub tags: Box<[Box<str>]>,
    /// How [`StoredResponse::vary`] is made where it has `Accept-Language`.
    pub languages: Languages,
    /// Whether [`StoredResponse::vary`] has the cookies that select for a LiteSpeed server.
    pub litespeed: LiteSpeed,
}

/// The times of RFC 9111 §4.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// When the request that it answers was sent (`request_time`).
    pub request_time: Timestamp,
    /// When its head arrived (`response_time`).
    pub response_time: Timestamp,
    /// `corrected_initial_age` (RFC 9111 §4.2.3), in whole milliseconds.
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
    /// Every request that it answered so far had `Authorization` or a cookie that the site's rules do not ignore: it is reused as its
    /// origin explicitly allows, without lifetimes or stale windows of our own.
    pub personal: bool,
    /// How long after going stale it may be served while it is revalidated (RFC 5861 §3).
    pub stale_while_revalidate: Duration,
    /// How long after going stale it may be served when the origin fails (RFC 5861 §4, RFC 9111 §4.2.4).
    pub stale_if_error: Duration,
}

/// Validators (RFC 9110 §8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The entity tag as sent, quotes and `W/` included. A malformed one is not here.
    pub etag: Option<http::HeaderValue>,
    /// `Last-Modified` as sent and as parsed.
    pub last_modified: Option<(http::HeaderValue, Timestamp)>,
    /// When the origin made the response: its `Date`, else when it was received.
    pub date: Timestamp,
}

impl Validators {
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// The entity tag, to compare with. Nothing is parsed: it is well-formed.
    pub fn tag(&self) -> Option<EntityTag<'_>> {
        let etag = self.etag.as_ref();
        etag.map(|etag| EntityTag::of_well_formed(etag.as_bytes()))
    }
}

impl StoredResponse {
    /// Derives from its parts what the hit path needs.
    ///
    /// # Errors
    /// When it cannot be reused at all: `Vary: *` or malformed, too many selecting fields, or fields above [`FIELD_BYTES_MAX`] or
    /// [`FIELD_LINES_MAX`].
    pub fn assemble(parts: Parts) -> Result<Self, Reason> {
        let Parts {
            status,
            fields,
            withheld,
            times,
            reuse,
            tags,
            languages,
            litespeed,
        } = parts;
        if !fits(&[&fields, &withheld]) {
            return Err(Reason::TooLarge);
        }
        let vary = vary::selectors(&fields, &withheld, languages, litespeed)?;
        let validators = validation::validators(&fields, times.response_time);
        let http1_head = head::http1(status, &fields);
        Ok(Self {
            status,
            fields,
            withheld,
            http1_head,
            times,
            reuse,
            validators,
            vary,
            tags,
            languages,
            litespeed,
        })
    }
}

fn fits(maps: &[&HeaderMap]) -> bool {
    let lines = maps.iter().map(|map| map.len()).sum::<usize>();
    let all = maps.iter().flat_map(|map| map.iter());
    let bytes = all
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum::<usize>();
    lines <= FIELD_LINES_MAX && bytes <= FIELD_BYTES_MAX
}
