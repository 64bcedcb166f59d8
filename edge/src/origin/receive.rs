//! The answer of a side, as far as it may be trusted.
//!
//! Pure; called by `wire` with the bytes of a head, and by `framework::phases` with one that Pingora parsed. A head whose framing is in
//! any doubt is refused whole (RFC 9112 §6.3): what a confused or captured side sends must not become the answer to another request.
//! What passes has end-to-end fields only (RFC 9110 §7.6.1), in both directions of doubt: unknown is not end-to-end, named is not ours.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use jet9_config::limits::Limits;
use jet9_config::site::UnknownCoding;

use crate::origin::guard::{self, Said};

/// What a head answers, and what its site lets pass.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method of the request.
    pub method: &'a Method,
    /// What becomes of an unknown transfer coding.
    pub unknown_coding: UnknownCoding,
}

/// A head that may be trusted.
#[derive(Clone, Debug)]
pub struct Received {
    /// 100 to 999.
    pub status: StatusCode,
    /// The end-to-end fields, without `Content-Length`.
    pub fields: HeaderMap,
    /// How the content ends.
    pub framing: Framing,
    /// The length that was announced, also where no content follows (an answer to HEAD, 304).
    pub length: Option<u64>,
    /// Whether the connection may carry another request once the content ended.
    pub reuse: Reuse,
    /// What the side's guard says.
    pub said: Said,
}

/// How the content of an answer ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After this many bytes, more than zero.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection: an end cannot be told from a break.
    Close,
}

/// What may become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It may carry another request.
    Allowed,
    /// It is to be closed.
    Refused,
}

/// Judges the bytes of a head, the empty line included.
///
/// # Errors
/// Names the rule that it breaks.
pub fn head(bytes: &[u8], asked: Asked<'_>, limits: &Limits) -> Result<Received, &'static str> {
    let mut lines = vec![httparse::EMPTY_HEADER; limits.head_fields];
    let mut response = httparse::Response::new(&mut lines);
    let mut parser = httparse::ParserConfig::default();
    // RFC 9112 §5.1: a proxy must remove such space from a response, not refuse it.
    parser.allow_spaces_after_header_name_in_responses(true);
    match parser.parse_response(&mut response, bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err("the head does not end"),
        Err(error) => return Err(syntax_rule(error)),
    }
    let version = match response.version {
        Some(0) => Version::HTTP_10,
        Some(1) => Version::HTTP_11,
        _ => return Err("unknown HTTP version"),
    };
    let status = response
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or("status out of range")?;
    judge(version, status, collect(response.headers)?, asked)
}

fn syntax_rule(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "bad field name, or a folded line",
        httparse::Error::HeaderValue => "bad byte in a field value",
        httparse::Error::NewLine => "bad line end",
        httparse::Error::Status => "bad status line",
        httparse::Error::Token => "bad byte in the head",
        httparse::Error::TooManyHeaders => "too many fields",
        httparse::Error::Version => "bad HTTP version",
    }
}

fn collect(lines: &[httparse::Header<'_>]) -> Result<HeaderMap, &'static str> {
    let mut fields = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| "bad field name")?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| "bad byte in a field value")?;
        fields.append(name, value);
    }
    Ok(fields)
}

/// Judges a head that was parsed already.
///
/// # Errors
/// Names the rule that it breaks.
pub fn judge(
    version: Version,
    status: StatusCode,
    mut fields: HeaderMap,
    asked: Asked<'_>,
) -> Result<Received, &'static str> {
    let length = announced_length(&fields)?;
    let coding = transfer_coding(version, &fields, asked.unknown_coding)?;
    if coding != Coding::None && length.is_some() {
        return Err("Content-Length beside Transfer-Encoding");
    }
    let framing = framing(status, asked.method, coding, length);
    let reuse = reuse(version, status, &fields, framing, coding, length);
    let said = Said::of(&fields);
    for name in connection_fields(&fields) {
        fields.remove(name);
    }
    fields.remove(header::CONTENT_LENGTH);
    Ok(Received {
        status,
        fields,
        framing,
        length,
        reuse,
        said,
    })
}

