//! Purge calls in the shapes of other services' APIs, for plugins that know no other: Fastly's and Cloudflare's.
//!
//! The service or zone in the path is the id of a site; the token is one of ours that may purge it. Each is turned into a call of
//! `/v1/purges` and done as that: the same checks, all or nothing, durable when it is answered. Answered in the shape of the service where
//! it worked, as all calls are where it did not. Purges are hard, but for `Fastly-Soft-Purge: 1`.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::{Answer, Call, purges};
use crate::control::purge::FieldError;

/// `POST /service/{id}/purge_all`.
pub(super) async fn fastly_all(call: Call<'_>) -> Result<Answer, Problem> {
    let wanted = json!({ "site": call.name, "all": true, "mode": fastly_mode(&call) });
    let sequence = purges::numbered(&call, &wanted, &[]).await?;
    Ok(Answer::ok(json!({ "status": "ok", "id": sequence })))
}

/// `POST /service/{id}/purge`: the keys are in the body, or in `Surrogate-Key`.
pub(super) async fn fastly_keys(call: Call<'_>) -> Result<Answer, Problem> {
    let keys = match call.fields.get("surrogate-key") {
        Some(keys) => {
            let keys = String::from_utf8_lossy(keys.as_bytes()).into_owned();
            keys.split_ascii_whitespace().map(Value::from).collect()
        }
        None => members(&call)?.remove("surrogate_keys").unwrap_or_default(),
    };
    let wanted = json!({ "site": call.name, "tags": keys, "mode": fastly_mode(&call) });
    let sequence = purges::numbered(&call, &wanted, &[("/tags", "/surrogate_keys")]).await?;
    let keys = keys.as_array().into_iter().flatten();
    let done = keys.filter_map(|key| Some((key.as_str()?.to_owned(), json!(sequence))));
    Ok(Answer::ok(Value::Object(done.collect())))
}

fn fastly_mode(call: &Call<'_>) -> &'static str {
    match call.fields.get("fastly-soft-purge") {
        Some(value) if value == "1" => "soft",
        _ => "hard",
    }
}

/// `POST /client/v4/zones/{id}/purge_cache`: everything, files, tags or prefixes.
pub(super) async fn cloudflare(call: Call<'_>) -> Result<Answer, Problem> {
    let mut members = members(&call)?;
    let files = members.remove("files").map(|files| each(files, url_of));
    let prefixes = members.remove("prefixes").map(|list| each(list, path_of));
    let wanted = json!({
        "site": call.name,
        "all": members.remove("purge_everything"),
        "urls": files,
        "tags": members.remove("tags"),
        "prefixes": prefixes,
        "mode": "hard",
    });
    if let Some(name) = members.keys().next() {
        let message = "cannot be purged by: give files, tags, prefixes or purge_everything";
        return Err(Problem::unprocessable(vec![FieldError {
            pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            message: message.to_owned(),
        }]));
    }
    let names = [("/urls", "/files"), ("/all", "/purge_everything")];
    let sequence = purges::numbered(&call, &wanted, &names).await?;
    let result = json!({ "id": sequence });
    Ok(Answer::ok(
        json!({ "success": true, "errors": [], "messages": [], "result": result }),
    ))
}

/// The members of the body.
fn members(call: &Call<'_>) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(call.body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "expected an object")),
        Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, error.to_string())),
    }
}

fn each(list: Value, change: fn(Value) -> Value) -> Value {
    match list {
        Value::Array(values) => values.into_iter().map(change).collect(),
        other => other,
    }
}

/// A file is its URL, or an object with it and with headers that select a variant; here all variants are meant.
fn url_of(mut file: Value) -> Value {
    match file.get_mut("url") {
        Some(url) => url.take(),
        None => file,
    }
}

/// A prefix is a host and the beginning of a path there, with or without a scheme.
fn path_of(prefix: Value) -> Value {
    match prefix.as_str() {
        Some(text) if !text.contains("//") => format!("//{text}").into(),
        _ => prefix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_prefixes_are_said_in_our_words() {
        let file = json!({ "url": "http://a.test/x", "headers": { "Origin": "b" } });
        assert_eq!(url_of(file), json!("http://a.test/x"));
        assert_eq!(url_of(json!("http://a.test/y")), json!("http://a.test/y"));
        assert_eq!(path_of(json!("a.test/x/y")), json!("//a.test/x/y"));
        let absolute = json!("http://a.test/x");
        assert_eq!(path_of(absolute.clone()), absolute);
        assert_eq!(path_of(json!(1)), json!(1), "refused later");
        assert_eq!(each(json!(1), url_of), json!(1), "refused later");
    }
}
