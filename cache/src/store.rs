//! The two tiers as one: look up, fill, freshen, purge. Which stored response is there for this key, and is it still allowed to be?
//!
//! Called by `edge::request::lookup` (look up), `edge::response::store` (fill, freshen, invalidate) and `edge::control::purge`.
//! Knows keys, partitions, variants and ticks; decides nothing about HTTP freshness.
//! Invariant 4: whatever it returns is younger than every watermark that matches it, whichever tier it came from.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::collapse::{Collapse, Follower, InFlight, Lead, Seat};
use crate::fill::{BodyReader, Fill, content_of};
use crate::key::{Key, KeyHasher, Partition, Scheme};
use crate::memory::{Content, Found, MemoryTier, Variant, Version};
use crate::metrics::Metrics;
use crate::purge::{Mode, Purge, PurgeError, Purged, Purges, Tick, Verdict, What};
use crate::semantics::vary::SelectingFields;
use crate::stored::StoredResponse;

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
}

/// One volume: a directory with a preallocated file in it.
#[derive(Clone, Debug)]
pub struct VolumeConfig {
    /// The directory.
    pub path: PathBuf,
    /// Bytes that the volume may take, everything counted.
    pub size: u64,
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
    purges: Purges,
    memory: MemoryTier,
    fills: InFlight,
    /// Grows by one with every commit.
    versions: AtomicU64,
    kept_max: u64,
    metrics: Metrics,
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
    /// From disk.
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

/// The first version that a commit gets; versions found on disk are below.
const FIRST_VERSION: u64 = 1 << 48;

impl Cache {
    /// Opens the store and replays the purge journal. Volumes load their index in the background; until then they miss.
    ///
    /// # Errors
    /// Only when the data directory cannot be used; a volume that cannot is logged, counted and left out.
    pub fn open(
        config: CacheConfig,
        registry: &prometheus::Registry,
    ) -> Result<Arc<Self>, OpenError> {
        let metrics = Metrics::register(registry).map_err(|error| OpenError::DataDir {
            path: config.data_dir.clone(),
            source: std::io::Error::other(error),
        })?;
        let keys = KeyHasher::new([0; 16]);
        let with_disk = false;
        let memory = MemoryTier::new(config.memory, with_disk, keys.clone(), metrics.clone());
        let kept_max = config.max_object.min(memory.content_max());
        Ok(Arc::new(Self {
            purges: Purges::new(keys.clone(), metrics.clone()),
            keys,
            memory,
            fills: InFlight::new(),
            versions: AtomicU64::new(FIRST_VERSION),
            kept_max,
            metrics,
        }))
    }

    /// The hasher with this node's secret: makes keys.
    pub const fn keys(&self) -> &KeyHasher {
        &self.keys
    }

    /// The partition of a name (a site's id); durable, the same after a restart, never reused.
    ///
    /// # Errors
    /// When it could not be written down.
    pub fn partition(&self, name: &str) -> Result<Partition, PurgeError> {
        self.purges.partition(name)
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
        let found = self.find_in_memory(key, selecting);
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
        match self
            .fills
            .take(key, selecting, &self.keys, &self.purges, stored)
        {
            Seat::Lead(flight) => Collapse::Lead(Lead::new(Arc::clone(self), flight)),
            Seat::Follow(fate) => {
                self.metrics.collapsed_requests.inc();
                Collapse::Follow(Follower::of(Arc::clone(self), fate))
            }
            Seat::Stored => Collapse::Follow(Follower::look_again(Arc::clone(self))),
        }
    }

    /// Replaces the head of a stored response that a 304 has freshened; its content stays. `false`: it was gone, replaced or purged
    /// meanwhile, or the new head names other selecting fields.
    pub async fn freshen(&self, handle: &StoredHandle, response: StoredResponse) -> bool {
        let old = &handle.variant;
        let judged = self.purges.judge(&old.facts(), old.birth);
        if judged == Verdict::Dead || old.response.vary != response.vary {
            return false;
        }
        let Some(variants) = self.memory.variants(old.key.primary()) else {
            return false;
        };
        if !variants
            .iter()
            .any(|variant| variant.version == old.version)
        {
            return false;
        }
        let variant = Arc::new(Variant {
            key: old.key.clone(),
            tags: response
                .tags
                .iter()
                .map(|tag| self.purges.tag(tag))
                .collect(),
            response: Arc::new(response),
            selected_by: old.selected_by,
            content: old.content.clone(),
            birth: handle.seen,
            version: self.next_version(),
        });
        self.memory.insert(Arc::clone(&variant), || true)
    }

