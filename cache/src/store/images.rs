//! The store on volumes and journals that somebody forged: any field has any value, and every checksum fits.
//!
//! Checksums keep accidents out; here they are made right again, so that what is behind them is tried: lengths, counts, offsets, numbers.
//! Where structures lie is found by their checksums, without knowing their layout. What must hold: the store opens, answers, and takes new
//! responses; nothing panics, hangs or asks for memory without bound. What a forger may make it say is not the question: nobody else
//! writes to a volume.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::power::{LENGTHS, Run, config, open, path, recorded};
use super::*;
use crate::device::simulated::{Loss, Simulated};
use crate::test_support::{Bench, content, name, read_body, response};

/// Where structures begin on a volume, and in a journal.
const STEPS: [usize; 2] = [512, 64];
/// No structure's checksum is farther from its beginning.
const FAR: usize = 2048;
/// How long opening may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A structure with a checksum.
#[derive(Clone, Debug)]
struct Found {
    file: PathBuf,
    offset: u64,
    check: Check,
}

/// Which bytes of a structure its checksum is of, and where it is.
#[derive(Clone, Copy, Debug)]
enum Check {
    /// At this place, of everything before it.
    After(usize, Seed),
    /// In its second word, of the first and everything from the third up to this place.
    Second(usize, Seed),
    /// In its first word, of everything from the second up to this place.
    First(usize, Seed),
}

/// What a checksum begins with: nothing, or whose structure it is.
type Seed = Option<[u8; 16]>;

impl Check {
    const fn end(self) -> usize {
        match self {
            Self::After(at, _) => at + 4,
            Self::Second(end, _) | Self::First(end, _) => end,
        }
    }

