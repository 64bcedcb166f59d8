//! The names by which an origin groups responses for purging.
//!
//! Called by `storable` once per stored response, and by `edge::control::purge`, which has to name them alike. Reads `Cache-Groups` (RFC 9875) and the fields that existing plugins send. All but
//! `Cache-Groups`, a standard field for downstream caches too, are withheld from visitors. Invariant: every tag is kept, or the
//! response is not stored: a tag that was dropped silently would make a purge incomplete.

use http::{HeaderMap, HeaderName};

use super::structured::{self, Item};
use crate::reason::Reason;

const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The page of a TYPO3 site, and the site among those of one installation.
static TYPO3: [HeaderName; 2] = [
    HeaderName::from_static("typo3-pid"),
    HeaderName::from_static("typo3-sitename"),
];

/// Fields with tags that are separated by commas, whitespace or both.
static FIELDS: [HeaderName; 8] = [
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("cache-tags"),
    HeaderName::from_static("xkey"),
    HeaderName::from_static("x-cache-tags"),
    HeaderName::from_static("x-magento-tags"),
    HeaderName::from_static("x-litespeed-tag"),
    HeaderName::from_static("purge-cache-tags"),
];

/// Fields of responses that order purges.
static ORDERS: [HeaderName; 2] = [
    HeaderName::from_static("x-litespeed-purge"),
    HeaderName::from_static("x-litespeed-purge2"),
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
    let all = groups.chain(tags).chain(typo3_of(response));
    let mut all: Vec<Box<str>> = all.map(String::into_boxed_str).collect();
    all.sort_unstable();
    all.dedup();
    let bytes: usize = all.iter().map(|tag| tag.len()).sum();
    if all.len() > TAGS_MAX || bytes > TAG_BYTES_MAX {
        return Err(Reason::TooManyTags);
    }
    Ok(all.into())
}

/// The tag of a page, of a site, or of a page of a site, as TYPO3 names them; `None` when neither is named.
pub fn typo3(pid: Option<&str>, sitename: Option<&str>) -> Option<String> {
    let (pid, sitename) = (pid.map(str::trim), sitename.map(str::trim));
    match (pid, sitename) {
        (Some(pid), Some(sitename)) => Some(format!("typo3:{sitename}:{pid}")),
        (Some(pid), None) => Some(format!("typo3-pid:{pid}")),
        (None, Some(sitename)) => Some(format!("typo3-sitename:{sitename}")),
        (None, None) => None,
    }
}

/// All that purges of TYPO3 may name a response by.
fn typo3_of(response: &HeaderMap) -> impl Iterator<Item = String> + use<> {
    let text = |name| response.get(name).and_then(|value| value.to_str().ok());
    let [pid, sitename] = TYPO3.each_ref().map(text);
    let both = pid.and(sitename).and_then(|_| typo3(pid, sitename));
    [typo3(pid, None), typo3(None, sitename), both]
        .into_iter()
        .flatten()
}

/// The groups that an answer to an unsafe request invalidates (RFC 9875 §3). A malformed list names none.
pub fn invalidated_groups(response: &HeaderMap) -> Vec<String> {
    let members = structured::list(response, &CACHE_GROUP_INVALIDATION).unwrap_or_default();
    let groups = members.into_iter().filter_map(|item| match item {
        Item::String(group) if !group.is_empty() => Some(group),
        _ => None,
    });
    groups.collect()
}

/// Whether a field carries tags, or orders about them, for the edge alone.
pub(super) fn is_tag_field(name: &HeaderName) -> bool {
    FIELDS.contains(name) || TYPO3.contains(name) || ORDERS.contains(name)
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
    fn a_page_of_typo3_has_the_names_that_its_purges_use() {
        check(&[("typo3-pid", "7")], Ok(&["typo3-pid:7"]));
        check(
            &[("typo3-pid", "7"), ("typo3-sitename", "h")],
            Ok(&["typo3-pid:7", "typo3-sitename:h", "typo3:h:7"]),
        );
        assert_eq!(typo3(Some(" 7"), Some("h")).as_deref(), Some("typo3:h:7"));
        assert_eq!(typo3(None, None), None);
    }

    #[test]
    fn an_answer_names_the_groups_that_it_invalidates() {
        let check = |value: &'static str, expected: &[&str]| {
            let value = HeaderValue::from_static(value);
            let map = [(CACHE_GROUP_INVALIDATION, value)].into_iter().collect();
            assert_eq!(invalidated_groups(&map), expected);
        };
        check("\"a b\", \"c\";p", &["a b", "c"]);
        check("tok, \"\", \"a\"", &["a"]);
        check("\"a", &[]);
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
