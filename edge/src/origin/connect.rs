//! Connections to sides: opened by us, kept by (cluster, side, epoch), cut when their epoch ends.
//!
//! Implements Pingora's `L4Connect`, so that fetches and pass-through share it. Invariant 1 on open connections: see [`SideConnections::cut`].

/// The open connections to sides.
#[derive(Debug, Default)]
pub struct SideConnections {}
