//! The messages of the story, whatever protocol carries them.
//!
//! A [`Request`] has passed the guard: its parts are valid, its framing is certain, its hop-by-hop fields are gone. A [`Response`] is what
//! the client will get, head and content; the carriers (`framework::front`, `framework::http2`) only write it down.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AGE, HeaderMap, HeaderName, HeaderValue, VIA};
use http::{Method, StatusCode};
use jet9_cache::fill::BodyReader;
use jet9_cache::{Scheme, StoredResponse};

use crate::origin::fetch::OriginBody;
use crate::response::multipart::PartsReader;

/// `Cache-Status` (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A request that the guard let through.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method; unknown ones are valid.
    pub method: Method,
    /// The protocol that the client speaks.
    pub protocol: Protocol,
    /// From the connection, never from the client's words.
    pub scheme: Scheme,
    /// The host of the target URI: lower case, valid, without port and trailing dot.
    pub host: Host,
    /// The port that the client named.
    pub port: Option<u16>,
    /// Path and query as sent, beginning with `/`; or `*` for `OPTIONS *`.
    pub path_and_query: Bytes,
    /// The end-to-end fields: without Host, framing, hop-by-hop fields and those that Connection names.
    pub fields: HeaderMap,
    /// How the content is framed.
    pub content: Framing,
    /// The protocol that the client asks to change to.
    pub upgrade: Option<Upgrade>,
    /// Whether the client waits for `100 (Continue)` before it sends its content.
    pub expects_continue: bool,
}

impl Request {
    /// The path, without the query.
    pub fn path(&self) -> &str {
        let path = self
            .path_and_query
            .split(|&byte| byte == b'?')
            .next()
            .unwrap_or_default();
        std::str::from_utf8(path).unwrap_or_default() // the guard lets ASCII through alone
    }
}

/// A host as the guard leaves it: ASCII, lower case. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(Bytes);

impl Host {
    /// Wraps text that the guard has checked and folded to lower case.
    pub fn from_checked(text: Bytes) -> Self {
        debug_assert!(text.is_ascii() && !text.iter().any(u8::is_ascii_uppercase));
        Self(text)
    }

    /// The host.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The protocol of one exchange with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "http/1.0",
            Self::Http11 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

/// How a request's content is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No content.
    None,
    /// This many bytes, more than zero.
    Length(u64),
    /// Chunked, or of unknown length (HTTP/2).
    Unknown,
}

/// Protocols that a request may upgrade to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// RFC 6455.
    WebSocket,
}

/// What the client gets.
#[derive(Debug)]
pub struct Response {
    /// Status and fields.
    pub head: Head,
    /// The content, or why there is none.
    pub content: Content,
}

/// The head of a response.
#[derive(Debug)]
pub enum Head {
    /// From the store: a prepared head plus what this exchange adds.
    Stored {
        /// The stored response; its `http1_head` is written as it is.
        response: Arc<StoredResponse>,
        /// Field lines that this exchange adds.
        added: Added,
    },
    /// Made for this exchange.
    Composed {
        /// The status code.
        status: StatusCode,
        /// All fields but framing and `Connection`, which are the carrier's. `Date` is there.
        fields: HeaderMap,
    },
}

/// The field lines that one exchange adds to a stored head: all that is made on a hit.
#[derive(Clone, Debug)]
pub struct Added {
    /// `Age` (RFC 9111 §5.1), in seconds.
    pub age: u64,
    /// This node in `Via` (RFC 9110 §7.6.3), beside what the origin's side of the way has written there.
    pub via: HeaderValue,
    /// This cache's member of `Cache-Status` (RFC 9211 §2).
    pub cache_status: Option<HeaderValue>,
}

impl Added {
    /// The lines, in the order of writing.
    pub fn lines(self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let status = self.cache_status.map(|value| (CACHE_STATUS, value));
        let lines = [(AGE, HeaderValue::from(self.age)), (VIA, self.via)];
        lines.into_iter().chain(status)
    }
}

impl Head {
    /// The status code.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Stored { response, .. } => response.status,
            Self::Composed { status, .. } => *status,
        }
    }
}

/// What fields take on the wire of HTTP/1.1. It stands for them over HTTP/2, too, where compression makes less of them.
pub fn field_bytes(fields: &HeaderMap) -> usize {
    const SEPARATORS: usize = ": \r\n".len();
    let lines = fields.iter();
    lines
        .map(|(name, value)| name.as_str().len() + value.len() + SEPARATORS)
        .sum()
}

/// The content of a response. The carrier derives `Content-Length` or chunking from it.
#[derive(Debug)]
pub enum Content {
    /// None, and no length is announced: 204, 304.
    None,
    /// None is sent, but this length is announced where known: the answer to HEAD.
    HeadOnly(Option<u64>),
    /// All of it.
    Whole(Bytes),
    /// From the store or from a fill in flight; its reader knows the length, or not.
    Stored(BodyReader),
    /// Several parts of what is stored, with the framing of `multipart/byteranges`.
    Parts(PartsReader),
    /// Straight from the origin, for this client alone.
    Origin {
        /// The length that the origin announced.
        length: Option<u64>,
        /// The bytes.
        body: OriginBody,
    },
}
