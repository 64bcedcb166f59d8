//! A volume with its threads: what reads records from it, writes them to it, and loads what was on it.
//!
//! Made by `disk` at the start and by `keeper` when a volume comes back; used for every look-up on disk and by fills. The requests' own
//! threads never block: they wait for those of the volume. Whatever cannot be read is a miss; whoever knows a mount lets it go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use log::error;

use crate::fill::PIECE;
use crate::key::{Key, KeyHasher};
use crate::purge::{Purges, Tick};
use crate::variant::{Content, Variant, Version, tags_of};

use super::claim::{Claim, OnDisk};
use super::content::{DiskContent, Failed};
use super::index::slot::Slot;
use super::piece::Piece;
use super::record::{Draft, Facts, Header, Kind, Location, Meta, Place};
use super::recovery::{self, Loaded};
use super::ticket::Ticket;
use super::variants::Filed;
use super::volume::{Unread, Volume};
use super::writer::{Sink, Writer};

/// A volume with its threads. Owned by [`super::keeper::Mounts`] alone; whoever else knows it lets it go.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(super) shelf: Shelf,
    pub(super) writer: Writer,
    loader: Option<std::thread::JoinHandle<()>>,
    closing: Arc<AtomicBool>,
}

/// What puts records on a volume.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    volume: Arc<Volume>,
    pub(super) sink: Sink,
}

impl Mount {
    /// Starts the threads of a volume: what is on it is loaded, and written after the last lap that is found.
    pub(super) fn start(volume: Volume) -> std::io::Result<Self> {
        let volume = Arc::new(volume);
        let (laps, last_lap) = mpsc::channel();
        let writer = Writer::start(Arc::clone(&volume), last_lap)?;
        let closing = Arc::new(AtomicBool::new(false));
        let (of_loader, is_closing) = (Arc::clone(&volume), Arc::clone(&closing));
        let loader = std::thread::Builder::new()
            .name(format!("jet9-load-{}", volume.number))
            .spawn(move || load(&of_loader, &laps, &is_closing))?;
        Ok(Self {
            shelf: Shelf {
                volume,
                sink: writer.sink().clone(),
            },
            writer,
            loader: Some(loader),
            closing,
        })
    }

    pub(super) fn volume(&self) -> &Arc<Volume> {
        &self.shelf.volume
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
            vary: 0,
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
            Ticket::Piece(Box::new(done)),
        );
    }

    /// Reads and checks the head record of a slot.
    pub(super) async fn read_head(
        self: &Arc<Self>,
        filed: Filed,
        slot: Slot,
        purges: &Arc<Purges>,
    ) -> Head {
        let volume = self.volume();
        let read = volume.read_slot(&slot).await.and_then(|(header, record)| {
            let facts = header.facts;
            if facts.kind != Kind::Head || facts.filed() != filed {
                return Ok(None);
            }
            let parts = parts_of(&header, &record, purges.keys());
            parts.map(Some).ok_or_else(|| volume.corrupt())
        });
        match read {
            Ok(Some((facts, meta, inline))) => {
                Head::Is(self.variant_of(slot, &facts, meta, inline, purges))
            }
            Err(Unread::Corrupt | Unread::Failed) => {
                volume.catalog.forget(filed, slot.address);
                Head::IsNot
            }
            // Overwritten.
            Ok(None) | Err(Unread::Gone) => Head::IsNot,
            Err(Unread::Busy) => Head::Unknown,
        }
    }

    fn variant_of(
        self: &Arc<Self>,
        slot: Slot,
        facts: &Facts,
        meta: Meta,
        inline: Bytes,
        purges: &Purges,
    ) -> Variant {
        let content = if meta.place.chunks.is_empty() {
            Content::Whole(inline)
        } else {
            let head = Some((facts.filed(), slot.address));
            let content = DiskContent::new(Arc::downgrade(self), facts.primary, meta.place, head);
            Content::OnDisk(Arc::new(content))
        };
        Variant {
            key: meta.key,
            tags: tags_of(&meta.response, purges),
            response: Arc::new(meta.response),
            selected_by: facts.selected_by,
            content,
            birth: facts.birth,
            version: facts.version,
            on_disk: OnDisk::at(slot.address.offset()),
            is_held: AtomicBool::new(false),
            has_rivals: AtomicBool::new(false),
        }
    }

    /// Adds content that is short enough to be held.
    pub(super) async fn fetch_whole(
        &self,
        mut variant: Arc<Variant>,
        whole_max: u64,
    ) -> Option<Arc<Variant>> {
        if let Content::OnDisk(content) = &variant.content
            && content.length() <= whole_max.min(PIECE as u64)
        {
            let whole = content.piece(0).await.ok()?;
            // What is on its way is shared, and stays as it is.
            if let Some(variant) = Arc::get_mut(&mut variant) {
                variant.content = Content::Whole(whole);
            }
        }
        Some(variant)
    }

    /// Reads and checks one piece of content.
    pub(crate) async fn read_piece(
        &self,
        location: Location,
        owner: (u128, Version),
        number: u32,
    ) -> Result<Bytes, Failed> {
        let piece = Piece {
            at: location,
            owner,
            number,
        };
        let volume = self.volume();
        let read = async {
            let turn = volume.long_reads().wait().await?;
            piece.whole(volume, &turn).await
        };
        read.await.map_err(Failed::from)
    }
}

