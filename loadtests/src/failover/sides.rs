//! The two sides of a cluster, in this process: they answer everything, say whether they are master to who checks, and note when they were asked.
//!
//! A side that is no master still answers visitors with 200, as a database that was demoted still accepts connections: what reaches it is counted
//! and not hidden behind an error. Checks (`OPTIONS`, as HAProxy sends them) get 200 from the master and 503 from the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::Result;

use super::now;

/// A request of a visitor that reached a side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The side: 0 or 1.
    pub(super) side: usize,
    /// When its head had come.
    pub(super) at: Instant,
}

/// Both sides, and who of them is master.
pub(super) struct Sides {
    pub(super) addresses: [SocketAddr; 2],
    masters: [Arc<AtomicBool>; 2],
    asked: Receiver<Asked>,
}

impl Sides {
    /// Both listen; the first is master.
    pub(super) fn start() -> Result<Self> {
        let (tell, asked) = channel();
        let masters = [
            Arc::new(AtomicBool::new(true)),
            Arc::new(AtomicBool::new(false)),
        ];
        let start = |side: usize| -> Result<SocketAddr> {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            let address = listener.local_addr()?;
            let (is_master, tell) = (Arc::clone(&masters[side]), tell.clone());
            thread::spawn(move || accept(&listener, side, &is_master, &tell));
            Ok(address)
        };
        let addresses = [start(0)?, start(1)?];
        Ok(Self {
            addresses,
            masters,
            asked,
        })
    }

    /// What checks are told from now on.
    pub(super) fn set(&self, side: usize, is_master: bool) {
        self.masters[side].store(is_master, Ordering::SeqCst);
    }

    /// What reached them since the last call.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.try_iter().collect()
    }
}

fn accept(listener: &TcpListener, side: usize, is_master: &Arc<AtomicBool>, tell: &Sender<Asked>) {
    for stream in listener.incoming().flatten() {
        let (is_master, tell) = (Arc::clone(is_master), tell.clone());
        thread::spawn(move || {
            // A connection that breaks is the other end's business.
            let _ = serve(stream, side, &is_master, &tell);
        });
    }
}

fn serve(
    stream: TcpStream,
    side: usize,
    is_master: &AtomicBool,
    tell: &Sender<Asked>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let is_check = line.starts_with("OPTIONS ");
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        let at = now();
        reader.by_ref().take(length).read_to_end(&mut Vec::new())?;
        if is_check {
            let status = if is_master.load(Ordering::SeqCst) {
                "200 OK"
            } else {
                "503 Service Unavailable"
            };
            let answer =
                format!("HTTP/1.0 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            writer.write_all(answer.as_bytes())?;
            return Ok(());
        }
        let _ = tell.send(Asked { side, at }); // nobody listens at the end of the run
        writer.write_all(ANSWER)?;
    }
}

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nCache-Control: no-store\r\n\r\nok\n";
