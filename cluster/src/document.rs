//! The published state of a cluster (version 1): one JSON document, checked whole.
//!
//! Unknown fields are ignored, so that a newer publisher does not blind a fleet; an unknown `v` is refused.

use std::net::SocketAddr;

use jet9_config::{ClusterId, Side};

use crate::Epoch;

/// A document, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The cluster that it is about.
    pub cluster: ClusterId,
    /// Its number.
    pub epoch: Epoch,
    /// What the cluster does.
    pub phase: Phase,
    /// The addresses of side `a`, in order of preference.
    pub a: SideFacts,
    /// The addresses of side `b`.
    pub b: SideFacts,
    /// What proves that the old side is out.
    pub fencing: Fencing,
    /// How long a confirmed reading lets the edge send, in milliseconds.
    pub edge_lease_ms: u64,
    /// How long requests may be held while switching, in milliseconds.
    pub hold_ms: u64,
    /// One life of the cluster.
    pub incarnation: Option<String>,
    /// Why the epoch changed, as published.
    pub reason: Option<String>,
    /// How the previous master ended.
    pub prev_ended: Option<Ended>,
    /// Orders documents of one epoch (addresses may change within it).
    pub publisher_seq: Option<u64>,
}

/// What a cluster does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// One side serves.
    Serving {
        /// Which.
        master: Side,
    },
    /// Between masters; soon over.
    Switching,
    /// Both sides are down.
    Down,
    /// The operator took it out.
    Drained,
}

/// What is known of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideFacts {
    /// Where it listens.
    pub addrs: Vec<SocketAddr>,
    /// Where its guard listens.
    pub guard: Option<SocketAddr>,
}

/// The fencing class of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fencing {
    /// The old side is proved stopped before `serving` is published.
    Confirmed,
    /// Nothing proves it; the lease does.
    Lease,
    /// The owner accepts both sides.
    None,
}

/// How a master ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It stepped down.
    Demoted,
    /// It was fenced.
    Fenced,
    /// Nobody knows.
    Unconfirmed,
}

/// A document that cannot be used; names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct DocumentError {
    /// The JSON pointer of the value.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

impl Document {
    /// Parses and checks a document.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn parse(_json: &[u8]) -> Result<Self, DocumentError> {
        unimplemented!()
    }
}
