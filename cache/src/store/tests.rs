//! The store as a whole: two tiers, purges, restarts.

use std::path::Path;

use bytes::Bytes;
use http::HeaderValue;

use super::*;
use crate::purge::{Mode, What};
use crate::test_support::{
    Bench, content, directory, memory_only, name, read_all, read_body, response,
};

const MIB: usize = 1 << 20;

/// Directories of a store with one volume.
struct Place {
    directory: tempfile::TempDir,
    memory: u64,
    size: u64,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: directory(),
            memory: 64 << 20,
            size: 40 << 20,
        }
    }

    fn config(&self) -> CacheConfig {
        let volume = VolumeConfig {
            path: self.directory.path().join("disk"),
            size: self.size,
        };
        CacheConfig {
            data_dir: self.directory.path().join("data"),
            memory: self.memory,
            disk: vec![volume],
            max_object: 1 << 30,
            fill_unflushed: 8 << 20,
        }
    }

    async fn open(&self) -> Bench {
        let bench = Bench::open(self.config());
        bench.cache.loaded().await;
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn plain(name: &str) -> StoredResponse {
    response(name, &["tag"], &[])
}

async fn purge(bench: &Bench, what: What, mode: Mode) {
    let purge = Purge {
        partition: Some(bench.site),
        what: vec![what],
        mode,
    };
    bench.cache.purge(purge).await.unwrap();
}

async fn check_reopened(lengths: &[usize], clean: bool) {
    let place = Place::new();
    {
        let bench = place.open().await;
        for &length in lengths {
            bench
                .store(&format!("/{length}"), plain("one"), content(1, length))
                .await;
        }
        if clean {
            bench.cache.close().await;
        } else {
            bench.flushed().await;
        }
    }
    let bench = place.open().await;
    for &length in lengths {
        let path = format!("/{length}");
        let hit = bench
            .hit(&path)
            .await
            .unwrap_or_else(|| panic!("{path} {clean}"));
        assert_eq!(hit.tier, Tier::Disk, "{path}");
        assert_eq!(
            read_body(hit.body).await.unwrap(),
            content(1, length),
            "{path}"
        );
        let again = bench.hit(&path).await.unwrap();
        assert_eq!(again.tier, Tier::Memory, "{path}");
        assert_eq!(
            read_body(again.body).await.unwrap(),
            content(1, length),
            "{path}, again"
        );
    }
}

#[tokio::test]
async fn what_is_stored_is_there_after_a_restart_clean_or_not() {
    let lengths = [
        0,
        1,
        65_535,
        65_536,
        65_537,
        256 * 1024,
        256 * 1024 + 1,
        MIB - 1,
        MIB,
        MIB + 1,
        5 * MIB + 9,
    ];
    check_reopened(&lengths, true).await;
    check_reopened(&lengths, false).await;
}

#[tokio::test]
async fn long_content_is_served_from_disk_in_ranges() {
    let place = Place::new();
    let bench = place.open().await;
    let all = content(3, 4 * MIB + 5);
    bench.store("/", plain("one"), all.clone()).await;
    for (start, length) in [
        (0, 1),
        (MIB - 1, 2),
        (4 * MIB, 100),
        (5 * MIB, 1),
        (0, 5 * MIB),
    ] {
        let hit = bench.hit("/").await.unwrap();
        let Body::Stream(mut body) = hit.body else {
            panic!()
        };
        assert_eq!(body.length(), Some(all.len() as u64));
        body.restrict(start as u64, length as u64);
        let expected = all.slice(start.min(all.len())..(start + length).min(all.len()));
        assert_eq!(read_all(body).await.unwrap(), expected, "{start} {length}");
    }
}

#[tokio::test]
async fn a_fill_larger_than_memory_goes_through_to_disk_and_all_its_readers() {
    let mut place = Place::new();
    place.memory = 4 << 20;
    place.size = 100 << 20;
    let bench = place.open().await;
    let all = content(5, 20 * MIB + 7);
    let (mut writer, slow) = bench.begin("/", plain("one"), None);
    let mut readers = Vec::new();
    for _ in 0..5 {
        let collapse::Followed::Filling(filling) = bench.follow("/").outcome().await else {
            panic!()
        };
        readers.push(tokio::spawn(read_all(filling.body)));
    }
    for start in (0..all.len()).step_by(100_000) {
        writer
            .write(all.slice(start..all.len().min(start + 100_000)))
            .await
            .unwrap();
    }
    writer.finish().await.unwrap();
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), all);
    }
    assert_eq!(
        read_all(slow.body).await.unwrap(),
        all,
        "a reader that began at the end"
    );
    assert_eq!(bench.stored("/").await.unwrap().1, all);
}