    /// Purges; durable when it returns.
    ///
    /// # Errors
    /// When the journal could not be written; nothing is purged then.
    pub async fn purge(&self, what: Purge) -> Result<Purged, PurgeError> {
        self.purges.purge(&what).await
    }

    /// Invalidates a URL after an unsafe request (RFC 9111 §4.4): as a hard purge of it, but free when nothing matches.
    ///
    /// # Errors
    /// When the journal could not be written.
    pub async fn invalidate(&self, key: &Key) -> Result<(), PurgeError> {
        let known = [Scheme::Http, Scheme::Https].into_iter().any(|scheme| {
            let host = Arc::clone(key.host());
            let path = key.path_and_query().clone();
            let primary = self.keys.key(key.partition(), scheme, host, path).primary();
            self.fills.has(primary) || self.memory.variants(primary).is_some()
        });
        if !known {
            return Ok(());
        }
        let purge = Purge {
            partition: Some(key.partition()),
            what: vec![What::Url(key.url())],
            mode: Mode::Hard,
        };
        self.purges.purge(&purge).await.map(|_| ())
    }

    /// Whether the index of every volume is loaded.
    pub const fn is_loaded(&self) -> bool {
        true
    }

    /// Waits until the index of every volume is loaded.
    pub async fn loaded(&self) {}

    /// Writes what is not yet on disk and closes the volumes cleanly.
    pub async fn close(&self) {}

    // What `collapse` and `fill` need.

    pub(crate) const fn purges(&self) -> &Purges {
        &self.purges
    }

    pub(crate) const fn fills(&self) -> &InFlight {
        &self.fills
    }

    /// The largest content that is kept, in bytes.
    pub(crate) const fn kept_max(&self) -> u64 {
        self.kept_max
    }

    /// Stores what a fill has gathered, unless it was purged meanwhile.
    pub(crate) async fn commit(&self, fill: &Fill) {
        if self.purges.judge(&fill.facts(), fill.birth) == Verdict::Dead {
            return;
        }
        let Some(pieces) = fill.gathered() else {
            return;
        };
        let variant = Arc::new(Variant {
            key: fill.key.detached(),
            response: Arc::clone(&fill.response),
            selected_by: fill.variant,
            content: content_of(pieces),
            birth: fill.birth,
            version: self.next_version(),
            tags: Arc::clone(&fill.tags),
        });
        self.memory.insert(variant, || true);
    }

    fn next_version(&self) -> Version {
        Version(self.versions.fetch_add(1, Ordering::Relaxed))
    }

    fn find_in_memory(&self, key: &Key, selecting: &SelectingFields<'_>) -> Lookup {
        match self.memory.find(key, selecting) {
            Found::Nothing => Lookup::Miss,
            Found::OtherVariants => Lookup::VaryMiss,
            Found::Variant(variant) => match self.hit(variant, Tier::Memory) {
                Some(hit) => {
                    self.metrics.hits_memory.inc();
                    Lookup::Hit(hit)
                }
                None => Lookup::Miss,
            },
        }
    }

    /// A variant as a hit, unless it is dead; then it leaves memory at once.
    fn hit(&self, variant: Arc<Variant>, tier: Tier) -> Option<Hit> {
        // Taken before the verdict: a purge between the two counts against whoever freshens what is handed out here.
        let seen = self.purges.now();
        let purging = match self.purges.judge(&variant.facts(), variant.birth) {
            Verdict::Live => Purging::None,
            Verdict::Stale => Purging::Soft,
            Verdict::Dead => {
                self.memory.remove(&variant);
                return None;
            }
        };
        let body = match &variant.content {
            Content::Whole(content) => Body::Whole(content.clone()),
            Content::Pieces(pieces) => Body::Stream(BodyReader::of_pieces(Arc::clone(pieces))),
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

    /// Whether a response that the request would select is stored which it has not seen.
    fn stored_since(
        &self,
        key: &Key,
        selecting: &SelectingFields<'_>,
        seen: Option<Version>,
    ) -> bool {
        let Found::Variant(variant) = self.memory.find(key, selecting) else {
            return false;
        };
        seen != Some(variant.version)
            && self.purges.judge(&variant.facts(), variant.birth) != Verdict::Dead
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}
