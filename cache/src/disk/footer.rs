//! What a sealed segment ends with: a list of its records, so that an index is rebuilt by reading little more than one byte in a thousand.
//!
//! Written by `writer` when a segment is full or the store closes, read by `recovery`, by the reuse of the segment, and by `inspect`. The
//! last page tells how many records there are; the list stands before it. It names the newest record of a key even where that record
//! rots: what cannot be read is then a miss, and no older version is taken for the newest. Pure: no file. Integers are little-endian.

use crate::key::Partition;
use crate::purge::Tick;

use super::record::{ALIGNMENT, Decoder, Encoder, Facts, Header, Kind};
use super::segment::{COUNT_MAX, PAGE_BYTES, seeded};
use super::variants::Filed;

const MAGIC: u64 = u64::from_le_bytes(*b"JET9END\0");
const VERSION: u32 = 1;
/// Bytes of one entry.
const ENTRY_BYTES: u64 = 48;
const USED: usize = 8 + 4 + 4 + 8 + 4 + 4;

/// What the list says of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) primary: u128,
    /// [`Facts::vary`].
    pub(super) vary: u32,
    /// [`Facts::variant`].
    pub(super) variant: u32,
    pub(super) birth: Tick,
    pub(super) partition: Partition,
    /// Where it begins, from the start of its segment, in units of [`ALIGNMENT`].
    pub(super) at: u32,
    /// Bytes of the record, without padding.
    pub(super) bytes: u32,
}

impl Entry {
    /// The entry of a record that begins `within` bytes into its segment.
    pub(super) fn of(facts: &Facts, within: u64, bytes: u32) -> Self {
        Self {
            kind: facts.kind,
            primary: facts.primary,
            vary: facts.vary,
            variant: facts.variant(),
            birth: facts.birth,
            partition: facts.partition,
            at: u32::try_from(within / ALIGNMENT).unwrap_or(u32::MAX),
            bytes,
        }
    }

    /// The entry of a record that was read in a segment that begins at `start`.
    pub(super) fn of_header(header: &Header, start: u64) -> Self {
        let bytes = u32::try_from(header.record_bytes()).unwrap_or(u32::MAX);
        Self::of(&header.facts, header.offset.saturating_sub(start), bytes)
    }

    /// Under which it is filed in the index.
    pub(super) const fn filed(&self) -> Filed {
        Filed {
            primary: self.primary,
            variant: self.variant,
        }
    }

    /// Where it begins, from the start of its segment, in bytes.
    pub(super) const fn within(&self) -> u64 {
        self.at as u64 * ALIGNMENT
    }

    fn encode(&self, out: &mut Encoder) {
        out.u128(self.primary);
        out.u64(self.birth.0);
        out.u32(self.kind.number());
        out.u32(self.vary);
        out.u32(self.variant);
        out.u32(self.partition.0);
        out.u32(self.at);
        out.u32(self.bytes);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            primary: from.u128()?,
            birth: Tick(from.u64()?),
            kind: Kind::of(from.u32()?)?,
            vary: from.u32()?,
            variant: from.u32()?,
            partition: Partition(from.u32()?),
            at: from.u32()?,
            bytes: from.u32()?,
        })
    }
}

/// Bytes of the footer of a segment with this many records: whole pages.
pub(super) const fn footer_bytes(entries: usize) -> u64 {
    (entries as u64 * ENTRY_BYTES).next_multiple_of(PAGE_BYTES) + PAGE_BYTES
}

/// The last page of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) segment: u32,
    pub(super) lap: u64,
    pub(super) entries: u32,
    /// Of the list.
    crc: u32,
}

