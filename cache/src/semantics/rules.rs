//! What a site chooses about caching, as the semantics need it. Made once from the site document by `edge::control::sites`.

use std::time::Duration;

use http::StatusCode;

/// A site's choices (for one route of it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `profile` (and a route's `cache`): whether anything is stored at all.
    pub storing: Storing,
    /// `cache.default`: lifetimes by status where the origin gave none; a status that is not listed has none.
    pub default_lifetimes: Vec<(StatusCode, Duration)>,
    /// `cache.stale_while_revalidate` where the origin says nothing; zero: only where the origin allows it.
    pub stale_while_revalidate: Duration,
    /// `cache.stale_if_error` where the origin says nothing.
    pub stale_if_error: Duration,
    /// `cache.set_cookie`.
    pub set_cookie: SetCookie,
    /// `cache.client_reload`: whether `no-cache`, `max-age`, … of requests are obeyed.
    pub client_reload: ClientReload,
    /// Heuristic freshness from `Last-Modified` (RFC 9111 §4.2.2): its cap, or `None` for off.
    pub heuristic_cap: Option<Duration>,
    /// `cache.key.ignore_cookies`: patterns (a trailing `*` allowed) of cookies that do not make a request personal.
    pub ignore_cookies: Vec<String>,
    /// `cache.languages`: how `Accept-Language` selects.
    pub languages: Languages,
    /// `cache.post`: whether answers to POST are stored.
    pub post: Post,
    /// `cache.surrogate_control`: whether `Surrogate-Control` counts.
    pub surrogate_control: SurrogateControl,
    /// `cache.litespeed`: whether what is said to a LiteSpeed server counts.
    pub litespeed: LiteSpeed,
}

/// How `Accept-Language` selects among variants, where `Vary` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Languages {
    /// By its text, apart from whitespace and letter case.
    #[default]
    AsSent,
    /// By the qualities of its ranges, and by the language that the stored response is in.
    ByQuality,
}

/// What becomes of an answer to POST that says it is what a GET would get (RFC 9110 §9.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Post {
    /// It is passed through.
    Pass,
    /// It is stored for later GETs.
    Store,
}

/// What becomes of `Surrogate-Control`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurrogateControl {
    /// It means nothing.
    Ignore,
    /// It is a targeted field (RFC 9213), the least specific.
    Obey,
}

/// What becomes of the fields that are meant for a LiteSpeed server in front of the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LiteSpeed {
    /// They mean nothing. Orders to purge, and tags, count all the same.
    #[default]
    Ignore,
    /// `X-LiteSpeed-Cache-Control` and `X-LiteSpeed-Vary` count.
    Obey,
}

/// Whether and why (not) responses are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storing {
    /// As the RFC and the other rules allow.
    Allowed,
    /// The site's profile is `off`.
    ProfileOff,
    /// The route is off.
    RouteOff,
}

/// What becomes of a response with `Set-Cookie`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCookie {
    /// Stored only with `public`, `s-maxage` or targeted freshness, and then without its cookies.
    Safe,
    /// Stored as RFC 9111 allows, cookies included.
    Rfc,
}

/// What becomes of a client's cache directives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientReload {
    /// Obeyed.
    Obey,
    /// Ignored, for protection.
    Ignore,
}
