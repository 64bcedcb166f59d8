//! How a request's thread wakes the thread of a ring, and lets it run: the bell.
//!
//! Rung by [`VolumeFile`](super::super::VolumeFile) when it has put a job before a thread that sleeps; heard by the worker through its ring. A
//! scheduler may wake the worker on the very processor that the request's thread is on, even with another one idle: then it comes only when that
//! thread has nothing more to do, and the device waits with it. So who finds that some jobs were not fetched gives its processor away for a
//! moment ([`Bell::step_aside`]). Measured in `benches/disk_reads`; knows nothing of what is read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use tokio::time::Instant;

/// A worker that was alone in waiting for the processor has begun a few reads by then; somebody else keeps it for milliseconds.
const ASIDE_MAX: Duration = Duration::from_micros(500);
/// How long nobody steps aside after others took it: each of their turns costs more than a late read.
const REFRAIN: Duration = Duration::from_secs(1);

/// Wakes a ring's thread.
#[derive(Debug)]
pub(in super::super) struct Bell {
    event: OwnedFd,
    made: Instant,
    /// In microseconds since it was made: nobody steps aside before.
    aside_again: AtomicU64,
}

impl Bell {
    pub(in super::super) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self {
            event: eventfd(0, flags)?,
            made: Instant::now(),
            aside_again: AtomicU64::new(0),
        })
    }

    pub(in super::super) fn ring(&self) {
        // It fails when it was rung very often and not heard yet: then it will be.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    pub(super) fn silence(&self) {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }

    /// Lets the worker run if it waits for the caller's processor. Where others wait for it as well, they are let run, too, which is noticed and not
    /// tried again for a while ([`REFRAIN`]).
    pub(in super::super) fn step_aside(&self) {
        self.step_aside_by(Instant::now, thread::yield_now);
    }

    fn step_aside_by(&self, now: impl Fn() -> Instant, give_away: impl FnOnce()) {
        let before = now();
        if micros(before - self.made) < self.aside_again.load(Ordering::Relaxed) {
            return;
        }
        give_away();
        let after = now();
        if after - before > ASIDE_MAX {
            let again = micros(after - self.made + REFRAIN);
            self.aside_again.store(again, Ordering::Relaxed);
        }
    }
}

/// Enough for half a million years.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Callers at `asked` milliseconds, of which each who steps aside is away for `away` microseconds: who does.
    #[track_caller]
    fn check(asked_and_away: &[(u64, u64)], expected: &[bool]) {
        let bell = Bell::new().unwrap();
        let step_aside = |&(asked, away): &(u64, u64)| {
            let clock = Cell::new(bell.made + Duration::from_millis(asked));
            let went = Cell::new(false);
            bell.step_aside_by(
                || clock.get(),
                || {
                    clock.set(clock.get() + Duration::from_micros(away));
                    went.set(true);
                },
            );
            went.get()
        };
        let went: Vec<bool> = asked_and_away.iter().map(step_aside).collect();
        assert_eq!(went, expected);
    }

    #[test]
    fn who_comes_back_soon_steps_aside_again() {
        check(&[(0, 0), (0, 100), (1, 500), (2, 1)], &[true; 4]);
    }

    #[test]
    fn after_others_took_the_processor_nobody_steps_aside_for_a_second() {
        check(
            &[
                (0, 501),
                (1, 0),
                (1000, 0),
                (1001, 0),
                (1002, 3000),
                (2004, 0),
            ],
            &[true, false, false, true, true, false],
        );
        check(&[(5, 3000), (1007, 0), (1009, 0)], &[true, false, true]);
    }
}
