//! One volume: a preallocated file that is a ring of segments. What may be read from it, and is it still in service?
//!
//! Shared by its writer, its readers and its recovery. Every use of a segment is a *lap* with a number that is never repeated; a read
//! counts only if the lap is the same before and after it. Segments are reused strictly in turn: a record that is overwritten never has
//! an older one of its key behind it. A volume with failing writes is noted in the purge journal, so that it is emptied before it serves
//! another session; one that fails again and again, or cannot be believed, is out of service until `keeper` has emptied it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use log::{error, warn};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::device::{Device, Opener};
use crate::key::Partition;
use crate::metrics::Metrics;
use crate::purge::Purges;
use crate::store::VolumeConfig;

use super::catalog::Catalog;
use super::index::slot::{Address, Birth, SizeClass, Slot};
use super::keeper::Bell;
use super::record::{Header, Location, RECORD_BYTES_MAX};
use super::segment::{Geometry, SegmentHeader};
use super::shares::Shares;
use super::superblock::{Emptied, Peer, Superblock};

/// The file in the volume's directory.
pub(super) const FILE: &str = "jet9.volume";
/// What a record takes on average, for the size of the index, in bytes.
const RECORD_BYTES_MEAN: u64 = 16 << 10;
/// Failures within a minute after which a volume is out of service.
const FAILURES_MAX: u32 = 5;
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
    pub(super) device: Arc<dyn Device>,
    pub(super) identity: u128,
    pub(super) geometry: Geometry,
    pub(super) segments: Box<[Segment]>,
    pub(super) catalog: Catalog,
    pub(super) shared: Shared,
    superblock: Mutex<Superblock>,
    loaded: AtomicBool,
    /// The segment whose records are moved within it just now; [`u32::MAX`] for none.
    turning: AtomicU32,
    /// Held while a segment is reused, and while recovery takes in what one holds.
    reuse: Mutex<()>,
    /// In this minute.
    failures: AtomicU32,
    expelled: AtomicBool,
    service: AtomicU32,
    pins: Mutex<()>,
    unpinned: Condvar,
}

/// One segment.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// The number of its present lap; 0: nothing readable is in it.
    pub(super) lap: AtomicU64,
    pins: AtomicU32,
}

/// What is done to a volume's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
    Sync,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
        }
    }
}

