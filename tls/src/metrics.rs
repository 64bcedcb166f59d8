//! What the operator sees of TLS: handshakes by their end, and the certificate that ends first.
//!
//! Registered once by `edge` on its registry; counted by `edge::framework::tls` at the end of each handshake, and set by whoever puts a
//! new [`Store`] in force. All labels are closed enums: no label names a certificate, as there are tens of thousands. The one date
//! is the earliest among the certificates in use; which one it is, the list of certificates tells.

use std::io;
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use rustls::{HandshakeKind, ProtocolVersion};

use crate::chain::{UnixSeconds, Validity};
use crate::error::TlsError;
use crate::store::{Entry, Store};

/// From a resumption on the same host to a client behind a bad mobile link, in seconds.
const DURATION_BUCKETS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, with a certificate.
    Full,
    /// Done, from a ticket or a session.
    Resumed,
    /// Refused: no certificate for the name.
    UnknownName,
    /// Refused: no version, suite or protocol in common.
    NothingInCommon,
    /// The client sent an alert: most often it does not trust the certificate.
    RefusedByClient,
    /// The client spoke no TLS, or broke it.
    Malformed,
    /// The client left.
    Closed,
    /// The deadline passed.
    Timeout,
    /// An error on our side.
    Internal,
}

impl Outcome {
    /// Every outcome, in order of the enum.
    pub const ALL: [Self; 9] = [
        Self::Full,
        Self::Resumed,
        Self::UnknownName,
        Self::NothingInCommon,
        Self::RefusedByClient,
        Self::Malformed,
        Self::Closed,
        Self::Timeout,
        Self::Internal,
    ];

    /// The word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::UnknownName => "unknown-name",
            Self::NothingInCommon => "nothing-in-common",
            Self::RefusedByClient => "refused-by-client",
            Self::Malformed => "malformed",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }

    /// The outcome of a handshake that was done.
    pub const fn done(kind: Option<HandshakeKind>) -> Self {
        match kind {
            Some(HandshakeKind::Resumed) => Self::Resumed,
            _ => Self::Full,
        }
    }

    /// The outcome of a handshake that failed with `error`, as the stream gives it.
    pub fn failed(error: &io::Error) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match (inner, error.kind()) {
            (Some(error), _) => Self::failed_tls(error),
            (None, io::ErrorKind::TimedOut) => Self::Timeout,
            (None, _) => Self::Closed,
        }
    }

    fn failed_tls(error: &rustls::Error) -> Self {
        use rustls::Error;
        match error {
            // rustls' only way to say that the resolver had nothing.
            Error::General(text) if text.contains("no server certificate chain resolved") => {
                Self::UnknownName
            }
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::NothingInCommon,
            Error::AlertReceived(_) => Self::RefusedByClient,
            Error::General(_)
            | Error::FailedToGetRandomBytes
            | Error::FailedToGetCurrentTime
            | Error::EncryptError => Self::Internal,
            _ => Self::Malformed,
        }
    }
}

/// The metrics of TLS.
#[derive(Clone, Debug)]
pub struct Metrics {
    handshakes: IntCounterVec,
    duration: Histogram,
    certificates: IntGaugeVec,
    not_after: IntGauge,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a metric of the same name is there already.
    pub fn register(registry: &Registry) -> Result<Self, TlsError> {
        let metrics = Self {
            handshakes: IntCounterVec::new(
                Opts::new(
                    "jet9_tls_handshakes_total",
                    "TLS handshakes ended, by version and outcome.",
                ),
                &["version", "outcome"],
            )?,
            duration: Histogram::with_opts(
                HistogramOpts::new(
                    "jet9_tls_handshake_duration_seconds",
                    "Time that completed TLS handshakes took, in seconds.",
                )
                .buckets(DURATION_BUCKETS.to_vec()),
            )?,
            certificates: IntGaugeVec::new(
                Opts::new(
                    "jet9_tls_certificates",
                    "Certificates in use, by state when they were last loaded.",
                ),
                &["state"],
            )?,
            not_after: IntGauge::new(
                "jet9_tls_certificate_not_after_timestamp_seconds",
                "When the first of the certificates in use ends, in Unix seconds; 0 without certificates.",
            )?,
        };
        registry.register(Box::new(metrics.handshakes.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.certificates.clone()))?;
        registry.register(Box::new(metrics.not_after.clone()))?;
        Ok(metrics)
    }

