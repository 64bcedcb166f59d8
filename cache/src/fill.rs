//! A fill in flight: one fetch that writes, any number of readers that follow it at their own pace.
//!
//! The writer is the detached fetch of `edge::response::store`; readers are clients. A slow reader delays nobody; a writer that ends
//! without [`FillWriter::finish`] gives every reader [`ReadError::Broken`], never a clean end, and nothing is stored.
//! Invariant 3: readers see exactly the bytes written, in order.

mod flow;
mod missing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::collapse::Flight;
use crate::disk::{DiskContent, Failed, Pinned};
use crate::store::Cache;
use crate::stored::StoredResponse;
use crate::variant::Content;

use flow::{At, Place};
pub(crate) use flow::{Fill, Keeping, PIECE, Subject};
pub(crate) use missing::Part;
use missing::{BUSY_PAUSES, Mended};
pub use missing::{Elsewhere, Fetched};

/// How far the slowest reader of a fill that is not kept may lag, in bytes; a piece, while all fills together keep more than they may.
pub(crate) const WINDOW_MAX: u64 = 8 << 20;
/// How long the writer of a fill that is not kept waits for a reader that does not move at all; then that reader is cut.
pub(crate) const STALLED_READER_MAX: Duration = Duration::from_secs(30);
/// How long the writer of a fill that holds nobody up waits for the disk: longer than that takes to call a write late.
const SLOW_DISK_MAX: Duration = Duration::from_secs(60);
/// How long a fill may hold its readers up for the disk in all, ...
const HELD_UP_MAX: Duration = Duration::from_secs(1);
/// ... and so long more for each part of the time that it takes: a disk that keeps up but for its syncs takes a long fill whole.
const HELD_UP_SHARE: u32 = 4;
/// How long a response waits for a disk that does not move at all; then it is not written.
pub(crate) const STALLED_DISK_MAX: Duration = Duration::from_secs(10);

/// Why a read of content failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The fetch that filled it broke off.
    #[error("the origin broke off")]
    Broken,
    /// The disk did not give it back, or not as it was written.
    #[error("the disk did not give the content back")]
    Disk,
}

/// Why a fill cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// More content than `max_object`.
    #[error("the content is larger than the largest that is stored")]
    TooLarge,
    /// Other than the announced length arrived.
    #[error("the content is not of the announced length")]
    Length,
}

/// What came of waiting for the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    ForSuccess,
    InVain,
}

/// The writing end of a fill. Dropping it without [`Self::finish`] breaks the fill.
#[derive(Debug)]
pub struct FillWriter {
    cache: Arc<Cache>,
    flight: Arc<Flight>,
    fill: Arc<Fill>,
    /// What this fill is known to keep in memory, in bytes.
    charged: u64,
    began: Instant,
    /// How long readers have waited for the disk so far.
    held_up: Duration,
}

impl FillWriter {
    pub(crate) fn new(cache: Arc<Cache>, flight: Arc<Flight>, fill: Arc<Fill>) -> Self {
        Self {
            cache,
            flight,
            fill,
            charged: 0,
            began: Instant::now(),
            held_up: Duration::ZERO,
        }
    }

    /// Adds content; waits while too much is not yet on disk (`limits.fill_unflushed`), with patience while no reader wants more than there
    /// is. A disk that holds readers up is soon left out ([`HELD_UP_MAX`]).
    ///
    /// Content that is larger than what the store keeps is still handed to the readers that are attached, at the pace of the slowest
    /// ([`WINDOW_MAX`]); a reader that stalls for [`STALLED_READER_MAX`] is cut then, and nobody new can join.
    ///
    /// # Errors
    /// When the content is longer than announced, or too large to be stored and nobody reads it. Readers that joined get
    /// [`ReadError::Broken`].
    pub async fn write(&mut self, piece: Bytes) -> Result<(), FillError> {
        let reached = self.fill.written().saturating_add(piece.len() as u64);
        if self.fill.length.is_some_and(|length| reached > length) {
            self.fill.break_off();
            return Err(FillError::Length);
        }
        if reached > self.cache.kept_max() {
            self.give_up_storing();
        }
        for (number, piece) in self.fill.push(piece) {
            self.spill(number, piece).await;
        }
        self.charge().await;
        match self.fill.keeping() {
            Keeping::Held => Ok(()),
            Keeping::Window => self.wait_for_window().await,
        }
    }

