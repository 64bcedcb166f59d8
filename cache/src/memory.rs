//! The memory tier: which variants of a key are in memory, and what do they weigh?
//!
//! Read by `store` on every look-up, written when a fill ends, a response is freshened, or a disk hit is worth keeping. One entry per
//! primary key holds all its variants, newest first, and is replaced as a whole under moka's lock of that key, so that no insert is lost.
//! Judges nothing: purges and freshness are the caller's. Invariant: an older version never replaces a newer one.

use std::mem::size_of;
use std::sync::Arc;

use bytes::Bytes;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;

use crate::disk::{DiskContent, OnDisk};
use crate::key::{Key, KeyHasher};
use crate::metrics::Metrics;
use crate::purge::{Facts, Tick};
use crate::semantics::vary::{Selecting, SelectingFields};
use crate::stored::StoredResponse;

/// Variants of one key; beyond, the oldest is given up.
pub(crate) const VARIANTS_MAX: usize = 64;
/// Share of the memory that one key with all its variants may take.
const KEY_SHARE: u64 = 4;
/// Share of the memory that the content of one response may take when there is no disk.
const CONTENT_SHARE: u64 = 8;
/// Content that is held whole when there is a disk to read larger content from, in bytes.
const CONTENT_WITH_DISK_MAX: u64 = 1 << 20;
/// What moka takes for an entry, measured with a million of them, in bytes.
const ENTRY_OVERHEAD: usize = 256;
/// What one field takes in a `HeaderMap` besides the text of its value, in bytes.
const FIELD_OVERHEAD: usize = 104;

/// Which of two versions is newer: grows by one with every commit. Versions found on disk at the start are older than all commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version(pub(crate) u64);

/// One stored response: its head, its name and where its content is.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) key: Key,
    pub(crate) response: Arc<StoredResponse>,
    /// The hash of the selecting fields.
    pub(crate) selected_by: u128,
    pub(crate) content: Content,
    pub(crate) birth: Tick,
    pub(crate) version: Version,
    /// The hashes of the response's tags.
    pub(crate) tags: Arc<[u128]>,
    /// Where its head is on disk.
    pub(crate) on_disk: OnDisk,
}

/// Where the content of a stored response is.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// In memory, in one piece.
    Whole(Bytes),
    /// In memory, in pieces of [`crate::fill::PIECE`] bytes; the last may be shorter.
    Pieces(Arc<[Bytes]>),
    /// On disk.
    OnDisk(Arc<DiskContent>),
}

impl Content {
    pub(crate) const fn is_on_disk(&self) -> bool {
        matches!(self, Self::OnDisk(_))
    }

    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Whole(content) => content.len() as u64,
            Self::Pieces(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            Self::OnDisk(content) => content.length(),
        }
    }
}

impl Variant {
    pub(crate) fn facts(&self) -> Facts<'_> {
        Self::facts_of(&self.key, &self.tags)
    }

    /// What a response under a key, with these tags, is judged by.
    pub(crate) fn facts_of<'a>(key: &'a Key, tags: &'a [u128]) -> Facts<'a> {
        let path = key.path_and_query();
        Facts {
            partition: key.partition(),
            url: key.url(),
            path,
            tags,
        }
    }

    pub(crate) fn is_selected(&self, selecting: &mut Selecting<'_>) -> bool {
        selecting.matches(&self.response.vary, self.selected_by)
    }

    /// Whether both answer the same requests, so that the newer one replaces the older.
    fn replaces(&self, other: &Self) -> bool {
        self.selected_by == other.selected_by && self.response.vary == other.response.vary
    }

    /// Greater is newer. What was sent before a purge never replaces what was sent after it, whichever ends first.
    pub(crate) const fn recency(&self) -> (Tick, Version) {
        (self.birth, self.version)
    }

    fn weight(&self) -> usize {
        let response = &self.response;
        let fields: usize = response
            .fields
            .values()
            .map(|value| value.len() + FIELD_OVERHEAD)
            .sum();
        let in_memory = match &self.content {
            Content::Whole(_) | Content::Pieces(_) => self.content.length(),
            Content::OnDisk(content) => content.weight(),
        };
        size_of::<Self>()
            + size_of::<StoredResponse>()
            + fields
            + response.http1_head.len()
            + response
                .tags
                .iter()
                .map(|tag| tag.len() + size_of::<(u128, Box<str>)>())
                .sum::<usize>()
            + self.key.path_and_query().len()
            + usize::try_from(in_memory).unwrap_or(usize::MAX / 2)
    }
}

/// The variants of one key, newest first; never empty.
pub(crate) type Variants = Arc<[Arc<Variant>]>;

/// What a look-up in memory found.
#[derive(Debug)]
pub(crate) enum Found {
    Variant(Arc<Variant>),
    /// The key is known, but no variant is selected.
    OtherVariants,
    Nothing,
}

/// Finds the newest variant that the request selects.
pub(crate) fn select(
    variants: &[Arc<Variant>],
    key: &Key,
    selecting: &SelectingFields<'_>,
    keys: &KeyHasher,
) -> Found {
    if !variants.first().is_some_and(|first| first.key.is_same(key)) {
        return Found::Nothing;
    }
    let mut selecting = Selecting::new(*selecting, keys);
    match variants
        .iter()
        .find(|variant| variant.is_selected(&mut selecting))
    {
        Some(variant) => Found::Variant(Arc::clone(variant)),
        None => Found::OtherVariants,
    }
}

