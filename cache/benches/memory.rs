//! What does a stored response take in memory besides its key, its head and its content? A million of them in a store without a disk.
//!
//! `cargo bench -p jet9-cache --bench memory`. Prints figures for `docs/performance.md`, asserts nothing. Memory is what the process has
//! resident: what the allocator adds is counted. The key and the head are measured by making a million of them alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jet9_cache::collapse::Collapse;
use jet9_cache::semantics::vary::SelectingFields;
use jet9_cache::stored::{Parts, Times};
use jet9_cache::{Cache, CacheConfig, Key, Partition, Scheme, StoredResponse, Timestamp};

#[path = "support/mod.rs"]
mod support;

use support::CpuTime;

const RESPONSES: u64 = 1_000_000;
/// Content of each, in bytes.
const CONTENT: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}, {RESPONSES} responses", support::machine());
    let directory = tempfile::tempdir()?;
    let config = CacheConfig {
        data_dir: directory.path().to_owned(),
        memory: 8 << 30,
        disk: Vec::new(),
        max_object: 1 << 20,
        fill_unflushed: 8 << 20,
    };
    let registry = prometheus::Registry::new();
    let cache = Cache::open(config, &registry)?;
    let site = cache.partition("site")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let before = support::resident();
    runtime.block_on(fill(&cache, site))?;
    let stored = (support::resident() - before) as f64 / RESPONSES as f64;
    let alone = keys_and_heads(&cache, site);
    let content = CONTENT as f64;
    println!(
        "a stored response: {stored:.0} bytes; key and head alone: {alone:.0}; content: {content:.0}"
    );
    println!(
        "overhead: {:.0} bytes; weighed: {:.0} bytes",
        stored - alone - content,
        weighed(&registry) / RESPONSES as f64
    );
    look_up(&cache, site);
    Ok(())
}

/// Bytes that the store believes to take.
fn weighed(registry: &prometheus::Registry) -> f64 {
    let families = registry.gather();
    let bytes = families
        .iter()
        .find(|family| family.name() == "jet9_cache_stored_bytes");
    let metrics = bytes.map(|family| family.get_metric()).unwrap_or_default();
    metrics
        .iter()
        .map(|metric| metric.get_gauge().get_value())
        .sum()
}

/// Bytes of a key and a head.
fn keys_and_heads(cache: &Cache, site: Partition) -> f64 {
    let before = support::resident();
    let all: Vec<_> = (0..RESPONSES)
        .map(|n| (key(cache, site, n).to_kept(), Arc::new(head())))
        .collect();
    let bytes = support::resident() - before;
    drop(all);
    bytes as f64 / RESPONSES as f64
}

fn key(cache: &Cache, site: Partition, n: u64) -> Key {
    let path = Bytes::from(format!("/images/{n:012}.webp"));
    cache
        .keys()
        .key(site, Scheme::Https, Arc::from("www.example.com"), path)
}

/// A head as a picture has it.
fn head() -> StoredResponse {
    let fields: HeaderMap = [
        ("content-type", "image/webp"),
        ("etag", "\"5f3c-61a2b3c4d5e6f\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("cache-control", "public, max-age=31536000"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ]
    .into_iter()
    .map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    })
    .collect();
    let now = Timestamp::from_unix_seconds(1);
    let times = Times {
        request_time: now,
        response_time: now,
        initial_age: Duration::ZERO,
        lifetime: Duration::from_secs(60),
    };
    StoredResponse::assemble(Parts {
        fields,
        times,
        ..Parts::default()
    })
    .expect("a good head")
}

async fn fill(cache: &Arc<Cache>, site: Partition) -> Result<(), Box<dyn std::error::Error>> {
    let fields = HeaderMap::new();
    for n in 0..RESPONSES {
        let key = key(cache, site, n);
        let selecting = SelectingFields::of(&fields);
        let Collapse::Lead(mut lead) = cache.collapse(&key, &selecting, None) else {
            continue;
        };
        lead.sent();
        let (mut writer, filling) = lead.begin(head(), 0, Some(CONTENT as u64));
        drop(filling);
        writer.write(Bytes::from(vec![n as u8; CONTENT])).await?;
        writer.finish().await?;
    }
    Ok(())
}

fn look_up(cache: &Cache, site: Partition) {
    let fields = HeaderMap::new();
    let keys: Vec<Key> = (0..RESPONSES)
        .step_by(7)
        .map(|n| key(cache, site, n))
        .collect();
    let start = CpuTime::now();
    let hits = keys
        .iter()
        .filter(|key| {
            cache
                .lookup_memory(key, &SelectingFields::of(&fields))
                .is_some()
        })
        .count();
    let rate = hits as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!(
        "hits in memory: {rate:.2} M/s a core, {hits} of {}",
        keys.len()
    );
}
