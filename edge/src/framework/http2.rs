//! HTTP/2 carried by Pingora.

use std::sync::Arc;

use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;

use crate::framework::phases::Phases;
use crate::parts::Edge;
use crate::request::client::Client;

/// Serves one connection whose ALPN chose `h2`, until it ends. A shutdown announces GOAWAY and lets running streams end.
pub async fn serve(
    _edge: Arc<Edge>,
    _proxy: Arc<HttpProxy<Phases>>,
    _stream: Stream,
    _client: Arc<Client>,
    _shutdown: ShutdownWatch,
) {
    unimplemented!()
}
