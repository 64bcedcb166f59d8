//! Connections to sides: opened by us, kept by (cluster, side, epoch), cut when their epoch ends.
//!
//! Called by `fetch` and by `framework::phases`: [`SideConnections::peer`] describes the way to an address, Pingora's connectors open
//! it through our `L4Connect` and pool it under a key that carries the epoch. Of every open connection a second handle is kept here, and
//! given back when Pingora drops the connection. `control::mastership` tells the end of an epoch.
//! Invariant 1 on open connections: after [`SideConnections::epoch_ended`] nothing more of an exchange of that epoch reaches its side.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jet9_cluster::Epoch;
use jet9_config::limits::Limits;
use jet9_config::site::{Origin, OriginScheme};
use jet9_config::{ClusterId, Side, SiteId};
use parking_lot::Mutex;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::TcpKeepalive;
use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::upstreams::peer::{ALPN, HttpPeer, PeerOptions, Tracer, Tracing};
use pingora_core::{Error, ErrorType, Result};
use socket2::{SockRef, Socket};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use crate::origin::master::Route;

/// How long a connection to a side may idle: a second less than Apache's five, so that we close first.
pub const SIDE_IDLE: Duration = Duration::from_secs(4);

/// How long a side may take none of a request that is being sent.
pub const SIDE_WRITE: Duration = Duration::from_secs(60);

/// How long exchanges under way may go on after a planned switch began.
const PLANNED_GRACE: Duration = Duration::from_secs(2);

/// Finds sides that are gone without a word: probes after a minute, gives up after another.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(10),
    count: 6,
    user_timeout: Duration::from_secs(60),
};

/// The open connections to sides.
#[derive(Debug)]
pub struct SideConnections {
    per_side: usize,
    per_site: usize,
    groups: Mutex<HashMap<ClusterId, Vec<Arc<Group>>>>,
}

/// After so many connections in a row that were not taken a side may be out of reach.
const REFUSED_MAX: u32 = 3;

/// How an epoch ended, for the exchanges that are still under way in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// Both sides agreed: exchanges under way get two seconds to end.
    Yes,
    /// A crash, a fence or a lease that ran out: they are cut at once.
    No,
}

#[cfg(test)]
impl SitePlace {
    /// A place that nobody else waits for.
    pub(crate) fn alone() -> Self {
        let places = Arc::new(Semaphore::new(1));
        Self {
            _place: places.try_acquire_owned().unwrap(),
        }
    }
}

impl Default for SideConnections {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

impl SideConnections {
    /// None open yet; at most `limits.side_connections` to one side of one cluster, and `limits.side_exchanges_per_site` exchanges of one site
    /// on them: more wait as if connecting.
    pub fn new(limits: &Limits) -> Self {
        Self {
            per_side: limits.side_connections,
            per_site: limits.side_exchanges_per_site,
            groups: Mutex::default(),
        }
    }

    /// Ends every connection that was opened under `epoch` or an older one. Call it inside the runtime, right after a higher epoch was
    /// adopted (with the epoch before), or when a lease ran out (with the epoch whose lease it was; new connections may follow under it).
    /// The masters must already say that the epoch is over: requests ask them again after their connection is registered here.
    pub fn epoch_ended(self: &Arc<Self>, cluster: &ClusterId, epoch: Epoch, planned: Planned) {
        match planned {
            Planned::No => self.cut(cluster, epoch),
            Planned::Yes => {
                let (connections, cluster) = (Arc::clone(self), cluster.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(PLANNED_GRACE).await;
                    connections.cut(&cluster, epoch);
                });
            }
        }
    }

    /// The port at which the side that is master in this epoch may take no connection of this node; `None`: it does, or nobody tried. A site
    /// may go to a port of its own, and ways to other addresses may be open already: whether it is so is to be tried.
    pub(crate) fn suspect(&self, cluster: &ClusterId, epoch: Epoch) -> Option<u16> {
        let group = self.known(cluster, epoch)?;
        let refused = *group.refused.lock();
        (refused.in_a_row >= REFUSED_MAX).then_some(refused.port)
    }

