//! Eight slots that are read without a lock while one writer changes them.
//!
//! Used by the index's table alone. The first words lie together in one cache line, so that a miss costs one; the second words are looked
//! at when a tag matches. A writer holds the lock of the bucket, empties the first word, writes the second, then the first; a reader takes
//! the second word only when the first is the same record before and after. So no reader ever sees half of each of two records.
//! Generic over the kind of word, so that a model checker can run every interleaving of this very code.

use std::sync::atomic::{AtomicU64, Ordering};

use super::slot::{
    EMPTY, FREQUENCY_MAX, ONE_HIT, Slot, frequency_of, has_tag, identity_of, tag_in,
};

/// Slots of a bucket.
pub(super) const SLOTS: usize = 8;

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

/// Eight slots: two cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Bucket<W = AtomicU64> {
    finds: [W; SLOTS],
    judges: [W; SLOTS],
}

impl<W: Word> Bucket<W> {
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

    /// An empty slot, if there is one, and how many there are.
    pub(super) fn room(&self) -> (Option<usize>, usize) {
        let is_empty = |word: &W| word.load(Ordering::Relaxed) == EMPTY;
        let rooms = self.finds.iter().filter(|word| is_empty(word)).count();
        (self.finds.iter().position(is_empty), rooms)
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
        self.finds[at].store(EMPTY, Ordering::Relaxed);
    }
}
