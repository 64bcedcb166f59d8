//! The composition root: a checked node file becomes a running process.
//!
//! Called by `commands::run`. Everything that can be wrong is found before anything runs: addresses are bound, certificates read, the store
//! and the state opened, in this order; then Pingora's server runs two services, the requests and the control plane, each in a runtime of
//! its own, so that load on one cannot starve the other. Invariant 10: what the process shared by all is here, and passed down from here.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process;
use std::sync::Arc;

use http::HeaderValue;
use jet9_cache::disk::VolumeConfig;
use jet9_cache::{Cache, CacheConfig};
use jet9_config::node::Node;
use jet9_config::{Problem, Problems};
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use prometheus::Registry;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use self::control::Control;
use self::stop::Signals;
use crate::clock::{self, WallClock};
use crate::control::api::Api;
use crate::control::events::Events;
use crate::control::health::{Drain, Health};
use crate::control::mastership::{self, Masters};
use crate::control::purge::{Queue, Senders};
use crate::control::reserves::Reserves;
use crate::control::sites::{self, Sites};
use crate::control::tokens::{TokenError, Tokens};
use crate::exchange::RequestIds;
use crate::framework::front;
use crate::framework::listeners::{self, Accepting, AdminListener, Bound};
use crate::framework::phases::Phases;
use crate::framework::tls::{Acceptor, Certificates};
use crate::origin::connect::SideConnections;
use crate::origin::fetch::Origins;
use crate::parts::Edge;
use crate::record::{self, Recorder};

mod control;
mod notify;
mod reload;
mod stop;

