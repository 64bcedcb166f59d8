//! What would be done with a request, and why, without doing it.
//!
//! `POST /v1/explain` and `jet9 explain` ask this. A question is put through the guard and through the story's own decisions
//! ([`crate::story::course`], [`master::prospect`]) as a request would be, up to the point where a side would be asked or another request
//! waited for; so it is told what happens, by what makes it happen. What only the side's answer can tell is not guessed: the reasons that
//! the answer may still give are listed. Nothing is sent, held, purged or stored.

use std::sync::Arc;

use http::StatusCode;
use jet9_cache::semantics::freshness;
use jet9_cache::store::{Purging, Tier};
use jet9_cache::{Reason, Timestamp};
use serde_json::{Map, Value, json};

use crate::clock;
use crate::control::purge::{self, FieldError};
use crate::control::sites::SiteRuntime;
use crate::exchange::Exchange;
use crate::message::Request;
use crate::origin::master::{self, Prospect};
use crate::parts::Edge;
use crate::request::client::{Client, TlsFacts};
use crate::request::guard::{self, Refusal};
use crate::request::lookup::{self, Asking, Stored};
use crate::response::fault::{self, ClientFault, Fault};
use crate::story::course::{self, Meaning, Source};

mod question;

pub use question::Question;

/// Reasons that the answer of a side, or the way to it, may give to a request that is fetched for the store.
const OF_A_FETCH: &[Reason] = &[
    Reason::Authorization,
    Reason::CookieUnknown,
    Reason::SetCookie,
    Reason::NoStore,
    Reason::Private,
    Reason::NoCache,
    Reason::NoFreshness,
    Reason::VaryStar,
    Reason::VaryLimit,
    Reason::Range,
    Reason::TooLarge,
    Reason::TooManyTags,
    Reason::Status,
    Reason::CollapseTimeout,
    Reason::OriginDown,
    Reason::Hold,
    Reason::Breaker,
    Reason::EpochEnded,
];

/// The same where what is passed through is not for the store.
const OF_A_PASSAGE: &[Reason] = &[
    Reason::OriginDown,
    Reason::Hold,
    Reason::Breaker,
    Reason::EpochEnded,
];

/// What would be done.
#[derive(Debug, Default)]
struct Told {
    /// The word of the decision.
    decision: &'static str,
    /// The status, where the edge would answer itself.
    status: Option<StatusCode>,
    /// The word of a fault.
    error: Option<&'static str>,
    /// Why, where it is not in the exchange.
    reason: Option<Reason>,
    /// The reasons that may take the place of this one.
    open: Vec<Reason>,
    /// What else there is to say, by name.
    facts: Map<String, Value>,
}

/// A question that is a request.
#[derive(Debug)]
pub struct Asked {
    request: Request,
    client: Arc<Client>,
}

impl Asked {
    /// The request of a question, by the guard's leave.
    ///
    /// # Errors
    /// What the guard refuses.
    pub fn of(edge: &Edge, question: &Question) -> Result<Self, Refusal> {
        let client = question.client();
        let accepted = guard::parse_http1(question.head(), client.scheme(), &edge.limits)?;
        Ok(Self {
            request: accepted.request,
            client: Arc::new(client),
        })
    }

    /// The site that it would go to, by its name alone.
    pub fn site(&self, edge: &Edge) -> Option<Arc<SiteRuntime>> {
        edge.sites
            .find(self.request.host.as_str())
            .map(|named| named.site)
    }
}

/// Tells what would be done with a request.
pub async fn explain(edge: &Edge, asked: &Asked) -> Value {
    let id = edge.request_ids.next();
    let client = Arc::clone(&asked.client);
    let mut exchange = Exchange::begin(client, id, clock::monotonic(), edge.clock.now());
    let told = match tell(edge, &mut exchange, &asked.request).await {
        Ok(told) => told,
        Err(fault) => of_fault(&fault),
    };
    told.said(edge, &exchange)
}

/// What is told of a request that the guard refuses.
pub fn refused(refusal: &Refusal) -> Value {
    let told = Told {
        facts: Map::from_iter([
            ("rule".to_owned(), refusal.rule.as_str().into()),
            ("rule_text".to_owned(), refusal.rule.text().into()),
        ]),
        ..of_fault(&Fault::Client(ClientFault::Refused(*refusal)))
    };
    told.of_itself()
}

async fn tell(edge: &Edge, exchange: &mut Exchange, request: &Request) -> Result<Told, Fault> {
    let named = match course::meaning(edge, exchange, request)? {
        Meaning::Purge(ordered) => return Ok(of_purge(edge, &ordered, request)),
        Meaning::Answered(response) => {
            return Ok(Told {
                decision: "redirect",
                status: Some(response.head.status()),
                ..Told::default()
            });
        }
        Meaning::Resource(named) => named,
    };
    let asking = match lookup::asking(edge, &named, request) {
        Ok(asking) => asking,
        Err(past) => {
            exchange.forwarded(past.forward, Some(past.reason));
            let told = to_side(edge, &named.site, "pass-through", OF_A_PASSAGE);
            return Ok(told.with("route", route(&named.site, request)));
        }
    };
    let key = json!({
        "scheme": asking.key.scheme().as_str(),
        "host": &**asking.key.host(),
        "path_and_query": String::from_utf8_lossy(asking.key.path_and_query()),
    });
    let told = of_store(edge, exchange, &asking).await?;
    Ok(told
        .with("key", key)
        .with("route", route(&named.site, request)))
}

