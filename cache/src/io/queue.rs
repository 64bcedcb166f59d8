//! What waits to be carried out: bounded, reads apart from writes, so that neither can keep the other out.
//!
//! Filled by [`super::VolumeFile`] from any thread; emptied by the backend. What was not begun when its caller left is skipped, writes
//! included: a write that lands long after its caller gave up would hit what has been put there since.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::buffer::Unit;
use super::error::{Cause, IoError, Operation};
use super::pending::Promise;

/// One operation.
#[derive(Debug)]
pub(super) enum Job {
    Read(Span, Promise<Bytes>),
    Write(u64, Unit, Promise<Unit>),
    Sync(Promise<()>),
}

/// What is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) length: usize,
}

impl Job {
    /// The error that says `cause` of it.
    pub(super) const fn error(&self, cause: Cause) -> IoError {
        let (operation, offset, length) = match self {
            Self::Read(span, _) => (Operation::Read, span.offset, span.length as u64),
            Self::Write(offset, unit, _) => (Operation::Write, *offset, unit.len() as u64),
            Self::Sync(_) => (Operation::Sync, 0, 0),
        };
        IoError {
            operation,
            offset,
            length,
            cause,
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Self::Read(_, promise) => promise.is_abandoned(),
            Self::Write(_, _, promise) => promise.is_abandoned(),
            Self::Sync(promise) => promise.is_abandoned(),
        }
    }

    const fn lane(&self) -> Lane {
        match self {
            Self::Read(..) => Lane::Read,
            Self::Write(..) | Self::Sync(_) => Lane::Write,
        }
    }

    /// Tells the caller that it was not done.
    pub(super) fn fail(self, cause: Cause) {
        let error = self.error(cause);
        match self {
            Self::Read(_, promise) => promise.keep(Err(error)),
            Self::Write(_, _, promise) => promise.keep(Err(error)),
            Self::Sync(promise) => promise.keep(Err(error)),
        }
    }
}

/// Which of the two waiting lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Read,
    /// Writes and syncs.
    Write,
}

/// The waiting lists.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    read: Condvar,
    write: Condvar,
    reads_max: usize,
    writes_max: usize,
}

#[derive(Default)]
struct Waiting {
    reads: VecDeque<Job>,
    writes: VecDeque<Job>,
    closed: bool,
    /// Whoever empties the queue alone waits for its bell.
    asleep: bool,
}

/// What a ring finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Something to begin.
    Jobs,
    /// Nothing that there is room for; the bell will be rung when more comes.
    Nothing,
    /// The queue is closed and empty, and nothing is under way.
    Closed,
}

/// With so many reads not fetched yet, whoever empties the queue is late.
const LATE: usize = 4;

