//! Connections to sides: opened by us, kept by (cluster, side, epoch), cut when their epoch ends.
//!
//! Implements Pingora's `L4Connect`, so that fetches and pass-through share it. Invariant 1 on open connections: see
//! [`SideConnections::epoch_ended`].

use jet9_cluster::Epoch;
use jet9_config::ClusterId;

/// The open connections to sides.
#[derive(Debug, Default)]
pub struct SideConnections {}

/// How an epoch ended, for the exchanges that are still under way in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// Both sides agreed: exchanges under way get two seconds to end.
    Yes,
    /// A crash, a fence or a lease that ran out: they are cut at once.
    No,
}

impl SideConnections {
    /// Ends every connection that was opened under `epoch` or an older one. Call it inside the runtime, right after a higher epoch was
    /// adopted (with the epoch before), or when a lease ran out (with the epoch whose lease it was; new connections may follow under it).
    pub fn epoch_ended(&self, _cluster: &ClusterId, _epoch: Epoch, _planned: Planned) {
        unimplemented!()
    }
}
