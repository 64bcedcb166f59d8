//! Is it in the store, and may it be used? Hit, stale, or forward, with the reason.
//!
//! Called by `story`. Puts the request's policy, the site's rules and the store's answer together; the judgement itself is
//! `cache::semantics` (RFC 9111 §4). Memory is asked first, without waiting for anything.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method, header};
use jet9_cache::prediction::{Asker, Credentials};
use jet9_cache::semantics::freshness::{self, Freshness, StaleUse};
use jet9_cache::semantics::request::{self as policy, RequestPolicy};
use jet9_cache::semantics::rules::Rules;
use jet9_cache::semantics::status::ForwardReason;
use jet9_cache::semantics::vary::SelectingFields;
use jet9_cache::store::Purging;
use jet9_cache::{Hit, Key, Lookup, Reason, Timestamp};

use crate::control::sites::{Named, SiteRuntime};
use crate::exchange::Exchange;
use crate::message::{Framing, Request};
use crate::parts::Edge;
use crate::request::key;
use crate::response::store::Stale;

/// A request that may be answered from the store: all that the look-up needs.
#[derive(Debug)]
pub struct Asking<'a> {
    /// The site.
    pub site: &'a Arc<SiteRuntime>,
    /// The rules of the route that it takes.
    pub rules: &'a Rules,
    /// What it may be answered with.
    pub policy: RequestPolicy,
    /// What it asks for.
    pub key: Key,
    /// What selects among variants.
    pub selecting: SelectingFields<'a>,
}

impl Asking<'_> {
    /// What a prediction of its answer depends on.
    pub fn asker(&self) -> Asker<'_> {
        Asker {
            key: &self.key,
            selecting: self.selecting,
            credentials: Credentials::of(&self.policy),
            rules: self.site.generation,
        }
    }
}

/// A request that goes past the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// In the words of RFC 9211.
    pub forward: ForwardReason,
    /// In ours.
    pub reason: Reason,
}

/// What the store has for a request.
#[derive(Debug)]
pub enum Found {
    /// It may be served.
    Fresh(Stored),
    /// It may be served, and is to be validated in the background.
    WhileRevalidating(Stored),
    /// It has to be validated.
    Stale(Stored),
    /// One that this request may not have, whatever becomes of it.
    Unusable,
    /// Nothing.
    Nothing,
}

/// A stored response as this request may use it.
#[derive(Debug)]
pub struct Stored {
    /// The response.
    pub hit: Hit,
    /// Its current age.
    pub age: Duration,
    /// What remains of its lifetime, in seconds; negative when stale.
    pub ttl: i64,
    /// Whether it may be served when the origin fails.
    pub if_error: bool,
}

impl Stored {
    /// What a fill needs to validate it.
    pub fn to_validate(&self) -> Stale {
        Stale {
            handle: self.hit.handle.clone(),
            response: Arc::clone(&self.hit.response),
            serves_errors: self.if_error,
        }
    }
}

/// Whether the request is one for the store, and what it asks for there.
///
/// # Errors
/// Why it is not.
pub fn asking<'a>(edge: &Edge, named: &'a Named, request: &'a Request) -> Result<Asking<'a>, Past> {
    let past = |forward, reason| Past { forward, reason };
    if request.upgrade.is_some() {
        return Err(past(ForwardReason::Bypass, Reason::Upgrade));
    }
    let (rules, _) = named.site.rules_for(request.path());
    let policy =
        policy::may_answer(&request.method, &request.fields, rules).map_err(
            |reason| match reason {
                Reason::Method => past(ForwardReason::Method, reason),
                _ => past(ForwardReason::Bypass, reason),
            },
        )?;
    if request.content != Framing::None {
        return Err(past(ForwardReason::Bypass, Reason::Method)); // content gives GET a meaning that no cache knows
    }
    let key = key::of(
        edge.cache.keys(),
        named.site.partition,
        &named.site.site.cache.key,
        request.scheme,
        &named.host,
        &request.path_and_query,
    );
    let selecting = SelectingFields::of(&request.fields).without_cookies(&rules.ignore_cookies);
    Ok(Asking {
        site: &named.site,
        rules,
        policy,
        key,
        selecting,
    })
}

/// Asks the store, and notes in the exchange why the request is forwarded if it has to be.
pub async fn consult(
    edge: &Edge,
    exchange: &mut Exchange,
    asking: &Asking<'_>,
    now: Timestamp,
) -> Found {
    let found = match edge.cache.lookup_memory(&asking.key, &asking.selecting) {
        Some(hit) => Lookup::Hit(hit),
        None => edge.cache.lookup(&asking.key, &asking.selecting).await,
    };
    match found {
        Lookup::Hit(mut hit) => {
            hit.purging = purging(edge, asking, hit.purging);
            judge(exchange, asking, hit, now)
        }
        Lookup::Miss => nothing(exchange, ForwardReason::UriMiss),
        Lookup::VaryMiss => nothing(exchange, ForwardReason::VaryMiss),
    }
}

/// What purges have done to a response of this site. One that is owed because the master lost writes counts as done: from the moment in which
/// the edge knows of the loss nothing of before it is fresh, however long the disk takes to write the purge down.
pub fn purging(edge: &Edge, asking: &Asking<'_>, stored: Purging) -> Purging {
    if stored == Purging::None && edge.masters.owes_purge(&asking.site.site.origin.cluster) {
        return Purging::Soft;
    }
    stored
}

fn judge(exchange: &mut Exchange, asking: &Asking<'_>, hit: Hit, now: Timestamp) -> Found {
    match freshness::assess(&hit.response, &asking.policy, hit.purging, now) {
        Freshness::Fresh { age, ttl } => Found::Fresh(Stored {
            hit,
            age,
            ttl,
            if_error: false,
        }),
        Freshness::Unusable(reason) => {
            exchange.forwarded(ForwardReason::Miss, Some(reason));
            Found::Unusable
        }
        Freshness::Stale {
            age,
            ttl,
            forward,
            reason,
            serve,
        } => {
            exchange.forwarded(forward, Some(reason));
            let stored = Stored {
                hit,
                age,
                ttl,
                if_error: serve != StaleUse::Never,
            };
            match serve {
                StaleUse::AsIs => Found::Fresh(stored),
                StaleUse::WhileRevalidating => Found::WhileRevalidating(stored),
                StaleUse::IfOriginFails | StaleUse::Never => Found::Stale(stored),
            }
        }
    }
}

fn nothing(exchange: &mut Exchange, forward: ForwardReason) -> Found {
    exchange.forwarded(forward, None);
    Found::Nothing
}

/// Whether no other request's fetch can answer this one: the client wants the origin's own word, or what is stored is for nobody
/// without it (RFC 9111 §5.2.1.4, §5.2.2.4). To wait for one would only add its time.
pub fn is_for_itself(asking: &Asking<'_>, stale: Option<&Stored>) -> bool {
    let directives = &asking.policy.directives;
    let reloads = directives.no_cache || directives.max_age.is_some_and(|max| max.is_zero());
    reloads || stale.is_some_and(|stored| !freshness::is_ever_fresh(&stored.hit.response))
}

/// Whether the client asks for less than the whole content: its head, a part, or nothing if it has it already (RFC 9110 §9.3.2, §13, §14).
pub fn wants_less(request: &Request) -> bool {
    const FIELDS: [HeaderName; 3] = [
        header::RANGE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
    ];
    request.method == Method::HEAD || FIELDS.iter().any(|name| request.fields.contains_key(name))
}
