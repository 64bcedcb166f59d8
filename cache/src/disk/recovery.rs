//! What is on a volume when it is opened: in which laps its segments are, and what its index holds.
//!
//! Run in the background, before the volume's writer writes and while the store serves: until a volume is loaded nothing on it is found.
//! Headers tell the laps; footers tell the records, oldest lap first, so that of one response the newest record is what remains. A segment
//! without a readable footer is scanned. Whatever might hide that a newer record was lost (a lap that is missing, a hole where everything
//! had been durable, a birth after the journal's last tick) makes the volume unbelievable; one unreadable record is a miss.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use super::footer::{Entry, Seal};
use super::segment::{Geometry, PAGE_BYTES, SegmentHeader, are_whole};
use super::superblock::Emptied;
use super::volume::Volume;

mod load;
mod scan;

pub(super) use load::{Loaded, load};
use scan::Scan;

/// What is read at once of something longer, such as the footer of a segment with very short records.
const PART_BYTES: u64 = 1 << 20;
/// The end of a segment that is read at once: its last page, and the list of as many records as a segment mostly holds.
const TAIL_BYTES: u64 = 256 << 10;
/// Headers of segments that are read at once.
const HEADERS_AHEAD: usize = 64;

/// What is read: a volume in service, or a file that somebody wants to know about.
pub(super) trait Source {
    fn identity(&self) -> u128;
    fn geometry(&self) -> Geometry;
    /// The `bytes` from `offset`, or an error; who counts failures counts this one. Blocks.
    fn bytes_at(&self, offset: u64, bytes: u64) -> io::Result<Bytes>;
}

impl Source for Volume {
    fn identity(&self) -> u128 {
        self.identity
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn bytes_at(&self, offset: u64, bytes: u64) -> io::Result<Bytes> {
        let part = |at: u64| {
            let length = (bytes - at).min(PART_BYTES);
            self.file.read_patiently(offset + at, length as usize)
        };
        if bytes <= PART_BYTES {
            return Ok(self.noted(part(0).wait())?);
        }
        let mut whole = Vec::with_capacity(usize::try_from(bytes).map_err(io::Error::other)?);
        for at in (0..bytes).step_by(PART_BYTES as usize) {
            whole.extend_from_slice(&self.noted(part(at).wait())?);
        }
        Ok(whole.into())
    }
}

/// Reads in which laps the segments are; the last one.
///
/// # Errors
/// When one that was written cannot be found.
pub(super) fn find_laps(volume: &Volume) -> Result<u64, Emptied> {
    let now = volume.shared.purges.now();
    let mut laps = Vec::with_capacity(volume.segments.len());
    let begin = |number: u32| {
        let start = volume.geometry.start_of(number);
        volume.file.read_patiently(start, PAGE_BYTES as usize)
    };
    let mut rest = (0..volume.geometry.segments).map(begin);
    let mut ahead: VecDeque<_> = rest.by_ref().take(HEADERS_AHEAD).collect();
    for (number, segment) in (0..).zip(&volume.segments) {
        let Some(pending) = ahead.pop_front() else {
            break;
        };
        ahead.extend(rest.next());
        let page = volume.noted(pending.wait()).ok();
        let header = page.and_then(|page| header_on(volume, number, &page));
        if header.is_some_and(|header| header.opened > now) {
            return Err(Emptied::Future);
        }
        let lap = match header {
            Some(header) => header.lap,
            None => seal_of(volume, number).map_or(0, |seal| seal.lap),
        };
        segment.begin(lap);
        laps.push(lap);
    }
    if !are_whole(&laps, volume.last_lap()) {
        return Err(Emptied::Gap);
    }
    Ok(laps.into_iter().max().unwrap_or(0))
}

/// The records of a segment in a lap, in the order in which they were written.
///
/// # Errors
/// When one was lost that had been durable.
pub(super) fn entries_of(
    volume: &dyn Source,
    segment: u32,
    lap: u64,
) -> Result<Vec<Entry>, Emptied> {
    let end = volume.geometry().end_of(segment);
    let tail = volume.bytes_at(end - TAIL_BYTES, TAIL_BYTES);
    entries_by(volume, segment, lap, tail.ok())
}

/// The same where the last [`TAIL_BYTES`] of the segment were read already, if they could be.
fn entries_by(
    volume: &dyn Source,
    segment: u32,
    lap: u64,
    tail: Option<Bytes>,
) -> Result<Vec<Entry>, Emptied> {
    let footer = tail.and_then(|tail| footer_in(volume, segment, lap, &tail));
    if let Some(entries) = footer {
        return Ok(entries);
    }
    let mut scan = Scan::of(volume, segment, lap);
    let start = volume.geometry().start_of(segment);
    let entries = scan
        .by_ref()
        .map(|header| Entry::of_header(&header, start))
        .collect();
    if scan.is_whole() {
        Ok(entries)
    } else {
        Err(Emptied::Gap)
    }
}

pub(super) fn header_of(volume: &dyn Source, segment: u32) -> Option<SegmentHeader> {
    let page = page(volume, volume.geometry().start_of(segment))?;
    header_on(volume, segment, &page)
}

fn header_on(volume: &dyn Source, segment: u32, page: &[u8]) -> Option<SegmentHeader> {
    SegmentHeader::decode(page, volume.identity()).filter(|header| header.segment == segment)
}

pub(super) fn seal_of(volume: &dyn Source, segment: u32) -> Option<Seal> {
    let page = page(volume, volume.geometry().end_of(segment) - PAGE_BYTES)?;
    seal_on(volume, segment, &page)
}

fn seal_on(volume: &dyn Source, segment: u32, page: &[u8]) -> Option<Seal> {
    Seal::decode(page, volume.identity()).filter(|seal| seal.segment == segment)
}

fn page(volume: &dyn Source, offset: u64) -> Option<Bytes> {
    volume.bytes_at(offset, PAGE_BYTES).ok()
}

/// What the footer of a segment lists, if it was written in this lap and can be read; `tail` is the end of the segment.
fn footer_in(volume: &dyn Source, segment: u32, lap: u64, tail: &[u8]) -> Option<Vec<Entry>> {
    let (before, page) = tail.split_at_checked(tail.len().checked_sub(PAGE_BYTES as usize)?)?;
    let seal = seal_on(volume, segment, page).filter(|seal| seal.lap == lap)?;
    let (bytes, segment_bytes) = (seal.list_bytes(), volume.geometry().segment_bytes);
    if bytes > segment_bytes - 2 * PAGE_BYTES {
        return None;
    }
    let Some(start) = before.len().checked_sub(usize::try_from(bytes).ok()?) else {
        let end = volume.geometry().end_of(segment) - PAGE_BYTES;
        let list = volume.bytes_at(end - bytes, bytes).ok()?;
        return seal.entries(&list, segment_bytes);
    };
    seal.entries(&before[start..], segment_bytes)
}
