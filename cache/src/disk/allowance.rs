//! May more be written to a volume, after what was fetched and what was written lately?
//!
//! Asked by admission, told by the fills and by the volume's writer. Flash wears out by what is written: every byte that is fetched allows
//! some of one, and what is written, newly or once more, uses it up. While some is left, weaker signs of use are enough. A bound on what is
//! saved and on what is owed, so that neither an idle night nor a rush is felt for long. No lock; two at once may both find the last of it.
//! Keeps nothing over a restart: it begins with nothing saved and nothing owed.

use std::sync::atomic::{AtomicI64, Ordering};

/// For a hundred bytes that are fetched, how many may be written: new ones, and old ones once more. More than that was measured to cost
/// writes for nothing, and a tenth less 0.02 points of hit ratio.
const WRITTEN_PERCENT: i64 = 85;
/// What can be saved or owed, as a share of the ring. Smaller, it follows every rush.
const RING_SHARE: u64 = 5;

/// What may be written to a volume.
#[derive(Debug)]
pub struct Allowance {
    /// In hundredths of a byte; below zero what is owed.
    saved: AtomicI64,
    max: i64,
}

impl Allowance {
    /// For a ring of this many bytes.
    pub fn of_ring(bytes: u64) -> Self {
        Self {
            saved: AtomicI64::new(0),
            max: hundredths(bytes / RING_SHARE),
        }
    }

    /// So many bytes were fetched, as a record of them would take.
    pub fn earn(&self, bytes: u64) {
        self.add(hundredths(bytes) / 100 * WRITTEN_PERCENT);
    }

    /// So many bytes were written.
    pub fn spend(&self, bytes: u64) {
        self.add(-hundredths(bytes));
    }

    /// Whether some is left.
    pub fn is_left(&self) -> bool {
        self.saved.load(Ordering::Relaxed) >= 0
    }

    fn add(&self, change: i64) {
        let added = |saved: i64| Some(saved.saturating_add(change).clamp(-self.max, self.max));
        // It always gives a value.
        let _ = self
            .saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }
}

fn hundredths(bytes: u64) -> i64 {
    i64::try_from(bytes).map_or(i64::MAX, |bytes| bytes.saturating_mul(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Step {
        Fetched(u64),
        Written(u64),
    }
    use Step::{Fetched, Written};

    #[track_caller]
    fn check(steps: &[Step], expected: bool) {
        let allowance = Allowance::of_ring(500);
        for step in steps {
            match *step {
                Fetched(bytes) => allowance.earn(bytes),
                Written(bytes) => allowance.spend(bytes),
            }
        }
        assert_eq!(allowance.is_left(), expected);
    }

    #[test]
    fn what_is_fetched_allows_most_of_it_to_be_written() {
        check(&[], true);
        check(&[Written(1)], false);
        check(&[Fetched(100), Written(85)], true);
        check(&[Fetched(100), Written(86)], false);
        check(&[Written(17), Fetched(20)], true);
        check(&[Written(18), Fetched(20)], false);
    }

    #[test]
    fn a_fifth_of_the_ring_is_saved_or_owed_at_most() {
        check(&[Fetched(100_000), Written(100)], true);
        check(&[Fetched(100_000), Written(101)], false);
        check(&[Written(100_000), Fetched(118)], true);
        check(&[Written(100_000), Fetched(117)], false);
        check(&[Fetched(u64::MAX), Written(u64::MAX)], false);
        check(&[Written(u64::MAX), Fetched(u64::MAX)], true);
    }
}
