//! Which lap is a segment in, and how many read from it?
//!
//! Asked by everyone who reads from a volume, changed by its writer and its recovery. Both are in one word: whoever holds a segment holds
//! the lap that it named, and a lap begins when nobody holds the last one, or when those who do are cut. With two words a reader could
//! hold a lap that was just over. Generic over the kind of word, so that a model checker can run every interleaving of this very code.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of the number of readers.
const PIN_BITS: u32 = 20;
const PINS_MAX: u64 = (1 << PIN_BITS) - 1;
/// The highest number of a lap.
pub(super) const LAP_MAX: u64 = u64::MAX >> PIN_BITS;

/// A word that threads share.
pub(super) trait Word {
    fn load(&self) -> u64;
    /// Exchanges what is there for what `change` makes of it; `false` when that is nothing.
    fn update(&self, change: impl FnMut(u64) -> Option<u64>) -> bool;
}

impl Word for AtomicU64 {
    fn load(&self) -> u64 {
        Self::load(self, Ordering::Acquire)
    }

    fn update(&self, change: impl FnMut(u64) -> Option<u64>) -> bool {
        self.fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
            .is_ok()
    }
}

/// One segment. Lap 0: nothing readable is in it.
#[derive(Debug, Default)]
pub(super) struct Segment<W = AtomicU64> {
    /// The lap, and how many hold it.
    word: W,
}

/// Whether a lap is held by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    No,
}

impl<W: Word> Segment<W> {
    pub(super) fn lap(&self) -> u64 {
        self.word.load() >> PIN_BITS
    }

    /// Holds it in a lap; `false` when it is in another one, or too many hold it.
    pub(super) fn pin(&self, lap: u64) -> bool {
        let pinned = |word: u64| word + 1;
        self.word
            .update(|word| (lap_of(word) == lap && pins_of(word) < PINS_MAX).then(|| pinned(word)))
    }

    /// Lets it go; whoever was cut has nothing to let go.
    pub(super) fn unpin(&self, lap: u64) -> Held {
        let mut left = 0;
        let is_held = self.word.update(|word| {
            left = pins_of(word)
                .checked_sub(1)
                .filter(|_| lap_of(word) == lap)?;
            Some(word - 1)
        });
        if is_held && left == 0 {
            Held::No
        } else {
            Held::Yes
        }
    }

    /// Begins a lap if nobody holds the last one.
    pub(super) fn try_begin(&self, lap: u64) -> bool {
        self.word
            .update(|word| (pins_of(word) == 0).then_some(lap << PIN_BITS))
    }

    /// Begins a lap: whoever holds the last one is cut.
    pub(super) fn begin(&self, lap: u64) {
        self.word.update(|_| Some(lap << PIN_BITS));
    }
}

const fn lap_of(word: u64) -> u64 {
    word >> PIN_BITS
}

const fn pins_of(word: u64) -> u64 {
    word & PINS_MAX
}

#[cfg(test)]
mod tests {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64 as Watched;
    use loom::thread;

    use super::*;

    impl Word for Watched {
        fn load(&self) -> u64 {
            Self::load(self, Ordering::Acquire)
        }

        fn update(&self, change: impl FnMut(u64) -> Option<u64>) -> bool {
            self.fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
                .is_ok()
        }
    }

    /// A segment in lap 1, and what stands in it: the number of the lap that wrote it.
    #[derive(Default)]
    struct Shared {
        segment: Segment<Watched>,
        content: Watched,
    }

    fn shared() -> Arc<Shared> {
        let shared = Shared::default();
        shared.segment.begin(1);
        shared.content.store(1, Ordering::Relaxed);
        Arc::new(shared)
    }

    /// Every interleaving, and every order in which a processor may show the words.
    #[test]
    fn nothing_is_written_over_what_somebody_holds() {
        loom::model(|| {
            let shared = shared();
            let reader = thread::spawn({
                let shared = Arc::clone(&shared);
                move || {
                    if !shared.segment.pin(1) {
                        return;
                    }
                    assert_eq!(shared.content.load(Ordering::Relaxed), 1);
                    shared.segment.unpin(1);
                }
            });
            let is_begun = shared.segment.try_begin(2);
            if is_begun {
                shared.content.store(2, Ordering::Relaxed);
            }
            reader.join().unwrap();
            assert_eq!(shared.segment.lap(), if is_begun { 2 } else { 1 });
            assert!(is_begun || shared.segment.try_begin(2), "nobody holds it");
        });
    }

    #[test]
    fn whoever_is_cut_notices_before_it_believes_what_it_read() {
        loom::model(|| {
            let shared = shared();
            let reader = thread::spawn({
                let shared = Arc::clone(&shared);
                move || {
                    let is_held = shared.segment.pin(1);
                    let content = shared.content.load(Ordering::Acquire);
                    if is_held && shared.segment.lap() == 1 {
                        assert_eq!(content, 1);
                    }
                    if is_held {
                        shared.segment.unpin(1);
                    }
                }
            });
            shared.segment.begin(2);
            shared.content.store(2, Ordering::Release);
            // The one that was cut holds nothing of the new lap.
            assert!(shared.segment.pin(2));
            reader.join().unwrap();
            assert!(!shared.segment.try_begin(3));
            assert_eq!(shared.segment.unpin(2), Held::No);
            assert!(shared.segment.try_begin(3));
        });
    }

    #[test]
    fn laps_up_to_the_highest_are_told() {
        let segment: Segment = Segment::default();
        for lap in [0, 1, 5, LAP_MAX] {
            segment.begin(lap);
            assert_eq!(segment.lap(), lap);
            assert!(segment.pin(lap) && !segment.try_begin(1), "{lap}");
            assert!(segment.pin(lap) && segment.unpin(lap) == Held::Yes);
            assert_eq!(segment.unpin(lap), Held::No);
            assert_eq!(segment.unpin(lap), Held::Yes, "nothing is held");
            assert!(segment.try_begin(lap));
        }
    }
}
