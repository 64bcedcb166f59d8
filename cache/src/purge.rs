//! What was purged, for ever: watermarks in memory, and the journal that brings them back after a crash.
//!
//! Called by `store` at every look-up, commit and reinsertion, and by `edge::control::purge`. A response is dead when it was born at or
//! before a watermark that matches it; ticks are logical, so a clock that steps back changes nothing. A purge is answered only after its
//! slot is on disk. Invariant 4 rests here.

mod watermarks;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::key::{KeyHasher, Partition};
use crate::metrics::Metrics;

use watermarks::Watermarks;
pub(crate) use watermarks::{Facts, Target, Verdict};

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

/// A moment in the order of purges: how many groups of purges were durable before it, plus one. Not a time; no clock moves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tick(pub(crate) u64);

impl Tick {
    /// Before every purge and every birth.
    pub(crate) const NEVER: Self = Self(0);
}

/// The purges of a node: what is dead, and the order of births and purges.
#[derive(Debug)]
pub(crate) struct Purges {
    keys: KeyHasher,
    marks: Watermarks,
    /// What is born now is born at this tick.
    now: AtomicU64,
    partitions: Mutex<HashMap<u128, Partition>>,
    sequence: AtomicU64,
    metrics: Metrics,
}

impl Purges {
    /// Purges that live as long as the process.
    pub(crate) fn new(keys: KeyHasher, metrics: Metrics) -> Self {
        Self {
            keys,
            marks: Watermarks::default(),
            now: AtomicU64::new(1),
            partitions: Mutex::default(),
            sequence: AtomicU64::new(0),
            metrics,
        }
    }

    /// The tick of what is born now: above every purge that was answered, at or below every purge to come.
    pub(crate) fn now(&self) -> Tick {
        Tick(self.now.load(Ordering::Acquire))
    }

    /// What has become of a response with these facts that was born at `birth`.
    pub(crate) fn judge(&self, facts: &Facts<'_>, birth: Tick) -> Verdict {
        self.marks.judge(facts, birth, &self.keys)
    }

    /// The hash that a tag has in headers of records and in watermarks.
    pub(crate) fn tag(&self, tag: &str) -> u128 {
        self.keys.hash(tag.as_bytes())
    }

    /// The partition of a name.
    ///
    /// # Errors
    /// When it could not be written down.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "it will be written to the journal"
    )]
    pub(crate) fn partition(&self, name: &str) -> Result<Partition, PurgeError> {
        let mut partitions = self.partitions.lock();
        let next = Partition(u32::try_from(partitions.len()).unwrap_or(u32::MAX - 1) + 1);
        Ok(*partitions
            .entry(self.keys.hash(name.as_bytes()))
            .or_insert(next))
    }

    /// Purges; durable when it returns.
    ///
    /// # Errors
    /// When the journal could not be written; nothing is purged then.
    #[expect(clippy::unused_async, reason = "it will wait for the journal")]
    pub(crate) async fn purge(&self, purge: &Purge) -> Result<Purged, PurgeError> {
        let targets: Vec<Target> = purge
            .what
            .iter()
            .map(|what| self.target(purge, what))
            .collect();
        let tick = Tick(self.now.load(Ordering::Acquire));
        for (target, what) in targets.iter().zip(&purge.what) {
            self.marks.apply(*target, purge.mode, tick);
            self.metrics
                .purges
                .with_label_values(&[what.kind(), purge.mode.as_str()])
                .inc();
        }
        self.now.fetch_max(tick.0 + 1, Ordering::AcqRel);
        let count = targets.len() as u64;
        let sequence = self.sequence.fetch_add(count, Ordering::AcqRel) + count;
        Ok(Purged { sequence })
    }

    fn target(&self, purge: &Purge, what: &What) -> Target {
        let Some(partition) = purge.partition else {
            return Target::Everything;
        };
        match what {
            What::All => Target::Partition(partition),
            What::Url(url) => Target::Url(partition, *url),
            What::Tag(tag) => Target::Tag(partition, self.tag(tag)),
            What::Prefix(prefix) => Target::Prefix {
                partition,
                length: u32::try_from(prefix.len()).unwrap_or(u32::MAX),
                hash: self.keys.hash(prefix),
            },
        }
    }
}

impl Mode {
    /// `soft` or `hard`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }
}

impl What {
    /// `all`, `url`, `prefix` or `tag`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Url(_) => "url",
            Self::Prefix(_) => "prefix",
            Self::Tag(_) => "tag",
        }
    }
}
