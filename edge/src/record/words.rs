//! The closed sets of words that label metrics and fill log fields, as array indices.
//!
//! Every label of the request metrics is one of these. Nothing here is free text: no path, no host, no client.

use jet9_cache::Reason;

use crate::exchange::Exchange;
use crate::message::Protocol;

/// What the store had to do with an exchange: the `cache` label and log field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheWord {
    /// Served fresh from the store.
    Hit,
    /// Served from the store although stale.
    Stale,
    /// Served from the store after the origin confirmed it.
    Revalidated,
    /// Fetched, once for several requests.
    Collapsed,
    /// Fetched: not in the store.
    Miss,
    /// Passed by the store: neither looked up nor stored.
    Bypass,
    /// Never came so far.
    None,
}

impl CacheWord {
    /// All words, in the order of their indices.
    pub const ALL: [Self; 7] = [
        Self::Hit,
        Self::Stale,
        Self::Revalidated,
        Self::Collapsed,
        Self::Miss,
        Self::Bypass,
        Self::None,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::None => "none",
        }
    }

    /// The word of an exchange.
    pub fn of(exchange: &Exchange) -> Self {
        let reason = exchange.reason;
        if exchange.cache.is_none() && exchange.tier.is_none() {
            return if exchange.attempts.is_empty() {
                Self::None
            } else {
                Self::Bypass
            };
        }
        if reason == Some(Reason::Revalidated) {
            return Self::Revalidated;
        }
        match (exchange.tier, exchange.collapsed) {
            (Some(_), _) if reason.is_some_and(says_stale) => Self::Stale,
            (Some(_), _) => Self::Hit,
            (None, true) => Self::Collapsed,
            (None, false) if reason.is_some_and(says_bypass) => Self::Bypass,
            (None, false) => Self::Miss,
        }
    }
}

/// Reasons to answer from the store although the response is stale.
fn says_stale(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::StaleWhileRevalidate
            | Reason::StaleIfError
            | Reason::OriginDown
            | Reason::Breaker
            | Reason::Hold
            | Reason::Mode
    )
}

/// Reasons not to look into the store at all.
fn says_bypass(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Method
            | Reason::CookieAuth
            | Reason::CookieUnknown
            | Reason::RouteOff
            | Reason::ProfileOff
            | Reason::Upgrade
            | Reason::PredictedUncacheable
    )
}

/// The protocols of clients, and the one of a head that could not be read, in the order of their indices.
pub(super) const PROTOCOLS: [&str; 4] = ["http/1.0", "http/1.1", "h2", "unknown"];

pub(super) const fn protocol_index(protocol: Option<Protocol>) -> usize {
    match protocol {
        Some(Protocol::Http10) => 0,
        Some(Protocol::Http11) => 1,
        Some(Protocol::Http2) => 2,
        None => 3,
    }
}
