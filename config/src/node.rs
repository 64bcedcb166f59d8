//! The process: who it is, where it listens, what it may use. The node file of `jet9 run --config`, checked.
//!
//! Made by [`crate::check::node`], read once by the composition root, which hands each part to whom it concerns. What the file's schema
//! has and this version cannot do has no field here: it is an error when the file is read.
//! Does not know whether a path exists or a port is free: that is found when they are opened.
//! Invariant: paths are absolute, limits agree with one another, no address is listened on twice.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::limits::Limits;

/// A node file, checked. Paths are absolute: relative ones were relative to the file.
#[derive(Clone, Debug)]
pub struct Node {
    /// `node.id`: in Via, Cache-Status and logs. A token (RFC 9110 §5.6.2).
    pub id: String,
    /// `node.zone`: in logs.
    pub zone: String,
    /// `node.data_dir`: tokens, journal, epochs.
    pub data_dir: PathBuf,
    /// `node.threads`: worker threads; 0 is one per core.
    pub threads: usize,
    /// `[listen]`.
    pub listen: Listen,
    /// `[cache]`.
    pub cache: Storage,
    /// `[state]`.
    pub state: State,
    /// `[tls]`.
    pub tls: Tls,
    /// `[limits]`.
    pub limits: Limits,
    /// `[log]`.
    pub log: Log,
}

/// Where the node listens. Port 0: the system chooses.
#[derive(Clone, Debug, Default)]
pub struct Listen {
    /// Clear-text HTTP/1.1.
    pub http: Vec<SocketAddr>,
    /// HTTP/1.1 and HTTP/2 over TLS.
    pub https: Vec<SocketAddr>,
    /// The admin API.
    pub admin: Vec<AdminListen>,
    /// `/metrics`, `/livez`, `/readyz`.
    pub metrics: Option<SocketAddr>,
    /// Peers whose PROXY protocol header is believed.
    pub proxy_protocol_from: Vec<IpNet>,
}

/// One address of the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// `unix:<path>`: trusted by the peer's uid.
    Unix(PathBuf),
    /// TCP: always a bearer token; loopback only until TLS for it exists.
    Tcp(SocketAddr),
}

/// Sizes of the two tiers.
#[derive(Clone, Debug)]
pub struct Storage {
    /// Bytes of the memory tier. Default 256 MiB.
    pub memory: u64,
    /// Disk volumes; none: memory only.
    pub disk: Vec<Volume>,
    /// The largest content stored. Default 1 GiB.
    pub max_object: u64,
}

/// One disk volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its directory.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// Where sites and cluster state come from.
#[derive(Clone, Debug)]
pub struct State {
    /// `state.path`: a watched directory with `sites/*.toml` in it. Default `state`.
    pub path: PathBuf,
    /// `[state.clusters]`.
    pub clusters: ClusterSource,
}

/// Where cluster state comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterSource {
    /// A watched directory of `*.json`: `<state.path>/clusters`, where nothing else is said.
    Directory(PathBuf),
    /// The keys `<prefix>/clusters/<id>` of an etcd.
    Etcd {
        /// The etcd.
        etcd: Etcd,
        /// A watched directory beside it, which can make the edge more careful and never less.
        beside: Option<PathBuf>,
    },
}

/// An etcd (version 3.4 or newer), spoken to through its JSON gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// The members, in the order in which they are tried; never empty.
    pub endpoints: Vec<EtcdEndpoint>,
    /// What our keys begin with, without a slash at its end. Default `/jet9`.
    pub prefix: String,
    /// One PEM file with the certificates that members' are signed with. Needed where an endpoint is `https`.
    pub ca: Option<PathBuf>,
    /// One PEM file with the certificate, its chain and its key, that the edge shows to members who ask for one. Only with `ca`.
    pub certificate: Option<PathBuf>,
    /// The user, and the file whose first line is the password.
    pub login: Option<(String, PathBuf)>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdEndpoint {
    /// Whether it speaks TLS (`https://`).
    pub tls: bool,
    /// Its name or address; a name is what its certificate must be for.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Etcd {
    /// Whether our keys may begin with this: a slash first, none at the end, ASCII.
    pub fn is_prefix(text: &str) -> bool {
        text.starts_with('/') && !text.ends_with('/') && text.is_ascii()
    }
}

impl EtcdEndpoint {
    /// A URL with a port and no path, such as `http://192.0.2.1:2379`.
    pub fn parse(url: &str) -> Option<Self> {
        let (tls, rest) = match url.split_once("://")? {
            ("http", rest) => (false, rest),
            ("https", rest) => (true, rest),
            _ => return None,
        };
        let (host, port) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':')?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_host = !bare.is_empty() && !bare.contains(['/', '@', '?', '#', ' ']);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        is_host.then(|| Self {
            tls,
            host: bare.to_owned(),
            port,
        })
    }
}

/// Certificates.
#[derive(Clone, Debug)]
pub struct Tls {
    /// `tls.min_version`.
    pub min_version: TlsVersion,
    /// One PEM file, chain and key, for unknown names; without it their handshake is refused.
    pub default_certificate: Option<PathBuf>,
    /// A directory of `<name>.pem` files, chain and key in each: per-name certificates. Default `<data_dir>/certificates`.
    pub certificates: PathBuf,
}

/// The lowest TLS version spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// The form of the access log.
    pub format: AccessLogFormat,
    /// Where it goes; `None` is standard output (`-`).
    pub path: Option<PathBuf>,
    /// The share of requests that is logged, 0.0 to 1.0.
    pub sample: f64,
}

/// The form of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object a line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
    /// None.
    Off,
}

/// How long after a change of a watched file at the latest it is seen. Not configurable: a poll beside inotify.
pub const WATCH_POLL: Duration = Duration::from_secs(1);
