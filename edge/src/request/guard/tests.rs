//! Tables of what the guard accepts and refuses, one file a subject; here what they share, and that no rule lacks an example.

mod chunked;
mod fields;
mod http2;
mod lines;
mod properties;
mod smuggling;
mod target;

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use jet9_cache::Scheme;
use jet9_config::limits::Limits;

use super::head::Search;
use super::*;
use crate::message::Request;

/// An example: bytes, and the rule that they break.
type Refused = (&'static [u8], Rule);

/// Reads one head over http as the front does.
fn read(head: &[u8]) -> Result<Accepted, Rule> {
    read_over(head, Scheme::Http)
}

/// The same over a connection of this scheme.
fn read_over(head: &[u8], scheme: Scheme) -> Result<Accepted, Rule> {
    let limits = Limits::default();
    let parsed = parse_http1(Bytes::copy_from_slice(head), scheme, &limits);
    parsed.map_err(|refusal| refusal.rule)
}

/// What reaches Pingora of a head.
#[track_caller]
fn check_composed(head: &str, composed: &str) -> Accepted {
    let accepted = read(head.as_bytes()).unwrap_or_else(|rule| panic!("{head:?}: {rule}"));
    let actual = compose_http1_head(&accepted.request);
    assert_eq!(String::from_utf8_lossy(&actual), composed, "{head:?}");
    accepted
}

#[track_caller]
fn check_refused(head: &[u8], rule: Rule) {
    let shown = head.escape_ascii();
    match read(head) {
        Ok(accepted) => panic!("accepted, not refused by {rule:?}: {shown}: {accepted:?}"),
        Err(actual) => assert_eq!(actual, rule, "{shown}"),
    }
}

/// A request over HTTP/1.1 with these field lines, each with its line end.
fn with_fields(lines: &[u8]) -> Vec<u8> {
    with_request_line(b"POST / HTTP/1.1", lines)
}

fn with_request_line(line: &[u8], lines: &[u8]) -> Vec<u8> {
    [line, b"\r\nHost: a.test\r\n", lines, b"\r\n"].concat()
}

/// The parts of a request that the protocol version does not change, in a form that can be compared.
fn parts(request: &Request) -> impl PartialEq + std::fmt::Debug + use<> {
    let Request {
        method,
        protocol: _,
        scheme,
        host,
        port,
        path_and_query,
        fields,
        content,
        upgrade,
        expects_continue,
    } = request.clone();
    (
        (method, scheme, host, port, path_and_query),
        (fields, content, upgrade, expects_continue),
    )
}

#[test]
fn every_rule_has_an_example() {
    let tables = [
        lines::REFUSED,
        lines::REFUSED_EARLY,
        target::REFUSED,
        target::REFUSED_HOSTS,
        fields::REFUSED,
        chunked::REFUSED,
    ];
    let mut shown: HashSet<Rule> = tables.concat().into_iter().map(|(_, rule)| rule).collect();
    shown.extend(http2::REFUSED.iter().map(|(_, rule)| *rule));
    // With limits of their own: see `lines`.
    shown.extend([Rule::HeadBytes, Rule::HeadFields, Rule::RequestLineBytes]);
    for rule in Rule::ALL {
        assert!(shown.contains(rule), "{rule:?}");
    }
}

#[test]
fn words_are_unique_and_statuses_are_errors() {
    let words: HashSet<&str> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(words.len(), Rule::ALL.len());
    for rule in Rule::ALL {
        let refusal = Refusal::from(*rule);
        assert!(refusal.status.is_client_error() || refusal.status.is_server_error());
    }
    assert_eq!(Rule::BareLf.status(), StatusCode::BAD_REQUEST);
}

#[test]
fn the_manual_lists_every_rule() {
    let manual = include_str!("../../../../docs/guard.md");
    for rule in Rule::ALL {
        let row = format!(
            "| `{}` | {} | {} | {} |",
            rule.as_str(),
            rule.status().as_u16(),
            rule.text(),
            rule.clause()
        );
        assert!(manual.lines().any(|line| line == row), "missing: {row}");
    }
    let rows = manual.lines().filter(|line| line.starts_with("| `"));
    assert_eq!(rows.count(), Rule::ALL.len(), "rows that are no rule");
}
