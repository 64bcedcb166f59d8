//! Purges that nothing is left to be touched by: they are dropped, those that count are not, and the journal goes round.

use super::*;
use crate::purge::{Mode, What};
use crate::test_support::{Bench, content, directory, memory_only, response};

async fn purge(bench: &Bench, what: Vec<What>) {
    let purge = Purge {
        partition: Some(bench.site),
        what,
        mode: Mode::Hard,
    };
    bench.cache.purge(purge).await.unwrap();
}

/// Purges 512 URLs that nobody has for each of the numbers, each time when what may be dropped was found out.
async fn storm(bench: &Bench, groups: impl IntoIterator<Item = u64>) {
    for group in groups {
        bench.cache.purges.settle();
        let urls = (0..512).map(|n| What::Url(u128::from(group << 32 | n) << 32));
        purge(bench, urls.collect()).await;
    }
}

/// Drops what touches nothing, as when a table is crowded, and purges one thing more.
async fn drop_old(bench: &Bench) {
    bench.cache.purges.crowd();
    for _ in 0..2 {
        purge(bench, vec![What::Tag("none".into())]).await;
        bench.cache.purges.settle();
    }
}

async fn store(bench: &Bench, path: &str) {
    let head = response("one", &["tag"], &[]);
    bench.store(path, head, content(1, 3_000)).await;
}

#[tokio::test]
async fn old_purges_are_dropped_before_a_storm_of_them_takes_what_it_did_not_name() {
    let place = directory();
    let bench = Bench::open(memory_only(&place));
    storm(&bench, 0..64).await;
    store(&bench, "/kept").await;
    // 32,768 marks older than anything stored, and 40,960 younger ones: more than one site may have.
    storm(&bench, 64..144).await;
    assert!(bench.hit("/kept").await.is_some());
    drop_old(&bench).await;
    assert_eq!(bench.cache.purges.marks(), 80 * 512 + 1);
    // What holds the rest goes, and so does the rest.
    let url = bench.key("/kept").url();
    purge(&bench, vec![What::Url(url)]).await;
    store(&bench, "/other").await;
    drop_old(&bench).await;
    assert_eq!(bench.cache.purges.marks(), 1);
    assert!(bench.hit("/kept").await.is_none());
    assert!(bench.hit("/other").await.is_some());
}

#[tokio::test]
async fn a_fetch_under_way_holds_the_purges_that_were_made_since_it_was_sent() {
    let place = directory();
    let bench = Bench::open(memory_only(&place));
    let mut fills = Vec::new();
    for path in ["/purged", "/kept"] {
        fills.push(bench.begin(path, response("one", &[], &[]), Some(3)));
    }
    let url = bench.key("/purged").url();
    purge(&bench, vec![What::Url(url)]).await;
    drop_old(&bench).await;
    storm(&bench, 0..2).await;
    for (mut writer, filling) in fills {
        drop(filling);
        writer.write(Bytes::from_static(b"abc")).await.unwrap();
        writer.finish().await.unwrap();
    }
    assert!(bench.hit("/purged").await.is_none());
    assert!(bench.hit("/kept").await.is_some());
}

fn with_disk(directory: &tempfile::TempDir) -> CacheConfig {
    let volume = VolumeConfig {
        path: directory.path().join("disk"),
        size: 18 << 20,
    };
    CacheConfig {
        data_dir: directory.path().join("data"),
        disk: vec![volume],
        ..memory_only(directory)
    }
}

