//! Conditional requests both ways, and freshening (RFC 9111 §4.3).
