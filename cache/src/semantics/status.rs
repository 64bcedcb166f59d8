//! The members of Cache-Status (RFC 9211).
