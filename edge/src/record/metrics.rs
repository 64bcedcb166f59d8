//! Counters per exchange, and the handles that the origin side counts with.
//!
//! [`EdgeMetrics::finished`] is on the path of every hit: each counter is found by array indices, made when it is first needed and then never
//! looked up again. Labels are closed sets ([`super::words`]); a status beyond 599 is counted as `other`.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jet9_config::Side;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::words::{self, CacheWord, FORWARDS, PROTOCOLS, protocol_index};
use crate::exchange::Exchange;
use crate::message::Protocol;
use crate::response::fault::OriginFault;

/// Seconds. From a hit in memory to the longest that anybody waits for a page.
const DURATIONS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// Status codes 100 to 599, and one place for all others.
const CODES: usize = 501;

/// What is counted of every exchange with a client.
#[derive(Debug)]
pub struct EdgeMetrics {
    requests: IntCounterVec,
    request_handles: Box<[OnceLock<IntCounter>]>,
    forwards: IntCounterVec,
    forward_handles: Box<[OnceLock<IntCounter>]>,
    durations: [Histogram; CacheWord::ALL.len()],
    first_bytes: [Histogram; CacheWord::ALL.len()],
    response_bytes: IntCounter,
    connections: [IntGauge; PROTOCOLS.len()],
    /// Lines of the access log that did not fit its queue or could not be written.
    pub log_lines_dropped: IntCounter,
}

impl EdgeMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = counters(
            registry,
            "jet9_edge_requests_total",
            "Exchanges with clients that ended.",
            &["protocol", "code", "cache"],
        )?;
        let forwards = counters(
            registry,
            "jet9_cache_forwards_total",
            "Exchanges that the store could not answer, by why.",
            &["reason"],
        )?;
        let durations = by_cache(
            registry,
            "jet9_edge_request_duration_seconds",
            "From the first byte of a request to the last of its response.",
        )?;
        let first_bytes = by_cache(
            registry,
            "jet9_edge_first_byte_duration_seconds",
            "From the first byte of a request to the first of its response.",
        )?;
        let open = IntGaugeVec::new(
            Opts::new("jet9_edge_connections_open", "Open connections of clients."),
            &["protocol"],
        )?;
        registry.register(Box::new(open.clone()))?;
        Ok(Self {
            requests,
            request_handles: (0..PROTOCOLS.len() * CODES * CacheWord::ALL.len())
                .map(|_| OnceLock::new())
                .collect(),
            forwards,
            forward_handles: (0..FORWARDS).map(|_| OnceLock::new()).collect(),
            durations,
            first_bytes,
            response_bytes: counter(
                registry,
                "jet9_edge_response_bytes_total",
                "Bytes sent to clients, heads included.",
            )?,
            connections: PROTOCOLS.map(|word| open.with_label_values(&[word])),
            log_lines_dropped: counter(
                registry,
                "jet9_edge_log_lines_dropped_total",
                "Lines of the access log that did not fit its queue or could not be written.",
            )?,
        })
    }

    pub(super) fn finished(&self, exchange: &Exchange, now: Instant) {
        let cache = CacheWord::of(exchange);
        self.requests(exchange, cache).inc();
        if let Some((index, word)) = exchange.cache.as_ref().and_then(words::forward) {
            let forwards = || self.forwards.with_label_values(&[word]);
            self.forward_handles[index].get_or_init(forwards).inc();
        }
        self.response_bytes.inc_by(exchange.answered.bytes_out);
        let took = now.saturating_duration_since(exchange.started);
        self.durations[cache as usize].observe(took.as_secs_f64());
        if let Some(first_byte) = exchange.answered.first_byte {
            let took = first_byte.saturating_duration_since(exchange.started);
            self.first_bytes[cache as usize].observe(took.as_secs_f64());
        }
    }

    fn requests(&self, exchange: &Exchange, cache: CacheWord) -> &IntCounter {
        let protocol = protocol_index(exchange.asked.protocol);
        let status = exchange.answered.status;
        let code = usize::from(status)
            .checked_sub(100)
            .filter(|&code| code < CODES - 1)
            .unwrap_or(CODES - 1);
        let index = (protocol * CODES + code) * CacheWord::ALL.len() + cache as usize;
        self.request_handles[index].get_or_init(|| {
            let code = if code < CODES - 1 {
                status.to_string()
            } else {
                "other".into()
            };
            let labels = [PROTOCOLS[protocol], &code, cache.as_str()];
            self.requests.with_label_values(&labels)
        })
    }

    /// The gauge of open connections of a protocol; `None` before it is known.
    pub const fn connections_open(&self, protocol: Option<Protocol>) -> &IntGauge {
        &self.connections[protocol_index(protocol)]
    }
}

