//! Who is the live master of a cluster? A pure state machine over published documents.
//!
//! Fed by `edge::control::mastership`, asked by `edge::origin::master` at each attempt. Every fact is an argument, time included:
//! [`Instant`] counts milliseconds of a clock that also counts while the machine sleeps. No clock, no file, no task.
//! Invariant 1: a view never answers live for two sides in one epoch, nor for an epoch below the highest it has seen, nor past its lease.
//!
//! The order of things that keeps it over restarts: [`View::observe`] on a copy, write [`View::record`] to disk, put the copy in force.

pub mod document;
pub mod mastership;
pub mod view;

pub mod breaker;
pub mod ramp;

pub mod highest;
pub mod lease;
pub mod losses;
pub mod publishing;

mod flaps;
mod json;

pub use document::{Document, DocumentError};
pub use highest::Highest;
pub use losses::{Loss, Losses};
pub use mastership::{Doubt, Mastership};
pub use view::{Change, Source, View};

/// A moment of a monotonic clock that counts through suspends, in milliseconds. Its zero has no meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

/// The number of a cluster's state: grows at every change of phase or master. A published one is 1 or more; 0 stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The highest that a document may carry: every JSON reader still holds it exactly (RFC 8259 §6).
    pub const MAX: Self = Self((1 << 53) - 1);
}
