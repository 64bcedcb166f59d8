//! HTTP/2 carried by Pingora: one connection, its streams, each of them the same story.
//!
//! Called by `framework::front`'s handler for a connection whose ALPN chose `h2`. Each stream's head passes the guard; the story answers,
//! and the answer is written here, or the request is handed to `HttpProxy`. RFC 9113. Decides nothing about content.
//! Invariant: a transfer that breaks is reset; a stream ends cleanly only after its last byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderValue};
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{
    H2Accept, H2Options, HttpSession, default_h2_options, handshake,
};
use pingora_core::protocols::{Digest, Stream};
use pingora_http::ResponseHeader;
use pingora_proxy::HttpProxy;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::exchange::{Answered, Asked, Exchange};
use crate::framework::phases::{self, Passing, Phases};
use crate::interim::Interims;
use crate::message::{Content, Head, Request, Response};
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

/// Serves one connection, until it ends. A stop announces GOAWAY and lets running streams end.
pub async fn serve(
    edge: Arc<Edge>,
    proxy: Arc<HttpProxy<Phases>>,
    stream: Stream,
    client: Arc<Client>,
) {
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let shaking = handshake(stream, Some(options(&edge)));
    let Ok(Ok(connection)) = timeout(edge.limits.handshake_timeout, shaking).await else {
        return;
    };
    let carrier = Carrier {
        edge,
        proxy,
        client,
    };
    carrier.streams(connection, digest).await;
}

fn options(edge: &Edge) -> H2Options {
    let mut options = default_h2_options();
    let head_bytes = u32::try_from(edge.limits.head_bytes).unwrap_or(u32::MAX);
    options.max_header_list_size(head_bytes);
    options.max_concurrent_streams(edge.limits.http2_streams);
    options
}

/// What each stream of a connection needs.
#[derive(Clone)]
struct Carrier {
    edge: Arc<Edge>,
    proxy: Arc<HttpProxy<Phases>>,
    client: Arc<Client>,
}

impl Carrier {
    /// Accepts streams until the connection ends. Accepting also drives what the running streams write.
    async fn streams(
        &self,
        mut connection: h2::server::Connection<Stream, Bytes>,
        digest: Arc<Digest>,
    ) {
        let limits = &self.edge.limits;
        // Each running stream holds a receiver of this: it tells how many there are, and when the last one ended.
        let (running, _) = watch::channel(());
        let (mut malformed, mut served) = (0, 0);
        let mut closing = false;
        // Not only the streams are under way: what they wrote may wait for the socket when they are over, and a stop must not cut it off.
        let mut under_way = None;
        loop {
            if served >= limits.requests_per_connection && !closing {
                closing = true;
                connection.graceful_shutdown();
            }
            let accepted = tokio::select! {
                biased;
                () = self.edge.drain.draining(), if !closing => {
                    closing = true;
                    connection.graceful_shutdown();
                    continue;
                }
                accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
                () = idle(&running, limits.keep_alive), if !closing => {
                    closing = true;
                    connection.graceful_shutdown();
                    continue;
                }
                // Nobody answers the announced end.
                () = idle(&running, CLOSING), if closing => return,
            };
            match accepted {
                Ok(Some(H2Accept::Session(session))) => {
                    served += 1;
                    under_way.get_or_insert_with(|| self.edge.drain.begin());
                    let (carrier, held) = (self.clone(), running.subscribe());
                    tokio::spawn(async move {
                        carrier.exchange(session).await;
                        drop(held);
                    });
                }
                Ok(Some(H2Accept::Rejected)) if malformed < MALFORMED_MAX => malformed += 1,
                Ok(Some(H2Accept::Rejected) | None) | Err(_) => return,
            }
        }
    }

    /// One stream: one request and its answer.
    async fn exchange(&self, mut session: HttpSession) {
        let _under_way = self.edge.drain.begin();
        session.set_write_timeout(Some(self.edge.limits.client_idle));
        let mut exchange = Exchange::begin(
            Arc::clone(&self.client),
            self.edge.request_ids.next(),
            clock::monotonic(),
            self.edge.clock.now(),
        );
        let parts = session.req_header();
        let scheme = self.client.scheme();
        let judged = guard::check_http2(parts, session.is_body_done(), scheme, &self.edge.limits);
        let request = match judged {
            Ok(request) => request,
            Err(refusal) => {
                let response = story::refuse(&self.edge, &mut exchange, &refusal);
                let method = parts.method.clone();
                return self.respond(session, exchange, &method, response).await;
            }
        };
        exchange.asked = Asked::of(&request);
        let interims = Interims::unwanted();
        let answer = tokio::select! {
            biased;
            answer = story::answer(&self.edge, &mut exchange, &request, &interims) => Some(answer),
            _ = session.idle() => None,
        };
        match answer {
            Some(Answer::Respond(response)) => {
                self.respond(session, exchange, &request.method, response)
                    .await;
            }
            Some(Answer::PassThrough) => self.pass(session, request, exchange).await,
            None => {
                exchange.error = Some(LEFT);
                self.edge.recorder.finished(&exchange);
            }
        }
    }

