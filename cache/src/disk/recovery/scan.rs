//! The records of a segment without a readable footer: the one that was open at a crash, or one whose footer rots.
//!
//! Walks from header to header, up to where none can follow. Tells whether anything is missing that had been durable: each record says how
//! far all was durable when it was written.

use bytes::Bytes;

use super::super::record::{ALIGNMENT, HEADER_BYTES, Header, RECORD_BYTES_MAX, padded};
use super::super::segment::PAGE_BYTES;
use super::Source;

/// What is read at a record's place while scanning: the header and, mostly, more than one.
const WINDOW_BYTES: u64 = 64 << 10;
/// Where no record begins within this many bytes after the last one, none follows: it is longer than any record.
const GAP_MAX: u64 = RECORD_BYTES_MAX as u64;

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
