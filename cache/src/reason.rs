//! Why something was not served from, or not put into, the store: one closed enum.
//!
//! Its word is the same in `Cache-Status`'s `detail`, in the access log, in the metric's label and in the explain API.
//! Invariant: each of them is produced by a test (`edge/src/story/reasons.rs` names it), so that none is only promised; words for what is
//! not built yet are reserved in the documentation and come in here with it.

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// The reason of a "no" (or of a "yes, although stale"). Closed: every word is listed in `docs/configuration.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word, as it is written everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

reasons! {
    /// The method is never answered from the store.
    Method = "method",
    /// The request has `Authorization` and the response does not allow sharing it (RFC 9111 §3.5).
    Authorization = "authorization",
    /// The request has a cookie whose meaning the site's rules do not know.
    CookieUnknown = "cookie-unknown",
    /// The response has `Set-Cookie` and the site's rules do not store such.
    SetCookie = "set-cookie",
    /// `no-store` in the request or the response (RFC 9111 §5.2.1.5, §5.2.2.5).
    NoStore = "no-store",
    /// `private` in the response (RFC 9111 §5.2.2.7).
    Private = "private",
    /// `no-cache` in the request or the response (RFC 9111 §5.2.1.4, §5.2.2.4).
    NoCache = "no-cache",
    /// The response gives no freshness and no validator, and no rule gives a lifetime.
    NoFreshness = "no-freshness",
    /// `Vary: *` (RFC 9111 §4.1).
    VaryStar = "vary-star",
    /// More variants, or more selecting fields, than the limit.
    VaryLimit = "vary-limit",
    /// The request asks for a range that the store cannot answer.
    Range = "range",
    /// The content is larger than `cache.max_object`.
    TooLarge = "too-large",
    /// More cache tags than the limit.
    TooManyTags = "too-many-tags",
    /// The status may not be stored.
    Status = "status",
    /// A route of the site turns caching off.
    RouteOff = "route-off",
    /// The site's profile is `off`.
    ProfileOff = "profile-off",
    /// The site's share of the store is used up.
    Quota = "quota",
    /// Earlier answers for this key could not be stored; the request was not collapsed.
    PredictedUncacheable = "predicted-uncacheable",
    /// The request waited too long for another request's answer.
    CollapseTimeout = "collapse-timeout",
    /// The stored response was purged.
    Purged = "purged",
    /// The stored response was stale.
    Expired = "expired",
    /// The origin confirmed the stored response.
    Revalidated = "revalidated",
    /// Served stale while a revalidation runs (RFC 5861 §3).
    StaleWhileRevalidate = "stale-while-revalidate",
    /// Served stale because the origin failed (RFC 5861 §4).
    StaleIfError = "stale-if-error",
    /// The origin could not be reached.
    OriginDown = "origin-down",
    /// The origin fails and is spared for now.
    Breaker = "breaker",
    /// The request was held for the live master and the time ran out.
    Hold = "hold",
    /// The answer came under an epoch of its cluster that is over.
    EpochEnded = "epoch-ended",
    /// The request has a condition that only the origin can judge (RFC 9110 §13.1.1, §13.1.4).
    Precondition = "precondition",
    /// The request asked for another protocol.
    Upgrade = "upgrade",
}
