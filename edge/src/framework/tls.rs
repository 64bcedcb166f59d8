//! The TLS handshake of a client connection, with our own rustls configuration and deadline.
