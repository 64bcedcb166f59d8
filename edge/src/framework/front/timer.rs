//! One timer for the life of a connection, moved only when it must be.
//!
//! A keep-alive connection waits for its client at every request; registering a timer each time would take a lock of the runtime twice a
//! request. This one stays registered: a deadline that moved on is noticed when the timer rings early.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

/// The timer of one connection.
#[derive(Debug)]
pub(super) struct LazyTimer {
    sleep: Pin<Box<Sleep>>,
}

impl LazyTimer {
    /// A timer that will first be asked for `deadline`.
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep_until(deadline.into())),
        }
    }

    /// Ready once `deadline` has passed.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        if self.sleep.deadline() > deadline {
            self.sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn until(timer: &mut LazyTimer, deadline: Instant) {
        std::future::poll_fn(|cx| timer.poll_until(cx, deadline)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_deadline_whether_that_moved_on_or_back() {
        let start = tokio::time::Instant::now();
        let at = |seconds| (start + Duration::from_secs(seconds)).into_std();
        let mut timer = LazyTimer::new(at(60));
        for seconds in [15, 75, 76, 80] {
            until(&mut timer, at(seconds)).await;
            let late = start.elapsed().saturating_sub(Duration::from_secs(seconds));
            assert!(late < Duration::from_millis(10), "{seconds}: {late:?}");
        }
    }
}