    fn forge(self, bytes: &mut [u8]) {
        let (at, seed) = match self {
            Self::After(at, seed) => (at, seed),
            Self::Second(_, seed) => (4, seed),
            Self::First(_, seed) => (0, seed),
        };
        let start = seed.map_or(0, |seed| crc32c::crc32c(&seed));
        let crc = match self {
            Self::After(at, _) => crc32c::crc32c_append(start, &bytes[..at]),
            Self::Second(end, _) => {
                let first = crc32c::crc32c_append(start, &bytes[..4]);
                crc32c::crc32c_append(first, &bytes[8..end])
            }
            Self::First(end, _) => crc32c::crc32c_append(start, &bytes[4..end]),
        };
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// The checksum of a structure that begins here, if one does.
fn check_of(bytes: &[u8], seeds: &[Seed]) -> Option<Check> {
    let word = |at: usize| -> Option<u32> {
        let word = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(word.try_into().ok()?))
    };
    for &seed in seeds {
        let start = seed.map_or(0, |seed| crc32c::crc32c(&seed));
        let mut after = start;
        let mut second = crc32c::crc32c_append(start, bytes.get(..4)?);
        let mut first = start;
        for at in (0..bytes.len().min(FAR)).step_by(4) {
            if at >= 20 && word(at) == Some(after) {
                return Some(Check::After(at, seed));
            }
            let next = bytes.get(at..at + 4)?;
            after = crc32c::crc32c_append(after, next);
            if at >= 4 {
                first = crc32c::crc32c_append(first, next);
            }
            if at >= 8 {
                second = crc32c::crc32c_append(second, next);
            }
            if at + 4 == 64 && word(0) == Some(first) {
                return Some(Check::First(64, seed));
            }
            if at >= 20 && word(4) == Some(second) {
                return Some(Check::Second(at + 4, seed));
            }
        }
    }
    None
}

fn read(disk: &Simulated, file: &Path) -> Vec<u8> {
    let device = disk.open(file).unwrap();
    let mut bytes = vec![0; usize::try_from(device.length().unwrap()).unwrap()];
    device.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// Every structure of a disk.
fn structures(run: &Run, disk: &Simulated) -> Vec<Found> {
    let config = config(run.directory.path());
    let volume = config.disk[0].path.join("jet9.volume");
    let journal = config.data_dir.join("purge.journal");
    let mut all = Vec::new();
    let places = [(volume, 16..32), (journal, 32..48)];
    for ((file, identity), step) in places.into_iter().zip(STEPS) {
        let bytes = read(disk, &file);
        let identity: [u8; 16] = bytes[identity].try_into().unwrap();
        for at in (0..bytes.len()).step_by(step) {
            let from = &bytes[at..];
            if from[..64] == [0; 64] {
                continue;
            }
            if let Some(check) = check_of(from, &[None, Some(identity)]) {
                let (file, offset) = (file.clone(), at as u64);
                all.push(Found {
                    file,
                    offset,
                    check,
                });
            }
        }
    }
    all
}

/// One field of one structure.
#[derive(Clone, Debug)]
struct Forgery {
    structure: prop::sample::Index,
    at: prop::sample::Index,
    value: Vec<u8>,
}

fn forgery() -> impl Strategy<Value = Forgery> {
    let value = prop_oneof![
        Just(u32::MAX.to_le_bytes().to_vec()),
        Just(u64::MAX.to_le_bytes().to_vec()),
        Just(vec![0; 8]),
        any::<[u8; 8]>().prop_map(|bytes| bytes.to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
        // Counts and lengths that are almost right.
        (0_u32..70_000).prop_map(|count| count.to_le_bytes().to_vec()),
    ];
    (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        value,
    )
        .prop_map(|(structure, at, value)| Forgery {
            structure,
            at,
            value,
        })
}

fn forge(disk: &Simulated, structures: &[Found], forgery: &Forgery) {
    let found = forgery.structure.get(structures);
    let device = disk.open(&found.file).unwrap();
    let mut bytes = vec![0; found.check.end()];
    device.read_at(&mut bytes, found.offset).unwrap();
    // Fields begin at multiples of four.
    let at = forgery.at.index(bytes.len() / 4) * 4;
    for (place, value) in bytes[at..].iter_mut().zip(&forgery.value) {
        *place = *value;
    }
    found.check.forge(&mut bytes);
    device.write_at(&bytes, found.offset).unwrap();
}

/// Opens a disk, asks for everything, stores everything anew, and asks again.
async fn use_it(run: &Run, disk: &Simulated) {
    let bench = open(run.directory.path(), disk).await;
    ask(&bench).await;
    for (n, length) in LENGTHS.into_iter().enumerate() {
        let head = response("99", &[], &[]);
        // What has no place, because everything seems to be newer, is given up.
        let _ = bench.try_store(&path(n), head, content(99, length)).await;
    }
    bench.flushed().await;
    ask(&bench).await;
    bench.cache.close().await;
}

async fn ask(bench: &Bench) {
    for n in 0..LENGTHS.len() {
        let Some(hit) = bench.hit(&path(n)).await else {
            continue;
        };
        let version: u64 = name(&hit.response).parse().unwrap();
        if let Ok(body) = read_body(hit.body).await {
            let is_exact = |&length: &usize| body == content(version, length);
            assert!(LENGTHS.iter().any(is_exact), "bytes that nobody stored");
        }
    }
}

#[test]
fn a_forged_volume_or_journal_opens_and_serves() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let run = runtime.block_on(recorded(1));
    let points = run.disk.crash_points();
    let last = points.last().unwrap();
    let structures = structures(&run, &last.disk(Loss::Nothing));
    // Two superblocks, two journal's records at least, and what was stored.
    assert!(structures.len() > 20, "{structures:?}");
    let is_long = std::env::var_os("JET9_LONG").is_some();
    let cases = if is_long { 10_000 } else { 200 };
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        max_shrink_iters: 20,
        ..ProptestConfig::with_cases(cases)
    });
    let forgeries = prop::collection::vec(forgery(), 1..4);
    let result = runner.run(&forgeries, |forgeries| {
        let disk = last.disk(Loss::Nothing);
        for forgery in &forgeries {
            forge(&disk, &structures, forgery);
        }
        let using = async { tokio::time::timeout(PATIENCE, use_it(&run, &disk)).await };
        let done = runtime.block_on(using);
        prop_assert!(done.is_ok(), "it hangs");
        Ok(())
    });
    result.unwrap();
}
