//! Tells systemd how the node is: ready, stopping, alive (sd_notify(3)).
//!
//! Without `NOTIFY_SOCKET` in the environment all of it does nothing. Failures are not worth more than a line: the service manager will act
//! on their absence.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

/// Says that the node serves.
pub(super) fn ready() {
    tell("READY=1");
}

/// Says that the node is stopping.
pub(super) fn stopping() {
    tell("STOPPING=1");
}

/// Says that the node is alive, as often as the service manager wants it, for as long as the runtime that calls it works.
pub(super) async fn keep_alive() {
    let Some(period) = watchdog_period() else {
        return;
    };
    loop {
        tell("WATCHDOG=1");
        tokio::time::sleep(period).await;
    }
}

/// Half of what the service manager allows, as it recommends.
fn watchdog_period() -> Option<Duration> {
    let micros = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    Some(Duration::from_micros(micros) / 2).filter(|period| !period.is_zero())
}

fn tell(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        log::warn!("the service manager cannot be told {state}: {error}");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(Path::new(socket))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_is_told_through_its_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        let mut told = [0; 16];
        let read = manager.recv(&mut told).unwrap();
        assert_eq!(&told[..read], b"READY=1");
    }
}
