//! Fields as lists: how several lines and commas become members (RFC 9110 §5.3, §5.6.1), and which fields are hop-by-hop (§7.6.1).
//!
//! Called by every module that reads a list field. Knows no field's meaning. Works on bytes: values may hold obs-text.
//! Invariant: linear in the length of the values, and a comma within a quoted string never ends a member.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::time::Timestamp;

/// The members of a list field, over all its lines, in order, without surrounding whitespace; empty ones are left out (§5.6.1.2).
pub(super) fn members<'a>(
    fields: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let lines = fields.get_all(name).into_iter();
    lines
        .flat_map(|line| split(line.as_bytes()))
        .filter(|member| !member.is_empty())
}

/// One value cut at its commas; members are trimmed and may be empty. A quoted string that does not end hides nothing: from its
/// opening quote on, quotes are plain bytes, so that no sender hides a directive behind a lone one.
pub(super) fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    let mut quotes = Quotes::Count;
    std::iter::from_fn(move || {
        let value = rest?;
        let end = member_end(value, &mut quotes);
        rest = value.get(end + 1..);
        Some(trim(&value[..end]))
    })
}

/// Without the whitespace around it (OWS: space and tab).
pub(super) fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// Whether quotes still delimit strings in the value that is being read.
#[derive(PartialEq)]
enum Quotes {
    Count,
    /// One was never closed. Looking for the end of the others again would take quadratic time.
    Plain,
}

fn member_end(value: &[u8], quotes: &mut Quotes) -> usize {
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        match byte {
            b',' => return at,
            b'"' if *quotes == Quotes::Count => match quoted_end(value, at) {
                Some(end) => at = end,
                None => *quotes = Quotes::Plain,
            },
            _ => {}
        }
        at += 1;
    }
    at
}

/// Where the quoted string that opens at `open` closes (RFC 9110 §5.6.4).
fn quoted_end(value: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match value.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The content of a quoted string with its escapes undone; `None` if `value` is not exactly one quoted string.
pub(super) fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    if value.first() != Some(&b'"') || quoted_end(value, 0)? + 1 != value.len() {
        return None;
    }
    let mut escaped = false;
    let inner = value[1..value.len() - 1].iter().copied();
    Some(
        inner
            .filter(|byte| {
                escaped = *byte == b'\\' && !escaped;
                !escaped
            })
            .collect(),
    )
}

/// The number that digits, and nothing else, write; saturates.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    };
    Some(text.iter().fold(0, add))
}

/// Sets `Date` to this moment.
pub(super) fn set_date(fields: &mut HeaderMap, moment: Timestamp) {
    if let Ok(date) = HeaderValue::try_from(moment.http_date().to_string()) {
        fields.insert(header::DATE, date);
    }
}

/// Whether it is a token (RFC 9110 §5.6.2).
pub(super) fn is_token(value: &[u8]) -> bool {
    !value.is_empty()
        && value
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// The fields that `Connection` names: they end at this hop (RFC 9110 §7.6.1).
pub fn connection_options(fields: &HeaderMap) -> Vec<HeaderName> {
    members(fields, &header::CONNECTION)
        .filter_map(|m| HeaderName::from_bytes(m).ok())
        .collect()
}

/// Fields that concern one connection only: never stored, never passed on (RFC 9110 §7.6.1, RFC 9111 §3.1).
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    const NAMES: [&str; 10] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(value: &str, members: &[&str]) {
        let split: Vec<_> = split(value.as_bytes())
            .map(|m| std::str::from_utf8(m).unwrap())
            .collect();
        assert_eq!(split, members, "{value}");
    }

    #[test]
    fn members_end_at_commas_outside_of_quotes() {
        check("", &[""]);
        check("a", &["a"]);
        check(
            " a ,\tb,, c=\"d, e\" , f",
            &["a", "b", "", "c=\"d, e\"", "f"],
        );
        check("a=\"\\\"b, c\", d", &["a=\"\\\"b, c\"", "d"]);
        check("a,", &["a", ""]);
    }

    #[test]
    fn a_lone_quote_hides_no_member() {
        check("a=\"b, no-store", &["a=\"b", "no-store"]);
        check("a=\"b\", c=\"d, e", &["a=\"b\"", "c=\"d", "e"]);
        check("a=\"\\", &["a=\"\\"]);
    }

    #[test]
    fn a_quoted_string_is_unquoted_once() {
        assert_eq!(
            unquote(br#""a\"b\\c""#).as_deref(),
            Some(br#"a"b\c"#.as_slice())
        );
        assert_eq!(unquote(b"\"\"").as_deref(), Some(b"".as_slice()));
        for broken in [b"".as_slice(), b"\"", b"a", b"\"a", b"\"a\"b", b"\"a\\\""] {
            assert_eq!(unquote(broken), None);
        }
    }

    #[test]
    fn long_runs_of_escaped_lone_quotes_take_linear_time() {
        let value = [b"a=".as_slice(), &b"\"\\".repeat(200_000)].concat();
        assert_eq!(split(&value).count(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..60)) {
            for member in split(&value) {
                let _ = unquote(member);
            }
        }
    }
}
