//! One stream of an HTTP/2 connection: the content of its request comes in here, the answer goes out.
//!
//! Made by `framework::http2` for each stream that `h2` accepts, and lent to `HttpProxy` for what passes through ([`super::passing`]). Fields
//! go out as they were decided: it adds none, `Date` neither (RFC 9110 §6.6.1), and takes off only what HTTP/2 forbids (RFC 9113 §8.2.2).
//! Knows no site, no cache and no origin. Invariants: each wait for the client ends after `idle`; a stream ends cleanly only by [`Http2Stream::end`]
//! or by an `end` that says so, and dropping it before that resets it.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use tokio::time::timeout;

use crate::interim::INTERIM_BYTES;
use crate::message::field_bytes;

/// Bytes that one wait for the client is about: one that is slow but takes something is to get its content.
pub(super) const WRITE_BYTES: usize = 16 << 10;

/// Fields about one connection (RFC 9113 §8.2.2): `h2` refuses to send a head that has them.
const CONNECTION_SPECIFIC: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Why nothing more can be read from or written to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Gone {
    /// The client reset the stream, or broke a rule within it, or its connection ended.
    #[error("client-left")]
    Left,
    /// The client took nothing, or sent nothing, for as long as it may.
    #[error("client-stalled")]
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

/// One stream. See the module.
pub(super) struct Http2Stream {
    content: RecvStream,
    respond: SendResponse<Bytes>,
    /// Once the final head has been written.
    writer: Option<SendStream<Bytes>>,
    ended: bool,
    /// The longest wait for the client to take or to send something.
    idle: Duration,
    received: u64,
    sent: u64,
    interim_bytes: usize,
}

impl Http2Stream {
    /// A stream that was accepted. `idle`: see `limits.client_idle`.
    pub(super) const fn new(
        content: RecvStream,
        respond: SendResponse<Bytes>,
        idle: Duration,
    ) -> Self {
        Self {
            content,
            respond,
            writer: None,
            ended: false,
            idle,
            received: 0,
            sent: 0,
            interim_bytes: 0,
        }
    }

    /// Whether all content of the request was read, or there was none.
    pub(super) fn content_is_done(&self) -> bool {
        self.content.is_end_stream()
    }

    /// Bytes of content that were read.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// Bytes of content that were handed over to the connection.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// The next piece of the request's content; `None` at its end. May be cancelled: nothing is lost.
    ///
    /// # Errors
    /// When the client is gone, or sends nothing for too long.
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>, Gone> {
        let Ok(piece) = timeout(self.idle, self.content.data()).await else {
            return Err(Gone::Stalled);
        };
        let piece = piece.transpose().map_err(|_| Gone::Left)?;
        if let Some(piece) = &piece {
            self.received += piece.len() as u64;
            // Fails only when the stream is over; then the next read says so.
            let _ = self.content.flow_control().release_capacity(piece.len());
        }
        Ok(piece)
    }

    /// Waits until the client has left. May be cancelled.
    pub(super) async fn left(&mut self) -> Gone {
        // How it left makes no difference: with a word or with an error.
        let _ = poll_fn(|cx| match &mut self.writer {
            Some(writer) => writer.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        })
        .await;
        Gone::Left
    }

    /// Writes an interim response (RFC 9113 §8.1). They wait for the socket outside flow control, so that what is more than
    /// [`INTERIM_BYTES`] is left out.
    ///
    /// # Errors
    /// When the client is gone.
    pub(super) fn write_interim(
        &mut self,
        status: StatusCode,
        fields: HeaderMap,
    ) -> Result<(), Gone> {
        let bytes = self.interim_bytes.saturating_add(field_bytes(&fields));
        if bytes > INTERIM_BYTES {
            return Ok(());
        }
        self.interim_bytes = bytes;
        let head = response(status, fields);
        self.respond
            .send_informational(head)
            .map_err(|_| Gone::Left)
    }

    /// Writes the head of the answer, once. `end`: nothing follows.
    ///
    /// # Errors
    /// When the client is gone.
    pub(super) fn write_head(
        &mut self,
        status: StatusCode,
        fields: HeaderMap,
        end: bool,
    ) -> Result<(), Gone> {
        let head = response(status, fields);
        let writer = self.respond.send_response(head, end);
        self.writer = Some(writer.map_err(|_| Gone::Left)?);
        self.ended = end;
        Ok(())
    }

    /// Writes content of the answer. `end`: nothing follows.
    ///
    /// # Errors
    /// When the client is gone, or takes nothing for too long.
    pub(super) async fn write(&mut self, mut content: Bytes, end: bool) -> Result<(), Gone> {
        while !content.is_empty() {
            let part = content.split_to(content.len().min(WRITE_BYTES));
            let last = end && content.is_empty();
            let written = timeout(self.idle, self.write_part(part, last));
            written.await.map_err(|_| Gone::Stalled)??;
        }
        if end { self.end() } else { Ok(()) }
    }

    async fn write_part(&mut self, mut part: Bytes, last: bool) -> Result<(), Gone> {
        let writer = self.writer.as_mut().ok_or(Gone::Left)?;
        while !part.is_empty() {
            writer.reserve_capacity(part.len());
            let room = poll_fn(|cx| writer.poll_capacity(cx)).await;
            let room = room.ok_or(Gone::Left)?.map_err(|_| Gone::Left)?;
            let piece = part.split_to(part.len().min(room));
            let (length, end) = (piece.len() as u64, last && part.is_empty());
            writer.send_data(piece, end).map_err(|_| Gone::Left)?;
            self.sent += length;
            self.ended |= end;
        }
        Ok(())
    }

    /// Writes the trailers of the answer and ends it.
    ///
    /// # Errors
    /// When the client is gone.
    pub(super) fn write_trailers(&mut self, trailers: HeaderMap) -> Result<(), Gone> {
        let writer = self.writer.as_mut().ok_or(Gone::Left)?;
        writer.send_trailers(trailers).map_err(|_| Gone::Left)?;
        self.ended = true;
        Ok(())
    }

    /// Ends the answer cleanly, if that has not been done. Without a head there is nothing to end.
    ///
    /// # Errors
    /// When the client is gone.
    pub(super) fn end(&mut self) -> Result<(), Gone> {
        match &mut self.writer {
            Some(writer) if !self.ended => {
                writer
                    .send_data(Bytes::new(), true)
                    .map_err(|_| Gone::Left)?;
                self.ended = true;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Breaks the answer off, if it has not ended: the client sees that something is missing.
    pub(super) fn reset(&mut self, reason: Reason) {
        if !self.ended {
            self.respond.send_reset(reason);
            self.ended = true;
        }
    }
}

fn response(status: StatusCode, mut fields: HeaderMap) -> Response<()> {
    for name in &CONNECTION_SPECIFIC {
        fields.remove(name);
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}
