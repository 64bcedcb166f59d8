//! Every failure of the story, and the one place that turns it into a status, a `Proxy-Status` (RFC 9209), a log level and a page.
//!
//! Called by `story` and by the carriers. A fault is logged here, once. The matches have no wildcard, so that a new fault cannot be
//! forgotten. What a visitor sees says nothing about addresses, versions or what is behind the edge.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jet9_cache::Reason;
use log::{Level, log};

use crate::exchange::Exchange;
use crate::message::{Content, Head, Request, Response};
use crate::origin::guard::Refusal;
use crate::origin::master::NoRoute;
use crate::parts::Edge;
use crate::request::guard;
use crate::response::deliver;

/// `Proxy-Status` (RFC 9209).
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

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
    Refused(guard::Refusal),
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
    /// Its guard refused the request: the side is at another epoch. Nothing was processed.
    Refused(Refusal),
}

/// Our own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeFault {
    /// Too much of something with a limit.
    Overloaded(&'static str),
    /// A bug: a stage was called out of order, or similar.
    Internal(&'static str),
}

/// How a fault shows.
struct Showing {
    status: StatusCode,
    /// The error type of RFC 9209 §2.3.
    proxy_error: Option<&'static str>,
    /// The word in the access log.
    word: &'static str,
    /// Seconds after which asking again makes sense.
    retry_after: Option<u32>,
    level: Level,
}

/// The response to a fault, with what it leaves in the exchange (error word, log line). `request` is `None` when there was no valid head.
pub fn respond(
    edge: &Edge,
    exchange: &mut Exchange,
    request: Option<&Request>,
    fault: &Fault,
) -> Response {
    let showing = show(fault);
    exchange.error = Some(showing.word);
    exchange.because(reason(fault));
    log!(
        showing.level,
        "{} {}{}: {}: {fault:?}",
        exchange.request_id,
        exchange.asked.host,
        exchange.asked.path,
        showing.word
    );
    let mut fields = head_fields(edge, &showing, fault);
    deliver::add_cache_status(edge, exchange, &mut fields);
    let page = page(exchange, showing.status);
    let content = match request {
        Some(request) if request.method == Method::HEAD => {
            Content::HeadOnly(Some(page.len() as u64))
        }
        _ => Content::Whole(page),
    };
    Response {
        head: Head::Composed {
            status: showing.status,
            fields,
        },
        content,
    }
}

/// The status of the response to a fault.
pub(crate) fn status(fault: &Fault) -> StatusCode {
    show(fault).status
}

/// Why the request could not be forwarded, where that is what happened.
pub(crate) fn reason(fault: &Fault) -> Option<Reason> {
    match fault {
        Fault::Cluster(NoRoute::Held) => Some(Reason::Hold),
        Fault::Cluster(NoRoute::Spared) => Some(Reason::Breaker),
        Fault::Cluster(_)
        | Fault::Origin(
            OriginFault::ConnectRefused
            | OriginFault::ConnectTimeout
            | OriginFault::Tls
            | OriginFault::Refused(_),
        ) => Some(Reason::OriginDown),
        Fault::Client(_) | Fault::Origin(_) | Fault::Edge(_) => None,
    }
}

fn head_fields(edge: &Edge, showing: &Showing, fault: &Fault) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(10);
    deliver::add_date(&mut fields, edge.clock.now());
    deliver::add_via(edge, &mut fields);
    fields.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = showing.retry_after {
        fields.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(error) = showing.proxy_error
        && let Ok(value) = HeaderValue::try_from(format!("{}; error={error}", edge.id))
    {
        fields.insert(PROXY_STATUS, value);
    }
    if let Fault::Client(ClientFault::RangeNotSatisfiable(length)) = fault
        && let Ok(value) = HeaderValue::try_from(format!("bytes */{length}"))
    {
        fields.insert(http::header::CONTENT_RANGE, value);
    }
    fields
}

/// The word of a fault in the access log, for one that no response can tell any more.
pub fn word(fault: &Fault) -> &'static str {
    show(fault).word
}

fn show(fault: &Fault) -> Showing {
    match fault {
        Fault::Client(fault) => show_client(fault),
        Fault::Origin(fault) => show_origin(*fault),
        Fault::Cluster(why) => show_cluster(*why),
        Fault::Edge(fault) => show_edge(*fault),
    }
}