/// Whether the one who sleeps has to be woken by its bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sleeper {
    Asleep,
    Awake,
    /// It was woken, and so many reads wait since that it may be kept from running ([`LATE`]): said once.
    Late,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn new(reads_max: usize, writes_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            read: Condvar::new(),
            write: Condvar::new(),
            reads_max,
            writes_max,
        }
    }

    /// Puts a job into its list, or tells its caller why not. Whoever sleeps at a bell is to be woken.
    pub(super) fn put(&self, job: Job) -> Result<Sleeper, Cause> {
        let mut waiting = self.waiting.lock();
        let lane = job.lane();
        let cause = if waiting.closed {
            Some(Cause::Closed)
        } else if waiting.lane(lane).len() >= self.max(lane) {
            Some(Cause::QueueFull)
        } else {
            None
        };
        if let Some(cause) = cause {
            drop(waiting);
            job.fail(cause);
            return Err(cause);
        }
        waiting.lane(lane).push_back(job);
        let was_asleep = std::mem::take(&mut waiting.asleep);
        let is_late = lane == Lane::Read && waiting.reads.len() == LATE;
        drop(waiting);
        match lane {
            Lane::Read => self.read.notify_one(),
            Lane::Write => self.write.notify_one(),
        };
        Ok(match (was_asleep, is_late) {
            (true, _) => Sleeper::Asleep,
            (false, true) => Sleeper::Late,
            (false, false) => Sleeper::Awake,
        })
    }

    /// The next job of a list, waited for; `None` when the queue is closed and empty.
    pub(super) fn wait(&self, lane: Lane) -> Option<Job> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(job) = waiting.next(lane) {
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            match lane {
                Lane::Read => self.read.wait(&mut waiting),
                Lane::Write => self.write.wait(&mut waiting),
            }
        }
    }

    /// Up to so many reads and writes, appended to `jobs`; `is_busy`: something is under way.
    pub(super) fn take(
        &self,
        reads: usize,
        writes: usize,
        is_busy: bool,
        jobs: &mut Vec<Job>,
    ) -> Found {
        let mut waiting = self.waiting.lock();
        let before = jobs.len();
        for (lane, room) in [(Lane::Write, writes), (Lane::Read, reads)] {
            let next = std::iter::from_fn(|| waiting.next(lane));
            jobs.extend(next.take(room));
        }
        if jobs.len() > before {
            return Found::Jobs;
        }
        let is_empty = waiting.reads.is_empty() && waiting.writes.is_empty();
        if waiting.closed && is_empty && !is_busy {
            return Found::Closed;
        }
        waiting.asleep = true;
        Found::Nothing
    }

    /// How many operations wait.
    pub(super) fn len(&self) -> usize {
        let waiting = self.waiting.lock();
        waiting.reads.len() + waiting.writes.len()
    }

    /// Takes nothing any more; what waits is still carried out.
    pub(super) fn close(&self) -> Sleeper {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        let was_asleep = std::mem::take(&mut waiting.asleep);
        drop(waiting);
        self.read.notify_all();
        self.write.notify_all();
        if was_asleep {
            Sleeper::Asleep
        } else {
            Sleeper::Awake
        }
    }

    const fn max(&self, lane: Lane) -> usize {
        match lane {
            Lane::Read => self.reads_max,
            Lane::Write => self.writes_max,
        }
    }
}

impl Waiting {
    const fn lane(&mut self, lane: Lane) -> &mut VecDeque<Job> {
        match lane {
            Lane::Read => &mut self.reads,
            Lane::Write => &mut self.writes,
        }
    }

    /// The next that somebody still waits for.
    fn next(&mut self, lane: Lane) -> Option<Job> {
        let list = self.lane(lane);
        std::iter::from_fn(|| list.pop_front()).find(|job| !job.is_abandoned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::{Histogram, HistogramOpts, IntCounter};

    use super::*;
    use crate::io::pending::{self, Pending};

    fn read() -> (Job, Pending<Bytes>) {
        let span = Span {
            offset: 0,
            length: 1,
        };
        let timer = Histogram::with_opts(HistogramOpts::new("time", "of a read"));
        let timer = timer.unwrap().start_timer();
        let late = IntCounter::new("late", "reads").unwrap();
        let (promise, pending) =
            pending::pair(IoError::of_bell(), Duration::from_secs(60), timer, late);
        (Job::Read(span, promise), pending)
    }

    /// What is said of whoever empties the queue when one read after the other comes.
    #[track_caller]
    fn check(queue: &Queue, expected: &[Sleeper]) -> Vec<Pending<Bytes>> {
        let (jobs, pending): (Vec<_>, _) = expected.iter().map(|_| read()).unzip();
        let said: Vec<_> = jobs.into_iter().map(|job| queue.put(job)).collect();
        let expected: Vec<_> = expected.iter().copied().map(Ok).collect();
        assert_eq!(said, expected);
        pending
    }

    #[test]
    fn who_sleeps_is_woken_once_and_told_of_once_when_it_does_not_come() {
        use Sleeper::{Asleep, Awake, Late};
        let queue = Queue::new(100, 1);
        let mut jobs = Vec::new();
        for _ in 0..2 {
            assert_eq!(queue.take(100, 1, true, &mut jobs), Found::Nothing);
            let _waiting = check(
                &queue,
                &[Asleep, Awake, Awake, Late, Awake, Awake, Awake, Awake],
            );
            assert_eq!(queue.take(100, 1, true, &mut jobs), Found::Jobs);
            assert_eq!(jobs.len(), 8);
            jobs.clear();
        }
    }
}
