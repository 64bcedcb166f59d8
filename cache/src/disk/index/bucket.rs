//! Four slots, one cache line, that are read without a lock while one writer changes them.
//!
//! Used by the index's table alone. The second words are looked at when a tag matches. A writer holds the lock of the bucket, empties the first word, writes the second, then the first; a reader takes
//! the second word only when the first is the same record before and after. So no reader ever sees half of each of two records.
//! Generic over the kind of word, so that a model checker can run every interleaving of this very code.

use std::sync::atomic::{AtomicU64, Ordering};

use super::slot::{
    EMPTY, FREQUENCY_MAX, ONE_HIT, Slot, frequency_of, has_tag, identity_of, tag_in,
};

/// Slots of a bucket.
pub(super) const SLOTS: usize = 4;

/// A word that threads share.
pub(super) trait Word {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    /// Exchanges `present` for `new`, relaxed, unless it is another value by now.
    fn try_exchange(&self, present: u64, new: u64);
}

impl Word for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        Self::load(self, order)
    }

    fn store(&self, value: u64, order: Ordering) {
        Self::store(self, value, order);
    }

    fn try_exchange(&self, present: u64, new: u64) {
        // Somebody else's hit counted, or the record is gone.
        let _ = self.compare_exchange(present, new, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Four slots: one cache line, so that a look-up misses the processor's caches once a bucket.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Bucket<W = AtomicU64> {
    finds: [W; SLOTS],
    judges: [W; SLOTS],
}

impl<W: Word> Bucket<W> {
    /// Which slots have this tag, a bit each. Without a branch, so that the cache misses of several buckets overlap.
    pub(super) fn matches(&self, tag: u64) -> u32 {
        // An empty slot may match; whoever reads it finds it empty.
        let matches = |word: &W| u32::from(tag_in(word.load(Ordering::Relaxed)) == tag);
        (0..SLOTS).fold(0, |found, at| found | matches(&self.finds[at]) << at)
    }

    /// The slot at a position, if it holds a record with this tag.
    pub(super) fn read(&self, at: usize, tag: u64) -> Option<Slot> {
        let before = self.finds[at].load(Ordering::Acquire);
        if has_tag(before, tag) {
            self.rest(at, before)
        } else {
            None
        }
    }

    /// The slot at a position, whatever it holds.
    pub(super) fn read_any(&self, at: usize) -> Option<Slot> {
        self.rest(at, self.finds[at].load(Ordering::Acquire))
    }

    fn rest(&self, at: usize, before: u64) -> Option<Slot> {
        // Acquire: whoever sees a newer second word sees that the first was emptied before it.
        let judges = self.judges[at].load(Ordering::Acquire);
        let after = self.finds[at].load(Ordering::Relaxed);
        if identity_of(before) == identity_of(after) {
            Slot::unpack([after, judges])
        } else {
            None
        }
    }

    /// Counts a hit of the record with this identity, if it is still there. No lock: a hit may get lost, but never counts for another.
    pub(super) fn count_hit(&self, at: usize, identity: u64) {
        let finds = self.finds[at].load(Ordering::Relaxed);
        if identity_of(finds) == identity && frequency_of(finds) < FREQUENCY_MAX {
            self.finds[at].try_exchange(finds, finds + ONE_HIT);
        }
    }

    /// Where the record with this identity is.
    pub(super) fn position(&self, identity: u64) -> Option<usize> {
        let is_it = |word: &W| identity_of(word.load(Ordering::Relaxed)) == identity;
        self.finds.iter().position(is_it)
    }

    /// Which slots are empty, a bit each. The caller holds the lock.
    pub(super) fn rooms(&self) -> u32 {
        let is_empty = |word: &W| u32::from(word.load(Ordering::Relaxed) == EMPTY);
        (0..SLOTS).fold(0, |rooms, at| rooms | is_empty(&self.finds[at]) << at)
    }

    /// The tag of what is in a slot. The caller holds the lock.
    pub(super) fn tag(&self, at: usize) -> u64 {
        tag_in(self.finds[at].load(Ordering::Relaxed))
    }

    /// Both words of a slot. The caller holds the lock.
    pub(super) fn words(&self, at: usize) -> [u64; 2] {
        [&self.finds, &self.judges].map(|words| words[at].load(Ordering::Relaxed))
    }

    /// Puts two words in. The caller holds the lock.
    pub(super) fn write(&self, at: usize, [finds, judges]: [u64; 2]) {
        self.clear(at);
        self.judges[at].store(judges, Ordering::Release);
        self.finds[at].store(finds, Ordering::Release);
    }

    /// Empties a slot. The caller holds the lock.
    pub(super) fn clear(&self, at: usize) {
        // Release: whoever sees it empty knows that it moved, if it did.
        self.finds[at].store(EMPTY, Ordering::Release);
    }
}

/// The slot with a tag in one of two buckets, of which either may not be there yet, and both may be the same. There is one at most: put
/// together, bucket and tag say which two buckets those of a record are.
pub(super) fn matching<W: Word>(buckets: [Option<&Bucket<W>>; 2], tag: u64) -> Option<Slot> {
    // Both are looked at before either is judged, so that their cache misses overlap.
    let [first, second] = buckets.map(|bucket| bucket.map_or(0, |bucket| bucket.matches(tag)));
    let mut found = positions(first | second << SLOTS);
    found.find_map(|at| buckets[at / SLOTS]?.read(at % SLOTS, tag))
}

/// The positions of the bits that are set.
pub(super) fn positions(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (at < u32::BITS).then_some(at as usize)
    })
}

