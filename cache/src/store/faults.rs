//! The store on files that fail: every single operation once, everything from some operation on, bytes changed behind its back.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::device::faulty::{Fault, FaultyFiles};
use crate::fill::FillError;
use crate::purge::{Mode, What};
use crate::test_support::{Bench, content, directory, name, read_body, response};

const LENGTHS: [usize; 4] = [10, 70_000, 300_000, (2 << 20) + 1];

fn config(directory: &Path) -> CacheConfig {
    let volume = VolumeConfig {
        path: directory.join("disk"),
        size: 18 << 20,
    };
    CacheConfig {
        data_dir: directory.join("data"),
        memory: 4 << 20,
        disk: vec![volume],
        max_object: 1 << 30,
    }
}

fn path(n: usize) -> String {
    format!("/{n}")
}

/// What is stored must be one of the versions that were stored, byte by byte; with `at_least` the older ones are wrong, too.
async fn check_stored(bench: &Bench, n: usize, versions: std::ops::RangeInclusive<u64>) -> bool {
    let Some(hit) = bench.hit(&path(n)).await else {
        return false;
    };
    let version: u64 = name(&hit.response).parse().unwrap();
    assert!(
        versions.contains(&version),
        "{n}: version {version}, not {versions:?}"
    );
    // A transfer that breaks is no wrong answer.
    if let Ok(read) = read_body(hit.body).await {
        assert!(read == content(version, LENGTHS[n]), "{n}: wrong bytes");
    }
    true
}

async fn store_all(bench: &Bench, version: u64) {
    for (n, length) in LENGTHS.into_iter().enumerate() {
        let head = response(&version.to_string(), &[], &[]);
        match bench
            .try_store(&path(n), head, content(version, length))
            .await
        {
            // What the disk did not take and nobody reads is given up.
            Ok(()) | Err(FillError::TooLarge) => {}
            Err(error) => panic!("{n}: {error}"),
        }
    }
    bench.flushed().await;
}

/// Two sessions on failing files with a purge between two versions; then one on good files. Gives the operations counted.
async fn check_faults(fault: Fault, from: u64, many: u64) -> u64 {
    let place = directory();
    let config = config(place.path());
    let files = Arc::new(FaultyFiles::new(fault, from, many));
    let opener: Arc<dyn Opener> = files.clone();
    let mut oldest = 1;
    for session in 0..2 {
        let registry = prometheus::Registry::new();
        let Ok(cache) = Cache::open_on(&config, &registry, &opener) else {
            continue;
        };
        let Ok(site) = cache.partition("site") else {
            continue;
        };
        let bench = Bench {
            cache,
            site,
            fields: http::HeaderMap::new(),
        };
        bench.cache.loaded().await;
        for n in 0..LENGTHS.len() {
            check_stored(&bench, n, oldest..=2).await;
        }
        store_all(&bench, session + 1).await;
        for n in 0..LENGTHS.len() {
            check_stored(&bench, n, oldest.max(session + 1)..=2).await;
        }
        let what = vec![What::All];
        let purge = Purge {
            partition: Some(site),
            what,
            mode: Mode::Hard,
        };
        if session == 0 && bench.cache.purge(purge).await.is_ok() {
            oldest = 2;
            for n in 0..LENGTHS.len() {
                assert!(!check_stored(&bench, n, 2..=2).await, "purged");
            }
        }
        bench.cache.close().await;
    }
    let bench = Bench::open(config);
    bench.cache.loaded().await;
    for n in 0..LENGTHS.len() {
        check_stored(&bench, n, oldest..=2).await;
    }
    store_all(&bench, 3).await;
    for n in 0..LENGTHS.len() {
        assert!(check_stored(&bench, n, 3..=3).await);
    }
    files.count()
}

const KINDS: [Fault; 6] = [
    Fault::Error,
    Fault::Half,
    Fault::Flip,
    Fault::NoSpace,
    Fault::Short,
    Fault::Delay(Duration::from_millis(20)),
];

