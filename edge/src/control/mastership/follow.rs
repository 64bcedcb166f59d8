//! Changed documents to what is known: observe, stop the old, write down, begin the new.
//!
//! Lives in the watch's thread. The order is the point. A higher epoch is visible the moment it was read, without the right to send
//! ([`Known::durable`] is false), connections of the epoch before are ended, then the epoch is written down, and only then may be sent under it.
//! What a document means is decided by `jet9_cluster::View`.

use std::io;
use std::sync::Arc;

use jet9_cache::Timestamp;
use jet9_cluster::document::Ended;
use jet9_cluster::{
    Change as Observed, Document, DocumentError, Epoch, Instant, Mastership, Source,
};
use jet9_config::{ClusterId, Side};
use tokio::runtime::{Builder, Runtime};

use super::epochs::Epochs;
use super::metrics::Metrics;
use super::{Cluster, Clusters, Known};
use crate::clock::{self, WallClock};
use crate::control::watch::{Change, Content};
use crate::origin::connect::Planned;

/// Ends the connections of an epoch and those before it.
pub(super) type EndEpoch = Box<dyn Fn(&ClusterId, Epoch, Planned) + Send>;

pub(super) struct Follower {
    clusters: Arc<Clusters>,
    epochs: Epochs,
    end: EndEpoch,
    metrics: Metrics,
    /// Runs what the ending of connections leaves behind (the grace of a planned switch).
    runtime: Runtime,
    /// Whether the last writing of epochs failed, so that it is told once.
    failing: bool,
}

/// An epoch that is visible, and waits to be written down.
struct Adopted {
    cluster: Arc<Cluster>,
    epoch: Epoch,
    at: Timestamp,
}

/// A document as read: of which cluster, and what it says.
struct Read {
    id: ClusterId,
    file: String,
    document: Result<Document, DocumentError>,
}

impl Follower {
    pub(super) fn new(
        clusters: Arc<Clusters>,
        epochs: Epochs,
        end: EndEpoch,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let mut runtime = Builder::new_multi_thread();
        runtime
            .worker_threads(1)
            .thread_name("jet9-clusters-2")
            .enable_all();
        Ok(Self {
            clusters,
            epochs,
            end,
            metrics,
            runtime: runtime.build()?,
            failing: false,
        })
    }

    /// Brings changes into force.
    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        let now = clock::boottime();
        self.metrics.looked(now);
        let read: Vec<Read> = changes.into_iter().filter_map(read).collect();
        let ids: Vec<_> = read.iter().map(|read| &read.id).collect();
        self.clusters.add(&ids);
        let adopted: Vec<_> = (read.into_iter())
            .filter_map(|read| self.observe(read, now))
            .collect();
        self.persist();
        for Adopted { cluster, epoch, at } in adopted {
            cluster.set(|known| {
                known.durable = true;
                known.adopted(epoch, at);
            });
        }
    }

    /// Takes one document; gives back the cluster when a higher epoch was adopted.
    fn observe(&mut self, read: Read, now: Instant) -> Option<Adopted> {
        let Read { id, file, document } = read;
        let cluster = self.clusters.of(&id);
        let document = match document {
            Ok(document) => document,
            Err(error) => {
                log::error!("{file}: {error}; what is in force stays");
                self.metrics.unreadable.inc();
                cluster.set(|known| {
                    known.view.unreadable(&error, now);
                    known.refused = Some((error.to_string(), now));
                });
                return None;
            }
        };
        let before = cluster.known.load_full();
        let mut after = Known::clone(&before);
        let change = after.view.observe(document, Source::Directory, now);
        after.refused = refusal(&change).map(|why| (why, now));
        if let Some(record) = after.view.record() {
            self.epochs.note(record);
        }
        if matches!(change, Observed::Adopted(_)) {
            return self.adopt(&id, &cluster, &before, after);
        }
        self.metrics.observed(&change);
        if let Some((why, _)) = &after.refused {
            log::error!("{file}: {why}");
        }
        let stopped = is_live(&before, now) && !is_live(&after, now);
        cluster.set(|known| *known = after);
        if stopped {
            self.end(&id, &before, Planned::No);
        }
        None
    }

    fn adopt(
        &self,
        id: &ClusterId,
        cluster: &Arc<Cluster>,
        before: &Known,
        mut after: Known,
    ) -> Option<Adopted> {
        let document = after.view.document().cloned()?;
        let (epoch, phase) = (document.epoch, document.phase);
        if let Some(master) = phase.master() {
            if after.last_master.is_some_and(|last| last != master) {
                self.metrics.switches.inc();
            }
            after.last_master = Some(master);
        }
        after.durable = false;
        cluster.set(|known| *known = after);
        // Read after the change was visible: what is sent later is sent knowing it.
        let adopted = WallClock::System.now();
        self.end(id, before, planned(&document));
        log::info!(
            "adopted cluster={id} epoch={} phase={} side={} wall_ms={}",
            epoch.0,
            phase.as_str(),
            phase.master().map_or("-", Side::as_str),
            adopted.unix_millis(),
        );
        Some(Adopted {
            cluster: Arc::clone(cluster),
            epoch,
            at: adopted,
        })
    }

    /// Ends what was opened under the epoch that was in force before.
    fn end(&self, id: &ClusterId, before: &Known, planned: Planned) {
        if before.view.document().is_some() {
            let _inside = self.runtime.enter();
            (self.end)(id, before.view.highest(), planned);
        }
    }

    fn persist(&mut self) {
        match self.epochs.persist() {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !self.failing {
                    log::error!("adopted epochs are not written down, and tried again: {error}");
                }
                self.failing = true;
            }
        }
    }
}