    /// It was tried, and took a connection at one of its addresses, or at none.
    pub(crate) fn tried(&self, cluster: &ClusterId, epoch: Epoch, taken: bool) {
        if let Some(group) = self.known(cluster, epoch) {
            let mut refused = group.refused.lock();
            if taken {
                *refused = Refused::default();
            }
            refused.everywhere = refused.in_a_row >= REFUSED_MAX;
        }
    }

    /// Whether the side that is master in this epoch takes no connection of this node, as far as it was tried.
    pub(crate) fn is_unreachable(&self, cluster: &ClusterId, epoch: Epoch) -> bool {
        let group = self.known(cluster, epoch);
        group.is_some_and(|group| group.refused.lock().everywhere)
    }

    fn known(&self, cluster: &ClusterId, epoch: Epoch) -> Option<Arc<Group>> {
        let groups = self.groups.lock();
        let mut of_cluster = groups.get(cluster)?.iter();
        of_cluster.find(|group| group.epoch == epoch).cloned()
    }

    /// How many connections are open, idle ones included.
    pub fn open(&self) -> usize {
        let groups = self.groups.lock();
        groups.values().flatten().map(|group| group.open()).sum()
    }

    /// The way to one address of a route's side for a site, and the group that its connections belong to.
    pub(crate) fn peer(
        &self,
        route: &Route,
        addr: SocketAddr,
        origin: &Origin,
    ) -> (HttpPeer, Arc<Group>) {
        let group = self.group(route);
        let (tls, name) = match &origin.scheme {
            OriginScheme::Http => (false, String::new()),
            OriginScheme::Https { tls_name } => (true, tls_name.as_str().to_owned()),
        };
        let mut peer = HttpPeer::new(addr, tls, name);
        peer.group_key = group_key(route);
        set_options(&mut peer.options, origin);
        peer.options.custom_l4 = Some(Arc::new(SideConnect {
            group: Arc::clone(&group),
            deadline: origin.connect_timeout,
        }));
        (peer, group)
    }

    fn group(&self, route: &Route) -> Arc<Group> {
        let mut groups = self.groups.lock();
        let of_cluster = groups.entry(route.cluster.clone()).or_default();
        if let Some(known) = of_cluster.iter().find(|group| group.is_of(route)) {
            return Arc::clone(known);
        }
        let group = Arc::new(Group::new(
            route.side,
            route.epoch,
            self.per_side,
            self.per_site,
        ));
        of_cluster.push(Arc::clone(&group));
        group
    }

    fn cut(&self, cluster: &ClusterId, epoch: Epoch) {
        let mut ended = Vec::new();
        if let Some(groups) = self.groups.lock().get_mut(cluster) {
            groups.retain(|group| {
                let goes_on = group.epoch > epoch;
                if !goes_on {
                    ended.push(Arc::clone(group));
                }
                goes_on
            });
        }
        ended.iter().for_each(|group| group.cut());
    }
}

/// Connections that were opened under one epoch to its master are shared by sites that speak to it in the same way, and with no other epoch.
fn group_key(route: &Route) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&route.cluster, route.side, route.epoch).hash(&mut hasher);
    hasher.finish()
}

fn set_options(options: &mut PeerOptions, origin: &Origin) {
    options.connection_timeout = Some(origin.connect_timeout);
    options.total_connection_timeout = Some(origin.connect_timeout);
    options.read_timeout = Some(origin.first_byte_timeout);
    options.write_timeout = Some(SIDE_WRITE);
    options.idle_timeout = Some(SIDE_IDLE);
    options.alpn = ALPN::H1;
    options.verify_cert = true;
    options.verify_hostname = true;
    options.tcp_keepalive = Some(KEEPALIVE);
}

/// The connections to one side that were opened under one epoch.
#[derive(Debug)]
pub(crate) struct Group {
    side: Side,
    epoch: Epoch,
    places: Arc<Semaphore>,
    per_site: usize,
    sites: Mutex<HashMap<SiteId, Arc<Semaphore>>>,
    refused: Mutex<Refused>,
    sockets: Mutex<Sockets>,
}

/// Connections that nobody took.
#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    in_a_row: u32,
    /// Where the last one went to.
    port: u16,
    /// Whether none was taken at any address after them.
    everywhere: bool,
}

