//! A stream as `HttpProxy` sees it while its request passes through.
//!
//! Made by `framework::http2` when the story does not answer itself. Pingora's own HTTP/2 session would write its own `Date` over the side's
//! and leave interim responses out; this is what Pingora asks of other protocols instead, around an [`Http2Stream`]: see
//! `docs/decisions/2026-11-own-http2-streams.md`. Decides nothing. Invariant: an answer ends cleanly only when Pingora says that it is whole.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use h2::Reason;
use http::HeaderMap;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::custom::CustomMessageWrite;
use pingora_core::protocols::http::custom::server::Session;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use super::stream::{Gone, Http2Stream};

/// Content of a request that is kept in case that it has to be sent once more. A request with more is sent once.
const REPEAT_BYTES: usize = 64 << 10;

/// A stream, lent for one request.
pub(super) struct PassingStream {
    head: RequestHeader,
    stream: Http2Stream,
    /// Whether the guard found content announced.
    has_content: bool,
    written: Option<Box<ResponseHeader>>,
    repeat: Option<Repeat>,
}

/// What was read of the content.
enum Repeat {
    Kept(BytesMut),
    /// More than [`REPEAT_BYTES`].
    Lost,
}

impl Repeat {
    fn keep(&mut self, piece: &[u8]) {
        if let Self::Kept(kept) = self {
            if kept.len() + piece.len() <= REPEAT_BYTES {
                kept.extend_from_slice(piece);
            } else {
                *self = Self::Lost;
            }
        }
    }
}

impl PassingStream {
    pub(super) const fn new(head: RequestHeader, stream: Http2Stream, has_content: bool) -> Self {
        Self {
            head,
            stream,
            has_content,
            written: None,
            repeat: None,
        }
    }

    fn is_read(&self) -> bool {
        !self.has_content || self.stream.content_is_done()
    }

    fn write_head(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        let (status, fields) = (head.status, head.headers.clone());
        if status.is_informational() {
            let written = self.stream.write_interim(status, fields);
            return written.map_err(while_writing);
        }
        if self.written.is_some() {
            return Error::e_explain(ErrorType::InternalError, "a second head");
        }
        self.stream
            .write_head(status, fields, end)
            .map_err(while_writing)?;
        self.written = Some(head);
        Ok(())
    }

    async fn write_task(&mut self, task: HttpTask) -> Result<bool> {
        let end = task.is_end();
        match task {
            HttpTask::Header(head, end) => self.write_head(head, end)?,
            HttpTask::Body(piece, end) => self.write_body(piece.unwrap_or_default(), end).await?,
            HttpTask::Trailer(Some(trailers)) => self.write_trailers(*trailers).await?,
            HttpTask::Trailer(None) | HttpTask::Done => self.finish().await?,
            HttpTask::Failed(error) => return Err(error),
            // No request over HTTP/2 asks for another protocol (RFC 9113 §8.6).
            HttpTask::UpgradedBody(..) => {
                return Error::e_explain(ErrorType::InternalError, "a tunnel over HTTP/2");
            }
        }
        Ok(end)
    }
}

fn while_reading(gone: Gone) -> Box<Error> {
    error(gone, ErrorType::ReadTimedout)
}

fn while_writing(gone: Gone) -> Box<Error> {
    error(gone, ErrorType::WriteTimedout)
}

fn error(gone: Gone, stalled: ErrorType) -> Box<Error> {
    let kind = match gone {
        Gone::Left => ErrorType::ConnectionClosed,
        Gone::Stalled => stalled,
    };
    Error::explain(kind, gone.as_str()).into_down()
}

#[async_trait]
impl Session for PassingStream {
    fn req_header(&self) -> &RequestHeader {
        &self.head
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        let piece = self.stream.read().await.map_err(while_reading)?;
        if let (Some(repeat), Some(piece)) = (&mut self.repeat, &piece) {
            repeat.keep(piece);
        }
        Ok(piece)
    }

    /// There is nothing to make room for: content that nobody read ends with the stream (RFC 9113 §8.1).
    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write_head(head, end)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.write_head(Box::new(head.clone()), end)
    }

    async fn write_body(&mut self, piece: Bytes, end: bool) -> Result<()> {
        self.stream.write(piece, end).await.map_err(while_writing)
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.stream.write_trailers(trailers).map_err(while_writing)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        for task in tasks {
            if self.write_task(task).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    // The waits are `limits.client_idle`, as for every stream: there is nothing to set.

    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_write_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_total_drain_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        None
    }

    fn request_summary(&self) -> String {
        format!("{} {}", self.head.method, self.head.uri)
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_deref()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.stream.reset(Reason::INTERNAL_ERROR);
    }

    fn is_body_done(&mut self) -> bool {
        self.is_read()
    }

    async fn finish(&mut self) -> Result<()> {
        self.stream.end().map_err(while_writing)
    }

    fn is_body_empty(&mut self) -> bool {
        self.stream.received() == 0 && self.is_read()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.is_read() {
            Err(while_reading(self.stream.left().await))
        } else {
            self.read_body_bytes().await
        }
    }

    fn body_bytes_sent(&self) -> usize {
        usize::try_from(self.stream.sent()).unwrap_or(usize::MAX)
    }

    fn body_bytes_read(&self) -> usize {
        usize::try_from(self.stream.received()).unwrap_or(usize::MAX)
    }

    // What is known of the client is in the exchange; Pingora is told nothing of it.

    fn digest(&self) -> Option<&Digest> {
        None
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        None
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        None
    }

    /// For requests that Pingora makes out of this one. It makes none here.
    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    fn enable_retry_buffering(&mut self) {
        self.repeat
            .get_or_insert_with(|| Repeat::Kept(BytesMut::new()));
    }

    fn retry_buffer_truncated(&self) -> bool {
        matches!(self.repeat, Some(Repeat::Lost))
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        match &self.repeat {
            Some(Repeat::Kept(kept)) if !kept.is_empty() => Some(kept.clone().freeze()),
            _ => None,
        }
    }

    // Messages beside the content: HTTP has none.

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }
}
