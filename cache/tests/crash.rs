//! The store after `kill -9`: a child fills, replaces and purges, and is killed at a random moment; the next one must find it right.
//!
//! The test runs itself as the child. The child writes what was answered to a file of its own, one line at a time, so that the parent
//! knows at least what the store had promised. Checked: no purge that was answered is undone, no bytes are wrong, no version is older
//! than one that had been on disk for longer than the flush time, and hits survive.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use jet9_cache::collapse::{Collapse, Followed};
use jet9_cache::disk::VolumeConfig;
use jet9_cache::purge::{Mode, Purge, What};
use jet9_cache::semantics::vary::SelectingFields;
use jet9_cache::store::Body;
use jet9_cache::stored::Parts;
use jet9_cache::{Cache, CacheConfig, Key, Lookup, Partition, Scheme, StoredResponse};

const CHILD: &str = "JET9_CRASH_CHILD";
const SEED: &str = "JET9_SEED";
const KEYS: u64 = 40;
/// Rounds in the ordinary run; `JET9_CRASH_ROUNDS` asks for more.
const ROUNDS: u64 = 50;
/// In one of so many rounds the child rests for a while.
const RESTS: u64 = 12;
/// More than there are in a round.
const STEPS_MAX: u64 = 1_000_000;
/// At this step.
const REST_AT: u64 = 30;
/// How long: the flush time is half a second, and a machine that is busy may be late.
const REST: Duration = Duration::from_millis(1_500);

fn config(directory: &Path) -> CacheConfig {
    let volume = VolumeConfig {
        path: directory.join("disk"),
        size: 24 << 20,
    };
    CacheConfig {
        data_dir: directory.join("data"),
        memory: 8 << 20,
        disk: vec![volume],
        max_object: 1 << 30,
        fill_unflushed: 8 << 20,
    }
}

struct Store {
    cache: Arc<Cache>,
    site: Partition,
    fields: HeaderMap,
}

impl Store {
    async fn open(directory: &Path) -> Self {
        let cache = Cache::open(config(directory), &prometheus::Registry::new()).unwrap();
        cache.loaded().await;
        let site = cache.partition("site").unwrap();
        Self {
            cache,
            site,
            fields: HeaderMap::new(),
        }
    }

    fn key(&self, n: u64) -> Key {
        let path = Bytes::from(format!("/{n}"));
        self.cache
            .keys()
            .key(self.site, Scheme::Https, Arc::from("example.com"), path)
    }