/// A site's place for one exchange with a side; free again when dropped.
#[derive(Debug)]
pub(crate) struct SitePlace {
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Sockets {
    /// Second handles of what is open, by a running number.
    Open {
        next: u64,
        handles: HashMap<u64, Socket>,
    },
    /// The epoch ended; nothing is opened any more.
    Cut,
}

impl Group {
    fn new(side: Side, epoch: Epoch, places: usize, per_site: usize) -> Self {
        Self {
            side,
            epoch,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            per_site: per_site.min(Semaphore::MAX_PERMITS),
            sites: Mutex::default(),
            refused: Mutex::default(),
            sockets: Mutex::new(Sockets::Open {
                next: 0,
                handles: HashMap::new(),
            }),
        }
    }

    /// A connection was taken, or not.
    fn tried(&self, addr: SocketAddr, taken: &io::Result<TcpStream>) {
        let mut refused = self.refused.lock();
        *refused = match taken {
            Ok(_) => Refused::default(),
            Err(_) => Refused {
                in_a_row: refused.in_a_row.saturating_add(1),
                port: addr.port(),
                everywhere: refused.everywhere,
            },
        };
    }

    /// A place for an exchange of a site, waited for as long as for a connection; `None`: there was none in time. Clients of one site that
    /// read slowly what may not be stored keep its own places, and no more.
    pub(crate) async fn enter(&self, site: &SiteId, deadline: Duration) -> Option<SitePlace> {
        let places = {
            let mut sites = self.sites.lock();
            match sites.get(site) {
                Some(places) => Arc::clone(places),
                None => {
                    let places = Arc::new(Semaphore::new(self.per_site));
                    sites.insert(site.clone(), Arc::clone(&places));
                    places
                }
            }
        };
        let entered = tokio::time::timeout(deadline, places.acquire_owned()).await;
        let place = entered.ok()?.ok()?;
        Some(SitePlace { _place: place })
    }

    fn is_of(&self, route: &Route) -> bool {
        self.side == route.side && self.epoch == route.epoch
    }

    /// Whether its connections were cut: what they gave since is no answer.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(*self.sockets.lock(), Sockets::Cut)
    }

    fn open(&self) -> usize {
        match &*self.sockets.lock() {
            Sockets::Open { handles, .. } => handles.len(),
            Sockets::Cut => 0,
        }
    }

    /// Keeps a second handle of a connection until the returned value is dropped.
    fn keep(self: &Arc<Self>, stream: &TcpStream, place: OwnedSemaphorePermit) -> io::Result<Kept> {
        let handle = SockRef::from(stream).try_clone()?;
        match &mut *self.sockets.lock() {
            Sockets::Cut => Err(io::ErrorKind::ConnectionAborted.into()),
            Sockets::Open { next, handles } => {
                *next += 1;
                handles.insert(*next, handle);
                Ok(Kept {
                    group: Arc::clone(self),
                    number: *next,
                    _place: place,
                })
            }
        }
    }

    fn forget(&self, number: u64) {
        if let Sockets::Open { handles, .. } = &mut *self.sockets.lock() {
            handles.remove(&number);
        }
    }

    fn cut(&self) {
        let before = std::mem::replace(&mut *self.sockets.lock(), Sockets::Cut);
        if let Sockets::Open { handles, .. } = before {
            handles.values().for_each(abort);
        }
    }
}

