//! The disk tier: a ring of segments with checksummed records on each volume, and one index in memory for all of them.
//!
//! Used by `store` (find, read, write) and by fills (pieces of long content). A key lives on one volume, chosen by hash among those in
//! service. Everything that fails here costs a hit and is counted; nothing of it reaches a visitor. Judges no purge on the way out: that
//! is `store`'s. Invariants 3 (exact bytes) and 9 (a bad disk costs hits only).

pub mod admission;
mod content;
pub mod ghost;
pub mod index;
mod pool;
mod record;
mod recovery;
pub mod reinsertion;
pub mod shares;
mod superblock;
mod volume;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use log::{error, warn};
use tokio::sync::watch;

use crate::device::Opener;
use crate::fill::{PIECE, ReadError};
use crate::key::Key;
use crate::memory::{Content, Variant, Version};
use crate::metrics::Metrics;
use crate::purge::{Purges, Tick};
use crate::semantics::vary::SelectingFields;
use crate::store::VolumeConfig;

pub(crate) use content::{DiskContent, Pinned};
use index::Index;
pub(crate) use index::{Entry, Found};
use pool::Pool;
pub(crate) use record::Location;
use record::{Draft, Facts, Kind, Meta, Place};
use volume::{Unread, Volume};
use writer::{Sink, Writer};

/// Content up to this many bytes lies in the head record itself: one read gets it all.
const INLINE_MAX: u64 = 256 << 10;
/// The largest content that is stored: the list of its pieces still fits a record.
const CONTENT_MAX: u64 = 64 << 30;
/// The share of a volume that one stored response may take: a larger one would push out its own beginning.
const VOLUME_SHARE: u64 = 4;

/// The disk tier of a store; without volumes it finds nothing and takes nothing.
#[derive(Debug)]
pub(crate) struct Disk {
    mounts: Vec<Arc<Mount>>,
    index: Arc<Index>,
    purges: Arc<Purges>,
    metrics: Metrics,
    loaded: watch::Sender<bool>,
    closing: Arc<AtomicBool>,
    loader: parking_lot::Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// A volume with its threads. Owned by [`Disk`] alone; whoever else knows it lets it go.
#[derive(Debug)]
pub(crate) struct Mount {
    shelf: Shelf,
    writer: Writer,
    pool: Pool,
}

/// What puts records on a volume.
#[derive(Clone, Debug)]
struct Shelf {
    volume: Arc<Volume>,
    sink: Sink,
}

impl Disk {
    /// Opens the volumes; those that cannot be used are logged, counted and left out. Begins a session in the purge journal.
    pub(crate) fn open(
        configs: &[VolumeConfig],
        session: u128,
        purges: &Arc<Purges>,
        files: &dyn Opener,
        metrics: &Metrics,
    ) -> Self {
        let index = Arc::new(Index::new());
        let mount = |(number, config): (usize, &VolumeConfig)| {
            let parts = (
                files,
                Arc::clone(purges),
                Arc::clone(&index),
                metrics.clone(),
            );
            let opened = Volume::open(number, config, session, parts).and_then(Mount::start);
            if let Err(error) = &opened {
                metrics.disk_errors.with_label_values(&["open"]).inc();
                error!("{}: the volume is left out: {error}", config.path.display());
            }
            opened.ok().map(Arc::new)
        };
        let mounts: Vec<_> = configs.iter().enumerate().filter_map(mount).collect();
        Self {
            mounts,
            index,
            purges: Arc::clone(purges),
            metrics: metrics.clone(),
            loaded: watch::Sender::new(false),
            closing: Arc::default(),
            loader: parking_lot::Mutex::default(),
        }
    }

