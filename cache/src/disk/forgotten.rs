//! Where has the index forgotten a record that is still on disk?
//!
//! Marked when a slot is displaced, or given up because its record could not be read; asked when a response may be left out of the disk,
//! or an invalidation out of the journal: a record that nobody knows of any more would come back at the next start, older than what was
//! served meanwhile. One bit a bucket, which says yes too often and never no too often. A mark lasts for one lap of the ring at least:
//! then the record is overwritten.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Two generations of marks.
#[derive(Debug)]
pub(super) struct Forgotten {
    generations: [Box<[AtomicU64]>; 2],
    young: AtomicUsize,
}

impl Forgotten {
    pub(super) fn new(buckets: u64) -> Self {
        let words = usize::try_from(buckets.div_ceil(64)).unwrap_or(usize::MAX);
        let generation = || (0..words).map(|_| AtomicU64::new(0)).collect();
        Self {
            generations: [generation(), generation()],
            young: AtomicUsize::new(0),
        }
    }

    /// Marks the buckets of a key.
    pub(super) fn mark(&self, buckets: [u64; 2]) {
        let young = &self.generations[self.young.load(Ordering::Relaxed)];
        for bucket in buckets {
            if let Some(word) = young.get(bucket as usize / 64) {
                word.fetch_or(1 << (bucket % 64), Ordering::Relaxed);
            }
        }
    }

    /// Whether a record of a key may have been forgotten.
    pub(super) fn may_have(&self, buckets: [u64; 2]) -> bool {
        let is_marked = |bucket: u64| {
            let words = self
                .generations
                .iter()
                .filter_map(|generation| generation.get(bucket as usize / 64));
            words
                .map(|word| word.load(Ordering::Relaxed) >> (bucket % 64) & 1)
                .any(|bit| bit == 1)
        };
        buckets.into_iter().any(is_marked)
    }

    /// The ring has been around once more: what was marked before the last time is overwritten by now.
    pub(super) fn turn(&self) {
        let old = 1 - self.young.load(Ordering::Relaxed);
        for word in &self.generations[old] {
            word.store(0, Ordering::Relaxed);
        }
        self.young.store(old, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_lasts_for_one_whole_lap_and_not_for_two() {
        let forgotten = Forgotten::new(130);
        assert!(!forgotten.may_have([3, 129]));
        forgotten.mark([129, 64]);
        assert!(forgotten.may_have([3, 129]) && forgotten.may_have([64, 0]));
        assert!(!forgotten.may_have([0, 65]));
        forgotten.turn();
        assert!(forgotten.may_have([3, 129]));
        forgotten.turn();
        assert!(!forgotten.may_have([3, 129]));
    }
}