fn show_client(fault: &ClientFault) -> Showing {
    const REFUSED: Option<&str> = Some("http_request_error");
    const DENIED: Option<&str> = Some("http_request_denied");
    let (status, proxy_error, word) = match fault {
        ClientFault::Refused(refusal) => (refusal.status, REFUSED, "refused"),
        ClientFault::UnknownHost => {
            let error = Some("destination_not_found");
            (StatusCode::NOT_FOUND, error, "unknown-host")
        }
        ClientFault::Misdirected => (StatusCode::MISDIRECTED_REQUEST, REFUSED, "misdirected"),
        ClientFault::ContentTooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, REFUSED, "content-too-large")
        }
        ClientFault::Timeout => (StatusCode::REQUEST_TIMEOUT, REFUSED, "client-timeout"),
        ClientFault::Left => (StatusCode::BAD_REQUEST, REFUSED, "client-left"),
        ClientFault::MethodNotAllowed => (
            StatusCode::METHOD_NOT_ALLOWED,
            REFUSED,
            "method-not-allowed",
        ),
        // Nothing went wrong: the client asked not to ask (RFC 9111 §5.2.1.7).
        ClientFault::OnlyIfCached => (StatusCode::GATEWAY_TIMEOUT, None, "only-if-cached"),
        ClientFault::Forbidden => (StatusCode::FORBIDDEN, DENIED, "forbidden"),
        ClientFault::RangeNotSatisfiable(_) => {
            (StatusCode::RANGE_NOT_SATISFIABLE, REFUSED, "range")
        }
    };
    Showing {
        status,
        proxy_error,
        word,
        retry_after: None,
        level: Level::Debug,
    }
}

fn show_origin(fault: OriginFault) -> Showing {
    let (status, error, word) = match fault {
        OriginFault::ConnectRefused => (
            StatusCode::BAD_GATEWAY,
            "connection_refused",
            "connect-refused",
        ),
        OriginFault::ConnectTimeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "connection_timeout",
            "connect-timeout",
        ),
        OriginFault::Tls => (StatusCode::BAD_GATEWAY, "tls_protocol_error", "origin-tls"),
        OriginFault::Closed => (
            StatusCode::BAD_GATEWAY,
            "connection_terminated",
            "origin-closed",
        ),
        OriginFault::FirstByteTimeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "http_response_timeout",
            "first-byte-timeout",
        ),
        OriginFault::BodyTimeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "connection_read_timeout",
            "body-timeout",
        ),
        OriginFault::BodyIncomplete => (
            StatusCode::BAD_GATEWAY,
            "http_response_incomplete",
            "body-incomplete",
        ),
        OriginFault::Malformed(_) => (
            StatusCode::BAD_GATEWAY,
            "http_protocol_error",
            "origin-malformed",
        ),
        OriginFault::EpochEnded => (
            StatusCode::BAD_GATEWAY,
            "connection_terminated",
            "epoch-ended",
        ),
        OriginFault::Refused(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "destination_unavailable",
            "side-refused",
        ),
    };
    Showing {
        status,
        proxy_error: Some(error),
        word,
        retry_after: matches!(fault, OriginFault::Refused(_)).then_some(1),
        level: Level::Warn,
    }
}

fn show_cluster(why: NoRoute) -> Showing {
    let (word, retry_after) = match why {
        NoRoute::Held => ("held", 1),
        NoRoute::Spared => ("breaker", 5),
        NoRoute::Doubtful(doubt) => (doubt.as_str(), 5),
        NoRoute::Down => ("cluster-down", 30),
        NoRoute::Drained => ("cluster-drained", 60),
    };
    Showing {
        status: StatusCode::SERVICE_UNAVAILABLE,
        proxy_error: Some("destination_unavailable"),
        word,
        retry_after: Some(retry_after),
        // That the breaker opened is told once, by whoever it was.
        level: if why == NoRoute::Spared {
            Level::Debug
        } else {
            Level::Warn
        },
    }
}

fn show_edge(fault: EdgeFault) -> Showing {
    match fault {
        EdgeFault::Overloaded(_) => Showing {
            status: StatusCode::SERVICE_UNAVAILABLE,
            proxy_error: Some("connection_limit_reached"),
            word: "overloaded",
            retry_after: Some(1),
            level: Level::Warn,
        },
        EdgeFault::Internal(_) => Showing {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            proxy_error: Some("proxy_internal_error"),
            word: "internal",
            retry_after: None,
            level: Level::Error,
        },
    }
}

/// The site's stub for what a visitor may wait out, else a page that only names the status.
fn page(exchange: &Exchange, status: StatusCode) -> Bytes {
    let stub = exchange
        .site
        .as_ref()
        .and_then(|runtime| runtime.site.stub.as_ref());
    match stub {
        Some(stub) if status == StatusCode::SERVICE_UNAVAILABLE => Bytes::from(stub.clone()),
        _ => plain_page(status),
    }
}

fn plain_page(status: StatusCode) -> Bytes {
    let (code, reason) = (
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error"),
    );
    let hint = if status.is_server_error() {
        "<p>Please try again in a moment.</p>"
    } else {
        ""
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{code} {reason}</title></head>\n\
         <body><h1>{code} {reason}</h1>{hint}</body></html>\n"
    )
    .into()
}
