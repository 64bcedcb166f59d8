//! Is a response that was born at a tick still alive? The "born-before" tables that answer it.
//!
//! Read at every hit and commit, written by the journal's thread alone when a group of purges is durable. A watermark is a tick: what it
//! matches and was born at or before it is dead (hard) or stale (soft). The commonest answer, "no purge since it was born", costs one
//! atomic load. Tables are bounded: marks that are older than everything stored are dropped, and on overflow the oldest marks of a partition
//! melt into one mark over the whole partition. Either purges too much rather than too little (invariant 4). Knows no clock and no disk.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::key::{KeyHasher, Partition};
use crate::lock::{Make, Own, Rising, SharedLock};

use super::{Mode, Tick};

/// Marks for single URLs, tags and prefixes that one partition may have. Four times what calls for dropping the old ones: so many purges
/// may come while that is being found out.
const FINE_MARKS_PER_PARTITION_MAX: usize = 65_536;
/// The same for all partitions together: with 64 bytes a slot, compacted they fit the journal twice.
const FINE_MARKS_MAX: usize = 262_144;
/// Of the marks that are allowed, the part that calls for dropping the old ones each time that it is there again.
const CROWDED_PARTS: usize = 4;
/// Different lengths of prefixes in one partition: each costs a hash at every look-up of something older.
const PREFIX_LENGTHS_MAX: usize = 32;
/// Locks that partitions are spread over.
const SHARDS: usize = 64;

/// What a response is judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// Where it lies.
    pub(crate) partition: Partition,
    /// [`crate::Key::url`].
    pub(crate) url: u128,
    /// The normalised path and query.
    pub(crate) path: &'a [u8],
    /// The hashes of its tags; empty while its head is not known yet.
    pub(crate) tags: &'a [u128],
}

/// What has become of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// No purge has touched it.
    Live,
    /// A soft purge has.
    Stale,
    /// A hard purge has.
    Dead,
}

/// One thing purged, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The whole store.
    Everything,
    /// A whole partition.
    Partition(Partition),
    /// One URL of a partition.
    Url(Partition, u128),
    /// One tag of a partition.
    Tag(Partition, u128),
    /// The paths of a partition whose first `length` bytes have this hash.
    Prefix {
        partition: Partition,
        length: u32,
        hash: u128,
    },
}

impl Target {
    /// `all`, `url`, `tag` or `prefix`.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Everything | Self::Partition(_) => "all",
            Self::Url(..) => "url",
            Self::Tag(..) => "tag",
            Self::Prefix { .. } => "prefix",
        }
    }
}

/// The newest hard and the newest soft purge of one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) hard: Tick,
    pub(crate) soft: Tick,
}

impl Mark {
    fn raise(&mut self, mode: Mode, tick: Tick) {
        match mode {
            Mode::Hard => self.hard = self.hard.max(tick),
            Mode::Soft => self.soft = self.soft.max(tick),
        }
    }

    fn merge(&mut self, other: Self) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }

    fn latest(self) -> Tick {
        self.hard.max(self.soft)
    }

    /// The mark without what touches nothing that was born after `floor`.
    fn above(self, floor: Tick) -> Self {
        let above = |tick: Tick| if tick > floor { tick } else { Tick::NEVER };
        Self {
            hard: above(self.hard),
            soft: above(self.soft),
        }
    }

    fn judge(self, birth: Tick) -> Verdict {
        if birth <= self.hard {
            Verdict::Dead
        } else if birth <= self.soft {
            Verdict::Stale
        } else {
            Verdict::Live
        }
    }
}

/// All marks of one partition.
#[derive(Debug, Default)]
struct PartitionMarks {
    whole: Mark,
    urls: HashMap<u128, Mark>,
    tags: HashMap<u128, Mark>,
    prefixes: BTreeMap<u32, HashMap<u128, Mark>>,
    /// The newest of the three tables above: what is younger needs no probing.
    latest_fine: Tick,
}

