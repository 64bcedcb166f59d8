//! Whether a response may be stored, and how (RFC 9111 §3).
