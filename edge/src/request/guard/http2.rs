//! Is this an HTTP/2 request as RFC 9113 §8.2 and §8.3 have it, and what does it ask?
//!
//! Called by `framework::http2` with a head that `h2` decoded: pseudo-fields are in the URI, names are lower case, values have no
//! control bytes. The rest is judged as for HTTP/1.1. A fragment is not seen here: `http::Uri` has cut it off, so it reaches nobody.

use bytes::Bytes;
use http::header::{COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use jet9_cache::Scheme;
use jet9_config::limits::Limits;

use super::authority::{Authority, agreed};
use super::fields::{Gathered, trim};
use super::http1::check_method;
use super::{Refusal, Rule, target};
use crate::message::{Framing, Protocol, Request};

/// Judges one decoded head. `end_stream`: no content follows. `scheme` is the connection's.
///
/// # Errors
/// When a rule is broken. Only the stream is affected: on HTTP/2 the framing of other requests is never in doubt.
pub fn check_http2(
    parts: &Parts,
    end_stream: bool,
    scheme: Scheme,
    limits: &Limits,
) -> Result<Request, Refusal> {
    Ok(check(parts, end_stream, scheme, limits)?)
}

fn check(
    parts: &Parts,
    end_stream: bool,
    scheme: Scheme,
    limits: &Limits,
) -> Result<Request, Rule> {
    check_method(&parts.method)?;
    check_size(&parts.headers, limits)?;
    let path_and_query = path_and_query(&parts.uri, &parts.method, limits)?;
    check_scheme(&parts.uri, scheme)?;
    let mut gathered = Gathered::new(Protocol::Http2, parts.headers.len(), limits);
    for (name, value) in &parts.headers {
        add_field(&mut gathered, name, value)?;
    }
    let authority = authority(&parts.uri, gathered.host.as_ref(), scheme)?;
    let content = framing(&gathered, end_stream)?;
    join_cookies(&mut gathered.fields);
    Ok(Request {
        method: parts.method.clone(),
        protocol: Protocol::Http2,
        scheme,
        host: authority.host,
        port: authority.port,
        path_and_query,
        expects_continue: gathered.expects_continue && content != Framing::None,
        content,
        upgrade: None,
        fields: gathered.fields,
    })
}

/// `http::Uri` holds no scheme without an authority, so `:scheme` is seen only beside `:authority`; there has been one, says `h2`.
fn check_scheme(uri: &Uri, scheme: Scheme) -> Result<(), Rule> {
    match uri.scheme_str() {
        Some(named) if named != scheme.as_str() => Err(Rule::TargetScheme),
        _ => Ok(()),
    }
}

/// Counts as RFC 9113 §6.5.2 does: each line is 32 bytes more than its name and value.
fn check_size(fields: &HeaderMap, limits: &Limits) -> Result<(), Rule> {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 32;
    let bytes: usize = fields.iter().map(size).sum();
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > limits.head_bytes) {
        return Err(Rule::HeadBytes);
    }
    Ok(())
}

fn path_and_query(uri: &Uri, method: &Method, limits: &Limits) -> Result<Bytes, Rule> {
    let text = uri.path_and_query().map_or("", |text| text.as_str());
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > limits.request_line_bytes) {
        return Err(Rule::RequestLineBytes);
    }
    match text.as_bytes() {
        b"*" => target::check_asterisk(method)?,
        [b'/', ..] => target::check(text.as_bytes())?,
        _ => return Err(Rule::TargetForm),
    }
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

fn add_field(gathered: &mut Gathered, name: &HeaderName, value: &HeaderValue) -> Result<(), Rule> {
    let text = value.as_bytes();
    if trim(text).len() != text.len() {
        return Err(Rule::FieldValue);
    }
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
            Err(Rule::ConnectionSpecific)
        }
        "te" if !text.eq_ignore_ascii_case(b"trailers") => Err(Rule::ConnectionSpecific),
        _ if name == HOST => gathered.add_host(Bytes::copy_from_slice(text)),
        _ => gathered.add(name.clone(), value.clone()),
    }
}

/// `:authority` and `Host` have to agree where both are there (RFC 9113 §8.3.1).
fn authority(uri: &Uri, host: Option<&Bytes>, scheme: Scheme) -> Result<Authority, Rule> {
    let named = |text: &[u8]| Authority::parse(&Bytes::copy_from_slice(text));
    let target = uri.authority().map(|a| named(a.as_str().as_bytes()));
    agreed(
        target.transpose()?,
        host.map(Authority::parse).transpose()?,
        scheme,
    )
}

/// The content ends with the stream; a length is only believed where it can be true (RFC 9113 §8.1.1). That it is kept, `h2` checks.
fn framing(gathered: &Gathered, end_stream: bool) -> Result<Framing, Rule> {
    match (end_stream, gathered.content_length()) {
        (true, None | Some(0)) => Ok(Framing::None),
        (true, Some(_)) => Err(Rule::ContentLengthMismatch),
        (false, Some(0)) => Ok(Framing::None),
        (false, Some(length)) => Ok(Framing::Length(length)),
        (false, None) => Ok(Framing::Unknown),
    }
}

/// Clients may send a cookie field in crumbs; applications know only one (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = fields
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() < 2 {
        return;
    }
    // Pieces of valid values, joined by visible bytes, are valid.
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(crumbs.join(&b"; "[..]))) {
        fields.insert(COOKIE, joined);
    }
}
