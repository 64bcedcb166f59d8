//! The handle of a volume's file, and which backend carries out what it is asked.
//!
//! Opened by `disk` when a volume is, and shared by its readers, its writer and its recovery. Says once in the log what was chosen and why.
//! Dropping it lets what is under way end, for a while; a device that hangs keeps its threads and buffers, and the stop goes on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use log::{info, warn};
use parking_lot::{Condvar, Mutex};
use prometheus::{Histogram, IntCounter, IntGauge};

use crate::device::{Device, Opener, RealFiles};
use crate::metrics::Metrics;

use super::buffer::{BLOCK, Pool, Unit};
use super::error::{Cause, IoError, Operation};
use super::pending::{self, Held, Pending};
use super::queue::{Job, Queue, Sleeper, Span};
use super::{threads, uring};

/// The longest read: the longest record, and what its size class adds. What is longer is a damaged length.
const READ_BYTES_MAX: usize = 5 << 20;
/// The smallest sectors there are.
const SECTOR: usize = 512;
/// How long closing a file waits for what is under way.
const CLOSING_MAX: Duration = Duration::from_secs(5);

/// How much may wait and be under way, and how long a caller waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Reads that may wait to be begun: a burst of hits; beyond it the origin is the faster place to ask.
    pub reads_waiting: usize,
    /// Writes and syncs that may wait to be begun: the writer is one thread and gathers, more would be a fault of ours.
    pub writes_waiting: usize,
    /// Reads under way in a ring: what an SSD serves at once.
    pub reads_under_way: usize,
    /// Writes and syncs under way in a ring: few, so that they do not crowd out reads.
    pub writes_under_way: usize,
    /// Reading threads where there is no ring.
    pub reading_threads: usize,
    /// How long a read's caller waits: longer than a busy disk takes, shorter than a visitor's patience.
    pub read_deadline: Duration,
    /// How long the caller of a write or a sync waits: devices clean up for seconds.
    pub write_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reads_waiting: 1024,
            writes_waiting: 64,
            reads_under_way: 64,
            writes_under_way: 8,
            reading_threads: 4,
            read_deadline: Duration::from_secs(1),
            write_deadline: Duration::from_secs(30),
        }
    }
}

/// Which backend is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Want {
    /// `io_uring` where it is allowed, else threads.
    #[default]
    Best,
    /// Threads.
    Threads,
    /// The ring's worker over a ring without `unsafe`.
    #[cfg(test)]
    Twin,
    /// The same over one that is taken away after a few operations.
    #[cfg(test)]
    Revoked,
}

/// What carries operations out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A ring of the kernel's, served by one thread.
    Uring,
    /// Threads that block, a few for reads and one for writes.
    Threads,
}

impl Backend {
    /// The word in log lines and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uring => "io_uring",
            Self::Threads => "threads",
        }
    }
}

/// Whether the page cache takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does not: bytes go between the device and our buffers.
    Direct,
    /// It does, because the file system knows no other way.
    Buffered,
}

impl Mode {
    /// The word in log lines and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Buffered => "buffered",
        }
    }
}

/// What is left of a file that was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Nothing: nobody reads or writes through it any more.
    Over,
    /// The device has not answered yet: a write may still land.
    Owing,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The volume's number, for the names of threads.
    pub number: usize,
    /// Which backend is wanted.
    pub want: Want,
    /// How much at once, and for how long.
    pub limits: Limits,
}

/// An open file of a volume.
#[derive(Debug)]
pub struct VolumeFile {
    shared: Arc<Shared>,
    bell: Option<Arc<uring::Bell>>,
    backend: Backend,
    limits: Limits,
    counters: Counters,
}

/// What the handle and its threads have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) device: Arc<dyn Device>,
    pub(super) queue: Queue,
    pub(super) pool: Arc<Pool>,
    crew: Arc<Crew>,
    /// What direct reads must begin and end at multiples of.
    alignment: AtomicUsize,
    /// For log lines.
    pub(super) name: String,
}

impl Shared {
    pub(super) fn alignment(&self) -> usize {
        self.alignment.load(Ordering::Relaxed)
    }
}

impl VolumeFile {
    /// Opens a file, making it if it is not there, and keeps every other process from doing the same until it is closed.
    ///
    /// # Errors
    /// When it cannot be opened, is in use by another process, or no thread can be started.
    pub fn open(path: &Path, metrics: &Metrics, options: Options) -> io::Result<Self> {
        let device = RealFiles.open_volume(path)?;
        Self::start(device, path, metrics, options)
    }

