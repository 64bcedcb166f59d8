//! Group commit: one thread that makes purges durable and only then lets them count and be answered.
//!
//! Everybody who purges hands in records and waits. While one group is being synced the next gathers, so that a storm costs as many
//! syncs as the disk can do and no more. The order is: write, sync, watermarks, tick, answer. Invariant 4: nothing is answered that is not
//! durable, and nothing counts that was not durable.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use log::error;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::journal::Journal;
use super::slot::Record;
use super::{State, Tick};

/// Records that may wait for the journal; beyond, purges are refused.
const WAITING_MAX: usize = 65_536;
/// Records that are written as one group: half of what the smallest journal holds.
pub(super) const GROUP_MAX: usize = 32_768;

/// The thread and its queue.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    records: usize,
    closed: bool,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

struct Request {
    records: Vec<Record>,
    answer: Box<dyn FnOnce(io::Result<u64>) + Send>,
}

impl Writer {
    pub(super) fn start(journal: Journal, state: Arc<State>) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let of_thread = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("jet9-journal".into())
            .spawn(move || run(&of_thread, journal, &state))?;
        Ok(Self {
            queue,
            thread: Some(thread),
        })
    }

    /// Waits until the records are durable and count; gives the sequence of the last purge among them or before them.
    pub(super) async fn append(&self, records: Vec<Record>) -> io::Result<u64> {
        let (sender, receiver) = oneshot::channel();
        let answer = move |result| drop(sender.send(result));
        self.hand_in(Request {
            records,
            answer: Box::new(answer),
        })?;
        receiver.await.unwrap_or_else(|_| Err(closed()))
    }

    /// The same for a thread that may block.
    pub(super) fn append_blocking(&self, records: Vec<Record>) -> io::Result<u64> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let answer = move |result| drop(sender.send(result));
        self.hand_in(Request {
            records,
            answer: Box::new(answer),
        })?;
        receiver.recv().unwrap_or_else(|_| Err(closed()))
    }

    fn hand_in(&self, request: Request) -> io::Result<()> {
        let mut waiting = self.queue.waiting.lock();
        let records = waiting.records + request.records.len();
        if request.records.len() > GROUP_MAX || records > WAITING_MAX {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "too many purges wait already",
            ));
        }
        waiting.records = records;
        waiting.requests.push_back(request);
        drop(waiting);
        self.queue.changed.notify_one();
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.waiting.lock().closed = true;
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the journal's thread had panicked");
        }
    }
}

fn closed() -> io::Error {
    io::Error::other("the store is closed")
}

fn run(queue: &Queue, mut journal: Journal, state: &State) {
    while let Some(group) = queue.next_group() {
        let mut records: Vec<Record> = group
            .iter()
            .flat_map(|r| r.records.iter().copied())
            .collect();
        let is_full = journal.is_full_for(records.len() as u64 + 1);
        records.extend(state.forget_old(is_full));
        let tick = state.now();
        match journal.append(&records, tick, &state.ledger, &state.marks) {
            Ok(()) => answer(group, state, tick),
            Err(error) => refuse(group, &error),
        }
    }
}

fn answer(group: Vec<Request>, state: &State, tick: Tick) {
    for request in group {
        let sequence = state.apply(&request.records, tick);
        (request.answer)(Ok(sequence));
    }
}

fn refuse(group: Vec<Request>, error: &io::Error) {
    error!("the purge journal cannot be written: {error}");
    for request in group {
        (request.answer)(Err(io::Error::new(error.kind(), error.to_string())));
    }
}

impl Queue {
    /// What waits, up to one group; `None` when the store closes and nothing waits any more.
    fn next_group(&self) -> Option<Vec<Request>> {
        let mut waiting = self.waiting.lock();
        while waiting.requests.is_empty() {
            if waiting.closed {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
        let mut group = Vec::new();
        let mut records = 0;
        while let Some(request) = waiting.requests.pop_front() {
            if !group.is_empty() && records + request.records.len() > GROUP_MAX {
                waiting.requests.push_front(request);
                break;
            }
            records += request.records.len();
            group.push(request);
        }
        waiting.records -= records;
        Some(group)
    }
}
