//! The whole store against a bare ring on its own file: hits of short content, long content, and hits while it is filled.
//!
//! Every hit goes through the look-up, the index, the volume's queue, the ring's thread, the checksums and the head's decoding, and is
//! put into a memory tier that is too small to answer for it. The bare ring reads as many bytes from the same file, beside the store.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use jet9_cache::collapse::Collapse;
use jet9_cache::disk::VolumeConfig;
use jet9_cache::semantics::vary::SelectingFields;
use jet9_cache::store::{Body, Tier};
use jet9_cache::stored::{Parts, StoredResponse};
use jet9_cache::{Cache, CacheConfig, Key, Lookup, Partition, Scheme};
use tokio::runtime::Runtime;

use super::{
    BUSY_DEPTH, CALM_DEPTH, DEPTH, HIT_BYTES, MEMORIES, ROUNDS, WRITTEN_PER_SECOND, bare_hits,
    bare_pieces, is_wanted, median, quantiles, row, seconds,
};

/// Responses of [`HIT_BYTES`].
const HITS: u64 = 40_000;
/// Long content: how much, and how many of it.
const LONG_BYTES: usize = 64 << 20;
const LONG: u64 = 8;
/// What is filled while others read.
const FILLED_BYTES: usize = 256 << 10;
/// The volume: nothing is overwritten while it is measured.
const VOLUME_BYTES: u64 = 8 << 30;

struct Store {
    cache: Arc<Cache>,
    site: Partition,
    fields: HeaderMap,
    registry: prometheus::Registry,
    misses: AtomicU64,
}

/// Prints the tables.
pub(crate) fn measure(directory: &Path) {
    let runtime = runtime();
    let store = Arc::new(runtime.block_on(filled(directory)));
    let volume = directory.join("disk/jet9.volume");
    println!(
        "| the whole store | bare ring | … in large pages | store | store / bare | … / large pages |"
    );
    println!("| --- | --: | --: | --: | --: | --: |");
    let depths = [BUSY_DEPTH, DEPTH, 1];
    for depth in depths.into_iter().filter(|_| is_wanted("store-hits")) {
        let rounds = (0..ROUNDS as u64).map(|round| {
            let seed = 7 + 1000 * round;
            let bare = MEMORIES.map(|memory| bare_hits(&volume, memory, depth, seed, HITS_END));
            (bare, [hits(&store, depth, seed + 2).1])
        });
        row(
            &format!("hits of 16 KiB a second, {depth} at once"),
            &rounds.collect::<Vec<_>>(),
        );
    }
    if is_wanted("store-long") {
        let rounds = (0..ROUNDS).map(|_| {
            let bare = MEMORIES.map(|memory| bare_pieces(&volume, memory, LONG_RANGE));
            (bare, [long(&store)])
        });
        let rounds: Vec<_> = rounds.collect();
        row("long content, MiB a second, 1 reader", &rounds);
    }
    println!();
    if is_wanted("store-beside") {
        beside_fills(&store);
    }
    store.tell_failures();
    runtime.block_on(store.cache.close());
}

/// Where the responses end on the volume, about.
const HITS_END: u64 = HITS * HIT_BYTES as u64;
/// Where the long content is, about.
const LONG_RANGE: Range<u64> = HITS_END..HITS_END + LONG * LONG_BYTES as u64;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A store with everything on disk.
async fn filled(directory: &Path) -> Store {
    let store = Store::open(directory);
    for n in 0..HITS {
        store
            .fill(&store.key("hit", n), content(n, HIT_BYTES))
            .await;
    }
    for n in 0..LONG {
        store
            .fill(&store.key("long", n), content(n, LONG_BYTES))
            .await;
    }
    store.cache.close().await;
    drop(store);
    let store = Store::open(directory);
    store.cache.loaded().await;
    store
}

impl Store {
    fn open(directory: &Path) -> Self {
        let volume = VolumeConfig {
            path: directory.join("disk"),
            size: VOLUME_BYTES,
        };
        let config = CacheConfig {
            data_dir: directory.join("data"),
            memory: 8 << 20,
            disk: vec![volume],
            max_object: 1 << 30,
            fill_unflushed: 8 << 20,
        };
        let registry = prometheus::Registry::new();
        let cache = Cache::open(config, &registry).unwrap();
        let site = cache.partition("site").unwrap();
        Self {
            cache,
            site,
            fields: HeaderMap::new(),
            registry,
            misses: AtomicU64::new(0),
        }
    }

    fn key(&self, kind: &str, n: u64) -> Key {
        let path = Bytes::from(format!("/{kind}/{n}"));
        let keys = self.cache.keys();
        keys.key(self.site, Scheme::Https, Arc::from("example.com"), path)
    }

    async fn fill(&self, key: &Key, content: Bytes) {
        let selecting = SelectingFields::of(&self.fields);
        let Collapse::Lead(mut lead) = self.cache.collapse(key, &selecting, None) else {
            return;
        };
        lead.sent();
        let head = StoredResponse::assemble(Parts::default()).unwrap();
        let (mut writer, filling) = lead.begin(head, 0, Some(content.len() as u64));
        drop(filling);
        for at in (0..content.len()).step_by(64 << 10) {
            let end = content.len().min(at + (64 << 10));
            writer.write(content.slice(at..end)).await.unwrap();
        }
        writer.finish().await.unwrap();
    }

