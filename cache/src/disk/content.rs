//! Content that is on disk in pieces: is it all still there, and what is in a piece?
//!
//! Held by variants in memory and by the readers of long content. A reader pins the segments that it reads from, which delays their reuse
//! for a while; if that is not enough, or a part is not as it was written, it is told so, and never given other bytes (invariant 3). Then
//! none of it is there any more: the next request fetches it anew, instead of failing at the same place.

use std::collections::VecDeque;
use std::mem::size_of;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::fill::{PIECE, Part, ReadError};
use crate::variant::Version;

use super::Mount;
use super::index::slot::Address;
use super::piece::{PartOfPiece, Piece};
use super::record::{Location, Place};
use super::variants::Filed;
use super::volume::{Turn, Unread, Volume};

/// What a reader asks for at once: whole blocks, a part of a piece.
const PART_BYTES: usize = 256 << 10;
/// Parts that a reader has asked for, the one that it waits for among them. With the one that it has handed out, and the blocks at their
/// ends, it keeps less than 2 MiB. Few large parts would keep a device less busy: one of them is always being checked and sent.
const AHEAD: usize = 5;

/// Where the content of one stored response is.
#[derive(Debug)]
pub(crate) struct DiskContent {
    mount: Weak<Mount>,
    primary: u128,
    place: Place,
    /// Each segment and lap that holds a piece, once, with one of its pieces.
    segments: Vec<Location>,
    /// Where its head was found; `None` when it was filled just now.
    head: Option<(Filed, Address)>,
    /// A part of it could not be read.
    lost: AtomicBool,
    /// What its readers are fetching from elsewhere.
    fetched: Mutex<Vec<(Range<u64>, Weak<Part>)>>,
}

/// Why a part of it was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The disk is late, or too much waits for it: another time it may be read.
    Busy,
    /// It is not there any more.
    Lost,
}

impl From<Unread> for Failed {
    fn from(why: Unread) -> Self {
        match why {
            Unread::Busy => Self::Busy,
            Unread::Gone | Unread::Corrupt | Unread::Failed => Self::Lost,
        }
    }
}

impl DiskContent {
    pub(super) fn new(
        mount: Weak<Mount>,
        primary: u128,
        place: Place,
        head: Option<(Filed, Address)>,
    ) -> Self {
        let mut segments = place.chunks.clone();
        segments.sort_unstable_by_key(|chunk| (chunk.segment, chunk.lap));
        segments.dedup_by_key(|chunk| (chunk.segment, chunk.lap));
        Self {
            mount,
            primary,
            place,
            segments,
            head,
            lost: AtomicBool::new(false),
            fetched: Mutex::default(),
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
            None,
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
        if self.is_lost() {
            return false;
        }
        let Some(mount) = self.mount() else {
            return false;
        };
        self.segments
            .iter()
            .all(|location| mount.volume().is_there(location))
    }

    /// Whether a part could not be read.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Gives all of it up when a part cannot be read; not when it was only too late to be tried.
    fn note(&self, volume: &Volume, why: Unread) -> Failed {
        let failed = Failed::from(why);
        if failed == Failed::Lost {
            self.lost.store(true, Ordering::Relaxed);
            if let Some((filed, address)) = self.head {
                volume.catalog.forget(filed, address);
            }
        }
        failed
    }

    /// The place for a part of it that comes from elsewhere: one for all readers that miss the same.
    pub(crate) fn fetched(&self, range: &Range<u64>) -> Arc<Part> {
        let mut fetched = self.fetched.lock();
        fetched.retain(|(_, part)| part.strong_count() > 0);
        let mut same = fetched.iter().filter(|(other, _)| other == range);
        if let Some(part) = same.find_map(|(_, part)| part.upgrade()) {
            return part;
        }
        let part = Arc::new(Part::new());
        fetched.push((range.clone(), Arc::downgrade(&part)));
        part
    }

    /// How many readers wait for what comes from elsewhere.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        let fetched = self.fetched.lock();
        fetched.iter().map(|(_, part)| part.strong_count()).sum()
    }

    /// Keeps its segments from being reused, as far as that goes; `None` when one was reused already.
    pub(crate) fn pin(self: &Arc<Self>) -> Option<Pinned> {
        let mount = self.mount()?;
        let mut pinned = Pinned {
            content: Arc::clone(self),
            segments: 0,
        };
        for location in &self.segments {
            if !mount.volume().pin(location) {
                return None;
            }
            pinned.segments += 1;
        }
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
        let piece = mount.read_piece(*location, owner, number).await;
        let piece = piece.map_err(|_| ReadError::Disk)?;
        let start = u64::from(number) * PIECE as u64;
        let expected = (self.place.length.saturating_sub(start)).min(PIECE as u64);
        if piece.len() as u64 == expected {
            Ok(piece)
        } else {
            Err(ReadError::Disk)
        }
    }

