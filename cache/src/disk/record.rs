//! The bytes of a record: a checksummed header, checksums of the content in blocks of 64 KiB, what describes it, and the content.
//!
//! Encoded by `writer` at the place where it is put, decoded by whoever reads it back. The header's checksum is seeded with the volume's
//! identity and covers the record's own offset and its segment's lap, so that leftovers of an earlier lap, of an emptied volume, or at
//! a wrong place are nothing. Integers are little-endian. Pure: no file. Invariant 3: what decodes is what was encoded.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::io::Unit;
use crate::key::{Key, KeyHasher, Partition, Scheme};
use crate::purge::Tick;
use crate::stored::StoredResponse;
use crate::variant::Version;

use super::variants::{Filed, variant_of};

/// Records begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 512;
/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 144;
/// Content is checked in blocks of this many bytes.
const BLOCK_BYTES: usize = 64 << 10;
/// Larger records are none.
pub(super) const RECORD_BYTES_MAX: usize = 4 << 20;
const MAGIC: u32 = u32::from_le_bytes(*b"J9R2");
/// What a mark holds.
static ZEROS: [u8; 4096] = [0; 4096];

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The head of a stored response, and its content if that is short.
    Head,
    /// A piece of the content of a long one; the head names its place.
    Chunk,
    /// Nothing: it fills the last block of a write, and says how far all is durable.
    Mark,
}

impl Kind {
    /// The number that stands for it on disk.
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Head => 1,
            Self::Chunk => 2,
            Self::Mark => 3,
        }
    }

    pub(super) const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Head),
            2 => Some(Self::Chunk),
            3 => Some(Self::Mark),
            _ => None,
        }
    }
}

/// Where a record is, and in which lap of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) segment: u32,
    /// The lap's sequence number.
    pub(crate) lap: u64,
    /// From the start of the volume, in bytes.
    pub(crate) offset: u64,
    /// Of the whole record, without the padding after it.
    pub(crate) bytes: u32,
}

/// The fixed part of a record that its writer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) primary: u128,
    pub(super) selected_by: u128,
    /// The hash of the list of selecting fields; 0 for none.
    pub(super) vary: u32,
    pub(super) url: u128,
    pub(super) birth: Tick,
    /// Of a chunk: of the object that it belongs to.
    pub(super) version: Version,
    pub(super) partition: Partition,
    pub(super) chunk: u32,
}

impl Facts {
    /// The hash of the list of selecting fields and of what they said; 0 for none.
    pub(super) fn variant(&self) -> u32 {
        variant_of(self.vary, self.selected_by)
    }

    /// Under which it is filed in the index.
    pub(super) fn filed(&self) -> Filed {
        Filed {
            primary: self.primary,
            variant: self.variant(),
        }
    }
}

/// Where a record is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) identity: u128,
    pub(super) lap: u64,
    /// From the start of the volume, in bytes.
    pub(super) offset: u64,
    /// All of the lap before this offset was durable when the record was written: what is missing there did not get lost by a crash.
    pub(super) durable: u64,
}

/// A record before it has a place.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) facts: Facts,
    pub(super) meta: Vec<u8>,
    pub(super) content: Bytes,
}

/// A header as it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) facts: Facts,
    pub(super) lap: u64,
    pub(super) offset: u64,
    /// [`Spot::durable`].
    pub(super) durable: u64,
    pub(super) meta_bytes: u32,
    pub(super) content_bytes: u32,
    /// Of the table of checksums and what describes the content.
    meta_crc: u32,
}

impl Draft {
    /// A record that holds nothing and takes `bytes`, a multiple of [`ALIGNMENT`] up to a block.
    pub(super) fn mark(bytes: usize) -> Self {
        let content = bytes.saturating_sub(HEADER_BYTES + table_bytes(1));
        let facts = Facts {
            kind: Kind::Mark,
            primary: 0,
            selected_by: 0,
            vary: 0,
            url: 0,
            birth: Tick::NEVER,
            version: Version(0),
            partition: Partition(0),
            chunk: 0,
        };
        Self {
            facts,
            meta: Vec::new(),
            content: Bytes::from_static(&ZEROS[..content.min(ZEROS.len())]),
        }
    }

    /// Bytes of the record, without padding.
    pub(super) fn length(&self) -> usize {
        HEADER_BYTES + table_bytes(self.content.len()) + self.meta.len() + self.content.len()
    }

