//! The store on files that fail: every single operation once, everything from some operation on, bytes changed behind its back.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::device::RealFilesWith;
use crate::device::faulty::{Fault, FaultyFiles};
use crate::fill::FillError;
use crate::io::{Backend, Limits, Options, Want};
use crate::purge::{Mode, What};
use crate::test_support::{Bench, content, directory, in_service, name, read_body, response};

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
        fill_unflushed: 8 << 20,
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

/// Little patience.
fn impatient() -> Options {
    Options {
        limits: Limits {
            read_deadline: Duration::from_millis(20),
            write_deadline: Duration::from_millis(20),
            ..Limits::default()
        },
        ..Options::default()
    }
}

/// Two sessions on failing files with a purge between two versions; then one on good files. Gives the operations counted.
async fn check_faults(fault: Fault, from: u64, many: u64) -> u64 {
    check_faults_with(Options::default(), fault, from, many).await
}

async fn check_faults_with(options: Options, fault: Fault, from: u64, many: u64) -> u64 {
    let place = directory();
    let config = config(place.path());
    let files = Arc::new(FaultyFiles::new(fault, from, many).with(options));
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

/// The last one is later than its caller waits.
fn kinds() -> [(Fault, Options); 7] {
    let patient = Options::default();
    [
        (Fault::Error, patient),
        (Fault::Half, patient),
        (Fault::Flip, patient),
        (Fault::NoSpace, patient),
        (Fault::Short, patient),
        (Fault::Delay(Duration::from_millis(20)), patient),
        (Fault::Delay(Duration::from_millis(60)), impatient()),
    ]
}

/// Every operation fails in one way; with `JET9_LONG` in every way.
#[tokio::test]
async fn whichever_operation_fails_nothing_wrong_is_served_and_no_purge_is_undone() {
    let all = check_faults(Fault::Error, u64::MAX, 0).await;
    assert!(all > 40, "{all}");
    let is_long = std::env::var_os("JET9_LONG").is_some();
    for n in 0..all {
        for (kind, (fault, options)) in kinds().into_iter().enumerate() {
            if is_long || n % 7 == kind as u64 {
                check_faults_with(options, fault, n, 1).await;
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

async fn open_on(config: &CacheConfig, files: Arc<dyn Opener>) -> (Bench, Metrics) {
    let registry = prometheus::Registry::new();
    let cache = Cache::open_on(config, &registry, &files).unwrap();
    cache.loaded().await;
    let site = cache.partition("site").unwrap();
    let metrics = cache.metrics.clone();
    let fields = http::HeaderMap::new();
    let bench = Bench {
        cache,
        site,
        fields,
    };
    (bench, metrics)
}

#[tokio::test]
async fn a_volume_that_failed_comes_back_empty_after_its_minute() {
    let place = directory();
    let config = config(place.path());
    let files = Arc::new(FaultyFiles::new(Fault::Error, u64::MAX, 0));
    let (bench, metrics) = open_on(&config, files.clone()).await;
    store_all(&bench, 1).await;
    in_service(&metrics, 1).await;
    files.fail_next(u64::MAX);
    for version in 2..20 {
        for (n, length) in LENGTHS.into_iter().enumerate() {
            let head = response(&version.to_string(), &[], &[]);
            let body = content(version, length);
            let _ = bench.try_store(&path(n), head, body).await;
        }
        bench.flushed().await;
    }
    in_service(&metrics, 0).await;
    // It is tried again, and fails; nor could anything note that it had failed.
    bench.cache.pass_minute();
    let refused = metrics.disk_errors.with_label_values(&["open"]);
    let is_tried = async {
        while refused.get() < 2 {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, is_tried).await.unwrap();
    files.fail_next(0);
    bench.cache.pass_minute();
    in_service(&metrics, 1).await;
    bench.cache.loaded().await;
    for n in 0..LENGTHS.len() {
        check_stored(&bench, n, 2..=19).await;
    }
    store_all(&bench, 20).await;
    bench.cache.close().await;
    drop(bench);
    let (bench, _) = open_on(&config, files).await;
    for n in 0..LENGTHS.len() {
        assert!(check_stored(&bench, n, 20..=20).await, "{n}");
    }
}

/// The volume and the journal are on a device that hangs: whoever finds out that the volume fails does not wait until that is noted.
#[test]
fn a_device_that_hangs_holds_no_request_up() {
    let place = directory();
    let config = config(place.path());
    let files = FaultyFiles::new(Fault::Delay(Duration::MAX), u64::MAX, 0).with(impatient());
    let files = Arc::new(files);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (bench, _) = runtime.block_on(open_on(&config, files.clone()));
    let paths: Vec<String> = (0..10).map(path).collect();
    runtime.block_on(async {
        for path in &paths {
            let head = response("1", &[], &[]);
            let _ = bench.try_store(path, head, content(1, 1_000)).await;
        }
        bench.flushed().await;
    });
    bench.cache.forget_memory();
    files.fail_next(u64::MAX);
    let (told, ended) = std::sync::mpsc::channel();
    let asking = std::thread::spawn(move || {
        runtime.block_on(async {
            for path in &paths {
                assert!(bench.hit(path).await.is_none());
            }
        });
        told.send(()).unwrap();
        bench
    });
    let is_ended = ended.recv_timeout(Duration::from_secs(20)).is_ok();
    files.end_delays();
    drop(asking.join().unwrap());
    assert!(is_ended);
}

#[tokio::test]
async fn a_store_that_nobody_uses_leaves_its_disk_alone() {
    let place = directory();
    let files = Arc::new(FaultyFiles::new(Fault::Error, u64::MAX, 0));
    let (bench, _) = open_on(&config(place.path()), files.clone()).await;
    store_all(&bench, 1).await;
    bench.flushed().await;
    let before = files.count();
    bench.flushed().await;
    assert_eq!(files.count(), before);
}

/// The laps of a volume's segments, as their headers tell them.
fn laps(volume: &Path) -> Vec<u64> {
    let bytes = std::fs::read(volume).unwrap();
    let segments = (1 << 20..bytes.len()).step_by(2 << 20);
    let lap = |at: usize| u64::from_le_bytes(bytes[at + 16..at + 24].try_into().unwrap());
    segments
        .filter(|at| at + 24 < bytes.len())
        .map(lap)
        .collect()
}

#[tokio::test]
async fn a_segment_with_a_late_write_is_not_used_again() {
    let place = directory();
    let config = config(place.path());
    let fault = Fault::Delay(Duration::from_secs(60));
    let patience = Limits {
        write_deadline: Duration::from_millis(200),
        ..Limits::default()
    };
    let options = Options {
        limits: patience,
        ..Options::default()
    };
    let files = Arc::new(FaultyFiles::new(fault, u64::MAX, 0).with(options));
    let (bench, metrics) = open_on(&config, files.clone()).await;
    store_all(&bench, 1).await;
    files.fail_next(1);
    let late = metrics.disk_refused.with_label_values(&["write", "late"]);
    bench
        .store("/late", response("1", &[], &[]), content(1, 900_000))
        .await;
    bench.flushed().await;
    assert_eq!(late.get(), 1);
    // It lands now.
    files.end_delays();
    for version in 2..20 {
        store_all(&bench, version).await;
    }
    for n in 0..LENGTHS.len() {
        assert!(check_stored(&bench, n, 19..=19).await, "{n}");
    }
    assert_eq!(metrics.checksum_errors.get(), 0);
    bench.cache.close().await;
    let mut laps = laps(&place.path().join("disk/jet9.volume"));
    laps.sort_unstable();
    assert!(laps[0] + 8 < laps[7], "{laps:?}");
    assert!(laps[1] + 7 == laps[7] + 1, "{laps:?}");
}

/// A store on real files of a directory, as one backend serves them; whether the page cache takes part.
async fn check_backend(place: &tempfile::TempDir, want: Want, backend: Backend) {
    let config = config(place.path());
    let options = Options {
        want,
        ..Options::default()
    };
    for version in 1..=3 {
        let files = Arc::new(RealFilesWith(options));
        let (bench, metrics) = open_on(&config, files).await;
        let modes = ["direct", "buffered"];
        let open = modes.map(|mode| {
            metrics
                .volume_files
                .with_label_values(&[backend.as_str(), mode])
        });
        if open.iter().map(prometheus::IntGauge::get).sum::<i64>() == 0 {
            eprintln!("SKIPPED: {} is refused here", backend.as_str());
            return;
        }
        for n in 0..LENGTHS.len() {
            assert_eq!(
                check_stored(&bench, n, version - 1..=version - 1).await,
                version > 1
            );
        }
        for _ in 0..5 {
            store_all(&bench, version).await;
        }
        assert_eq!(metrics.checksum_errors.get(), 0);
        assert!(metrics.disk_write_duration.get_sample_count() > 10);
        assert!(metrics.disk_sync_duration.get_sample_count() > 5);
        bench.cache.close().await;
    }
}

#[tokio::test]
async fn every_backend_serves_real_files() {
    for (want, backend) in [
        (Want::Best, Backend::Uring),
        (Want::Threads, Backend::Threads),
    ] {
        // On a disk's file system, and in memory.
        for place in [tempfile::tempdir().unwrap(), directory()] {
            check_backend(&place, want, backend).await;
        }
    }
}
