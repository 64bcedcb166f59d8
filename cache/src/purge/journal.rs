//! The purge journal's file: replayed when the store opens, appended to in groups, rewritten when it is full or damaged.
//!
//! Used by `writer`'s thread, and once by `store` at the start. Everything is there twice, in two halves of the file; a group is two writes
//! and one sync, and counts only when all succeeded. So the loss of a slot in one half costs nothing, and a slot that is bad in both is
//! one that a crash tore before it was answered. The file is preallocated, so that a purge does not fail on a full disk. A torn last group
//! is cut off; a bad slot before a good one of a later group means that an answered purge may be lost: then the whole store is emptied
//! (invariant 4).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{error, info};
use parking_lot::Mutex;

use crate::device::{Device, Opener, open_to_read, random};
use crate::key::Partition;

use super::slot::{HEADER_BYTES, Header, Record, SLOT_BYTES, Slot};
use super::watermarks::Watermarks;
use super::{Mode, Tick};

/// Slots that a new journal has room for: 4 MiB.
const SLOTS_MIN: u64 = 1 << 16;
/// A file with more slots than this is not ours.
const SLOTS_MAX: u64 = 1 << 22;
/// Failed volumes that are remembered.
const EXPELLED_MAX: usize = 64;

const FILE: &str = "purge.journal";
const NEW_FILE: &str = "purge.journal.new";
const UNREADABLE_FILE: &str = "purge.journal.unreadable";

/// What the journal says, apart from the watermarks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// By the hash of the name.
    pub(crate) partitions: HashMap<u128, Partition>,
    pub(crate) partition_max: u32,
    /// Partitions that names had and gave up in this session, and in earlier ones: those can be given out again, since nothing is under way
    /// any more that was for the old name.
    pub(crate) released: Vec<Partition>,
    pub(crate) free: Vec<Partition>,
    /// The number of the session that began last; 0: none ever did.
    pub(crate) session: u128,
    /// How many sessions there were.
    pub(crate) sessions: u32,
    pub(crate) expelled: Vec<u128>,
    pub(crate) sequence: u64,
    /// The newest durable tick.
    pub(crate) tick: Tick,
}

impl Ledger {
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Purge(..) | Record::Floor(_) => {}
            Record::Partition(name, partition) => {
                self.partition_max = self.partition_max.max(partition.0);
                self.free.retain(|free| *free != partition);
                self.partitions.insert(name, partition);
            }
            Record::Released(partition) => {
                self.partition_max = self.partition_max.max(partition.0);
                self.partitions.retain(|_, other| *other != partition);
                self.released.push(partition);
            }
            Record::Session { number, ordinal } => {
                self.session = number;
                self.sessions = ordinal;
                self.free.append(&mut self.released);
            }
            Record::Expelled(volume) => {
                if self.expelled.len() >= EXPELLED_MAX {
                    self.expelled.remove(0);
                }
                self.expelled.push(volume);
            }
        }
    }
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    files: Arc<dyn Opener>,
    device: Arc<dyn Device>,
    header: Header,
    /// The index of the next slot.
    next: u64,
    slots: u64,
    /// A write failed: what is in the file is unknown, and it is rewritten before anything is appended.
    damaged: bool,
}