#[cfg(test)]
mod tests {
    use loom::sync::atomic::AtomicU64 as Watched;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::super::slot::{Address, Birth, SizeClass, identity};
    use super::*;
    use crate::key::Partition;

    const TAG: u64 = 5;

    impl Word for Watched {
        fn load(&self, order: Ordering) -> u64 {
            Self::load(self, order)
        }

        fn store(&self, value: u64, order: Ordering) {
            Self::store(self, value, order);
        }

        fn try_exchange(&self, present: u64, new: u64) {
            let _ = self.compare_exchange(present, new, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// A word whose stores are exchanges. The checker lets a later exchange pick up what a plain store had overwritten, which the language
    /// forbids; between exchanges it keeps their order.
    #[derive(Default)]
    struct Exchanged(Watched);

    impl Word for Exchanged {
        fn load(&self, order: Ordering) -> u64 {
            self.0.load(order)
        }

        fn store(&self, value: u64, order: Ordering) {
            self.0.swap(value, order);
        }

        fn try_exchange(&self, present: u64, new: u64) {
            self.0.try_exchange(present, new);
        }
    }

    fn slot(n: u32) -> Slot {
        Slot {
            address: Address::of_offset(u64::from(n) * 512).unwrap(),
            size: SizeClass::of(u64::from(n)).unwrap(),
            partition: Partition(n),
            birth: Birth::of(u64::from(n)),
            frequency: 0,
        }
    }

    /// A bucket with record 1 in its first slot, and its lock.
    fn shared<W: Word + Default>() -> Arc<(Bucket<W>, Mutex<()>)> {
        let bucket = Bucket::default();
        bucket.write(0, slot(1).pack(TAG));
        Arc::new((bucket, Mutex::new(())))
    }

    /// Every interleaving, and every order in which a processor may show the words.
    #[test]
    fn a_reader_sees_a_whole_record_or_none_while_it_is_replaced() {
        loom::model(|| {
            let shared = shared::<Watched>();
            let writer = thread::spawn({
                let shared = Arc::clone(&shared);
                move || {
                    for n in [2, 3] {
                        let _lock = shared.1.lock().unwrap();
                        shared.0.write(0, slot(n).pack(TAG));
                    }
                }
            });
            if let Some(found) = shared.0.read(0, TAG) {
                assert!([1, 2, 3].map(slot).contains(&found), "{found:?}");
            }
            writer.join().unwrap();
            assert_eq!(shared.0.read(0, TAG), Some(slot(3)));
        });
    }

    /// The same bucket, read without the second look at the first word.
    #[test]
    #[should_panic(expected = "half of each of two")]
    fn a_reader_that_looked_once_would_see_half_of_each_of_two() {
        loom::model(|| {
            let shared = shared::<Watched>();
            let writer = thread::spawn({
                let shared = Arc::clone(&shared);
                move || shared.0.write(0, slot(2).pack(TAG))
            });
            if let Some(found) = Slot::unpack(shared.0.words(0)) {
                let is_whole = [1, 2].map(slot).contains(&found);
                assert!(is_whole, "half of each of two: {found:?}");
            }
            writer.join().unwrap();
        });
    }

    #[test]
    fn a_hit_counts_for_its_record_or_not_at_all() {
        loom::model(|| {
            let shared = shared::<Exchanged>();
            let reader = thread::spawn({
                let shared = Arc::clone(&shared);
                move || shared.0.count_hit(0, identity(TAG, slot(1).address))
            });
            {
                let _lock = shared.1.lock().unwrap();
                shared.0.write(0, slot(2).pack(TAG));
            }
            reader.join().unwrap();
            assert_eq!(shared.0.read(0, TAG), Some(slot(2)));
        });
    }

    #[test]
    fn a_record_that_moves_is_seen_whole_wherever_it_is() {
        loom::model(|| {
            let shared = shared::<Watched>();
            let writer = thread::spawn({
                let shared = Arc::clone(&shared);
                move || {
                    let _lock = shared.1.lock().unwrap();
                    shared.0.write(1, shared.0.words(0));
                    shared.0.clear(0);
                    shared.0.write(0, slot(2).pack(TAG + 1));
                }
            });
            for at in [0, 1] {
                let found = shared.0.read(at, TAG);
                assert!([None, Some(slot(1))].contains(&found), "{found:?}");
            }
            writer.join().unwrap();
            assert_eq!(shared.0.read(1, TAG), Some(slot(1)));
        });
    }
}
