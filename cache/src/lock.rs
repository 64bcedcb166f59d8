//! A lock, whichever it is: the store's own, or that of a model checker which runs every interleaving of the very same code.
//!
//! Used by what threads meet in (`collapse`, `fill`). Adds nothing to the lock behind it.

use std::ops::DerefMut;

/// A lock around something.
pub(crate) trait Lock<T> {
    /// A lock around `value`.
    fn around(value: T) -> Self;

    /// Waits for the lock and holds it until what is given back is dropped.
    fn lock(&self) -> impl DerefMut<Target = T> + '_;
}

impl<T> Lock<T> for parking_lot::Mutex<T> {
    fn around(value: T) -> Self {
        Self::new(value)
    }

    fn lock(&self) -> impl DerefMut<Target = T> + '_ {
        Self::lock(self)
    }
}

#[cfg(test)]
pub(crate) mod checked {
    //! The lock of a model checker, and waiting in it.

    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    use super::{DerefMut, Lock};

    impl<T> Lock<T> for loom::sync::Mutex<T> {
        fn around(value: T) -> Self {
            Self::new(value)
        }

        fn lock(&self) -> impl DerefMut<Target = T> + '_ {
            Self::lock(self).unwrap()
        }
    }

    struct Bell(loom::sync::Notify);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.notify();
        }
    }

    /// Waits as a task does: the checker finds it when nobody would ever wake it.
    pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
        let bell = Arc::new(Bell(loom::sync::Notify::new()));
        let waker = Waker::from(Arc::clone(&bell));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => bell.0.wait(),
            }
        }
    }
}
