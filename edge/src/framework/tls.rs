//! TLS on the client's side: the handshake with a deadline, and the certificates that answer it.
//!
//! [`Acceptor`] is called by `framework::listeners` for each connection of an HTTPS listener; [`Certificates`] by `framework::server` at the
//! start and at every SIGHUP. Which chain answers which name is `jet9_tls`'s to know; paths, sockets and the clock are ours.
//! Invariant 6: a file that cannot be used never takes a good certificate out of force, and is named in the log. Invariant 8: it costs its own
//! names and no others, at a start too; only the default certificate, which is the node's own, must be good then.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jet9_config::node::{Tls, TlsVersion};
use jet9_config::{Problem, Problems};
use jet9_tls::{Chain, MinVersion, Outcome, Resolver, Store, TlsError, UnixSeconds, Validity};
use parking_lot::Mutex;
use rustls::{ProtocolVersion, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock::{self, WallClock};
use crate::control::durable::{self, Durability, Readers};
use crate::control::watch;
use crate::request::client::TlsFacts;

/// Bytes of a chain with its key. The longest that authorities issue have some ten thousand.
const PEM_MAX: u64 = 1 << 20;

/// Links that are followed from one file to another; Linux follows as many.
const LINKS_MAX: usize = 40;

/// Where a node file names the default certificate.
const DEFAULT: &str = "/tls/default_certificate";

/// Does handshakes.
#[derive(Clone)]
pub struct Acceptor {
    acceptor: TlsAcceptor,
    timeout: Duration,
    metrics: jet9_tls::Metrics,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Acceptor {
    /// An acceptor with this configuration; a handshake may take `timeout` in all.
    pub fn new(config: Arc<ServerConfig>, timeout: Duration, metrics: jet9_tls::Metrics) -> Self {
        Self {
            acceptor: TlsAcceptor::from(config),
            timeout,
            metrics,
        }
    }

    /// One that agrees on nothing but HTTP/1.1: for the admin API.
    pub fn without_http2(&self) -> Self {
        let mut config = ServerConfig::clone(self.acceptor.config());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self::new(Arc::new(config), self.timeout, self.metrics.clone())
    }

    /// Does the handshake. `None`: it failed, was counted, and the connection is closed.
    pub async fn accept(&self, stream: TcpStream) -> Option<(Box<TlsStream<TcpStream>>, TlsFacts)> {
        let started = clock::monotonic();
        let handshake = tokio::time::timeout(self.timeout, self.acceptor.accept(stream)).await;
        let done = handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match done {
            Ok(stream) => {
                let connection = stream.get_ref().1;
                let version = connection.protocol_version();
                let took = clock::monotonic() - started;
                self.metrics
                    .done(version, connection.handshake_kind(), took);
                let facts = TlsFacts {
                    server_name: connection
                        .server_name()
                        .map(|name| name.to_ascii_lowercase().into()),
                    version: version_name(version),
                };
                Some((Box::new(stream), facts))
            }
            Err(error) => {
                // Every scanner of the internet fails handshakes: counted, and told only to who asks for details.
                log::debug!("a TLS handshake failed: {error}");
                self.metrics.failed(None, Outcome::failed(&error));
                None
            }
        }
    }
}

/// Whether the client chose HTTP/2 (RFC 9113 §3.2).
pub fn chose_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

const fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    }
}

/// Reads all certificates and puts none in force: for `jet9 check`.
///
/// # Errors
/// Names every file that cannot be used.
pub fn check(tls: &Tls) -> Result<(), Problems> {
    let (_, problems) = read_all(tls.default_certificate.as_deref(), &tls.certificates);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Problems(problems))
    }
}

/// The certificates of the node: one default, and one file for each name or group of names.
#[derive(Debug)]
pub struct Certificates {
    default: Option<PathBuf>,
    directory: PathBuf,
    resolver: Arc<Resolver>,
    metrics: jet9_tls::Metrics,
    /// Held while they change: what is put in force is what was read last.
    loaded: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    /// The good chains by file, kept for the day when a file goes bad.
    chains: BTreeMap<PathBuf, Chain>,
    /// The files that cannot be used now.
    unusable: BTreeSet<String>,
}

/// A certificate in force.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its name: its file's without `.pem`.
    pub name: String,
    /// The chain.
    pub chain: Chain,
    /// Where the present lies in its life.
    pub validity: Validity,
}

