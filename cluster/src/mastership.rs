//! The answer: may the edge send, to which side, until when; or why not.
//!
//! Given by [`crate::View::mastership`] and read by `edge::origin::master` before every attempt, and again before the first byte.
//! Knows no requests: whether one is held, answered from the store or refused is decided there.

use std::net::SocketAddr;

use jet9_config::Side;

use crate::{Epoch, Instant};

/// Who is the live master now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mastership {
    /// This side, at this epoch.
    Live {
        /// The side.
        side: Side,
        /// The epoch.
        epoch: Epoch,
        /// Where the side listens, in order of preference; never empty.
        addrs: Vec<SocketAddr>,
        /// Where its guard listens; `None`: nobody has promised that what looks like a guard's word is not an application's.
        guard: Option<SocketAddr>,
        /// When the right to send ends; `None`: not by itself.
        until: Option<Instant>,
    },
    /// Nobody for now: hold requests, at most this long.
    Switching {
        /// The epoch.
        epoch: Epoch,
        /// How long requests may be held, in milliseconds from when the state was adopted. 0 where the document says so, and where
        /// masters change so often and so unproved that holding would only pile up requests.
        hold_ms: u64,
    },
    /// It cannot be known: do not send.
    Doubtful(Doubt),
    /// Nobody, and no end in sight: do not hold.
    Vacant {
        /// The epoch.
        epoch: Epoch,
        /// Whether the operator wants it so.
        drained: bool,
    },
}

/// Why it cannot be known who is master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// No document was ever seen.
    Unknown,
    /// Two documents of one epoch name different masters.
    Conflict,
    /// The lease ran out.
    LeaseExpired,
    /// The fencing class asks for a lease that this source cannot give.
    NoLease,
    /// Nothing is in force, and the last document seen is of a lower epoch than one adopted before.
    OldEpoch,
    /// The last document is of another life of the cluster: its epochs cannot be compared with those seen, until that life is forgotten.
    OtherIncarnation,
}

impl Doubt {
    /// The word for logs, metrics and explain.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Conflict => "conflict",
            Self::LeaseExpired => "lease-expired",
            Self::NoLease => "no-lease",
            Self::OldEpoch => "old-epoch",
            Self::OtherIncarnation => "other-incarnation",
        }
    }
}