/// Why the node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Addresses or certificates of the node file cannot be used: all of them.
    #[error(transparent)]
    Node(#[from] Problems),
    /// The store cannot be opened.
    #[error(transparent)]
    Cache(#[from] jet9_cache::store::OpenError),
    /// The sites cannot be read.
    #[error(transparent)]
    Sites(#[from] sites::StartError),
    /// The cluster state cannot be followed.
    #[error(transparent)]
    Masters(#[from] mastership::StartError),
    /// The access log cannot be written.
    #[error(transparent)]
    Record(#[from] record::OpenError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] jet9_tls::TlsError),
    /// The admin token can neither be read nor made.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The data directory cannot be used, or another process uses it.
    #[error("the data directory {path}: {source}")]
    DataDir {
        /// The directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A thread cannot be had.
    #[error("asking the reserves of clusters: {0}")]
    Thread(#[source] io::Error),
    /// Two metrics have one name.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// Runs the node until a signal ends it, by this wall clock. `file` is the node file that `node` was read from.
///
/// # Errors
/// Why it did not start.
pub fn run(file: &Path, node: Node, clock: WallClock) -> Result<(), StartError> {
    let registry = Registry::new();
    let tls_metrics = jet9_tls::Metrics::register(&registry)?;
    let (bound, certificates) = prepare(file, &node, &tls_metrics)?;
    let certificates = Arc::new(certificates);
    let _lock = lock(&node.data_dir)?;
    let events = Arc::new(Events::new(clock.clone(), &registry)?);
    let parts = parts(&node, &bound, &certificates, &registry, clock, &events)?;
    let edge = Arc::new(parts);
    let announcement = announcement(&bound);
    let acceptor = Acceptor::new(
        certificates.server_config(node.tls.min_version)?,
        node.limits.handshake_timeout,
        tls_metrics,
    );

    let mut server = Server::new_with_opt_and_conf(None, ServerConf::default());
    server.add_service(Accepting::new(
        Arc::new(front::Node::new(
            Arc::clone(&edge),
            Phases::proxy(Arc::clone(&edge)),
        )),
        bound.http,
        bound.https,
        &acceptor,
        listeners::accept_errors(&registry)?,
        threads(&node),
    ));
    let (own, held) = (Arc::clone(&edge), Arc::clone(&certificates));
    let api = Api::new(own, registry, held, events, &acceptor);
    server.add_service(Control::new(api, bound.admin, bound.metrics));
    println!("{announcement}");
    let shutdown_signal = Box::new(Signals::new(file, node, edge, certificates));
    server.run(RunArgs { shutdown_signal });
    Ok(())
}

/// Binds the addresses and reads the certificates; says all that is wrong with either.
fn prepare(
    file: &Path,
    node: &Node,
    metrics: &jet9_tls::Metrics,
) -> Result<(Bound, Certificates), Problems> {
    let bound = listeners::bind(&file.display().to_string(), &node.listen);
    let certificates = Certificates::load(&node.tls, metrics.clone());
    match (bound, certificates) {
        (Ok(bound), Ok(certificates)) => Ok((bound, certificates)),
        (bound, certificates) => {
            let problems = |problems: Problems| problems.0;
            let mut all: Vec<Problem> = bound.err().map_or_else(Vec::new, problems);
            locate(&mut all, file);
            all.extend(certificates.err().map_or_else(Vec::new, problems));
            Err(Problems(all))
        }
    }
}

/// Says where in the node file the addresses stand. A file that changed meanwhile costs the places, not the problems.
fn locate(problems: &mut [Problem], file: &Path) {
    let text = fs::read_to_string(file).unwrap_or_default();
    for problem in problems {
        problem.place = jet9_config::check::place(&text, &problem.pointer);
    }
}

/// Keeps every other process out of the data directory for as long as what it returns lives.
fn lock(directory: &Path) -> Result<File, StartError> {
    let locked = || -> io::Result<File> {
        fs::create_dir_all(directory)?;
        let file = File::create(directory.join("lock"))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            match error {
                Errno::WOULDBLOCK => io::Error::other("another process uses it"),
                other => other.into(),
            }
        })?;
        Ok(file)
    };
    locked().map_err(|source| StartError::DataDir {
        path: directory.display().to_string(),
        source,
    })
}

/// The parts that every exchange has at hand.
fn parts(
    node: &Node,
    bound: &Bound,
    certificates: &Certificates,
    registry: &Registry,
    clock: WallClock,
    events: &Arc<Events>,
) -> Result<Edge, StartError> {
    let state = &node.state.path;
    let limits = &node.limits;
    let cache = Cache::open(cache_config(node), registry)?;
    let side_connections = Arc::new(SideConnections::new(limits));
    let masters = Masters::open(
        &node.state.clusters,
        &node.data_dir,
        limits.flap,
        Arc::clone(&side_connections),
        registry,
        Arc::clone(events),
    )?;
    let places = sites::Places {
        documents: &state.join("sites"),
        history: &node.data_dir.join("history"),
        document_max: limits.document_bytes,
    };
    let store = Arc::clone(&cache);
    let sites = Sites::open(places, store, registry, clock.clone(), Arc::clone(events))?;
    let recorder = Recorder::open(&node.id, &node.zone, &node.log, limits.log_queue, registry)?;
    let drain = Drain::new();
    Ok(Edge {
        id: node.id.clone(),
        zone: node.zone.clone(),
        via: via(&node.id),
        clock,
        https_port: https_port(&bound.https),
        max_object: node.cache.max_object,
        limits: limits.clone(),
        certificates: certificates.resolver(),
        sites,
        reserves: Reserves::watch(&masters, limits, registry).map_err(StartError::Thread)?,
        masters,
        cache,
        origins: Origins::new(limits),
        side_connections,
        recorder,
        health: Health::new(drain.clone(), limits.into(), clock::monotonic()),
        drain,
        tokens: Tokens::open(&node.data_dir)?,
        purges: Queue::default(),
        senders: Senders::default(),
        request_ids: RequestIds::new(&node.id, process::id(), WallClock::System.now()),
    })
}

fn cache_config(node: &Node) -> CacheConfig {
    let volume = |volume: &jet9_config::node::Volume| VolumeConfig {
        path: volume.path.clone(),
        size: volume.size,
    };
    CacheConfig {
        data_dir: node.data_dir.clone(),
        memory: node.cache.memory,
        disk: node.cache.disk.iter().map(volume).collect(),
        max_object: node.cache.max_object,
        fill_unflushed: node.limits.fill_unflushed,
    }
}

/// This node in `Via` (RFC 9110 §7.6.3). A node's id is a token, so it is always a value.
fn via(id: &str) -> HeaderValue {
    HeaderValue::try_from(format!("1.1 {id}")).unwrap_or(HeaderValue::from_static("1.1 jet9"))
}

/// The port that a redirect to https names.
fn https_port(https: &[TcpListener]) -> Option<u16> {
    let address = https.first()?.local_addr().ok()?;
    Some(address.port()).filter(|port| *port != 443)
}

fn threads(node: &Node) -> usize {
    match node.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// The bound addresses as one line of JSON: with port 0 in the node file, nobody else can know them.
fn announcement(bound: &Bound) -> serde_json::Value {
    let address = |listener: &TcpListener| listener.local_addr().ok().map(|a| a.to_string());
    let admin = |listener: &AdminListener| match listener {
        AdminListener::Tcp(listener) | AdminListener::Tls(listener) => address(listener),
        AdminListener::Unix(listener) => {
            let path = listener.local_addr().ok()?;
            Some(format!("unix:{}", path.as_pathname()?.display()))
        }
    };
    serde_json::json!({
        "event": "listening",
        "http": bound.http.iter().filter_map(address).collect::<Vec<_>>(),
        "https": bound.https.iter().filter_map(address).collect::<Vec<_>>(),
        "admin": bound.admin.iter().filter_map(admin).collect::<Vec<_>>(),
        "metrics": bound.metrics.as_ref().and_then(address),
    })
}
