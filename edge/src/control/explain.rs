//! What would be done with a request, and why, without doing it.
//!
//! `POST /v1/explain` and `jet9 explain` ask this. A question is put through the guard and through the story's own decisions
//! ([`crate::story::course`], [`master::prospect`]) as a request would be, up to the point where a side would be asked or another request
//! waited for; so it is told what happens, by what makes it happen. What only the side's answer can tell is not guessed: the question brings an
//! answer ([`given`]), or the reasons that it may still give are listed. Nothing is sent, held, purged or stored.

use std::sync::Arc;

use http::StatusCode;
use jet9_cache::semantics::freshness;
use jet9_cache::semantics::vary::Selector;
use jet9_cache::store::{Purging, Tier};
use jet9_cache::{Reason, StoredResponse, Timestamp};
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

mod given;
mod question;

pub use given::Given;
pub use question::{MEMBERS, Question};

use given::Heard;

/// Reasons that the answer of a side may give to a request that is fetched for the store, whatever the request says.
const OF_AN_ANSWER: &[Reason] = &[
    Reason::SetCookie,
    Reason::NoStore,
    Reason::Private,
    Reason::NoCache,
    Reason::NoFreshness,
    Reason::VaryStar,
    Reason::VaryLimit,
    Reason::TooLarge,
    Reason::TooManyTags,
    Reason::Status,
    Reason::Quota,
    Reason::EpochEnded,
];

/// Reasons that the way to a side may give.
const OF_THE_WAY: &[Reason] = &[Reason::OriginDown, Reason::Hold, Reason::Breaker];

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
    /// What the side would answer.
    given: Option<Given>,
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
            given: question.given().cloned(),
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
    let told = match tell(edge, &mut exchange, asked).await {
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

async fn tell(edge: &Edge, exchange: &mut Exchange, asked: &Asked) -> Result<Told, Fault> {
    let request = &asked.request;
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
            let told = passed(edge, &named.site, asked);
            return Ok(told.with("route", route(&named.site, request)));
        }
    };
    let key = json!({
        "scheme": asking.key.scheme().as_str(),
        "host": &**asking.key.host(),
        "path_and_query": String::from_utf8_lossy(asking.key.path_and_query()),
    });
    let told = of_store(edge, exchange, asked, &asking).await?;
    Ok(told
        .with("key", key)
        .with("route", route(&named.site, request)))
}

/// A request that goes to a side as it is: its answer changes nothing of why.
fn passed(edge: &Edge, site: &SiteRuntime, asked: &Asked) -> Told {
    let told = to_side(edge, site, "pass-through");
    match &asked.given {
        None => told.open(OF_THE_WAY),
        Some(_) if told.is_refused() => told,
        Some(given) => match given.received(site, &asked.request.method) {
            Ok(_) => told,
            Err(fault) => of_fault(&fault),
        },
    }
}

async fn of_store(
    edge: &Edge,
    exchange: &mut Exchange,
    asked: &Asked,
    asking: &Asking<'_>,
) -> Result<Told, Fault> {
    let (stale, fetched) = match course::source(edge, exchange, asking).await? {
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
        Source::Alone(None, _) if course::is_left_to_side(&asked.request, None) => {
            let learned = edge.cache.predict(&asking.asker(), edge.clock.now());
            return Ok(passed(edge, asking.site, asked).with("learned", word(learned)));
        }
        Source::Apart(stale) => (stale, "apart"),
        Source::Alone(stale, _) => (stale, "alone"),
        Source::Shared(stale) => (stale, "shared"),
    };
    let decision = if stale.is_some() { "validate" } else { "fetch" };
    let under_way = fetched == "shared" && edge.cache.is_under_way(&asking.key, &asking.selecting);
    let mut told = to_side(edge, asking.site, decision);
    if !told.is_refused() {
        if under_way {
            // Only time tells whether the other's answer comes soon enough.
            told = told.open(&[Reason::CollapseTimeout]);
        }
        told = heard(edge, exchange, asked, asking, stale.as_ref(), told);
    }
    if let Some(stored) = &stale {
        told = told.with("stored", describe(stored, edge.clock.now()));
    }
    let learned = edge.cache.predict(&asking.asker(), edge.clock.now());
    Ok(told
        .with("fetched", fetched.into())
        .with("under_way", under_way.into())
        .with("learned", word(learned)))
}

/// What the answer makes of a fetch, or may make of it.
fn heard(
    edge: &Edge,
    exchange: &mut Exchange,
    asked: &Asked,
    asking: &Asking<'_>,
    stale: Option<&Stored>,
    told: Told,
) -> Told {
    let Some(given) = &asked.given else {
        return left_open(exchange, asking, stale, told);
    };
    match given.heard(edge, exchange, &asked.request, asking, stale) {
        Heard::Decided(said) => told.with("answer", said),
        Heard::AskedAgain => {
            let said = json!({ "becomes": "asked-again" });
            left_open(exchange, asking, stale, told).with("answer", said)
        }
        Heard::Failed(fault) => of_fault(&fault),
    }
}

/// The reasons that the answer, or the way to it, may still give.
fn left_open(
    exchange: &Exchange,
    asking: &Asking<'_>,
    stale: Option<&Stored>,
    mut told: Told,
) -> Told {
    let policy = &asking.policy;
    // Why a request fetches for itself outranks why its answer is not stored, unless it then goes to the side for a range.
    if policy.range || exchange.reason != Some(Reason::PredictedUncacheable) {
        told = told.open(OF_AN_ANSWER);
        for (may_be, reason) in [
            (policy.authorization, Reason::Authorization),
            (policy.personal, Reason::CookieUnknown),
        ] {
            told.open.extend(may_be.then_some(reason));
        }
    }
    told.open.extend(policy.range.then_some(Reason::Range));
    if let Some(stored) = stale {
        told.open.push(Reason::Revalidated);
        told.open
            .extend(stored.if_error.then_some(Reason::StaleIfError));
    }
    told.open(OF_THE_WAY)
}

/// A request that needs a side: it is sent, held, or refused.
fn to_side(edge: &Edge, site: &SiteRuntime, decision: &'static str) -> Told {
    let told = |decision| Told {
        decision,
        ..Told::default()
    };
    match master::prospect(edge, site) {
        Prospect::Sent => told(decision),
        Prospect::Held(up_to) if !up_to.is_zero() => {
            let held = u64::try_from(up_to.as_millis()).unwrap_or(u64::MAX);
            told("hold")
                .with("hold_ms", held.into())
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
    fn is_refused(&self) -> bool {
        self.decision == "refuse"
    }

    fn open(mut self, reasons: &[Reason]) -> Self {
        self.open.extend(reasons);
        self
    }

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

/// What selects a response: fields, or cookies as `cookie=NAME`.
fn vary(response: &StoredResponse) -> Vec<String> {
    let said = |selector: &Selector| match selector {
        Selector::Cookie(name) => format!("cookie={name}"),
        Selector::Field(_) | Selector::Language(_) => selector.field().as_str().to_owned(),
    };
    response.vary.iter().map(said).collect()
}

/// A stored response, as far as it counts for what becomes of it.
fn describe(stored: &Stored, now: Timestamp) -> Value {
    let response = &stored.hit.response;
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
        "vary": vary(response),
        "tags": response.tags,
    })
}