    /// The end: the response is stored (unless purged meanwhile) and readers see a clean end.
    ///
    /// # Errors
    /// When fewer bytes came than announced: the fill is broken.
    pub async fn finish(mut self) -> Result<(), FillError> {
        if self
            .fill
            .length
            .is_some_and(|length| length != self.fill.written())
        {
            self.fill.break_off();
            return Err(FillError::Length);
        }
        let content = match self.fill.keeping() {
            Keeping::Window => None,
            Keeping::Held if self.is_long() => self.content_on_disk().await,
            Keeping::Held => self.fill.gathered().map(content_of),
        };
        // In memory before readers see the end, and before the flight lands: whoever comes then finds it.
        let stored = content.and_then(|content| self.cache.commit(&self.fill, content));
        self.fill.finish();
        self.cache.fills().land(&self.flight);
        if let Some(stored) = stored {
            self.cache.write_to_disk(stored).await;
        }
        Ok(())
    }

    /// Whether the content is too long to be held in memory, and goes to disk piece by piece.
    fn is_long(&self) -> bool {
        let has_disk = self.fill.mount.strong_count() > 0;
        has_disk && (self.fill.has_sealed() || self.fill.written() > self.cache.held_max())
    }

    /// The content, when all of it has reached the disk.
    async fn content_on_disk(&mut self) -> Option<Content> {
        let rest = self.fill.seal();
        // All of it is there to be read: readers need not wait for the disk.
        self.fill.finish();
        if let Some((number, piece)) = rest {
            self.spill(number, piece).await;
        }
        self.flushed_down_to(0).await;
        let length = self.fill.written();
        let (chunks, mount) = (self.fill.on_disk()?, self.fill.mount.clone());
        let primary = self.fill.key.primary();
        let content = DiskContent::of_fill(mount, primary, self.fill.object, chunks, length);
        Some(Content::OnDisk(Arc::new(content)))
    }

    /// Hands a sealed piece to the disk, and waits while too much is on its way there.
    async fn spill(&mut self, number: u32, piece: Bytes) {
        let Some(mount) = self.fill.mount.upgrade() else {
            return;
        };
        // Content whose length nobody announced may turn out to be more than its partition may have. What of it is on disk is lost, and
        // counts until it is overwritten: the next attempt writes nothing.
        if self.cache.is_capped(self.fill.key.partition(), piece.len()) {
            self.give_up_storing();
        }
        if self.fill.keeping() == Keeping::Window {
            return;
        }
        let bytes = piece.len();
        let fill = Arc::clone(&self.fill);
        fill.handed_to_disk(bytes);
        let done = move |location| fill.flushed(number, bytes, location);
        let object = (self.fill.object, self.fill.birth);
        let fill = Arc::clone(&self.fill);
        let put = mount.put_piece(&fill.key, object, number, piece, done);
        if self.while_bearable(put).await == Waited::InVain {
            self.fill.flushed(number, bytes, None);
        }
        self.flushed_down_to(self.cache.fill_unflushed()).await;
    }

    /// Waits until no more than `limit` bytes are on their way to the disk; when it fails or is too slow, nothing will be stored.
    async fn flushed_down_to(&mut self, limit: u64) {
        let fill = Arc::clone(&self.fill);
        let flushed = fill.relieved(|fill| fill.unflushed() <= limit || fill.disk_failed());
        if self.while_bearable(flushed).await == Waited::InVain || fill.disk_failed() {
            self.give_up_storing();
        }
    }

    /// Waits for the disk, as long as that is no worse for those who read along than if nothing were stored.
    async fn while_bearable(&mut self, disk: impl Future<Output = ()>) -> Waited {
        let fill = Arc::clone(&self.fill);
        let bearable = HELD_UP_MAX + self.began.elapsed() / HELD_UP_SHARE;
        let left = bearable.saturating_sub(self.held_up);
        let mut since = None;
        let unbearable = async {
            loop {
                fill.relieved(Fill::is_waited_for).await;
                since = Some(Instant::now());
                let left_alone = fill.relieved(|fill| !fill.is_waited_for());
                if timeout(left, left_alone).await.is_err() {
                    return;
                }
            }
        };
        let waited = tokio::select! {
            biased;
            () = disk => Waited::ForSuccess,
            () = unbearable => Waited::InVain,
            () = sleep(SLOW_DISK_MAX) => Waited::InVain,
        };
        self.held_up += since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
        waited
    }

