//! The disk engine seen from outside: what survives the ring's turns, restarts, rot, and volumes that come and go.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::purge::{Mode, What};
use crate::test_support::{Bench, content, directory, in_service, name, read_body, response};

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

/// Where in a volume a piece of text stands.
fn places_of(volume: &Path, text: &[u8]) -> Vec<u64> {
    let bytes = std::fs::read(volume).unwrap();
    let found = bytes
        .windows(text.len())
        .enumerate()
        .filter(|(_, window)| *window == text);
    found.map(|(at, _)| at as u64).collect()
}

/// Damages the headers of the newest of two versions; `footers` too.
async fn check_rot(clean: bool, footers: bool, expected: Option<u64>) {
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    for version in 1..=2 {
        store(&bench, "/", version, 3_000).await;
        store(&bench, "/other", version, 3_000).await;
        bench.flushed().await;
    }
    if clean {
        bench.cache.close().await;
    }
    drop(bench);
    let volume = place.path().join("disk/jet9.volume");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&volume)
        .unwrap();
    let content = places_of(&volume, &content(2, 3_000)[..64])[0];
    let records = places_of(&volume, b"J9R2");
    let newest = records.into_iter().rfind(|at| *at < content).unwrap();
    file.write_all_at(&[0xff; 40], newest + 8).unwrap();
    if footers {
        for footer in places_of(&volume, b"JET9END\0") {
            file.write_all_at(&[0xff; 8], footer).unwrap();
        }
    }
    drop(file);
    for _ in 0..2 {
        let bench = open(place.path(), &["disk"]).await;
        assert_eq!(version(&bench, "/", 3_000).await, None, "never version 1");
        assert_eq!(version(&bench, "/other", 3_000).await, expected);
    }
}

#[tokio::test]
async fn rot_in_the_newest_record_never_brings_back_an_older_one() {
    check_rot(true, false, Some(2)).await;
    // Nobody knows any more whose record it was: nothing can be believed.
    check_rot(true, true, None).await;
    check_rot(false, false, None).await;
}

#[tokio::test]
async fn a_volume_tells_what_is_in_it_and_what_is_damaged() {
    use crate::disk::inspect::{Depth, inspect};
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    for n in 0..5 {
        store(&bench, &format!("/{n}"), n, 3_000).await;
    }
    store(&bench, "/long", 9, 700_000).await;
    let site = bench.site.0;
    bench.flushed().await;
    let disk = place.path().join("disk");
    // `response` is received one second after the epoch.
    let now = Timestamp::from_unix_seconds(100);
    let look = |depth| inspect(&disk, depth, now).unwrap();
    let check = |sealed| {
        let report = look(Depth::Everything);
        assert!(report.is_good(), "{report:?}");
        let share = report.partitions[&site];
        assert_eq!((share.responses, share.by_age), (6, [0, 6, 0, 0, 0]));
        assert_eq!((report.pieces, report.used, report.sealed), (1, 1, sealed));
    };
    check(0);
    let names = ["other", "site"].map(str::to_owned);
    let names = crate::purge::names_of_partitions(&place.path().join("data"), &names).unwrap();
    assert_eq!(names, HashMap::from([(site, "site".to_owned())]));
    bench.cache.close().await;
    check(1);
    drop(bench);
    let volume = disk.join("jet9.volume");
    let piece = places_of(&volume, &content(9, 4096)[..64])[0];
    let file = std::fs::OpenOptions::new().write(true).open(&volume);
    file.unwrap()
        .write_all_at(&[0xff], piece + 500_000)
        .unwrap();
    assert!(look(Depth::Heads).is_good());
    assert_eq!(look(Depth::Everything).unreadable, 1);
    assert!(inspect(&place.path().join("data"), Depth::Heads, now).is_err());
}

/// A range of what is stored on disk; `None` when the transfer breaks.
async fn range(bench: &Bench, path: &str, start: usize, length: usize) -> Option<Vec<u8>> {
    let Body::Stream(mut reader) = bench.hit(path).await.unwrap().body else {
        panic!("{path} is in memory");
    };
    reader.restrict(start as u64, length as u64);
    let mut read = Vec::new();
    while let Some(part) = reader.next().await.ok()? {
        read.extend_from_slice(&part);
    }
    Some(read)
}

