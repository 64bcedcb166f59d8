//! Liveness, readiness, and the way to a stop.

/// Whether the node is stopping.
#[derive(Clone, Debug)]
pub struct Drain {}