    async fn lookup(&self, n: u64) -> Option<(u64, Body)> {
        let selecting = SelectingFields::of(&self.fields);
        let Lookup::Hit(hit) = self.cache.lookup(&self.key(n), &selecting).await else {
            return None;
        };
        let version = hit.response.fields["x-version"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        Some((version, hit.body))
    }

    async fn store(&self, n: u64, version: u64) {
        let selecting = SelectingFields::of(&self.fields);
        let key = self.key(n);
        let seen = self
            .cache
            .lookup_memory(&key, &selecting)
            .map(|hit| hit.handle);
        let mut lead = match self.cache.collapse(&key, &selecting, seen.as_ref()) {
            Collapse::Lead(lead) => lead,
            Collapse::Follow(follower) => {
                assert!(matches!(follower.outcome().await, Followed::LookAgain));
                return;
            }
        };
        lead.sent();
        let mut fields = HeaderMap::new();
        fields.insert("x-version", HeaderValue::from(version));
        let head = StoredResponse::assemble(Parts {
            fields,
            tags: Box::new([tag(n)]),
            ..Parts::default()
        })
        .unwrap();
        let body = content(n, version);
        let (mut writer, filling) = lead.begin(head, 0, Some(body.len() as u64));
        drop(filling);
        writer.write(body).await.unwrap();
        writer.finish().await.unwrap();
    }

    async fn purge(&self, n: u64) {
        let what = match n % 10 {
            9 => What::Prefix(format!("/{n}").into_bytes().into()),
            8 => What::Tag(tag(n)),
            _ => What::Url(self.key(n).url()),
        };
        let purge = Purge {
            partition: Some(self.site),
            what: vec![what],
            mode: Mode::Hard,
        };
        self.cache.purge(purge).await.unwrap();
    }
}

fn tag(n: u64) -> Box<str> {
    format!("tag-{n}").into()
}

/// Bytes that differ by key, version and, every 4 KiB, by position.
fn content(n: u64, version: u64) -> Bytes {
    let length = [100, 5_000, 300_000, 1_500_000][(n % 4) as usize];
    let mut random = Random(n << 32 | version | 1);
    let block: Vec<u8> = (0..512).flat_map(|_| random.next().to_le_bytes()).collect();
    let mut bytes = Vec::with_capacity(length + block.len());
    while bytes.len() < length {
        let start = bytes.len();
        bytes.extend_from_slice(&block);
        bytes[start..start + 8].copy_from_slice(&start.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Not a test of its own: what the killed process does.
#[test]
fn child() {
    let Ok(directory) = std::env::var(CHILD) else {
        return;
    };
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work(PathBuf::from(directory), seed));
}

async fn work(directory: PathBuf, seed: u64) {
    let store = Store::open(&directory).await;
    let log = directory.join("log");
    let mut log = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(log)
        .unwrap();
    let mut random = Random(seed << 20 | 1);
    println!("ready");
    for step in 0.. {
        if rests(seed) && step == REST_AT {
            // The promise is about time: whatever was stored is on disk by then.
            tokio::time::sleep(REST).await;
            log.write_all(format!("flushed {seed}\n").as_bytes())
                .unwrap();
        }
        let n = random.next() % KEYS;
        let version = seed * STEPS_MAX + step;
        // One write a line: a kill must not tear it. What may be there from now on is said before, what is no more is said after.
        if random.next().is_multiple_of(4) {
            store.purge(n).await;
            log.write_all(format!("purged {n}\n").as_bytes()).unwrap();
        } else {
            let line = format!("stores {n} {version}\n");
            log.write_all(line.as_bytes()).unwrap();
            store.store(n, version).await;
        }
    }
}

/// Whether the child rests in a round.
const fn rests(seed: u64) -> bool {
    seed % RESTS == 1
}

/// The versions that each key may have.
fn allowed(log: &Path) -> HashMap<u64, Vec<u64>> {
    let mut allowed: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut text = String::new();
    std::fs::File::open(log)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "flushed" {
            // Newer ones may come to the disk at any time, older ones never. What an earlier round stored last may have been lost with it.
            let seed: u64 = words[1].parse().unwrap();
            for versions in allowed.values_mut() {
                let newest = versions.iter().max().copied();
                if newest.is_some_and(|newest| newest / STEPS_MAX == seed) {
                    versions.retain(|version| Some(*version) == newest);
                }
            }
            continue;
        }
        let key = words[1].parse().unwrap();
        let versions = allowed.entry(key).or_default();
        match words[0] {
            "purged" => versions.clear(),
            // Whatever was found after a restart had been on disk: nothing older may come after it. What is newer was lost at the kill.
            "found" => {
                let found: u64 = words[2].parse().unwrap();
                versions.retain(|version| *version == found);
            }
            _ => versions.push(words[2].parse().unwrap()),
        }
    }
    allowed
}

fn run_and_kill(directory: &Path, seed: u64, lines: u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(CHILD, directory)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    while out.next().unwrap().unwrap() != "ready" {}
    // The moment of the kill is told by the child's own progress: no clock.
    let log = directory.join("log");
    let count =
        || std::fs::read(&log).map_or(0, |text| text.iter().filter(|b| **b == b'\n').count());
    let start = count() as u64;
    while (count() as u64) < start + lines {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the child ended by itself"
        );
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn verify(directory: &Path, seed: u64) -> u64 {
    let allowed = allowed(&directory.join("log"));
    let log = directory.join("log");
    let mut log = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    let store = Store::open(directory).await;
    let mut hits = 0;
    for n in 0..KEYS {
        let Some((version, body)) = store.lookup(n).await else {
            continue;
        };
        let versions = allowed.get(&n).cloned().unwrap_or_default();
        assert!(
            versions.contains(&version),
            "seed {seed}: /{n} is version {version} of {versions:?}"
        );
        let read = match body {
            Body::Whole(bytes) => bytes,
            Body::Stream(mut reader) => {
                let mut all = Vec::new();
                while let Some(piece) = reader.next().await.unwrap() {
                    all.extend_from_slice(&piece);
                }
                all.into()
            }
        };
        assert!(
            read == content(n, version),
            "seed {seed}: /{n} has wrong bytes"
        );
        writeln!(log, "found {n} {version}").unwrap();
        hits += 1;
    }
    hits
}

#[test]
fn kill_minus_nine_undoes_no_purge_and_corrupts_nothing() {
    if std::env::var(CHILD).is_ok() {
        return;
    }
    let rounds = std::env::var("JET9_CRASH_ROUNDS").map_or(ROUNDS, |n| n.parse().unwrap());
    // A killed process leaves what it wrote to the kernel, wherever that keeps it: in memory a sync costs nothing.
    let directory = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut hits = 0;
    for seed in 1..=rounds {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9));
        let least = if rests(seed) { REST_AT + 2 } else { 0 };
        run_and_kill(directory.path(), seed, least + random.next() % 150);
        hits += runtime.block_on(verify(directory.path(), seed));
    }
    assert!(hits > rounds, "hits survive: {hits} in {rounds} rounds");
}
