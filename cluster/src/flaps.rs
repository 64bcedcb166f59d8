//! Do the masters of a cluster change too often, without a proof?
//!
//! Kept by [`crate::View`], which notes each epoch that put a master in force neither by plan nor with a proof. Every epoch is followed all
//! the same: flapping only ends the holding of requests, since a held request would wait for a master that is soon gone again.

use std::collections::VecDeque;

use crate::Instant;

/// How many unproved changes of master within [`WINDOW_MS`] are still borne, where nothing else is set.
pub const FLAPS_MAX_DEFAULT: usize = 6;
/// Over how long they are counted, in milliseconds.
pub const WINDOW_MS: u64 = 60_000;

/// The moments of the latest unproved changes.
#[derive(Clone, Debug)]
pub(crate) struct Flaps {
    /// The latest `max + 1`, oldest first.
    at: VecDeque<Instant>,
    max: usize,
}

impl Default for Flaps {
    fn default() -> Self {
        Self::at_most(FLAPS_MAX_DEFAULT)
    }
}

impl Flaps {
    pub(crate) const fn at_most(max: usize) -> Self {
        Self {
            at: VecDeque::new(),
            max,
        }
    }

    pub(crate) const fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn note(&mut self, now: Instant) {
        if self.at.len() > self.max {
            self.at.pop_front();
        }
        self.at.push_back(now);
    }

    /// More than the limit lie within the window that ends at `now`.
    pub(crate) fn too_many(&self, now: Instant) -> bool {
        let oldest = self.at.front().filter(|_| self.at.len() > self.max);
        oldest.is_some_and(|oldest| now.0.saturating_sub(oldest.0) < WINDOW_MS)
    }
}
