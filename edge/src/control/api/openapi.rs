//! What the API says of itself: OpenAPI 3.1, made from the table of routes.
//!
//! `GET /v1/openapi.json`. Whatever the table does not say is not said here either, so the document cannot differ from what is served: methods,
//! paths, media types, parameters and statuses are those by which calls are routed and answered. What bodies look like is in [`super::schemas`].

use std::collections::BTreeSet;

use http::Method;
use jet9_config::names::ID_PATTERN;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::routes::{ALWAYS, Effect, Gives, ROUTES, Route, Takes};
use super::{Answer, Call, idempotency, schemas};

/// The media type of objects.
const JSON_TYPE: &str = "application/json";

/// The media type of problems (RFC 9457).
const PROBLEM_TYPE: &str = "application/problem+json";

/// `GET /v1/openapi.json`.
pub(super) async fn document(_: Call<'_>) -> Result<Answer, Problem> {
    Ok(Answer::ok(made()))
}

fn made() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths
            .entry(route.path)
            .or_insert_with(|| Value::Object(Map::new()));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Jet9 Edge admin API", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "security": [{ "token": [] }],
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas::all(),
        },
    })
}

fn operation(route: &Route) -> Value {
    let captured = route.path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        let mut captured = parameter(name, "path", true);
        captured["schema"]["pattern"] = match name {
            "sequence" => "^[0-9]+$".into(),
            _ => ID_PATTERN.into(),
        };
        Some(captured)
    });
    let queried = route
        .query
        .iter()
        .map(|name| parameter(name, "query", false));
    let responses: Map<String, Value> = statuses(route)
        .into_iter()
        .map(|status| (status.to_string(), response(route, status)))
        .collect();
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "parameters": captured.chain(queried).chain(headers(route)).collect::<Vec<_>>(),
        "responses": responses,
    });
    if let Takes::OneOf(kinds) = route.takes {
        let content: Map<String, Value> = kinds
            .iter()
            .map(|kind| ((*kind).to_owned(), sent(kind, route.sends)))
            .collect();
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

/// `post_sites_id_rollback`.
fn operation_id(route: &Route) -> String {
    let segments = route
        .path
        .split('/')
        .filter(|segment| !matches!(*segment, "" | "v1"));
    let words = segments.map(|segment| segment.replace(|c: char| !c.is_ascii_alphanumeric(), ""));
    let method = route.method.as_str().to_ascii_lowercase();
    std::iter::once(method)
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

/// All that a call may be answered with.
fn statuses(route: &Route) -> BTreeSet<u16> {
    let of_keys: &[u16] = if has_key(route) { &[409, 422] } else { &[] };
    let statuses = route.answers.iter().chain(ALWAYS).chain(of_keys);
    statuses.copied().collect()
}

/// Whether a call may carry an `Idempotency-Key`.
fn has_key(route: &Route) -> bool {
    route.method == Method::POST && route.effect == Effect::Writes
}

/// Fields of the request that count: preconditions where they can fail, and a key where a call must not be done twice.
fn headers(route: &Route) -> impl Iterator<Item = Value> {
    let answers = |status| route.answers.contains(&status);
    let precondition = answers(412).then(|| parameter("If-Match", "header", answers(428)));
    let key = has_key(route).then(|| {
        let mut key = parameter("Idempotency-Key", "header", false);
        key["schema"]["maxLength"] = idempotency::KEY_MAX.into();
        key
    });
    precondition.into_iter().chain(key)
}

/// What content of a media type is: an object by its name, or a text.
fn sent(kind: &str, schema: Option<&str>) -> Value {
    match schema {
        Some(name) if kind == JSON_TYPE => json!({ "schema": schemas::reference(name) }),
        _ => json!({ "schema": { "type": "string" } }),
    }
}

fn parameter(name: &str, place: &str, required: bool) -> Value {
    json!({ "name": name, "in": place, "required": required, "schema": { "type": "string" } })
}

fn response(route: &Route, status: u16) -> Value {
    let reason = http::StatusCode::from_u16(status).ok();
    let reason = reason.and_then(|status| status.canonical_reason());
    let mut response = json!({ "description": reason.unwrap_or("See the status") });
    let content = match (status, route.gives) {
        (400.., _) => json!({ PROBLEM_TYPE: { "schema": schemas::reference("Problem") } }),
        (_, Gives::Nothing) => return response,
        (_, Gives::Json(name)) => json!({ JSON_TYPE: sent(JSON_TYPE, Some(name)) }),
        (_, Gives::JsonOr(name, kind)) => {
            json!({ JSON_TYPE: sent(JSON_TYPE, Some(name)), kind: sent(kind, None) })
        }
        (_, Gives::Text(kind)) => json!({ kind: sent(kind, None) }),
    };
    response["content"] = content;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_in_the_document_with_all_that_it_answers() {
        let document = made();
        for route in ROUTES {
            let method = route.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][route.path][method];
            assert_eq!(operation["summary"], route.summary);
            for status in route.answers.iter().chain(ALWAYS) {
                let response = &operation["responses"][status.to_string()];
                assert!(response.is_object(), "{} {status}", route.path);
            }
        }
    }

    #[test]
    fn each_schema_is_used_and_each_that_is_used_is_there() {
        let mut used = vec!["Problem"];
        for route in ROUTES {
            used.extend(route.sends);
            used.extend(match route.gives {
                Gives::Json(name) | Gives::JsonOr(name, _) => Some(name),
                Gives::Nothing | Gives::Text(_) => None,
            });
            let takes_json = match route.takes {
                Takes::OneOf(kinds) => kinds.contains(&JSON_TYPE),
                Takes::Nothing => false,
            };
            assert_eq!(takes_json, route.sends.is_some(), "{}", route.path);
        }
        used.extend(["Site", "Cluster", "Node", "Certificate", "Token"]);
        used.sort_unstable();
        used.dedup();
        let mut there: Vec<String> = schemas::all().into_iter().map(|(name, _)| name).collect();
        there.sort_unstable();
        assert_eq!(there, used);
    }
}