impl Journal {
    /// Opens the journal in a directory and replays it into `marks`, or begins a new one.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub(crate) fn open(
        directory: &Path,
        files: Arc<dyn Opener>,
        marks: &Watermarks,
    ) -> io::Result<(Self, Ledger)> {
        let path = directory.join(FILE);
        if !files.exists(&path)? {
            info!(
                "{}: a new purge journal; stored responses of before are not used",
                path.display()
            );
            return Self::begin(directory, files, 0);
        }
        let device = files.open(&path)?;
        let unreadable = match Replay::read(&*device) {
            Ok(replay) => match replay.replay() {
                Ok(slots) => return Self::resume(directory, files, device, &replay, &slots, marks),
                Err(why) => why,
            },
            Err(why) => why,
        };
        error!(
            "{}: {}; the store is emptied",
            path.display(),
            unreadable.why
        );
        files.rename(&path, &directory.join(UNREADABLE_FILE))?;
        Self::begin(directory, files, unreadable.sequence)
    }

    pub(crate) const fn secret(&self) -> [u8; 16] {
        self.header.secret
    }

    pub(crate) const fn identity(&self) -> u128 {
        self.header.identity
    }

    /// Makes a group durable; all of its purges have the tick `tick`. `ledger` and `marks` are as before it.
    ///
    /// # Errors
    /// When it is not known to be durable; then none of it counts.
    pub(crate) fn append(
        &mut self,
        records: &[Record],
        tick: Tick,
        ledger: &Mutex<Ledger>,
        marks: &Watermarks,
    ) -> io::Result<()> {
        let count = records.len() as u64;
        if self.is_full_for(count) {
            let ledger = ledger.lock().clone();
            // Until it succeeds: the name may lead to the new file already while the old one is the open one.
            self.damaged = true;
            self.rewrite(&ledger, marks, count)?;
        }
        let sequence = ledger.lock().sequence;
        let bytes = self.encode_group(records, tick, sequence);
        if let Err(error) = write_twice(&*self.device, &bytes, offset_of(self.next), self.slots) {
            self.damaged = true;
            return Err(error);
        }
        self.next += count;
        Ok(())
    }

    /// Whether it has to be rewritten before this many records can be appended.
    pub(crate) const fn is_full_for(&self, count: u64) -> bool {
        self.damaged || self.next + count > self.slots
    }

    fn encode_group(&self, records: &[Record], tick: Tick, mut sequence: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(records.len() * SLOT_BYTES);
        for &record in records {
            sequence += u64::from(matches!(record, Record::Purge(..)));
            let slot = Slot {
                record,
                tick,
                sequence,
                group: self.next,
            };
            bytes.extend(slot.encode(self.header.identity));
        }
        bytes
    }

    /// A journal with nothing in it, known to no volume.
    fn begin(
        directory: &Path,
        files: Arc<dyn Opener>,
        sequence: u64,
    ) -> io::Result<(Self, Ledger)> {
        let header = Header {
            secret: random()?,
            identity: u128::from_le_bytes(random()?),
            snapshot: 0,
            sequence,
            tick: Tick::NEVER,
            room: SLOTS_MIN,
        };
        let ledger = Ledger {
            sequence,
            ..Ledger::default()
        };
        let device = write_new(directory, &*files, &header, &[])?;
        let journal = Self {
            directory: directory.to_owned(),
            files,
            device,
            header,
            next: 0,
            slots: SLOTS_MIN,
            damaged: false,
        };
        Ok((journal, ledger))
    }

    /// Goes on with a journal that was read.
    fn resume(
        directory: &Path,
        files: Arc<dyn Opener>,
        device: Arc<dyn Device>,
        replay: &Replay,
        slots: &[Slot],
        marks: &Watermarks,
    ) -> io::Result<(Self, Ledger)> {
        let header = replay.header;
        let mut ledger = Ledger {
            sequence: header.sequence,
            tick: header.tick,
            ..Ledger::default()
        };
        // First: what touches nothing any more must not push out what does.
        let floor = slots.iter().filter_map(Slot::floor).max();
        let floor = floor.unwrap_or(Tick::NEVER);
        marks.forget(floor);
        for slot in slots {
            if let Record::Purge(target, mode) = slot.record
                && slot.tick > floor
            {
                marks.apply(target, mode, slot.tick);
            }
            ledger.apply(slot.record);
            ledger.sequence = ledger.sequence.max(slot.sequence);
            ledger.tick = ledger.tick.max(slot.tick);
        }
        let next = slots.len() as u64;
        if let Some(mended) = replay.mended(slots) {
            // In place: it needs no room.
            write_twice(&*device, &mended, 0, header.room)?;
        }
        let journal = Self {
            directory: directory.to_owned(),
            files,
            device,
            header,
            next,
            slots: header.room,
            damaged: false,
        };
        Ok((journal, ledger))
    }

    /// Writes what still counts into a new file, with room for as much again and `more`, and takes that one.
    fn rewrite(&mut self, ledger: &Ledger, marks: &Watermarks, more: u64) -> io::Result<()> {
        let mut list: Vec<(Record, Tick)> = Vec::new();
        list.extend(
            ledger
                .partitions
                .iter()
                .map(|(&n, &p)| (Record::Partition(n, p), Tick::NEVER)),
        );
        list.extend(
            ledger
                .expelled
                .iter()
                .map(|&v| (Record::Expelled(v), Tick::NEVER)),
        );
        let released = |partition: &Partition| (Record::Released(*partition), Tick::NEVER);
        list.extend(ledger.free.iter().map(released));
        let session = Record::Session {
            number: ledger.session,
            ordinal: ledger.sessions,
        };
        list.push((session, Tick::NEVER));
        list.extend(ledger.released.iter().map(released));
        list.extend(
            marks
                .live()
                .into_iter()
                .map(|(t, m, tick)| (Record::Purge(t, m), tick)),
        );
        let count = list.len() as u64;
        let room = (2 * (count + more)).next_power_of_two().max(SLOTS_MIN);
        let header = Header {
            room,
            snapshot: count,
            sequence: ledger.sequence,
            tick: ledger.tick,
            ..self.header
        };
        let slots: Vec<Slot> = list
            .into_iter()
            .map(|(record, tick)| Slot {
                record,
                tick,
                sequence: 0,
                group: 0,
            })
            .collect();
        self.device = write_new(&self.directory, &*self.files, &header, &slots)?;
        self.header = header;
        self.next = count;
        self.slots = room;
        self.damaged = false;
        Ok(())
    }
}

