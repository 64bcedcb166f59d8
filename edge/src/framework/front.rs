//! The HTTP/1.1 front: every request of a client's connection, one after the other.
//!
//! Called by `framework::listeners` for each connection that speaks HTTP/1.0 or HTTP/1.1, in clear or inside TLS. For each request: read its
//! head, let the guard judge it, let the story answer, write the answer; or lend the connection to Pingora's `HttpProxy` as a
//! [`FrontStream`] and take it back. RFC 9112 §9. Knows no site, no cache and no origin: [`Handler`] is all it sees of them.
//! Invariant: each request of a connection passes the guard, and after one that did not, nothing more is read as a request.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use http::Method;
use jet9_config::limits::Limits;
use prometheus::IntGauge;

mod connection;
mod node;
mod stream;
mod timer;
mod transport;
mod writer;

pub use node::Node;
pub use stream::{ContentError, DateSlot, FrontStream};
pub use transport::Transport;

use self::connection::{Arrived, Connection, Gone};
use self::writer::{Failed, Terms};
use crate::clock::WallClock;
use crate::control::health::{Drain, UnderWay};
use crate::exchange::{Asked, Exchange, RequestIds};
use crate::framework::phases::Passing;
use crate::interim::Interims;
use crate::message::{Framing, Protocol, Request, Response};
use crate::request::client::Client;
use crate::request::guard::{self, Refusal};
use crate::story::Answer;

/// What the front needs of the node behind it.
pub trait Handler: Send + Sync + 'static {
    /// The bounds.
    fn limits(&self) -> &Limits;

    /// The way to a stop.
    fn drain(&self) -> &Drain;

    /// The wall clock.
    fn clock(&self) -> &WallClock;

    /// Names for exchanges.
    fn request_ids(&self) -> &RequestIds;

    /// The gauge of open connections of a protocol; `None`: it is not known yet.
    fn connections_open(&self, protocol: Option<Protocol>) -> &IntGauge;

    /// Answers a request; dropped when the client leaves. What comes out of `interims` meanwhile is written before the answer.
    fn answer(
        &self,
        exchange: &mut Exchange,
        request: &Request,
        interims: &Interims,
    ) -> impl Future<Output = Answer> + Send;

    /// The response to a head that the guard refused.
    fn refuse(&self, exchange: &mut Exchange, refusal: &Refusal) -> Response;

    /// The response to a head that did not arrive in time.
    fn late(&self, exchange: &mut Exchange) -> Response;

    /// The most content that the site of this exchange takes, in bytes.
    fn content_max(&self, exchange: &Exchange) -> u64;

    /// Passes a request through to its side; `true` if Pingora left the connection usable. `close`: the answer says `Connection: close`.
    fn pass(
        &self,
        stream: FrontStream,
        passing: Passing,
        close: bool,
    ) -> impl Future<Output = bool> + Send;

    /// Serves a connection that chose HTTP/2, to its end.
    fn http2(&self, transport: Transport, client: Arc<Client>) -> impl Future<Output = ()> + Send;

    /// Records an exchange that was not passed through.
    fn finished(&self, exchange: &Exchange);
}

/// What becomes of the connection after an exchange.
enum Next {
    /// Another request.
    Request(Box<Connection>),
    /// A close that lets the client have its answer; lingering where it may still be sending.
    Close {
        connection: Box<Connection>,
        lingering: bool,
    },
    /// A close that shows that something is missing; by a reset where nothing else shows it.
    Abort {
        connection: Box<Connection>,
        reset: bool,
    },
    /// Nothing is left of it.
    Gone,
}

