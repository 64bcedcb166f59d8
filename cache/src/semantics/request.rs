//! Whether a request may be answered from the store (RFC 9111 §4, §5.2.1).