    /// Carries out the I/O of an open device.
    pub(crate) fn start(
        device: Arc<dyn Device>,
        path: &Path,
        metrics: &Metrics,
        options: Options,
    ) -> io::Result<Self> {
        let limits = options.limits;
        let shared = Arc::new(Shared {
            queue: Queue::new(limits.reads_waiting, limits.writes_waiting),
            pool: Arc::default(),
            crew: Arc::default(),
            alignment: AtomicUsize::new(BLOCK),
            name: path.display().to_string(),
            device,
        });
        let mode = shared.device.mode();
        let (backend, bell, why) = begin(&shared, options)?;
        info!(
            "{}: {backend} ({why}), {mode} I/O",
            shared.name,
            backend = backend.as_str(),
            mode = mode.as_str()
        );
        let file = Self {
            bell,
            backend,
            limits,
            counters: Counters::of(metrics, backend, mode),
            shared,
        };
        file.counters.open.inc();
        file.align();
        Ok(file)
    }

    /// Reads `length` bytes from `offset`. What is given keeps a buffer of up to two blocks more: copy what is small and kept for long.
    pub fn read(&self, offset: u64, length: usize) -> Pending<Bytes> {
        self.read_within(self.limits.read_deadline, offset, length, None)
    }

    /// The same for whoever has nobody waiting, and nothing to put in the place of what does not come: with the patience of a write.
    pub fn read_patiently(&self, offset: u64, length: usize) -> Pending<Bytes> {
        self.read_within(self.limits.write_deadline, offset, length, None)
    }

    /// As [`Self::read`]; what is `held` is let go when nothing is read any more.
    pub(crate) fn read_holding(&self, offset: u64, length: usize, held: Held) -> Pending<Bytes> {
        self.read_within(self.limits.read_deadline, offset, length, Some(held))
    }

    fn read_within(
        &self,
        patience: Duration,
        offset: u64,
        length: usize,
        held: Option<Held>,
    ) -> Pending<Bytes> {
        let is_valid = length > 0
            && length <= READ_BYTES_MAX
            && offset.checked_add((length + 2 * BLOCK) as u64).is_some();
        let what = error(Operation::Read, offset, length);
        self.hand_in(what, patience, is_valid, |promise| {
            Job::Read(Span { offset, length }, promise.holding(held))
        })
    }

    /// Memory for a write of up to `bytes`.
    #[must_use]
    pub fn unit(&self, bytes: usize) -> Unit {
        Unit::new(self.shared.pool.take(bytes))
    }

    /// Writes a unit at `offset`, and gives it back. Writes may overtake each other: one that must follow another waits for it.
    /// When it fails, any part of it may have been written; when it is late, it may be written at any time after.
    pub fn write(&self, offset: u64, unit: Unit) -> Pending<Unit> {
        let length = unit.len();
        let is_valid = length > 0
            && length.is_multiple_of(BLOCK)
            && offset.is_multiple_of(BLOCK as u64)
            && offset.checked_add(length as u64).is_some();
        let what = error(Operation::Write, offset, length);
        let patience = self.limits.write_deadline;
        self.hand_in(what, patience, is_valid, |promise| {
            Job::Write(offset, unit, promise)
        })
    }

    /// Makes durable what every write has written whose success was told before this was called.
    pub fn sync(&self) -> Pending<()> {
        let what = error(Operation::Sync, 0, 0);
        self.hand_in(what, self.limits.write_deadline, true, Job::Sync)
    }

    /// Makes the file `bytes` long, with all its blocks; what is new reads as zeros. Blocks: while a volume is opened.
    ///
    /// # Errors
    /// When there is no room.
    pub fn resize(&self, bytes: u64) -> io::Result<()> {
        self.shared.device.resize(bytes)?;
        self.align();
        Ok(())
    }

    /// How long the file is.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn length(&self) -> io::Result<u64> {
        self.shared.device.length()
    }

    /// What carries operations out.
    #[must_use]
    pub const fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether the page cache takes part.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.shared.device.mode()
    }

    /// What is beneath: for another handle, once this one is [`Closing::Over`].
    pub(crate) fn device(&self) -> &Arc<dyn Device> {
        &self.shared.device
    }

    /// Takes nothing any more, and waits for a while until what was begun has ended. May be asked again.
    pub(crate) fn close(&self) -> Closing {
        self.shared.queue.close();
        self.ring();
        if self.shared.crew.ended(CLOSING_MAX) {
            Closing::Over
        } else {
            Closing::Owing
        }
    }

    /// How many operations wait to be begun.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.queue.len()
    }

    /// Finds out what direct reads have to be aligned to: the fewer, the less is read in vain.
    fn align(&self) {
        let alignment = match self.shared.device.mode() {
            Mode::Buffered => 1,
            Mode::Direct if self.takes_sectors() => SECTOR,
            Mode::Direct => BLOCK,
        };
        self.shared.alignment.store(alignment, Ordering::Relaxed);
    }

    fn takes_sectors(&self) -> bool {
        let mut buffer = self.shared.pool.take(BLOCK);
        let sector = &mut buffer.as_mut_slice()[..SECTOR];
        let result = self.shared.device.read_some(sector, SECTOR as u64);
        // At the end of a file nothing is asked of the device, and nothing learned.
        matches!(result, Ok(SECTOR))
    }

    fn hand_in<T>(
        &self,
        what: IoError,
        patience: Duration,
        is_valid: bool,
        job: impl FnOnce(pending::Promise<T>) -> Job,
    ) -> Pending<T> {
        let counters = self.counters.of_operation(what.operation);
        let timer = counters.duration.start_timer();
        let (promise, pending) = pending::pair(what, patience, timer, counters.late.clone());
        let job = job(promise);
        if !is_valid {
            job.fail(Cause::Invalid);
            return pending;
        }
        match self.shared.queue.put(job) {
            Ok(Sleeper::Asleep) => self.ring(),
            Ok(Sleeper::Late) => self.bell.iter().for_each(|bell| bell.step_aside()),
            Ok(Sleeper::Awake) | Err(Cause::Closed) => {}
            Err(_) => counters.shed.inc(),
        }
        pending
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }
}

