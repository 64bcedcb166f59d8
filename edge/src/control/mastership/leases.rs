//! Until when may be sent? Leases that guards renew, and the end of those that nobody renewed.
//!
//! A thread of its own cuts what goes to a cluster when its lease is over, whichever source gave it: an etcd, or the guard of the live side in
//! its answers, which `origin::master` passes on. What a lease is worth is `jet9_cluster::View`'s word. As it wakes every second at the latest, it
//! also has the follower try again what could not be written down.
//! Invariant 1 on exchanges under way: what was sent within a lease does not go on after it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jet9_cluster::document::Fencing;
use jet9_cluster::{Doubt, Epoch, Instant, Mastership};
use jet9_config::{ClusterId, Side};
use parking_lot::Mutex;

use super::follow::{EPOCHS_RETRY, Follower};
use super::{Known, Masters};
use crate::clock;

/// How long the thread rests at most: so long it may outlive the masters, and epochs wait to be written again.
const REST_MAX: Duration = EPOCHS_RETRY;

/// A renewal that adds less than such a part of its time is left out: a busy site brings thousands in a second.
const WORTH: u64 = 8;

/// Ends leases from now on, for as long as the follower lives.
pub(super) fn watch(follower: &Arc<Mutex<Follower>>) -> io::Result<()> {
    let watched = Arc::downgrade(follower);
    let watching = thread::Builder::new()
        .name("jet9-leases".into())
        .spawn(move || {
            while let Some(follower) = watched.upgrade() {
                let next = {
                    let mut follower = follower.lock();
                    follower.retry_epochs();
                    follower.end_leases()
                };
                drop(follower);
                thread::park_timeout(next.map_or(REST_MAX, rest));
            }
        })?;
    follower.lock().wakes(watching.thread().clone());
    Ok(())
}

fn rest(until: Instant) -> Duration {
    Duration::from_millis(until.0.saturating_sub(clock::boottime().0)).min(REST_MAX)
}

/// A live master whose guard is to be asked whether it still is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouching {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its master.
    pub side: Side,
    /// The epoch that made it so.
    pub epoch: Epoch,
    /// Where its guard listens.
    pub guard: SocketAddr,
}

impl Masters {
    /// The masters whose guards could renew a lease of which a third is over, or that is missing.
    pub fn to_vouch(&self) -> Vec<Vouching> {
        let now = clock::boottime();
        let map = self.clusters.map.load();
        let known = map.values().map(|cluster| cluster.known.load());
        known.filter_map(|known| vouching(&known, now)).collect()
    }

    /// The guard of a side said, in its answer to a request that was sent at this moment, that the side is master in this epoch for `ttl_ms`
    /// more. While documents are being taken it is not listened to: the next answer says it again.
    pub fn guarded(
        &self,
        cluster: &ClusterId,
        side: Side,
        epoch: Epoch,
        sent: Instant,
        ttl_ms: u64,
    ) {
        if !self.is_worth_renewing(cluster, Instant(sent.0.saturating_add(ttl_ms)), ttl_ms) {
            return;
        }
        let follower = self.follower.upgrade();
        let follower = follower.as_ref().and_then(|follower| follower.try_lock());
        if let Some(mut follower) = follower {
            follower.guarded(cluster, side, epoch, sent, ttl_ms);
        }
    }

    fn is_worth_renewing(&self, cluster: &ClusterId, until: Instant, ttl_ms: u64) -> bool {
        match self.current(cluster) {
            Mastership::Live { until: None, .. } => false,
            Mastership::Live {
                until: Some(known), ..
            } => known.0 < until.0.saturating_sub(ttl_ms / WORTH),
            Mastership::Doubtful(_) => true,
            Mastership::Switching { .. } | Mastership::Vacant { .. } => false,
        }
    }
}

fn vouching(known: &Known, now: Instant) -> Option<Vouching> {
    let document = known.view.document()?;
    let side = document.phase.master()?;
    let guard = document.side(side).guard?;
    if document.fencing != Fencing::Lease {
        return None;
    }
    let is_fresh = match known.mastership(now) {
        Mastership::Live {
            until: Some(until), ..
        } => until.0.saturating_sub(now.0) > document.edge_lease_ms * 2 / 3,
        Mastership::Doubtful(Doubt::NoLease | Doubt::LeaseExpired) => false,
        _ => true,
    };
    (!is_fresh).then(|| Vouching {
        cluster: document.cluster.clone(),
        side,
        epoch: document.epoch,
        guard,
    })
}
