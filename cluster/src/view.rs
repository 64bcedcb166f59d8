//! What one edge knows of one cluster, document by document.

use crate::document::{Document, DocumentError};
use crate::mastership::Mastership;
use crate::{Epoch, Instant};

/// One edge's view of one cluster.
#[derive(Clone, Debug, Default)]
pub struct View {
    highest: Epoch,
}

/// What a document changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A higher epoch was adopted.
    Adopted(Epoch),
    /// The same epoch with other addresses.
    Addresses,
    /// Nothing.
    Same,
    /// It was refused: an epoch below the highest seen.
    Older {
        /// The epoch of the document.
        offered: Epoch,
        /// The highest seen.
        highest: Epoch,
    },
    /// The same epoch with another master or phase: an alarm.
    Conflict(Epoch),
}

impl View {
    /// A view that starts from the highest epoch that was adopted before a restart.
    pub fn restored(highest: Epoch) -> Self {
        Self { highest }
    }

    /// The highest epoch ever adopted; persist it before acting on it.
    pub const fn highest(&self) -> Epoch {
        self.highest
    }

    /// Takes a document from a watched directory, the only source of this edge.
    pub fn observe(&mut self, _document: Document, _now: Instant) -> Change {
        unimplemented!()
    }

    /// Notes that the published document cannot be read: what is in force stays, nothing is renewed.
    pub fn unreadable(&mut self, _error: &DocumentError, _now: Instant) {
        unimplemented!()
    }

    /// Who is the live master at `now`.
    pub fn mastership(&self, _now: Instant) -> Mastership {
        unimplemented!()
    }
}
