//! Publishing cluster state where it is followed, by compare-and-swap.
//!
//! Called by the admin API, and for `jet9 cluster --etcd` by [`super::Store`]: the comparison and what the fencing class demands are one function for
//! both, [`Publication::may_follow`]. In an etcd the comparison is the store's own. A file is read, compared and replaced by rename, one at a
//! time in this process: a directory is no store with transactions, so whoever else writes into it does so outside of this comparison, and
//! is caught by the epochs alone.
//! I2 in `docs/live-master.md`, the publisher's half.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jet9_cluster::publishing::{There, owed};
use jet9_cluster::{Document, DocumentError, Epoch, Instant};
use jet9_config::ClusterId;
use serde_json::Value;

use super::{Feed, Masters};
use crate::clock;
use crate::control::etcd::EtcdError;
use crate::control::watch::{DOCUMENT_MAX, read_bounded};

/// How long the follower may take to see what was published.
const SEEN_WAIT: Duration = Duration::from_secs(5);

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Another epoch than the expected one is there.
    #[error("epoch {} is there, not {}", .found.0, .expected.0)]
    Moved {
        /// What is there; 0: nothing.
        found: Epoch,
        /// What the publisher believed.
        expected: Epoch,
    },
    /// The new epoch is not above the one that is there.
    #[error("epoch {} is not above {}, which is there", .offered.0, .found.0)]
    Older {
        /// The epoch of the new document.
        offered: Epoch,
        /// What is there.
        found: Epoch,
    },
    /// Another publisher was faster.
    #[error("another publisher was faster: epoch {} is no longer the last", .0.0)]
    Overtaken(Epoch),
    /// No member of the etcd took it. If it is not known whether one did, the next reading tells.
    #[error("etcd: {0}")]
    Etcd(#[from] EtcdError),
    /// The document is none of this cluster.
    #[error(transparent)]
    Document(DocumentError),
    /// It may not follow what is there: edges could still send to the master before.
    #[error(transparent)]
    Owed(DocumentError),
    /// These masters are not followed from a directory.
    #[error("cluster state cannot be published here")]
    ReadOnly,
    /// What is there could not be read, so that nothing is known of what may follow it.
    #[error("the document that is there cannot be read; mend or remove it: {0}")]
    Read(io::Error),
    /// The file could not be replaced.
    #[error("the document cannot be written: {0}")]
    Write(io::Error),
    /// It was written, but is not in force yet.
    #[error("it is written, but not seen in force yet")]
    NotSeen,
}

/// Whether a publication had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// For the leases of edges.
    Yes,
    /// Not at all.
    No,
}

/// A document, and over what it may be published.
#[derive(Debug)]
pub(super) struct Publication<'a> {
    id: &'a ClusterId,
    json: &'a [u8],
    document: Document,
    /// The epoch that the publisher believes to be there; 0: none.
    expected: Epoch,
    /// The highest epoch that this edge has adopted, and when: earlier than it can be read now.
    adopted: Option<(Epoch, Instant)>,
}

impl<'a> Publication<'a> {
    /// Reads and checks the document.
    pub(super) fn of(
        id: &'a ClusterId,
        json: &'a [u8],
        expected: Epoch,
    ) -> Result<Self, PublishError> {
        Ok(Self {
            id,
            json,
            document: Document::of(json, id).map_err(PublishError::Document)?,
            expected,
            adopted: None,
        })
    }

    pub(super) const fn id(&self) -> &ClusterId {
        self.id
    }

    pub(super) const fn json(&self) -> &[u8] {
        self.json
    }

