//! One fetch from the live master over Pingora's connectors, for fills and for clients of uncacheable answers.
//!
//! Called by `response::store`. Asks `master` for the route, `forward` for the head, gives back what `receive` found trustworthy.
//! Knows nothing of storing.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jet9_cache::Timestamp;
use jet9_cluster::Epoch;
use jet9_config::{ClusterId, Side};

use crate::response::fault::Fault;

/// The way to the sides: connectors and pools.
#[derive(Debug)]
pub struct Origins {}

/// The answer of a side: a final head that `receive` let through, and the content behind it.
#[derive(Debug)]
pub struct OriginAnswer {
    /// The status code, 200 to 999.
    pub status: StatusCode,
    /// The end-to-end fields: hop-by-hop fields and those that Connection names are gone; `Content-Length` is gone too (see `length`).
    pub fields: HeaderMap,
    /// The announced length, where there is one.
    pub length: Option<u64>,
    /// The content; ends at once for HEAD, 204 and 304.
    pub body: OriginBody,
    /// When the request was sent.
    pub request_time: Timestamp,
    /// When the head arrived.
    pub response_time: Timestamp,
    /// Where it came from.
    pub cluster: ClusterId,
    /// The side that answered.
    pub side: Side,
    /// The epoch under which it was asked.
    pub epoch: Epoch,
}

/// The content of an origin's answer, read piece by piece. Dropping it before its end closes the connection.
#[derive(Debug)]
pub struct OriginBody {}

impl OriginBody {
    /// The next piece; `None` at the clean end.
    ///
    /// # Errors
    /// When the origin broke off, sent less than announced, or was too slow (`limits.client_idle` does not apply; `site.first_byte_timeout` per piece).
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        unimplemented!()
    }
}

/// Fetches: `GET` or `HEAD` without content, for a request (or for nobody, in the background).
///
/// `conditional` are validators to add (RFC 9111 §4.3.1); the client's own conditional and range fields are left out when `for_storing`.
/// `on_sent` is called right before the first byte goes to the side, once per attempt. Retries as the site allows, on the live master only.
///
/// # Errors
/// The last attempt's fault.
pub async fn fetch(
    _edge: &crate::parts::Edge,
    _exchange: &mut crate::exchange::Exchange,
    _request: &crate::message::Request,
    _site: &crate::control::sites::SiteRuntime,
    _purpose: Purpose<'_>,
) -> Result<OriginAnswer, Fault> {
    unimplemented!()
}

/// What a fetch is for.
pub struct Purpose<'a> {
    /// Validators of the stored response that is revalidated.
    pub conditional: &'a HeaderMap,
    /// Whether the answer may be stored for others: then GET is sent for HEAD, and the client's conditional and range fields stay behind.
    pub for_storing: bool,
    /// Told right before the first byte of each attempt.
    pub sent: &'a mut (dyn FnMut() + Send),
}
