//! One fetch from the live master over Pingora's connectors, for fills and for clients of uncacheable answers.
//!
//! Called by `response::store`. Asks `master` for the route, `forward` for the head, gives back what `receive` found trustworthy.
//! Knows nothing of storing. Retries follow one table ([`Tries::after`]); only safe methods come here, so that trying again is harmless.
//! Invariant 1: the route is asked for again right before the first byte of each attempt, after the connection is there.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jet9_cache::Timestamp;
use jet9_cluster::{Epoch, Instant};
use jet9_config::limits::Limits;
use jet9_config::site::Origin;
use jet9_config::{ClusterId, Side, SiteId};
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::upstreams::peer::Peer;
use pingora_core::{Error, ErrorType};

use crate::clock::{self, WallClock};
use crate::exchange::{Attempt, Exchange};
use crate::origin::breakers::{Breakers, Ended};
use crate::origin::connect::{Group, SIDE_IDLE, SideConnections, SitePlace};
use crate::origin::forward::{self, Facts, For, Outgoing};
use crate::origin::guard::{Refusal, Said};
use crate::origin::hold::Holds;
use crate::origin::master::{self, Route};
use crate::origin::receive::{Asked, Framing, Received, Reuse};
use crate::origin::wire::{Answered, ContentReader, HeadTimes, Piece, Wire};
use crate::parts::Edge;
use crate::record::metrics::Outcome;
use crate::response::fault::{ClientFault, Fault, OriginFault};

/// Idle connections to sides that are kept by the process, the least recently used given up first.
const IDLE_MAX: usize = 4096;

/// Pauses before the addresses of a side that refused are tried again: a restart of its web server is shorter than their sum.
const CONNECT_PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
];

/// How often one fetch follows the master to another epoch, at most.
const EPOCH_TURNS: u32 = 4;

/// The way to the sides: connectors and pools, who waits for a live master, and which masters are spared.
pub struct Origins {
    transport: Arc<TransportConnector>,
    holds: Holds,
    breakers: Breakers,
}

impl Origins {
    /// No connection yet. Needs the process's crypto provider to be installed.
    pub fn new(limits: &Limits) -> Self {
        let options = ConnectorOptions::new(IDLE_MAX);
        Self {
            transport: Arc::new(TransportConnector::new(Some(options))),
            holds: Holds::new(limits.hold, limits.hold_per_cluster),
            breakers: Breakers::default(),
        }
    }

    /// The places for requests that are held.
    pub const fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Which masters are spared because they fail.
    pub const fn breakers(&self) -> &Breakers {
        &self.breakers
    }
}

impl std::fmt::Debug for Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origins")
            .field("holds", &self.holds)
            .field("breakers", &self.breakers)
            .finish_non_exhaustive()
    }
}

/// The answer of a side: a final head that `receive` let through, and the content behind it.
#[derive(Debug)]
pub struct OriginAnswer {
    /// The status code, 200 to 999.
    pub status: StatusCode,
    /// The end-to-end fields: hop-by-hop fields and those that Connection names are gone; `Content-Length` is gone too (see `length`).
    pub fields: HeaderMap,
    /// The announced length, where there is one.
    pub length: Option<u64>,
    /// Whether the content ends with the connection: then its end cannot be told from a break (RFC 9112 §8).
    pub ends_by_close: bool,
    /// The content; ends at once for HEAD, 204 and 304.
    pub body: OriginBody,
    /// When the request was sent.
    pub request_time: Timestamp,
    /// When the head arrived.
    pub response_time: Timestamp,
    /// Where it came from.
    pub cluster: ClusterId,
    /// The side that answered.
    pub side: Side,
    /// The epoch under which it was asked.
    pub epoch: Epoch,
}

/// The content of an origin's answer, read piece by piece. Dropping it before its end closes the connection.
#[derive(Debug)]
pub struct OriginBody {
    reader: ContentReader,
    /// The connection, until the content ended.
    connection: Option<Connection>,
    per_piece: Duration,
}

impl OriginBody {
    /// The next piece; `None` at the clean end.
    ///
    /// # Errors
    /// When the origin broke off, sent less than announced, or was too slow (`limits.client_idle` does not apply; `site.first_byte_timeout`
    /// per piece), or when its epoch ended.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some(connection) = &mut self.connection else {
            return Ok(None);
        };
        let read = self.reader.next(&mut connection.wire, self.per_piece).await;
        // What a cut connection gives last may look like an end.
        if connection.group.is_cut() && !matches!(read, Ok(Piece::Content(_))) {
            self.connection = None;
            return Err(Fault::Origin(OriginFault::EpochEnded));
        }
        match read {
            Ok(Piece::Content(piece)) => {
                self.release_if_done();
                Ok(Some(piece))
            }
            Ok(Piece::End) => {
                self.release_if_done();
                Ok(None)
            }
            Err(fault) => {
                self.connection = None;
                Err(Fault::Origin(fault))
            }
        }
    }

    /// Gives the connection back as soon as the last byte was read, not only when somebody asks for the end.
    fn release_if_done(&mut self) {
        if !self.reader.is_done() {
            return;
        }
        if let Some(connection) = self.connection.take() {
            connection.release(self.reader.reuse());
        }
    }
}

