//! HTTP/2: one connection, its streams, each of them the same story.
//!
//! Called by `framework::front`'s handler for a connection whose ALPN chose `h2`. Each stream's head passes the guard; the story answers,
//! and the answer is written here, or the request is handed to `HttpProxy`. RFC 9113; the frames are the `h2` crate's. Decides nothing about
//! content.
//! Invariant: a transfer that breaks is reset; a stream ends cleanly only after its last byte.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method};
use jet9_config::limits::Limits;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_http::RequestHeader;
use pingora_proxy::HttpProxy;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

mod passing;
mod sending;
mod stream;

use self::passing::PassingStream;
use self::sending::Sending;
use self::stream::{Gone, Http2Stream};
use crate::clock;
use crate::exchange::{Answered, Asked, Exchange};
use crate::framework::front::DateSlot;
use crate::framework::phases::{self, Passing, Phases};
use crate::interim::{Interim, Interims};
use crate::message::{Content, Framing, Head, Request, Response, field_bytes};
use crate::origin::fetch::OriginBody;
use crate::parts::Edge;
use crate::request::client::Client;
use crate::request::guard;
use crate::response::fault;
use crate::response::multipart::PartsReader;
use crate::story::{self, Answer};

/// Malformed requests of one connection before it is given up; each costs us more than its sender.
const MALFORMED_MAX: u32 = 32;

/// How long a connection may idle after its end was announced.
const CLOSING: Duration = Duration::from_secs(5);

/// Bytes of answers that one stream has waiting for the socket: a client that opens its windows and reads nothing costs no more than this for
/// each of its streams, and one that reads has the next bytes at hand.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// Serves one connection, until it ends. A stop announces GOAWAY and lets running streams end.
pub async fn serve(
    edge: Arc<Edge>,
    proxy: Arc<HttpProxy<Phases>>,
    transport: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    client: Arc<Client>,
) {
    let (transport, sending) = sending::counted(transport);
    let shaking = options(&edge).handshake(transport);
    let Ok(Ok(connection)) = timeout(edge.limits.handshake_timeout, shaking).await else {
        return;
    };
    let carrier = Carrier {
        edge,
        proxy,
        client,
        malformed: Arc::default(),
    };
    carrier.streams(connection, sending).await;
}

/// The bounds of a connection. What is not set here has a bound in `h2`: the tests of this module reach them.
fn options(edge: &Edge) -> Builder {
    let mut options = Builder::new();
    let head_bytes = u32::try_from(edge.limits.head_bytes).unwrap_or(u32::MAX);
    options
        .max_header_list_size(head_bytes)
        .max_concurrent_streams(edge.limits.http2_streams)
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    options
}

/// What each stream of a connection needs.
#[derive(Clone)]
struct Carrier {
    edge: Arc<Edge>,
    proxy: Arc<HttpProxy<Phases>>,
    client: Arc<Client>,
    /// Requests of this connection that the guard refused.
    malformed: Arc<AtomicU32>,
}

/// How far a connection is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Its end is announced. What the client had sent before it knew is still served.
    Closing,
    /// It ends as soon as it can.
    Over,
}

impl Way {
    /// How long nothing may be under way.
    const fn patience(self, limits: &Limits) -> Duration {
        match self {
            Self::Open => limits.keep_alive,
            Self::Closing | Self::Over => CLOSING,
        }
    }
}

impl Carrier {
    /// Accepts streams until the connection ends. Accepting also drives what the running streams write.
    async fn streams(
        &self,
        mut connection: Connection<impl AsyncRead + AsyncWrite + Unpin, Bytes>,
        mut sending: Sending,
    ) {
        let limits = &self.edge.limits;
        // Each running stream holds a receiver of this: it tells how many there are, and when the last one ended.
        let (running, _) = watch::channel(());
        let mut served = 0;
        let mut way = Way::Open;
        // Not only the streams are under way: what they wrote may wait for the socket when they are over, and a stop must not cut it off.
        let mut under_way = None;
        loop {
            if way == Way::Open && served >= limits.requests_per_connection {
                way = Way::Closing;
                connection.graceful_shutdown();
            }
            if way != Way::Over && self.is_too_much(served) {
                way = Way::Over;
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            }
            let accepted = tokio::select! {
                biased;
                () = self.edge.drain.draining(), if way == Way::Open => {
                    way = Way::Closing;
                    connection.graceful_shutdown();
                    continue;
                }
                accepted = connection.accept() => accepted,
                () = idle(&running, &mut sending, way.patience(limits)) => {
                    let waits = connection.has_streams() || sending.waits();
                    if way != Way::Over && waits && sending.goes_on(limits.client_idle) {
                        continue;
                    }
                    if way != Way::Open {
                        return; // nobody answers the announced end
                    }
                    way = Way::Closing;
                    connection.graceful_shutdown();
                    continue;
                }
            };
            let Some(Ok((request, respond))) = accepted else {
                return;
            };
            served += 1;
            sending.leave();
            under_way.get_or_insert_with(|| self.edge.drain.begin());
            let (carrier, held) = (self.clone(), running.subscribe());
            tokio::spawn(async move {
                carrier.exchange(request, respond).await;
                drop(held);
            });
        }
    }

