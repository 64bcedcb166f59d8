//! How far back must purges be remembered? To the birth of the oldest response that is still somewhere.
//!
//! Wanted by the journal's thread when its file or a table of marks fills; answered by whoever keeps responses (`store`), on a thread of its
//! own, since all that is stored is looked through: purges are answered meanwhile, and the floor is taken in with a later group of them. The
//! answer need not be exact: what is older than it is dead from then on, so that one that is too high costs hits and one that is too low
//! costs memory. Nobody is asked any more once the store is closed: the answer must not be what keeps its parts alive, nor the asking thread
//! the one that lets them go. Invariant: one question at a time, however much is purged.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use log::error;
use parking_lot::{Condvar, Mutex};

use super::Tick;

/// Purges after which is asked again when the last answer freed next to nothing: to ask, all that is stored is looked through.
const ASK_AGAIN: u64 = 65_536;
/// How long the looking through rests after each of its steps, so that it never takes a processor for itself.
const REST: Duration = Duration::from_millis(1);

/// The birth of the oldest response that is stored or being fetched, [`Tick::FOREVER`] when there is none; `None` when that is not known
/// at this moment. Between its steps it calls what it is given, which rests, and gives up when that says `false`.
pub(crate) type Oldest = Box<dyn Fn(&dyn Fn() -> bool) -> Option<Tick> + Send>;

/// Where the answer comes from, and when to ask next.
#[derive(Default)]
pub(super) struct Horizon {
    oldest: Mutex<Option<Oldest>>,
    question: Mutex<Question>,
    changed: Condvar,
    /// The sequence of purges before which a crowded table is no reason to ask.
    not_before: AtomicU64,
}

/// How far the question is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Question {
    #[default]
    None,
    /// Asked when what was born was born at this tick.
    Asked(Tick),
    /// The floor that was found.
    Answered(Tick),
    /// The store is closed.
    Closed,
}

impl std::fmt::Debug for Horizon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Horizon").finish_non_exhaustive()
    }
}

impl Horizon {
    /// Sets whom to ask; `None`: nobody any more, and what is being answered is given up.
    pub(super) fn answer_by(&self, oldest: Option<Oldest>) {
        if oldest.is_none() {
            *self.question.lock() = Question::Closed;
            self.changed.notify_all();
        }
        let before = std::mem::replace(&mut *self.oldest.lock(), oldest);
        // Not under the lock: it may be the last to know a part of the store.
        drop(before);
    }

    /// Asks, what is born now being born at `now`, unless that was done already.
    pub(super) fn ask(&self, now: Tick) {
        let mut question = self.question.lock();
        if *question == Question::None {
            *question = Question::Asked(now);
            self.changed.notify_all();
        }
    }

    /// The last tick at which nothing was born that is still there, when that was found since this was asked last.
    pub(super) fn take_floor(&self) -> Option<Tick> {
        let mut question = self.question.lock();
        let Question::Answered(floor) = *question else {
            return None;
        };
        *question = Question::None;
        Some(floor)
    }

    /// Whether to ask because of a crowded table, `sequence` purges having been made.
    pub(super) fn is_due(&self, sequence: u64) -> bool {
        sequence >= self.not_before.load(Ordering::Relaxed)
    }

    /// Notes that asking freed next to nothing, `sequence` purges having been made.
    pub(super) fn was_futile(&self, sequence: u64) {
        let next = sequence.saturating_add(ASK_AGAIN);
        self.not_before.store(next, Ordering::Relaxed);
    }

    /// Forgets that asking was futile.
    #[cfg(test)]
    pub(super) fn expect_much(&self) {
        self.not_before.store(0, Ordering::Relaxed);
    }

    /// Waits until nothing is asked that was not answered.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        let mut question = self.question.lock();
        let is_open = |question: &mut Question| matches!(question, Question::Asked(_));
        self.changed.wait_while(&mut question, is_open);
    }

    /// Answers until the store is closed.
    fn run(&self) {
        while let Some(now) = self.next_question() {
            // What is born meanwhile may not be seen.
            let floor = self.find(now);
            let mut question = self.question.lock();
            if *question != Question::Closed {
                *question = floor.map_or(Question::None, Question::Answered);
            }
            self.changed.notify_all();
        }
    }

    fn next_question(&self) -> Option<Tick> {
        let mut question = self.question.lock();
        loop {
            match *question {
                Question::Asked(now) => return Some(now),
                Question::Closed => return None,
                Question::None | Question::Answered(_) => self.changed.wait(&mut question),
            }
        }
    }

    fn find(&self, now: Tick) -> Option<Tick> {
        let oldest = self.oldest.lock().as_ref()?(&|| self.rest())?;
        Some(Tick(oldest.min(now).0.saturating_sub(1)))
    }

    /// Whether the answer is still wanted, after a rest.
    fn rest(&self) -> bool {
        let mut question = self.question.lock();
        let is_open = |question: &mut Question| *question != Question::Closed;
        self.changed.wait_while_for(&mut question, is_open, REST);
        *question != Question::Closed
    }
}

/// The thread that looks.
#[derive(Debug)]
pub(super) struct Lookout {
    horizon: Arc<Horizon>,
    thread: Option<JoinHandle<()>>,
}

impl Lookout {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none to give.
    pub(super) fn start(horizon: Arc<Horizon>) -> io::Result<Self> {
        let of_thread = Arc::clone(&horizon);
        let thread = std::thread::Builder::new()
            .name("jet9-horizon".into())
            .spawn(move || of_thread.run())?;
        Ok(Self {
            horizon,
            thread: Some(thread),
        })
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.horizon.answer_by(None);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that looks for the oldest response had panicked");
        }
    }
}
