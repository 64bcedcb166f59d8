//! One volume: a preallocated file that is a ring of segments. What may be read from it, and is it still in service?
//!
//! Shared by its writer, its readers and its recovery. Every use of a segment is a *lap* with a number that is never repeated; a location
//! names the lap, and a read counts only if the lap is the same before and after it. A volume with failing writes is noted in the purge
//! journal, so that it is emptied before it serves another session; after several failures in a row it is out of service at once.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use log::{error, warn};
use parking_lot::{Condvar, Mutex};

use crate::device::{Device, Opener};
use crate::memory::Version;
use crate::metrics::Metrics;
use crate::purge::Purges;
use crate::store::VolumeConfig;

use super::index::{Entry, Index};
use super::record::{Header, Location, RECORD_BYTES_MAX};
use super::superblock::{Emptied, Superblock};

/// The file in the volume's directory.
const FILE: &str = "jet9.volume";
/// Where the first segment begins; before it are the superblocks.
const SEGMENTS_START: u64 = 1 << 20;
/// A segment of a large volume.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// A segment of the smallest volume: a piece of content, or a head with the longest fields, fits well.
const SEGMENT_BYTES_MIN: u64 = 2 << 20;
/// Fewer segments would lose too much at once when one is reused.
const SEGMENTS_MIN: u64 = 8;
/// Failures in a row after which a volume is out of service.
const FAILURES_MAX: u32 = 5;
/// How long a segment's reuse waits for those who read from it; then they are cut.
const PINNED_MAX: Duration = Duration::from_secs(5);

/// An open volume.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(super) number: usize,
    path: PathBuf,
    pub(super) device: Arc<dyn Device>,
    pub(super) identity: u128,
    pub(super) segment_bytes: u64,
    pub(super) segments: Box<[Segment]>,
    pub(super) index: Arc<Index>,
    purges: Arc<Purges>,
    pub(super) metrics: Metrics,
    read_failures: AtomicU32,
    write_failures: AtomicU32,
    expelled: AtomicBool,
    offline: AtomicBool,
    pins: Mutex<()>,
    unpinned: Condvar,
}

/// One segment.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// The number of its present lap; 0: nothing readable is in it.
    pub(super) lap: AtomicU64,
    pins: AtomicU32,
    /// A write to it failed: it is not used again.
    pub(super) retired: AtomicBool,
    /// What has its head or a part of its content here: taken out of the index when the lap ends.
    members: Mutex<Vec<(u128, Version)>>,
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

impl Volume {
    /// Opens the volume in a directory, emptying it when it cannot be believed. It takes part in `session` from now on.
    ///
    /// # Errors
    /// When it cannot be used: no such directory, no room, in use by another process.
    pub(super) fn open(
        number: usize,
        config: &VolumeConfig,
        session: u128,
        parts: (&dyn Opener, Arc<Purges>, Arc<Index>, Metrics),
    ) -> io::Result<Self> {
        let (files, purges, index, metrics) = parts;
        let (segment_bytes, segments) = geometry(config.size)?;
        std::fs::create_dir_all(&config.path)?;
        let path = config.path.join(FILE);
        let device = files.open_locked(&path)?;
        let is_new = device.length()? == 0;
        let mut superblock = match believe(&*device, segment_bytes, segments, &purges) {
            Ok(superblock) => superblock,
            Err(why) => {
                if !is_new {
                    warn!("{}: {why}; it is emptied", path.display());
                }
                Superblock::new(segment_bytes, segments, purges.identity())?
            }
        };
        device.resize(SEGMENTS_START + segment_bytes * u64::from(segments))?;
        superblock.sessions = [purges.session(), session];
        // Both copies: no older identity can come back.
        superblock.write(&*device)?;
        superblock.write(&*device)?;
        Ok(Self {
            number,
            path,
            device,
            identity: superblock.identity,
            segment_bytes,
            segments: (0..segments).map(|_| Segment::default()).collect(),
            index,
            purges,
            metrics,
            read_failures: AtomicU32::new(0),
            write_failures: AtomicU32::new(0),
            expelled: AtomicBool::new(false),
            offline: AtomicBool::new(false),
            pins: Mutex::new(()),
            unpinned: Condvar::new(),
        })
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segment_bytes * self.segments.len() as u64
    }

    pub(super) fn is_online(&self) -> bool {
        !self.offline.load(Ordering::Acquire)
    }

    /// Where a segment begins.
    pub(super) fn start_of(&self, segment: u32) -> u64 {
        SEGMENTS_START + u64::from(segment) * self.segment_bytes
    }

    /// Whether what was at a location still is.
    pub(super) fn is_there(&self, location: &Location) -> bool {
        let segment = self.segments.get(location.segment as usize);
        self.is_online() && segment.is_some_and(|s| s.lap.load(Ordering::Acquire) == location.lap)
    }

