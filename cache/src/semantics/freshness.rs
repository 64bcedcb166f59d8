//! How fresh a stored response is, and whether it may be served stale (RFC 9111 §4.2).
