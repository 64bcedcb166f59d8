//! Volumes that grow, fail, come back, or are away for a session.

use super::*;
use crate::device::faulty::{Fault, FaultyFiles};
use crate::disk::admission::Policy;
use crate::test_support::in_service;

#[tokio::test]
async fn a_volume_that_grows_or_shrinks_begins_empty_and_serves() {
    let place = directory();
    for (n, size) in [(1, 18 << 20), (2, 40 << 20), (3, 18 << 20)] {
        let mut config = config(place.path(), &["disk"]);
        config.disk[0].size = size;
        let bench = Bench::open(config);
        bench.cache.loaded().await;
        assert_eq!(version(&bench, "/", 3_000).await, None, "{n}");
        store(&bench, "/", n, 3_000).await;
        bench.cache.close().await;
        drop(bench);
        let file = std::fs::metadata(place.path().join("disk/jet9.volume")).unwrap();
        assert!(file.len() <= size && file.len() > size / 2, "{n}");
    }
    let bench = open(place.path(), &["disk"]).await;
    assert_eq!(version(&bench, "/", 3_000).await, Some(3));
}

#[tokio::test]
async fn volumes_that_come_and_go_never_bring_back_an_older_version() {
    let place = directory();
    let sessions: [&[&str]; 9] = [
        &["a", "b"],
        &["a"],
        &["a", "b"],
        &["b"],
        &["a", "b", "c"],
        &["c", "b"],
        &["c", "b"],
        &["b", "c", "a"],
        &["a", "b", "c"],
    ];
    let mut hits = 0;
    for (session, volumes) in (1..).zip(sessions) {
        let bench = open(place.path(), volumes).await;
        for n in 0..40 {
            let path = format!("/{n}");
            let found = version(&bench, &path, 2_000).await;
            // Every key is stored anew in two sessions of three.
            let newest = (1..session).rev().find(|earlier| (n + earlier) % 3 > 0);
            assert!(
                found.is_none() || found == newest,
                "{session} {n}: {found:?}"
            );
            hits += u32::from(found.is_some());
            if (n + session) % 3 > 0 {
                store(&bench, &path, session, 2_000).await;
            }
        }
        bench.cache.close().await;
    }
    assert!(hits > 60, "{hits}");
}

/// The same within one session: while a volume is away its keys are on another, and what that had before is older.
#[tokio::test]
async fn a_volume_that_fails_twice_never_brings_back_what_was_elsewhere_meanwhile() {
    let place = directory();
    let bench = open(place.path(), &["a", "b"]).await;
    let primary = bench.key("/").primary();
    let mut newest = 0;
    for outage in 0..3 {
        for _ in 0..2 {
            newest += 1;
            store(&bench, "/", newest, 2_000).await;
            bench.flushed().await;
        }
        bench.cache.forget_memory();
        assert_eq!(version(&bench, "/", 2_000).await, Some(newest), "{outage}");
        bench.cache.forget_memory();
        bench.cache.disk.fail_volume_of(primary);
        let found = version(&bench, "/", 2_000).await;
        assert_eq!(found, None, "{outage}: away");
        newest += 1;
        store(&bench, "/", newest, 2_000).await;
        bench.flushed().await;
        in_service(&bench.cache.metrics, 1).await;
        bench.cache.pass_minute();
        in_service(&bench.cache.metrics, 2).await;
        bench.cache.loaded().await;
        bench.cache.forget_memory();
        let found = version(&bench, "/", 2_000).await;
        assert_eq!(found, None, "{outage}: back and empty");
    }
}

/// A version that was committed while its key's volume was away, and that the other volume writes when the key has moved back.
#[tokio::test]
async fn what_is_written_once_its_key_has_moved_back_is_never_found() {
    let place = directory();
    let bench = open(place.path(), &["a", "b"]).await;
    bench.cache.set_policy(bench.site, Policy::All);
    let primary = bench.key("/").primary();
    bench.cache.disk.fail_volume_of(primary);
    store(&bench, "/", 1, 2_000).await;
    in_service(&bench.cache.metrics, 1).await;
    let handle = bench.hit("/").await.unwrap().handle;
    let first = &handle.variant;
    let second = Variant {
        key: first.key.clone(),
        tags: Arc::clone(&first.tags),
        response: Arc::new(response("2", &[], &[])),
        selected_by: first.selected_by,
        content: Content::Whole(content(2, 2_000)),
        birth: handle.seen,
        version: first.version,
        on_disk: OnDisk::default(),
        is_held: AtomicBool::new(false),
        has_rivals: AtomicBool::new(false),
    };
    let on_its_way = bench.cache.keep(second, || true).unwrap();
    bench.cache.pass_minute();
    in_service(&bench.cache.metrics, 2).await;
    bench.cache.loaded().await;
    // The ring that had the key goes on to its next laps.
    fill_up(&bench, 0, 2).await;
    bench.cache.write_to_disk(on_its_way).await;
    bench.flushed().await;
    store(&bench, "/", 3, 2_000).await;
    bench.flushed().await;
    bench.cache.forget_memory();
    assert_eq!(version(&bench, "/", 2_000).await, Some(3));
    bench.cache.forget_memory();
    bench.cache.disk.fail_volume_of(primary);
    assert_eq!(version(&bench, "/", 2_000).await, None);
}

/// Nor does what is still written to it, or loaded from it: a site's other volumes would take nothing for it.
#[tokio::test]
async fn what_is_on_a_volume_that_failed_counts_for_nobody() {
    let place = directory();
    let config = config(place.path(), &["disk"]);
    let delay = Fault::Delay(Duration::MAX);
    let files = Arc::new(FaultyFiles::new(delay, u64::MAX, 0));
    let opener: Arc<dyn Opener> = files.clone();
    let cache = Cache::open_on(&config, &prometheus::Registry::new(), &opener).unwrap();
    let site = cache.partition("site").unwrap();
    let bench = Bench {
        cache,
        site,
        fields: http::HeaderMap::new(),
    };
    bench.cache.loaded().await;
    store(&bench, "/short", 1, 70_000).await;
    store(&bench, "/long", 1, 2_500_000).await;
    bench.flushed().await;
    assert!(bench.cache.taken_by(site) > 2_500_000);
    // A piece is being written, and the device hangs.
    files.fail_next(u64::MAX);
    let head = response("2", &[], &[]);
    let (mut writer, filling) = bench.begin("/other", head, Some(3 << 20));
    drop(filling);
    writer.write(content(2, 1 << 20)).await.unwrap();
    let of_disk = |metric: &prometheus::IntGaugeVec| metric.with_label_values(&["disk"]).get();
    bench.cache.disk.fail_volume_of(bench.key("/").primary());
    let metrics = &bench.cache.metrics;
    let counted = [
        i64::try_from(bench.cache.taken_by(site)).unwrap(),
        of_disk(&metrics.stored_bytes),
        of_disk(&metrics.stored_responses),
    ];
    // It answers again, and what was being written is.
    files.end_delays();
    assert_eq!(counted, [0; 3]);
    drop(writer);
    in_service(metrics, 0).await;
    bench.cache.pass_minute();
    in_service(metrics, 1).await;
    bench.cache.loaded().await;
    assert_eq!(bench.cache.taken_by(site), 0);
    store(&bench, "/short", 3, 70_000).await;
    bench.flushed().await;
    let taken = bench.cache.taken_by(site);
    assert!((70_000..80_000).contains(&taken), "{taken}");
}