    /// Whatever was not as expected: with it the figures are not worth much.
    fn tell_failures(&self) {
        println!();
        println!("Misses: {}", self.misses.load(Ordering::Relaxed));
        for family in self.registry.gather() {
            let is_failure = ["errors", "refused"]
                .iter()
                .any(|word| family.name().contains(word));
            for metric in family.get_metric().iter().filter(|_| is_failure) {
                let labels = metric.get_label().iter().map(|label| label.value());
                let labels: Vec<&str> = labels.collect();
                let count = metric.get_counter().get_value();
                println!("{} {}: {count}", family.name(), labels.join(" "));
            }
        }
    }

    /// What is stored, and whether it came from disk.
    async fn find(&self, key: &Key) -> Option<(Body, Tier)> {
        let selecting = SelectingFields::of(&self.fields);
        match self.cache.lookup(key, &selecting).await {
            Lookup::Hit(hit) => Some((hit.body, hit.tier)),
            Lookup::Miss | Lookup::VaryMiss => None,
        }
    }
}

fn content(n: u64, length: usize) -> Bytes {
    let word = (n | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    word.repeat(length / word.len()).into()
}

/// How long each of the hits took that `depth` tasks got, and hits from disk a second.
fn hits(store: &Arc<Store>, depth: usize, seed: u64) -> (Vec<Duration>, f64) {
    let runtime = runtime();
    let keys: Arc<[Key]> = (0..HITS).map(|n| store.key("hit", n)).collect();
    let (began, limit) = (Instant::now(), seconds());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..depth as u64 {
        let (store, keys) = (Arc::clone(store), Arc::clone(&keys));
        let mut state = (seed + task + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let reads = async move {
            let mut all = Vec::new();
            while began.elapsed() < limit {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let key = &keys[(state % HITS) as usize];
                let asked = Instant::now();
                let found = store.find(key).await;
                match found {
                    Some((Body::Whole(content), Tier::Disk)) => {
                        assert_eq!(content.len(), HIT_BYTES);
                        all.push(asked.elapsed());
                    }
                    Some(_) => {}
                    None => _ = store.misses.fetch_add(1, Ordering::Relaxed),
                }
            }
            all
        };
        tasks.spawn_on(reads, runtime.handle());
    }
    let all = runtime.block_on(tasks.join_all()).concat();
    let rate = all.len() as f64 / began.elapsed().as_secs_f64();
    (all, rate)
}

/// MiB a second of one reader of long content.
fn long(store: &Store) -> f64 {
    let (began, limit) = (Instant::now(), seconds());
    let mut bytes = 0;
    runtime().block_on(async {
        for n in (0..LONG).cycle() {
            let found = store.find(&store.key("long", n)).await;
            let Some((Body::Stream(mut reader), _)) = found else {
                unreachable!("{n} is not there");
            };
            while let Some(part) = reader.next().await.unwrap() {
                bytes += part.len();
            }
            if began.elapsed() >= limit {
                break;
            }
        }
    });
    bytes as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64()
}

/// Fills at a steady pace until told to stop; gives MiB a second.
fn fill_steadily(store: &Store, stop: &AtomicBool, next: &AtomicU64) -> f64 {
    let began = Instant::now();
    let content = content(3, FILLED_BYTES);
    let mut written = 0_u64;
    runtime().block_on(async {
        while !stop.load(Ordering::Relaxed) {
            let key = store.key("fill", next.fetch_add(1, Ordering::Relaxed));
            store.fill(&key, content.clone()).await;
            written += FILLED_BYTES as u64;
            let due = Duration::from_secs_f64(written as f64 / WRITTEN_PER_SECOND as f64);
            tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
        }
    });
    written as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64()
}

fn beside_fills(store: &Arc<Store>) {
    println!(
        "| 16 KiB hits of the whole store, {CALM_DEPTH} at once | p50 | p99 | p99 / read-only |"
    );
    println!("| --- | --: | --: | --: |");
    let next = AtomicU64::new(0);
    let (mut alone, mut beside, mut ratios, mut rates) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS as u64 {
        let of_alone = quantiles(hits(store, CALM_DEPTH, 100 * round).0);
        let stop = AtomicBool::new(false);
        let (of_beside, rate) = std::thread::scope(|scope| {
            let filler = scope.spawn(|| fill_steadily(store, &stop, &next));
            let all = hits(store, CALM_DEPTH, 77 + 100 * round).0;
            stop.store(true, Ordering::Relaxed);
            (quantiles(all), filler.join().unwrap())
        });
        alone.push(of_alone);
        beside.push(of_beside);
        ratios.push(of_beside[1] / of_alone[1]);
        rates.push(rate);
    }
    let column = |all: &[[f64; 2]], n: usize| median(all.iter().map(|pair| pair[n]).collect());
    let (of50, of99) = (column(&alone, 0), column(&alone, 1));
    println!("| read-only | {of50:.0} µs | {of99:.0} µs | 1 |");
    let (of50, of99) = (column(&beside, 0), column(&beside, 1));
    let (rate, ratio) = (median(rates), median(ratios));
    println!("| beside fills of {rate:.0} MiB/s | {of50:.0} µs | {of99:.0} µs | {ratio:.2} |");
}
