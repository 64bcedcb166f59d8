//! What Cache-Control, in its plain and targeted forms, says (RFC 9111 §5.2, RFC 9213).
//!
//! Called by `request` and `storable`, once per message. Knows no defaults of a site and draws no conclusions; it only reads. What
//! restricts is believed in any form, what permits only when well-formed. Of a directive that comes twice the first counts (RFC 9111
//! §4.2.1). Invariant: a malformed lifetime is zero, never absent, so that such a response is stale and no heuristic replaces it.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use super::rules::{LiteSpeed, SurrogateControl};
use super::structured::{self, Item};
use super::{fields, litespeed};

/// The edge's own targeted field. It is not passed on to visitors.
pub const JET9_CACHE_CONTROL: HeaderName = HeaderName::from_static("jet9-cache-control");
/// The targeted field of all CDNs (RFC 9213 §3.1). It is passed on.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// `Surrogate-Control`, read as a targeted field where a site says so.
pub const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// The target list (RFC 9213 §2.2), the most specific first.
static TARGETED: [HeaderName; 3] = [JET9_CACHE_CONTROL, CDN_CACHE_CONTROL, SURROGATE_CONTROL];

/// The largest number of seconds that is told apart (RFC 9111 §1.2.2).
pub const DELTA_SECONDS_MAX: Duration = Duration::from_secs(1 << 31);

/// How much of a response a directive is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Nothing: the directive is absent.
    #[default]
    None,
    /// The named fields.
    Fields(Vec<HeaderName>),
    /// All of it.
    Whole,
}

impl Scope {
    /// The fields that it names.
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            Self::None | Self::Whole => &[],
        }
    }

    /// The wider of two scopes: the more restrictive counts (RFC 9111 §4.2.1).
    fn widen(&mut self, with: Self) {
        match (&mut *self, with) {
            (Self::Fields(names), Self::Fields(more)) => names.extend(more),
            (Self::Whole, _) | (_, Self::None) => {}
            (_, wider) => *self = wider,
        }
    }
}

/// Where the directives of a response were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// `Cache-Control`.
    #[default]
    CacheControl,
    /// A targeted field: it replaces `Cache-Control` and `Expires` (RFC 9213 §2.2).
    Targeted,
    /// What a LiteSpeed server is told: it does the same.
    LiteSpeed,
}

/// The directives of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// The field that they come from.
    pub source: Source,
    /// `max-age`; zero when malformed, at most [`DELTA_SECONDS_MAX`], as are the others.
    pub max_age: Option<Duration>,
    /// `s-maxage`.
    pub s_maxage: Option<Duration>,
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, with or without field names.
    pub no_cache: Scope,
    /// `private`, with or without field names.
    pub private: Scope,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `stale-while-revalidate` (RFC 5861 §3); absent when malformed.
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861 §4); absent when malformed.
    pub stale_if_error: Option<Duration>,
}

impl ResponseDirectives {
    /// The directives that apply to this cache: of the first targeted field that is well-formed and not empty, else of `Cache-Control`. Of
    /// the targeted ones our own comes first, then LiteSpeed's.
    pub fn of(response: &HeaderMap, surrogate: SurrogateControl, litespeed: LiteSpeed) -> Self {
        let counts =
            |name: &&HeaderName| surrogate == SurrogateControl::Obey || **name != SURROGATE_CONTROL;
        let [own, others @ ..] = &TARGETED;
        let of_others = || {
            let mut others = others.iter().filter(counts);
            others.find_map(|name| Self::targeted(response, name))
        };
        Self::targeted(response, own)
            .or_else(|| Self::of_litespeed(response, litespeed))
            .or_else(of_others)
            .unwrap_or_else(|| {
                let mut directives = Self::default();
                let name = &header::CACHE_CONTROL;
                each(response, name, |name, argument| {
                    directives.add(name, &argument)
                });
                directives
            })
    }

