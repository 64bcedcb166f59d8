//! What we refuse before anything costs: the shape of a request, judged by RFC 9110 and 9112 alone.
//!
//! Pure. Called by `framework::front` with the bytes of a head and by `framework::http2` with a decoded one. Whatever passes is onward
//! composed anew from the parsed parts; nothing of the client's spelling of framing survives.

use http::StatusCode;

/// A head that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the client is told.
    pub status: StatusCode,
    /// The rule that it broke, in words for the log.
    pub rule: &'static str,
}