async fn of_store(
    edge: &Edge,
    exchange: &mut Exchange,
    asking: &Asking<'_>,
) -> Result<Told, Fault> {
    let (stale, collapse) = match course::source(edge, exchange, asking).await? {
        Source::Store { stored, stale } => {
            let decision = if stale.is_some() {
                "serve-stale"
            } else {
                "serve"
            };
            let told = Told {
                decision,
                ..Told::default()
            };
            return Ok(told.with("stored", describe(&stored, edge.clock.now())));
        }
        Source::Apart(stale) => (stale, "apart"),
        Source::Alone(stale, _) => (stale, "alone"),
        Source::Shared(stale) => (stale, "shared"),
    };
    let mut told = match &stale {
        None => to_side(edge, asking.site, "fetch", OF_A_FETCH),
        Some(_) => to_side(edge, asking.site, "validate", OF_A_FETCH),
    };
    if let Some(stored) = &stale {
        told.open.push(Reason::Revalidated);
        if stored.if_error {
            told.open.push(Reason::StaleIfError);
        }
        told = told.with("stored", describe(stored, edge.clock.now()));
    }
    let learned = edge.cache.predict(&asking.asker(), edge.clock.now());
    Ok(told
        .with("fetched", collapse.into())
        .with("learned", word(learned)))
}

/// A request that needs a side: it is sent, held, or refused.
fn to_side(edge: &Edge, site: &SiteRuntime, decision: &'static str, open: &[Reason]) -> Told {
    match master::prospect(edge, site) {
        Prospect::Sent => Told {
            decision,
            open: open.to_owned(),
            ..Told::default()
        },
        Prospect::Held(up_to) if !up_to.is_zero() => {
            let told = Told {
                decision: "hold",
                open: open.to_owned(),
                ..Told::default()
            };
            let held = u64::try_from(up_to.as_millis()).unwrap_or(u64::MAX);
            told.with("hold_ms", held.into())
                .with("then", decision.into())
        }
        Prospect::Held(_) => of_fault(&Fault::Cluster(master::NoRoute::Held)),
        Prospect::Refused(why) => of_fault(&Fault::Cluster(why)),
    }
}

fn of_fault(fault: &Fault) -> Told {
    Told {
        decision: "refuse",
        status: Some(fault::status(fault)),
        error: Some(fault::word(fault)),
        reason: fault::reason(fault),
        ..Told::default()
    }
}

fn of_purge(edge: &Edge, ordered: &purge::Ordered, request: &Request) -> Told {
    let told = Told {
        decision: "purge",
        ..Told::default()
    };
    match ordered.understood(edge, request) {
        Ok((what, mode)) => {
            let purge = json!({ "things": what.len(), "mode": purge::mode_word(mode) });
            told.with("purge", purge)
        }
        Err(hint) => Told {
            decision: "refuse",
            status: Some(StatusCode::BAD_REQUEST),
            ..told
        }
        .with("hint", hint.0.into()),
    }
}

impl Told {
    fn with(mut self, name: &str, fact: Value) -> Self {
        self.facts.insert(name.to_owned(), fact);
        self
    }

    /// All of it: what was decided, and what the exchange says of why.
    fn said(self, edge: &Edge, exchange: &Exchange) -> Value {
        let reason = self.reason.or(exchange.reason);
        let cache = exchange.cache.map(|status| match reason {
            Some(reason) => status.because(reason),
            None => status,
        });
        let cache = cache.map(|status| status.named(&edge.id).to_string());
        let site = exchange
            .site
            .as_deref()
            .map(|site| json!({ "id": site.site.id.as_str(), "generation": site.generation }));
        let mut said = self.of_itself();
        said["reason"] = word(reason);
        said["cache_status"] = cache.into();
        said["site"] = site.into();
        said
    }

    fn of_itself(self) -> Value {
        let open: Vec<_> = self.open.iter().map(|reason| reason.as_str()).collect();
        let mut said = json!({
            "decision": self.decision,
            "reason": word(self.reason),
            "status": self.status.map(|status| status.as_u16()),
            "error": self.error,
            "answer_decides": open,
        });
        if let Value::Object(members) = &mut said {
            members.extend(self.facts);
        }
        said
    }
}

fn word(reason: Option<Reason>) -> Value {
    reason.map(Reason::as_str).into()
}

/// The route that a request takes through its site's document.
fn route(site: &SiteRuntime, request: &Request) -> Value {
    let (_, route) = site.rules_for(request.path());
    route.map(|route| &*route.path).into()
}

/// A stored response, as far as it counts for what becomes of it.
fn describe(stored: &Stored, now: Timestamp) -> Value {
    let response = &stored.hit.response;
    let vary: Vec<_> = response
        .vary
        .iter()
        .map(|selector| selector.field().as_str())
        .collect();
    json!({
        "status": response.status.as_u16(),
        "tier": match stored.hit.tier {
            Tier::Memory => "memory",
            Tier::Disk => "disk",
        },
        "age": freshness::current_age(&response.times, now).as_secs(),
        "lifetime": response.times.lifetime.as_secs(),
        "ttl": stored.ttl,
        "purged": (stored.hit.purging == Purging::Soft).then_some("soft"),
        "serves_errors": stored.if_error,
        "vary": vary,
        "tags": response.tags,
    })
}
