//! The disk engine seen from outside: what survives the ring's turns, restarts, rot, and volumes that come and go.
//!
//! What the files of this directory share.

use std::path::Path;

use super::*;
use crate::test_support::{Bench, content, directory, name, read_body, response};

mod long;
mod model;
mod on_its_way;
mod ring;
mod rot;
mod variants;
mod volumes;

fn config(directory: &Path, volumes: &[&str]) -> CacheConfig {
    let volume = |name: &&str| VolumeConfig {
        path: directory.join(name),
        size: 18 << 20,
    };
    CacheConfig {
        data_dir: directory.join("data"),
        memory: 1 << 20,
        disk: volumes.iter().map(volume).collect(),
        max_object: 1 << 30,
        fill_unflushed: 8 << 20,
    }
}

async fn open(directory: &Path, volumes: &[&str]) -> Bench {
    let bench = Bench::open(config(directory, volumes));
    bench.cache.loaded().await;
    bench
}

async fn store(bench: &Bench, path: &str, version: u64, length: usize) {
    let head = response(&version.to_string(), &[], &[]);
    bench.store(path, head, content(version, length)).await;
}

/// The version that is found, with the right bytes.
async fn version(bench: &Bench, path: &str, length: usize) -> Option<u64> {
    let hit = bench.hit(path).await?;
    let version = name(&hit.response).parse().unwrap();
    let read = read_body(hit.body).await.unwrap();
    assert!(read == content(version, length), "{path}: wrong bytes");
    Some(version)
}

/// Writes half of what the volume holds, `times` times over, nothing of which is asked for once it is on disk.
async fn fill_up(bench: &Bench, tag: u64, times: u64) {
    for n in 0..75 * times {
        let path = format!("/{tag}/{n}");
        // What was asked for before is worth writing.
        for _ in 0..2 {
            store(bench, &path, n, 100_000).await;
        }
    }
    bench.flushed().await;
}

/// Where in a volume a piece of text stands.
fn places_of(volume: &Path, text: &[u8]) -> Vec<u64> {
    let bytes = std::fs::read(volume).unwrap();
    let found = bytes
        .windows(text.len())
        .enumerate()
        .filter(|(_, window)| *window == text);
    found.map(|(at, _)| at as u64).collect()
}
