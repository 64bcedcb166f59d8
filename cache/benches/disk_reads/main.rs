//! How much of what a device gives reaches the store: reads through a volume's file, against a bare ring on the same file in the same run.
//!
//! `cargo bench -p jet9-cache --bench disk_reads`; `JET9_BENCH_DIR` names a directory on the disk in question, `JET9_BENCH_SECONDS` the
//! length of each measurement, and words after `--` choose among [`MEASUREMENTS`]. Prints a table and asserts nothing: machines differ and
//! are shared.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run may end so")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jet9_cache::io::baseline::{self, Memory};
use jet9_cache::io::{BLOCK, Backend, Options, VolumeFile, Want};
use jet9_cache::metrics::Metrics;

mod store;
#[path = "../support/mod.rs"]
mod support;

/// The file: longer than the caches of most disks would make pointless, short enough to write in seconds.
const FILE_BYTES: u64 = 1 << 30;
const HIT_BYTES: usize = 16 << 10;
const PIECE_BYTES: usize = 1 << 20;
/// Hits at once of a node with much to do: more than a ring has under way.
const BUSY_DEPTH: usize = 96;
/// Hits at once.
const DEPTH: usize = 32;
/// Hits at once while somebody writes: a disk at its limit has no latency worth the name.
const CALM_DEPTH: usize = 4;
/// What a reader of large content keeps: the piece that it sends, and the next.
const AHEAD: usize = 2;
const WRITTEN_PER_SECOND: u64 = 100 << 20;
const WRITTEN_PER_SYNC: u64 = 64 << 20;
/// Measurements of each kind, in turn; the median is told.
const ROUNDS: usize = 5;

/// What a bare ring reads into: the measure that every reader can be held against, and a harder one, the store's own memory.
const MEMORIES: [Memory; 2] = [Memory::Ordinary, Memory::LargePages];

/// What can be left out.
const MEASUREMENTS: [&str; 5] = [
    "file",
    "store-hits",
    "store-long",
    "store-beside",
    "file-beside",
];

fn main() {
    let directory = directory();
    println!("{}", support::machine());
    if is_wanted("file") || is_wanted("file-beside") {
        measure_file(&directory.path().join("jet9.volume"));
    }
    if MEASUREMENTS
        .iter()
        .any(|name| name.starts_with("store") && is_wanted(name))
    {
        store::measure(&directory.path().join("store"));
    }
}

/// Whether a measurement was named, or none was.
fn is_wanted(measurement: &str) -> bool {
    let mut names = std::env::args()
        .skip(1)
        .filter(|name| !name.starts_with('-'))
        .peekable();
    names.peek().is_none() || names.any(|name| name == measurement)
}

fn measure_file(path: &Path) {
    fill(path);
    if is_wanted("file") {
        hits_and_pieces(path);
    }
    if is_wanted("file-beside") {
        println!("| 16 KiB hits, 4 at once | p50 | p99 | p99 / read-only |");
        println!("| --- | --: | --: | --: |");
        beside_writes(path);
        println!();
    }
}

fn hits_and_pieces(path: &Path) {
    println!(
        "| reads | bare ring | … in large pages | io_uring | threads | io_uring / bare | … / large pages | threads / bare | … / large pages |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: | --: | --: |");
    hits(path, DEPTH);
    hits(path, 1);
    pieces(path);
    println!();
}

fn directory() -> tempfile::TempDir {
    let of_build = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let parent = std::env::var_os("JET9_BENCH_DIR").map_or(of_build, PathBuf::from);
    tempfile::tempdir_in(parent).unwrap()
}

fn seconds() -> Duration {
    let seconds = std::env::var("JET9_BENCH_SECONDS").ok();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(2.0))
}

fn open(path: &Path, want: Want) -> Arc<VolumeFile> {
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let options = Options {
        want,
        ..Options::default()
    };
    Arc::new(VolumeFile::open(path, &metrics, options).unwrap())
}