    /// Appends the record, as it is at a spot, and pads it; there must be room for it.
    pub(super) fn encode(&self, spot: Spot, out: &mut Unit) {
        out.append(&self.front(spot));
        out.append(&self.content);
        out.pad_to(ALIGNMENT as usize);
    }

    /// Everything before the content.
    pub(super) fn front(&self, spot: Spot) -> Vec<u8> {
        let mut described = Encoder::default();
        for block in self.content.chunks(BLOCK_BYTES) {
            described.u32(crc32c::crc32c(block));
        }
        described.bytes.extend(&self.meta);
        let header = Header {
            facts: self.facts,
            lap: spot.lap,
            offset: spot.offset,
            durable: spot.durable,
            meta_bytes: u32::try_from(self.meta.len()).unwrap_or(u32::MAX),
            content_bytes: u32::try_from(self.content.len()).unwrap_or(u32::MAX),
            meta_crc: crc32c::crc32c(&described.bytes),
        };
        let mut front = header.encode(spot.identity);
        front.extend(described.bytes);
        front
    }
}

impl Header {
    /// Bytes of the whole record, without padding.
    pub(super) fn record_bytes(&self) -> usize {
        self.described_bytes() + self.content_bytes as usize
    }

    /// Bytes of everything before the content.
    pub(super) fn described_bytes(&self) -> usize {
        HEADER_BYTES + table_bytes(self.content_bytes as usize) + self.meta_bytes as usize
    }

    fn encode(&self, identity: u128) -> Vec<u8> {
        let mut out = Encoder {
            bytes: Vec::with_capacity(HEADER_BYTES),
        };
        out.u32(MAGIC);
        out.u32(0);
        out.u64(self.lap);
        out.u64(self.offset);
        out.u64(self.durable);
        let facts = self.facts;
        out.u32(facts.kind.number());
        out.u32(facts.partition.0);
        out.u128(facts.primary);
        out.u128(facts.selected_by);
        out.u32(facts.vary);
        out.u128(facts.url);
        out.u64(facts.birth.0);
        out.u64(facts.version.0);
        out.u32(facts.chunk);
        out.u32(self.meta_bytes);
        out.u32(self.content_bytes);
        out.u32(self.meta_crc);
        out.bytes.resize(HEADER_BYTES, 0);
        Self::seal(&mut out.bytes, identity);
        out.bytes
    }

    /// Makes the checksum of a header right.
    pub(super) fn seal(header: &mut [u8], identity: u128) {
        let crc = checksum(identity, header);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// The header at `offset`, whatever its lap; `None` if there is none.
    pub(super) fn decode(bytes: &[u8], identity: u128, offset: u64) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let mut from = Decoder::new(bytes);
        if from.u32()? != MAGIC || from.u32()? != checksum(identity, bytes) {
            return None;
        }
        let lap = from.u64()?;
        let own_offset = from.u64()?;
        let durable = from.u64()?;
        let kind = Kind::of(from.u32()?)?;
        let partition = Partition(from.u32()?);
        let facts = Facts {
            kind,
            partition,
            primary: from.u128()?,
            selected_by: from.u128()?,
            vary: from.u32()?,
            url: from.u128()?,
            birth: Tick(from.u64()?),
            version: Version(from.u64()?),
            chunk: from.u32()?,
        };
        let header = Self {
            facts,
            lap,
            offset: own_offset,
            durable,
            meta_bytes: from.u32()?,
            content_bytes: from.u32()?,
            meta_crc: from.u32()?,
        };
        (own_offset == offset && header.record_bytes() <= RECORD_BYTES_MAX).then_some(header)
    }

    /// What describes the content, if `record` holds it as it was written.
    pub(super) fn meta<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let described = record.get(HEADER_BYTES..self.described_bytes())?;
        let table = table_bytes(self.content_bytes as usize);
        (crc32c::crc32c(described) == self.meta_crc).then(|| &described[table..])
    }

    /// The content, if `record` holds it as it was written; check [`Self::meta`] first.
    pub(super) fn content(&self, record: &Bytes) -> Option<Bytes> {
        let start = self.described_bytes();
        if record.len() < self.record_bytes() {
            return None;
        }
        let content = record.slice(start..self.record_bytes());
        self.checks(record, 0, &content).then_some(content)
    }

    /// Whether `blocks` is what was written of the content from its block `first` on; `described` is all that stands before the content,
    /// and was checked by [`Self::meta`].
    pub(super) fn checks(&self, described: &[u8], first: usize, blocks: &[u8]) -> bool {
        let table = described
            .get(HEADER_BYTES + 4 * first..)
            .unwrap_or_default();
        let mut table = Decoder::new(table);
        blocks
            .chunks(BLOCK_BYTES)
            .all(|block| table.u32() == Some(crc32c::crc32c(block)))
    }
}

