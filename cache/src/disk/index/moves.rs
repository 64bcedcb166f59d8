//! Did a record move between buckets while somebody looked for it without a lock?
//!
//! Used by the index's table alone: a look-up that reads the one bucket before a record comes and the other after it has gone would miss
//! what was there all the time. A mover writes the copy, counts, then clears the original; whoever sees the original gone therefore sees
//! the count changed, unless the copy was there to be seen from the start. So who finds nothing and sees the count unchanged has missed
//! nothing. Generic over the kind of word, so that a model checker can run every interleaving of this very code.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that threads share.
pub(super) trait Count: Default {
    fn load(&self) -> u64;
    fn add(&self);
    /// The value now, after everything that was read before.
    fn load_last(&self) -> u64;
}

impl Count for AtomicU64 {
    fn load(&self) -> u64 {
        Self::load(self, Ordering::Acquire)
    }

    fn add(&self) {
        self.fetch_add(1, Ordering::AcqRel);
    }

    fn load_last(&self) -> u64 {
        std::sync::atomic::fence(Ordering::Acquire);
        Self::load(self, Ordering::Relaxed)
    }
}

/// How often a record moved. In a cache line of its own: it is read by every look-up and rarely written.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Moves<C = AtomicU64>(C);

impl<C: Count> Moves<C> {
    /// Moves a record. The caller holds the locks of both buckets.
    pub(super) fn note(&self, write_copy: impl FnOnce(), clear_original: impl FnOnce()) {
        write_copy();
        self.0.add();
        clear_original();
    }

    /// What `look` finds, which is asked again when a record moved while it found nothing.
    pub(super) fn watched<T>(&self, look: impl Fn() -> Option<T>) -> Option<T> {
        loop {
            let before = self.0.load();
            if let Some(found) = look() {
                return Some(found);
            }
            if self.0.load_last() == before {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64 as Watched;
    use loom::thread;

    use super::super::bucket::{Bucket, matching};
    use super::super::slot::{Address, Birth, SizeClass, Slot};
    use super::*;
    use crate::key::Partition;

    const TAG: u64 = 5;

    impl Count for Watched {
        fn load(&self) -> u64 {
            Self::load(self, Ordering::Acquire)
        }

        fn add(&self) {
            self.fetch_add(1, Ordering::AcqRel);
        }

        fn load_last(&self) -> u64 {
            loom::sync::atomic::fence(Ordering::Acquire);
            Self::load(self, Ordering::Relaxed)
        }
    }

    /// Counts nothing: what the table would be without its count.
    #[derive(Default)]
    struct Blind;

    impl Count for Blind {
        fn load(&self) -> u64 {
            0
        }

        fn add(&self) {}

        fn load_last(&self) -> u64 {
            0
        }
    }

    fn slot() -> Slot {
        Slot {
            address: Address::of_offset(512).unwrap(),
            size: SizeClass::of(1).unwrap(),
            partition: Partition(1),
            birth: Birth::of(1),
            frequency: 0,
        }
    }

    /// A record moves from one bucket to the other while a reader looks for it in both, in either order.
    fn check<C: Count + Send + Sync + 'static>(reversed: bool) {
        loom::model(move || {
            type Buckets = [Bucket<Watched>; 2];
            let shared: Arc<(Buckets, Moves<C>)> = Arc::default();
            shared.0[0].write(0, slot().pack(TAG));
            let mover = thread::spawn({
                let shared = Arc::clone(&shared);
                move || {
                    let ([from, to], moves) = &*shared;
                    moves.note(|| to.write(0, from.words(0)), || from.clear(0));
                }
            });
            let ([from, to], moves) = &*shared;
            let pair = if reversed { [to, from] } else { [from, to] };
            let found = moves.watched(|| matching(pair.map(Some), TAG));
            assert_eq!(found, Some(slot()), "it was there all the time");
            mover.join().unwrap();
        });
    }

    #[test]
    fn what_moves_is_never_missed() {
        check::<Watched>(false);
        check::<Watched>(true);
    }

    #[test]
    #[should_panic(expected = "it was there all the time")]
    fn without_the_count_it_would_be_missed() {
        check::<Blind>(true);
    }
}
