//! The client of the admin API: how the commands of `jet9` ask a running edge.
//!
//! Finds the edge (`--admin`, `--config`, `JET9_ADMIN`, else `./data/admin.sock`) and the token (`JET9_TOKEN`, else, where no socket says who calls,
//! the file that the edge wrote beside its data, which goes in clear text to the owner of that file and to root alone). One call is one connection. A refusal becomes a [`Failure`] with the exit code that scripts rely on.
//! Knows no command and prints nothing.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jet9_config::node::{AdminListen, Node};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::commands::run::read_node;
use crate::commands::{Code, Failure};
use crate::control::tokens::{TOKEN_FILE, read_admin_token};

mod listener;
mod tls;

/// The socket of an edge whose data directory is `./data`.
const SOCKET_DEFAULT: &str = "data/admin.sock";

/// Bytes of an answer. A list of ten thousand sites has some three million.
const ANSWER_MAX: usize = 64 << 20;

/// How long a call may take on top of what it asks the edge to wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which edge is asked; the arguments that all commands share.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Target {
    /// The admin API: `unix:<socket>`, `<host>:<port>`, or `https://<host>:<port>` of another machine [env: JET9_ADMIN]
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// With https: the PEM file of whom to trust, an authority or the certificate itself [env: JET9_CA, of an edge]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The node file of the edge, to find its admin API and its token
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// An edge that can be asked.
#[derive(Debug)]
pub struct Client {
    address: Address,
    token: Option<String>,
    /// Whose the edge is, where the token was found beside its data.
    owner: Option<u32>,
    /// Whom to trust over TLS.
    ca: Option<PathBuf>,
}

/// Where an admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket; the peer is known by its uid.
    Unix(PathBuf),
    /// Host and port of the loopback; a token is needed.
    Tcp(String),
    /// Host and port of any machine, over TLS; a token is needed.
    Tls(String),
}

/// What the edge answered, a status of 2xx.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The body as JSON; null where it is none.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: &'a str,
    /// The body, if it has one.
    pub body: Option<&'a Value>,
    /// A body that is no JSON, with its media type, in place of the former.
    pub text: Option<(&'static str, &'a str)>,
    /// The media type that is asked for, where there are several.
    pub accept: Option<&'static str>,
    /// The number in `If-Match`.
    pub if_match: Option<u64>,
    /// How long the call asks the edge to wait.
    pub wait: Duration,
}

impl<'a> Ask<'a> {
    /// Reads what is there.
    pub const fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            body: None,
            text: None,
            accept: None,
            if_match: None,
            wait: Duration::ZERO,
        }
    }

    /// Does something with what is there, without a body.
    pub fn bare(method: Method, path: &'a str) -> Self {
        Self {
            method,
            ..Self::get(path)
        }
    }

    /// Sends a text of a media type.
    pub fn put(path: &'a str, kind: &'static str, text: &'a str) -> Self {
        Self {
            method: Method::PUT,
            text: Some((kind, text)),
            ..Self::get(path)
        }
    }

    /// Sends a body.
    pub fn send(method: Method, path: &'a str, body: &'a Value) -> Self {
        Self {
            method,
            body: Some(body),
            ..Self::get(path)
        }
    }
}

impl Client {
    /// The edge that the arguments and the environment name.
    ///
    /// # Errors
    /// When none is named, or the node file has problems.
    pub fn find(target: &Target) -> Result<Self, Failure> {
        let given = environment("JET9_TOKEN");
        let ca = target.ca.clone();
        let ca = ca.or_else(|| environment("JET9_CA").map(PathBuf::from));
        let (address, data_dir) = match &target.config {
            Some(file) => {
                let node = read_node(file)?;
                let address = match &target.admin {
                    Some(address) => Address::parse(address),
                    None => Address::of(&node)?,
                };
                let is_ours = matches!(address, Address::Tcp(_) | Address::Tls(_));
                (address, is_ours.then_some(node.data_dir))
            }
            None => {
                let address = Address::named(target)?;
                // The secret of the edge whose data is here is for that one, not for whichever is named.
                let is_ours = matches!(address, Address::Tcp(_));
                (address, is_ours.then(|| PathBuf::from("data")))
            }
        };
        // A socket knows its peer by the uid.
        let found = data_dir.filter(|_| given.is_none());
        let found = found.and_then(|data_dir| found_token(&data_dir));
        let (token, owner) = match found {
            Some((token, owner)) => (Some(token), Some(owner)),
            None => (given, None),
        };
        Ok(Self {
            address,
            token,
            owner,
            ca,
        })
    }

