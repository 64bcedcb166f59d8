//! Which side may a request be sent to now; and if none, is it worth waiting?
//!
//! Asked before every attempt, by fetches and by pass-through alike, and again right before the first byte goes out.
//! Invariant 1: nothing goes to a side under an epoch that is no longer the highest adopted.

use std::net::SocketAddr;

use jet9_cluster::Epoch;
use jet9_config::{ClusterId, Side};

/// The right to send one request: to this side, under this epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The cluster.
    pub cluster: ClusterId,
    /// The live master.
    pub side: Side,
    /// The epoch that made it so.
    pub epoch: Epoch,
    /// Where it listens, the site's port rule applied, in order of preference; never empty.
    pub addrs: Vec<SocketAddr>,
}

/// Why there is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The cluster is switching and the hold ran out, or there was no place to be held.
    Held,
    /// It cannot be known who is master.
    Doubtful(jet9_cluster::Doubt),
    /// Both sides are down.
    Down,
    /// The operator took the cluster out.
    Drained,
}

/// The route for a site's request, waiting for a live master while the cluster switches, within the site's, the cluster's and the node's
/// limits. Drop the future when the client leaves: its place is free again. Adds the time held to the exchange.
///
/// # Errors
/// Says why there is none.
pub async fn route(
    _edge: &crate::parts::Edge,
    _site: &crate::control::sites::SiteRuntime,
    _exchange: &mut crate::exchange::Exchange,
) -> Result<Route, NoRoute> {
    unimplemented!()
}
