//! What of a long content the disk does not give back in mid-transfer: from elsewhere, so that the transfer goes on.
//!
//! Used by `fill`'s reader for content on disk. Whoever reads may offer a place where the bytes can be had once more; it is asked for what is
//! missing of one piece, and then the disk again. Nothing goes on with fewer or more bytes than were asked for. Knows no origin and no
//! validator: that what comes belongs to the same content is the word of whoever gives it (invariant 3).

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::{PIECE, ReadError};
use crate::disk::{DiskReader, Pinned};

/// A part of a content on its way from elsewhere; `None`: it cannot be had.
pub type Fetched = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

/// Where the bytes of a stored content can be had once more.
pub trait Elsewhere: fmt::Debug + Send + Sync {
    /// Fetches exactly these bytes of the content, never none and never more than 1 MiB.
    fn fetch(&self, range: Range<u64>) -> Fetched;
}

/// Content on disk, and what stands in for it.
#[derive(Debug)]
pub(super) struct Mended {
    disk: DiskReader,
    elsewhere: Option<Arc<dyn Elsewhere>>,
    fetching: Option<Fetching>,
}

/// What is being fetched from elsewhere.
struct Fetching {
    range: Range<u64>,
    fetched: Fetched,
}

impl fmt::Debug for Fetching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetching")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl Mended {
    pub(super) const fn new(content: Pinned) -> Self {
        Self {
            disk: DiskReader::new(content),
            elsewhere: None,
            fetching: None,
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.disk.length()
    }

    pub(super) fn offer(&mut self, elsewhere: Arc<dyn Elsewhere>) {
        self.elsewhere = Some(elsewhere);
    }

    /// What is at `position`, as [`DiskReader::at`] tells it. Safe to cancel.
    ///
    /// # Errors
    /// When neither the disk nor anybody else gives it.
    pub(super) async fn at(
        &mut self,
        position: u64,
        end: Option<u64>,
    ) -> Result<Option<Bytes>, ReadError> {
        let is_of = |fetching: &Fetching| fetching.range.start == position;
        if !self.fetching.as_ref().is_some_and(is_of) {
            match self.disk.at(position, end).await {
                Ok(read) => return Ok(read),
                Err(error) => self.fetching = Some(self.fetch(position, end).ok_or(error)?),
            }
        }
        let fetching = self.fetching.as_mut().ok_or(ReadError::Disk)?;
        let fetched = fetching.fetched.as_mut().await;
        let range = fetching.range.clone();
        self.fetching = None;
        let is_all = |bytes: &Bytes| bytes.len() as u64 == range.end - range.start;
        fetched.filter(is_all).map(Some).ok_or(ReadError::Disk)
    }

    /// Begins to fetch what is wanted of the piece at `position`.
    fn fetch(&self, position: u64, end: Option<u64>) -> Option<Fetching> {
        let elsewhere = self.elsewhere.as_ref()?;
        let piece = PIECE as u64;
        let end = end.unwrap_or(u64::MAX).min(self.length());
        let range = position..end.min((position / piece + 1) * piece);
        (!range.is_empty()).then(|| Fetching {
            fetched: elsewhere.fetch(range.clone()),
            range,
        })
    }
}
