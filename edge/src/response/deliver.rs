//! The response that the client sees: Age, Via, Cache-Status, conditional and range answers.
//!
//! Called by `story` with something to answer from: a stored response, a fill in flight, or an origin's answer for this client alone.
//! Implements RFC 9111 §4 and §5.1 (`Age`), RFC 9110 §7.6.3 (`Via`), §13 and §14, RFC 9211. What was prepared when the response was stored
//! is not touched here: a hit adds three field lines.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CACHE_CONTROL, CONTENT_RANGE, DATE, LOCATION, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jet9_cache::semantics::range::{self, Part, Selected};
use jet9_cache::semantics::request::RequestPolicy;
use jet9_cache::semantics::validation::{self, Precondition};
use jet9_cache::semantics::{freshness, storable};
use jet9_cache::store::Body;
use jet9_cache::{Scheme, StoredResponse, Timestamp};
use jet9_config::site::Https;

use crate::control::sites::SiteRuntime;
use crate::exchange::Exchange;
use crate::message::{Content, Head, Request, Response};
use crate::origin::fetch::OriginAnswer;
use crate::parts::Edge;
use crate::response::fault::{ClientFault, Fault};

/// `Cache-Status` (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Where ACME servers look for challenges (RFC 8555 §8.3): answered in clear text, by the site if it is not ours.
const ACME_CHALLENGES: &[u8] = b"/.well-known/acme-challenge/";

/// A stored response, or one that is being stored.
///
/// # Errors
/// A range outside of the content.
pub fn stored(
    edge: &Edge,
    exchange: &Exchange,
    request: &Request,
    policy: &RequestPolicy,
    response: Arc<StoredResponse>,
    body: Body,
) -> Result<Response, Fault> {
    let added = added(
        edge,
        exchange,
        freshness::current_age(&response.times, edge.clock.now()),
    );
    if validation::precondition(&request.fields, &response) == Precondition::NotModified {
        return Ok(not_modified(&response, added));
    }
    let Some(complete) = length(&body) else {
        return Ok(whole(request, response, added, body));
    };
    match range::select(policy, &request.fields, &response, complete) {
        Selected::Unsatisfiable => Err(Fault::Client(ClientFault::RangeNotSatisfiable(complete))),
        Selected::Part(part) => Ok(partial(&response, added, body, part, complete)),
        // Several parts of what is not in memory: the whole is a lawful answer, too (RFC 9110 §14.2).
        Selected::Whole | Selected::Parts(_) => Ok(whole(request, response, added, body)),
    }
}

/// An origin's answer for this client alone.
pub fn private(
    edge: &Edge,
    exchange: &Exchange,
    request: &Request,
    answer: OriginAnswer,
) -> Response {
    let mut fields = answer.fields;
    take_out_withheld(&mut fields);
    if !fields.contains_key(DATE) {
        add_date(&mut fields, answer.response_time); // RFC 9110 §6.6.1: a recipient with a clock adds it
    }
    add_via(edge, &mut fields);
    add_cache_status(edge, exchange, &mut fields);
    let content = if has_no_content(answer.status) {
        Content::None
    } else if request.method == Method::HEAD {
        Content::HeadOnly(answer.length)
    } else {
        Content::Origin {
            length: answer.length,
            body: answer.body,
        }
    };
    Response {
        head: Head::Composed {
            status: answer.status,
            fields,
        },
        content,
    }
}

/// The redirect to https, for a clear-text request to a site that wants one and has a certificate for the name; 403 where clear text is
/// refused.
///
/// # Errors
/// The site wants https only.
pub fn to_https(
    edge: &Edge,
    exchange: &mut Exchange,
    site: &SiteRuntime,
    request: &Request,
) -> Result<Option<Response>, Fault> {
    let exempt =
        request.path_and_query.starts_with(ACME_CHALLENGES) || *request.path_and_query == *b"*";
    if request.scheme == Scheme::Https || exempt {
        return Ok(None);
    }
    match site.site.https {
        Https::Both => Ok(None),
        Https::Only => Err(Fault::Client(ClientFault::Forbidden)),
        Https::Redirect if !edge.certificates.store().has(request.host.as_str()) => Ok(None),
        Https::Redirect => Ok(redirect(edge, exchange, request)),
    }
}