    async fn respond(
        &self,
        mut session: HttpSession,
        mut exchange: Exchange,
        method: &Method,
        response: Response,
    ) {
        let written = write(&mut session, method, response, &mut exchange.answered).await;
        if let Err(why) = written {
            exchange.error.get_or_insert(why);
            session.shutdown();
        }
        self.edge.recorder.finished(&exchange);
    }

    /// Hands the stream to `HttpProxy`, with its facts in the extensions of its head.
    async fn pass(&self, mut session: HttpSession, request: Request, exchange: Exchange) {
        phases::hand_over(session.req_header_mut(), Passing { request, exchange });
        let shutdown = self.edge.drain.signal();
        self.proxy
            .process_new_http(ServerSession::new_http2(session), &shutdown)
            .await;
    }
}

/// Waits until no stream is running, and then for as long as a connection may idle.
async fn idle(running: &watch::Sender<()>, keep_alive: Duration) {
    running.closed().await;
    sleep(keep_alive).await;
}

/// The client reset the stream or its connection ended.
const LEFT: &str = "client-left";

/// Bytes of one write: Pingora's write timeout is for all of it, and a client that is slow but takes something is to get its content.
const WRITE_BYTES: usize = 16 << 10;

/// Stored content, or that of a fill, broke off before its end.
const BROKEN: &str = "content-broken";

/// Writes a response. On an error the stream is to be reset.
async fn write(
    session: &mut HttpSession,
    method: &Method,
    response: Response,
    answered: &mut Answered,
) -> Result<(), &'static str> {
    let head = response_header(&response).map_err(|_| "bad-head")?;
    answered.status = head.status.as_u16();
    let mut content = Source::of(response.content);
    let empty = matches!(content, Source::None) || *method == Method::HEAD;
    session
        .write_response_header(Box::new(head), empty)
        .map_err(|_| LEFT)?;
    answered.first_byte = Some(clock::monotonic());
    if !empty {
        while let Some(mut piece) = next_piece(session, &mut content).await? {
            answered.bytes_out += piece.len() as u64;
            while !piece.is_empty() {
                let part = piece.split_to(piece.len().min(WRITE_BYTES));
                session.write_body(part, false).await.map_err(|_| LEFT)?;
            }
        }
        session.finish().map_err(|_| LEFT)?;
    }
    answered.complete = true;
    Ok(())
}

