//! The client: a fixed number of keep-alive connections, each asking again as soon as it has its answer.
//!
//! A closed loop measures what a server can do, not how long visitors wait; that is what requests per CPU-second ask for. Every answer is
//! checked for its status and its length, so that a fast wrong answer is an error and not a record.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// What to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where.
    pub(crate) address: SocketAddr,
    /// The Host field.
    pub(crate) host: String,
    /// The path.
    pub(crate) path: String,
    /// The length of the content that must come.
    pub(crate) size: usize,
}

/// Asks for the given time and counts the answers.
pub(crate) fn drive(target: &Target, connections: usize, time: Duration) -> Result<u64> {
    let end = now() + time;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|_| scope.spawn(move || ask_until(target, end)))
            .collect();
        let counts = workers.into_iter().map(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| anyhow::bail!("a client died"))
        });
        counts.sum()
    })
}

fn ask_until(target: &Target, end: Instant) -> Result<u64> {
    let mut connection = Connection::open(target)?;
    let mut count = 0;
    while now() < end {
        if connection.asked == REQUESTS_PER_CONNECTION {
            connection = Connection::open(target)?;
        }
        connection.ask(target)?;
        count += 1;
    }
    Ok(count)
}

#[expect(clippy::disallowed_methods, reason = "a load generator measures time")]
fn now() -> Instant {
    Instant::now()
}

/// Both servers close a connection after 1,000 requests by default: the client reconnects before that.
const REQUESTS_PER_CONNECTION: u32 = 900;

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
    asked: u32,
}

impl Connection {
    fn open(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(target.address).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: loadtests\r\nAccept: */*\r\n\r\n",
            target.path, target.host
        );
        Ok(Self {
            stream,
            request: request.into_bytes(),
            buffer: vec![0; target.size + (8 << 10)],
            asked: 0,
        })
    }

    fn ask(&mut self, target: &Target) -> Result<()> {
        self.asked += 1;
        self.stream.write_all(&self.request)?;
        let mut filled = 0;
        loop {
            let count = self.stream.read(&mut self.buffer[filled..])?;
            ensure!(
                count > 0,
                "the server closed the connection after {} requests",
                self.asked
            );
            filled += count;
            let Some(head) = head_end(&self.buffer[..filled]) else {
                continue;
            };
            ensure!(
                self.buffer.starts_with(b"HTTP/1.1 200"),
                "not 200: {}",
                String::from_utf8_lossy(&self.buffer[..head])
            );
            if filled >= head + target.size {
                ensure!(filled == head + target.size, "more came than was asked for");
                return Ok(());
            }
        }
    }
}

fn head_end(buffer: &[u8]) -> Option<usize> {
    buffer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|position| position + 4)
}

/// Asks once and gives the head of the answer.
pub(crate) fn head_of(target: &Target) -> Result<String> {
    let mut connection = Connection::open(target)?;
    connection.ask(target)?;
    let end = head_end(&connection.buffer).context("no head")?;
    Ok(String::from_utf8_lossy(&connection.buffer[..end]).into_owned())
}
