//! A demo side: the smallest origin that shows what an edge does.
//!
//! Used by `quickstart` alone. `/page` is fresh for a minute and has a validator, `/who` says which side answered and is never stored,
//! anything else is 404. One thread a connection, a bounded head, no keep-alive: it is a demo, not a server.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// The largest request head that a demo side reads, in bytes.
const HEAD_MAX: usize = 16 << 10;
/// How long a demo side waits for a head.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running demo side. It ends with the process.
pub(super) struct DemoSide {
    address: SocketAddr,
}

impl DemoSide {
    /// Starts a side of this name on a loopback port that the system chooses.
    pub(super) fn start(name: &'static str) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        thread::Builder::new()
            .name(format!("side {name}"))
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    let _ = thread::Builder::new().spawn(move || answer(name, stream));
                }
            })?;
        Ok(Self { address })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn answer(name: &str, mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = read_head(&mut stream)?;
    let target = head.split(' ').nth(1).unwrap_or("/");
    let path = target.split('?').next().unwrap_or("/");
    stream.write_all(response(name, path).as_bytes())
}

fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while head.len() < HEAD_MAX && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => break,
            count => head.extend_from_slice(&piece[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn response(name: &str, path: &str) -> String {
    let (status, caching, body) = match path {
        "/" | "/page" => (
            "200 OK",
            "max-age=60\r\nETag: \"demo-1\"",
            format!("<h1>A page from side {name}</h1>\n"),
        ),
        "/who" => ("200 OK", "no-store", format!("side {name}\n")),
        _ => ("404 Not Found", "max-age=10", "nothing here\n".to_owned()),
    };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: {caching}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}
