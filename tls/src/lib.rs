//! Names to certificates: PEM chains, the SNI resolver, the server configuration of rustls.
//!
//! Used by `edge::framework::tls`. Given PEM bytes and names, never paths or sockets. Knows no site.
//! Invariant 6: a chain that does not check never replaces a good one.
