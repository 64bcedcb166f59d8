//! Everything that can be called: the one table.
//!
//! Read by `api::server` for each call; the OpenAPI document is made from it and checked against it, so a route says all that a caller may know:
//! method, path, whom it is for, what it takes, what it answers. A handler that answers a status which is not in its route is a fault.

use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use jet9_config::limits::Limits;

use super::problem::Problem;
use super::{
    Handler, certificates, clusters, events, explain, nodes, openapi, purges, shapes, sites, tokens,
};
use crate::control::tokens::Right;

/// One thing that can be called.
pub(super) struct Route {
    pub(super) method: Method,
    /// Segments; `{…}` stands for one of any name. At most two.
    pub(super) path: &'static str,
    /// What it does, in a sentence without its full stop.
    pub(super) summary: &'static str,
    pub(super) needs: Needs,
    pub(super) effect: Effect,
    pub(super) takes: Takes,
    /// Parameters of the query, by name.
    pub(super) query: &'static [&'static str],
    /// What its content is, where that is JSON: a name in `schemas`.
    pub(super) sends: Option<&'static str>,
    /// Statuses that its handler answers. Those that any call may be answered with are in [`ALWAYS`].
    pub(super) answers: &'static [u16],
    /// What it answers when it did what was asked.
    pub(super) gives: Gives,
    pub(super) handler: Handler,
}

/// Statuses that any call may be answered with: malformed, not known, not allowed, another method, too slow, too large, another media type, too
/// often, broken, and not now.
pub(super) const ALWAYS: &[u16] = &[400, 401, 403, 405, 408, 413, 415, 429, 500, 503];

/// What a caller must have a scope for. `name` is what stands for the first `{…}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// To be known. Where that is not enough, the content tells what more, and the handler asks for it: `Call::require`.
    Known,
    /// For what makes others powerful, or gives up a protection.
    Admin,
    Read,
    ReadSite,
    Purge,
    Write,
    ReadCluster,
    Publish,
}

impl Needs {
    /// The right; `None`: none, or the handler asks.
    pub(super) const fn right(self, name: &str) -> Option<Right<'_>> {
        match self {
            Self::Known => None,
            Self::Admin => Some(Right::Admin),
            Self::Read => Some(Right::Read),
            Self::ReadSite => Some(Right::ReadSite(name)),
            Self::Purge => Some(Right::Purge(name)),
            Self::Write => Some(Right::Write(name)),
            Self::ReadCluster => Some(Right::ReadCluster(name)),
            Self::Publish => Some(Right::Publish(name)),
        }
    }
}

/// What a call does to the node. What writes is told in the audit trail, refused or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Reads,
    Writes,
    /// It writes, and its answer has a secret: that is kept nowhere, not even for a call that is sent again.
    Reveals,
}

/// What an answer carries that is no problem. Objects have their names in `schemas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    Nothing,
    Json(&'static str),
    /// The object, or a text of a media type for who asks for that.
    JsonOr(&'static str, &'static str),
    /// A text of a media type.
    Text(&'static str),
}

/// What content a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// None; what is sent is not read.
    Nothing,
    /// One of these media types, of at most `limits.admin_body` bytes. Content that does not say what it is counts as the first.
    OneOf(&'static [&'static str]),
}

/// The media type of most calls.
pub(super) const JSON: Takes = Takes::OneOf(&["application/json"]);

impl Takes {
    /// Bytes that are read.
    pub(super) const fn limit(self, limits: &Limits) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::OneOf(_) => limits.admin_body,
        }
    }
}