    /// Begins to load the index in the background.
    pub(crate) fn load(&self) {
        let volumes: Vec<_> = self
            .mounts
            .iter()
            .map(|mount| Arc::clone(&mount.shelf.volume))
            .collect();
        let (index, purges) = (Arc::clone(&self.index), Arc::clone(&self.purges));
        let (loaded, closing) = (self.loaded.clone(), Arc::clone(&self.closing));
        let now = purges.now();
        let load = move || {
            for volume in &volumes {
                recovery::load(volume, &purges, now, &closing);
            }
            index.finish_loading();
            loaded.send_replace(true);
        };
        if self.mounts.is_empty() {
            return load();
        }
        match std::thread::Builder::new()
            .name("jet9-load".into())
            .spawn(load)
        {
            Ok(thread) => *self.loader.lock() = Some(thread),
            Err(error) => {
                error!("what is on disk cannot be loaded: {error}");
                self.index.finish_loading();
                self.loaded.send_replace(true);
            }
        }
    }

    pub(crate) fn is_loaded(&self) -> bool {
        *self.loaded.borrow()
    }

    pub(crate) async fn loaded(&self) {
        // The sender lives in `self`.
        drop(self.loaded.subscribe().wait_for(|loaded| *loaded).await);
    }

    /// Whether there is a volume in service.
    pub(crate) fn is_present(&self) -> bool {
        self.mounts
            .iter()
            .any(|mount| mount.shelf.volume.is_online())
    }

    /// The largest content that a volume takes, in bytes; 0 without one.
    pub(crate) fn content_max(&self) -> u64 {
        let shares = self
            .mounts
            .iter()
            .map(|mount| mount.shelf.volume.bytes() / VOLUME_SHARE);
        shares.min().unwrap_or(0).min(CONTENT_MAX)
    }

    /// The newest variant on disk that a request selects.
    pub(crate) fn find(&self, key: &Key, selecting: &SelectingFields<'_>) -> Found {
        self.index
            .find(key.primary(), selecting, self.purges.keys())
    }

    /// Whether anything is stored under a primary key, or may be.
    pub(crate) fn may_have(&self, primary: u128) -> bool {
        !self.is_loaded() || self.index.has(primary)
    }

    /// Whether exactly this version is on disk.
    pub(crate) fn holds(&self, primary: u128, version: Version) -> bool {
        self.index.holds(primary, version)
    }

    /// Takes one version out of the index: it was purged, or a part of it is gone.
    pub(crate) fn forget(&self, primary: u128, version: Version) {
        self.index.remove(primary, version);
    }

    /// Whether a disk hit may go into memory: it is still what is on disk, and hides nothing newer there.
    pub(crate) fn may_promote(&self, variant: &Variant) -> bool {
        let (primary, vary) = (variant.key.primary(), &variant.response.vary);
        self.index.holds(primary, variant.version)
            && !self
                .index
                .has_newer_by_other_fields(primary, vary, variant.recency())
    }

    /// The stored response of an index entry; content up to `whole_max` bytes comes with it. `None`: it is gone or another key's.
    pub(crate) async fn read(&self, key: &Key, entry: &Entry, whole_max: u64) -> Option<Variant> {
        let mount = self
            .mounts
            .iter()
            .find(|mount| mount.shelf.volume.number == entry.volume)?;
        match mount.read_head(entry, &self.purges).await {
            Ok(variant) if variant.key.is_same(key) => mount.fetch_whole(variant, whole_max).await,
            Ok(_) => None,
            Err(_) => {
                self.index.remove(key.primary(), entry.version);
                None
            }
        }
    }

    /// Makes every older version of a variant unfindable; call it when the newer one is in memory. Tells whether an older one may be
    /// on disk, so that it would come back at the next start if the newer one were not written.
    pub(crate) fn supersede(&self, variant: &Variant) -> bool {
        let (primary, vary) = (variant.key.primary(), &variant.response.vary);
        let loading = !self.is_loaded();
        self.index
            .supersede(primary, variant.selected_by, vary, variant.recency())
            || loading
    }

