//! Pass-through: the callbacks of Pingora HttpProxy, in calling order, a few lines each, no decisions.

use crate::exchange::Exchange;
use crate::message::Request;

/// A request on its way through `HttpProxy`, with its facts. The HTTP/1.1 front hands it over as Pingora's connection user context.
#[derive(Debug)]
pub struct Passing {
    /// The request as the guard left it.
    pub request: Request,
    /// Its facts so far; recorded by the `logging` callback.
    pub exchange: Exchange,
}
