//! A site: its names, its origin, what its owner chose about caching. The site document, checked.
//!
//! Made by [`crate::check`] from TOML or JSON, held in the edge's configuration snapshot, read on every request. A profile is nothing but a set of
//! defaults ([`Profile::defaults`]); what the document says wins over it key by key.
//! Knows nothing of other sites (see [`crate::check::sites`]), of cluster state, or of how caching decides.
//! Invariant: values here are within their bounds, so that no stage of a request checks them again.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use ipnet::IpNet;

use crate::names::{ClusterId, HostName, SiteId};

/// Domains of one site. Not configurable: a document must fit one transaction of a fleet's store, with its names.
pub const DOMAINS_MAX: usize = 1000;

/// Routes of one site. Not configurable: they are tried in order on every request.
pub const ROUTES_MAX: usize = 200;

/// Patterns in one list of `cache.key`. Not configurable: each is tried on each parameter or cookie.
pub const PATTERNS_MAX: usize = 100;

/// Bytes of a route's path. Not configurable: longer than the paths that routes are for.
pub const ROUTE_PATH_MAX: usize = 2048;

/// Bytes of the stub page: 64 KiB. Not configurable: it stays in memory for every site that has one.
pub const STUB_MAX: usize = 64 << 10;

/// A site document, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// `id`; the file is `<id>.toml`.
    pub id: SiteId,
    /// `domains`.
    pub domains: Vec<Domain>,
    /// `https`.
    pub https: Https,
    /// `[origin]`.
    pub origin: Origin,
    /// `[cache]`.
    pub cache: Caching,
    /// `[[route]]`, in order; the first match wins.
    pub routes: Vec<Route>,
    /// `purge.from`.
    pub purge_from: Vec<IpNet>,
    /// `pages.stub`: the page (HTML) shown with 503, or `None` for the built-in one.
    pub stub: Option<String>,
    /// `limits.body`: the largest request content in bytes.
    pub body: u64,
    /// `limits.requests_per_second_per_client`; 0: no limit.
    pub requests_per_second_per_client: u32,
}

/// A name that a site answers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// Exactly this name or address.
    Exact(HostName),
    /// `*.<name>`: any one label before this name.
    Wildcard(HostName),
}

/// How clear-text requests are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Https {
    /// Redirected to https once a certificate for the name is in use.
    Redirect,
    /// Both are served.
    Both,
    /// Clear text is refused.
    Only,
}

/// Where the site lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The cluster.
    pub cluster: ClusterId,
    /// How sides are spoken to.
    pub scheme: OriginScheme,
    /// The Host that the side sees.
    pub host: OriginHost,
    /// The port, or 0 for the address's own.
    pub port: u16,
    /// How long one connect may take.
    pub connect_timeout: Duration,
    /// How long the first byte of a response may take.
    pub first_byte_timeout: Duration,
    /// How long a request is held for a live master, at most.
    pub hold_max: Duration,
    /// How many requests of the site are held at once.
    pub hold_requests: usize,
    /// How often an idempotent request is tried again after something may have been sent.
    pub retry_idempotent: u32,
    /// Whether a live master that fails is spared.
    pub breaker: bool,
    /// `unknown_transfer_coding`.
    pub unknown_transfer_coding: UnknownCoding,
}

/// How sides are spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginScheme {
    /// Clear text.
    Http,
    /// TLS, verified against this name.
    Https {
        /// `origin.tls_name`.
        tls_name: HostName,
    },
}

/// The Host that a side sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginHost {
    /// The client's.
    Preserve,
    /// This one.
    Fixed(HostName),
}

/// What becomes of a response in a transfer coding that nobody has registered (RFC 9112 §6.1, §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownCoding {
    /// It is refused.
    Refuse,
    /// Its content is what comes until the connection is closed (RFC 9112 §6.3), as it comes.
    UntilClose,
}

