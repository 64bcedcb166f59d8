//! What writes to a volume: one thread that puts records one after the other into the open segment.
//!
//! Records are gathered and written together, at the latest half a second after they were handed in. When a segment is full it gets its
//! footer, is made durable, and the oldest one is reused. Whoever hands in a record is told its location once it is written, or that it is
//! lost; the order of records is the order in which they were handed in, and a head whose version was overtaken meanwhile is not written.
//! Whole blocks are written, each once: where a write has to end within one, a mark fills it. A failed write costs what was gathered and
//! the segment; it never stops the thread. A write that is late may land at any time: its segment is not used again in this session.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, mpsc};

use crate::io::{BLOCK, Cause, IoError, Unit};

use super::footer::{Entry, Seal, footer_bytes};
use super::record::{Draft, Facts, Kind, Location, RECORD_BYTES_MAX, Spot, padded};
use super::recovery;
use super::segment::PAGE_BYTES;
use super::ticket::Ticket;
use super::turnover::{self, Kept};
use super::volume::Volume;

mod queue;

pub(super) use queue::Sink;
use queue::{End, Job, Next, Queue};

/// Records that are gathered before they are written, in bytes.
const GATHERED_MAX: usize = 1 << 20;
/// What has room for so many, one more, and the rest of a block. Memory that is never touched is never taken.
const UNIT_BYTES: usize = GATHERED_MAX + RECORD_BYTES_MAX + BLOCK;
/// Records that are read ahead while a segment turns.
const AHEAD: usize = 16;
/// How often in a row the thread waits for more, [`queue::LINGER`] each time, before it writes what it has: half a second in all.
const LINGERS_MAX: u32 = 50;
/// Bytes that are written before they are made durable, if nothing else makes them so earlier.
const UNSYNCED_MAX: u64 = 16 << 20;

/// The thread; it is stopped, as in a crash, when this is dropped before it was closed.
#[derive(Debug)]
pub(super) struct Writer {
    sink: Sink,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread; it begins after the lap that it is told, or ends when nobody can tell it.
    pub(super) fn start(volume: Arc<Volume>, last_lap: mpsc::Receiver<u64>) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let name = format!("jet9-write-{}", volume.number);
        let of_thread = Arc::clone(&queue);
        let run = move || match last_lap.recv() {
            Ok(last_lap) => Log::new(volume, of_thread, last_lap).run(),
            Err(_) => of_thread.end_all(),
        };
        let thread = std::thread::Builder::new().name(name).spawn(run)?;
        Ok(Self {
            sink: Sink { queue },
            thread: Some(thread),
        })
    }

    pub(super) const fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Flushes, and takes nothing any more.
    pub(super) async fn close(&self) {
        self.sink.flush().await;
        self.sink.wait_for(Job::Seal).await;
        self.sink.end(End::Clean);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sink.end(End::Abandon);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("a volume's writing thread had panicked");
        }
    }
}

/// The segment that is being written.
struct Open {
    segment: u32,
    lap: u64,
    /// Where the next gathered byte goes, from the start of the volume.
    position: u64,
    end: u64,
    /// All before this is durable.
    durable: u64,
    entries: Vec<Entry>,
}

impl Open {
    /// Whether a record of `bytes` fits after `gathered` ones, and after it what fills its last block, and the footer.
    fn has_room(&self, gathered: usize, bytes: u64) -> bool {
        let footer = footer_bytes(self.entries.len() + 1);
        let end = self.position + gathered as u64 + bytes;
        end.next_multiple_of(BLOCK as u64) + footer <= self.end
    }
}

/// A record that is gathered and not written yet.
struct Gathered {
    location: Location,
    facts: Facts,
    ticket: Ticket,
}

/// The thread's own state.
struct Log {
    volume: Arc<Volume>,
    queue: Arc<Queue>,
    open: Option<Open>,
    last_lap: u64,
    /// Segments that are not used again in this session: a write to them failed.
    retired: Vec<u32>,
    /// What is gathered: it goes to the position of the open segment, where a block begins.
    unit: Unit,
    gathered: Vec<Gathered>,
    unsynced: u64,
    /// Records were appended since a mark said that all is durable.
    is_unmarked: bool,
    lingers: u32,
}

