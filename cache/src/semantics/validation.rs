//! Conditional requests both ways, and freshening (RFC 9111 §4.3).
//!
//! Called by `edge::request::lookup` (does the client hold it already?), `edge::origin::fetch` (validate ours) and
//! `edge::response::store` (freshen ours by the answer). `If-Match` and `If-Unmodified-Since` are not judged here: a request with one of
//! them is never answered from the store (see `request`). Invariant: what says that it is another representation freshens nothing.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::entity_tag::{self, EntityTag};
use super::fields;
use crate::stored::{StoredResponse, Validators};
use crate::time::Timestamp;

mod freshen;

pub use freshen::{ByHead, Freshened, freshen, freshen_by_head};

/// The validators among a response's fields (RFC 9110 §8.8). Two lines of one of them say nothing; a malformed one is none.
pub fn validators(fields: &HeaderMap, reference: Timestamp) -> Validators {
    let etag = only(fields, &header::ETAG);
    let etag = etag.filter(|value| EntityTag::parse(value.as_bytes()).is_some());
    let last_modified = only(fields, &header::LAST_MODIFIED).and_then(|value| {
        let moment = Timestamp::parse_http_date(value.as_bytes(), reference)?;
        Some((value.clone(), moment))
    });
    Validators {
        etag: etag.cloned(),
        last_modified,
    }
}

/// The value of a field with exactly one line.
fn only<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = fields.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// The conditions that validate a stored response: all its validators (RFC 9111 §4.3.1). None when it has none.
pub fn conditional_fields(
    response: &StoredResponse,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let Validators {
        etag,
        last_modified,
    } = &response.validators;
    let etag = etag
        .iter()
        .map(|etag| (header::IF_NONE_MATCH, etag.clone()));
    let modified = last_modified
        .iter()
        .map(|(v, _)| (header::IF_MODIFIED_SINCE, v.clone()));
    etag.chain(modified)
}

/// Whether the client holds the stored response already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// It has no condition, or the condition holds: it gets the response.
    Passed,
    /// It holds it: it gets a 304.
    NotModified,
}

/// Judges the conditions of a request against the stored response that answers it (RFC 9110 §13.2.2, RFC 9111 §4.3.2).
pub fn precondition(request: &HeaderMap, response: &StoredResponse) -> Precondition {
    // RFC 9110 §13.2.1: conditions are about a response that would be successful.
    if !response.status.is_success() {
        return Precondition::Passed;
    }
    // If-None-Match wins, whatever If-Modified-Since says (RFC 9110 §13.1.3).
    let holds = if request.contains_key(header::IF_NONE_MATCH) {
        names_etag(request, response)
    } else {
        is_unmodified(request, response)
    };
    if holds {
        Precondition::NotModified
    } else {
        Precondition::Passed
    }
}

/// RFC 9110 §13.1.2: `*` for any representation, else weak comparison with each.
fn names_etag(request: &HeaderMap, response: &StoredResponse) -> bool {
    let stored = response.validators.etag.as_ref();
    let stored = stored.and_then(|etag| EntityTag::parse(etag.as_bytes()));
    let mut lines = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .map(HeaderValue::as_bytes);
    lines.any(|line| {
        fields::trim(line) == b"*"
            || stored.is_some_and(|stored| entity_tag::list(line).any(|tag| tag.is_weakly(stored)))
    })
}

/// RFC 9111 §4.3.2: compared with `Last-Modified`, else with `Date`, else with the time of receipt. A malformed date is no condition.
fn is_unmodified(request: &HeaderMap, response: &StoredResponse) -> bool {
    let received = response.times.response_time;
    let date = |value: &HeaderValue| Timestamp::parse_http_date(value.as_bytes(), received);
    let Some(since) = only(request, &header::IF_MODIFIED_SINCE).and_then(date) else {
        return false;
    };
    let modified = match &response.validators.last_modified {
        Some((_, modified)) => *modified,
        None => response
            .fields
            .get(header::DATE)
            .and_then(date)
            .unwrap_or(received),
    };
    modified <= since
}

/// The stored fields that a 304 carries (RFC 9110 §15.4.5), and `Last-Modified`, which costs nothing and helps caches downstream.
pub fn not_modified_fields(
    response: &StoredResponse,
) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    static CARRIED: [HeaderName; 9] = [
        header::CACHE_CONTROL,
        super::directives::CDN_CACHE_CONTROL,
        super::directives::SURROGATE_CONTROL,
        header::CONTENT_LOCATION,
        header::DATE,
        header::ETAG,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::VARY,
    ];
    response
        .fields
        .iter()
        .filter(|(name, _)| CARRIED.contains(name))
}

#[cfg(test)]
mod tests;
