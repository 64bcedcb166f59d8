//! Fields that name what is purged, in place of the target.
//!
//! Called by [`super`]. Where several are given they narrow each other in the caches that they come from. Here hosts narrow URLs, and beside
//! prefixes and tags, which are a site's, they have to be names of the site; whatever else is combined, or said twice, cannot be told and is
//! refused: of two things that were named one would be left out.

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
const COMBINED: &str =
    "everything, tags and a path cannot be combined; send a request for each, nothing was purged";
const NO_TAG: &str = "the field names no tag; nothing was purged";
const TWICE: &str =
    "the fields say twice what is purged; send a request for each, nothing was purged";

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
    let hosts = match either(bans.host, one(asked.fields, "x-host")?)? {
        Some(expression) => pattern::of_hosts(&expression)?,
        None => None,
    };
    content_type(asked.fields)?;
    let url = one(asked.fields, "x-url")?;
    let url = url.map(|url| pattern::of_expression(&url)).transpose()?;
    let path = either(bans.path, url)?;
    // An installation of TYPO3 narrows "all" to a site of its own by that one's name, which is a tag.
    let all = (bans.all && bans.sitename.is_none()) || is_set(asked.fields, "clear-cache");
    let things = match (tags, path) {
        (None, None | Some(Pattern::All)) if all => vec![Thing::All],
        _ if all => return Err(COMBINED.into()),
        (Some(_), Some(Pattern::Exact(_) | Pattern::Prefix(_))) => return Err(COMBINED.into()),
        (Some(tags), _) => tags,
        (None, Some(path)) => of_pattern(path, hosts.as_deref()),
        (None, None) if hosts.is_some() => {
            return Err("name what is banned on that host in `X-Url`; nothing was purged".into());
        }
        (None, None) => return Ok(None),
    };
    let hosts = hosts.into_iter().flatten().map(Thing::Host);
    Ok(Some(things.into_iter().chain(hosts).collect()))
}

/// What one of two fields says.
fn either<T>(one: Option<T>, other: Option<T>) -> Result<Option<T>, Hint> {
    match (one, other) {
        (Some(_), Some(_)) => Err(TWICE.into()),
        (one, other) => Ok(one.or(other)),
    }
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
        Some(things) if things.is_empty() => Err(NO_TAG.into()),
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
            match bare.strip_prefix("ban-") {
                Some(member) => bans.member(fields, name, member, is_exact)?,
                None if name == "typo3-pid" => put(&mut bans.pid, given(fields, name)?)?,
                None if name == "typo3-sitename" => put(&mut bans.sitename, given(fields, name)?)?,
                None => {}
            }
        }
        Ok(bans)
    }

    /// Takes in one field of the families.
    fn member(
        &mut self,
        fields: &HeaderMap,
        name: &str,
        member: &str,
        is_exact: bool,
    ) -> Result<(), Hint> {
        let value = || given(fields, name);
        match member {
            "all" => self.all |= is_set(fields, name),
            "host" => put(&mut self.host, value()?)?,
            "url" | "path" | "regex" if is_exact => put(&mut self.path, exact(value()?)?)?,
            "url" | "path" | "regex" => {
                put(&mut self.path, pattern::of_expression(&value()?)?)?;
            }
            "tag" | "tags" => {
                let tags = text(fields, name).unwrap_or_default();
                put(&mut self.tags, tags)?;
            }
            "typo3-pid" => put(&mut self.pid, value()?)?,
            "typo3-sitename" => put(&mut self.sitename, value()?)?,
            "typo3-tag" => put(&mut self.typo3_tag, value()?)?,
            "method" => {}
            _ => {
                let text = format!("`{name}` is not understood; nothing was purged");
                return Err(Hint(text));
            }
        }
        Ok(())
    }

    /// The tags among them.
    fn tags(&self) -> Result<Option<Vec<Thing>>, Hint> {
        let of_page = responses::typo3(self.pid.as_deref(), self.sitename.as_deref());
        let one = either(self.typo3_tag.clone(), of_page)?;
        let Some(tags) = &self.tags else {
            return Ok(one.map(|tag| vec![Thing::Tag(tag)]));
        };
        if one.is_some() {
            return Err(TWICE.into());
        }
        match tags::alternation(tags)? {
            None => Ok(Some(vec![Thing::All])),
            Some(tags) if tags.is_empty() => Err(NO_TAG.into()),
            Some(tags) => Ok(Some(tags.into_iter().map(Thing::Tag).collect())),
        }
    }
}

/// What is said once.
fn put<T>(slot: &mut Option<T>, value: T) -> Result<(), Hint> {
    match slot.replace(value) {
        Some(_) => Err(TWICE.into()),
        None => Ok(()),
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

/// The one line of a field; none where it is not there. Two lines of what is no list cannot be one.
fn one(fields: &HeaderMap, name: &str) -> Result<Option<String>, Hint> {
    match fields.get_all(name).iter().count() {
        0 | 1 => Ok(text(fields, name)),
        _ => Err(TWICE.into()),
    }
}

/// The same of a field that is there and must say something.
fn given(fields: &HeaderMap, name: &str) -> Result<String, Hint> {
    let value = one(fields, name)?.filter(|value| !value.trim().is_empty());
    value.ok_or_else(|| Hint(format!("`{name}` is empty; nothing was purged")))
}