impl Log {
    /// It begins a lap of its own with the first record: what an earlier session left unfinished stays as it is.
    fn new(volume: Arc<Volume>, queue: Arc<Queue>, last_lap: u64) -> Self {
        Self {
            unit: volume.file.unit(UNIT_BYTES),
            volume,
            queue,
            open: None,
            last_lap,
            retired: Vec::new(),
            gathered: Vec::new(),
            unsynced: 0,
            is_unmarked: false,
            lingers: 0,
        }
    }

    fn run(mut self) {
        loop {
            let is_dirty = !self.unit.is_empty() || self.unsynced > 0;
            match self.queue.next(is_dirty) {
                Next::Job(Job::Record(draft, ticket)) => self.put(&draft, ticket),
                Next::Job(Job::Flush(told)) => {
                    self.flush();
                    let _ = told.send(());
                }
                Next::Job(Job::Seal(told)) => {
                    self.seal();
                    let _ = told.send(());
                }
                Next::Idle => self.linger(),
                Next::End(End::Clean) => return self.seal(),
                Next::End(End::Abandon) => return self.queue.clear(),
            }
        }
    }

    /// Half a second has passed, in slices, since something was gathered or written: it is made durable.
    fn linger(&mut self) {
        self.lingers += 1;
        if self.lingers >= LINGERS_MAX {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.write();
        if self.unsynced == 0 {
            return;
        }
        self.sync();
        // Once: marks that follow marks would go round the ring while nobody uses it.
        if std::mem::take(&mut self.is_unmarked) {
            self.mark();
        }
    }

    /// Says in the segment that all of it is durable so far: what is missing there at the next start was not lost by a crash.
    fn mark(&mut self) {
        let has_room = |open: &Open| open.has_room(0, BLOCK as u64);
        if self.open.as_ref().is_some_and(has_room) {
            self.append_mark(BLOCK);
            self.write();
        }
    }

    /// Appends what fills so many bytes.
    fn append_mark(&mut self, bytes: usize) {
        let Some(spot) = self.spot() else { return };
        Draft::mark(bytes).encode(spot, &mut self.unit);
    }

    /// Where the next record goes.
    fn spot(&self) -> Option<Spot> {
        let open = self.open.as_ref()?;
        Some(Spot {
            identity: self.volume.identity,
            lap: open.lap,
            offset: open.position + self.unit.len() as u64,
            durable: open.durable,
        })
    }

    fn put(&mut self, draft: &Draft, ticket: Ticket) {
        let bytes = padded(draft.length()) as u64;
        let is_writable = draft.length() <= RECORD_BYTES_MAX && !ticket.is_overtaken();
        // Asked again in the lap that it would be written in: one that began meanwhile may be believed beside another volume's.
        if !is_writable || !self.make_room(bytes) || ticket.is_overtaken() {
            return ticket.lost();
        }
        self.append(draft, ticket);
        self.lingers += 1;
        // A fill waits for its pieces.
        let is_awaited = draft.facts.kind == Kind::Chunk;
        if is_awaited || self.lingers >= LINGERS_MAX {
            self.write();
        } else if self.unit.len() >= GATHERED_MAX {
            self.write_blocks();
        }
    }

    /// Appends a record to the open segment, which has room for it.
    fn append(&mut self, draft: &Draft, ticket: Ticket) {
        let gathered = self.unit.len();
        let bytes = padded(draft.length()) as u64;
        let spot = self.spot();
        let open = self
            .open
            .as_mut()
            .filter(|open| open.has_room(gathered, bytes));
        let (Some(open), Some(spot), Ok(length)) = (open, spot, u32::try_from(draft.length()))
        else {
            return ticket.lost();
        };
        let location = Location {
            segment: open.segment,
            lap: open.lap,
            offset: spot.offset,
            bytes: length,
        };
        draft.encode(spot, &mut self.unit);
        self.is_unmarked = true;
        let within = spot.offset - self.volume.geometry.start_of(open.segment);
        open.entries.push(Entry::of(&draft.facts, within, length));
        self.gathered.push(Gathered {
            location,
            facts: draft.facts,
            ticket,
        });
    }

    /// Sees to it that an open segment has room for a record; `false` if none can.
    fn make_room(&mut self, bytes: u64) -> bool {
        let room = self.volume.geometry.segment_bytes - PAGE_BYTES - footer_bytes(1);
        if !self.volume.is_online() || bytes > room {
            return false;
        }
        let gathered = self.unit.len();
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.has_room(gathered, bytes))
        {
            return true;
        }
        self.seal();
        self.begin_segment();
        self.open
            .as_ref()
            .is_some_and(|open| open.has_room(self.unit.len(), bytes))
    }

