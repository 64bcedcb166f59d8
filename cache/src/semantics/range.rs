//! Which part of a stored response a Range asks for (RFC 9110 §14).
