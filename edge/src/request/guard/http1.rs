//! Is this an HTTP/1.1 request head, and what does it ask?
//!
//! RFC 9112 §2, §3, §5. Called by `framework::front` with the bytes that [`super::head::Search`] found. The lines are read here rather than by
//! httparse, which takes lines that end in LF alone and any number of empty ones, and cannot tell which rule was broken; that both understand
//! an accepted head alike is tested. Names and values are checked by `http`'s types; values are slices of the head.

use std::ops::Range;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method};
use jet9_cache::Scheme;
use jet9_config::limits::Limits;
use memchr::memchr;

use super::authority::{Authority, agreed};
use super::fields::{Gathered, Persistence, trim};
use super::target::Target;
use super::{Accepted, Refusal, Rule};
use crate::message::{Framing, Protocol, Request, Upgrade};

/// Judges one head: request line, fields, empty line. `scheme` is the connection's.
///
/// # Errors
/// When a rule is broken. The connection cannot be used further.
pub fn parse_http1(head: Bytes, scheme: Scheme, limits: &Limits) -> Result<Accepted, Refusal> {
    Ok(parse(head, scheme, limits)?)
}

fn parse(head: Bytes, scheme: Scheme, limits: &Limits) -> Result<Accepted, Rule> {
    let head_bytes = head.len();
    if u64::try_from(head_bytes).is_ok_and(|bytes| bytes > limits.head_bytes) {
        return Err(Rule::HeadBytes);
    }
    let mut lines = Lines { head, at: 0 };
    let line = lines.request_line(limits)?;
    let (method, target, protocol) =
        request_line(&lines.head, line.clone(), scheme).map_err(|rule| lines.why(line, rule))?;
    let mut gathered = Gathered::new(protocol, head_bytes / BYTES_PER_FIELD + 4, limits);
    while let Some(line) = lines.field_line()? {
        add_field(&mut gathered, &lines.head, line.clone())
            .map_err(|rule| lines.why(line, rule))?;
    }
    gathered.drop_nominated();
    let keep_alive = keeps_alive(protocol, gathered.persistence);
    let request = compose(method, target, protocol, scheme, gathered)?;
    Ok(Accepted {
        request,
        keep_alive,
        head_bytes,
    })
}

/// The lines of a head, one after the other.
struct Lines {
    head: Bytes,
    at: usize,
}

impl Lines {
    /// The first line that is not empty; one empty line may precede it (RFC 9112 §2.2).
    fn request_line(&mut self, limits: &Limits) -> Result<Range<usize>, Rule> {
        let mut line = self.next()?;
        if line.is_empty() {
            line = self.next()?;
        }
        if line.is_empty() {
            return Err(Rule::EmptyLines);
        }
        if u64::try_from(line.len()).is_ok_and(|bytes| bytes > limits.request_line_bytes) {
            return Err(Rule::RequestLineBytes);
        }
        Ok(line)
    }

    /// The next field line; `None` at the end of the head, which is also the end of the bytes.
    fn field_line(&mut self) -> Result<Option<Range<usize>>, Rule> {
        let line = self.next()?;
        if !line.is_empty() {
            return Ok(Some(line));
        }
        if self.at < self.head.len() {
            return Err(Rule::HeadEnd);
        }
        Ok(None)
    }

    /// Where the next line is, its CR LF left out.
    fn next(&mut self) -> Result<Range<usize>, Rule> {
        let start = self.at;
        let rest = self.head.get(start..).unwrap_or_default();
        let lf = memchr(b'\n', rest).ok_or(Rule::HeadEnd)?;
        self.at = start + lf + 1;
        match rest[..lf].last() {
            Some(b'\r') => Ok(start..start + lf - 1),
            _ => Err(Rule::BareLf),
        }
    }

    /// Why a line is refused: a bare CR is the reason where there is one, whatever it made of the line.
    fn why(&self, line: Range<usize>, rule: Rule) -> Rule {
        if self.head[line].contains(&b'\r') {
            Rule::BareCr
        } else {
            rule
        }
    }
}

/// `method SP request-target SP HTTP-version` (RFC 9112 §3).
fn request_line(
    head: &Bytes,
    line: Range<usize>,
    scheme: Scheme,
) -> Result<(Method, Target, Protocol), Rule> {
    let (method, rest) = split_at_space(&head[line])?;
    let method = parse_method(method)?;
    let (target, version) = split_at_space(rest)?;
    let protocol = parse_version(version)?;
    check_method(&method)?;
    let target = Target::parse(head.slice_ref(target), &method, scheme)?;
    Ok((method, target, protocol))
}