fn redirect(edge: &Edge, exchange: &Exchange, request: &Request) -> Option<Response> {
    let port = edge
        .https_port
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let target = std::str::from_utf8(&request.path_and_query).ok()?;
    let location =
        HeaderValue::try_from(format!("https://{}{port}{target}", request.host.as_str())).ok()?;
    let mut fields = HeaderMap::with_capacity(6);
    add_date(&mut fields, edge.clock.now());
    fields.insert(LOCATION, location);
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    add_cache_status(edge, exchange, &mut fields);
    // 308 keeps the method; browsers that ask with GET or HEAD get the 301 that everybody knows.
    let reading = matches!(request.method, Method::GET | Method::HEAD);
    let status = if reading {
        StatusCode::MOVED_PERMANENTLY
    } else {
        StatusCode::PERMANENT_REDIRECT
    };
    let content = if request.method == Method::HEAD {
        Content::HeadOnly(Some(0))
    } else {
        Content::Whole(Bytes::new())
    };
    Some(Response {
        head: Head::Composed { status, fields },
        content,
    })
}

fn length(body: &Body) -> Option<u64> {
    match body {
        Body::Whole(bytes) => Some(bytes.len() as u64),
        Body::Stream(reader) => reader.length(),
    }
}

fn whole(
    request: &Request,
    response: Arc<StoredResponse>,
    added: HeaderMap,
    body: Body,
) -> Response {
    let content = if has_no_content(response.status) {
        Content::None
    } else if request.method == Method::HEAD {
        Content::HeadOnly(length(&body))
    } else {
        match body {
            Body::Whole(bytes) => Content::Whole(bytes),
            Body::Stream(reader) => Content::Stored(reader),
        }
    };
    Response {
        head: Head::Stored { response, added },
        content,
    }
}

fn partial(
    response: &StoredResponse,
    added: HeaderMap,
    body: Body,
    part: Part,
    complete: u64,
) -> Response {
    let mut fields = response.fields.clone();
    if let Ok(value) = HeaderValue::try_from(part.content_range(complete).to_string()) {
        fields.insert(CONTENT_RANGE, value);
    }
    append(&mut fields, added);
    let content = match body {
        Body::Whole(bytes) => Content::Whole(slice(&bytes, part)),
        Body::Stream(mut reader) => {
            reader.restrict(part.first(), part.length());
            Content::Stored(reader)
        }
    };
    Response {
        head: Head::Composed {
            status: StatusCode::PARTIAL_CONTENT,
            fields,
        },
        content,
    }
}

fn slice(bytes: &Bytes, part: Part) -> Bytes {
    let position = |position| {
        usize::try_from(position)
            .unwrap_or(usize::MAX)
            .min(bytes.len())
    };
    bytes.slice(position(part.first())..position(part.last().saturating_add(1)))
}

fn not_modified(response: &StoredResponse, added: HeaderMap) -> Response {
    let carried = validation::not_modified_fields(response);
    let mut fields: HeaderMap = carried
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    append(&mut fields, added);
    Response {
        head: Head::Composed {
            status: StatusCode::NOT_MODIFIED,
            fields,
        },
        content: Content::None,
    }
}

/// Adds field lines beside those that are there: `extend` would replace a `Via` that the origin's side of the way has written.
fn append(fields: &mut HeaderMap, added: HeaderMap) {
    let mut last = None;
    for (name, value) in added {
        last = name.or(last);
        if let Some(name) = &last {
            fields.append(name, value);
        }
    }
}

/// What this exchange adds to a stored head.
fn added(edge: &Edge, exchange: &Exchange, age: Duration) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(4);
    fields.insert(AGE, HeaderValue::from(age.as_secs()));
    fields.insert(VIA, edge.via.clone());
    add_cache_status(edge, exchange, &mut fields);
    fields
}

/// Removes what is for the edge alone (its own cache control, purge tags).
pub fn take_out_withheld(fields: &mut HeaderMap) {
    let names: Vec<HeaderName> = fields
        .keys()
        .filter(|name| storable::is_withheld(name))
        .cloned()
        .collect();
    for name in names {
        fields.remove(name);
    }
}

/// Appends this edge to `Via` (RFC 9110 §7.6.3).
pub fn add_via(edge: &Edge, fields: &mut HeaderMap) {
    fields.append(VIA, edge.via.clone());
}

/// Appends what this cache did (RFC 9211 §2).
pub fn add_cache_status(edge: &Edge, exchange: &Exchange, fields: &mut HeaderMap) {
    let Some(status) = exchange.cache else { return };
    if let Ok(value) = HeaderValue::try_from(status.named(&edge.id).to_string()) {
        fields.append(CACHE_STATUS, value);
    }
}

/// Sets `Date` (RFC 9110 §6.6.1).
pub fn add_date(fields: &mut HeaderMap, now: Timestamp) {
    let moment = std::time::UNIX_EPOCH + Duration::from_millis(now.unix_millis());
    if let Ok(value) = HeaderValue::try_from(httpdate::fmt_http_date(moment)) {
        fields.insert(DATE, value);
    }
}

/// Statuses that never have content (RFC 9110 §6.4.1).
pub fn has_no_content(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}