    /// What a LiteSpeed server is told, in the syntax of `Cache-Control`. There `no-cache` says that it is not cached at all, and `esi` that the
    /// content is not yet what visitors are to see; `private` is for a store a visitor, which is not kept here.
    fn of_litespeed(response: &HeaderMap, litespeed: LiteSpeed) -> Option<Self> {
        if litespeed == LiteSpeed::Ignore {
            return None;
        }
        let mut said = None;
        each(response, &litespeed::CACHE_CONTROL, |name, argument| {
            let directives = said.get_or_insert_with(|| Self {
                source: Source::LiteSpeed,
                ..Self::default()
            });
            match name {
                b"no-cache" => directives.no_store = true,
                b"esi" => directives.no_store |= !argument.is_text(b"off"),
                _ => directives.add(name, &argument),
            }
        });
        said
    }

    /// RFC 9213 §2.1: empty or malformed is as if absent.
    fn targeted(response: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let members = structured::dictionary(response, name).filter(|m| !m.is_empty())?;
        let mut directives = Self {
            source: Source::Targeted,
            ..Self::default()
        };
        for (name, value) in &members {
            if *value != Item::Boolean(false) {
                directives.add(name.as_bytes(), &Argument::of(value));
            }
        }
        Some(directives)
    }

    fn add(&mut self, name: &[u8], argument: &Argument<'_>) {
        match name {
            b"max-age" => add_lifetime(&mut self.max_age, argument),
            b"s-maxage" => add_lifetime(&mut self.s_maxage, argument),
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache.widen(argument.scope()),
            b"private" => self.private.widen(argument.scope()),
            b"public" => self.public |= argument.is_none(),
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand |= argument.is_none(),
            b"stale-while-revalidate" => add_seconds(&mut self.stale_while_revalidate, argument),
            b"stale-if-error" => add_seconds(&mut self.stale_if_error, argument),
            // An unknown directive is ignored (RFC 9111 §5.2.3).
            _ => {}
        }
    }

    /// Whether the origin says itself that others may have it: `public`, `s-maxage`, or a lifetime in a targeted field.
    pub fn is_for_sharing(&self) -> bool {
        let targeted = self.source != Source::CacheControl && self.max_age.is_some();
        self.public || self.s_maxage.is_some() || targeted
    }

    /// Whether a response to a request with `Authorization` may be stored and reused (RFC 9111 §3.5). A LiteSpeed server is
    /// the one that asks for passwords, so that what it is told is no word about who may have it behind another.
    pub const fn allows_authorization(&self) -> bool {
        let says_so = self.public || self.must_revalidate || self.s_maxage.is_some();
        says_so && !matches!(self.source, Source::LiteSpeed)
    }

    /// Whether it must not be served stale (RFC 9111 §4.2.4). `s-maxage` implies `proxy-revalidate` (§5.2.2.10).
    pub const fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }
}

/// The directives of a request (RFC 9111 §5.2.1). A malformed one is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// `no-cache`, or `Pragma: no-cache` without a `Cache-Control`.
    pub no_cache: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
    /// `max-age`: the greatest age that is welcome.
    pub max_age: Option<Duration>,
    /// `min-fresh`: the least remaining freshness that is welcome.
    pub min_fresh: Option<Duration>,
    /// `max-stale`: the greatest staleness that is welcome; without argument, any.
    pub max_stale: Option<Duration>,
}

impl RequestDirectives {
    /// The directives of a request.
    pub fn of(request: &HeaderMap) -> Self {
        let mut directives = Self::default();
        let name = &header::CACHE_CONTROL;
        each(request, name, |name, argument| {
            directives.add(name, &argument);
        });
        if !request.contains_key(header::CACHE_CONTROL) {
            // RFC 9111 §5.4: for clients of HTTP/1.0.
            directives.no_cache = has_pragma_no_cache(request);
        }
        directives
    }

