//! Liveness, readiness, and the way to a stop.
//!
//! [`Drain`] is held by everything that serves clients: it says that the node is stopping and counts what is still under way.
//! [`Health`] gathers the facts that `/livez` and `/readyz` answer from; the judgement is the pure function [`judge`].
//! Knows no socket. Invariant 7: a stop waits for the exchanges under way and for nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jet9_cluster::Mastership;
use parking_lot::Mutex;

use crate::parts::Edge;

mod drain;
mod reach;
mod share;

pub use drain::{Drain, DrainWatch, UnderWay};
pub use reach::try_suspects;
pub use share::{Bounds, Counted, Standing};

/// How long readiness waits for the index of the disk volumes after the start. A node without its index serves, only with more misses.
pub const CACHE_LOAD_WAIT: Duration = Duration::from_secs(5);

/// Why a node is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// Not all parts run yet.
    Starting,
    /// The index of the store is being read, and [`CACHE_LOAD_WAIT`] has not passed.
    CacheLoading,
    /// Of too few clusters it is known who is master, or that nobody is: this node is cut off from their state.
    ClustersDoubtful,
    /// Of too few clusters the master is known and takes connections of this node, or is known to be none.
    ClustersUnreachable,
    /// The node is stopping, or about to.
    Draining,
}

impl NotReady {
    /// The word for `/readyz`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::CacheLoading => "cache-loading",
            Self::ClustersDoubtful => "clusters-doubtful",
            Self::ClustersUnreachable => "clusters-unreachable",
            Self::Draining => "draining",
        }
    }
}

/// What readiness is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether all parts run.
    pub started: bool,
    /// Whether the index of every volume is loaded.
    pub cache_loaded: bool,
    /// How long the node has been running.
    pub running: Duration,
    /// Whether the node is stopping, or about to.
    pub withdrawn: bool,
    /// Whether of enough clusters it is known who is master.
    pub known: Standing,
    /// Whether enough clusters can be served.
    pub reached: Standing,
}

/// Every reason why a node with these facts is not ready; none: it is ready.
pub fn judge(facts: &Facts) -> Vec<NotReady> {
    let reasons = [
        (!facts.started, NotReady::Starting),
        (
            !facts.cache_loaded && facts.running < CACHE_LOAD_WAIT,
            NotReady::CacheLoading,
        ),
        (!facts.known.is_enough(), NotReady::ClustersDoubtful),
        (
            facts.known.is_enough() && !facts.reached.is_enough(),
            NotReady::ClustersUnreachable,
        ),
        (facts.withdrawn, NotReady::Draining),
    ];
    let those = reasons.into_iter().filter(|(holds, _)| *holds);
    those.map(|(_, reason)| reason).collect()
}

/// The health of the node, as its metrics listener tells it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    drain: Drain,
    bounds: Bounds,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    since: Instant,
    started: bool,
    cache_loaded: bool,
    known: Standing,
    reached: Standing,
}

