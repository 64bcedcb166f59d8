//! Whether a response may be stored, and how (RFC 9111 §3, §4.2.1).
//!
//! Called by `edge::response::store` once per final response, before its content is read, and by `validation` for a freshened one.
//! Everything that a later hit needs is computed here. Knows no store, no content and no clock.
//! Invariants: a response with `Set-Cookie`, or to a request with `Authorization`, is `No` unless RFC 9111 and the site's rules both say
//! otherwise; what must not be stored (§3.1) is in no stored field.

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::directives::{JET9_CACHE_CONTROL, ResponseDirectives, Scope};
use super::invalidation::{self, Target};
use super::request::{ReadMethod, RequestPolicy};
use super::rules::{LiteSpeed, Rules, SetCookie, Storing};
use super::{fields, litespeed, tags, validation};
use crate::reason::Reason;
use crate::stored::{Parts, Reuse, StoredResponse, Times};
use crate::time::Timestamp;

mod lifetime;

use lifetime::{Basis, Lifetime};

/// When a request was sent and its answer's head arrived (RFC 9111 §4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimesOfExchange {
    /// When the request was sent.
    pub request_time: Timestamp,
    /// When the head of the response had arrived.
    pub response_time: Timestamp,
}

/// Whether a response may be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Storable {
    /// As this. It may be stale from the start: see [`super::freshness::may_be_shared`] before followers get it.
    Yes(Box<StoredResponse>),
    /// No, for this reason.
    No(Reason),
}

/// Judges the final response to a request that [`super::request::may_answer`] let through.
pub fn assess(
    request: &RequestPolicy,
    status: StatusCode,
    response: &HeaderMap,
    rules: &Rules,
    times: TimesOfExchange,
) -> Storable {
    if request.method == ReadMethod::Head {
        return Storable::No(Reason::Method);
    }
    let asked = Asked::by(request);
    judge(asked, status, response, rules, times)
        .map_or_else(Storable::No, |stored| Storable::Yes(Box::new(stored)))
}

/// Judges the final response to a POST that [`super::request::may_store_post`] let through. It answers later GETs only if it says that it
/// is what the target identifies, and for how long (RFC 9110 §9.3.3): lifetimes of our own do not count.
pub fn assess_post(
    request: &RequestPolicy,
    target: Target<'_>,
    status: StatusCode,
    response: &HeaderMap,
    rules: &Rules,
    times: TimesOfExchange,
) -> Storable {
    if status != StatusCode::OK || !invalidation::is_of_target(target, response) {
        return Storable::No(Reason::Method);
    }
    let explicit = Rules {
        default_lifetimes: Vec::new(),
        heuristic_cap: None,
        ..rules.clone()
    };
    match assess(request, status, response, &explicit, times) {
        Storable::Yes(stored) if stored.times.lifetime.is_zero() => {
            Storable::No(Reason::NoFreshness)
        }
        judged => judged,
    }
}

/// Whether a field is for the edge alone: neither stored among the visible fields nor passed on.
pub fn is_withheld(name: &HeaderName) -> bool {
    *name == JET9_CACHE_CONTROL || litespeed::is_field(name) || tags::is_tag_field(name)
}

/// What matters of the request, or requests, that a response answers.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) no_store: bool,
    pub(super) authorization: bool,
    pub(super) personal: bool,
}

impl Asked {
    pub(super) const fn by(request: &RequestPolicy) -> Self {
        Self {
            no_store: request.directives.no_store,
            authorization: request.authorization,
            personal: request.personal,
        }
    }
}

