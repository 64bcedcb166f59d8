//! What the writer of a fill and its readers share: the content so far, who has read how much, and how it ended.
//!
//! Content is kept as sealed pieces of [`PIECE`] bytes plus a tail of the very `Bytes` that were written. All waiting is by notification:
//! readers wait for progress, the writer for relief. With a disk, sealed pieces are written there as they come and then dropped from
//! memory; a reader that lags reads them back. A fill that may keep everything is *held*; one that is larger than its share
//! becomes a *window*: what all readers have read is dropped, and nobody new can join.
//! Invariant 3: what is found at an offset is what was written there.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::disk::{Location, Mount};
use crate::key::Key;
use crate::lock::Lock;
use crate::purge::{Facts, Tick};
use crate::stored::StoredResponse;
use crate::variant::Version;

/// Content is sealed, stored and read in pieces of this many bytes.
pub(crate) const PIECE: usize = 1 << 20;

/// What is filled: known from the start, and never changed.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) key: Key,
    pub(crate) response: Arc<StoredResponse>,
    pub(crate) variant: u128,
    pub(crate) birth: Tick,
    pub(crate) tags: Arc<[u128]>,
    /// The announced length.
    pub(crate) length: Option<u64>,
    /// The version that pieces on disk carry.
    pub(crate) object: Version,
    /// The volume that pieces go to; dangling without one.
    pub(crate) mount: Weak<Mount>,
}

/// A fill in flight.
#[derive(Debug)]
pub(crate) struct Fill<L = Mutex<State>> {
    subject: Subject,
    state: L,
    /// Told whenever there is more to read, or an end.
    progress: watch::Sender<()>,
    /// Told whenever a reader moved on or left.
    relief: Notify,
}

impl<L> std::ops::Deref for Fill<L> {
    type Target = Subject;

    fn deref(&self) -> &Subject {
        &self.subject
    }
}

/// What changes of a fill.
#[derive(Debug)]
pub(crate) struct State {
    sealed: Vec<Piece>,
    /// What came after the last sealed piece, with the offset of each in it.
    tail: Vec<(usize, Bytes)>,
    written: u64,
    end: End,
    keeping: Keeping,
    /// How far each reader is.
    places: HashMap<u64, u64>,
    next_place: u64,
    /// Bytes handed to the disk and not written yet.
    unflushed: u64,
    /// A piece did not reach the disk.
    disk_failed: bool,
}

/// One sealed piece of content.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Memory(Bytes),
    OnDisk(Location),
    /// Dropped from a window.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Finished,
    Broken,
}

/// What becomes of content that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// All of it is kept, to be stored at the end.
    Held,
    /// It is dropped once every reader has read it; nothing will be stored.
    Window,
}

/// What a reader finds at an offset.
#[derive(Debug)]
pub(crate) enum At {
    Bytes(Bytes),
    /// On disk, in the piece of this number.
    OnDisk(u32, Location),
    /// Nothing yet: wait for progress.
    Wait,
    End,
    Broken,
}

/// The number of a reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(u64);

