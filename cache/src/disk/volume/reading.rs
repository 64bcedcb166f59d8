//! What of a record is there, on its way into memory?
//!
//! Begun by whoever looks a response up or moves it. A read counts only if the segment is in the same lap before and after it, and what may have
//! been moved meanwhile is not called corrupt. Does not know what a record says.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::super::index::slot::Slot;
use super::super::record::{Header, Location, RECORD_BYTES_MAX};
use super::{Turn, Volume};
use crate::io::{Cause, Pending};

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum Unread {
    /// The segment was reused.
    Gone,
    /// It is not as it was written.
    Corrupt,
    /// The device failed.
    Failed,
    /// It is late, or too much waits already: another time it may be read.
    Busy,
}

/// A part of a record on its way into memory.
#[derive(Debug)]
pub(in crate::disk) struct Reading {
    location: Location,
    /// Of the volume, when it was begun.
    turns: u64,
    delays: u32,
    pending: Pending<Bytes>,
}

impl Reading {
    /// What was there: of the lap that was asked for, whether it is as it was written or not. May be cancelled and asked again.
    pub(in crate::disk) async fn done(&mut self, volume: &Volume) -> Result<Part, Unread> {
        let read = self.pending.outcome().await.map_err(|error| {
            volume.note(&error, self.delays);
            match error.cause {
                Cause::Late | Cause::QueueFull | Cause::Closed => Unread::Busy,
                Cause::Device(_) | Cause::Short(_) | Cause::Invalid => Unread::Failed,
            }
        })?;
        // What was read while the segment began another lap may be half of either.
        if !volume.is_there(&self.location) {
            return Err(Unread::Gone);
        }
        let is_turning = volume.turning.load(Ordering::Acquire) == self.location.segment;
        Ok(Part {
            bytes: read,
            is_moving: is_turning || volume.turns.load(Ordering::Acquire) != self.turns,
        })
    }
}

/// A part of what is at a record's location.
#[derive(Debug)]
pub(in crate::disk) struct Part {
    pub(in crate::disk) bytes: Bytes,
    /// Records were moved meanwhile: there may be a part of another one.
    is_moving: bool,
}

impl Volume {
    /// Reads the record that a slot names.
    pub(in crate::disk) async fn read_slot(&self, slot: &Slot) -> Result<(Header, Bytes), Unread> {
        let offset = slot.address.offset();
        let segment = self.geometry.segment_of(offset).ok_or(Unread::Corrupt)?;
        let of_segment = self.segments.get(segment as usize).ok_or(Unread::Gone)?;
        let room = self.geometry.end_of(segment) - offset;
        let bytes = u32::try_from(slot.size.bytes().min(room)).unwrap_or(u32::MAX);
        let location = Location {
            segment,
            lap: of_segment.lap(),
            offset,
            bytes,
        };
        self.read_up_to(&location).await
    }

    /// Reads a record that is as long as its location says, or shorter.
    async fn read_up_to(&self, location: &Location) -> Result<(Header, Bytes), Unread> {
        let length = location.bytes as usize;
        let record = self
            .begin_read(location, 0..length, None)?
            .done(self)
            .await?;
        let header = self.header_in(&record, location)?;
        Ok((header, record.bytes.slice(..header.record_bytes())))
    }

    /// Begins to read a part of what is at a location; of long content in a turn.
    pub(in crate::disk) fn begin_read(
        &self,
        location: &Location,
        part: Range<usize>,
        turn: Option<&Arc<Turn>>,
    ) -> Result<Reading, Unread> {
        if location.lap == 0 || !self.is_there(location) {
            return Err(Unread::Gone);
        }
        let start = self.geometry.start_of(location.segment);
        let end = location.offset.saturating_add(u64::from(location.bytes));
        let is_inside = location.offset >= start && end <= start + self.geometry.segment_bytes;
        // A size class is up to a sixteenth more than the record.
        if !is_inside || location.bytes as usize > RECORD_BYTES_MAX / 16 * 17 + 1024 {
            return Err(Unread::Corrupt);
        }
        let at = location.offset + part.start as u64;
        let turns = self.turns.load(Ordering::Acquire);
        let delays = self.delays.load(Ordering::Relaxed);
        let pending = match turn {
            Some(turn) => {
                let turn = Arc::clone(turn);
                self.file.read_holding(at, part.len(), turn)
            }
            None => self.file.read(at, part.len()),
        };
        Ok(Reading {
            location: *location,
            turns,
            delays,
            pending,
        })
    }

    /// The header at the beginning of what was read of a record.
    pub(in crate::disk) fn header_in(
        &self,
        read: &Part,
        location: &Location,
    ) -> Result<Header, Unread> {
        let header = Header::decode(&read.bytes, self.identity, location.offset)
            .filter(|h| h.lap == location.lap && h.record_bytes() <= location.bytes as usize);
        match header {
            Some(header) => Ok(header),
            None if read.is_moving => Err(Unread::Gone),
            None => Err(self.corrupt()),
        }
    }
}
