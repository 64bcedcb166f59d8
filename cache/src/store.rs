//! The two tiers as one: look up, fill, freshen, purge. Which stored response is there for this key, and is it still allowed to be?
//!
//! Called by `edge::request::lookup` (look up), `edge::response::store` (fill, freshen, invalidate) and `edge::control::purge`.
//! Knows keys, partitions, variants and ticks; decides nothing about HTTP freshness.
//! Invariant 4: whatever it returns is younger than every watermark that matches it, whichever tier it came from.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use log::{error, warn};

use crate::collapse::{self, Collapse, Follower, InFlight, Lead, Seat};
use crate::device::{self, Device, Opener, RealFiles};
use crate::disk::VolumeConfig;
use crate::disk::admission::Policy;
use crate::disk::shares::Quota;
use crate::disk::{self, Claim, Disk, Mount, OnDisk};
use crate::fill::{BodyReader, Fill, STALLED_DISK_MAX};
use crate::key::{Key, KeyHasher, Partition, Scheme};
use crate::memory::{Cursor, Found, MemoryTier, queues};
use crate::metrics::Metrics;
use crate::posted::Postings;
use crate::prediction::{Asker, Predictions};
use crate::purge::{Oldest, Purge, PurgeError, Purged, Purges, Tick, Verdict};
use crate::reason::Reason;
use crate::semantics::vary::{SelectingFields, Selector};
use crate::stored::StoredResponse;
use crate::time::Timestamp;
use crate::variant::{Content, Variant, Version, tags_of};

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// Where the purge journal and the node's secret live.
    pub data_dir: PathBuf,
    /// Bytes for the memory tier.
    pub memory: u64,
    /// The disk volumes; empty: memory only.
    pub disk: Vec<VolumeConfig>,
    /// The largest content that is stored, in bytes.
    pub max_object: u64,
    /// Bytes of one fill that may be on their way to the disk; then its writer waits.
    pub fill_unflushed: u64,
}

/// The store could not be opened at all. A volume that fails is not such an error: it is left out, logged and counted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory of the journal cannot be used.
    #[error("the data directory {path} cannot be used: {source}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The store of one node.
pub struct Cache {
    keys: KeyHasher,
    purges: Arc<Purges>,
    memory: Arc<MemoryTier>,
    disk: Disk,
    fills: Arc<InFlight>,
    postings: Postings,
    predictions: Predictions,
    /// Grows by one with every commit.
    versions: AtomicU64,
    kept_max: u64,
    fill_unflushed: u64,
    metrics: Metrics,
    /// Keeps other processes from the same directory; given back last.
    _lock: Arc<dyn Device>,
}

/// What a look-up found.
#[derive(Debug)]
pub enum Lookup {
    /// A stored response whose selecting fields match; not yet judged for freshness.
    Hit(Hit),
    /// Nothing stored under the key.
    Miss,
    /// Responses are stored under the key, but none with these selecting fields.
    VaryMiss,
}

/// Where a stored response came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// From memory.
    Memory,
    /// From disk, or from what is on its way there.
    Disk,
}

/// Whether a soft purge has touched a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purging {
    /// Untouched.
    None,
    /// Softly purged: it counts as stale.
    Soft,
}

/// A stored response and its content.
#[derive(Debug)]
pub struct Hit {
    /// The head and its derived facts.
    pub response: Arc<StoredResponse>,
    /// The content.
    pub body: Body,
    /// The tier that it came from.
    pub tier: Tier,
    /// Whether it counts as stale because of a soft purge.
    pub purging: Purging,
    /// What names exactly this stored response for freshening it.
    pub handle: StoredHandle,
}

/// Names one stored variant, for [`Cache::freshen`].
#[derive(Clone, Debug)]
pub struct StoredHandle {
    variant: Arc<Variant>,
    /// The tick of the look-up: a freshening is as young as that, no younger.
    seen: Tick,
}

