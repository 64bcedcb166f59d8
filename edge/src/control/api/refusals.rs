//! How often is it told that somebody's calls are refused for want of room?
//!
//! Asked by `api::server` before such a refusal goes into the audit trail. Refusing costs the node next to nothing, so a caller can be refused as often as
//! it can send; told each time, that would fill the log and cut those who listen to events. The first one is told at once, those of the next
//! [`PERIOD`] by their number. Invariants 7 and 8. Keeps one number a caller, of those that are refused at the time.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

/// How long further refusals of one caller are counted before they are told.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// Refusals that are not told yet, by the caller's name.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<String, u64>>);

/// What to do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// Tell it, and in a [`PERIOD`] how many came after it.
    Now,
    /// It is counted.
    Later,
}

impl Refusals {
    /// One more.
    pub(super) fn add(&self, who: &str) -> Telling {
        let mut refused = self.0.lock();
        if let Some(count) = refused.get_mut(who) {
            *count += 1;
            return Telling::Later;
        }
        refused.insert(who.to_owned(), 0);
        Telling::Now
    }

    /// How many came after the one that was told; the next one is told again.
    pub(super) fn take(&self, who: &str) -> u64 {
        self.0.lock().remove(who).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_others_are_counted_until_they_are_taken() {
        let refusals = Refusals::default();
        for _ in 0..2 {
            assert_eq!(refusals.add("token:shop"), Telling::Now);
            assert_eq!(refusals.add("token:shop"), Telling::Later);
            assert_eq!(refusals.add("token:shop"), Telling::Later);
            assert_eq!(refusals.add("token:other"), Telling::Now);
            assert_eq!(refusals.take("token:shop"), 2);
            assert_eq!(refusals.take("token:other"), 0);
        }
        assert!(refusals.0.lock().is_empty());
    }
}
