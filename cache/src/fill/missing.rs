//! What of a long content the disk does not give back in mid-transfer: from elsewhere, so that the transfer goes on.
//!
//! Used by `fill`'s reader for content on disk. Whoever reads may offer a place where the bytes can be had once more; it is asked for what is
//! missing of one piece, and then the disk again. A disk that is merely busy is asked again first, and of all readers that miss the same part
//! one fetches it. Nothing goes on with fewer or more bytes than were asked for. Knows no origin and no validator: that what comes belongs to
//! the same content is the word of whoever gives it (invariant 3).

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OnceCell;
use tokio::time::sleep;

use super::{PIECE, ReadError};
use crate::disk::{DiskReader, Failed, Pinned};

/// How long a reader leaves a busy disk alone before it asks again; then it asks elsewhere, or breaks off where there is nobody to ask. What is
/// late was waited for, besides.
pub(super) const BUSY_PAUSES: [Duration; 2] =
    [Duration::from_millis(100), Duration::from_millis(400)];

/// A part that comes from elsewhere, or `None` when it cannot be had: for all who miss it.
pub(crate) type Part = OnceCell<Option<Bytes>>;

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
            match self.patiently(position, end).await {
                Ok(read) => return Ok(read),
                Err(_) => self.fetching = Some(self.fetch(position, end).ok_or(ReadError::Disk)?),
            }
        }
        let fetching = self.fetching.as_mut().ok_or(ReadError::Disk)?;
        let fetched = fetching.fetched.as_mut().await;
        let range = fetching.range.clone();
        self.fetching = None;
        let is_all = |bytes: &Bytes| bytes.len() as u64 == range.end - range.start;
        fetched.filter(is_all).map(Some).ok_or(ReadError::Disk)
    }

    /// What the disk gives, now or a little later.
    async fn patiently(
        &mut self,
        position: u64,
        end: Option<u64>,
    ) -> Result<Option<Bytes>, Failed> {
        for pause in BUSY_PAUSES {
            match self.disk.at(position, end).await {
                Err(Failed::Busy) => sleep(pause).await,
                told => return told,
            }
        }
        self.disk.at(position, end).await
    }

    /// Begins to fetch what is wanted of the piece at `position`, or waits for who has begun.
    fn fetch(&self, position: u64, end: Option<u64>) -> Option<Fetching> {
        let elsewhere = Arc::clone(self.elsewhere.as_ref()?);
        let piece = PIECE as u64;
        let end = end.unwrap_or(u64::MAX).min(self.length());
        let range = position..end.min((position / piece + 1) * piece);
        if range.is_empty() {
            return None;
        }
        let (part, asked) = (self.disk.content().fetched(&range), range.clone());
        let fetched = async move {
            // Whoever is first may leave: then the next asks.
            let fetch = || elsewhere.fetch(asked);
            part.get_or_init(fetch).await.clone()
        };
        Some(Fetching {
            range,
            fetched: Box::pin(fetched),
        })
    }
}
