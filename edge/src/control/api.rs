//! The admin API: routes, authorisation, problem details; and the metrics listener.
//!
//! Started by `framework::server` on the control runtime, beside the requests and never before them. The sockets are bound already.

use std::net::TcpListener;
use std::sync::Arc;

use prometheus::Registry;

use crate::framework::listeners::AdminListener;
use crate::framework::tls::Certificates;
use crate::parts::Edge;

/// What the API works on.
#[derive(Debug)]
pub struct Api {
    /// The node. `health` answers `/livez` and `/readyz`.
    pub edge: Arc<Edge>,
    /// All metrics.
    pub registry: Registry,
    /// The certificates, for those who put or list them.
    pub certificates: Arc<Certificates>,
    /// Where tokens are kept.
    pub data_dir: std::path::PathBuf,
}

/// Serves the bound sockets (non-blocking ones of the standard library) until the process ends. `metrics`: `/metrics`, `/livez`, `/readyz`.
pub async fn serve(_api: Arc<Api>, _admin: Vec<AdminListener>, _metrics: Option<TcpListener>) {
    unimplemented!()
}
