//! Content in pieces: its ranges, its rot, what stands in for it, and whom it counts for.

use std::os::unix::fs::FileExt;

use super::*;
use crate::device::RealFilesWith;
use crate::device::faulty::{Fault, FaultyFiles};
use crate::io::{Limits, Options};

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

/// Reads content to its end, each part in so many attempts.
async fn read_in(bench: &Bench, path: &str, attempts: usize) -> Vec<u8> {
    let Body::Stream(mut reader) = bench.hit(path).await.unwrap().body else {
        panic!("{path} is in memory");
    };
    let mut read = Vec::new();
    loop {
        let mut part = None;
        for _ in 1..attempts {
            tokio::select! {
                biased;
                next = reader.next() => { part = Some(next); break; }
                () = std::future::ready(()) => {}
            }
        }
        let part = match part {
            Some(part) => part,
            None => reader.next().await,
        };
        match part.unwrap() {
            Some(part) => read.extend_from_slice(&part),
            None => return read,
        }
    }
}

#[tokio::test]
async fn who_is_cancelled_and_asks_again_costs_no_further_read() {
    const LENGTH: usize = 3_000_000;
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    store(&bench, "/long", 1, LENGTH).await;
    let reads = || bench.cache.metrics.disk_read_duration.get_sample_count();
    let mut counts = Vec::new();
    for attempts in [1, 3] {
        let before = reads();
        assert!(read_in(&bench, "/long", attempts).await == content(1, LENGTH));
        counts.push(reads() - before);
    }
    assert_eq!(counts[0], counts[1]);
}

