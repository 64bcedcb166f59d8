//! The origin of a story: keeps every request until the story says what becomes of it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};

use http::StatusCode;

use super::story::Message;
use super::support::origin::{After, Origin, Seen};
use super::support::wait::SOON;

/// Takes requests; ends when dropped.
pub(crate) struct Script {
    origin: Origin,
    arriving: Receiver<Pending>,
    arrived: VecDeque<Pending>,
}

/// A request that waits for its answer. Dropped without one, its connection is reset.
pub(crate) struct Pending {
    pub(crate) seen: Seen,
    pub(crate) content: Vec<u8>,
    acts: Sender<Act>,
    /// Content that was announced and not sent yet.
    left: usize,
}

enum Act {
    Send(Vec<u8>),
    End(After),
}

impl Script {
    pub(crate) fn start() -> Self {
        let (arrive, arriving) = mpsc::channel();
        let origin = Origin::start(move |seen, wire| {
            let (acts, to_do) = mpsc::channel();
            let pending = Pending {
                seen: seen.clone(),
                content: wire.content(),
                acts,
                left: 0,
            };
            // Where nobody listens any more, the story is over.
            let _ = arrive.send(pending);
            for act in to_do {
                match act {
                    Act::Send(bytes) => {
                        wire.send(bytes);
                    }
                    Act::End(after) => return after,
                }
            }
            After::Reset
        });
        Self {
            origin,
            arriving,
            arrived: VecDeque::new(),
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.origin.address
    }

    /// The next request; `None` if none comes soon.
    pub(crate) fn next(&mut self) -> Option<Pending> {
        let first = self.arrived.pop_front();
        first.or_else(|| self.arriving.recv_timeout(SOON).ok())
    }

    /// A request that came and was not taken.
    pub(crate) fn untold(&mut self) -> Option<&Seen> {
        self.arrived.extend(self.arriving.try_iter());
        self.arrived.front().map(|pending| &pending.seen)
    }
}

impl Pending {
    /// Answers; `fields` are those of the message, in full. Gives it back where more is to come.
    pub(crate) fn answer(mut self, status: u16, message: &Message, fields: &str) -> Option<Self> {
        let mut head = head(status, fields);
        if status < 200 {
            self.act(Act::Send(head.into_bytes()));
            return Some(self);
        }
        let chunked = message
            .value("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let has_content = self.seen.method != "HEAD" && !matches!(status, 204 | 304);
        if !chunked && has_content && !message.names("content-length") {
            write!(head, "Content-Length: {}\r\n\r\n", message.content.len()).expect("memory");
        } else {
            head.push_str("\r\n");
        }
        let mut bytes = head.into_bytes();
        if chunked {
            bytes.extend(chunk(&message.content));
        } else {
            bytes.extend(&message.content);
        }
        self.act(Act::Send(bytes));
        if has_content && !chunked {
            self.left = announced(message).saturating_sub(message.content.len());
        }
        self.end_or_wait()
    }

    /// Sends more of the content. Gives itself back where more is to come.
    pub(crate) fn add(mut self, content: &[u8]) -> Option<Self> {
        self.act(Act::Send(content.to_owned()));
        self.left = self.left.saturating_sub(content.len());
        self.end_or_wait()
    }

    /// Closes the connection.
    pub(crate) fn close(self) {
        self.act(Act::End(After::Close));
    }

    fn end_or_wait(self) -> Option<Self> {
        if self.left > 0 {
            return Some(self);
        }
        self.act(Act::End(After::KeepAlive));
        None
    }

    fn act(&self, act: Act) {
        // A connection that is gone is noticed by the edge, or does not matter.
        let _ = self.acts.send(act);
    }
}

/// The length of the content that the fields announce.
fn announced(message: &Message) -> usize {
    match message.value("content-length") {
        Some(length) => length.parse().unwrap_or(0),
        // The story forbids it: the content ends with the connection.
        None if message.names("content-length") => usize::MAX,
        None => 0,
    }
}

/// The head without the empty line, where content may follow.
fn head(status: u16, fields: &str) -> String {
    let reason = StatusCode::from_u16(status).ok();
    let reason = reason.and_then(|status| status.canonical_reason());
    let end = if status < 200 { "\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status} {}\r\n{fields}{end}",
        reason.unwrap_or("-")
    )
}

/// The whole content in one chunk.
fn chunk(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !content.is_empty() {
        bytes.extend(format!("{:x}\r\n", content.len()).into_bytes());
        bytes.extend(content);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}
