//! `/v1/clusters`: state as this node sees it, and publishing by compare-and-swap.

use http::StatusCode;
use http::header::IF_MATCH;
use jet9_cluster::{Doubt, Epoch, Mastership};
use jet9_config::ClusterId;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Answer, Call};
use crate::control::mastership::{PublishError, Seen};
use crate::control::purge::FieldError;
use crate::control::reserves::Reserve;
use crate::parts::Edge;

/// `GET /v1/clusters`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    let edge = &call.api.edge;
    let seen = edge.masters.all();
    let clusters: Vec<Value> = seen.iter().map(|seen| describe(seen, edge)).collect();
    Ok(Answer::ok(json!({ "clusters": clusters })))
}

/// `GET /v1/clusters/{id}`: also the document as it was published.
pub(super) async fn one(call: Call<'_>) -> Result<Answer, Problem> {
    let edge = &call.api.edge;
    let masters = &edge.masters;
    let id = ClusterId::parse(call.name).map_err(|_| unknown(call.name))?;
    let seen = masters.seen(&id).ok_or_else(|| unknown(call.name))?;
    let mut body = describe(&seen, edge);
    body["document"] = masters.published(&id).await.unwrap_or(Value::Null);
    Ok(Answer::ok(body).tagged(seen.epoch.0))
}

/// `PUT /v1/clusters/{id}`: `If-Match` names the epoch that is there (`"0"`: none). Answers once it is in force, after the wait for leases that the
/// fencing class may demand.
pub(super) async fn publish(call: Call<'_>) -> Result<Answer, Problem> {
    let id = ClusterId::parse(call.name)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let expected = expected(&call)?;
    let edge = &call.api.edge;
    let masters = &edge.masters;
    masters
        .publish(&id, call.body, expected)
        .await
        .map_err(refusal)?;
    let seen = masters.seen(&id).ok_or_else(|| unknown(call.name))?;
    Ok(Answer::ok(describe(&seen, edge)).tagged(seen.epoch.0))
}

/// `POST /v1/clusters/{id}/forget`: on this node, the epochs of a life of the cluster that is over.
pub(super) async fn forget(call: Call<'_>) -> Result<Answer, Problem> {
    let masters = &call.api.edge.masters;
    let id = ClusterId::parse(call.name).map_err(|_| unknown(call.name))?;
    let before = masters.seen(&id).ok_or_else(|| unknown(call.name))?;
    if !masters.forget(&id).await {
        return Err(unknown(call.name));
    }
    let now = masters.seen(&id);
    Ok(Answer::ok(json!({
        "cluster": id.as_str(),
        "forgotten_epoch": before.epoch.0,
        "epoch": now.map_or(0, |seen| seen.epoch.0),
    })))
}

fn expected(call: &Call<'_>) -> Result<Epoch, Problem> {
    let field = call.fields.get(IF_MATCH).ok_or_else(|| {
        let detail = "If-Match must name the epoch that is there, \"0\" for none";
        Problem::new(StatusCode::PRECONDITION_REQUIRED, detail)
    })?;
    let text = field.to_str().unwrap_or_default();
    let number = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let epoch = number.and_then(|number| number.parse().ok()).map(Epoch);
    epoch.ok_or_else(|| {
        let detail = "expected one entity tag in If-Match, such as \"42\"";
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

fn refusal(error: PublishError) -> Problem {
    let told = error.to_string();
    match error {
        PublishError::Moved { .. } | PublishError::Overtaken(_) => {
            Problem::new(StatusCode::PRECONDITION_FAILED, told)
        }
        PublishError::Older { .. } => Problem::new(StatusCode::CONFLICT, told),
        PublishError::Document(error) => Problem::unprocessable(vec![FieldError {
            pointer: error.pointer,
            message: error.message,
        }]),
        PublishError::Owed(error) => Problem::conflict(vec![FieldError {
            pointer: error.pointer,
            message: error.message,
        }]),
        PublishError::ReadOnly => Problem::new(StatusCode::METHOD_NOT_ALLOWED, told),
        PublishError::Read(_)
        | PublishError::Write(_)
        | PublishError::Etcd(_)
        | PublishError::NotSeen => Problem::new(StatusCode::SERVICE_UNAVAILABLE, told),
    }
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("nothing was published of a cluster `{id}`"))
}

/// What this node sees of a cluster.
pub(super) fn describe(seen: &Seen, edge: &Edge) -> Value {
    let document = seen.document.as_ref();
    let (word, master, doubt) = match &seen.mastership {
        Mastership::Live { side, .. } => ("live", Some(side.as_str()), None),
        Mastership::Switching { .. } => ("switching", None, None),
        Mastership::Doubtful(doubt) => ("doubtful", None, Some(Doubt::as_str(*doubt))),
        Mastership::Vacant { .. } => ("vacant", None, None),
    };
    json!({
        "cluster": seen.cluster.as_str(),
        "mastership": word,
        "master": master,
        "doubt": doubt,
        "epoch": seen.epoch.0,
        "phase": document.map(|document| document.phase.as_str()),
        "fencing": document.map(|document| document.fencing.as_str()),
        "reason": document.and_then(|document| document.reason.as_deref()),
        "adopted_unix_ms": seen.adopted.map(jet9_cache::Timestamp::unix_millis),
        "refused": seen.refused,
        "reserve": edge.reserves.of(&seen.cluster).map(Reserve::as_str),
    })
}
