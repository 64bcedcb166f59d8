//! How far back must purges be remembered? To the birth of the oldest response that is still somewhere.
//!
//! Asked by the journal's thread when its file or a table of marks is nearly full; answered by whoever keeps responses (`store`). The answer
//! need not be exact: what is older than it is dead from then on, so that one that is too high costs hits and one that is too low costs
//! memory. Nobody is asked any more once the store is closed: the answer must not be what keeps its parts alive, nor the journal's thread
//! the one that lets them go.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Tick;

/// Purges after which is asked again when the last answer freed next to nothing: to ask, all that is stored is looked through.
const ASK_AGAIN: u64 = 65_536;

/// The birth of the oldest response that is stored or being fetched, [`Tick::FOREVER`] when there is none; `None` when that is not known
/// at this moment.
pub(crate) type Oldest = Box<dyn Fn() -> Option<Tick> + Send>;

/// Where the answer comes from, and when to ask next.
#[derive(Default)]
pub(super) struct Horizon {
    oldest: Mutex<Option<Oldest>>,
    /// The sequence of purges before which a crowded table is no reason to ask.
    not_before: AtomicU64,
}

impl std::fmt::Debug for Horizon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Horizon").finish_non_exhaustive()
    }
}

impl Horizon {
    /// Sets whom to ask; `None`: nobody. Waits for a question that is being answered.
    pub(super) fn ask(&self, oldest: Option<Oldest>) {
        let before = std::mem::replace(&mut *self.oldest.lock(), oldest);
        // Not under the lock: it may be the last to know a part of the store.
        drop(before);
    }

    /// The last tick at which nothing was born that is still there, given that what is born now is born at `now`; `None` when nobody knows.
    pub(super) fn floor(&self, now: Tick) -> Option<Tick> {
        let oldest = self.oldest.lock().as_ref()?()?;
        Some(Tick(oldest.min(now).0.saturating_sub(1)))
    }

    /// Whether to ask because of a crowded table, `sequence` purges having been made.
    pub(super) fn is_due(&self, sequence: u64) -> bool {
        sequence >= self.not_before.load(Ordering::Relaxed)
    }

    /// Forgets that asking was futile.
    #[cfg(test)]
    pub(super) fn expect_much(&self) {
        self.not_before.store(0, Ordering::Relaxed);
    }

    /// Notes that asking at `sequence` freed next to nothing.
    pub(super) fn was_futile(&self, sequence: u64) {
        let next = sequence.saturating_add(ASK_AGAIN);
        self.not_before.store(next, Ordering::Relaxed);
    }
}
