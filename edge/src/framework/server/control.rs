//! The control plane's service: the admin API, the facts that readiness is judged by, and purges that clusters ask for.
//!
//! In a runtime of its own with one thread, so that no load of requests delays it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::{ServiceReadyNotifier, ServiceWithDependents};

use super::notify;
use crate::clock;
use crate::control::api::{self, Api};
use crate::control::health;
use crate::control::mastership;
use crate::framework::listeners::AdminListener;
use crate::parts::Edge;

/// How often the known clusters are counted for readiness.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The service.
pub(super) struct Control {
    api: Arc<Api>,
    admin: Vec<AdminListener>,
    metrics: Option<TcpListener>,
}

impl Control {
    pub(super) fn new(api: Api, admin: Vec<AdminListener>, metrics: Option<TcpListener>) -> Self {
        Self {
            api: Arc::new(api),
            admin,
            metrics,
        }
    }
}

#[async_trait]
impl ServiceWithDependents for Control {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        ready.notify_ready();
        notify::ready();
        let (admin, metrics) = (std::mem::take(&mut self.admin), self.metrics.take());
        let edge = &self.api.edge;
        // A task of its own: what breaks there must not take readiness along.
        tokio::spawn(api::serve(Arc::clone(&self.api), admin, metrics));
        tokio::join!(
            watch_cache(edge),
            count_clusters(edge),
            try_suspects(edge),
            mastership::purge_lost(edge),
            notify::keep_alive(),
        );
    }

    fn name(&self) -> &'static str {
        "control"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

async fn watch_cache(edge: &Edge) {
    edge.cache.loaded().await;
    edge.health.cache_loaded();
}

/// Counts clusters even when nobody asks, so that hysteresis has what happened in between.
async fn count_clusters(edge: &Edge) {
    loop {
        health::count_clusters(edge, clock::monotonic());
        tokio::time::sleep(COUNT_EVERY).await;
    }
}

/// Beside the count, which goes on while many masters take their time.
async fn try_suspects(edge: &Arc<Edge>) {
    loop {
        tokio::join!(tokio::time::sleep(COUNT_EVERY), health::try_suspects(edge));
    }
}
