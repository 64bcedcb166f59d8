//! What becomes of a record once it is written, or lost.
//!
//! Goes with each record through the writer's queue; the writer asks before it writes, and tells afterwards, on its own thread.

use std::sync::Arc;

use super::claim::Claim;
use super::record::{Facts, Location};
use super::reinsertion;
use super::turnover::Kept;
use super::volume::Volume;

/// Told where a piece of content is, or that it was lost.
pub(super) type Done = Box<dyn FnOnce(Option<Location>) + Send>;

/// What becomes of a record once it is written.
pub(super) enum Ticket {
    /// The head of a response: it can be found, unless a newer version was committed.
    Head(Claim),
    /// A piece of content: whoever handed it in is told.
    Piece(Done),
    /// A record that was there already, and is found here if it still is there.
    Again(Arc<Volume>, Kept),
}

impl Ticket {
    /// Whether it need not be written any more.
    pub(super) fn is_overtaken(&self) -> bool {
        match self {
            Self::Head(claim) => !claim.is_current(),
            Self::Piece(_) | Self::Again(..) => false,
        }
    }

    pub(super) fn written(self, location: Location, draft: &Facts) {
        match self {
            Self::Head(claim) => claim.settle(&location, draft),
            Self::Piece(done) => done(Some(location)),
            Self::Again(volume, kept) => {
                let (offset, bytes) = (location.offset, location.bytes.into());
                let slot = Volume::slot_of(offset, bytes, draft.partition, draft.birth);
                let Some(mut slot) = slot else { return };
                slot.frequency = reinsertion::aged(kept.from.frequency);
                volume
                    .catalog
                    .relocate(kept.filed, kept.from.address, &slot);
            }
        }
    }

    pub(super) fn lost(self) {
        match self {
            Self::Head(claim) => drop(claim),
            Self::Piece(done) => done(None),
            Self::Again(volume, kept) => {
                volume.catalog.drop_record(kept.filed, kept.from.address);
            }
        }
    }
}
