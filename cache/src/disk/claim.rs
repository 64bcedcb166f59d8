//! The right of a commit to put its version on disk, from the moment when it is stored until it is written or lost.
//!
//! Made by `disk` when a response is committed, carried through the writer's queue, settled by the writer. Dropping it gives the right up:
//! then nothing of the response is found on that volume any more, since what is there is older.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::variant::Variant;

use super::catalog::Replaces;
use super::record::{Facts, Location};
use super::variants::Filed;
use super::volume::Volume;

/// Where a stored response is on its volume, as far as is known: the offset of its record, or how often it was hit while it is not
/// there. Records begin far above any count.
#[derive(Debug, Default)]
pub(crate) struct OnDisk(AtomicU64);

/// Hits are not counted any further.
const HITS_MAX: u64 = 255;

impl OnDisk {
    pub(super) const fn at(offset: u64) -> Self {
        Self(AtomicU64::new(offset))
    }

    pub(super) fn offset(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Whether it is on disk.
    pub(crate) fn is_somewhere(&self) -> bool {
        self.0.load(Ordering::Relaxed) > HITS_MAX
    }

    /// It is not on disk any more: its hits are counted again.
    pub(super) fn lose(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Hits in memory of what is not on disk; none of what is.
    pub(super) fn hits(&self) -> u8 {
        let value = self.0.load(Ordering::Relaxed);
        u8::try_from(value).unwrap_or(0)
    }

    /// Counts a hit in memory; `None` when it is on disk.
    pub(super) fn count_hit(&self) -> Option<u8> {
        let value = self.0.load(Ordering::Relaxed);
        if value >= HITS_MAX {
            return u8::try_from(value).ok();
        }
        // A hit that is lost to another is no harm.
        let counted =
            self.0
                .compare_exchange(value, value + 1, Ordering::Relaxed, Ordering::Relaxed);
        counted.ok().and_then(|hits| u8::try_from(hits + 1).ok())
    }

    fn set(&self, offset: u64) {
        self.0.store(offset, Ordering::Release);
    }
}

/// The claim of one version.
#[derive(Debug)]
pub(crate) struct Claim {
    volume: Arc<Volume>,
    filed: Filed,
    variant: Arc<Variant>,
    replaces: Replaces,
    /// How often the volume had given way to others.
    arrivals: u64,
    settled: bool,
}

impl Claim {
    /// Claims the place of a response; `None` when a newer version has it.
    pub(super) fn of(volume: &Arc<Volume>, filed: Filed, variant: &Arc<Variant>) -> Option<Self> {
        let replaces = volume.catalog.claim(filed, variant)?;
        Some(Self::new(volume, filed, variant, replaces))
    }

    /// The same for a version that was committed a while ago; `None`, too, unless it `is_newest`.
    pub(super) fn late(
        volume: &Arc<Volume>,
        filed: Filed,
        variant: &Arc<Variant>,
        is_newest: impl FnOnce() -> bool,
    ) -> Option<Self> {
        let replaces = volume.catalog.claim_late(filed, variant, is_newest)?;
        Some(Self::new(volume, filed, variant, replaces))
    }

    fn new(volume: &Arc<Volume>, filed: Filed, variant: &Arc<Variant>, replaces: Replaces) -> Self {
        // What is not loaded yet may be anything.
        let replaces = if volume.is_loaded() {
            replaces
        } else {
            Replaces::Perhaps
        };
        Self {
            arrivals: volume.arrivals(),
            volume: Arc::clone(volume),
            filed,
            variant: Arc::clone(variant),
            replaces,
            settled: false,
        }
    }

    /// Whether an older version may be on disk, which would come back at the next start if this one were not written.
    pub(crate) fn replaces(&self) -> bool {
        self.replaces == Replaces::Perhaps
    }

    pub(super) const fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// Whether no newer version was committed meanwhile, here or on a volume that the key has moved to.
    pub(super) fn is_current(&self) -> bool {
        let volume = &self.volume;
        volume.catalog.is_current(self.filed, self.variant.version)
            && !volume.has_lost(self.filed.primary, self.arrivals)
    }

    /// The record is written: it can be found.
    pub(super) fn settle(mut self, at: &Location, facts: &Facts) {
        let slot = Volume::slot_of(at.offset, at.bytes.into(), facts.partition, facts.birth);
        let (Some(slot), true) = (slot, self.volume.is_there(at)) else {
            return;
        };
        self.settled = true;
        self.variant.on_disk.set(at.offset);
        let version = self.variant.version;
        self.volume.catalog.settle(self.filed, version, &slot);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            self.volume
                .catalog
                .abandon(self.filed, self.variant.version);
        }
    }
}