/// Everything that can be called.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/purges",
        summary: "Purges stored responses of one site",
        needs: Needs::Known,
        effect: Effect::Writes,
        takes: JSON,
        sends: Some("Purge"),
        query: &[],
        answers: &[200, 202, 404, 422],
        gives: Gives::Json("PurgeDone"),
        handler: |call| Box::pin(purges::create(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/purges/{sequence}",
        summary: "Shows which nodes have applied a purge",
        needs: Needs::Known,
        effect: Effect::Reads,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200, 404],
        gives: Gives::Json("PurgeSeen"),
        handler: |call| Box::pin(purges::one(call)),
    },
    Route {
        method: Method::POST,
        path: "/service/{id}/purge_all",
        summary: "Purges all of one site, as Fastly's API does",
        needs: Needs::Purge,
        effect: Effect::Writes,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200, 404, 422],
        gives: Gives::Json("FastlyDone"),
        handler: |call| Box::pin(shapes::fastly_all(call)),
    },
    Route {
        method: Method::POST,
        path: "/service/{id}/purge",
        summary: "Purges by keys, as Fastly's API does",
        needs: Needs::Purge,
        effect: Effect::Writes,
        takes: JSON,
        sends: Some("FastlyKeys"),
        query: &[],
        answers: &[200, 404, 422],
        gives: Gives::Json("FastlyKeysDone"),
        handler: |call| Box::pin(shapes::fastly_keys(call)),
    },
    Route {
        method: Method::POST,
        path: "/client/v4/zones/{id}/purge_cache",
        summary: "Purges of one site, as Cloudflare's API does",
        needs: Needs::Purge,
        effect: Effect::Writes,
        takes: JSON,
        sends: Some("Cloudflare"),
        query: &[],
        answers: &[200, 404, 422],
        gives: Gives::Json("CloudflareDone"),
        handler: |call| Box::pin(shapes::cloudflare(call)),
    },
    Route {
        method: Method::POST,
        path: "/v1/explain",
        summary: "Tells what would be done with a request, and why",
        needs: Needs::Known,
        effect: Effect::Reads,
        takes: JSON,
        sends: Some("Question"),
        query: &[],
        answers: &[200, 422],
        gives: Gives::Json("Told"),
        handler: |call| Box::pin(explain::explain(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/sites",
        summary: "Lists the sites in force and the documents that are refused",
        needs: Needs::Read,
        effect: Effect::Reads,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200],
        gives: Gives::Json("Sites"),
        handler: |call| Box::pin(sites::list(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/sites/{id}",
        summary: "Shows one site",
        needs: Needs::ReadSite,
        effect: Effect::Reads,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200, 404],
        gives: Gives::JsonOr("Site", sites::TOML),
        handler: |call| Box::pin(sites::one(call)),
    },
    Route {
        method: Method::PUT,
        path: "/v1/sites/{id}",
        summary: "Creates or replaces a site; it is in force when this is answered",
        needs: Needs::Write,
        effect: Effect::Writes,
        takes: Takes::OneOf(&["application/json", sites::TOML]),
        sends: Some("SiteDocument"),
        query: &["dry_run"],
        answers: &[200, 201, 409, 412, 422],
        gives: Gives::Json("SiteWritten"),
        handler: |call| Box::pin(sites::put(call)),
    },
    Route {
        method: Method::DELETE,
        path: "/v1/sites/{id}",
        summary: "Removes a site and drops what is stored for it",
        needs: Needs::Write,
        effect: Effect::Writes,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[204, 404, 412],
        gives: Gives::Nothing,
        handler: |call| Box::pin(sites::remove(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/sites/{id}/versions",
        summary: "Lists the last versions of a site, the newest first",
        needs: Needs::ReadSite,
        effect: Effect::Reads,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200, 404],
        gives: Gives::Json("Versions"),
        handler: |call| Box::pin(sites::versions(call)),
    },
    Route {
        method: Method::POST,
        path: "/v1/sites/{id}/rollback",
        summary: "Puts what an earlier version said into force again, as a new version",
        needs: Needs::Write,
        effect: Effect::Writes,
        takes: JSON,
        sends: Some("Version"),
        query: &[],
        answers: &[200, 201, 404, 409, 412, 422],
        gives: Gives::Json("SiteWritten"),
        handler: |call| Box::pin(sites::rollback(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/clusters",
        summary: "Lists the clusters as this node sees them",
        needs: Needs::Read,
        effect: Effect::Reads,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200],
        gives: Gives::Json("Clusters"),
        handler: |call| Box::pin(clusters::list(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/clusters/{id}",
        summary: "Shows one cluster with its document",
        needs: Needs::ReadCluster,
        effect: Effect::Reads,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200, 404],
        gives: Gives::Json("Cluster"),
        handler: |call| Box::pin(clusters::one(call)),
    },
    Route {
        method: Method::PUT,
        path: "/v1/clusters/{id}",
        summary: "Publishes the state of a cluster by compare-and-swap",
        needs: Needs::Publish,
        effect: Effect::Writes,
        takes: JSON,
        sends: Some("ClusterDocument"),
        query: &[],
        answers: &[200, 404, 409, 412, 422, 428],
        gives: Gives::Json("Cluster"),
        handler: |call| Box::pin(clusters::publish(call)),
    },
    Route {
        method: Method::POST,
        path: "/v1/clusters/{id}/forget",
        summary: "Forgets, on this node, the epochs of a cluster that was created anew",
        needs: Needs::Admin,
        effect: Effect::Writes,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200, 404],
        gives: Gives::Json("Forgotten"),
        handler: |call| Box::pin(clusters::forget(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/nodes",
        summary: "Lists the nodes",
        needs: Needs::Read,
        effect: Effect::Reads,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200],
        gives: Gives::Json("Nodes"),
        handler: |call| Box::pin(nodes::list(call)),
    },
    Route {
        method: Method::POST,
        path: "/v1/nodes/self/drain",
        summary: "Tells routers to send nobody here; whoever comes is served as before",
        needs: Needs::Admin,
        effect: Effect::Writes,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200],
        gives: Gives::Json("Node"),
        handler: |call| Box::pin(nodes::drain(call)),
    },
    Route {
        method: Method::POST,
        path: "/v1/nodes/self/undrain",
        summary: "Takes a drain back",
        needs: Needs::Admin,
        effect: Effect::Writes,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200, 409],
        gives: Gives::Json("Node"),
        handler: |call| Box::pin(nodes::undrain(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/certificates",
        summary: "Lists the certificates in force, without their keys",
        needs: Needs::Read,
        effect: Effect::Reads,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200],
        gives: Gives::Json("Certificates"),
        handler: |call| Box::pin(certificates::list(call)),
    },
    Route {
        method: Method::PUT,
        path: "/v1/certificates/{name}",
        summary: "Puts a chain with its key in force",
        needs: Needs::Admin,
        effect: Effect::Writes,
        takes: Takes::OneOf(&[certificates::PEM]),
        sends: None,
        query: &[],
        answers: &[200, 422],
        gives: Gives::Json("Certificate"),
        handler: |call| Box::pin(certificates::put(call)),
    },
    Route {
        method: Method::DELETE,
        path: "/v1/certificates/{name}",
        summary: "Takes a certificate out of force and removes it; refused while sites need it, unless forced",
        needs: Needs::Admin,
        effect: Effect::Writes,
        takes: Takes::Nothing,
        sends: None,
        query: &["force"],
        answers: &[204, 404, 409],
        gives: Gives::Nothing,
        handler: |call| Box::pin(certificates::remove(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/events",
        summary: "Tells of calls that write and of changed sites, from now on, as server-sent events",
        needs: Needs::Read,
        effect: Effect::Reads,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200],
        gives: Gives::Text(events::STREAM),
        handler: |call| Box::pin(events::listen(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/tokens",
        summary: "Lists the tokens, without their secrets",
        needs: Needs::Admin,
        effect: Effect::Reads,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200],
        gives: Gives::Json("Tokens"),
        handler: |call| Box::pin(tokens::list(call)),
    },
    Route {
        method: Method::POST,
        path: "/v1/tokens",
        summary: "Makes a token with scopes; its secret is in this answer only",
        needs: Needs::Admin,
        effect: Effect::Reveals,
        takes: JSON,
        sends: Some("TokenWish"),
        query: &[],
        answers: &[201, 409, 422],
        gives: Gives::Json("TokenMade"),
        handler: |call| Box::pin(tokens::make(call)),
    },
    Route {
        method: Method::DELETE,
        path: "/v1/tokens/{name}",
        summary: "Withdraws a token",
        needs: Needs::Admin,
        effect: Effect::Writes,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[204, 404],
        gives: Gives::Nothing,
        handler: |call| Box::pin(tokens::withdraw(call)),
    },
    Route {
        method: Method::GET,
        path: "/v1/openapi.json",
        summary: "Describes this API",
        needs: Needs::Known,
        effect: Effect::Reads,
        takes: Takes::Nothing,
        sends: None,
        query: &[],
        answers: &[200],
        gives: Gives::Json("OpenApi"),
        handler: |call| Box::pin(openapi::document(call)),
    },
];

/// What stands for the first and the second `{…}` of a route's path.
type Captured<'p> = [&'p str; 2];

/// The route of a request, and what stands for its `{…}`.
pub(super) fn route<'p>(
    method: &Method,
    path: &'p str,
) -> Result<(&'static Route, Captured<'p>), Problem> {
    let mut allowed = Vec::new();
    for route in ROUTES {
        match captured(route.path, path) {
            Some(names) if route.method == *method => return Ok((route, names)),
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

/// What stands for the `{…}` of a pattern; `None` when the path is another.
fn captured<'p>(pattern: &str, path: &'p str) -> Option<Captured<'p>> {
    let mut names = [""; 2];
    let mut free = names.iter_mut();
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return Some(names),
            (Some(expected), Some(found)) if expected.starts_with('{') && !found.is_empty() => {
                *free.next()? = found;
            }
            (Some(expected), Some(found)) if expected == found => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_matches_segment_by_segment() {
        let check = |pattern, path, expected: Option<[&str; 2]>| {
            assert_eq!(captured(pattern, path), expected, "{pattern} {path}");
        };
        check("/v1/sites", "/v1/sites", Some(["", ""]));
        check("/v1/sites", "/v1/sites/", None);
        check("/v1/sites/{id}", "/v1/sites/s-1", Some(["s-1", ""]));
        check("/v1/sites/{id}", "/v1/sites/", None);
        check("/v1/sites/{id}", "/v1/sites/s-1/x", None);
        check("/v1/sites/{id}", "/v2/sites/s-1", None);
        check("/a/{b}/c/{d}", "/a/1/c/2", Some(["1", "2"]));
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
        check(Method::PATCH, "/v1/purges", 405);
        check(Method::GET, "/", 404);
        check(Method::GET, "", 404);
    }

    #[test]
    fn every_route_is_reached_by_its_own_path_and_says_all() {
        for expected in ROUTES {
            let path = expected.path.replace(['{', '}'], "");
            let (found, _) = route(&expected.method, &path).expect("it is there");
            assert_eq!(
                (found.path, &found.method),
                (expected.path, &expected.method)
            );
            assert!(!found.summary.is_empty() && !found.answers.is_empty());
            let may_write = found.method != Method::GET;
            assert!(may_write || found.effect == Effect::Reads, "{path}");
        }
    }

    #[test]
    fn each_scope_reaches_its_own_calls_and_nothing_of_another() {
        use crate::control::tokens::{Principal, Scope};
        let reached = |scope: &str, name: &str| -> Vec<String> {
            let principal = Principal::new("x", [Scope::parse(scope).expect("a scope")]);
            let may = |route: &&Route| {
                let right = route.needs.right(name);
                right.is_none_or(|right| principal.may(right))
            };
            let shown = |route: &Route| format!("{} {}", route.method, route.path);
            ROUTES.iter().filter(may).map(shown).collect()
        };
        // Their handlers ask for more where it is needed.
        let always = [
            "POST /v1/purges",
            "GET /v1/purges/{sequence}",
            "POST /v1/explain",
            "GET /v1/openapi.json",
        ];
        let check = |scope: &str, own: &[&str], another: &[&str]| {
            for (name, expected) in [("x-1", own), ("x-2", another)] {
                let mut expected: Vec<&str> = expected.iter().chain(&always).copied().collect();
                let mut found = reached(scope, name);
                expected.sort_unstable();
                found.sort_unstable();
                assert_eq!(found, expected, "{scope} at {name}");
            }
        };
        let site = ["GET /v1/sites/{id}", "GET /v1/sites/{id}/versions"];
        let write = [
            "PUT /v1/sites/{id}",
            "DELETE /v1/sites/{id}",
            "POST /v1/sites/{id}/rollback",
        ];
        let read = [
            "GET /v1/sites",
            "GET /v1/clusters",
            "GET /v1/clusters/{id}",
            "GET /v1/nodes",
            "GET /v1/certificates",
            "GET /v1/events",
        ];
        let read = [&site[..], &read].concat();
        check("read", &read, &read);
        let purge = [
            "POST /service/{id}/purge",
            "POST /service/{id}/purge_all",
            "POST /client/v4/zones/{id}/purge_cache",
        ];
        check("site:x-1:purge", &[&site[..], &purge].concat(), &[]);
        check("site:x-1:write", &[&site[..], &write].concat(), &[]);
        let cluster = ["GET /v1/clusters/{id}", "PUT /v1/clusters/{id}"];
        check("cluster:x-1:publish", &cluster, &[]);
        assert_eq!(reached("admin", "x-1").len(), ROUTES.len());
    }
}