    /// The edge at an address.
    pub const fn of(address: Address, token: Option<String>) -> Self {
        Self {
            address,
            token,
            owner: None,
            ca: None,
        }
    }

    /// Trusting who is in this PEM file.
    pub fn trusting(mut self, ca: PathBuf) -> Self {
        self.ca = Some(ca);
        self
    }

    /// Asks, and waits for the answer. Blocks.
    ///
    /// # Errors
    /// When the edge cannot be reached, or refuses; with the exit code that says which.
    pub fn ask(&self, ask: &Ask<'_>) -> Result<Answered, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::new)?;
        runtime.block_on(self.call(ask))
    }

    /// As [`Self::ask`], inside a runtime.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn call(&self, ask: &Ask<'_>) -> Result<Answered, Failure> {
        if !self.address.hides() {
            let message = format!(
                "{}: only the loopback is asked in clear text; write https://{} for another machine",
                self.address, self.address
            );
            return Err(Failure::with(Code::Usage, message));
        }
        let exchange = async {
            match &self.address {
                Address::Unix(path) => self.exchange(UnixStream::connect(path).await?, ask).await,
                Address::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    if let Some(owner) = self.owner {
                        listener::check(stream.peer_addr()?, owner)?;
                    }
                    self.exchange(stream, ask).await
                }
                Address::Tls(address) => {
                    let stream = tls::connect(address, self.ca.as_deref()).await?;
                    self.exchange(stream, ask).await
                }
            }
        };
        let (status, body) = match tokio::time::timeout(ask.wait + PATIENCE, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.unreachable(&error)),
            Err(_) => {
                let message = format!("{} does not answer", self.address);
                return Err(Failure::with(Code::Partial, message));
            }
        };
        let text = String::from_utf8_lossy(&body).into_owned();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() {
            Ok(Answered { status, body, text })
        } else {
            Err(refusal(status, &body))
        }
    }

    async fn exchange<S>(&self, stream: S, ask: &Ask<'_>) -> io::Result<(StatusCode, Bytes)>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let request = self.request(ask).map_err(io::Error::other)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(io::Error::other)?;
        let connection = tokio::spawn(connection);
        let response = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        connection.abort();
        Ok((head.status, body.map_err(io::Error::other)?.to_bytes()))
    }

    fn request(&self, ask: &Ask<'_>) -> http::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(ask.path)
            .header(HOST, "localhost");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(number) = ask.if_match {
            request = request.header(IF_MATCH, format!("\"{number}\""));
        }
        if let Some(kind) = ask.accept {
            request = request.header(ACCEPT, kind);
        }
        let (kind, body) = match (ask.text, ask.body) {
            (Some((kind, text)), _) => (Some(kind), text.to_owned()),
            (None, Some(body)) => (Some("application/json"), body.to_string()),
            (None, None) => (None, String::new()),
        };
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        request.body(Full::new(body.into()))
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::InvalidInput {
            let message = format!(
                "{}: expected `unix:<socket>`, `<host>:<port>` or `https://<host>:<port>`",
                self.address
            );
            return Failure::with(Code::Usage, message);
        }
        Failure::new(format!("{}: {error}; is the edge running?", self.address))
    }
}

