//! Speaks to etcd (3.4 and newer) through its JSON gateway: read a prefix, replace a key by compare-and-swap, watch.
//!
//! Used by `control::mastership`. One connection to one member at a time: who reads and watches through the same member learns from a read
//! that does not come back that the watch is dead too; a frozen member keeps a watch open and says nothing. Reads are linearizable, always.
//! Knows nothing of what the keys mean. Every call has its limit of time and bytes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use jet9_config::node::{Etcd as Config, EtcdEndpoint};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

mod credentials;
mod wire;

use credentials::Credentials;
pub use wire::{Event, KeyValue, Notice, Range};

/// How long a member may take to accept a connection, and to answer a call. A linearizable read hangs where the quorum is lost.
pub const CALL_WAIT: Duration = Duration::from_secs(1);

/// Bytes of an answer: ten thousand documents of two kilobytes, three times over.
const ANSWER_MAX: usize = 64 << 20;

/// Bytes of one line of a watch. etcd sends what happened at once together, and takes requests of 1.5 MiB.
const NOTICE_MAX: usize = 16 << 20;

/// Why a member did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// It cannot be reached, or broke off.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It did not answer in time: frozen, cut off, or without a quorum.
    #[error("no answer within {} s", CALL_WAIT.as_secs())]
    Silent,
    /// It refused.
    #[error("refused with {status}: {message}")]
    Refused {
        /// The status of the gateway.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// A read knew of a change, and the watch did not tell it.
    #[error("its watch does not tell what has changed")]
    Mute,
    /// What it said makes no sense.
    #[error("an answer that makes no sense: {0}")]
    Malformed(String),
}

/// The etcd of a node file, ready to be connected to.
#[derive(Clone, Debug)]
pub struct Etcd {
    config: Arc<Config>,
    credentials: Arc<Credentials>,
}

/// What a compare-and-swap came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// The key is replaced.
    Done,
    /// Something else was there; nothing was written.
    Refused,
}

impl Etcd {
    /// Reads the certificates and the password that the node file names. They are looked at again before every connection.
    ///
    /// # Errors
    /// When one of the files cannot be read or holds nothing usable; the error names it.
    pub fn open(config: &Config) -> io::Result<Self> {
        let config = Arc::new(config.clone());
        let credentials = Credentials::open(Arc::clone(&config))?;
        Ok(Self {
            config,
            credentials: Arc::new(credentials),
        })
    }

    /// What our keys begin with, without a slash at the end.
    pub fn prefix(&self) -> &str {
        &self.config.prefix
    }

    /// How many members there are to try.
    pub fn members(&self) -> usize {
        self.config.endpoints.len()
    }

    /// Connects to a member, counted from the first and around, and signs in where the node file says who.
    ///
    /// # Errors
    /// When it cannot be reached, is silent, or refuses the user.
    pub async fn connect(&self, member: usize) -> Result<Member, EtcdError> {
        let endpoints = &self.config.endpoints;
        let endpoint = &endpoints[member % endpoints.len()];
        let credentials = self.credentials.now().await;
        let tls = credentials.tls.as_ref().filter(|_| endpoint.tls);
        let sender = in_time(handshake(endpoint, tls)).await?;
        let mut member = Member {
            sender,
            host: format!("{}:{}", bracketed(&endpoint.host), endpoint.port),
            token: None,
        };
        if let (Some((name, _)), Some(password)) = (&self.config.login, &credentials.password) {
            let login = json!({"name": name, "password": &**password});
            let answer = member.call("/v3/auth/authenticate", &login).await?;
            member.token = answer["token"].as_str().map(str::to_owned);
        }
        Ok(member)
    }
}

async fn handshake(
    endpoint: &EtcdEndpoint,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<SendRequest<Full<Bytes>>, EtcdError> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(connection);
        return Ok(sender);
    };
    let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(tls))
        .connect(name, stream)
        .await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A connection to one member. A call that failed has spoilt it: connect again.
#[derive(Debug)]
pub struct Member {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    token: Option<String>,
}

impl Member {
    /// Which one it is, for messages.
    pub fn name(&self) -> &str {
        &self.host
    }

