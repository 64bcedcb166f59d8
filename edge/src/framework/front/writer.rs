//! Writes a response as HTTP/1.1 or HTTP/1.0 on a client's connection.
//!
//! Called by `framework::front` once per answer of the story, and before it once per interim response. RFC 9112 §6 and §9. Decides framing and `Connection` and nothing else; a head from
//! the store goes out as it was prepared. Invariant: content that broke off is never ended as if it were whole: its last chunk or its
//! missing bytes are not sent, and where only the end of the connection ends it, the connection is reset.

use std::future::Future;
use std::io::{IoSlice, Write as _};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use jet9_cache::fill::{BodyReader, ReadError};

use super::connection::{Connection, Gone};
use crate::clock;
use crate::exchange::Answered;
use crate::interim::Interim;
use crate::message::{Added, CACHE_STATUS, Content, Head, Protocol, Response};
use crate::origin::fetch::OriginBody;
use crate::response::multipart::PartsReader;

/// What the response's form depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// What the client speaks.
    pub(super) protocol: Protocol,
    /// Whether the method was HEAD: no content follows, whatever is announced.
    pub(super) head_only: bool,
    /// Whether the connection ends after this response.
    pub(super) close: bool,
    /// How long the client may take nothing.
    pub(super) idle: Duration,
}

/// How the end of the content is told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, and none is announced.
    None,
    /// None follows, but this is what GET would get; `None`: unknown.
    Announced(Option<u64>),
    /// By its length.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection: HTTP/1.0 without a length.
    UntilClose,
}

impl Framing {
    /// Whether the connection ends after a response that was framed like this.
    pub(super) fn closes(self, terms: &Terms) -> bool {
        terms.close || self == Self::UntilClose
    }
}

/// Why a response did not go out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The client is gone or stuck.
    Client(Gone),
    /// The content broke off, in one word.
    Content(&'static str),
}

impl Broken {
    /// The word for the log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Client(gone) => gone.as_str(),
            Self::Content(word) => word,
        }
    }
}

/// A response that did not go out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// Why.
    pub(super) why: Broken,
    /// Whether only a reset tells the client that something is missing.
    pub(super) needs_reset: bool,
}

/// Content that comes piece by piece.
pub(super) trait Pieces: Send {
    /// The next piece; `None` at the clean end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, &'static str>> + Send;
}

impl Pieces for BodyReader {
    async fn next(&mut self) -> Result<Option<Bytes>, &'static str> {
        Self::next(self).await.map_err(read_error)
    }
}

impl Pieces for PartsReader {
    async fn next(&mut self) -> Result<Option<Bytes>, &'static str> {
        Self::next(self).await.map_err(read_error)
    }
}

const fn read_error(error: ReadError) -> &'static str {
    match error {
        ReadError::Broken => "origin-incomplete",
        ReadError::Disk => "disk-error",
    }
}

impl Pieces for OriginBody {
    async fn next(&mut self) -> Result<Option<Bytes>, &'static str> {
        Self::next(self).await.map_err(|_| "origin-incomplete")
    }
}

/// The framing of this content for this client.
pub(super) fn framing(status: StatusCode, content: &Content, terms: &Terms) -> Framing {
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Framing::None;
    }
    let length = match content {
        Content::None => Some(0),
        Content::HeadOnly(length) => return Framing::Announced(*length),
        Content::Whole(bytes) => Some(bytes.len() as u64),
        Content::Stored(reader) => reader.remaining(),
        Content::Parts(reader) => Some(reader.remaining()),
        Content::Origin { length, .. } => *length,
    };
    match length {
        _ if terms.head_only => Framing::Announced(length),
        Some(length) => Framing::Length(length),
        None if terms.protocol == Protocol::Http10 => Framing::UntilClose,
        None => Framing::Chunked,
    }
}

/// Writes the response. What was sent is counted in `answered` as it goes.
pub(super) async fn write(
    connection: &mut Connection,
    response: Response,
    terms: &Terms,
    answered: &mut Answered,
) -> Result<Framing, Failed> {
    let Response { head, content } = response;
    let status = head.status();
    answered.status = status.as_u16();
    let framing = framing(status, &content, terms);
    let ending = ending(&head, framing, terms);
    let mut out = Out {
        connection,
        idle: terms.idle,
        answered,
        framing,
        head: Some((head, ending)),
    };
    let written = match content {
        _ if matches!(framing, Framing::None | Framing::Announced(_)) => out.whole(&[]).await,
        Content::None | Content::HeadOnly(_) => out.whole(&[]).await,
        Content::Whole(bytes) => out.whole(&bytes).await,
        Content::Stored(mut reader) => out.stream(&mut reader).await,
        Content::Parts(mut reader) => out.stream(&mut reader).await,
        Content::Origin { mut body, .. } => out.stream(&mut body).await,
    };
    written.map_err(|why| Failed {
        why,
        needs_reset: framing == Framing::UntilClose,
    })?;
    answered.complete = true;
    Ok(framing)
}

/// Writes an interim response and sees to it that it is on its way; how many bytes it took.
pub(super) async fn interim(
    connection: &mut Connection,
    interim: &Interim,
    idle: Duration,
) -> Result<u64, Gone> {
    let mut out = Vec::with_capacity(512);
    put_status_line(&mut out, interim.status);
    put_fields(&mut out, &interim.fields);
    out.put_slice(b"\r\n");
    connection.write(&mut [IoSlice::new(&out)], idle).await?;
    connection.flush(idle).await?;
    Ok(out.len() as u64)
}

