//! Damage: what is found, what is not believed any more, and what an inspection tells of it.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;

use super::*;

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
