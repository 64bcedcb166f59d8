//! Publishing cluster state where it is followed, by compare-and-swap.
//!
//! Called by the admin API. One publication at a time in this process. In an etcd the comparison is the store's own ([`super::Store`]). A file is read, compared
//! and replaced by rename: a directory is no store with transactions, so whoever else writes into it does so outside of this comparison, and
//! is caught by the epochs alone.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jet9_cluster::{Document, DocumentError, Epoch};
use jet9_config::ClusterId;
use serde_json::Value;

use super::{Feed, Masters};
use crate::control::etcd::EtcdError;

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
    /// These masters are not followed from a directory.
    #[error("cluster state cannot be published here")]
    ReadOnly,
    /// The file could not be replaced.
    #[error("the document cannot be written: {0}")]
    Write(io::Error),
    /// It was written, but is not in force yet.
    #[error("it is written, but not seen in force yet")]
    NotSeen,
}

impl Masters {
    /// Publishes a document where `expected` is the epoch that is there (0: none), and waits until it is in force.
    ///
    /// # Errors
    /// When nothing was written, or it did not come into force.
    pub async fn publish(
        &self,
        id: &ClusterId,
        json: &[u8],
        expected: Epoch,
    ) -> Result<(), PublishError> {
        let document = Document::parse(json).and_then(|document| about(document, id));
        let document = document.map_err(PublishError::Document)?;
        let _alone = self.publishing.lock().await;
        let adopted = self.clusters.of(id).known.load().view.highest();
        let offered = document.epoch;
        let check = move |there: Epoch| may_follow(there.max(adopted), expected, offered);
        match &self.feed {
            Feed::Directory { path, .. } => into_directory(path, id, json, check).await?,
            Feed::Etcd { store, .. } => store.replace(id, json, check).await?,
            Feed::Fixed => return Err(PublishError::ReadOnly),
        }
        self.until_adopted(id, offered).await
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
            Feed::Directory { path, .. } => tokio::fs::read(file_of(path, id)).await.ok()?,
            Feed::Etcd { store, .. } => store.published(id).await.ok()??,
            Feed::Fixed => return None,
        };
        serde_json::from_slice(&text).ok()
    }
}

/// A document that is about this cluster.
pub(super) fn about(document: Document, id: &ClusterId) -> Result<Document, DocumentError> {
    if document.cluster == *id {
        return Ok(document);
    }
    Err(DocumentError {
        pointer: "/cluster".into(),
        message: format!("expected `{id}`"),
    })
}

/// By compare-and-swap: only on what the publisher believed, and only forward.
pub(super) fn may_follow(
    found: Epoch,
    expected: Epoch,
    offered: Epoch,
) -> Result<(), PublishError> {
    if found != expected {
        return Err(PublishError::Moved { found, expected });
    }
    if offered <= found {
        return Err(PublishError::Older { offered, found });
    }
    Ok(())
}

async fn into_directory(
    directory: &Path,
    id: &ClusterId,
    json: &[u8],
    check: impl FnOnce(Epoch) -> Result<(), PublishError> + Send + 'static,
) -> Result<(), PublishError> {
    let (directory, file, json) = (directory.to_owned(), file_of(directory, id), json.to_vec());
    let writing = tokio::task::spawn_blocking(move || {
        check(epoch_of(&std::fs::read(&file).unwrap_or_default()))?;
        replace(&directory, &file, &json).map_err(PublishError::Write)
    });
    let written = writing.await;
    written.map_err(|ended| PublishError::Write(io::Error::other(ended)))?
}

fn file_of(directory: &Path, id: &ClusterId) -> PathBuf {
    directory.join(format!("{id}.json"))
}

/// The epoch of a document; 0 where there is none, or none that can be read.
pub(super) fn epoch_of(document: &[u8]) -> Epoch {
    Document::parse(document).map_or(Epoch(0), |document| document.epoch)
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
