//! The store against a map that may forget, over any sequence of steps.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::purge::{Mode, What};

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
