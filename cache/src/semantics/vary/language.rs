//! Languages by their meaning: what a response is in, and what a request prefers (RFC 9110 §8.5, §12.5.4).
//!
//! Called by `selectors` for a response, by `normalise` for a request, only where the site's rules look at qualities. Ranges match as in
//! RFC 4647 §3.3.1 (a range is the tag, or its beginning up to a hyphen), the longest counts. `*` prefers nothing: what it gets is the
//! origin's choice. Invariant: what is malformed has no meaning, and is compared as text.

use std::collections::BTreeMap;

use http::{HeaderMap, header};

use super::normalise;
use crate::semantics::fields;

/// The one language that a response is in, in lower case; `None` when there are none or several.
pub(super) fn of(response: &HeaderMap) -> Option<Box<str>> {
    let mut members = fields::members(response, &header::CONTENT_LANGUAGE);
    let tag = members.next().filter(|_| members.next().is_none())?;
    let is_tag = is_range(tag) && tag != b"*";
    let tag = std::str::from_utf8(tag).ok().filter(|_| is_tag)?;
    Some(tag.to_ascii_lowercase().into())
}

/// The ranges of a request, each with its quality in thousandths, sorted.
pub(super) struct Preferences(BTreeMap<Vec<u8>, u16>);

impl Preferences {
    /// `None` when a member is malformed or a range comes twice.
    pub(super) fn of(request: &HeaderMap) -> Option<Self> {
        let mut ranges = BTreeMap::new();
        for member in fields::members(request, &header::ACCEPT_LANGUAGE) {
            let (range, quality) = normalise::weighted(member)?;
            if !is_range(&range) || ranges.insert(range, quality).is_some() {
                return None;
            }
        }
        Some(Self(ranges))
    }

    /// Whether nothing is preferred to this language (a tag in lower case).
    pub(super) fn prefer_none_to(&self, tag: &str) -> bool {
        let best = self.0.values().max().copied().unwrap_or_default();
        let matching = self.0.iter().filter(|(range, _)| is_within(tag, range));
        let quality = matching
            .max_by_key(|(range, _)| range.len())
            .map(|(_, q)| *q);
        best > 0 && quality == Some(best)
    }

    /// Range and quality of each, sorted by range.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u16)> {
        self.0
            .iter()
            .map(|(range, quality)| (range.as_slice(), *quality))
    }
}

/// RFC 4647 §2.1, without its limit of eight characters between hyphens.
fn is_range(text: &[u8]) -> bool {
    let is_subtag =
        |subtag: &[u8]| !subtag.is_empty() && subtag.iter().all(u8::is_ascii_alphanumeric);
    text == b"*" || text.split(|byte| *byte == b'-').all(is_subtag)
}

fn is_within(tag: &str, range: &[u8]) -> bool {
    let rest = tag.as_bytes().strip_prefix(range);
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'-')))
}
