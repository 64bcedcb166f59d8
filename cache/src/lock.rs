//! What threads meet in, whichever it is: the store's own locks, or those of a model checker which runs every interleaving of the very
//! same code.
//!
//! Used by `collapse`, `fill` and `purge`. Adds nothing to the locks and words behind it.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};

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

/// A lock around something that many may read at once.
pub(crate) trait SharedLock<T> {
    /// A lock around `value`.
    fn around(value: T) -> Self;

    /// Waits until nobody writes, and keeps it so until what is given back is dropped.
    fn read(&self) -> impl Deref<Target = T> + '_;

    /// Waits for the lock and holds it until what is given back is dropped.
    fn write(&self) -> impl DerefMut<Target = T> + '_;
}

impl<T> SharedLock<T> for parking_lot::RwLock<T> {
    fn around(value: T) -> Self {
        Self::new(value)
    }

    fn read(&self) -> impl Deref<Target = T> + '_ {
        Self::read(self)
    }

    fn write(&self) -> impl DerefMut<Target = T> + '_ {
        Self::write(self)
    }
}

/// A number that never falls. Who sees it risen sees everything that was done before it rose.
pub(crate) trait Rising {
    fn at(value: u64) -> Self;
    fn get(&self) -> u64;
    /// Raises it to a value, unless it is above that.
    fn raise(&self, to: u64);
}

impl Rising for AtomicU64 {
    fn at(value: u64) -> Self {
        Self::new(value)
    }

    fn get(&self) -> u64 {
        self.load(Ordering::Acquire)
    }

    fn raise(&self, to: u64) {
        self.fetch_max(to, Ordering::Release);
    }
}

/// Locks and numbers of one make.
pub(crate) trait Make {
    type Shared<T>: SharedLock<T>;
    type Rising: Rising;
}

/// The store's own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Own {}

impl Make for Own {
    type Shared<T> = parking_lot::RwLock<T>;
    type Rising = AtomicU64;
}

#[cfg(test)]
pub(crate) mod checked {
    //! The locks and numbers of a model checker, and waiting in it.

    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    use super::{Deref, DerefMut, Lock, Make, Ordering, Rising, SharedLock};

    impl<T> Lock<T> for loom::sync::Mutex<T> {
        fn around(value: T) -> Self {
            Self::new(value)
        }

        fn lock(&self) -> impl DerefMut<Target = T> + '_ {
            Self::lock(self).unwrap()
        }
    }

    impl<T> SharedLock<T> for loom::sync::RwLock<T> {
        fn around(value: T) -> Self {
            Self::new(value)
        }

        fn read(&self) -> impl Deref<Target = T> + '_ {
            Self::read(self).unwrap()
        }

        fn write(&self) -> impl DerefMut<Target = T> + '_ {
            Self::write(self).unwrap()
        }
    }

    impl Rising for loom::sync::atomic::AtomicU64 {
        fn at(value: u64) -> Self {
            Self::new(value)
        }

        fn get(&self) -> u64 {
            self.load(Ordering::Acquire)
        }

        fn raise(&self, to: u64) {
            self.fetch_max(to, Ordering::Release);
        }
    }

    /// The model checker's.
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Checked {}

    impl Make for Checked {
        type Shared<T> = loom::sync::RwLock<T>;
        type Rising = loom::sync::atomic::AtomicU64;
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
