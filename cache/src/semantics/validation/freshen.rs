//! What an answer to a validation, or to a HEAD, does to the stored response (RFC 9111 §3.2, §4.3.3 to §4.3.5).
//!
//! Called by `edge::response::store`. The new fields replace the old ones of the same name, and everything derived is derived again
//! under the present rules. Invariant: the content and what describes it (`Content-Length`, `-Encoding`, `-Type`, `-Range`) stay as they
//! were stored, and a weak entity tag never becomes a strong one.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::reason::Reason;
use crate::semantics::entity_tag::EntityTag;
use crate::semantics::fields;
use crate::semantics::request::RequestPolicy;
use crate::semantics::rules::{Rules, SetCookie};
use crate::semantics::storable::{Asked, TimesOfExchange, judge};
use crate::semantics::validation::validators;
use crate::stored::{Parts, Reuse, StoredResponse, Times};

/// What a 304 made of a stored response.
#[derive(Clone, Debug, PartialEq)]
pub enum Freshened {
    /// Serve this and store it in place of the old one.
    Store(Box<StoredResponse>),
    /// Serve this to the client that asked; what is stored must go, for this reason (`no-store`, say).
    Deliver(Box<StoredResponse>, Reason),
    /// It is about another representation: fetch the whole without conditions, and drop what is stored.
    Mismatch,
}

/// Freshens a stored response by the 304 that answered its validation.
///
/// The origin answered *our* validators, so that a 304 without any is about the stored response, and a weak match suffices: a side that
/// compresses makes the tag of its 200 weak and sends the strong one in its 304. RFC 9111 §4.3.4 asks for a strong match only where
/// several stored responses could be meant. The weak one stays, so that no bytes get a strong tag that did not come with them: where there
/// was none at all, a 304 with a strong one is about another response.
pub fn freshen(
    stored: &StoredResponse,
    not_modified: &HeaderMap,
    request: &RequestPolicy,
    rules: &Rules,
    times: TimesOfExchange,
) -> Freshened {
    if !is_about(stored, not_modified, times) {
        return Freshened::Mismatch;
    }
    let merged = merge(stored, not_modified, rules, times);
    match judge(asked(stored, request), stored.status, &merged, rules, times) {
        // Another Vary would give it another place among the variants.
        Ok(response) if response.vary != stored.vary => Freshened::Mismatch,
        Ok(response) => Freshened::Store(Box::new(response)),
        Err(reason) => for_this_client(stored, &merged, times).map_or(Freshened::Mismatch, |r| {
            Freshened::Deliver(Box::new(r), reason)
        }),
    }
}

/// What the origin answered to a forwarded HEAD.
#[derive(Clone, Copy, Debug)]
pub struct HeadAnswer<'a> {
    /// The status code.
    pub status: StatusCode,
    /// The end-to-end fields.
    pub fields: &'a HeaderMap,
    /// `Content-Length`, where it was announced.
    pub length: Option<u64>,
    /// When it was asked and answered.
    pub times: TimesOfExchange,
}

/// What a response to HEAD did to the stored response to GET (RFC 9111 §4.3.5).
#[derive(Clone, Debug, PartialEq)]
pub enum ByHead {
    /// Store this in place of the old one.
    Freshened(Box<StoredResponse>),
    /// The origin has another representation by now: store this in place of the old one, which it is but for being stale.
    Outdated(Box<StoredResponse>),
    /// It says nothing about what is stored.
    Unrelated,
}

/// Freshens a stored response by the response to a forwarded HEAD, or makes it stale. `content_length` is that of the stored content.
///
/// Only a HEAD that the stored response could have answered counts: what the origin tells somebody with `Authorization` or cookies, or what a
/// client wants not to be stored (RFC 9111 §5.2.1.5), changes nothing for others.
pub fn freshen_by_head(
    stored: &StoredResponse,
    content_length: u64,
    head: HeadAnswer<'_>,
    request: &RequestPolicy,
    rules: &Rules,
) -> ByHead {
    let is_for_sharing = !request.personal || stored.reuse.shared_with_authorization;
    if head.status != StatusCode::OK
        || stored.status != StatusCode::OK
        || !is_for_sharing
        || request.directives.no_store
    {
        return ByHead::Unrelated;
    }
    let same_length = head.length.is_none_or(|length| length == content_length);
    if !same_length || !is_same(stored, head.fields, head.times) {
        return outdated(stored);
    }
    let merged = merge(stored, head.fields, rules, head.times);
    let asked = asked(stored, request);
    match judge(asked, stored.status, &merged, rules, head.times) {
        Ok(response) if response.vary == stored.vary => ByHead::Freshened(Box::new(response)),
        _ => outdated(stored),
    }
}

/// Without lifetime it is validated before its next use, and kept for when the origin fails.
fn outdated(stored: &StoredResponse) -> ByHead {
    if stored.times.lifetime.is_zero() {
        return ByHead::Unrelated;
    }
    let mut stale = Box::new(stored.clone());
    stale.times.lifetime = Duration::ZERO;
    ByHead::Outdated(stale)
}

