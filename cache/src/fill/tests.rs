//! Fills with readers before, during and after them.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::device::Opener;
use crate::device::faulty::{Fault, FaultyFiles};
use crate::disk::VolumeConfig;
use crate::store::CacheConfig;
use crate::test_support::{Bench, content, directory, memory_only, read_all, response};

fn bench() -> (tempfile::TempDir, Bench) {
    let place = directory();
    let bench = Bench::open(memory_only(&place));
    (place, bench)
}

/// Writes content of `length` bytes in pieces of `piece` while eight readers read along, and reads it again from the store.
async fn check(length: usize, piece: usize, announced: bool) {
    let (_directory, bench) = bench();
    let all = content(length as u64, length);
    let announced = announced.then_some(length as u64);
    let (mut writer, first) = bench.begin("/", response("one", &[], &[]), announced);
    let mut readers = vec![tokio::spawn(read_all(first.body))];
    for _ in 0..7 {
        let Followed::Filling(filling) = bench.follow("/").outcome().await else {
            panic!()
        };
        readers.push(tokio::spawn(read_all(filling.body)));
    }
    for start in (0..length).step_by(piece) {
        writer
            .write(all.slice(start..length.min(start + piece)))
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    let Followed::Filling(late) = bench.follow("/").outcome().await else {
        panic!()
    };
    writer.finish().await.unwrap();
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), all, "{length} in {piece}");
    }
    assert_eq!(late.body.length(), Some(length as u64));
    assert_eq!(
        read_all(late.body).await.unwrap(),
        all,
        "{length} in {piece}, late"
    );
    assert_eq!(
        bench.stored("/").await.unwrap().1,
        all,
        "{length} in {piece}, stored"
    );
}

use crate::collapse::Followed;

#[tokio::test]
async fn every_reader_and_the_store_get_exactly_what_was_written() {
    for announced in [true, false] {
        check(0, 1, announced).await;
        check(1, 1, announced).await;
        check(1000, 7, announced).await;
        check(PIECE - 1, 65_537, announced).await;
        check(PIECE, 65_536, announced).await;
        check(PIECE + 1, 300_000, announced).await;
        check(5 * PIECE + 12_345, 3 * PIECE + 1, announced).await;
    }
}