/// The secret of a directory's journal, and its partitions by the hashes of their names; reads only.
///
/// # Errors
/// When there is none that can be read.
pub(super) fn partitions_in(directory: &Path) -> io::Result<([u8; 16], HashMap<u128, Partition>)> {
    let device = open_to_read(&directory.join(FILE))?;
    let unreadable = |unreadable: Unreadable| io::Error::other(unreadable.why);
    let replay = Replay::read(&*device).map_err(unreadable)?;
    let mut ledger = Ledger::default();
    for slot in replay.replay().map_err(unreadable)? {
        ledger.apply(slot.record);
    }
    Ok((replay.header.secret, ledger.partitions))
}

/// Writes a journal beside the old one and puts it into its place.
fn write_new(
    directory: &Path,
    files: &dyn Opener,
    header: &Header,
    snapshot: &[Slot],
) -> io::Result<Arc<dyn Device>> {
    let path = directory.join(NEW_FILE);
    if files.exists(&path)? {
        files.remove(&path)?;
    }
    let device = files.open(&path)?;
    device.resize(2 * half_bytes(header.room))?;
    write_twice(&*device, &encode_all(header, snapshot), 0, header.room)?;
    files.rename(&path, &directory.join(FILE))?;
    files.sync_directory(directory)?;
    Ok(device)
}

fn encode_all(header: &Header, slots: &[Slot]) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    let identity = header.identity;
    bytes.extend(slots.iter().flat_map(|slot| slot.encode(identity)));
    bytes
}

/// Writes the same into both halves, and waits until it is durable.
fn write_twice(device: &dyn Device, bytes: &[u8], offset: u64, slots: u64) -> io::Result<()> {
    device.write_at(bytes, offset)?;
    device.write_at(bytes, half_bytes(slots) + offset)?;
    device.sync()
}

/// Bytes of one half.
const fn half_bytes(slots: u64) -> u64 {
    offset_of(slots)
}

const fn offset_of(slot: u64) -> u64 {
    HEADER_BYTES as u64 + slot * SLOT_BYTES as u64
}

/// Why a journal cannot be trusted.
struct Unreadable {
    why: String,
    /// The highest sequence seen in it.
    sequence: u64,
}

impl Unreadable {
    fn new(why: &dyn ToString) -> Self {
        Self {
            why: why.to_string(),
            sequence: 0,
        }
    }
}

/// The whole content of a journal's file.
pub(super) struct Replay {
    header: Header,
    /// The two halves.
    halves: [Vec<u8>; 2],
}

