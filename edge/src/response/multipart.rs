//! Several parts of one content, one after the other, as `multipart/byteranges` (RFC 9110 §15.3.7.2).
//!
//! Made by `deliver` for a request with several ranges, read piece by piece by the carriers. Holds no more than one piece: parts are read
//! from memory, from disk or from a fill in flight as they go out. The framing between them is `cache::semantics`'.
//! Invariant: it gives exactly as many bytes as it announced, or an error.

use bytes::Bytes;
use jet9_cache::fill::{BodyReader, ReadError};
use jet9_cache::semantics::range::Part;
use jet9_cache::semantics::range::multipart::Multipart;
use jet9_cache::store::Body;

/// Reads parts of a content with the framing between them.
#[derive(Debug)]
pub struct PartsReader {
    source: Source,
    framing: Multipart,
    /// Those that have not begun.
    parts: std::vec::IntoIter<Part>,
    /// Bytes still to be given, framing included.
    remaining: u64,
}

#[derive(Debug)]
enum Source {
    Memory {
        content: Bytes,
        /// What of the present part was not given yet.
        pending: Bytes,
    },
    /// Restricted to the present part.
    Reader(BodyReader),
}

impl PartsReader {
    /// These parts of a content, in this order. They lie within the content; in a fill in flight they are in ascending order.
    pub fn new(body: Body, parts: Vec<Part>, framing: Multipart) -> Self {
        let source = match body {
            Body::Whole(content) => Source::Memory {
                content,
                pending: Bytes::new(),
            },
            Body::Stream(mut reader) => {
                reader.restrict(0, 0);
                Source::Reader(reader)
            }
        };
        Self {
            source,
            remaining: framing.length(&parts),
            framing,
            parts: parts.into_iter(),
        }
    }

    /// The value of `Content-Type`.
    pub fn media_type(&self) -> String {
        self.framing.media_type()
    }

    /// How many bytes [`Self::next`] is still to give: what the answer announces.
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next piece, never empty; `None` at the clean end. Safe to cancel: nothing is lost.
    ///
    /// # Errors
    /// When the content broke off before the end of a part.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let piece = match self.source.next().await? {
            Some(piece) => piece,
            None => match self.parts.next() {
                Some(part) => {
                    self.source.turn_to(part);
                    self.framing.before(part).into()
                }
                None if self.remaining == 0 => return Ok(None),
                None => Bytes::from(self.framing.end()),
            },
        };
        self.remaining = self.remaining.saturating_sub(piece.len() as u64);
        Ok(Some(piece))
    }
}

impl Source {
    fn turn_to(&mut self, part: Part) {
        match self {
            Self::Memory { content, pending } => *pending = slice(content, part),
            Self::Reader(reader) => reader.restrict(part.first(), part.length()),
        }
    }

    /// The next piece of the present part; `None` at its end. A reader is never asked at the end of a part: it would let the content go.
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        match self {
            Self::Memory { pending, .. } if pending.is_empty() => Ok(None),
            Self::Memory { pending, .. } => Ok(Some(std::mem::take(pending))),
            Self::Reader(reader) if reader.remaining() == Some(0) => Ok(None),
            Self::Reader(reader) => reader.next().await?.ok_or(ReadError::Broken).map(Some),
        }
    }
}

/// A part of a content that is in memory.
pub fn slice(content: &Bytes, part: Part) -> Bytes {
    let position = |position| {
        usize::try_from(position)
            .unwrap_or(usize::MAX)
            .min(content.len())
    };
    content.slice(position(part.first())..position(part.last().saturating_add(1)))
}

#[cfg(test)]
mod tests;
