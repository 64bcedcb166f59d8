//! One request of a client's connection, as Pingora may see it: `FrontStream`.
//!
//! Made by `framework::front` for a request that passes through, given to `HttpProxy` as its stream. It gives Pingora the head as the guard
//! composed it, then the content as we framed it, then nothing but the news that the client has left. Answers pass unchanged but for their
//! `Date`, which Pingora would replace.
//! Invariant: no byte of a later request ever leaves it, and what is no valid content is an error here, so that the side sees an aborted
//! request. When Pingora drops it, the connection goes home to the front, whatever became of the exchange.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderValue;
use jet9_config::limits::Limits;
use parking_lot::Mutex;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::oneshot;

use super::connection::{Connection, Gone};
use crate::message::{Framing, Protocol, Request};
use crate::request::guard::{self, Chunked, ChunkedDecoder, Refusal};

/// Bytes of an answer that are held back until more follows or a flush is asked for: heads then leave together with their content.
const HELD_BACK_BYTES: usize = 4 << 10;

/// What ends chunked content that has no trailers.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What Pingora reads of a request with Upgrade instead of its having no content: content may follow. Told that there is none, it tells the
/// sending half that the request is over, and where that hears so after a quick 101, it takes the tunnel for closed. The side is told
/// `Content-Length: 0` (`framework::phases`).
const UNDECIDED: &[u8] = b"Transfer-Encoding: chunked\r\n\r\n";

/// Why the content of a request was not passed on to its end. Inside the `io::Error` that Pingora gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The chunked coding is broken.
    #[error("chunked content breaks the rule {}", .0.rule.as_str())]
    Malformed(Refusal),
    /// More content than the site allows.
    #[error("the content is larger than the site allows")]
    TooLarge,
}

/// What the `Date` of an answer is to be. Pingora writes the time over it when it writes the head over HTTP/1.1, whatever the head says, and
/// this is how the one who composed the head tells the stream (RFC 9110 §6.6.1). One for each request.
#[derive(Clone, Debug, Default)]
pub struct DateSlot(Arc<Mutex<Option<HeaderValue>>>);

impl DateSlot {
    /// Told before the head is written.
    pub fn set(&self, date: HeaderValue) {
        *self.0.lock() = Some(date);
    }

    fn take(&self) -> Option<HeaderValue> {
        self.0.lock().take()
    }
}

/// A client's connection, lent for one request.
#[derive(Debug)]
pub struct FrontStream {
    /// `None` only while it is dropped.
    lent: Option<Lent>,
    home: Option<oneshot::Sender<Lent>>,
}

/// The connection as it comes home.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) connection: Box<Connection>,
    give: Give,
    /// Content that was framed anew, on its way to Pingora.
    framed: BytesMut,
    /// The beginning of an answer, held back.
    held: BytesMut,
    answer: AnswerHead,
    date: DateSlot,
    reader: Option<Waker>,
    /// Whether Pingora said that the exchange is over, rather than only dropping the stream.
    pub(super) ended: bool,
}

/// What is given to Pingora next.
#[derive(Debug)]
enum Give {
    Head(Bytes, Content),
    Content(Content),
    /// All that belongs to the request was given, but whether content ends here or a tunnel begins is the answer's to say.
    Undecided,
    /// All that belongs to the request was given.
    Nothing,
    /// The protocol was changed: everything, both ways.
    Tunnel,
}

/// The content of the request, as the client frames it.
#[derive(Debug)]
enum Content {
    /// None, if the protocol stays what it is.
    Undecided,
    Counted {
        left: u64,
    },
    Chunked {
        decoder: ChunkedDecoder,
        left: u64,
    },
}

/// What is known of the head of the answer.
#[derive(Debug)]
enum AnswerHead {
    /// A head begins after this many more bytes. `upgrade`: it decides what comes of a request with Upgrade.
    Awaited {
        after: usize,
        upgrade: bool,
    },
    Known,
}

impl FrontStream {
    /// Lends `connection` for `request`, whose content may have `content_max` bytes. The receiver gets it back.
    pub(super) fn lend(
        connection: Box<Connection>,
        request: &Request,
        content_max: u64,
        limits: &Limits,
    ) -> (Self, oneshot::Receiver<Lent>) {
        let (home, returned) = oneshot::channel();
        let content = match request.content {
            _ if request.upgrade.is_some() => Content::Undecided,
            Framing::None => Content::Counted { left: 0 },
            Framing::Length(left) => Content::Counted { left },
            Framing::Unknown => Content::Chunked {
                decoder: ChunkedDecoder::new(limits),
                left: content_max,
            },
        };
        let lent = Lent {
            connection,
            give: Give::Head(head(request), content),
            framed: BytesMut::new(),
            held: BytesMut::new(),
            answer: AnswerHead::Awaited {
                after: 0,
                upgrade: request.upgrade.is_some(),
            },
            date: DateSlot::default(),
            reader: None,
            ended: false,
        };
        let stream = Self {
            lent: Some(lent),
            home: Some(home),
        };
        (stream, returned)
    }