/// What is found where a slot says that a head record is.
#[derive(Debug)]
pub(super) enum Head {
    Is(Variant),
    /// Another response's, or gone.
    IsNot,
    /// It could not be read in time.
    Unknown,
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        if let Some(thread) = self.loader.take()
            && thread.join().is_err()
        {
            error!("a volume's loading thread had panicked");
        }
    }
}

/// What the loading thread does.
fn load(volume: &Volume, laps: &mpsc::Sender<u64>, closing: &AtomicBool) {
    let loaded = recovery::find_laps(volume).and_then(|last_lap| {
        // Without its writer there is nothing to load for.
        let _ = laps.send(last_lap);
        recovery::load(volume, last_lap, closing)
    });
    match loaded {
        Ok(Loaded::All) => volume.finish_loading(),
        Ok(Loaded::InPart) => {}
        Err(why) => volume.distrust(why),
    }
    volume.shared.bell.ring();
}

/// What a head record holds, if it is as it was written.
fn parts_of(header: &Header, record: &Bytes, keys: &KeyHasher) -> Option<(Facts, Meta, Bytes)> {
    let facts = header.facts;
    let meta = Meta::decode(header.meta(record)?, facts.partition, keys)?;
    let is_own = meta.key.primary() == facts.primary;
    let content = header.content(record).filter(|_| is_own)?;
    // It may be kept for long: the buffer that it was read into is for the next read.
    Some((facts, meta, Bytes::copy_from_slice(&content)))
}

impl Shelf {
    /// Hands in a head record; the response can be found once it is written.
    pub(super) fn put_head(
        &self,
        variant: &Variant,
        vary: u32,
        place: Place,
        content: Bytes,
        claim: Claim,
    ) {
        let place = Place {
            length: variant.content.length(),
            ..place
        };
        let draft = Draft {
            facts: facts_of(variant, vary),
            meta: Meta::encode(&variant.key, &place, &variant.response),
            content,
        };
        self.sink.put(draft, Ticket::Head(claim));
    }

    /// Hands in content that is one piece, and the head after it.
    pub(super) fn put_long(&self, variant: &Arc<Variant>, vary: u32, content: Bytes, claim: Claim) {
        let facts = Facts {
            kind: Kind::Chunk,
            selected_by: 0,
            vary: 0,
            ..facts_of(variant, vary)
        };
        let (shelf, variant) = (self.clone(), Arc::clone(variant));
        let done = move |location| {
            let Some(chunk) = location else { return };
            let place = Place {
                chunks: vec![chunk],
                object: variant.version,
                length: 0,
            };
            shelf.put_head(&variant, vary, place, Bytes::new(), claim);
        };
        let draft = Draft {
            facts,
            meta: Vec::new(),
            content,
        };
        self.sink.put(draft, Ticket::Piece(Box::new(done)));
    }
}

fn facts_of(variant: &Variant, vary: u32) -> Facts {
    Facts {
        kind: Kind::Head,
        primary: variant.key.primary(),
        selected_by: variant.selected_by,
        vary,
        url: variant.key.url(),
        birth: variant.birth,
        version: variant.version,
        partition: variant.key.partition(),
        chunk: 0,
    }
}
