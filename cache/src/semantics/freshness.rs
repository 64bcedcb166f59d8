//! How fresh a stored response is, and whether it may be served stale (RFC 9111 §4.2).
//!
//! Called by `edge::request::lookup` for every stored response that a request selects, and before a fill in flight is shared. Decides;
//! it neither validates nor serves. Invariant: a stale response is never `Fresh`, and where the origin forbids stale ones (§4.2.4) none
//! is served without validation, whatever client and site ask for.

use std::time::Duration;

use super::request::RequestPolicy;
use super::status::ForwardReason;
use crate::reason::Reason;
use crate::store::Purging;
use crate::stored::{StoredResponse, Times};
use crate::time::Timestamp;

/// What may be done with a stored response for a request. Ages are `current_age`; `ttl` is what remains of the lifetime in whole
/// seconds, rounded down: negative once stale (RFC 9211 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Serve it.
    Fresh {
        /// `current_age`.
        age: Duration,
        /// Remaining lifetime in seconds.
        ttl: i64,
    },
    /// It may not simply be served.
    Stale {
        /// `current_age`.
        age: Duration,
        /// Remaining lifetime in seconds; positive when it is the request that wants a younger one.
        ttl: i64,
        /// Why it must be forwarded, in the words of `Cache-Status`: `stale` or `request`.
        forward: ForwardReason,
        /// Why, in ours.
        reason: Reason,
        /// What may be done with it nevertheless.
        serve: StaleUse,
    },
    /// It is no answer for this request at all: forward the request as if nothing were stored, without conditions of ours.
    Unusable(Reason),
}

/// How a stale response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleUse {
    /// Served as it is: the client accepts it (`max-stale`).
    AsIs,
    /// Served at once, while it is validated in the background (RFC 5861 §3). If that fails, it was still right to serve it.
    WhileRevalidating,
    /// Validated first; served if the origin fails (RFC 5861 §4, RFC 9111 §4.2.4).
    IfOriginFails,
    /// Validated first; never served without success.
    Never,
}

/// `current_age` (RFC 9111 §4.2.3). Saturates.
pub fn current_age(times: &Times, now: Timestamp) -> Duration {
    times
        .initial_age
        .saturating_add(now.since(times.response_time))
}

/// Whether a response was fresh when it came, so that others may have used it without validation.
pub fn is_ever_fresh(response: &StoredResponse) -> bool {
    may_be_shared(response, response.times.response_time)
}

/// Whether requests that wait for a fill may share the response while it arrives: only what is fresh now needs no validation of
/// their own (RFC 9111 §4). Each still asks [`assess`] for itself.
pub fn may_be_shared(response: &StoredResponse, now: Timestamp) -> bool {
    !response.reuse.no_cache && response.times.lifetime > current_age(&response.times, now)
}

/// Judges a stored response for a request.
pub fn assess(
    response: &StoredResponse,
    request: &RequestPolicy,
    purging: Purging,
    now: Timestamp,
) -> Freshness {
    if request.authorization && !response.reuse.shared_with_authorization {
        return Freshness::Unusable(Reason::Authorization);
    }
    let age = current_age(&response.times, now);
    let facts = Facts {
        response,
        request,
        purging,
        age,
    };
    let (reason, forward, serve) = match facts.must_validate() {
        Some(reason) => (reason, ForwardReason::Stale, facts.stale_use()),
        None => match facts.unwelcome() {
            Some(reason) => (reason, ForwardReason::Request, StaleUse::IfOriginFails),
            None => {
                return Freshness::Fresh {
                    age,
                    ttl: facts.ttl(),
                };
            }
        },
    };
    Freshness::Stale {
        age,
        ttl: facts.ttl(),
        forward,
        reason,
        serve,
    }
}

struct Facts<'a> {
    response: &'a StoredResponse,
    request: &'a RequestPolicy,
    purging: Purging,
    age: Duration,
}

impl Facts<'_> {
    /// Why the response itself asks for validation.
    fn must_validate(&self) -> Option<Reason> {
        if self.purging == Purging::Soft {
            Some(Reason::Purged)
        } else if self.response.reuse.no_cache {
            // RFC 9111 §5.2.2.4.
            Some(Reason::NoCache)
        } else if self.remaining().is_zero() {
            Some(Reason::Expired)
        } else {
            None
        }
    }

    /// Why the client wants another one although it is fresh (RFC 9111 §5.2.1).
    fn unwelcome(&self) -> Option<Reason> {
        let directives = &self.request.directives;
        if directives.no_cache {
            return Some(Reason::NoCache);
        }
        // A reload is `max-age=0`: it must not find a response that came in this very second.
        let too_old = directives
            .max_age
            .is_some_and(|max| max.is_zero() || self.age > max);
        let too_near = directives
            .min_fresh
            .is_some_and(|min| self.remaining() < min);
        (too_old || too_near).then_some(Reason::Expired)
    }

    fn stale_use(&self) -> StaleUse {
        let reuse = &self.response.reuse;
        // RFC 9111 §4.2.4: no permission outranks these.
        if reuse.no_cache || reuse.must_revalidate {
            return StaleUse::Never;
        }
        let untouched = self.purging == Purging::None;
        if untouched && self.client_accepts() {
            StaleUse::AsIs
        } else if untouched
            && self.client_is_patient()
            && self.is_within(reuse.stale_while_revalidate)
        {
            StaleUse::WhileRevalidating
        } else if self.is_within(reuse.stale_if_error)
            || self.is_within(reuse.stale_while_revalidate)
        {
            StaleUse::IfOriginFails
        } else {
            StaleUse::Never
        }
    }

    /// `max-stale`, unless the same request also asks for validation (RFC 9111 §5.2.1.2).
    fn client_accepts(&self) -> bool {
        let directives = &self.request.directives;
        let accepts = directives
            .max_stale
            .is_some_and(|max| self.staleness() <= max);
        accepts && self.client_is_patient() && directives.max_age.is_none_or(|max| self.age <= max)
    }

    /// It asked neither for validation nor for more freshness than a stale response has.
    fn client_is_patient(&self) -> bool {
        let directives = &self.request.directives;
        let reloads = directives
            .max_age
            .is_some_and(|max| max.is_zero() || self.age > max);
        !directives.no_cache && directives.min_fresh.is_none() && !reloads
    }

    fn is_within(&self, window: Duration) -> bool {
        self.staleness() < window
    }

    fn remaining(&self) -> Duration {
        self.response.times.lifetime.saturating_sub(self.age)
    }

    fn staleness(&self) -> Duration {
        self.age.saturating_sub(self.response.times.lifetime)
    }

    fn ttl(&self) -> i64 {
        let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
        let staleness = self.staleness();
        match self.purging {
            // What was purged has no lifetime left, whatever the origin gave it.
            Purging::Soft if staleness.is_zero() => 0,
            _ if staleness.is_zero() => seconds(self.remaining()),
            _ => -seconds(staleness) - i64::from(staleness.subsec_nanos() > 0),
        }
    }
}

#[cfg(test)]
mod tests;
