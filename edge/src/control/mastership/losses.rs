//! Purges softly what is stored of a cluster whose master lost its last writes.
//!
//! Runs beside the admin API for as long as the node does. Which purges are owed, once for each epoch and over restarts, is the word of
//! `jet9_cluster::losses`; it is written down with the epochs before anything is sent under the new one. Here the sites of the cluster are found,
//! and purged one by one through the store's own journal, as any purge. All of a site is validated before it is served again, though only
//! what was stored since the loss would have to be: a superset, because the clocks of others are not believed. From the adoption until the
//! purge is done nothing of the sites counts as fresh ([`Masters::owes_purge`]).
//! One purge is under way at a time, and waited for as long as the disk takes: nothing piles up behind one that stands still.
//! Invariant 4. What was fetched under the epoch before is not admitted any more ([`Masters::admits`]), so nothing comes after the purge.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jet9_cache::Partition;
use jet9_cache::purge::{Mode, Purge, PurgeError, What};
use jet9_cluster::Loss;
use jet9_config::ClusterId;
use serde_json::json;

use super::Masters;
use crate::parts::Edge;

/// Before what could not be purged is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// After which it is told that a purge still waits for the disk.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// Purges what is owed, from now on.
pub async fn purge_lost(edge: &Edge) {
    loop {
        let told = edge.masters.loss_told();
        let mut failed = false;
        for (cluster, loss) in edge.masters.owed_purges() {
            match purge(edge, &cluster).await {
                Ok(sites) => edge.masters.purged(&cluster, loss, sites).await,
                Err(error) => {
                    failed = true;
                    log::error!(
                        "cluster {cluster}: writes were lost with its master, and what is stored is not purged for it yet: {error}"
                    );
                }
            }
        }
        if failed {
            tokio::time::sleep(PAUSE).await;
        } else {
            told.await;
        }
    }
}

/// Purges every site of a cluster; how many there are.
async fn purge(edge: &Edge, cluster: &ClusterId) -> Result<usize, PurgeError> {
    let partitions = partitions(edge, cluster)?;
    for partition in &partitions {
        let purge = Purge {
            partition: Some(*partition),
            what: vec![What::All],
            mode: Mode::Soft,
        };
        let late =
            || log::error!("cluster {cluster}: the purge for its lost writes waits for the disk");
        patiently(edge.cache.purge(purge), late).await?;
    }
    Ok(partitions.len())
}

/// Waits as long as it takes, and tells once if that is long.
async fn patiently<T>(purging: impl Future<Output = T>, late: impl FnOnce()) -> T {
    let mut purging = pin!(purging);
    match tokio::time::timeout(TOLD_AFTER, purging.as_mut()).await {
        Ok(purged) => purged,
        Err(_) => {
            late();
            purging.await
        }
    }
}

/// The shares of the cluster's sites in the store, and of those whose documents cannot be read: they may be its sites.
fn partitions(edge: &Edge, cluster: &ClusterId) -> Result<Vec<Partition>, PurgeError> {
    let sites = edge.sites.all();
    let of_cluster = sites
        .iter()
        .filter(|site| site.site.origin.cluster == *cluster);
    let mut partitions: Vec<_> = of_cluster.map(|site| site.partition).collect();
    let refused = edge.sites.problems();
    let unknown = refused.keys().map(String::as_str);
    let unknown: Vec<_> = unknown
        .filter(|id| edge.sites.by_id(id).is_none())
        .collect();
    partitions.extend(edge.cache.partitions(&unknown)?);
    Ok(partitions)
}

impl Masters {
    /// Whether what is stored of this cluster's sites is still to be purged because its master lost writes. Asked at every hit.
    pub fn owes_purge(&self, cluster: &ClusterId) -> bool {
        if !self.clusters.owing.load(Ordering::Acquire) {
            return false;
        }
        let map = self.clusters.map.load();
        let known = map.get(cluster).map(|cluster| cluster.known.load());
        known.is_some_and(|known| known.view.owed_purge().is_some())
    }

    /// The purges that are owed now.
    fn owed_purges(&self) -> Vec<(ClusterId, Loss)> {
        let map = self.clusters.map.load();
        let owed = map.iter().filter_map(|(id, cluster)| {
            let loss = cluster.known.load().view.owed_purge()?;
            Some((id.clone(), loss))
        });
        owed.collect()
    }

    /// Ends when a loss was told since this was called, or may have been.
    fn loss_told(&self) -> impl Future<Output = ()> + use<> {
        let mut told = self.clusters.losses.subscribe();
        async move {
            // An error says that the masters are gone.
            let _ = told.changed().await;
        }
    }

    /// What is stored was purged for this loss: from now on it is not owed, after a restart neither.
    async fn purged(&self, cluster: &ClusterId, loss: Loss, sites: usize) {
        log::warn!(
            "cluster {cluster}: writes were lost with its master from unix_ms={} on; epoch={}: {sites} sites are purged softly",
            loss.from_unix_ms,
            loss.epoch.0,
        );
        if let Some(events) = &self.events {
            let told = json!({
                "cluster": cluster.as_str(), "epoch": loss.epoch.0, "change": "data-loss",
                "data_loss_from_unix_ms": loss.from_unix_ms, "sites": sites,
            });
            events.tell("cluster", told);
        }
        let (follower, id) = (std::sync::Weak::clone(&self.follower), cluster.clone());
        // It may have to wait for the disk.
        let noting = tokio::task::spawn_blocking(move || {
            if let Some(follower) = follower.upgrade() {
                follower.lock().purged(&id, loss);
            }
        });
        // It ends with an error only where it panicked: then the purge is done again after a restart.
        let _ = noting.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::testing::TestNode;

    #[tokio::test]
    async fn a_loss_is_told_with_the_number_of_sites_that_were_purged() {
        let node = TestNode::new(|_| ());
        let events = node.edge.masters.events.clone().expect("they are told");
        let mut heard = events.listen();
        let document = json!({
            "v": 1, "cluster": "c-1", "epoch": 2, "phase": "serving", "master": "a", "fencing": "confirmed",
            "sides": {"a": {"addrs": ["192.0.2.1:80"]}}, "prev": {"data_loss_from_unix_ms": 17},
        });
        let path = node.place().join("clusters/c-1.json");
        std::fs::write(path, document.to_string()).expect("write");
        node.edge.masters.reload().await;
        let purging = purge_lost(&node.edge);
        let event = tokio::select! {
            () = purging => unreachable!("it goes on"),
            event = heard.recv() => event.expect("an event"),
        };
        let told: serde_json::Value = serde_json::from_str(&event.json).expect("JSON");
        assert_eq!(told["kind"], "cluster");
        assert_eq!(told["change"], "data-loss");
        assert_eq!((&told["epoch"], &told["sites"]), (&json!(2), &json!(1)));
    }
}
