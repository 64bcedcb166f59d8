//! Tells systemd how the node is: ready, stopping, alive (sd_notify(3)).
//!
//! Without `NOTIFY_SOCKET` in the environment all of it does nothing. Failures are not worth more than a line: the service manager will act
//! on their absence.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
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
    if let Err(error) = send(state) {
        log::warn!("the service manager cannot be told {state}: {error}");
    }
}

fn send(state: &str) -> io::Result<()> {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(std::path::Path::new(std::ffi::OsStr::from_bytes(path)))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
