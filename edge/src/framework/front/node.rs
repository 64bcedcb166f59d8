//! The node behind the front: its story, its refusals, and Pingora's `HttpProxy` for what passes through.
//!
//! Made by `framework::server` once; shared by all connections.

use std::sync::Arc;

use jet9_config::limits::Limits;
use pingora_proxy::HttpProxy;
use prometheus::IntGauge;
use tokio::sync::watch;

use super::stream::FrontStream;
use super::{Handler, Transport};
use crate::clock::WallClock;
use crate::control::health::Drain;
use crate::exchange::{Exchange, RequestIds};
use crate::framework::http2;
use crate::framework::phases::{self, Passing, Phases};
use crate::interim::Interims;
use crate::message::{Protocol, Request, Response};
use crate::parts::Edge;
use crate::request::client::Client;
use crate::request::guard::Refusal;
use crate::response::fault::{self, ClientFault, Fault};
use crate::story::{self, Answer};

/// What a request without a site may send as content: such requests are not passed through.
const NO_CONTENT: u64 = 0;

/// A running node, as the front sees it.
pub struct Node {
    edge: Arc<Edge>,
    proxy: Arc<HttpProxy<Phases>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.edge.id)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// The node of these parts.
    pub const fn new(edge: Arc<Edge>, proxy: Arc<HttpProxy<Phases>>) -> Self {
        Self { edge, proxy }
    }
}

impl Handler for Node {
    fn limits(&self) -> &Limits {
        &self.edge.limits
    }

    fn drain(&self) -> &Drain {
        &self.edge.drain
    }

    fn clock(&self) -> &WallClock {
        &self.edge.clock
    }

    fn request_ids(&self) -> &RequestIds {
        &self.edge.request_ids
    }

    fn connections_open(&self, protocol: Option<Protocol>) -> &IntGauge {
        self.edge.recorder.edge().connections_open(protocol)
    }

    async fn answer(
        &self,
        exchange: &mut Exchange,
        request: &Request,
        interims: &Interims,
    ) -> Answer {
        story::answer(&self.edge, exchange, request, interims).await
    }

    fn refuse(&self, exchange: &mut Exchange, refusal: &Refusal) -> Response {
        story::refuse(&self.edge, exchange, refusal)
    }

    fn late(&self, exchange: &mut Exchange) -> Response {
        fault::respond(
            &self.edge,
            exchange,
            None,
            &Fault::Client(ClientFault::Timeout),
        )
    }

    fn content_max(&self, exchange: &Exchange) -> u64 {
        exchange
            .site
            .as_ref()
            .map_or(NO_CONTENT, |site| site.site.body)
    }

    async fn pass(&self, stream: FrontStream, passing: Passing, close: bool) -> bool {
        // A stop is told to the client by `close`; Pingora need not look for it.
        let (_keep, shutdown) = watch::channel(false);
        phases::pass(&self.proxy, stream, passing, close, &shutdown).await
    }

    async fn http2(&self, transport: Transport, client: Arc<Client>) {
        let (edge, proxy) = (Arc::clone(&self.edge), Arc::clone(&self.proxy));
        http2::serve(edge, proxy, transport, client).await;
    }

    fn finished(&self, exchange: &Exchange) {
        self.edge.recorder.finished(exchange);
    }
}