impl PartitionMarks {
    fn judge(&self, facts: &Facts<'_>, birth: Tick, keys: &KeyHasher) -> Verdict {
        let mut verdict = self.whole.judge(birth);
        if verdict == Verdict::Dead || birth > self.latest_fine {
            return verdict;
        }
        let mut consider = |mark: Option<&Mark>| {
            verdict = mark.map_or(verdict, |mark| verdict.max(mark.judge(birth)));
        };
        consider(self.urls.get(&facts.url));
        for tag in facts.tags {
            consider(self.tags.get(tag));
        }
        for (length, marks) in &self.prefixes {
            let Some(prefix) = facts.path.get(..*length as usize) else {
                break;
            };
            consider(marks.get(&keys.hash(prefix)));
        }
        verdict
    }

    fn fine(&self) -> usize {
        self.urls.len() + self.tags.len() + self.prefixes.values().map(HashMap::len).sum::<usize>()
    }

    /// Melts the older half of the fine marks into the mark over the whole partition.
    fn melt(&mut self) {
        let mut ticks: Vec<Tick> = self.fine_marks().map(Mark::latest).collect();
        if ticks.is_empty() {
            return;
        }
        let middle = (ticks.len() - 1) / 2;
        let (_, limit, _) = ticks.select_nth_unstable(middle);
        self.melt_until(*limit);
    }

    fn melt_until(&mut self, limit: Tick) {
        let whole = &mut self.whole;
        let mut keep = |_: &u128, mark: &mut Mark| {
            let melts = mark.latest() <= limit;
            if melts {
                whole.merge(*mark);
            }
            !melts
        };
        self.urls.retain(&mut keep);
        self.tags.retain(&mut keep);
        for marks in self.prefixes.values_mut() {
            marks.retain(&mut keep);
        }
        self.prefixes.retain(|_, marks| !marks.is_empty());
    }

    /// Drops what touches nothing that was born after `floor`.
    fn forget(&mut self, floor: Tick) {
        let keep = |_: &u128, mark: &mut Mark| {
            *mark = mark.above(floor);
            mark.latest() > Tick::NEVER
        };
        self.whole = self.whole.above(floor);
        self.urls.retain(keep);
        self.tags.retain(keep);
        for marks in self.prefixes.values_mut() {
            marks.retain(keep);
        }
        self.prefixes.retain(|_, marks| !marks.is_empty());
        // What a storm has taken is given back.
        self.urls.shrink_to_fit();
        self.tags.shrink_to_fit();
    }

    fn is_empty(&self) -> bool {
        self.whole.latest() == Tick::NEVER && self.fine() == 0
    }

    fn fine_marks(&self) -> impl Iterator<Item = Mark> {
        let prefixes = self.prefixes.values().flat_map(HashMap::values);
        self.urls
            .values()
            .chain(self.tags.values())
            .chain(prefixes)
            .copied()
    }
}

/// Every watermark of the node.
pub(crate) struct Watermarks<M: Make = Own> {
    /// The newest purge of any kind.
    latest: M::Rising,
    everything: M::Shared<Mark>,
    partitions: Box<[M::Shared<OfPartitions>]>,
    /// Fine marks in all partitions, roughly; exact for the one thread that writes.
    fine: AtomicU64,
    /// A table came close to its bound since old marks were dropped last.
    crowded: AtomicBool,
}

type OfPartitions = HashMap<Partition, PartitionMarks>;

impl std::fmt::Debug for Watermarks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watermarks").finish_non_exhaustive()
    }
}

impl Default for Watermarks {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Make> Watermarks<M> {
    pub(crate) fn new() -> Self {
        let shard = |_| M::Shared::around(OfPartitions::new());
        Self {
            latest: M::Rising::at(0),
            everything: M::Shared::around(Mark::default()),
            partitions: (0..SHARDS).map(shard).collect(),
            fine: AtomicU64::new(0),
            crowded: AtomicBool::new(false),
        }
    }

