//! What is agreed in a handshake: versions, suites, protocols, resumption.
//!
//! Called once at start by `edge::framework::tls`; the one configuration serves all TLS listeners, and certificates change inside its
//! [`Resolver`]. TLS 1.2 is RFC 5246 with forward-secret AEAD suites only, TLS 1.3 RFC 8446, ALPN RFC 7301, tickets RFC 5077.
//! Early data is off: a replayed request could reach an origin twice (RFC 8470 §3; invariant 2).
//! The provider is named here, never taken from the process: two are linked, and only one has been chosen.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::ServerSessionMemoryCache;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use crate::error::TlsError;
use crate::resolver::Resolver;

/// The most sessions kept in memory, for TLS 1.2 clients that resume by session id. All others carry their own tickets.
/// A session is some hundreds of bytes: about 2 MiB when full, the oldest giving way.
pub const SESSIONS_MAX: usize = 4_096;

/// The protocols offered, best first (RFC 7301 §3.2: the server's order decides).
pub const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

static TLS12_AND_13: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
static TLS13_ONLY: [&SupportedProtocolVersion; 1] = [&version::TLS13];

/// The lowest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

impl MinVersion {
    /// Reads `1.2` or `1.3`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "1.2" => Some(Self::Tls12),
            "1.3" => Some(Self::Tls13),
            _ => None,
        }
    }

    const fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => &TLS12_AND_13,
            Self::Tls13 => &TLS13_ONLY,
        }
    }
}

/// The configuration of every TLS listener. Keys of tickets are random, change every 6 hours, and are accepted for 12 at most; they live
/// in this value only, so sessions do not outlive the process.
///
/// # Errors
/// When the system gives no randomness for the ticket keys.
pub fn server_config(
    resolver: Arc<Resolver>,
    min: MinVersion,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(min.versions())?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
