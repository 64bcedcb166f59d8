//! What is on a volume when it is opened: where its writer goes on, and what its index holds.
//!
//! The segments' headers and the end of the newest one are read at once; the records of all segments are then read in the background,
//! heads only, while the store serves. A record whose header is not whole is passed over; of two versions the newer counts, whatever the
//! order in which they are found. Nothing that was purged, or that comes from a future that this journal does not know, gets in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::info;

use crate::memory::Variant;
use crate::purge::{Purges, Tick, Verdict};

use super::index::Entry;
use super::record::{
    ALIGNMENT, Decoder, Encoder, HEADER_BYTES, Header, Kind, Location, Meta, RECORD_BYTES_MAX,
    padded,
};
use super::volume::{Operation, Volume};

/// What is read at a record's place: the header and, mostly, all that describes it.
const WINDOW_BYTES: usize = 16 << 10;
/// Where no record begins within this many bytes after the last one, none follows: it is longer than any record.
const GAP_MAX: u64 = RECORD_BYTES_MAX as u64;
const MAGIC: u64 = u64::from_le_bytes(*b"JET9SEG\0");
const SEGMENT_HEADER_BYTES: usize = 24;

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) segment: u32,
    pub(super) lap: u64,
}

impl SegmentHeader {
    pub(super) fn encode(self, identity: u128) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u64(MAGIC);
        out.u64(self.lap);
        out.u32(self.segment);
        let crc = checksum(identity, &out.bytes);
        out.u32(crc);
        out.bytes
    }

    fn decode(bytes: &[u8], identity: u128) -> Option<Self> {
        let mut from = Decoder::new(bytes);
        let magic = from.u64()?;
        let lap = from.u64()?;
        let segment = from.u32()?;
        let good = from.u32()? == checksum(identity, bytes.get(..SEGMENT_HEADER_BYTES - 4)?);
        (good && magic == MAGIC).then_some(Self { segment, lap })
    }
}

fn checksum(identity: u128, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&identity.to_le_bytes()), bytes)
}

/// Where the writer goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// The highest lap ever begun.
    pub(super) last_lap: u64,
    /// The newest segment, and where its last record ends.
    pub(super) open: Option<(u32, u64)>,
}

/// Reads the segments' headers, sets their laps, and finds the end of the newest.
pub(super) fn find_tail(volume: &Volume) -> Tail {
    let mut newest = None;
    for (number, segment) in (0..).zip(&volume.segments) {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let result = volume.device.read_at(&mut header, volume.start_of(number));
        volume.note(Operation::Read, &result);
        let header = SegmentHeader::decode(&header, volume.identity)
            .filter(|header| result.is_ok() && header.segment == number);
        let lap = header.map_or(0, |header| header.lap);
        segment.lap.store(lap, Ordering::Release);
        newest = newest.max((lap > 0).then_some((lap, number)));
    }
    let Some((last_lap, segment)) = newest else {
        return Tail {
            last_lap: 0,
            open: None,
        };
    };
    let mut scan = Scan::of(volume, segment, last_lap);
    while scan.next().is_some() {}
    // A segment that cannot be read to its end is not written any further.
    Tail {
        last_lap,
        open: (!scan.failed).then_some((segment, scan.last_end)),
    }
}

/// Puts everything that is on the volume into the index; stops early when `closing`.
pub(super) fn load(volume: &Arc<Volume>, purges: &Purges, now: Tick, closing: &AtomicBool) {
    let mut laps: Vec<(u64, u32)> = (0..)
        .zip(&volume.segments)
        .map(|(number, segment)| (segment.lap.load(Ordering::Acquire), number))
        .filter(|(lap, _)| *lap > 0)
        .collect();
    // The newest first: what is most likely asked for.
    laps.sort_unstable_by(|a, b| b.cmp(a));
    let mut responses = 0_u64;
    for (lap, segment) in laps {
        for found in Scan::of(volume, segment, lap) {
            if closing.load(Ordering::Acquire) {
                return;
            }
            responses += u64::from(insert(volume, purges, now, &found));
        }
    }
    info!(
        "volume {}: {responses} stored responses found",
        volume.number
    );
}

