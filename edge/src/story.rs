//! The story of a request, on one page.
//!
//! Called once per request by the carriers (`framework::front` for HTTP/1.1, `framework::http2`), with a request that passed the guard.
//! Branches here, works below: each line is a stage of its own.

use std::sync::Arc;

use crate::exchange::Exchange;
use crate::message::{Request, Response};
use crate::parts::Edge;
use crate::request::guard::Refusal;

/// What the carrier has to do.
#[derive(Debug)]
pub enum Answer {
    /// Write this response.
    Respond(Response),
    /// Hand the request to Pingora's `HttpProxy`: uploads, upgrades, unsafe methods, uncacheable requests. A live master was there when
    /// this was said; the hold is over.
    PassThrough,
}

/// Answers a request, or says that it is to be passed through. Never fails: every fault has its response.
///
/// May wait long (for the origin, another request's fetch, a live master): the carrier races it with the client's leaving and drops it then.
pub async fn answer(_edge: &Arc<Edge>, _exchange: &mut Exchange, _request: &Request) -> Answer {
    unimplemented!()
}

/// The response to a head that the guard refused. The carrier closes the connection after it.
pub fn refuse(_edge: &Edge, _exchange: &mut Exchange, _refusal: &Refusal) -> Response {
    unimplemented!()
}
