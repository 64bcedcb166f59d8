//! The names by which an origin groups responses for purging.
//!
//! Called by `storable` once per stored response. Reads `Cache-Groups` (RFC 9875) and the fields that existing plugins send. All but
//! `Cache-Groups`, a standard field for downstream caches too, are withheld from visitors. Invariant: every tag is kept, or the
//! response is not stored: a tag that was dropped silently would make a purge incomplete.

use http::{HeaderMap, HeaderName};

use super::structured::{self, Item};
use crate::reason::Reason;

const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// Fields with tags that are separated by commas, whitespace or both.
static FIELDS: [HeaderName; 7] = [
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("cache-tags"),
    HeaderName::from_static("xkey"),
    HeaderName::from_static("x-cache-tags"),
    HeaderName::from_static("x-magento-tags"),
    HeaderName::from_static("x-litespeed-tag"),
];

/// The most tags that one stored response may have.
pub(super) const TAGS_MAX: usize = 1000;
/// The most bytes that the tags of one stored response may have together.
pub(super) const TAG_BYTES_MAX: usize = 32 * 1024;

/// The tags of a response, sorted, without duplicates. A malformed `Cache-Groups` has none (RFC 9875 §2).
pub(super) fn of(response: &HeaderMap) -> Result<Box<[Box<str>]>, Reason> {
    let groups = structured::list(response, &CACHE_GROUPS).unwrap_or_default();
    let groups = groups.into_iter().filter_map(|item| match item {
        Item::String(group) if !group.is_empty() => Some(group),
        _ => None,
    });
    let lines = FIELDS.iter().flat_map(|name| response.get_all(name));
    let tags = lines.flat_map(|line| split(line.as_bytes())).map(|tag| {
        // What is no UTF-8 purges a little more than it names, never less.
        String::from_utf8_lossy(tag).into_owned()
    });
    let mut all: Vec<Box<str>> = groups.chain(tags).map(String::into_boxed_str).collect();
    all.sort_unstable();
    all.dedup();
    let bytes: usize = all.iter().map(|tag| tag.len()).sum();
    if all.len() > TAGS_MAX || bytes > TAG_BYTES_MAX {
        return Err(Reason::TooManyTags);
    }
    Ok(all.into())
}

/// Whether a field carries tags for the edge alone.
pub(super) fn is_tag_field(name: &HeaderName) -> bool {
    FIELDS.contains(name)
}

fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace() || *byte == b',')
        .filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(fields: &[(&'static str, &str)], expected: Result<&[&str], Reason>) {
        let map = fields
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        let tags = of(&map);
        let tags = tags.map(|tags| tags.iter().map(ToString::to_string).collect::<Vec<_>>());
        let expected = expected.map(|tags| tags.iter().map(ToString::to_string).collect());
        assert_eq!(tags, expected);
    }

    #[test]
    fn tags_come_from_every_dialect() {
        check(&[], Ok(&[]));
        check(
            &[
                ("cache-groups", "\"a b\", \"c\";p"),
                ("surrogate-key", "d  e"),
            ],
            Ok(&["a b", "c", "d", "e"]),
        );
        check(
            &[("x-magento-tags", "cat_1,cat_2, cat_1"), ("xkey", "x")],
            Ok(&["cat_1", "cat_2", "x"]),
        );
        check(
            &[("cache-tag", "a"), ("cache-tag", "b,c")],
            Ok(&["a", "b", "c"]),
        );
    }

    #[test]
    fn malformed_groups_are_none() {
        check(&[("cache-groups", "\"a")], Ok(&[]));
        check(&[("cache-groups", "tok, 1, \"a\"")], Ok(&["a"]));
    }

    #[test]
    fn too_many_tags_are_refused_not_cut() {
        let many: Vec<_> = (0..=TAGS_MAX).map(|n| n.to_string()).collect();
        check(
            &[("surrogate-key", &many.join(" "))],
            Err(Reason::TooManyTags),
        );
        check(
            &[("surrogate-key", &"x".repeat(TAG_BYTES_MAX + 1))],
            Err(Reason::TooManyTags),
        );
    }
}
