//! What writes to a volume: one thread that puts records one after the other into the open segment.
//!
//! Records are gathered and written together, at the latest half a second after they were handed in. When a segment is full it is made
//! durable and the oldest one is reused. Whoever hands in a record is told its location once it is written, or that it is lost; the order
//! of records is the order in which they were handed in. A failed write retires the segment and never stops the thread.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use super::record::{ALIGNMENT, Draft, Kind, Location, padded};
use super::recovery::{SegmentHeader, Tail};
use super::volume::{Operation, Volume};

/// Records that are gathered before they are written, in bytes.
const GATHERED_MAX: usize = 1 << 20;
/// How long the thread waits for more before it writes what it has, and how often in a row: half a second in all.
const LINGER: Duration = Duration::from_millis(10);
const LINGERS_MAX: u32 = 50;
/// Bytes that are written before they are made durable, if nothing else makes them so earlier.
const UNSYNCED_MAX: u64 = 16 << 20;
/// Bytes handed in and not yet written; beyond, whoever hands in waits.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Told where a record is, or that it was lost.
pub(super) type Done = Box<dyn FnOnce(Option<Location>) + Send>;

/// The queue to a volume's writing thread.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    queue: Arc<Queue>,
}

/// The thread; it is stopped, as in a crash, when this is dropped before it was closed.
#[derive(Debug)]
pub(super) struct Writer {
    sink: Sink,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    room: Notify,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    end: Option<End>,
}

enum Job {
    Record(Draft, Done),
    /// Told when everything before it is durable.
    Flush(oneshot::Sender<()>),
}

/// How the thread ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// After everything handed in is durable.
    Clean,
    /// At once, as in a crash.
    Abandon,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread; it goes on where `tail` says.
    pub(super) fn start(volume: Arc<Volume>, tail: Tail) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let of_thread = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name(format!("jet9-write-{}", volume.number))
            .spawn(move || Log::new(volume, of_thread, tail).run())?;
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
        self.sink.end(End::Clean);
    }
}

impl Sink {
    /// Waits until the writer is not too far behind.
    pub(super) async fn room(&self) {
        loop {
            let room = self.queue.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.queue.waiting.lock().bytes < WAITING_BYTES_MAX {
                return;
            }
            room.await;
        }
    }

    /// Hands in a record; wait for [`Self::room`] before.
    pub(super) fn put(&self, draft: Draft, done: Done) {
        let mut waiting = self.queue.waiting.lock();
        if waiting.end.is_some() {
            drop(waiting);
            return done(None);
        }
        waiting.bytes += draft.length();
        waiting.jobs.push_back(Job::Record(draft, done));
        drop(waiting);
        self.queue.changed.notify_one();
    }

