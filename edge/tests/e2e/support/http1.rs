//! An HTTP/1.1 client that sends the bytes it is told and reads answers strictly: what is not exactly framed is reported as broken.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, StreamOwned};

use super::tls;
use super::wait::SOON;

/// A client's connection.
pub(crate) struct Client {
    wire: Wire,
    buffer: Vec<u8>,
    rest: Rest,
}

enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
}

/// What is still to come of the content that is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    UntilClose,
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    /// The interim answers (1xx) before it.
    pub(crate) interim: Vec<Self>,
}

/// A whole answer.
#[derive(Clone)]
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) content: Vec<u8>,
}

/// Why there is no whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The connection was closed where an answer could begin.
    Closed,
    /// It was closed or reset within an answer.
    Cut,
    /// Nothing came for too long.
    Silent,
    /// What came is not HTTP.
    Malformed(String),
}

impl Client {
    /// Connects in clear text.
    pub(crate) fn clear(address: SocketAddr) -> Self {
        Self::over(Wire::Clear(connect(address)))
    }

    /// Connects in clear text from this address of the machine's own.
    pub(crate) fn clear_from(source: IpAddr, address: SocketAddr) -> Self {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.expect("a socket");
        let source = SocketAddr::new(source, 0);
        socket.bind(&source.into()).expect("an address of ours");
        socket.connect(&address.into()).expect("a connection");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        Self::over(Wire::Clear(stream))
    }

    /// As [`Client::clear`], where it is expected that nobody may listen, or that nothing comes for this long.
    pub(crate) fn try_impatient(address: SocketAddr, wait: Duration) -> std::io::Result<Self> {
        let socket = try_connect(address)?;
        socket.set_read_timeout(Some(wait))?;
        Ok(Self::over(Wire::Clear(socket)))
    }

    /// Connects over TLS, trusting `roots`, asking for `name`.
    pub(crate) fn tls(address: SocketAddr, roots: &[CertificateDer<'static>], name: &str) -> Self {
        Self::tls_for(address, roots, name, "http/1.1")
    }

    /// As [`Client::tls`], agreeing on another protocol.
    pub(crate) fn tls_for(
        address: SocketAddr,
        roots: &[CertificateDer<'static>],
        name: &str,
        protocol: &str,
    ) -> Self {
        let stream = tls::stream(roots, name, protocol, connect(address));
        Self::over(Wire::Tls(Box::new(stream)))
    }

    /// Connects to a Unix socket.
    pub(crate) fn unix(path: &Path) -> Self {
        let socket =
            UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        socket.set_read_timeout(Some(SOON)).expect("a timeout");
        Self::over(Wire::Unix(socket))
    }

    const fn over(wire: Wire) -> Self {
        Self {
            wire,
            buffer: Vec::new(),
            rest: Rest::Nothing,
        }
    }

    /// Sends these bytes. A connection that is closed meanwhile is no failure: the answer tells.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.wire.write_all(bytes.as_ref());
        let _ = sent.and_then(|()| self.wire.flush());
    }

    /// Sends these bytes one by one, each in a packet (and a TLS record) of its own.
    pub(crate) fn send_byte_by_byte(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish_sending(&mut self) {
        self.wire.finish_sending();
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        let method = method_of(request.as_ref());
        self.send(request.as_ref());
        self.answer(&method)
            .unwrap_or_else(|broken| panic!("{broken:?} instead of an answer to {method}"))
    }

    /// Reads the answer to a request of this method.
    pub(crate) fn answer(&mut self, method: &str) -> Result<Response, Broken> {
        let head = self.head(method)?;
        let mut content = Vec::new();
        while self.more(&mut content)? {}
        Ok(Response { head, content })
    }

    /// Reads the head of the answer to a request of this method, past interim answers.
    pub(crate) fn head(&mut self, method: &str) -> Result<Head, Broken> {
        let mut interim = Vec::new();
        loop {
            let mut head = self.next_head(method)?;
            if head.is_interim() {
                interim.push(head);
                continue;
            }
            head.interim = interim;
            return Ok(head);
        }
    }

    /// Reads the next head of the answer to a request of this method, interim or final.
    pub(crate) fn next_head(&mut self, method: &str) -> Result<Head, Broken> {
        let head = self.one_head()?;
        if !head.is_interim() {
            self.rest = rest_of(&head, method)?;
        }
        Ok(head)
    }

    /// Reads the head of an interim answer, which must come before the final one.
    pub(crate) fn interim(&mut self) -> Result<Head, Broken> {
        let head = self.one_head()?;
        check((102..200).contains(&head.status), || {
            format!("{} instead of an interim answer", head.status)
        })?;
        Ok(head)
    }

    /// Reads more of the content; false at its end.
    pub(crate) fn more(&mut self, content: &mut Vec<u8>) -> Result<bool, Broken> {
        match self.rest {
            Rest::Nothing => Ok(false),
            Rest::Length(0) => {
                self.rest = Rest::Nothing;
                Ok(false)
            }
            Rest::Length(left) => {
                let taken = self.take(left, content)?;
                self.rest = Rest::Length(left - taken);
                Ok(true)
            }
            Rest::Chunk(0) => {
                let end = self.line()?;
                check(end.is_empty(), || format!("after a chunk: {end:?}"))?;
                self.rest = Rest::ChunkSize;
                Ok(true)
            }
            Rest::Chunk(left) => {
                let taken = self.take(left, content)?;
                self.rest = Rest::Chunk(left - taken);
                Ok(true)
            }
            Rest::ChunkSize => self.chunk_size(),
            Rest::UntilClose => {
                let ended = self.buffer.is_empty() && self.fill()? == 0;
                content.append(&mut self.buffer);
                Ok(!ended)
            }
        }
    }

    /// Whether the other side closed, with nothing left to read. Waits for one or the other.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && matches!(self.fill(), Ok(0) | Err(Broken::Cut))
    }

    /// Reads `length` bytes that are no HTTP.
    pub(crate) fn raw(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let left = (length - bytes.len()) as u64;
            if let Err(broken) = self.take(left, &mut bytes) {
                panic!("{broken:?} after {:?}", String::from_utf8_lossy(&bytes));
            }
        }
        bytes
    }