fn split_at_space(text: &[u8]) -> Result<(&[u8], &[u8]), Rule> {
    let space = memchr(b' ', text).ok_or(Rule::RequestLine)?;
    Ok((&text[..space], &text[space + 1..]))
}

fn parse_method(text: &[u8]) -> Result<Method, Rule> {
    Method::from_bytes(text).map_err(|_| Rule::Method)
}

/// Refuses the methods that a gateway does not serve.
pub(super) fn check_method(method: &Method) -> Result<(), Rule> {
    if *method == Method::CONNECT {
        Err(Rule::MethodConnect)
    } else if *method == Method::TRACE {
        Err(Rule::MethodTrace)
    } else {
        Ok(())
    }
}

fn parse_version(text: &[u8]) -> Result<Protocol, Rule> {
    match text {
        b"HTTP/1.1" => Ok(Protocol::Http11),
        b"HTTP/1.0" => Ok(Protocol::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Rule::Version),
        _ => Err(Rule::RequestLine),
    }
}

/// `field-name ":" OWS field-value OWS` (RFC 9112 §5).
fn add_field(gathered: &mut Gathered, head: &Bytes, line: Range<usize>) -> Result<(), Rule> {
    let line = &head[line];
    let colon = memchr(b':', line).ok_or_else(|| without_colon(line))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let name = HeaderName::from_bytes(name).map_err(|_| why_no_name(name))?;
    let value = head.slice_ref(trim(value));
    if name == HOST {
        return gathered.add_host(value);
    }
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| Rule::FieldValue)?;
    gathered.add(name, value)
}

fn without_colon(line: &[u8]) -> Rule {
    match line.first() {
        Some(b' ' | b'\t') => Rule::FieldFolded,
        _ => Rule::FieldLine,
    }
}

fn why_no_name(name: &[u8]) -> Rule {
    match (name.first(), name.last()) {
        (Some(b' ' | b'\t'), _) => Rule::FieldFolded,
        (_, Some(b' ' | b'\t')) => Rule::FieldSpace,
        _ => Rule::FieldName,
    }
}

/// RFC 9112 §9.3.
const fn keeps_alive(protocol: Protocol, persistence: Persistence) -> bool {
    match persistence {
        Persistence::Close => false,
        Persistence::KeepAlive => true,
        Persistence::Unsaid => matches!(protocol, Protocol::Http11),
    }
}

fn compose(
    method: Method,
    target: Target,
    protocol: Protocol,
    scheme: Scheme,
    gathered: Gathered,
) -> Result<Request, Rule> {
    let host = host(gathered.host.as_ref(), protocol)?;
    let authority = agreed(target.authority, host, scheme)?;
    let content = gathered.framing()?;
    Ok(Request {
        upgrade: upgrade(&method, protocol, content, &gathered)?,
        method,
        protocol,
        scheme,
        host: authority.host,
        port: authority.port,
        path_and_query: target.path_and_query,
        // There is nothing to wait for without content (RFC 9110 §10.1.1).
        expects_continue: gathered.expects_continue && content != Framing::None,
        content,
        fields: gathered.fields,
    })
}

/// What `Host` names. HTTP/1.1 requires it also beside an absolute target (RFC 9112 §3.2).
fn host(value: Option<&Bytes>, protocol: Protocol) -> Result<Option<Authority>, Rule> {
    match value {
        Some(value) => Authority::parse(value).map(Some),
        None if protocol == Protocol::Http11 => Err(Rule::HostMissing),
        None => Ok(None),
    }
}

/// The change of protocol that is asked for; others than WebSocket by GET are not, so they are ignored (RFC 9110 §7.8).
fn upgrade(
    method: &Method,
    protocol: Protocol,
    content: Framing,
    gathered: &Gathered,
) -> Result<Option<Upgrade>, Rule> {
    let asked = gathered.asks_for_websocket() && protocol == Protocol::Http11;
    if !asked || *method != Method::GET {
        return Ok(None);
    }
    match content {
        Framing::None => Ok(Some(Upgrade::WebSocket)),
        Framing::Length(_) | Framing::Unknown => Err(Rule::UpgradeContent),
    }
}

/// What a field line takes on average, to make room for the fields at once.
const BYTES_PER_FIELD: usize = 40;
