//! What of a segment is written once more when its turn comes, and what is forgotten?
//!
//! Asked by `writer` once a segment, before the new lap begins. The records that are still found are weighed by `reinsertion`. Those that
//! it chooses are read back one by one while the new lap is written; the ghost remembers the others. They move towards the segment's
//! start, each to a place at or before its own, so that nothing is overwritten that was not read yet. Each is judged against all purges
//! before it is born anew.

use bytes::Bytes;

use crate::io::Pending;
use crate::key::KeyHasher;
use crate::purge::{Facts, Tick, Verdict};
use crate::variant::Variant;

use super::footer::Entry;
use super::ghost::Sign;
use super::index::slot::{Address, Slot};
use super::record::{Draft, Header, Kind, Meta, padded};
use super::reinsertion::{self, Candidate};
use super::variants::Filed;
use super::volume::Volume;

/// A record that is to be written once more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) filed: Filed,
    pub(super) from: Slot,
    bytes: u32,
    lap: u64,
}

/// The records of a lap that ends, of which the catalog forgets all but those that are given back, in the order of their places.
pub(super) fn turn_over(volume: &Volume, segment: u32, lap: u64, entries: &[Entry]) -> Vec<Kept> {
    let start = volume.geometry.start_of(segment);
    let mut found: Vec<Kept> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Head)
        .filter_map(|entry| found(volume, start, lap, entry))
        .collect();
    let candidates: Vec<Candidate> = found.iter().map(|kept| candidate(volume, kept)).collect();
    let chosen = reinsertion::choose(&candidates, volume.geometry.segment_bytes);
    let mut chosen = chosen.into_iter().peekable();
    let mut numbers = 0..;
    found.retain(|kept| {
        let number = numbers.next();
        let is_chosen = chosen.next_if(|chosen| Some(*chosen) == number).is_some();
        if !is_chosen {
            let ghost = volume.catalog.ghost();
            ghost.remember(kept.filed.primary, Sign::Proven);
            volume.catalog.drop_record(kept.filed, kept.from.address);
        }
        is_chosen
    });
    let dropped = candidates.len() - found.len();
    let evictions = &volume.metrics().evictions;
    let evictions = evictions.with_label_values(&["disk", "capacity"]);
    evictions.inc_by(dropped as u64);
    found
}

fn found(volume: &Volume, start: u64, lap: u64, entry: &Entry) -> Option<Kept> {
    let filed = entry.filed();
    let address = Address::of_offset(start + entry.within())?;
    Some(Kept {
        filed,
        from: volume.catalog.present(filed, address)?,
        bytes: entry.bytes,
        lap,
    })
}

fn candidate(volume: &Volume, kept: &Kept) -> Candidate {
    let slot = &kept.from;
    let facts = Facts {
        partition: slot.partition,
        url: 0,
        path: b"",
        tags: &[],
    };
    let judged = volume.shared.purges.judge(&facts, Tick(slot.birth.tick()));
    Candidate {
        frequency: slot.frequency,
        bytes: padded(kept.bytes as usize) as u64,
        standing: volume.shared.shares.standing(slot.partition, 0),
        // Written anew, what may be old would pass for new.
        is_dead: judged != Verdict::Live || !volume.is_own_in(kept.filed.primary, kept.lap),
    }
}

/// Begins to read a record that is to be kept.
pub(super) fn begin_read(volume: &Volume, kept: &Kept) -> Pending<Bytes> {
    let length = kept.bytes as usize;
    volume
        .file
        .read_patiently(kept.from.address.offset(), length)
}

/// The record, as it is written anew; `None` when it is not whole, was purged, or needs more than itself. Blocks.
pub(super) fn read(volume: &Volume, kept: &Kept, pending: Pending<Bytes>) -> Option<Draft> {
    let offset = kept.from.address.offset();
    let record = volume.noted(pending.wait()).ok()?;
    let header = Header::decode(&record, volume.identity, offset)?;
    let is_it = header.lap == kept.lap
        && header.record_bytes() == record.len()
        && header.facts.filed() == kept.filed;
    if !is_it {
        return None;
    }
    let meta = header.meta(&record)?.to_vec();
    let content = header.content(&record)?;
    // Before the verdict: what is purged between the two kills it.
    let now = volume.shared.purges.now();
    if !may_live_on(volume, &header, &meta, volume.shared.purges.keys()) {
        return None;
    }
    let mut facts = header.facts;
    facts.birth = now;
    Some(Draft {
        facts,
        meta,
        content,
    })
}

/// Whether no purge has touched a record, not even softly, and its content is in it: pieces elsewhere are not kept with it.
fn may_live_on(volume: &Volume, header: &Header, meta: &[u8], keys: &KeyHasher) -> bool {
    let purges = &volume.shared.purges;
    let Some(meta) = Meta::decode(meta, header.facts.partition, keys) else {
        return false;
    };
    let tags = meta.response.tags.iter();
    let tags: Vec<u128> = tags.map(|tag| purges.tag(tag)).collect();
    let facts = Variant::facts_of(&meta.key, &tags);
    meta.place.chunks.is_empty() && purges.judge(&facts, header.facts.birth) == Verdict::Live
}