    /// Reads and forgets what comes, until the other side closes.
    pub(crate) fn read_to_the_end(&mut self) {
        while matches!(self.fill(), Ok(read) if read > 0) {
            self.buffer.clear();
        }
    }

    fn chunk_size(&mut self) -> Result<bool, Broken> {
        let line = self.line()?;
        let size = u64::from_str_radix(&line, 16)
            .map_err(|_| Broken::Malformed(format!("chunk size {line:?}")))?;
        if size > 0 {
            self.rest = Rest::Chunk(size);
            return Ok(true);
        }
        while !self.line()?.is_empty() {}
        self.rest = Rest::Nothing;
        Ok(false)
    }

    fn one_head(&mut self) -> Result<Head, Broken> {
        if self.buffer.is_empty() && self.fill()? == 0 {
            return Err(Broken::Closed);
        }
        let status_line = self.line()?;
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| Broken::Malformed(format!("status line {status_line:?}")))?;
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| Broken::Malformed(format!("field {line:?}")))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Head {
            status,
            fields,
            interim: Vec::new(),
        })
    }

    fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = line
                    .strip_suffix(b"\r\n")
                    .ok_or_else(|| Broken::Malformed("a bare line feed".to_owned()))?;
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            if self.fill()? == 0 {
                return Err(Broken::Cut);
            }
        }
    }

    fn take(&mut self, most: u64, content: &mut Vec<u8>) -> Result<u64, Broken> {
        if self.buffer.is_empty() && self.fill()? == 0 {
            return Err(Broken::Cut);
        }
        let taken = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .min(self.buffer.len());
        content.extend(self.buffer.drain(..taken));
        Ok(taken as u64)
    }

    /// Reads what is there; 0 at an orderly end.
    fn fill(&mut self) -> Result<usize, Broken> {
        let mut space = [0; 32 << 10];
        loop {
            match self.wire.read(&mut space) {
                Ok(read) => {
                    self.buffer.extend_from_slice(&space[..read]);
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(Broken::Silent);
                }
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    return Err(Broken::Malformed(error.to_string()));
                }
                Err(_) => return Err(Broken::Cut),
            }
        }
    }
}

impl Head {
    /// Whether a final answer comes after it.
    pub(crate) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// What the edge did: its member of `Cache-Status`, the last one.
    pub(crate) fn cache_status(&self) -> &str {
        let mut values = self
            .fields
            .iter()
            .filter(|(name, _)| name == "cache-status");
        values.next_back().map_or("", |(_, value)| {
            value.rsplit(',').next().unwrap_or_default().trim()
        })
    }

    /// Whether the edge answered from the store.
    pub(crate) fn is_hit(&self) -> bool {
        self.says("hit")
    }

    /// Whether it answered without a fetch for this request: from the store, or from a fetch that another began and that may not have been
    /// put away yet.
    pub(crate) fn is_shared(&self) -> bool {
        self.says("hit") || self.says("collapsed")
    }

    fn says(&self, word: &str) -> bool {
        let mut words = self.cache_status().split(';');
        words.any(|said| said.trim() == word)
    }
}

impl std::ops::Deref for Response {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}

impl Response {
    /// The content as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let shown: String = text.chars().take(200).collect();
        write!(f, "{:?}, {} bytes: {shown:?}", self.head, text.len())
    }
}

impl Wire {
    fn finish_sending(&mut self) {
        let _ = match self {
            Self::Clear(socket) => socket.shutdown(Shutdown::Write),
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Clear(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
            Self::Unix(socket) => socket.flush(),
        }
    }
}

/// A `GET` without anything special.
pub(crate) fn get(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn connect(address: SocketAddr) -> TcpStream {
    try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
}

fn try_connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, SOON)?;
    socket.set_read_timeout(Some(SOON))?;
    socket.set_write_timeout(Some(SOON))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn method_of(request: &[u8]) -> String {
    let end = request.iter().position(|&byte| byte == b' ');
    String::from_utf8_lossy(&request[..end.unwrap_or(0)]).into_owned()
}

/// RFC 9112 §6.3, and stricter: an answer with two framings is broken.
fn rest_of(head: &Head, method: &str) -> Result<Rest, Broken> {
    let all = |name: &str| -> Vec<&str> {
        let named = head.fields.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.as_str()).collect()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    check(lengths.len() + codings.len() <= 1, || {
        format!("framed by {lengths:?} and {codings:?}")
    })?;
    if method == "HEAD" || matches!(head.status, 101 | 204 | 304) {
        return Ok(Rest::Nothing);
    }
    match (lengths.first(), codings.first()) {
        (Some(length), _) => length
            .parse()
            .map(Rest::Length)
            .map_err(|_| Broken::Malformed(format!("length {length:?}"))),
        (None, Some(&"chunked")) => Ok(Rest::ChunkSize),
        (None, Some(coding)) => Err(Broken::Malformed(format!("coding {coding:?}"))),
        (None, None) => Ok(Rest::UntilClose),
    }
}

fn check(holds: bool, otherwise: impl Fn() -> String) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken::Malformed(otherwise()))
    }
}