/// The cluster that a changed file is about. A file whose name is no cluster's is told of and left.
fn read(change: Change) -> Option<Read> {
    let file = change.file.display().to_string();
    let id = match ClusterId::parse(&change.name) {
        Ok(id) => id,
        Err(error) => {
            log::error!("{file}: the name of the file is not one of a cluster: {error}");
            return None;
        }
    };
    let wrong = |message: String| DocumentError {
        pointer: String::new(),
        message,
    };
    let document = match change.content {
        Content::Bytes(bytes) => Document::parse(&bytes).and_then(|document| named(document, &id)),
        Content::Unreadable(error) => Err(wrong(error.to_string())),
        Content::Gone => Err(wrong("the document was removed".into())),
    };
    Some(Read { id, file, document })
}

fn named(document: Document, id: &ClusterId) -> Result<Document, DocumentError> {
    if document.cluster == *id {
        return Ok(document);
    }
    Err(DocumentError {
        pointer: "/cluster".into(),
        message: format!("`{}` in the file of cluster `{id}`", document.cluster),
    })
}

fn is_live(known: &Known, now: Instant) -> bool {
    matches!(known.mastership(now), Mastership::Live { .. })
}

/// Why a document is not in force, for the log and the admin API.
fn refusal(change: &Observed) -> Option<String> {
    Some(match change {
        Observed::Adopted(_) | Observed::Addresses | Observed::Same => return None,
        Observed::Older { offered, highest } => format!(
            "/epoch: {} is older than {}, which was adopted before; what is in force stays",
            offered.0, highest.0
        ),
        Observed::Conflict(epoch) => format!(
            "/epoch: {} was published before with another master or phase; nothing is sent until a higher epoch settles it",
            epoch.0
        ),
        Observed::NotNewer(epoch) => format!(
            "/publisher/seq: other facts for epoch {} need a higher one; what is in force stays",
            epoch.0
        ),
        Observed::OtherIncarnation { offered, known } => format!(
            "/incarnation: `{offered}` is another life of the cluster than `{known}`; nothing is sent until that is forgotten"
        ),
        Observed::OtherCluster(other) => {
            format!("/cluster: `{other}` is another cluster; what is in force stays")
        }
        Observed::Contradicted(epoch) => format!(
            "/epoch: another source shows something else at {}; nothing is sent until the store shows that epoch",
            epoch.0
        ),
    })
}

/// Whether the side that was master until now steps down in good order. While switching that is still to come, so the reason must tell.
fn planned(document: &Document) -> Planned {
    let announced = matches!(document.reason.as_deref(), Some("standby" | "operator"));
    match document.prev_ended {
        Some(Ended::Demoted) => Planned::Yes,
        None if announced => Planned::Yes,
        None | Some(Ended::Fenced | Ended::Unconfirmed) => Planned::No,
    }
}
