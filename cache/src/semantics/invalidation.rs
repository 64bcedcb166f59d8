//! What an unsafe request invalidates (RFC 9111 §4.4).
