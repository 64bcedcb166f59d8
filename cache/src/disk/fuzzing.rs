//! What is tried on bytes that should be a volume's: superblocks, segments' ends, records.
//!
//! Called by `crate::fuzzing` alone. Checksums keep accidents out; here they are made right, so that what is behind them is tried. What
//! must hold for any value: nothing panics or asks for more memory than the input is worth, what is read is written as it was read, and
//! content is given out only as it was put in.

use bytes::Bytes;

use crate::key::{KeyHasher, Partition};

use super::footer::Seal;
use super::record::{Decoder, Draft, HEADER_BYTES, Header, Meta, RECORD_BYTES_MAX, Spot};
use super::segment::{Geometry, PAGE_BYTES, SegmentHeader, seeded};
use super::superblock::{PEERS_MAX, Superblock, USED as SUPERBLOCK_USED};

/// Whose the structures are.
const IDENTITY: u128 = 0x6a65_7439;
/// Bytes of a segment of the smallest volume.
const SEGMENT_BYTES: u64 = 2 << 20;

/// The first `used` bytes of an input, with zeros where it is too short, and what is left of it.
fn page(bytes: &[u8], used: usize) -> (Vec<u8>, &[u8]) {
    let (first, rest) = bytes.split_at(bytes.len().min(used));
    let mut page = first.to_vec();
    page.resize(used, 0);
    (page, rest)
}

/// A superblock: what is read is written as it was read.
pub(crate) fn superblock(bytes: &[u8]) {
    let (mut page, _) = page(bytes, SUPERBLOCK_USED);
    let crc = crc32c::crc32c(&page);
    page.extend(crc.to_le_bytes());
    let Ok(read) = Superblock::decode(&page) else {
        return;
    };
    assert!(read.peers.len() <= PEERS_MAX);
    if read.geometry.is_plausible() {
        let Geometry {
            segments,
            segment_bytes,
        } = read.geometry;
        let last = read.geometry.end_of(segments - 1);
        assert_eq!(last, read.geometry.file_bytes());
        assert!(last >= u64::from(segments) * segment_bytes);
    }
    assert_eq!(Superblock::decode(&read.encode()), Ok(read));
}

/// A segment's header, and its footer: every record that it lists lies inside.
pub(crate) fn segment(bytes: &[u8]) {
    // Magic, version, number, lap and tick; then the checksum.
    let (mut page, rest) = page(bytes, 32);
    page.extend(seeded(IDENTITY, &page).to_le_bytes());
    if let Some(read) = SegmentHeader::decode(&page, IDENTITY) {
        let again = SegmentHeader::decode(&read.encode(IDENTITY), IDENTITY);
        assert_eq!(again, Some(read));
    }
    footer(rest);
}

/// The seal with the list before it, as long as the seal says.
fn footer(bytes: &[u8]) {
    // Magic, version, number, lap, entries and the list's checksum, which is made right as well.
    let (mut page, rest) = page(bytes, 28);
    let mut list = rest.to_vec();
    list.resize(rest.len().next_multiple_of(PAGE_BYTES as usize), 0);
    page.extend(crc32c::crc32c(&list).to_le_bytes());
    page.extend(seeded(IDENTITY, &page).to_le_bytes());
    let Some(seal) = Seal::decode(&page, IDENTITY) else {
        return;
    };
    let Some(entries) = seal.entries(&list, SEGMENT_BYTES) else {
        return;
    };
    assert_eq!(entries.len(), seal.entries as usize);
    for entry in &entries {
        assert!(entry.within() + u64::from(entry.bytes) <= SEGMENT_BYTES);
    }
    let written = Seal::encode(IDENTITY, seal.segment, seal.lap, &entries);
    let (list, page) = written.split_at(written.len() - PAGE_BYTES as usize);
    let seal = Seal::decode(page, IDENTITY);
    assert_eq!(
        seal.and_then(|seal| seal.entries(list, SEGMENT_BYTES)),
        Some(entries)
    );
}

/// A record: a header of any fields, what describes the content, and the content; and what a flipped bit makes of it.
pub(crate) fn record(bytes: &[u8]) {
    let (mut record, rest) = page(bytes, HEADER_BYTES);
    Header::seal(&mut record, IDENTITY);
    let offset = Decoder::new(&record[16..]).u64().unwrap_or(0);
    let header = Header::decode(&record, IDENTITY, offset);
    record.extend_from_slice(rest);
    let whole = Bytes::from(record);
    if let Some(header) = &header {
        assert!(header.record_bytes() <= RECORD_BYTES_MAX);
        let meta = header.meta(&whole).map(<[u8]>::len);
        assert!(meta.is_none_or(|meta| meta == header.meta_bytes as usize));
        let content = header.content(&whole).map(|content| content.len());
        assert!(content.is_none_or(|content| content == header.content_bytes as usize));
    }
    let facts = header.map_or_else(|| Draft::mark(512).facts, |header| header.facts);
    let (meta, content) = rest.split_at(rest.len() / 2);
    let draft = Draft {
        facts,
        meta: meta.to_vec(),
        content: Bytes::copy_from_slice(content),
    };
    put_and_take(&draft, bytes.first().copied().unwrap_or(0));
    describe(rest, facts.partition);
}

/// What was put is taken, and nothing else, whichever byte goes bad.
fn put_and_take(draft: &Draft, at: u8) {
    let spot = Spot {
        identity: IDENTITY,
        lap: 7,
        offset: 1 << 20,
        durable: 1 << 20,
    };
    let mut record = draft.front(spot);
    record.extend_from_slice(&draft.content);
    let take = |record: Vec<u8>| {
        let record = Bytes::from(record);
        let header = Header::decode(&record, IDENTITY, spot.offset)?;
        let meta = header.meta(&record)?.to_vec();
        Some((header.facts, meta, header.content(&record)?))
    };
    let expected = Some((draft.facts, draft.meta.clone(), draft.content.clone()));
    assert_eq!(take(record.clone()), expected);
    let at = usize::from(at) * draft.length().max(1) / 256;
    if let Some(byte) = record.get_mut(at) {
        *byte ^= 0x10;
        assert_eq!(take(record), None, "byte {at} is bad");
    }
}

/// A head's description: what is read is written as it was read.
fn describe(bytes: &[u8], partition: Partition) {
    let keys = KeyHasher::new([5; 16]);
    let Some(read) = Meta::decode(bytes, partition, &keys) else {
        return;
    };
    assert!(read.place.chunks.len() <= bytes.len());
    let written = Meta::encode(&read.key, &read.place, &read.response);
    let again = Meta::decode(&written, partition, &keys);
    let is_same = |other: &Meta| other.key.is_same(&read.key) && other.place == read.place;
    assert!(again.as_ref().is_some_and(is_same));
}
