//! What can become of an operation on a volume's file, as a value.
//!
//! Made by `queue` (refused), the backends (failed) and `pending` (late); judged, counted and logged by `disk`, once.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Bytes are asked for.
    Read,
    /// Bytes are put there.
    Write,
    /// What was written is made durable.
    Sync,
}

impl Operation {
    /// The word in log lines and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An operation that did not succeed. After a failed write any part of it may be on disk; after a late one it may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} of {length} bytes at {offset}: {cause}")]
pub struct IoError {
    /// What was asked.
    pub operation: Operation,
    /// Where, in bytes from the start of the file; 0 for a sync.
    pub offset: u64,
    /// How many bytes; 0 for a sync.
    pub length: u64,
    /// Why not.
    pub cause: Cause,
}

impl IoError {
    /// Of what nobody asked for.
    pub(super) const fn of_bell() -> Self {
        Self {
            operation: Operation::Sync,
            offset: 0,
            length: 0,
            cause: Cause::Closed,
        }
    }
}

/// Why an operation did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The device or the file system said so.
    #[error("{0}")]
    Device(Errno),
    /// The file ended, or no more was taken, after this many bytes.
    #[error("only {0} bytes")]
    Short(u64),
    /// It was not done by its deadline. The backend still owns it: a write may land at any later time.
    #[error("not done by its deadline")]
    Late,
    /// Too much waits already; nothing was begun.
    #[error("too many operations wait")]
    QueueFull,
    /// A write that does not begin and end at a multiple of [`BLOCK`](super::BLOCK), or a read of nothing or too much; nothing was begun.
    #[error("not aligned, empty or too long")]
    Invalid,
    /// The file is being closed; nothing was begun.
    #[error("the file is closed")]
    Closed,
}

impl Cause {
    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device(_) => "device",
            Self::Short(_) => "short",
            Self::Late => "late",
            Self::QueueFull => "queue_full",
            Self::Invalid => "invalid",
            Self::Closed => "closed",
        }
    }

    /// What the system's error means here.
    pub(super) fn of(error: &io::Error) -> Self {
        Self::Device(Errno::from_io_error(error).unwrap_or(Errno::IO))
    }
}

impl From<IoError> for io::Error {
    fn from(error: IoError) -> Self {
        let kind = match error.cause {
            Cause::Device(errno) => Self::from(errno).kind(),
            Cause::Short(_) => io::ErrorKind::UnexpectedEof,
            Cause::Late => io::ErrorKind::TimedOut,
            Cause::QueueFull => io::ErrorKind::WouldBlock,
            Cause::Invalid => io::ErrorKind::InvalidInput,
            Cause::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}
