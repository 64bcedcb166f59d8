//! The admin API: routes, authorisation, problem details; and the metrics listener.
//!
//! Started by `framework::server` on the control runtime, beside the requests and never before them. The sockets are bound already.
//! One table, [`ROUTES`], says what can be called and what it takes; the handlers are in the modules below, by noun.
//! Whoever is not allowed learns nothing: authorisation comes before routing. Invariant 7: connections, bodies and waits have limits.

use std::net::TcpListener;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{ALLOW, ETAG, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use prometheus::Registry;
use serde_json::Value;

use crate::framework::listeners::AdminListener;
use crate::framework::tls::Certificates;
use crate::parts::Edge;

mod clusters;
mod metrics;
mod nodes;
mod problem;
mod purges;
mod server;
mod sites;

use problem::Problem;

/// What the API works on.
#[derive(Debug)]
pub struct Api {
    /// The node. `health` answers `/livez` and `/readyz`, `tokens` who may call.
    pub edge: Arc<Edge>,
    /// All metrics.
    pub registry: Registry,
    /// The certificates, for those who put or list them.
    pub certificates: Arc<Certificates>,
    /// Where tokens are kept.
    pub data_dir: std::path::PathBuf,
}

/// Serves the bound sockets (non-blocking ones of the standard library) until the process ends. `metrics`: `/metrics`, `/livez`, `/readyz`.
pub async fn serve(api: Arc<Api>, admin: Vec<AdminListener>, metrics: Option<TcpListener>) {
    metrics::register_process(&api.registry);
    server::serve(api, admin, metrics).await;
}

/// One thing that can be called.
struct Route {
    method: Method,
    /// Segments; `{…}` stands for one of any name.
    path: &'static str,
    scope: Scope,
    handler: Handler,
}

/// What a caller must be allowed to. In this version there is one token, which may everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Read,
    Purge,
    Publish,
}

type Handler = for<'a> fn(Call<'a>) -> BoxFuture<'a, Result<Answer, Problem>>;

/// A call on its way to its handler.
#[derive(Clone, Copy)]
struct Call<'a> {
    api: &'a Api,
    /// What stands in the place of `{…}`, else empty.
    name: &'a str,
    fields: &'a HeaderMap,
    body: &'a [u8],
}

/// What a handler answers.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    etag: Option<HeaderValue>,
    body: Value,
}

impl Answer {
    const fn of(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            etag: None,
            body,
        }
    }

    const fn ok(body: Value) -> Self {
        Self::of(StatusCode::OK, body)
    }

    /// With a number as its entity tag.
    fn tagged(mut self, number: u64) -> Self {
        self.etag = HeaderValue::try_from(format!("\"{number}\"")).ok();
        self
    }

    fn fields(&self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        if let Some(etag) = &self.etag {
            fields.insert(ETAG, etag.clone());
        }
        fields
    }
}

/// Everything that can be called.
const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/purges",
        scope: Scope::Purge,
        handler: |call| Box::pin(purges::create(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/sites",
        scope: Scope::Read,
        handler: |call| Box::pin(sites::list(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/sites/{id}",
        scope: Scope::Read,
        handler: |call| Box::pin(sites::one(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/clusters",
        scope: Scope::Read,
        handler: |call| Box::pin(clusters::list(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/clusters/{id}",
        scope: Scope::Read,
        handler: |call| Box::pin(clusters::one(call)),
    },
    Route {
        method: Method::PUT,
        path: "/v1/clusters/{id}",
        scope: Scope::Publish,
        handler: |call| Box::pin(clusters::publish(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/nodes",
        scope: Scope::Read,
        handler: |call| Box::pin(nodes::list(call)),
    },
];

/// Who calls, as the transport knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// Over the Unix socket, with the uid of its process where the system told it.
    Local(Option<u32>),
    /// Over TCP.
    Remote,
}

/// Whether a peer may call at all.
fn authorise(api: &Api, peer: Peer, fields: &HeaderMap) -> Result<(), Problem> {
    match peer {
        Peer::Local(Some(uid)) if uid == 0 || uid == own_uid() => Ok(()),
        Peer::Local(_) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the socket is for root and for the user that the edge runs as",
        )),
        Peer::Remote if api.edge.tokens.admits(fields) => Ok(()),
        Peer::Remote => {
            let problem = Problem::new(
                StatusCode::UNAUTHORIZED,
                "send `Authorization: Bearer` with the token of <data_dir>/admin.token",
            );
            let challenge = HeaderValue::from_static("Bearer realm=\"jet9\"");
            Err(problem.with(WWW_AUTHENTICATE, challenge))
        }
    }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The route of a request, and what stands for its `{…}`.
fn route<'p>(method: &Method, path: &'p str) -> Result<(&'static Route, &'p str), Problem> {
    let mut allowed = Vec::new();
    for route in ROUTES {
        match captured(route.path, path) {
            Some(name) if route.method == *method => return Ok((route, name)),
            Some(_) => allowed.push(route.method.as_str()),
            None => {}
        }
    }
    if allowed.is_empty() {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there is no such call"));
    }
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method");
    Err(match HeaderValue::try_from(allowed.join(", ")) {
        Ok(allowed) => problem.with(ALLOW, allowed),
        Err(_) => problem,
    })
}

/// What stands for the `{…}` of a pattern, or an empty text when it has none; `None` when the path is another.
fn captured<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let mut name = "";
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return Some(name),
            (Some(expected), Some(found)) if expected.starts_with('{') && !found.is_empty() => {
                name = found;
            }
            (Some(expected), Some(found)) if expected == found => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod routes {
    use super::*;

    #[test]
    fn a_path_matches_segment_by_segment() {
        let check = |pattern, path, expected: Option<&str>| {
            assert_eq!(captured(pattern, path), expected, "{pattern} {path}");
        };
        check("/v1/sites", "/v1/sites", Some(""));
        check("/v1/sites", "/v1/sites/", None);
        check("/v1/sites/{id}", "/v1/sites/s-1", Some("s-1"));
        check("/v1/sites/{id}", "/v1/sites/", None);
        check("/v1/sites/{id}", "/v1/sites/s-1/x", None);
        check("/v1/sites/{id}", "/v2/sites/s-1", None);
    }

    #[test]
    fn a_known_path_with_another_method_says_which_are_allowed() {
        let check = |method, path, status: u16| {
            let answered =
                route(&method, path).map_or_else(|problem| problem.status().as_u16(), |_| 200);
            assert_eq!(answered, status, "{method} {path}");
        };
        check(Method::GET, "/v1/sites/s-1", 200);
        check(Method::PUT, "/v1/clusters/c-1", 200);
        check(Method::DELETE, "/v1/clusters/c-1", 405);
        check(Method::GET, "/v1/purges", 405);
        check(Method::GET, "/", 404);
        check(Method::GET, "", 404);
    }

    #[test]
    fn every_route_is_reached_by_its_own_path() {
        for expected in ROUTES {
            let path = expected.path.replace("{id}", "x");
            let (found, _) = route(&expected.method, &path).expect("it is there");
            assert_eq!((found.path, found.scope), (expected.path, expected.scope));
        }
    }
}
