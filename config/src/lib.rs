//! What a node, a site and a cluster are: documents, checks, types. Pure data.
//!
//! Used by `jet9-cluster` (for its nouns) and `jet9-edge`. A document is read in two steps: `document` keeps every value with its place in
//! the file, [`check`] turns it into types that cannot be wrong and collects *all* problems, each with file, line and column.
//! Does no I/O: it is given text. Invariant 6 begins here: a document with any problem yields no value.

pub mod limits;
pub mod names;
pub mod node;
pub mod site;
pub mod units;

pub mod check;
mod document;
pub mod error;
mod reader;
mod schema;

pub use error::{Problem, Problems};
pub use names::{ClusterId, HostName, Side, SiteId};