#[tokio::test]
async fn a_reader_gets_the_first_bytes_before_the_last_are_written() {
    let (_directory, bench) = bench();
    let (mut writer, mut filling) = bench.begin("/", response("one", &[], &[]), Some(10));
    writer.write(Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!(filling.body.next().await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn a_reader_that_does_not_read_delays_nobody() {
    let (_directory, bench) = bench();
    let all = content(1, 6 * PIECE);
    let (mut writer, stalled) = bench.begin("/", response("one", &[], &[]), None);
    let Followed::Filling(filling) = bench.follow("/").outcome().await else {
        panic!()
    };
    for start in (0..all.len()).step_by(PIECE) {
        writer.write(all.slice(start..start + PIECE)).await.unwrap();
    }
    writer.finish().await.unwrap();
    assert_eq!(read_all(filling.body).await.unwrap(), all);
    assert_eq!(read_all(stalled.body).await.unwrap(), all);
}

#[tokio::test]
async fn a_writer_that_is_dropped_breaks_every_reader_and_stores_nothing() {
    let (_directory, bench) = bench();
    let (mut writer, first) = bench.begin("/", response("one", &[], &[]), None);
    let Followed::Filling(second) = bench.follow("/").outcome().await else {
        panic!()
    };
    writer.write(content(1, 3 * PIECE)).await.unwrap();
    drop(writer);
    assert_eq!(read_all(first.body).await, Err(ReadError::Broken));
    assert_eq!(read_all(second.body).await, Err(ReadError::Broken));
    assert!(bench.stored("/").await.is_none());
    drop(bench.lead("/"));
}

#[tokio::test]
async fn other_than_the_announced_length_breaks_the_fill() {
    for (announced, sent) in [(10, 9), (10, 11), (0, 1), (1, 0)] {
        let (_directory, bench) = bench();
        let (mut writer, filling) = bench.begin("/", response("one", &[], &[]), Some(announced));
        let ended = match writer.write(content(1, sent)).await {
            Ok(()) => writer.finish().await,
            Err(error) => Err(error),
        };
        assert_eq!(ended, Err(FillError::Length), "{announced} {sent}");
        assert_eq!(
            read_all(filling.body).await,
            Err(ReadError::Broken),
            "{announced} {sent}"
        );
        assert!(bench.stored("/").await.is_none(), "{announced} {sent}");
    }
}

#[tokio::test]
async fn a_range_reads_its_bytes_from_a_fill_and_from_memory() {
    let (_directory, bench) = bench();
    let all = content(9, 3 * PIECE + 10);
    for (start, length) in [
        (0, 1),
        (5, 0),
        (PIECE - 1, 2),
        (PIECE, PIECE),
        (3 * PIECE, 100),
        (4 * PIECE, 5),
    ] {
        let path = format!("/{start}/{length}");
        let (mut writer, mut filling) = bench.begin(&path, response("one", &[], &[]), None);
        filling.body.restrict(start as u64, length as u64);
        writer.write(all.clone()).await.unwrap();
        writer.finish().await.unwrap();
        let expected = all.slice(start.min(all.len())..(start + length).min(all.len()));
        assert_eq!(filling.body.remaining(), Some(expected.len() as u64));
        assert_eq!(read_all(filling.body).await.unwrap(), expected, "{path}");
        let hit = bench.hit(&path).await.unwrap();
        let crate::store::Body::Stream(mut body) = hit.body else {
            panic!()
        };
        body.restrict(start as u64, length as u64);
        assert_eq!(body.remaining(), Some(expected.len() as u64));
        assert_eq!(read_all(body).await.unwrap(), expected, "{path}");
    }
}

#[tokio::test]
async fn content_beyond_the_share_reaches_its_readers_and_is_not_stored() {
    let (_directory, bench) = bench();
    let all = content(2, 30 * PIECE);
    let (mut writer, first) = bench.begin("/", response("one", &[], &[]), None);
    let Followed::Filling(second) = bench.follow("/").outcome().await else {
        panic!()
    };
    let readers = [first, second].map(|filling| tokio::spawn(read_all(filling.body)));
    for start in (0..all.len()).step_by(PIECE) {
        writer.write(all.slice(start..start + PIECE)).await.unwrap();
    }
    drop(bench.lead("/"));
    writer.finish().await.unwrap();
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), all);
    }
    assert!(bench.stored("/").await.is_none());
}