    /// Whether the client does what no client does: it goes on long after the end was announced, or makes one malformed request after the other.
    fn is_too_much(&self, served: u32) -> bool {
        let limits = &self.edge.limits;
        let most = limits
            .requests_per_connection
            .saturating_add(limits.http2_streams);
        served > most || self.malformed.load(Ordering::Relaxed) > MALFORMED_MAX
    }

    /// One stream: one request and its answer.
    async fn exchange(&self, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
        let _under_way = self.edge.drain.begin();
        let (parts, content) = request.into_parts();
        let mut stream = Http2Stream::new(content, respond, self.edge.limits.client_idle);
        let mut exchange = Exchange::begin(
            Arc::clone(&self.client),
            self.edge.request_ids.next(),
            clock::monotonic(),
            self.edge.clock.now(),
        );
        let scheme = self.client.scheme();
        let ended = stream.content_is_done();
        let request = match guard::check_http2(&parts, ended, scheme, &self.edge.limits) {
            Ok(request) => request,
            Err(refusal) => {
                self.malformed.fetch_add(1, Ordering::Relaxed);
                let response = story::refuse(&self.edge, &mut exchange, &refusal);
                return self
                    .respond(stream, exchange, &parts.method, response)
                    .await;
            }
        };
        exchange.asked = Asked::of(&request);
        exchange.answered.bytes_in = head_bytes(&parts);
        match self.told(&mut stream, &mut exchange, &request).await {
            Ok(Answer::Respond(response)) => {
                self.respond(stream, exchange, &request.method, response)
                    .await;
            }
            Ok(Answer::PassThrough) => self.pass(parts, stream, request, exchange).await,
            Err(gone) => {
                exchange.error = Some(gone.as_str());
                self.edge.recorder.finished(&exchange);
            }
        }
    }

    /// Waits for the story to answer, and passes on the interim responses that come before. Ends when the client leaves.
    async fn told(
        &self,
        stream: &mut Http2Stream,
        exchange: &mut Exchange,
        request: &Request,
    ) -> Result<Answer, Gone> {
        let interims = Interims::wanted();
        let mut sent = 0;
        let answer = {
            let mut answer = pin!(story::answer(&self.edge, exchange, request, &interims));
            loop {
                tokio::select! {
                    biased;
                    answer = &mut answer => break answer,
                    interim = interims.next() => sent += write_interim(stream, interim)?,
                    gone = stream.left() => return Err(gone),
                }
            }
        };
        // What came together with the answer still goes before it.
        while let Some(interim) = interims.take() {
            sent += write_interim(stream, interim)?;
        }
        exchange.answered.bytes_out += sent;
        Ok(answer)
    }

    async fn respond(
        &self,
        mut stream: Http2Stream,
        mut exchange: Exchange,
        method: &Method,
        response: Response,
    ) {
        let written = write(&mut stream, method, response, &mut exchange.answered).await;
        if let Err(why) = written {
            exchange.error.get_or_insert(why);
            stream.reset(Reason::INTERNAL_ERROR);
        }
        self.edge.recorder.finished(&exchange);
    }

    /// Hands the stream to `HttpProxy`, with its facts in the extensions of its head.
    async fn pass(&self, parts: Parts, stream: Http2Stream, request: Request, exchange: Exchange) {
        let mut head = RequestHeader::from(parts);
        let has_content = request.content != Framing::None;
        let passing = Passing::new(request, exchange, DateSlot::default());
        phases::hand_over(&mut head, passing);
        let session = PassingStream::new(head, stream, has_content);
        let shutdown = self.edge.drain.signal();
        self.proxy
            .process_new_http(ServerSession::new_custom(Box::new(session)), &shutdown)
            .await;
    }
}

