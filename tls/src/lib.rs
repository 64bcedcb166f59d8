//! Names to certificates: PEM chains, the SNI resolver, the server configuration of rustls.
//!
//! Used by `edge::framework::tls`. Given PEM bytes and names, never paths or sockets. Knows no site and reads no clock of its own.
//! The road of a certificate: [`Chain::parse`] checks the bytes, [`Store::build`] decides which chain answers for which name,
//! [`Resolver::replace`] puts the whole snapshot in force, [`server_config`] is what the acceptor runs on.
//! Invariant 6: a chain that does not check never replaces a good one.

pub mod chain;
pub mod name;
pub mod resolver;
pub mod settings;
pub mod store;

pub mod error;
pub mod metrics;

pub use chain::{Chain, UnixSeconds, Validity};
pub use error::{ChainError, TlsError};
pub use metrics::{Metrics, Outcome};
pub use name::CertificateName;
pub use resolver::Resolver;
pub use settings::{MinVersion, server_config};
pub use store::{Entry, Store};
