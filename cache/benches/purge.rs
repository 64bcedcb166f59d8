//! How long does a purge take with nothing stored, and with ten million responses? And how many are made durable in a second?
//!
//! `cargo bench -p jet9-cache --bench purge`. Prints figures for `docs/performance.md`, asserts nothing. Purges of every kind, alone, in an
//! empty store and again in the same one when it is full: in memory, without content, as a disk's index would take gigabytes of disk to
//! fill. A purge looks at neither. On the file system of the build directory; what a purge waits for is its sync, whose time is printed,
//! too. Then many purges of single URLs at a time, while everything stored lives, and when it was all purged. Takes about 14 GiB of memory;
//! `JET9_BENCH_OBJECTS` says how many responses instead.
#![expect(
    clippy::disallowed_methods,
    reason = "a purge waits for a disk: the clock on the wall counts"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use jet9_cache::collapse::Collapse;
use jet9_cache::purge::{Mode, Purge, What};
use jet9_cache::semantics::vary::SelectingFields;
use jet9_cache::stored::Parts;
use jet9_cache::{Cache, CacheConfig, Partition, Scheme, StoredResponse};

#[path = "support/mod.rs"]
mod support;

/// Responses that are stored.
const OBJECTS: u64 = 10_000_000;
/// Purges of each kind, one after the other.
const ALONE: u32 = 200;
/// Purges at a time, and in all, for the rate.
const TOGETHER: u64 = 1024;
const ALL: u64 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let objects = std::env::var("JET9_BENCH_OBJECTS");
    let objects: u64 = objects.map_or(Ok(OBJECTS), |objects| objects.parse())?;
    println!("{}", support::machine());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let config = CacheConfig {
        data_dir: directory.path().to_owned(),
        memory: 64 << 30,
        disk: Vec::new(),
        max_object: 1 << 20,
        fill_unflushed: 8 << 20,
    };
    let cache = Cache::open(config, &prometheus::Registry::new())?;
    let sites = cache.partitions(&["purged", "full"])?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let empty = runtime.block_on(every_kind(&cache, sites[0]))?;
    let sync = sync_alone(directory.path())?;
    runtime.block_on(fill(&cache, sites[1], objects))?;
    println!(
        "a sync of 64 bytes: {} µs, then {} µs",
        sync.as_micros(),
        sync_alone(directory.path())?.as_micros()
    );
    let storm = |which: &str| -> Result<(), Box<dyn std::error::Error>> {
        let taken = runtime.block_on(together(&cache, sites[0]))?;
        println!(
            "{TOGETHER} at a time, {objects} responses {which}: {:.0} k/s durable",
            ALL as f64 / taken.as_secs_f64() / 1e3
        );
        Ok(())
    };
    storm("stored")?;
    let full = runtime.block_on(every_kind(&cache, sites[0]))?;
    for ((name, empty), (_, full)) in empty.iter().zip(&full) {
        println!(
            "{name}: durable after {} µs in an empty store, {} µs with {objects} responses",
            empty.as_micros(),
            full.as_micros()
        );
    }
    storm("that were all purged")?;
    Ok(())
}

/// Each kind of purge, and how long it takes until it is durable: the median.
async fn every_kind(
    cache: &Cache,
    site: Partition,
) -> Result<Vec<(&'static str, Duration)>, Box<dyn std::error::Error>> {
    let mut taken = Vec::new();
    for (name, what) in [
        ("a URL", Some(What::Url(7))),
        ("a prefix", Some(What::Prefix(Box::from(&b"/news/"[..])))),
        ("a tag", Some(What::Tag("front".into()))),
        ("a site", Some(What::All)),
        ("everything", None),
    ] {
        taken.push((name, alone(cache, site, what).await?));
    }
    Ok(taken)
}

/// What the disk takes for what every purge waits for.
fn sync_alone(directory: &Path) -> std::io::Result<Duration> {
    let file = File::create(directory.join("probe"))?;
    let mut taken = Vec::new();
    for n in 0..u64::from(ALONE) {
        let start = Instant::now();
        file.write_all_at(&[7; 64], n * 64)?;
        file.sync_data()?;
        taken.push(start.elapsed());
    }
    Ok(median(taken))
}

fn median(mut taken: Vec<Duration>) -> Duration {
    taken.sort_unstable();
    taken.get(taken.len() / 2).copied().unwrap_or_default()
}

/// Stores responses without content.
async fn fill(
    cache: &Arc<Cache>,
    site: Partition,
    objects: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let fields = HeaderMap::new();
    let host: Arc<str> = Arc::from("www.example.com");
    for n in 0..objects {
        let path = Bytes::from(format!("/{n:x}"));
        let key = cache
            .keys()
            .key(site, Scheme::Https, Arc::clone(&host), path);
        let Collapse::Lead(mut lead) = cache.collapse(&key, &SelectingFields::of(&fields), None)
        else {
            continue;
        };
        lead.sent();
        let head = StoredResponse::assemble(Parts::default()).map_err(|why| format!("{why:?}"))?;
        let (writer, filling) = lead.begin(head, 0, Some(0));
        drop(filling);
        writer.finish().await?;
    }
    Ok(())
}

async fn alone(
    cache: &Cache,
    site: Partition,
    what: Option<What>,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut taken = Vec::new();
    for _ in 0..ALONE {
        let partition = what.as_ref().map(|_| site);
        let purge = purge(partition, what.clone().unwrap_or(What::All));
        let start = Instant::now();
        cache.purge(purge).await?;
        taken.push(start.elapsed());
    }
    Ok(median(taken))
}

/// Many callers, each with its own URLs and the next purge as soon as the last is answered.
async fn together(
    cache: &Arc<Cache>,
    site: Partition,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..TOGETHER {
        let cache = Arc::clone(cache);
        callers.spawn(async move {
            for n in 0..ALL / TOGETHER {
                let url = What::Url(support::hash(caller << 32 | n));
                cache.purge(purge(Some(site), url)).await?;
            }
            Ok::<(), jet9_cache::purge::PurgeError>(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    Ok(start.elapsed())
}

fn purge(partition: Option<Partition>, what: What) -> Purge {
    Purge {
        partition,
        what: vec![what],
        mode: Mode::Hard,
    }
}
