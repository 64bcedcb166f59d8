//! What we refuse before anything costs: the shape of a request, judged by RFC 9110, 9112 and 9113 alone.
//!
//! Pure. Called by `framework::front` with the bytes of a head ([`head`] finds their end) and of chunked content, and by
//! `framework::http2` with a decoded head. Knows no sites and no sockets. Every refusal names its [`Rule`]; `docs/guard.md` lists them.
//! Invariant: what passes is onward composed anew from the parsed parts ([`compose`]); nothing of the client's spelling of framing, host
//! or connection options survives, and no two readers of the composed head can understand it differently.

pub mod head;
pub mod rules;

mod authority;
mod fields;
mod http1;
mod http2;
mod target;

pub mod chunked;
pub mod compose;

#[cfg(test)]
mod tests;

use http::StatusCode;

pub use chunked::{Chunked, ChunkedDecoder};
pub use compose::compose_http1_head;
pub use http1::parse_http1;
pub use http2::check_http2;
pub use rules::Rule;

use crate::message::Request;

/// A request that passed, and what its connection needs to know of it.
#[derive(Debug)]
pub struct Accepted {
    /// The request.
    pub request: Request,
    /// Whether the client wants to send more requests after this one.
    pub keep_alive: bool,
    /// Bytes of the head, for the access log.
    pub head_bytes: usize,
}

/// A message that is refused. On HTTP/1.1 the connection is closed after the answer: where the next request begins is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the client is told.
    pub status: StatusCode,
    /// The rule that it broke.
    pub rule: Rule,
}

impl From<Rule> for Refusal {
    fn from(rule: Rule) -> Self {
        Self {
            status: rule.status(),
            rule,
        }
    }
}
