//! The bytes of one half of the purge journal: one header page, then slots of 64 bytes.
//!
//! Written and read by `journal` alone. Integers are little-endian. Every slot's checksum is seeded with the journal's identity, so that
//! a slot of another journal is never taken for one of this. Pure: no file, no clock.

use crate::key::Partition;

use super::watermarks::Target;
use super::{Mode, Tick};

/// Bytes of the header page.
pub(super) const HEADER_BYTES: usize = 4096;
/// Bytes of one slot.
pub(super) const SLOT_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"JET9PURG";
const VERSION: u32 = 2;
/// Bytes of its fields.
pub(super) const HEADER_USED: usize = 88;
/// No count grows to this in the life of a node: what is above it was not written by one, and could not be counted on from.
const COUNT_MAX: u64 = u64::MAX / 4;
/// The same for sessions and partitions.
const ORDINAL_MAX: u32 = u32::MAX / 4;

/// The first page: who this journal is, and the snapshot that it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The secret of the node's key hashes.
    pub(super) secret: [u8; 16],
    /// Random; a volume remembers it.
    pub(super) identity: u128,
    /// Slots of the snapshot; all of them must be readable.
    pub(super) snapshot: u64,
    /// The sequence when the snapshot was taken.
    pub(super) sequence: u64,
    /// The newest durable tick when the snapshot was taken.
    pub(super) tick: Tick,
    /// How many slots there is room for: a file that is shorter lost some.
    pub(super) room: u64,
}

/// Why a header page cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadHeader {
    #[error("it has no readable header")]
    Unreadable,
    #[error("its format has version {0}, known is version {VERSION}")]
    Version(u32),
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut page = [0; HEADER_BYTES];
        let mut writer = Writer {
            bytes: &mut page,
            at: 0,
        };
        writer.put(MAGIC);
        writer.put(&VERSION.to_le_bytes());
        writer.put(&[0; 4]);
        writer.put(&self.secret);
        writer.put(&self.identity.to_le_bytes());
        writer.put(&self.snapshot.to_le_bytes());
        writer.put(&self.sequence.to_le_bytes());
        writer.put(&self.tick.0.to_le_bytes());
        writer.put(&self.room.to_le_bytes());
        Self::seal(&mut page);
        page
    }

    /// Makes the checksum of a page right.
    pub(super) fn seal(page: &mut [u8]) {
        let crc = crc32c::crc32c(&page[..HEADER_USED - 8]);
        page[HEADER_USED - 8..HEADER_USED - 4].copy_from_slice(&crc.to_le_bytes());
    }

    pub(super) fn decode(page: &[u8]) -> Result<Self, BadHeader> {
        let mut reader = Reader { bytes: page, at: 0 };
        let mut fields = || {
            let magic: [u8; 8] = reader.take()?;
            let version = u32::from_le_bytes(reader.take()?);
            let _reserved: [u8; 4] = reader.take()?;
            let header = Self {
                secret: reader.take()?,
                identity: u128::from_le_bytes(reader.take()?),
                snapshot: u64::from_le_bytes(reader.take()?),
                sequence: u64::from_le_bytes(reader.take()?),
                tick: Tick(u64::from_le_bytes(reader.take()?)),
                room: u64::from_le_bytes(reader.take()?),
            };
            let crc = u32::from_le_bytes(reader.take()?);
            Some((magic, version, header, crc))
        };
        let (magic, version, header, crc) = fields().ok_or(BadHeader::Unreadable)?;
        if &magic != MAGIC {
            return Err(BadHeader::Unreadable);
        }
        if version != VERSION {
            return Err(BadHeader::Version(version));
        }
        if crc != crc32c::crc32c(&page[..HEADER_USED - 8]) {
            return Err(BadHeader::Unreadable);
        }
        if header.sequence.max(header.tick.0) > COUNT_MAX {
            return Err(BadHeader::Unreadable);
        }
        Ok(header)
    }
}

/// What one slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Something was purged.
    Purge(Target, Mode),
    /// The name with this hash has this partition.
    Partition(u128, Partition),
    /// Whoever had this partition is gone, and so is what it held: a later session may give it to another name.
    Released(Partition),
    /// A session began; the volumes that were there know its number.
    Session { number: u128, ordinal: u32 },
    /// A volume failed in service: what it holds may be older than what was served.
    Expelled(u128),
    /// Nothing was stored any more that was born at or before this tick: it is dead, wherever it may come from.
    Floor(Tick),
}

/// A record and its place in the order of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) record: Record,
    pub(super) tick: Tick,
    /// How many things were purged, this one included.
    pub(super) sequence: u64,
    /// The index of the first slot of its group: a group is durable as a whole or not at all.
    pub(super) group: u64,
}

impl Slot {
    /// The tick up to which it leaves nothing alive.
    pub(super) const fn floor(&self) -> Option<Tick> {
        match self.record {
            Record::Floor(floor) => Some(floor),
            Record::Purge(Target::Everything, Mode::Hard) => Some(self.tick),
            _ => None,
        }
    }

    pub(super) fn encode(&self, identity: u128) -> [u8; SLOT_BYTES] {
        let (kind, mode, partition, length, hash) = self.record.fields();
        let mut slot = [0; SLOT_BYTES];
        let mut writer = Writer {
            bytes: &mut slot,
            at: 4,
        };
        writer.put(&[kind, mode, 0, 0]);
        writer.put(&partition.to_le_bytes());
        writer.put(&length.to_le_bytes());
        writer.put(&self.sequence.to_le_bytes());
        writer.put(&self.tick.0.to_le_bytes());
        writer.put(&self.group.to_le_bytes());
        writer.put(&hash.to_le_bytes());
        Self::seal(&mut slot, identity);
        slot
    }