/// Where in a piece of content of so many bytes the blocks begin and end that hold a part of it: what is checked is read whole.
pub(super) fn blocks_around(part: Range<usize>, content: usize) -> Range<usize> {
    let start = part.start - part.start % BLOCK_BYTES;
    start..part.end.next_multiple_of(BLOCK_BYTES).min(content)
}

/// The number of the block of content that begins at an offset.
pub(super) const fn block_at(offset: usize) -> usize {
    offset / BLOCK_BYTES
}

/// How a record of so many bytes that describes nothing but its content is divided: what stands before the content, and the content.
pub(super) const fn parts_of_piece(record: usize) -> (usize, usize) {
    let rest = record.saturating_sub(HEADER_BYTES);
    let table = rest.div_ceil(BLOCK_BYTES + 4) * 4;
    let content = rest.saturating_sub(table);
    (record - content, content)
}

/// About what a record of so many bytes of head and content takes.
pub(super) const fn record_bytes(described: u64) -> u64 {
    described
        .saturating_add(HEADER_BYTES as u64)
        .next_multiple_of(ALIGNMENT)
}

/// A record's length with the padding after it.
pub(super) const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT as usize)
}

const fn table_bytes(content: usize) -> usize {
    content.div_ceil(BLOCK_BYTES) * 4
}

fn checksum(identity: u128, header: &[u8]) -> u32 {
    let seed = crc32c::crc32c(&identity.to_le_bytes());
    let with_magic = crc32c::crc32c_append(seed, &header[..4]);
    crc32c::crc32c_append(with_magic, &header[8..HEADER_BYTES])
}

/// What a head record says besides its header: the key in full, where the content is, and the response.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) response: StoredResponse,
}

/// Where the content of a stored response is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Empty: in the head record itself.
    pub(super) chunks: Vec<Location>,
    /// The version that the chunks carry: a freshened head has a newer one of its own.
    pub(super) object: Version,
    /// Bytes of the whole content.
    pub(super) length: u64,
}

impl Meta {
    pub(super) fn encode(key: &Key, place: &Place, response: &StoredResponse) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u32(match key.scheme() {
            Scheme::Http => 0,
            Scheme::Https => 1,
        });
        out.text(key.host().as_bytes());
        out.text(key.path_and_query());
        out.u64(place.object.0);
        out.u64(place.length);
        out.u32(u32::try_from(place.chunks.len()).unwrap_or(u32::MAX));
        for chunk in &place.chunks {
            out.u32(chunk.segment);
            out.u64(chunk.lap);
            out.u64(chunk.offset);
            out.u32(chunk.bytes);
        }
        response.encode(&mut out.bytes);
        out.bytes
    }

    pub(super) fn decode(bytes: &[u8], partition: Partition, keys: &KeyHasher) -> Option<Self> {
        let mut from = Decoder::new(bytes);
        let scheme = match from.u32()? {
            0 => Scheme::Http,
            1 => Scheme::Https,
            _ => return None,
        };
        let host = Arc::from(std::str::from_utf8(from.text()?).ok()?);
        let path = Bytes::copy_from_slice(from.text()?);
        let object = Version(from.u64()?);
        let length = from.u64()?;
        let count = from.u32()? as usize;
        if count > bytes.len() {
            return None;
        }
        let mut chunks = Vec::with_capacity(count);
        for _ in 0..count {
            chunks.push(Location {
                segment: from.u32()?,
                lap: from.u64()?,
                offset: from.u64()?,
                bytes: from.u32()?,
            });
        }
        let response = StoredResponse::decode(from.rest())?;
        let key = keys.key(partition, scheme, host, path);
        Some(Self {
            key,
            place: Place {
                chunks,
                object,
                length,
            },
            response,
        })
    }
}

/// Writes integers and texts.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    pub(super) bytes: Vec<u8>,
}

impl Encoder {
    pub(super) fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn u128(&mut self, value: u128) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend(text);
    }
}

/// Reads what [`Encoder`] wrote; `None` where the bytes end too soon.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(text)
    }

    const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }
}
