//! The members of Cache-Status (RFC 9211).
//!
//! Built by `edge::request::lookup` and `edge::response`, printed by `edge::response::deliver`, read by the access log and the metrics.
//! A member says how this cache handled the request; the name of the cache is added when it is printed.
//! Invariant: what is printed is a valid member of a structured list.

use std::fmt;

use http::StatusCode;

use crate::reason::Reason;

/// Why a request was forwarded (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardReason {
    /// The cache was configured not to handle the request.
    Bypass,
    /// The request method's semantics require it to be forwarded.
    Method,
    /// No stored response matches the target URI.
    UriMiss,
    /// Stored responses match the URI, but none the selecting fields.
    VaryMiss,
    /// No stored response satisfies the request, for a reason that is not told apart.
    Miss,
    /// One was fresh, but the request's own directives did not allow it.
    Request,
    /// One was selected, but it was stale.
    Stale,
    /// One was there, but it did not hold all of the ranges that were asked for.
    Partial,
}

impl ForwardReason {
    /// All of them, in the order of the RFC.
    pub const ALL: [Self; 8] = [
        Self::Bypass,
        Self::Method,
        Self::UriMiss,
        Self::VaryMiss,
        Self::Miss,
        Self::Request,
        Self::Stale,
        Self::Partial,
    ];

    /// The word of the `fwd` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// A member of `Cache-Status` (RFC 9211), still without the name of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// Answered from the store, or forwarded.
    pub outcome: Outcome,
    /// `ttl`: the remaining lifetime in seconds, negative when stale (§2.4).
    pub ttl: Option<i64>,
    /// `detail` (§2.8).
    pub detail: Option<Reason>,
}

/// How a request was satisfied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `hit` (§2.1).
    Hit,
    /// `fwd` (§2.2).
    Forward {
        /// Why.
        reason: ForwardReason,
        /// `fwd-status`: what the next hop answered, where it answered (§2.3).
        status: Option<StatusCode>,
        /// `stored`: the answer was stored (§2.5).
        stored: bool,
        /// `collapsed`: it was answered by another request's fetch (§2.6).
        collapsed: bool,
    },
}

impl CacheStatus {
    /// Answered from the store.
    pub const fn hit(ttl: i64) -> Self {
        Self {
            outcome: Outcome::Hit,
            ttl: Some(ttl),
            detail: None,
        }
    }

    /// Forwarded.
    pub const fn forward(reason: ForwardReason) -> Self {
        let outcome = Outcome::Forward {
            reason,
            status: None,
            stored: false,
            collapsed: false,
        };
        Self {
            outcome,
            ttl: None,
            detail: None,
        }
    }

    /// With the reason as `detail`.
    #[must_use]
    pub const fn because(mut self, reason: Reason) -> Self {
        self.detail = Some(reason);
        self
    }

    /// With what the next hop answered. Nothing on a hit.
    #[must_use]
    pub const fn answered(mut self, answer: StatusCode) -> Self {
        if let Outcome::Forward { status, .. } = &mut self.outcome {
            *status = Some(answer);
        }
        self
    }

    /// With the answer stored. Nothing on a hit.
    #[must_use]
    pub const fn and_stored(mut self) -> Self {
        if let Outcome::Forward { stored, .. } = &mut self.outcome {
            *stored = true;
        }
        self
    }

    /// With another request's fetch shared. Nothing on a hit.
    #[must_use]
    pub const fn and_collapsed(mut self) -> Self {
        if let Outcome::Forward { collapsed, .. } = &mut self.outcome {
            *collapsed = true;
        }
        self
    }

    /// Whether it is a hit.
    pub const fn is_hit(&self) -> bool {
        matches!(self.outcome, Outcome::Hit)
    }

    /// The member as the cache of this name writes it: `edge1; hit; ttl=376`. A name that is no token is written as a string.
    pub const fn named<'a>(&'a self, cache: &'a str) -> Named<'a> {
        Named {
            cache,
            status: self,
        }
    }
}

/// A member with the name of its cache. Its `Display` is the field's value.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    cache: &'a str,
    status: &'a CacheStatus,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_identifier(f, self.cache)?;
        match self.status.outcome {
            Outcome::Hit => f.write_str("; hit")?,
            Outcome::Forward {
                reason,
                status,
                stored,
                collapsed,
            } => {
                write!(f, "; fwd={}", reason.as_str())?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={}", status.as_str())?;
                }
                f.write_str(if stored { "; stored" } else { "" })?;
                f.write_str(if collapsed { "; collapsed" } else { "" })?;
            }
        }
        if let Some(ttl) = self.status.ttl {
            write!(f, "; ttl={}", ttl.clamp(-INTEGER_MAX, INTEGER_MAX))?;
        }
        if let Some(detail) = self.status.detail {
            write!(f, "; detail={}", detail.as_str())?;
        }
        Ok(())
    }
}

/// A structured integer has 15 digits at most (RFC 9651 §3.3.1).
const INTEGER_MAX: i64 = 999_999_999_999_999;

/// A token where it can be one, else a string (RFC 9211 §2); what neither can hold is replaced.
fn write_identifier(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let is_token = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && super::fields::is_token(name.as_bytes());
    if is_token {
        return f.write_str(name);
    }
    f.write_str("\"")?;
    for c in name.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            ' '..='~' => write!(f, "{c}")?,
            _ => f.write_str("?")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests;
