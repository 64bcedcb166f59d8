//! An operation under way, as its caller sees it; and its other end, as the backend does.
//!
//! A caller may await it, block on it, or leave: whoever carries it out owns everything that it needs. A caller that has waited as long as
//! its deadline is told so; the operation goes on.

use std::any::Any;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prometheus::{HistogramTimer, IntCounter};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::error::{Cause, IoError};

/// An operation that was handed in.
#[derive(Debug)]
#[must_use = "an operation that nobody waits for may be skipped"]
pub struct Pending<T> {
    receiver: oneshot::Receiver<Result<T, IoError>>,
    deadline: Instant,
    /// What is said when it is late or the file is closed before it is done.
    otherwise: IoError,
    late: IntCounter,
}

/// What is let go when an operation has ended, whether anybody has asked for its outcome or not.
pub(super) type Held = Arc<dyn Any + Send + Sync>;

/// The backend's end of it.
#[derive(Debug)]
pub(super) struct Promise<T> {
    sender: oneshot::Sender<Result<T, IoError>>,
    timer: HistogramTimer,
    _held: Option<Held>,
}

/// Both ends. `otherwise` is the error without its cause.
pub(super) fn pair<T>(
    otherwise: IoError,
    patience: Duration,
    timer: HistogramTimer,
    late: IntCounter,
) -> (Promise<T>, Pending<T>) {
    let (sender, receiver) = oneshot::channel();
    let pending = Pending {
        receiver,
        deadline: Instant::now() + patience,
        otherwise,
        late,
    };
    let promise = Promise {
        sender,
        timer,
        _held: None,
    };
    (promise, pending)
}

impl<T> Promise<T> {
    /// The same, with something to let go at its end.
    pub(super) fn holding(self, held: Option<Held>) -> Self {
        Self {
            _held: held,
            ..self
        }
    }

    /// Whether nobody waits any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn keep(self, result: Result<T, IoError>) {
        if result.is_ok() {
            self.timer.observe_duration();
        } else {
            self.timer.stop_and_discard();
        }
        // The caller has left: what was read goes back to the pool.
        drop(self.sender.send(result));
    }
}

impl<T> Pending<T> {
    /// What became of it.
    ///
    /// # Errors
    /// When it failed, was refused or is late.
    pub async fn done(mut self) -> Result<T, IoError> {
        self.outcome().await
    }

    /// The same for a caller that may be cancelled and ask again; not any more once it was told.
    ///
    /// # Errors
    /// As [`Self::done`].
    pub async fn outcome(&mut self) -> Result<T, IoError> {
        match timeout_at(self.deadline, &mut self.receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(because(self.otherwise, Cause::Closed)),
            Err(_) => {
                self.late.inc();
                Err(because(self.otherwise, Cause::Late))
            }
        }
    }

    /// The same for a thread that may block: the store's own ones.
    ///
    /// # Errors
    /// As [`Self::done`].
    pub fn wait(mut self) -> Result<T, IoError> {
        let parked = Arc::new(Parked::default());
        let waker = Waker::from(Arc::clone(&parked));
        let mut context = Context::from_waker(&waker);
        loop {
            match std::pin::Pin::new(&mut self.receiver).poll(&mut context) {
                Poll::Ready(Ok(result)) => return result,
                Poll::Ready(Err(_)) => return Err(because(self.otherwise, Cause::Closed)),
                Poll::Pending => {}
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if parked.park(left) == Woken::No {
                self.late.inc();
                return Err(because(self.otherwise, Cause::Late));
            }
        }
    }
}

const fn because(error: IoError, cause: Cause) -> IoError {
    IoError { cause, ..error }
}

/// A thread that waits.
#[derive(Default)]
struct Parked {
    woken: Mutex<Woken>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Woken {
    #[default]
    No,
    Yes,
}

impl Parked {
    /// Waits until it is woken, which happens once for an operation, or for as long as that may take.
    fn park(&self, longest: Duration) -> Woken {
        let mut woken = self.woken.lock();
        self.changed
            .wait_while_for(&mut woken, |woken| *woken == Woken::No, longest);
        std::mem::take(&mut *woken)
    }
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        *self.woken.lock() = Woken::Yes;
        self.changed.notify_one();
    }
}
