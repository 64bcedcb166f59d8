//! How long a response is fresh, and how old it was when it came (RFC 9111 §4.2.1 to §4.2.3).
//!
//! Called by `storable` alone. An explicit lifetime always counts, however short; the site's default and the heuristic replace only
//! its absence. Invariant: nothing overflows, and clocks that disagree make a response older, never younger.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::TimesOfExchange;
use crate::reason::Reason;
use crate::semantics::directives::{
    DELTA_SECONDS_MAX, ResponseDirectives, Source, has_pragma_no_cache,
};
use crate::semantics::fields;
use crate::semantics::rules::Rules;
use crate::time::Timestamp;

/// A freshness lifetime and why it is so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lifetime {
    pub(super) value: Duration,
    pub(super) basis: Basis,
}

/// Where a lifetime comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Basis {
    /// The origin gave it.
    Explicit,
    /// The site's default, the heuristic, or neither applied: then it is zero.
    Implicit,
    /// It is zero because the answer may have been made for one visitor.
    Withheld,
    /// RFC 9111 §3: no explicit lifetime, and the status is not heuristically cacheable.
    NotCacheable,
}

impl Lifetime {
    pub(super) fn is_explicit(self) -> bool {
        self.basis == Basis::Explicit && !self.value.is_zero()
    }
}

/// What a lifetime is computed from.
pub(super) struct Facts<'a> {
    pub(super) status: StatusCode,
    pub(super) response: &'a HeaderMap,
    pub(super) directives: &'a ResponseDirectives,
    pub(super) rules: &'a Rules,
    pub(super) times: TimesOfExchange,
    /// Whether an implicit lifetime may be given.
    pub(super) implicit: Result<(), Reason>,
}

/// `freshness_lifetime` (RFC 9111 §4.2.1): `s-maxage`, else `max-age`, else `Expires`, else the site's default, else the heuristic.
pub(super) fn of(facts: &Facts<'_>) -> Lifetime {
    let directives = facts.directives;
    let explicit = directives
        .s_maxage
        .or(directives.max_age)
        .or_else(|| expires(facts));
    if let Some(value) = explicit {
        return Lifetime {
            value,
            basis: Basis::Explicit,
        };
    }
    let default = default(facts);
    if default.is_none() && !is_heuristically_cacheable(facts) {
        return Lifetime {
            value: Duration::ZERO,
            basis: Basis::NotCacheable,
        };
    }
    // `Pragma` has no meaning in responses, but whoever sends it does not expect to be stored unasked.
    let value = default
        .or_else(|| heuristic(facts))
        .filter(|_| !has_pragma_no_cache(facts.response));
    match (value, facts.implicit) {
        (Some(_), Err(_)) => Lifetime {
            value: Duration::ZERO,
            basis: Basis::Withheld,
        },
        _ => Lifetime {
            value: value.unwrap_or_default(),
            basis: Basis::Implicit,
        },
    }
}

/// `Expires` minus `Date`. Malformed, or on several lines, it is in the past (RFC 9111 §5.3). A targeted field replaces it (RFC 9213).
fn expires(facts: &Facts<'_>) -> Option<Duration> {
    let mut lines = facts.response.get_all(header::EXPIRES).iter();
    let first = lines
        .next()
        .filter(|_| facts.directives.source == Source::CacheControl)?;
    let received = facts.times.response_time;
    let moment = Timestamp::parse_http_date(first.as_bytes(), received);
    let moment = moment.filter(|_| lines.next().is_none());
    Some(moment.map_or(Duration::ZERO, |m| m.since(date(facts.response, received))))
}

/// The site's default for the status, unless it is zero.
fn default(facts: &Facts<'_>) -> Option<Duration> {
    let mut defaults = facts.rules.default_lifetimes.iter();
    defaults
        .find(|(status, _)| *status == facts.status)
        .map(|(_, d)| *d)
        .filter(|d| !d.is_zero())
}

/// RFC 9110 §15.1, or marked by `public` (RFC 9111 §5.2.2.9). 206 is never stored.
fn is_heuristically_cacheable(facts: &Facts<'_>) -> bool {
    facts.directives.public
        || matches!(
            facts.status.as_u16(),
            200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
        )
}

/// A tenth of the time since it was modified (RFC 9111 §4.2.2), at most the site's cap.
fn heuristic(facts: &Facts<'_>) -> Option<Duration> {
    let cap = facts.rules.heuristic_cap?;
    let received = facts.times.response_time;
    let value = facts.response.get(header::LAST_MODIFIED)?;
    let modified = Timestamp::parse_http_date(value.as_bytes(), received)?;
    let unchanged = date(facts.response, received).since(modified);
    Some(Duration::from_secs(unchanged.as_secs() / 10).min(cap))
}

/// `date_value`; the time of receipt where the origin gave none that can be read (RFC 9110 §6.6.1).
fn date(response: &HeaderMap, received: Timestamp) -> Timestamp {
    let value = response.get(header::DATE);
    value
        .and_then(|v| Timestamp::parse_http_date(v.as_bytes(), received))
        .unwrap_or(received)
}

/// `corrected_initial_age` (RFC 9111 §4.2.3).
pub(super) fn initial_age(response: &HeaderMap, times: TimesOfExchange) -> Duration {
    // Dates have whole seconds: a fraction of the present second is no age.
    let received = Timestamp::from_unix_seconds(times.response_time.unix_seconds());
    let apparent_age = received.since(date(response, received));
    let response_delay = times.response_time.since(times.request_time);
    apparent_age.max(age(response).saturating_add(response_delay))
}

/// `age_value`: the first member of the first line (RFC 9111 §5.1); what is no number is ignored.
fn age(response: &HeaderMap) -> Duration {
    let first = response
        .get(header::AGE)
        .and_then(|line| fields::split(line.as_bytes()).next());
    let seconds = first.and_then(fields::digits).unwrap_or_default();
    Duration::from_secs(seconds).min(DELTA_SECONDS_MAX)
}