#[tokio::test]
async fn variants_are_told_apart_and_the_newest_that_matches_wins() {
    let place = Place::new();
    let mut bench = place.open().await;
    let language = |bench: &mut Bench, value| {
        bench
            .fields
            .insert("accept-language", HeaderValue::from_static(value));
    };
    for value in ["de", "en"] {
        language(&mut bench, value);
        let head = response(value, &[], &["accept-language"]);
        bench
            .store("/", head, Bytes::from_static(value.as_bytes()))
            .await;
    }
    for reopened in [false, true] {
        if reopened {
            bench.cache.close().await;
            let fields = bench.fields.clone();
            drop(bench);
            bench = place.open().await;
            bench.fields = fields;
        }
        for value in ["de", "en"] {
            language(&mut bench, value);
            assert_eq!(
                bench.stored("/").await.unwrap(),
                (value.into(), Bytes::from(value))
            );
        }
        language(&mut bench, "fr");
        assert!(
            matches!(bench.lookup("/").await, Lookup::VaryMiss),
            "{reopened}"
        );
    }
    // A newer response without Vary answers all.
    bench
        .store("/", response("all", &[], &[]), Bytes::new())
        .await;
    for value in ["de", "fr"] {
        language(&mut bench, value);
        assert_eq!(bench.stored("/").await.unwrap().0, "all");
    }
}

/// Stores under `/news/1`, purges, and looks: at once, and after a restart.
async fn check_purged(what: impl Fn(&Bench) -> What, mode: Mode, expected: Option<Purging>) {
    for length in [10, 2 * MIB] {
        let place = Place::new();
        let bench = place.open().await;
        bench
            .store("/news/1", plain("one"), content(1, length))
            .await;
        bench.flushed().await;
        purge(&bench, what(&bench), mode).await;
        let purging = |hit: Option<Hit>| hit.map(|hit| hit.purging);
        assert_eq!(purging(bench.hit("/news/1").await), expected, "memory");
        drop(bench);
        let bench = place.open().await;
        assert_eq!(purging(bench.hit("/news/1").await), expected, "disk");
        bench
            .store("/news/1", plain("two"), content(2, length))
            .await;
        assert_eq!(
            purging(bench.hit("/news/1").await),
            Some(Purging::None),
            "new"
        );
        bench.cache.close().await;
        drop(bench);
        let bench = place.open().await;
        assert_eq!(
            purging(bench.hit("/news/1").await),
            Some(Purging::None),
            "new, reopened"
        );
        assert_eq!(bench.stored("/news/1").await.unwrap().0, "two");
    }
}

#[tokio::test]
async fn a_purge_is_for_ever_and_what_comes_after_it_lives() {
    for (mode, touched) in [(Mode::Hard, None), (Mode::Soft, Some(Purging::Soft))] {
        let untouched = Some(Purging::None);
        check_purged(|_| What::All, mode, touched).await;
        check_purged(|bench| What::Url(bench.key("/news/1").url()), mode, touched).await;
        check_purged(
            |bench| What::Url(bench.key("/news/2").url()),
            mode,
            untouched,
        )
        .await;
        check_purged(|_| What::Prefix(Box::from(&b"/news/"[..])), mode, touched).await;
        check_purged(|_| What::Tag(Box::from("tag")), mode, touched).await;
        check_purged(|_| What::Tag(Box::from("other")), mode, untouched).await;
    }
}

#[tokio::test]
async fn purges_of_every_session_hold_in_every_later_one() {
    let place = Place::new();
    let mut last = 0;
    for session in 0..6 {
        let bench = place.open().await;
        for earlier in 0..session {
            for n in 0..20 {
                let expected = n >= 10;
                let path = format!("/{earlier}/{n}");
                assert_eq!(
                    bench.hit(&path).await.is_some(),
                    expected,
                    "{session} {path}"
                );
            }
        }
        for n in 0..20 {
            bench
                .store(&format!("/{session}/{n}"), plain("one"), content(n, 3000))
                .await;
        }
        bench.flushed().await;
        for n in 0..10 {
            let url = bench.key(&format!("/{session}/{n}")).url();
            let what = vec![What::Url(url)];
            let purge = Purge {
                partition: Some(bench.site),
                what,
                mode: Mode::Hard,
            };
            let purged = bench.cache.purge(purge).await.unwrap();
            assert_eq!(purged.sequence, last + 1);
            last = purged.sequence;
        }
        if session % 2 == 0 {
            bench.cache.close().await;
        }
    }
}