/// Why a certificate was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// It is none that can be used; what to mend.
    #[error("{0}")]
    Unusable(String),
    /// It could not be written.
    #[error("the certificate cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// Why a certificate was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is none of this name.
    #[error("there is no certificate of this name")]
    Missing,
    /// The node file names it.
    #[error("it is the default certificate of the node file")]
    Default,
    /// Names would be without one; which.
    #[error("{0}")]
    Needed(String),
    /// Its file could not be removed.
    #[error("the certificate cannot be removed: {0}")]
    Write(#[from] io::Error),
}

impl Certificates {
    /// Reads all certificates. The directory may be missing: then there are none by name. A file of it that cannot be used is logged and left out.
    ///
    /// # Errors
    /// When the default certificate cannot be used.
    pub fn load(tls: &Tls, metrics: jet9_tls::Metrics) -> Result<Self, Problems> {
        let default = tls.default_certificate.as_deref();
        let (chains, problems) = read_all(default, &tls.certificates);
        let is_default = |problem: &Problem| problem.pointer == DEFAULT;
        let (fatal, problems): (Vec<_>, Vec<_>) = problems.into_iter().partition(is_default);
        if !fatal.is_empty() {
            return Err(Problems(fatal));
        }
        let certificates = Self {
            default: tls.default_certificate.clone(),
            directory: tls.certificates.clone(),
            resolver: Arc::new(Resolver::new(Store::default())),
            metrics,
            loaded: Mutex::default(),
        };
        let mut unusable = BTreeSet::new();
        for problem in problems {
            log::error!("{problem}; its names are served without it");
            unusable.insert(problem.file);
        }
        *certificates.loaded.lock() = Loaded { chains, unusable };
        certificates.put_in_force(&certificates.loaded.lock());
        Ok(certificates)
    }

    /// Reads all certificates again. A file that cannot be used is logged, and what it last held stays in force.
    pub fn reload(&self) {
        let mut loaded = self.loaded.lock();
        let (mut chains, problems) = read_all(self.default.as_deref(), &self.directory);
        let mut unusable = BTreeSet::new();
        for problem in problems {
            log::error!("{problem}; the certificate that is in force stays");
            unusable.insert(problem.file);
        }
        for (path, chain) in &loaded.chains {
            if unusable.contains(&path.display().to_string()) {
                chains.entry(path.clone()).or_insert_with(|| chain.clone());
            }
        }
        *loaded = Loaded { chains, unusable };
        self.put_in_force(&loaded);
    }

    /// Takes a chain with its key, durably and at once, under a name that is good for a file. Blocks.
    ///
    /// # Errors
    /// When it cannot be used or written; what was in force stays.
    pub fn put(&self, name: &str, pem: &[u8]) -> Result<Held, PutError> {
        let unusable = |error: &dyn std::fmt::Display| PutError::Unusable(error.to_string());
        if pem.len() as u64 > PEM_MAX {
            return Err(unusable(&format!("larger than {PEM_MAX} bytes")));
        }
        let chain = Chain::parse(pem).map_err(|error| unusable(&error))?;
        let validity = chain.validity(now());
        if validity == Validity::Expired {
            return Err(unusable(
                &"its life is over: it would be refused by every visitor",
            ));
        }
        let path = self.directory.join(format!("{name}.pem"));
        let mut loaded = self.loaded.lock();
        std::fs::create_dir_all(&self.directory)?;
        durable::replace(&path, pem, Readers::Owner, Durability::Now)?;
        let default = self.default.as_ref().filter(|_| self.is_of_default(&path));
        for path in std::iter::once(&path).chain(default) {
            loaded.unusable.remove(&path.display().to_string());
            loaded.chains.insert(path.clone(), chain.clone());
        }
        self.put_in_force(&loaded);
        Ok(Held {
            name: name.to_owned(),
            chain,
            validity,
        })
    }

    /// Takes a certificate out of force and removes its file, durably, unless `is_needed` says which of its names nothing else covers. That is asked
    /// with the chain and with what is left without it. Blocks.
    ///
    /// # Errors
    /// When it is not there, is needed, or cannot be removed; it stays in force then.
    pub fn remove(
        &self,
        name: &str,
        is_needed: impl FnOnce(&Chain, &Store) -> Option<String>,
    ) -> Result<(), RemoveError> {
        let path = self.directory.join(format!("{name}.pem"));
        if self.is_of_default(&path) {
            return Err(RemoveError::Default);
        }
        let mut loaded = self.loaded.lock();
        let found = loaded.chains.remove(&path);
        let refused = match &found {
            // It may be there and never have been good.
            None if !path.exists() => Some(RemoveError::Missing),
            None => None,
            Some(chain) => is_needed(chain, &self.store(&loaded)).map(RemoveError::Needed),
        };
        let removed = refused.map_or_else(|| Ok(durable::remove(&path)?), Err);
        if removed.is_err() {
            loaded.chains.extend(found.map(|chain| (path, chain)));
            return removed;
        }
        loaded.unusable.remove(&path.display().to_string());
        self.put_in_force(&loaded);
        Ok(())
    }