#[tokio::test]
async fn a_range_of_long_content_needs_the_blocks_that_it_touches_alone() {
    const LENGTH: usize = (2 << 20) + 300_001;
    const BLOCK: usize = 64 << 10;
    let place = directory();
    let whole = content(7, LENGTH);
    let bench = open(place.path(), &["disk"]).await;
    store(&bench, "/long", 7, LENGTH).await;
    let ranges = [
        (0, 1),
        (BLOCK - 1, 2),
        (500_000, 100_000),
        ((1 << 20) - 1, 2),
        (1_300_000, 10),
        (LENGTH - 1, 1),
        (0, LENGTH),
        (700_000, LENGTH - 700_000),
    ];
    for (start, length) in ranges {
        let read = range(&bench, "/long", start, length).await.unwrap();
        assert!(read == whole[start..start + length], "{length} at {start}");
    }
    let reads = || bench.cache.metrics.disk_read_duration.get_sample_count();
    let before = reads();
    range(&bench, "/long", 1_300_000, 10).await.unwrap();
    // The block, and the head that proves it; the response's own head is in memory.
    assert_eq!(reads() - before, 2);
    bench.cache.close().await;
    drop(bench);
    let volume = place.path().join("disk/jet9.volume");
    let piece = places_of(&volume, &whole[..64])[0];
    let file = std::fs::OpenOptions::new().write(true).open(&volume);
    let rotten = 10 * BLOCK + 5;
    file.unwrap()
        .write_all_at(&[0xff, 0], piece + rotten as u64)
        .unwrap();
    let mut bench = open(place.path(), &["disk"]).await;
    for (start, length) in ranges {
        let is_hit = start < 11 * BLOCK && start + length > 10 * BLOCK;
        let read = range(&bench, "/long", start, length).await;
        let expected = (!is_hit).then(|| whole[start..start + length].to_vec());
        assert!(read == expected, "{length} at {start}");
        if is_hit {
            // Who comes next fetches it; a restart finds it again.
            assert!(bench.hit("/long").await.is_none(), "{length} at {start}");
            bench.cache.close().await;
            drop(bench);
            bench = open(place.path(), &["disk"]).await;
        }
    }
}

/// Rot that is met while the head is in memory: one transfer breaks, and the next request finds nothing.
#[tokio::test]
async fn long_content_with_rot_in_it_breaks_one_transfer_and_is_gone() {
    const LENGTH: usize = 2_500_000;
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    for (path, version) in [("/rotten", 1), ("/good", 2)] {
        store(&bench, path, version, LENGTH).await;
    }
    bench.flushed().await;
    let volume = place.path().join("disk/jet9.volume");
    let second = places_of(&volume, &content(1, LENGTH)[1 << 20..][..64])[0];
    let file = std::fs::OpenOptions::new().write(true).open(&volume);
    file.unwrap().write_all_at(&[0xff], second + 7).unwrap();
    assert_eq!(bench.hit("/rotten").await.unwrap().tier, Tier::Memory);
    assert!(range(&bench, "/rotten", 0, 1 << 20).await.is_some());
    assert!(range(&bench, "/rotten", 0, LENGTH).await.is_none());
    assert!(bench.hit("/rotten").await.is_none());
    assert_eq!(version(&bench, "/good", LENGTH).await, Some(2));
    store(&bench, "/rotten", 3, LENGTH).await;
    assert_eq!(version(&bench, "/rotten", LENGTH).await, Some(3));
}

/// Gives what it is asked for, or less, and remembers that.
#[derive(Debug)]
struct Side {
    content: Bytes,
    less: usize,
    asked: parking_lot::Mutex<Vec<std::ops::Range<u64>>>,
    told: tokio::sync::Notify,
}

impl crate::fill::Elsewhere for Side {
    fn fetch(&self, range: std::ops::Range<u64>) -> crate::fill::Fetched {
        let (start, end) = (range.start as usize, range.end as usize);
        let given = self.content.slice(start..end - self.less);
        self.asked.lock().push(range);
        self.told.notify_one();
        Box::pin(async move {
            // Not at once, so that a reader can be cancelled meanwhile.
            tokio::task::yield_now().await;
            Some(given)
        })
    }
}