impl Drop for VolumeFile {
    fn drop(&mut self) {
        self.counters.open.dec();
        if self.close() == Closing::Owing {
            let name = &self.shared.name;
            warn!("{name}: closed while the device still owes answers");
        }
    }
}

const fn error(operation: Operation, offset: u64, length: usize) -> IoError {
    IoError {
        operation,
        offset,
        length: length as u64,
        cause: Cause::Closed,
    }
}

/// Starts the best backend that works, and says why it is that one.
fn begin(
    shared: &Arc<Shared>,
    options: Options,
) -> io::Result<(Backend, Option<Arc<uring::Bell>>, String)> {
    let refused = match options.want {
        Want::Threads => "as configured".to_owned(),
        Want::Best => match uring::start::<uring::KernelRing>(shared, options) {
            Ok(bell) => return Ok((Backend::Uring, Some(bell), "the kernel allows it".into())),
            Err(error) => format!("io_uring is refused: {error}"),
        },
        #[cfg(test)]
        Want::Twin => {
            let bell = uring::start::<uring::TwinRing>(shared, options)?;
            return Ok((Backend::Uring, Some(bell), "its safe twin".into()));
        }
        #[cfg(test)]
        Want::Revoked => {
            let bell = uring::start::<uring::TwinRing<5>>(shared, options)?;
            return Ok((Backend::Uring, Some(bell), "for a while".into()));
        }
    };
    threads::start(shared, options)?;
    Ok((Backend::Threads, None, refused))
}

/// The threads of one file.
#[derive(Debug, Default)]
pub(super) struct Crew {
    running: Mutex<usize>,
    ended: Condvar,
}

/// Held by a running thread.
#[derive(Debug)]
struct Running(Arc<Crew>);

impl Crew {
    /// Starts a thread. Nobody joins it: one that hangs in the kernel would keep whoever did.
    pub(super) fn start(
        shared: &Arc<Shared>,
        name: String,
        work: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> io::Result<()> {
        *shared.crew.running.lock() += 1;
        let running = Running(Arc::clone(&shared.crew));
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name(name);
        let start = thread.spawn(move || {
            // Whoever waits for the end wants the file closed: `running` goes last, after a panic too.
            let running = running;
            let shared = shared;
            work(&shared);
            drop(shared);
            drop(running);
        });
        start.map(drop)
    }

    /// Waits until all have ended, for so long at most.
    fn ended(&self, longest: Duration) -> bool {
        let mut running = self.running.lock();
        self.ended
            .wait_while_for(&mut running, |running| *running > 0, longest);
        *running == 0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.ended.notify_all();
    }
}

/// What is counted, each found once and for all.
#[derive(Debug)]
struct Counters {
    read: OfOperation,
    write: OfOperation,
    sync: OfOperation,
    open: IntGauge,
}

#[derive(Debug)]
struct OfOperation {
    duration: Histogram,
    late: IntCounter,
    shed: IntCounter,
}

impl Counters {
    fn of(metrics: &Metrics, backend: Backend, mode: Mode) -> Self {
        let of = |operation: Operation, duration: &Histogram| OfOperation {
            duration: duration.clone(),
            late: refused(metrics, operation, Cause::Late),
            shed: refused(metrics, operation, Cause::QueueFull),
        };
        let labels = [backend.as_str(), mode.as_str()];
        Self {
            read: of(Operation::Read, &metrics.disk_read_duration),
            write: of(Operation::Write, &metrics.disk_write_duration),
            sync: of(Operation::Sync, &metrics.disk_sync_duration),
            open: metrics.volume_files.with_label_values(&labels),
        }
    }

    const fn of_operation(&self, operation: Operation) -> &OfOperation {
        match operation {
            Operation::Read => &self.read,
            Operation::Write => &self.write,
            Operation::Sync => &self.sync,
        }
    }
}

fn refused(metrics: &Metrics, operation: Operation, cause: Cause) -> IntCounter {
    let labels = [operation.as_str(), cause.as_str()];
    metrics.disk_refused.with_label_values(&labels)
}