    /// What has become of a response with these facts that was born at `birth`.
    pub(crate) fn judge(&self, facts: &Facts<'_>, birth: Tick, keys: &KeyHasher) -> Verdict {
        if birth.0 > self.latest.get() {
            return Verdict::Live;
        }
        // Before the mark over everything: that one is raised first when those beneath it are dropped.
        let own = {
            let partitions = self.shard(facts.partition).read();
            let marks = partitions.get(&facts.partition);
            marks.map_or(Verdict::Live, |marks| marks.judge(facts, birth, keys))
        };
        own.max(self.everything.read().judge(birth))
    }

    /// Takes in a purge that is durable. Called by the one thread that writes.
    pub(crate) fn apply(&self, target: Target, mode: Mode, tick: Tick) {
        match target {
            Target::Everything if mode == Mode::Hard => self.forget(tick),
            Target::Everything => self.everything.write().raise(mode, tick),
            Target::Partition(partition) => self.apply_whole(partition, mode, tick),
            Target::Url(partition, url) => self.apply_fine(partition, tick, |marks| {
                marks.urls.entry(url).or_default().raise(mode, tick);
            }),
            Target::Tag(partition, tag) => self.apply_fine(partition, tick, |marks| {
                marks.tags.entry(tag).or_default().raise(mode, tick);
            }),
            Target::Prefix {
                partition,
                length,
                hash,
            } => {
                self.apply_fine(partition, tick, |marks| {
                    let of_length = marks.prefixes.entry(length).or_default();
                    of_length.entry(hash).or_default().raise(mode, tick);
                });
            }
        }
        self.latest.raise(tick.0);
    }

    /// Drops the marks that touch only what was born at or before `floor`: all of that is dead from now on, whoever still has it. So a floor
    /// that is too high costs hits, and brings nothing back. Called by the one thread that writes.
    pub(crate) fn forget(&self, floor: Tick) {
        if floor == Tick::NEVER {
            return;
        }
        {
            // First: in between, both count.
            let mut everything = self.everything.write();
            *everything = everything.above(floor);
            everything.raise(Mode::Hard, floor);
        }
        self.latest.raise(floor.0);
        let mut left = 0;
        for shard in &self.partitions {
            let mut shard = shard.write();
            shard.retain(|_, marks| {
                marks.forget(floor);
                left += marks.fine() as u64;
                !marks.is_empty()
            });
        }
        self.fine.store(left, Ordering::Relaxed);
    }

    /// Whether a table came close to its bound since this was asked last.
    pub(crate) fn take_crowded(&self) -> bool {
        self.crowded.swap(false, Ordering::Relaxed)
    }

    /// As if a table had come close to its bound.
    #[cfg(test)]
    pub(crate) fn crowd(&self) {
        self.crowded.store(true, Ordering::Relaxed);
    }

    /// How many marks for single URLs, tags and prefixes there are.
    pub(crate) fn fine(&self) -> u64 {
        self.fine.load(Ordering::Relaxed)
    }

    /// Every mark there is, as purges that would make them again; no order.
    pub(crate) fn live(&self) -> Vec<(Target, Mode, Tick)> {
        let mut list = Vec::new();
        push(&mut list, Target::Everything, *self.everything.read());
        for shard in &self.partitions {
            for (&partition, marks) in &*shard.read() {
                push(&mut list, Target::Partition(partition), marks.whole);
                for (&url, &mark) in &marks.urls {
                    push(&mut list, Target::Url(partition, url), mark);
                }
                for (&tag, &mark) in &marks.tags {
                    push(&mut list, Target::Tag(partition, tag), mark);
                }
                for (&length, of_length) in &marks.prefixes {
                    for (&hash, &mark) in of_length {
                        push(
                            &mut list,
                            Target::Prefix {
                                partition,
                                length,
                                hash,
                            },
                            mark,
                        );
                    }
                }
            }
        }
        list
    }

    fn shard(&self, partition: Partition) -> &M::Shared<OfPartitions> {
        &self.partitions[partition.0 as usize % SHARDS]
    }

