//! The published state of a cluster (version 1): one JSON document, checked whole.
//!
//! Read by `edge::control::mastership` for every document that a source shows. Unknown fields are ignored, so that a newer publisher does
//! not blind a fleet; an unknown `v` is refused. Knows nothing of what was published before: that is [`crate::view`].
//! Invariant: a document that says `serving` names a side that it also gives addresses for.

use std::fmt;
use std::net::SocketAddr;

use jet9_config::{ClusterId, Side};

use crate::Epoch;
use crate::json::{Json, Node};

mod check;

pub(crate) use check::{cluster, incarnation, phase, version};

/// The most bytes of one document.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// The most addresses of one side.
pub const ADDRS_MAX: usize = 16;
/// The most characters kept of a reason; the rest is cut.
pub const REASON_CHARS_MAX: usize = 128;
/// The longest name of an incarnation, in bytes.
pub const INCARNATION_BYTES_MAX: usize = 64;
/// `edge_lease_ms` where the document gives none.
pub const EDGE_LEASE_MS_DEFAULT: u64 = 3_000;
/// The shortest and the longest lease that make sense, inclusive: below, one lost packet ends it; above, no publisher would wait for it.
pub const EDGE_LEASE_MS: (u64, u64) = (100, 300_000);
/// `hold_ms` where the document gives none.
pub const HOLD_MS_DEFAULT: u64 = 10_000;
/// The longest hold, inclusive; no client waits longer. 0 is allowed: do not hold.
pub const HOLD_MS_MAX: u64 = 300_000;

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
    /// The side that was master before; `None`: nobody says.
    pub prev_master: Option<Side>,
    /// How the previous master ended. A word that is not known counts as [`Ended::Unconfirmed`], the most careful one.
    pub prev_ended: Option<Ended>,
    /// From when on the previous master's writes are lost, in Unix milliseconds: what was stored since then is to be revalidated.
    pub data_loss_from_unix_ms: Option<u64>,
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
    /// Whether the operator keeps it from becoming master. The publisher obeys it; the edge only shows it.
    pub drained: bool,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// The JSON pointer of the value (RFC 6901); empty: the whole document.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

impl Document {
    /// Parses and checks a document.
    ///
    /// # Errors
    /// Names the first field that is wrong. `v` is looked at before all else.
    pub fn parse(json: &[u8]) -> Result<Self, DocumentError> {
        let json = Json::parse(json, DOCUMENT_BYTES_MAX)?;
        check::document(&Node::root(&json))
    }

    /// Parses and checks a document that stands in the place of this cluster's.
    ///
    /// # Errors
    /// As [`Self::parse`], and when it is about another cluster.
    pub fn of(json: &[u8], cluster: &ClusterId) -> Result<Self, DocumentError> {
        let document = Self::parse(json)?;
        if document.cluster == *cluster {
            return Ok(document);
        }
        Err(DocumentError {
            pointer: "/cluster".into(),
            message: format!("`{}` in the place of cluster `{cluster}`", document.cluster),
        })
    }

    /// What is known of a side.
    pub const fn side(&self, side: Side) -> &SideFacts {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// Whether this epoch came about by plan or with a proof that the old master is out; the others count as flapping when they crowd.
    pub fn is_planned(&self) -> bool {
        matches!(self.prev_ended, Some(Ended::Demoted | Ended::Fenced))
            || matches!(self.reason.as_deref(), Some("operator" | "standby"))
    }
}

impl Phase {
    /// The word of the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving { .. } => "serving",
            Self::Switching => "switching",
            Self::Down => "down",
            Self::Drained => "drained",
        }
    }

    /// The side that serves.
    pub const fn master(self) -> Option<Side> {
        match self {
            Self::Serving { master } => Some(master),
            Self::Switching | Self::Down | Self::Drained => None,
        }
    }
}

impl Fencing {
    /// The word of the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Lease => "lease",
            Self::None => "none",
        }
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => write!(f, "the document: {}", self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
    }
}

impl std::error::Error for DocumentError {}

#[cfg(test)]
mod tests;