fn fill(path: &Path) {
    let file = open(path, Want::Best);
    file.resize(FILE_BYTES).unwrap();
    println!("{} over {}", file.mode().as_str(), file.backend().as_str());
    for n in 0..FILE_BYTES / PIECE_BYTES as u64 {
        let mut unit = file.unit(PIECE_BYTES);
        let pattern = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        while unit.append(&pattern) > 0 {}
        file.write(n * PIECE_BYTES as u64, unit).wait().unwrap();
    }
    file.sync().wait().unwrap();
}

/// Places of records, which begin at multiples of 512.
fn places(seed: u64) -> impl Iterator<Item = u64> {
    places_in(seed, FILE_BYTES)
}

fn places_in(mut seed: u64, end: u64) -> impl Iterator<Item = u64> {
    std::iter::repeat_with(move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % ((end - HIT_BYTES as u64) / 512) * 512
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Hits a second from a bare ring, from so much of a file.
fn bare_hits(path: &Path, memory: Memory, depth: usize, seed: u64, end: u64) -> f64 {
    let (began, limit) = (Instant::now(), seconds());
    let mut count = 0_u64;
    let places = places_in(seed, end).take_while(|_| began.elapsed() < limit);
    baseline::read(path, memory, HIT_BYTES, depth, places, || count += 1).unwrap();
    count as f64 / began.elapsed().as_secs_f64()
}

/// How long each of the hits took that `depth` tasks got in turn from a volume's file.
fn latencies(file: &Arc<VolumeFile>, depth: usize, seed: u64) -> (Vec<Duration>, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (began, limit) = (Instant::now(), seconds());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..depth {
        let file = Arc::clone(file);
        let mut places = places(seed + 1 + task as u64);
        let reads = async move {
            let mut all = Vec::new();
            while began.elapsed() < limit {
                let asked = Instant::now();
                let place = places.next().unwrap();
                file.read(place, HIT_BYTES).done().await.unwrap();
                all.push(asked.elapsed());
            }
            all
        };
        tasks.spawn_on(reads, runtime.handle());
    }
    let all = runtime.block_on(tasks.join_all()).concat();
    let rate = all.len() as f64 / began.elapsed().as_secs_f64();
    (all, rate)
}

fn hits(path: &Path, depth: usize) {
    let seeds = (0..ROUNDS as u64).map(|round| 7 + 1000 * round);
    let rounds = seeds.map(|seed| {
        let bare = MEMORIES.map(|memory| bare_hits(path, memory, depth, seed, FILE_BYTES));
        let of_file = |want| latencies(&open(path, want), depth, seed).1;
        (bare, [of_file(Want::Best), of_file(Want::Threads)])
    });
    let rounds: Vec<_> = rounds.collect();
    row(
        &format!("hits of 16 KiB a second, {depth} at once"),
        &rounds,
    );
}

/// The figures of one round: of bare rings over both [`MEMORIES`], and of what is measured beside them.
type Round<const N: usize> = ([f64; 2], [f64; N]);

/// Medians of the figures, and of their ratios to both bare rings.
fn row<const N: usize>(what: &str, rounds: &[Round<N>]) {
    let of = |figure: &dyn Fn(&Round<N>) -> f64| median(rounds.iter().map(figure).collect());
    let bare = (0..2).map(|m| format!("{:.0}", of(&|round| round.0[m])));
    let measured = (0..N).map(|n| format!("{:.0}", of(&|round| round.1[n])));
    let ratios =
        (0..N).flat_map(|n| [0, 1].map(|m| format!("{:.2}", of(&|round| round.1[n] / round.0[m]))));
    let cells: Vec<String> = bare.chain(measured).chain(ratios).collect();
    println!("| {what} | {} |", cells.join(" | "));
}

/// MiB a second of one reader of large content.
fn pieces_of(file: &VolumeFile) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (began, limit) = (Instant::now(), seconds());
    let mut offsets = (0..FILE_BYTES).step_by(PIECE_BYTES).cycle();
    let mut bytes = 0;
    runtime.block_on(async {
        let mut ahead = std::collections::VecDeque::new();
        while began.elapsed() < limit {
            while ahead.len() < AHEAD {
                ahead.push_back(file.read(offsets.next().unwrap(), PIECE_BYTES));
            }
            bytes += ahead.pop_front().unwrap().done().await.unwrap().len();
        }
    });
    bytes as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64()
}

/// MiB a second of a bare ring that reads `range` in pieces, over and over.
fn bare_pieces(path: &Path, memory: Memory, range: Range<u64>) -> f64 {
    let (began, limit) = (Instant::now(), seconds());
    let offsets = range.step_by(PIECE_BYTES).cycle();
    let offsets = offsets.take_while(|_| began.elapsed() < limit);
    let bytes = baseline::read(path, memory, PIECE_BYTES, AHEAD, offsets, || ()).unwrap();
    bytes as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64()
}

fn pieces(path: &Path) {
    let rounds = (0..ROUNDS).map(|_| {
        let bare = MEMORIES.map(|memory| bare_pieces(path, memory, 0..FILE_BYTES));
        let of_file = |want| pieces_of(&open(path, want));
        (bare, [of_file(Want::Best), of_file(Want::Threads)])
    });
    let rounds: Vec<_> = rounds.collect();
    row("large content, MiB a second, 1 reader", &rounds);
}

/// Writes whole pieces one after the other, at a steady pace, until told to stop; gives MiB a second.
fn write_steadily(file: &VolumeFile, stop: &AtomicBool) -> f64 {
    let began = Instant::now();
    let mut written = 0_u64;
    let mut unit = file.unit(PIECE_BYTES);
    while unit.append(&[7; BLOCK]) > 0 {}
    while !stop.load(Ordering::Relaxed) {
        unit = file.write(written % FILE_BYTES, unit).wait().unwrap();
        written += PIECE_BYTES as u64;
        if written.is_multiple_of(WRITTEN_PER_SYNC) {
            file.sync().wait().unwrap();
        }
        let due = Duration::from_secs_f64(written as f64 / WRITTEN_PER_SECOND as f64);
        std::thread::park_timeout(due.saturating_sub(began.elapsed()));
    }
    written as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64()
}

/// Quantiles of a measurement in microseconds: the 50th and the 99th.
fn quantiles(mut all: Vec<Duration>) -> [f64; 2] {
    all.sort_unstable();
    [50, 99].map(|percent| all[all.len() * percent / 100].as_secs_f64() * 1e6)
}

fn beside_writes(path: &Path) {
    for want in [Want::Best, Want::Threads] {
        let file = open(path, want);
        let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut written = Vec::new();
        for round in 0..ROUNDS as u64 {
            let [alone50, alone99] = quantiles(latencies(&file, CALM_DEPTH, 100 * round).0);
            let stop = AtomicBool::new(false);
            let ([beside50, beside99], rate) = std::thread::scope(|scope| {
                let writer = scope.spawn(|| write_steadily(&file, &stop));
                let all = latencies(&file, CALM_DEPTH, 77 + 100 * round).0;
                stop.store(true, Ordering::Relaxed);
                (quantiles(all), writer.join().unwrap())
            });
            alone.push((alone50, alone99));
            beside.push((beside50, beside99));
            ratios.push(beside99 / alone99);
            written.push(rate);
        }
        let backend = match file.backend() {
            Backend::Uring => "io_uring",
            Backend::Threads => "threads",
        };
        let (of50, of99): (Vec<_>, Vec<_>) = alone.into_iter().unzip();
        println!(
            "| {backend}, read-only | {:.0} µs | {:.0} µs | 1 |",
            median(of50),
            median(of99)
        );
        let (of50, of99): (Vec<_>, Vec<_>) = beside.into_iter().unzip();
        println!(
            "| {backend}, beside {:.0} MiB/s of writes | {:.0} µs | {:.0} µs | {:.2} |",
            median(written),
            median(of50),
            median(of99),
            median(ratios)
        );
    }
}