    /// Counts a handshake that was done and took `elapsed`.
    pub fn done(
        &self,
        version: Option<ProtocolVersion>,
        kind: Option<HandshakeKind>,
        elapsed: Duration,
    ) {
        self.count(version, Outcome::done(kind));
        self.duration.observe(elapsed.as_secs_f64());
    }

    /// Counts a handshake that failed; the version is known only if it was agreed before.
    pub fn failed(&self, version: Option<ProtocolVersion>, outcome: Outcome) {
        self.count(version, outcome);
    }

    fn count(&self, version: Option<ProtocolVersion>, outcome: Outcome) {
        self.handshakes
            .with_label_values(&[version_word(version), outcome.as_str()])
            .inc();
    }

    /// Shows the certificates of a snapshot that comes into force at `now`, and how many files could not be used for it.
    pub fn show(&self, store: &Store, unusable: usize, now: UnixSeconds) {
        let entries = store.in_use();
        let set = |word, count| {
            let shown = i64::try_from(count).unwrap_or(i64::MAX);
            self.certificates.with_label_values(&[word]).set(shown);
        };
        set("unusable", unusable);
        for (state, word) in [
            (Validity::Valid, "valid"),
            (Validity::NotYet, "not-yet"),
            (Validity::Expired, "expired"),
        ] {
            let is_it = |entry: &&&Entry| entry.chain().validity(now) == state;
            set(word, entries.iter().filter(is_it).count());
        }
        let earliest = entries
            .iter()
            .map(|entry| entry.chain().not_after().0)
            .min();
        self.not_after.set(earliest.unwrap_or(0));
    }
}

/// `1.2`, `1.3`, or `none` where none was agreed.
pub const fn version_word(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tests::Issued;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    #[test]
    fn the_earliest_end_among_certificates_in_use_is_shown() {
        let metrics = Metrics::register(&Registry::new()).expect("registered");
        let chain = |name: &str, until: i64| {
            (
                name.to_owned(),
                Issued::for_names(&[name]).until(NOW.0 + until).chain(),
            )
        };
        metrics.show(
            &Store::build(
                [
                    chain("a.example", 500),
                    chain("b.example", 300),
                    chain("c.example", -5),
                ],
                None,
                NOW,
            ),
            1,
            NOW,
        );
        assert_eq!(metrics.not_after.get(), NOW.0 - 5);
        assert_eq!(metrics.certificates.with_label_values(&["valid"]).get(), 2);
        assert_eq!(
            metrics.certificates.with_label_values(&["expired"]).get(),
            1
        );
        metrics.show(&Store::default(), 0, NOW);
        assert_eq!(metrics.not_after.get(), 0);
        assert_eq!(metrics.certificates.with_label_values(&["valid"]).get(), 0);
    }

    #[test]
    fn handshakes_are_counted_by_version_and_outcome() {
        let metrics = Metrics::register(&Registry::new()).expect("registered");
        metrics.done(
            Some(ProtocolVersion::TLSv1_3),
            Some(HandshakeKind::Resumed),
            Duration::from_millis(3),
        );
        metrics.failed(None, Outcome::Timeout);
        assert_eq!(
            metrics
                .handshakes
                .with_label_values(&["1.3", "resumed"])
                .get(),
            1
        );
        assert_eq!(
            metrics
                .handshakes
                .with_label_values(&["none", "timeout"])
                .get(),
            1
        );
        assert_eq!(metrics.duration.get_sample_count(), 1);
    }

    #[test]
    fn registering_twice_on_one_registry_is_an_error_and_no_panic() {
        let registry = Registry::new();
        Metrics::register(&registry).expect("registered");
        assert!(matches!(
            Metrics::register(&registry),
            Err(TlsError::Metrics(_))
        ));
    }

    #[test]
    fn each_outcome_has_its_own_word() {
        let words: std::collections::HashSet<_> = Outcome::ALL
            .iter()
            .map(|outcome| outcome.as_str())
            .collect();
        assert_eq!(words.len(), Outcome::ALL.len());
    }
}
