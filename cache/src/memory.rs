//! The memory tier: which variants of a key are in memory, and what do they weigh?
//!
//! Read by `store` on every look-up, written when a fill ends, a response is freshened, or a disk hit is worth keeping. One entry per
//! primary key holds all its variants, newest first, and leaves as a whole, so that no older variant is found where a newer one was. What
//! stays when it is full is decided by `queues`. Judges nothing: purges and freshness are the caller's. Invariants: an older version never
//! replaces a newer one, and what is held never weighs more than the tier may take, everything counted.

pub mod queues;
mod shard;
#[cfg(test)]
mod tests;
mod weight;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::disk::ghost::{Ghost, Sign};
use crate::key::{Key, KeyHasher};
use crate::metrics::Metrics;
use crate::purge::Tick;
use crate::semantics::vary::{Selecting, SelectingFields};
use crate::variant::Variant;

use queues::{Hit, Queue, Rules};
use shard::{Held, Shard};

/// Variants of one key; beyond, the oldest is given up.
pub(crate) const VARIANTS_MAX: usize = 64;
/// Share of the memory that one key with all its variants may take.
const KEY_SHARE: u64 = 4;
/// Share of the memory that the content of one response may take when there is no disk.
const CONTENT_SHARE: u64 = 8;
/// Content that is held whole when there is a disk to read larger content from, in bytes.
const CONTENT_WITH_DISK_MAX: u64 = 1 << 20;
/// Memory that one lock guards, in bytes, up to [`SHARDS_MAX`] of them.
const SHARD_BYTES: u64 = 64 << 20;
/// Locks that keys are spread over.
const SHARDS_MAX: u64 = 64;
/// Keys that are looked at under one lock when all are.
const SWEPT_TOGETHER: usize = 256;
/// Keys that are looked at before whoever looks at all is to rest.
const STEP: usize = 4096;
/// Keys that are remembered after they left, where there is no disk to remember them: one for so many bytes of memory. A key takes two.
const BYTES_PER_GHOST: u64 = 4096;

/// What a look-up in memory found.
#[derive(Debug)]
pub(crate) enum Found {
    /// A variant, and what the hit says of its key.
    Variant(Arc<Variant>, Hit),
    /// The key is known, but no variant is selected.
    OtherVariants,
    Nothing,
}

/// How far somebody has gone through everything.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    shard: usize,
    place: usize,
    passed: usize,
}

/// The memory tier.
#[derive(Debug)]
pub(crate) struct MemoryTier {
    shards: Box<[Mutex<Shard>]>,
    /// What left lately; none where there is a disk, which remembers.
    ghost: Option<Ghost>,
    keys: KeyHasher,
    metrics: Metrics,
    used: AtomicU64,
    responses: AtomicU64,
    capacity: u64,
    /// What entries may take of the capacity.
    room: u64,
    weight_max: u64,
    content_max: u64,
}

impl MemoryTier {
    /// A tier of `bytes`; `with_disk` tells whether larger content can live elsewhere.
    pub(crate) fn new(bytes: u64, with_disk: bool, keys: KeyHasher, metrics: Metrics) -> Self {
        let share = bytes / CONTENT_SHARE;
        let (rules, content_max) = if with_disk {
            (Rules::BEFORE_DISK, share.min(CONTENT_WITH_DISK_MAX))
        } else {
            (Rules::ALONE, share)
        };
        let weight_max = (bytes / KEY_SHARE).min(u64::from(u32::MAX));
        let shards = (bytes / SHARD_BYTES).clamp(1, SHARDS_MAX);
        let ghost = (!with_disk).then(|| Ghost::new(bytes / BYTES_PER_GHOST));
        Self {
            shards: (0..shards).map(|_| Mutex::new(Shard::new(rules))).collect(),
            used: AtomicU64::new(0),
            responses: AtomicU64::new(0),
            capacity: bytes,
            room: bytes.saturating_sub(ghost.as_ref().map_or(0, Ghost::bytes)),
            ghost,
            keys,
            metrics,
            weight_max,
            content_max: content_max.min(weight_max / 2),
        }
    }

    /// Bytes that the tier may take.
    pub(crate) const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The largest content that is held in memory, in bytes.
    pub(crate) const fn content_max(&self) -> u64 {
        self.content_max
    }

