//! How many requests may wait for a live master, and how fast are they let go when there is one?
//!
//! Asked by `origin::master` for each request that it holds. The counts have caps by site, by cluster and in all; the pace is
//! [`jet9_cluster::ramp`]'s, one a cluster. Knows no requests: a place is a count that goes back when it is dropped, however its owner ends.
//! I12 in `docs/live-master.md`: no more are held than there are places.

use std::collections::HashMap;
use std::hash::Hash;

use jet9_cluster::ramp::Ramp;
use jet9_cluster::{Epoch, Instant};
use jet9_config::{ClusterId, SiteId};
use parking_lot::Mutex;

/// The places of those who are held, by site, by cluster and in all.
#[derive(Debug)]
pub struct Holds {
    node_max: usize,
    cluster_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    node: usize,
    clusters: HashMap<ClusterId, OfCluster>,
    sites: HashMap<SiteId, usize>,
}

/// Forgotten with the last who leaves.
#[derive(Debug, Default)]
struct OfCluster {
    held: usize,
    ramp: Ramp,
}

/// One request's place among those held; free again when dropped.
#[derive(Debug)]
pub struct Place<'a> {
    holds: &'a Holds,
    cluster: &'a ClusterId,
    site: &'a SiteId,
}

impl Holds {
    /// Places for `node_max` requests in all (`limits.hold`), `cluster_max` of them for one cluster (`limits.hold_per_cluster`).
    pub fn new(node_max: usize, cluster_max: usize) -> Self {
        Self {
            node_max,
            cluster_max,
            held: Mutex::default(),
        }
    }

    /// How many requests are held now.
    pub fn held(&self) -> usize {
        self.held.lock().node
    }

    /// A place for a request of a site that may have `site_max` of them (`origin.hold.requests`); `None` at any cap.
    pub fn enter<'a>(
        &'a self,
        cluster: &'a ClusterId,
        site: &'a SiteId,
        site_max: usize,
    ) -> Option<Place<'a>> {
        let mut held = self.held.lock();
        let of_cluster = held.clusters.get(cluster).map_or(0, |of| of.held);
        let of_site = held.sites.get(site).copied().unwrap_or(0);
        if held.node >= self.node_max || of_cluster >= self.cluster_max || of_site >= site_max {
            return None;
        }
        held.node += 1;
        held.clusters.entry(cluster.clone()).or_default().held += 1;
        held.sites.insert(site.clone(), of_site + 1);
        Some(Place {
            holds: self,
            cluster,
            site,
        })
    }
}

impl Place<'_> {
    /// When its request may go to the master of this epoch. Each call is the turn of one more.
    pub fn turn(&self, epoch: Epoch, now: Instant) -> Instant {
        let mut held = self.holds.held.lock();
        let of_cluster = held.clusters.get_mut(self.cluster);
        of_cluster.map_or(now, |of| of.ramp.next(epoch, now))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut held = self.holds.held.lock();
        held.node -= 1;
        leave(&mut held.clusters, self.cluster, |of| &mut of.held);
        leave(&mut held.sites, self.site, |count| count);
    }
}

/// Takes one off a count and forgets it at zero, so that names that are gone leave nothing behind.
fn leave<K: Hash + Eq, V>(counts: &mut HashMap<K, V>, key: &K, count: fn(&mut V) -> &mut usize) {
    if let Some(counted) = counts.get_mut(key) {
        *count(counted) -= 1;
        if *count(counted) == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str) -> ClusterId {
        ClusterId::parse(name).unwrap()
    }

    fn site(name: &str) -> SiteId {
        SiteId::parse(name).unwrap()
    }

    #[test]
    fn a_place_is_refused_at_each_cap_and_free_again_when_left() {
        let holds = Holds::new(3, 2);
        let (c1, c2) = (cluster("c1"), cluster("c2"));
        let (s1, s2, s3) = (site("s1"), site("s2"), site("s3"));
        let first = holds.enter(&c1, &s1, 1).unwrap();
        assert!(holds.enter(&c1, &s1, 1).is_none(), "the site's cap");
        let second = holds.enter(&c1, &s2, 1).unwrap();
        assert!(holds.enter(&c1, &s3, 1).is_none(), "the cluster's cap");
        let third = holds.enter(&c2, &s3, 2).unwrap();
        assert!(holds.enter(&c2, &s3, 2).is_none(), "the node's cap");
        drop(first);
        let again = holds.enter(&c1, &s1, 1);
        assert!(again.is_some(), "a place that was left");
        drop((second, third, again));
        let held = holds.held.lock();
        assert_eq!(held.node, 0);
        assert!(held.clusters.is_empty() && held.sites.is_empty());
    }

    #[test]
    fn each_cluster_has_a_ramp_of_its_own() {
        let holds = Holds::new(100, 100);
        let (c1, c2, s1) = (cluster("c1"), cluster("c2"), site("s1"));
        let (one, other) = (holds.enter(&c1, &s1, 9), holds.enter(&c2, &s1, 9));
        let (one, other) = (one.unwrap(), other.unwrap());
        let turns: Vec<u64> = (0..30)
            .map(|_| one.turn(Epoch(3), Instant(500)).0)
            .collect();
        assert_eq!((turns[0], turns[19]), (500, 500));
        assert!(turns[29] > 500, "{turns:?}");
        assert_eq!(other.turn(Epoch(3), Instant(500)), Instant(500));
    }
}