fn insert(volume: &Volume, purges: &Purges, now: Tick, found: &Found) -> bool {
    let facts = found.header.facts;
    if facts.kind != Kind::Head || facts.birth > now {
        return false;
    }
    let Some(meta) = found.meta(volume, purges) else {
        return false;
    };
    if meta.key.primary() != facts.primary {
        return false;
    }
    let tags: Vec<u128> = meta
        .response
        .tags
        .iter()
        .map(|tag| purges.tag(tag))
        .collect();
    let judged = purges.judge(&Variant::facts_of(&meta.key, &tags), facts.birth);
    let is_whole = meta.place.chunks.iter().all(|chunk| volume.is_there(chunk));
    if judged == Verdict::Dead || !is_whole {
        return false;
    }
    let entry = Entry {
        selected_by: facts.selected_by,
        vary: meta.response.vary.iter().cloned().collect(),
        birth: facts.birth,
        version: facts.version,
        volume: volume.number,
        head: found.location,
    };
    volume.insert(facts.primary, entry, &meta.place.chunks)
}

/// A record that a scan found.
struct Found {
    header: Header,
    location: Location,
    /// The record's first bytes.
    window: Vec<u8>,
}

impl Found {
    /// What describes the record, if it is whole.
    fn meta(&self, volume: &Volume, purges: &Purges) -> Option<Meta> {
        let described = self.header.described_bytes();
        let partition = self.header.facts.partition;
        let decode =
            |bytes: &[u8]| Meta::decode(self.header.meta(bytes)?, partition, purges.keys());
        if described <= self.window.len() {
            return decode(&self.window);
        }
        let mut bytes = vec![0; described];
        let result = volume.device.read_at(&mut bytes, self.location.offset);
        volume.note(Operation::Read, &result);
        result.ok().and_then(|()| decode(&bytes))
    }
}

/// The records of one lap of a segment, in order.
struct Scan<'a> {
    volume: &'a Volume,
    segment: u32,
    lap: u64,
    position: u64,
    end: u64,
    /// Where the last record that was found ends, with its padding.
    last_end: u64,
    failed: bool,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Scan<'a> {
    fn of(volume: &'a Volume, segment: u32, lap: u64) -> Self {
        let start = volume.start_of(segment);
        let position = start + ALIGNMENT;
        Self {
            volume,
            segment,
            lap,
            position,
            end: start + volume.segment_bytes,
            last_end: position,
            failed: false,
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// The window from the present position on; `None` at the end, or when the device fails.
    fn look(&mut self) -> Option<&[u8]> {
        let left = self.end - self.position;
        let needed = left.min(HEADER_BYTES as u64);
        let window_end = self.window_at + self.window.len() as u64;
        let is_inside = self.position >= self.window_at && self.position + needed <= window_end;
        if !is_inside {
            let bytes = left.min(WINDOW_BYTES as u64);
            self.window.resize(usize::try_from(bytes).ok()?, 0);
            self.window_at = self.position;
            let result = self.volume.device.read_at(&mut self.window, self.position);
            self.volume.note(Operation::Read, &result);
            if result.is_err() {
                self.window.clear();
                self.failed = true;
                return None;
            }
        }
        let skip = usize::try_from(self.position - self.window_at).ok()?;
        self.window.get(skip..)
    }
}

impl Iterator for Scan<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let (identity, lap) = (self.volume.identity, self.lap);
        let last = self.end.min(self.last_end + GAP_MAX);
        while self.position + HEADER_BYTES as u64 <= last {
            let position = self.position;
            let end = self.end;
            let window = self.look()?;
            let header = Header::decode(window, identity, position)
                .filter(|h| h.lap == lap && position + h.record_bytes() as u64 <= end);
            let Some(header) = header else {
                self.position += ALIGNMENT;
                continue;
            };
            let window = window.to_vec();
            let bytes = header.record_bytes();
            self.position += padded(bytes) as u64;
            self.last_end = self.position;
            let bytes = u32::try_from(bytes).ok()?;
            let location = Location {
                segment: self.segment,
                lap,
                offset: position,
                bytes,
            };
            return Some(Found {
                header,
                location,
                window,
            });
        }
        None
    }
}
