//! The names of things, parsed once at the border.

use std::fmt;
use std::sync::Arc;

/// A DNS name or an IP literal: lower case, no port, no trailing dot. IPv6 literals keep their brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

/// The name of a site: 1 to 64 of `a-z A-Z 0-9 . _ -`, not beginning with a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(Arc<str>);

/// The name of a cluster: the same alphabet as [`SiteId`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(Arc<str>);

/// A place: one of the two data centres of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Side `a`.
    A,
    /// Side `b`.
    B,
}

impl Side {
    /// `a` or `b`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// A name that is not one; says which rule it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

impl HostName {
    /// Parses a host without port; upper case is folded.
    ///
    /// # Errors
    /// When it is neither a DNS name nor an IP literal.
    pub fn parse(_text: &str) -> Result<Self, NameError> {
        unimplemented!()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl SiteId {
    /// Parses a site's id.
    ///
    /// # Errors
    /// When a character or the length is not allowed.
    pub fn parse(_text: &str) -> Result<Self, NameError> {
        unimplemented!()
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ClusterId {
    /// Parses a cluster's id.
    ///
    /// # Errors
    /// When a character or the length is not allowed.
    pub fn parse(_text: &str) -> Result<Self, NameError> {
        unimplemented!()
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
