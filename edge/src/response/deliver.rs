//! The response that the client sees: Age, Via, Cache-Status, conditional and range answers.
//!
//! Called by `story` with something to answer from: a stored response, a fill in flight, or an origin's answer for this client alone.
//! Implements RFC 9111 §4 and §5.1 (`Age`), RFC 9110 §7.6.3 (`Via`), §13 and §14, RFC 9211. What was prepared when the response was stored
//! is not touched here: a hit adds three field lines.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, DATE, LOCATION, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jet9_cache::semantics::range::multipart::Multipart;
use jet9_cache::semantics::range::{self, Part, Selected};
use jet9_cache::semantics::request::{ReadMethod, RequestPolicy};
use jet9_cache::semantics::validation::{self, Precondition};
use jet9_cache::semantics::{freshness, storable};
use jet9_cache::store::Body;
use jet9_cache::{Scheme, StoredResponse, Timestamp};
use jet9_config::site::Https;

use crate::control::sites::SiteRuntime;
use crate::exchange::Exchange;
use crate::message::{Added, CACHE_STATUS, Content, Head, Request, Response};
use crate::origin::fetch::OriginAnswer;
use crate::parts::Edge;
use crate::response::fault::{ClientFault, Fault};
use crate::response::multipart::{self, PartsReader};

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
    let age = freshness::current_age(&response.times, edge.clock.now());
    let added = added(edge, exchange, age);
    if validation::precondition(&request.fields, &response) == Precondition::NotModified {
        let carried = validation::not_modified_fields(&response);
        return Ok(not_modified(with(carried, added)));
    }
    let Some(complete) = length(&body) else {
        return Ok(whole(request, response, added, body));
    };
    match range::select(policy, &request.fields, &response, complete) {
        Selected::Unsatisfiable => Err(Fault::Client(ClientFault::RangeNotSatisfiable(complete))),
        Selected::Part(part) => Ok(partial(request, &response, added, body, part, complete)),
        Selected::Parts(parts) if can_be_read_in_order(&body, &parts) => {
            let framing = Multipart {
                boundary: boundary(edge, exchange),
                content_type: response.fields.get(CONTENT_TYPE).cloned(),
                complete,
            };
            let parts = PartsReader::new(body, parts, framing);
            Ok(several(request, &response, added, parts))
        }
        // The whole is a lawful answer, too (RFC 9110 §14.2).
        Selected::Whole | Selected::Parts(_) => Ok(whole(request, response, added, body)),
    }
}

/// How many bytes are still to come into a fill of this length, of which so many have arrived, before the first one that the request wants.
pub fn awaited(
    request: &Request,
    policy: &RequestPolicy,
    response: &StoredResponse,
    length: Option<u64>,
    arrived: u64,
) -> u64 {
    let Some(complete) = length else {
        return 0;
    };
    let selected = range::select(policy, &request.fields, response, complete);
    selected.first().saturating_sub(arrived)
}

/// Whether the origin offers ranges of an answer that was fetched whole, for a request that wants one (RFC 9110 §14.3).
pub fn offers_range(policy: &RequestPolicy, status: StatusCode, fields: &HeaderMap) -> bool {
    let accepted = fields.get(ACCEPT_RANGES);
    policy.range
        && policy.method == ReadMethod::Get
        && status == StatusCode::OK
        && accepted.is_some_and(|units| units.as_bytes().eq_ignore_ascii_case(b"bytes"))
}