    /// Whether the default certificate is read through this file: by this name, another spelling of it, or links.
    fn is_of_default(&self, path: &Path) -> bool {
        let mut read = self.default.clone();
        for _ in 0..LINKS_MAX {
            let Some(file) = read else {
                return false;
            };
            if file == path || place_of(&file).is_some_and(|place| Some(place) == place_of(path)) {
                return true;
            }
            let link = std::fs::read_link(&file).ok();
            // What a link says is meant from where it is.
            read = link.and_then(|link| Some(file.parent()?.join(link)));
        }
        // Which leads nowhere, or around.
        false
    }

    /// The certificates in force, by name; the default, which may lie elsewhere, too.
    pub fn list(&self) -> Vec<Held> {
        let now = now();
        let held = |(path, chain): (&PathBuf, &Chain)| Held {
            name: path
                .file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().into()),
            chain: chain.clone(),
            validity: chain.validity(now),
        };
        self.loaded.lock().chains.iter().map(held).collect()
    }

    /// Chooses the certificate of each handshake.
    pub fn resolver(&self) -> Arc<Resolver> {
        Arc::clone(&self.resolver)
    }

    /// The configuration of the HTTPS listeners.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn server_config(&self, min: TlsVersion) -> Result<Arc<ServerConfig>, TlsError> {
        let min = match min {
            TlsVersion::V1_2 => MinVersion::Tls12,
            TlsVersion::V1_3 => MinVersion::Tls13,
        };
        jet9_tls::server_config(self.resolver(), min)
    }

    fn put_in_force(&self, loaded: &Loaded) {
        let store = self.store(loaded);
        self.metrics.show(&store, loaded.unusable.len(), now());
        log::info!(
            "{} certificates in force, for {} names",
            loaded.chains.len(),
            store.names()
        );
        self.resolver.replace(store);
    }

    fn store(&self, loaded: &Loaded) -> Store {
        let labelled = |path: &Path, chain: &Chain| (path.display().to_string(), chain.clone());
        let (default, named): (Vec<_>, Vec<_>) = loaded
            .chains
            .iter()
            .partition(|(path, _)| Some(path.as_path()) == self.default.as_deref());
        let default = default.first().map(|(path, chain)| labelled(path, chain));
        let named = named.into_iter().map(|(path, chain)| labelled(path, chain));
        Store::build(named, default, now())
    }
}

/// Where a file is, whether it is there or not: in which directory, and under which name.
fn place_of(file: &Path) -> Option<(PathBuf, &OsStr)> {
    let directory = match file.parent()? {
        empty if empty.as_os_str().is_empty() => Path::new("."),
        directory => directory,
    };
    Some((directory.canonicalize().ok()?, file.file_name()?))
}

fn now() -> UnixSeconds {
    let seconds = WallClock::System.now().unix_seconds();
    UnixSeconds(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// All chains that can be used, and all problems, each with its file.
fn read_all(default: Option<&Path>, directory: &Path) -> (BTreeMap<PathBuf, Chain>, Vec<Problem>) {
    let mut chains = BTreeMap::new();
    let mut problems = Vec::new();
    let files = files_of(directory).unwrap_or_else(|error| {
        problems.push(problem(directory, "/tls/certificates", &error));
        Vec::new()
    });
    let named = files
        .iter()
        .map(|file| (file.as_path(), "/tls/certificates"));
    for (file, pointer) in named.chain(default.map(|file| (file, DEFAULT))) {
        match read(file) {
            Ok(chain) => {
                chains.insert(file.to_owned(), chain);
            }
            Err(message) => problems.push(problem(file, pointer, &message)),
        }
    }
    (chains, problems)
}

fn problem(file: &Path, pointer: &str, message: &str) -> Problem {
    Problem {
        file: file.display().to_string(),
        place: None,
        pointer: pointer.to_owned(),
        message: message.to_owned(),
    }
}

fn read(file: &Path) -> Result<Chain, String> {
    let pem = watch::read_bounded(file, PEM_MAX);
    let pem = pem.map_err(|error| format!("the certificate cannot be read: {error}"))?;
    Chain::parse(&pem).map_err(|error| error.to_string())
}

/// The `*.pem` files of a directory, in order.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("the directory cannot be read: {error}")),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|error| format!("the directory cannot be read: {error}"))?
            .path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
