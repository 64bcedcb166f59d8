//! What a request needs at hand: the parts of the running node, put together by `framework::server`, shared by every exchange.

use std::sync::Arc;

use jet9_cache::Cache;
use jet9_config::limits::Limits;

use crate::clock::WallClock;
use crate::control::health::{Drain, Health};
use crate::control::mastership::Masters;
use crate::control::purge::{Queue, Senders};
use crate::control::reserves::Reserves;
use crate::control::sites::Sites;
use crate::control::tokens::Tokens;
use crate::exchange::RequestIds;
use crate::origin::connect::SideConnections;
use crate::origin::fetch::Origins;
use crate::record::Recorder;

/// The parts of a running node.
#[derive(Debug)]
pub struct Edge {
    /// `node.id`.
    pub id: String,
    /// `node.zone`.
    pub zone: String,
    /// This node in `Via`.
    pub via: http::HeaderValue,
    /// The wall clock by which ages, freshness and dates are told.
    pub clock: WallClock,
    /// The port that redirects to https name; `None` for 443.
    pub https_port: Option<u16>,
    /// The largest content that is stored, in bytes.
    pub max_object: u64,
    /// The bounds.
    pub limits: Limits,
    /// The certificates in use.
    pub certificates: Arc<jet9_tls::Resolver>,
    /// The sites in force.
    pub sites: Sites,
    /// The live masters.
    pub masters: Arc<Masters>,
    /// Whether the reserves of the clusters are there.
    pub reserves: Arc<Reserves>,
    /// The store.
    pub cache: Arc<Cache>,
    /// The way to the sides.
    pub origins: Origins,
    /// Open connections to sides, to be cut at an epoch change.
    pub side_connections: Arc<SideConnections>,
    /// The access log and the request metrics.
    pub recorder: Recorder,
    /// Whether the node is stopping.
    pub drain: Drain,
    /// What `/livez` and `/readyz` tell; those who load sites, cluster state and the index say so here.
    pub health: Health,
    /// Who may use the admin API, and purge on sites' own names.
    pub tokens: Tokens,
    /// The purges that wait, by site.
    pub purges: Queue,
    /// Whose purge it is that comes to the edge's own address.
    pub senders: Senders,
    /// Names for exchanges.
    pub request_ids: RequestIds,
}
