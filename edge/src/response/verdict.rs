//! What does the head of a side's answer to a fetch come to: is it stored, does it confirm what is, or is it for one client alone?
//!
//! Asked by `response::store`, which then does it, and by `control::explain` with an answer that it was given: there is one code for both. Puts
//! `cache::semantics` (RFC 9111 §3, §4.3.4), the bounds of the node and the epoch together; changes nothing, sends nothing, and reads no
//! content. Knows neither who waits for the answer nor what they get of it (`story::course`).
//! Invariant 5 rests on it: what it does not say may be stored is for the request that was sent alone.

use http::{HeaderMap, StatusCode};
use jet9_cache::semantics::request::RequestPolicy;
use jet9_cache::semantics::storable::{self, Storable, TimesOfExchange};
use jet9_cache::semantics::validation::{self, Freshened};
use jet9_cache::{Reason, StoredResponse};

use crate::control::sites::SiteRuntime;
use crate::parts::Edge;
use crate::response::store::Stale;

/// A fetch, as far as its answer is judged by it.
#[derive(Clone, Copy, Debug)]
pub struct Fetched<'a> {
    /// The node.
    pub edge: &'a Edge,
    /// The site.
    pub site: &'a SiteRuntime,
    /// The path that was asked for.
    pub path: &'a str,
    /// How the request may be answered.
    pub policy: &'a RequestPolicy,
    /// The stored response whose validators went with it.
    pub stale: Option<&'a Stale>,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The final status.
    pub status: StatusCode,
    /// The end-to-end fields.
    pub fields: &'a HeaderMap,
    /// The announced length of the content.
    pub length: Option<u64>,
    /// When it was asked for, and when it came.
    pub times: TimesOfExchange,
    /// Whether the epoch under which it was asked for is still the highest: what a superseded master says changes nothing that is stored.
    pub in_epoch: bool,
}

/// What an answer comes to.
#[derive(Debug)]
pub enum Verdict {
    /// It is stored, as this, for all who want it.
    Stored(Box<StoredResponse>),
    /// It confirms what is stored, which has this head now.
    Confirmed(Box<StoredResponse>, Kept),
    /// It is for the request that was sent alone, for this reason.
    Alone(Reason),
    /// The origin failed, and what is stored serves in its place.
    Failure,
    /// A 304 about something else than what is stored, if anything is.
    OfSomethingElse,
    /// Nothing that was asked for; the rule that it breaks.
    Unasked(&'static str),
}

/// Whether a freshened response stays in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It does.
    Yes,
    /// It goes, for this reason.
    No(Reason),
    /// The old one stays, untouched.
    AsItWas,
}

/// Judges an answer.
pub fn of(fetched: Fetched<'_>, answer: Answered<'_>) -> Verdict {
    if answer.status == StatusCode::NOT_MODIFIED {
        return confirmed(fetched, answer);
    }
    let serves_errors = fetched.stale.is_some_and(|stale| stale.serves_errors);
    if serves_errors && is_failure(answer.status) {
        return Verdict::Failure;
    }
    if answer.status == StatusCode::PARTIAL_CONTENT {
        return Verdict::Unasked("an unasked 206"); // a client would take it for the whole
    }
    storable(fetched, answer).map_or_else(Verdict::Alone, Verdict::Stored)
}

/// What a 304 makes of the stored response; without one it answers nothing that we asked.
fn confirmed(fetched: Fetched<'_>, answer: Answered<'_>) -> Verdict {
    let Some(stale) = fetched.stale else {
        return Verdict::OfSomethingElse;
    };
    let (rules, _) = fetched.site.rules_for(fetched.path);
    let freshened = validation::freshen(
        &stale.response,
        answer.fields,
        fetched.policy,
        rules,
        answer.times,
    );
    match freshened {
        Freshened::Store(response) | Freshened::Deliver(response, _) if !answer.in_epoch => {
            Verdict::Confirmed(response, Kept::AsItWas)
        }
        Freshened::Store(response) => Verdict::Confirmed(response, Kept::Yes),
        Freshened::Deliver(response, why) => Verdict::Confirmed(response, Kept::No(why)),
        Freshened::Mismatch => Verdict::OfSomethingElse,
    }
}

fn storable(fetched: Fetched<'_>, answer: Answered<'_>) -> Result<Box<StoredResponse>, Reason> {
    let (edge, site) = (fetched.edge, fetched.site);
    if !answer.in_epoch {
        return Err(Reason::EpochEnded);
    }
    if answer.length.is_some_and(|length| length > edge.max_object) {
        return Err(Reason::TooLarge);
    }
    let (rules, _) = site.rules_for(fetched.path);
    let (policy, status) = (fetched.policy, answer.status);
    let stored = match storable::assess(policy, status, answer.fields, rules, answer.times) {
        Storable::Yes(stored) => stored,
        Storable::No(why) => return Err(why),
    };
    let refused = |length| edge.cache.refuses(site.partition, length);
    answer.length.and_then(refused).map_or(Ok(stored), Err)
}

/// Whether a status says that the origin failed (RFC 5861 §4).
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