/// One line, one number (RFC 9110 §8.6). A repetition is refused even where it agrees: nobody needs to send it.
fn announced_length(fields: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut lines = fields.get_all(header::CONTENT_LENGTH).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err("Content-Length repeated");
    }
    let digits = line.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err("bad Content-Length");
    }
    let text = std::str::from_utf8(digits).map_err(|_| "bad Content-Length")?;
    text.parse()
        .map(Some)
        .map_err(|_| "Content-Length too large")
}

/// What is done to the content for this connection alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    None,
    Chunked,
    /// Nobody knows, and the site bears it.
    Unknown,
}

/// Codings that have a meaning (RFC 9112 §7, IANA's registry), which is not undone here. Their content without their name is garbage.
const REGISTERED: [&str; 6] = [
    "compress",
    "deflate",
    "gzip",
    "x-compress",
    "x-gzip",
    "chunked",
];

/// Only `chunked`, once (RFC 9112 §6.1, §7). Another coding would have to be undone by us before the content could be stored.
fn transfer_coding(
    version: Version,
    fields: &HeaderMap,
    unknown: UnknownCoding,
) -> Result<Coding, &'static str> {
    let mut lines = fields.get_all(header::TRANSFER_ENCODING).iter();
    let Some(line) = lines.next() else {
        return Ok(Coding::None);
    };
    if version == Version::HTTP_10 {
        return Err("Transfer-Encoding in HTTP/1.0");
    }
    let alone = lines.next().is_none();
    match unknown {
        _ if alone && line.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(Coding::Chunked),
        UnknownCoding::UntilClose if alone && is_unregistered(line) => Ok(Coding::Unknown),
        UnknownCoding::UntilClose | UnknownCoding::Refuse => Err("unknown Transfer-Encoding"),
    }
}

/// Whether the value is one coding, without parameters, that has no meaning.
fn is_unregistered(line: &HeaderValue) -> bool {
    // A token is what a field name is (RFC 9110 §5.1, §5.6.2).
    HeaderName::from_bytes(line.as_bytes()).is_ok_and(|token| !REGISTERED.contains(&token.as_str()))
}

fn framing(status: StatusCode, asked: &Method, coding: Coding, length: Option<u64>) -> Framing {
    if !has_content(status, asked) {
        return Framing::None;
    }
    match (coding, length) {
        (Coding::Chunked, _) => Framing::Chunked,
        (Coding::Unknown, _) | (Coding::None, None) => Framing::Close,
        (Coding::None, Some(0)) => Framing::None,
        (Coding::None, Some(length)) => Framing::Length(length),
    }
}

