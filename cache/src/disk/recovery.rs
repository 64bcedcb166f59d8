//! What is on a volume when it is opened: in which laps its segments are, and what its index holds.
//!
//! Run in the background, before the volume's writer writes and while the store serves: until a volume is loaded nothing on it is found.
//! Headers tell the laps; footers tell the records, oldest lap first, so that of one response the newest record is what remains. A segment
//! without a readable footer is scanned. Whatever might hide that a newer record was lost (a lap that is missing, a hole where everything
//! had been durable, a birth after the journal's last tick) makes the volume unbelievable; one unreadable record is a miss.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use log::info;

use crate::purge::Purges;

use super::footer::{Entry, Seal};
use super::record::{ALIGNMENT, HEADER_BYTES, Header, Kind, Meta, RECORD_BYTES_MAX, padded};
use super::segment::{Geometry, PAGE_BYTES, SegmentHeader, are_whole};
use super::superblock::Emptied;
use super::variants::Filed;
use super::volume::Volume;

/// What is read at once of something longer, such as the footer of a segment with very short records.
const PART_BYTES: u64 = 1 << 20;
/// What is read at a record's place while scanning: the header and, mostly, more than one.
const WINDOW_BYTES: u64 = 64 << 10;
/// Where no record begins within this many bytes after the last one, none follows: it is longer than any record.
const GAP_MAX: u64 = RECORD_BYTES_MAX as u64;

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
    for (number, segment) in (0..).zip(&volume.segments) {
        let header = header_of(volume, number);
        if header.is_some_and(|header| header.opened > now) {
            return Err(Emptied::Future);
        }
        let lap = match header {
            Some(header) => header.lap,
            None => seal_of(volume, number).map_or(0, |seal| seal.lap),
        };
        segment.lap.store(lap, Ordering::Release);
        laps.push(lap);
    }
    if !are_whole(&laps, volume.last_lap()) {
        return Err(Emptied::Gap);
    }
    Ok(laps.into_iter().max().unwrap_or(0))
}

/// Puts everything that was written up to a lap into the index. `score` tells which volume has a key. Stops when `closing`.
///
/// # Errors
/// When what is there cannot be believed.
pub(super) fn load(
    volume: &Volume,
    last_lap: u64,
    closing: &AtomicBool,
    score: impl Fn(u128, u64) -> u64,
) -> Result<Loaded, Emptied> {
    let now = volume.shared.purges.now();
    let peers = volume.peers();
    // Of a key that another volume would have had, what was written before that one joined may be old.
    let is_own = |primary: u128, lap: u64| {
        let own = score(primary, volume.name);
        let mut later = peers.iter().filter(|peer| peer.joined >= lap);
        later.all(|peer| score(primary, peer.name) <= own)
    };
    for (lap, segment) in laps(volume, last_lap) {
        if closing.load(Ordering::Acquire) {
            return Ok(Loaded::InPart);
        }
        let entries = entries_of(volume, segment, lap)?;
        // Either the segment is still in this lap, and stays so, or nothing of it counts.
        let _reuse = volume.hold_reuse();
        if volume.segments[segment as usize]
            .lap
            .load(Ordering::Acquire)
            != lap
        {
            continue;
        }
        for entry in entries {
            if entry.birth > now {
                return Err(Emptied::Future);
            }
            if entry.kind == Kind::Head && is_own(entry.primary, lap) {
                load_entry(volume, segment, &entry);
            }
        }
    }
    let records = volume.catalog.len();
    info!(
        "{}: {records} stored responses found",
        volume.path().display()
    );
    Ok(Loaded::All)
}

/// How much of a volume was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    All,
    /// Newer versions of what was loaded may be missing: nothing of it may be served.
    InPart,
}

/// The laps that segments are in, oldest first.
fn laps(volume: &Volume, last: u64) -> Vec<(u64, u32)> {
    let mut laps: Vec<(u64, u32)> = (0..)
        .zip(&volume.segments)
        .map(|(number, segment)| (segment.lap.load(Ordering::Acquire), number))
        .filter(|(lap, _)| (1..=last).contains(lap))
        .collect();
    laps.sort_unstable();
    laps
}

fn load_entry(volume: &Volume, segment: u32, entry: &Entry) {
    let purges = &volume.shared.purges;
    let offset = volume.geometry.start_of(segment) + entry.within();
    let slot = Volume::slot_of(offset, entry.bytes.into(), entry.partition, entry.birth);
    let Some(slot) = slot else { return };
    if !volume.catalog.knows(entry.partition, entry.vary) {
        learn(volume, offset, entry, purges);
    }
    let filed = Filed {
        primary: entry.primary,
        variant: entry.variant,
    };
    volume.catalog.load(filed, &slot);
}

