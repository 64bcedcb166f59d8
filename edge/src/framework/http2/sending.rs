//! What a connection sends, counted: whether its client still takes what streams wrote that are over.
//!
//! `framework::http2` puts [`Counted`] between `h2` and the transport, and asks [`Sending`] before it takes a connection for idle. A stream that
//! wrote the end of its answer is over, while much of that may wait in `h2`: only the bytes that leave tell a client that is slow from one
//! that takes nothing. Knows no frames and no streams.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::stream::WRITE_BYTES;

/// A transport that counts the bytes that it takes.
pub(super) struct Counted<T> {
    transport: T,
    count: Arc<Count>,
}

#[derive(Default)]
struct Count {
    sent: AtomicU64,
    /// Whether something was to be written after the last flush that came to its end.
    waits: AtomicBool,
}

/// How far the client came in taking what was written.
pub(super) struct Sending {
    count: Arc<Count>,
    /// How much was sent when it last went on, and when that was; while it is watched.
    last: Option<(u64, Instant)>,
}

/// The transport to use in place of `transport`, and the count of it.
pub(super) fn counted<T>(transport: T) -> (Counted<T>, Sending) {
    let count = Arc::<Count>::default();
    let sending = Sending {
        count: Arc::clone(&count),
        last: None,
    };
    (Counted { transport, count }, sending)
}

impl Sending {
    /// No stream is running any more, perhaps since the last call: it is watched from then on.
    pub(super) fn watch(&mut self) {
        if self.last.is_none() {
            self.last = Some((self.sent(), Instant::now()));
        }
    }

    /// A stream runs, which watches its client itself.
    pub(super) fn leave(&mut self) {
        self.last = None;
    }

    /// Whether the client takes what waits for it: as much as one write of a stream within `idle`, which is what a stream asks of it, too.
    pub(super) fn goes_on(&mut self, idle: Duration) -> bool {
        let sent = self.sent();
        let now = Instant::now();
        let (before, since) = self.last.get_or_insert((sent, now));
        if sent - *before >= WRITE_BYTES as u64 {
            (*before, *since) = (sent, now);
        }
        now - *since < idle
    }

    /// Whether bytes wait for the socket that belong to no stream any more.
    pub(super) fn waits(&self) -> bool {
        self.count.waits.load(Ordering::Relaxed)
    }

    fn sent(&self) -> u64 {
        self.count.sent.load(Ordering::Relaxed)
    }
}

impl Count {
    fn written(&self, bytes: usize) -> usize {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        bytes
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.count.waits.store(true, Ordering::Relaxed);
        let written = ready!(Pin::new(&mut self.transport).poll_write(cx, buf))?;
        Poll::Ready(Ok(self.count.written(written)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.count.waits.store(true, Ordering::Relaxed);
        let written = ready!(Pin::new(&mut self.transport).poll_write_vectored(cx, bufs))?;
        Poll::Ready(Ok(self.count.written(written)))
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
        self.count.waits.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