/// Waits until no stream is running, and then for as long as a connection may idle. What streams wrote may still be on its way.
async fn idle(running: &watch::Sender<()>, sending: &mut Sending, patience: Duration) {
    running.closed().await;
    sending.watch();
    sleep(patience).await;
}

/// What the head of a request took, before compression.
fn head_bytes(parts: &Parts) -> u64 {
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |text| text.as_str().len());
    let authority = parts.uri.authority().map_or(0, |text| text.as_str().len());
    let line = parts.method.as_str().len() + target + authority;
    (line + field_bytes(&parts.headers)) as u64
}

/// Writes an interim response; how many bytes it took, before compression.
fn write_interim(stream: &mut Http2Stream, interim: Interim) -> Result<u64, Gone> {
    let bytes = field_bytes(&interim.fields);
    stream.write_interim(interim.status, interim.fields)?;
    Ok(bytes as u64)
}

/// Stored content, or that of a fill, broke off before its end.
const BROKEN: &str = "content-broken";

/// Writes a response. On an error the stream is to be reset.
async fn write(
    stream: &mut Http2Stream,
    method: &Method,
    response: Response,
    answered: &mut Answered,
) -> Result<(), &'static str> {
    let (status, fields) = (response.head.status(), fields(&response));
    answered.status = status.as_u16();
    let head_bytes = field_bytes(&fields) as u64;
    let mut content = Source::of(response.content);
    let empty = matches!(content, Source::None) || *method == Method::HEAD;
    stream
        .write_head(status, fields, empty)
        .map_err(Gone::as_str)?;
    answered.first_byte = Some(clock::monotonic());
    answered.bytes_out += head_bytes;
    if !empty {
        while let Some(piece) = next_piece(stream, &mut content).await? {
            let length = piece.len() as u64;
            stream.write(piece, false).await.map_err(Gone::as_str)?;
            answered.bytes_out += length;
        }
        stream.end().map_err(Gone::as_str)?;
    }
    answered.complete = true;
    Ok(())
}

/// The next piece, unless the client leaves while it is waited for.
async fn next_piece(
    stream: &mut Http2Stream,
    content: &mut Source,
) -> Result<Option<Bytes>, &'static str> {
    tokio::select! {
        biased;
        piece = content.next() => piece,
        gone = stream.left() => Err(gone.as_str()),
    }
}

/// Where content comes from.
enum Source {
    None,
    Whole(Bytes),
    Stored(jet9_cache::fill::BodyReader),
    Parts(PartsReader),
    Origin(OriginBody),
}

impl Source {
    fn of(content: Content) -> Self {
        match content {
            Content::None | Content::HeadOnly(_) => Self::None,
            Content::Whole(bytes) if bytes.is_empty() => Self::None,
            Content::Whole(bytes) => Self::Whole(bytes),
            Content::Stored(reader) => Self::Stored(reader),
            Content::Parts(reader) => Self::Parts(reader),
            Content::Origin { body, .. } => Self::Origin(body),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, &'static str> {
        match self {
            Self::None => Ok(None),
            Self::Whole(bytes) => {
                let whole = std::mem::take(bytes);
                *self = Self::None;
                Ok(Some(whole))
            }
            Self::Stored(reader) => reader.next().await.map_err(|_| BROKEN),
            Self::Parts(reader) => reader.next().await.map_err(|_| BROKEN),
            Self::Origin(body) => body.next().await.map_err(|fault| fault::word(&fault)),
        }
    }
}

/// The fields of a response, with the length of its content where that is known.
pub(crate) fn fields(response: &Response) -> HeaderMap {
    let (mut fields, added) = match &response.head {
        Head::Stored { response, added } => (response.fields.clone(), Some(added)),
        Head::Composed { fields, .. } => (fields.clone(), None),
    };
    for (name, value) in added.into_iter().flat_map(|added| added.clone().lines()) {
        fields.append(name, value);
    }
    if let Some(length) = announced(&response.content) {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    fields
}

fn announced(content: &Content) -> Option<u64> {
    match content {
        Content::None => None,
        Content::HeadOnly(length) | Content::Origin { length, .. } => *length,
        Content::Whole(bytes) => Some(bytes.len() as u64),
        Content::Stored(reader) => reader.remaining(),
        Content::Parts(reader) => Some(reader.remaining()),
    }
}

#[cfg(test)]
mod tests;
