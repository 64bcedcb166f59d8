//! One stored response as the tiers hand it to each other: what is it, under which name, and where are its bytes?
//!
//! Made when a fill ends, when a response is freshened and when one is read from disk; held by the memory tier, written by `disk`, given to
//! readers by `store`. Knows neither tier's rules. Invariant: of two variants that answer the same requests, [`Variant::recency`] says which
//! is newer, whatever the order in which they ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::disk::{DiskContent, OnDisk};
use crate::key::Key;
use crate::purge::{Facts, Purges, Tick};
use crate::semantics::vary::Selecting;
use crate::stored::StoredResponse;

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
    /// Whether it is in memory: changed under the lock of its key, read without.
    pub(crate) is_held: AtomicBool,
    /// Whether it came from disk, where others of its key were that vary by other fields: one of them may be newer for some of the requests
    /// that it answers. Set before it is in memory.
    pub(crate) has_rivals: AtomicBool,
}

/// The hashes of a response's tags; nothing is allocated where there is none.
pub(crate) fn tags_of(response: &StoredResponse, purges: &Purges) -> Arc<[u128]> {
    if response.tags.is_empty() {
        return Arc::default();
    }
    response.tags.iter().map(|tag| purges.tag(tag)).collect()
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
    pub(crate) fn replaces(&self, other: &Self) -> bool {
        self.selected_by == other.selected_by && self.response.vary == other.response.vary
    }

    /// Whether it is in memory, and thus the newest that answers its requests.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }

    /// Whether its head is on disk, or its content.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.content.is_on_disk() || self.on_disk.is_somewhere()
    }

    /// Greater is newer. What was sent before a purge never replaces what was sent after it, whichever ends first.
    pub(crate) const fn recency(&self) -> (Tick, Version) {
        (self.birth, self.version)
    }
}
