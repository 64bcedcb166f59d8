//! `POST /v1/explain`.

use http::StatusCode;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Answer, Call, clusters};
use crate::control::explain::{self, Asked, Question};
use crate::control::purge::CallError;
use crate::control::sites::SiteRuntime;
use crate::control::tokens::Right;
use crate::parts::Edge;

/// What would be done with a request. Nothing of a site is told to who may not read it.
pub(super) async fn explain(call: Call<'_>) -> Result<Answer, Problem> {
    let edge = &call.api.edge;
    let question = Question::parse(call.body).map_err(|error| match error {
        CallError::Syntax(message) => Problem::new(StatusCode::BAD_REQUEST, message),
        CallError::Fields(errors) => Problem::unprocessable(errors),
    })?;
    let asked = match Asked::of(edge, &question) {
        Ok(asked) => asked,
        Err(refusal) => return Ok(Answer::ok(explain::refused(&refusal))),
    };
    let named = asked.site(edge);
    let right = match &named {
        Some(site) => Right::ReadSite(site.site.id.as_str()),
        None => Right::Read,
    };
    // The same answer whether the name is somebody else's or nobody's, and whose it is stays untold.
    call.require(right).map_err(|_| {
        let detail = "this token has no scope to read the site of this URL";
        Problem::new(StatusCode::FORBIDDEN, detail)
    })?;
    let mut told = explain::explain(edge, &asked).await;
    told["master"] = named.map(|site| master(edge, &site)).into();
    Ok(Answer::ok(told))
}

fn master(edge: &Edge, site: &SiteRuntime) -> Value {
    let cluster = &site.site.origin.cluster;
    match edge.masters.seen(cluster) {
        Some(seen) => clusters::describe(&seen, edge),
        None => {
            json!({ "cluster": cluster.as_str(), "mastership": "doubtful", "doubt": "unknown" })
        }
    }
}
