//! Content that is on disk in pieces: is it all still there, and what is in a piece?
//!
//! Held by variants in memory and by the readers of long content. A reader pins the segments that it reads from, which delays their reuse
//! for a while; if that is not enough, its transfer breaks, and never goes on with other bytes (invariant 3).

use std::mem::size_of;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::fill::{PIECE, ReadError};
use crate::memory::Version;

use super::Mount;
use super::record::{Location, Place};

/// Where the content of one stored response is.
#[derive(Debug)]
pub(crate) struct DiskContent {
    mount: Weak<Mount>,
    primary: u128,
    place: Place,
    /// Each segment and lap that holds a piece, once, with one of its pieces.
    segments: Vec<Location>,
}

impl DiskContent {
    pub(super) fn new(mount: Weak<Mount>, primary: u128, place: Place) -> Self {
        let mut segments = place.chunks.clone();
        segments.sort_unstable_by_key(|chunk| chunk.segment);
        segments.dedup_by_key(|chunk| chunk.segment);
        Self {
            mount,
            primary,
            place,
            segments,
        }
    }

    /// Content that a fill has put there.
    pub(crate) fn of_fill(
        mount: Weak<Mount>,
        primary: u128,
        object: Version,
        chunks: Vec<Location>,
        length: u64,
    ) -> Self {
        Self::new(
            mount,
            primary,
            Place {
                chunks,
                object,
                length,
            },
        )
    }

    /// The volume that it is on; `None` when the store is closed.
    pub(super) fn mount(&self) -> Option<Arc<Mount>> {
        self.mount.upgrade()
    }

    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Bytes of content.
    pub(crate) const fn length(&self) -> u64 {
        self.place.length
    }

    /// Bytes that this takes in memory.
    pub(crate) const fn weight(&self) -> u64 {
        let locations = self.place.chunks.len() + self.segments.len();
        (size_of::<Self>() + locations * size_of::<Location>()) as u64
    }

    /// Whether no piece was given up.
    pub(crate) fn is_there(&self) -> bool {
        let Some(mount) = self.mount() else {
            return false;
        };
        self.segments
            .iter()
            .all(|location| mount.volume().is_there(location))
    }

    /// Keeps its segments from being reused, as far as that goes; `None` when one was reused already.
    pub(crate) fn pin(self: &Arc<Self>) -> Option<Pinned> {
        let mount = self.mount()?;
        for location in &self.segments {
            mount.volume().pin(location.segment);
        }
        let pinned = Pinned(Arc::clone(self));
        self.is_there().then_some(pinned)
    }

    /// The piece of a number, whole.
    pub(crate) async fn piece(&self, number: u32) -> Result<Bytes, ReadError> {
        let location = self
            .place
            .chunks
            .get(number as usize)
            .ok_or(ReadError::Disk)?;
        let owner = (self.primary, self.place.object);
        let mount = self.mount().ok_or(ReadError::Disk)?;
        let piece = mount.read_piece(*location, owner, number).await?;
        let start = u64::from(number) * PIECE as u64;
        let expected = (self.place.length.saturating_sub(start)).min(PIECE as u64);
        if piece.len() as u64 == expected {
            Ok(piece)
        } else {
            Err(ReadError::Disk)
        }
    }

    /// What is at `position`, up to the end of its piece; `None` at the end.
    pub(crate) async fn at(&self, position: u64) -> Result<Option<Bytes>, ReadError> {
        if position >= self.place.length {
            return Ok(None);
        }
        let number = u32::try_from(position / PIECE as u64).map_err(|_| ReadError::Disk)?;
        let within = usize::try_from(position % PIECE as u64).map_err(|_| ReadError::Disk)?;
        Ok(Some(self.piece(number).await?.slice(within..)))
    }
}

/// Content whose segments are pinned.
#[derive(Debug)]
pub(crate) struct Pinned(Arc<DiskContent>);

impl std::ops::Deref for Pinned {
    type Target = DiskContent;

    fn deref(&self) -> &DiskContent {
        &self.0
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let Some(mount) = self.0.mount() else { return };
        for location in &self.0.segments {
            mount.volume().unpin(location.segment);
        }
    }
}