/// Serves a client's connection to its end.
///
/// `under_way` counts its first request: one that was just accepted most likely has a request on its way, and a stop waits for that.
pub async fn serve<H: Handler>(
    handler: Arc<H>,
    transport: Transport,
    client: Arc<Client>,
    under_way: UnderWay,
) {
    let (limits, drain) = (handler.limits(), handler.drain());
    let mut connection = Box::new(Connection::new(transport, drain.watch(), limits));
    let mut under_way = Some(under_way);
    for served in 1..=limits.requests_per_connection.max(1) {
        let arrived = connection.head(limits).await;
        let counted = under_way.take().unwrap_or_else(|| drain.begin());
        let turn = Turn {
            handler: &*handler,
            client: &client,
            last: served >= limits.requests_per_connection,
        };
        // On the heap for as long as the exchange takes: a connection that waits for its next request holds none of it.
        match Box::pin(turn.take(connection, arrived)).await {
            Next::Request(back) => connection = back,
            Next::Close {
                mut connection,
                lingering,
            } => return connection.close(lingering).await,
            Next::Abort { connection, reset } => return connection.abort(reset),
            Next::Gone => return,
        }
        drop(counted);
    }
}

/// One exchange of a connection.
struct Turn<'a, H> {
    handler: &'a H,
    client: &'a Arc<Client>,
    /// Whether `limits.requests_per_connection` is reached.
    last: bool,
}

