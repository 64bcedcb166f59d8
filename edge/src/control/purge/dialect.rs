//! What a purge on a site's own name means, in the words of the cache that its sender was written for.
//!
//! Called by [`super::in_band()`] with the request as the guard left it. Pure: a request goes in, the things to purge come out, or why it cannot
//! be told what they are. Knows nobody's rights and no site. The forms are those of `docs/configuration.md` §9; nobody standardised them.
//! Patterns are read as text ([`pattern`], [`tags`]), never run as regular expressions: what is not understood to the letter is refused,
//! because its sender would believe that it worked. Invariant 4 begins here: nothing that was named is left out.

use http::HeaderMap;
use jet9_cache::purge::Mode;

use super::call::THINGS_MAX;
use pattern::Pattern;

mod fields;
mod pattern;
mod tags;

/// A request, as far as the dialects look at it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method as sent.
    pub method: &'a str,
    /// Path and query as sent.
    pub target: &'a str,
    /// The fields.
    pub fields: &'a HeaderMap,
}

/// What is to be purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// At least one thing, at most [`THINGS_MAX`].
    pub things: Vec<Thing>,
    /// How.
    pub mode: Mode,
}

/// One thing, on the site of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// Everything.
    All,
    /// One URL.
    Url {
        /// The name that it is on; the request's own where none is given.
        host: Option<String>,
        /// Path and query.
        target: String,
    },
    /// All paths, with their queries, that begin so, on every name.
    Prefix(String),
    /// A tag.
    Tag(String),
    /// Nothing, on a name that has to be one of the site: a ban that is narrowed to hosts.
    Host(String),
}

/// Why an order cannot be understood, and what can be done; a line of text for who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint(pub String);

impl From<&str> for Hint {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Whether only a sender with the right to purge can mean a purge by this request; everybody else means what it says in HTTP.
pub fn is_also_plain(asked: &Asked<'_>) -> bool {
    asked.method == "GET"
}

/// What a request orders; `None`: it is no purge.
pub fn read(asked: &Asked<'_>) -> Option<Result<Order, Hint>> {
    let things = match asked.method {
        "PURGE" => of_purge(asked),
        "BAN" => of_ban(asked),
        "URIBAN" => Ok(vec![here(asked.target)]),
        "FULLBAN" => Ok(vec![Thing::All]),
        "PURGEKEYS" | "PURGETAGS" => of_tags_alone(asked),
        "GET" => of_location(asked.target)?,
        _ => return None,
    };
    Some(things.and_then(|things| order(asked, things)))
}

fn order(asked: &Asked<'_>, things: Vec<Thing>) -> Result<Order, Hint> {
    let count = things.len();
    if count > THINGS_MAX {
        let text = format!(
            "{count} things to purge; at most {THINGS_MAX} in one request, nothing was purged"
        );
        return Err(Hint(text));
    }
    Ok(Order {
        things,
        mode: fields::mode(asked.fields),
    })
}

fn of_purge(asked: &Asked<'_>) -> Result<Vec<Thing>, Hint> {
    if let Some(things) = fields::named(asked)? {
        return Ok(things);
    }
    if asked.target == "/purgeall" {
        return Ok(vec![Thing::All]);
    }
    if let Some(things) = of_location(asked.target) {
        // It may be the name of a page as well.
        let itself = (!pattern::is_in_target(asked.target)).then(|| here(asked.target));
        return Ok(things?.into_iter().chain(itself).collect());
    }
    if pattern::is_in_target(asked.target) || fields::asks_for_pattern(asked.fields)? {
        return Ok(of_pattern(pattern::of_target(asked.target)?, None));
    }
    Ok(vec![here(asked.target)])
}

/// A ban of a path is a regular expression without an end: all that begins so.
fn of_ban(asked: &Asked<'_>) -> Result<Vec<Thing>, Hint> {
    if let Some(things) = fields::named(asked)? {
        return Ok(things);
    }
    Ok(of_pattern(pattern::of_target(asked.target)?, None))
}

fn of_tags_alone(asked: &Asked<'_>) -> Result<Vec<Thing>, Hint> {
    let tags = fields::tags(asked)?;
    tags.ok_or_else(|| {
        "name the tags in `xkey-purge`, `xkey-softpurge` or `X-Cache-Tags`; nothing was purged"
            .into()
    })
}

/// `/purge/` before a path, as nginx-helper is configured.
fn of_location(target: &str) -> Option<Result<Vec<Thing>, Hint>> {
    let path = target
        .strip_prefix("/purge")
        .filter(|path| path.starts_with('/'))?;
    if !pattern::is_in_target(path) {
        return Some(Ok(vec![here(path)]));
    }
    Some(pattern::of_target(path).map(|pattern| of_pattern(pattern, None)))
}

fn here(target: &str) -> Thing {
    Thing::Url {
        host: None,
        target: target.to_owned(),
    }
}

/// What a pattern of paths names, on these hosts; the request's own, or all, where none are given.
fn of_pattern(pattern: Pattern, hosts: Option<&[String]>) -> Vec<Thing> {
    let on_hosts = |target: &str| match hosts {
        None | Some([]) => vec![here(target)],
        Some(hosts) => {
            let named = hosts.iter().map(|host| Thing::Url {
                host: Some(host.clone()),
                target: target.to_owned(),
            });
            named.collect()
        }
    };
    match pattern {
        Pattern::All => vec![Thing::All],
        Pattern::Exact(target) => on_hosts(&target),
        Pattern::Prefix(prefix) => match prefix.strip_suffix('?') {
            // With any query, and thus with none, or with parameters that are no part of the key.
            Some(path) => [vec![Thing::Prefix(prefix.clone())], on_hosts(path)].concat(),
            None => vec![Thing::Prefix(prefix)],
        },
    }
}

#[cfg(test)]
mod tests;