#[cfg(test)]
impl OriginBody {
    /// Content as it comes off a stream, for tests of what reads it.
    pub(crate) fn reading(stream: pingora_core::protocols::Stream, framing: Framing) -> Self {
        let received = Received {
            status: StatusCode::OK,
            fields: HeaderMap::new(),
            framing,
            length: None,
            reuse: Reuse::Refused,
            said: Said::default(),
        };
        crate::origin::testing::provider();
        let limits = Limits::default();
        let connections = SideConnections::default();
        let route = Route {
            cluster: ClusterId::parse("c-1").unwrap(),
            side: Side::A,
            epoch: Epoch(1),
            addrs: vec![([127, 0, 0, 1], 80).into()],
            is_guarded: false,
        };
        let origin = crate::origin::testing::origin();
        let (peer, group) = connections.peer(&route, route.addrs[0], &origin);
        Self {
            reader: ContentReader::new(&received, &limits),
            connection: Some(Connection {
                wire: Wire::new(stream),
                group,
                _place: SitePlace::alone(),
                home: Home {
                    transport: Origins::new(&limits).transport,
                    pool_key: peer.reuse_hash(),
                },
            }),
            per_piece: Duration::from_secs(5),
        }
    }
}

/// A connection in use, and where it goes back to.
#[derive(Debug)]
struct Connection {
    wire: Wire,
    group: Arc<Group>,
    /// The site's place, kept until the content ended.
    _place: SitePlace,
    home: Home,
}

struct Home {
    transport: Arc<TransportConnector>,
    pool_key: u64,
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home")
            .field("pool_key", &self.pool_key)
            .finish_non_exhaustive()
    }
}

impl Connection {
    fn release(self, reuse: Reuse) {
        if reuse == Reuse::Refused || self.group.is_cut() {
            return;
        }
        if let Some(stream) = self.wire.into_idle() {
            let key = self.home.pool_key;
            self.home
                .transport
                .release_stream(stream, key, Some(SIDE_IDLE));
        }
    }
}

/// What a fetch is for.
pub struct Purpose<'a> {
    /// Validators of the stored response that is revalidated, or of the one a part of which is missing, and which.
    pub conditional: &'a HeaderMap,
    /// Whether the answer may be stored for others: then GET is sent for HEAD, and the client's conditional and range fields stay behind.
    pub for_storing: bool,
    /// Ready when nobody wants the answer any more: then it is not held for a live master, or no longer.
    pub unwanted: Pin<&'a mut (dyn Future<Output = ()> + Send)>,
    /// Told what happens before the answer is there.
    pub tell: &'a mut Tell<'a>,
}

/// Takes what is told of a fetch under way. It must not block.
pub type Tell<'a> = dyn FnMut(Progress) + Send + 'a;

/// What happens before an answer is there.
#[derive(Debug)]
pub enum Progress {
    /// The first byte of an attempt is about to go to a side.
    Sent,
    /// An interim response came (RFC 9110 §15.2).
    Interim(Received),
}

