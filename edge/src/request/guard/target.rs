//! What is asked for: the forms of a request target and the bytes in it.
//!
//! RFC 9112 §3.2, RFC 9110 §4.2 and §7.1, RFC 3986 §3. Accepted beyond RFC 3986 is exactly what the WHATWG URL standard lets browsers send
//! raw: `[ ] ^ |` in paths, also `` ` { } \ `` and a `%` of any kind in queries. Nothing is decoded, encoded or normalised: the origin sees the
//! client's bytes. Dot segments stay, so they name other stored responses, never other files than the origin would give.

use bytes::{BufMut, Bytes, BytesMut};
use http::Method;
use jet9_cache::Scheme;
use memchr::{memchr, memchr_iter};

use super::Rule;
use super::authority::Authority;

/// A target as the story needs it.
#[derive(Debug)]
pub(super) struct Target {
    /// The authority of an absolute target.
    pub(super) authority: Option<Authority>,
    /// Begins with `/`, or is `*`.
    pub(super) path_and_query: Bytes,
}

impl Target {
    /// Parses the target of an HTTP/1.1 request line.
    pub(super) fn parse(text: Bytes, method: &Method, scheme: Scheme) -> Result<Self, Rule> {
        if text.first() == Some(&b'/') {
            check(&text)?;
            return Ok(Self {
                authority: None,
                path_and_query: text,
            });
        }
        if &text[..] == b"*" {
            check_asterisk(method)?;
            return Ok(Self {
                authority: None,
                path_and_query: text,
            });
        }
        absolute(&text, method, scheme)
    }
}

/// `*` is for OPTIONS alone (RFC 9112 §3.2.4).
pub(super) fn check_asterisk(method: &Method) -> Result<(), Rule> {
    if *method == Method::OPTIONS {
        Ok(())
    } else {
        Err(Rule::TargetForm)
    }
}

/// Checks the bytes of a path, which begins with `/`, and its query.
pub(super) fn check(path_and_query: &[u8]) -> Result<(), Rule> {
    let end = memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(end);
    check_bytes(path, IN_PATH)?;
    check_bytes(query, IN_QUERY)?;
    memchr_iter(b'%', path).try_for_each(|at| check_percent(&path[at + 1..]))
}

fn check_bytes(text: &[u8], place: u8) -> Result<(), Rule> {
    match text
        .iter()
        .find(|&&byte| BYTES[usize::from(byte)] & place == 0)
    {
        None => Ok(()),
        Some(b'#') => Err(Rule::TargetFragment),
        Some(_) => Err(Rule::TargetByte),
    }
}

/// A path that servers decode differently, or that ends a C string early, is refused; queries are decoded by the application alone.
fn check_percent(digits: &[u8]) -> Result<(), Rule> {
    match digits {
        [b'0', b'0', ..] => Err(Rule::TargetPercent),
        [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => Ok(()),
        _ => Err(Rule::TargetPercent),
    }
}

fn absolute(text: &Bytes, method: &Method, scheme: Scheme) -> Result<Target, Rule> {
    let (named, after) = split_scheme(text).ok_or(Rule::TargetForm)?;
    let length = (after.iter().position(|byte| b"/?#".contains(byte))).unwrap_or(after.len());
    let (authority, rest) = after.split_at(length);
    let authority = Authority::parse(&text.slice_ref(authority))?;
    check(rest)?;
    if named != scheme {
        return Err(Rule::TargetScheme);
    }
    Ok(Target {
        authority: Some(authority),
        path_and_query: complete(&text.slice_ref(rest), method),
    })
}

/// Parts `http://` or `https://` from what follows.
fn split_scheme(text: &[u8]) -> Option<(Scheme, &[u8])> {
    let colon = memchr(b':', text)?;
    let (name, rest) = text.split_at(colon);
    let scheme = if name.eq_ignore_ascii_case(b"http") {
        Scheme::Http
    } else if name.eq_ignore_ascii_case(b"https") {
        Scheme::Https
    } else {
        return None;
    };
    rest.strip_prefix(b"://").map(|rest| (scheme, rest))
}

/// An empty path means `/`, with OPTIONS and without a query `*` (RFC 9110 §4.2.3, RFC 9112 §3.2.4).
fn complete(rest: &Bytes, method: &Method) -> Bytes {
    match rest.first() {
        Some(b'/') => rest.clone(),
        None if *method == Method::OPTIONS => Bytes::from_static(b"*"),
        None => Bytes::from_static(b"/"),
        Some(_) => {
            let mut whole = BytesMut::with_capacity(rest.len() + 1);
            whole.put_u8(b'/');
            whole.extend_from_slice(rest);
            whole.freeze()
        }
    }
}

const IN_PATH: u8 = 1;
const IN_QUERY: u8 = 2;

/// Where each byte may stand.
const BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = places(byte as u8);
        byte += 1;
    }
    table
};

const fn places(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => IN_PATH | IN_QUERY,
        // RFC 3986: the rest of unreserved, pct-encoded, sub-delims, `:`, `@`, `/`.
        b'-' | b'.' | b'_' | b'~' | b'%' => IN_PATH | IN_QUERY,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => {
            IN_PATH | IN_QUERY
        }
        b':' | b'@' | b'/' => IN_PATH | IN_QUERY,
        // WHATWG URL, path percent-encode set: not in it.
        b'[' | b']' | b'^' | b'|' => IN_PATH | IN_QUERY,
        // The same, special-query percent-encode set; and the question mark itself.
        b'?' | b'`' | b'{' | b'}' | b'\\' => IN_QUERY,
        _ => 0,
    }
}
