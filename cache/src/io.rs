//! A volume's file: how its bytes are read, written and made durable without a request's thread ever waiting for the device.
//!
//! For `disk` alone. [`VolumeFile`] takes operations from any thread into a bounded queue; a backend chosen at start carries them out:
//! `io_uring` where the kernel allows it, threads of our own where not, and in tests either of them over a simulated disk. Direct I/O
//! where the file system takes it: the page cache would keep everything twice, and its write-back stalls are what makes reads slow.
//! Knows nothing of what the bytes mean, and logs no failed operation: an error is a value with its operation, place and cause.
//! Invariants: memory that the kernel may still write to is never freed or given to anybody (not when a caller leaves, not after its
//! deadline, not when the file is dropped); every queue has a limit; every caller gets an answer within its deadline (invariant 9).

#[doc(hidden)]
pub mod baseline;
mod buffer;
mod error;
mod file;
mod pages;
mod pending;
mod progress;
mod queue;
mod threads;
mod uring;

pub use buffer::{BLOCK, Unit};
pub use error::{Cause, IoError, Operation};
pub(crate) use file::Closing;
pub use file::{Backend, Limits, Mode, Options, VolumeFile, Want};
pub use pending::Pending;
pub(crate) use uring::ask_for_large_pages;

#[cfg(test)]
mod tests;
