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

/// The cookies of a name, or of names that begin so where it ends with `*`, sorted: their order says nothing. Those that a pattern of
/// `ignored` matches no side hears of, so they are as good as not there. `None` when there is none.
pub(super) fn named(request: &HeaderMap, name: &str, ignored: &[String]) -> Option<Vec<u8>> {
    let mut named: Vec<_> = pairs(request)
        .filter(|pair| matches(name, name_of(pair)) && !is_ignored(pair, ignored))
        .collect();
    named.sort_unstable();
    (!named.is_empty()).then(|| named.join(b"; ".as_slice()))
}

fn is_ignored(pair: &[u8], patterns: &[String]) -> bool {
    let name = name_of(pair);
    patterns.iter().any(|pattern| matches(pattern, name))
}

fn name_of(pair: &[u8]) -> &[u8] {
    fields::trim(pair.split(|byte| *byte == b'=').next().unwrap_or_default())
}

/// A trailing `*` stands for anything; names are case-sensitive (RFC 6265 §5.3).
fn matches(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => name == pattern.as_bytes(),
    }
}
