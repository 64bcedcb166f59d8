//! Who is calling: the facts of a connection, gathered once when it is accepted.

use std::net::SocketAddr;
use std::sync::Arc;

use jet9_cache::Scheme;

/// The facts of a client's connection. `address` is `None` for the edge's own fetches.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where the client is.
    pub address: Option<SocketAddr>,
    /// The local address of the connection.
    pub local: Option<SocketAddr>,
    /// What TLS told; `None` in clear.
    pub tls: Option<TlsFacts>,
}

/// What the handshake told.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// The server name that the client asked for, lower case.
    pub server_name: Option<Arc<str>>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
}

impl Client {
    /// The scheme of requests on this connection.
    pub const fn scheme(&self) -> Scheme {
        if self.tls.is_some() {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }

    /// The edge itself, for fetches without a client.
    pub const fn edge() -> Self {
        Self {
            address: None,
            local: None,
            tls: None,
        }
    }
}