impl Health {
    /// The health of a node that started now.
    pub fn new(drain: Drain, bounds: Bounds, now: Instant) -> Self {
        let state = State {
            since: now,
            started: false,
            cache_loaded: false,
            known: Standing::Starting,
            reached: Standing::Starting,
        };
        Self {
            drain,
            bounds,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// All parts run: requests are served, and a signal is a request to stop in order.
    pub fn started(&self) {
        self.state.lock().started = true;
    }

    /// The index of every volume is loaded.
    pub fn cache_loaded(&self) {
        self.state.lock().cache_loaded = true;
    }

    /// Clusters were counted: those of which it is known who is master, and those of them that can be served.
    pub fn clusters(&self, known: Counted, reached: Counted, now: Instant) {
        let mut state = self.state.lock();
        state.known = state.known.after(known, self.bounds, now);
        state.reached = state.reached.after(reached, self.bounds, now);
    }

    /// `/livez`: whether the process works. It does when this is executed at all; a stuck runtime does not answer.
    pub const fn live(&self) -> bool {
        true
    }

    /// `/readyz`: whether a router should send visitors here.
    ///
    /// # Errors
    /// Every reason why not.
    pub fn ready(&self, now: Instant) -> Result<(), Vec<NotReady>> {
        let facts = self.state.lock().facts(now, self.drain.is_withdrawn());
        let reasons = judge(&facts);
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }
}

impl State {
    fn facts(&self, now: Instant, withdrawn: bool) -> Facts {
        Facts {
            started: self.started,
            cache_loaded: self.cache_loaded,
            running: now.saturating_duration_since(self.since),
            withdrawn,
            known: self.known,
            reached: self.reached,
        }
    }
}

/// Counts the clusters that sites use, and those of them that this node can serve or no node can: a cluster that switches or is down is known
/// to do so by all nodes alike, and no reason to send its visitors elsewhere. One whose state is in doubt, that a source beside the store stops
/// here, or whose master takes no connection of this node, may be served by another.
pub fn count_clusters(edge: &Edge, now: Instant) {
    let sites = edge.sites.all();
    let mut used: Vec<_> = sites.iter().map(|site| &site.site.origin.cluster).collect();
    used.sort_unstable();
    used.dedup();
    let (mut known, mut reached) = (0, 0);
    for cluster in &used {
        let is_reached = match edge.masters.current(cluster) {
            Mastership::Doubtful(_) => continue,
            _ if edge.masters.is_contradicted(cluster) => continue,
            Mastership::Live { epoch, .. } => !edge.side_connections.is_unreachable(cluster, epoch),
            Mastership::Switching { .. } | Mastership::Vacant { .. } => true,
        };
        known += 1;
        reached += usize::from(is_reached);
    }
    let of = |servable| Counted {
        used: used.len(),
        servable,
    };
    edge.health.clusters(of(known), of(reached), now);
    let unreachable = i64::try_from(known - reached).unwrap_or(i64::MAX);
    edge.recorder.origin().masters_unreachable(unreachable);
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Facts = Facts {
        started: true,
        cache_loaded: true,
        running: Duration::from_secs(60),
        withdrawn: false,
        known: Standing::Enough { low_since: None },
        reached: Standing::Enough { low_since: None },
    };

    fn check(facts: Facts, expected: &[NotReady]) {
        assert_eq!(judge(&facts), expected, "{facts:?}");
    }

    #[test]
    fn a_node_with_everything_loaded_is_ready() {
        check(READY, &[]);
    }

    #[test]
    fn a_loading_index_holds_readiness_back_for_five_seconds_only() {
        let loading = Facts {
            cache_loaded: false,
            ..READY
        };
        check(
            Facts {
                running: Duration::from_millis(4999),
                ..loading
            },
            &[NotReady::CacheLoading],
        );
        check(
            Facts {
                running: CACHE_LOAD_WAIT,
                ..loading
            },
            &[],
        );
    }

    #[test]
    fn masters_out_of_reach_are_a_reason_of_their_own() {
        let facts = Facts {
            reached: Standing::Lacking { high_since: None },
            ..READY
        };
        check(facts, &[NotReady::ClustersUnreachable]);
    }

    #[test]
    fn all_reasons_are_told_at_once() {
        let facts = Facts {
            started: false,
            withdrawn: true,
            known: Standing::Starting,
            reached: Standing::Starting,
            ..READY
        };
        check(
            facts,
            &[
                NotReady::Starting,
                NotReady::ClustersDoubtful,
                NotReady::Draining,
            ],
        );
    }

    #[test]
    fn a_node_that_withdraws_is_not_ready_though_it_goes_on_serving() {
        let now = crate::clock::monotonic();
        let drain = Drain::new();
        let bounds = Bounds::from(&jet9_config::limits::Limits::default());
        let health = Health::new(drain.clone(), bounds, now);
        health.started();
        health.cache_loaded();
        health.clusters(Counted::default(), Counted::default(), now);
        assert_eq!(health.ready(now), Ok(()));
        drain.withdraw();
        assert_eq!(health.ready(now), Err(vec![NotReady::Draining]));
        assert!(!drain.is_draining());
    }
}