/// Every session purges some of what it stored, and three sessions purge as much as the journal holds.
#[tokio::test]
async fn purges_hold_over_many_sessions_while_the_journal_goes_round() {
    let place = directory();
    for session in 0..6_u64 {
        let bench = Bench::open(with_disk(&place));
        bench.cache.loaded().await;
        for earlier in 0..session {
            for (n, expected) in [false, false, false, true].into_iter().enumerate() {
                let path = format!("/{earlier}/{n}");
                let is_there = bench.hit(&path).await.is_some();
                assert_eq!(is_there, expected, "{session}: {path}");
            }
        }
        for n in 0..4 {
            let tag = format!("{session}-{n}");
            let head = response("one", &[&tag], &[]);
            let path = format!("/{session}/{n}");
            bench.store(&path, head, content(n, 3_000)).await;
        }
        bench.flushed().await;
        let url = bench.key(&format!("/{session}/0")).url();
        purge(&bench, vec![What::Url(url)]).await;
        storm(&bench, (0..60).map(|n| n % 13)).await;
        let tag = format!("{session}-1").into();
        purge(&bench, vec![What::Tag(tag)]).await;
        let prefix = format!("/{session}/2").into_bytes().into();
        purge(&bench, vec![What::Prefix(prefix)]).await;
        if session % 3 == 1 {
            drop_old(&bench).await;
        }
        if session % 2 == 0 {
            bench.cache.close().await;
        }
    }
}

/// A site goes, and in a later session another one comes: with its number, and with nothing of what it had.
#[tokio::test]
async fn a_partition_is_given_to_another_site_in_a_later_session_without_what_was_in_it() {
    let place = directory();
    let mut given = Vec::new();
    for session in 0..4 {
        let mut bench = Bench::open(with_disk(&place));
        bench.cache.loaded().await;
        let name = format!("site {session}");
        bench.site = bench.cache.partition(&name).unwrap();
        given.push(bench.site.0);
        assert!(bench.hit("/").await.is_none(), "{session}");
        let (mut writer, filling) = bench.begin("/late", response("one", &[], &[]), Some(3));
        drop(filling);
        store(&bench, "/").await;
        bench.flushed().await;
        if session < 2 {
            bench.cache.release(bench.site).unwrap();
            assert_ne!(bench.cache.partition(&name).unwrap(), bench.site);
        }
        writer.write(Bytes::from_static(b"abc")).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(bench.hit("/late").await.is_none(), session < 2);
        assert_eq!(bench.hit("/").await.is_none(), session < 2);
        if session == 1 {
            drop_old(&bench).await;
            purge(&bench, vec![What::All]).await;
        }
        bench.cache.close().await;
    }
    // Every bench has a site with 1; 3 and 4 went to those that came back.
    assert_eq!(given, [2, 2, 2, 5]);
}

/// A request that was held while its site went is sent after that, and what it brings is not for whoever comes next.
#[tokio::test]
async fn what_was_fetched_for_a_site_after_it_went_is_not_for_whoever_gets_its_partition() {
    let place = directory();
    let mut given = Vec::new();
    for session in 0..3 {
        let mut bench = Bench::open(with_disk(&place));
        bench.cache.loaded().await;
        bench.site = bench.cache.partition(&format!("site {session}")).unwrap();
        given.push(bench.site.0);
        assert!(bench.hit("/").await.is_none(), "{session}");
        bench.cache.release(bench.site).unwrap();
        store(&bench, "/").await;
        bench.cache.close().await;
    }
    assert_eq!(given, [2, 2, 2]);
}

/// Whoever looks for the oldest response is stopped here until the test lets go: purges are answered all the same.
#[tokio::test]
async fn a_purge_is_answered_while_the_oldest_response_is_looked_for() {
    let place = directory();
    let bench = Bench::open(memory_only(&place));
    store(&bench, "/kept").await;
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let (tell, begun) = std::sync::mpsc::channel();
    let purges = &bench.cache.purges;
    purges.ask_for_oldest(Some(Box::new(move |_| {
        tell.send(()).unwrap();
        wait.recv().ok().map(|()| Tick::FOREVER)
    })));
    purges.crowd();
    purge(&bench, vec![What::Tag("first".into())]).await;
    begun.recv().unwrap();
    // One question at a time, however crowded it is.
    for _ in 0..3 {
        purges.crowd();
        purge(&bench, vec![What::Tag("none".into())]).await;
    }
    assert!(bench.hit("/kept").await.is_some());
    let_go.send(()).unwrap();
    purges.settle();
    purge(&bench, vec![What::Tag("last".into())]).await;
    // What was born when was asked may not have been seen: it lives, and so do the marks since.
    assert!(bench.hit("/kept").await.is_some());
    assert_eq!(purges.marks(), 3);
    drop(let_go);
}