/// Readers of long content who ask for more than the queue of their volume takes, and one hit of a few kibibytes.
#[tokio::test]
async fn readers_of_long_content_leave_room_for_short_hits() {
    const LENGTH: usize = 2_500_000;
    let place = directory();
    let limits = Limits {
        reads_waiting: 32,
        read_deadline: Duration::from_secs(20),
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let files = FaultyFiles::new(Fault::Delay(Duration::MAX), u64::MAX, 0).with(options);
    let files = Arc::new(files);
    let opener: Arc<dyn Opener> = files.clone();
    let config = config(place.path(), &["disk"]);
    let cache = Cache::open_on(&config, &prometheus::Registry::new(), &opener).unwrap();
    let site = cache.partition("site").unwrap();
    let bench = Bench {
        cache,
        site,
        fields: http::HeaderMap::new(),
    };
    bench.cache.loaded().await;
    store(&bench, "/long", 1, LENGTH).await;
    store(&bench, "/short", 2, 16_000).await;
    bench.flushed().await;
    let mut bodies = Vec::new();
    for _ in 0..50 {
        bodies.push(bench.hit("/long").await.unwrap().body);
    }
    bench.cache.forget_memory();
    files.fail_next(u64::MAX);
    let reading: Vec<_> = bodies
        .into_iter()
        .map(|body| tokio::spawn(read_body(body)))
        .collect();
    // On one thread: by now each of them has asked for what it may.
    tokio::task::yield_now().await;
    let mut short = Box::pin(version(&bench, "/short", 16_000));
    let refused = tokio::select! {
        biased;
        refused = &mut short => Some(refused),
        () = tokio::task::yield_now() => None,
    };
    files.end_delays();
    assert_eq!(refused, None);
    assert_eq!(short.await, Some(2));
    for read in reading {
        assert!(read.await.unwrap().unwrap() == content(1, LENGTH));
    }
}

/// Readers who have read ahead and take none of it for now, and others who want all of it.
#[tokio::test]
async fn readers_who_take_their_time_keep_no_turn_from_others() {
    const LENGTH: usize = 2_500_000;
    let place = directory();
    let limits = Limits {
        reads_waiting: 32,
        read_deadline: Duration::from_secs(20),
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let files: Arc<dyn Opener> = Arc::new(RealFilesWith(options));
    let config = config(place.path(), &["disk"]);
    let cache = Cache::open_on(&config, &prometheus::Registry::new(), &files).unwrap();
    let site = cache.partition("site").unwrap();
    let bench = Bench {
        cache,
        site,
        fields: http::HeaderMap::new(),
    };
    bench.cache.loaded().await;
    store(&bench, "/long", 1, LENGTH).await;
    bench.flushed().await;
    let mut slow = Vec::new();
    for _ in 0..10 {
        let Body::Stream(mut reader) = bench.hit("/long").await.unwrap().body else {
            panic!("it is in memory");
        };
        assert!(!reader.next().await.unwrap().unwrap().is_empty());
        slow.push(reader);
    }
    assert_eq!(version(&bench, "/long", LENGTH).await, Some(1));
}

#[tokio::test]
async fn all_who_miss_the_same_part_fetch_it_once() {
    const LENGTH: usize = 2_000_000;
    const READERS: usize = 12;
    #[derive(Debug)]
    struct Gate {
        content: Bytes,
        asked: std::sync::atomic::AtomicUsize,
        open: tokio::sync::Semaphore,
    }
    #[derive(Debug)]
    struct Gated(Arc<Gate>);
    impl crate::fill::Elsewhere for Gated {
        fn fetch(&self, range: std::ops::Range<u64>) -> crate::fill::Fetched {
            let gate = Arc::clone(&self.0);
            gate.asked.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                let _open = gate.open.acquire().await.ok()?;
                Some(gate.content.slice(range.start as usize..range.end as usize))
            })
        }
    }
    let place = directory();
    let bench = open(place.path(), &["disk"]).await;
    store(&bench, "/", 1, LENGTH).await;
    bench.flushed().await;
    let whole = content(1, LENGTH);
    let volume = place.path().join("disk/jet9.volume");
    let second = places_of(&volume, &whole[1 << 20..][..64])[0];
    let file = std::fs::OpenOptions::new().write(true).open(&volume);
    file.unwrap().write_all_at(b"rot", second + 77).unwrap();
    let gate = Arc::new(Gate {
        content: whole.clone(),
        asked: std::sync::atomic::AtomicUsize::new(0),
        open: tokio::sync::Semaphore::new(0),
    });
    let mut hits = Vec::new();
    for _ in 0..READERS {
        hits.push(bench.hit("/").await.unwrap());
    }
    let Content::OnDisk(on_disk) = hits[0].handle.variant.content.clone() else {
        panic!("it is in memory");
    };
    let mut reading = Vec::new();
    for hit in hits {
        let Body::Stream(mut reader) = hit.body else {
            panic!("it is in memory");
        };
        reader.offer(Arc::new(Gated(Arc::clone(&gate))));
        reading.push(tokio::spawn(read_body(Body::Stream(reader))));
    }
    let all_wait = async {
        while on_disk.waiting() < READERS {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, all_wait).await.unwrap();
    // The one who asked leaves: another asks in its place.
    reading.remove(0).abort();
    gate.open.add_permits(READERS);
    for read in reading {
        assert!(read.await.unwrap().unwrap() == whole);
    }
    let asked = gate.asked.load(Ordering::Relaxed);
    assert!((1..=2).contains(&asked), "{asked}");
    assert_eq!(on_disk.waiting(), 0);
}

#[tokio::test]
async fn a_disk_that_is_late_for_a_moment_sends_nobody_elsewhere() {
    const LENGTH: usize = 2_000_000;
    let place = directory();
    let limits = Limits {
        read_deadline: Duration::from_millis(50),
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let delay = Fault::Delay(Duration::from_millis(120));
    let files = Arc::new(FaultyFiles::new(delay, u64::MAX, 0).with(options));
    let opener: Arc<dyn Opener> = files.clone();
    let config = config(place.path(), &["disk"]);
    let cache = Cache::open_on(&config, &prometheus::Registry::new(), &opener).unwrap();
    let site = cache.partition("site").unwrap();
    let bench = Bench {
        cache,
        site,
        fields: http::HeaderMap::new(),
    };
    bench.cache.loaded().await;
    store(&bench, "/", 1, LENGTH).await;
    bench.flushed().await;
    let Body::Stream(mut reader) = bench.hit("/").await.unwrap().body else {
        panic!("it is in memory");
    };
    let side = Arc::new(Side {
        content: content(1, LENGTH),
        less: 0,
        asked: parking_lot::Mutex::default(),
        told: tokio::sync::Notify::new(),
    });
    reader.offer(Arc::clone(&side) as _);
    files.fail_next(1);
    let read = read_body(Body::Stream(reader)).await.unwrap();
    assert!(read == content(1, LENGTH));
    assert_eq!(*side.asked.lock(), []);
}
