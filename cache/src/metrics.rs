//! What the store counts about itself: names as in `docs/metrics.md`, every label value from a closed set.
//!
//! One [`Metrics`] per store, made by `store` when it opens and handed down by reference; the registry belongs to the edge. Counting
//! never fails and never waits. Knows nothing of sites, URLs or clients: no such label exists here.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// The counters and gauges of one store.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `jet9_cache_lookups_total{result}`.
    lookups: IntCounterVec,
    /// Its results, each found once and for all: the hit path looks nothing up.
    pub(crate) hits_memory: IntCounter,
    pub(crate) hits_disk: IntCounter,
    pub(crate) misses: IntCounter,
    pub(crate) vary_misses: IntCounter,
    /// `jet9_cache_collapsed_requests_total`.
    pub(crate) collapsed_requests: IntCounter,
    /// `jet9_cache_stored_bytes{tier}`.
    pub(crate) stored_bytes: IntGaugeVec,
    /// `jet9_cache_stored_responses{tier}`.
    pub(crate) stored_responses: IntGaugeVec,
    /// `jet9_cache_evictions_total{tier,reason}`.
    pub(crate) evictions: IntCounterVec,
    /// `jet9_cache_disk_read_duration_seconds`.
    pub(crate) disk_read_duration: Histogram,
    /// `jet9_cache_disk_write_duration_seconds`.
    pub(crate) disk_write_duration: Histogram,
    /// `jet9_cache_disk_sync_duration_seconds`.
    pub(crate) disk_sync_duration: Histogram,
    /// `jet9_cache_disk_refused_total{operation,reason}`.
    pub(crate) disk_refused: IntCounterVec,
    /// `jet9_cache_volume_files{backend,mode}`.
    pub(crate) volume_files: IntGaugeVec,
    /// `jet9_cache_disk_errors_total{operation}`.
    pub(crate) disk_errors: IntCounterVec,
    /// `jet9_cache_volumes{state}`.
    pub(crate) volumes: IntGaugeVec,
    /// `jet9_cache_checksum_errors_total`.
    pub(crate) checksum_errors: IntCounter,
    /// `jet9_cache_purges_total{kind,mode}`.
    pub(crate) purges: IntCounterVec,
    /// `jet9_cache_purge_applied_sequence`.
    pub(crate) purge_applied_sequence: IntGauge,
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// When one of the names is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::unregistered()?;
        registry.register(Box::new(metrics.lookups.clone()))?;
        registry.register(Box::new(metrics.collapsed_requests.clone()))?;
        registry.register(Box::new(metrics.stored_bytes.clone()))?;
        registry.register(Box::new(metrics.stored_responses.clone()))?;
        registry.register(Box::new(metrics.evictions.clone()))?;
        registry.register(Box::new(metrics.disk_read_duration.clone()))?;
        registry.register(Box::new(metrics.disk_write_duration.clone()))?;
        registry.register(Box::new(metrics.disk_sync_duration.clone()))?;
        registry.register(Box::new(metrics.disk_refused.clone()))?;
        registry.register(Box::new(metrics.volume_files.clone()))?;
        registry.register(Box::new(metrics.disk_errors.clone()))?;
        registry.register(Box::new(metrics.volumes.clone()))?;
        registry.register(Box::new(metrics.checksum_errors.clone()))?;
        registry.register(Box::new(metrics.purges.clone()))?;
        registry.register(Box::new(metrics.purge_applied_sequence.clone()))?;
        Ok(metrics)
    }

    /// The same metrics, seen by no registry.
    ///
    /// # Errors
    /// Never, in truth: the names are constants.
    pub(crate) fn unregistered() -> Result<Self, prometheus::Error> {
        let lookups = counters(
            "jet9_cache_lookups_total",
            "Look-ups in the store by what they found.",
            &["result"],
        )?;
        Ok(Self {
            hits_memory: lookups.with_label_values(&["hit_memory"]),
            hits_disk: lookups.with_label_values(&["hit_disk"]),
            misses: lookups.with_label_values(&["miss"]),
            vary_misses: lookups.with_label_values(&["vary_miss"]),
            lookups,
            collapsed_requests: IntCounter::new(
                "jet9_cache_collapsed_requests_total",
                "Requests that joined the fetch of another request.",
            )?,
            stored_bytes: gauges(
                "jet9_cache_stored_bytes",
                "Bytes that stored responses take, overhead included.",
            )?,
            stored_responses: gauges(
                "jet9_cache_stored_responses",
                "Stored responses; in memory, keys with all their variants.",
            )?,
            evictions: counters(
                "jet9_cache_evictions_total",
                "Stored responses given up by why.",
                &["tier", "reason"],
            )?,
            disk_read_duration: durations(
                "jet9_cache_disk_read_duration_seconds",
                "How long one read from disk took, waiting to be begun included.",
            )?,
            disk_write_duration: durations(
                "jet9_cache_disk_write_duration_seconds",
                "How long one write to disk took, waiting to be begun included.",
            )?,
            disk_sync_duration: durations(
                "jet9_cache_disk_sync_duration_seconds",
                "How long it took to make what was written durable.",
            )?,
            disk_refused: counters(
                "jet9_cache_disk_refused_total",
                "Operations on a volume that were not begun, or not awaited to their end.",
                &["operation", "reason"],
            )?,
            volume_files: labelled_gauges(
                "jet9_cache_volume_files",
                "Open volumes by what carries out their input and output, and whether the page cache takes part.",
                &["backend", "mode"],
            )?,
            disk_errors: counters(
                "jet9_cache_disk_errors_total",
                "Operations on a volume that failed.",
                &["operation"],
            )?,
            volumes: IntGaugeVec::new(
                Opts::new("jet9_cache_volumes", "Volumes by whether they serve."),
                &["state"],
            )?,
            checksum_errors: IntCounter::new(
                "jet9_cache_checksum_errors_total",
                "Records that were not as written; each was a miss.",
            )?,
            purges: counters(
                "jet9_cache_purges_total",
                "Things purged.",
                &["kind", "mode"],
            )?,
            purge_applied_sequence: IntGauge::new(
                "jet9_cache_purge_applied_sequence",
                "The journal's sequence number of the last thing purged.",
            )?,
        })
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn gauges(name: &str, help: &str) -> Result<IntGaugeVec, prometheus::Error> {
    labelled_gauges(name, help, &["tier"])
}

fn labelled_gauges(
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

fn durations(name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let buckets = [
        0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0,
    ];
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
}