    /// Makes the checksum of a slot right.
    pub(super) fn seal(slot: &mut [u8], identity: u128) {
        let crc = checksum(identity, slot);
        slot[..4].copy_from_slice(&crc.to_le_bytes());
    }

    pub(super) fn decode(slot: &[u8], identity: u128) -> Option<Self> {
        let mut reader = Reader { bytes: slot, at: 0 };
        let crc = u32::from_le_bytes(reader.take()?);
        let [kind, mode, _, _]: [u8; 4] = reader.take()?;
        let partition = u32::from_le_bytes(reader.take()?);
        let length = u32::from_le_bytes(reader.take()?);
        let sequence = u64::from_le_bytes(reader.take()?);
        let tick = Tick(u64::from_le_bytes(reader.take()?));
        let group = u64::from_le_bytes(reader.take()?);
        let hash = u128::from_le_bytes(reader.take()?);
        if crc != checksum(identity, slot) {
            return None;
        }
        if sequence.max(tick.0).max(group) > COUNT_MAX {
            return None;
        }
        let record = Record::of_fields(kind, mode, Partition(partition), length, hash)?;
        Some(Self {
            record,
            tick,
            sequence,
            group,
        })
    }
}

fn checksum(identity: u128, slot: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&identity.to_le_bytes()), &slot[4..])
}

impl Record {
    const fn fields(self) -> (u8, u8, u32, u32, u128) {
        match self {
            Self::Purge(target, mode) => {
                let mode = match mode {
                    Mode::Hard => 0,
                    Mode::Soft => 1,
                };
                match target {
                    Target::Everything => (1, mode, 0, 0, 0),
                    Target::Partition(partition) => (2, mode, partition.0, 0, 0),
                    Target::Url(partition, url) => (3, mode, partition.0, 0, url),
                    Target::Tag(partition, tag) => (4, mode, partition.0, 0, tag),
                    Target::Prefix {
                        partition,
                        length,
                        hash,
                    } => (5, mode, partition.0, length, hash),
                }
            }
            Self::Partition(name, partition) => (16, 0, partition.0, 0, name),
            Self::Session { number, ordinal } => (17, 0, ordinal, 0, number),
            Self::Expelled(volume) => (18, 0, 0, 0, volume),
            Self::Floor(tick) => (19, 0, 0, 0, tick.0 as u128),
            Self::Released(partition) => (20, 0, partition.0, 0, 0),
        }
    }

    fn of_fields(
        kind: u8,
        mode: u8,
        partition: Partition,
        length: u32,
        hash: u128,
    ) -> Option<Self> {
        let mode = match mode {
            0 => Mode::Hard,
            1 => Mode::Soft,
            _ => return None,
        };
        if partition.0 > ORDINAL_MAX {
            return None;
        }
        Some(match kind {
            1 => Self::Purge(Target::Everything, mode),
            2 => Self::Purge(Target::Partition(partition), mode),
            3 => Self::Purge(Target::Url(partition, hash), mode),
            4 => Self::Purge(Target::Tag(partition, hash), mode),
            5 => Self::Purge(
                Target::Prefix {
                    partition,
                    length,
                    hash,
                },
                mode,
            ),
            16 => Self::Partition(hash, partition),
            17 => Self::Session {
                number: hash,
                ordinal: partition.0,
            },
            18 => Self::Expelled(hash),
            19 => Self::Floor(Tick(u64::try_from(hash).ok().filter(|t| *t <= COUNT_MAX)?)),
            20 => Self::Released(partition),
            _ => return None,
        })
    }
}

struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let field = self.bytes.get(self.at..self.at + N)?;
        self.at += N;
        field.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let site = Partition(7);
        let targets = [
            Target::Everything,
            Target::Partition(site),
            Target::Url(site, u128::MAX),
            Target::Tag(site, 5),
            Target::Prefix {
                partition: site,
                length: 9,
                hash: 6,
            },
        ];
        let purges = |mode| targets.map(|target| Record::Purge(target, mode));
        let mut list = [purges(Mode::Hard), purges(Mode::Soft)].concat();
        list.extend([
            Record::Partition(1, site),
            Record::Session {
                number: 2,
                ordinal: 4,
            },
            Record::Expelled(3),
            Record::Floor(Tick(8)),
            Record::Released(site),
        ]);
        list
    }

    #[test]
    fn a_slot_is_read_as_it_was_written_and_any_flipped_bit_is_noticed() {
        for record in records() {
            let slot = Slot {
                record,
                tick: Tick(77),
                sequence: 1 << 40,
                group: 3,
            };
            let bytes = slot.encode(9);
            assert_eq!(Slot::decode(&bytes, 9), Some(slot));
            assert_eq!(Slot::decode(&bytes, 10), None, "another journal's");
            for bit in 0..SLOT_BYTES * 8 {
                let mut bad = bytes;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Slot::decode(&bad, 9), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_or_refused() {
        let header = Header {
            secret: [4; 16],
            identity: 5,
            snapshot: 6,
            sequence: 7,
            tick: Tick(8),
            room: 9,
        };
        let page = header.encode();
        assert_eq!(Header::decode(&page), Ok(header));
        for bit in 0..(HEADER_USED - 4) * 8 {
            let mut bad = page;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad).is_err(), "bit {bit}");
        }
        assert_eq!(
            Header::decode(&[0; HEADER_BYTES]),
            Err(BadHeader::Unreadable)
        );
        assert_eq!(Header::decode(&page[..20]), Err(BadHeader::Unreadable));
    }
}
