//! Puts what the footers list into the index, oldest lap first, as fast as the disk and the processors allow.
//!
//! One thread reads footers ahead and decodes them; several put entries in, each those of its own keys: so the order of one key's records
//! is kept, which is all that counts. While a segment is taken in it cannot be reused.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use log::info;

use crate::io::Pending;
use crate::purge::{Purges, Tick};

use super::super::footer::Entry;
use super::super::peers;
use super::super::record::{Header, Kind, Meta};
use super::super::superblock::{Emptied, Peer};
use super::super::volume::Volume;
use super::{Source, TAIL_BYTES, entries_by};

/// Ends of segments that are read ahead: 2 MiB.
const TAILS_AHEAD: usize = 8;
/// Threads that put entries in: more would wait for memory.
const THREADS_MAX: usize = 4;
/// Records whose places in the index are touched together, before any is put in: their cache misses overlap, which halves the time.
const WARMED_TOGETHER: usize = 32;
/// Segments below which one thread does it all.
const SEGMENTS_MIN: usize = 64;

/// How much of a volume was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum Loaded {
    All,
    /// Newer versions of what was loaded may be missing: nothing of it may be served.
    InPart,
}

/// Puts everything that was written up to a lap into the index. Stops when `closing`.
///
/// # Errors
/// When what is there cannot be believed.
pub(in crate::disk) fn load(
    volume: &Volume,
    last_lap: u64,
    closing: &AtomicBool,
) -> Result<Loaded, Emptied> {
    let laps = laps(volume, last_lap);
    let threads = match std::thread::available_parallelism() {
        Ok(processors) if laps.len() >= SEGMENTS_MIN => processors.get().min(THREADS_MAX),
        _ => 1,
    };
    let loaded = load_with(threads, volume, &laps, closing)?;
    if loaded == Loaded::All {
        let records = volume.catalog.len();
        let path = volume.path().display();
        info!("{path}: {records} stored responses found");
    }
    Ok(loaded)
}

fn load_with(
    threads: usize,
    volume: &Volume,
    laps: &[(u64, u32)],
    closing: &AtomicBool,
) -> Result<Loaded, Emptied> {
    let intake = Intake {
        volume,
        now: volume.shared.purges.now(),
        peers: volume.peers(),
    };
    std::thread::scope(|scope| {
        let mut crew = Crew::default();
        // One thread does it all, or this one reads and the others put in.
        for number in 0..if threads > 1 { threads } else { 0 } {
            let (sender, batches) = mpsc::channel::<Arc<Batch>>();
            let (told, done) = mpsc::channel();
            crew.helpers.push((sender, done));
            let intake = &intake;
            scope.spawn(move || {
                for batch in batches {
                    if told.send(intake.take(&batch, number, threads)).is_err() {
                        return;
                    }
                }
            });
        }
        intake.take_all(laps, closing, &crew)
    })
}

/// The laps that segments are in, oldest first.
fn laps(volume: &Volume, last: u64) -> Vec<(u64, u32)> {
    let mut laps: Vec<(u64, u32)> = (0..)
        .zip(&volume.segments)
        .map(|(number, segment)| (segment.lap(), number))
        .filter(|(lap, _)| (1..=last).contains(lap))
        .collect();
    laps.sort_unstable();
    laps
}

/// The records of one lap of one segment.
struct Batch {
    segment: u32,
    lap: u64,
    entries: Vec<Entry>,
}

/// The threads that put in, and where each tells that it is done.
#[derive(Default)]
struct Crew {
    helpers: Vec<Helper>,
}

type Helper = (
    mpsc::Sender<Arc<Batch>>,
    mpsc::Receiver<Result<(), Emptied>>,
);

impl Crew {
    fn begin(&self, batch: &Arc<Batch>) {
        for (helper, _) in &self.helpers {
            // One that is gone is missed when it should have told that it is done.
            let _ = helper.send(Arc::clone(batch));
        }
    }

    fn finish(&self) -> Result<(), Emptied> {
        let mut all = Ok(());
        for (_, done) in &self.helpers {
            match done.recv() {
                Ok(one) => all = all.and(one),
                // A helper that panicked has taken nothing in for sure.
                Err(_) => all = Err(Emptied::Gap),
            }
        }
        all
    }
}

/// What entries are judged by, and where they go.
struct Intake<'a> {
    volume: &'a Volume,
    now: Tick,
    peers: Vec<Peer>,
}