    /// Ends the open segment: its footer, and all of it durable.
    fn seal(&mut self) {
        self.write();
        if let Some(open) = self.open.take() {
            let footer = Seal::encode(self.volume.identity, open.segment, open.lap, &open.entries);
            let at = open.end - footer.len() as u64;
            match self.write_footer(at, &footer) {
                // Without a footer its records are found by their headers.
                Ok(()) => self.unsynced += footer.len() as u64,
                Err(error) if error.cause == Cause::Late => self.retire(open.segment),
                Err(_) => {}
            }
        }
        self.sync();
    }

    fn write_footer(&self, offset: u64, footer: &[u8]) -> Result<(), IoError> {
        let volume = &self.volume;
        let mut unit = volume.file.unit(footer.len());
        unit.append(footer);
        volume.noted(volume.file.write(offset, unit).wait().map(drop))
    }

    /// Reuses the segment whose lap is the oldest: never another, or what is older than the forgotten would come back at a start.
    fn begin_segment(&mut self) {
        let segments = (0..).zip(&self.volume.segments);
        let usable = segments.filter(|(number, _)| !self.retired.contains(number));
        let laps = usable.map(|(number, segment)| (segment.lap(), number));
        let Some((oldest, segment)) = laps.min() else {
            return;
        };
        let lap = self.last_lap + 1;
        self.last_lap = lap;
        let kept = self.end_lap(segment, oldest, lap);
        if self.volume.write_lap(segment, lap).is_err() {
            return self.retire(segment);
        }
        let position = self.volume.geometry.start_of(segment) + PAGE_BYTES;
        self.open = Some(Open {
            segment,
            lap,
            position,
            end: self.volume.geometry.end_of(segment),
            durable: position,
            entries: Vec::new(),
        });
        self.write_again(segment, kept);
    }

    /// Forgets what a segment held in lap `old`, but for what is kept, and lets lap `new` begin.
    fn end_lap(&self, segment: u32, old: u64, new: u64) -> Vec<Kept> {
        let volume = &self.volume;
        let _reuse = volume.hold_reuse();
        let entries = (old > 0).then(|| recovery::entries_of(&**volume, segment, old));
        volume.turn(Some(segment));
        volume.begin_lap(segment, new);
        let kept = match entries {
            None => Vec::new(),
            Some(Ok(entries)) => turnover::turn_over(volume, segment, old, &entries),
            Some(Err(_)) => {
                let start = volume.geometry.start_of(segment);
                let range = start..volume.geometry.end_of(segment);
                volume.catalog.drop_range(range);
                Vec::new()
            }
        };
        volume.measure();
        kept
    }

