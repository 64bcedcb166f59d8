//! One client connection of the front: the bytes that arrived and were not used yet, and waiting with a deadline.
//!
//! Owned by the loop in `framework::front`, lent to Pingora inside a `FrontStream`. Knows where a head ends and nothing else of HTTP.
//! Invariant: bytes read from the client are in `buffer` until they are used; whoever waits for something else may read ahead, up to
//! [`AHEAD_BYTES`], and loses nothing.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jet9_config::limits::Limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::timer::LazyTimer;
use super::transport::Transport;
use crate::clock;
use crate::control::health::DrainWatch;
use crate::request::guard::{self, Refusal};

/// Bytes that are read ahead while the client's current request is answered. More stay in the socket.
pub(super) const AHEAD_BYTES: usize = 64 << 10;

/// Bytes of one read: a whole TLS record. The space is on the stack, so an idle connection holds none of it.
const READ_BYTES: usize = 16 << 10;

/// How long a connection that has not yet sent anything may still send its first request once the stop has begun.
const FRESH_GRACE: Duration = Duration::from_secs(1);

/// How long a close waits for the client to read the answer and stop sending.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes that a lingering close reads and throws away.
const LINGER_BYTES: usize = 1 << 20;

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    transport: Transport,
    /// Bytes that arrived and were not used yet.
    buffer: BytesMut,
    timer: LazyTimer,
    drain: DrainWatch,
    fresh: bool,
}

/// What came while waiting for a request.
#[derive(Debug)]
pub(super) enum Arrived {
    /// A head, its empty line included, and when its first byte was seen.
    Head(Bytes, Instant),
    /// Something that will not become a head.
    Refused(Refusal, Instant),
    /// The beginning of a head, and no more of it in time.
    Late(Instant),
    /// Nothing; the connection is to be closed without a word.
    Nothing,
}

/// Why writing or waiting had to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// The client closed or reset the connection.
    Left,
    /// The client took nothing for `limits.client_idle`.
    Stalled,
}

impl Gone {
    /// The word for the log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "client-left",
            Self::Stalled => "client-stalled",
        }
    }
}

enum Event {
    Read(io::Result<usize>),
    Draining,
    Late,
}

impl Connection {
    pub(super) fn new(transport: Transport, drain: DrainWatch, limits: &Limits) -> Self {
        Self {
            transport,
            buffer: BytesMut::new(),
            timer: LazyTimer::new(clock::monotonic() + limits.keep_alive),
            drain,
            fresh: true,
        }
    }

    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    pub(super) fn transport(&mut self) -> Pin<&mut Transport> {
        Pin::new(&mut self.transport)
    }

    pub(super) fn transport_ref(&self) -> &Transport {
        &self.transport
    }

    /// Waits for the next head: `limits.keep_alive` for its first byte, then `limits.head_timeout` for all of it.
    pub(super) async fn head(&mut self, limits: &Limits) -> Arrived {
        let begun = clock::monotonic();
        let mut started = None;
        let mut search = guard::head::Search::default();
        loop {
            if !self.buffer.is_empty() {
                let started = *started.get_or_insert_with(clock::monotonic);
                match search.end(&self.buffer, limits) {
                    Ok(Some(end)) => {
                        self.fresh = false;
                        return Arrived::Head(self.take(end), started);
                    }
                    Ok(None) => {}
                    Err(refusal) => return Arrived::Refused(refusal, started),
                }
            }
            let deadline = match started {
                None => begun + limits.keep_alive,
                Some(started) => started + limits.head_timeout,
            };
            match self.more(deadline, started.is_none()).await {
                Event::Read(Ok(read)) if read > 0 => {}
                Event::Read(_) | Event::Draining => return Arrived::Nothing,
                Event::Late => return started.map_or(Arrived::Nothing, Arrived::Late),
            }
        }
    }

    /// Takes the first `end` bytes, without sharing memory with what follows where nothing does.
    fn take(&mut self, end: usize) -> Bytes {
        if end == self.buffer.len() {
            std::mem::take(&mut self.buffer).freeze()
        } else {
            self.buffer.split_to(end).freeze()
        }
    }

    async fn more(&mut self, deadline: Instant, idle: bool) -> Event {
        let mut deadline = deadline;
        poll_fn(|cx| {
            // Reading first: a request that is here already is served, even when the stop has begun.
            if let Poll::Ready(read) = self.poll_fill(cx) {
                return Poll::Ready(Event::Read(read));
            }
            if idle && self.drain.poll_draining(cx).is_ready() {
                if !self.fresh {
                    return Poll::Ready(Event::Draining);
                }
                deadline = deadline.min(clock::monotonic() + FRESH_GRACE);
            }
            self.timer.poll_until(cx, deadline).map(|()| Event::Late)
        })
        .await
    }

    /// Reads what is there into the buffer; 0 is the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::<u8>::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.transport).poll_read(cx, &mut read))?;
        self.buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Ready when the client has left. Reads ahead meanwhile; a client that sent more than [`AHEAD_BYTES`] is not seen leaving.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.buffer.len() < AHEAD_BYTES {
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }

    /// Waits until the client has left.
    pub(super) async fn left(&mut self) -> Gone {
        // How it left makes no difference: with a word or with an error.
        let _ = poll_fn(|cx| self.poll_left(cx)).await;
        Gone::Left
    }

    /// Writes all of `pieces` in as few calls as the socket allows.
    pub(super) async fn write(
        &mut self,
        pieces: &mut [IoSlice<'_>],
        idle: Duration,
    ) -> Result<(), Gone> {
        let mut pieces = pieces;
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            let transport = &mut self.transport;
            let write = poll_fn(|cx| Pin::new(&mut *transport).poll_write_vectored(cx, pieces));
            match tokio::time::timeout(idle, write).await {
                Ok(Ok(written)) if written > 0 => IoSlice::advance_slices(&mut pieces, written),
                Ok(_) => return Err(Gone::Left),
                Err(_) => return Err(Gone::Stalled),
            }
        }
        Ok(())
    }

    /// Sees to it that all that was written is on its way.
    pub(super) async fn flush(&mut self, idle: Duration) -> Result<(), Gone> {
        let transport = &mut self.transport;
        let flush = poll_fn(|cx| Pin::new(&mut *transport).poll_flush(cx));
        match tokio::time::timeout(idle, flush).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone::Left),
            Err(_) => Err(Gone::Stalled),
        }
    }

    /// Closes after a whole answer. `lingering`: the client may still be sending; a plain close would answer that with a reset, which can
    /// take the answer away from it (RFC 9112 §9.6).
    pub(super) async fn close(&mut self, lingering: bool) {
        let deadline = clock::monotonic() + LINGER;
        let transport = &mut self.transport;
        let shutdown = poll_fn(|cx| Pin::new(&mut *transport).poll_shutdown(cx));
        let shut = tokio::time::timeout_at(deadline.into(), shutdown).await;
        if !lingering || !matches!(shut, Ok(Ok(()))) {
            return;
        }
        let mut thrown = 0;
        while thrown < LINGER_BYTES {
            self.buffer.clear();
            match self.more(deadline, false).await {
                Event::Read(Ok(read)) if read > 0 => thrown += read,
                Event::Read(_) | Event::Draining | Event::Late => return,
            }
        }
    }

    /// Closes after an answer that is not whole, so that the client cannot take it for whole. `reset`: nothing but a reset tells it.
    pub(super) fn abort(&self, reset: bool) {
        if reset {
            self.transport.reset_on_close();
        }
    }
}
