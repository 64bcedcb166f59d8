//! Visitors: each asks and posts in turn over one connection, and notes what was not answered with 200.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::now;
use crate::servers::HOST;

/// Between two requests of a visitor.
const PAUSE: Duration = Duration::from_millis(10);

/// Before a visitor connects again after an error.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// How long a visitor waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The visitors of one follower. They leave when dropped.
pub(super) struct Visitors {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    answers: AtomicUsize,
    errors: AtomicUsize,
    /// Microseconds of the longest wait for an answer since it was last asked for.
    longest: AtomicUsize,
}

impl Visitors {
    /// So many visitors of this address.
    pub(super) fn start(address: SocketAddr, count: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let visit = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.visit(address))
        };
        let threads = (0..count).map(visit).collect();
        Self { shared, threads }
    }

    /// How many answers they had.
    pub(super) fn answers(&self) -> usize {
        self.shared.answers.load(Ordering::SeqCst)
    }

    /// How many errors they had since the last call.
    pub(super) fn errors(&self) -> usize {
        self.shared.errors.swap(0, Ordering::SeqCst)
    }

    /// The longest wait for an answer since the last call, in milliseconds.
    pub(super) fn longest(&self) -> f64 {
        self.shared.longest.swap(0, Ordering::SeqCst) as f64 / 1_000.0
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn visit(&self, address: SocketAddr) {
        let mut stream = None;
        let mut number = 0_usize;
        while !self.over.load(Ordering::SeqCst) {
            number += 1;
            let began = now();
            let answered = ask(&mut stream, address, number);
            let took = usize::try_from(began.elapsed().as_micros()).unwrap_or(usize::MAX);
            self.longest.fetch_max(took, Ordering::SeqCst);
            if answered.is_ok() {
                self.answers.fetch_add(1, Ordering::SeqCst);
                thread::park_timeout(PAUSE);
            } else {
                self.errors.fetch_add(1, Ordering::SeqCst);
                stream = None;
                thread::park_timeout(AFTER_ERROR);
            }
        }
    }
}

fn ask(stream: &mut Option<TcpStream>, address: SocketAddr, number: usize) -> Result<()> {
    let request = match number % 2 {
        0 => format!("GET /{number} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        _ => format!("POST /{number} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nxy"),
    };
    let connection = match stream {
        Some(connection) => connection,
        None => {
            let connection = TcpStream::connect(address)?;
            connection.set_nodelay(true)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            stream.insert(connection)
        }
    };
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut space = [0; 4 << 10];
    while !answer.ends_with(b"\r\n\r\nok\n") {
        let count = connection.read(&mut space)?;
        ensure!(count > 0, "closed");
        answer.extend_from_slice(&space[..count]);
        ensure!(
            answer.starts_with(&b"HTTP/1.1 200"[..answer.len().min(12)]),
            "not 200"
        );
    }
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    if head.contains("connection: close") {
        *stream = None;
    }
    Ok(())
}