    /// Takes its share of the memory that all fills may keep. A large one that finds none left waits for the disk, or keeps nothing.
    async fn charge(&mut self) {
        if self.is_over_charged() && self.fill.unflushed() > 0 {
            self.flushed_down_to(0).await;
        }
        if self.is_over_charged() {
            self.give_up_storing();
        }
    }

    fn is_over_charged(&mut self) -> bool {
        let in_memory = self.fill.in_memory();
        let all = self.cache.fills().charge(self.charged, in_memory);
        self.charged = in_memory;
        all > self.cache.fills_max() && in_memory > PIECE as u64
    }

    /// Nothing of it will be stored: nobody new joins, and what was read is dropped. Readers that joined read on.
    pub fn give_up_storing(&self) {
        if self.fill.keeping() == Keeping::Held {
            self.cache.fills().land(&self.flight);
            self.fill.become_window();
        }
    }

    /// How many readers are attached now.
    pub fn readers(&self) -> usize {
        self.fill.readers()
    }

    /// Waits until no reader is attached any more.
    pub async fn orphaned(&self) {
        self.fill.relieved(|fill| fill.readers() == 0).await;
    }

    async fn wait_for_window(&mut self) -> Result<(), FillError> {
        while !self.is_window_small() {
            // The last reader may leave at any moment.
            let Some(stalled_at) = self.fill.slowest() else {
                break;
            };
            let moves = self
                .fill
                .relieved(|fill| fill.slowest() != Some(stalled_at));
            if timeout(STALLED_READER_MAX, moves).await.is_err() {
                self.fill.cut(stalled_at);
            }
        }
        if self.fill.readers() > 0 {
            return Ok(());
        }
        self.fill.break_off();
        Err(FillError::TooLarge)
    }
}

impl FillWriter {
    /// Drops what all have read; whether what is left is little enough.
    fn is_window_small(&mut self) -> bool {
        match self.fill.drop_read() {
            None | Some(0) => true,
            Some(left) => left <= WINDOW_MAX && !self.is_over_charged(),
        }
    }
}

impl Drop for FillWriter {
    fn drop(&mut self) {
        self.fill.break_off();
        self.cache.fills().land(&self.flight);
        self.cache.fills().charge(self.charged, 0);
    }
}

/// A fill that a request joined: the head, and the content as it arrives.
#[derive(Debug)]
pub struct Filling {
    /// The head that the origin sent, as it will be stored.
    pub response: Arc<StoredResponse>,
    /// The hash of the selecting fields of the request that leads.
    pub variant: u128,
    /// The content, from its first byte.
    pub body: BodyReader,
}

impl Filling {
    /// Joins as a reader.
    pub(crate) fn join(fill: &Arc<Fill>) -> Self {
        let (place, progress) = fill.join();
        let source = Source::Fill {
            fill: Arc::clone(fill),
            place,
            progress,
        };
        Self {
            response: Arc::clone(&fill.response),
            variant: fill.variant,
            body: BodyReader::new(source),
        }
    }
}

/// Reads content piece by piece, from memory, disk or a fill in flight.
#[derive(Debug)]
pub struct BodyReader {
    source: Source,
    position: u64,
    /// Where to stop, if not at the end of the content.
    end: Option<u64>,
}

#[derive(Debug)]
enum Source {
    /// All of it, in pieces of [`PIECE`] bytes.
    Memory(Arc<[Bytes]>),
    /// On disk; its segments stay while it is read.
    Disk(Mended),
    Fill {
        fill: Arc<Fill>,
        place: Place,
        progress: watch::Receiver<()>,
    },
}

impl BodyReader {
    const fn new(source: Source) -> Self {
        Self {
            source,
            position: 0,
            end: None,
        }
    }

    /// Reads content that is in memory.
    pub(crate) const fn of_pieces(pieces: Arc<[Bytes]>) -> Self {
        Self::new(Source::Memory(pieces))
    }

    /// Reads content that is on disk.
    pub(crate) const fn of_disk(content: Pinned) -> Self {
        Self::new(Source::Disk(Mended::new(content)))
    }

    /// Whether it reads from disk, which may fail it.
    pub const fn is_on_disk(&self) -> bool {
        matches!(self.source, Source::Disk(_))
    }

    /// Offers where to get what the disk does not give back. Without it, or when that fails, too, the transfer breaks.
    pub fn offer(&mut self, elsewhere: Arc<dyn Elsewhere>) {
        if let Source::Disk(content) = &mut self.source {
            content.offer(elsewhere);
        }
    }

