//! One selecting field in the form in which equal means the same (RFC 9111 §4.1).
//!
//! Called by `SelectingFields::hash`. Every field: lines joined, whitespace around commas removed. `Accept-Encoding`: an unordered set
//! of codings with weights (RFC 9110 §12.5.3). `Accept-Language`: letter case (§12.5.4), not order, which an origin may go by; its meaning
//! only where the site's rules say so. `Cookie` is no list, and is read by `cookies`.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, header};

use super::language::Preferences;
use crate::semantics::fields;

/// Begins a value that was taken apart, which no field value can begin with: it must not equal what a malformed one says.
const NORMALISED: &[u8] = b"\0";

pub(super) fn value(name: &HeaderName, request: &HeaderMap) -> Vec<u8> {
    match *name {
        header::ACCEPT_ENCODING => codings(request).unwrap_or_else(|| list(name, request)),
        header::ACCEPT_LANGUAGE => list(name, request).to_ascii_lowercase(),
        _ => list(name, request),
    }
}

/// `Accept-Language` by its meaning, for a response in this language (a tag in lower case): all requests that prefer nothing to it are
/// alike; others are as their ranges and qualities, in any order.
pub(super) fn languages(request: &HeaderMap, tag: Option<&str>) -> Vec<u8> {
    let Some(preferences) = Preferences::of(request) else {
        return value(&header::ACCEPT_LANGUAGE, request);
    };
    let mut out = NORMALISED.to_vec();
    match tag.filter(|tag| preferences.prefer_none_to(tag)) {
        // Ranges begin with a letter, a digit or `*`.
        Some(_) => out.push(b'!'),
        None => put_weighted(&mut out, preferences.iter()),
    }
    out
}

/// The members joined by bare commas; empty members count, since an unknown field may give them a meaning.
fn list(name: &HeaderName, request: &HeaderMap) -> Vec<u8> {
    let lines = request.get_all(name).into_iter();
    let members: Vec<_> = lines
        .flat_map(|line| fields::split(line.as_bytes()))
        .collect();
    members.join(&b',')
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
    put_weighted(
        &mut out,
        codings.iter().map(|(c, weight)| (c.as_slice(), *weight)),
    );
    Some(out)
}

fn put_weighted<'a>(out: &mut Vec<u8>, members: impl Iterator<Item = (&'a [u8], u16)>) {
    for (member, weight) in members {
        out.extend(member);
        out.extend(format!("={weight},").into_bytes());
    }
}

/// A coding, with old names replaced (RFC 9110 §8.4.1), and its weight in thousandths.
fn coding(member: &[u8]) -> Option<(Vec<u8>, u16)> {
    let (coding, weight) = weighted(member)?;
    if !fields::is_token(&coding) {
        return None;
    }
    let coding = match coding.as_slice() {
        b"x-gzip" => b"gzip".to_vec(),
        b"x-compress" => b"compress".to_vec(),
        _ => coding,
    };
    Some((coding, weight))
}

/// What stands before `;q=`, in lower case, and the weight in thousandths; without one it is 1000.
pub(super) fn weighted(member: &[u8]) -> Option<(Vec<u8>, u16)> {
    let mut parts = member.splitn(2, |byte| *byte == b';');
    let what = fields::trim(parts.next()?).to_ascii_lowercase();
    Some((what, parts.next().map_or(Some(1000), weight)?))
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
