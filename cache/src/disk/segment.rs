//! How a volume is divided: the pages of the superblocks, then segments of one size, each used lap after lap.
//!
//! Made by `volume` when it opens, used by whoever computes a place. A segment begins with a header page that says which lap it is in, and
//! ends with its footer (see `footer`). Laps are numbered without gaps: a lap that is missing between others was lost, and with it what
//! is newest of some keys. Pure: no file. Integers are little-endian.

use std::io;

use crate::purge::Tick;

use super::lap::LAP_MAX;
use super::record::{Decoder, Encoder};

/// What headers and footers take at least, and where they begin: no device in use writes less at once.
pub(super) const PAGE_BYTES: u64 = 4096;
/// Where the first segment begins; before it are the superblocks.
pub(super) const SEGMENTS_START: u64 = 1 << 20;
/// A segment of a large volume.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// A segment of the smallest volume: a piece of content, or a head with the longest fields, fits well.
const SEGMENT_BYTES_MIN: u64 = 2 << 20;
/// Fewer segments would lose too much at once when one is reused.
const SEGMENTS_MIN: u64 = 8;

/// No lap or serial grows to this in the life of a volume: what is above it was not written by a node, and could not be counted on from.
pub(super) const COUNT_MAX: u64 = LAP_MAX / 4;

const MAGIC: u64 = u64::from_le_bytes(*b"JET9SEG\0");
const VERSION: u32 = 2;
const USED: usize = 8 + 4 + 4 + 8 + 8;

/// Bytes and number of the segments of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) segment_bytes: u64,
    pub(super) segments: u32,
}

impl Geometry {
    /// The division of a volume of `size` bytes.
    ///
    /// # Errors
    /// When it is too small, or larger than places can be named.
    pub(super) fn of(size: u64) -> io::Result<Self> {
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
        Ok(Self {
            segment_bytes,
            segments,
        })
    }

    /// Whether [`Self::of`] can have made it: any other would not fit into 64 bits, or leave no room for footers.
    pub(super) const fn is_plausible(self) -> bool {
        let of_size = self.segment_bytes >= SEGMENT_BYTES_MIN
            && self.segment_bytes <= SEGMENT_BYTES_MAX
            && self.segment_bytes.is_power_of_two();
        of_size && self.segments as u64 >= SEGMENTS_MIN
    }

    /// Bytes of all segments.
    pub(super) const fn bytes(self) -> u64 {
        self.segment_bytes * self.segments as u64
    }

    /// Bytes of the whole file.
    pub(super) const fn file_bytes(self) -> u64 {
        SEGMENTS_START + self.bytes()
    }

    /// Where a segment begins.
    pub(super) const fn start_of(self, segment: u32) -> u64 {
        SEGMENTS_START + segment as u64 * self.segment_bytes
    }

    /// Where a segment ends.
    pub(super) const fn end_of(self, segment: u32) -> u64 {
        self.start_of(segment) + self.segment_bytes
    }

    /// The segment that an offset lies in.
    pub(super) fn segment_of(self, offset: u64) -> Option<u32> {
        let segment = offset.checked_sub(SEGMENTS_START)? / self.segment_bytes;
        u32::try_from(segment)
            .ok()
            .filter(|segment| *segment < self.segments)
    }
}

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) segment: u32,
    pub(super) lap: u64,
    /// The tick when the lap began.
    pub(super) opened: Tick,
}

impl SegmentHeader {
    /// The header page.
    pub(super) fn encode(self, identity: u128) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u64(MAGIC);
        out.u32(VERSION);
        out.u32(self.segment);
        out.u64(self.lap);
        out.u64(self.opened.0);
        let crc = seeded(identity, &out.bytes);
        out.u32(crc);
        out.bytes.resize(PAGE_BYTES as usize, 0);
        out.bytes
    }

    pub(super) fn decode(page: &[u8], identity: u128) -> Option<Self> {
        let mut from = Decoder::new(page);
        let magic = from.u64()?;
        let version = from.u32()?;
        let segment = from.u32()?;
        let lap = from.u64()?;
        let opened = Tick(from.u64()?);
        let good = from.u32()? == seeded(identity, page.get(..USED)?);
        (good && magic == MAGIC && version == VERSION && lap <= COUNT_MAX).then_some(Self {
            segment,
            lap,
            opened,
        })
    }
}

/// A checksum that fits nothing of another volume, or of this one before it was emptied.
pub(super) fn seeded(identity: u128, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&identity.to_le_bytes()), bytes)
}

/// Whether laps, in any order and 0 for none, follow one another without a gap and reach `least`.
pub(super) fn are_whole(laps: &[u64], least: u64) -> bool {
    let mut laps: Vec<u64> = laps.iter().copied().filter(|lap| *lap > 0).collect();
    laps.sort_unstable();
    let follows = laps.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    follows && laps.last().copied().unwrap_or(0) >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_any_flipped_bit_is_noticed() {
        let header = SegmentHeader {
            segment: 3,
            lap: 4,
            opened: Tick(5),
        };
        let page = header.encode(9);
        assert_eq!(page.len() as u64, PAGE_BYTES);
        assert_eq!(SegmentHeader::decode(&page, 9), Some(header));
        assert_eq!(SegmentHeader::decode(&page, 8), None, "another volume's");
        for bit in 0..(USED + 4) * 8 {
            let mut bad = page.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bad, 9), None, "bit {bit}");
        }
    }

    #[test]
    fn a_volume_is_divided_into_eight_segments_at_least() {
        let check = |size, expected| {
            let geometry = Geometry::of(size).ok();
            assert_eq!(
                geometry.map(|g| (g.segment_bytes, g.segments)),
                expected,
                "{size}"
            );
            if let Some(geometry) = geometry {
                assert!(geometry.is_plausible());
                assert!(geometry.file_bytes() <= size);
                let last = geometry.segments - 1;
                assert_eq!(geometry.end_of(last), geometry.file_bytes());
                assert_eq!(
                    geometry.segment_of(geometry.file_bytes() - 1),
                    Some(last),
                    "{size}"
                );
                assert_eq!(geometry.segment_of(geometry.file_bytes()), None);
            }
        };
        check(0, None);
        check(16 << 20, None);
        check(17 << 20, Some((2 << 20, 8)));
        check(64 << 20, Some((4 << 20, 15)));
        check(1 << 30, Some((64 << 20, 15)));
    }

    #[test]
    fn a_division_that_nobody_made_is_not_plausible() {
        for (segment_bytes, segments, expected) in [
            (2 << 20, 8, true),
            (64 << 20, u32::MAX, true),
            (u64::MAX, u32::MAX, false),
            (0, 8, false),
            (4096, 8, false),
            ((2 << 20) + 4096, 8, false),
            (2 << 20, 7, false),
        ] {
            let geometry = Geometry {
                segment_bytes,
                segments,
            };
            assert_eq!(geometry.is_plausible(), expected, "{geometry:?}");
        }
    }

    #[test]
    fn a_lap_that_is_missing_between_others_or_at_the_end_is_noticed() {
        for (laps, least, expected) in [
            (&[][..], 0, true),
            (&[0, 0], 0, true),
            (&[0], 1, false),
            (&[3, 1, 2, 0], 3, true),
            (&[3, 1, 2, 0], 4, false),
            (&[7, 6, 5], 6, true),
            (&[7, 5], 5, false),
            (&[5, 5], 5, false),
        ] {
            assert_eq!(are_whole(laps, least), expected, "{laps:?} {least}");
        }
    }
}
