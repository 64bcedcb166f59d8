//! A fill: the detached fetch that stores what it may and feeds all its readers.

use http::{HeaderMap, StatusCode};

use crate::control::sites::SiteRuntime;
use crate::message::Request;
use crate::parts::Edge;

/// Invalidates what an answered unsafe or unknown method made untrue (RFC 9111 §4.4): the target URI, and same-origin `Location` and
/// `Content-Location`. Called with every final answer to such a method, before it goes out to the client.
pub async fn invalidate(
    _edge: &Edge,
    _site: &SiteRuntime,
    _request: &Request,
    _status: StatusCode,
    _fields: &HeaderMap,
) {
    unimplemented!()
}
