//! What Cache-Control, in its plain and targeted forms, says (RFC 9111 §5.2, RFC 9213).
