//! Conditional requests both ways, and freshening (RFC 9111 §4.3).
//!
//! Called by `edge::response::deliver` (does the client hold it already?), `edge::response::store` (validate ours, freshen it by the answer)
//! and `edge::response::by_head`. `If-Match` and `If-Unmodified-Since` are not judged here: a request with one of them is never answered
//! from the store (see `request`). Invariant: what says that it is another representation freshens nothing.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::entity_tag::{self, EntityTag};
use super::fields;
use crate::stored::{StoredResponse, Validators};
use crate::time::Timestamp;

mod freshen;

pub use freshen::{ByHead, Freshened, HeadAnswer, freshen, freshen_by_head};

/// The validators among a response's fields (RFC 9110 §8.8), received at `reference`. Two lines of one of them say nothing; a malformed one is none.
pub fn validators(fields: &HeaderMap, reference: Timestamp) -> Validators {
    let etag = only(fields, &header::ETAG);
    let etag = etag.filter(|value| EntityTag::parse(value.as_bytes()).is_some());
    let last_modified = only(fields, &header::LAST_MODIFIED).and_then(|value| {
        let moment = Timestamp::parse_http_date(value.as_bytes(), reference)?;
        Some((value.clone(), moment))
    });
    let date = fields.get(header::DATE);
    let date = date.and_then(|value| Timestamp::parse_http_date(value.as_bytes(), reference));
    Validators {
        etag: etag.cloned(),
        last_modified,
        date: date.unwrap_or(reference),
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
        ..
    } = &response.validators;
    let etag = etag
        .iter()
        .map(|etag| (header::IF_NONE_MATCH, etag.clone()));
    let modified = last_modified
        .iter()
        .map(|(v, _)| (header::IF_MODIFIED_SINCE, v.clone()));
    etag.chain(modified)
}

/// Whether the client holds a response already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// It has no condition, or the condition holds: it gets the response.
    Passed,
    /// It holds it: it gets a 304.
    NotModified,
}

/// Judges the conditions of a request against the stored response that answers it (RFC 9110 §13.2.2, RFC 9111 §4.3.2).
pub fn precondition(request: &HeaderMap, response: &StoredResponse) -> Precondition {
    let validators = &response.validators;
    // RFC 9111 §4.3.2: compared with `Last-Modified`, else with `Date`, else with the time of receipt.
    let modified = validators
        .last_modified
        .as_ref()
        .map(|(_, modified)| *modified);
    let modified = modified.unwrap_or(validators.date);
    let received = response.times.response_time;
    judge(
        request,
        response.status,
        validators,
        Some(modified),
        received,
    )
}

/// Judges the conditions of a request against the answer that the origin gave when it was asked without them: the client gets what it
/// would have got with them. Without `Last-Modified` a date is no condition (RFC 9110 §13.1.3): the origin did not vouch for any.
pub fn precondition_of_answer(
    request: &HeaderMap,
    status: StatusCode,
    answer: &HeaderMap,
    received: Timestamp,
) -> Precondition {
    let validators = validators(answer, received);
    let modified = validators
        .last_modified
        .as_ref()
        .map(|(_, modified)| *modified);
    judge(request, status, &validators, modified, received)
}

fn judge(
    request: &HeaderMap,
    status: StatusCode,
    validators: &Validators,
    modified: Option<Timestamp>,
    received: Timestamp,
) -> Precondition {
    // RFC 9110 §13.2.1: conditions are about a response that would be successful.
    if !status.is_success() {
        return Precondition::Passed;
    }
    // If-None-Match wins, whatever If-Modified-Since says (RFC 9110 §13.1.3).
    let holds = if request.contains_key(header::IF_NONE_MATCH) {
        names_etag(request, validators)
    } else {
        is_unmodified(request, modified, received)
    };
    if holds {
        Precondition::NotModified
    } else {
        Precondition::Passed
    }
}

/// RFC 9110 §13.1.2: `*` for any representation, else weak comparison with each.
fn names_etag(request: &HeaderMap, validators: &Validators) -> bool {
    let etag = validators.tag();
    let mut lines = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .map(HeaderValue::as_bytes);
    lines.any(|line| {
        fields::trim(line) == b"*"
            || etag.is_some_and(|etag| entity_tag::list(line).any(|tag| tag.is_weakly(etag)))
    })
}

/// RFC 9110 §13.1.3. A malformed date is no condition.
fn is_unmodified(request: &HeaderMap, modified: Option<Timestamp>, received: Timestamp) -> bool {
    let date = |value: &HeaderValue| Timestamp::parse_http_date(value.as_bytes(), received);
    let since = only(request, &header::IF_MODIFIED_SINCE).and_then(date);
    since
        .zip(modified)
        .is_some_and(|(since, modified)| modified <= since)
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

/// Whether a field of a 200 describes its representation, and so is not in the 304 that takes its place (RFC 9110 §15.4.5).
pub fn describes_representation(name: &HeaderName) -> bool {
    const DESCRIBING: [HeaderName; 5] = [
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
    ];
    DESCRIBING.contains(name)
}

#[cfg(test)]
mod tests;