/// Fetches: `GET` or `HEAD` without content, for a request (or for nobody, in the background).
///
/// `conditional` are validators to add (RFC 9111 §4.3.1); the client's own conditional and range fields are left out when `for_storing`.
/// Retries as the site allows, on the live master only.
///
/// # Errors
/// The last attempt's fault.
pub async fn fetch(
    edge: &Edge,
    exchange: &mut Exchange,
    request: &crate::message::Request,
    site: &crate::control::sites::SiteRuntime,
    mut purpose: Purpose<'_>,
) -> Result<OriginAnswer, Fault> {
    let origin = &site.site.origin;
    let wanted = match purpose.for_storing {
        true => For::Store {
            conditional: purpose.conditional,
            ignored_cookies: &site.rules_for(request.path()).0.ignore_cookies,
        },
        false => For::Client,
    };
    let mut tries = Tries::new(origin.retry_idempotent);
    let mut may_go = false;
    loop {
        let route = tokio::select! {
            biased;
            route = master::route(edge, site, exchange, tries.at_least()) => route.map_err(Fault::Cluster)?,
            () = &mut purpose.unwanted => return Err(Fault::Client(ClientFault::Left)),
        };
        if !may_go {
            master::spare(edge, site, &route).map_err(Fault::Cluster)?;
            may_go = true;
        }
        let facts = Facts {
            edge: &edge.id,
            epoch: route.epoch,
            request_id: &exchange.request_id,
            client: exchange.client_ip(),
            port: exchange.client_port(),
        };
        let outgoing = forward::compose(request, &site.site, &facts, wanted);
        let means = Means {
            site: &site.site.id,
            origins: &edge.origins,
            connections: &edge.side_connections,
            limits: &edge.limits,
            origin,
            clock: &edge.clock,
            is_live: &|| master::recheck(edge, &route),
            heard: &|said, sent| master::heard(edge, &route, said, sent),
        };
        let answer = attempt(
            &means,
            &route,
            &outgoing,
            purpose.tell,
            &mut exchange.attempts,
        )
        .await;
        let outcome = match &answer {
            Ok(_) => Outcome::Answered,
            Err(failed) => Outcome::of_fault(failed.fault),
        };
        let sent = exchange.attempts.last().and_then(|attempt| attempt.sent);
        master::ended(edge, &route, sent, outcome);
        let failed = match answer {
            Ok(answer) => {
                master::told(edge, site, &route, Ended::with(answer.status));
                return Ok(answer);
            }
            Err(failed) => failed,
        };
        match tries.after(failed) {
            Next::Again(pause) => tokio::time::sleep(pause).await,
            Next::GiveUp => {
                let fault = Fault::Origin(failed.fault);
                master::told(edge, site, &route, Ended::by(&fault));
                return Err(fault);
            }
        }
    }
}

/// What an attempt needs of the node.
struct Means<'a> {
    site: &'a SiteId,
    origins: &'a Origins,
    connections: &'a SideConnections,
    limits: &'a Limits,
    origin: &'a Origin,
    clock: &'a WallClock,
    is_live: &'a (dyn Fn() -> bool + Sync),
    /// Told what the guard of the side said to a request that was sent at this moment.
    heard: &'a (dyn Fn(Said, Instant) + Sync),
}

/// An attempt that gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) fault: OriginFault,
    pub(crate) reached: Reached,
}

/// How far an attempt came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// No connection, or none that was used: the side saw nothing.
    Nothing,
    /// The request may have been seen.
    Sent,
    /// The answer had begun.
    Answered,
}

async fn attempt(
    means: &Means<'_>,
    route: &Route,
    outgoing: &Outgoing,
    tell: &mut Tell<'_>,
    attempts: &mut Vec<Attempt>,
) -> Result<OriginAnswer, Failed> {
    let began = clock::monotonic();
    let mut tried = Attempt {
        side: route.side,
        epoch: route.epoch,
        sent: None,
        status: None,
        took: Duration::ZERO,
    };
    let answer = exchange(means, route, outgoing, tell, &mut tried).await;
    tried.took = clock::monotonic().duration_since(began);
    if let Ok(answer) = &answer {
        tried.status = Some(answer.status.as_u16());
    }
    attempts.push(tried);
    answer
}

async fn exchange(
    means: &Means<'_>,
    route: &Route,
    outgoing: &Outgoing,
    tell: &mut Tell<'_>,
    tried: &mut Attempt,
) -> Result<OriginAnswer, Failed> {
    let mut connection = connect(means, route).await.map_err(|fault| Failed {
        fault,
        reached: Reached::Nothing,
    })?;
    // Read before the last look at the epoch: a thread that is put aside after the look must not seem to have sent later than it decided.
    let (request_time, sent_at) = (means.clock.now(), WallClock::System.now());
    let asked = clock::boottime();
    if !(means.is_live)() {
        return Err(Failed {
            fault: OriginFault::EpochEnded,
            reached: Reached::Nothing,
        });
    }
    tell(Progress::Sent);
    tried.sent = Some(sent_at);
    let received = converse(means, &mut connection, outgoing, tell)
        .await
        .map_err(|failed| {
            if connection.group.is_cut() {
                failed.by_cut()
            } else {
                failed
            }
        })?;
    if let Some(refusal) = master::refusal(route, received.status, received.said) {
        tried.status = Some(received.status.as_u16());
        return Err(Failed {
            fault: OriginFault::Refused(refusal),
            reached: Reached::Nothing,
        });
    }
    (means.heard)(received.said, asked);
    Ok(answer(means, route, connection, received, request_time))
}

async fn converse(
    means: &Means<'_>,
    connection: &mut Connection,
    outgoing: &Outgoing,
    tell: &mut Tell<'_>,
) -> Result<Received, Failed> {
    let sending = connection.wire.send(&outgoing.to_http1()).await;
    let asked = Asked {
        method: &outgoing.method,
        unknown_coding: means.origin.unknown_transfer_coding,
    };
    let times = HeadTimes {
        first_byte: means.origin.first_byte_timeout,
        rest: means.limits.head_timeout,
    };
    // A side may refuse and close before it has taken the whole head: its answer counts, if there is one.
    let head = connection
        .wire
        .head(asked, times, means.limits, &mut |interim| {
            tell(Progress::Interim(interim));
        })
        .await;
    head.map_err(|no_head| Failed {
        fault: sending.err().unwrap_or(no_head.fault),
        reached: match no_head.answered {
            Answered::Nothing => Reached::Sent,
            Answered::Something => Reached::Answered,
        },
    })
}

