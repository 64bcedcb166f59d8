//! Which stored variant a request selects (RFC 9111 §4.1).
//!
//! Called by `StoredResponse::assemble` (what selects?) and by `store` at every look-up (the hash of the request's values). Values are
//! normalised only where the RFC calls it the same: whitespace, several lines of a list, and what a field's own definition makes equal.
//! What the site's rules add (languages by quality, cookies that do not count) comes with the stored response or with the request.
//! Invariant: two requests with the same hash would have got the same representation, as far as origin and site told us.

use http::{HeaderMap, HeaderName, header};

use super::rules::{Languages, LiteSpeed};
use super::{cookies, fields, litespeed};
use crate::key::KeyHasher;
use crate::reason::Reason;

mod language;
mod normalise;

/// What the edge says of the client in each request of its own, in place of what the client said: whatever varies by it is for one client,
/// and no field of a later request tells whether that is the same.
const OF_THE_CLIENT: [&str; 3] = ["x-forwarded-for", "x-real-ip", "x-request-id"];

/// What a client says here reaches no origin by a fetch for the store: the key tells it (the first three), or nothing does.
const NOT_FETCHED_BY: [&str; 9] = [
    "host",
    "x-forwarded-host",
    "x-forwarded-proto",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];

/// The most selecting fields that one stored response may have.
pub const SELECTING_FIELDS_MAX: usize = 16;

static ACCEPT_LANGUAGE: HeaderName = header::ACCEPT_LANGUAGE;
static COOKIE: HeaderName = header::COOKIE;

/// One of the things by which requests for a stored response are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The value of this field.
    Field(HeaderName),
    /// What `Accept-Language` prefers, where the site's rules look at its meaning. The tag, in lower case, is the language that the
    /// response is in, if it is in exactly one: it answers every request that prefers none to it.
    Language(Option<Box<str>>),
    /// The cookies of this name; a trailing `*` stands for anything.
    Cookie(Box<str>),
}

impl Selector {
    /// The field of the request that it looks at.
    pub fn field(&self) -> &HeaderName {
        match self {
            Self::Field(name) => name,
            Self::Language(_) => &ACCEPT_LANGUAGE,
            Self::Cookie(_) => &COOKIE,
        }
    }

    /// How long its texts are, in bytes.
    pub fn bytes(&self) -> usize {
        let tag = match self {
            Self::Language(Some(text)) | Self::Cookie(text) => text.len(),
            Self::Language(None) | Self::Field(_) => 0,
        };
        self.field().as_str().len() + tag
    }
}

/// What selects a response again: the fields that `Vary` names, sorted, without duplicates and without those that no fetch for the store
/// takes from its client; then the cookies that select for a LiteSpeed server. `withheld`: the fields that visitors do not see.
///
/// # Errors
/// `VaryStar` when a member in any line is `*`, no field name, or one that tells the client's address: nothing selects such a response
/// again. `VaryLimit` when there are more than [`SELECTING_FIELDS_MAX`].
pub fn selectors(
    response: &HeaderMap,
    withheld: &HeaderMap,
    languages: Languages,
    litespeed: LiteSpeed,
) -> Result<Box<[Selector]>, Reason> {
    let members = fields::members(response, &header::VARY);
    // `*` is a token, and thus would pass as a name.
    let name = |m: &[u8]| (m != b"*").then(|| HeaderName::from_bytes(m).ok())?;
    let mut names = members
        .map(name)
        .collect::<Option<Vec<_>>>()
        .ok_or(Reason::VaryStar)?;
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    if names
        .iter()
        .any(|name| OF_THE_CLIENT.contains(&name.as_str()))
    {
        return Err(Reason::VaryStar);
    }
    names.retain(|name| !NOT_FETCHED_BY.contains(&name.as_str()));
    let cookies = match litespeed {
        LiteSpeed::Obey => litespeed::cookies(withheld)?,
        LiteSpeed::Ignore => Vec::new(),
    };
    if names.len() + cookies.len() > SELECTING_FIELDS_MAX {
        return Err(Reason::VaryLimit);
    }
    let selector = |name| match languages {
        Languages::ByQuality if name == header::ACCEPT_LANGUAGE => {
            Selector::Language(language::of(response))
        }
        Languages::ByQuality | Languages::AsSent => Selector::Field(name),
    };
    let cookies = cookies.into_iter().map(Selector::Cookie);
    Ok(names.into_iter().map(selector).chain(cookies).collect())
}