#[tokio::test]
async fn content_announced_beyond_the_share_is_for_the_leader_alone() {
    let (_directory, bench) = bench();
    let mut lead = bench.lead("/");
    lead.sent();
    let follower = bench.follow("/");
    let length = 30 * PIECE as u64;
    let (_writer, _filling) = lead.begin(response("one", &[], &[]), 0, Some(length));
    let outcome = follower.outcome().await;
    assert!(
        matches!(outcome, Followed::Released(crate::Reason::TooLarge)),
        "{outcome:?}"
    );
    drop(bench.lead("/"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_a_window_is_cut() {
    let (_directory, bench) = bench();
    let length = 30 * PIECE;
    let all = content(2, length);
    let (mut writer, stalled) = bench.begin("/", response("one", &[], &[]), None);
    let Followed::Filling(moving) = bench.follow("/").outcome().await else {
        panic!()
    };
    let moving = tokio::spawn(read_all(moving.body));
    for start in (0..length).step_by(PIECE) {
        writer.write(all.slice(start..start + PIECE)).await.unwrap();
    }
    writer.finish().await.unwrap();
    assert_eq!(moving.await.unwrap().unwrap(), all);
    assert_eq!(read_all(stalled.body).await, Err(ReadError::Broken));
}

/// Writes until the writer would wait.
async fn write_all_it_takes(writer: &mut FillWriter, part: &Bytes) {
    loop {
        tokio::select! {
            biased;
            written = writer.write(part.clone()) => written.unwrap(),
            () = std::future::ready(()) => return,
        }
    }
}

#[tokio::test]
async fn slow_readers_of_what_is_not_kept_hold_no_more_than_all_fills_may() {
    const FILLS: usize = 8;
    const PART: usize = 100_000;
    let place = directory();
    let bench = Bench::open(CacheConfig {
        memory: 8 << 20,
        ..memory_only(&place)
    });
    let part = content(1, PART);
    let mut fills = Vec::new();
    for n in 0..FILLS {
        fills.push(bench.begin(&format!("/{n}"), response("one", &[], &[]), None));
    }
    for (writer, _) in &mut fills {
        write_all_it_takes(writer, &part).await;
    }
    let kept = || fills.iter().map(|(writer, _)| writer.fill.in_memory());
    let (all, most) = (kept().sum::<u64>(), kept().max().unwrap());
    // What all may keep, and a piece each.
    let allowed = bench.cache.fills_max() + (FILLS * (PIECE + PART)) as u64;
    assert!(all <= allowed, "{all} of {allowed}");
    assert!(most <= WINDOW_MAX + (PIECE + PART) as u64, "{most}");
    // Each goes on as its reader does.
    for (writer, filling) in &mut fills {
        let before = writer.fill.written();
        let mut read = 0;
        while read < before {
            read += filling.body.next().await.unwrap().unwrap().len() as u64;
        }
        writer.write(part.clone()).await.unwrap();
        assert_eq!(writer.fill.written(), before + PART as u64);
    }
}

#[tokio::test]
async fn a_window_that_nobody_reads_ends() {
    let (_directory, bench) = bench();
    let (mut writer, filling) = bench.begin("/", response("one", &[], &[]), None);
    drop(filling);
    let mut result = Ok(());
    for _ in 0..30 {
        result = writer.write(content(1, PIECE)).await;
        if result.is_err() {
            break;
        }
    }
    assert_eq!(result, Err(FillError::TooLarge));
}

#[tokio::test]
async fn the_writer_knows_its_readers() {
    let (_directory, bench) = bench();
    let (writer, filling) = bench.begin("/", response("one", &[], &[]), None);
    assert_eq!(writer.readers(), 1);
    let waits = timeout(Duration::from_millis(1), writer.orphaned()).await;
    assert!(waits.is_err());
    let Followed::Filling(second) = bench.follow("/").outcome().await else {
        panic!()
    };
    assert_eq!(writer.readers(), 2);
    drop(filling);
    let orphaned = async { writer.orphaned().await };
    let ((), ()) = tokio::join!(orphaned, async { drop(second) });
    assert_eq!(writer.readers(), 0);
}

/// A store on a disk that stands still when it is told to, and moves again by [`FaultyFiles::end_delays`].
async fn on_slow_disk(place: &tempfile::TempDir, fill_unflushed: u64) -> (Arc<FaultyFiles>, Bench) {
    let volume = VolumeConfig {
        path: place.path().join("disk"),
        size: 80 << 20,
    };
    let config = CacheConfig {
        disk: vec![volume],
        fill_unflushed,
        ..memory_only(place)
    };
    let files = Arc::new(FaultyFiles::new(Fault::Delay(Duration::MAX), u64::MAX, 0));
    let opener: Arc<dyn Opener> = files.clone();
    let cache = Cache::open_on(&config, &prometheus::Registry::new(), &opener).unwrap();
    let site = cache.partition("site").unwrap();
    cache.loaded().await;
    let fields = http::HeaderMap::new();
    let bench = Bench {
        cache,
        site,
        fields,
    };
    (files, bench)
}

/// More than may wait for the disk.
const LONG: usize = 12 * PIECE + 5;

/// Writes [`LONG`] content as it would come from an origin.
async fn write_long(mut writer: FillWriter) -> Result<(), FillError> {
    let all = content(4, LONG);
    for start in (0..LONG).step_by(PIECE) {
        writer
            .write(all.slice(start..LONG.min(start + PIECE)))
            .await?;
        tokio::task::yield_now().await;
    }
    writer.finish().await
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_stands_still_does_not_hold_readers_up_for_long() {
    let place = directory();
    let (files, bench) = on_slow_disk(&place, 8 << 20).await;
    files.fail_next(u64::MAX);
    let began = Instant::now();
    let (writer, filling) = bench.begin("/", response("one", &[], &[]), Some(LONG as u64));
    let (read, written) = tokio::join!(read_all(filling.body), write_long(writer));
    assert_eq!((read, written), (Ok(content(4, LONG)), Ok(())));
    assert!(began.elapsed() <= 2 * HELD_UP_MAX, "{:?}", began.elapsed());
    files.end_delays();
    assert!(bench.stored("/").await.is_none());
}

#[tokio::test]
async fn a_reader_that_fell_behind_waits_for_a_busy_disk() {
    let place = directory();
    let (files, bench) = on_slow_disk(&place, 8 << 20).await;
    let (writer, filling) = bench.begin("/", response("one", &[], &[]), Some(LONG as u64));
    write_long(writer).await.unwrap();
    tokio::time::pause();
    files.fail_next(u64::MAX);
    let read = tokio::spawn(read_all(filling.body));
    // A read is late after a second; the disk is asked again.
    sleep(Duration::from_millis(1500)).await;
    assert!(!read.is_finished());
    tokio::time::resume();
    files.end_delays();
    assert_eq!(read.await.unwrap(), Ok(content(4, LONG)));
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_nobody_waits_for_has_patience_with_the_disk() {
    let place = directory();
    let (files, bench) = on_slow_disk(&place, 8 << 20).await;
    files.fail_next(u64::MAX);
    let (writer, filling) = bench.begin("/", response("one", &[], &[]), Some(LONG as u64));
    drop(filling);
    let written = tokio::spawn(write_long(writer));
    sleep(SLOW_DISK_MAX / 2).await;
    assert!(!written.is_finished());
    // From here on it takes as long as the disk does.
    tokio::time::resume();
    files.end_delays();
    assert_eq!(written.await.unwrap(), Ok(()));
    assert_eq!(bench.stored("/").await.unwrap().1, content(4, LONG));
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_nobody_reads_ends_when_the_disk_stands_still_for_too_long() {
    let place = directory();
    let (files, bench) = on_slow_disk(&place, 8 << 20).await;
    files.fail_next(u64::MAX);
    let (writer, filling) = bench.begin("/", response("one", &[], &[]), Some(LONG as u64));
    drop(filling);
    let began = Instant::now();
    assert_eq!(write_long(writer).await, Err(FillError::TooLarge));
    assert!(began.elapsed() >= SLOW_DISK_MAX);
    files.end_delays();
}

/// How many pieces a fill has taken after a while on a disk that stands still.
async fn check_taken(fill_unflushed: u64, expected: usize) {
    let place = directory();
    let (files, bench) = on_slow_disk(&place, fill_unflushed).await;
    files.fail_next(u64::MAX);
    let (mut writer, filling) = bench.begin("/", response("one", &[], &[]), Some(LONG as u64));
    drop(filling);
    let taken = std::cell::Cell::new(0);
    let writing = async {
        for n in 0..LONG / PIECE {
            writer.write(content(n as u64, PIECE)).await.unwrap();
            taken.set(n + 1);
        }
    };
    assert!(timeout(SLOW_DISK_MAX / 2, writing).await.is_err());
    assert_eq!(taken.get(), expected);
    files.end_delays();
}

#[tokio::test(start_paused = true)]
async fn no_more_of_a_fill_waits_for_the_disk_than_is_allowed() {
    check_taken(2 * PIECE as u64, 2).await;
    check_taken(5 * PIECE as u64, 5).await;
}
