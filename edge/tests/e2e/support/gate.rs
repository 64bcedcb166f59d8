//! A gate: some wait before it until another opens it. What makes an origin pause midway without a sleep.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::wait::SOON;

/// Cheap to clone; all clones are one gate.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    inner: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    /// Lets all pass, from now on.
    pub(crate) fn open(&self) {
        *self.inner.0.lock() = true;
        self.inner.1.notify_all();
    }

    /// Whether all pass.
    pub(crate) fn is_open(&self) -> bool {
        *self.inner.0.lock()
    }

    /// Waits until the gate is open; gives up after a while, so that no thread outlives its test for long.
    pub(crate) fn pass(&self) {
        let mut open = self.inner.0.lock();
        if !*open {
            self.inner
                .1
                .wait_while_for(&mut open, |open| !*open, SOON * 2);
        }
    }
}
