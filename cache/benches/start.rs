//! How long does a store take to serve after its start, and how long until the index of ten million responses is there?
//!
//! `cargo bench -p jet9-cache --bench start`; `JET9_BENCH_DIR` names a directory on the disk in question. The volume is a file of 160 GB
//! without most of its blocks: superblocks, headers and footers are real and are read as ever, what they tell of is not there. Prints
//! figures for `docs/performance.md`, asserts nothing.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run may end so")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use jet9_cache::disk::VolumeConfig;
use jet9_cache::disk::sample;
use jet9_cache::{Cache, CacheConfig};

#[path = "support/mod.rs"]
mod support;

/// Records of a segment of 64 MiB, each of 16 KiB as the index expects them, and segments.
const RECORDS: u32 = 4096;
const SEGMENTS: u64 = 2442;
const VOLUME_BYTES: u64 = (1 << 20) + SEGMENTS * (64 << 20);
const ROUNDS: usize = 5;

fn main() {
    println!("{}", support::machine());
    let of_build = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let parent = std::env::var_os("JET9_BENCH_DIR").map_or(of_build, PathBuf::from);
    let directory = tempfile::tempdir_in(parent).unwrap();
    let volume = directory.path().join("disk");
    sample::make_room(&volume, VOLUME_BYTES).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let cache = open(directory.path());
        cache.loaded().await;
        cache.close().await;
    });
    let records = sample::forge(&volume, RECORDS, support::hash).unwrap();
    println!("{records} records");
    println!("| round | serving after | index complete after | memory |");
    println!("| --: | --: | --: | --: |");
    for round in 0..ROUNDS {
        runtime.block_on(start(directory.path(), round));
    }
}

fn open(directory: &Path) -> Arc<Cache> {
    let config = CacheConfig {
        data_dir: directory.join("data"),
        memory: 64 << 20,
        disk: vec![VolumeConfig {
            path: directory.join("disk"),
            size: VOLUME_BYTES,
        }],
        max_object: 1 << 30,
        fill_unflushed: 8 << 20,
    };
    Cache::open(config, &prometheus::Registry::new()).unwrap()
}

async fn start(directory: &Path, round: usize) {
    let began = Instant::now();
    let cache = open(directory);
    let serving = began.elapsed();
    cache.loaded().await;
    let loaded = began.elapsed();
    let memory = support::resident() >> 20;
    println!(
        "| {round} | {:.0} ms | {:.2} s | {memory} MiB |",
        serving.as_secs_f64() * 1e3,
        loaded.as_secs_f64()
    );
}