    /// Begins to read what is at `position`, up to `end` and to the end of its part.
    fn begin(
        &self,
        volume: &Volume,
        turn: &Turn,
        position: u64,
        end: u64,
    ) -> Result<PartOfPiece, Unread> {
        let number = position / PIECE as u64;
        let start = number * PIECE as u64;
        let within = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
        let length = within(self.place.length).min(PIECE);
        let first = within(position);
        let last = within(end).min((first / PART_BYTES + 1) * PART_BYTES);
        let number = u32::try_from(number).map_err(|_| Unread::Corrupt)?;
        let at = self.place.chunks.get(number as usize);
        let piece = Piece {
            at: *at.ok_or(Unread::Corrupt)?,
            owner: (self.primary, self.place.object),
            number,
        };
        piece.begin(volume, first..last.min(length), turn)
    }
}

/// Reads content front to back, or from wherever it is told, a little ahead of whoever asks.
#[derive(Debug)]
pub(crate) struct DiskReader {
    content: Pinned,
    ahead: VecDeque<Ahead>,
}

/// What is being read already.
#[derive(Debug)]
struct Ahead {
    /// Where in the whole content it begins and ends.
    range: Range<u64>,
    part: PartOfPiece,
    _turn: Turn,
}

impl DiskReader {
    /// The content that it reads.
    pub(crate) fn content(&self) -> &DiskContent {
        &self.content
    }

    pub(crate) const fn new(content: Pinned) -> Self {
        Self {
            content,
            ahead: VecDeque::new(),
        }
    }

    /// Bytes of the whole content.
    pub(crate) fn length(&self) -> u64 {
        self.content.length()
    }

    /// What is at `position`, as much as is read at once; `None` at the end. Nothing behind `end` is wanted: what is read there is not
    /// more than the rest of a block. Safe to cancel.
    ///
    /// # Errors
    /// When it is gone, or not as it was written.
    pub(crate) async fn at(
        &mut self,
        position: u64,
        end: Option<u64>,
    ) -> Result<Option<Bytes>, Failed> {
        let length = self.content.length();
        let end = end.map_or(length, |end| end.min(length));
        if position >= end {
            return Ok(None);
        }
        let mount = self.content.mount().ok_or(Failed::Lost)?;
        let volume = mount.volume();
        let next = self.ahead.front();
        if next.is_some_and(|next| !next.range.contains(&position)) {
            self.ahead.clear();
        }
        if self.ahead.is_empty() {
            let turn = volume.long_reads().wait().await;
            let begun = turn.and_then(|turn| self.begin(volume, turn, position, end));
            begun.map_err(|why| self.content.note(volume, why))?;
        }
        self.read_ahead(volume, end);
        // It stays first until it is here: whoever is cancelled waits for the same the next time.
        let Some(next) = self.ahead.front_mut() else {
            return Err(Failed::Lost);
        };
        let (read, range) = (next.part.done(volume).await, next.range.clone());
        self.ahead.pop_front();
        let read = read.map_err(|why| self.content.note(volume, why))?;
        // At once: the device is not to wait for whoever sends this part on.
        if self.ahead.is_empty()
            && range.end < end
            && let Some(turn) = volume.long_reads().spare()
        {
            // What cannot be begun is told when it is asked for.
            let _ = self.begin(volume, turn, range.end, end);
        }
        self.read_ahead(volume, end);
        let skipped = usize::try_from(position - range.start);
        let skipped = skipped.map_err(|_| Failed::Lost)?;
        Ok(Some(read.slice(skipped..)))
    }

    /// Begins to read as much as may be held, behind what is being read.
    fn read_ahead(&mut self, volume: &Volume, end: u64) {
        while self.ahead.len() < AHEAD
            && let Some(start) = self.ahead.back().map(|last| last.range.end)
            && start < end
            && let Some(turn) = volume.long_reads().spare()
            && self.begin(volume, turn, start, end).is_ok()
        {}
    }

    fn begin(&mut self, volume: &Volume, turn: Turn, start: u64, end: u64) -> Result<(), Unread> {
        let part = self.content.begin(volume, &turn, start, end)?;
        let within = part.range();
        let piece = start - start % PIECE as u64;
        self.ahead.push_back(Ahead {
            range: piece + within.start as u64..piece + within.end as u64,
            part,
            _turn: turn,
        });
        Ok(())
    }
}

/// Content whose segments are pinned.
#[derive(Debug)]
pub(crate) struct Pinned {
    content: Arc<DiskContent>,
    /// How many of its segments.
    segments: usize,
}

impl std::ops::Deref for Pinned {
    type Target = DiskContent;

    fn deref(&self) -> &DiskContent {
        &self.content
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let Some(mount) = self.mount() else { return };
        for location in &self.content.segments[..self.segments] {
            mount.volume().unpin(location);
        }
    }
}
