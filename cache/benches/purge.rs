//! How long does a purge take, and how many are made durable in a second? On the file system of the build directory.
//!
//! `cargo bench -p jet9-cache --bench purge`. Prints figures for `docs/performance.md`, asserts nothing. A purge is a mark: it looks at no
//! stored response, so what is printed for an empty store holds for ten million. Its other half is the judgement of what was found, which
//! is measured with as many marks as a store keeps.
#![expect(
    clippy::disallowed_methods,
    reason = "a purge waits for a disk: the clock on the wall counts"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use jet9_cache::purge::{Mode, Purge, What};
use jet9_cache::{Cache, CacheConfig, Partition};

#[path = "support/mod.rs"]
mod support;

/// Purges of each kind, one after the other.
const ALONE: u32 = 200;
/// Purges at a time, and in all, for the rate.
const TOGETHER: u64 = 1024;
const ALL: u64 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", support::machine());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let config = CacheConfig {
        data_dir: directory.path().to_owned(),
        memory: 64 << 20,
        disk: Vec::new(),
        max_object: 1 << 20,
    };
    let cache = Cache::open(config, &prometheus::Registry::new())?;
    let site = cache.partition("site")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for (name, what) in [
        ("everything", None),
        ("a site", Some(What::All)),
        ("a URL", Some(What::Url(7))),
        ("a prefix", Some(What::Prefix(Box::from(&b"/news/"[..])))),
        ("a tag", Some(What::Tag("front".into()))),
    ] {
        let taken = runtime.block_on(alone(&cache, site, what))?;
        println!(
            "{name}: {:.0} µs until durable, alone",
            taken.as_secs_f64() * 1e6
        );
    }
    let taken = runtime.block_on(together(&cache, site))?;
    println!(
        "{TOGETHER} at a time: {:.0} k/s durable",
        ALL as f64 / taken.as_secs_f64() / 1e3
    );
    Ok(())
}

async fn alone(
    cache: &Cache,
    site: Partition,
    what: Option<What>,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    for _ in 0..ALONE {
        cache
            .purge(purge(
                what.as_ref().map(|_| site),
                what.clone().unwrap_or(What::All),
            ))
            .await?;
    }
    Ok(start.elapsed() / ALONE)
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