/// RFC 9112 §6.3, the first rule.
fn has_content(status: StatusCode, asked: &Method) -> bool {
    *asked != Method::HEAD
        && !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

fn reuse(
    version: Version,
    status: StatusCode,
    fields: &HeaderMap,
    framing: Framing,
    coding: Coding,
    length: Option<u64>,
) -> Reuse {
    let kept = match version {
        Version::HTTP_11 => !names(fields, "close"),
        _ => names(fields, "keep-alive") && !names(fields, "close"),
    };
    // A 204 announces nothing (RFC 9110 §8.6, RFC 9112 §6.1): content may follow that would be taken for the next answer.
    let announced = status == StatusCode::NO_CONTENT
        && (coding == Coding::Chunked || length.is_some_and(|l| l > 0));
    let certain = framing != Framing::Close && coding != Coding::Unknown;
    if kept && !announced && certain {
        Reuse::Allowed
    } else {
        Reuse::Refused
    }
}

fn names(fields: &HeaderMap, option: &str) -> bool {
    options(fields).any(|named| named.eq_ignore_ascii_case(option))
}

/// The connection options of all `Connection` lines (RFC 9110 §7.6.1).
fn options(fields: &HeaderMap) -> impl Iterator<Item = &str> {
    fields
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

/// The fields that end at this connection: the known ones, those that `Connection` names, and the ones that only we may say.
pub fn connection_fields(fields: &HeaderMap) -> Vec<HeaderName> {
    let known = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("proxy-authentication-info"),
        guard::EPOCH,
        guard::NOT_PROCESSED,
    ];
    let named = options(fields)
        .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
        .filter(|name| !governs_reuse(name));
    known
        .into_iter()
        .chain(named)
        .filter(|name| fields.contains_key(name))
        .collect()
}

/// Whether a field says who may get an answer again, and for how long: it is never for one connection alone (RFC 9110 §7.6.1). Taken off
/// because a confused side names it, it would leave a private answer that nothing says is private.
fn governs_reuse(name: &HeaderName) -> bool {
    const NAMES: [&str; 10] = [
        "age",
        "cache-control",
        "cdn-cache-control",
        "date",
        "expires",
        "jet9-cache-control",
        "pragma",
        "set-cookie",
        "surrogate-control",
        "vary",
    ];
    NAMES.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method, text: &str) -> Result<Received, &'static str> {
        asked_by(method, UnknownCoding::Refuse, text)
    }

    fn asked_by(
        method: &Method,
        unknown_coding: UnknownCoding,
        text: &str,
    ) -> Result<Received, &'static str> {
        let limits = Limits {
            head_fields: 4,
            ..Limits::default()
        };
        let asked = Asked {
            method,
            unknown_coding,
        };
        head(text.as_bytes(), asked, &limits)
    }

    #[test]
    fn the_framing_follows_the_standard_and_doubt_is_refused() {
        let check = |lines: &str, expected: Result<Framing, &str>| {
            let got = asked(&Method::GET, &format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
            assert_eq!(got.map(|r| r.framing), expected, "{lines:?}");
        };
        check("Content-Length: 5\r\n", Ok(Framing::Length(5)));
        check("Content-Length: 0\r\n", Ok(Framing::None));
        check("", Ok(Framing::Close));
        check("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked));
        for repeated in ["5\r\nContent-Length: 5", "5\r\nContent-Length: 6"] {
            let lines = format!("Content-Length: {repeated}\r\n");
            check(&lines, Err("Content-Length repeated"));
        }
        for bad in ["5, 5", "+5", "-5", "5 5", "0x5", "", "5;"] {
            check(
                &format!("Content-Length: {bad}\r\n"),
                Err("bad Content-Length"),
            );
        }
        check(
            "Content-Length: 99999999999999999999\r\n",
            Err("Content-Length too large"),
        );
        check(
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Err("Content-Length beside Transfer-Encoding"),
        );
        for coding in [
            "gzip, chunked",
            "gzip",
            "chunked, chunked",
            "identity",
            "chunked\r\nTransfer-Encoding: chunked",
            "x",
        ] {
            let lines = format!("Transfer-Encoding: {coding}\r\n");
            check(&lines, Err("unknown Transfer-Encoding"));
        }
    }

    #[test]
    fn connection_takes_off_nothing_that_governs_reuse() {
        let text = "HTTP/1.1 200 OK\r\nConnection: cache-control, Vary, x-mine\r\n\
                    Cache-Control: private\r\nVary: cookie\r\nX-Mine: 1\r\n\r\n";
        let received = asked(&Method::GET, text).unwrap();
        let mut names: Vec<_> = received.fields.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "vary"]);
    }

    #[test]
    fn an_unknown_coding_ends_with_the_connection_where_the_site_bears_it() {
        let lenient = UnknownCoding::UntilClose;
        let check = |lines: &str, expected: Result<(Framing, Reuse), &str>| {
            let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
            let got = asked_by(&Method::GET, lenient, &text);
            if let Ok(received) = &got {
                assert!(!received.fields.contains_key("transfer-encoding"));
            }
            assert_eq!(got.map(|r| (r.framing, r.reuse)), expected, "{lines:?}");
        };
        check(
            "Transfer-Encoding: Odd",
            Ok((Framing::Close, Reuse::Refused)),
        );
        check(
            "Transfer-Encoding: chunked",
            Ok((Framing::Chunked, Reuse::Allowed)),
        );
        let refused = Err("unknown Transfer-Encoding");
        for lines in [
            "odd, chunked",
            "chunked, odd",
            "odd, odder",
            "odd;q=1",
            "odd\r\nTransfer-Encoding: chunked",
            "",
            "gzip",
            "X-GZip",
            "chunked, chunked",
        ] {
            check(&format!("Transfer-Encoding: {lines}"), refused);
        }
        check(
            "Transfer-Encoding: odd\r\nContent-Length: 3",
            Err("Content-Length beside Transfer-Encoding"),
        );
        let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: odd\r\n\r\n";
        let old = asked_by(&Method::GET, lenient, old);
        assert_eq!(old.map(drop), Err("Transfer-Encoding in HTTP/1.0"));
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: odd\r\n\r\n";
        let head_only = asked_by(&Method::HEAD, lenient, text).unwrap();
        assert_eq!(
            (head_only.framing, head_only.reuse),
            (Framing::None, Reuse::Refused)
        );
    }

    #[test]
    fn answers_without_content_have_none_whatever_they_announce() {
        let check = |method: Method, text: &str, length: Option<u64>, reuse: Reuse| {
            let got = asked(&method, text).unwrap();
            assert_eq!(
                (got.framing, got.length, got.reuse),
                (Framing::None, length, reuse),
                "{text:?}"
            );
        };
        check(
            Method::HEAD,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            Some(5),
            Reuse::Allowed,
        );
        check(
            Method::HEAD,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            None,
            Reuse::Allowed,
        );
        check(
            Method::GET,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            Some(5),
            Reuse::Allowed,
        );
        check(
            Method::GET,
            "HTTP/1.1 204 No Content\r\n\r\n",
            None,
            Reuse::Allowed,
        );
        check(
            Method::GET,
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            Some(5),
            Reuse::Refused,
        );
        check(
            Method::GET,
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            None,
            Reuse::Refused,
        );
        check(
            Method::GET,
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
            None,
            Reuse::Allowed,
        );
    }

    #[test]
    fn a_connection_is_reused_only_where_its_version_and_options_say_so() {
        let check = |version: &str, lines: &str, expected: Reuse| {
            let text = format!("HTTP/{version} 200 OK\r\nContent-Length: 1\r\n{lines}\r\n");
            assert_eq!(
                asked(&Method::GET, &text).unwrap().reuse,
                expected,
                "{text:?}"
            );
        };
        check("1.1", "", Reuse::Allowed);
        check("1.1", "Connection: foo, CLOSE\r\n", Reuse::Refused);
        check(
            "1.1",
            "Connection: foo\r\nConnection: close\r\n",
            Reuse::Refused,
        );
        check("1.0", "", Reuse::Refused);
        check("1.0", "Connection: Keep-Alive\r\n", Reuse::Allowed);
        check("1.0", "Connection: keep-alive, close\r\n", Reuse::Refused);
    }

    #[test]
    fn only_end_to_end_fields_remain() {
        let text = "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nContent-Length: 1\r\nX-End: 2\r\n\r\n";
        let got = asked(&Method::GET, text).unwrap();
        assert_eq!(got.fields.len(), 1);
        assert_eq!(got.fields["x-end"], "2");
        for hop in [
            "Keep-Alive: timeout=5",
            "Upgrade: h2c",
            "Trailer: X",
            "TE: x",
            "Proxy-Connection: x",
            "Jet9-Epoch: 7",
        ] {
            let got = asked(&Method::GET, &format!("HTTP/1.1 200 OK\r\n{hop}\r\n\r\n")).unwrap();
            assert!(got.fields.is_empty(), "{hop}");
        }
    }

    #[test]
    fn heads_that_break_the_syntax_are_refused() {
        let check = |text: &str| {
            assert!(asked(&Method::GET, text).is_err(), "{text:?}");
        };
        check("HTTP/1.1 099 Low\r\n\r\n");
        check("HTTP/1.1 2000 Long\r\n\r\n");
        check("HTTP/2.0 200 OK\r\n\r\n");
        check("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n");
        check("HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n");
        check("HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n");
        check("HTTP/1.1 200 OK\r\n: b\r\n\r\n");
        check("HTTP/1.1 200 OK\r\nA\r\n\r\n");
        check("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n");
        check("HTTP/1.1 200 OK\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1\r\n\r\n");
        check("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        check("HTTP/1.1 200 OK\r\nA: b\r\n");
        check("SSH-2.0-OpenSSH_9.2\r\n\r\n");
    }

    #[test]
    fn what_only_looks_odd_passes() {
        let check = |text: &str, name: &str, value: &[u8]| {
            let got = asked(&Method::GET, text).unwrap();
            assert_eq!(got.fields[name].as_bytes(), value, "{text:?}");
        };
        check("HTTP/1.1 999 \r\nA: b\r\n\r\n", "a", b"b");
        check("HTTP/1.1 299\r\nA: b\r\n\r\n", "a", b"b");
        check("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "a", b"b");
        check(
            "HTTP/1.1 200 OK\r\nA: \u{e9}\r\n\r\n",
            "a",
            "\u{e9}".as_bytes(),
        );
    }
}
