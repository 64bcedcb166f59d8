//! What the writer of a fill and its readers share: the content so far, who has read how much, and how it ended.
//!
//! Content is kept as sealed pieces of [`PIECE`] bytes plus a tail of the very `Bytes` that were written. All waiting is by notification:
//! readers wait for progress, the writer for relief. A fill that may keep everything is *held*; one that is larger than its share
//! becomes a *window*: what all readers have read is dropped, and nobody new can join.
//! Invariant 3: what is found at an offset is what was written there.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::key::Key;
use crate::purge::{Facts, Purges, Tick};
use crate::stored::StoredResponse;

/// Content is sealed, stored and read in pieces of this many bytes.
pub(crate) const PIECE: usize = 1 << 20;

/// A fill in flight.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) key: Key,
    pub(crate) response: Arc<StoredResponse>,
    pub(crate) variant: u128,
    pub(crate) birth: Tick,
    pub(crate) tags: Arc<[u128]>,
    /// The announced length.
    pub(crate) length: Option<u64>,
    state: Mutex<State>,
    /// Told whenever there is more to read, or an end.
    progress: watch::Sender<()>,
    /// Told whenever a reader moved on or left.
    relief: Notify,
}

#[derive(Debug)]
struct State {
    sealed: Vec<Piece>,
    /// What came after the last sealed piece, with the offset of each in it.
    tail: Vec<(usize, Bytes)>,
    written: u64,
    end: End,
    keeping: Keeping,
    /// How far each reader is.
    places: HashMap<u64, u64>,
    next_place: u64,
}

/// One sealed piece of content.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Memory(Bytes),
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
    /// Nothing yet: wait for progress.
    Wait,
    End,
    Broken,
}

/// The number of a reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(u64);

impl Fill {
    pub(crate) fn new(
        key: Key,
        response: StoredResponse,
        variant: u128,
        birth: Tick,
        length: Option<u64>,
        keeping: Keeping,
        purges: &Purges,
    ) -> Self {
        let tags = response.tags.iter().map(|tag| purges.tag(tag)).collect();
        let state = State {
            sealed: Vec::new(),
            tail: Vec::new(),
            written: 0,
            end: End::Open,
            keeping,
            places: HashMap::new(),
            next_place: 0,
        };
        Self {
            key,
            response: Arc::new(response),
            variant,
            birth,
            tags,
            length,
            state: Mutex::new(state),
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

    /// Adds content. Whenever a whole piece is together it is sealed: one copy, made outside the lock.
    pub(crate) fn push(&self, mut content: Bytes) {
        while !content.is_empty() {
            let (filled, tail) = {
                let mut state = self.state.lock();
                let filled = state.tail_length();
                let part = content.split_to(content.len().min(PIECE - filled));
                state.written += part.len() as u64;
                let reached = filled + part.len();
                state.tail.push((filled, part));
                (reached, (reached == PIECE).then(|| state.tail.clone()))
            };
            if let Some(tail) = tail {
                let piece = join_up(&tail, filled);
                drop(tail);
                let mut state = self.state.lock();
                state.sealed.push(Piece::Memory(piece));
                state.tail.clear();
            }
            self.progress.send_replace(());
        }
    }

    /// All content in memory: sealed pieces, and the tail joined up.
    pub(crate) fn gathered(&self) -> Option<Vec<Bytes>> {
        let (sealed, tail, length) = {
            let state = self.state.lock();
            (
                state.sealed.clone(),
                state.tail.clone(),
                state.tail_length(),
            )
        };
        let mut pieces = Vec::with_capacity(sealed.len() + 1);
        for piece in sealed {
            match piece {
                Piece::Memory(bytes) => pieces.push(bytes),
                Piece::Gone => return None,
            }
        }
        if length > 0 {
            pieces.push(join_up(&tail, length));
        }
        Some(pieces)
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