/// An origin's answer for this client alone. The origin was asked without the client's conditions: if the answer is what the client holds
/// already, it gets the 304 that they would have brought.
pub fn private(
    edge: &Edge,
    exchange: &Exchange,
    request: &Request,
    answer: OriginAnswer,
) -> Response {
    let mut fields = take_out(answer.fields, storable::is_withheld);
    if !fields.contains_key(DATE) {
        add_date(&mut fields, answer.response_time); // RFC 9110 §6.6.1: a recipient with a clock adds it
    }
    add_via(edge, &mut fields);
    add_cache_status(edge, exchange, &mut fields);
    let judged = validation::precondition_of_answer(
        &request.fields,
        answer.status,
        &fields,
        answer.response_time,
    );
    if judged == Precondition::NotModified {
        return not_modified(take_out(fields, validation::describes_representation));
    }
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
    add_via(edge, &mut fields);
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

fn whole(request: &Request, response: Arc<StoredResponse>, added: Added, body: Body) -> Response {
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
    request: &Request,
    response: &StoredResponse,
    added: Added,
    body: Body,
    part: Part,
    complete: u64,
) -> Response {
    let carried = response.fields.iter();
    let mut fields = with(
        carried.filter(|(name, _)| range::is_carried(name, &request.fields)),
        added,
    );
    if let Ok(value) = HeaderValue::try_from(part.content_range(complete).to_string()) {
        fields.insert(CONTENT_RANGE, value);
    }
    let content = match body {
        Body::Whole(content) => Content::Whole(multipart::slice(&content, part)),
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

/// RFC 9110 §15.3.7.2: the parts say what they are, each for itself; the head must not have a `Content-Range`.
fn several(
    request: &Request,
    response: &StoredResponse,
    added: Added,
    parts: PartsReader,
) -> Response {
    let carried = response.fields.iter();
    let mut fields = with(
        carried.filter(|(name, _)| range::is_carried(name, &request.fields)),
        added,
    );
    if let Ok(value) = HeaderValue::try_from(parts.media_type()) {
        fields.insert(CONTENT_TYPE, value);
    }
    Response {
        head: Head::Composed {
            status: StatusCode::PARTIAL_CONTENT,
            fields,
        },
        content: Content::Parts(parts),
    }
}

/// A fill in flight may drop what it has given; what is there whole is read in any order.
fn can_be_read_in_order(body: &Body, parts: &[Part]) -> bool {
    let is_there = match body {
        Body::Whole(_) => true,
        Body::Stream(reader) => reader
            .length()
            .is_some_and(|length| reader.arrived() >= length),
    };
    is_there || parts.is_sorted_by_key(|part| part.first())
}

/// A delimiter that no content has but by design, and that nobody can design: this node's secret makes it, anew for each exchange.
fn boundary(edge: &Edge, exchange: &Exchange) -> String {
    format!(
        "{:032x}",
        edge.cache.keys().hash(exchange.request_id.as_bytes())
    )
}

fn not_modified(fields: HeaderMap) -> Response {
    Response {
        head: Head::Composed {
            status: StatusCode::NOT_MODIFIED,
            fields,
        },
        content: Content::None,
    }
}

/// These stored fields, and the lines of this exchange beside them: a `Via` that the origin's side of the way has written stays.
fn with<'a>(
    stored: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    added: Added,
) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(24);
    for (name, value) in stored {
        fields.append(name, value.clone());
    }
    for (name, value) in added.lines() {
        fields.append(name, value);
    }
    fields
}

/// What this exchange adds to a stored head.
fn added(edge: &Edge, exchange: &Exchange, age: Duration) -> Added {
    Added {
        age: age.as_secs(),
        via: edge.via.clone(),
        cache_status: cache_status(edge, exchange),
    }
}

/// The fields without those that are named.
fn take_out(mut fields: HeaderMap, is_named: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let names: Vec<HeaderName> = fields
        .keys()
        .filter(|name| is_named(name))
        .cloned()
        .collect();
    for name in names {
        fields.remove(name);
    }
    fields
}

/// Appends this edge to `Via` (RFC 9110 §7.6.3).
pub fn add_via(edge: &Edge, fields: &mut HeaderMap) {
    fields.append(VIA, edge.via.clone());
}

/// Appends what this cache did (RFC 9211 §2).
pub fn add_cache_status(edge: &Edge, exchange: &Exchange, fields: &mut HeaderMap) {
    if let Some(value) = cache_status(edge, exchange) {
        fields.append(CACHE_STATUS, value);
    }
}

/// This cache's member of `Cache-Status`: one allocation, that of the value.
fn cache_status(edge: &Edge, exchange: &Exchange) -> Option<HeaderValue> {
    let mut text = BytesMut::with_capacity(96);
    write!(text, "{}", exchange.cache?.named(&edge.id)).ok()?;
    HeaderValue::from_maybe_shared(text.freeze()).ok()
}

/// Sets `Date` (RFC 9110 §6.6.1).
pub fn add_date(fields: &mut HeaderMap, now: Timestamp) {
    fields.insert(DATE, date(now));
}

/// A moment as `Date` says it.
pub fn date(moment: Timestamp) -> HeaderValue {
    let moment = std::time::UNIX_EPOCH + Duration::from_millis(moment.unix_millis());
    // It is all visible ASCII: nothing falls back.
    HeaderValue::try_from(httpdate::fmt_http_date(moment))
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// Statuses that never have content (RFC 9110 §6.4.1).
pub fn has_no_content(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}