/// Reads what responses vary by from one of them.
fn learn(volume: &Volume, offset: u64, entry: &Entry, purges: &Purges) {
    let Ok(record) = volume.bytes_at(offset, entry.bytes.into()) else {
        return;
    };
    let header = Header::decode(&record, volume.identity, offset)
        .filter(|header| header.facts.vary == entry.vary);
    let meta = header
        .as_ref()
        .and_then(|header| header.meta(&record))
        .and_then(|meta| Meta::decode(meta, entry.partition, purges.keys()));
    if let Some(meta) = meta {
        let names = &meta.response.vary;
        volume.catalog.learn(entry.partition, entry.vary, names);
    }
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
    if let Some(entries) = footer_of(volume, segment, lap) {
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
    SegmentHeader::decode(&page, volume.identity()).filter(|header| header.segment == segment)
}

pub(super) fn seal_of(volume: &dyn Source, segment: u32) -> Option<Seal> {
    let page = page(volume, volume.geometry().end_of(segment) - PAGE_BYTES)?;
    Seal::decode(&page, volume.identity()).filter(|seal| seal.segment == segment)
}

fn page(volume: &dyn Source, offset: u64) -> Option<Bytes> {
    volume.bytes_at(offset, PAGE_BYTES).ok()
}

/// What the footer of a segment lists, if it was written in this lap and can be read.
fn footer_of(volume: &dyn Source, segment: u32, lap: u64) -> Option<Vec<Entry>> {
    let seal = seal_of(volume, segment).filter(|seal| seal.lap == lap)?;
    let bytes = seal.list_bytes();
    let end = volume.geometry().end_of(segment) - PAGE_BYTES;
    if bytes > volume.geometry().segment_bytes - 2 * PAGE_BYTES {
        return None;
    }
    if bytes == 0 {
        return seal.entries(&[], volume.geometry().segment_bytes);
    }
    let list = volume.bytes_at(end - bytes, bytes).ok()?;
    seal.entries(&list, volume.geometry().segment_bytes)
}

/// The records of one lap of a segment, in order, by their headers.
pub(super) struct Scan<'a> {
    volume: &'a dyn Source,
    lap: u64,
    position: u64,
    end: u64,
    /// Where the last record that was found ends, with its padding.
    last_end: u64,
    /// Where the first record that is missing began.
    hole: Option<u64>,
    /// Up to where everything was durable, as the records say.
    durable: u64,
    failed: bool,
    window: Bytes,
    window_at: u64,
}

impl<'a> Scan<'a> {
    pub(super) fn of(volume: &'a dyn Source, segment: u32, lap: u64) -> Self {
        let position = volume.geometry().start_of(segment) + PAGE_BYTES;
        Self {
            volume,
            lap,
            position,
            end: volume.geometry().end_of(segment),
            last_end: position,
            hole: None,
            durable: 0,
            failed: false,
            window: Bytes::new(),
            window_at: 0,
        }
    }

    /// Whether nothing is missing but what a crash may have kept from the disk.
    pub(super) fn is_whole(&self) -> bool {
        !self.failed && self.hole.is_none_or(|hole| hole >= self.durable)
    }

    /// The window from the present position on; `None` at the end, or when the device fails.
    fn look(&mut self) -> Option<&[u8]> {
        let left = self.end - self.position;
        let needed = left.min(HEADER_BYTES as u64);
        let window_end = self.window_at + self.window.len() as u64;
        let is_inside = self.position >= self.window_at && self.position + needed <= window_end;
        if !is_inside {
            let window = self.volume.bytes_at(self.position, left.min(WINDOW_BYTES));
            self.failed = window.is_err();
            self.window = window.ok()?;
            self.window_at = self.position;
        }
        let skip = usize::try_from(self.position - self.window_at).ok()?;
        self.window.get(skip..)
    }
}

impl Iterator for Scan<'_> {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        let (identity, lap) = (self.volume.identity(), self.lap);
        let last = self.end.min(self.last_end + GAP_MAX);
        while self.position + HEADER_BYTES as u64 <= last {
            let (position, end) = (self.position, self.end);
            let header = Header::decode(self.look()?, identity, position)
                .filter(|h| h.lap == lap && position + h.record_bytes() as u64 <= end);
            let Some(header) = header else {
                self.position += ALIGNMENT;
                continue;
            };
            if position > self.last_end {
                self.hole.get_or_insert(self.last_end);
            }
            self.durable = self.durable.max(header.durable);
            self.position += padded(header.record_bytes()) as u64;
            self.last_end = self.position;
            return Some(header);
        }
        None
    }
}
