//! Feeds published cluster state into the views, and tells who waits.
//!
//! Asked by `origin::master` before each attempt and again before the first byte; filled by one thread that watches a directory or an etcd and
//! hands what it finds to the follower ([`follow`]). Rules are those of `jet9_cluster`; here are the file, the clock, and the order in which things become visible.
//! Invariant 1: from the moment a higher epoch was read, nothing is sent under an older one; nothing is sent under the new one before it is
//! written down ([`epochs`]), so that no restart forgets it; unless the disk refuses, which stops no switch, and is told of and tried
//! again. Mastership is never cached: every question is answered with the time of now.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use jet9_cache::Timestamp;
use jet9_cluster::document::Phase;
use jet9_cluster::view::FLAPS_MAX_DEFAULT;
use jet9_cluster::{Document, Doubt, Epoch, Highest, Instant, Mastership, Source, View};
use jet9_config::node::{ClusterSource, Etcd as EtcdConfig};
use jet9_config::{ClusterId, Side};
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::sync::watch;

use crate::clock;
use crate::control::events::Events;
use crate::control::watch::{Change, Directory, Look, Watch};
use crate::origin::connect::SideConnections;

mod beside;
mod epochs;
mod etcd;
mod follow;
mod kept;
mod leases;
mod losses;
mod metrics;
mod publish;
mod store;

use epochs::Epochs;
use etcd::EtcdFollow;
use follow::{EndEpoch, Follower};
use kept::Kept;
pub use leases::Vouching;
pub use losses::purge_lost;
use metrics::Metrics;
pub use publish::PublishError;
pub use store::Store;

/// The file in the data directory that keeps the highest epochs.
const EPOCHS_FILE: &str = "epochs.json";

/// The directory in the data directory that keeps the documents of a store.
const KEPT_DIRECTORY: &str = "clusters";

/// What may pass on a busy machine between the reading of the clock for an adoption and the moment in which all see it.
const SENDING: Duration = Duration::from_millis(10);

/// So many adoptions of a cluster are remembered, for [`Masters::was_superseded`].
const ADOPTIONS_KEPT: usize = 8;

/// The live masters of all clusters. Dropping it ends the watch.
#[derive(Debug)]
pub struct Masters {
    clusters: Arc<Clusters>,
    feed: Feed,
    /// Changes what is known; none where nothing is followed. The following thread owns it, and with it a runtime that must not end inside
    /// of another.
    follower: Weak<Mutex<Follower>>,
    /// One replacement of a file at a time.
    publishing: tokio::sync::Mutex<()>,
    /// Who is told of what happens to clusters; nobody is of fixed masters.
    events: Option<Arc<Events>>,
}

/// Where documents come from, and are published.
#[derive(Debug)]
enum Feed {
    Directory {
        path: PathBuf,
        watch: Watch,
    },
    Etcd {
        store: Store,
        follow: EtcdFollow,
        /// A directory that can make the edge more careful.
        beside: Option<Watch>,
    },
    /// Nowhere.
    Fixed,
}

/// All clusters that were published or asked for. The map changes when a cluster appears; what is known of one changes inside it.
#[derive(Debug)]
struct Clusters {
    map: ArcSwap<HashMap<ClusterId, Arc<Cluster>>>,
    flaps_max: usize,
    /// Counts the documents that told of lost writes.
    losses: watch::Sender<u64>,
    /// Whether any cluster owes a purge for such a loss: else no hit needs to ask for its own. Set before the document that tells is visible.
    owing: AtomicBool,
}

#[derive(Debug)]
struct Cluster {
    known: ArcSwap<Known>,
    changes: watch::Sender<u64>,
}

/// What is known of one cluster. Immutable; swapped whole.
#[derive(Clone, Debug)]
struct Known {
    view: View,
    /// Whether the epoch of the view is written down. Until then nothing is sent under it.
    durable: bool,
    /// The last epochs that were adopted, and when; the newest last.
    adoptions: Vec<(Epoch, Timestamp)>,
    /// The master of the last serving document, for counting switches.
    last_master: Option<Side>,
    /// Why the newest document is not in force, and since when.
    refused: Option<(String, Instant)>,
    /// Why a source beside the store stops the cluster, and since when.
    beside: Option<(String, Instant)>,
}

/// What the edge sees of a cluster, for operators.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The cluster.
    pub cluster: ClusterId,
    /// Who is the live master now.
    pub mastership: Mastership,
    /// The highest epoch adopted.
    pub epoch: Epoch,
    /// The document in force; `None`: none was ever read.
    pub document: Option<Document>,
    /// When its epoch was adopted.
    pub adopted: Option<Timestamp>,
    /// Why the newest document is not in force, if it is not, and why a source beside the store stops it, if one does.
    pub refused: Option<String>,
}

