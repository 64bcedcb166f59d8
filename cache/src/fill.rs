//! A fill in flight: one fetch that writes, any number of readers that follow it at their own pace.
//!
//! The writer is the detached fetch of `edge::response::store`; readers are clients. A slow reader delays nobody; a writer that ends
//! without [`FillWriter::finish`] gives every reader [`ReadError::Broken`], never a clean end, and nothing is stored.
//! Invariant 3: readers see exactly the bytes written, in order.

use std::sync::Arc;

use bytes::Bytes;

use crate::stored::StoredResponse;

/// Why a read of content failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The fetch that filled it broke off.
    #[error("the origin broke off")]
    Broken,
    /// The disk did not give it back, or not as it was written.
    #[error("the disk did not give the content back")]
    Disk,
}

/// Why a fill cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// More content than `max_object`.
    #[error("the content is larger than the largest that is stored")]
    TooLarge,
    /// Other than the announced length arrived.
    #[error("the content is not of the announced length")]
    Length,
}

/// The writing end of a fill. Dropping it without [`Self::finish`] breaks the fill.
#[derive(Debug)]
pub struct FillWriter {}

impl FillWriter {
    /// Adds content; waits while too much is not yet on disk (`limits.fill_unflushed`).
    ///
    /// # Errors
    /// When the content is too large or longer than announced. Readers that joined get [`ReadError::Broken`].
    pub async fn write(&mut self, _piece: Bytes) -> Result<(), FillError> {
        unimplemented!()
    }

    /// The end: the response is stored (unless purged meanwhile) and readers see a clean end.
    ///
    /// # Errors
    /// When fewer bytes came than announced: the fill is broken.
    pub async fn finish(self) -> Result<(), FillError> {
        unimplemented!()
    }

    /// How many readers are attached now.
    pub fn readers(&self) -> usize {
        unimplemented!()
    }

    /// Waits until no reader is attached any more.
    pub async fn orphaned(&self) {
        unimplemented!()
    }
}

/// A fill that a request joined: the head, and the content as it arrives.
#[derive(Debug)]
pub struct Filling {
    /// The head that the origin sent, as it will be stored.
    pub response: Arc<StoredResponse>,
    /// The hash of the selecting fields of the request that leads.
    pub variant: u128,
    /// The content, from its first byte.
    pub body: BodyReader,
}

/// Reads content piece by piece, from memory, disk or a fill in flight.
#[derive(Debug)]
pub struct BodyReader {}

impl BodyReader {
    /// How many bytes there are in all, where known.
    pub fn length(&self) -> Option<u64> {
        unimplemented!()
    }

    /// Restricts what [`Self::next`] gives to `length` bytes from `start`. Call it before the first read.
    pub fn restrict(&mut self, _start: u64, _length: u64) {
        unimplemented!()
    }

    /// The next piece; `None` at the clean end.
    ///
    /// # Errors
    /// When the fill broke or the disk failed; what was given before is true, the rest is lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        unimplemented!()
    }
}
