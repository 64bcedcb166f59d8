//! The composition root: node file to parts to a running server, and its stop.
