//! The answer: may the edge send, to which side, until when; or why not.

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
        /// When the right to send ends; `None`: not by itself.
        until: Option<Instant>,
    },
    /// Nobody for now: hold requests, at most this long.
    Switching {
        /// The epoch.
        epoch: Epoch,
        /// How long requests may be held, in milliseconds from when the state was adopted.
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
    /// The last document seen is of a lower epoch than one adopted before.
    OldEpoch,
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
        }
    }
}
