//! What the API says of itself: OpenAPI 3.1, made from the table of routes.
//!
//! `GET /v1/openapi.json`. Whatever the table does not say is not said here either, so the document cannot differ from what is served: methods,
//! paths, media types, parameters and statuses are those by which calls are routed and answered.

use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::routes::{ALWAYS, ROUTES, Route, Takes};
use super::{Answer, Call};

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
            "schemas": { "Problem": problem_schema() },
        },
    })
}

fn operation(route: &Route) -> Value {
    let captured = route.path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(parameter(name, "path", true))
    });
    let queried = route
        .query
        .iter()
        .map(|name| parameter(name, "query", false));
    let statuses = route.answers.iter().chain(ALWAYS);
    let responses: Map<String, Value> = statuses
        .map(|status| (status.to_string(), response(*status)))
        .collect();
    let mut operation = json!({
        "summary": route.summary,
        "parameters": captured.chain(queried).collect::<Vec<_>>(),
        "responses": responses,
    });
    if let Takes::OneOf(kinds) = route.takes {
        let content: Map<String, Value> = kinds
            .iter()
            .map(|kind| ((*kind).to_owned(), json!({})))
            .collect();
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

fn parameter(name: &str, place: &str, required: bool) -> Value {
    json!({ "name": name, "in": place, "required": required, "schema": { "type": "string" } })
}

fn response(status: u16) -> Value {
    let reason = http::StatusCode::from_u16(status).ok();
    let reason = reason.and_then(|status| status.canonical_reason());
    let mut response = json!({ "description": reason.unwrap_or("See the status") });
    if status >= 400 {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        response["content"] = json!({ "application/problem+json": { "schema": schema } });
    }
    response
}

/// RFC 9457, with a JSON pointer for each value that is wrong.
fn problem_schema() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": text, "title": text, "status": { "type": "integer" }, "detail": text,
            "errors": { "type": "array", "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": { "pointer": text, "detail": text },
            } },
        },
    })
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
}