/// `[cache]` of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caching {
    /// `profile`.
    pub profile: Profile,
    /// `default`: lifetimes by status where the origin gave none, sorted by status; zero: not stored.
    pub default: Vec<(StatusCode, Duration)>,
    /// `heuristic_cap`: the longest freshness lifetime guessed from `Last-Modified` (RFC 9111 §4.2.2); `None`: nothing is guessed.
    pub heuristic_cap: Option<Duration>,
    /// `stale_while_revalidate`, unsolicited.
    pub stale_while_revalidate: Duration,
    /// `stale_if_error`; `"unlimited"` is [`DURATION_MAX`](crate::units::DURATION_MAX).
    pub stale_if_error: Duration,
    /// `set_cookie`.
    pub set_cookie: SetCookie,
    /// `client_reload`.
    pub client_reload: ClientReload,
    /// `languages`.
    pub languages: Languages,
    /// `post`.
    pub post: Post,
    /// `surrogate_control`.
    pub surrogate_control: SurrogateControl,
    /// `litespeed`: whether what is said to a LiteSpeed server in front of the application counts.
    pub litespeed: bool,
    /// `key`.
    pub key: KeyRules,
    /// `admission`.
    pub admission: Admission,
    /// `quota`.
    pub quota: Quota,
}

/// What a site may take of a node's disks, in bytes over all volumes. Nothing is thrown away when it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// `share`: beyond, less is written, and nothing twice; `None`: no bound.
    pub share: Option<u64>,
    /// `cap`: beyond, nothing new is written; `None`: no bound.
    pub cap: Option<u64>,
    /// `guaranteed`: up to this it is kept even if nobody asks for it. Default 0.
    pub guaranteed: u64,
}

/// The policy that a site starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Nothing is stored.
    Off,
    /// The strictest reading of the standards.
    Rfc,
    /// For hosted PHP sites (default).
    LampSafe,
    /// For sites without visitors' state.
    Static,
}

/// What becomes of `Set-Cookie`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCookie {
    /// Stored only when explicitly shared, and without the cookies.
    Safe,
    /// As RFC 9111 says.
    Rfc,
}

/// What becomes of a client's reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientReload {
    /// Obeyed.
    Obey,
    /// Ignored.
    Ignore,
}

/// How `Accept-Language` selects among variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Languages {
    /// By its text.
    AsSent,
    /// By its qualities and the language of the stored response.
    ByQuality,
}

/// What becomes of an answer to POST that says it is what a GET would get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Post {
    /// Passed through.
    Pass,
    /// Stored for later GETs, too.
    Store,
}

/// What becomes of `Surrogate-Control`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurrogateControl {
    /// Ignored.
    Ignore,
    /// Read as a targeted field (RFC 9213).
    Obey,
}

/// How URLs become keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRules {
    /// `query`.
    pub query: QueryOrder,
    /// `ignore_parameters`: names, a trailing `*` allowed.
    pub ignore_parameters: Vec<String>,
    /// `ignore_cookies`: names, a trailing `*` allowed.
    pub ignore_cookies: Vec<String>,
}

/// The order of query parameters in keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryOrder {
    /// Sorted by name; equal names keep their order.
    Sorted,
    /// As sent.
    AsSent,
}

/// What is written to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// What is used.
    Auto,
    /// Everything storable.
    All,
}

/// One route: a path pattern and what it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `path`: exact, or with one trailing `*`.
    pub path: String,
    /// `cache`: `off`, or a profile.
    pub cache: Option<Profile>,
    /// `default`.
    pub default: Option<Vec<(StatusCode, Duration)>>,
    /// `host`.
    pub host: Option<HostName>,
}

impl Site {
    /// The name of the document's file: `<id>.toml`.
    pub fn file_name(&self) -> String {
        format!("{}.toml", self.id)
    }

    /// The first route that matches, with its number from 0, for a path in the form that the request has it (still percent-encoded).
    pub fn route(&self, path: &str) -> Option<(usize, &Route)> {
        self.routes
            .iter()
            .enumerate()
            .find(|(_, route)| route.matches(path))
    }
}

impl Domain {
    /// Whether this is the domain of a host in canonical form. A wildcard stands for exactly one label.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name.as_str() == host,
            Self::Wildcard(name) => HostName::parent(host) == Some(name.as_str()),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Wildcard(name) => write!(f, "*.{name}"),
        }
    }
}

impl Caching {
    /// What holds on a route. A route's `cache` brings the `default`, `set_cookie` and `key.ignore_cookies` of its profile; all else stays the
    /// site's. A route's own `default` wins over both.
    pub fn on_route(&self, route: &Route) -> Self {
        let mut caching = self.clone();
        if let Some(profile) = route.cache {
            let of_profile = profile.defaults();
            caching.profile = profile;
            caching.default = of_profile.default;
            caching.set_cookie = of_profile.set_cookie;
            caching.key.ignore_cookies = of_profile.key.ignore_cookies;
        }
        if let Some(default) = &route.default {
            caching.default.clone_from(default);
        }
        caching
    }
}