    fn with<T>(&self, partition: Partition, change: impl FnOnce(&mut PartitionMarks) -> T) -> T {
        change(self.shard(partition).write().entry(partition).or_default())
    }

    /// A whole partition: when that is hard, what it was marked with before touches nothing any more.
    fn apply_whole(&self, partition: Partition, mode: Mode, tick: Tick) {
        let (before, after) = self.with(partition, |marks| {
            let before = marks.fine();
            if mode == Mode::Hard {
                marks.forget(tick);
            }
            marks.whole.raise(mode, tick);
            (before, marks.fine())
        });
        self.count(before, after);
    }

    fn apply_fine(
        &self,
        partition: Partition,
        tick: Tick,
        change: impl FnOnce(&mut PartitionMarks),
    ) {
        let (before, after) = self.with(partition, |marks| {
            let before = marks.fine();
            change(marks);
            marks.latest_fine = marks.latest_fine.max(tick);
            while marks.prefixes.len() > PREFIX_LENGTHS_MAX
                || marks.fine() > FINE_MARKS_PER_PARTITION_MAX
            {
                marks.melt();
            }
            (before, marks.fine())
        });
        self.count(before, after);
        let all = usize::try_from(self.fine()).unwrap_or(usize::MAX);
        if crosses(before, after, FINE_MARKS_PER_PARTITION_MAX)
            || crosses((all + before).saturating_sub(after), all, FINE_MARKS_MAX)
        {
            self.crowded.store(true, Ordering::Relaxed);
        }
        if all > FINE_MARKS_MAX {
            self.melt_largest();
        }
    }

    /// One partition's storm is paid by that partition: the one with most marks melts.
    fn melt_largest(&self) {
        let largest = self.partitions.iter().filter_map(|shard| {
            let shard = shard.read();
            shard
                .iter()
                .map(|(&partition, marks)| (marks.fine(), partition))
                .max()
        });
        let Some((before, partition)) = largest.max() else {
            return;
        };
        let after = self.with(partition, |marks| {
            marks.melt();
            marks.fine()
        });
        self.count(before, after);
    }

