//! `/v1/tokens`: tokens with scopes, made, listed and withdrawn. For who has `admin`.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::{Answer, Call};
use crate::control::purge::FieldError;
use crate::control::tokens::{ChangeError, Principal, Scope, Token, Tokens};

/// What a wish for a token may say.
pub(super) const MEMBERS: [&str; 2] = ["name", "scopes"];

/// Characters of a token's name.
pub(super) const NAME_MAX: usize = 64;

/// Of which it is, as a regular expression says it.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9._-]+$";

/// `GET /v1/tokens`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    let tokens = call.api.edge.tokens.list();
    let listed: Vec<Value> = tokens.iter().map(describe).collect();
    Ok(Answer::ok(json!({ "tokens": listed })))
}

/// `POST /v1/tokens` `{name, scopes}`.
pub(super) async fn make(call: Call<'_>) -> Result<Answer, Problem> {
    let (name, scopes) = read(call.body)?;
    let edge = &call.api.edge;
    let now = edge.clock.now().unix_millis();
    let shown: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    let own = name.clone();
    let secret = changed(&call, move |tokens| tokens.make(&own, scopes, now)).await?;
    let body = json!({ "name": name, "scopes": shown, "token": secret });
    Ok(Answer::of(StatusCode::CREATED, body))
}

/// `DELETE /v1/tokens/{name}`.
pub(super) async fn withdraw(call: Call<'_>) -> Result<Answer, Problem> {
    let name = call.name.to_owned();
    changed(&call, move |tokens| tokens.withdraw(&name)).await?;
    // Who gets the name next is somebody else.
    let gone = Principal::name_of_token(call.name);
    call.api.answers.forget(&gone);
    Ok(Answer::nothing())
}

/// Changes the tokens, where it may block.
async fn changed<T: Send + 'static>(
    call: &Call<'_>,
    change: impl FnOnce(&Tokens) -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, Problem> {
    let edge = Arc::clone(&call.api.edge);
    let changing = tokio::task::spawn_blocking(move || change(&edge.tokens));
    let changed = changing
        .await
        .map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    changed.map_err(|error| refusal(&error))
}

fn describe(token: &Token) -> Value {
    let scopes = token.scopes.iter().map(ToString::to_string);
    json!({
        "name": token.name,
        "scopes": scopes.collect::<Vec<_>>(),
        "made_unix_ms": token.made_unix_ms,
    })
}

/// Reads a wish for a token.
pub(super) fn read(json: &[u8]) -> Result<(String, Vec<Scope>), Problem> {
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let none = Map::new();
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, message: String| {
        errors.push(FieldError { pointer, message });
    };
    for name in value.as_object().unwrap_or(&none).keys() {
        if !MEMBERS.contains(&name.as_str()) {
            let token = name.replace('~', "~0").replace('/', "~1");
            wrong(format!("/{token}"), "unknown member".into());
        }
    }
    let name = value["name"].as_str().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(is_plain) {
        let message = format!("expected 1 to {NAME_MAX} of letters, digits, `.`, `_`, `-`");
        wrong("/name".into(), message);
    }
    let mut scopes = Vec::new();
    for (index, scope) in value["scopes"].as_array().into_iter().flatten().enumerate() {
        match Scope::parse(scope.as_str().unwrap_or_default()) {
            Ok(scope) => scopes.push(scope),
            Err(error) => wrong(format!("/scopes/{index}"), error.to_string()),
        }
    }
    if value["scopes"].as_array().is_none_or(Vec::is_empty) {
        wrong("/scopes".into(), "expected an array of scopes".into());
    }
    if errors.is_empty() {
        Ok((name.to_owned(), scopes))
    } else {
        Err(Problem::unprocessable(errors))
    }
}

fn refusal(error: &ChangeError) -> Problem {
    let told = error.to_string();
    match error {
        ChangeError::Exists => Problem::new(StatusCode::CONFLICT, told),
        ChangeError::Missing => Problem::not_found(told),
        ChangeError::TooMany(..) => {
            let pointer = String::new();
            Problem::unprocessable(vec![FieldError {
                pointer,
                message: told,
            }])
        }
        ChangeError::Write(_) => {
            log::error!("{told}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, told)
        }
    }
}