impl<L: Lock<State>> Fill<L> {
    pub(crate) fn new(subject: Subject) -> Self {
        let state = State {
            sealed: Vec::new(),
            tail: Vec::new(),
            written: 0,
            end: End::Open,
            keeping: Keeping::Held,
            places: HashMap::new(),
            next_place: 0,
            unflushed: 0,
            disk_failed: false,
        };
        Self {
            subject,
            state: L::around(state),
            progress: watch::Sender::new(()),
            relief: Notify::new(),
        }
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            partition: self.key.partition(),
            url: self.key.url(),
            path: self.key.path_and_query(),
            tags: &self.tags,
        }
    }

    // What readers do.

    /// A new reader at the first byte. It reads `Broken` when the first byte is gone.
    pub(crate) fn join(&self) -> (Place, watch::Receiver<()>) {
        let mut state = self.state.lock();
        let place = state.next_place;
        state.next_place += 1;
        state.places.insert(place, 0);
        (Place(place), self.progress.subscribe())
    }

    /// The content from `offset` up to the end of the piece that it lies in. Says, too, that all before `offset` was read.
    pub(crate) fn at(&self, place: Place, offset: u64) -> At {
        let mut state = self.state.lock();
        let Some(read) = state.places.get_mut(&place.0) else {
            return At::Broken;
        };
        let moved = *read < offset;
        *read = offset;
        let found = state.at(offset);
        drop(state);
        if moved {
            self.relief.notify_waiters();
        }
        found
    }

    pub(crate) fn leave(&self, place: Place) {
        self.state.lock().places.remove(&place.0);
        self.relief.notify_waiters();
    }

    /// The length of the whole content, where known.
    pub(crate) fn whole_length(&self) -> Option<u64> {
        let state = self.state.lock();
        if state.end == End::Finished {
            Some(state.written)
        } else {
            self.length
        }
    }

    // What the writer does.

    pub(crate) fn readers(&self) -> usize {
        self.state.lock().places.len()
    }

    pub(crate) fn written(&self) -> u64 {
        self.state.lock().written
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.state.lock().end == End::Broken
    }

    /// Whether a reader that joins now can still get the first byte, and will not hold a window up.
    pub(crate) fn is_open_to_all(&self) -> bool {
        self.state.lock().keeping == Keeping::Held
    }

    /// Adds content. Gives the pieces that were sealed by it, with their numbers.
    pub(crate) fn push(&self, mut content: Bytes) -> Vec<(u32, Bytes)> {
        let mut sealed = Vec::new();
        while !content.is_empty() {
            let is_full = {
                let mut state = self.state.lock();
                let filled = state.tail_length();
                let part = content.split_to(content.len().min(PIECE - filled));
                state.written += part.len() as u64;
                let reached = filled + part.len();
                state.tail.push((filled, part));
                reached == PIECE
            };
            if is_full {
                sealed.extend(self.seal());
            }
            self.progress.send_replace(());
        }
        sealed
    }

    /// Joins the tail up to a sealed piece, if there is any: one copy, made outside the lock.
    pub(crate) fn seal(&self) -> Option<(u32, Bytes)> {
        let (tail, length) = {
            let state = self.state.lock();
            (state.tail.clone(), state.tail_length())
        };
        if length == 0 {
            return None;
        }
        let piece = join_up(&tail, length);
        drop(tail);
        let mut state = self.state.lock();
        let number = u32::try_from(state.sealed.len()).ok()?;
        state.sealed.push(Piece::Memory(piece.clone()));
        state.tail.clear();
        Some((number, piece))
    }

    /// All content, if it is in memory: sealed pieces, and the tail joined up.
    pub(crate) fn gathered(&self) -> Option<Vec<Bytes>> {
        self.seal();
        let state = self.state.lock();
        let in_memory = |piece: &Piece| match piece {
            Piece::Memory(bytes) => Some(bytes.clone()),
            Piece::OnDisk(_) | Piece::Gone => None,
        };
        state.sealed.iter().map(in_memory).collect()
    }

    /// The places of all pieces, if all of them are on disk.
    pub(crate) fn on_disk(&self) -> Option<Vec<Location>> {
        let state = self.state.lock();
        let location = |piece: &Piece| match piece {
            Piece::OnDisk(location) => Some(*location),
            Piece::Memory(_) | Piece::Gone => None,
        };
        state.sealed.iter().map(location).collect()
    }

    /// Whether any piece was sealed.
    pub(crate) fn has_sealed(&self) -> bool {
        !self.state.lock().sealed.is_empty()
    }

    /// Notes that a piece was handed to the disk.
    pub(crate) fn handed_to_disk(&self, bytes: usize) {
        self.state.lock().unflushed += bytes as u64;
    }

    /// Notes what the disk did with a piece; what it took leaves memory.
    pub(crate) fn flushed(&self, number: u32, bytes: usize, location: Option<Location>) {
        {
            let mut state = self.state.lock();
            state.unflushed = state.unflushed.saturating_sub(bytes as u64);
            match (location, state.sealed.get_mut(number as usize)) {
                (Some(location), Some(piece @ Piece::Memory(_))) => {
                    *piece = Piece::OnDisk(location);
                }
                (Some(_), _) => {}
                (None, _) => state.disk_failed = true,
            }
        }
        self.relief.notify_waiters();
    }

    pub(crate) fn unflushed(&self) -> u64 {
        self.state.lock().unflushed
    }

    /// Bytes of content that this keeps in memory.
    pub(crate) fn in_memory(&self) -> u64 {
        let state = self.state.lock();
        let bytes = |piece: &Piece| match piece {
            Piece::Memory(bytes) => bytes.len(),
            Piece::OnDisk(_) | Piece::Gone => 0,
        };
        let sealed: usize = state.sealed.iter().map(bytes).sum();
        (sealed + state.tail_length()) as u64
    }

    pub(crate) fn disk_failed(&self) -> bool {
        self.state.lock().disk_failed
    }

    pub(crate) fn finish(&self) {
        self.end(End::Finished);
    }

    pub(crate) fn break_off(&self) {
        self.end(End::Broken);
    }

    pub(crate) fn keeping(&self) -> Keeping {
        self.state.lock().keeping
    }

    pub(crate) fn become_window(&self) {
        self.state.lock().keeping = Keeping::Window;
    }

    /// Drops what every reader has read; how many bytes the slowest has still to read, `None` without readers.
    pub(crate) fn drop_read(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let slowest = state.slowest();
        let read = slowest.unwrap_or(state.written);
        let whole = usize::try_from(read / PIECE as u64).unwrap_or(usize::MAX);
        for piece in state.sealed.iter_mut().take(whole) {
            *piece = Piece::Gone;
        }
        slowest.map(|slowest| state.written - slowest.min(state.written))
    }

    /// Cuts the readers that are no further than `offset`.
    pub(crate) fn cut(&self, offset: u64) {
        self.state.lock().places.retain(|_, read| *read > offset);
        self.progress.send_replace(());
        self.relief.notify_waiters();
    }

    /// Whether a reader has read all that there is and wants more.
    pub(crate) fn is_waited_for(&self) -> bool {
        let state = self.state.lock();
        state.end == End::Open && state.places.values().any(|read| *read >= state.written)
    }

    /// How far the slowest reader is.
    pub(crate) fn slowest(&self) -> Option<u64> {
        self.state.lock().slowest()
    }

    /// Waits until `met` holds; asked again whenever a reader moves or leaves.
    pub(crate) async fn relieved(&self, met: impl Fn(&Self) -> bool) {
        loop {
            let relief = self.relief.notified();
            tokio::pin!(relief);
            relief.as_mut().enable();
            if met(self) {
                return;
            }
            relief.await;
        }
    }

    fn end(&self, end: End) {
        {
            let mut state = self.state.lock();
            if state.end != End::Open {
                return;
            }
            state.end = end;
            if end == End::Broken {
                state.sealed.clear();
                state.tail.clear();
            }
        }
        self.progress.send_replace(());
    }
}