/// A response on its way out.
struct Out<'a> {
    connection: &'a mut Connection,
    idle: Duration,
    answered: &'a mut Answered,
    framing: Framing,
    /// The head and its last lines, until they are sent.
    head: Option<(Head, Vec<u8>)>,
}

impl Out<'_> {
    /// Everything at once: one vectored write where the socket takes it.
    async fn whole(&mut self, content: &[u8]) -> Result<(), Broken> {
        self.send(&[content]).await?;
        self.flush().await
    }

    /// Piece by piece. The first piece goes out with the head if it is there already.
    async fn stream(&mut self, pieces: &mut impl Pieces) -> Result<(), Broken> {
        let mut left = match self.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        while let Some(piece) = self.next(pieces).await? {
            if let Some(left) = &mut left {
                *left = left
                    .checked_sub(piece.len() as u64)
                    .ok_or(Broken::Content("content-too-long"))?;
            }
            self.piece(&piece).await?;
        }
        if left.is_some_and(|left| left > 0) {
            return Err(Broken::Content("content-too-short"));
        }
        let last: &[u8] = match self.framing {
            Framing::Chunked => b"0\r\n\r\n",
            _ => b"",
        };
        self.whole(last).await
    }

    /// The next piece. While it is not there, what was written is pushed out and the client's leaving is watched.
    async fn next(&mut self, pieces: &mut impl Pieces) -> Result<Option<Bytes>, Broken> {
        let mut next = pin!(pieces.next());
        let at_once = std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
        match at_once {
            Poll::Ready(Ok(piece)) => return Ok(piece),
            // The head goes out all the same: what a client sees of an answer that broke off does not depend on how fast it broke.
            Poll::Ready(Err(word)) => {
                self.send(&[]).await?;
                self.flush().await?;
                return Err(Broken::Content(word));
            }
            Poll::Pending => {}
        }
        self.send(&[]).await?;
        self.flush().await?;
        tokio::select! {
            biased;
            piece = &mut next => piece.map_err(Broken::Content),
            gone = self.connection.left() => Err(Broken::Client(gone)),
        }
    }

    async fn piece(&mut self, piece: &[u8]) -> Result<(), Broken> {
        if piece.is_empty() {
            return Ok(());
        }
        if self.framing == Framing::Chunked {
            let mut size = [0; 18];
            let size = chunk_size_line(&mut size, piece.len());
            self.send(&[size, piece, b"\r\n"]).await
        } else {
            self.send(&[piece]).await
        }
    }

    /// Writes up to three slices, and the head before them if it has not been sent.
    async fn send(&mut self, content: &[&[u8]]) -> Result<(), Broken> {
        let head = self.head.take();
        let (prepared, ending): (&[u8], &[u8]) = match &head {
            Some((Head::Stored { response, .. }, ending)) => (&response.http1_head, ending),
            Some((Head::Composed { .. }, ending)) => (&[], ending),
            None => (&[], &[]),
        };
        let at = |n: usize| IoSlice::new(content.get(n).copied().unwrap_or_default());
        let mut slices = [
            IoSlice::new(prepared),
            IoSlice::new(ending),
            at(0),
            at(1),
            at(2),
        ];
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        self.connection
            .write(&mut slices, self.idle)
            .await
            .map_err(Broken::Client)?;
        self.answered.bytes_out += bytes as u64;
        if head.is_some() {
            self.answered.first_byte = Some(clock::monotonic());
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Broken> {
        self.connection
            .flush(self.idle)
            .await
            .map_err(Broken::Client)
    }
}

/// `size CRLF` in hexadecimal digits.
fn chunk_size_line(space: &mut [u8; 18], size: usize) -> &[u8] {
    let mut rest = &mut space[..];
    // 16 digits and CRLF fit.
    let _ = write!(rest, "{size:x}\r\n");
    let left = rest.len();
    &space[..18 - left]
}

/// The bytes of the head after those that the store prepared: for a composed head all of it.
fn ending(head: &Head, framing: Framing, terms: &Terms) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    match head {
        Head::Stored { added, .. } => put_added(&mut out, added),
        Head::Composed { status, fields } => {
            put_status_line(&mut out, *status);
            put_fields(&mut out, fields);
        }
    }
    put_framing(&mut out, framing);
    put_connection(&mut out, framing, terms);
    out.put_slice(b"\r\n");
    out
}

fn put_added(out: &mut Vec<u8>, added: &Added) {
    put_number(out, "age", added.age);
    put_field(out, "via", added.via.as_bytes());
    if let Some(value) = &added.cache_status {
        put_field(out, CACHE_STATUS.as_str(), value.as_bytes());
    }
}

fn put_status_line(out: &mut Vec<u8>, status: StatusCode) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
}

fn put_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        // Framing and Connection are said here alone.
        if name == CONTENT_LENGTH || name == TRANSFER_ENCODING || name == CONNECTION {
            continue;
        }
        put_field(out, name.as_str(), value.as_bytes());
    }
}

fn put_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn put_number(out: &mut Vec<u8>, name: &str, number: u64) {
    // Writing to memory does not fail.
    let _ = write!(out, "{name}: {number}\r\n");
}

fn put_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) | Framing::Announced(Some(length)) => {
            put_number(out, "content-length", length);
        }
        Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::Announced(None) | Framing::UntilClose => {}
    }
}

fn put_connection(out: &mut Vec<u8>, framing: Framing, terms: &Terms) {
    if framing.closes(terms) {
        out.put_slice(b"connection: close\r\n");
    } else if terms.protocol == Protocol::Http10 {
        out.put_slice(b"connection: keep-alive\r\n");
    }
}

#[cfg(test)]
mod tests;
