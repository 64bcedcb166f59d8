//! The way to a stop: says that the node is about to stop, then that it is stopping, and knows when nothing is under way any more.
//!
//! Held by `parts::Edge`; listeners and connections watch it, every exchange is counted by it.
//! Waiting costs a request nothing: a connection is registered once, when it opens, and an exchange is one atomic addition.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// Whether the node is stopping, and what is still under way. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    withdrawn: AtomicBool,
    begun: AtomicBool,
    /// The same fact for those who wait with `select!` and for Pingora, whose `ShutdownWatch` this is.
    signal: watch::Sender<bool>,
    under_way: AtomicUsize,
    idle: Notify,
    next_watch: AtomicU64,
    watches: Mutex<HashMap<u64, Arc<AtomicWaker>>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// Of a running node.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                withdrawn: AtomicBool::new(false),
                begun: AtomicBool::new(false),
                signal: watch::Sender::new(false),
                under_way: AtomicUsize::new(0),
                idle: Notify::new(),
                next_watch: AtomicU64::new(0),
                watches: Mutex::new(HashMap::new()),
            }),
        }
    }

    /// Tells routers, through `/readyz`, to send nobody here any more. Everything is served as before, for those whom they still send.
    pub fn withdraw(&self) {
        self.shared.withdrawn.store(true, Ordering::SeqCst);
    }

    /// Takes a withdrawal back, unless the stop has begun. Whether routers may send visitors here again, as far as this goes.
    pub fn restore(&self) -> bool {
        if !self.is_draining() {
            self.shared.withdrawn.store(false, Ordering::SeqCst);
        }
        // The stop may have begun in between.
        if self.is_draining() {
            self.withdraw();
        }
        !self.is_withdrawn()
    }

    /// Whether routers should send nobody here: the stop has begun or is about to.
    pub fn is_withdrawn(&self) -> bool {
        self.shared.withdrawn.load(Ordering::SeqCst)
    }

    /// Begins the stop: nothing new is accepted, idle connections close, answers say `Connection: close`.
    pub fn start(&self) {
        self.withdraw();
        self.shared.begun.store(true, Ordering::SeqCst);
        self.shared.signal.send_replace(true);
        for waker in self.shared.watches.lock().values() {
            waker.wake();
        }
    }

    /// Whether the stop has begun.
    pub fn is_draining(&self) -> bool {
        self.shared.begun.load(Ordering::SeqCst)
    }

    /// Becomes `true` when the stop begins. This is what Pingora calls a `ShutdownWatch`.
    pub fn signal(&self) -> watch::Receiver<bool> {
        self.shared.signal.subscribe()
    }

    /// Waits until the stop begins.
    pub async fn draining(&self) {
        let mut signal = self.signal();
        // An error would say that the sender is gone; `self` holds it.
        let _ = signal.wait_for(|begun| *begun).await;
    }

    /// Counts an exchange as under way until what it returns is dropped.
    pub fn begin(&self) -> UnderWay {
        self.shared.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay {
            shared: Arc::clone(&self.shared),
        }
    }

    /// How many exchanges are under way.
    pub fn under_way(&self) -> usize {
        self.shared.under_way.load(Ordering::SeqCst)
    }

    /// Waits until no exchange is under way. New ones may begin afterwards unless the stop has begun.
    pub async fn idle(&self) {
        loop {
            let mut notified = std::pin::pin!(self.shared.idle.notified());
            // Registered before the count is read, so that the last one to end cannot be missed.
            notified.as_mut().enable();
            if self.under_way() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Registers a connection, to be woken when the stop begins.
    pub fn watch(&self) -> DrainWatch {
        let number = self.shared.next_watch.fetch_add(1, Ordering::Relaxed);
        let waker = Arc::new(AtomicWaker::new());
        self.shared
            .watches
            .lock()
            .insert(number, Arc::clone(&waker));
        DrainWatch {
            shared: Arc::clone(&self.shared),
            number,
            waker,
        }
    }
}

/// An exchange that is under way.
#[derive(Debug)]
pub struct UnderWay {
    shared: Arc<Shared>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.shared.under_way.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.idle.notify_waiters();
        }
    }
}

/// One connection's view of the stop.
#[derive(Debug)]
pub struct DrainWatch {
    shared: Arc<Shared>,
    number: u64,
    waker: Arc<AtomicWaker>,
}

impl DrainWatch {
    /// Whether the stop has begun.
    pub fn is_draining(&self) -> bool {
        self.shared.begun.load(Ordering::SeqCst)
    }

    /// Ready once the stop has begun. One task waits at a time.
    pub fn poll_draining(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_draining() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        // Looked at again: it may have begun between the look and the registration.
        if self.is_draining() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for DrainWatch {
    fn drop(&mut self) {
        self.shared.watches.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_returns_at_once_when_nothing_is_under_way() {
        Drain::new().idle().await;
    }

    #[tokio::test]
    async fn idle_waits_for_the_last_exchange() {
        let drain = Drain::new();
        let (first, second) = (drain.begin(), drain.begin());
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.idle().await }
        });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert_eq!(drain.under_way(), 1);
        drop(second);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn the_start_wakes_all_who_watch() {
        let drain = Drain::new();
        let watches: Vec<_> = (0..3).map(|_| drain.watch()).collect();
        let waiting: Vec<_> = watches
            .into_iter()
            .map(|watch| {
                tokio::spawn(async move {
                    std::future::poll_fn(|cx| watch.poll_draining(cx)).await;
                })
            })
            .collect();
        let signal = tokio::spawn({
            let drain = drain.clone();
            async move { drain.draining().await }
        });
        tokio::task::yield_now().await;
        drain.start();
        for task in waiting {
            task.await.unwrap();
        }
        signal.await.unwrap();
    }

    #[test]
    fn a_closed_connection_is_forgotten() {
        let drain = Drain::new();
        drop(drain.watch());
        assert!(drain.shared.watches.lock().is_empty());
    }
}
