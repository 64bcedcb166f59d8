//! Where sites come from and are changed: the seam between the admin API and the state source.
//!
//! Asked by `control::api`. [`SiteStore`] is what a source of sites must be able to do; [`super::directory`] is the one of `state.kind =
//! "directory"`. What a write answers is in force on this node: the table was swapped before. Does not know JSON, HTTP or who may call.
//! Invariant 6: a write with any problem changes nothing.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jet9_config::Problems;
use jet9_config::site::Site;

pub use super::history::Version;

/// A source of site documents that can be changed.
pub trait SiteStore: std::fmt::Debug + Send + Sync {
    /// Creates or replaces a site.
    fn put(&self, write: Write) -> BoxFuture<'_, Result<Written, WriteError>>;

    /// Removes a site and drops what is stored for it.
    fn remove(&self, removal: Removal) -> BoxFuture<'_, Result<(), WriteError>>;

    /// The versions that are kept of a site, the newest first; also of one that was removed.
    fn versions(&self, id: &str) -> BoxFuture<'_, io::Result<Vec<Version>>>;

    /// The document of a site that is in force, as it was written.
    fn document(&self, id: &str) -> BoxFuture<'_, io::Result<Option<String>>>;

    /// Reads all documents again and waits until they are in force.
    fn reload(&self) -> BoxFuture<'_, ()>;
}

/// A site to be created or replaced.
#[derive(Clone, Debug)]
pub struct Write {
    /// The checked document.
    pub site: Site,
    /// Its text; reads as `site`.
    pub text: String,
    /// What of the text is wished.
    pub form: Form,
    /// What must be there.
    pub expected: Expected,
    /// Who writes.
    pub by: Arc<str>,
    /// Which names it may take.
    pub claims: Claims,
    /// Whether it is done.
    pub intent: Intent,
}

/// What of a document's text its author wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Its meaning: a document that means the same already stays as it is, comments included.
    Meaning,
    /// The text itself.
    Text,
}

/// Which names a write may take, of those that no other site has as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claims {
    /// All.
    All,
    /// Not one that another site answers to by a wildcard: an exact name goes before it, and would take visitors away. What the site has it keeps.
    Free,
}

/// Whether a write is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// It is.
    Do,
    /// It is only told what it would do.
    Try,
}

/// A site to be removed.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The site.
    pub id: String,
    /// What must be there.
    pub expected: Expected,
    /// Who removes it.
    pub by: Arc<str>,
}

/// What must be there for a write to be done (RFC 9110 §13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is.
    #[default]
    Anything,
    /// Nothing: `If-None-Match: *`.
    Nothing,
    /// Some version: `If-Match: *`.
    Something,
    /// One of these versions: `If-Match`.
    OneOf(Vec<u64>),
}

impl Expected {
    /// Whether it is met by the version that is in force.
    pub fn is_met(&self, found: Option<u64>) -> bool {
        match (self, found) {
            (Self::Anything, _) | (Self::Nothing, None) | (Self::Something, Some(_)) => true,
            (Self::OneOf(versions), Some(found)) => versions.contains(&found),
            (Self::Nothing, Some(_)) | (Self::Something | Self::OneOf(_), None) => false,
        }
    }
}

/// What a write did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The version in force; of a try, the one that it is now, 0: none.
    pub version: u64,
    /// Whether there was no such site before.
    pub is_new: bool,
    /// The document before, as it was written.
    pub before: Option<String>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no such site.
    #[error("there is no such site")]
    Missing,
    /// Another version is in force than the expected one.
    #[error("version {0} is in force")]
    Moved(u64),
    /// It is expected to be there, or not to be.
    #[error("what is expected is not so: the site {0}")]
    Unexpected(&'static str),
    /// Its text has more bytes than a document may.
    #[error("the document has more than the {0} bytes of limits.document_bytes")]
    TooLarge(u64),
    /// It wants what other sites have.
    #[error("{0}")]
    Taken(Problems),
    /// It could not be written, or not be brought into force; with what that means for the caller.
    #[error("{0}")]
    Failed(String),
}

impl WriteError {
    /// That the precondition does not hold.
    pub(super) const fn moved(found: Option<u64>) -> Self {
        match found {
            Some(version) => Self::Moved(version),
            None => Self::Unexpected("does not exist"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precondition_is_met_by_what_it_names() {
        let check = |expected: Expected, absent: bool, version_two: bool| {
            assert_eq!(expected.is_met(None), absent, "{expected:?}");
            assert_eq!(expected.is_met(Some(2)), version_two, "{expected:?}");
        };
        check(Expected::Anything, true, true);
        check(Expected::Nothing, true, false);
        check(Expected::Something, false, true);
        check(Expected::OneOf(vec![1, 2]), false, true);
        check(Expected::OneOf(vec![]), false, false);
    }
}