/// The stored form of a response, or why it has none.
pub(super) fn judge(
    asked: Asked,
    status: StatusCode,
    response: &HeaderMap,
    rules: &Rules,
    times: TimesOfExchange,
) -> Result<StoredResponse, Reason> {
    let directives = ResponseDirectives::of(response, rules.surrogate_control, rules.litespeed);
    allowed(asked, status, &directives, rules)?;
    let cookies = cookies(response, &directives, rules)?;
    let lifetime = lifetime::of(&lifetime::Facts {
        status,
        response,
        directives: &directives,
        rules,
        times,
        implicit: implicit(asked, response),
    });
    worth_storing(asked, response, &directives, lifetime, times)?;
    if rules.set_cookie == SetCookie::Safe {
        safe_to_validate(asked, &directives, lifetime)?;
    }
    let (fields, withheld) = split(response, &directives, cookies, times);
    StoredResponse::assemble(Parts {
        status,
        fields,
        withheld,
        times: Times {
            request_time: times.request_time,
            response_time: times.response_time,
            initial_age: lifetime::initial_age(response, times),
            lifetime: lifetime.value,
        },
        reuse: reuse(asked, &directives, lifetime, rules),
        tags: tags::of(response)?,
        languages: rules.languages,
        litespeed: rules.litespeed,
    })
}

/// RFC 9111 §3, except whether there is any use in storing it.
fn allowed(
    asked: Asked,
    status: StatusCode,
    directives: &ResponseDirectives,
    rules: &Rules,
) -> Result<(), Reason> {
    match rules.storing {
        Storing::Allowed => {}
        Storing::ProfileOff => return Err(Reason::ProfileOff),
        Storing::RouteOff => return Err(Reason::RouteOff),
    }
    match status.as_u16() {
        // Partial responses are not stored; a 304 freshens, it is not stored itself.
        206 => return Err(Reason::Range),
        ..200 | 304 => return Err(Reason::Status),
        _ => {}
    }
    // §5.2.2.3: understood, it outranks no-store; else it forbids storing.
    if directives.must_understand && !is_understood(status) {
        return Err(Reason::Status);
    }
    if asked.no_store || (directives.no_store && !directives.must_understand) {
        return Err(Reason::NoStore);
    }
    if directives.private == Scope::Whole {
        return Err(Reason::Private);
    }
    // §3.5.
    if asked.authorization && !directives.allows_authorization() {
        return Err(Reason::Authorization);
    }
    Ok(())
}

/// Final status codes whose meaning for caches is implemented here (RFC 9110 §15).
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 307 | 308 | 400..=418 | 421 | 422 | 426 | 428 | 429 | 431 | 451 | 500..=505 | 511
    )
}

/// What becomes of `Set-Cookie` lines.
#[derive(Clone, Copy, PartialEq)]
enum Cookies {
    Keep,
    LeaveOut,
}

fn cookies(
    response: &HeaderMap,
    directives: &ResponseDirectives,
    rules: &Rules,
) -> Result<Cookies, Reason> {
    if rules.litespeed == LiteSpeed::Obey && litespeed::gives_selecting_cookie(response) {
        return Err(Reason::SetCookie);
    }
    let excluded = |name| is_excluded(name, directives);
    let sets = has_cookies(response) && !excluded(&header::SET_COOKIE);
    match rules.set_cookie {
        SetCookie::Rfc => Ok(Cookies::Keep),
        SetCookie::Safe if sets && !directives.is_for_sharing() => Err(Reason::SetCookie),
        SetCookie::Safe => Ok(Cookies::LeaveOut),
    }
}

fn has_cookies(response: &HeaderMap) -> bool {
    response.keys().any(is_cookie)
}

fn is_cookie(name: &HeaderName) -> bool {
    matches!(name.as_str(), "set-cookie" | "set-cookie2")
}

/// Whether a lifetime that the origin did not state may be given: not for an answer that may have been made for one visitor.
fn implicit(asked: Asked, response: &HeaderMap) -> Result<(), Reason> {
    if asked.authorization {
        Err(Reason::Authorization)
    } else if asked.personal {
        Err(Reason::CookieUnknown)
    } else if has_cookies(response) {
        Err(Reason::SetCookie)
    } else {
        Ok(())
    }
}

