//! A part of one piece of long content on its way into memory: the blocks that hold it, and what proves them.
//!
//! Begun and awaited by the readers of `content`. A range of a body costs the blocks of 64 KiB that it touches, and the head of their
//! record, which is read beside them unless it stands right before them. Nothing is given that its checksum does not prove (invariant 3).

use std::ops::Range;

use bytes::Bytes;

use crate::variant::Version;

use super::record::{Header, Kind, Location, block_at, blocks_around, parts_of_piece};
use super::volume::{Part, Reading, Turn, Unread, Volume};

/// Which piece it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) at: Location,
    /// The key and the version that it belongs to.
    pub(super) owner: (u128, Version),
    pub(super) number: u32,
}

/// A part of it that is being read.
#[derive(Debug)]
pub(super) struct PartOfPiece {
    piece: Piece,
    /// The blocks, by where they begin and end in the content.
    blocks: Range<usize>,
    /// Of the record's head, where it is not read with the blocks.
    head: Option<Read>,
    body: Read,
}

/// What is read, on its way or here.
#[derive(Debug)]
enum Read {
    Waiting(Reading),
    Here(Part),
}

impl Read {
    /// Waits until it is here. May be cancelled and asked again.
    async fn arrive(&mut self, volume: &Volume) -> Result<&Part, Unread> {
        if let Self::Waiting(reading) = self {
            *self = Self::Here(reading.done(volume).await?);
        }
        match self {
            Self::Here(part) => Ok(part),
            Self::Waiting(_) => Err(Unread::Busy),
        }
    }
}

impl Piece {
    /// Bytes of its content.
    pub(super) const fn length(&self) -> usize {
        parts_of_piece(self.at.bytes as usize).1
    }

    /// Reads all of it.
    pub(super) async fn whole(self, volume: &Volume, turn: &Turn) -> Result<Bytes, Unread> {
        let mut all = self.begin(volume, 0..self.length(), turn)?;
        all.done(volume).await
    }

    /// Begins to read the blocks that hold a part of the content.
    pub(super) fn begin(
        self,
        volume: &Volume,
        part: Range<usize>,
        turn: &Turn,
    ) -> Result<PartOfPiece, Unread> {
        let (described, length) = parts_of_piece(self.at.bytes as usize);
        if part.end > length {
            return Err(Unread::Corrupt);
        }
        let blocks = blocks_around(part, length);
        let turn = turn.of_reads();
        let (head, start) = if blocks.start == 0 {
            (None, 0)
        } else {
            let head = volume.begin_read(&self.at, 0..described, Some(&turn))?;
            (Some(Read::Waiting(head)), described + blocks.start)
        };
        let end = described + blocks.end;
        let body = volume.begin_read(&self.at, start..end, Some(&turn))?;
        let body = Read::Waiting(body);
        Ok(PartOfPiece {
            piece: self,
            blocks,
            head,
            body,
        })
    }

    fn is(&self, header: &Header) -> bool {
        let facts = &header.facts;
        facts.kind == Kind::Chunk
            && (facts.primary, facts.version, facts.chunk)
                == (self.owner.0, self.owner.1, self.number)
            && (header.content_bytes as usize, header.meta_bytes) == (self.length(), 0)
    }
}

impl PartOfPiece {
    /// Where in the content it begins and ends: where blocks do.
    pub(super) fn range(&self) -> Range<usize> {
        self.blocks.clone()
    }

    /// The blocks, when they are as they were written. May be cancelled and asked again.
    pub(super) async fn done(&mut self, volume: &Volume) -> Result<Bytes, Unread> {
        let body = self.body.arrive(volume).await?;
        let (described, _) = parts_of_piece(self.piece.at.bytes as usize);
        let (head, content) = match &mut self.head {
            Some(head) => (head.arrive(volume).await?, body.bytes.clone()),
            None => (body, body.bytes.slice(described..)),
        };
        let header = volume.header_in(head, &self.piece.at)?;
        let described = &head.bytes[..described];
        let is_proven = self.piece.is(&header)
            && header.meta(described).is_some()
            && header.checks(described, block_at(self.blocks.start), &content);
        if is_proven {
            Ok(content)
        } else {
            Err(volume.corrupt())
        }
    }
}