    /// Writes what is kept of the last lap, in the order of its places: each is read before anything can be written over it. Nothing fills
    /// a block before the last one does: records would move behind their places.
    fn write_again(&mut self, segment: u32, kept: Vec<Kept>) {
        let volume = Arc::clone(&self.volume);
        let mut rest = kept
            .into_iter()
            .map(|one| (one, turnover::begin_read(&volume, &one)));
        let mut ahead: VecDeque<_> = rest.by_ref().take(AHEAD).collect();
        while let Some((one, pending)) = ahead.pop_front() {
            ahead.extend(rest.next());
            let ticket = Ticket::Again(Arc::clone(&volume), one);
            let draft = turnover::read(&volume, &one, pending);
            let is_open = self
                .open
                .as_ref()
                .is_some_and(|open| open.segment == segment);
            match draft.filter(|_| is_open) {
                Some(draft) => self.append(&draft, ticket),
                None => ticket.lost(),
            }
            if self.unit.len() >= GATHERED_MAX {
                self.write_blocks();
            }
        }
        self.write();
        volume.turn(None);
    }

    /// Writes what is gathered and tells everybody.
    fn write(&mut self) {
        let rest = BLOCK - self.unit.len() % BLOCK;
        if rest < BLOCK {
            self.append_mark(rest);
        }
        self.write_blocks();
    }

    /// Writes what is gathered but for a block that is not full, and tells whose records are written.
    fn write_blocks(&mut self) {
        self.lingers = 0;
        let tail = self.unit.split_tail();
        if let Some(open) = &self.open
            && !self.unit.is_empty()
        {
            let (segment, position) = (open.segment, open.position);
            let bytes = self.unit.len() as u64;
            match self.write_unit(position) {
                Ok(()) => self.written(bytes),
                Err(_) => return self.give_up(segment),
            }
        }
        self.unit.clear();
        self.unit.append(&tail);
    }

    fn write_unit(&mut self, position: u64) -> Result<(), IoError> {
        let file = &self.volume.file;
        let unit = std::mem::replace(&mut self.unit, file.unit(0));
        let written = self.volume.noted(file.write(position, unit).wait());
        // What failed is not given back.
        let (unit, result) = match written {
            Ok(unit) => (unit, Ok(())),
            Err(error) => (file.unit(UNIT_BYTES), Err(error)),
        };
        self.unit = unit;
        result
    }

    /// So many bytes more of the open segment are written.
    fn written(&mut self, bytes: u64) {
        let Some(open) = &mut self.open else { return };
        open.position += bytes;
        let position = open.position;
        self.unsynced += bytes;
        // Free space costs nothing.
        if open.lap > u64::from(self.volume.geometry.segments) {
            self.volume.allowance.spend(bytes);
        }
        let ends = |one: &Gathered| one.location.offset + u64::from(one.location.bytes);
        let is_written = |one: &Gathered| ends(one) <= position;
        let many = self.gathered.partition_point(is_written);
        for one in self.gathered.drain(..many) {
            if one.facts.kind == Kind::Chunk {
                let (at, partition) = (&one.location, one.facts.partition);
                self.volume
                    .take_piece(at.segment, partition, at.bytes.into());
            }
            one.ticket.written(one.location, &one.facts);
        }
        self.volume.measure();
        if self.unsynced >= UNSYNCED_MAX {
            self.sync();
        }
    }

    /// The open segment takes nothing any more, and what is gathered is lost.
    fn give_up(&mut self, segment: u32) {
        self.open = None;
        self.unit.clear();
        self.retire(segment);
        for one in self.gathered.drain(..) {
            one.ticket.lost();
        }
    }

    fn sync(&mut self) {
        if self.unsynced == 0 {
            return;
        }
        self.unsynced = 0;
        self.lingers = 0;
        let result = self.volume.noted(self.volume.file.sync().wait());
        match (result, &mut self.open) {
            (Ok(()), Some(open)) => open.durable = open.position,
            (Ok(()), None) => {}
            // What the kernel took and lost is noticed by checksums; what it should have replaced must not come back after a start.
            (Err(_), _) => self.volume.expel(),
        }
    }

    fn retire(&mut self, segment: u32) {
        self.volume.expel();
        self.retired.push(segment);
        self.volume.begin_lap(segment, 0);
        let geometry = self.volume.geometry;
        let range = geometry.start_of(segment)..geometry.end_of(segment);
        self.volume.catalog.drop_range(range);
    }
}