/// Resets a connection: what is queued and not yet sent stays unsent, and whoever reads it gets an error, not an end.
///
/// Dissolving the association (`connect` to no address) does that at once; a `shutdown` would still deliver the queue and end cleanly.
fn abort(socket: &Socket) {
    if rustix::net::connect_unspec(socket).is_err() {
        // Not connected any more, or a system that cannot: then the end is as good as it gets, and failing means that it is closed.
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// Tied to one connection through Pingora's tracer, which its stream owns: dropped with it.
#[derive(Debug)]
struct Kept {
    group: Arc<Group>,
    number: u64,
    _place: OwnedSemaphorePermit,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.group.forget(self.number);
    }
}

#[derive(Clone, Debug)]
struct KeptByStream(Arc<Kept>);

impl Tracing for KeptByStream {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        // Forgotten while the socket is still open: the handle must not outlive the connection and keep it from closing.
        self.0.group.forget(self.0.number);
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

/// Opens connections of one group.
#[derive(Debug)]
struct SideConnect {
    group: Arc<Group>,
    deadline: Duration,
}

#[async_trait]
impl L4Connect for SideConnect {
    async fn connect(&self, addr: &PingoraAddr) -> Result<Stream> {
        let PingoraAddr::Inet(addr) = addr else {
            return Error::e_explain(ErrorType::InternalError, "a side has no local socket");
        };
        let deadline = tokio::time::Instant::now() + self.deadline;
        let opened = self.open(*addr, deadline).await;
        opened.map_err(|error| connect_error(*addr, error))
    }
}

impl SideConnect {
    async fn open(&self, addr: SocketAddr, deadline: tokio::time::Instant) -> io::Result<Stream> {
        let place = timeout_at(deadline, Arc::clone(&self.group.places).acquire_owned()).await?;
        let place = place.map_err(io::Error::other)?;
        // Only the wait for the side says something about it: not the one for a place.
        let tcp = timeout_at(deadline, TcpStream::connect(addr)).await;
        let tcp = tcp.unwrap_or_else(|late| Err(late.into()));
        self.group.tried(addr, &tcp);
        let tcp = tcp?;
        let kept = self.group.keep(&tcp, place)?;
        let mut stream = Stream::from(tcp);
        stream.tracer = Some(Tracer(Box::new(KeptByStream(Arc::new(kept)))));
        Ok(stream)
    }
}

fn connect_error(addr: SocketAddr, error: io::Error) -> Box<Error> {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            ErrorType::ConnectNoRoute
        }
        io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, format!("connecting to {addr}"), error)
}

#[cfg(test)]
mod tests {
    use pingora_core::connectors::{ConnectorOptions, TransportConnector};
    use pingora_core::upstreams::peer::Peer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::origin::testing;

    fn route(epoch: u64, addr: SocketAddr) -> Route {
        Route {
            cluster: ClusterId::parse("c-1").unwrap(),
            side: Side::A,
            epoch: Epoch(epoch),
            addrs: vec![addr],
            is_guarded: false,
        }
    }

    struct Rig {
        connections: Arc<SideConnections>,
        transport: TransportConnector,
        listener: TcpListener,
        origin: Origin,
    }

    impl Rig {
        async fn new(per_side: usize) -> Self {
            testing::provider();
            Self {
                connections: Arc::new(SideConnections::new(&Limits {
                    side_connections: per_side,
                    side_exchanges_per_site: 2,
                    ..Limits::default()
                })),
                transport: TransportConnector::new(Some(ConnectorOptions::new(8))),
                listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
                origin: testing::origin(),
            }
        }

        fn peer(&self, epoch: u64) -> (HttpPeer, Arc<Group>) {
            self.peer_at(epoch, self.listener.local_addr().unwrap())
        }

        fn peer_at(&self, epoch: u64, addr: SocketAddr) -> (HttpPeer, Arc<Group>) {
            self.connections
                .peer(&route(epoch, addr), addr, &self.origin)
        }

        fn cluster(&self) -> ClusterId {
            self.origin.cluster.clone()
        }
    }

    #[tokio::test]
    async fn a_connection_is_known_while_it_is_open_and_forgotten_when_dropped() {
        let rig = Rig::new(4).await;
        let (peer, _) = rig.peer(1);
        let stream = rig.transport.new_stream(&peer).await.unwrap();
        assert_eq!(rig.connections.open(), 1);
        let (mut accepted, _) = rig.listener.accept().await.unwrap();
        drop(stream);
        assert_eq!(rig.connections.open(), 0);
        let end = accepted.read(&mut [0; 8]).await.unwrap();
        assert_eq!(end, 0, "no handle keeps the connection open");
    }

