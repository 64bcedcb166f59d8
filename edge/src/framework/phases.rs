//! Pass-through: the callbacks of Pingora HttpProxy, in calling order, a few lines each, no decisions.

use std::sync::Arc;

use crate::exchange::Exchange;
use crate::message::Request;
use crate::parts::Edge;

/// A request on its way through `HttpProxy`, with its facts. The HTTP/1.1 front hands it over as Pingora's connection user context.
#[derive(Debug)]
pub struct Passing {
    /// The request as the guard left it.
    pub request: Request,
    /// Its facts so far; recorded by the `logging` callback.
    pub exchange: Exchange,
}

/// The callbacks of `HttpProxy`. One for the process, shared by all listeners.
#[derive(Debug)]
pub struct Phases {
    edge: Arc<Edge>,
}

impl Phases {
    /// The callbacks of this node.
    pub const fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }
}