/// Reads a range of a content of 3,000,000 bytes whose second piece rots in its third block, `less` bytes too few of which can be had
/// elsewhere; what was asked for there.
async fn check_mended(
    (start, length): (u64, u64),
    less: usize,
    expected: Option<std::ops::Range<u64>>,
) {
    const LENGTH: usize = 3_000_000;
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    store(&bench, "/", 1, LENGTH).await;
    bench.flushed().await;
    let volume = place.path().join("disk/jet9.volume");
    let whole = content(1, LENGTH);
    let second = places_of(&volume, &whole[1 << 20..][..64])[0];
    let file = std::fs::OpenOptions::new().write(true).open(&volume);
    file.unwrap()
        .write_all_at(b"rot", second + (2 << 16) + 77)
        .unwrap();
    let side = Arc::new(Side {
        content: whole.clone(),
        less,
        asked: parking_lot::Mutex::default(),
        told: tokio::sync::Notify::new(),
    });
    let Body::Stream(mut reader) = bench.hit("/").await.unwrap().body else {
        panic!("it is in memory");
    };
    reader.offer(Arc::clone(&side) as _);
    reader.restrict(start, length);
    let mut read = Vec::new();
    let ended = loop {
        // Cancelled while it waits for the side.
        let piece = tokio::select! {
            biased;
            piece = reader.next() => piece,
            () = side.told.notified() => reader.next().await,
        };
        match piece {
            Ok(Some(piece)) => read.extend_from_slice(&piece),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert_eq!(*side.asked.lock(), Vec::from_iter(expected.clone()));
    assert_eq!(ended, less == 0);
    let (start, all) = (start as usize, read.len());
    assert!(read == whole[start..start + all], "wrong bytes");
    assert!(!ended || all as u64 == length.min((LENGTH - start) as u64));
    // Who comes next fetches it anew, unless nobody met the rot.
    assert_eq!(bench.hit("/").await.is_none(), expected.is_some());
}

#[tokio::test]
async fn what_is_missing_of_long_content_comes_from_elsewhere_and_the_rest_from_disk() {
    const MIB: u64 = 1 << 20;
    // A quarter of a piece is read at once: the rot is in the first quarter of the second.
    check_mended((0, u64::MAX), 0, Some(MIB..2 * MIB)).await;
    check_mended((MIB + 5, 200_000), 0, Some(MIB + 5..MIB + 200_005)).await;
    check_mended((MIB + 200_000, 1_000), 0, None).await;
    check_mended((0, MIB), 0, None).await;
    check_mended((0, u64::MAX), 1, Some(MIB..2 * MIB)).await;
}

#[tokio::test]
async fn long_content_counts_for_its_partition_until_it_is_overwritten() {
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    store(&bench, "/long", 1, 2_500_000).await;
    store(&bench, "/short", 1, 1_000).await;
    bench.flushed().await;
    let taken = bench.cache.taken_by(bench.site);
    assert!((2_501_000..2_510_000).contains(&taken), "{taken}");
    bench.cache.close().await;
    drop(bench);
    let bench = open(place.path(), &["disk"]).await;
    assert_eq!(bench.cache.taken_by(bench.site), taken, "reopened");
    fill_up(&bench, 0, 4).await;
    assert_eq!(version(&bench, "/long", 2_500_000).await, None);
    let taken = bench.cache.taken_by(bench.site);
    // What there is room for.
    assert!((8 << 20..16 << 20).contains(&taken), "{taken}");
    let metric = &bench.cache.metrics.stored_bytes;
    let told = metric.with_label_values(&["disk"]).get();
    assert_eq!(u64::try_from(told).unwrap(), taken);
}

#[tokio::test]
async fn content_of_unknown_length_is_not_written_beyond_the_cap_of_its_partition() {
    const CAP: u64 = 4 << 20;
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    let quota = Quota {
        cap: CAP,
        ..Quota::default()
    };
    bench.cache.set_quota(bench.site, quota);
    let whole = content(1, 8 << 20);
    let mut taken = Vec::new();
    for _ in 0..3 {
        let (mut writer, filling) = bench.begin("/long", response("1", &[], &[]), None);
        let reader = tokio::spawn(read_body(Body::Stream(filling.body)));
        for at in (0..whole.len()).step_by(1 << 18) {
            writer.write(whole.slice(at..at + (1 << 18))).await.unwrap();
            bench.flushed().await;
        }
        writer.finish().await.unwrap();
        // Whoever waited for it gets all of it.
        assert!(reader.await.unwrap().unwrap() == whole);
        assert_eq!(version(&bench, "/long", whole.len()).await, None);
        taken.push(bench.cache.taken_by(bench.site));
    }
    assert!((CAP / 2..=CAP).contains(&taken[0]), "{taken:?}");
    assert_eq!(taken[1..], [taken[0]; 2], "{taken:?}");
}

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
async fn a_lap_that_is_lost_empties_the_volume() {
    let place = directory();
    for version in 1..=3 {
        let bench = open(place.path(), &["disk"]).await;
        store(&bench, &format!("/{version}"), version, 3_000).await;
        bench.cache.close().await;
    }
    let volume = place.path().join("disk/jet9.volume");
    let headers = places_of(&volume, b"JET9SEG\0");
    let footers = places_of(&volume, b"JET9END\0");
    assert_eq!((headers.len(), footers.len()), (3, 3));
    let damage = |places: &[u64]| {
        let file = std::fs::OpenOptions::new().write(true).open(&volume);
        for place in places {
            file.as_ref()
                .unwrap()
                .write_all_at(&[0xff; 16], *place)
                .unwrap();
        }
    };
    damage(&[headers[1], headers[2]]);
    {
        let bench = open(place.path(), &["disk"]).await;
        for n in 1..=3 {
            let path = format!("/{n}");
            assert_eq!(version(&bench, &path, 3_000).await, Some(n), "by footers");
        }
    }
    damage(&[footers[2]]);
    let bench = open(place.path(), &["disk"]).await;
    for n in 1..=3 {
        assert_eq!(version(&bench, &format!("/{n}"), 3_000).await, None, "{n}");
    }
    store(&bench, "/1", 4, 3_000).await;
    bench.cache.close().await;
    drop(bench);
    let bench = open(place.path(), &["disk"]).await;
    assert_eq!(version(&bench, "/1", 3_000).await, Some(4));
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

/// What a session of the model does. The keys 0 to 3 are those of one site, 4 to 7 of another.
#[derive(Clone, Debug)]
enum Step {
    Store(u8),
    Look(u8),
    Freshen(u8),
    Purge(u8, Mode),
    /// A site and a tag of it.
    PurgeTag(u8, u8, Mode),
    /// A site and the first part of its paths.
    PurgePrefix(u8, u8, Mode),
    PurgeSite(u8, Mode),
    PurgeAll(Mode),
    /// The next purge finds the tables crowded: old ones are dropped.
    Crowd,
    /// The clock steps, by seconds.
    Clock(i64),
    Flush,
    Close,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode = || prop_oneof![Just(Mode::Hard), Just(Mode::Soft)];
    let step = prop_oneof![
        10 => (0..8_u8).prop_map(Step::Store),
        8 => (0..8_u8).prop_map(Step::Look),
        2 => (0..8_u8).prop_map(Step::Freshen),
        2 => (0..8_u8, mode()).prop_map(|(n, mode)| Step::Purge(n, mode)),
        1 => (0..2_u8, 0..3_u8, mode()).prop_map(|(site, n, mode)| Step::PurgeTag(site, n, mode)),
        1 => (0..2_u8, 0..3_u8, mode()).prop_map(|(site, n, mode)| Step::PurgePrefix(site, n, mode)),
        1 => (0..2_u8, mode()).prop_map(|(site, mode)| Step::PurgeSite(site, mode)),
        1 => mode().prop_map(Step::PurgeAll),
        2 => Just(Step::Crowd),
        1 => (-100_000..10_000_i64).prop_map(Step::Clock),
        2 => Just(Step::Flush),
        1 => Just(Step::Close),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

/// What must be true of one key.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The newest version; none older may be found while the store is open, nor once this one was flushed.
    newest: u64,
    /// The newest version that was flushed.
    flushed: u64,
    /// Versions up to this were purged.
    purged: u64,
    softly: u64,
}

const LENGTHS: [usize; 4] = [100, 70_000, 300_000, 1_200_000];

struct Model {
    place: tempfile::TempDir,
    bench: Option<Bench>,
    sites: [Partition; 2],
    known: HashMap<u8, Known>,
    version: u64,
    clock: u64,
}

const fn site_of(n: u8) -> u8 {
    n / 4
}

const fn tag_of(n: u8) -> u8 {
    n % 3
}

const fn part_of(n: u8) -> u8 {
    n % 2
}

impl Model {
    async fn open() -> Self {
        let mut model = Self {
            place: directory(),
            bench: None,
            sites: [Partition(0); 2],
            known: HashMap::new(),
            version: 0,
            clock: 1_000_000,
        };
        model.bench = Some(open(model.place.path(), &["disk"]).await);
        model.sites = ["site", "other"].map(|name| model.bench().cache.partition(name).unwrap());
        model
    }

    fn bench(&self) -> &Bench {
        self.bench.as_ref().unwrap()
    }

    /// The store, as the site of a key sees it, and its path.
    fn at(&mut self, n: u8) -> (&Bench, String) {
        let site = self.sites[usize::from(site_of(n))];
        let bench = self.bench.as_mut().unwrap();
        bench.site = site;
        (bench, format!("/{}/{n}", part_of(n)))
    }

    fn head(&self, n: u8) -> StoredResponse {
        let tag = format!("tag-{}", tag_of(n));
        let mut head = response(&self.version.to_string(), &[&tag], &[]);
        head.times.response_time = Timestamp::from_unix_seconds(self.clock);
        head
    }

    async fn look(&mut self, n: u8) -> Option<Hit> {
        let (bench, path) = self.at(n);
        let hit = bench.hit(&path).await?;
        let known = self.known.get(&n).copied().unwrap_or_default();
        let version: u64 = name(&hit.response).parse().unwrap();
        assert!(
            version <= known.newest && version >= known.flushed,
            "{n}: {version} {known:?}"
        );
        assert!(version > known.purged, "{n}: {version} {known:?}");
        let expected = if version <= known.softly {
            Purging::Soft
        } else {
            Purging::None
        };
        assert_eq!(hit.purging, expected, "{n}: {version} {known:?}");
        Some(hit)
    }

    /// Purges of a site, or everything.
    async fn purge(&mut self, site: Option<u8>, what: What, mode: Mode, hits: impl Fn(u8) -> bool) {
        let purge = Purge {
            partition: site.map(|site| self.sites[usize::from(site)]),
            what: vec![what],
            mode,
        };
        self.bench().cache.purge(purge).await.unwrap();
        for (&n, known) in &mut self.known {
            if !hits(n) || site.is_some_and(|site| site_of(n) != site) {
                continue;
            }
            match mode {
                Mode::Hard => known.purged = known.newest,
                Mode::Soft => known.softly = known.newest,
            }
        }
    }

    fn flushed(&mut self) {
        for known in self.known.values_mut() {
            known.flushed = known.newest;
        }
    }

    async fn reopen(&mut self) {
        self.bench = None;
        self.bench = Some(open(self.place.path(), &["disk"]).await);
        for n in 0..8 {
            // What a restart found is on disk for good.
            if let Some(hit) = self.look(n).await {
                let version = name(&hit.response).parse().unwrap();
                let known = self.known.entry(n).or_default();
                (known.newest, known.flushed) = (version, version);
            }
        }
    }

    async fn store(&mut self, n: u8) {
        let content = content(self.version, LENGTHS[usize::from(n % 4)]);
        let head = self.head(n);
        let (bench, path) = self.at(n);
        bench.store(&path, head, content).await;
        self.known.entry(n).or_default().newest = self.version;
        assert!(self.look(n).await.is_some(), "{n}");
    }

    async fn freshen(&mut self, n: u8) {
        let Some(hit) = self.look(n).await else {
            return;
        };
        let head = self.head(n);
        if self.bench().cache.freshen(&hit.handle, head).await {
            self.known.entry(n).or_default().newest = self.version;
        }
    }

    async fn take(&mut self, step: Step) {
        self.version += 1;
        match step {
            Step::Store(n) => self.store(n).await,
            Step::Look(n) => {
                if let Some(hit) = self.look(n).await {
                    let length = hit.body_length();
                    assert_eq!(length, LENGTHS[usize::from(n % 4)] as u64);
                }
            }
            Step::Freshen(n) => self.freshen(n).await,
            Step::Purge(n, mode) => {
                let (bench, path) = self.at(n);
                let url = What::Url(bench.key(&path).url());
                self.purge(Some(site_of(n)), url, mode, |other| other == n)
                    .await;
            }
            Step::PurgeTag(site, tag, mode) => {
                let what = What::Tag(format!("tag-{tag}").into());
                self.purge(Some(site), what, mode, |n| tag_of(n) == tag)
                    .await;
            }
            Step::PurgePrefix(site, part, mode) => {
                let what = What::Prefix(format!("/{part}/").into_bytes().into());
                self.purge(Some(site), what, mode, |n| part_of(n) == part)
                    .await;
            }
            Step::PurgeSite(site, mode) => self.purge(Some(site), What::All, mode, |_| true).await,
            Step::PurgeAll(mode) => self.purge(None, What::All, mode, |_| true).await,
            Step::Crowd => self.bench().cache.purges.crowd(),
            Step::Clock(by) => self.clock = self.clock.saturating_add_signed(by),
            Step::Flush => {
                self.bench().flushed().await;
                self.flushed();
            }
            Step::Close => {
                self.bench().cache.close().await;
                self.flushed();
                self.reopen().await;
            }
            Step::Crash => self.reopen().await,
        }
    }
}

impl Hit {
    fn body_length(&self) -> u64 {
        match &self.body {
            Body::Whole(content) => content.len() as u64,
            Body::Stream(body) => body.length().unwrap(),
        }
    }
}

#[test]
fn whatever_happens_the_store_is_like_a_map_that_may_forget() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    proptest!(ProptestConfig::with_cases(60), |(steps in steps())| {
        runtime.block_on(async {
            let mut model = Model::open().await;
            for step in steps {
                model.take(step).await;
            }
        });
    });
}
