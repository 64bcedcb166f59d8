//! The purge journal's file: replayed when the store opens, appended to in groups, rewritten when it is full or damaged.
//!
//! Used by `writer`'s thread, and once by `store` at the start. A group is one write and one sync; it counts only when both succeeded.
//! The file is preallocated, so that a purge does not fail on a full disk. A torn last group is cut off; a bad slot before a good one of
//! a later group means that an answered purge may be lost: then the whole store is emptied (invariant 4).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{error, info};
use parking_lot::Mutex;

use crate::device::{Device, Opener, random};
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
            Record::Purge(..) => {}
            Record::Partition(name, partition) => {
                self.partition_max = self.partition_max.max(partition.0);
                self.partitions.insert(name, partition);
            }
            Record::Session { number, ordinal } => {
                self.session = number;
                self.sessions = ordinal;
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
        if self.damaged || self.next + count > self.slots {
            let ledger = ledger.lock().clone();
            // Until it succeeds: the name may lead to the new file already while the old one is the open one.
            self.damaged = true;
            self.rewrite(&ledger, marks, count)?;
        }
        let sequence = ledger.lock().sequence;
        let bytes = self.encode_group(records, tick, sequence);
        let written = self.device.write_at(&bytes, offset_of(self.next));
        if let Err(error) = written.and_then(|()| self.device.sync()) {
            self.damaged = true;
            return Err(error);
        }
        self.next += count;
        Ok(())
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
        };
        let ledger = Ledger {
            sequence,
            ..Ledger::default()
        };
        let device = write_new(directory, &*files, &header, &[], SLOTS_MIN)?;
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
        for slot in slots {
            if let Record::Purge(target, mode) = slot.record {
                marks.apply(target, mode, slot.tick);
            }
            ledger.apply(slot.record);
            ledger.sequence = ledger.sequence.max(slot.sequence);
            ledger.tick = ledger.tick.max(slot.tick);
        }
        let next = slots.len() as u64;
        // What is left of a torn group must never be followed by a good one. In place: it needs no room.
        if let Some(remains) = replay.remains(slots.len()) {
            device.write_at(&vec![0; remains], offset_of(next))?;
            device.sync()?;
        }
        let journal = Self {
            directory: directory.to_owned(),
            files,
            device,
            header,
            next,
            slots: replay.room,
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
        let session = Record::Session {
            number: ledger.session,
            ordinal: ledger.sessions,
        };
        list.push((session, Tick::NEVER));
        list.extend(
            marks
                .live()
                .into_iter()
                .map(|(t, m, tick)| (Record::Purge(t, m), tick)),
        );
        let count = list.len() as u64;
        let header = Header {
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
        let room = (2 * (count + more)).next_power_of_two().max(SLOTS_MIN);
        self.device = write_new(&self.directory, &*self.files, &header, &slots, room)?;
        self.header = header;
        self.next = count;
        self.slots = room;
        self.damaged = false;
        Ok(())
    }
}

/// Writes a journal beside the old one and puts it into its place.
fn write_new(
    directory: &Path,
    files: &dyn Opener,
    header: &Header,
    snapshot: &[Slot],
    slots: u64,
) -> io::Result<Arc<dyn Device>> {
    let path = directory.join(NEW_FILE);
    if files.exists(&path)? {
        files.remove(&path)?;
    }
    let device = files.open(&path)?;
    device.resize(offset_of(slots))?;
    let mut bytes = header.encode().to_vec();
    bytes.extend(
        snapshot
            .iter()
            .flat_map(|slot| slot.encode(header.identity)),
    );
    device.write_at(&bytes, 0)?;
    device.sync()?;
    files.rename(&path, &directory.join(FILE))?;
    files.sync_directory(directory)?;
    Ok(device)
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
struct Replay {
    header: Header,
    /// The slots up to the last that is not empty.
    slots: Vec<u8>,
    /// How many there is room for.
    room: u64,
}

impl Replay {
    fn read(device: &dyn Device) -> Result<Self, Unreadable> {
        let length = device.length().map_err(|error| Unreadable::new(&error))?;
        if length > offset_of(SLOTS_MAX) {
            return Err(Unreadable::new(&"it is too long"));
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|error| Unreadable::new(&error))?];
        device
            .read_at(&mut bytes, 0)
            .map_err(|error| Unreadable::new(&error))?;
        let header = Header::decode(&bytes).map_err(|error| Unreadable::new(&error))?;
        let mut slots = bytes.split_off(HEADER_BYTES.min(bytes.len()));
        slots.truncate(slots.len() / SLOT_BYTES * SLOT_BYTES);
        let room = (slots.len() / SLOT_BYTES) as u64;
        while slots.ends_with(&[0; SLOT_BYTES]) {
            slots.truncate(slots.len() - SLOT_BYTES);
        }
        Ok(Self {
            header,
            slots,
            room,
        })
    }

    /// Every slot that counts, in order.
    fn replay(&self) -> Result<Vec<Slot>, Unreadable> {
        let decode = |slot| Slot::decode(slot, self.header.identity);
        let mut all = self.slots.chunks_exact(SLOT_BYTES).map(decode);
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

    /// How many bytes after the first `count` slots have to be zeroed, if any is not zero.
    fn remains(&self, count: usize) -> Option<usize> {
        let rest = &self.slots[(count * SLOT_BYTES).min(self.slots.len())..];
        rest.iter()
            .rposition(|&byte| byte != 0)
            .map(|last| last + 1)
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
