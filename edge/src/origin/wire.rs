//! One HTTP/1.1 exchange on one connection to a side: head out, head in, content in (RFC 9112).
//!
//! Used by `fetch` over connections that Pingora's connectors open, check and pool. Pingora's own client session is not used here: it
//! forgives folded lines and a Content-Length beside Transfer-Encoding, copies the content once more, and does not tell whether a byte
//! of an answer has arrived, which decides whether a request may be sent again.
//! Counts exactly: content that is short, longer or badly chunked is never taken for whole.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use jet9_config::limits::Limits;
use pingora_core::protocols::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::interim::INTERIM_MAX;
use crate::origin::connect::SIDE_WRITE;
use crate::origin::receive::{self, Asked, Framing, Received, Reuse};
use crate::response::fault::OriginFault;

/// Bytes asked for at once: a TLS record's worth of content and more.
const READ: usize = 32 << 10;

/// Bytes of one line of a chunked body: a size and extensions, which are read over (RFC 9112 §7.1.1).
const CHUNK_LINE_MAX: usize = 1024;

/// A connection in use, with what was read from it and not yet taken.
pub struct Wire {
    stream: Stream,
    read: BytesMut,
}

/// Why no head came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHead {
    /// What went wrong.
    pub fault: OriginFault,
    /// Whether a byte of an answer had arrived.
    pub answered: Answered,
}

/// Whether a side has begun to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Not a byte.
    Nothing,
    /// Something.
    Something,
}

/// How long a head may take.
#[derive(Clone, Copy, Debug)]
pub struct HeadTimes {
    /// To its first byte (`origin.first_byte_timeout`).
    pub first_byte: Duration,
    /// From its first byte to its end (`limits.head_timeout`).
    pub rest: Duration,
}

impl Wire {
    /// An exchange on a connection that is idle.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
        }
    }

    /// Sends a head.
    ///
    /// # Errors
    /// When the connection is closed or takes nothing in time; part of the head may have been sent.
    pub async fn send(&mut self, head: &[u8]) -> Result<(), OriginFault> {
        let sending = async {
            self.stream.write_all(head).await?;
            self.stream.flush().await
        };
        match timeout(SIDE_WRITE, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(OriginFault::Closed),
            Err(_) => Err(OriginFault::FirstByteTimeout),
        }
    }

    /// Reads the final head that answers the request. `interim` is given the others as they come.
    ///
    /// # Errors
    /// When none came in time, the connection broke, or it may not be trusted.
    pub async fn head(
        &mut self,
        asked: Asked<'_>,
        times: HeadTimes,
        limits: &Limits,
        interim: &mut (dyn FnMut(Received) + Send),
    ) -> Result<Received, NoHead> {
        let answered = |fault| NoHead {
            fault,
            answered: Answered::Something,
        };
        self.first_byte(times.first_byte).await?;
        for _ in 0..=INTERIM_MAX {
            let by = Instant::now() + times.rest; // of this head: the final one may come long after an interim one
            let end = self.head_end(by, limits).await.map_err(answered)?;
            let head = self.read.split_to(end);
            let received = receive::head(&head, asked, limits)
                .map_err(|rule| answered(OriginFault::Malformed(rule)))?;
            match received.status.as_u16() {
                101 => {
                    return Err(answered(OriginFault::Malformed(
                        "an upgrade nobody asked for",
                    )));
                }
                100..200 => {
                    interim(received);
                    self.first_byte(times.first_byte)
                        .await
                        .map_err(|e| answered(e.fault))?;
                }
                _ => return Ok(received),
            }
        }
        Err(answered(OriginFault::Malformed("too many interim answers")))
    }

    async fn first_byte(&mut self, within: Duration) -> Result<(), NoHead> {
        let failed = |fault| NoHead {
            fault,
            answered: Answered::Nothing,
        };
        if !self.read.is_empty() {
            return Ok(());
        }
        match timeout(within, self.fill(READ)).await {
            Ok(Ok(0) | Err(_)) => Err(failed(OriginFault::Closed)),
            Ok(Ok(_)) => Ok(()),
            Err(_) => Err(failed(OriginFault::FirstByteTimeout)),
        }
    }

    /// Reads until a head is whole and says where it ends. Each byte is looked at once, however slowly they come.
    async fn head_end(&mut self, by: Instant, limits: &Limits) -> Result<usize, OriginFault> {
        let most = usize::try_from(limits.head_bytes).unwrap_or(usize::MAX);
        let mut looked = 0;
        loop {
            if let Some(end) = end_of_head(&self.read, looked) {
                return if end <= most {
                    Ok(end)
                } else {
                    Err(OriginFault::Malformed("head too large"))
                };
            }
            looked = self.read.len();
            if looked > most {
                return Err(OriginFault::Malformed("head too large"));
            }
            match timeout_at(by, self.fill(READ)).await {
                Ok(Ok(0) | Err(_)) => return Err(OriginFault::Closed),
                Ok(Ok(_)) => {}
                Err(_) => return Err(OriginFault::FirstByteTimeout),
            }
        }
    }

    /// Reads once, at most `most` bytes. The room is reserved first: a buffer that has shrunk would read tiny pieces.
    async fn fill(&mut self, most: usize) -> std::io::Result<usize> {
        self.read.reserve(most);
        (&mut self.stream)
            .take(most as u64)
            .read_buf(&mut self.read)
            .await
    }

    /// The connection, if its exchange is over and nothing was sent beyond the answer.
    pub fn into_idle(self) -> Option<Stream> {
        self.read.is_empty().then_some(self.stream)
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire")
            .field("read", &self.read.len())
            .finish_non_exhaustive()
    }
}

