//! Liveness, readiness, and the way to a stop.
//!
//! [`Drain`] is held by everything that serves clients: it says that the node is stopping and counts what is still under way.
//! [`Health`] gathers the facts that `/livez` and `/readyz` answer from; the judgement is the pure function [`judge`].
//! Knows no socket. Invariant 7: a stop waits for the exchanges under way and for nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

mod drain;

pub use drain::{Drain, DrainWatch, UnderWay};

/// How long readiness waits for the index of the disk volumes after the start. A node without its index serves, only with more misses.
pub const CACHE_LOAD_WAIT: Duration = Duration::from_secs(5);

/// Below this share of clusters whose state is known the node is no longer ready, in percent.
pub const KNOWN_SHARE_LOW: usize = 50;

/// From this share on it is ready again, in percent. The distance to [`KNOWN_SHARE_LOW`] keeps routers from flapping.
pub const KNOWN_SHARE_HIGH: usize = 75;

/// Why a node is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// The site documents have not been read yet.
    SitesLoading,
    /// The index of the store is being read, and [`CACHE_LOAD_WAIT`] has not passed.
    CacheLoading,
    /// Of too few clusters it is known who is master, or that nobody is: this node is cut off from their state. A cluster that switches or is
    /// down is known to do so, by all nodes alike, and no reason to send its visitors elsewhere.
    ClustersDoubtful,
    /// The node is stopping.
    Draining,
}

impl NotReady {
    /// The word for `/readyz`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SitesLoading => "sites-loading",
            Self::CacheLoading => "cache-loading",
            Self::ClustersDoubtful => "clusters-doubtful",
            Self::Draining => "draining",
        }
    }
}

/// What readiness is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether the site documents were read once.
    pub sites_loaded: bool,
    /// Whether the index of every volume is loaded.
    pub cache_loaded: bool,
    /// How long the node has been running.
    pub running: Duration,
    /// Whether the node is stopping.
    pub draining: bool,
    /// Clusters that sites of this node use.
    pub clusters: usize,
    /// Those of them whose state is known.
    pub clusters_known: usize,
    /// Whether the share of known clusters was good enough the last time.
    pub clusters_were_ready: bool,
}

/// Every reason why a node with these facts is not ready; none: it is ready.
pub fn judge(facts: &Facts) -> Vec<NotReady> {
    let mut reasons = Vec::new();
    if !facts.sites_loaded {
        reasons.push(NotReady::SitesLoading);
    }
    if !facts.cache_loaded && facts.running < CACHE_LOAD_WAIT {
        reasons.push(NotReady::CacheLoading);
    }
    if !clusters_ready(facts) {
        reasons.push(NotReady::ClustersDoubtful);
    }
    if facts.draining {
        reasons.push(NotReady::Draining);
    }
    reasons
}

/// Whether enough clusters are known; what is enough depends on the last answer.
fn clusters_ready(facts: &Facts) -> bool {
    let threshold = if facts.clusters_were_ready {
        KNOWN_SHARE_LOW
    } else {
        KNOWN_SHARE_HIGH
    };
    facts.clusters == 0 || facts.clusters_known * 100 >= facts.clusters * threshold
}

/// The health of the node, as its metrics listener tells it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    drain: Drain,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    started: Instant,
    sites_loaded: bool,
    cache_loaded: bool,
    clusters: usize,
    clusters_known: usize,
    clusters_were_ready: bool,
}

impl Health {
    /// The health of a node that started now.
    pub fn new(drain: Drain, now: Instant) -> Self {
        let state = State {
            started: now,
            sites_loaded: false,
            cache_loaded: false,
            clusters: 0,
            clusters_known: 0,
            clusters_were_ready: true,
        };
        Self {
            drain,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The site documents were read.
    pub fn sites_loaded(&self) {
        self.state.lock().sites_loaded = true;
    }

    /// The index of every volume is loaded.
    pub fn cache_loaded(&self) {
        self.state.lock().cache_loaded = true;
    }

    /// How many clusters sites of this node use, and of how many of them the state is known.
    pub fn clusters(&self, used: usize, known: usize) {
        let mut state = self.state.lock();
        state.clusters = used;
        state.clusters_known = known;
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
        let mut state = self.state.lock();
        let facts = state.facts(now, self.drain.is_draining());
        let reasons = judge(&facts);
        state.clusters_were_ready = !reasons.contains(&NotReady::ClustersDoubtful);
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }
}

impl State {
    fn facts(&self, now: Instant, draining: bool) -> Facts {
        Facts {
            sites_loaded: self.sites_loaded,
            cache_loaded: self.cache_loaded,
            running: now.saturating_duration_since(self.started),
            draining,
            clusters: self.clusters,
            clusters_known: self.clusters_known,
            clusters_were_ready: self.clusters_were_ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Facts = Facts {
        sites_loaded: true,
        cache_loaded: true,
        running: Duration::from_secs(60),
        draining: false,
        clusters: 4,
        clusters_known: 4,
        clusters_were_ready: true,
    };

    fn check(facts: Facts, expected: &[NotReady]) {
        assert_eq!(judge(&facts), expected, "{facts:?}");
    }

    #[test]
    fn a_node_with_everything_loaded_is_ready() {
        check(READY, &[]);
        check(
            Facts {
                clusters: 0,
                clusters_known: 0,
                ..READY
            },
            &[],
        );
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
    fn all_reasons_are_told_at_once() {
        let facts = Facts {
            sites_loaded: false,
            draining: true,
            ..READY
        };
        check(facts, &[NotReady::SitesLoading, NotReady::Draining]);
    }

    #[test]
    fn the_share_of_known_clusters_has_hysteresis() {
        let half = Facts {
            clusters_known: 2,
            ..READY
        };
        check(half, &[]);
        check(
            Facts {
                clusters_were_ready: false,
                ..half
            },
            &[NotReady::ClustersDoubtful],
        );
        check(
            Facts {
                clusters_known: 1,
                ..READY
            },
            &[NotReady::ClustersDoubtful],
        );
        check(
            Facts {
                clusters_known: 3,
                clusters_were_ready: false,
                ..READY
            },
            &[],
        );
    }

    #[test]
    fn readiness_remembers_that_it_fell() {
        let now = crate::clock::monotonic();
        let health = Health::new(Drain::new(), now);
        health.sites_loaded();
        health.cache_loaded();
        for (known, ready) in [(4, true), (2, true), (1, false), (2, false), (3, true)] {
            health.clusters(4, known);
            assert_eq!(health.ready(now).is_ok(), ready, "{known} of 4");
        }
    }
}