    fn add(&mut self, name: &[u8], argument: &Argument<'_>) {
        match name {
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => add_seconds(&mut self.max_age, argument),
            b"min-fresh" => add_seconds(&mut self.min_fresh, argument),
            b"max-stale" if argument.is_none() => self.max_stale = Some(Duration::MAX),
            b"max-stale" => add_seconds(&mut self.max_stale, argument),
            _ => {}
        }
    }
}

/// Whether `Pragma` has the member `no-cache` (RFC 9111 §5.4).
pub fn has_pragma_no_cache(fields: &HeaderMap) -> bool {
    fields::members(fields, &header::PRAGMA).any(|m| m.eq_ignore_ascii_case(b"no-cache"))
}

/// Calls with the name, in lower case, and the argument of each directive of `Cache-Control`, or of a field like it.
fn each(fields: &HeaderMap, field: &HeaderName, mut with: impl FnMut(&[u8], Argument<'_>)) {
    for member in fields::members(fields, field) {
        let mut parts = member.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default();
        let argument = parts.next().map_or(Argument::None, Argument::parse);
        let is_spaced = name.trim_ascii_end() != name;
        let argument = if is_spaced {
            Argument::Malformed
        } else {
            argument
        };
        with(&name.trim_ascii_end().to_ascii_lowercase(), argument);
    }
}

/// What follows the name of a directive.
#[derive(Debug, PartialEq)]
enum Argument<'a> {
    None,
    /// A token or the content of a quoted string: recipients take both (RFC 9111 §5.2).
    Text(Cow<'a, [u8]>),
    /// A number from a structured field.
    Seconds(u64),
    /// A string from a structured field: it may name fields but is no number (RFC 9213 §2.1).
    Names(&'a str),
    Malformed,
}

impl<'a> Argument<'a> {
    fn parse(text: &'a [u8]) -> Self {
        match fields::unquote(text) {
            Some(content) => Self::Text(content.into()),
            None if fields::is_token(text) => Self::Text(text.into()),
            None => Self::Malformed,
        }
    }

    fn of(item: &'a Item) -> Self {
        match item {
            Item::Boolean(_) => Self::None,
            Item::Integer(number) => u64::try_from(*number).map_or(Self::Malformed, Self::Seconds),
            Item::String(text) => Self::Names(text),
            Item::Other => Self::Malformed,
        }
    }

    fn is_text(&self, text: &[u8]) -> bool {
        matches!(self, Self::Text(own) if own.eq_ignore_ascii_case(text))
    }

    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// RFC 9111 §1.2.2: digits only; what is too large counts as [`DELTA_SECONDS_MAX`].
    fn seconds(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Text(text) => fields::digits(text)?,
            Self::Seconds(seconds) => *seconds,
            Self::None | Self::Names(_) | Self::Malformed => return None,
        };
        Some(Duration::from_secs(seconds).min(DELTA_SECONDS_MAX))
    }

    /// Without names, or with one that is none, the directive is about everything.
    fn scope(&self) -> Scope {
        let text = match self {
            Self::Text(text) => text.as_ref(),
            Self::Names(text) => text.as_bytes(),
            Self::None | Self::Seconds(_) | Self::Malformed => return Scope::Whole,
        };
        let members = fields::split(text).filter(|member| !member.is_empty());
        let names = members.map(|member| HeaderName::from_bytes(member).ok());
        match names.collect::<Option<Vec<_>>>() {
            Some(names) if !names.is_empty() => Scope::Fields(names),
            _ => Scope::Whole,
        }
    }
}

fn add_lifetime(slot: &mut Option<Duration>, argument: &Argument<'_>) {
    slot.get_or_insert(argument.seconds().unwrap_or_default());
}

fn add_seconds(slot: &mut Option<Duration>, argument: &Argument<'_>) {
    *slot = slot.or_else(|| argument.seconds());
}

#[cfg(test)]
mod tests;
