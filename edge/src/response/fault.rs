//! Every failure of the story, and the one place that turns it into a status, a `Proxy-Status` (RFC 9209), a log level and a page.

use crate::exchange::Exchange;
use crate::message::{Request, Response};
use crate::origin::master::NoRoute;
use crate::parts::Edge;
use crate::request::guard::Refusal;

/// What went wrong, by whose fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client's.
    Client(ClientFault),
    /// The side's.
    Origin(OriginFault),
    /// The cluster has no live master for us.
    Cluster(NoRoute),
    /// Our own.
    Edge(EdgeFault),
}

/// A client's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFault {
    /// The guard refused the head.
    Refused(Refusal),
    /// Nobody has this name.
    UnknownHost,
    /// The name belongs to another site than the one that TLS was for.
    Misdirected,
    /// The content is larger than the site allows.
    ContentTooLarge,
    /// The client did not send what it announced in time.
    Timeout,
    /// The client left.
    Left,
    /// The method may not be used here.
    MethodNotAllowed,
    /// `only-if-cached` and nothing stored that may be used.
    OnlyIfCached,
    /// The client may not do this.
    Forbidden,
    /// The range lies outside of the content of this length.
    RangeNotSatisfiable(u64),
}

/// A side's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginFault {
    /// No connection.
    ConnectRefused,
    /// No connection in time.
    ConnectTimeout,
    /// TLS to the side failed.
    Tls,
    /// The connection broke before a head came.
    Closed,
    /// No head in time.
    FirstByteTimeout,
    /// The content stopped.
    BodyTimeout,
    /// The content broke off.
    BodyIncomplete,
    /// The answer breaks HTTP; the rule says which.
    Malformed(&'static str),
    /// Its epoch ended while it was answering.
    EpochEnded,
}

/// Our own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeFault {
    /// Too much of something with a limit.
    Overloaded(&'static str),
    /// A bug: a stage was called out of order, or similar.
    Internal(&'static str),
}

/// The response to a fault, with what it leaves in the exchange (error word, log line). `request` is `None` when there was no valid head.
pub fn respond(
    _edge: &Edge,
    _exchange: &mut Exchange,
    _request: Option<&Request>,
    _fault: &Fault,
) -> Response {
    unimplemented!()
}