    /// How many bytes there are in all, where known; what [`Self::restrict`] asked for does not change it.
    pub fn length(&self) -> Option<u64> {
        match &self.source {
            Source::Memory(pieces) => Some(pieces.iter().map(|piece| piece.len() as u64).sum()),
            Source::Disk(content) => Some(content.length()),
            Source::Fill { fill, .. } => fill.whole_length(),
        }
    }

    /// How many bytes [`Self::next`] is still to give, where known: what an answer announces.
    pub fn remaining(&self) -> Option<u64> {
        let end = match (self.end, self.length()) {
            (Some(end), Some(length)) => Some(end.min(length)),
            (end, length) => end.or(length),
        };
        end.map(|end| end.saturating_sub(self.position))
    }

    /// How many bytes can be read now without waiting for an origin.
    pub fn arrived(&self) -> u64 {
        match &self.source {
            Source::Memory(_) | Source::Disk(_) => self.length().unwrap_or(0),
            Source::Fill { fill, .. } => fill.written(),
        }
    }

    /// Restricts what [`Self::next`] gives to `length` bytes from `start`. May be called again until [`Self::next`] has told the end, with
    /// which the content is let go. In a fill in flight only forward: what lies behind may be gone.
    pub fn restrict(&mut self, start: u64, length: u64) {
        self.position = start;
        self.end = Some(start.saturating_add(length));
    }

    /// The next piece, never empty; `None` at the clean end. Safe to cancel: nothing is lost.
    ///
    /// # Errors
    /// When the fill broke or the disk failed; what was given before is true, the rest is lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        if self.end.is_some_and(|end| self.position >= end) {
            // Whoever has what it wanted must not hold the others up.
            self.source = Source::Memory(Arc::new([]));
            return Ok(None);
        }
        let found = match &mut self.source {
            Source::Memory(pieces) => Ok(slice_at(pieces, self.position)),
            Source::Disk(content) => content.at(self.position, self.end).await,
            Source::Fill {
                fill,
                place,
                progress,
            } => read_fill(fill, *place, progress, self.position).await,
        };
        let Some(mut piece) = found? else {
            return Ok(None);
        };
        if let Some(end) = self.end {
            let left = usize::try_from(end - self.position).unwrap_or(usize::MAX);
            piece.truncate(left);
        }
        self.position += piece.len() as u64;
        Ok(Some(piece))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Self::Fill { fill, place, .. } = self {
            fill.leave(*place);
        }
    }
}

fn slice_at(pieces: &[Bytes], position: u64) -> Option<Bytes> {
    let index = usize::try_from(position / PIECE as u64).ok()?;
    let within = usize::try_from(position % PIECE as u64).ok()?;
    let piece = pieces.get(index)?;
    (within < piece.len()).then(|| piece.slice(within..))
}

async fn read_fill(
    fill: &Fill,
    place: Place,
    progress: &mut watch::Receiver<()>,
    position: u64,
) -> Result<Option<Bytes>, ReadError> {
    let mut pauses = BUSY_PAUSES.into_iter();
    loop {
        progress.mark_unchanged();
        match fill.at(place, position) {
            At::Bytes(bytes) => return Ok(Some(bytes)),
            At::OnDisk(number, location) => {
                let mount = fill.mount.upgrade().ok_or(ReadError::Disk)?;
                let owner = (fill.key.primary(), fill.object);
                let piece = mount.read_piece(location, owner, number).await;
                if piece == Err(Failed::Busy)
                    && let Some(pause) = pauses.next()
                {
                    // Nobody else has it yet: who is behind waits for a busy disk rather than break off.
                    sleep(pause).await;
                    continue;
                }
                let piece = piece.map_err(|_| ReadError::Disk)?;
                let within = usize::try_from(position % PIECE as u64).unwrap_or(usize::MAX);
                return if within < piece.len() {
                    Ok(Some(piece.slice(within..)))
                } else {
                    Err(ReadError::Disk)
                };
            }
            At::End => return Ok(None),
            At::Broken => return Err(ReadError::Broken),
            // The sender lives in the fill, so that this cannot fail.
            At::Wait => progress.changed().await.map_err(|_| ReadError::Broken)?,
        }
    }
}

/// Content in the form that the memory tier keeps.
pub(crate) fn content_of(mut pieces: Vec<Bytes>) -> Content {
    match pieces.len() {
        0 => Content::Whole(Bytes::new()),
        1 => Content::Whole(pieces.remove(0)),
        _ => Content::Pieces(pieces.into()),
    }
}

#[cfg(test)]
mod tests;