/// Whoever asked now, the representation is one that an earlier request was given too: it is personal if every one of them was.
const fn asked(stored: &StoredResponse, request: &RequestPolicy) -> Asked {
    let mut asked = Asked::by(request);
    asked.personal = asked.personal && stored.reuse.personal;
    asked
}

/// Whether a 304 confirms this stored response: by weak comparison of entity tags where it has one, else by `Last-Modified`. A first strong
/// tag names bytes that nobody knows to be the stored ones (RFC 9111 §4.3.4: it must not be used): what they were confirmed by, a
/// second of the clock, may have seen two versions.
fn is_about(stored: &StoredResponse, not_modified: &HeaderMap, times: TimesOfExchange) -> bool {
    let (old, new) = (
        &stored.validators,
        validators(not_modified, times.response_time),
    );
    match (&old.etag, &new.etag) {
        (Some(old), Some(new)) => match_weakly(old.as_bytes(), new.as_bytes()),
        (None, Some(new)) if !is_weak(new) => false,
        (None, Some(_)) | (_, None) => match (&old.last_modified, &new.last_modified) {
            (Some((_, old)), Some((_, new))) => old == new,
            (None, _) | (_, None) => true,
        },
    }
}

/// RFC 9111 §4.3.5: each validator that a HEAD brings must be the stored one.
fn is_same(stored: &StoredResponse, head: &HeaderMap, times: TimesOfExchange) -> bool {
    let (old, new) = (&stored.validators, validators(head, times.response_time));
    let same_etag = new.etag.as_ref().is_none_or(|new| {
        old.etag
            .as_ref()
            .is_some_and(|old| match_weakly(old.as_bytes(), new.as_bytes()))
    });
    let old_modified = old.last_modified.as_ref().map(|(_, moment)| moment);
    let same_modified = new
        .last_modified
        .as_ref()
        .is_none_or(|(_, new)| old_modified == Some(new));
    same_etag && same_modified
}

fn match_weakly(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (EntityTag::parse(a), EntityTag::parse(b));
    a.zip(b).is_some_and(|(a, b)| a.is_weakly(b))
}

/// The stored fields with the new ones in their places (RFC 9111 §3.2).
fn merge(
    stored: &StoredResponse,
    new: &HeaderMap,
    rules: &Rules,
    times: TimesOfExchange,
) -> HeaderMap {
    let connection = fields::connection_options(new);
    let stays = |name: &HeaderName| {
        fields::is_hop_by_hop(name)
            || connection.contains(name)
            || describes_content(name)
            || (*name == header::ETAG && has_weak_etag(stored))
            // A cookie that comes with a 304 is for the client that asked, not for those who get the stored response.
            || (*name == header::SET_COOKIE && rules.set_cookie == SetCookie::Safe)
    };
    let mut merged = HeaderMap::with_capacity(stored.fields.len() + new.len());
    let old = stored.fields.iter().chain(&stored.withheld);
    for (name, value) in old.filter(|(name, _)| !new.contains_key(*name) || stays(name)) {
        merged.append(name, value.clone());
    }
    for (name, value) in new.iter().filter(|(name, _)| !stays(name)) {
        merged.append(name, value.clone());
    }
    if !new.contains_key(header::DATE) {
        // The stored Date is that of the old response; without one, this one was made when it came (RFC 9110 §6.6.1).
        fields::set_date(&mut merged, times.response_time);
    }
    merged
}

fn describes_content(name: &HeaderName) -> bool {
    [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
    ]
    .contains(name)
}

/// A strong tag from a 304 would promise for the stored bytes what nobody said of them.
fn has_weak_etag(stored: &StoredResponse) -> bool {
    stored.validators.etag.as_ref().is_some_and(is_weak)
}

fn is_weak(etag: &HeaderValue) -> bool {
    EntityTag::parse(etag.as_bytes()).is_some_and(EntityTag::is_weak)
}

/// The freshened response for the one client that asked, where it may not be stored any more.
fn for_this_client(
    stored: &StoredResponse,
    merged: &HeaderMap,
    times: TimesOfExchange,
) -> Option<StoredResponse> {
    let visible =
        |name: &HeaderName| *name != header::AGE && !crate::semantics::storable::is_withheld(name);
    let kept = merged.iter().filter(|(name, _)| visible(name));
    StoredResponse::assemble(Parts {
        status: stored.status,
        fields: kept
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        withheld: HeaderMap::new(),
        times: Times {
            request_time: times.request_time,
            response_time: times.response_time,
            ..Times::default()
        },
        reuse: Reuse {
            no_cache: true,
            must_revalidate: true,
            ..Reuse::default()
        },
        tags: Box::default(),
        languages: stored.languages,
        litespeed: stored.litespeed,
    })
    .ok()
}