/// Why a volume is out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    /// Its device fails: it is tried again after a while.
    Failing,
    /// Its content cannot be believed: it can serve at once when it is emptied.
    Unbelievable,
}

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The segment was reused.
    Gone,
    /// It is not as it was written.
    Corrupt,
    /// The device failed.
    Failed,
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
    /// Opens the volume in a directory, emptying it when it cannot be believed. It takes part in the session from now on.
    ///
    /// # Errors
    /// When it cannot be used: no such directory, no room, in use by another process.
    pub(super) fn open(number: usize, config: &VolumeConfig, shared: Shared) -> io::Result<Self> {
        std::fs::create_dir_all(&config.path)?;
        let path = config.path.join(FILE);
        let device = shared.files.open_locked(&path)?;
        Self::open_on(number, config, shared, device, Content::Believe)
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
        let is_new = device.length()? == 0;
        let believed = match content {
            Content::Believe => believe(&*device, geometry, &shared.purges),
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
        device.resize(geometry.file_bytes())?;
        superblock.sessions = [shared.purges.session(), shared.session];
        // Both copies: no older identity can come back.
        superblock.write(&*device)?;
        superblock.write(&*device)?;
        Ok(Self {
            number,
            name: name_of(&config.path),
            path,
            device,
            identity: superblock.identity,
            geometry,
            segments: (0..geometry.segments).map(|_| Segment::default()).collect(),
            catalog: Catalog::new(
                geometry.bytes() / RECORD_BYTES_MEAN,
                Arc::clone(&shared.shares),
            ),
            shared,
            superblock: Mutex::new(superblock),
            loaded: AtomicBool::new(false),
            turning: AtomicU32::new(u32::MAX),
            reuse: Mutex::default(),
            failures: AtomicU32::new(0),
            expelled: AtomicBool::new(false),
            service: AtomicU32::new(IN_SERVICE),
            pins: Mutex::new(()),
            unpinned: Condvar::new(),
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
        self.superblock.lock().last_lap
    }

    /// Notes durably that other volumes join now, which take some of the keys that were here.
    ///
    /// # Errors
    /// When it could not be written.
    pub(super) fn meet(&self, names: &[u64]) -> io::Result<()> {
        let mut superblock = self.superblock.lock();
        let fits = names.iter().all(|name| superblock.see(*name));
        if !fits {
            return Err(io::Error::other("too many volumes were beside it"));
        }
        let result = superblock.write(&*self.device);
        self.note(Operation::Write, &result);
        result
    }

    /// The other volumes that were in service beside this one, and the laps that had begun when they joined.
    pub(super) fn peers(&self) -> Vec<Peer> {
        self.superblock.lock().peers.clone()
    }

    /// Whether what was at a location still is.
    pub(super) fn is_there(&self, location: &Location) -> bool {
        let segment = self.segments.get(location.segment as usize);
        self.is_online() && segment.is_some_and(|s| s.lap.load(Ordering::Acquire) == location.lap)
    }

    /// Reads a record. Blocks: only for the store's own threads.
    pub(super) fn read(&self, location: &Location) -> Result<(Header, Bytes), Unread> {
        let (header, record) = self.read_up_to(location)?;
        if header.record_bytes() == record.len() {
            Ok((header, record))
        } else {
            Err(self.corrupt())
        }
    }

    /// Reads the record that a slot names. Blocks.
    pub(super) fn read_slot(&self, slot: &Slot) -> Result<(Header, Bytes), Unread> {
        let offset = slot.address.offset();
        let segment = self.geometry.segment_of(offset).ok_or(Unread::Corrupt)?;
        let of_segment = self.segments.get(segment as usize).ok_or(Unread::Gone)?;
        let room = self.geometry.end_of(segment) - offset;
        let bytes = u32::try_from(slot.size.bytes().min(room)).unwrap_or(u32::MAX);
        let location = Location {
            segment,
            lap: of_segment.lap.load(Ordering::Acquire),
            offset,
            bytes,
        };
        self.read_up_to(&location)
    }

    /// Reads a record that is as long as its location says, or shorter.
    fn read_up_to(&self, location: &Location) -> Result<(Header, Bytes), Unread> {
        if location.lap == 0 || !self.is_there(location) {
            return Err(Unread::Gone);
        }
        let start = self.geometry.start_of(location.segment);
        let end = location.offset.saturating_add(u64::from(location.bytes));
        let is_inside = location.offset >= start && end <= start + self.geometry.segment_bytes;
        // A size class is up to a sixteenth more than the record.
        if !is_inside || location.bytes as usize > RECORD_BYTES_MAX / 16 * 17 + 1024 {
            return Err(Unread::Corrupt);
        }
        let mut record = vec![0; location.bytes as usize];
        let timer = self.metrics().disk_read_duration.start_timer();
        let result = self.device.read_at(&mut record, location.offset);
        timer.observe_duration();
        self.note(Operation::Read, &result);
        result.map_err(|_| Unread::Failed)?;
        // What was read while the segment began another lap may be half of either.
        if !self.is_there(location) {
            return Err(Unread::Gone);
        }
        let header = Header::decode(&record, self.identity, location.offset)
            .filter(|h| h.lap == location.lap && h.record_bytes() <= record.len());
        let Some(header) = header else {
            // Where records move, there may be a part of another one.
            return Err(
                if self.turning.load(Ordering::Acquire) == location.segment {
                    Unread::Gone
                } else {
                    self.corrupt()
                },
            );
        };
        record.truncate(header.record_bytes());
        Ok((header, record.into()))
    }

    /// Counts a record that is not as it was written.
    pub(super) fn corrupt(&self) -> Unread {
        self.metrics().checksum_errors.inc();
        Unread::Corrupt
    }

    /// Counts the outcome of an operation; too many failures in a minute end the volume's service.
    pub(super) fn note<T>(&self, operation: Operation, result: &io::Result<T>) {
        let Err(error) = result else { return };
        let operation = operation.as_str();
        let errors = &self.metrics().disk_errors;
        errors.with_label_values(&[operation]).inc();
        warn!("{}: {operation} failed: {error}", self.path.display());
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX {
            self.retire(Outage::Failing);
        }
    }

    /// Failures are counted anew: another minute has begun.
    pub(super) fn begin_minute(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// What it holds cannot be believed: nothing of it is served.
    pub(super) fn distrust(&self, why: Emptied) {
        error!("{}: {why}", self.path.display());
        self.retire(Outage::Unbelievable);
    }

    /// Takes the volume out of service: what was written elsewhere meanwhile makes it worthless.
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
        self.expel();
        self.shared.bell.ring();
    }

    /// Notes durably that what is on this volume must not be believed after the next start.
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
                let wiped = self.device.write_at(&[0; 512], copy);
                if let Err(error) = wiped.and_then(|()| self.device.sync()) {
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
        self.shared.bell.measure(self.number, self.catalog.len());
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
        self.wait_for_pins(of_segment);
        of_segment.lap.store(lap, Ordering::Release);
        self.catalog
            .advance(self.geometry.start_of(segment), segment == 0);
    }

    /// Tells that the records of a segment are moved within it, or that they are no more.
    pub(super) fn turn(&self, segment: Option<u32>) {
        self.turning
            .store(segment.unwrap_or(u32::MAX), Ordering::Release);
    }

    /// Whether every segment was written once: what is written now pushes something out.
    pub(super) fn has_wrapped(&self) -> bool {
        self.last_lap() >= u64::from(self.geometry.segments)
    }

    /// Writes the header of a lap that begins, and what the superblock says of it. Blocks.
    ///
    /// # Errors
    /// When the header is not known to be durable.
    pub(super) fn write_lap(&self, segment: u32, lap: u64) -> io::Result<()> {
        let header = SegmentHeader {
            segment,
            lap,
            opened: self.shared.purges.now(),
        };
        let page = header.encode(self.identity);
        let start = self.geometry.start_of(segment);
        let written = self.device.write_at(&page, start);
        self.note(Operation::Write, &written);
        written?;
        let synced = self.device.sync();
        self.note(Operation::Sync, &synced);
        synced?;
        // Only now: a superblock must not promise a lap that a crash can undo.
        let mut superblock = self.superblock.lock();
        superblock.last_lap = lap;
        let result = superblock.write(&*self.device);
        drop(superblock);
        self.note(Operation::Write, &result);
        result
    }

    /// Keeps a segment from being reused for a while.
    pub(super) fn pin(&self, segment: u32) {
        if let Some(segment) = self.segments.get(segment as usize) {
            segment.pins.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn unpin(&self, segment: u32) {
        let Some(segment) = self.segments.get(segment as usize) else {
            return;
        };
        if segment.pins.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _pins = self.pins.lock();
            self.unpinned.notify_all();
        }
    }

    fn wait_for_pins(&self, segment: &Segment) {
        let mut pins = self.pins.lock();
        let is_pinned = |_: &mut ()| segment.pins.load(Ordering::Acquire) > 0;
        let _ = self
            .unpinned
            .wait_while_for(&mut pins, is_pinned, PINNED_MAX);
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

/// The superblock, if it can be believed.
fn believe(
    device: &dyn Device,
    geometry: Geometry,
    purges: &Purges,
) -> Result<Superblock, Emptied> {
    let superblock = Superblock::read(device)?;
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
