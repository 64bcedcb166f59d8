//! `/v1/purges`.

use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Answer, Call};
use crate::control::purge::{self, CallError, FieldError, NotPurged, Performed};
use crate::control::tokens::Right;

/// `POST`: purges, all or nothing; durable when it answers 200.
pub(super) async fn create(call: Call<'_>) -> Result<Answer, Problem> {
    let wanted = purge::Call::parse(call.body).map_err(refusal)?;
    call.require(Right::Purge(&wanted.site))?;
    let (count, performed) = perform(&call, &wanted, Problem::unprocessable).await?;
    let mode = purge::mode_word(wanted.mode);
    let common = json!({ "site": wanted.site, "mode": mode, "things": count });
    Ok(answer(&call.api.edge.id, common, performed))
}

/// Does a purge whose caller has the right to it; its number. `names`: what values are called in the body that was sent, for those that
/// are told of.
pub(super) async fn numbered(
    call: &Call<'_>,
    wanted: &Value,
    names: &[(&str, &str)],
) -> Result<u64, Problem> {
    let told = |errors: Vec<FieldError>| {
        let renamed = errors.into_iter().map(|error| rename(error, names));
        Problem::unprocessable(renamed.collect())
    };
    let wanted = purge::Call::parse(wanted.to_string().as_bytes());
    let wanted = wanted.map_err(|error| match error {
        CallError::Fields(errors) => told(errors),
        error @ CallError::Syntax(_) => refusal(error),
    })?;
    match perform(call, &wanted, told).await? {
        (_, Performed::Applied(purged)) => Ok(purged.sequence),
        (_, Performed::Lagging) => {
            let late = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not done in time; it goes on",
            );
            Err(late.with(RETRY_AFTER, 5.into()))
        }
    }
}

/// An error, by what its value is called in the body that was sent.
fn rename(mut error: FieldError, names: &[(&str, &str)]) -> FieldError {
    let found = names
        .iter()
        .find(|(ours, _)| error.pointer.starts_with(ours));
    if let Some((ours, theirs)) = found {
        error.pointer = error.pointer.replacen(ours, theirs, 1);
    }
    error
}

fn not_done(error: &NotPurged) -> Problem {
    let told = error.to_string();
    match error {
        NotPurged::TooMany => Problem::crowded(StatusCode::TOO_MANY_REQUESTS, told),
        NotPurged::Failed(_) => {
            log::error!("{told}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, told).with(RETRY_AFTER, 5.into())
        }
    }
}

fn refusal(error: CallError) -> Problem {
    match error {
        CallError::Syntax(message) => Problem::new(StatusCode::BAD_REQUEST, message),
        CallError::Fields(errors) => Problem::unprocessable(errors),
    }
}

/// How many things were purged, and whether they are by now.
async fn perform(
    call: &Call<'_>,
    wanted: &purge::Call,
    told: impl Fn(Vec<FieldError>) -> Problem,
) -> Result<(usize, Performed), Problem> {
    let edge = &call.api.edge;
    let site = edge.sites.by_id(&wanted.site);
    let site = site.ok_or_else(|| Problem::not_found(format!("no site `{}`", wanted.site)))?;
    let is_name = |host: &str| purge::has_name(&edge.sites, &site, host);
    let what = wanted
        .what(edge.cache.keys(), &site, is_name)
        .map_err(told)?;
    let (count, mode) = (what.len(), purge::mode_word(wanted.mode));
    let purge = purge::of_site(&site, what, wanted.mode);
    let performed = purge::admitted(edge, purge, wanted.timeout).await;
    let performed = performed.map_err(|error| not_done(&error))?;
    log::info!("purged site={} things={count} mode={mode}", wanted.site);
    Ok((count, performed))
}

/// `GET /v1/purges/{sequence}`: by node. What has a number is durable here, and what is durable here is applied here.
pub(super) async fn one(call: Call<'_>) -> Result<Answer, Problem> {
    let edge = &call.api.edge;
    let sequence = call.name.parse().ok();
    let known = sequence.filter(|number| (1..=edge.cache.purge_sequence()).contains(number));
    let sequence = known
        .ok_or_else(|| Problem::not_found(format!("no purge has the number `{}`", call.name)))?;
    Ok(Answer::ok(
        json!({ "sequence": sequence, "applied": [edge.id], "lagging": [] }),
    ))
}

fn answer(node: &str, mut body: Value, performed: Performed) -> Answer {
    match performed {
        Performed::Applied(purged) => {
            body["sequence"] = purged.sequence.into();
            body["applied"] = json!([node]);
            body["lagging"] = json!([]);
            Answer::ok(body)
        }
        Performed::Lagging => {
            body["applied"] = json!([]);
            body["lagging"] = json!([node]);
            Answer::of(StatusCode::ACCEPTED, body)
        }
    }
}
