//! The sockets: bound before anything else starts, accepted from until the stop.
//!
//! [`bind()`] is called by `framework::server` for every address of the node file, so that a port in use is found before anything runs;
//! [`Accepting`] is the Pingora service that serves the request listeners, one accept loop each, all in one runtime.
//! Invariant 7: no more connections than `limits.connections`, and running out of file descriptors is survived.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::{ServiceReadyNotifier, ServiceWithDependents};
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::control::health::UnderWay;
use crate::framework::front::{self, Handler, Transport};
use crate::framework::tls::{self, Acceptor};
use crate::message::Protocol;
use crate::request::client::Client;

mod bind;

use bind::BACKLOG;
pub use bind::{AdminListener, Bound, bind};

/// The first and the longest pause of an accept loop that the system gives no more file descriptors to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Connections that could not be accepted, by the reason.
///
/// # Errors
/// When a metric of the same name is there already.
pub fn accept_errors(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let options = Opts::new(
        "jet9_edge_accept_errors_total",
        "Connections that could not be accepted: `descriptors` ran out, or `other`.",
    );
    let errors = IntCounterVec::new(options, &["error"])?;
    registry.register(Box::new(errors.clone()))?;
    Ok(errors)
}

/// Counts a connection as open until it is dropped.
struct Open(IntGauge);

impl Open {
    fn count(handler: &impl Handler, protocol: Option<Protocol>) -> Self {
        let gauge = handler.connections_open(protocol).clone();
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The service of the request listeners.
pub struct Accepting<H> {
    listeners: Vec<(StdListener, Option<Acceptor>)>,
    shared: Arc<Shared<H>>,
    threads: usize,
}

/// What the accept loops share.
struct Shared<H> {
    handler: Arc<H>,
    errors: IntCounterVec,
    places: Arc<Semaphore>,
}

impl<H: Handler> Accepting<H> {
    /// Serves `http` in clear and `https` through `acceptor`, with this many worker threads.
    pub fn new(
        handler: Arc<H>,
        http: Vec<StdListener>,
        https: Vec<StdListener>,
        acceptor: &Acceptor,
        errors: IntCounterVec,
        threads: usize,
    ) -> Self {
        let places = Arc::new(Semaphore::new(
            handler.limits().connections.min(Semaphore::MAX_PERMITS),
        ));
        let clear = http.into_iter().map(|listener| (listener, None));
        let tls = https
            .into_iter()
            .map(|listener| (listener, Some(acceptor.clone())));
        Self {
            listeners: clear.chain(tls).collect(),
            shared: Arc::new(Shared {
                handler,
                errors,
                places,
            }),
            threads,
        }
    }

    /// Accepts on every listener until the stop begins.
    pub async fn run(&mut self) {
        let mut loops = Vec::new();
        for (listener, acceptor) in self.listeners.drain(..) {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    let shared = Arc::clone(&self.shared);
                    loops.push(tokio::spawn(shared.accept(listener, acceptor)));
                }
                Err(error) => log::error!("a bound socket cannot be used: {error}"),
            }
        }
        for accepting in loops {
            // A loop that panicked was reported by the panic hook; the others go on.
            let _ = accepting.await;
        }
    }
}

#[async_trait]
impl<H: Handler> ServiceWithDependents for Accepting<H> {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        ready.notify_ready();
        self.run().await;
    }

    fn name(&self) -> &'static str {
        "requests"
    }

    fn threads(&self) -> Option<usize> {
        Some(self.threads)
    }
}

impl<H: Handler> Shared<H> {
    /// One listener's loop. Stops accepting while `limits.connections` are open: who comes then waits in the listen queue.
    async fn accept(self: Arc<Self>, listener: TcpListener, acceptor: Option<Acceptor>) {
        let drain = self.handler.drain().clone();
        let mut stopping = std::pin::pin!(drain.draining());
        let mut pause = None;
        loop {
            let place = tokio::select! {
                biased;
                () = &mut stopping => break,
                place = Arc::clone(&self.places).acquire_owned() => place,
            };
            let Ok(place) = place else { return };
            let accepted = tokio::select! {
                biased;
                () = &mut stopping => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    pause = None;
                    self.spawn(stream, address, acceptor.clone(), place);
                }
                Err(error) => self.pause(&error, &mut pause).await,
            }
        }
        // It ends with an error: at best with the one that nobody waits any more.
        let _ = self.accept_the_waiting(listener, acceptor.as_ref());
    }

    /// Takes what is in the listen queue: closing the socket would reset clients that are connected already. Asks the system itself: the
    /// runtime may not have heard of them yet.
    fn accept_the_waiting(
        &self,
        listener: TcpListener,
        acceptor: Option<&Acceptor>,
    ) -> io::Result<()> {
        let listener = listener.into_std()?;
        for _ in 0..BACKLOG {
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                break;
            };
            let (stream, address) = listener.accept()?;
            stream.set_nonblocking(true)?;
            self.spawn(
                TcpStream::from_std(stream)?,
                address,
                acceptor.cloned(),
                place,
            );
        }
        Ok(())
    }

    /// After an error: at once where it was the connection's, later and later where the system has no more to give.
    async fn pause(&self, error: &io::Error, pause: &mut Option<Duration>) {
        let exhausted = matches!(
            Errno::from_io_error(error),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
        );
        let word = if exhausted { "descriptors" } else { "other" };
        self.errors.with_label_values(&[word]).inc();
        if !exhausted {
            return;
        }
        if pause.is_none() {
            log::error!("no connection can be accepted: {error}; trying again until it works");
        }
        let now = pause.map_or(PAUSE.0, |before| (before * 2).min(PAUSE.1));
        *pause = Some(now);
        tokio::time::sleep(now).await;
    }

    fn spawn(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        acceptor: Option<Acceptor>,
        place: OwnedSemaphorePermit,
    ) {
        // Counted from here, so that a stop cannot take an accepted connection for nothing.
        let under_way = self.handler.drain().begin();
        let handler = Arc::clone(&self.handler);
        tokio::spawn(async move {
            let _place = place;
            serve(handler, stream, address, acceptor, under_way).await;
        });
    }
}

/// Serves one connection: the handshake first, then the protocol that it chose.
async fn serve<H: Handler>(
    handler: Arc<H>,
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<Acceptor>,
    under_way: UnderWay,
) {
    let mut client = Client {
        address: Some(address),
        local: stream.local_addr().ok(),
        tls: None,
    };
    let Some(acceptor) = acceptor else {
        let _open = Open::count(&*handler, Some(Protocol::Http11));
        return front::serve(
            handler,
            Transport::Clear(stream),
            Arc::new(client),
            under_way,
        )
        .await;
    };
    let shaking = Open::count(&*handler, None);
    let Some((stream, facts)) = Box::pin(acceptor.accept(stream)).await else {
        return;
    };
    drop(shaking);
    client.tls = Some(facts);
    let http2 = tls::chose_http2(&stream);
    let (transport, client) = (Transport::Tls(stream), Arc::new(client));
    if http2 {
        let _open = Open::count(&*handler, Some(Protocol::Http2));
        // Held to the end of the connection: what a stream has written is on its way only when the connection has sent it. A stop announces
        // the end, and a connection without streams then closes.
        let _under_way = under_way;
        // On the heap, or every connection would be as large as those that speak HTTP/2.
        Box::pin(handler.http2(transport, client)).await;
    } else {
        let _open = Open::count(&*handler, Some(Protocol::Http11));
        front::serve(handler, transport, client, under_way).await;
    }
}

#[cfg(test)]
mod tests;