/// A response that could never be used is not stored: it is neither fresh, nor can it be validated, nor served stale.
fn worth_storing(
    asked: Asked,
    response: &HeaderMap,
    directives: &ResponseDirectives,
    lifetime: Lifetime,
    times: TimesOfExchange,
) -> Result<(), Reason> {
    if lifetime.basis == Basis::NotCacheable {
        return Err(Reason::NoFreshness);
    }
    if !validation::validators(response, times.response_time).is_empty() {
        return Ok(());
    }
    if directives.no_cache == Scope::Whole {
        return Err(Reason::NoCache);
    }
    let windows = [directives.stale_while_revalidate, directives.stale_if_error];
    let may_be_stale = windows.iter().flatten().any(|window| !window.is_zero());
    if !lifetime.value.is_zero() || (may_be_stale && !directives.forbids_stale()) {
        return Ok(());
    }
    Err(match lifetime.basis {
        Basis::Withheld => implicit(asked, response)
            .err()
            .unwrap_or(Reason::NoFreshness),
        _ => Reason::NoFreshness,
    })
}

/// What was made for one visitor and needs validation before any use is no good to others: sides that answer by the date of a file alone
/// confirm one visitor's page to another.
fn safe_to_validate(
    asked: Asked,
    directives: &ResponseDirectives,
    lifetime: Lifetime,
) -> Result<(), Reason> {
    let always_validated = lifetime.value.is_zero() || directives.no_cache == Scope::Whole;
    if !asked.personal || !always_validated || directives.is_for_sharing() {
        return Ok(());
    }
    Err(if asked.authorization {
        Reason::Authorization
    } else {
        Reason::CookieUnknown
    })
}

fn reuse(
    asked: Asked,
    directives: &ResponseDirectives,
    lifetime: Lifetime,
    rules: &Rules,
) -> Reuse {
    let no_cache = directives.no_cache == Scope::Whole;
    let must_revalidate = directives.forbids_stale();
    // A lifetime from the origin says that it is for everyone; without one, what answered one visitor is not offered to others.
    let is_shared = lifetime.is_explicit() || !asked.personal;
    let window = |explicit: Option<_>, unsolicited| match explicit {
        _ if no_cache || must_revalidate => Default::default(),
        Some(window) => window,
        None if is_shared => unsolicited,
        None => Default::default(),
    };
    Reuse {
        no_cache,
        must_revalidate,
        shared_with_authorization: directives.allows_authorization(),
        personal: asked.personal,
        stale_while_revalidate: window(
            directives.stale_while_revalidate,
            rules.stale_while_revalidate,
        ),
        stale_if_error: window(directives.stale_if_error, rules.stale_if_error),
    }
}

/// The fields to store for visitors, and those to keep from them (RFC 9111 §3.1).
fn split(
    response: &HeaderMap,
    directives: &ResponseDirectives,
    cookies: Cookies,
    times: TimesOfExchange,
) -> (HeaderMap, HeaderMap) {
    let connection = fields::connection_options(response);
    let (mut visible, mut withheld) = (HeaderMap::with_capacity(response.len()), HeaderMap::new());
    for (name, value) in response {
        let left_out = fields::is_hop_by_hop(name)
            || connection.contains(name)
            // They are made anew for each answer: RFC 9111 §5.1, RFC 9112 §6.3.
            || *name == header::AGE
            || *name == header::CONTENT_LENGTH
            || is_excluded(name, directives)
            || (cookies == Cookies::LeaveOut && is_cookie(name));
        if !left_out {
            let map = if is_withheld(name) {
                &mut withheld
            } else {
                &mut visible
            };
            map.append(name, value.clone());
        }
    }
    if !visible.contains_key(header::DATE) {
        // RFC 9110 §6.6.1: a recipient that stores it adds the time of receipt.
        fields::set_date(&mut visible, times.response_time);
    }
    (visible, withheld)
}

/// `private="f"` and `no-cache="f"`: without the field, the rest may be stored and reused (RFC 9111 §5.2.2.4, §5.2.2.7).
fn is_excluded(name: &HeaderName, directives: &ResponseDirectives) -> bool {
    directives.private.fields().contains(name) || directives.no_cache.fields().contains(name)
}

#[cfg(test)]
mod tests;
