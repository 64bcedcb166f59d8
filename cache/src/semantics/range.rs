//! Which part of a stored response a Range asks for (RFC 9110 §14).
//!
//! Called by `edge::response::deliver` for a stored response whose content is complete and of known length. Answers with byte
//! positions; it reads no content. Ranges are an option of the server (§14.2): what is malformed, or asks for an unreasonable number of
//! parts (§17.15), gets the whole. Invariant: every part lies within the content, and is not empty.

use std::fmt;

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::entity_tag::EntityTag;
use super::fields;
use super::request::{ReadMethod, RequestPolicy};
use crate::stored::StoredResponse;
use crate::time::Timestamp;

pub mod multipart;

/// The most parts that one answer has. Requests for more get the whole.
pub const PARTS_MAX: usize = 32;

/// A part of a content: first and last byte, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    first: u64,
    last: u64,
}

impl Part {
    /// The position of its first byte.
    pub const fn first(self) -> u64 {
        self.first
    }

    /// The position of its last byte.
    pub const fn last(self) -> u64 {
        self.last
    }

    /// How many bytes it has: at least 1.
    pub const fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// `Content-Range` of a 206 with this part of a content of `complete` bytes (RFC 9110 §14.4).
    pub const fn content_range(self, complete: u64) -> ContentRange {
        ContentRange {
            part: Some(self),
            complete,
        }
    }

    const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The value of `Content-Range`; made by [`Part::content_range`] for a 206, by [`Self::unsatisfied`] for a 416.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    part: Option<Part>,
    complete: u64,
}

impl ContentRange {
    /// That of a 416: only the complete length.
    pub const fn unsatisfied(complete: u64) -> Self {
        Self {
            part: None,
            complete,
        }
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Some(Part { first, last }) => write!(f, "bytes {first}-{last}/{}", self.complete),
            None => write!(f, "bytes */{}", self.complete),
        }
    }
}

/// What of a content to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// All of it, with the stored status: there is no range, or it does not count.
    Whole,
    /// 206 with one part.
    Part(Part),
    /// 206 with several parts, in the order in which they were asked for (see [`multipart`]).
    Parts(Vec<Part>),
    /// 416: the content has none of what was asked for.
    Unsatisfiable,
}

impl Selected {
    /// The position of the first byte that is wanted.
    pub fn first(&self) -> u64 {
        match self {
            Self::Whole | Self::Unsatisfiable => 0,
            Self::Part(part) => part.first,
            Self::Parts(parts) => parts.iter().map(|part| part.first).min().unwrap_or(0),
        }
    }
}

/// What a request wants of a stored response whose content has `length` bytes. Call it after [`super::validation::precondition`]: a
/// 304 goes before a range (RFC 9110 §13.2.2).
pub fn select(
    policy: &RequestPolicy,
    request: &HeaderMap,
    response: &StoredResponse,
    length: u64,
) -> Selected {
    // RFC 9110 §14.2: only for GET, only what would be a 200.
    let applies = policy.range
        && policy.method == ReadMethod::Get
        && response.status == StatusCode::OK
        && if_range_holds(request, response);
    let mut lines = request.get_all(header::RANGE).iter();
    match lines.next().filter(|_| applies) {
        Some(line) if lines.next().is_none() => parts(line.as_bytes(), length),
        _ => Selected::Whole,
    }
}

/// RFC 9110 §13.1.5: strong comparison only; a date counts if it is exactly a `Last-Modified` that is strong.
fn if_range_holds(request: &HeaderMap, response: &StoredResponse) -> bool {
    let mut lines = request.get_all(header::IF_RANGE).iter();
    let Some(value) = lines.next() else {
        return true;
    };
    if lines.next().is_some() {
        return false;
    }
    if let Some(tag) = EntityTag::parse(value.as_bytes()) {
        let stored = response.validators.tag();
        return stored.is_some_and(|stored| tag.is_strongly(stored));
    }
    let Some((_, modified)) = &response.validators.last_modified else {
        return false;
    };
    // §8.8.2.2: strong if it is at least a second older than the Date of the response that brought it.
    let made = response.validators.date;
    let asked = Timestamp::parse_http_date(value.as_bytes(), response.times.response_time);
    asked == Some(*modified) && made.since(*modified).as_secs() >= 1
}

/// `bytes=` and a set of ranges (RFC 9110 §14.1.2). Another unit, or one malformed range, and the whole is sent.
fn parts(value: &[u8], length: u64) -> Selected {
    let Some(set) = range_set(value) else {
        return Selected::Whole;
    };
    let Some(ranges) = set.collect::<Option<Vec<_>>>().filter(|r| is_reasonable(r)) else {
        return Selected::Whole;
    };
    let parts: Vec<_> = ranges
        .into_iter()
        .filter_map(|range| range.within(length))
        .collect();
    match parts.as_slice() {
        [] => Selected::Unsatisfiable,
        [part] => Selected::Part(*part),
        _ if overlap(&parts) => Selected::Whole,
        _ => Selected::Parts(parts),
    }
}

fn range_set(value: &[u8]) -> Option<impl Iterator<Item = Option<Range>>> {
    let (unit, set) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let members = set
        .split(|byte| *byte == b',')
        .map(fields::trim)
        .filter(|m| !m.is_empty());
    Some(members.take(PARTS_MAX + 1).map(Range::parse))
}

fn is_reasonable(ranges: &[Range]) -> bool {
    (1..=PARTS_MAX).contains(&ranges.len())
}

/// Parts that overlap would send bytes twice: no honest client needs that (RFC 9110 §17.15).
fn overlap(parts: &[Part]) -> bool {
    let mut sorted = parts.to_vec();
    sorted.sort_unstable_by_key(|part| part.first);
    sorted.windows(2).any(|pair| pair[0].overlaps(pair[1]))
}

/// A range as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Range {
    From(u64),
    Within(u64, u64),
    Suffix(u64),
}

impl Range {
    fn parse(member: &[u8]) -> Option<Self> {
        let dash = member.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&member[..dash], &member[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, _) => Some(Self::Suffix(fields::digits(last)?)),
            (false, true) => Some(Self::From(fields::digits(first)?)),
            (false, false) => {
                let (first, last) = (fields::digits(first)?, fields::digits(last)?);
                // §14.1.1: a last position below the first is invalid.
                (first <= last).then_some(Self::Within(first, last))
            }
        }
    }

    /// The part of a content of `length` bytes, if there is any of it.
    fn within(self, length: u64) -> Option<Part> {
        let end = length.checked_sub(1)?;
        let part = match self {
            Self::From(first) => Part { first, last: end },
            Self::Within(first, last) => Part {
                first,
                last: last.min(end),
            },
            Self::Suffix(0) => return None,
            Self::Suffix(count) => Part {
                first: length.saturating_sub(count),
                last: end,
            },
        };
        (part.first <= end).then_some(part)
    }
}

/// Whether a stored field belongs into a 206 with one part (RFC 9110 §15.3.7): a client that sent `If-Range` has what describes the
/// representation already. What does not describe it (CORS, cookies, security policies) is about this answer, and stays.
pub fn is_carried(name: &HeaderName, request: &HeaderMap) -> bool {
    const KNOWN: [HeaderName; 4] = [
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_TYPE,
        header::LAST_MODIFIED,
    ];
    !request.contains_key(header::IF_RANGE) || !KNOWN.contains(name)
}

#[cfg(test)]
mod tests;
