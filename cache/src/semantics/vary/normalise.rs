//! One selecting field in the form in which equal means the same (RFC 9111 §4.1).
//!
//! Called by `SelectingFields::hash`. Every field: lines joined, whitespace around commas removed. `Accept-Encoding`: an unordered set
//! of codings with weights (RFC 9110 §12.5.3). `Accept-Language`: letter case (§12.5.4), not order: the first among equals may be
//! preferred by an origin. `Cookie`: its crumbs joined (RFC 9113 §8.2.3), else byte for byte: its commas are no list.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, header};

use crate::semantics::fields;

/// Begins a normalised `Accept-Encoding`, which no field value can begin with: it must not equal what a malformed one says.
const NORMALISED: &[u8] = b"\0";

pub(super) fn value(name: &HeaderName, request: &HeaderMap) -> Vec<u8> {
    match *name {
        header::ACCEPT_ENCODING => codings(request).unwrap_or_else(|| list(name, request)),
        header::ACCEPT_LANGUAGE => list(name, request).to_ascii_lowercase(),
        header::COOKIE => join(name, request, b"; "),
        _ => list(name, request),
    }
}

/// The members joined by bare commas; empty members count, since an unknown field may give them a meaning.
fn list(name: &HeaderName, request: &HeaderMap) -> Vec<u8> {
    let lines = request.get_all(name).into_iter();
    let members: Vec<_> = lines
        .flat_map(|line| fields::split(line.as_bytes()))
        .collect();
    members.join(&b',')
}

fn join(name: &HeaderName, request: &HeaderMap, by: &[u8]) -> Vec<u8> {
    let lines: Vec<_> = request
        .get_all(name)
        .iter()
        .map(|l| fields::trim(l.as_bytes()))
        .collect();
    lines.join(by)
}

/// `coding=weight` sorted by coding; `None` when a member is malformed or a coding comes twice. Order carries no preference here,
/// weights do. No coding is dropped because the edge does not know it, nor for its weight of 0: the origin may see it differently.
fn codings(request: &HeaderMap) -> Option<Vec<u8>> {
    let mut codings = BTreeMap::new();
    for member in fields::members(request, &header::ACCEPT_ENCODING) {
        let (coding, weight) = coding(member)?;
        if codings.insert(coding, weight).is_some() {
            return None;
        }
    }
    let mut out = NORMALISED.to_vec();
    for (coding, weight) in codings {
        out.extend(coding);
        out.extend(format!("={weight},").into_bytes());
    }
    Some(out)
}

/// A coding, with old names replaced (RFC 9110 §8.4.1), and its weight in thousandths.
fn coding(member: &[u8]) -> Option<(Vec<u8>, u16)> {
    let mut parts = member.splitn(2, |byte| *byte == b';');
    let coding = fields::trim(parts.next()?).to_ascii_lowercase();
    if !fields::is_token(&coding) {
        return None;
    }
    let weight = parts.next().map_or(Some(1000), weight)?;
    let coding = match coding.as_slice() {
        b"x-gzip" => b"gzip".to_vec(),
        b"x-compress" => b"compress".to_vec(),
        _ => coding,
    };
    Some((coding, weight))
}

/// `q=0.5` in thousandths (RFC 9110 §12.4.2).
fn weight(parameter: &[u8]) -> Option<u16> {
    let lower = fields::trim(parameter).to_ascii_lowercase();
    let (whole, fraction) = match lower.strip_prefix(b"q=")? {
        [whole] => (whole, b"".as_slice()),
        [whole, b'.', fraction @ ..] => (whole, fraction),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(b"000").take(3);
    let thousandths = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}