/// How an attempt at a side ended: the `outcome` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A head came.
    Answered,
    /// Nothing was sent: no connection.
    Connect,
    /// No head came, or not in time.
    NoAnswer,
    /// The content stopped or broke off.
    Incomplete,
    /// The answer breaks HTTP.
    Malformed,
    /// Its epoch ended.
    EpochEnded,
    /// The side's guard refused it.
    Refused,
}

impl Outcome {
    /// All outcomes, in the order of their indices.
    pub const ALL: [Self; 7] = [
        Self::Answered,
        Self::Connect,
        Self::NoAnswer,
        Self::Incomplete,
        Self::Malformed,
        Self::EpochEnded,
        Self::Refused,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Connect => "connect",
            Self::NoAnswer => "no-answer",
            Self::Incomplete => "incomplete",
            Self::Malformed => "malformed",
            Self::EpochEnded => "epoch-ended",
            Self::Refused => "refused",
        }
    }

    /// The outcome that a fault is.
    pub const fn of_fault(fault: OriginFault) -> Self {
        match fault {
            OriginFault::ConnectRefused | OriginFault::ConnectTimeout | OriginFault::Tls => {
                Self::Connect
            }
            OriginFault::Closed | OriginFault::FirstByteTimeout => Self::NoAnswer,
            OriginFault::BodyTimeout | OriginFault::BodyIncomplete => Self::Incomplete,
            OriginFault::Malformed(_) => Self::Malformed,
            OriginFault::EpochEnded => Self::EpochEnded,
            OriginFault::Refused(_) => Self::Refused,
        }
    }
}

/// What is counted on the way to the sides. Cloning shares the counters.
#[derive(Clone, Debug)]
pub struct OriginMetrics {
    requests: [[IntCounter; Outcome::ALL.len()]; 2],
    wrong_side: IntCounter,
    spared: IntCounter,
    breakers_open: IntGauge,
    masters_unreachable: IntGauge,
    fetches: IntGauge,
    held: IntGauge,
    hold_durations: Histogram,
}

