//! What remains of an exchange: one line in the access log, some counters.
//!
//! Called once at the end of every exchange by whoever carried it. Reads the [`Exchange`] and nothing else, so that log and metrics cannot
//! disagree. Never blocks: the log has a bounded queue, and every metric's handle was resolved before it is needed.

use std::io;
use std::time::Instant;

use jet9_config::node::{AccessLogFormat, Log};
use prometheus::Registry;

use crate::clock;
use crate::exchange::Exchange;

pub mod access_log;
pub mod metrics;
pub mod words;
mod writer;

use access_log::{Node, Sampler};
use metrics::{EdgeMetrics, OriginMetrics};
use writer::LogWriter;

/// Takes finished exchanges. Dropping it writes what is queued.
#[derive(Debug)]
pub struct Recorder {
    node: Node,
    log: Option<AccessLog>,
    metrics: EdgeMetrics,
    origin: OriginMetrics,
}

#[derive(Debug)]
struct AccessLog {
    format: access_log::Format,
    sampler: Sampler,
    writer: LogWriter,
}

/// The recorder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log file, or the thread that writes it.
    #[error("log.access.path {path}: {source}")]
    Log {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The metrics cannot be registered: a name is taken.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

impl Recorder {
    /// A recorder for the node of this id and zone. `queue` is `limits.log_queue`: lines that wait for the writer.
    ///
    /// # Errors
    /// When the log file cannot be opened.
    pub fn open(
        id: &str,
        zone: &str,
        log: &Log,
        queue: usize,
        registry: &Registry,
    ) -> Result<Self, OpenError> {
        let metrics = EdgeMetrics::register(registry)?;
        let format = match log.format {
            AccessLogFormat::Json => Some(access_log::Format::Json),
            AccessLogFormat::Combined => Some(access_log::Format::Combined),
            AccessLogFormat::Off => None,
        };
        let open = |format| -> Result<AccessLog, OpenError> {
            let dropped = metrics.log_lines_dropped.clone();
            let writer = LogWriter::open(log.path.clone(), queue, dropped);
            let writer = writer.map_err(|source| OpenError::Log {
                path: log
                    .path
                    .as_deref()
                    .map_or_else(|| "-".into(), |p| p.display().to_string()),
                source,
            })?;
            Ok(AccessLog {
                format,
                sampler: Sampler::new(log.sample),
                writer,
            })
        };
        Ok(Self {
            node: Node::new(id, zone),
            log: format.map(open).transpose()?,
            metrics,
            origin: OriginMetrics::register(registry)?,
        })
    }

    /// Records a finished exchange. Never blocks: what does not fit the queue of the log is counted and dropped.
    pub fn finished(&self, exchange: &Exchange) {
        self.finished_at(exchange, clock::monotonic());
    }

    fn finished_at(&self, exchange: &Exchange, now: Instant) {
        self.metrics.finished(exchange, now);
        if let Some(log) = &self.log
            && log.sampler.takes()
        {
            log.writer.add(&log.format.line(&self.node, exchange, now));
        }
    }

    /// The handles of what happens on the way to the sides.
    pub const fn origin(&self) -> &OriginMetrics {
        &self.origin
    }

    /// The handles of what happens on the way to clients.
    pub const fn edge(&self) -> &EdgeMetrics {
        &self.metrics
    }

    /// Opens the log file anew before the next line is written: the old one was moved away. Standard output stays.
    pub fn reopen(&self) {
        if let Some(log) = &self.log {
            log.writer.reopen();
        }
    }

    /// Waits until all lines that were added before are written. Blocks; for the stop, and for tests.
    pub fn flush(&self) {
        if let Some(log) = &self.log {
            log.writer.flush();
        }
    }
}
