//! Answers rustls' question in each handshake: which certificate for this ClientHello?
//!
//! Held by the server configuration of all TLS listeners; `edge` replaces the snapshot in it whole. Server names are RFC 6066 §3.
//! Takes no lock and does no I/O in a handshake. A name that nothing covers, where there is no default certificate, gives `None`, which
//! rustls turns into a fatal alert: the peer learns nothing of the names that are served.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::store::Store;

/// The certificates in force.
#[derive(Debug, Default)]
pub struct Resolver {
    store: ArcSwap<Store>,
}

impl Resolver {
    /// Starts with a snapshot.
    pub fn new(store: Store) -> Self {
        Self {
            store: ArcSwap::from_pointee(store),
        }
    }

    /// Puts a new snapshot in force for all handshakes from now on. Connections that are open keep what they have.
    pub fn replace(&self, store: Store) {
        self.store.store(Arc::new(store));
    }

    /// The snapshot in force.
    pub fn store(&self) -> Arc<Store> {
        self.store.load_full()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.store
            .load()
            .choose(hello.server_name())
            .map(Arc::clone)
    }
}