    /// Where the `Date` of the answer is told.
    pub(super) fn date(&self) -> DateSlot {
        let lent = self.lent.as_ref();
        lent.map_or_else(DateSlot::default, |lent| lent.date.clone())
    }

    fn lent(&mut self) -> io::Result<&mut Lent> {
        self.lent
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// The head for Pingora. It frames its answer by the version that it reads here, so HTTP/1.0 stays HTTP/1.0.
fn head(request: &Request) -> Bytes {
    let mut head = guard::compose_http1_head(request);
    if request.protocol == Protocol::Http10 {
        let minor =
            request.method.as_str().len() + request.path_and_query.len() + b"  HTTP/1.".len();
        debug_assert_eq!(head.get(minor..minor + 3), Some(&b"1\r\n"[..]));
        if let Some(minor) = head.get_mut(minor) {
            *minor = b'0';
        }
    }
    if request.upgrade.is_some() {
        head.truncate(head.len() - b"\r\n".len());
        head.extend_from_slice(UNDECIDED);
    }
    head.freeze()
}

impl Drop for FrontStream {
    fn drop(&mut self) {
        if let (Some(lent), Some(home)) = (self.lent.take(), self.home.take()) {
            // Nobody at home: the front was dropped, and the connection ends with it.
            let _ = home.send(lent);
        }
    }
}

impl Lent {
    /// Whether all of the request was taken, so that what follows is another one.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.give, Give::Nothing) && self.framed.is_empty()
    }

    /// Sends what Pingora wrote and did not flush.
    pub(super) async fn send_held(&mut self, idle: Duration) -> Result<(), Gone> {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.connection
                .write(&mut [IoSlice::new(&held)], idle)
                .await?;
        }
        self.connection.flush(idle).await
    }

