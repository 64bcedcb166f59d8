//! Changed documents to what is known: observe, stop the old, write down, begin the new.
//!
//! Lives in the watch's thread. The order is the point. A higher epoch is visible the moment it was read, without the right to send
//! ([`Known::durable`] is false), connections of the epoch before are ended, then the epoch is written down, and only then may be sent under it.
//! What a document means is decided by `jet9_cluster::View`.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Thread;
use std::time::Duration;

use jet9_cache::Timestamp;
use jet9_cluster::document::{Ended, Fencing};
use jet9_cluster::{
    Change as Observed, Document, DocumentError, Epoch, Instant, Loss, Mastership, Source, View,
};
use jet9_config::{ClusterId, Side};
use tokio::runtime::{Builder, Runtime};

use super::epochs::Epochs;
use super::kept::Kept;
use super::metrics::Metrics;
use super::{Cluster, Clusters, Known};
use crate::clock::{self, WallClock};
use crate::control::events::Events;
use crate::control::watch::{Change, Content};
use crate::origin::connect::Planned;

/// Before epochs that the disk refused are written again.
pub(super) const EPOCHS_RETRY: Duration = Duration::from_secs(1);

/// Ends the connections of an epoch and those before it.
pub(super) type EndEpoch = Box<dyn Fn(&ClusterId, Epoch, Planned) + Send>;

pub(super) struct Follower {
    pub(super) clusters: Arc<Clusters>,
    epochs: Epochs,
    /// Where documents are kept for a start without their store; `None`: their source is on this machine.
    kept: Option<Kept>,
    end: EndEpoch,
    events: Arc<Events>,
    pub(super) metrics: Metrics,
    /// Runs what the ending of connections leaves behind (the grace of a planned switch).
    runtime: Runtime,
    /// When epochs that the disk refused are written again; `None`: all are written.
    retry_at: Option<Instant>,
    /// When the right to send ends, of the clusters where it does.
    leases: HashMap<ClusterId, Instant>,
    /// Who ends them.
    leases_end: Option<Thread>,
}

/// An epoch that is visible, and waits to be written down.
struct Adopted {
    cluster: Arc<Cluster>,
    epoch: Epoch,
    at: Timestamp,
}

/// A document as it was found: of which cluster, where, and what it says.
pub(super) struct Found {
    pub(super) id: ClusterId,
    /// For messages: its file, or its key.
    pub(super) place: String,
    pub(super) source: Source,
    pub(super) document: Result<Document, DocumentError>,
    /// As it was published, where it is to be kept.
    pub(super) text: Option<Vec<u8>>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").finish_non_exhaustive()
    }
}