impl Failed {
    /// The same failure, when it was we who cut the connection.
    const fn by_cut(self) -> Self {
        Self {
            fault: OriginFault::EpochEnded,
            ..self
        }
    }
}

fn answer(
    means: &Means<'_>,
    route: &Route,
    connection: Connection,
    received: Received,
    request_time: Timestamp,
) -> OriginAnswer {
    let mut body = OriginBody {
        reader: ContentReader::new(&received, means.limits),
        connection: Some(connection),
        per_piece: means.origin.first_byte_timeout,
    };
    body.release_if_done();
    OriginAnswer {
        status: received.status,
        fields: received.fields,
        length: received.length,
        ends_by_close: received.framing == Framing::Close,
        body,
        request_time,
        response_time: means.clock.now(),
        cluster: route.cluster.clone(),
        side: route.side,
        epoch: route.epoch,
    }
}

/// A connection to the first address of the side that takes one.
async fn connect(means: &Means<'_>, route: &Route) -> Result<Connection, OriginFault> {
    let mut fault = OriginFault::ConnectRefused;
    for addr in &route.addrs {
        let (peer, group) = means.connections.peer(route, *addr, means.origin);
        let deadline = means.origin.connect_timeout;
        let Some(place) = group.enter(means.site, deadline).await else {
            return Err(OriginFault::ConnectTimeout);
        };
        match means.origins.transport.get_stream(&peer).await {
            Ok((stream, _reused)) => {
                return Ok(Connection {
                    wire: Wire::new(stream),
                    group,
                    _place: place,
                    home: Home {
                        transport: Arc::clone(&means.origins.transport),
                        pool_key: peer.reuse_hash(),
                    },
                });
            }
            Err(_) if group.is_cut() => return Err(OriginFault::EpochEnded),
            Err(error) => fault = connect_fault(&error),
        }
    }
    Err(fault)
}

/// What an error of Pingora's before a request was sent says about the side.
pub(crate) fn connect_fault(error: &Error) -> OriginFault {
    match error.etype() {
        ErrorType::ConnectTimedout => OriginFault::ConnectTimeout,
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::TLSWantX509Lookup
        | ErrorType::HandshakeError
        | ErrorType::InvalidCert => OriginFault::Tls,
        _ => OriginFault::ConnectRefused,
    }
}

/// What to do after an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Again(Duration),
    GiveUp,
}

/// Counts what may be tried again. Its table holds for requests that may be repeated; for others only what reached nothing may be tried.
#[derive(Debug)]
pub(crate) struct Tries {
    after_sent: u32,
    connect_pauses: std::array::IntoIter<Duration, 3>,
    epoch_turns: u32,
    at_least: Epoch,
}

impl Tries {
    pub(crate) fn new(after_sent: u32) -> Self {
        Self {
            after_sent,
            connect_pauses: CONNECT_PAUSES.into_iter(),
            epoch_turns: EPOCH_TURNS,
            at_least: Epoch::default(),
        }
    }

    /// The highest epoch that a side's guard has told of: no attempt is made under a lower one.
    pub(crate) const fn at_least(&self) -> Epoch {
        self.at_least
    }

    /// The table of retries: the epoch ended (follow it, whatever was sent: the method is safe), the side is at a higher one (follow it), no
    /// connection or a side at a lower epoch (pause), closed without an answer (as often as the site allows); nothing else, and nothing once
    /// an answer had begun.
    pub(crate) fn after(&mut self, failed: Failed) -> Next {
        match (failed.fault, failed.reached) {
            (OriginFault::EpochEnded, _) => take_one(&mut self.epoch_turns),
            (OriginFault::Refused(Refusal::Ahead(epoch)), _) => {
                self.at_least = self.at_least.max(epoch);
                take_one(&mut self.epoch_turns)
            }
            (_, Reached::Nothing) => self.connect_pauses.next().map_or(Next::GiveUp, Next::Again),
            (OriginFault::Closed, Reached::Sent) => take_one(&mut self.after_sent),
            _ => Next::GiveUp,
        }
    }
}

fn take_one(left: &mut u32) -> Next {
    match left.checked_sub(1) {
        Some(less) => {
            *left = less;
            Next::Again(Duration::ZERO)
        }
        None => Next::GiveUp,
    }
}

#[cfg(test)]
mod tests;
