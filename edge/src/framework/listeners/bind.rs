//! Binding: every address of the node file, or every reason why not.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use jet9_config::node::{AdminListen, Listen};
use jet9_config::{Problem, Problems};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections that wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
pub(super) const BACKLOG: i32 = 4096;

/// How long after the last byte a connection is asked whether its client is still there, and how long between the next questions.
const KEEPALIVE_PROBES: Duration = Duration::from_secs(60);

/// Every socket of the node, bound, in the order of the node file.
#[derive(Debug, Default)]
pub struct Bound {
    /// `listen.http`.
    pub http: Vec<StdListener>,
    /// `listen.https`.
    pub https: Vec<StdListener>,
    /// `listen.admin`.
    pub admin: Vec<AdminListener>,
    /// `listen.metrics`.
    pub metrics: Option<StdListener>,
}

/// A bound socket of the admin API.
#[derive(Debug)]
pub enum AdminListener {
    /// For the local machine; the peer's uid is known.
    Unix(UnixListener),
    /// For who has a token, on this machine.
    Tcp(StdListener),
    /// For who has a token, from elsewhere, over TLS.
    Tls(StdListener),
}

/// Binds every socket. `file` is the node file's name, for problems.
///
/// # Errors
/// Every address that cannot be bound, by its name in the node file.
pub fn bind(file: &str, listen: &Listen) -> Result<Bound, Problems> {
    let mut problems = Vec::new();
    let mut bound = Bound::default();
    let tcp = |addresses: &[SocketAddr], key: &str, problems: &mut Vec<Problem>| {
        let bind = |(index, address): (usize, &SocketAddr)| {
            let key = format!("{key}[{index}]");
            noted(bind_tcp(*address), file, &key, address, problems)
        };
        addresses.iter().enumerate().filter_map(bind).collect()
    };
    bound.http = tcp(&listen.http, "listen.http", &mut problems);
    bound.https = tcp(&listen.https, "listen.https", &mut problems);
    for (index, address) in listen.admin.iter().enumerate() {
        let key = format!("listen.admin[{index}]");
        bound.admin.extend(match address {
            AdminListen::Unix(path) => {
                let shown = path.display();
                noted(bind_unix(path), file, &key, shown, &mut problems).map(AdminListener::Unix)
            }
            AdminListen::Tcp(address) => {
                let bound = noted(bind_tcp(*address), file, &key, address, &mut problems);
                match address.ip().is_loopback() {
                    true => bound.map(AdminListener::Tcp),
                    false => bound.map(AdminListener::Tls),
                }
            }
        });
    }
    if let Some(address) = &listen.metrics {
        bound.metrics = noted(
            bind_tcp(*address),
            file,
            "listen.metrics",
            address,
            &mut problems,
        );
    }
    if problems.is_empty() {
        Ok(bound)
    } else {
        Err(Problems(problems))
    }
}

/// Turns an error into a problem that names the key and the address.
fn noted<T>(
    result: io::Result<T>,
    file: &str,
    key: &str,
    address: impl std::fmt::Display,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    result
        .map_err(|error| {
            problems.push(Problem {
                file: file.to_owned(),
                place: None,
                pointer: format!("/{}", key.replace(['.', '['], "/").replace(']', "")),
                message: format!("{key}: {address} cannot be bound: {error}"),
            });
        })
        .ok()
}

/// Accepted sockets inherit what is set here: no delay of small writes, and probes for clients that vanished.
fn bind_tcp(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` may stand beside each other in the node file.
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    let probes = TcpKeepalive::new()
        .with_time(KEEPALIVE_PROBES)
        .with_interval(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&probes)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Replaces the socket file of a process that is gone; one that somebody listens on is in use.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
