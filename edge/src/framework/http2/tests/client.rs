//! Two clients of a whole node over HTTP/2: one that keeps the rules and tells all that it saw, and one that sends what frames it pleases.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::framework::http2;
use crate::framework::phases::Phases;
use crate::origin::testing::TestNode;
use crate::request::client::Client;

/// How long anything may take that is to happen at once.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// Bytes that a connection holds each way, like the buffers of a socket.
const WIRE_BYTES: usize = 64 << 10;

/// A connection of a well-behaved client. Ends when it is dropped.
pub(super) struct Http2 {
    pub(super) send: SendRequest<Bytes>,
    tasks: [JoinHandle<()>; 2],
}

/// One answer.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) fields: HeaderMap,
    pub(super) interims: Vec<Response<()>>,
    /// Whether the head was all of it.
    pub(super) ended_by_head: bool,
    pub(super) content: Result<String, Option<Reason>>,
}

impl Seen {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A connection to `node` and what serves it.
pub(super) fn connect(node: &TestNode) -> (DuplexStream, JoinHandle<()>) {
    let edge = &node.edge;
    let (near, far) = duplex(WIRE_BYTES);
    let serving = http2::serve(
        Arc::clone(edge),
        Phases::proxy(Arc::clone(edge)),
        Box::new(far),
        Arc::new(Client::edge()),
    );
    (near, tokio::spawn(serving))
}

impl Http2 {
    pub(super) async fn new(node: &TestNode) -> Self {
        Self::with(node, &Builder::new()).await
    }

    pub(super) async fn with(node: &TestNode, options: &Builder) -> Self {
        let (near, serving) = connect(node);
        let (send, connection) = options.handshake(near).await.unwrap();
        let driving = tokio::spawn(async move {
            let _ = connection.await; // what became of it, the streams tell
        });
        Self {
            send,
            tasks: [serving, driving],
        }
    }

    /// Sends a request whole and reads its answer to the end.
    pub(super) async fn ask(&mut self, request: Request<&'static str>) -> Result<Seen, h2::Error> {
        let (parts, content) = request.into_parts();
        let mut send = self.send.clone().ready().await?;
        let request = Request::from_parts(parts, ());
        let (response, mut stream) = send.send_request(request, content.is_empty())?;
        if !content.is_empty() {
            stream.send_data(Bytes::from_static(content.as_bytes()), true)?;
        }
        read(response).await
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Reads an answer to its end.
pub(super) async fn read(response: h2::client::ResponseFuture) -> Result<Seen, h2::Error> {
    let mut response = pin!(response);
    let mut interims = Vec::new();
    let head = timeout(
        SOON,
        poll_fn(|cx| {
            // An error is the answer's to tell.
            while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
                interims.push(interim);
            }
            response.as_mut().poll(cx)
        }),
    );
    let (head, mut body) = head.await.expect("an answer in time")?.into_parts();
    Ok(Seen {
        status: head.status.as_u16(),
        fields: head.headers,
        interims,
        ended_by_head: body.is_end_stream(),
        content: timeout(SOON, content(&mut body))
            .await
            .expect("content in time"),
    })
}

async fn content(body: &mut RecvStream) -> Result<String, Option<Reason>> {
    let mut content = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| error.reason())?;
        body.flow_control().release_capacity(piece.len()).unwrap();
        content.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(content).unwrap())
}

/// Kinds and flags of frames (RFC 9113 §6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// A client that knows no rules.
pub(super) struct Raw {
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
    serving: JoinHandle<()>,
}

impl Raw {
    /// Connects, and says what a client has to say first.
    pub(super) async fn new(node: &TestNode) -> Self {
        let (near, serving) = connect(node);
        let (reader, writer) = tokio::io::split(near);
        let mut raw = Self {
            reader,
            writer,
            serving,
        };
        raw.writer
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        assert!(raw.send(SETTINGS, 0, 0, b"").await);
        raw
    }

