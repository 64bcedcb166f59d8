//! `/v1/nodes`: the fleet as far as this version knows it, which is this node.

use http::StatusCode;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Answer, Call};
use crate::clock;
use crate::control::health::{self, NotReady};
use crate::parts::Edge;

/// `GET /v1/nodes`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    Ok(Answer::ok(json!({ "nodes": [this(&call.api.edge)] })))
}

/// `POST /v1/nodes/self/drain`: routers are told to send nobody here; whoever comes is served as before.
pub(super) async fn drain(call: Call<'_>) -> Result<Answer, Problem> {
    let edge = &call.api.edge;
    edge.drain.withdraw();
    Ok(Answer::ok(this(edge)))
}

/// `POST /v1/nodes/self/undrain`.
pub(super) async fn undrain(call: Call<'_>) -> Result<Answer, Problem> {
    let edge = &call.api.edge;
    if edge.drain.restore() {
        Ok(Answer::ok(this(edge)))
    } else {
        Err(Problem::new(StatusCode::CONFLICT, "the node is stopping"))
    }
}

fn this(edge: &Edge) -> Value {
    let now = clock::monotonic();
    health::count_clusters(edge, now);
    let reasons = edge.health.ready(now).err().unwrap_or_default();
    let reasons: Vec<&str> = reasons.into_iter().map(NotReady::as_str).collect();
    json!({
        "id": edge.id,
        "zone": edge.zone,
        "self": true,
        "version": env!("CARGO_PKG_VERSION"),
        "ready": reasons.is_empty(),
        "not_ready": reasons,
        "draining": edge.drain.is_withdrawn(),
        "sites": edge.sites.all().len(),
        "generation": edge.sites.generation(),
    })
}