/// Mastership cannot be followed at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory cannot be had.
    #[error("the cluster directory {path}: {source}")]
    Directory {
        /// The directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// An etcd cannot be followed: a file that the node file names, or a thread, cannot be had.
    #[error("[state.clusters]: {0}")]
    Etcd(#[source] io::Error),
    /// The threads of the follower cannot be had.
    #[error("following cluster state: {0}")]
    Thread(#[source] io::Error),
    /// The epochs adopted before cannot be read back. To start without them is a decision for a human: an older state could be believed.
    #[error(
        "{path}: {message}; nothing is started, because an epoch older than one seen before could be believed. \
         Move the file away to accept the epochs of the state directory as they are"
    )]
    Epochs {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The metrics cannot be registered: a name is taken.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

impl Masters {
    /// Reads all documents of the source and follows it from then on. A directory is created when it is missing; an etcd that cannot be
    /// reached is tried again for as long as it takes. Epochs are kept in `data_dir`. Connections of an epoch that ended are cut through
    /// `connections`; `flaps_max` is `limits.flap`.
    ///
    /// # Errors
    /// When the directory, the files that the source names, the epochs or a thread cannot be had.
    pub fn open(
        source: &ClusterSource,
        data_dir: &Path,
        flaps_max: u32,
        connections: Arc<SideConnections>,
        registry: &Registry,
        events: Arc<Events>,
    ) -> Result<Arc<Self>, StartError> {
        let end = move |cluster: &ClusterId, epoch, planned| {
            connections.epoch_ended(cluster, epoch, planned);
        };
        Self::follow(source, data_dir, flaps_max, Box::new(end), registry, events)
    }

    fn follow(
        source: &ClusterSource,
        data_dir: &Path,
        flaps_max: u32,
        end: EndEpoch,
        registry: &Registry,
        events: Arc<Events>,
    ) -> Result<Arc<Self>, StartError> {
        let epochs = Epochs::open(&data_dir.join(EPOCHS_FILE))?;
        let flaps_max = usize::try_from(flaps_max).unwrap_or(usize::MAX);
        let clusters = Arc::new(Clusters::resumed(&epochs, flaps_max));
        let metrics = Metrics::register(registry, &clusters)?;
        let kept = match source {
            ClusterSource::Directory(_) => None,
            ClusterSource::Etcd { .. } => Some(kept(data_dir)?),
        };
        let told = Arc::clone(&events);
        let follower = Follower::new(Arc::clone(&clusters), epochs, kept, end, told, metrics);
        let owned = Arc::new(Mutex::new(follower.map_err(StartError::Thread)?));
        let follower = Arc::downgrade(&owned);
        leases::watch(&owned).map_err(StartError::Thread)?;
        let feed = match source {
            ClusterSource::Directory(path) => Feed::directory(path, owned),
            ClusterSource::Etcd { etcd, beside } => Feed::etcd(etcd, beside.as_deref(), owned),
        };
        Ok(Arc::new(Self {
            clusters,
            feed: feed?,
            follower,
            publishing: tokio::sync::Mutex::default(),
            events: Some(events),
        }))
    }

    /// Masters of fixed documents, watched nowhere and written down nowhere: for tests, and for what is asked without a running edge.
    pub fn fixed(documents: impl IntoIterator<Item = Document>) -> Arc<Self> {
        let clusters = Clusters::new(FLAPS_MAX_DEFAULT);
        for document in documents {
            clusters.of(&document.cluster).set(|known| {
                known
                    .view
                    .observe(document, Source::Directory, clock::boottime());
                known.durable = true;
            });
        }
        Arc::new(Self {
            clusters: Arc::new(clusters),
            feed: Feed::Fixed,
            follower: Weak::new(),
            publishing: tokio::sync::Mutex::default(),
            events: None,
        })
    }

    /// Who is the live master now. Read at each attempt; never kept.
    pub fn current(&self, cluster: &ClusterId) -> Mastership {
        match self.clusters.map.load().get(cluster) {
            Some(cluster) => cluster.known.load().mastership(clock::boottime()),
            None => Mastership::Doubtful(Doubt::Unknown),
        }
    }

    /// Whether a request that was sent under an epoch at a moment went out after a higher epoch was adopted. Must never be true; asked so that
    /// a breach of invariant 1 does not go unseen. Remembers the last few epochs.
    pub fn was_superseded(&self, cluster: &ClusterId, epoch: Epoch, sent: Timestamp) -> bool {
        let map = self.clusters.map.load();
        let known = map.get(cluster).map(|cluster| cluster.known.load());
        known.is_some_and(|known| {
            let mut later = known.adoptions.iter().filter(|(other, _)| *other > epoch);
            later.any(|(_, adopted)| adopted.plus(SENDING) < sent)
        })
    }

    /// Whether what was fetched under an epoch may be stored: none was adopted since, and no doubt was cast on it (invariant 1, and I9 in
    /// `docs/live-master.md`).
    pub fn admits(&self, cluster: &ClusterId, epoch: Epoch) -> bool {
        let map = self.clusters.map.load();
        map.get(cluster)
            .is_some_and(|cluster| cluster.known.load().view.admits(epoch))
    }

    /// Whether a source beside the store stops what goes to this cluster: at this edge, whatever others know.
    pub fn is_contradicted(&self, cluster: &ClusterId) -> bool {
        let map = self.clusters.map.load();
        map.get(cluster)
            .is_some_and(|cluster| cluster.known.load().view.contradicted().is_some())
    }

    /// Wakes whenever what [`Self::current`] or [`Self::admits`] says of this cluster may have changed; the value counts changes and has no
    /// meaning.
    pub fn changed(&self, cluster: &ClusterId) -> watch::Receiver<u64> {
        self.clusters.of(cluster).changes.subscribe()
    }

    /// What the edge sees of one cluster; `None` when nothing was ever published of it.
    pub fn seen(&self, cluster: &ClusterId) -> Option<Seen> {
        let map = self.clusters.map.load();
        let known = map.get(cluster)?.known.load_full();
        known
            .was_published()
            .then(|| known.seen(cluster, clock::boottime()))
    }

    /// What the edge sees of all clusters, in the order of their names.
    pub fn all(&self) -> Vec<Seen> {
        let now = clock::boottime();
        let map = self.clusters.map.load();
        let known = map.iter().map(|(id, cluster)| (id, cluster.known.load()));
        let published = known.filter(|(_, known)| known.was_published());
        let mut seen: Vec<_> = published.map(|(id, known)| known.seen(id, now)).collect();
        seen.sort_unstable_by(|a, b| a.cluster.cmp(&b.cluster));
        seen
    }

    /// Forgets the epochs of a cluster, on an operator's word, and reads every document again: one that was created anew may begin with a
    /// low epoch. Gives up the protection against an old master until then. Says whether there was anything to forget.
    pub async fn forget(&self, cluster: &ClusterId) -> bool {
        let (follower, id) = (Weak::clone(&self.follower), cluster.clone());
        // It may have to wait for the disk.
        let forgetting = tokio::task::spawn_blocking(move || {
            let follower = follower.upgrade();
            follower.is_some_and(|follower| follower.lock().forget(&id))
        });
        let forgotten = forgetting.await.unwrap_or(false);
        if forgotten {
            self.reload().await;
        }
        forgotten
    }

    /// Reads every document again and waits until that is in force.
    pub async fn reload(&self) {
        match &self.feed {
            Feed::Directory { watch, .. } => watch.reload().await,
            Feed::Etcd { follow, beside, .. } => {
                if let Some(beside) = beside {
                    beside.reload().await;
                }
                follow.reload().await;
            }
            Feed::Fixed => {}
        }
    }
}

fn kept(data_dir: &Path) -> Result<Kept, StartError> {
    let path = data_dir.join(KEPT_DIRECTORY);
    Kept::open(&path).map_err(|source| StartError::Directory {
        path: path.display().to_string(),
        source,
    })
}

/// Reads a directory of documents, and watches it from then on in a thread of this name.
fn watch(
    name: &str,
    path: &Path,
    mut apply: impl FnMut(Vec<Change>) + Send + 'static,
) -> Result<Watch, StartError> {
    let failed = |source| StartError::Directory {
        path: path.display().to_string(),
        source,
    };
    let mut watched = Directory::open(path, "json").map_err(failed)?;
    apply(watched.look(Look::Changed));
    let settle = Duration::ZERO; // a failover does not wait for a burst to end
    Watch::spawn(name, watched, settle, apply).map_err(failed)
}

impl Feed {
    fn directory(path: &Path, follower: Arc<Mutex<Follower>>) -> Result<Self, StartError> {
        let apply = move |changes| follower.lock().apply(changes);
        Ok(Self::Directory {
            path: path.to_owned(),
            watch: watch("jet9-clusters", path, apply)?,
        })
    }

    fn etcd(
        config: &EtcdConfig,
        beside: Option<&Path>,
        follower: Arc<Mutex<Follower>>,
    ) -> Result<Self, StartError> {
        let store = Store::open(config, Duration::ZERO).map_err(StartError::Etcd)?;
        // Read before the store is: what it forbids is forbidden from the start.
        let beside = beside.map(|path| {
            let follower = Arc::clone(&follower);
            watch("jet9-beside", path, move |changes| {
                follower.lock().apply_beside(changes);
            })
        });
        Ok(Self::Etcd {
            beside: beside.transpose()?,
            follow: EtcdFollow::spawn(&store, follower).map_err(StartError::Etcd)?,
            store,
        })
    }
}

impl Clusters {
    fn new(flaps_max: usize) -> Self {
        Self {
            map: ArcSwap::default(),
            flaps_max,
            losses: watch::Sender::new(0),
            owing: AtomicBool::new(false),
        }
    }

    fn resumed(epochs: &Epochs, flaps_max: usize) -> Self {
        let cluster = |record: &Highest| {
            let view = View::resumed(record.clone()).with_flaps_max(flaps_max);
            let known = Known {
                durable: true,
                last_master: record.phase.and_then(Phase::master),
                ..Known::new(view)
            };
            (record.cluster.clone(), Arc::new(Cluster::new(known)))
        };
        let clusters = Self::new(flaps_max);
        let resumed: HashMap<_, _> = epochs.records().map(cluster).collect();
        clusters.map.store(Arc::new(resumed));
        clusters.count_owing();
        clusters
    }

    /// The cluster of this name, which begins to exist when it is first asked for: a site may name it before it is published.
    fn of(&self, id: &ClusterId) -> Arc<Cluster> {
        if let Some(cluster) = self.map.load().get(id) {
            return Arc::clone(cluster);
        }
        self.add(&[id]);
        let map = self.map.load();
        let added = map.get(id).cloned();
        added.unwrap_or_else(|| self.blank(id))
    }

    /// Sees again whether any of them owes a purge.
    fn count_owing(&self) {
        let map = self.map.load();
        let mut known = map.values().map(|cluster| cluster.known.load());
        let owing = known.any(|known| known.view.owed_purge().is_some());
        self.owing.store(owing, Ordering::Release);
    }

    /// Adds those that are missing, in one copy of the map.
    fn add(&self, ids: &[&ClusterId]) {
        self.map.rcu(|map| {
            let missing = ids.iter().copied().filter(|id| !map.contains_key(*id));
            let mut missing = missing.peekable();
            if missing.peek().is_none() {
                return Arc::clone(map);
            }
            let mut grown = HashMap::clone(map);
            for id in missing {
                grown.entry(id.clone()).or_insert_with(|| self.blank(id));
            }
            Arc::new(grown)
        });
    }

    fn blank(&self, id: &ClusterId) -> Arc<Cluster> {
        let view = View::new(id.clone()).with_flaps_max(self.flaps_max);
        Arc::new(Cluster::new(Known::new(view)))
    }
}

impl Cluster {
    fn new(known: Known) -> Self {
        Self {
            known: ArcSwap::from_pointee(known),
            changes: watch::Sender::new(0),
        }
    }

    /// Changes what is known, by the one follower that may, and wakes those who wait.
    fn set(&self, change: impl FnOnce(&mut Known)) {
        self.set_quietly(change);
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Cluster {
    /// The same where nobody waits for it.
    fn set_quietly(&self, change: impl FnOnce(&mut Known)) {
        let mut known = Known::clone(&self.known.load());
        change(&mut known);
        self.known.store(Arc::new(known));
    }
}

impl Known {
    /// Notes that an epoch was adopted; the oldest of too many is forgotten.
    fn adopted(&mut self, epoch: Epoch, now: Timestamp) {
        if self.adoptions.len() == ADOPTIONS_KEPT {
            self.adoptions.remove(0);
        }
        self.adoptions.push((epoch, now));
    }

    fn new(view: View) -> Self {
        Self {
            view,
            durable: false,
            adoptions: Vec::new(),
            last_master: None,
            refused: None,
            beside: None,
        }
    }

    fn mastership(&self, now: Instant) -> Mastership {
        match self.view.mastership(now) {
            Mastership::Live { epoch, .. } if !self.durable => Mastership::Switching {
                epoch,
                hold_ms: self.view.document().map_or(0, |document| document.hold_ms),
            },
            mastership => mastership,
        }
    }

    fn was_published(&self) -> bool {
        let is_told_of = self.refused.is_some() || self.beside.is_some();
        is_told_of || self.view.highest() > Epoch::default()
    }

    /// Every reason why what is published is not in force, or is not acted on.
    fn why(&self) -> Option<String> {
        let reasons = self.refused.iter().chain(&self.beside);
        let reasons: Vec<_> = reasons.map(|(why, _)| why.as_str()).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    fn seen(&self, cluster: &ClusterId, now: Instant) -> Seen {
        Seen {
            cluster: cluster.clone(),
            mastership: self.mastership(now),
            epoch: self.view.highest(),
            document: self.view.document().cloned(),
            adopted: self.adoptions.last().map(|(_, adopted)| *adopted),
            refused: self.why(),
        }
    }
}

#[cfg(test)]
mod tests;