/// Every operation fails in one way; with `JET9_LONG` in every way.
#[tokio::test]
async fn whichever_operation_fails_nothing_wrong_is_served_and_no_purge_is_undone() {
    let all = check_faults(Fault::Error, u64::MAX, 0).await;
    assert!(all > 40, "{all}");
    let is_long = std::env::var_os("JET9_LONG").is_some();
    for n in 0..all {
        for (kind, fault) in KINDS.into_iter().enumerate() {
            if is_long || n % KINDS.len() as u64 == kind as u64 {
                check_faults(fault, n, 1).await;
            }
        }
    }
}

#[tokio::test]
async fn files_that_fail_for_good_leave_a_store_in_memory() {
    for n in (0..60).step_by(7) {
        check_faults(Fault::Error, n, u64::MAX).await;
        check_faults(Fault::Half, n, 5).await;
    }
}

/// A closed store's files after two versions were stored.
async fn two_versions() -> tempfile::TempDir {
    let place = directory();
    for version in 1..=2 {
        let bench = Bench::open(config(place.path()));
        bench.cache.loaded().await;
        store_all(&bench, version).await;
        bench.cache.close().await;
    }
    place
}

fn copy(from: &Path, to: &Path) {
    for file in ["data/purge.journal", "disk/jet9.volume"] {
        std::fs::create_dir_all(to.join(file).parent().unwrap()).unwrap();
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

#[test]
fn a_changed_volume_never_gives_wrong_bytes() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let original = runtime.block_on(two_versions());
    let used = 2 << 20_u64;
    let changes = prop::collection::vec((0_u64..used * 6, any::<[u8; 8]>()), 1..20);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    let result = runner.run(&changes, |changes| {
        let place = directory();
        copy(original.path(), place.path());
        let volume = place.path().join("disk/jet9.volume");
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(volume)
            .unwrap();
        for (offset, bytes) in changes {
            // Half of the changes hit superblocks and the first records.
            let offset = if offset % 2 == 0 {
                offset
            } else {
                (1 << 20) + offset % 4096
            };
            file.write_all_at(&bytes, offset).unwrap();
        }
        runtime.block_on(async {
            let bench = Bench::open(config(place.path()));
            bench.cache.loaded().await;
            for n in 0..LENGTHS.len() {
                check_stored(&bench, n, 1..=2).await;
            }
        });
        Ok(())
    });
    result.unwrap();
}

#[tokio::test]
async fn a_volume_cut_anywhere_opens_and_gives_nothing_wrong() {
    let original = two_versions().await;
    for length in [
        0,
        1,
        4096,
        5000,
        1 << 20,
        (1 << 20) + 100,
        2 << 20,
        (3 << 20) + 7,
    ] {
        let place = directory();
        copy(original.path(), place.path());
        let volume = place.path().join("disk/jet9.volume");
        std::fs::OpenOptions::new()
            .write(true)
            .open(&volume)
            .unwrap()
            .set_len(length)
            .unwrap();
        let bench = Bench::open(config(place.path()));
        bench.cache.loaded().await;
        for n in 0..LENGTHS.len() {
            check_stored(&bench, n, 1..=2).await;
        }
    }
}

#[tokio::test]
async fn files_copied_at_any_moment_open_and_give_nothing_wrong() {
    let place = directory();
    let bench = Bench::open(config(place.path()));
    for version in 1..=12 {
        for (n, length) in LENGTHS.into_iter().enumerate() {
            let head = response(&version.to_string(), &[], &[]);
            bench.store(&path(n), head, content(version, length)).await;
        }
        let copied = directory();
        copy(place.path(), copied.path());
        let again = Bench::open(config(copied.path()));
        again.cache.loaded().await;
        for n in 0..LENGTHS.len() {
            check_stored(&again, n, 1..=version).await;
        }
    }
}