    /// Writes a stored response whose content is in memory, or on disk already. Waits only for room in the queue.
    pub(crate) async fn write(&self, variant: &Arc<Variant>) {
        let on_disk = match &variant.content {
            Content::OnDisk(content) => Some(content),
            Content::Whole(_) | Content::Pieces(_) => None,
        };
        let mount = match on_disk {
            Some(content) => content.mount(),
            None => self.mount_of(variant.key.primary()).map(Arc::clone),
        };
        let Some(shelf) = mount.map(|mount| mount.shelf.clone()) else {
            return;
        };
        shelf.sink.room().await;
        match &variant.content {
            Content::OnDisk(content) => shelf.put_head(variant, content.place(), Bytes::new()),
            Content::Whole(whole) if whole.len() as u64 <= INLINE_MAX => {
                shelf.put_head(variant, Place::default(), whole.clone());
            }
            Content::Whole(whole) => shelf.put_long(variant, whole.clone()),
            // Only a store without a disk holds pieces, and one whose disk failed.
            Content::Pieces(_) => {}
        }
        self.measure();
    }

    /// Where the pieces of a long fill go; `None` without a volume in service.
    pub(crate) fn mount_of(&self, primary: u128) -> Option<&Arc<Mount>> {
        let online = self
            .mounts
            .iter()
            .filter(|mount| mount.shelf.volume.is_online());
        online.max_by_key(|mount| mix(primary, mount.shelf.volume.identity))
    }

    #[cfg(test)]
    pub(crate) async fn flush(&self) {
        for mount in &self.mounts {
            // Twice: the head of long content is handed in when its piece is written.
            mount.writer.sink().flush().await;
            mount.writer.sink().flush().await;
        }
    }

    /// Makes everything handed in durable and closes the volumes; nothing is written any more.
    pub(crate) async fn close(&self) {
        for mount in &self.mounts {
            mount.writer.close().await;
        }
    }

    fn measure(&self) {
        let responses = i64::try_from(self.index.len()).unwrap_or(i64::MAX);
        self.metrics
            .stored_responses
            .with_label_values(&["disk"])
            .set(responses);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        if let Some(thread) = self.loader.lock().take()
            && thread.join().is_err()
        {
            warn!("the loading thread had panicked");
        }
    }
}

/// Rendezvous: when a volume comes or goes, only its own keys move.
fn mix(primary: u128, identity: u128) -> u64 {
    let mixed = (primary ^ identity) as u64;
    mixed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(32)
        .wrapping_mul(0xd6e8_feb8_6659_fd93)
}

impl Mount {
    fn start(volume: Volume) -> std::io::Result<Self> {
        let volume = Arc::new(volume);
        let tail = recovery::find_tail(&volume);
        let pool = Pool::start(volume.number)?;
        let writer = Writer::start(Arc::clone(&volume), tail)?;
        Ok(Self {
            shelf: Shelf {
                volume,
                sink: writer.sink().clone(),
            },
            writer,
            pool,
        })
    }

    /// Hands in one piece of the content of a fill; `done` is told its location, or that it is lost.
    pub(crate) async fn put_piece(
        &self,
        key: &Key,
        object: (Version, Tick),
        number: u32,
        piece: Bytes,
        done: impl FnOnce(Option<Location>) + Send + 'static,
    ) {
        self.shelf.sink.room().await;
        let facts = Facts {
            kind: Kind::Chunk,
            primary: key.primary(),
            selected_by: 0,
            url: key.url(),
            birth: object.1,
            version: object.0,
            partition: key.partition(),
            chunk: number,
        };
        self.shelf.sink.put(
            Draft {
                facts,
                meta: Vec::new(),
                content: piece,
            },
            Box::new(done),
        );
    }
    /// Reads and checks a head record.
    async fn read_head(
        self: &Arc<Self>,
        entry: &Entry,
        purges: &Arc<Purges>,
    ) -> Result<Variant, Unread> {
        let (volume, head) = (Arc::clone(&self.shelf.volume), entry.head);
        let (version, keys) = (entry.version, purges.keys().clone());
        let work = move || {
            let (header, record) = volume.read(&head)?;
            let facts = header.facts;
            let meta = header
                .meta(&record)
                .and_then(|m| Meta::decode(m, facts.partition, &keys));
            let content = header.content(&record);
            match (meta, content) {
                (Some(meta), Some(content)) if facts.version == version => {
                    Ok((facts, meta, content))
                }
                _ => Err(volume.corrupt()),
            }
        };
        let (facts, meta, inline) = self.pool.run(work).await.unwrap_or(Err(Unread::Failed))?;
        let content = if meta.place.chunks.is_empty() {
            Content::Whole(inline)
        } else {
            let content = DiskContent::new(Arc::downgrade(self), facts.primary, meta.place);
            Content::OnDisk(Arc::new(content))
        };
        Ok(Variant {
            key: meta.key,
            tags: meta
                .response
                .tags
                .iter()
                .map(|tag| purges.tag(tag))
                .collect(),
            response: Arc::new(meta.response),
            selected_by: facts.selected_by,
            content,
            birth: facts.birth,
            version: facts.version,
        })
    }

