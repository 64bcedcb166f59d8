//! What was handed to the disk and is not written yet.

use super::*;

#[tokio::test]
async fn what_replaces_a_version_on_its_way_to_disk_is_written_too() {
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    let paths: Vec<String> = (0..50).map(|n| format!("/{n}")).collect();
    for path in &paths {
        store(&bench, path, 1, 1_000).await;
    }
    // Nothing new is written from now on.
    let quota = Quota {
        cap: 0,
        ..Quota::default()
    };
    bench.cache.set_quota(bench.site, quota);
    for path in &paths {
        store(&bench, path, 2, 1_000).await;
    }
    bench.cache.close().await;
    drop(bench);
    let bench = open(place.path(), &["disk"]).await;
    for path in &paths {
        assert_eq!(version(&bench, path, 1_000).await, Some(2), "{path}");
    }
}

#[tokio::test]
async fn what_left_memory_on_its_way_to_disk_is_invalidated_all_the_same() {
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    let paths: Vec<String> = (0..20).map(|n| format!("/{n}")).collect();
    for path in &paths {
        store(&bench, path, 1, 1_000).await;
    }
    bench.cache.forget_memory();
    for path in &paths {
        bench.cache.invalidate(&bench.key(path)).await.unwrap();
    }
    bench.flushed().await;
    for path in &paths {
        assert_eq!(version(&bench, path, 1_000).await, None, "{path}");
    }
}

#[tokio::test]
async fn what_left_memory_on_its_way_to_disk_is_found_and_never_an_older_version() {
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    // The last is on disk before its head is on its way.
    let lengths = [1_000, 70_000, 300_000, 2_500_000];
    let paths: Vec<String> = lengths.iter().map(|length| format!("/{length}")).collect();
    for round in 1..=3 {
        for (path, length) in paths.iter().zip(lengths) {
            store(&bench, path, round, length).await;
            bench.cache.forget_memory();
            assert_eq!(version(&bench, path, length).await, Some(round), "{path}");
            // It is in memory again.
            assert_eq!(bench.hit(path).await.unwrap().tier, Tier::Memory, "{path}");
        }
        bench.cache.forget_memory();
        if round == 2 {
            bench.flushed().await;
        }
        for (path, length) in paths.iter().zip(lengths) {
            assert_eq!(version(&bench, path, length).await, Some(round), "{path}");
        }
    }
}

#[tokio::test]
async fn what_left_memory_on_its_way_to_disk_is_purged_all_the_same() {
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    for path in ["/purged", "/kept"] {
        store(&bench, path, 1, 1_000).await;
    }
    bench.cache.forget_memory();
    let purged = Purge::url(&bench.key("/purged"));
    bench.cache.purge(purged).await.unwrap();
    for flushed in [false, true] {
        assert_eq!(version(&bench, "/purged", 1_000).await, None, "{flushed}");
        assert_eq!(version(&bench, "/kept", 1_000).await, Some(1), "{flushed}");
        bench.flushed().await;
        bench.cache.forget_memory();
    }
}

#[tokio::test]
async fn of_a_variant_on_its_way_only_those_who_select_it_get_it() {
    let place = directory();
    let mut bench = open(place.path(), &["disk"]).await;
    let head = |name: &str| response(name, &[], &["accept-language"]);
    let languages = ["de", "fr", "en"].map(http::HeaderValue::from_static);
    for (language, version) in languages.iter().zip(1..3) {
        let fields = [(http::header::ACCEPT_LANGUAGE, language.clone())];
        bench.fields = http::HeaderMap::from_iter(fields);
        let body = content(version, 3_000);
        bench.store("/", head(&version.to_string()), body).await;
    }
    bench.cache.forget_memory();
    for (language, expected) in languages.iter().zip([Some(1), Some(2), None]) {
        let fields = [(http::header::ACCEPT_LANGUAGE, language.clone())];
        bench.fields = http::HeaderMap::from_iter(fields);
        assert_eq!(version(&bench, "/", 3_000).await, expected, "{language:?}");
    }
}
