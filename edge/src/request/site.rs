//! Which site a request is for: 421 when TLS and Host disagree, 404 when nobody has the name.
