//! The closed sets of words that label metrics and fill log fields, as array indices.
//!
//! Every label of the request metrics is one of these. Nothing here is free text: no path, no host, no client.

use http::StatusCode;
use jet9_cache::Reason;
use jet9_cache::semantics::status::{CacheStatus, ForwardReason, Outcome};

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
    /// Fetched once for several requests, this one not the first.
    Collapsed,
    /// Fetched: not in the store, or no longer usable.
    Miss,
    /// Forwarded past the store.
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
        exchange.cache.as_ref().map_or(Self::None, Self::of_status)
    }

    fn of_status(status: &CacheStatus) -> Self {
        let (reason, answer, collapsed) = match status.outcome {
            Outcome::Hit if status.ttl.is_some_and(i64::is_negative) => return Self::Stale,
            Outcome::Hit => return Self::Hit,
            Outcome::Forward {
                reason,
                status,
                collapsed,
                ..
            } => (reason, status, collapsed),
        };
        if collapsed {
            return Self::Collapsed;
        }
        match reason {
            ForwardReason::Bypass | ForwardReason::Method => Self::Bypass,
            ForwardReason::Stale | ForwardReason::Request
                if answer == Some(StatusCode::NOT_MODIFIED) =>
            {
                Self::Revalidated
            }
            ForwardReason::UriMiss
            | ForwardReason::VaryMiss
            | ForwardReason::Miss
            | ForwardReason::Request
            | ForwardReason::Stale
            | ForwardReason::Partial => Self::Miss,
        }
    }
}

/// How many words [`forward`] has.
pub(super) const FORWARDS: usize = ForwardReason::ALL.len() + Reason::ALL.len();

/// Why an exchange could not be answered from the store, as an index and as a word: the reason where there is one, else the `fwd` of
/// RFC 9211. `None`: it could, or never came so far.
pub(super) fn forward(status: &CacheStatus) -> Option<(usize, &'static str)> {
    let Outcome::Forward {
        reason: forward, ..
    } = status.outcome
    else {
        return None;
    };
    Some(match status.detail {
        Some(reason) => (ForwardReason::ALL.len() + reason as usize, reason.as_str()),
        None => (forward as usize, forward.as_str()),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_status_is_one_word() {
        let check = |status: CacheStatus, expected: CacheWord| {
            assert_eq!(CacheWord::of_status(&status), expected, "{status:?}");
        };
        let stale = CacheStatus::forward(ForwardReason::Stale);
        check(CacheStatus::hit(0), CacheWord::Hit);
        check(CacheStatus::hit(-1), CacheWord::Stale);
        check(stale, CacheWord::Miss);
        check(stale.answered(StatusCode::OK).and_stored(), CacheWord::Miss);
        check(
            stale.answered(StatusCode::NOT_MODIFIED),
            CacheWord::Revalidated,
        );
        check(stale.and_collapsed(), CacheWord::Collapsed);
        check(
            CacheStatus::forward(ForwardReason::Bypass),
            CacheWord::Bypass,
        );
        let miss = CacheStatus::forward(ForwardReason::UriMiss);
        check(miss.answered(StatusCode::NOT_MODIFIED), CacheWord::Miss);
    }

    #[test]
    fn a_forward_is_told_by_its_reason_or_else_by_its_kind() {
        let check = |status: CacheStatus, expected: Option<&str>| {
            let (index, word) = forward(&status).unzip();
            assert_eq!(word, expected, "{status:?}");
            assert!(index.is_none_or(|index| index < FORWARDS));
        };
        let miss = CacheStatus::forward(ForwardReason::UriMiss);
        check(miss, Some("uri-miss"));
        check(miss.and_stored(), Some("uri-miss"));
        check(
            miss.because(Reason::PredictedUncacheable),
            Some("predicted-uncacheable"),
        );
        check(CacheStatus::hit(1).because(Reason::OriginDown), None);
        for reason in Reason::ALL {
            check(miss.because(*reason), Some(reason.as_str()));
        }
    }
}
