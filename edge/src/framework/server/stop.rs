//! Signals: a stop that loses no answer under way, and reading everything again.
//!
//! Pingora waits in [`Signals::recv`] for the end; that drains the node first and then tells it to end at once, because its own graceful stop
//! sleeps its whole period whatever is under way. SIGTERM or SIGINT begins the stop, a second one ends it, SIGHUP reloads.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jet9_config::node::Node;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::notify;
use super::reload::Reload;
use crate::framework::tls::Certificates;
use crate::parts::Edge;

/// How long the store and the log may take to write down what they have.
const FLUSH: Duration = Duration::from_secs(10);

/// Waits for signals.
pub(super) struct Signals {
    edge: Arc<Edge>,
    reload: Arc<Reload>,
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Stop,
    Reload,
}

/// How the wait for the routers ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Withdrawn {
    /// The limit passed.
    InOrder,
    /// A second signal came.
    InHaste,
}

struct Sources {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Sources {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }

    async fn stop(&mut self) {
        while self.next().await != Wish::Stop {}
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let sources = Sources::new();
        // Not before: who is told that the node is ready may ask it to stop, and an uncaught signal ends it without order.
        self.edge.health.started();
        match sources {
            Ok(mut sources) => self.until_stopped(&mut sources).await,
            Err(error) => {
                log::error!("no signals can be received: {error}; only SIGKILL ends this process");
                std::future::pending().await
            }
        }
        ShutdownSignal::FastShutdown
    }
}

impl Signals {
    /// For the node of this file and these parts.
    pub(super) fn new(
        file: &Path,
        node: Node,
        edge: Arc<Edge>,
        certificates: Arc<Certificates>,
    ) -> Self {
        let reload = Reload {
            file: file.to_owned(),
            node,
            edge: Arc::clone(&edge),
            certificates,
        };
        Self {
            edge,
            reload: Arc::new(reload),
        }
    }

    async fn until_stopped(&self, sources: &mut Sources) {
        while sources.next().await == Wish::Reload {
            let reload = Arc::clone(&self.reload);
            tokio::spawn(async move { reload.run().await });
        }
        notify::stopping();
        if self.withdraw(sources).await == Withdrawn::InOrder {
            self.drain(sources).await;
        }
        self.write_down().await;
    }

    /// Tells the routers first, and serves whom they send until they have heard it.
    async fn withdraw(&self, sources: &mut Sources) -> Withdrawn {
        let wait = self.edge.limits.withdraw;
        self.edge.drain.withdraw();
        if wait.is_zero() {
            return Withdrawn::InOrder;
        }
        log::info!("withdrawing: not ready any more, accepting for {wait:?}");
        tokio::select! {
            () = tokio::time::sleep(wait) => Withdrawn::InOrder,
            () = sources.stop() => {
                log::warn!("a second signal: {} exchanges are cut", self.edge.drain.under_way());
                Withdrawn::InHaste
            }
        }
    }

    /// Waits until nothing is under way, or the limit passed, or a second signal came.
    async fn drain(&self, sources: &mut Sources) {
        let limit = self.edge.limits.drain;
        log::info!(
            "stopping: {} exchanges under way, {limit:?} for them",
            self.edge.drain.under_way()
        );
        self.edge.drain.start();
        tokio::select! {
            () = self.edge.drain.idle() => log::info!("nothing is under way any more"),
            () = tokio::time::sleep(limit) => {
                log::warn!("limits.drain passed: {} exchanges are cut", self.edge.drain.under_way());
            }
            () = sources.stop() => {
                log::warn!("a second signal: {} exchanges are cut", self.edge.drain.under_way());
            }
        }
    }

    async fn write_down(&self) {
        let edge = Arc::clone(&self.edge);
        let log_lines = tokio::task::spawn_blocking(move || edge.recorder.flush());
        let both = async {
            self.edge.cache.close().await;
            // It can only fail by a panic, which was reported.
            let _ = log_lines.await;
        };
        if tokio::time::timeout(FLUSH, both).await.is_err() {
            log::error!("the store or the access log did not finish writing in {FLUSH:?}");
        }
    }
}
