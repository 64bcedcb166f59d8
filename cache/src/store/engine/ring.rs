//! What is worth a place: on the ring as it turns, at the end of a session, and within a quota.

use super::*;

fn is_on_disk(bench: &Bench, path: &str) -> bool {
    bench.cache.disk.may_have(bench.key(path).primary())
}

#[tokio::test]
async fn what_is_used_stays_when_the_ring_turns_and_what_is_not_goes() {
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    for path in ["/used", "/unused"] {
        store(&bench, path, 1, 20_000).await;
    }
    bench.flushed().await;
    for turn in 0..8 {
        fill_up(&bench, turn, 1).await;
        let hit = bench.hit("/used").await.unwrap();
        assert_eq!(hit.tier, Tier::Disk, "{turn}");
        assert_eq!(version(&bench, "/used", 20_000).await, Some(1), "{turn}");
    }
    assert_eq!(version(&bench, "/unused", 20_000).await, None);
    bench.cache.close().await;
    drop(bench);
    let bench = open(place.path(), &["disk"]).await;
    assert_eq!(version(&bench, "/used", 20_000).await, Some(1), "reopened");
}

#[tokio::test]
async fn once_the_ring_has_turned_only_what_is_used_is_written() {
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    fill_up(&bench, 0, 3).await;
    for path in ["/once", "/again", "/hit", "/all"] {
        store(&bench, path, 1, 5_000).await;
    }
    store(&bench, "/again", 2, 5_000).await;
    for _ in 0..2 {
        bench.hit("/hit").await.unwrap();
    }
    bench.cache.set_policy(bench.site, Policy::All);
    store(&bench, "/all", 2, 5_000).await;
    bench.cache.close().await;
    drop(bench);
    let bench = open(place.path(), &["disk"]).await;
    for (path, expected) in [
        ("/once", None),
        ("/again", Some(2)),
        ("/hit", Some(1)),
        ("/all", Some(2)),
    ] {
        assert_eq!(version(&bench, path, 5_000).await, expected, "{path}");
    }
}

#[tokio::test]
async fn what_fell_off_the_ring_is_written_when_it_comes_back_once() {
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    store(&bench, "/gone", 1, 5_000).await;
    fill_up(&bench, 0, 3).await;
    assert!(!is_on_disk(&bench, "/gone"));
    for path in ["/gone", "/new"] {
        store(&bench, path, 2, 5_000).await;
    }
    bench.flushed().await;
    assert!(is_on_disk(&bench, "/gone"));
    assert!(!is_on_disk(&bench, "/new"));
}

#[tokio::test]
async fn what_is_hit_in_memory_is_written_when_that_does_not_follow_at_once() {
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    fill_up(&bench, 0, 3).await;
    // More than a fifth of the ring is fetched and not written: whatever was owed, something is saved now.
    for n in 0..1_000 {
        store(&bench, &format!("/new/{n}"), 1, 5_000).await;
    }
    store(&bench, "/hit", 1, 5_000).await;
    let hit = async || {
        assert_eq!(bench.hit("/hit").await.unwrap().tier, Tier::Memory);
        bench.flushed().await;
        is_on_disk(&bench, "/hit")
    };
    assert!(!hit().await && !hit().await);
    // More than a quarter of what memory holds.
    for n in 0..60 {
        store(&bench, &format!("/other/{n}"), 1, 5_000).await;
    }
    assert!(hit().await);
}

#[tokio::test]
async fn a_clean_stop_writes_what_was_hit_in_memory_alone() {
    let place = directory();
    let config = CacheConfig {
        memory: 8 << 20,
        ..config(place.path(), &["disk"])
    };
    let bench = Bench::open(config.clone());
    bench.cache.loaded().await;
    fill_up(&bench, 0, 3).await;
    let all = [
        ("/unused", 5_000),
        ("/hit", 5_000),
        ("/long", 600_000),
        ("/purged", 5_000),
    ];
    for (path, length) in all {
        store(&bench, path, 1, length).await;
        if path != "/unused" {
            assert_eq!(bench.hit(path).await.unwrap().tier, Tier::Memory);
        }
    }
    let purged = Purge::url(&bench.key("/purged"));
    bench.cache.purge(purged).await.unwrap();
    let on_disk = || {
        let has = |(path, _): &&(&str, usize)| bench.cache.disk.may_have(bench.key(path).primary());
        all.iter().filter(has).count()
    };
    assert_eq!(on_disk(), 0);
    let mut saving = Box::pin(bench.cache.save_used(1));
    tokio::select! {
        biased;
        () = &mut saving => panic!("nobody who limits it had a turn"),
        () = std::future::ready(()) => {}
    }
    saving.await;
    bench.flushed().await;
    assert_eq!(
        on_disk(),
        1,
        "one is written, whatever it weighs, and no more"
    );
    bench.cache.close().await;
    assert_eq!(on_disk(), 2);
    drop(bench);
    let bench = Bench::open(config);
    bench.cache.loaded().await;
    for ((path, length), expected) in all.into_iter().zip([None, Some(1), Some(1), None]) {
        assert_eq!(version(&bench, path, length).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_partition_at_its_cap_writes_nothing_but_what_it_replaces() {
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    let quota = Quota {
        cap: 30_000,
        ..Quota::default()
    };
    bench.cache.set_quota(bench.site, quota);
    for n in 0..10 {
        store(&bench, &format!("/{n}"), 1, 10_000).await;
        bench.flushed().await;
    }
    store(&bench, "/0", 2, 10_000).await;
    bench.cache.close().await;
    drop(bench);
    let bench = open(place.path(), &["disk"]).await;
    let mut found = Vec::new();
    for n in 0..10 {
        if let Some(version) = version(&bench, &format!("/{n}"), 10_000).await {
            found.push((n, version));
        }
    }
    assert_eq!(found, [(0, 2), (1, 1)]);
}