    /// All keys that begin with `prefix` and were changed after this revision (0: all), and how many there are in all.
    ///
    /// # Errors
    /// When the member fails in any way; also when it has lost the quorum.
    pub async fn range(&mut self, prefix: &str, changed_after: u64) -> Result<Range, EtcdError> {
        let body = wire::range(prefix, changed_after);
        wire::read_range(&self.call("/v3/kv/range", &body).await?).map_err(EtcdError::Malformed)
    }

    /// Replaces a key if its last change was at this revision (0: if it does not exist).
    ///
    /// # Errors
    /// When the member fails; then it is not known whether the key was replaced.
    pub async fn swap(
        &mut self,
        key: &str,
        value: &[u8],
        changed_at: u64,
    ) -> Result<Swapped, EtcdError> {
        let answer = self
            .call("/v3/kv/txn", &wire::swap(key, value, changed_at))
            .await?;
        // A refused transaction leaves `succeeded` out.
        Ok(match answer["succeeded"].as_bool() {
            Some(true) => Swapped::Done,
            _ => Swapped::Refused,
        })
    }

    /// Watches all keys that begin with `prefix`, from this revision on. Takes the connection.
    ///
    /// # Errors
    /// When the member fails or does not begin.
    pub async fn watch(mut self, prefix: &str, from: u64) -> Result<Watching, EtcdError> {
        let body = wire::watch(prefix, from);
        let body = in_time(async {
            let answer = self.send("/v3/watch", &body).await?;
            if !answer.status().is_success() {
                return Err(refused(answer).await);
            }
            Ok(answer.into_body())
        });
        Ok(Watching {
            body: body.await?,
            lines: wire::Lines::new(NOTICE_MAX),
            _sender: self.sender,
        })
    }

    async fn call(&mut self, path: &str, body: &Value) -> Result<Value, EtcdError> {
        in_time(async {
            let answer = self.send(path, body).await?;
            if !answer.status().is_success() {
                return Err(refused(answer).await);
            }
            let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            let body = body.map_err(io::Error::other)?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| EtcdError::Malformed(error.to_string()))
        })
        .await
    }

    async fn send(
        &mut self,
        path: &str,
        body: &Value,
    ) -> Result<http::Response<Incoming>, EtcdError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            // A member that lost its leader says so, instead of going on from what it knows.
            .header("Grpc-Metadata-hasleader", "true");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body.to_string().into()));
        let request = request.map_err(io::Error::other)?;
        self.sender.ready().await.map_err(broken)?;
        self.sender.send_request(request).await.map_err(broken)
    }
}

/// A watch under way. Dropping it ends it.
#[derive(Debug)]
pub struct Watching {
    body: Incoming,
    lines: wire::Lines,
    _sender: SendRequest<Full<Bytes>>,
}

impl Watching {
    /// The next notice. Waits for as long as nothing happens. May be dropped and called again.
    ///
    /// # Errors
    /// When the watch ended or says what makes no sense.
    pub async fn next(&mut self) -> Result<Notice, EtcdError> {
        loop {
            if let Some(line) = self.lines.next() {
                return wire::read_notice(&line).map_err(EtcdError::Malformed);
            }
            let frame = self.body.frame().await;
            let frame = frame.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                self.lines.push(&data).map_err(EtcdError::Malformed)?;
            }
        }
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, EtcdError>>) -> Result<T, EtcdError> {
    timeout(CALL_WAIT, call)
        .await
        .unwrap_or(Err(EtcdError::Silent))
}

async fn refused(answer: http::Response<Incoming>) -> EtcdError {
    const MESSAGE_MAX: usize = 4 << 10;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MESSAGE_MAX)
        .collect()
        .await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = (said["message"].as_str()).or_else(|| said["error"].as_str());
    // What stands before the gateway speaks plain text.
    let plain = String::from_utf8_lossy(&body);
    let message = match message.unwrap_or_else(|| plain.trim()) {
        "" => "it did not say why",
        message => message,
    };
    EtcdError::Refused {
        status,
        message: message.to_owned(),
    }
}

fn broken(error: hyper::Error) -> EtcdError {
    EtcdError::Io(io::Error::other(error))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}