impl State {
    fn tail_length(&self) -> usize {
        self.tail
            .last()
            .map_or(0, |(offset, bytes)| offset + bytes.len())
    }

    fn slowest(&self) -> Option<u64> {
        self.places.values().copied().min()
    }

    fn at(&self, offset: u64) -> At {
        match self.end {
            End::Broken => return At::Broken,
            End::Finished if offset >= self.written => return At::End,
            End::Open if offset >= self.written => return At::Wait,
            End::Open | End::Finished => {}
        }
        let piece = usize::try_from(offset / PIECE as u64).unwrap_or(usize::MAX);
        let within = usize::try_from(offset % PIECE as u64).unwrap_or(usize::MAX);
        match self.sealed.get(piece) {
            Some(Piece::Memory(bytes)) => At::Bytes(bytes.slice(within..)),
            Some(Piece::OnDisk(location)) => {
                At::OnDisk(u32::try_from(piece).unwrap_or(u32::MAX), *location)
            }
            Some(Piece::Gone) => At::Broken,
            None => {
                let index = self.tail.partition_point(|(start, _)| *start <= within) - 1;
                let (start, bytes) = &self.tail[index];
                At::Bytes(bytes.slice(within - start..))
            }
        }
    }
}

/// One exact piece of many: it pins no larger buffer.
fn join_up(parts: &[(usize, Bytes)], length: usize) -> Bytes {
    let mut whole = BytesMut::with_capacity(length);
    for (_, part) in parts {
        whole.extend_from_slice(part);
    }
    whole.freeze()
}

#[cfg(test)]
mod model;