#[tokio::test]
async fn an_older_version_never_comes_back() {
    let place = Place::new();
    for round in 0..5 {
        let bench = place.open().await;
        for n in 0..30 {
            let stored = bench.stored(&format!("/{n}")).await;
            if round > 0 {
                let name = format!("{}", round - 1);
                assert_eq!(
                    stored.unwrap(),
                    (name, content(round - 1, 5000)),
                    "{round} {n}"
                );
            }
            let head = plain(&round.to_string());
            bench
                .store(&format!("/{n}"), head, content(round, 5000))
                .await;
        }
        bench.flushed().await;
    }
}

#[tokio::test]
async fn a_freshened_head_keeps_its_content_after_a_restart() {
    for length in [10, MIB / 2, 3 * MIB] {
        let place = Place::new();
        {
            let bench = place.open().await;
            bench.store("/", plain("one"), content(1, length)).await;
            purge(&bench, What::All, Mode::Soft).await;
            let hit = bench.hit("/").await.unwrap();
            assert_eq!(hit.purging, Purging::Soft);
            assert!(bench.cache.freshen(&hit.handle, plain("two")).await);
            assert_eq!(bench.hit("/").await.unwrap().purging, Purging::None);
            bench.cache.close().await;
        }
        let bench = place.open().await;
        let hit = bench.hit("/").await.unwrap();
        assert_eq!(
            (name(&hit.response), hit.purging),
            ("two".into(), Purging::None)
        );
        assert_eq!(
            read_body(hit.body).await.unwrap(),
            content(1, length),
            "{length}"
        );
    }
}

#[tokio::test]
async fn a_soft_purge_after_the_look_up_outlives_the_freshening() {
    let place = Place::new();
    let bench = place.open().await;
    bench.store("/", plain("one"), content(1, 10)).await;
    let handle = bench.hit("/").await.unwrap().handle;
    purge(&bench, What::All, Mode::Soft).await;
    assert!(bench.cache.freshen(&handle, plain("two")).await);
    assert_eq!(bench.hit("/").await.unwrap().purging, Purging::Soft);
    purge(&bench, What::All, Mode::Hard).await;
    assert!(!bench.cache.freshen(&handle, plain("three")).await);
}

#[tokio::test]
async fn an_invalidation_of_what_nobody_stored_writes_nothing() {
    let place = Place::new();
    let bench = place.open().await;
    bench.store("/", plain("one"), content(1, 10)).await;
    let journal = place.path("data/purge.journal");
    let before = std::fs::read(&journal).unwrap();
    bench.cache.invalidate(&bench.key("/other")).await.unwrap();
    assert_eq!(std::fs::read(&journal).unwrap(), before);
    bench.cache.invalidate(&bench.key("/")).await.unwrap();
    assert_ne!(std::fs::read(&journal).unwrap(), before);
    assert!(bench.hit("/").await.is_none());
}

