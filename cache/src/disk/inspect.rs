//! What is in a volume, by site and age, and is all of it as it was written?
//!
//! Called by `jet9 cache inspect` and `verify` on a volume's directory or file, while the edge is stopped or runs: it only reads, and what
//! is being written meanwhile may look torn. Counts records, not what the index would find: versions that were replaced, and what was
//! purged, are counted until their segment is reused. Knows partitions by number: their names are hashed in the journal.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::device::{Device, open_to_read};
use crate::key::KeyHasher;
use crate::time::Timestamp;

use super::footer::Entry;
use super::record::{Header, Kind, Meta};
use super::recovery::{Source, entries_of, header_of, seal_of};
use super::segment::Geometry;
use super::superblock::{Emptied, Superblock};
use super::volume;

/// Ages that responses are counted by: up to so many seconds since they were received; the last is for all that are older.
pub const AGES: [u64; 5] = [60, 3_600, 86_400, 604_800, u64::MAX];

/// How closely a volume is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Heads of responses are read.
    Heads,
    /// Everything is read, and every checksum checked.
    Everything,
}

/// What is in a volume.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Segments of the volume.
    pub segments: u32,
    /// Segments that hold something, and of these those that have a footer.
    pub used: u32,
    /// Sealed segments.
    pub sealed: u32,
    /// The newest lap.
    pub last_lap: u64,
    /// What each partition has.
    pub partitions: BTreeMap<u32, Share>,
    /// Bytes of pieces of long content.
    pub piece_bytes: u64,
    /// Pieces of long content.
    pub pieces: u64,
    /// Records that are not as they were written.
    pub unreadable: u64,
    /// What else is wrong, in sentences.
    pub problems: Vec<String>,
}

/// What a partition has in a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Head records.
    pub responses: u64,
    /// Their bytes, content within them included.
    pub bytes: u64,
    /// Responses by [`AGES`].
    pub by_age: [u64; AGES.len()],
}

/// A volume cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The file cannot be read.
    #[error("the volume cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is no volume, or of another version.
    #[error("this is no volume that is known here: {0}")]
    Superblock(String),
}

struct File {
    device: Arc<dyn Device>,
    superblock: Superblock,
}

impl Source for File {
    fn identity(&self) -> u128 {
        self.superblock.identity
    }

    fn geometry(&self) -> Geometry {
        self.superblock.geometry
    }

    fn bytes_at(&self, offset: u64, bytes: u64) -> io::Result<Bytes> {
        read(&*self.device, offset, bytes)
    }
}

fn read(device: &dyn Device, offset: u64, bytes: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    device.read_at(&mut buffer, offset)?;
    Ok(buffer.into())
}

/// Looks at the volume in a directory, or at the file itself; `now` is what ages are counted to.
///
/// # Errors
/// When it cannot be read at all; what is damaged in it is in the report.
pub fn inspect(path: &Path, depth: Depth, now: Timestamp) -> Result<Report, InspectError> {
    let path = if path.is_dir() {
        path.join(volume::FILE)
    } else {
        path.to_owned()
    };
    let device = open_to_read(&path)?;
    let superblock = Superblock::read(|offset, bytes| read(&*device, offset, bytes))
        .map_err(|why: Emptied| InspectError::Superblock(why.to_string()))?;
    let file = File { device, superblock };
    let geometry = file.geometry();
    // A superblock that was made up must not cost more than the file has.
    if !geometry.is_plausible() {
        return Err(InspectError::Superblock(
            "its division is impossible".into(),
        ));
    }
    if file.device.length()? < geometry.file_bytes() {
        return Err(InspectError::Superblock("it is cut off".into()));
    }
    let mut report = Report {
        segment_bytes: geometry.segment_bytes,
        segments: geometry.segments,
        ..Report::default()
    };
    for segment in 0..geometry.segments {
        report.take_segment(&file, segment, depth, now);
    }
    if report.last_lap < file.superblock.last_lap {
        report
            .problems
            .push("the newest segment cannot be read".into());
    }
    Ok(report)
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.unreadable == 0 && self.problems.is_empty()
    }

    fn take_segment(&mut self, file: &File, segment: u32, depth: Depth, now: Timestamp) {
        let seal = seal_of(file, segment);
        let header = header_of(file, segment).map(|header| header.lap);
        let Some(lap) = header.or_else(|| seal.map(|seal| seal.lap)) else {
            return;
        };
        self.used += 1;
        self.sealed += u32::from(seal.is_some_and(|seal| seal.lap == lap));
        self.last_lap = self.last_lap.max(lap);
        match entries_of(file, segment, lap) {
            Ok(entries) => {
                for entry in &entries {
                    self.take_record(file, segment, lap, entry, depth, now);
                }
            }
            Err(why) => self.problems.push(format!("segment {segment}: {why}")),
        }
    }

    fn take_record(
        &mut self,
        file: &File,
        segment: u32,
        lap: u64,
        entry: &Entry,
        depth: Depth,
        now: Timestamp,
    ) {
        let bytes = u64::from(entry.bytes);
        let offset = file.geometry().start_of(segment) + entry.within();
        let is_read = depth == Depth::Everything || entry.kind == Kind::Head;
        let record = is_read.then(|| read_record(file, offset, lap, entry));
        match (entry.kind, record) {
            (_, Some(None)) => self.unreadable += 1,
            (Kind::Head, Some(Some((header, meta)))) => {
                let age = age_of(&header, &meta, now);
                let share = self.partitions.entry(entry.partition.0).or_default();
                share.responses += 1;
                share.bytes += bytes;
                let class = AGES.iter().position(|most| age <= *most);
                share.by_age[class.unwrap_or(AGES.len() - 1)] += 1;
            }
            (Kind::Chunk, _) => {
                self.pieces += 1;
                self.piece_bytes += bytes;
            }
            (Kind::Head | Kind::Mark, _) => {}
        }
    }
}

/// A record's header and what describes it, if all of it is as it was written.
fn read_record(file: &File, offset: u64, lap: u64, entry: &Entry) -> Option<(Header, Vec<u8>)> {
    let record = file.bytes_at(offset, entry.bytes.into()).ok()?;
    let header = Header::decode(&record, file.identity(), offset)?;
    let is_it = header.lap == lap
        && header.record_bytes() == record.len()
        && (header.facts.primary, header.facts.kind) == (entry.primary, entry.kind);
    let meta = header.meta(&record).filter(|_| is_it)?.to_vec();
    header.content(&record)?;
    Some((header, meta))
}

/// How long ago a response was received, in seconds; as old as can be when it does not say.
fn age_of(header: &Header, meta: &[u8], now: Timestamp) -> u64 {
    // Keys are hashed with a secret that is not here; only the times are of interest.
    let keys = KeyHasher::new([0; 16]);
    let meta = Meta::decode(meta, header.facts.partition, &keys);
    meta.map_or(u64::MAX, |meta| {
        now.since(meta.response.times.response_time).as_secs()
    })
}
