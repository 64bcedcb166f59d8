//! Fields that name what is purged, in place of the target.
//!
//! Called by [`super`]. Where several are given they narrow each other in the caches that they come from. Here hosts narrow URLs, and beside
//! prefixes and tags, which are a site's, they have to be names of the site; whatever else is combined cannot be told and is refused.

use http::HeaderMap;
use jet9_cache::purge::Mode;
use jet9_cache::semantics::tags as responses;

use super::pattern::{self, Pattern};
use super::{Asked, Hint, Thing, of_pattern, tags};

/// Lists of tags.
const LISTS: [&str; 4] = ["surrogate-key", "xkey", "xkey-purge", "xkey-softpurge"];
/// Lists of tags, or expressions over such lists.
const MATCHED: [&str; 4] = [
    "cache-tag",
    "cache-tags",
    "x-cache-tags",
    "purge-cache-tags",
];
/// An expression over tags always.
const MAGENTO: &str = "x-magento-tags-pattern";

/// How it is purged: what is soft says so.
pub(super) fn mode(fields: &HeaderMap) -> Mode {
    let is_soft = fields.contains_key("xkey-softpurge") || is_set(fields, "fastly-soft-purge");
    if is_soft { Mode::Soft } else { Mode::Hard }
}

/// What fields name; `None`: nothing, the target does.
pub(super) fn named(asked: &Asked<'_>) -> Result<Option<Vec<Thing>>, Hint> {
    let bans = Bans::of(asked.fields)?;
    let tags = match (tags(asked)?, bans.tags()?) {
        (Some(_), Some(_)) => return Err("two fields name tags; nothing was purged".into()),
        (tags, of_bans) => tags.or(of_bans),
    };
    let hosts = match bans.host.or_else(|| text(asked.fields, "x-host")) {
        Some(expression) => pattern::of_hosts(&expression)?,
        None => None,
    };
    content_type(asked.fields)?;
    let path = match bans.path {
        Some(path) => Some(path),
        None => text(asked.fields, "x-url")
            .map(|url| pattern::of_expression(&url))
            .transpose()?,
    };
    let all = bans.all || is_set(asked.fields, "clear-cache");
    let things = match (tags, path) {
        (Some(_), Some(Pattern::Exact(_) | Pattern::Prefix(_))) => {
            return Err("tags and a path cannot be combined; nothing was purged".into());
        }
        (Some(tags), _) => tags,
        (None, Some(path)) => of_pattern(path, hosts.as_deref()),
        (None, None) if all => vec![Thing::All],
        (None, None) if hosts.is_some() => {
            return Err("name what is banned on that host in `X-Url`; nothing was purged".into());
        }
        (None, None) => return Ok(None),
    };
    let hosts = hosts.into_iter().flatten().map(Thing::Host);
    Ok(Some(things.into_iter().chain(hosts).collect()))
}

/// The tags that fields name, or everything; `None`: there is no such field.
pub(super) fn tags(asked: &Asked<'_>) -> Result<Option<Vec<Thing>>, Hint> {
    let mut things = None;
    for name in LISTS {
        if let Some(value) = text(asked.fields, name) {
            let tags = tags::list(&value).into_iter().map(Thing::Tag);
            things.get_or_insert_with(Vec::new).extend(tags);
        }
    }
    for name in MATCHED.into_iter().chain([MAGENTO]) {
        if let Some(value) = text(asked.fields, name) {
            let is_list = name != MAGENTO && asked.method != "BAN" && !value.contains('|');
            let tags = if is_list {
                Some(tags::list(&value))
            } else {
                tags::alternation(&value)?
            };
            let all = || vec![Thing::All];
            let tags = tags.map_or_else(all, |tags| tags.into_iter().map(Thing::Tag).collect());
            things.get_or_insert_with(Vec::new).extend(tags);
        }
    }
    match things {
        Some(things) if things.is_empty() => {
            Err("the field names no tag; nothing was purged".into())
        }
        things => Ok(things),
    }
}