impl Address {
    /// `unix:<socket>`, or host and port with or without a scheme.
    pub fn parse(text: &str) -> Self {
        if let Some(rest) = text.strip_prefix("https://") {
            return Self::Tls(rest.trim_end_matches('/').to_owned());
        }
        match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => {
                let bare = text.strip_prefix("http://").unwrap_or(text);
                Self::Tcp(bare.trim_end_matches('/').to_owned())
            }
        }
    }

    /// The one that is named, else the socket of an edge whose data is here.
    fn named(target: &Target) -> Result<Self, Failure> {
        let named = target.admin.clone().or_else(|| environment("JET9_ADMIN"));
        match named {
            Some(address) => Ok(Self::parse(&address)),
            None if Path::new(SOCKET_DEFAULT).exists() => Ok(Self::Unix(SOCKET_DEFAULT.into())),
            None => {
                let message = "which edge? give --config node.toml, --admin or JET9_ADMIN";
                Err(Failure::with(Code::Usage, message))
            }
        }
    }

    /// Whether nobody on the way can read what is sent there.
    fn hides(&self) -> bool {
        let Self::Tcp(address) = self else {
            return true;
        };
        let Some((host, _)) = address.rsplit_once(':') else {
            // Which has no port: told when it is connected to.
            return true;
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<IpAddr>();
        address.map_or(host == "localhost", |address| address.is_loopback())
    }

    /// Where a node listens: its socket, else its first address with a fixed port.
    fn of(node: &Node) -> Result<Self, Failure> {
        let unix = node.listen.admin.iter().find_map(|listen| match listen {
            AdminListen::Unix(path) => Some(Self::Unix(path.clone())),
            AdminListen::Tcp(_) => None,
        });
        let tcp = || {
            node.listen.admin.iter().find_map(|listen| match listen {
                AdminListen::Tcp(address) if address.port() != 0 => {
                    let text = address.to_string();
                    Some(match address.ip().is_loopback() {
                        true => Self::Tcp(text),
                        false => Self::Tls(text),
                    })
                }
                AdminListen::Tcp(_) | AdminListen::Unix(_) => None,
            })
        };
        unix.or_else(tcp).ok_or_else(|| {
            Failure::new(
                "the node file has no admin address that is known beforehand; give --admin",
            )
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
            Self::Tls(address) => write!(f, "https://{address}"),
        }
    }
}

/// The admin token of a data directory, and whose it is.
fn found_token(data_dir: &Path) -> Option<(String, u32)> {
    let token = read_admin_token(data_dir).ok()?;
    let owner = std::fs::metadata(data_dir.join(TOKEN_FILE)).ok()?.uid();
    Some((token, owner))
}

/// A set variable of the environment; an empty one counts as none.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What a problem document (RFC 9457) says, one line and one more for each value.
fn refusal(status: StatusCode, body: &Value) -> Failure {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let mut message = match text(body, "title") {
        title if title.is_empty() => status.to_string(),
        title => title,
    };
    let detail = text(body, "detail");
    if !detail.is_empty() {
        message = format!("{message}: {detail}");
    }
    for error in body["errors"].as_array().into_iter().flatten() {
        let (pointer, detail) = (text(error, "pointer"), text(error, "detail"));
        message += &match pointer.is_empty() {
            true => format!("\n  {detail}"),
            false => format!("\n  {pointer}: {detail}"),
        };
    }
    Failure::with(code_of(status), message)
}

const fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Code::Conflict,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Code::Partial,
        _ => Code::Failure,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_a_socket_or_a_host_with_a_port() {
        let check = |text: &str, expected: Address| assert_eq!(Address::parse(text), expected);
        check("unix:/run/x.sock", Address::Unix("/run/x.sock".into()));
        check("127.0.0.1:9443", Address::Tcp("127.0.0.1:9443".into()));
        check("http://[::1]:9443/", Address::Tcp("[::1]:9443".into()));
        check("https://e.test:9443/", Address::Tls("e.test:9443".into()));
    }

    #[test]
    fn a_token_goes_in_clear_text_over_the_loopback_alone() {
        let check = |text: &str, hides: bool| assert_eq!(Address::parse(text).hides(), hides);
        check("127.0.0.1:9443", true);
        check("[::1]:9443", true);
        check("localhost:9443", true);
        check("unix:/run/x.sock", true);
        check("https://e.test:9443", true);
        check("192.0.2.1:9443", false);
        check("http://e.test:9443", false);
        check("localhost.test:9443", false);
    }

    #[test]
    fn a_refusal_says_all_that_is_wrong_and_has_its_code() {
        let check = |status: u16, body: Value, code: Code, message: &str| {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(refusal(status, &body), Failure::with(code, message));
        };
        let body = json!({
            "title": "Unprocessable Entity", "detail": "nothing was done",
            "errors": [{"pointer": "/urls/0", "detail": "no URL"}],
        });
        let told = "Unprocessable Entity: nothing was done\n  /urls/0: no URL";
        check(422, body, Code::Failure, told);
        check(
            404,
            json!({"title": "Not Found"}),
            Code::NotFound,
            "Not Found",
        );
        check(412, Value::Null, Code::Conflict, "412 Precondition Failed");
    }
}
