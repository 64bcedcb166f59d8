//! Lists of tags in requests: plain ones, and the alternations that were made to be matched against a list.
//!
//! Called by [`super::fields`]. A plain list is split as tags of responses are (`jet9_cache::semantics`), so that what an application names is
//! what it gave. An alternation is what Magento, FOSHttpCache and Drupal send to a cache that matches expressions against the field: tags
//! joined by `|`, each or all between groups that mean "the edge of a member". Nothing else is understood.

use super::{Hint, pattern};

/// What stands for the edge of a list's member.
const EDGES: [&str; 12] = [
    "(^|,)", "(,|$)", "(^| )", "( |$)", "(^|\\s)", "(\\s|$)", "(?:^|,)", "(?:,|$)", "(^|;)",
    "(;|$)", "(^|[, ])", "([, ]|$)",
];

/// The tags of a list: separated by commas, whitespace or both.
pub(super) fn list(value: &str) -> Vec<String> {
    let members = value.split(|c: char| c.is_ascii_whitespace() || c == ',');
    members
        .filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The tags of an alternation or a list; `None`: all of them.
pub(super) fn alternation(value: &str) -> Result<Option<Vec<String>>, Hint> {
    if pattern::is_everything(value) && !value.trim().is_empty() {
        return Ok(None);
    }
    let mut text = value.to_owned();
    for edge in EDGES {
        // Between two members it separates them; the outer ones leave empty members behind, which are none.
        text = text.replace(edge, ",");
    }
    let mut tags = Vec::new();
    for member in text.split(|c: char| c.is_ascii_whitespace() || matches!(c, ',' | '|')) {
        tags.extend(tag(member)?);
    }
    Ok(Some(tags))
}

/// A member without the parentheses around it and its neighbours.
fn tag(member: &str) -> Result<Option<String>, Hint> {
    const HINT: &str = "tags are matched whole: give them in a list, or as an alternation such as `a|b`; nothing was purged";
    let member = member.trim_start_matches('(');
    let mut member = member;
    while let Some(shorter) = member
        .strip_suffix(')')
        .filter(|text| !text.ends_with('\\'))
    {
        member = shorter;
    }
    if member.is_empty() {
        return Ok(None);
    }
    pattern::unescape(member, "")
        .map(Some)
        .ok_or_else(|| HINT.into())
}