/// The content of a stored response.
#[derive(Debug)]
pub enum Body {
    /// All of it, in memory.
    Whole(Bytes),
    /// Read piece by piece from disk or from a fill in flight.
    Stream(BodyReader),
}

/// Locked while a process has the store open.
const LOCK_FILE: &str = "store.lock";
/// The share of the memory that fills may take, besides what is stored.
const FILLS_SHARE: u64 = 2;
/// Content that is written when the store closes because it was hit in memory, in bytes: half a second of a good disk, some of a bad one.
const SAVED_BYTES_MAX: u64 = 256 << 20;
/// How long that may take.
const SAVING_MAX: Duration = Duration::from_secs(3);
/// Versions that one session may give out: those of a later session are above all of them.
const VERSIONS_PER_SESSION: u64 = 1 << 40;

impl Cache {
    /// Opens the store and replays the purge journal. Volumes load their index in the background; until then they miss.
    ///
    /// # Errors
    /// Only when the data directory cannot be used; a volume that cannot is logged, counted and left out.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the configuration has no other use afterwards"
    )]
    pub fn open(
        config: CacheConfig,
        registry: &prometheus::Registry,
    ) -> Result<Arc<Self>, OpenError> {
        Self::open_on(&config, registry, &(Arc::new(RealFiles) as Arc<dyn Opener>))
    }

    /// The same on files of another kind.
    pub(crate) fn open_on(
        config: &CacheConfig,
        registry: &prometheus::Registry,
        files: &Arc<dyn Opener>,
    ) -> Result<Arc<Self>, OpenError> {
        let data_dir = |source| OpenError::DataDir {
            path: config.data_dir.clone(),
            source,
        };
        let metrics = metrics(registry).map_err(data_dir)?;
        std::fs::create_dir_all(&config.data_dir).map_err(data_dir)?;
        let lock = files
            .open_locked(&config.data_dir.join(LOCK_FILE))
            .map_err(data_dir)?;
        let purges = Purges::open(&config.data_dir, Arc::clone(files), metrics.clone());
        let purges = Arc::new(purges.map_err(data_dir)?);
        let disk = open_disk(config, files, &purges, &metrics).map_err(data_dir)?;
        let keys = purges.keys().clone();
        let with_disk = disk.is_present();
        let memory = MemoryTier::new(config.memory, with_disk, keys.clone(), metrics.clone());
        let (memory, fills) = (Arc::new(memory), Arc::new(InFlight::new()));
        purges.ask_for_oldest(Some(oldest(&purges, &memory, &fills, &disk)));
        let kept_max = config
            .max_object
            .min(memory.content_max().max(disk.content_max()));
        let first_version = purges.session_number().saturating_mul(VERSIONS_PER_SESSION);
        Ok(Arc::new(Self {
            predictions: Predictions::new(keys.clone()),
            keys,
            purges,
            memory,
            disk,
            fills,
            postings: Postings::default(),
            versions: AtomicU64::new(first_version),
            kept_max,
            fill_unflushed: config.fill_unflushed,
            metrics,
            _lock: lock,
        }))
    }

    /// The hasher with this node's secret: makes keys.
    pub const fn keys(&self) -> &KeyHasher {
        &self.keys
    }

    /// The partition of a name (a site's id); durable, and the same after a restart until it is [released](Self::release). Blocks when it
    /// is new.
    ///
    /// # Errors
    /// When it could not be written down.
    pub fn partition(&self, name: &str) -> Result<Partition, PurgeError> {
        self.partitions(&[name]).map(|partitions| partitions[0])
    }

    /// The partitions of many names, in their order; new ones are written down together. Blocks while they are: prefer it to many
    /// calls of [`Self::partition`].
    ///
    /// # Errors
    /// When they could not be written down; then none of the new ones is assigned.
    pub fn partitions(&self, names: &[&str]) -> Result<Vec<Partition>, PurgeError> {
        self.purges.partitions(names)
    }

    /// Drops all that a partition holds, for good, and takes it from its name. Not before the next start is it given to another, so that
    /// nothing that is under way for the old one ends there. Blocks until that is durable.
    ///
    /// # Errors
    /// When it could not be written down; then nothing has happened.
    pub fn release(&self, partition: Partition) -> Result<(), PurgeError> {
        self.purges.release(partition)
    }

    /// The stored response for a key and selecting fields, from memory if it is there, without waiting for anything.
    pub fn lookup_memory(&self, key: &Key, selecting: &SelectingFields<'_>) -> Option<Hit> {
        match self.find_in_memory(key, selecting) {
            Lookup::Hit(hit) => Some(hit),
            Lookup::Miss | Lookup::VaryMiss => None,
        }
    }

    /// The stored response for a key and selecting fields, from memory or disk.
    pub async fn lookup(&self, key: &Key, selecting: &SelectingFields<'_>) -> Lookup {
        let mut found = self.find_in_memory(key, selecting);
        if !matches!(found, Lookup::Hit(_)) {
            found = self.find_on_disk(key, selecting).await.unwrap_or(found);
        }
        match found {
            Lookup::Hit(_) => {}
            Lookup::Miss => self.metrics.misses.inc(),
            Lookup::VaryMiss => self.metrics.vary_misses.inc(),
        }
        found
    }

    /// Joins the fetch that is under way for this key and these selecting fields, or begins to lead one.
    ///
    /// `seen` is the handle of the stored response that the look-up gave (stale, to be validated), if any: when another one was stored
    /// since, the follower is told at once to look again, so that no request fetches what it just missed.
    pub fn collapse(
        self: &Arc<Self>,
        key: &Key,
        selecting: &SelectingFields<'_>,
        seen: Option<&StoredHandle>,
    ) -> Collapse {
        let seen = seen.map(|handle| handle.variant.version);
        let stored = || self.stored_since(key, selecting, seen);
        let asked = (selecting, self.vary_of(key));
        match self
            .fills
            .take(key, asked, &self.keys, &self.purges, stored)
        {
            Seat::Lead(flight) => Collapse::Lead(Lead::new(Arc::clone(self), flight)),
            Seat::Follow(fate) => {
                self.metrics.collapsed_requests.inc();
                Collapse::Follow(Follower::of(Arc::clone(self), fate))
            }
            Seat::Stored => Collapse::Follow(Follower::look_again(Arc::clone(self))),
        }
    }

    /// Whether [`Self::collapse`] would join another one's fetch now, without joining it.
    pub fn is_under_way(&self, key: &Key, selecting: &SelectingFields<'_>) -> bool {
        self.fills
            .has_joinable(key, selecting, &self.keys, &self.purges)
    }

    /// Begins a fetch of its own for a key, whatever is under way: nobody waits for it until it proves to be storable.
    pub fn lead_apart(self: &Arc<Self>, key: &Key) -> Lead {
        let flight = self.fills.take_apart(key, self.purges.now());
        Lead::new(Arc::clone(self), flight)
    }

    /// Why the answer to this asker will most likely not be for sharing, as the last one for it was not: do not collapse it, let it
    /// [lead apart](Self::lead_apart). What was purged since predicts nothing, except that a purge by tag is not seen.
    pub fn predict(&self, asker: &Asker<'_>, now: Timestamp) -> Option<Reason> {
        let facts = collapse::facts_of(asker.key);
        let lives = |born| self.purges.judge(&facts, born) == Verdict::Live;
        self.predictions.predict(asker, now, lives)
    }

    /// Replaces the head of a stored response that a 304 has freshened; its content stays. `false`: it was gone, replaced or purged
    /// meanwhile, or the new head names other selecting fields.
    pub async fn freshen(&self, handle: &StoredHandle, response: StoredResponse) -> bool {
        let old = &handle.variant;
        let judged = self.purges.judge(&old.facts(), old.birth);
        let is_same_vary = old.response.vary == response.vary;
        if judged == Verdict::Dead || !is_same_vary {
            return false;
        }
        let variant = Variant {
            key: old.key.clone(),
            tags: tags_of(&response, &self.purges),
            response: Arc::new(response),
            selected_by: old.selected_by,
            content: old.content.clone(),
            birth: handle.seen,
            version: old.version,
            on_disk: OnDisk::default(),
            is_held: AtomicBool::new(false),
            has_rivals: AtomicBool::new(false),
        };
        let Some(stored) = self.keep(variant, || self.is_stored(old)) else {
            return false;
        };
        self.write_to_disk(stored).await;
        true
    }

    /// Purges; durable when it returns.
    ///
    /// # Errors
    /// When the journal could not be written; nothing is purged then.
    pub async fn purge(&self, what: Purge) -> Result<Purged, PurgeError> {
        self.purges.purge(&what).await
    }

    /// The number of the last thing purged; 0 before the first. All up to it are durable and in force.
    pub fn purge_sequence(&self) -> u64 {
        self.purges.sequence()
    }

    /// Invalidates a URL after an unsafe request (RFC 9111 §4.4): as a hard purge of it, but free (`None`) when nothing matches.
    ///
    /// # Errors
    /// When the journal could not be written.
    pub async fn invalidate(&self, key: &Key) -> Result<Option<Purged>, PurgeError> {
        let is_stored = [Scheme::Http, Scheme::Https].into_iter().any(|scheme| {
            let host = Arc::clone(key.host());
            let path = key.path_and_query().clone();
            let primary = self.keys.key(key.partition(), scheme, host, path).primary();
            self.fills.has(primary)
                || self.memory.has(primary)
                || self.disk.may_have(primary)
                // What came into memory from disk meanwhile, and fell off there.
                || self.memory.has(primary)
        });
        if !is_stored && !self.postings.has(key.url()) {
            return Ok(None);
        }
        self.purge(Purge::url(key)).await.map(Some)
    }

    /// Sets what a partition may take of the disk, in bytes over all volumes. Nothing is thrown away for it.
    pub fn set_quota(&self, partition: Partition, quota: Quota) {
        self.disk.set_quota(partition, quota);
    }

    /// Bytes that a partition takes of the disk: the records of its stored responses, and the pieces of long content that were not
    /// overwritten yet.
    pub fn taken_by(&self, partition: Partition) -> u64 {
        self.disk.taken_by(partition)
    }

    /// Why content of this length is not stored now, if it is not: it is too long for memory, and its partition has reached its cap on disk.
    pub fn refuses(&self, partition: Partition, length: u64) -> Option<Reason> {
        let is_refused = length > self.held_max()
            && self.disk.is_present()
            && self.disk.is_capped(partition, length);
        is_refused.then_some(Reason::Quota)
    }

    /// Sets what a partition wants written to disk.
    pub fn set_policy(&self, partition: Partition, policy: Policy) {
        self.disk.set_policy(partition, policy);
    }

    /// Whether the index of every volume is loaded.
    pub fn is_loaded(&self) -> bool {
        self.disk.is_loaded()
    }

    /// Waits until the index of every volume is loaded.
    pub async fn loaded(&self) {
        self.disk.loaded().await;
    }

    /// Writes what is not yet on disk, and what was hit in memory alone, and closes the volumes cleanly. The store still answers from
    /// memory afterwards.
    pub async fn close(&self) {
        let saving = async {
            self.save_used(SAVED_BYTES_MAX).await;
            self.disk.flush().await;
        };
        if tokio::time::timeout(SAVING_MAX, saving).await.is_err() {
            warn!(
                "not all that was used in memory alone was written to disk within {SAVING_MAX:?}"
            );
        }
        self.disk.close().await;
    }

    /// Writes what was hit in memory and is not on disk, so that it is there after the next start; about `bytes_max` of content.
    async fn save_used(&self, bytes_max: u64) {
        let mut left = bytes_max;
        let mut cursor = Cursor::default();
        while let Some(some) = self.memory.some(&mut cursor) {
            // Where little is to be written there is nothing else to wait at, and no limit would be noticed.
            tokio::task::yield_now().await;
            for variant in some {
                if self.purges.judge(&variant.facts(), variant.birth) == Verdict::Dead {
                    continue;
                }
                left = left.saturating_sub(self.disk.save(&variant).await);
                if left == 0 {
                    return;
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn pass_minute(&self) {
        self.disk.pass_minute();
    }

    /// Leaves what is on disk alone.
    #[cfg(test)]
    pub(crate) fn forget_memory(&self) {
        self.memory.sweep(|_| true, || true);
    }

    #[cfg(test)]
    pub(crate) async fn flush_disk(&self) {
        self.disk.flush().await;
    }

    // What `collapse`, `fill` and `posted` need.

    pub(crate) fn purges(&self) -> &Purges {
        &self.purges
    }

    pub(crate) const fn postings(&self) -> &Postings {
        &self.postings
    }

    pub(crate) fn fills(&self) -> &InFlight {
        &self.fills
    }

    pub(crate) const fn predictions(&self) -> &Predictions {
        &self.predictions
    }

    /// The selecting fields of the last answer for a key, as far as memory knows them.
    fn vary_of(&self, key: &Key) -> Arc<[Selector]> {
        match self.memory.newest(key.primary()) {
            Some(newest) => newest.response.vary.as_ref().into(),
            None => self.predictions.vary_of(key).unwrap_or_default(),
        }
    }

    pub(crate) const fn fill_unflushed(&self) -> u64 {
        self.fill_unflushed
    }

    /// The largest content that is kept now, in bytes: what memory holds, when no volume is in service.
    pub(crate) fn kept_max(&self) -> u64 {
        if self.disk.is_present() {
            self.kept_max
        } else {
            self.kept_max.min(self.held_max())
        }
    }

    /// What all fills together may keep in memory, in bytes, apart from one piece each.
    pub(crate) fn fills_max(&self) -> u64 {
        self.memory.capacity() / FILLS_SHARE
    }

    /// The largest content that is held in memory, in bytes.
    pub(crate) fn held_max(&self) -> u64 {
        self.memory.content_max()
    }

    /// Whether so many bytes more on disk would take a partition above its cap.
    pub(crate) fn is_capped(&self, partition: Partition, bytes: usize) -> bool {
        self.disk.is_capped(partition, bytes as u64)
    }

    /// The version that the pieces of a long fill carry, and where they go.
    pub(crate) fn place_for(&self, key: &Key) -> (Version, Weak<Mount>) {
        let mount = self.disk.mount_of(key.primary());
        let mount = mount.as_ref().map(Arc::downgrade);
        (self.next_version(), mount.unwrap_or_default())
    }

    /// Stores what a fill has gathered, unless it was purged meanwhile or a younger one was stored. In memory only: what it gives
    /// goes to [`Self::write_to_disk`].
    pub(crate) fn commit(&self, fill: &Fill, content: Content) -> Option<Stored> {
        if self.purges.judge(&fill.facts(), fill.birth) == Verdict::Dead {
            return None;
        }
        let variant = Variant {
            key: fill.key.detached(),
            response: Arc::clone(&fill.response),
            selected_by: fill.variant,
            content,
            birth: fill.birth,
            version: fill.object,
            tags: Arc::clone(&fill.tags),
            on_disk: OnDisk::default(),
            is_held: AtomicBool::new(false),
            has_rivals: AtomicBool::new(false),
        };
        let stored = self.keep(variant, || true)?;
        if let Some(claim) = &stored.claim {
            Disk::fetched(&stored.variant, claim);
        }
        Some(stored)
    }

    /// Writes what was committed to disk. When that stalls, the older version there is killed for good.
    pub(crate) async fn write_to_disk(&self, stored: Stored) {
        let Stored { variant, claim } = stored;
        let Some(claim) = claim else { return };
        if !self.disk.admits_fill(&variant, &claim) {
            return;
        }
        self.memory.keep(&variant);
        let replaces = claim.replaces();
        let write = self.disk.write(&variant, claim);
        let written = tokio::time::timeout(STALLED_DISK_MAX, write).await;
        if written == Ok(true) || !replaces {
            return;
        }
        if let Err(error) = self.purge(Purge::url(&variant.key)).await {
            error!("an old version on a stalled disk could not be purged: {error}");
        }
    }

    /// Puts a new version into memory, and what it replaces out of reach, in both tiers at once; unless `allowed`, asked then, says no. So
    /// versions are numbered in the order in which they take each other's place.
    fn keep(&self, variant: Variant, allowed: impl FnOnce() -> bool) -> Option<Stored> {
        let primary = variant.key.primary();
        let numbered = || {
            let version = self.next_version();
            Arc::new(Variant { version, ..variant })
        };
        let claimed = |variant: &Arc<Variant>| Stored {
            variant: Arc::clone(variant),
            claim: self.disk.claim(variant),
        };
        let prepare = || allowed().then(numbered);
        self.memory.insert_with(primary, prepare, claimed)
    }

    fn next_version(&self) -> Version {
        Version(self.versions.fetch_add(1, Ordering::Relaxed))
    }

    fn find_in_memory(&self, key: &Key, selecting: &SelectingFields<'_>) -> Lookup {
        match self.newest_in_memory(key, selecting) {
            Found::Nothing => Lookup::Miss,
            Found::OtherVariants => Lookup::VaryMiss,
            Found::Variant(variant, of_key) => match self.hit(variant, Tier::Memory) {
                Some(hit) => {
                    self.metrics.hits_memory.inc();
                    self.note_hit(&hit.handle.variant, of_key);
                    Lookup::Hit(hit)
                }
                None => Lookup::Miss,
            },
        }
    }

    /// What memory has for a request, unless there may be something newer on disk.
    fn newest_in_memory(&self, key: &Key, selecting: &SelectingFields<'_>) -> Found {
        match self.memory.find(key, selecting) {
            Found::Variant(variant, _) if !self.disk.is_newest_for(&variant, selecting) => {
                Found::OtherVariants
            }
            found => found,
        }
    }

    /// Tells the disk of a hit in memory.
    fn note_hit(&self, variant: &Arc<Variant>, hit: queues::Hit) {
        if variant.is_on_disk() {
            if hit.is_first {
                self.disk.hit_in_both(variant);
            }
        } else if self.disk.hit_in_memory(variant, hit.has_waited) {
            self.memory.keep(variant);
        }
    }

    /// What is on disk, if anything is known of the key there. A hit is kept in memory.
    async fn find_on_disk(&self, key: &Key, selecting: &SelectingFields<'_>) -> Option<Lookup> {
        let variant = match self.disk.find(key, selecting, self.held_max()).await {
            disk::Found::Variant(variant) => variant,
            disk::Found::OtherVariants => return Some(Lookup::VaryMiss),
            disk::Found::Nothing => return None,
        };
        if variant.content.is_on_disk() || variant.content.length() <= self.held_max() {
            let is_in = self
                .memory
                .insert(&variant, || self.disk.may_promote(&variant));
            if is_in && !variant.is_on_disk() {
                // Soon it is.
                self.memory.keep(&variant);
            }
        }
        let hit = self.hit(variant, Tier::Disk)?;
        self.metrics.hits_disk.inc();
        Some(Lookup::Hit(hit))
    }

    /// A variant as a hit, unless it is dead or a part of it is gone; then it leaves memory at once.
    fn hit(&self, variant: Arc<Variant>, tier: Tier) -> Option<Hit> {
        // Taken before the verdict: a purge between the two counts against whoever freshens what is handed out here.
        let seen = self.purges.now();
        let body = match &variant.content {
            Content::Whole(content) => Some(Body::Whole(content.clone())),
            Content::Pieces(pieces) => {
                Some(Body::Stream(BodyReader::of_pieces(Arc::clone(pieces))))
            }
            Content::OnDisk(content) => content.pin().map(BodyReader::of_disk).map(Body::Stream),
        };
        let purging = match self.purges.judge(&variant.facts(), variant.birth) {
            Verdict::Live => Some(Purging::None),
            Verdict::Stale => Some(Purging::Soft),
            Verdict::Dead => None,
        };
        let (Some(body), Some(purging)) = (body, purging) else {
            self.memory.remove(&variant);
            if matches!(&variant.content, Content::OnDisk(content) if content.is_lost()) {
                self.disk.forget(&variant);
            }
            return None;
        };
        let response = Arc::clone(&variant.response);
        Some(Hit {
            response,
            body,
            tier,
            purging,
            handle: StoredHandle { variant, seen },
        })
    }

    /// Whether exactly this version is what is stored.
    fn is_stored(&self, variant: &Variant) -> bool {
        variant.is_held() || self.disk.holds(variant)
    }

    /// Whether a response that the request would select is stored which it has not seen.
    fn stored_since(
        &self,
        key: &Key,
        selecting: &SelectingFields<'_>,
        seen: Option<Version>,
    ) -> bool {
        match self.newest_in_memory(key, selecting) {
            Found::Variant(variant, _) => {
                seen != Some(variant.version)
                    && self.purges.judge(&variant.facts(), variant.birth) != Verdict::Dead
            }
            Found::OtherVariants | Found::Nothing => false,
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // What answers holds parts of the store, and the store holds it.
        self.purges.ask_for_oldest(None);
    }
}

/// What tells the birth of the oldest response in memory, on disk or under way. What is dead leaves memory on the occasion.
fn oldest(
    purges: &Arc<Purges>,
    memory: &Arc<MemoryTier>,
    fills: &Arc<InFlight>,
    disk: &Disk,
) -> Oldest {
    let (purges, on_disk) = (Arc::clone(purges), disk.oldest());
    let (memory, fills) = (Arc::clone(memory), Arc::clone(fills));
    Box::new(move |goes_on| {
        let is_dead =
            |variant: &Variant| purges.judge(&variant.facts(), variant.birth) == Verdict::Dead;
        // In the order in which responses pass through them, so that none is missed.
        let under_way = fills.oldest();
        let in_memory = memory.sweep(is_dead, goes_on)?;
        Some(under_way.min(in_memory).min(on_disk()?))
    })
}

/// What was committed, on its way to the disk.
#[derive(Debug)]
pub(crate) struct Stored {
    variant: Arc<Variant>,
    /// `None` without a disk.
    claim: Option<Claim>,
}

fn open_disk(
    config: &CacheConfig,
    files: &Arc<dyn Opener>,
    purges: &Arc<Purges>,
    metrics: &Metrics,
) -> std::io::Result<Disk> {
    let session = u128::from_le_bytes(device::random()?);
    Disk::open(&config.disk, session, purges, files, metrics)
}

/// Metrics that the registry does not take are counted all the same.
fn metrics(registry: &prometheus::Registry) -> std::io::Result<Metrics> {
    Metrics::register(registry)
        .or_else(|error| {
            warn!("the store's metrics cannot be registered: {error}");
            Metrics::unregistered()
        })
        .map_err(std::io::Error::other)
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod aging;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod images;
#[cfg(test)]
mod power;
#[cfg(test)]
mod tests;
