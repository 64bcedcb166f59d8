//! What was purged, for ever: watermarks in memory, and the journal that brings them back after a crash.
//!
//! Called by `store` at every look-up, commit and reinsertion, and by `edge::control::purge`. A response is dead when it was born at or
//! before a watermark that matches it; ticks are logical, so a clock that steps back changes nothing. A purge is answered only after its
//! slot is on disk. Invariant 4 rests here.

use crate::key::Partition;

/// How hard a purge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What matches is stale: it is validated before it is served, or served when the origin fails.
    Soft,
    /// What matches is gone.
    Hard,
}

/// What to purge. Build the hashes with [`crate::KeyHasher`].
#[derive(Clone, Debug)]
pub struct Purge {
    /// The partition (site) that it is limited to; `None` with [`What::All`] only.
    pub partition: Option<Partition>,
    /// What in it.
    pub what: Vec<What>,
    /// Soft or hard.
    pub mode: Mode,
}

/// One thing to purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Everything in the store, or in the partition.
    All,
    /// One URL in every scheme and variant: [`crate::Key::url`].
    Url(u128),
    /// Every path (with query) that begins with these bytes, on any host of the partition.
    Prefix(Box<[u8]>),
    /// Every response that carries this tag.
    Tag(Box<str>),
}

/// The answer to a purge: it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The journal's sequence number of its last slot; grows by one for each thing purged, over restarts too.
    pub sequence: u64,
}

/// A purge was not done.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The journal could not be written.
    #[error("the purge journal cannot be written: {0}")]
    Journal(std::io::Error),
}