/// The offset behind the empty line that ends a head, if it is there; the bytes before `looked` were looked at before.
fn end_of_head(read: &[u8], looked: usize) -> Option<usize> {
    let from = looked.saturating_sub(3);
    let mut at = from;
    while let Some(newline) = read[at..].iter().position(|byte| *byte == b'\n') {
        at += newline + 1;
        match &read[at..] {
            [b'\r', b'\n', ..] => return Some(at + 2),
            [b'\n', ..] => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Takes content off a wire, as its framing says.
#[derive(Debug)]
pub struct ContentReader {
    state: State,
    reuse: Reuse,
    trailer_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length { left: u64 },
    ChunkSize,
    Chunk { left: u64 },
    ChunkEnd,
    Trailers { left: u64 },
    Close,
    Done,
}

/// What reading found.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Content.
    Content(Bytes),
    /// The clean end.
    End,
}

impl ContentReader {
    /// A reader of the content behind this head.
    pub fn new(received: &Received, limits: &Limits) -> Self {
        Self {
            state: match received.framing {
                Framing::None => State::Done,
                Framing::Length(left) => State::Length { left },
                Framing::Chunked => State::ChunkSize,
                Framing::Close => State::Close,
            },
            reuse: received.reuse,
            trailer_max: limits.head_bytes,
        }
    }

    /// Whether everything was read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the connection may carry another request after the end.
    pub const fn reuse(&self) -> Reuse {
        self.reuse
    }

    /// The next piece, waiting at most `within` for bytes to arrive.
    ///
    /// # Errors
    /// When the connection ended early, was silent too long, or the chunks are malformed.
    pub async fn next(&mut self, wire: &mut Wire, within: Duration) -> Result<Piece, OriginFault> {
        loop {
            match self.take(&mut wire.read)? {
                Some(piece) => return Ok(piece),
                None => match timeout(within, wire.fill(READ)).await {
                    Ok(Ok(0)) if self.state == State::Close => self.state = State::Done,
                    Ok(Ok(0) | Err(_)) => return Err(OriginFault::BodyIncomplete),
                    Ok(Ok(_)) => {}
                    Err(_) => return Err(OriginFault::BodyTimeout),
                },
            }
        }
    }

    /// What can be taken of the bytes that are there; `None`: more are needed.
    fn take(&mut self, read: &mut BytesMut) -> Result<Option<Piece>, OriginFault> {
        loop {
            match self.state {
                State::Done => return Ok(Some(Piece::End)),
                _ if read.is_empty() => return Ok(None),
                State::Close => return Ok(Some(Piece::Content(all_of(read)))),
                State::Length { left } => {
                    let (piece, left) = up_to(read, left);
                    self.state = if left == 0 {
                        State::Done
                    } else {
                        State::Length { left }
                    };
                    return Ok(Some(Piece::Content(piece)));
                }
                State::Chunk { left } => {
                    let (piece, left) = up_to(read, left);
                    self.state = if left == 0 {
                        State::ChunkEnd
                    } else {
                        State::Chunk { left }
                    };
                    return Ok(Some(Piece::Content(piece)));
                }
                State::ChunkSize | State::ChunkEnd | State::Trailers { .. } => {
                    let Some(line) = line(read)? else {
                        return Ok(None);
                    };
                    self.state = self.after_line(&line)?;
                }
            }
        }
    }

    fn after_line(&self, line: &[u8]) -> Result<State, OriginFault> {
        match self.state {
            State::ChunkSize => Ok(match chunk_size(line)? {
                0 => State::Trailers {
                    left: self.trailer_max,
                },
                left => State::Chunk { left },
            }),
            State::ChunkEnd if line.is_empty() => Ok(State::ChunkSize),
            State::ChunkEnd => Err(OriginFault::Malformed("a chunk longer than its size")),
            State::Trailers { .. } if line.is_empty() => Ok(State::Done),
            // Trailers are dropped (RFC 9110 §6.5.1 allows it): nothing downstream may merge them unseen.
            State::Trailers { left } => left
                .checked_sub(line.len() as u64 + 2)
                .map(|left| State::Trailers { left })
                .ok_or(OriginFault::Malformed("trailers too large")),
            state => Ok(state),
        }
    }
}

/// Everything that was read. Small pieces are copied, so that they do not hold the whole buffer for as long as they live.
fn all_of(read: &mut BytesMut) -> Bytes {
    let length = read.len();
    take_exactly(read, length)
}

fn up_to(read: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(read.len());
    (take_exactly(read, length), left - length as u64)
}

fn take_exactly(read: &mut BytesMut, length: usize) -> Bytes {
    if length < READ / 2 {
        let piece = Bytes::copy_from_slice(&read[..length]);
        read.advance(length);
        piece
    } else {
        read.split_to(length).freeze()
    }
}

/// A line of chunked framing, its CRLF taken off; `None`: not whole yet.
fn line(read: &mut BytesMut) -> Result<Option<BytesMut>, OriginFault> {
    let Some(newline) = read
        .iter()
        .take(CHUNK_LINE_MAX)
        .position(|byte| *byte == b'\n')
    else {
        return if read.len() < CHUNK_LINE_MAX {
            Ok(None)
        } else {
            Err(OriginFault::Malformed("chunk line too long"))
        };
    };
    let mut line = read.split_to(newline + 1);
    if !line.ends_with(b"\r\n") {
        return Err(OriginFault::Malformed("bare LF in chunked framing"));
    }
    line.truncate(newline - 1);
    Ok(Some(line))
}

/// The size of a chunk; extensions are read over.
fn chunk_size(line: &[u8]) -> Result<u64, OriginFault> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (size, rest) = line.split_at(digits);
    let rest = rest.trim_ascii_start();
    if size.is_empty() || size.len() > 16 || !(rest.is_empty() || rest.starts_with(b";")) {
        return Err(OriginFault::Malformed("bad chunk size"));
    }
    std::str::from_utf8(size)
        .ok()
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or(OriginFault::Malformed("bad chunk size"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::origin::guard::Said;

    fn read_all(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), OriginFault> {
        let received = Received {
            status: http::StatusCode::OK,
            fields: http::HeaderMap::new(),
            framing,
            length: None,
            reuse: Reuse::Allowed,
            said: Said::default(),
        };
        let mut reader = ContentReader::new(&received, &Limits::default());
        let (mut read, mut content) = (BytesMut::new(), Vec::new());
        for piece in pieces {
            read.extend_from_slice(piece);
            while let Some(Piece::Content(bytes)) = reader.take(&mut read)? {
                content.extend_from_slice(&bytes);
            }
        }
        Ok((content, reader.is_done(), read.len()))
    }

    #[test]
    fn content_ends_exactly_where_its_framing_says() {
        let check = |framing, bytes: &str, content: &str, done: bool, beyond: usize| {
            let whole = read_all(framing, &[bytes.as_bytes()]).unwrap();
            assert_eq!(
                whole,
                (content.as_bytes().to_vec(), done, beyond),
                "{bytes:?}"
            );
            let single: Vec<_> = bytes.as_bytes().chunks(1).collect();
            assert_eq!(
                read_all(framing, &single).unwrap(),
                whole,
                "{bytes:?} byte by byte"
            );
        };
        check(Framing::None, "x", "", true, 1);
        check(Framing::Length(3), "abc", "abc", true, 0);
        check(Framing::Length(3), "ab", "ab", false, 0);
        check(Framing::Length(3), "abcd", "abc", true, 1);
        check(Framing::Close, "abc", "abc", false, 0);
        check(Framing::Chunked, "3\r\nabc\r\n0\r\n\r\n", "abc", true, 0);
        check(
            Framing::Chunked,
            "3;a=b\r\nabc\r\n1 ; x\r\nd\r\n000\r\n\r\n",
            "abcd",
            true,
            0,
        );
        check(
            Framing::Chunked,
            "3\r\nabc\r\n0\r\nX: y\r\nZ: z\r\n\r\nHTTP",
            "abc",
            true,
            4,
        );
        check(Framing::Chunked, "3\r\nabc\r\n0\r\n", "abc", false, 0);
        check(Framing::Chunked, "3\r\nabc\r\n", "abc", false, 0);
        check(
            Framing::Chunked,
            "a\r\n0123456789\r\nF\r\n0123456789abcde\r\n0\r\n\r\n",
            "01234567890123456789abcde",
            true,
            0,
        );
    }

    #[test]
    fn bad_chunks_are_refused() {
        let check = |bytes: &str| {
            let got = read_all(Framing::Chunked, &[bytes.as_bytes()]);
            assert!(
                matches!(got, Err(OriginFault::Malformed(_))),
                "{bytes:?}: {got:?}"
            );
        };
        check("3\nabc\r\n0\r\n\r\n");
        check("3\r\nabcd\r\n0\r\n\r\n");
        check("x\r\nabc\r\n");
        check("\r\nabc\r\n");
        check("-3\r\nabc\r\n");
        check("0x3\r\nabc\r\n");
        check("3 3\r\nabc\r\n");
        check("fffffffffffffffff\r\nabc\r\n");
        check("3\r\nabc\n0\r\n\r\n");
        check(&format!("3;{}\r\nabc\r\n", "x".repeat(CHUNK_LINE_MAX)));
        check(&format!("0\r\n{}", "X: 0123456789abcdef\r\n".repeat(4000)));
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_it_is_split() {
        let check = |head: &str, expected: Option<usize>| {
            let bytes = head.as_bytes();
            for split in 0..=bytes.len() {
                let first = end_of_head(&bytes[..split], 0);
                let found = first.or_else(|| end_of_head(bytes, split));
                assert_eq!(found, expected, "{head:?} split at {split}");
            }
        };
        check("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", Some(25));
        check("HTTP/1.1 200 OK\nA: b\n\n", Some(22));
        check("HTTP/1.1 200 OK\r\nA: b\r\n", None);
    }

    proptest! {
        #[test]
        fn any_content_survives_any_chunking_and_any_splitting(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            splits in prop::collection::vec(1_usize..9, 1..20),
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let mut pieces = Vec::new();
            let mut rest = bytes.as_slice();
            for split in splits.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, left) = rest.split_at((*split).min(rest.len()));
                pieces.push(piece);
                rest = left;
            }
            prop_assert_eq!(read_all(Framing::Chunked, &pieces), Ok((chunks.concat(), true, 0)));
        }
    }
}
