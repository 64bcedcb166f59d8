//! One volume: a preallocated file that is a ring of segments. What may be read from it, and is it still in service?
//!
//! Shared by its writer, its readers and its recovery. Every use of a segment is a *lap* with a number that is never repeated; a read
//! counts only if the lap is the same before and after it. Segments are reused strictly in turn: a record that is overwritten never has
//! an older one of its key behind it. A volume with failing writes is noted in the purge journal, so that it is emptied before it serves
//! another session; one that fails again and again, or cannot be believed, is out of service until `keeper` has emptied it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use log::{error, warn};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use crate::device::{Device, Opener};
use crate::disk::VolumeConfig;
use crate::io::{BLOCK, Cause, IoError, Options, VolumeFile};
use crate::key::Partition;
use crate::metrics::Metrics;
use crate::purge::Purges;

use super::allowance::Allowance;
use super::catalog::Catalog;
use super::index::slot::{Address, Birth, SizeClass, Slot};
use super::keeper::Bell;
use super::lap::{Held, Segment};
use super::peers::{self, Arrivals};
use super::record::Location;
use super::segment::{Geometry, SegmentHeader};
use super::shares::{Ledger, Shares};
use super::superblock::{Emptied, Peer, Superblock};

mod reading;
mod turns;

pub(super) use reading::{Part, Reading, Unread};
pub(super) use turns::Turn;
use turns::Turns;

/// The file in the volume's directory.
pub(super) const FILE: &str = "jet9.volume";
/// What a record takes on average, for the size of the index, in bytes.
const RECORD_BYTES_MEAN: u64 = 16 << 10;
/// Failures within a minute after which a volume is out of service. What is late together counts once.
const FAILURES_MAX: u32 = 5;
/// Records within a minute that are not as they were written, after which a volume is out of service: a rotten place is forgotten record
/// by record; a device that gives back other bytes than it took goes on and on.
const CORRUPTIONS_MAX: u32 = 32;
/// How long a segment's reuse waits for those who read from it; then they are cut.
const PINNED_MAX: Duration = Duration::from_secs(5);

/// What volumes share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) files: Arc<dyn Opener>,
    pub(super) purges: Arc<Purges>,
    pub(super) metrics: Metrics,
    pub(super) bell: Arc<Bell>,
    pub(super) shares: Arc<Shares>,
    /// The session that begins.
    pub(super) session: u128,
}

/// An open volume.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(super) number: usize,
    /// The hash of its path: its keys are the same when it was emptied.
    pub(super) name: u64,
    path: PathBuf,
    pub(super) file: VolumeFile,
    pub(super) identity: u128,
    pub(super) geometry: Geometry,
    pub(super) segments: Box<[Segment]>,
    pub(super) catalog: Catalog,
    pub(super) allowance: Allowance,
    pub(super) shared: Shared,
    superblock: Mutex<Superblock>,
    /// The lap that had begun, as the superblock has it; read while that is being written.
    last_lap: AtomicU64,
    /// The same of the other volumes.
    peers: RwLock<Vec<Peer>>,
    /// Which of them came into service in this session.
    arrivals: Arrivals,
    loaded: AtomicBool,
    /// The segment whose records are moved within it just now; [`u32::MAX`] for none.
    turning: AtomicU32,
    /// How often that has ended.
    turns: AtomicU64,
    /// Held while a segment is reused, and while recovery takes in what one holds.
    reuse: Mutex<()>,
    /// In this minute.
    failures: AtomicU32,
    corruptions: AtomicU32,
    /// Times that something was late.
    delays: AtomicU32,
    expelled: AtomicBool,
    service: AtomicU32,
    /// Told when nobody reads from a segment any more.
    unpinned: (Mutex<()>, Condvar),
    /// Bytes of the pieces of long content in each segment's present lap, by whose they are.
    pieces: Box<[Mutex<HashMap<Partition, u64>>]>,
    /// What its records and pieces take.
    ledger: Arc<Ledger>,
    long_reads: Turns,
}

