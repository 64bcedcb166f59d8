//! What is on disk, by primary key: enough to choose a variant without reading anything.
//!
//! Asked by `store` when memory has nothing, changed by the volumes' writers, their recovery, and every commit. A plain map in memory.
//! Only the newest version of a variant is here, and it leaves the moment a newer one is committed, whether or not that one reaches the
//! disk: an older version never comes back.

mod bucket;
pub mod slot;
pub mod table;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::key::KeyHasher;
use crate::memory::{VARIANTS_MAX, Version};
use crate::purge::Tick;
use crate::semantics::vary::{SelectingFields, Selector};

use super::record::Location;

/// Locks that keys are spread over.
const SHARDS: usize = 256;

/// One stored response on disk.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) selected_by: u128,
    pub(crate) vary: Arc<[Selector]>,
    pub(crate) birth: Tick,
    pub(crate) version: Version,
    /// The volume's number.
    pub(crate) volume: usize,
    pub(crate) head: Location,
}

impl Entry {
    const fn recency(&self) -> (Tick, Version) {
        (self.birth, self.version)
    }

    fn replaces(&self, other: &Self) -> bool {
        self.selected_by == other.selected_by && self.vary == other.vary
    }
}

/// What a look-up in the index found.
#[derive(Debug)]
pub(crate) enum Found {
    Entry(Entry),
    /// The key is known, but no variant is selected.
    OtherVariants,
    Nothing,
}

/// The index of all volumes.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Box<[Mutex<Shard>]>,
    entries: AtomicU64,
    loading: AtomicBool,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<u128, Vec<Entry>>,
    /// While volumes load: what was committed meanwhile, so that older versions found on disk stay out.
    superseded: HashMap<(u128, u128), (Tick, Version)>,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            entries: AtomicU64::new(0),
            loading: AtomicBool::new(true),
        }
    }

    /// How many stored responses are on disk.
    pub(crate) fn len(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// The newest variant that a request selects.
    pub(crate) fn find(
        &self,
        primary: u128,
        selecting: &SelectingFields<'_>,
        keys: &KeyHasher,
    ) -> Found {
        let candidates = match self.shard(primary).lock().entries.get(&primary) {
            Some(entries) => entries.clone(),
            None => return Found::Nothing,
        };
        let selected = candidates.into_iter().find(|entry| {
            entry.vary.is_empty() || selecting.hash(&entry.vary, keys) == entry.selected_by
        });
        selected.map_or(Found::OtherVariants, Found::Entry)
    }

    /// Whether anything is stored under a primary key.
    pub(crate) fn has(&self, primary: u128) -> bool {
        self.shard(primary).lock().entries.contains_key(&primary)
    }

    /// Whether exactly this version is the one on disk.
    pub(crate) fn holds(&self, primary: u128, version: Version) -> bool {
        let shard = self.shard(primary).lock();
        let entries = shard.entries.get(&primary).map_or(&[][..], Vec::as_slice);
        entries.iter().any(|entry| entry.version == version)
    }

    /// Whether a newer response than this is on disk for other selecting fields.
    pub(crate) fn has_newer_by_other_fields(
        &self,
        primary: u128,
        vary: &[Selector],
        recency: (Tick, Version),
    ) -> bool {
        let shard = self.shard(primary).lock();
        let entries = shard.entries.get(&primary).map_or(&[][..], Vec::as_slice);
        entries
            .iter()
            .any(|entry| *entry.vary != *vary && entry.recency() > recency)
    }

    /// Puts an entry in, unless a newer version is there or was committed.
    pub(crate) fn insert(&self, primary: u128, entry: Entry) -> bool {
        let mut shard = self.shard(primary).lock();
        let superseded = shard.superseded.get(&(primary, entry.selected_by));
        if superseded.is_some_and(|newer| *newer > entry.recency()) {
            return false;
        }
        let entries = shard.entries.entry(primary).or_default();
        if entries
            .iter()
            .any(|other| entry.replaces(other) && other.recency() > entry.recency())
        {
            return false;
        }
        let before = entries.len();
        entries.retain(|other| !entry.replaces(other));
        let at = entries.partition_point(|other| other.recency() > entry.recency());
        entries.insert(at, entry);
        entries.truncate(VARIANTS_MAX);
        let after = entries.len();
        drop(shard);
        self.count(before, after);
        true
    }

    /// A version is committed: what is on disk of older ones is gone. Tells whether there was any.
    pub(crate) fn supersede(
        &self,
        primary: u128,
        selected_by: u128,
        vary: &[Selector],
        recency: (Tick, Version),
    ) -> bool {
        let mut shard = self.shard(primary).lock();
        if self.loading.load(Ordering::Acquire) {
            shard.superseded.insert((primary, selected_by), recency);
        }
        self.retain(&mut shard, primary, |entry| {
            entry.selected_by != selected_by || *entry.vary != *vary || entry.recency() > recency
        })
    }

    /// Takes one version out.
    pub(crate) fn remove(&self, primary: u128, version: Version) -> bool {
        let mut shard = self.shard(primary).lock();
        self.retain(&mut shard, primary, |entry| entry.version != version)
    }

    /// Every volume is loaded: nothing older can appear any more.
    pub(crate) fn finish_loading(&self) {
        self.loading.store(false, Ordering::Release);
        for shard in &self.shards {
            shard.lock().superseded = HashMap::new();
        }
    }

    /// Takes out everything that is on a volume.
    pub(crate) fn remove_volume(&self, volume: usize) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let keys: Vec<u128> = shard.entries.keys().copied().collect();
            for primary in keys {
                self.retain(&mut shard, primary, |entry| entry.volume != volume);
            }
        }
    }

    /// Whether anything was taken out.
    fn retain(&self, shard: &mut Shard, primary: u128, keep: impl Fn(&Entry) -> bool) -> bool {
        let Some(entries) = shard.entries.get_mut(&primary) else {
            return false;
        };
        let before = entries.len();
        entries.retain(keep);
        let after = entries.len();
        if after == 0 {
            shard.entries.remove(&primary);
        }
        self.count(before, after);
        after < before
    }

    fn count(&self, before: usize, after: usize) {
        self.entries.fetch_add(after as u64, Ordering::Relaxed);
        self.entries.fetch_sub(before as u64, Ordering::Relaxed);
    }

    fn shard(&self, primary: u128) -> &Mutex<Shard> {
        &self.shards[primary as usize % SHARDS]
    }
}
