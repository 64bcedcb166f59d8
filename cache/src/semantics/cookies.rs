//! The cookies of a request (RFC 6265 §4.2.1), as far as caching looks at them: by name.
//!
//! Called by `request` (does it have one that says who asks?), `vary` (which of them select?) and `edge::origin::forward` (which of them go
//! with a fetch for the store?). Values are bytes and are not looked into. Invariant: all judge a cookie alike, so that what neither makes a
//! request personal nor selects is not known to the origin either.

use http::{HeaderMap, header};

use super::fields;

/// The cookie pairs of a request, over all its lines; HTTP/2 splits them (RFC 9113 §8.2.3).
fn pairs(request: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = request.get_all(header::COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(fields::trim).filter(|pair| !pair.is_empty())
}

/// Whether there is a cookie that no pattern matches. What is no name=value pair counts too: who knows.
pub(super) fn has_other(request: &HeaderMap, ignored: &[String]) -> bool {
    pairs(request).any(|pair| !is_ignored(pair, ignored))
}

/// Whether there is a cookie that a pattern matches.
pub fn has_ignored(request: &HeaderMap, ignored: &[String]) -> bool {
    pairs(request).any(|pair| is_ignored(pair, ignored))
}

/// The cookies that no pattern matches, in their order; `None` when there is none.
pub fn kept(request: &HeaderMap, ignored: &[String]) -> Option<Vec<u8>> {
    let kept: Vec<_> = pairs(request)
        .filter(|pair| !is_ignored(pair, ignored))
        .collect();
    (!kept.is_empty()).then(|| kept.join(b"; ".as_slice()))
}

/// The cookies of a name, or of names that begin so where it ends with `*`, and those that may pass for them. They are sorted by name; among
/// those of one name the order stays, for the first one counts. Those that a pattern of `ignored` matches no side hears of, so they are as good
/// as not there. `None` when there is none.
pub(super) fn named(request: &HeaderMap, name: &str, ignored: &[String]) -> Option<Vec<u8>> {
    let mut named: Vec<_> = pairs(request)
        .filter(|pair| may_pass_for(name, name_of(pair)) && !is_ignored(pair, ignored))
        .collect();
    named.sort_by_cached_key(|pair| heard(name_of(pair)));
    (!named.is_empty()).then(|| named.join(b"; ".as_slice()))
}

fn is_ignored(pair: &[u8], patterns: &[String]) -> bool {
    let name = name_of(pair);
    let is_it = |pattern: &String| matches(pattern.as_bytes(), name);
    patterns.iter().any(is_it)
}

fn name_of(pair: &[u8]) -> &[u8] {
    fields::trim(pair.split(|byte| *byte == b'=').next().unwrap_or_default())
}

/// Whether a line of `Set-Cookie` gives a cookie that an application may take for one of this name.
pub(super) fn gives(line: &[u8], name: &str) -> bool {
    may_pass_for(name, name_of(line))
}

/// A trailing `*` stands for anything; names are case-sensitive (RFC 6265 §5.3).
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.strip_suffix(b"*") {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

/// Whether an application may take a cookie for one that a pattern matches. PHP writes names anew before it shows them: whoever writes one so
/// would be told apart by the page, and not here.
fn may_pass_for(pattern: &str, name: &[u8]) -> bool {
    let (pattern, name) = (heard(pattern.as_bytes()), heard(name));
    let is_end = |byte: &u8| matches!(byte, b'[' | 0);
    let end = name.iter().position(is_end).unwrap_or(name.len());
    // A bracket that nothing closes does not begin an index.
    let flat: Vec<_> = name
        .iter()
        .map(|byte| if *byte == b'[' { b'_' } else { *byte })
        .collect();
    matches(&pattern, &name[..end]) || matches(&pattern, &flat)
}

/// A name as PHP hears it, but for brackets: without spaces before it, others and dots as `_`. Versions before 7.2.34 decode it first.
fn heard(name: &[u8]) -> Vec<u8> {
    let decoded = decoded(name);
    let begins = decoded.iter().position(|byte| *byte != b' ');
    let rest = &decoded[begins.unwrap_or(decoded.len())..];
    let as_heard = |byte: &u8| match byte {
        b' ' | b'.' => b'_',
        other => *other,
    };
    rest.iter().map(as_heard).collect()
}

fn decoded(mut name: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(name.len());
    while let [first, rest @ ..] = name {
        let escaped = match name {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)),
            _ => None,
        };
        let escaped = escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        decoded.push(match (escaped, first) {
            (Some(byte), _) => byte,
            (None, b'+') => b' ',
            (None, other) => *other,
        });
        name = if escaped.is_some() { &name[3..] } else { rest };
    }
    decoded
}
