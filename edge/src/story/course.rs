//! The course of a request: every decision that is taken before anything is waited for, and those on what its own fetch brought.
//!
//! Taken by [`super::Story`], which then does what was decided, and by `control::explain`, which only tells it: there is one code for both, so
//! what is explained is what happens. The store is asked, which may read a disk; no side is, nothing is held, and no fetch is led or joined.
//! [`choose`] and [`turn`] are pure: what the store has, what was learned, who is master and what came are their arguments.

use std::sync::Arc;

use http::StatusCode;
use jet9_cache::Reason;
use jet9_cluster::Mastership;

use crate::control::purge::{self, Ordered};
use crate::control::sites::Named;
use crate::exchange::Exchange;
use crate::message::{Framing, Request, Response};
use crate::origin::master;
use crate::parts::Edge;
use crate::request;
use crate::request::lookup::{self, Asking, Found, Stored};
use crate::response::deliver;
use crate::response::fault::{ClientFault, Fault};

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// A purge.
    Purge(Ordered),
    /// What this response answers, whatever is stored.
    Answered(Response),
    /// Something of this site.
    Resource(Named),
}

/// What a request asks for, and of which site.
///
/// # Errors
/// When nobody has the name, or the site does not want such requests.
pub(crate) fn meaning(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &Request,
) -> Result<Meaning, Fault> {
    let named = request::site::find(&edge.sites, &exchange.client, &request.host);
    let ordered = purge::ordered(edge, named.as_ref(), request, &exchange.client);
    if let Ok(named) = &named {
        exchange.site = Some(Arc::clone(&named.site));
    }
    if let Some(ordered) = ordered.map_err(Fault::Client)? {
        exchange.site = Some(Arc::clone(&ordered.site));
        return Ok(Meaning::Purge(ordered));
    }
    let named = named.map_err(Fault::Client)?;
    if let Some(response) = deliver::to_https(edge, exchange, &named.site, request)? {
        return Ok(Meaning::Answered(response));
    }
    if matches!(request.content, Framing::Length(length) if length > named.site.site.body) {
        return Err(Fault::Client(ClientFault::ContentTooLarge));
    }
    Ok(Meaning::Resource(named))
}

/// Where the answer to a request for the store comes from. What is stale goes with those who fetch, to be validated.
#[derive(Debug)]
pub(crate) enum Source {
    /// From the store.
    Store {
        /// What is there.
        stored: Stored,
        /// Why it is served although it is stale, if it is.
        stale: Option<Reason>,
    },
    /// From a fetch that nobody else waits for: no other's could answer it.
    Apart(Option<Stored>),
    /// From a fetch that is most likely for nobody else.
    Alone(Option<Stored>, Reason),
    /// From a fetch for all who want the same now.
    Shared(Option<Stored>),
}

/// Asks the store and chooses the source. Notes in the exchange what it is and why.
///
/// # Errors
/// When only the store may answer and cannot.
pub(crate) async fn source(
    edge: &Edge,
    exchange: &mut Exchange,
    asking: &Asking<'_>,
) -> Result<Source, Fault> {
    let now = edge.clock.now();
    let found = lookup::consult(edge, exchange, asking, now).await;
    let facts = Facts {
        only_if_cached: asking.policy.directives.only_if_cached,
        is_for_itself: &|stale| lookup::is_for_itself(asking, stale),
        is_predicted: &|| edge.cache.predict(&asking.asker(), now).is_some(),
        unasked: &|| why_unasked(edge, asking),
    };
    let source = choose(found, &facts).map_err(Fault::Client)?;
    match &source {
        Source::Store { stored, stale } => exchange.hit(stored, *stale),
        Source::Alone(_, why) => exchange.because(Some(*why)),
        Source::Apart(_) | Source::Shared(_) => {}
    }
    Ok(source)
}

/// What the choice depends on, besides what was found. What costs a look is looked at only when it counts.
struct Facts<'a> {
    only_if_cached: bool,
    is_for_itself: &'a dyn Fn(Option<&Stored>) -> bool,
    is_predicted: &'a dyn Fn() -> bool,
    unasked: &'a dyn Fn() -> Option<Reason>,
}

