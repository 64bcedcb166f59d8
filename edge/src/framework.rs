//! Everything that carries bytes (Pingora, the HTTP/1.1 front, TLS, HTTP/2). No decisions.

pub mod front;
pub mod http2;
pub mod listeners;
pub mod phases;
pub mod server;
pub mod tls;
