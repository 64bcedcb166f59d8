//! What the fields of a head say, gathered one by one: framing, connection options and expectation apart, end-to-end fields kept.
//!
//! RFC 9110 §5, §7.6.1, §7.8, §8.6, §10.1; RFC 9112 §6. Called by [`super::http1`] and [`super::http2`], which differ in what they refuse before.
//! Dropped without a word are fields that end here (`TE`, `Trailer`, `Keep-Alive`, …), every name with an underscore (CGI and PHP read
//! `X_Forwarded_For` as `X-Forwarded-For`; nginx drops them too), and `Proxy` (CGI reads it as the variable `HTTP_PROXY`).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jet9_config::limits::Limits;

use super::Rule;
use crate::message::{Framing, Protocol};

/// The fields of one head.
#[derive(Debug)]
pub(super) struct Gathered {
    /// The end-to-end fields.
    pub(super) fields: HeaderMap,
    /// `Host`, unread.
    pub(super) host: Option<Bytes>,
    /// The only option of `Connection` that tells whether more follows.
    pub(super) persistence: Persistence,
    /// Whether `Expect: 100-continue` stands there.
    pub(super) expects_continue: bool,
    protocol: Protocol,
    lines: usize,
    lines_max: usize,
    content_length: Option<u64>,
    chunked: bool,
    upgrade_option: bool,
    names_websocket: bool,
    /// Values of `Connection` that name fields.
    nominations: Vec<HeaderValue>,
}

/// What `Connection` says of the requests to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    Unsaid,
    KeepAlive,
    Close,
}

impl Gathered {
    /// Nothing yet; about `expected` fields will come.
    pub(super) fn new(protocol: Protocol, expected: usize, limits: &Limits) -> Self {
        Self {
            fields: HeaderMap::with_capacity(expected.min(FIELDS_AT_FIRST)),
            host: None,
            persistence: Persistence::Unsaid,
            expects_continue: false,
            protocol,
            lines: 0,
            lines_max: limits.head_fields,
            content_length: None,
            chunked: false,
            upgrade_option: false,
            names_websocket: false,
            nominations: Vec::new(),
        }
    }

    /// Takes `Host`.
    pub(super) fn add_host(&mut self, value: Bytes) -> Result<(), Rule> {
        self.count()?;
        if !value.iter().copied().all(is_value_byte) {
            return Err(Rule::FieldValue);
        }
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(Rule::HostRepeated),
        }
    }

    /// Takes one field line other than `Host`.
    pub(super) fn add(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Rule> {
        self.count()?;
        match name.as_str() {
            "content-length" => self.add_content_length(value.as_bytes()),
            "transfer-encoding" => self.add_transfer_encoding(value.as_bytes()),
            "connection" => self.add_connection(value),
            "upgrade" => self.add_upgrade(value.as_bytes()),
            "expect" => self.add_expectation(value.as_bytes()),
            name if is_dropped(name) => Ok(()),
            _ => self.keep(name, value),
        }
    }

    /// Drops the fields that `Connection` names (RFC 9110 §7.6.1).
    pub(super) fn drop_nominated(&mut self) {
        for value in std::mem::take(&mut self.nominations) {
            for option in list(value.as_bytes()) {
                // An option is a token, so it is text.
                let name = std::str::from_utf8(option).unwrap_or_default();
                self.fields.remove(name);
            }
        }
    }

    /// How the content is framed (RFC 9112 §6.3).
    pub(super) const fn framing(&self) -> Result<Framing, Rule> {
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(Rule::FramedTwice),
            (true, None) => Ok(Framing::Unknown),
            (false, None | Some(0)) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
        }
    }

    /// `Content-Length`, also when it is zero.
    pub(super) const fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether both `Connection` and `Upgrade` ask for WebSocket (RFC 9110 §7.8).
    pub(super) const fn asks_for_websocket(&self) -> bool {
        self.upgrade_option && self.names_websocket
    }

    fn count(&mut self) -> Result<(), Rule> {
        self.lines += 1;
        if self.lines > self.lines_max {
            return Err(Rule::HeadFields);
        }
        Ok(())
    }

    fn keep(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Rule> {
        let kept = self.fields.try_append(name, value);
        kept.map(|_| ()).map_err(|_| Rule::HeadFields)
    }

    fn add_content_length(&mut self, digits: &[u8]) -> Result<(), Rule> {
        let length = parse_length(digits).ok_or(Rule::ContentLength)?;
        match self.content_length.replace(length) {
            None => Ok(()),
            Some(_) => Err(Rule::ContentLengthRepeated),
        }
    }

    fn add_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Rule> {
        if self.protocol == Protocol::Http10 {
            return Err(Rule::TransferEncodingVersion);
        }
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(why_not_chunked(value));
        }
        self.chunked = true;
        Ok(())
    }

    fn add_connection(&mut self, value: HeaderValue) -> Result<(), Rule> {
        let mut names_fields = false;
        for option in list(value.as_bytes()) {
            if !is_token(option) {
                return Err(Rule::Connection);
            }
            names_fields |= self.add_connection_option(option)?;
        }
        if names_fields {
            self.nominations.push(value);
        }
        Ok(())
    }

    /// Whether the option is the name of a field that would otherwise be kept.
    fn add_connection_option(&mut self, option: &[u8]) -> Result<bool, Rule> {
        if option.eq_ignore_ascii_case(b"close") {
            self.persistence = Persistence::Close;
        } else if option.eq_ignore_ascii_case(b"keep-alive") {
            // `close` wins, wherever it stands (RFC 9112 §9.3).
            if self.persistence == Persistence::Unsaid {
                self.persistence = Persistence::KeepAlive;
            }
        } else if option.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade_option = true;
        } else if is_end_to_end(option) {
            return Err(Rule::ConnectionNames);
        } else {
            return Ok(true);
        }
        Ok(false)
    }

    fn add_upgrade(&mut self, value: &[u8]) -> Result<(), Rule> {
        self.names_websocket |= list(value).any(|name| name.eq_ignore_ascii_case(b"websocket"));
        Ok(())
    }

    fn add_expectation(&mut self, value: &[u8]) -> Result<(), Rule> {
        if self.protocol == Protocol::Http10 {
            // To be ignored (RFC 9110 §10.1.1).
            return Ok(());
        }
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Rule::Expectation);
        }
        self.expects_continue = true;
        Ok(())
    }
}