impl Seal {
    /// The footer: the list, padded, and the page with the seal.
    pub(super) fn encode(identity: u128, segment: u32, lap: u64, entries: &[Entry]) -> Vec<u8> {
        let mut out = Encoder::default();
        for entry in entries {
            entry.encode(&mut out);
        }
        out.bytes
            .resize(out.bytes.len().next_multiple_of(PAGE_BYTES as usize), 0);
        let crc = crc32c::crc32c(&out.bytes);
        let page = out.bytes.len();
        out.u64(MAGIC);
        out.u32(VERSION);
        out.u32(segment);
        out.u64(lap);
        out.u32(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        out.u32(crc);
        let own = seeded(identity, &out.bytes[page..]);
        out.u32(own);
        out.bytes.resize(page + PAGE_BYTES as usize, 0);
        out.bytes
    }

    /// The seal in a segment's last page; `None` if there is none.
    pub(super) fn decode(page: &[u8], identity: u128) -> Option<Self> {
        let mut from = Decoder::new(page);
        let magic = from.u64()?;
        let version = from.u32()?;
        let segment = from.u32()?;
        let lap = from.u64()?;
        let entries = from.u32()?;
        let crc = from.u32()?;
        let good = from.u32()? == seeded(identity, page.get(..USED)?);
        (good && magic == MAGIC && version == VERSION && lap <= COUNT_MAX).then_some(Self {
            segment,
            lap,
            entries,
            crc,
        })
    }

    /// Bytes of the list, padding included.
    pub(super) const fn list_bytes(&self) -> u64 {
        footer_bytes(self.entries as usize) - PAGE_BYTES
    }

    /// The entries, if the list is as it was written and every one of them lies inside a segment of `segment_bytes`.
    pub(super) fn entries(&self, list: &[u8], segment_bytes: u64) -> Option<Vec<Entry>> {
        if list.len() as u64 != self.list_bytes() || crc32c::crc32c(list) != self.crc {
            return None;
        }
        let mut from = Decoder::new(list);
        let entries: Option<Vec<Entry>> = (0..self.entries)
            .map(|_| Entry::decode(&mut from))
            .collect();
        let is_inside = |entry: &Entry| entry.within() + u64::from(entry.bytes) <= segment_bytes;
        entries.filter(|entries| entries.iter().all(is_inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: u32) -> Vec<Entry> {
        let entry = |n| Entry {
            kind: if n % 3 == 0 { Kind::Chunk } else { Kind::Head },
            primary: u128::from(n) << 70,
            vary: n,
            variant: n + 1,
            birth: Tick(u64::from(n) + 2),
            partition: Partition(n + 3),
            at: n + 4,
            bytes: n + 5,
        };
        (0..count).map(entry).collect()
    }

    #[test]
    fn a_footer_is_read_as_it_was_written_and_any_flipped_bit_is_noticed() {
        for count in [0, 1, 85, 86, 1000] {
            let entries = entries(count);
            let footer = Seal::encode(9, 3, 4, &entries);
            assert_eq!(footer.len() as u64, footer_bytes(entries.len()));
            let (list, page) = footer.split_at(footer.len() - PAGE_BYTES as usize);
            let seal = Seal::decode(page, 9).unwrap();
            assert_eq!((seal.segment, seal.lap, seal.entries), (3, 4, count));
            assert_eq!(seal.entries(list, 1 << 20), Some(entries));
            assert_eq!(Seal::decode(page, 8), None, "another volume's");
            for bit in 0..(USED + 4) * 8 {
                let mut bad = page.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Seal::decode(&bad, 9), None, "bit {bit}");
            }
            for bit in (0..list.len() * 8).step_by(61) {
                let mut bad = list.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(seal.entries(&bad, 1 << 20), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn an_entry_outside_its_segment_spoils_the_list() {
        let footer = Seal::encode(9, 3, 4, &entries(100));
        let (list, page) = footer.split_at(footer.len() - PAGE_BYTES as usize);
        let seal = Seal::decode(page, 9).unwrap();
        assert!(seal.entries(list, 103 * ALIGNMENT + 104).is_some());
        assert!(seal.entries(list, 103 * ALIGNMENT + 103).is_none());
    }
}