/// The memory tier.
#[derive(Debug)]
pub(crate) struct MemoryTier {
    entries: moka::sync::Cache<u128, Variants, Spread>,
    keys: KeyHasher,
    metrics: Metrics,
    capacity: u64,
    weight_max: u64,
    content_max: u64,
}

impl MemoryTier {
    /// A tier of `bytes`; `with_disk` tells whether larger content can live elsewhere.
    pub(crate) fn new(bytes: u64, with_disk: bool, keys: KeyHasher, metrics: Metrics) -> Self {
        let evictions = metrics.evictions.clone();
        let entries = moka::sync::Cache::builder()
            .max_capacity(bytes)
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_, variants: &Variants| weight(variants))
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    evictions.with_label_values(&["memory", "capacity"]).inc();
                }
            })
            .build_with_hasher(Spread);
        let share = bytes / CONTENT_SHARE;
        let content_max = if with_disk {
            share.min(CONTENT_WITH_DISK_MAX)
        } else {
            share
        };
        let weight_max = (bytes / KEY_SHARE).min(u64::from(u32::MAX));
        let content_max = content_max.min(weight_max / 2);
        Self {
            entries,
            keys,
            metrics,
            capacity: bytes,
            weight_max,
            content_max,
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

    /// The variants of a key, newest first.
    pub(crate) fn variants(&self, primary: u128) -> Option<Variants> {
        self.entries.get(&primary)
    }

    /// The variant that a request selects.
    pub(crate) fn find(&self, key: &Key, selecting: &SelectingFields<'_>) -> Found {
        match self.entries.get(&key.primary()) {
            Some(variants) => select(&variants, key, selecting, &self.keys),
            None => Found::Nothing,
        }
    }

    /// Puts a variant in, unless a newer version of it is there or `allowed`, asked under the lock of the key, says no.
    pub(crate) fn insert(&self, variant: &Arc<Variant>, allowed: impl FnOnce() -> bool) -> bool {
        let mut inserted = false;
        self.entries
            .entry(variant.key.primary())
            .and_compute_with(|entry| {
                let present = entry.map(moka::Entry::into_value);
                if !allowed() {
                    return Op::Nop;
                }
                match self.with_variant(present.as_deref(), variant) {
                    Some(variants) => {
                        inserted = true;
                        Op::Put(variants)
                    }
                    None => Op::Nop,
                }
            });
        self.measure();
        inserted
    }

    /// Takes out one version of one variant, if it is still there.
    pub(crate) fn remove(&self, variant: &Variant) {
        self.entries
            .entry(variant.key.primary())
            .and_compute_with(|entry| {
                let Some(present) = entry.map(moka::Entry::into_value) else {
                    return Op::Nop;
                };
                let rest: Vec<_> = present
                    .iter()
                    .filter(|other| other.version != variant.version)
                    .cloned()
                    .collect();
                if rest.len() == present.len() {
                    Op::Nop
                } else if rest.is_empty() {
                    Op::Remove
                } else {
                    Op::Put(rest.into())
                }
            });
        self.measure();
    }

    /// Goes through everything and takes out what `is_dead`; the birth of the oldest that stays, [`Tick::FOREVER`] when nothing does.
    pub(crate) fn sweep(&self, is_dead: impl Fn(&Variant) -> bool) -> Tick {
        let mut oldest = Tick::FOREVER;
        for (_, variants) in &self.entries {
            for variant in &*variants {
                if is_dead(variant) {
                    self.remove(variant);
                } else {
                    oldest = oldest.min(variant.birth);
                }
            }
        }
        oldest
    }

    /// The list with `variant` in it; `None` when a newer version is there.
    fn with_variant(
        &self,
        present: Option<&[Arc<Variant>]>,
        variant: &Arc<Variant>,
    ) -> Option<Variants> {
        let same_key = present.filter(|list| list.iter().all(|v| v.key.is_same(&variant.key)));
        let mut list: Vec<_> = same_key.unwrap_or_default().to_vec();
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
        while list.len() > 1 && u64::from(weight(&list)) > self.weight_max {
            list.pop();
        }
        list.iter()
            .any(|kept| Arc::ptr_eq(kept, variant))
            .then(|| list.into())
    }

    fn measure(&self) {
        let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let bytes = count(self.entries.weighted_size());
        self.metrics
            .stored_bytes
            .with_label_values(&["memory"])
            .set(bytes);
        let responses = count(self.entries.entry_count());
        self.metrics
            .stored_responses
            .with_label_values(&["memory"])
            .set(responses);
    }
}

fn weight(variants: &[Arc<Variant>]) -> u32 {
    let variants: usize = variants.iter().map(|variant| variant.weight()).sum();
    u32::try_from(variants + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
}

/// Primary keys are keyed hashes already: their lower half spreads them as well as any hash could.
#[derive(Clone, Copy, Debug, Default)]
struct Spread;

impl std::hash::BuildHasher for Spread {
    type Hasher = LowerHalf;

    fn build_hasher(&self) -> LowerHalf {
        LowerHalf(0)
    }
}

/// The hasher of [`Spread`].
#[derive(Clone, Copy, Debug)]
struct LowerHalf(u64);

impl std::hash::Hasher for LowerHalf {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}