impl Intake<'_> {
    fn take_all(
        &self,
        laps: &[(u64, u32)],
        closing: &AtomicBool,
        crew: &Crew,
    ) -> Result<Loaded, Emptied> {
        let mut batches = self.batches(laps);
        let mut next = batches.next();
        while let Some(batch) = next {
            let batch = Arc::new(batch?);
            if closing.load(Ordering::Acquire) {
                return Ok(Loaded::InPart);
            }
            // Either the segment is still in this lap, and stays so, or nothing of it counts.
            let _reuse = self.volume.hold_reuse();
            let is_there = self.volume.segments[batch.segment as usize].lap() == batch.lap;
            if is_there {
                crew.begin(&batch);
            }
            if is_there && crew.helpers.is_empty() {
                self.take(&batch, 0, 1)?;
            }
            // While the others are at it.
            next = batches.next();
            if is_there {
                crew.finish()?;
            }
        }
        Ok(Loaded::All)
    }

    /// What the segments hold, read ahead.
    fn batches<'b>(
        &'b self,
        laps: &'b [(u64, u32)],
    ) -> impl Iterator<Item = Result<Batch, Emptied>> + 'b {
        let mut rest = laps.iter().map(|&lap| (lap, self.begin(lap.1)));
        let mut ahead: VecDeque<_> = rest.by_ref().take(TAILS_AHEAD).collect();
        std::iter::from_fn(move || {
            let ((lap, segment), pending) = ahead.pop_front()?;
            ahead.extend(rest.next());
            let tail = self.volume.noted(pending.wait()).ok();
            let entries = entries_by(self.volume, segment, lap, tail);
            Some(entries.map(|entries| Batch {
                segment,
                lap,
                entries,
            }))
        })
    }

    fn begin(&self, segment: u32) -> Pending<Bytes> {
        let start = self.volume.geometry.end_of(segment) - TAIL_BYTES;
        self.volume.file.read_patiently(start, TAIL_BYTES as usize)
    }

    /// Takes in the entries whose keys are those of thread `number` of `threads`.
    fn take(&self, batch: &Batch, number: usize, threads: usize) -> Result<(), Emptied> {
        let is_mine = |entry: &&Entry| (entry.primary >> 32) as usize % threads == number;
        let mine: Vec<&Entry> = batch.entries.iter().filter(is_mine).collect();
        for some in mine.chunks(WARMED_TOGETHER) {
            let catalog = &self.volume.catalog;
            catalog.warm(some.iter().map(|entry| entry.filed()));
            for entry in some {
                if entry.birth > self.now {
                    return Err(Emptied::Future);
                }
                if entry.kind == Kind::Head && self.is_own(entry.primary, batch.lap) {
                    load_entry(self.volume, batch.segment, entry);
                }
                if entry.kind == Kind::Chunk {
                    let bytes = entry.bytes.into();
                    self.volume
                        .take_piece(batch.segment, entry.partition, bytes);
                }
            }
        }
        Ok(())
    }

    /// Of a key that another volume would have had, what was written before that one joined may be old.
    fn is_own(&self, primary: u128, lap: u64) -> bool {
        peers::is_own(self.volume.name, &self.peers, primary, lap)
    }
}

fn load_entry(volume: &Volume, segment: u32, entry: &Entry) {
    let purges = &volume.shared.purges;
    let offset = volume.geometry.start_of(segment) + entry.within();
    let slot = Volume::slot_of(offset, entry.bytes.into(), entry.partition, entry.birth);
    let Some(slot) = slot else { return };
    if !volume.catalog.knows(entry.partition, entry.vary) {
        learn(volume, offset, entry, purges);
    }
    volume.catalog.load(entry.filed(), &slot);
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

#[cfg(test)]
mod tests {
    use super::super::super::index::slot::Address;
    use super::super::super::variants::Filed;
    use super::super::super::{Disk, sample};
    use crate::device::{Opener, RealFiles};
    use crate::disk::VolumeConfig;
    use crate::metrics::Metrics;
    use crate::test_support::directory;

    use super::*;

    /// More segments than one thread takes in alone.
    const SEGMENTS: u64 = 70;
    const SEGMENT_BYTES: u64 = 64 << 20;
    const RECORDS: u32 = 100;
    /// Fewer than there are records: each has some.
    const KEYS: u64 = 3_000;

    fn primary(n: u64) -> u128 {
        u128::from((n % KEYS + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) * 0x1_0000_0001_0000_0001
    }

    async fn opened(place: &std::path::Path, config: &VolumeConfig) -> Disk {
        let files: Arc<dyn Opener> = Arc::new(RealFiles);
        let metrics = Metrics::unregistered().unwrap();
        let purges = Purges::open(place, Arc::clone(&files), metrics.clone());
        let purges = Arc::new(purges.unwrap());
        let configs = std::slice::from_ref(config);
        let disk = Disk::open(configs, purges.session() + 1, &purges, &files, &metrics);
        let disk = disk.unwrap();
        disk.loaded().await;
        disk
    }

    #[tokio::test]
    async fn several_threads_find_the_newest_record_of_every_key() {
        let place = directory();
        let config = VolumeConfig {
            path: place.path().join("disk"),
            size: (1 << 20) + SEGMENTS * SEGMENT_BYTES,
        };
        sample::make_room(&config.path, config.size).unwrap();
        drop(opened(place.path(), &config).await);
        let all = sample::forge(&config.path, RECORDS, primary).unwrap();
        assert_eq!(all, SEGMENTS * u64::from(RECORDS));
        let disk = opened(place.path(), &config).await;
        let mount = disk.mount_of(0).unwrap();
        let (catalog, geometry) = (&mount.volume().catalog, mount.volume().geometry);
        assert_eq!(catalog.len(), KEYS);
        for n in all - KEYS..all {
            let (segment, number) = (n / u64::from(RECORDS), n % u64::from(RECORDS));
            let within = sample::within(geometry, RECORDS, number as u32);
            let at = geometry.start_of(segment as u32) + within;
            let filed = Filed {
                primary: primary(n),
                variant: 0,
            };
            let found = catalog.present(filed, Address::of_offset(at).unwrap());
            assert!(found.is_some(), "{n}");
        }
    }
}