/// Why a volume is out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    /// Its device fails: it is tried again after a while.
    Failing,
    /// Its content cannot be believed: it can serve at once when it is emptied.
    Unbelievable,
}

/// Whether a volume keeps what it holds when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// If it can be believed.
    Believe,
    /// It was out of service: whatever it holds may be too old.
    Empty,
}

impl Volume {
    /// Opens the volume in a directory, emptying it when its content is not wanted or cannot be believed. It takes part in the session from
    /// now on.
    ///
    /// # Errors
    /// When it cannot be used: no such directory, no room, in use by another process.
    pub(super) fn open(
        number: usize,
        config: &VolumeConfig,
        shared: Shared,
        content: Content,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&config.path)?;
        let path = config.path.join(FILE);
        let device = shared.files.open_volume(&path)?;
        Self::open_on(number, config, shared, device, content)
    }

    /// The same on a file that is open already.
    pub(super) fn open_on(
        number: usize,
        config: &VolumeConfig,
        shared: Shared,
        device: Arc<dyn Device>,
        content: Content,
    ) -> io::Result<Self> {
        let geometry = Geometry::of(config.size)?;
        let path = config.path.join(FILE);
        let options = Options {
            number,
            ..shared.files.options()
        };
        let file = VolumeFile::start(device, &path, &shared.metrics, options)?;
        let is_new = file.length()? == 0;
        let believed = match content {
            Content::Believe => believe(&file, geometry, &shared.purges),
            Content::Empty => Err(Emptied::Failed),
        };
        let mut superblock = match believed {
            Ok(superblock) => superblock,
            Err(why) => {
                if !is_new {
                    warn!("{}: {why}; it is emptied", path.display());
                }
                Superblock::new(geometry, shared.purges.identity())?
            }
        };
        // A file that has its length has its blocks.
        if file.length()? != geometry.file_bytes() {
            file.resize(geometry.file_bytes())?;
        }
        superblock.sessions = [shared.purges.session(), shared.session];
        // Both copies: no older identity can come back.
        write_superblock(&file, &mut superblock)?;
        write_superblock(&file, &mut superblock)?;
        let ledger = Arc::new(shared.shares.open());
        Ok(Self {
            number,
            name: name_of(&config.path),
            path,
            file,
            identity: superblock.identity,
            geometry,
            segments: (0..geometry.segments).map(|_| Segment::default()).collect(),
            pieces: (0..geometry.segments).map(|_| Mutex::default()).collect(),
            catalog: Catalog::new(geometry.bytes() / RECORD_BYTES_MEAN, Arc::clone(&ledger)),
            ledger,
            allowance: Allowance::of_ring(geometry.bytes()),
            long_reads: Turns::of(options.limits.reads_waiting),
            shared,
            last_lap: AtomicU64::new(superblock.last_lap),
            arrivals: Arrivals::default(),
            peers: RwLock::new(superblock.peers.clone()),
            superblock: Mutex::new(superblock),
            loaded: AtomicBool::new(false),
            turning: AtomicU32::new(u32::MAX),
            turns: AtomicU64::new(0),
            reuse: Mutex::default(),
            failures: AtomicU32::new(0),
            corruptions: AtomicU32::new(0),
            delays: AtomicU32::new(0),
            expelled: AtomicBool::new(false),
            service: AtomicU32::new(IN_SERVICE),
            unpinned: (Mutex::default(), Condvar::new()),
        })
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_online(&self) -> bool {
        self.service.load(Ordering::Acquire) == IN_SERVICE
    }

    /// Why it is out of service, if it is.
    pub(super) fn outage(&self) -> Option<Outage> {
        match self.service.load(Ordering::Acquire) {
            IN_SERVICE => None,
            FAILING => Some(Outage::Failing),
            _ => Some(Outage::Unbelievable),
        }
    }

    /// Whether its index is complete.
    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    pub(super) fn finish_loading(&self) {
        self.catalog.finish_loading();
        self.loaded.store(true, Ordering::Release);
        self.measure();
    }

    /// The lap that had begun, durably, when the superblock was written last.
    pub(super) fn last_lap(&self) -> u64 {
        self.last_lap.load(Ordering::Acquire)
    }

    /// Notes durably that other volumes join now, which take some of the keys that were here. Whoever calls keeps segments from being reused
    /// until they serve.
    ///
    /// # Errors
    /// When it could not be written.
    pub(super) fn meet(&self, names: &[u64]) -> io::Result<()> {
        // A lap that begins just now is not in the superblock yet.
        let laps = self.segments.iter().map(Segment::lap);
        let lap = laps.max().unwrap_or(0);
        let mut superblock = self.superblock.lock();
        let joined = lap.max(superblock.last_lap);
        let fits = names.iter().all(|name| superblock.see(*name, joined));
        self.peers.write().clone_from(&superblock.peers);
        if !fits {
            return Err(io::Error::other("too many volumes were beside it"));
        }
        let written = write_superblock(&self.file, &mut superblock);
        Ok(self.noted(written)?)
    }

    /// The other volumes that were in service beside this one, and the laps that had begun when they joined.
    pub(super) fn peers(&self) -> Vec<Peer> {
        self.peers.read().clone()
    }

    /// Other volumes serve from now on.
    pub(super) fn give_way(&self, names: &[u64]) {
        self.arrivals.add(names);
    }

    /// How often it has given way.
    pub(super) fn arrivals(&self) -> u64 {
        self.arrivals.count()
    }

    /// Whether a key was another volume's since it had given way so often.
    pub(super) fn has_lost(&self, primary: u128, since: u64) -> bool {
        self.arrivals.has_better(self.name, primary, since)
    }

    /// Whether the record of a key at an address is not older than what another volume may have.
    pub(super) fn is_own(&self, primary: u128, address: Address) -> bool {
        let segment = self.geometry.segment_of(address.offset());
        let segment = segment.and_then(|number| self.segments.get(number as usize));
        segment.is_some_and(|segment| self.is_own_in(primary, segment.lap()))
    }

    /// The same for one that was written in a lap.
    pub(super) fn is_own_in(&self, primary: u128, lap: u64) -> bool {
        peers::is_own(self.name, &self.peers.read(), primary, lap)
    }

    /// Whether what was at a location still is.
    pub(super) fn is_there(&self, location: &Location) -> bool {
        let segment = self.segments.get(location.segment as usize);
        self.is_online() && segment.is_some_and(|s| s.lap() == location.lap)
    }

    /// Counts a record that is not as it was written; too many in a minute end the volume's service.
    pub(super) fn corrupt(&self) -> Unread {
        self.metrics().checksum_errors.inc();
        if self.corruptions.fetch_add(1, Ordering::Relaxed) + 1 >= CORRUPTIONS_MAX {
            self.retire(Outage::Failing);
        }
        Unread::Corrupt
    }

    /// Counts an operation that failed; too many in a minute end the volume's service.
    pub(super) fn noted<T>(&self, result: Result<T, IoError>) -> Result<T, IoError> {
        if let Err(error) = &result {
            let delays = self.delays.load(Ordering::Relaxed);
            self.note(error, delays);
        }
        result
    }

    /// The same for an operation that began after so many delays.
    fn note(&self, error: &IoError, delays: u32) {
        let is_first = match error.cause {
            // Counted where it was refused, and no fault of the device.
            Cause::QueueFull | Cause::Closed => return,
            // A device that pauses makes everything late that is under way.
            Cause::Late => {
                let counted = self.delays.compare_exchange(
                    delays,
                    delays.wrapping_add(1),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                counted.is_ok()
            }
            Cause::Device(_) | Cause::Short(_) | Cause::Invalid => true,
        };
        let errors = &self.metrics().disk_errors;
        errors.with_label_values(&[error.operation.as_str()]).inc();
        if !is_first {
            return;
        }
        warn!("{}: {error}", self.path.display());
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX {
            self.retire(Outage::Failing);
        }
    }

    /// Failures are counted anew: another minute has begun.
    pub(super) fn begin_minute(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.corruptions.store(0, Ordering::Relaxed);
    }

    /// What it holds cannot be believed: nothing of it is served.
    pub(super) fn distrust(&self, why: Emptied) {
        error!("{}: {why}", self.path.display());
        self.retire(Outage::Unbelievable);
    }

    /// Takes the volume out of service: what was written elsewhere meanwhile makes it worthless. The keeper notes that durably, since who
    /// finds out may be a request, and the journal may be on the same device.
    pub(super) fn retire(&self, why: Outage) {
        let state = match why {
            Outage::Failing => FAILING,
            Outage::Unbelievable => UNBELIEVABLE,
        };
        let changed =
            self.service
                .compare_exchange(IN_SERVICE, state, Ordering::AcqRel, Ordering::Acquire);
        if changed.is_err() {
            return;
        }
        error!("{}: out of service", self.path.display());
        // It comes back empty, if ever: nobody pays for what it held.
        self.ledger.close();
        self.measure();
        self.shared.bell.ring();
    }

    /// Notes durably that what is on this volume must not be believed after the next start. Blocks.
    pub(super) fn expel(&self) {
        if self.expelled.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.shared.purges.expel(self.identity) {
            // The last resort: without a superblock it is emptied as well.
            error!(
                "{}: its failure could not be noted: {error}",
                self.path.display()
            );
            for copy in [0, super::superblock::COPY_BYTES] {
                let wiped = write(&self.file, copy, &[0; BLOCK]);
                if let Err(error) = wiped.and_then(|()| self.file.sync().wait()) {
                    error!(
                        "{}: its superblock could not be wiped: {error}",
                        self.path.display()
                    );
                }
            }
        }
    }

    /// The slot of a record.
    pub(super) fn slot_of(
        offset: u64,
        bytes: u64,
        partition: Partition,
        birth: crate::purge::Tick,
    ) -> Option<Slot> {
        let slot = Slot {
            address: Address::of_offset(offset)?,
            size: SizeClass::of(bytes)?,
            partition,
            birth: Birth::of(birth.0),
            frequency: 0,
        };
        Slot::fits(partition).then_some(slot)
    }

    pub(super) fn measure(&self) {
        let records = if self.is_online() {
            self.catalog.len()
        } else {
            0
        };
        let bytes = self.shared.shares.all();
        self.shared.bell.measure(self.number, records, bytes);
    }

    /// Keeps segments from being reused.
    pub(super) fn hold_reuse(&self) -> MutexGuard<'_, ()> {
        self.reuse.lock()
    }

    /// Begins lap `lap` of a segment (0: none): nothing of the last one is read any more.
    pub(super) fn begin_lap(&self, segment: u32, lap: u64) {
        let Some(of_segment) = self.segments.get(segment as usize) else {
            return;
        };
        let (lock, unpinned) = &self.unpinned;
        let mut waiting = lock.lock();
        let is_held = |_: &mut ()| !of_segment.try_begin(lap);
        let waited = unpinned.wait_while_for(&mut waiting, is_held, PINNED_MAX);
        if waited.timed_out() {
            of_segment.begin(lap);
        }
        drop(waiting);
        self.give_back_pieces(segment);
        self.catalog
            .advance(self.geometry.start_of(segment), segment == 0);
    }

    /// A piece of long content lies in a segment.
    pub(super) fn take_piece(&self, segment: u32, partition: Partition, bytes: u64) {
        if let Some(pieces) = self.pieces.get(segment as usize) {
            *pieces.lock().entry(partition).or_default() += bytes;
            self.ledger.add_bytes(partition, bytes);
        }
    }

    fn give_back_pieces(&self, segment: u32) {
        let Some(pieces) = self.pieces.get(segment as usize) else {
            return;
        };
        for (partition, bytes) in std::mem::take(&mut *pieces.lock()) {
            self.ledger.subtract_bytes(partition, bytes);
        }
    }

    /// Tells that the records of a segment are moved within it, or that they are no more.
    pub(super) fn turn(&self, segment: Option<u32>) {
        let turning = segment.unwrap_or(u32::MAX);
        if self.turning.swap(turning, Ordering::AcqRel) != u32::MAX {
            self.turns.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether every segment was written once: what is written now pushes something out.
    pub(super) fn has_wrapped(&self) -> bool {
        self.last_lap() >= u64::from(self.geometry.segments)
    }

    /// Writes the header of a lap that begins, and what the superblock says of it. Blocks.
    ///
    /// # Errors
    /// When the header is not known to be durable.
    pub(super) fn write_lap(&self, segment: u32, lap: u64) -> Result<(), IoError> {
        let header = SegmentHeader {
            segment,
            lap,
            opened: self.shared.purges.now(),
        };
        let page = header.encode(self.identity);
        let start = self.geometry.start_of(segment);
        self.noted(write(&self.file, start, &page))?;
        self.noted(self.file.sync().wait())?;
        // Only now: a superblock must not promise a lap that a crash can undo.
        let mut superblock = self.superblock.lock();
        superblock.last_lap = lap;
        self.last_lap.store(lap, Ordering::Release);
        self.noted(write_superblock(&self.file, &mut superblock))
    }

    /// The turns of those who read long content.
    pub(super) const fn long_reads(&self) -> &Turns {
        &self.long_reads
    }

    /// Keeps what is at a location from being overwritten for a while; `false` when it is not there any more.
    pub(super) fn pin(&self, location: &Location) -> bool {
        let segment = self.segments.get(location.segment as usize);
        location.lap > 0 && segment.is_some_and(|segment| segment.pin(location.lap))
    }

    pub(super) fn unpin(&self, location: &Location) {
        let segment = self.segments.get(location.segment as usize);
        if segment.is_some_and(|segment| segment.unpin(location.lap) == Held::No) {
            let (lock, unpinned) = &self.unpinned;
            let _waiting = lock.lock();
            unpinned.notify_all();
        }
    }
}

const IN_SERVICE: u32 = 0;
const FAILING: u32 = 1;
const UNBELIEVABLE: u32 = 2;

/// A name that stays the same when the volume is emptied, never 0.
pub(super) fn name_of(path: &Path) -> u64 {
    use std::hash::Hasher;
    use std::os::unix::ffi::OsStrExt;
    let mut hasher = siphasher::sip::SipHasher24::new();
    hasher.write(path.as_os_str().as_bytes());
    hasher.finish().max(1)
}

/// Writes whole pages. Blocks.
fn write(file: &VolumeFile, offset: u64, pages: &[u8]) -> Result<(), IoError> {
    let mut unit = file.unit(pages.len());
    unit.append(pages);
    file.write(offset, unit).wait().map(drop)
}

/// Writes the superblock over its older copy, and waits until it is durable. Blocks.
fn write_superblock(file: &VolumeFile, superblock: &mut Superblock) -> Result<(), IoError> {
    let (offset, page) = superblock.next();
    write(file, offset, &page)?;
    file.sync().wait()
}

/// The superblock, if it can be believed. Blocks.
fn believe(file: &VolumeFile, geometry: Geometry, purges: &Purges) -> Result<Superblock, Emptied> {
    let superblock = Superblock::read(|offset, bytes| {
        Ok(file.read_patiently(offset, bytes as usize).wait()?)
    })?;
    if superblock.geometry != geometry {
        return Err(Emptied::Size);
    }
    if superblock.journal != purges.identity() {
        return Err(Emptied::Journal);
    }
    if purges.is_expelled(superblock.identity) {
        return Err(Emptied::Failed);
    }
    if !superblock.sessions.contains(&purges.session()) {
        return Err(Emptied::Away);
    }
    Ok(superblock)
}