impl Replay {
    fn read(device: &dyn Device) -> Result<Self, Unreadable> {
        let length = device.length().map_err(|error| Unreadable::new(&error))?;
        if length > 2 * half_bytes(SLOTS_MAX) {
            return Err(Unreadable::new(&"it is too long"));
        }
        let half = length / 2;
        let bytes = usize::try_from(half).map_err(|error| Unreadable::new(&error))?;
        let read = |offset| {
            let mut half = vec![0; bytes];
            device.read_at(&mut half, offset).map(|()| half)
        };
        let (first, second) = (read(0), read(half));
        let halves = match (first, second) {
            (Ok(first), Ok(second)) => [first, second],
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => [one, Vec::new()],
            (Err(error), Err(_)) => return Err(Unreadable::new(&error)),
        };
        let header = match (Header::decode(&halves[0]), Header::decode(&halves[1])) {
            (Ok(header), _) | (Err(_), Ok(header)) => header,
            (Err(error), Err(_)) => return Err(Unreadable::new(&error)),
        };
        if header.room > SLOTS_MAX || length != 2 * half_bytes(header.room) {
            return Err(Unreadable::new(&"a part of it is missing"));
        }
        Ok(Self { header, halves })
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) const fn of(header: Header, halves: [Vec<u8>; 2]) -> Self {
        Self { header, halves }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) const fn header(&self) -> Header {
        self.header
    }

    /// Every slot that counts, unless one may be lost that did.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn slots(&self) -> Option<Vec<Slot>> {
        self.replay().ok()
    }

    /// The slot of a number, if either half has it.
    fn slot(&self, number: u64) -> Option<Slot> {
        let at = usize::try_from(offset_of(number)).ok()?;
        let bytes = self
            .halves
            .iter()
            .filter_map(|half| half.get(at..at + SLOT_BYTES));
        let mut slots = bytes.filter_map(|bytes| Slot::decode(bytes, self.header.identity));
        slots.next()
    }

    /// Every slot that counts, in order.
    fn replay(&self) -> Result<Vec<Slot>, Unreadable> {
        let mut all = (0..self.header.room).map(|number| self.slot(number));
        let mut good: Vec<Slot> = all.by_ref().map_while(|slot| slot).collect();
        let bad = good.len() as u64;
        let after: Vec<Slot> = all.flatten().collect();
        let sequence = good
            .iter()
            .chain(&after)
            .map(|slot| slot.sequence)
            .max()
            .unwrap_or(0);
        let fail = |why: String| {
            Err(Unreadable {
                why,
                sequence: sequence.max(self.header.sequence),
            })
        };
        if bad < self.header.snapshot {
            return fail(format!("slot {bad} of its snapshot is unreadable"));
        }
        if after.iter().any(|slot| slot.group > bad) {
            return fail(format!("slot {bad} is unreadable, and later ones are not"));
        }
        // Nothing is torn that was there from the beginning.
        if after.iter().any(|slot| slot.group < self.header.snapshot) {
            return fail(format!("slot {bad} is unreadable, and in the snapshot"));
        }
        // The slots before the tear that belong to the torn group were never answered; that they count purges too much at worst.
        if let Some(torn) = after.first() {
            good.truncate(
                usize::try_from(torn.group)
                    .unwrap_or(usize::MAX)
                    .min(good.len()),
            );
        }
        Ok(good)
    }

    /// What each half must begin with, if either does not hold exactly these slots: what is left of a torn group must never be followed
    /// by a good one, and what is bad in one half could become so in the other.
    pub(super) fn mended(&self, slots: &[Slot]) -> Option<Vec<u8>> {
        let mut bytes = encode_all(&self.header, slots);
        let length = usize::try_from(half_bytes(self.header.room)).ok()?;
        bytes.resize(length.max(bytes.len()), 0);
        let is_good = |half: &Vec<u8>| *half == bytes;
        (!self.halves.iter().all(is_good)).then_some(bytes)
    }
}

/// Purges as the journal lists them, for tests and counts.
impl Record {
    /// The label values of `jet9_cache_purges_total`.
    pub(crate) const fn labels(self) -> Option<[&'static str; 2]> {
        let Self::Purge(target, mode) = self else {
            return None;
        };
        let mode = match mode {
            Mode::Soft => "soft",
            Mode::Hard => "hard",
        };
        Some([target.kind(), mode])
    }
}

#[cfg(test)]
mod tests;