fn choose(found: Found, facts: &Facts<'_>) -> Result<Source, ClientFault> {
    let (stale, usable) = match found {
        Found::Fresh(stored) => {
            return Ok(Source::Store {
                stored,
                stale: None,
            });
        }
        Found::WhileRevalidating(stored) => {
            let stale = Some(Reason::StaleWhileRevalidate);
            return Ok(Source::Store { stored, stale });
        }
        Found::Stale(stored) => (Some(stored), true),
        Found::Nothing => (None, true),
        Found::Unusable => (None, false),
    };
    if facts.only_if_cached {
        return Err(ClientFault::OnlyIfCached);
    }
    let stale = match covered(stale, facts.unasked) {
        Unasked::Serve(stored, why) => {
            let stale = Some(why);
            return Ok(Source::Store { stored, stale });
        }
        Unasked::No(stale) => stale,
    };
    Ok(if !usable || (facts.is_for_itself)(stale.as_ref()) {
        Source::Apart(stale)
    } else if (facts.is_predicted)() {
        Source::Alone(stale, Reason::PredictedUncacheable)
    } else {
        Source::Shared(stale)
    })
}

/// Whether a stale response answers without the origin being asked.
#[derive(Debug)]
pub(crate) enum Unasked {
    /// It does, for this reason.
    Serve(Stored, Reason),
    /// It does not.
    No(Option<Stored>),
}

/// Whether a stored response answers at once because there is nobody to ask, or nobody who answers: then nothing is held.
pub(crate) fn unasked(edge: &Edge, asking: &Asking<'_>, stale: Option<Stored>) -> Unasked {
    covered(stale, &|| why_unasked(edge, asking))
}

fn covered(stale: Option<Stored>, why: &dyn Fn() -> Option<Reason>) -> Unasked {
    match stale {
        Some(stored) if stored.if_error => match why() {
            Some(why) => Unasked::Serve(stored, why),
            None => Unasked::No(Some(stored)),
        },
        stale => Unasked::No(stale),
    }
}

fn why_unasked(edge: &Edge, asking: &Asking<'_>) -> Option<Reason> {
    let cluster = &asking.site.site.origin.cluster;
    if !matches!(edge.masters.current(cluster), Mastership::Live { .. }) {
        Some(Reason::OriginDown)
    } else if master::is_spared(edge, asking.site) {
        Some(Reason::Breaker)
    } else {
        None
    }
}

/// Whether a request whose answer is most likely for nobody else is passed through as it is: there is nothing to validate, and the client asks
/// for less than the whole.
pub(crate) fn is_left_to_side(request: &Request, stale: Option<&Stored>) -> bool {
    stale.is_none() && lookup::wants_less(request)
}

/// What the fetch of a request brought, as far as its course depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Brought {
    /// An answer of this status that is being stored.
    Filling {
        status: StatusCode,
        /// Bytes still to come before the first one that the client wants.
        awaited: u64,
    },
    /// What is stored was confirmed.
    Confirmed,
    /// An answer of this status for this client alone.
    Alone {
        status: StatusCode,
        why: Reason,
        /// Whether the origin offers the range that the client wants.
        offers_range: bool,
    },
    /// A server error, or no answer.
    Failure,
}

/// What becomes of a request whose own fetch has brought something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It reads what is being stored.
    ReadAlong,
    /// It gets what is stored and was confirmed.
    Confirmed,
    /// It gets what is stored, stale.
    Stale,
    /// It gets what was fetched, and nobody else does.
    Alone,
    /// It goes to a side for what it wants of the content.
    ToSide,
    /// It fails as its fetch did.
    Fails,
}

/// Decides it, and notes in the exchange what it is and why. `stale`: what was to be validated. A range is not waited for behind more than
/// `reach` bytes: no more is read past a waiting client than for no client at all.
pub(crate) fn turn(
    exchange: &mut Exchange,
    brought: Brought,
    stale: Option<&Stored>,
    reach: u64,
) -> Turn {
    match (brought, stale) {
        (Brought::Filling { awaited, .. }, _) if awaited > reach => {
            exchange.because(Some(Reason::Range));
            Turn::ToSide
        }
        (Brought::Filling { status, .. }, _) => {
            exchange.filled(status);
            Turn::ReadAlong
        }
        (Brought::Confirmed, _) => {
            exchange.confirmed();
            Turn::Confirmed
        }
        (Brought::Failure, Some(stored)) if stored.if_error => {
            exchange.hit(stored, Some(Reason::StaleIfError));
            Turn::Stale
        }
        (Brought::Failure, _) => Turn::Fails,
        (
            Brought::Alone {
                why,
                offers_range: true,
                ..
            },
            _,
        ) => {
            exchange.because(Some(why));
            Turn::ToSide
        }
        (Brought::Alone { status, why, .. }, _) => {
            exchange.not_stored(status, why);
            Turn::Alone
        }
    }
}
