//! A scripted origin: its handler writes every byte of an answer itself, and everything that reaches it is kept.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::wait::SOON;

/// A running origin; ends when dropped.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    number: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    bytes: Mutex<Vec<u8>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Counted from 1 over all connections.
    pub(crate) number: usize,
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
}

/// The connection on which a handler answers.
pub(crate) struct Wire {
    socket: TcpStream,
    buffer: Vec<u8>,
    shared: Arc<Shared>,
    content: Framing,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    KeepAlive,
    Close,
    Reset,
}

#[derive(Clone, Copy)]
enum Framing {
    Read,
    Length(usize),
    Chunked,
}

impl Origin {
    /// Starts an origin on a port of the system's choice.
    pub(crate) fn start(
        handler: impl Fn(&Seen, &mut Wire) -> After + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let (accepting, handler) = (Arc::clone(&shared), Arc::new(handler));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, handler) = (Arc::clone(&accepting), Arc::clone(&handler));
                thread::spawn(move || serve(socket, shared, handler.as_ref()));
            }
        });
        Self { address, shared }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    /// How many requests came for this target.
    pub(crate) fn count(&self, target: &str) -> usize {
        let seen = self.shared.seen.lock();
        seen.iter().filter(|seen| seen.target == target).count()
    }

    /// Every byte that came, over all connections.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.shared.bytes.lock().clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, SOON);
    }
}

impl Seen {
    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Wire {
    /// Writes these bytes; false when the other side is gone.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    /// An answer with Content-Length.
    pub(crate) fn answer(&mut self, status: &str, fields: &str, content: &[u8]) -> After {
        let head = format!(
            "HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n",
            content.len()
        );
        self.send(head);
        self.send(content);
        After::KeepAlive
    }

    /// Reads the content of the request.
    pub(crate) fn content(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.content, Framing::Read) {
            Framing::Read => Vec::new(),
            Framing::Length(length) => self.take(length),
            Framing::Chunked => self.chunks(),
        }
    }

    /// Reads `length` bytes, fewer at the end of the connection.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length && self.fill() {}
        let end = length.min(self.buffer.len());
        self.buffer.drain(..end).collect()
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let line = self.line();
            let Ok(size) = usize::from_str_radix(line.trim(), 16) else {
                return content;
            };
            content.extend(self.take(size));
            self.line();
            if size == 0 {
                return content;
            }
        }
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            if !self.fill() {
                return String::new();
            }
        }
    }

    fn fill(&mut self) -> bool {
        let mut space = [0; 16 << 10];
        match self.socket.read(&mut space) {
            Ok(read) if read > 0 => {
                self.buffer.extend_from_slice(&space[..read]);
                self.shared.bytes.lock().extend_from_slice(&space[..read]);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// The next request of the connection.
    fn request(&mut self) -> Option<Seen> {
        let first = self.line();
        let mut words = first.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut fields = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let number = self.shared.number.fetch_add(1, Ordering::Relaxed) + 1;
        let seen = Seen {
            number,
            method,
            target,
            fields,
        };
        self.content = match (
            seen.field("content-length"),
            seen.field("transfer-encoding"),
        ) {
            (_, Some(_)) => Framing::Chunked,
            (Some(length), None) => Framing::Length(length.parse().unwrap_or(0)),
            (None, None) => Framing::Read,
        };
        self.shared.seen.lock().push(seen.clone());
        Some(seen)
    }
}

fn serve(
    socket: TcpStream,
    shared: Arc<Shared>,
    handler: &(impl Fn(&Seen, &mut Wire) -> After + ?Sized),
) {
    socket.set_read_timeout(Some(SOON * 2)).expect("a timeout");
    socket.set_nodelay(true).expect("a socket");
    let mut wire = Wire {
        socket,
        buffer: Vec::new(),
        shared,
        content: Framing::Read,
    };
    while let Some(seen) = wire.request() {
        let after = handler(&seen, &mut wire);
        match after {
            After::KeepAlive => {
                wire.content();
            }
            After::Close => {
                let _ = wire.socket.shutdown(Shutdown::Write);
                return;
            }
            After::Reset => {
                let socket = socket2::SockRef::from(&wire.socket);
                socket.set_linger(Some(Duration::ZERO)).expect("a socket");
                return;
            }
        }
    }
}