    /// Sends a frame; `false` if the connection is over or, for a while, takes nothing more.
    pub(super) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let frame = frame(kind, flags, stream, payload);
        let written = timeout(Duration::from_millis(500), self.writer.write_all(&frame)).await;
        matches!(written, Ok(Ok(())))
    }

    /// Sends a GET, or something with content.
    pub(super) async fn request(&mut self, stream: u32, method: &str, ended: bool) -> bool {
        let flags = END_HEADERS | if ended { END_STREAM } else { 0 };
        self.send(HEADERS, flags, stream, &head(method)).await
    }

    /// Lets the server send as much as it likes.
    pub(super) async fn open_windows(&mut self) {
        let wide = [&[0, 4][..], &0x7fff_ffffu32.to_be_bytes()].concat();
        assert!(self.send(SETTINGS, 0, 0, &wide).await);
        let window = 0x7fff_0000u32.to_be_bytes();
        assert!(self.send(WINDOW_UPDATE, 0, 0, &window).await);
    }

    /// Reads a stream to its end, with a pause after each piece; `then` is called after the first. How much it was, if it ended cleanly.
    pub(super) async fn content(
        &mut self,
        stream: u32,
        pause: Duration,
        then: impl FnOnce(),
    ) -> Option<usize> {
        let (mut length, mut then) = (0, Some(then));
        loop {
            let (head, payload) = next(&mut self.reader).await?;
            if (head.kind, head.stream) != (DATA, stream) {
                continue;
            }
            length += payload.len();
            if head.flags & END_STREAM != 0 {
                return Some(length);
            }
            sleep(pause).await;
            if let Some(then) = then.take() {
                then();
            }
        }
    }

    /// Waits, without reading anything, until the server has done with the connection.
    pub(super) async fn served(mut self) {
        let served = timeout(Duration::from_secs(120), &mut self.serving);
        served.await.expect("an end in time").unwrap();
    }

    /// Waits until the server ends the connection; the reason of its last GOAWAY.
    pub(super) async fn end(mut self) -> Option<Reason> {
        let mut said = None;
        let reading = async {
            while let Some((head, payload)) = next(&mut self.reader).await {
                if head.kind == GOAWAY {
                    said = Some(Reason::from((&payload[4..8]).get_u32()));
                }
            }
            (&mut self.serving).await.unwrap();
        };
        timeout(SOON, reading).await.expect("an end in time");
        said
    }
}

struct FrameHead {
    kind: u8,
    flags: u8,
    stream: u32,
}

async fn next(reader: &mut ReadHalf<DuplexStream>) -> Option<(FrameHead, Vec<u8>)> {
    let mut bytes = [0; 9];
    reader.read_exact(&mut bytes).await.ok()?;
    let mut bytes = &bytes[..];
    let mut payload = vec![0; usize::try_from(bytes.get_uint(3)).unwrap()];
    let head = FrameHead {
        kind: bytes.get_u8(),
        flags: bytes.get_u8(),
        stream: bytes.get_u32(),
    };
    reader.read_exact(&mut payload).await.ok()?;
    Some((head, payload))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> BytesMut {
    let mut frame = BytesMut::with_capacity(9 + payload.len());
    frame.put_uint(payload.len() as u64, 3);
    frame.put_slice(&[kind, flags]);
    frame.put_u32(stream);
    frame.put_slice(payload);
    frame
}

/// A request for `/`, in HPACK that indexes nothing.
pub(super) fn head(method: &str) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in [
        (":method", method),
        (":scheme", "http"),
        (":authority", "example.test"),
        (":path", "/"),
    ] {
        literal(&mut head, name, value);
    }
    head
}

/// A field of less than 127 bytes a string (RFC 7541 §6.2.2).
pub(super) fn literal(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    for text in [name, value] {
        out.push(u8::try_from(text.len()).unwrap());
        out.extend_from_slice(text.as_bytes());
    }
}
