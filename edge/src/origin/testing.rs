//! What the tests of `origin` and of its carriers share: a site, a side that plays a script, and a node with one site and one cluster.
//!
//! Compiled for tests only. Knows nothing of what is tested.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jet9_cache::{Cache, CacheConfig};
use jet9_config::limits::Limits;
use jet9_config::node::{AccessLogFormat, ClusterSource, Log};
use prometheus::Registry;
use socket2::{Socket, Type};
use tempfile::TempDir;

use jet9_config::site::{
    Domain, Https, Origin, OriginHost, OriginScheme, Profile, Route, Site, UnknownCoding,
};
use jet9_config::{ClusterId, HostName, SiteId};

use crate::clock::{self, WallClock};
use crate::control::events::Events;
use crate::control::health::{Drain, Health};
use crate::control::mastership::Masters;
use crate::control::purge::{Queue, Senders};
use crate::control::sites::{SiteRuntime, Sites};
use crate::control::tokens::Tokens;
use crate::exchange::RequestIds;
use crate::origin::connect::SideConnections;
use crate::origin::fetch::Origins;
use crate::parts::Edge;
use crate::record::Recorder;

/// An origin in clear text, with short times.
pub(crate) fn origin() -> Origin {
    Origin {
        cluster: ClusterId::parse("c-1").unwrap(),
        scheme: OriginScheme::Http,
        host: OriginHost::Preserve,
        port: 0,
        connect_timeout: Duration::from_secs(2),
        first_byte_timeout: Duration::from_secs(5),
        hold_max: Duration::from_secs(15),
        hold_requests: 2,
        retry_idempotent: 1,
        breaker: true,
        unknown_transfer_coding: UnknownCoding::Refuse,
    }
}

/// Installs the process's crypto provider; Pingora's connectors need one even in clear text.
pub(crate) fn provider() {
    // An error means that another test was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A site with that origin and nothing special.
pub(crate) fn site() -> Site {
    Site {
        id: SiteId::parse("s-1").unwrap(),
        domains: vec![Domain::Exact(HostName::parse("example.test").unwrap())],
        https: Https::Both,
        origin: origin(),
        cache: Profile::Rfc.defaults(),
        routes: Vec::new(),
        purge_from: Vec::new(),
        stub: None,
        body: 1 << 20,
        requests_per_second_per_client: 0,
    }
}

/// A route that changes at most the host.
pub(crate) fn route(path: &str, host: Option<&str>) -> Route {
    Route {
        path: path.to_owned(),
        cache: None,
        default: None,
        host: host.map(|host| HostName::parse(host).unwrap()),
    }
}

/// What a scripted side does with one request.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// Reads the request, then writes this.
    Answer(&'static str),
    /// Reads the request and closes.
    Hang,
    /// Reads the request, writes this and goes silent until the client leaves.
    Stall(&'static str),
}

/// An address where nobody listens. Its port stays taken until the tests end: free, it would be given to the side of another test, which
/// would then be asked by mistake.
pub(crate) fn nowhere() -> SocketAddr {
    let socket = Socket::new(socket2::Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    Box::leak(Box::new(socket));
    addr
}

/// A side that plays its script: for each connection its acts; then it closes.
pub(crate) struct ScriptedSide {
    pub(crate) addr: SocketAddr,
    seen: Arc<AtomicUsize>,
    playing: JoinHandle<Vec<String>>,
}

impl ScriptedSide {
    pub(crate) fn play(script: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&seen);
        let playing = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for acts in script {
                let (mut stream, _) = listener.accept().unwrap();
                requests.extend(acts.iter().map_while(|act| act.play(&mut stream, &counter)));
                let _ = stream.shutdown(Shutdown::Both);
            }
            requests
        });
        Self {
            addr,
            seen,
            playing,
        }
    }

    /// How many requests it has seen whole until now.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }

    /// The requests that it has seen, once its script is over.
    pub(crate) fn requests(self) -> Vec<String> {
        self.playing.join().unwrap()
    }
}

impl Act {
    fn play(self, stream: &mut TcpStream, seen: &AtomicUsize) -> Option<String> {
        let request = read_request(stream)?;
        seen.fetch_add(1, Ordering::Relaxed);
        match self {
            // The client may be gone already.
            Self::Answer(text) => drop(stream.write_all(text.as_bytes())),
            Self::Hang => {}
            Self::Stall(text) => {
                let _ = stream.write_all(text.as_bytes());
                while matches!(stream.read(&mut [0; 64]), Ok(n) if n > 0) {}
            }
        }
        Some(request)
    }
}

