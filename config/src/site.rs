//! A site: its names, its origin, what its owner chose about caching. The site document.

use std::time::Duration;

use http::StatusCode;
use ipnet::IpNet;

use crate::names::{ClusterId, HostName, SiteId};

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
    /// `pages.stub`: the page shown with 503, or `None` for the built-in one.
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

/// `[cache]` of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caching {
    /// `profile`.
    pub profile: Profile,
    /// `default`: lifetimes by status where the origin gave none; zero: not stored.
    pub default: Vec<(StatusCode, Duration)>,
    /// `stale_while_revalidate`, unsolicited.
    pub stale_while_revalidate: Duration,
    /// `stale_if_error`.
    pub stale_if_error: Duration,
    /// `set_cookie`.
    pub set_cookie: SetCookie,
    /// `client_reload`.
    pub client_reload: ClientReload,
    /// `key`.
    pub key: KeyRules,
    /// `admission`.
    pub admission: Admission,
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
    /// `browser_max_age`.
    pub browser_max_age: Option<Duration>,
    /// `host`.
    pub host: Option<HostName>,
}