/// Whether the target is to be taken for an expression (`X-Purge-Method`).
pub(super) fn asks_for_pattern(fields: &HeaderMap) -> Result<bool, Hint> {
    match text(fields, "x-purge-method").as_deref() {
        Some("regex") => Ok(true),
        None | Some("default" | "exact") => Ok(false),
        Some(_) => {
            Err("`X-Purge-Method` is `default`, `exact` or `regex`; nothing was purged".into())
        }
    }
}

/// What the families `X-Ban*` and `Varnish-Ban-*` say.
#[derive(Default)]
struct Bans {
    all: bool,
    host: Option<String>,
    path: Option<Pattern>,
    tags: Option<String>,
    typo3_tag: Option<String>,
    pid: Option<String>,
    sitename: Option<String>,
}

impl Bans {
    fn of(fields: &HeaderMap) -> Result<Self, Hint> {
        let mut bans = Self::default();
        let is_exact = matches!(
            text(fields, "x-ban-method").as_deref(),
            Some("url" | "exact")
        );
        for name in fields.keys() {
            let name = name.as_str();
            let bare = name.strip_prefix("x-").unwrap_or(name);
            let bare = bare.strip_prefix("varnish-").unwrap_or(bare);
            let (value, in_family) = (
                text(fields, name).unwrap_or_default(),
                bare.strip_prefix("ban-"),
            );
            match in_family {
                Some("all") => bans.all = is_set(fields, name),
                Some("host") => bans.host = Some(value),
                Some("url" | "path" | "regex") if is_exact => bans.path = Some(exact(value)?),
                Some("url" | "path" | "regex") => bans.path = Some(pattern::of_expression(&value)?),
                Some("tag" | "tags") => bans.tags = Some(value),
                Some("typo3-pid") => bans.pid = Some(value),
                Some("typo3-sitename") => bans.sitename = Some(value),
                Some("typo3-tag") => bans.typo3_tag = Some(value),
                Some("method") => {}
                Some(_) => {
                    return Err(Hint(format!(
                        "`{name}` is not understood; nothing was purged"
                    )));
                }
                None if name == "typo3-pid" => bans.pid = Some(value),
                None if name == "typo3-sitename" => bans.sitename = Some(value),
                None => {}
            }
        }
        Ok(bans)
    }

    /// The tags among them.
    fn tags(&self) -> Result<Option<Vec<Thing>>, Hint> {
        let one = |tag: String| Some(vec![Thing::Tag(tag)]);
        if let Some(tags) = &self.tags {
            let tags = tags::alternation(tags)?;
            return Ok(Some(tags.map_or_else(
                || vec![Thing::All],
                |tags| tags.into_iter().map(Thing::Tag).collect(),
            )));
        }
        if let Some(tag) = &self.typo3_tag {
            return Ok(one(tag.clone()));
        }
        let tag = responses::typo3(self.pid.as_deref(), self.sitename.as_deref());
        Ok(tag.and_then(one))
    }
}

fn exact(target: String) -> Result<Pattern, Hint> {
    match target.starts_with('/') {
        true => Ok(Pattern::Exact(target)),
        false => Err("a path begins with `/`; nothing was purged".into()),
    }
}

/// A ban of one type of content cannot be told from others here.
fn content_type(fields: &HeaderMap) -> Result<(), Hint> {
    match text(fields, "x-content-type") {
        Some(expression) if !pattern::is_everything(&expression) => {
            Err("nothing is purged by its type of content; nothing was purged".into())
        }
        _ => Ok(()),
    }
}

/// Whether a field is there and does not say no.
fn is_set(fields: &HeaderMap, name: &str) -> bool {
    text(fields, name).is_some_and(|value| !matches!(value.trim(), "" | "0" | "false"))
}

/// All lines of a field as one list. What is no UTF-8 is read as tags of responses are.
fn text(fields: &HeaderMap, name: &str) -> Option<String> {
    let lines = fields.get_all(name).iter();
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    (!lines.is_empty()).then(|| lines.join(","))
}
