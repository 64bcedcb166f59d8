//! `/v1/nodes`: the fleet as far as this version knows it, which is this node.

use serde_json::json;

use super::problem::Problem;
use super::{Answer, Call};
use crate::clock;
use crate::control::health::{self, NotReady};

/// `GET /v1/nodes`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    let edge = &call.api.edge;
    let now = clock::monotonic();
    health::count_clusters(edge, now);
    let reasons = edge.health.ready(now).err().unwrap_or_default();
    let reasons: Vec<&str> = reasons.into_iter().map(NotReady::as_str).collect();
    let node = json!({
        "id": edge.id,
        "zone": edge.zone,
        "self": true,
        "version": env!("CARGO_PKG_VERSION"),
        "ready": reasons.is_empty(),
        "not_ready": reasons,
        "draining": edge.drain.is_draining(),
        "sites": edge.sites.all().len(),
        "generation": edge.sites.generation(),
    });
    Ok(Answer::ok(json!({ "nodes": [node] })))
}