impl<H: Handler> Turn<'_, H> {
    async fn take(&self, connection: Box<Connection>, arrived: Arrived) -> Next {
        let (head, started) = match arrived {
            Arrived::Head(head, started) => (head, started),
            Arrived::Refused(refusal, started) => {
                return self.refuse(connection, self.begin(started), &refusal).await;
            }
            Arrived::Late(started) => {
                let mut exchange = self.begin(started);
                let response = self.handler.late(&mut exchange);
                return self.last_words(connection, exchange, response).await;
            }
            Arrived::Nothing => {
                return Next::Close {
                    connection,
                    lingering: false,
                };
            }
        };
        let mut exchange = self.begin(started);
        match guard::parse_http1(head, self.client.scheme(), self.handler.limits()) {
            Ok(accepted) => {
                exchange.asked = Asked::of(&accepted.request);
                exchange.answered.bytes_in = accepted.head_bytes as u64;
                let close = !accepted.keep_alive;
                self.answer(connection, exchange, accepted.request, close)
                    .await
            }
            Err(refusal) => self.refuse(connection, exchange, &refusal).await,
        }
    }

    fn begin(&self, started: Instant) -> Box<Exchange> {
        let id = self.handler.request_ids().next();
        let client = Arc::clone(self.client);
        Box::new(Exchange::begin(
            client,
            id,
            started,
            self.handler.clock().now(),
        ))
    }

    /// Lets the story answer, for as long as the client is there. `close`: the client wants no further exchange.
    async fn answer(
        &self,
        mut connection: Box<Connection>,
        mut exchange: Box<Exchange>,
        request: Request,
        close: bool,
    ) -> Next {
        match self.told(&mut connection, &mut exchange, &request).await {
            Ok(Answer::Respond(response)) => {
                self.respond(connection, exchange, &request, response, close)
                    .await
            }
            Ok(Answer::PassThrough) => self.pass(connection, exchange, request, close).await,
            Err(gone) => self.abandoned(&mut exchange, gone),
        }
    }

    /// Waits for the story to answer, and passes on the interim responses that come before. Ends when the client leaves.
    async fn told(
        &self,
        connection: &mut Connection,
        exchange: &mut Exchange,
        request: &Request,
    ) -> Result<Answer, Gone> {
        let interims = match request.protocol {
            Protocol::Http11 => Interims::wanted(),
            Protocol::Http10 | Protocol::Http2 => Interims::unwanted(),
        };
        let idle = self.handler.limits().client_idle;
        let mut sent = 0;
        let answer = {
            let mut answer = pin!(self.handler.answer(exchange, request, &interims));
            loop {
                tokio::select! {
                    biased;
                    answer = &mut answer => break answer,
                    interim = interims.next() => {
                        sent += writer::interim(connection, &interim, idle).await?;
                    }
                    gone = connection.left() => return Err(gone),
                }
            }
        };
        // What came together with the answer still goes before it.
        while let Some(interim) = interims.take() {
            sent += writer::interim(connection, &interim, idle).await?;
        }
        exchange.answered.bytes_out += sent;
        Ok(answer)
    }

    fn abandoned(&self, exchange: &mut Exchange, gone: Gone) -> Next {
        exchange.error = Some(gone.as_str());
        self.handler.finished(exchange);
        Next::Gone
    }

    async fn respond(
        &self,
        connection: Box<Connection>,
        exchange: Box<Exchange>,
        request: &Request,
        response: Response,
        close: bool,
    ) -> Next {
        // Content that nobody read stands before the next request: the connection ends rather than reading it all for nothing.
        let unread = request.content != Framing::None || request.upgrade.is_some();
        let ours = unread || self.last || self.handler.drain().is_draining();
        let terms = Terms {
            protocol: request.protocol,
            head_only: request.method == Method::HEAD,
            close: close || ours,
            idle: self.handler.limits().client_idle,
        };
        self.write(connection, exchange, response, &terms, unread || !close)
            .await
    }

    async fn refuse(
        &self,
        connection: Box<Connection>,
        mut exchange: Box<Exchange>,
        refusal: &Refusal,
    ) -> Next {
        let response = self.handler.refuse(&mut exchange, refusal);
        self.last_words(connection, exchange, response).await
    }

    /// Writes an answer to what was no request. Nothing is known of what the client speaks, nor of where its next request would begin.
    async fn last_words(
        &self,
        connection: Box<Connection>,
        exchange: Box<Exchange>,
        response: Response,
    ) -> Next {
        let terms = Terms {
            protocol: Protocol::Http11,
            head_only: false,
            close: true,
            idle: self.handler.limits().client_idle,
        };
        self.write(connection, exchange, response, &terms, true)
            .await
    }

    async fn write(
        &self,
        mut connection: Box<Connection>,
        mut exchange: Box<Exchange>,
        response: Response,
        terms: &Terms,
        lingering: bool,
    ) -> Next {
        let written = writer::write(&mut connection, response, terms, &mut exchange.answered).await;
        if let Err(failed) = &written {
            exchange.error.get_or_insert(failed.why.as_str());
        }
        self.handler.finished(&exchange);
        match written {
            Ok(ended) if ended.closes(terms) => Next::Close {
                connection,
                lingering,
            },
            Ok(_) => Next::Request(connection),
            Err(Failed { needs_reset, .. }) => Next::Abort {
                connection,
                reset: needs_reset,
            },
        }
    }

    /// Lends the connection to Pingora for this request.
    async fn pass(
        &self,
        connection: Box<Connection>,
        exchange: Box<Exchange>,
        request: Request,
        close: bool,
    ) -> Next {
        let limits = self.handler.limits();
        // What follows a request with Upgrade is not HTTP, whether the side agreed to it or not.
        let close =
            close || self.last || request.upgrade.is_some() || self.handler.drain().is_draining();
        let content_max = self.handler.content_max(&exchange);
        let is_http10 = request.protocol == Protocol::Http10;
        let (stream, home) = FrontStream::lend(connection, &request, content_max, limits);
        let passing = Passing::new(request, *exchange, stream.date());
        let usable = self.handler.pass(stream, passing, close).await;
        let Ok(mut lent) = home.await else {
            return Next::Gone;
        };
        let sent = lent.send_held(limits.client_idle).await;
        if is_http10 && !lent.ended {
            // The end of the connection may be all that ends the content.
            return Next::Abort {
                connection: lent.connection,
                reset: true,
            };
        }
        match sent {
            Err(_) => Next::Abort {
                connection: lent.connection,
                reset: false,
            },
            Ok(()) if usable && !close && lent.is_at_rest() => Next::Request(lent.connection),
            Ok(()) => Next::Close {
                connection: lent.connection,
                lingering: true,
            },
        }
    }
}

#[cfg(test)]
pub(in crate::framework) mod tests;