    /// Whether anything is held under a primary key.
    pub(crate) fn has(&self, primary: u128) -> bool {
        self.newest(primary).is_some()
    }

    /// The newest variant of a key. Not a hit.
    pub(crate) fn newest(&self, primary: u128) -> Option<Arc<Variant>> {
        let shard = self.shard(primary).lock();
        shard.get(primary)?.list().first().cloned()
    }

    /// The newest variant that a request selects. Counts a hit.
    pub(crate) fn find(&self, key: &Key, selecting: &SelectingFields<'_>) -> Found {
        // What selects is computed without the lock.
        let hit = self.shard(key.primary()).lock().hit(key.primary());
        let Some((held, hit)) = hit else {
            return Found::Nothing;
        };
        if !held.is_of(key) {
            return Found::Nothing;
        }
        let mut selecting = Selecting::new(*selecting, &self.keys);
        match held.find(|variant| variant.is_selected(&mut selecting)) {
            Some(variant) => Found::Variant(variant, hit),
            None => Found::OtherVariants,
        }
    }

    /// Puts a variant in, unless a newer version of it is there or `allowed`, asked under the lock of the key, says no.
    ///
    /// Whoever holds this lock may take those of the disk's catalog; nobody takes it the other way round.
    pub(crate) fn insert(&self, variant: &Arc<Variant>, allowed: impl FnOnce() -> bool) -> bool {
        let prepare = || allowed().then(|| Arc::clone(variant));
        self.insert_with(variant.key.primary(), prepare, |_| ())
            .is_some()
    }

    /// The same for what `prepare` makes, if anything; `then` is done with it when it is in. All under the lock of the key, so that
    /// whoever comes meanwhile finds everything done or nothing.
    pub(crate) fn insert_with<T>(
        &self,
        primary: u128,
        prepare: impl FnOnce() -> Option<Arc<Variant>>,
        then: impl FnOnce(&Arc<Variant>) -> T,
    ) -> Option<T> {
        let done = {
            let mut shard = self.shard(primary).lock();
            let variant = prepare()?;
            let before = shard.measure();
            let list = self.with_variant(shard.get(primary), &variant)?;
            shard.put(primary, list, self.queue_for(&variant));
            self.count(before, shard.measure());
            self.make_room(&mut shard, Some(primary));
            then(&variant)
        };
        self.make_room_elsewhere();
        self.measure();
        Some(done)
    }

    /// A variant is on its way to the disk: its key makes room before what is nowhere else.
    pub(crate) fn keep(&self, variant: &Variant) {
        if variant.is_held() {
            self.shard(variant.key.primary())
                .lock()
                .keep(variant.key.primary());
        }
    }

    /// Takes out one version of one variant, if it is still there.
    pub(crate) fn remove(&self, variant: &Arc<Variant>) {
        self.remove_all(self.shard(variant.key.primary()), &[variant]);
    }

    /// Goes through everything and takes out what `is_dead`; the birth of the oldest that stays, [`Tick::FOREVER`] when nothing does. `None`
    /// when `goes_on`, called after every [`STEP`] keys, said that this is not wanted any more.
    pub(crate) fn sweep(
        &self,
        is_dead: impl Fn(&Variant) -> bool,
        goes_on: impl Fn() -> bool,
    ) -> Option<Tick> {
        let mut oldest = Tick::FOREVER;
        let mut cursor = Cursor::default();
        // Judged without the lock.
        while let Some((shard, some)) = self.next(&mut cursor) {
            let all = some.iter().flat_map(Held::list);
            let (dead, live): (Vec<_>, Vec<_>) = all.partition(|variant| is_dead(variant));
            oldest = live.iter().map(|live| live.birth).fold(oldest, Tick::min);
            self.remove_all(shard, &dead);
            if cursor.passed.is_multiple_of(STEP) && !goes_on() {
                return None;
            }
        }
        Some(oldest)
    }

    /// Some more of what is held; `None` when that was all. What comes meanwhile where one has been already is passed over.
    pub(crate) fn some(&self, cursor: &mut Cursor) -> Option<Vec<Arc<Variant>>> {
        let (_, some) = self.next(cursor)?;
        Some(some.iter().flat_map(Held::list).cloned().collect())
    }