impl OriginMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = counters(
            registry,
            "jet9_origin_requests_total",
            "Attempts at a side, by how they ended.",
            &["side", "outcome"],
        )?;
        let of_side = |side: Side| {
            Outcome::ALL.map(|o| requests.with_label_values(&[side.as_str(), o.as_str()]))
        };
        let hold_durations = Histogram::with_opts(
            HistogramOpts::new(
                "jet9_origin_hold_duration_seconds",
                "How long requests waited for a live master.",
            )
            .buckets(vec![
                0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0,
            ]),
        )?;
        registry.register(Box::new(hold_durations.clone()))?;
        let fetches = IntGauge::new(
            "jet9_origin_fetches_open",
            "Fetches for the store that are under way, until what they brought is stored.",
        )?;
        registry.register(Box::new(fetches.clone()))?;
        let held = IntGauge::new(
            "jet9_origin_held_requests",
            "Requests that wait for a live master now.",
        )?;
        registry.register(Box::new(held.clone()))?;
        let masters_unreachable = IntGauge::new(
            "jet9_cluster_masters_unreachable",
            "Live masters that this node gets no connection to.",
        )?;
        registry.register(Box::new(masters_unreachable.clone()))?;
        let breakers_open = IntGauge::new(
            "jet9_origin_breakers_open",
            "Sites whose live master fails, so that most requests are not sent to it.",
        )?;
        registry.register(Box::new(breakers_open.clone()))?;
        Ok(Self {
            requests: [of_side(Side::A), of_side(Side::B)],
            wrong_side: counter(
                registry,
                "jet9_origin_wrong_side_total",
                "Requests that went to a side under an epoch that was no longer the highest. Stays 0.",
            )?,
            spared: counter(
                registry,
                "jet9_origin_spared_total",
                "Requests that were not sent because the live master fails.",
            )?,
            breakers_open,
            masters_unreachable,
            fetches,
            held,
            hold_durations,
        })
    }

    /// Counts an attempt at a side.
    pub fn attempted(&self, side: Side, outcome: Outcome) {
        let index = match side {
            Side::A => 0,
            Side::B => 1,
        };
        self.requests[index][outcome as usize].inc();
    }

    /// Counts a request that went to a side under an epoch that was no longer the highest.
    pub fn wrong_side(&self) {
        self.wrong_side.inc();
    }

    /// Counts a request that was not sent because the live master fails.
    pub fn spared(&self) {
        self.spared.inc();
    }

    /// Says of how many sites the live master is spared.
    pub fn breakers_open(&self, count: i64) {
        self.breakers_open.set(count);
    }

    /// Says how many live masters take no connection of this node.
    pub fn masters_unreachable(&self, count: i64) {
        self.masters_unreachable.set(count);
    }

    /// Counts a fetch for the store as under way until the guard is dropped.
    pub fn fetch(&self) -> Fetching {
        self.fetches.inc();
        Fetching(self.fetches.clone())
    }

    /// Counts a request as held until the guard is dropped, and observes how long that was.
    pub fn hold(&self) -> Held {
        self.held.inc();
        Held {
            held: self.held.clone(),
            durations: self.hold_durations.clone(),
            since: crate::clock::monotonic(),
        }
    }
}

/// A fetch for the store that is under way.
#[derive(Debug)]
pub struct Fetching(IntGauge);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A request that is held.
#[derive(Debug)]
pub struct Held {
    held: IntGauge,
    durations: Histogram,
    since: Instant,
}

impl Held {
    /// How long so far.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.dec();
        self.durations.observe(self.since.elapsed().as_secs_f64());
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    register(registry, IntCounter::new(name, help)?)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn by_cache(
    registry: &Registry,
    name: &str,
    help: &str,
) -> Result<[Histogram; CacheWord::ALL.len()], prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(DURATIONS.to_vec());
    let vector = register(registry, HistogramVec::new(options, &["cache"])?)?;
    Ok(CacheWord::ALL.map(|word| vector.with_label_values(&[word.as_str()])))
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jet9_cache::Reason;
    use jet9_cache::semantics::status::ForwardReason;

    use super::*;
    use crate::clock;
    use crate::request::client::Client;

    #[test]
    fn forwards_are_counted_once_each_and_hits_are_not() {
        let registry = Registry::new();
        let metrics = EdgeMetrics::register(&registry).unwrap();
        let finish = |tell: &dyn Fn(&mut Exchange)| {
            let (now, start) = (clock::monotonic(), jet9_cache::Timestamp::default());
            let client = Arc::new(Client::edge());
            let mut exchange = Exchange::begin(client, "1".into(), now, start);
            tell(&mut exchange);
            metrics.finished(&exchange, now);
        };
        finish(&|_| {});
        finish(&|exchange| exchange.forwarded(ForwardReason::UriMiss, None));
        for _ in 0..2 {
            finish(&|exchange| {
                exchange.forwarded(ForwardReason::UriMiss, None);
                exchange.because(Some(Reason::PredictedUncacheable));
            });
        }
        let families = registry.gather();
        let name = "jet9_cache_forwards_total";
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.unwrap().get_metric();
        let mut counted: Vec<_> = metrics
            .iter()
            .map(|m| {
                (
                    m.get_label()[0].value().to_owned(),
                    m.get_counter().get_value(),
                )
            })
            .collect();
        counted.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [
            ("predicted-uncacheable".into(), 2.0),
            ("uri-miss".into(), 1.0),
        ];
        assert_eq!(counted, expected);
    }
}