/// The fields of a request that may select among variants.
#[derive(Clone, Copy, Debug)]
pub struct SelectingFields<'a> {
    fields: &'a HeaderMap,
    ignored_cookies: &'a [String],
}

impl<'a> SelectingFields<'a> {
    /// The selecting fields of a request.
    pub const fn of(fields: &'a HeaderMap) -> Self {
        Self {
            fields,
            ignored_cookies: &[],
        }
    }

    /// The same without the cookies that these patterns match (`cache.key.ignore_cookies`): they do not select.
    #[must_use]
    pub const fn without_cookies(self, patterns: &'a [String]) -> Self {
        Self {
            ignored_cookies: patterns,
            ..self
        }
    }

    /// The hash of the normalised values of what `vary` looks at; the same for all requests that select the same variant.
    pub fn hash(&self, vary: &[Selector], hasher: &KeyHasher) -> u128 {
        hasher.hash(&self.normalised(vary))
    }

    /// Name, presence and value of each selecting field, each framed by its length: an absent field differs from an empty one, and no
    /// value reads as the beginning of the next field.
    fn normalised(&self, vary: &[Selector]) -> Vec<u8> {
        let mut out = Vec::new();
        for selector in vary {
            put_framed(&mut out, selector.field().as_str().as_bytes());
            if let Selector::Cookie(pattern) = selector {
                put_framed(&mut out, pattern.as_bytes());
            }
            let value = self.value(selector);
            out.push(u8::from(value.is_some()));
            if let Some(value) = value {
                put_framed(&mut out, &value);
            }
        }
        out
    }

    /// `None`: the request has no such field.
    fn value(&self, selector: &Selector) -> Option<Vec<u8>> {
        let name = selector.field();
        if !self.fields.contains_key(name) {
            return None;
        }
        match selector {
            Selector::Language(tag) => Some(normalise::languages(self.fields, tag.as_deref())),
            Selector::Cookie(pattern) => cookies::named(self.fields, pattern, self.ignored_cookies),
            Selector::Field(header::COOKIE) => cookies::kept(self.fields, self.ignored_cookies),
            Selector::Field(name) => Some(normalise::value(name, self.fields)),
        }
    }
}

/// The hashes of one request's selecting fields, for one stored response after another. Nearly all responses of a key name the same fields:
/// these are normalised once, since clients choose how long they are, and how many variants there are.
#[derive(Debug)]
pub(crate) struct Selecting<'a> {
    fields: SelectingFields<'a>,
    hasher: &'a KeyHasher,
    last: Option<(Box<[Selector]>, u128)>,
}

impl<'a> Selecting<'a> {
    pub(crate) const fn new(fields: SelectingFields<'a>, hasher: &'a KeyHasher) -> Self {
        Self {
            fields,
            hasher,
            last: None,
        }
    }

    /// Whether the request selects what was stored with these selectors and this hash.
    pub(crate) fn matches(&mut self, vary: &[Selector], selected_by: u128) -> bool {
        vary.is_empty() || self.hash(vary) == selected_by
    }

    fn hash(&mut self, vary: &[Selector]) -> u128 {
        match &self.last {
            Some((known, hash)) if **known == *vary => *hash,
            _ => {
                let hash = self.fields.hash(vary, self.hasher);
                self.last = Some((vary.into(), hash));
                hash
            }
        }
    }
}

fn put_framed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests;