    /// Adds content that is short enough to be held.
    async fn fetch_whole(&self, mut variant: Variant, whole_max: u64) -> Option<Variant> {
        if let Content::OnDisk(content) = &variant.content
            && content.length() <= whole_max.min(PIECE as u64)
        {
            variant.content = Content::Whole(content.piece(0).await.ok()?);
        }
        Some(variant)
    }

    /// Reads and checks one piece of content.
    pub(crate) async fn read_piece(
        &self,
        location: Location,
        owner: (u128, Version),
        number: u32,
    ) -> Result<Bytes, ReadError> {
        let volume = Arc::clone(&self.shelf.volume);
        let work = move || {
            let (header, record) = volume.read(&location)?;
            let facts = header.facts;
            let is_own = facts.kind == Kind::Chunk
                && (facts.primary, facts.version, facts.chunk) == (owner.0, owner.1, number);
            let content = header.meta(&record).and_then(|_| header.content(&record));
            match content {
                Some(content) if is_own => Ok(content),
                _ => Err(volume.corrupt()),
            }
        };
        let read = self.pool.run(work).await.unwrap_or(Err(Unread::Failed));
        read.map_err(|_| ReadError::Disk)
    }
}

impl Shelf {
    /// Hands in a head record; the response can be found once it is written.
    fn put_head(&self, variant: &Arc<Variant>, place: Place, content: Bytes) {
        let facts = facts_of(variant);
        let place = Place {
            length: variant.content.length(),
            ..place
        };
        let meta = Meta::encode(&variant.key, &place, &variant.response);
        let volume = Arc::clone(&self.volume);
        let entry = {
            let vary = variant.response.vary.iter().cloned().collect();
            move |head| Entry {
                selected_by: facts.selected_by,
                vary,
                birth: facts.birth,
                version: facts.version,
                volume: volume.number,
                head,
            }
        };
        let volume = Arc::clone(&self.volume);
        let done = move |location: Option<Location>| {
            if let Some(head) = location {
                volume.insert(facts.primary, entry(head), &place.chunks);
            }
        };
        self.sink.put(
            Draft {
                facts,
                meta,
                content,
            },
            Box::new(done),
        );
    }

    /// Hands in content that is one piece, and the head after it.
    fn put_long(&self, variant: &Arc<Variant>, content: Bytes) {
        let facts = Facts {
            kind: Kind::Chunk,
            selected_by: 0,
            ..facts_of(variant)
        };
        let (shelf, variant) = (self.clone(), Arc::clone(variant));
        let done = move |location| {
            let Some(chunk) = location else { return };
            let object = variant.version;
            shelf.put_head(
                &variant,
                Place {
                    chunks: vec![chunk],
                    object,
                    length: 0,
                },
                Bytes::new(),
            );
        };
        self.sink.put(
            Draft {
                facts,
                meta: Vec::new(),
                content,
            },
            Box::new(done),
        );
    }
}

fn facts_of(variant: &Variant) -> Facts {
    Facts {
        kind: Kind::Head,
        primary: variant.key.primary(),
        selected_by: variant.selected_by,
        url: variant.key.url(),
        birth: variant.birth,
        version: variant.version,
        partition: variant.key.partition(),
        chunk: 0,
    }
}