/// Stores, changes files while the store is closed, and looks what is left.
async fn check_changed(change: impl Fn(&Place, &Path), expected: bool) {
    let place = Place::new();
    {
        let bench = place.open().await;
        bench.store("/", plain("one"), content(1, 10_000)).await;
        bench.cache.close().await;
    }
    change(&place, &place.path("disk/jet9.volume"));
    let bench = place.open().await;
    assert_eq!(bench.hit("/").await.is_some(), expected);
    bench.store("/", plain("two"), content(2, 10_000)).await;
    bench.cache.close().await;
    drop(bench);
    let bench = place.open().await;
    assert_eq!(bench.stored("/").await.unwrap().0, "two");
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

#[tokio::test]
async fn a_volume_that_cannot_be_believed_is_emptied_and_serves_again() {
    check_changed(|_, _| {}, true).await;
    // One copy of the superblock is enough.
    check_changed(|_, volume| overwrite(volume, 0, &[1; 100]), true).await;
    check_changed(|_, volume| overwrite(volume, 4096, &[1; 100]), true).await;
    let both = |_: &Place, volume: &Path| {
        overwrite(volume, 0, &[1; 100]);
        overwrite(volume, 4096, &[1; 100]);
    };
    check_changed(both, false).await;
    let other_version = |_: &Place, volume: &Path| {
        overwrite(volume, 8, &[99]);
        overwrite(volume, 4096 + 8, &[99]);
    };
    check_changed(other_version, false).await;
    let no_journal = |place: &Place, _: &Path| {
        std::fs::remove_file(place.path("data/purge.journal")).unwrap();
    };
    check_changed(no_journal, false).await;
    // One half of the journal is enough, too.
    let half = |path: &Path| std::fs::metadata(path).unwrap().len() / 2;
    let bad_half = |place: &Place, _: &Path| {
        overwrite(&place.path("data/purge.journal"), 20, &[77; 4]);
    };
    check_changed(bad_half, true).await;
    let bad_journal = |place: &Place, _: &Path| {
        let journal = place.path("data/purge.journal");
        for offset in [0, half(&journal)] {
            overwrite(&journal, offset + 20, &[77; 4]);
        }
    };
    check_changed(bad_journal, false).await;
    let cut_journal = |place: &Place, _: &Path| {
        let journal = place.path("data/purge.journal");
        let file = std::fs::OpenOptions::new().write(true).open(&journal);
        file.unwrap().set_len(half(&journal)).unwrap();
    };
    check_changed(cut_journal, false).await;
    let shorter = |_: &Place, volume: &Path| {
        std::fs::OpenOptions::new()
            .write(true)
            .open(volume)
            .unwrap()
            .set_len(8 << 20)
            .unwrap();
    };
    check_changed(shorter, true).await;
}

#[tokio::test]
async fn a_volume_that_was_away_during_a_session_comes_back_empty() {
    let place = Place::new();
    {
        let bench = place.open().await;
        bench.store("/", plain("one"), content(1, 10_000)).await;
        bench.cache.close().await;
    }
    drop(Bench::open(CacheConfig {
        disk: Vec::new(),
        ..place.config()
    }));
    let bench = place.open().await;
    assert!(bench.hit("/").await.is_none());
}

#[tokio::test]
async fn two_processes_never_have_one_store_open() {
    let place = Place::new();
    let _bench = place.open().await;
    let again = Cache::open(place.config(), &prometheus::Registry::new());
    assert!(matches!(again, Err(OpenError::DataDir { .. })));
}

#[tokio::test]
async fn a_ring_that_wraps_forgets_the_oldest_and_never_gives_wrong_bytes() {
    let mut place = Place::new();
    place.size = 18 << 20;
    place.memory = 1 << 20;
    let bench = place.open().await;
    let lengths = [3_000, 300_000, 3 * MIB];
    for n in 0..150_u64 {
        let length = lengths[(n % 3) as usize];
        bench
            .store(&format!("/{n}"), plain(&n.to_string()), content(n, length))
            .await;
    }
    bench.flushed().await;
    let mut hits = 0;
    for n in 0..150_u64 {
        let Some(stored) = bench.stored(&format!("/{n}")).await else {
            continue;
        };
        hits += 1;
        assert_eq!(
            stored,
            (n.to_string(), content(n, lengths[(n % 3) as usize])),
            "{n}"
        );
    }
    assert!((3..150).contains(&hits), "{hits}");
    assert!(bench.stored("/147").await.is_some());
}

#[tokio::test]
async fn a_store_that_cannot_have_its_volume_serves_from_memory() {
    let place = Place::new();
    std::fs::write(place.path("disk"), b"a file where a directory should be").unwrap();
    let bench = place.open().await;
    bench.store("/", plain("one"), content(1, 10_000)).await;
    assert_eq!(bench.hit("/").await.unwrap().tier, Tier::Memory);
    let config = CacheConfig {
        data_dir: place.path("disk"),
        ..memory_only(&place.directory)
    };
    assert!(Cache::open(config, &prometheus::Registry::new()).is_err());
}

#[tokio::test]
async fn partitions_are_durable_and_never_reused() {
    let place = Place::new();
    let first = {
        let bench = place.open().await;
        bench.cache.partitions(&["a", "b", "a"]).unwrap()
    };
    assert_eq!(first[0], first[2]);
    let bench = place.open().await;
    let again = bench.cache.partitions(&["c", "b", "a"]).unwrap();
    assert_eq!(again[1..], [first[1], first[0]]);
    assert!(!first.contains(&again[0]) && again[0] != bench.site);
}

/// Both at once, many times over: a newer version stays, whichever came first.
#[test]
fn what_is_freshened_never_takes_the_place_of_what_was_stored_meanwhile() {
    let place = directory();
    let bench = Bench::open(memory_only(&place));
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let (one, two) = (runtime(), runtime());
    for round in 0..5_000 {
        one.block_on(bench.store("/", plain("one"), Bytes::new()));
        let handle = one.block_on(bench.hit("/")).unwrap().handle;
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                two.block_on(bench.cache.freshen(&handle, plain("freshened")));
            });
            start.wait();
            let mut lead = bench.cache.lead_apart(&bench.key("/"));
            lead.sent();
            let (writer, filling) = lead.begin(plain("two"), 0, Some(0));
            drop(filling);
            one.block_on(writer.finish()).unwrap();
        });
        let stored = one.block_on(bench.stored("/")).unwrap();
        assert_eq!(stored.0, "two", "{round}");
    }
}
