//! Patterns of paths, as far as they are literal text with an open end.
//!
//! Called by [`super`] for targets, and by [`super::fields`] for fields that carry regular expressions. What plugins send for "everything
//! below" differs: `/blog/.*`, `/blog/(.*)`, `/blog/*`, `^/blog/`. All else that a regular expression can say is refused.

use super::Hint;

/// What a pattern matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Every path.
    All,
    /// One path.
    Exact(String),
    /// All that begin so.
    Prefix(String),
}

/// What any text follows.
const OPEN_ENDS: [&str; 2] = [".*", "(.*)"];

/// Whether a request target is a pattern whatever else the request says.
pub(super) fn is_in_target(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or(target);
    path.contains('*') || target.ends_with("?.*")
}

/// A pattern in the place of a request target: anchored at its beginning, open at its end.
pub(super) fn of_target(target: &str) -> Result<Pattern, Hint> {
    let body = open_end(target).or_else(|| target.strip_suffix('*'));
    literal(body.unwrap_or(target)).map(prefix)
}

/// A regular expression over paths in a field.
pub(super) fn of_expression(text: &str) -> Result<Pattern, Hint> {
    let text = text.trim();
    let anchored = text.strip_prefix('^').unwrap_or(text);
    let (body, is_open) = match strip_end(anchored) {
        Some(body) => (body, open_end(body).is_some()),
        None => (anchored, true),
    };
    let body = open_end(body).or_else(|| body.strip_suffix("/*").map(|_| &body[..body.len() - 1]));
    let body = body.unwrap_or_else(|| strip_end(anchored).unwrap_or(anchored));
    if body.is_empty() || body == "*" {
        return Ok(Pattern::All);
    }
    let literal = literal(body)?;
    Ok(if is_open {
        prefix(literal)
    } else {
        Pattern::Exact(literal)
    })
}

/// The hosts that a regular expression over host names matches; `None`: all.
pub(super) fn of_hosts(text: &str) -> Result<Option<Vec<String>>, Hint> {
    const HINT: &str =
        "give a host, or an alternation of hosts such as `^(a.test|b.test)$`; nothing was purged";
    let text = text.trim();
    if is_everything(text) {
        return Ok(None);
    }
    let text = text.strip_prefix('^').unwrap_or(text);
    let text = strip_end(text).unwrap_or(text);
    let inner = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'));
    let hosts = inner
        .unwrap_or(text)
        .split('|')
        .map(|host| unescape(host, ""));
    let hosts: Option<Vec<String>> = hosts.collect();
    let is_name = |host: &String| !host.is_empty();
    let hosts = hosts.filter(|hosts| hosts.iter().all(is_name));
    hosts.map(Some).ok_or_else(|| HINT.into())
}

/// Whether a regular expression matches anything.
pub(super) fn is_everything(text: &str) -> bool {
    let text = text.trim();
    let text = text.strip_prefix('^').unwrap_or(text);
    let text = strip_end(text).unwrap_or(text);
    OPEN_ENDS.contains(&text) || matches!(text, "" | "*" | ".+")
}

fn prefix(literal: String) -> Pattern {
    match literal.as_str() {
        "/" | "" => Pattern::All,
        _ => Pattern::Prefix(literal),
    }
}

fn open_end(text: &str) -> Option<&str> {
    let ends = OPEN_ENDS.iter().filter_map(|end| text.strip_suffix(end));
    ends.min_by_key(|body| body.len())
}

/// Without the `$` that closes it.
fn strip_end(text: &str) -> Option<&str> {
    text.strip_suffix('$').filter(|text| !text.ends_with('\\'))
}

/// The text that an expression without any operators matches.
fn literal(expression: &str) -> Result<String, Hint> {
    const HINT: &str = "regular expressions are not run: give a path, or the beginning of paths and `.*` at its end; nothing was purged";
    let literal = unescape(expression, "?").filter(|text| text.starts_with('/'));
    let literal = literal.ok_or_else(|| Hint::from(HINT))?;
    match literal.split_once('?') {
        Some((_, query)) if !query.is_empty() => Err(Hint::from(
            "parameters have no fixed order, so there is no beginning of a query: end the pattern before or at its `?`; nothing was purged",
        )),
        _ => Ok(literal),
    }
}

/// Undoes escapes; `None` where an operator is left that is not among `plain`. A dot stands for itself: that is what is meant by it, and in
/// paths and tags it is.
pub(super) fn unescape(expression: &str, plain: &str) -> Option<String> {
    let mut text = String::with_capacity(expression.len());
    let mut chars = expression.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => text.push(chars.next().filter(char::is_ascii_punctuation)?),
            _ if plain.contains(char) => text.push(char),
            '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => return None,
            _ => text.push(char),
        }
    }
    Some(text)
}
