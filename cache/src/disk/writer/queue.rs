//! What waits to be written to a volume, and for whom?
//!
//! Filled through [`Sink`] by those who store, emptied by the one writing thread, in order. What waits is bounded in bytes; what waits when the
//! thread ends is told that it is lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use super::super::record::Draft;
use super::super::ticket::Ticket;

/// How long the thread waits for more when it has something to write.
pub(super) const LINGER: Duration = Duration::from_millis(10);
/// Bytes handed in and not yet written; beyond, whoever hands in waits.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// The queue to a volume's writing thread.
#[derive(Clone, Debug)]
pub(in crate::disk) struct Sink {
    pub(super) queue: Arc<Queue>,
}

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    room: Notify,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    end: Option<End>,
}

pub(super) enum Job {
    Record(Draft, Ticket),
    /// Told when everything before it is durable.
    Flush(oneshot::Sender<()>),
    /// Told when, besides, the open segment has its footer.
    Seal(oneshot::Sender<()>),
}

/// How the thread ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// After everything handed in is durable.
    Clean,
    /// At once, as in a crash.
    Abandon,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Sink {
    /// Waits until the writer is not too far behind.
    pub(in crate::disk) async fn room(&self) {
        loop {
            let room = self.queue.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.queue.waiting.lock().bytes < WAITING_BYTES_MAX {
                return;
            }
            room.await;
        }
    }

    /// Whether the writer is not far behind: what can wait, waits.
    pub(in crate::disk) fn has_room(&self) -> bool {
        self.queue.waiting.lock().bytes < WAITING_BYTES_MAX / 4
    }

    /// Hands in a record; wait for [`Self::room`] before.
    pub(in crate::disk) fn put(&self, draft: Draft, ticket: Ticket) {
        let mut waiting = self.queue.waiting.lock();
        if waiting.end.is_some() {
            drop(waiting);
            return ticket.lost();
        }
        waiting.bytes += draft.length();
        waiting.jobs.push_back(Job::Record(draft, ticket));
        drop(waiting);
        self.queue.changed.notify_one();
    }

    /// Waits until everything handed in before is durable, or lost.
    pub(in crate::disk) async fn flush(&self) {
        self.wait_for(Job::Flush).await;
    }

    pub(super) async fn wait_for(&self, job: impl FnOnce(oneshot::Sender<()>) -> Job) {
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.queue.waiting.lock();
            if waiting.end.is_some() {
                return;
            }
            waiting.jobs.push_back(job(sender));
        }
        self.queue.changed.notify_one();
        // The thread is gone: nothing is left to wait for.
        drop(receiver.await);
    }

    pub(super) fn end(&self, end: End) {
        let mut waiting = self.queue.waiting.lock();
        if waiting.end != Some(End::Clean) {
            waiting.end = Some(end);
        }
        drop(waiting);
        self.queue.changed.notify_one();
    }
}

/// What the thread finds in its queue.
pub(super) enum Next {
    Job(Job),
    /// Nothing came for as long as it may wait.
    Idle,
    End(End),
}

impl Queue {
    /// Takes nothing any more.
    pub(super) fn end_all(&self) {
        self.waiting.lock().end.get_or_insert(End::Abandon);
        self.clear();
    }

    /// Drops what nobody will write any more, and with it what that holds.
    pub(super) fn clear(&self) {
        let jobs = {
            let mut waiting = self.waiting.lock();
            waiting.bytes = 0;
            std::mem::take(&mut waiting.jobs)
        };
        self.room.notify_waiters();
        for job in jobs {
            if let Job::Record(_, ticket) = job {
                ticket.lost();
            }
        }
    }

    /// The next job; `linger` when something is gathered already.
    pub(super) fn next(&self, linger: bool) -> Next {
        let mut waiting = self.waiting.lock();
        loop {
            match waiting.end {
                Some(End::Abandon) => return Next::End(End::Abandon),
                Some(End::Clean) if waiting.jobs.is_empty() => return Next::End(End::Clean),
                _ => {}
            }
            if let Some(job) = waiting.jobs.pop_front() {
                if let Job::Record(draft, _) = &job {
                    waiting.bytes -= draft.length();
                    self.room.notify_waiters();
                }
                return Next::Job(job);
            }
            if !linger {
                self.changed.wait(&mut waiting);
            } else if self.changed.wait_for(&mut waiting, LINGER).timed_out() {
                return Next::Idle;
            }
        }
    }
}