impl Follower {
    pub(super) fn new(
        clusters: Arc<Clusters>,
        epochs: Epochs,
        kept: Option<Kept>,
        end: EndEpoch,
        events: Arc<Events>,
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
            kept,
            end,
            events,
            metrics,
            runtime: runtime.build()?,
            retry_at: None,
            leases: HashMap::new(),
            leases_end: None,
        })
    }

    /// Brings the changes of a watched directory into force.
    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        let found = changes.into_iter().filter_map(found).collect();
        self.take(found);
    }

    /// Brings documents into force, in their order.
    pub(super) fn take(&mut self, found: Vec<Found>) {
        let now = clock::boottime();
        self.metrics.looked(now);
        let ids: Vec<_> = found.iter().map(|found| &found.id).collect();
        self.clusters.add(&ids);
        let ids: Vec<_> = ids.into_iter().cloned().collect();
        let adopted: Vec<_> = (found.into_iter())
            .filter_map(|found| self.observe(found, now))
            .collect();
        self.persist();
        for Adopted { cluster, epoch, at } in adopted {
            cluster.set(|known| {
                known.durable = true;
                known.adopted(epoch, at);
            });
        }
        for id in &ids {
            self.note_lease(id, now);
        }
        let owed = |id: &ClusterId| self.clusters.of(id).known.load().view.owed_purge();
        if ids.iter().any(|id| owed(id).is_some()) {
            let losses = &self.clusters.losses;
            losses.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Brings into force what was kept of the last run: the store is away. As what a watch tells, it moves masters and renews no lease. What is
    /// not of the highest epoch known is of no use.
    pub(super) fn take_kept(&mut self) {
        let documents = self.kept.as_ref().map(Kept::read_all).unwrap_or_default();
        let newest = documents.into_iter().filter(|document| {
            let highest = self
                .clusters
                .of(&document.cluster)
                .known
                .load()
                .view
                .highest();
            document.epoch == highest
        });
        let found = newest.map(|document| Found {
            id: document.cluster.clone(),
            place: format!("kept document of {}", document.cluster),
            source: Source::Watch,
            document: Ok(document),
            text: None,
        });
        let found: Vec<_> = found.collect();
        if !found.is_empty() {
            log::warn!(
                "no etcd member answers; {} clusters are as they were at the last run, without a lease",
                found.len()
            );
            self.take(found);
        }
    }

    /// A linearizable read that was sent at this moment said that these clusters are as they were last read.
    pub(super) fn confirm(&mut self, sent: Instant, present: &HashSet<ClusterId>) {
        let now = clock::boottime();
        self.metrics.looked(now);
        let map = self.clusters.map.load_full();
        for (id, cluster) in map.iter() {
            let known = cluster.known.load();
            let document = known.view.document();
            let is_leased = document.is_some_and(|document| document.fencing == Fencing::Lease);
            if is_leased && present.contains(id) {
                cluster.set(|known| known.view.confirmed(sent));
                self.note_lease(id, now);
            }
        }
    }

    /// A cluster was deleted from its store, in this epoch: one that is created anew may begin with a low one.
    pub(super) fn deleted(&mut self, id: &ClusterId, epoch: Epoch) {
        let cluster = self.clusters.of(id);
        let before = cluster.known.load_full();
        let mut forgotten = false;
        cluster.set(|known| {
            forgotten = known.view.deleted(epoch);
            if forgotten {
                known.refused = None;
                known.note_beside(clock::boottime());
            }
        });
        if forgotten {
            log::warn!("cluster {id}: deleted in epoch {}; forgotten", epoch.0);
            self.forgotten(id, &before);
        }
    }

    /// What is stored was purged for this loss.
    pub(super) fn purged(&mut self, id: &ClusterId, loss: Loss) {
        let cluster = self.clusters.of(id);
        cluster.set_quietly(|known| known.view.purged(loss));
        self.clusters.count_owing();
        if let Some(record) = cluster.known.load().view.record() {
            self.epochs.note(record);
        }
        self.metrics.loss_purges.inc();
        self.persist();
    }

    /// The operator says that this life of a cluster is over. Says whether anything was known of it.
    pub(super) fn forget(&mut self, id: &ClusterId) -> bool {
        let map = self.clusters.map.load_full();
        let Some(cluster) = map.get(id) else {
            return false;
        };
        let before = cluster.known.load_full();
        if !before.was_published() {
            return false;
        }
        cluster.set(|known| {
            known.view.forget();
            known.durable = false;
            known.refused = None;
            known.note_beside(clock::boottime());
        });
        log::warn!(
            "cluster {id}: forgotten on the operator's word, with epoch {}",
            before.view.highest().0
        );
        self.forgotten(id, &before);
        true
    }

    fn forgotten(&mut self, id: &ClusterId, before: &Known) {
        self.leases.remove(id);
        self.epochs.forget(id);
        if let Some(kept) = &self.kept {
            kept.forget(id);
        }
        self.persist();
        self.end(id, before, Planned::No);
    }

    /// Has this thread woken when a lease may end earlier than all that were known.
    pub(super) fn wakes(&mut self, thread: Thread) {
        self.leases_end = Some(thread);
    }

    /// The guard of a side vouches for it. Nobody waits for what only goes on.
    pub(super) fn guarded(
        &mut self,
        id: &ClusterId,
        side: Side,
        epoch: Epoch,
        sent: Instant,
        ttl_ms: u64,
    ) {
        let now = clock::boottime();
        let cluster = self.clusters.of(id);
        let goes_on = is_live(&cluster.known.load(), now);
        let mut renewed = false;
        let renew = |known: &mut Known| {
            renewed = known.view.guarded(side, epoch, sent, ttl_ms);
        };
        if goes_on {
            cluster.set_quietly(renew);
        } else {
            cluster.set(renew);
        }
        if renewed {
            self.note_lease(id, now);
        }
    }

    /// Cuts what goes to clusters whose lease is over. Gives the first moment in which another one ends.
    pub(super) fn end_leases(&mut self) -> Option<Instant> {
        let now = clock::boottime();
        let over = self.leases.extract_if(|_, until| *until <= now);
        let over: Vec<_> = over.map(|(id, _)| id).collect();
        for id in over {
            let cluster = self.clusters.of(&id);
            let known = cluster.known.load_full();
            if is_live(&known, now) {
                self.note_lease(&id, now);
                continue;
            }
            log::error!("cluster {id}: the lease is over; nothing is sent until it is renewed");
            self.end(&id, &known, Planned::No);
            cluster.set(|_| {});
        }
        self.leases.values().min().copied()
    }

    pub(super) fn note_lease(&mut self, id: &ClusterId, now: Instant) {
        let known = self.clusters.of(id).known.load_full();
        let Mastership::Live {
            until: Some(until), ..
        } = known.mastership(now)
        else {
            self.leases.remove(id);
            return;
        };
        let before = self.leases.insert(id.clone(), until);
        if before.is_none_or(|before| until < before)
            && let Some(thread) = &self.leases_end
        {
            thread.unpark();
        }
    }

    /// Takes one document; gives back the cluster when a higher epoch was adopted.
    fn observe(&mut self, found: Found, now: Instant) -> Option<Adopted> {
        let Found {
            id,
            place,
            source,
            document,
            text,
        } = found;
        let cluster = self.clusters.of(&id);
        let document = match document {
            Ok(document) => document,
            Err(error) => {
                log::error!("{place}: {error}; what is in force stays");
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
        let change = after.view.observe(document, source, now);
        after.refused = refusal(&change, &after.view).map(|why| (why, now));
        after.note_beside(now);
        if let (None, Some((why, _))) = (&before.beside, &after.beside) {
            log::error!("{place}: {why}");
        }
        if let Some(record) = after.view.record() {
            self.epochs.note(record);
        }
        if after.view.owed_purge().is_some() {
            self.clusters.owing.store(true, Ordering::Release);
        }
        let is_new = matches!(change, Observed::Adopted(_) | Observed::Addresses);
        if let (Some(kept), Some(text), true) = (&self.kept, text, is_new) {
            kept.keep(&id, text);
        }
        if matches!(change, Observed::Adopted(_)) {
            return self.adopt(&id, &cluster, &before, after);
        }
        self.metrics.observed(&change);
        if let Some((why, _)) = &after.refused {
            log::error!("{place}: {why}");
        }
        self.tell_behind(&id, &before, &after);
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

    /// Tells once that a source went back.
    fn tell_behind(&self, id: &ClusterId, before: &Known, after: &Known) {
        if let Some(offered) = after.view.behind()
            && before.view.behind() != Some(offered)
        {
            let told = serde_json::json!({
                "cluster": id.as_str(), "epoch": after.view.highest().0, "change": "behind", "offered": offered.0,
            });
            self.events.tell("cluster", told);
        }
    }

    /// Ends what was opened under the epoch that was in force before.
    pub(super) fn end(&self, id: &ClusterId, before: &Known, planned: Planned) {
        if before.view.document().is_some() {
            let _inside = self.runtime.enter();
            (self.end)(id, before.view.highest(), planned);
        }
    }

    /// Writes again what the disk refused, once [`EPOCHS_RETRY`] is over. Waits for no disk.
    pub(super) fn retry_epochs(&mut self) {
        if self.retry_at.is_some_and(|at| at <= clock::boottime()) {
            let written = self.epochs.retry();
            self.note_written(written);
        }
    }

    fn persist(&mut self) {
        let written = self.epochs.persist();
        self.note_written(written);
    }

    fn note_written(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) if self.retry_at.take().is_some() => {
                log::info!("adopted epochs are written down again");
            }
            Ok(()) => {}
            Err(error) => {
                if self.retry_at.is_none() {
                    log::error!("adopted epochs are not written down, and tried again: {error}");
                }
                let pause = u64::try_from(EPOCHS_RETRY.as_millis()).unwrap_or(u64::MAX);
                self.retry_at = Some(Instant(clock::boottime().0.saturating_add(pause)));
            }
        }
        let unwritten = i64::from(self.retry_at.is_some());
        self.metrics.epochs_unwritten.set(unwritten);
    }
}

/// The cluster that a changed file is about. A file whose name is no cluster's is told of and left.
pub(super) fn found(change: Change) -> Option<Found> {
    let place = change.file.display().to_string();
    let id = match ClusterId::parse(&change.name) {
        Ok(id) => id,
        Err(error) => {
            log::error!("{place}: the name of the file is not one of a cluster: {error}");
            return None;
        }
    };
    let wrong = |message: String| DocumentError {
        pointer: String::new(),
        message,
    };
    let document = match change.content {
        Content::Bytes(bytes) => Document::of(&bytes, &id),
        Content::Unreadable(error) => Err(wrong(error.to_string())),
        Content::Gone => Err(wrong("the document was removed".into())),
    };
    Some(Found {
        id,
        place,
        source: Source::Directory,
        document,
        text: None,
    })
}

pub(super) fn is_live(known: &Known, now: Instant) -> bool {
    matches!(known.mastership(now), Mastership::Live { .. })
}

/// Why a document is not in force, for the log and the admin API.
pub(super) fn refusal(change: &Observed, view: &View) -> Option<String> {
    Some(match change {
        Observed::Adopted(_) | Observed::Addresses | Observed::Same => return None,
        // Told of by `beside`, for as long as it lasts.
        Observed::Contradicted(_) => return None,
        // A read and a watch of one store overtake each other.
        Observed::Older { .. } if view.behind().is_none() => return None,
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
    })
}

/// Whether the side that was master until now steps down in good order. While switching that is still to come, so the reason must tell. A master
/// that follows on nothing but a wait is proof of nothing: what still goes to the other side ends with its lease.
fn planned(document: &Document) -> Planned {
    let announced = matches!(document.reason.as_deref(), Some("standby" | "operator"));
    let waited = document.fencing == Fencing::Lease && document.phase.master().is_some();
    match document.prev_ended {
        Some(Ended::Demoted) => Planned::Yes,
        None if waited => Planned::No,
        None if announced => Planned::Yes,
        None | Some(Ended::Fenced | Ended::Unconfirmed) => Planned::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_under_way_may_end_where_the_old_master_ends_in_order() {
        let check = |phase: &str, fencing: &str, reason: &str, ended: Option<&str>, expected| {
            let master = (phase == "serving").then_some("b");
            let text = serde_json::json!({
                "v": 1, "cluster": "c-1", "epoch": 7, "phase": phase, "master": master, "fencing": fencing, "reason": reason,
                "sides": {"a": {"addrs": ["192.0.2.1:80"]}, "b": {"addrs": ["192.0.2.2:80"]}},
                "prev": {"epoch": 6, "master": "a", "ended": ended},
            });
            let document = Document::parse(text.to_string().as_bytes()).expect("it is readable");
            assert_eq!(planned(&document), expected, "{text}");
        };
        use Planned::{No, Yes};
        for fencing in ["confirmed", "lease", "none"] {
            check("switching", fencing, "standby", None, Yes);
            check("switching", fencing, "crash", None, No);
            check("serving", fencing, "crash", Some("demoted"), Yes);
            check("serving", fencing, "standby", Some("fenced"), No);
            check("serving", fencing, "operator", Some("unconfirmed"), No);
        }
        check("serving", "confirmed", "operator", None, Yes);
        check("serving", "none", "operator", None, Yes);
        check("serving", "lease", "operator", None, No);
    }
}
