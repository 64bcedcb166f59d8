//! The members of Cache-Status (RFC 9211).

/// A member of `Cache-Status` (RFC 9211), still without the name of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {}
