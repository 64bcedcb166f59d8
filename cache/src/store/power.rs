//! The store on a disk that loses its power: one run is recorded, then every moment of it is a crash, and each is opened again.
//!
//! What must hold after each: bytes are exact; nothing lives that a purge had ended which was answered before; no version is older than
//! one that had been made durable before (invariants 3 and 4). Misses are always right.

mod wrap;

use std::path::Path;

use super::*;
use crate::device::simulated::{CrashPoint, Loss, Simulated};
use crate::purge::{Mode, What};
use crate::test_support::{Bench, content, directory, name, read_body, response};

/// Of a head alone, of inline content, and of content in pieces.
pub(super) const LENGTHS: [usize; 4] = [10, 5_000, 70_000, (1 << 20) + 300_000];

/// What the test knows from some moment on, of all paths or of one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fact {
    /// This version was durable.
    Durable(Option<usize>, u64),
    /// Everything up to this version had been purged.
    Purged(Option<usize>, u64),
}

/// Nothing but directories is really in this place.
pub(super) fn config(directory: &Path) -> CacheConfig {
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

pub(super) fn path(n: usize) -> String {
    format!("/{n}")
}

pub(super) async fn open(directory: &Path, disk: &Simulated) -> Bench {
    let files: Arc<dyn Opener> = Arc::new(disk.clone());
    let registry = prometheus::Registry::new();
    let cache = Cache::open_on(&config(directory), &registry, &files).unwrap();
    cache.loaded().await;
    let site = cache.partition("site").unwrap();
    Bench {
        cache,
        site,
        fields: http::HeaderMap::new(),
    }
}

/// A run that is recorded.
pub(super) struct Run {
    pub(super) directory: tempfile::TempDir,
    pub(super) disk: Simulated,
    facts: Vec<Fact>,
    version: u64,
}

impl Run {
    fn know(&mut self, fact: Fact) {
        self.disk.mark(self.facts.len() as u64);
        self.facts.push(fact);
    }

    /// Stores the next version of some or all, and waits until it is durable.
    async fn store(&mut self, bench: &Bench, of: Option<usize>) {
        self.version += 1;
        for (n, length) in LENGTHS.into_iter().enumerate() {
            if of.is_none_or(|one| one == n) {
                let head = response(&self.version.to_string(), &[], &[]);
                let body = content(self.version, length);
                bench.store(&path(n), head, body).await;
            }
        }
        bench.flushed().await;
        self.know(Fact::Durable(of, self.version));
    }

    async fn purge(&mut self, bench: &Bench, of: Option<usize>) {
        let what = match of {
            None => What::All,
            Some(n) => What::Url(bench.key(&path(n)).url()),
        };
        let purge = Purge {
            partition: Some(bench.site),
            what: vec![what],
            mode: Mode::Hard,
        };
        bench.cache.purge(purge).await.unwrap();
        self.know(Fact::Purged(of, self.version));
    }
}

/// What a crash may have left of a path: no version below the first, none up to the second.
fn bounds(facts: &[Fact], marks: &[u64], n: usize) -> (u64, u64) {
    let known = marks
        .iter()
        .map(|&mark| facts[usize::try_from(mark).unwrap()]);
    let is_of = |of: Option<usize>| of.is_none_or(|one| one == n);
    known.fold((0, 0), |(durable, purged), fact| match fact {
        Fact::Durable(of, version) if is_of(of) => (version, purged),
        Fact::Purged(of, version) if is_of(of) => (durable, version),
        Fact::Durable(..) | Fact::Purged(..) => (durable, purged),
    })
}

impl Run {
    /// How many hits there are after a crash, each of them right.
    async fn check(&self, point: &CrashPoint, loss: Loss) -> usize {
        self.check_knowing(point, loss, &point.marks).await
    }

    /// The same when the test knows something else than at the moment itself.
    async fn check_knowing(&self, point: &CrashPoint, loss: Loss, marks: &[u64]) -> usize {
        let bench = open(self.directory.path(), &point.disk(loss)).await;
        let mut hits = 0;
        for (n, length) in LENGTHS.into_iter().enumerate() {
            let Some(hit) = bench.hit(&path(n)).await else {
                continue;
            };
            let version: u64 = name(&hit.response).parse().unwrap();
            let (durable, purged) = bounds(&self.facts, marks, n);
            let what = format!("event {}, {loss:?}: version {version} of {n}", point.number);
            assert!(version >= durable, "{what} is older than {durable}");
            assert!(version > purged, "{what} was purged with {purged}");
            // A transfer that breaks is no wrong answer.
            if let Ok(read) = read_body(hit.body).await {
                assert!(read == content(version, length), "{what} has wrong bytes");
                hits += 1;
            }
        }
        hits
    }
}

/// Two sessions with purges in each, while the ring goes round.
pub(super) async fn recorded(rounds: usize) -> Run {
    let disk = Simulated::default();
    disk.record();
    let mut run = Run {
        directory: directory(),
        disk,
        facts: Vec::new(),
        version: 0,
    };
    for _ in 0..rounds {
        let bench = open(run.directory.path(), &run.disk).await;
        run.store(&bench, None).await;
        run.purge(&bench, Some(1)).await;
        run.store(&bench, Some(1)).await;
        run.store(&bench, Some(3)).await;
        run.purge(&bench, None).await;
        run.store(&bench, None).await;
        bench.cache.close().await;
    }
    run
}

#[tokio::test]
async fn whenever_the_power_goes_nothing_wrong_comes_back() {
    let run = recorded(2).await;
    let points = run.disk.crash_points();
    let mut kept = 0;
    for point in &points {
        let seed = point.number as u64;
        for loss in [
            Loss::All,
            Loss::Reordered,
            Loss::Torn(seed),
            Loss::Some(seed),
        ] {
            run.check(point, loss).await;
        }
        kept += run.check(point, Loss::Nothing).await;
    }
    assert!(
        kept > points.len(),
        "{kept} hits after {} crashes",
        points.len()
    );
    // What was made durable lives.
    let last = points.last().unwrap();
    assert_eq!(run.check(last, Loss::All).await, LENGTHS.len());
}

#[tokio::test]
async fn a_second_loss_while_coming_back_changes_nothing() {
    let run = recorded(1).await;
    for point in run.disk.crash_points().iter().step_by(9) {
        let seed = point.number as u64;
        let disk = point.disk(Loss::Some(seed));
        disk.record();
        let bench = open(run.directory.path(), &disk).await;
        bench.cache.close().await;
        for again in disk.crash_points() {
            for loss in [Loss::All, Loss::Some(seed)] {
                run.check_knowing(&again, loss, &point.marks).await;
            }
        }
    }
}