    fn next(&self, cursor: &mut Cursor) -> Option<(&Mutex<Shard>, Vec<Held>)> {
        while let Some(shard) = self.shards.get(cursor.shard) {
            if let Some(some) = { shard.lock().some_from(cursor.place, SWEPT_TOGETHER) } {
                cursor.place += SWEPT_TOGETHER;
                cursor.passed += SWEPT_TOGETHER;
                return Some((shard, some));
            }
            (cursor.shard, cursor.place) = (cursor.shard + 1, 0);
        }
        None
    }

    /// Takes versions out of a shard, those that are still there; what they were is given back without the lock.
    fn remove_all(&self, shard: &Mutex<Shard>, variants: &[&Arc<Variant>]) {
        if variants.is_empty() {
            return;
        }
        {
            let mut shard = shard.lock();
            let before = shard.measure();
            for variant in variants {
                shard.remove_version(variant.key.primary(), variant.version);
            }
            self.count(before, shard.measure());
        }
        self.measure();
    }

    /// The list with `variant` in it; `None` when a newer version is there.
    fn with_variant(&self, present: Option<&Held>, variant: &Arc<Variant>) -> Option<Held> {
        let present = present.map_or(&[][..], Held::list);
        let is_same_key = present.iter().all(|v| v.key.is_same(&variant.key));
        let mut list: Vec<_> = if is_same_key { present } else { &[] }.to_vec();
        if list
            .iter()
            .any(|other| variant.replaces(other) && other.recency() > variant.recency())
        {
            return None;
        }
        list.retain(|other| !variant.replaces(other));
        list.push(Arc::clone(variant));
        list.sort_by_key(|variant| std::cmp::Reverse(variant.recency()));
        list.truncate(VARIANTS_MAX);
        while list.len() > 1 && weight::of(&list) > self.weight_max {
            list.pop();
        }
        let is_in = list.iter().any(|kept| Arc::ptr_eq(kept, variant));
        is_in.then(|| Held::of(list)).flatten()
    }

    /// Where a key goes that was not in.
    fn queue_for(&self, variant: &Variant) -> Queue {
        let is_recalled = || {
            let ghost = self.ghost.as_ref();
            ghost.is_some_and(|ghost| ghost.recall(variant.key.primary()).is_some())
        };
        if variant.is_on_disk() || is_recalled() {
            Queue::Kept
        } else {
            Queue::Window
        }
    }

    /// Evicts from a shard until everything fits or there is nothing else in it.
    fn make_room(&self, shard: &mut Shard, spared: Option<u128>) {
        while self.used.load(Ordering::Relaxed) > self.room {
            let before = shard.measure();
            let Some((primary, queue)) = shard.evict(spared) else {
                return;
            };
            self.count(before, shard.measure());
            if let (Queue::Window, Some(ghost)) = (queue, &self.ghost) {
                ghost.remember(primary, Sign::First);
            }
            let evictions = &self.metrics.evictions;
            evictions.with_label_values(&["memory", "capacity"]).inc();
        }
    }

    /// The same in the other shards, where one had too little to give.
    fn make_room_elsewhere(&self) {
        for shard in &self.shards {
            if self.used.load(Ordering::Relaxed) <= self.room {
                return;
            }
            self.make_room(&mut shard.lock(), None);
        }
    }

    fn count(&self, before: (u64, u64), after: (u64, u64)) {
        // Wrapping: what goes down is added as its complement.
        self.used
            .fetch_add(after.0.wrapping_sub(before.0), Ordering::Relaxed);
        self.responses
            .fetch_add(after.1.wrapping_sub(before.1), Ordering::Relaxed);
    }

    fn measure(&self) {
        let value = |of: &AtomicU64| i64::try_from(of.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let gauges = [
            (&self.metrics.stored_bytes, &self.used),
            (&self.metrics.stored_responses, &self.responses),
        ];
        for (gauge, of) in gauges {
            gauge.with_label_values(&["memory"]).set(value(of));
        }
    }

    fn shard(&self, primary: u128) -> &Mutex<Shard> {
        // The upper half: the lower one spreads keys within the shard.
        &self.shards[(primary >> 64) as usize % self.shards.len()]
    }
}