/// The next piece, unless the client leaves while it is waited for.
async fn next_piece(
    session: &mut HttpSession,
    content: &mut Source,
) -> Result<Option<Bytes>, &'static str> {
    tokio::select! {
        biased;
        piece = content.next() => piece,
        _ = session.idle() => Err(LEFT),
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

/// A response's head as Pingora writes it, with the length of its content where that is known.
pub(crate) fn response_header(response: &Response) -> pingora_core::Result<ResponseHeader> {
    let (fields, added) = match &response.head {
        Head::Stored { response, added } => (&response.fields, Some(added)),
        Head::Composed { fields, .. } => (fields, None),
    };
    let added = added.into_iter().flat_map(|added| added.clone().lines());
    let mut head = ResponseHeader::build_no_case(response.head.status(), Some(fields.len() + 4))?;
    for (name, value) in fields {
        head.append_header(name, value)?;
    }
    for (name, value) in added {
        head.append_header(name, value)?;
    }
    if let Some(length) = announced(&response.content) {
        head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(length))?;
    }
    Ok(head)
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
mod tests {
    use http::{HeaderMap, HeaderName, Request as HttpRequest, StatusCode};
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::origin::receive::Framing;

    /// What the client saw of one answer.
    struct Seen {
        status: u16,
        fields: HeaderMap,
        /// The content, or the reason of the reset that broke it.
        content: Result<Vec<u8>, h2::Reason>,
    }

    impl Seen {
        fn broken(error: &h2::Error) -> Self {
            Self {
                status: 0,
                fields: HeaderMap::new(),
                content: Err(error.reason().unwrap()),
            }
        }
    }

    /// Writes one response on a connection of its own; the writer's verdict, what it noted, and what the client saw.
    async fn exchange(
        method: Method,
        response: Response,
    ) -> (Result<(), &'static str>, Answered, Seen) {
        let (near, far) = duplex(1 << 16);
        let asked = method.clone();
        let client = tokio::spawn(async move { ask(near, asked).await });
        let mut connection = handshake(Box::new(far), None).await.unwrap();
        let digest = Arc::new(Digest::default());
        let accepted = HttpSession::from_h2_conn(&mut connection, digest)
            .await
            .unwrap();
        let Some(H2Accept::Session(mut session)) = accepted else {
            panic!("no stream");
        };
        let driving = tokio::spawn(async move { connection.accept().await.is_none() });
        let mut answered = Answered::default();
        let written = write(&mut session, &method, response, &mut answered).await;
        if written.is_err() {
            session.shutdown();
        }
        drop(session);
        let seen = client.await.unwrap();
        driving.abort();
        (written, answered, seen)
    }

    async fn ask(near: DuplexStream, method: Method) -> Seen {
        let (mut send, connection) = h2::client::handshake(near).await.unwrap();
        let driving = tokio::spawn(connection);
        let request = HttpRequest::builder()
            .method(method)
            .uri("https://example.test/")
            .body(())
            .unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        let (head, mut body) = match response.await {
            Ok(response) => response.into_parts(),
            // The reset overtook the head.
            Err(error) => return Seen::broken(&error),
        };
        let mut content = Vec::new();
        while let Some(piece) = body.data().await {
            match piece {
                Ok(piece) => content.extend_from_slice(&piece),
                Err(error) => return Seen::broken(&error),
            }
        }
        drop(driving);
        Seen {
            status: head.status.as_u16(),
            fields: head.headers,
            content: Ok(content),
        }
    }

    fn composed(content: Content) -> Response {
        let name = HeaderName::from_static("x-kept");
        Response {
            head: Head::Composed {
                status: StatusCode::OK,
                fields: HeaderMap::from_iter([(name, HeaderValue::from_static("yes"))]),
            },
            content,
        }
    }

    async fn origin(bytes: &'static str, framing: Framing) -> Content {
        let (mut side, stream) = duplex(1 << 16);
        side.write_all(bytes.as_bytes()).await.unwrap();
        Content::Origin {
            length: None,
            body: OriginBody::reading(Box::new(stream), framing),
        }
    }

    #[tokio::test]
    async fn each_kind_of_content_is_written_whole_and_ended_cleanly() {
        let check =
            async |method: Method, content: Content, length: Option<&str>, expected: &str| {
                let (written, answered, seen) = exchange(method, composed(content)).await;
                assert_eq!(written, Ok(()));
                assert!(answered.complete && answered.first_byte.is_some());
                assert_eq!(
                    (answered.status, answered.bytes_out),
                    (200, expected.len() as u64)
                );
                assert_eq!(
                    (seen.status, &seen.fields["x-kept"]),
                    (200, &HeaderValue::from_static("yes"))
                );
                let announced = seen
                    .fields
                    .get("content-length")
                    .map(|value| value.to_str().unwrap());
                assert_eq!(announced, length);
                assert_eq!(seen.content.unwrap(), expected.as_bytes());
            };
        check(Method::GET, Content::None, None, "").await;
        check(
            Method::GET,
            Content::Whole(Bytes::from_static(b"abc")),
            Some("3"),
            "abc",
        )
        .await;
        check(Method::GET, Content::Whole(Bytes::new()), Some("0"), "").await;
        check(Method::HEAD, Content::HeadOnly(Some(7)), Some("7"), "").await;
        let chunked = origin("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", Framing::Chunked).await;
        check(Method::GET, chunked, None, "abcde").await;
    }

    #[tokio::test]
    async fn a_transfer_that_breaks_is_reset_and_never_ended() {
        // Eight bytes: one less than announced, or without the last chunk.
        for framing in [Framing::Length(9), Framing::Chunked] {
            let content = origin("3\r\nabc\r\n", framing).await;
            let (written, answered, seen) = exchange(Method::GET, composed(content)).await;
            assert_eq!(written, Err("body-incomplete"));
            assert!(!answered.complete);
            assert_eq!(seen.content.unwrap_err(), h2::Reason::INTERNAL_ERROR);
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_the_wait_for_content() {
        let (near, far) = duplex(1 << 16);
        let client = tokio::spawn(async move {
            let (mut send, connection) = h2::client::handshake(near).await.unwrap();
            let driving = tokio::spawn(connection);
            let request = HttpRequest::get("https://example.test/").body(()).unwrap();
            let (response, mut stream) = send.send_request(request, true).unwrap();
            response.await.unwrap();
            stream.send_reset(h2::Reason::CANCEL);
            let _ = driving.await;
        });
        let mut connection = handshake(Box::new(far), None).await.unwrap();
        let digest = Arc::new(Digest::default());
        let accepted = HttpSession::from_h2_conn(&mut connection, digest)
            .await
            .unwrap();
        let Some(H2Accept::Session(mut session)) = accepted else {
            panic!("no stream");
        };
        let driving = tokio::spawn(async move { connection.accept().await.is_none() });
        let (_silent_side, stream) = duplex(16);
        let content = Content::Origin {
            length: Some(5),
            body: OriginBody::reading(Box::new(stream), Framing::Length(5)),
        };
        let mut answered = Answered::default();
        let written = write(&mut session, &Method::GET, composed(content), &mut answered).await;
        assert_eq!(written, Err(LEFT));
        driving.abort();
        client.abort();
    }
}