impl Profile {
    /// What `[cache]` is where the document says nothing.
    pub fn defaults(self) -> Caching {
        let hosted = matches!(self, Self::Off | Self::LampSafe);
        let ok = if self == Self::Static { 600 } else { 0 };
        let rfc = self == Self::Rfc;
        Caching {
            profile: self,
            default: if rfc { Vec::new() } else { lifetimes(ok) },
            heuristic_cap: Some(Duration::from_secs(24 * 3600)),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::from_secs(24 * 3600),
            set_cookie: if rfc { SetCookie::Rfc } else { SetCookie::Safe },
            client_reload: ClientReload::Obey,
            languages: Languages::AsSent,
            post: Post::Pass,
            surrogate_control: SurrogateControl::Ignore,
            litespeed: false,
            key: KeyRules {
                query: if rfc {
                    QueryOrder::AsSent
                } else {
                    QueryOrder::Sorted
                },
                ignore_parameters: patterns(if rfc { &[] } else { &ADVERTISING_PARAMETERS }),
                ignore_cookies: patterns(match self {
                    _ if hosted => &ANALYTICS_COOKIES,
                    Self::Static => &["*"],
                    _ => &[],
                }),
            },
            admission: Admission::Auto,
            quota: Quota::default(),
        }
    }
}

impl Route {
    /// Whether the route's pattern matches a path.
    pub fn matches(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => self.path == path,
        }
    }

    /// Whether this route matches all that `other` does.
    pub fn covers(&self, other: &Self) -> bool {
        let others = other.path.strip_suffix('*').unwrap_or(&other.path);
        match self.path.strip_suffix('*') {
            Some(prefix) => others.starts_with(prefix),
            None => self.path == other.path,
        }
    }
}

/// Parameters that advertising adds to links, and no page depends on.
const ADVERTISING_PARAMETERS: [&str; 5] = ["utm_*", "gclid", "fbclid", "yclid", "_openstat"];

/// Cookies that scripts for statistics set, and no server reads.
const ANALYTICS_COOKIES: [&str; 2] = ["_ga*", "_ym_*"];

fn lifetimes(ok: u64) -> Vec<(StatusCode, Duration)> {
    vec![
        (StatusCode::OK, Duration::from_secs(ok)),
        (StatusCode::NOT_FOUND, Duration::from_secs(10)),
    ]
}

fn patterns(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|&pattern| pattern.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Route {
        Route {
            path: path.into(),
            cache: None,
            default: None,
            host: None,
        }
    }

    #[test]
    fn a_route_matches_exactly_or_by_prefix() {
        let check = |pattern: &str, path: &str, want: bool| {
            assert_eq!(route(pattern).matches(path), want, "{pattern} {path}");
        };
        check("/a", "/a", true);
        check("/a", "/a/", false);
        check("/a/*", "/a/", true);
        check("/a/*", "/a/b/c", true);
        check("/a/*", "/a", false);
        check("/a*", "/ab", true);
        check("/*", "/", true);
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let wildcard = Domain::Wildcard(HostName::parse("shop.example.test").expect("a name"));
        let check = |host: &str, want: bool| assert_eq!(wildcard.matches(host), want, "{host}");
        check("a.shop.example.test", true);
        check("a.b.shop.example.test", false);
        check("shop.example.test", false);
        check("ashop.example.test", false);
    }

    #[test]
    fn a_route_takes_its_profile_for_what_is_stored() {
        let site = Profile::Rfc.defaults();
        let mut on_route = route("/assets/*");
        assert_eq!(site.on_route(&on_route), site);
        on_route.cache = Some(Profile::Static);
        let caching = site.on_route(&on_route);
        assert_eq!(caching.profile, Profile::Static);
        assert_eq!(caching.default, Profile::Static.defaults().default);
        assert_eq!(caching.set_cookie, SetCookie::Safe);
        assert_eq!(caching.key.query, site.key.query);
        on_route.default = Some(Vec::new());
        assert_eq!(site.on_route(&on_route).default, Vec::new());
    }
}
