//! The threads that read from one volume: the requests' own never block.
//!
//! Each volume has its own few, so that a volume that hangs stalls nobody else, and none of them is tokio's, whose blocking threads
//! resolve names and more. The queue is bounded: what does not fit is refused at once, and is a miss.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// Threads of one volume: what an SSD serves in parallel while a hit waits.
const THREADS: usize = 4;
/// Reads that may wait for a thread.
const WAITING_MAX: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// The threads and their queue. They end when it is dropped, after what they are reading.
#[derive(Debug)]
pub(super) struct Pool {
    queue: Arc<Queue>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<(VecDeque<Job>, Closed)>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Closed {
    #[default]
    No,
    Yes,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn start(volume: usize) -> io::Result<Self> {
        let mut pool = Self {
            queue: Arc::default(),
            threads: Vec::new(),
        };
        for thread in 0..THREADS {
            let queue = Arc::clone(&pool.queue);
            let thread = std::thread::Builder::new()
                .name(format!("jet9-read-{volume}.{thread}"))
                .spawn(move || queue.run())?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// What `work` gives, done by one of the threads; `None` when too much waits already.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut jobs = self.queue.jobs.lock();
            if jobs.0.len() >= WAITING_MAX {
                return None;
            }
            jobs.0.push_back(Box::new(move || {
                if !sender.is_closed() {
                    drop(sender.send(work()));
                }
            }));
        }
        self.queue.changed.notify_one();
        receiver.await.ok()
    }
}

impl Queue {
    fn run(&self) {
        loop {
            let mut jobs = self.jobs.lock();
            let job = loop {
                if let Some(job) = jobs.0.pop_front() {
                    break job;
                }
                if jobs.1 == Closed::Yes {
                    return;
                }
                self.changed.wait(&mut jobs);
            };
            drop(jobs);
            job();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.jobs.lock().1 = Closed::Yes;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a volume's reading thread had panicked");
            }
        }
    }
}