    /// Reads a record. Blocks: only for the store's own threads.
    pub(super) fn read(&self, location: &Location) -> Result<(Header, Bytes), Unread> {
        if !self.is_there(location) {
            return Err(Unread::Gone);
        }
        let start = self.start_of(location.segment);
        let end = location.offset.saturating_add(u64::from(location.bytes));
        let is_inside = location.offset >= start && end <= start + self.segment_bytes;
        if !is_inside || location.bytes as usize > RECORD_BYTES_MAX {
            return Err(Unread::Corrupt);
        }
        let mut record = vec![0; location.bytes as usize];
        let timer = self.metrics.disk_read_duration.start_timer();
        let result = self.device.read_at(&mut record, location.offset);
        timer.observe_duration();
        self.note(Operation::Read, &result);
        result.map_err(|_| Unread::Failed)?;
        // What was read while the segment began another lap may be half of either.
        if !self.is_there(location) {
            return Err(Unread::Gone);
        }
        let header = Header::decode(&record, self.identity, location.offset)
            .filter(|h| h.lap == location.lap && h.record_bytes() == record.len());
        match header {
            Some(header) => Ok((header, record.into())),
            None => Err(self.corrupt()),
        }
    }

    /// Counts a record that is not as it was written.
    pub(super) fn corrupt(&self) -> Unread {
        self.metrics.checksum_errors.inc();
        Unread::Corrupt
    }

    /// Counts the outcome of an operation; too many failures in a row end the volume's service.
    pub(super) fn note<T>(&self, operation: Operation, result: &io::Result<T>) {
        let failures = match operation {
            Operation::Read => &self.read_failures,
            Operation::Write | Operation::Sync => &self.write_failures,
        };
        let Err(error) = result else {
            failures.store(0, Ordering::Relaxed);
            return;
        };
        let operation = operation.as_str();
        self.metrics
            .disk_errors
            .with_label_values(&[operation])
            .inc();
        warn!("{}: {operation} failed: {error}", self.path.display());
        if failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX {
            self.retire();
        }
    }

    /// Takes the volume out of service: what was written elsewhere meanwhile makes it worthless.
    pub(super) fn retire(&self) {
        if self.offline.swap(true, Ordering::AcqRel) {
            return;
        }
        error!(
            "{}: out of service until the next start",
            self.path.display()
        );
        self.expel();
        self.index.remove_volume(self.number);
    }

    /// Notes durably that what is on this volume must not be believed after the next start.
    pub(super) fn expel(&self) {
        if self.expelled.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.purges.expel(self.identity) {
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

    /// Notes that a stored response has a part in a segment, so that it goes with the lap; `false` when that has ended.
    pub(super) fn add_member(&self, at: &Location, primary: u128, version: Version) -> bool {
        let Some(segment) = self.segments.get(at.segment as usize) else {
            return false;
        };
        let mut members = segment.members.lock();
        let is_same_lap = segment.lap.load(Ordering::Acquire) == at.lap;
        if is_same_lap && members.last() != Some(&(primary, version)) {
            members.push((primary, version));
        }
        is_same_lap
    }

    /// Puts a stored response into the index, unless a newer one is there or a part of it is gone.
    pub(super) fn insert(&self, primary: u128, entry: Entry, chunks: &[Location]) -> bool {
        let (version, head) = (entry.version, entry.head);
        let mut places = chunks.iter().chain([&head]);
        if !self.is_online() || !places.all(|part| self.add_member(part, primary, version)) {
            return false;
        }
        let mut places = chunks.iter().chain([&head]);
        let inserted = self.index.insert(primary, entry);
        // A lap may have ended between the two: then it did not find the entry.
        if inserted && !places.all(|part| self.is_there(part)) {
            self.index.remove(primary, version);
        }
        self.measure();
        inserted
    }

    fn measure(&self) {
        let responses = i64::try_from(self.index.len()).unwrap_or(i64::MAX);
        let gauge = &self.metrics.stored_responses;
        gauge.with_label_values(&["disk"]).set(responses);
    }

    /// Begins lap `lap` of a segment (0: none): nothing of the last one is found any more.
    pub(super) fn begin_lap(&self, segment: u32, lap: u64) {
        let Some(segment) = self.segments.get(segment as usize) else {
            return;
        };
        self.wait_for_pins(segment);
        let members = {
            let mut members = segment.members.lock();
            segment.lap.store(lap, Ordering::Release);
            std::mem::take(&mut *members)
        };
        let forgotten = members
            .into_iter()
            .filter(|&(key, version)| self.index.remove(key, version));
        let evictions = self
            .metrics
            .evictions
            .with_label_values(&["disk", "capacity"]);
        evictions.inc_by(forgotten.count() as u64);
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

/// The superblock, if it can be believed.
fn believe(
    device: &dyn Device,
    segment_bytes: u64,
    segments: u32,
    purges: &Purges,
) -> Result<Superblock, Emptied> {
    let superblock = Superblock::read(device)?;
    if (superblock.segment_bytes, superblock.segments) != (segment_bytes, segments) {
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

/// Bytes and number of the segments of a volume of `size` bytes.
fn geometry(size: u64) -> io::Result<(u64, u32)> {
    let room = size.saturating_sub(SEGMENTS_START);
    let mut segment_bytes = SEGMENT_BYTES_MAX;
    while segment_bytes > SEGMENT_BYTES_MIN && room / segment_bytes < SEGMENTS_MIN {
        segment_bytes /= 2;
    }
    let segments = room / segment_bytes;
    if segments < SEGMENTS_MIN {
        let least = SEGMENTS_START + SEGMENT_BYTES_MIN * SEGMENTS_MIN;
        let why = format!("a volume needs at least {least} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let segments = u32::try_from(segments).map_err(io::Error::other)?;
    Ok((segment_bytes, segments))
}
