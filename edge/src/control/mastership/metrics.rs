//! The counters of mastership, and gauges that are computed when somebody looks.
//!
//! Registered once by [`super::Masters::open`]. Mastership depends on the time, so its gauges are collected from the clusters at each scrape.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use jet9_cluster::{Change, Instant, Mastership};
use jet9_config::ClusterId;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::Clusters;
use crate::clock;

/// So many clusters have their epoch as a metric: those in doubt first.
const EPOCHS_SHOWN: usize = 100;

#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) switches: IntCounter,
    contradictions: IntCounter,
    pub(super) unreadable: IntCounter,
    older: IntCounter,
    foreign: IntCounter,
    pub(super) loss_purges: IntCounter,
    /// 1 while the disk refuses what a restart would have to know.
    pub(super) epochs_unwritten: IntGauge,
    looked: Arc<AtomicU64>,
}

impl Metrics {
    pub(super) fn register(
        registry: &Registry,
        clusters: &Arc<Clusters>,
    ) -> Result<Self, prometheus::Error> {
        let refused = IntCounterVec::new(
            Opts::new(
                "jet9_cluster_documents_refused_total",
                "Cluster documents that were not taken: not readable, older than what was seen, or of another cluster or life of it.",
            ),
            &["reason"],
        )?;
        let metrics = Self {
            switches: IntCounter::new(
                "jet9_cluster_switches_total",
                "Changes of a live master from one side to the other.",
            )?,
            contradictions: IntCounter::new(
                "jet9_cluster_contradictions_total",
                "Documents that name another master or phase for an epoch already seen.",
            )?,
            unreadable: refused.with_label_values(&["unreadable"]),
            older: refused.with_label_values(&["older"]),
            foreign: refused.with_label_values(&["foreign"]),
            loss_purges: IntCounter::new(
                "jet9_cluster_loss_purges_total",
                "Soft purges of the sites of a cluster whose master lost its last writes.",
            )?,
            epochs_unwritten: IntGauge::new(
                "jet9_cluster_epochs_unwritten",
                "1 while adopted epochs are not written down: a restart would not know them.",
            )?,
            looked: Arc::new(AtomicU64::new(clock::boottime().0)),
        };
        registry.register(Box::new(refused))?;
        registry.register(Box::new(metrics.switches.clone()))?;
        registry.register(Box::new(metrics.contradictions.clone()))?;
        registry.register(Box::new(metrics.loss_purges.clone()))?;
        registry.register(Box::new(metrics.epochs_unwritten.clone()))?;
        let gauges = Gauges::new(Arc::downgrade(clusters), Arc::clone(&metrics.looked))?;
        registry.register(Box::new(gauges))?;
        Ok(metrics)
    }

    /// Counts what a document that was not adopted did.
    pub(super) fn observed(&self, change: &Change) {
        match change {
            Change::Adopted(_) | Change::Addresses | Change::Same => {}
            Change::Older { .. } | Change::NotNewer(_) => self.older.inc(),
            Change::Conflict(_) | Change::Contradicted(_) => self.contradictions.inc(),
            Change::OtherIncarnation { .. } | Change::OtherCluster(_) => self.foreign.inc(),
        }
    }

    /// Notes that the published documents were looked at.
    pub(super) fn looked(&self, now: Instant) {
        self.looked.store(now.0, Ordering::Relaxed);
    }
}

struct Gauges {
    clusters: Weak<Clusters>,
    looked: Arc<AtomicU64>,
    masterships: IntGaugeVec,
    epochs: IntGaugeVec,
    oldest: Gauge,
    behind: IntGauge,
}

impl Gauges {
    fn new(clusters: Weak<Clusters>, looked: Arc<AtomicU64>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            clusters,
            looked,
            masterships: IntGaugeVec::new(
                Opts::new(
                    "jet9_clusters",
                    "Clusters by what the edge knows of their master.",
                ),
                &["mastership"],
            )?,
            epochs: IntGaugeVec::new(
                Opts::new(
                    "jet9_cluster_epoch",
                    "The highest epoch adopted, of at most 100 clusters, those without a live master first.",
                ),
                &["cluster"],
            )?,
            oldest: Gauge::new(
                "jet9_cluster_oldest_state_age_seconds",
                "How long ago the published state of the cluster that is worst off was last read.",
            )?,
            behind: IntGauge::new(
                "jet9_cluster_sources_behind",
                "Clusters whose source shows a lower epoch than was adopted.",
            )?,
        })
    }

    fn measure(&self) {
        let now = clock::boottime();
        let (mut live, mut doubtful, mut vacant, mut behind) = (0, 0, 0, 0);
        let mut oldest = self.looked.load(Ordering::Relaxed);
        let mut shown: Vec<(bool, ClusterId, u64)> = Vec::new();
        let clusters = self.clusters.upgrade();
        let map = clusters.map(|clusters| clusters.map.load_full());
        for (id, cluster) in map.iter().flat_map(|map| map.iter()) {
            let known = cluster.known.load();
            let mastership = known.mastership(now);
            match mastership {
                Mastership::Live { .. } => live += 1,
                Mastership::Switching { .. } | Mastership::Vacant { .. } => vacant += 1,
                Mastership::Doubtful(_) => doubtful += 1,
            }
            behind += i64::from(known.view.behind().is_some());
            for (_, since) in known.refused.iter().chain(&known.beside) {
                oldest = oldest.min(since.0);
            }
            let is_live = matches!(mastership, Mastership::Live { .. });
            shown.push((is_live, id.clone(), known.view.highest().0));
        }
        for (word, count) in [("live", live), ("doubtful", doubtful), ("vacant", vacant)] {
            self.masterships.with_label_values(&[word]).set(count);
        }
        let age = std::time::Duration::from_millis(now.0.saturating_sub(oldest));
        self.oldest.set(age.as_secs_f64());
        self.behind.set(behind);
        shown.sort_unstable();
        self.epochs.reset();
        for (_, id, epoch) in shown.into_iter().take(EPOCHS_SHOWN) {
            let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
            self.epochs.with_label_values(&[id.as_str()]).set(epoch);
        }
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        let vectors = [self.masterships.desc(), self.epochs.desc()];
        vectors
            .into_iter()
            .flatten()
            .chain(self.oldest.desc())
            .chain(self.behind.desc())
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.measure();
        let vectors = [self.masterships.collect(), self.epochs.collect()];
        vectors
            .into_iter()
            .flatten()
            .chain(self.oldest.collect())
            .chain(self.behind.collect())
            .collect()
    }
}
