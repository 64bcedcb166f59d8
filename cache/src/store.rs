//! The two tiers as one: look up, fill, freshen, purge. Which stored response is there for this key, and is it still allowed to be?
//!
//! Called by `edge::request::lookup` (look up), `edge::response::store` (fill, freshen, invalidate) and `edge::control::purge`.
//! Knows keys, partitions, variants and ticks; decides nothing about HTTP freshness.
//! Invariant 4: whatever it returns is younger than every watermark that matches it, whichever tier it came from.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::collapse::Collapse;
use crate::fill::BodyReader;
use crate::key::{Key, KeyHasher, Partition};
use crate::purge::{Purge, PurgeError, Purged};
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
#[derive(Debug)]
pub struct Cache {}

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
pub struct StoredHandle {}

/// The content of a stored response.
#[derive(Debug)]
pub enum Body {
    /// All of it, in memory.
    Whole(Bytes),
    /// Read piece by piece from disk or from a fill in flight.
    Stream(BodyReader),
}

impl Cache {
    /// Opens the store and replays the purge journal. Volumes load their index in the background; until then they miss.
    ///
    /// # Errors
    /// Only when the data directory cannot be used; a volume that cannot is logged, counted and left out.
    pub fn open(
        _config: CacheConfig,
        _registry: &prometheus::Registry,
    ) -> Result<Arc<Self>, OpenError> {
        unimplemented!()
    }

    /// The hasher with this node's secret: makes keys.
    pub fn keys(&self) -> &KeyHasher {
        unimplemented!()
    }

    /// The partition of a name (a site's id); durable, the same after a restart, never reused.
    ///
    /// # Errors
    /// When it could not be written down.
    pub fn partition(&self, _name: &str) -> Result<Partition, PurgeError> {
        unimplemented!()
    }

    /// The stored response for a key and selecting fields, from memory if it is there, without waiting for anything.
    pub fn lookup_memory(&self, _key: &Key, _selecting: &SelectingFields<'_>) -> Option<Hit> {
        unimplemented!()
    }

    /// The stored response for a key and selecting fields, from memory or disk.
    pub async fn lookup(&self, _key: &Key, _selecting: &SelectingFields<'_>) -> Lookup {
        unimplemented!()
    }

    /// Joins the fetch that is under way for this key, or begins to lead one.
    pub fn collapse(self: &Arc<Self>, _key: &Key) -> Collapse {
        unimplemented!()
    }

    /// Replaces the head of a stored response that a 304 has freshened; its content stays. `false`: it was gone or purged meanwhile.
    pub async fn freshen(&self, _handle: &StoredHandle, _response: StoredResponse) -> bool {
        unimplemented!()
    }

    /// Purges; durable when it returns.
    ///
    /// # Errors
    /// When the journal could not be written; nothing is purged then.
    pub async fn purge(&self, _what: Purge) -> Result<Purged, PurgeError> {
        unimplemented!()
    }

    /// Invalidates a URL after an unsafe request (RFC 9111 §4.4): as a hard purge of it, but free when nothing matches.
    ///
    /// # Errors
    /// When the journal could not be written.
    pub async fn invalidate(&self, _key: &Key) -> Result<(), PurgeError> {
        unimplemented!()
    }

    /// Whether the index of every volume is loaded.
    pub fn is_loaded(&self) -> bool {
        unimplemented!()
    }

    /// Waits until the index of every volume is loaded.
    pub async fn loaded(&self) {
        unimplemented!()
    }

    /// Writes what is not yet on disk and closes the volumes cleanly.
    pub async fn close(&self) {
        unimplemented!()
    }
}