    /// Waits until everything handed in before is durable, or lost.
    pub(super) async fn flush(&self) {
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.queue.waiting.lock();
            if waiting.end.is_some() {
                return;
            }
            waiting.jobs.push_back(Job::Flush(sender));
        }
        self.queue.changed.notify_one();
        // The thread is gone: nothing is left to wait for.
        drop(receiver.await);
    }

    fn end(&self, end: End) {
        let mut waiting = self.queue.waiting.lock();
        if waiting.end != Some(End::Clean) {
            waiting.end = Some(end);
        }
        drop(waiting);
        self.queue.changed.notify_one();
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

/// What the thread finds in its queue.
enum Next {
    Job(Job),
    /// Nothing came for as long as it may wait.
    Idle,
    End(End),
}

impl Queue {
    /// Drops what nobody will write any more, and with it what that holds.
    fn clear(&self) {
        let jobs = std::mem::take(&mut self.waiting.lock().jobs);
        drop(jobs);
    }

    /// The next job; `linger` when something is gathered already.
    fn next(&self, linger: bool) -> Next {
        let mut waiting = self.waiting.lock();
        loop {
            match waiting.end {
                Some(End::Abandon) => return Next::End(End::Abandon),
                Some(End::Clean) if waiting.jobs.is_empty() => return Next::End(End::Clean),
                _ => {}
            }
            if let Some(job) = waiting.jobs.pop_front() {
                if let Job::Record(draft, _) = &job {
                    waiting.bytes -= draft.length();
                    self.room.notify_waiters();
                }
                return Next::Job(job);
            }
            if !linger {
                self.changed.wait(&mut waiting);
            } else if self.changed.wait_for(&mut waiting, LINGER).timed_out() {
                return Next::Idle;
            }
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
}

/// The thread's own state.
struct Log {
    volume: Arc<Volume>,
    queue: Arc<Queue>,
    open: Option<Open>,
    last_lap: u64,
    gathered: Vec<u8>,
    dones: Vec<(Location, Done)>,
    unsynced: u64,
    lingers: u32,
}

impl Log {
    fn new(volume: Arc<Volume>, queue: Arc<Queue>, tail: Tail) -> Self {
        let open = tail.open.map(|(segment, position)| Open {
            segment,
            lap: tail.last_lap,
            position,
            end: volume.start_of(segment) + volume.segment_bytes,
        });
        Self {
            volume,
            queue,
            open,
            last_lap: tail.last_lap,
            gathered: Vec::with_capacity(GATHERED_MAX + GATHERED_MAX / 4),
            dones: Vec::new(),
            unsynced: 0,
            lingers: 0,
        }
    }

    fn run(mut self) {
        loop {
            let is_dirty = !self.gathered.is_empty() || self.unsynced > 0;
            match self.queue.next(is_dirty) {
                Next::Job(Job::Record(draft, done)) => self.put(&draft, done),
                Next::Job(Job::Flush(told)) => {
                    self.write();
                    self.sync();
                    let _ = told.send(());
                }
                Next::Idle => self.linger(),
                Next::End(End::Clean) => {
                    self.write();
                    self.sync();
                    return;
                }
                Next::End(End::Abandon) => return self.queue.clear(),
            }
        }
    }

    /// Half a second has passed, in slices, since something was gathered or written: it is made durable.
    fn linger(&mut self) {
        self.lingers += 1;
        if self.lingers >= LINGERS_MAX {
            self.write();
            self.sync();
        }
    }

    fn put(&mut self, draft: &Draft, done: Done) {
        let bytes = padded(draft.length()) as u64;
        let (Ok(length), true) = (u32::try_from(draft.length()), self.make_room(bytes)) else {
            return done(None);
        };
        let Some(open) = &self.open else {
            return done(None);
        };
        let offset = open.position + self.gathered.len() as u64;
        let location = Location {
            segment: open.segment,
            lap: open.lap,
            offset,
            bytes: length,
        };
        draft.encode(self.volume.identity, open.lap, offset, &mut self.gathered);
        self.dones.push((location, done));
        self.lingers += 1;
        // A fill waits for its pieces.
        let is_awaited = draft.facts.kind == Kind::Chunk;
        if is_awaited || self.gathered.len() >= GATHERED_MAX || self.lingers >= LINGERS_MAX {
            self.write();
        }
    }

    /// Sees to it that an open segment has room for a record; `false` if none can.
    fn make_room(&mut self, bytes: u64) -> bool {
        if !self.volume.is_online() || bytes > self.volume.segment_bytes - ALIGNMENT {
            return false;
        }
        let has_room =
            |open: &Open, gathered: usize| open.position + gathered as u64 + bytes <= open.end;
        if self
            .open
            .as_ref()
            .is_some_and(|open| has_room(open, self.gathered.len()))
        {
            return true;
        }
        self.write();
        self.sync();
        self.open = self.begin_segment();
        self.open.is_some()
    }

    /// Reuses the segment whose lap is the oldest.
    fn begin_segment(&mut self) -> Option<Open> {
        let segments = self.volume.segments.iter().enumerate();
        let usable = segments.filter(|(_, segment)| !segment.retired.load(Ordering::Acquire));
        let oldest = usable.min_by_key(|(_, segment)| segment.lap.load(Ordering::Acquire));
        let segment = u32::try_from(oldest?.0).ok()?;
        let lap = self.last_lap + 1;
        self.last_lap = lap;
        self.volume.begin_lap(segment, lap);
        let start = self.volume.start_of(segment);
        let header = SegmentHeader { segment, lap }.encode(self.volume.identity);
        let result = self.volume.device.write_at(&header, start);
        self.volume.note(Operation::Write, &result);
        if result.is_err() {
            self.retire(segment);
            return None;
        }
        let end = start + self.volume.segment_bytes;
        Some(Open {
            segment,
            lap,
            position: start + ALIGNMENT,
            end,
        })
    }

    /// Writes what is gathered and tells everybody.
    fn write(&mut self) {
        self.lingers = 0;
        if self.gathered.is_empty() {
            return;
        }
        let Some(open) = &mut self.open else { return };
        let result = self.volume.device.write_at(&self.gathered, open.position);
        self.volume.note(Operation::Write, &result);
        let dones = std::mem::take(&mut self.dones);
        let written = self.gathered.len() as u64;
        self.gathered.clear();
        if result.is_ok() {
            open.position += written;
            self.unsynced += written;
            for (location, done) in dones {
                done(Some(location));
            }
            if self.unsynced >= UNSYNCED_MAX {
                self.sync();
            }
        } else {
            let segment = open.segment;
            self.open = None;
            self.retire(segment);
            for (_, done) in dones {
                done(None);
            }
        }
    }

    fn sync(&mut self) {
        if self.unsynced == 0 {
            return;
        }
        self.unsynced = 0;
        self.lingers = 0;
        let result = self.volume.device.sync();
        self.volume.note(Operation::Sync, &result);
        // What the kernel took and lost is noticed by checksums; what it should have replaced must not come back after a start.
        if result.is_err() {
            self.volume.expel();
        }
    }

    fn retire(&self, segment: u32) {
        self.volume.expel();
        if let Some(of_volume) = self.volume.segments.get(segment as usize) {
            of_volume.retired.store(true, Ordering::Release);
        }
        self.volume.begin_lap(segment, 0);
    }
}