    fn poll_give(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.framed.is_empty() {
                move_bytes(&mut self.framed, buf, u64::MAX);
                return Poll::Ready(Ok(()));
            }
            match &mut self.give {
                Give::Head(head, _) => {
                    move_bytes(head, buf, u64::MAX);
                    if head.is_empty() {
                        self.begin_content();
                    }
                    return Poll::Ready(Ok(()));
                }
                Give::Content(Content::Counted { left }) => {
                    let given = ready!(poll_counted(&mut self.connection, *left, cx, buf))?;
                    *left -= given;
                    if *left == 0 {
                        self.give = Give::Nothing;
                    }
                    return Poll::Ready(Ok(()));
                }
                Give::Content(Content::Chunked { .. }) => ready!(self.poll_chunks(cx))?,
                Give::Content(Content::Undecided) => self.give = Give::Undecided,
                Give::Undecided | Give::Nothing => {
                    self.reader = Some(cx.waker().clone());
                    return self.connection.poll_left(cx);
                }
                Give::Tunnel => return self.poll_tunnel(cx, buf),
            }
        }
    }

    fn begin_content(&mut self) {
        self.give = match std::mem::replace(&mut self.give, Give::Nothing) {
            Give::Head(_, Content::Undecided) => Give::Undecided,
            Give::Head(_, Content::Counted { left: 0 }) => Give::Nothing,
            Give::Head(_, content) => Give::Content(content),
            other => other,
        };
    }

    /// Takes chunks apart and puts the content into chunks of our own.
    fn poll_chunks(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Give::Content(Content::Chunked { decoder, left }) = &mut self.give else {
            return Poll::Ready(Ok(()));
        };
        match decoder.decode(self.connection.buffer()) {
            Ok(Chunked::Data(piece)) => {
                *left = left
                    .checked_sub(piece.len() as u64)
                    .ok_or_else(|| io::Error::other(ContentError::TooLarge))?;
                put_chunk(&mut self.framed, &piece);
            }
            Ok(Chunked::NeedMore) => {
                if ready!(self.connection.poll_fill(cx))? == 0 {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            Ok(Chunked::End) => {
                self.framed.extend_from_slice(LAST_CHUNK);
                self.give = Give::Nothing;
            }
            Err(refusal) => {
                let error = ContentError::Malformed(refusal);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_tunnel(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.connection.buffer().is_empty() {
            return self.connection.transport().poll_read(cx, buf);
        }
        move_bytes(self.connection.buffer(), buf, u64::MAX);
        Poll::Ready(Ok(()))
    }

    /// Looks whether an answer head changes the protocol (RFC 9110 §7.8). Pingora gives each head with one call, if the socket takes it.
    fn look_at_answer(&mut self, bytes: &[u8], written: usize) {
        let AnswerHead::Awaited { after, upgrade } = &mut self.answer else {
            return;
        };
        if *after > 0 {
            *after = after.saturating_sub(written);
        } else if *upgrade && bytes.starts_with(b"HTTP/1.1 101") {
            self.decide(Give::Tunnel);
        } else if is_interim(bytes) {
            *after = bytes.len() - written;
        } else if *upgrade {
            self.framed.extend_from_slice(LAST_CHUNK);
            self.decide(Give::Nothing);
        } else {
            self.answer = AnswerHead::Known;
        }
    }

    /// The final head with the `Date` that it is to have, if that is what `bytes` are.
    fn redated(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self.answer {
            AnswerHead::Awaited { after: 0, .. } if !is_interim(bytes) => {
                with_date(bytes, &self.date.take()?)
            }
            AnswerHead::Awaited { .. } | AnswerHead::Known => None,
        }
    }

    fn decide(&mut self, give: Give) {
        self.answer = AnswerHead::Known;
        self.give = give;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Writes the held bytes and then `bytes`; says how many of `bytes` are written.
    fn poll_through(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let both = [IoSlice::new(&self.held), IoSlice::new(bytes)];
            let written = ready!(self.connection.transport().poll_write_vectored(cx, &both))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let held = self.held.len();
            if written > held {
                self.held.clear();
                return Poll::Ready(Ok(written - held));
            }
            self.held.advance(written);
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.connection.transport().poll_write(cx, bytes)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(head) = self.redated(bytes) {
            self.held.extend_from_slice(&head);
            self.look_at_answer(bytes, bytes.len());
            return Poll::Ready(Ok(bytes.len()));
        }
        let hold_back = self.held.is_empty() && bytes.len() <= HELD_BACK_BYTES;
        let written = if hold_back && !matches!(self.give, Give::Tunnel) {
            self.held.extend_from_slice(bytes);
            bytes.len()
        } else {
            ready!(self.poll_through(cx, bytes))?
        };
        self.look_at_answer(bytes, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_through(cx, &[]))?;
        self.connection.transport().poll_flush(cx)
    }
}

/// Gives up to `left` bytes of content; says how many.
fn poll_counted(
    connection: &mut Connection,
    left: u64,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<u64>> {
    if !connection.buffer().is_empty() {
        return Poll::Ready(Ok(move_bytes(connection.buffer(), buf, left)));
    }
    let before = buf.filled().len();
    match usize::try_from(left) {
        // Pingora's room reaches beyond the content: what follows it must stay in the socket.
        Ok(left) if left < buf.remaining() => {
            let mut limited = ReadBuf::new(buf.initialize_unfilled_to(left));
            ready!(connection.transport().poll_read(cx, &mut limited))?;
            let read = limited.filled().len();
            buf.advance(read);
        }
        _ => ready!(connection.transport().poll_read(cx, buf))?,
    }
    match buf.filled().len() - before {
        0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        read => Poll::Ready(Ok(read as u64)),
    }
}

/// Moves up to `limit` bytes; says how many.
fn move_bytes(from: &mut impl Buf, to: &mut ReadBuf<'_>, limit: u64) -> u64 {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let count = from.remaining().min(to.remaining()).min(limit);
    to.put_slice(&from.chunk()[..count]);
    from.advance(count);
    count as u64
}

/// Whether an interim response begins here, or the end of HTTP on this connection (RFC 9110 §15.2).
fn is_interim(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.1 1")
}

/// A head whose `Date` is another one; `None`, if it has none.
fn with_date(head: &[u8], date: &HeaderValue) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"\r\ndate: ";
    let line = head
        .windows(NAME.len())
        .position(|name| name.eq_ignore_ascii_case(NAME))?;
    let (before, rest) = head.split_at(line + NAME.len());
    let end = memchr::memchr(b'\r', rest)?;
    Some([before, date.as_bytes(), &rest[end..]].concat())
}

fn put_chunk(out: &mut BytesMut, piece: &[u8]) {
    out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
}

impl AsyncRead for FrontStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.lent()?.poll_give(cx, buf)
    }
}

impl AsyncWrite for FrontStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lent()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lent()?.poll_flush(cx)
    }

    /// How Pingora ends an exchange whose connection it does not keep. The connection is the front's to close: this only sends what was held
    /// back and notes that the end was said.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lent = self.lent()?;
        ready!(lent.poll_flush(cx))?;
        lent.ended = true;
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for FrontStream {
    async fn shutdown(&mut self) {
        // Where this fails, the client is gone, and the front finds that out itself.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for FrontStream {
    fn id(&self) -> UniqueIDType {
        self.lent
            .as_ref()
            .map_or(-1, |lent| lent.connection.transport_ref().fd())
    }
}

impl GetSocketDigest for FrontStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        let socket = self.lent.as_ref()?.connection.transport_ref().fd();
        Some(Arc::new(SocketDigest::from_raw_fd(socket)))
    }
}

impl GetTimingDigest for FrontStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for FrontStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

// The request is HTTP/1.1 in clear as far as Pingora is concerned; what TLS told is in `Passing`.
impl Ssl for FrontStream {}

impl Peek for FrontStream {}

#[cfg(test)]
mod tests;