/// A byte of a token (RFC 9110 §5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

/// A byte of a field's value: visible, SP, HTAB or above 127 (RFC 9110 §5.5).
pub(super) const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Without the optional white space at both ends (RFC 9110 §5.6.3).
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// The elements of a list; empty ones are skipped (RFC 9110 §5.6.1.2).
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    (value.split(|&byte| byte == b','))
        .map(trim)
        .filter(|element| !element.is_empty())
}

fn is_dropped(name: &str) -> bool {
    matches!(
        name,
        "http2-settings"
            | "keep-alive"
            | "proxy"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
    ) || name.as_bytes().contains(&b'_')
}

/// Whether a field is meant for every recipient, so that naming it in `Connection` can only be an attempt to have it removed here. The
/// lists of other gateways and origins differ; refusing keeps all readers of one mind.
fn is_end_to_end(option: &[u8]) -> bool {
    const NAMES: [&str; 24] = [
        "accept",
        "accept-encoding",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "origin",
        "range",
        "referer",
        "transfer-encoding",
        "user-agent",
        "via",
    ];
    let named = |name: &&str| option.eq_ignore_ascii_case(name.as_bytes());
    NAMES.iter().any(named) || starts_ignoring_case(option, b"x-forwarded-")
}

fn starts_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Digits only, below 2^63: a reader that counts with a sign must not see another length.
fn parse_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let length = digits.iter().try_fold(0_u64, |length, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })?;
    i64::try_from(length).is_ok().then_some(length)
}

/// 501 for other codings before `chunked`, well written; everything else leaves the framing in doubt (RFC 9112 §6.1, §6.3).
fn why_not_chunked(value: &[u8]) -> Rule {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings: Vec<&[u8]> = value.split(|&byte| byte == b',').map(trim).collect();
    let ends_chunked = codings.pop().is_some_and(is_chunked);
    let others = !codings.is_empty() && codings.iter().all(|c| is_token(c) && !is_chunked(c));
    if ends_chunked && others {
        Rule::TransferCoding
    } else {
        Rule::TransferEncoding
    }
}

/// Room made for fields before the first is read; most requests have fewer.
const FIELDS_AT_FIRST: usize = 24;