    #[tokio::test]
    async fn the_end_of_an_epoch_resets_its_connections_and_those_of_older_ones_only() {
        let rig = Rig::new(4).await;
        let mut streams = Vec::new();
        for epoch in [1, 2, 3] {
            let (peer, group) = rig.peer(epoch);
            let stream = rig.transport.new_stream(&peer).await.unwrap();
            let (accepted, _) = rig.listener.accept().await.unwrap();
            streams.push((stream, group, accepted));
        }
        rig.connections
            .epoch_ended(&rig.cluster(), Epoch(2), Planned::No);
        let (third, group, mut accepted) = streams.pop().unwrap();
        assert!(!group.is_cut());
        accepted.write_all(b"x").await.unwrap();
        drop(third);
        for (mut stream, group, mut accepted) in streams {
            assert!(group.is_cut());
            let error = stream.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::ConnectionReset,
                "an error, not an end"
            );
            let error = accepted.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        assert_eq!(rig.connections.open(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_opens_while_its_epoch_ends_is_refused() {
        let rig = Rig::new(4).await;
        let (peer, _) = rig.peer(1);
        rig.connections
            .epoch_ended(&rig.cluster(), Epoch(1), Planned::No);
        assert!(rig.transport.new_stream(&peer).await.is_err());
        let (again, _) = rig.peer(1);
        assert!(
            rig.transport.new_stream(&again).await.is_ok(),
            "a lease that is renewed under the same epoch"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_planned_switch_leaves_exchanges_two_seconds() {
        let rig = Rig::new(4).await;
        let (_, group) = rig.peer(1);
        let began = tokio::time::Instant::now();
        rig.connections
            .epoch_ended(&rig.cluster(), Epoch(1), Planned::Yes);
        while !group.is_cut() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() >= PLANNED_GRACE);
    }

    #[tokio::test]
    async fn connections_above_the_limit_wait_and_time_out_as_if_connecting() {
        let mut rig = Rig::new(1).await;
        rig.origin.connect_timeout = Duration::from_millis(50);
        let (peer, _) = rig.peer(1);
        let first = rig.transport.new_stream(&peer).await.unwrap();
        let error = rig.transport.new_stream(&peer).await.unwrap_err();
        assert_eq!(error.etype(), &ErrorType::ConnectTimedout);
        drop(first);
        assert!(rig.transport.new_stream(&peer).await.is_ok());
    }

    #[tokio::test]
    async fn a_side_is_out_of_reach_when_it_takes_no_connection_three_times_in_a_row_nor_then() {
        let rig = Rig::new(4).await;
        let gone = testing::nowhere();
        let (connections, cluster) = (&rig.connections, rig.cluster());
        let suspect = || connections.suspect(&cluster, Epoch(1));
        let is_unreachable = || connections.is_unreachable(&cluster, Epoch(1));
        let refuse = async || {
            let peer = rig.peer_at(1, gone).0;
            for _ in 0..REFUSED_MAX {
                rig.transport.new_stream(&peer).await.unwrap_err();
            }
        };
        connections.tried(&cluster, Epoch(1), false);
        assert_eq!((suspect(), is_unreachable()), (None, false));
        refuse().await;
        assert_eq!((suspect(), is_unreachable()), (Some(gone.port()), false));
        connections.tried(&cluster, Epoch(1), true);
        assert_eq!((suspect(), is_unreachable()), (None, false));
        refuse().await;
        connections.tried(&cluster, Epoch(1), false);
        assert_eq!((suspect(), is_unreachable()), (Some(gone.port()), true));
        let other = rig.peer(1).0;
        rig.transport.new_stream(&other).await.unwrap();
        assert_eq!((suspect(), is_unreachable()), (None, false));
    }

    #[tokio::test]
    async fn the_exchanges_of_one_site_leave_places_to_others() {
        let rig = Rig::new(4).await;
        let (_, group) = rig.peer(1);
        let (one, other) = (
            SiteId::parse("one").unwrap(),
            SiteId::parse("other").unwrap(),
        );
        let soon = Duration::from_millis(20);
        let first = group.enter(&one, soon).await.unwrap();
        let second = group.enter(&one, soon).await;
        assert!(second.is_some());
        assert!(group.enter(&one, soon).await.is_none(), "its own limit");
        assert!(group.enter(&other, soon).await.is_some());
        drop(first);
        assert!(
            group.enter(&one, soon).await.is_some(),
            "a place that was left"
        );
    }

    #[tokio::test]
    async fn a_pooled_connection_is_never_found_under_another_epoch() {
        let rig = Rig::new(4).await;
        let (old, _) = rig.peer(1);
        let stream = rig.transport.new_stream(&old).await.unwrap();
        let _accepted = rig.listener.accept().await.unwrap();
        rig.transport
            .release_stream(stream, old.reuse_hash(), old.idle_timeout());
        let (new, _) = rig.peer(2);
        assert!(rig.transport.reused_stream(&new).await.is_none());
        assert!(rig.transport.reused_stream(&old).await.is_some());
    }
}