    fn count(&self, before: usize, after: usize) {
        self.fine.fetch_add(after as u64, Ordering::Relaxed);
        self.fine.fetch_sub(before as u64, Ordering::Relaxed);
    }
}

/// Whether a table with a bound becomes crowded, or more so, by growing from `before` to `after`.
const fn crosses(before: usize, after: usize, bound: usize) -> bool {
    let part = bound / CROWDED_PARTS;
    before / part < after / part
}

fn push(list: &mut Vec<(Target, Mode, Tick)>, target: Target, mark: Mark) {
    for (mode, tick) in [(Mode::Hard, mark.hard), (Mode::Soft, mark.soft)] {
        if tick > Tick::NEVER {
            list.push((target, mode, tick));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SITE: Partition = Partition(7);

    fn keys() -> KeyHasher {
        KeyHasher::new([3; 16])
    }

    fn facts<'a>(tags: &'a [u128]) -> Facts<'a> {
        Facts {
            partition: SITE,
            url: 11,
            path: b"/news/today?x=1",
            tags,
        }
    }

    fn prefix(partition: Partition, text: &[u8]) -> Target {
        let length = u32::try_from(text.len()).unwrap();
        Target::Prefix {
            partition,
            length,
            hash: keys().hash(text),
        }
    }

    /// Born at 5, purged at 5: the mark must give `expected`; born at 6 it is always alive.
    fn check(target: Target, mode: Mode, expected: Verdict) {
        let marks = Watermarks::default();
        marks.apply(target, mode, Tick(5));
        let tags = [21, 22];
        assert_eq!(
            marks.judge(&facts(&tags), Tick(5), &keys()),
            expected,
            "{target:?} {mode:?}"
        );
        assert_eq!(
            marks.judge(&facts(&tags), Tick(6), &keys()),
            Verdict::Live,
            "{target:?}"
        );
    }

    #[test]
    fn a_mark_touches_what_it_names_and_nothing_else() {
        for (target, hits) in [
            (Target::Everything, true),
            (Target::Partition(SITE), true),
            (Target::Partition(Partition(8)), false),
            (Target::Url(SITE, 11), true),
            (Target::Url(SITE, 12), false),
            (Target::Url(Partition(8), 11), false),
            (Target::Tag(SITE, 22), true),
            (Target::Tag(SITE, 23), false),
            (Target::Tag(Partition(71), 22), false),
            (prefix(SITE, b""), true),
            (prefix(SITE, b"/news/"), true),
            (prefix(SITE, b"/news/today?x=1"), true),
            (prefix(SITE, b"/news/today?x=12"), false),
            (prefix(SITE, b"/old/"), false),
            (prefix(Partition(8), b"/news/"), false),
        ] {
            check(
                target,
                Mode::Hard,
                if hits { Verdict::Dead } else { Verdict::Live },
            );
            check(
                target,
                Mode::Soft,
                if hits { Verdict::Stale } else { Verdict::Live },
            );
        }
    }

    #[test]
    fn a_hard_mark_outweighs_a_newer_soft_one() {
        let marks = Watermarks::default();
        marks.apply(Target::Url(SITE, 11), Mode::Hard, Tick(5));
        marks.apply(Target::Partition(SITE), Mode::Soft, Tick(9));
        assert_eq!(marks.judge(&facts(&[]), Tick(5), &keys()), Verdict::Dead);
        assert_eq!(marks.judge(&facts(&[]), Tick(7), &keys()), Verdict::Stale);
        assert_eq!(marks.judge(&facts(&[]), Tick(10), &keys()), Verdict::Live);
    }

    #[test]
    fn overflow_purges_more_but_never_less() {
        let marks = Watermarks::default();
        let count = FINE_MARKS_PER_PARTITION_MAX as u64 + 1;
        for n in 1..=count {
            marks.apply(Target::Url(SITE, u128::from(n)), Mode::Hard, Tick(n));
        }
        for n in [1, 2, count / 2, count] {
            let facts = Facts {
                url: u128::from(n),
                ..facts(&[])
            };
            assert_eq!(marks.judge(&facts, Tick(n), &keys()), Verdict::Dead, "{n}");
            assert_eq!(
                marks.judge(&facts, Tick(count + 1), &keys()),
                Verdict::Live,
                "{n}"
            );
        }
        assert!(marks.live().len() <= FINE_MARKS_PER_PARTITION_MAX);
    }

    #[test]
    fn too_many_prefix_lengths_melt_too() {
        let marks = Watermarks::default();
        let path = [b'a'; 100];
        for n in 1..=100_usize {
            marks.apply(prefix(SITE, &path[..n]), Mode::Soft, Tick(n as u64));
        }
        let lengths = marks.with(SITE, |marks| marks.prefixes.len());
        assert!(lengths <= PREFIX_LENGTHS_MAX, "{lengths}");
        let facts = Facts {
            path: &path[..1],
            ..facts(&[])
        };
        assert_eq!(marks.judge(&facts, Tick(1), &keys()), Verdict::Stale);
    }

    #[test]
    fn what_is_younger_than_the_floor_is_judged_as_before_and_all_else_is_dead() {
        let target = prop_oneof![
            1 => Just(Target::Everything),
            2 => Just(Target::Partition(SITE)),
            1 => Just(Target::Partition(Partition(8))),
            4 => (10..13_u128).prop_map(|url| Target::Url(SITE, url)),
            4 => (20..24_u128).prop_map(|tag| Target::Tag(SITE, tag)),
            4 => (0..20_usize).prop_map(|n| prefix(SITE, &b"/news/today?x=1____!"[..n])),
        ];
        let mode = prop_oneof![Just(Mode::Hard), Just(Mode::Soft)];
        let purges = prop::collection::vec((target, mode), 0..40);
        proptest!(|(purges in purges, floors in prop::collection::vec(0..45_u64, 1..4))| {
            let (all, aged) = (Watermarks::default(), Watermarks::default());
            for (tick, (target, mode)) in (1..).zip(purges) {
                all.apply(target, mode, Tick(tick));
                aged.apply(target, mode, Tick(tick));
                if floors.contains(&(tick + 5)) {
                    aged.forget(Tick(tick));
                }
            }
            let floor = floors.into_iter().max().unwrap_or(0);
            aged.forget(Tick(floor));
            for birth in 0..50 {
                let judge = |marks: &Watermarks| marks.judge(&facts(&[22]), Tick(birth), &keys());
                let expected = if birth <= floor && floor > 0 {
                    Verdict::Dead
                } else {
                    judge(&all)
                };
                prop_assert_eq!(judge(&aged), expected, "born at {}", birth);
            }
            prop_assert!(aged.live().into_iter().all(|(_, _, tick)| tick.0 >= floor));
            prop_assert_eq!(aged.fine() == 0, aged.partitions.iter().all(|shard| {
                shard.read().values().all(|marks| marks.fine() == 0)
            }));
        });
    }

    #[test]
    fn a_table_that_comes_close_to_its_bound_says_so_once() {
        let marks = Watermarks::default();
        let mut told = Vec::new();
        let count = FINE_MARKS_PER_PARTITION_MAX as u64 * 2;
        for n in 1..=count {
            marks.apply(Target::Url(SITE, u128::from(n)), Mode::Hard, Tick(n));
            if marks.take_crowded() {
                told.push(n);
            }
        }
        // At each quarter, also those that are there again after half of it has melted.
        assert_eq!(
            told,
            [16_384, 32_768, 49_152, 65_536, 81_921, 98_305, 114_690]
        );
        marks.forget(Tick(count - 1));
        assert_eq!((marks.fine(), marks.live().len()), (1, 2));
    }

    #[test]
    fn a_hard_purge_of_all_takes_the_room_of_one_mark() {
        let other = Target::Url(Partition(8), 11);
        let marks = Watermarks::default();
        let fine = [
            Target::Url(SITE, 11),
            Target::Tag(SITE, 22),
            prefix(SITE, b"/"),
        ];
        for target in fine.into_iter().chain([other]) {
            marks.apply(target, Mode::Soft, Tick(3));
        }
        marks.apply(Target::Partition(SITE), Mode::Soft, Tick(4));
        assert_eq!(marks.fine(), 4);
        marks.apply(Target::Partition(SITE), Mode::Hard, Tick(5));
        assert_eq!((marks.fine(), marks.live().len()), (1, 2));
        marks.apply(Target::Url(SITE, 11), Mode::Hard, Tick(6));
        marks.apply(Target::Everything, Mode::Hard, Tick(7));
        assert_eq!(marks.live(), [(Target::Everything, Mode::Hard, Tick(7))]);
        assert_eq!(marks.judge(&facts(&[]), Tick(7), &keys()), Verdict::Dead);
        assert_eq!(marks.judge(&facts(&[]), Tick(8), &keys()), Verdict::Live);
    }

    #[test]
    fn what_is_listed_makes_the_same_marks_again() {
        let marks = Watermarks::default();
        let tag = Target::Tag(SITE, 22);
        marks.apply(tag, Mode::Soft, Tick(3));
        marks.apply(tag, Mode::Hard, Tick(2));
        marks.apply(prefix(SITE, b"/news"), Mode::Soft, Tick(4));
        marks.apply(Target::Everything, Mode::Hard, Tick(1));
        let again = Watermarks::default();
        for (target, mode, tick) in marks.live() {
            again.apply(target, mode, tick);
        }
        for birth in 0..6 {
            let both =
                [&marks, &again].map(|marks| marks.judge(&facts(&[22]), Tick(birth), &keys()));
            assert_eq!(both[0], both[1], "{birth}");
        }
    }
}