    /// Whether it may be published over what is there (empty: nothing): by compare-and-swap, only on what the publisher believed, and only
    /// forward. Then waits until no edge can hold a lease of the old master any more, where the fencing class demands that. Says whether there
    /// was anything to wait for; what is there must not have changed meanwhile.
    pub(super) async fn may_follow(&self, there: &[u8]) -> Result<Waited, PublishError> {
        // What was read may have been committed while the question was on its way: until then leases were given.
        let read = clock::boottime();
        let document = Document::parse(there);
        let found = epoch_of(&document);
        self.compare(found)?;
        let known = self.adopted.map_or(Epoch(0), |(epoch, _)| epoch);
        let there = match &document {
            // Not what was published last: of that no more than the epoch is sure.
            _ if found < known => There::Unreadable,
            _ if there.is_empty() => There::Nothing,
            Ok(document) => There::Document(document),
            Err(_) => There::Unreadable,
        };
        let wait = owed(there, &self.document).map_err(PublishError::Owed)?;
        if wait == 0 {
            return Ok(Waited::No);
        }
        let known = self.adopted.filter(|(epoch, _)| *epoch == found);
        let since = known.map_or(read, |(_, adopted)| adopted.min(read));
        while let left @ 1.. = (since.0 + wait).saturating_sub(clock::boottime().0) {
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
        Ok(Waited::Yes)
    }

    fn compare(&self, found: Epoch) -> Result<(), PublishError> {
        let adopted = self.adopted.map_or(Epoch(0), |(epoch, _)| epoch);
        let (found, expected) = (found.max(adopted), self.expected);
        if found != expected {
            return Err(PublishError::Moved { found, expected });
        }
        let offered = self.document.epoch;
        if offered <= found {
            return Err(PublishError::Older { offered, found });
        }
        Ok(())
    }
}

impl Masters {
    /// Publishes a document where `expected` is the epoch that is there (0: none), and waits until it is in force. Where the fencing class
    /// demands a wait first (`jet9_cluster::publishing`), it is waited.
    ///
    /// # Errors
    /// When nothing was written, or it did not come into force.
    pub async fn publish(
        &self,
        id: &ClusterId,
        json: &[u8],
        expected: Epoch,
    ) -> Result<(), PublishError> {
        let mut publication = Publication::of(id, json, expected)?;
        {
            let known = self.clusters.of(id).known.load_full();
            let since = known.view.since().unwrap_or_else(clock::boottime);
            publication.adopted = Some((known.view.highest(), since));
        }
        match &self.feed {
            Feed::Directory { path, .. } => self.replace_file(path, &publication).await?,
            Feed::Etcd { store, .. } => store.replace(&publication).await?,
            Feed::Fixed => return Err(PublishError::ReadOnly),
        }
        self.until_adopted(id, publication.document.epoch).await
    }

    /// Replaces a file that is still as it was when it was compared.
    async fn replace_file(
        &self,
        directory: &Path,
        publication: &Publication<'_>,
    ) -> Result<(), PublishError> {
        let file = file_of(directory, publication.id);
        let asked = file.clone();
        let reading = tokio::task::spawn_blocking(move || read_file(&asked)).await;
        let there = reading.map_err(|ended| PublishError::Read(io::Error::other(ended)))??;
        publication.may_follow(&there).await?;
        let _alone = self.publishing.lock().await;
        let (directory, json) = (directory.to_owned(), publication.json.to_vec());
        let writing = tokio::task::spawn_blocking(move || {
            if read_file(&file)? != there {
                let overtaken = epoch_of(&Document::parse(&there));
                return Err(PublishError::Overtaken(overtaken));
            }
            replace(&directory, &file, &json).map_err(PublishError::Write)
        });
        let written = writing.await;
        written.map_err(|ended| PublishError::Write(io::Error::other(ended)))?
    }

    async fn until_adopted(&self, id: &ClusterId, epoch: Epoch) -> Result<(), PublishError> {
        let mut changed = self.changed(id);
        let cluster = self.clusters.of(id);
        let adopted = async {
            loop {
                let known = cluster.known.load_full();
                if known.view.highest() >= epoch && known.durable {
                    return Ok(());
                }
                changed.changed().await.map_err(|_| PublishError::NotSeen)?;
            }
        };
        let waited = tokio::time::timeout(SEEN_WAIT, adopted).await;
        waited.unwrap_or(Err(PublishError::NotSeen))
    }

    /// The document of a cluster as it was published, whatever its state; `None` when there is none or it is no JSON.
    pub async fn published(&self, id: &ClusterId) -> Option<Value> {
        let text = match &self.feed {
            Feed::Directory { path, .. } => {
                let file = file_of(path, id);
                let reading = tokio::task::spawn_blocking(move || read_file(&file));
                reading.await.ok()?.ok()?
            }
            Feed::Etcd { store, .. } => store.published(id).await.ok()??,
            Feed::Fixed => return None,
        };
        serde_json::from_slice(&text).ok()
    }
}

fn file_of(directory: &Path, id: &ClusterId) -> PathBuf {
    directory.join(format!("{id}.json"))
}

/// The epoch of what is there; 0 where it is nothing, or cannot be read.
pub(super) fn epoch_of(there: &Result<Document, DocumentError>) -> Epoch {
    there.as_ref().map_or(Epoch(0), |document| document.epoch)
}

fn replace(directory: &Path, file: &Path, json: &[u8]) -> io::Result<()> {
    // Hidden, so that no watcher takes it for a document.
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".{name}.tmp"));
    let mut written = File::create(&temporary)?;
    written.write_all(json)?;
    written.sync_all()?;
    std::fs::rename(&temporary, file)?;
    File::open(directory)?.sync_all()
}

/// What is published in a file: nothing, if there is none.
fn read_file(file: &Path) -> Result<Vec<u8>, PublishError> {
    match read_bounded(file, DOCUMENT_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(PublishError::Read),
    }
}