/// A head and its content; lower case, as far as the length of the content is concerned.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let head = read_until(stream, |bytes| bytes.ends_with(b"\r\n\r\n"))?;
    let text = head.to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.split('\r').next()?.parse::<usize>().ok());
    let content = if text.contains("transfer-encoding: chunked") {
        read_until(stream, |bytes| bytes.ends_with(b"0\r\n\r\n"))?
    } else {
        read_until(stream, |bytes| bytes.len() == length.unwrap_or(0))?
    };
    Some(head + &content)
}

fn read_until(stream: &mut TcpStream, done: impl Fn(&[u8]) -> bool) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !done(&bytes) {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(bytes).unwrap())
}

/// A node with one site, `example.test`, whose cluster is what a test publishes.
pub(crate) struct TestNode {
    pub(crate) edge: Arc<Edge>,
    place: TempDir,
}

impl TestNode {
    pub(crate) fn new(change: impl FnOnce(&mut Site)) -> Self {
        Self::with_store(change, |_| {})
    }

    /// The same with another store than one of 16 MiB of memory.
    pub(crate) fn with_store(
        change: impl FnOnce(&mut Site),
        change_store: impl FnOnce(&mut CacheConfig),
    ) -> Self {
        provider();
        let place = tempfile::tempdir().unwrap();
        let registry = Registry::new();
        let limits = Limits::default();
        let side_connections = Arc::new(SideConnections::new(&limits));
        let data = place.path();
        let mut config = CacheConfig {
            data_dir: data.to_owned(),
            memory: 16 << 20,
            disk: Vec::new(),
            max_object: 1 << 20,
            fill_unflushed: 8 << 20,
        };
        change_store(&mut config);
        let cache = Cache::open(config, &registry).unwrap();
        let mut site = site();
        change(&mut site);
        let partition = cache.partition("s-1").unwrap();
        let log = Log {
            format: AccessLogFormat::Off,
            path: None,
            sample: 1.0,
        };
        let drain = Drain::new();
        let clusters = data.join("clusters");
        let connections = Arc::clone(&side_connections);
        let edge = Edge {
            id: "edge-1".to_owned(),
            zone: "zone".to_owned(),
            via: http::HeaderValue::from_static("1.1 edge-1"),
            clock: WallClock::System,
            https_port: None,
            max_object: 1 << 20,
            certificates: Arc::default(),
            sites: Sites::fixed([SiteRuntime::new(site, partition, 1)]),
            masters: Masters::open(
                &ClusterSource::Directory(clusters),
                data,
                limits.flap,
                connections,
                &registry,
                Arc::new(Events::new(WallClock::System, &registry).unwrap()),
            )
            .unwrap(),
            cache,
            origins: Origins::new(&limits),
            reserves: Arc::default(),
            side_connections,
            recorder: Recorder::open("edge-1", "zone", &log, 16, &registry).unwrap(),
            health: Health::new(drain.clone(), (&limits).into(), clock::monotonic()),
            drain,
            tokens: Tokens::open(data).unwrap(),
            purges: Queue::default(),
            senders: Senders::default(),
            request_ids: RequestIds::new("edge-1", 1, WallClock::System.now()),
            limits,
        };
        Self {
            edge: Arc::new(edge),
            place,
        }
    }

    /// Where its files are.
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }

    /// Publishes a state of the cluster (`phase` and `master` as the document has them) and waits until it is in force.
    pub(crate) async fn publish(&self, epoch: u64, state: &str, a: SocketAddr, b: SocketAddr) {
        self.publish_with(epoch, state, a, b, "").await;
    }

    /// The same where both sides have guards. Nobody asks them.
    pub(crate) async fn publish_guarded(
        &self,
        epoch: u64,
        state: &str,
        a: SocketAddr,
        b: SocketAddr,
    ) {
        let guard = r#","guard":"192.0.2.1:8443""#;
        self.publish_with(epoch, state, a, b, guard).await;
    }

    async fn publish_with(
        &self,
        epoch: u64,
        state: &str,
        a: SocketAddr,
        b: SocketAddr,
        guard: &str,
    ) {
        let document = format!(
            r#"{{"v":1,"cluster":"c-1","epoch":{epoch},{state},"sides":{{"a":{{"addrs":["{a}"]{guard}}},"b":{{"addrs":["{b}"]{guard}}}}},
            "fencing":"confirmed","edge_lease_ms":3000,"hold_ms":10000}}"#
        );
        let clusters = self.place.path().join("clusters");
        let temporary = clusters.join(".c-1.tmp");
        std::fs::write(&temporary, document).unwrap();
        std::fs::rename(temporary, clusters.join("c-1.json")).unwrap();
        self.edge.masters.reload().await;
    }
}
