//! The admin API: calls, answers, problem details; and the metrics listener.
//!
//! Started by `framework::server` on the control runtime, beside the requests and never before them. The sockets are bound already.
//! One table ([`routes`]) says what can be called, what it takes and whom it is for; the handlers are in the modules below, by noun.
//! Whoever is not known learns nothing: authentication comes before routing, and a scope's right before the content is read. Invariant 7:
//! connections, calls, bodies and waits have limits. Invariant 8: a site's token reaches nothing of another site.

use std::net::TcpListener;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::ETAG;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prometheus::Registry;
use serde_json::Value;

use crate::control::events::Events;
use crate::control::tokens::{Principal, Right};
use crate::framework::listeners::AdminListener;
use crate::framework::tls::{Acceptor, Certificates};
use crate::parts::Edge;

mod access;
mod changes;
mod conditions;
mod gate;
mod idempotency;
mod patient;
mod places;
mod refusals;
mod routes;
mod server;

mod certificates;
mod clusters;
mod events;
mod explain;
mod nodes;
mod openapi;
mod purges;
mod schemas;
mod shapes;
mod sites;
mod tokens;

mod metrics;
mod problem;

use events::Readers;
use gate::Gate;
use idempotency::Answers;
use problem::Problem;
use refusals::Refusals;

/// What the API works on.
#[derive(Debug)]
pub struct Api {
    /// The node. `health` answers `/livez` and `/readyz`, `tokens` who may call.
    pub edge: Arc<Edge>,
    /// All metrics.
    pub registry: Registry,
    /// The certificates, for those who put or list them.
    pub certificates: Arc<Certificates>,
    /// What happens.
    pub events: Arc<Events>,
    /// Does the handshakes of remote callers.
    pub tls: Acceptor,
    gate: Gate,
    answers: Answers,
    refusals: Refusals,
    /// Places for those who listen to events.
    readers: Arc<Readers>,
}

impl Api {
    /// The API of a node; `tls` for callers that are not on this machine.
    pub fn new(
        edge: Arc<Edge>,
        registry: Registry,
        certificates: Arc<Certificates>,
        events: Arc<Events>,
        tls: &Acceptor,
    ) -> Self {
        Self {
            gate: Gate::new(&edge.limits),
            edge,
            registry,
            certificates,
            events,
            tls: tls.without_http2(),
            answers: Answers::default(),
            refusals: Refusals::default(),
            readers: Arc::default(),
        }
    }
}

/// Serves the bound sockets (non-blocking ones of the standard library) until the process ends. `metrics`: `/metrics`, `/livez`, `/readyz`.
pub async fn serve(api: Arc<Api>, admin: Vec<AdminListener>, metrics: Option<TcpListener>) {
    metrics::register_process(&api.registry);
    server::serve(api, admin, metrics).await;
}

type Handler = for<'a> fn(Call<'a>) -> BoxFuture<'a, Result<Answer, Problem>>;

/// A call on its way to its handler. Its caller has the right that the route asks for.
#[derive(Clone, Copy)]
struct Call<'a> {
    api: &'a Api,
    /// Who calls. A handler whose route leaves the right to it asks [`Self::require`] before anything else.
    principal: &'a Principal,
    /// What stands in the place of the first `{…}`, else empty.
    name: &'a str,
    /// What follows the `?`, else empty.
    query: &'a str,
    fields: &'a HeaderMap,
    body: &'a [u8],
}

impl Call<'_> {
    /// Refuses the call unless its caller has the right: for rights that only the content tells.
    fn require(&self, right: Right<'_>) -> Result<(), Problem> {
        access::require(self.principal, right)
    }

    /// A parameter of the query, as it stands there. Those that the route does not name were refused.
    fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&');
        pairs.find_map(|pair| {
            let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
            (found == name).then_some(value)
        })
    }

    /// Whether a parameter of the query is set.
    fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.parameter(name) {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true" | "") => Ok(true),
            Some(_) => {
                let detail = format!("{name} is 1 or 0");
                Err(Problem::new(StatusCode::BAD_REQUEST, detail))
            }
        }
    }

    /// The media type that the content says to be.
    fn media_type(&self) -> Option<&str> {
        server::media_type(self.fields)
    }
}

/// What a handler answers.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    fields: HeaderMap,
    content: Content,
}

/// What an answer carries.
#[derive(Debug)]
enum Content {
    Nothing,
    Json(Value),
    /// A text of a media type of its own.
    Text(&'static str, String),
    /// What happens from now on.
    Events(events::Reader),
}

impl Answer {
    fn new(status: StatusCode, content: Content) -> Self {
        Self {
            status,
            fields: HeaderMap::new(),
            content,
        }
    }

    fn of(status: StatusCode, body: Value) -> Self {
        Self::new(status, Content::Json(body))
    }

    /// 200 with a text.
    fn text(kind: &'static str, text: String) -> Self {
        Self::new(StatusCode::OK, Content::Text(kind, text))
    }

    /// 204: it is done, and there is nothing to say.
    fn nothing() -> Self {
        Self::new(StatusCode::NO_CONTENT, Content::Nothing)
    }

    fn ok(body: Value) -> Self {
        Self::of(StatusCode::OK, body)
    }

    /// With a number as its entity tag.
    fn tagged(self, number: u64) -> Self {
        match HeaderValue::try_from(format!("\"{number}\"")) {
            Ok(tag) => self.with(ETAG, tag),
            Err(_) => self,
        }
    }

    /// With a field.
    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.insert(name, value);
        self
    }
}

#[cfg(test)]
mod tests;
