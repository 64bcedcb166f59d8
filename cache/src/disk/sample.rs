//! A volume that says of itself that it is full: every segment has a header and a footer, and between them nothing.
//!
//! Called by the bench of the start alone: what an index is rebuilt from is all there, and takes little of the disk that the bench runs on.
//! Whoever reads one of the records misses.

use std::io;
use std::path::Path;

use crate::device::{Opener, RealFiles};
use crate::key::Partition;
use crate::purge::Tick;

use super::footer::{Entry, Seal, footer_bytes};
use super::record::{ALIGNMENT, Kind};
use super::segment::{Geometry, PAGE_BYTES, SegmentHeader};
use super::superblock::Superblock;
use super::volume::FILE;

/// Makes a file of the length that a volume of `size` bytes has, without its blocks.
///
/// # Errors
/// When the file cannot be made.
pub fn make_room(directory: &Path, size: u64) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let file = std::fs::File::create(directory.join(FILE))?;
    file.set_len(Geometry::of(size)?.file_bytes())
}

/// Fills the volume of a store that is closed with so many records in each segment, alike in length; gives how many there are. `hash` tells
/// the key of each.
///
/// # Errors
/// When it is no volume, or cannot be written.
pub fn forge(directory: &Path, records: u32, hash: impl Fn(u64) -> u128) -> io::Result<u64> {
    let device = RealFiles.open(&directory.join(FILE))?;
    let mut superblock = Superblock::read(|offset, bytes| {
        let mut page = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        device.read_at(&mut page, offset)?;
        Ok(page.into())
    })
    .map_err(io::Error::other)?;
    let geometry = superblock.geometry;
    let bytes = u32::try_from(step(geometry, records)).unwrap_or(0);
    for segment in 0..geometry.segments {
        let lap = u64::from(segment) + 1;
        let entry = |n: u32| Entry {
            kind: Kind::Head,
            primary: hash(u64::from(segment) * u64::from(records) + u64::from(n)),
            vary: 0,
            variant: 0,
            birth: Tick(1),
            partition: Partition(1),
            at: u32::try_from(within(geometry, records, n) / ALIGNMENT).unwrap_or(0),
            bytes,
        };
        let entries: Vec<Entry> = (0..records).map(entry).collect();
        let footer = Seal::encode(superblock.identity, segment, lap, &entries);
        let header = SegmentHeader {
            segment,
            lap,
            opened: Tick(1),
        };
        let header = header.encode(superblock.identity);
        device.write_at(&header, geometry.start_of(segment))?;
        let at = geometry.end_of(segment) - footer.len() as u64;
        device.write_at(&footer, at)?;
    }
    superblock.last_lap = u64::from(geometry.segments);
    for _ in 0..2 {
        let (offset, page) = superblock.next();
        device.write_at(&page, offset)?;
    }
    device.sync()?;
    Ok(u64::from(geometry.segments) * u64::from(records))
}

/// Where in a segment of so many records one of them begins.
pub(super) fn within(geometry: Geometry, records: u32, number: u32) -> u64 {
    PAGE_BYTES + u64::from(number) * step(geometry, records)
}

fn step(geometry: Geometry, records: u32) -> u64 {
    let room = geometry.segment_bytes - PAGE_BYTES - footer_bytes(records as usize);
    room / u64::from(records) / ALIGNMENT * ALIGNMENT
}
