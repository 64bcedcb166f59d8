//! What a response says to a LiteSpeed server in front of it, where a site wants this cache to listen.
//!
//! Called by `directives` and `storable` (is it stored, and for how long?) and by `vary` (which cookies select?). Follows LiteSpeed's developer guide
//! (docs.litespeedtech.com/lscache/devguide, "Basic Controls" and "Advanced Concepts"; nobody standardised it), as far as a shared cache that
//! runs no rewrite rules and no ESI can. Where it cannot, the response is not stored: it was made for more than this cache does.
//! Invariant: two visitors whom a page tells apart by its vary cookies never get each other's.

use http::{HeaderMap, HeaderName, header};

use super::{cookies, fields};
use crate::reason::Reason;

/// Goes before every other directive of caching but our own.
pub(super) const CACHE_CONTROL: HeaderName = HeaderName::from_static("x-litespeed-cache-control");
/// Names cookies that select, beside [`ALWAYS`].
pub(super) const VARY: HeaderName = HeaderName::from_static("x-litespeed-vary");

/// The cookies that select without being named: plugins give them to visitors whose pages differ (a role, a currency, a kind of device).
pub(super) const ALWAYS: &str = "_lscache_vary*";

/// Whether a field is for the cache alone.
pub(super) fn is_field(name: &HeaderName) -> bool {
    *name == CACHE_CONTROL || *name == VARY
}

/// Whether a response was made with such a cache in mind.
pub(super) fn is_addressed(response: &HeaderMap) -> bool {
    response.contains_key(CACHE_CONTROL) || response.contains_key(VARY)
}

/// The cookies that select a response, as patterns: sorted, without duplicates.
///
/// # Errors
/// `VaryStar` where something selects that no request tells here: a value that a rewrite rule would set, or what is no name of a cookie.
pub(super) fn cookies(response: &HeaderMap) -> Result<Vec<Box<str>>, Reason> {
    if !is_addressed(response) || has_no_vary(response) {
        return Ok(Vec::new());
    }
    let mut names: Vec<Box<str>> = vec![ALWAYS.into()];
    for line in response.get_all(VARY) {
        let members = line.as_bytes().split(|byte| matches!(byte, b',' | b';'));
        for member in members
            .map(fields::trim)
            .filter(|member| !member.is_empty())
        {
            let name = member.strip_prefix(b"cookie=").ok_or(Reason::VaryStar)?;
            let name = fields::trim(name);
            if !fields::is_token(name) || name.contains(&b'*') {
                return Err(Reason::VaryStar);
            }
            names.push(String::from_utf8_lossy(name).into());
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Whether a response gives its visitor a cookie that selects: then it was made for those who have it, and asked for by one who has not.
pub(super) fn gives_selecting_cookie(response: &HeaderMap) -> bool {
    let Ok(selecting) = cookies(response) else {
        return false;
    };
    let mut lines = response.get_all(header::SET_COOKIE).iter();
    lines.any(|line| {
        let mut names = selecting.iter();
        names.any(|name| cookies::gives(line.as_bytes(), name))
    })
}

fn has_no_vary(response: &HeaderMap) -> bool {
    fields::members(response, &CACHE_CONTROL).any(|member| member.eq_ignore_ascii_case(b"no-vary"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::fields;
    use super::*;

    #[test]
    fn cookies_select_where_a_response_is_addressed_to_such_a_cache() {
        let check = |lines: &[(&str, &str)], expected: Result<&[&str], Reason>| {
            let got = cookies(&fields(lines));
            let got = got
                .as_ref()
                .map(|names| names.iter().map(|name| &**name).collect::<Vec<_>>());
            let expected = expected.as_ref().map(|names| names.to_vec());
            assert_eq!(got, expected, "{lines:?}");
        };
        let control = |value| ("x-litespeed-cache-control", value);
        let vary = |value| ("x-litespeed-vary", value);
        check(&[], Ok(&[]));
        check(&[("cache-control", "max-age=9")], Ok(&[]));
        check(&[control("public,max-age=9")], Ok(&[ALWAYS]));
        check(
            &[vary("cookie=b, cookie=a"), vary("cookie=b")],
            Ok(&[ALWAYS, "a", "b"]),
        );
        check(&[vary("cookie=a;cookie=b")], Ok(&[ALWAYS, "a", "b"]));
        check(&[control("public, No-Vary"), vary("cookie=a")], Ok(&[]));
        for unclear in [
            "value=mobile",
            "cookie=a,value=b",
            "cookie",
            "cookie=",
            "cookie=a b",
            "cookie=a*",
        ] {
            check(&[vary(unclear)], Err(Reason::VaryStar));
        }
    }
}
