//! Every bound of the process, by name, with its default and its reason. `[limits]` of the node file.
//!
//! Made by [`crate::check::node`] and handed by the composition root to what keeps each bound. Whatever waits, queues or buffers takes its
//! bound from here; what is reached gets the status, the reason word or the counter that the field's comment names.
//! Does not enforce anything itself. Invariant: the relations between the fields hold (a request line fits its head; a cluster's share
//! of held requests fits the node's).

use std::time::Duration;

/// The bounds of one node. The relations between them are checked when the node file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's or response's head, its first line included. More is 431 (or 502). Default 64 KiB.
    pub head_bytes: u64,
    /// Field lines of a head. More is 431 (or 502). Default 200.
    pub head_fields: usize,
    /// Bytes of a request line. More is 414. Default 16 KiB: long enough for shops' filter URLs.
    pub request_line_bytes: u64,
    /// Bytes of one chunk-size line of a chunked body; extensions are refused whatever their length. Default 32.
    pub chunk_line_bytes: u64,
    /// The whole time for a request's head, from its first byte. Default 15 s.
    pub head_timeout: Duration,
    /// How long an idle connection stays open. Default 60 s.
    pub keep_alive: Duration,
    /// How long a client may take nothing of, or send nothing of, a message that is under way. Default 60 s.
    pub client_idle: Duration,
    /// The whole time for a TLS handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// Requests of one connection. Default 1000: memory is given back from time to time.
    pub requests_per_connection: u32,
    /// Open client connections of the process. More wait in the listen queue. Default 65536.
    pub connections: usize,
    /// Concurrent streams of one HTTP/2 connection. Default 128.
    pub http2_streams: u32,
    /// How long a stop waits for exchanges under way. Default 30 s.
    pub drain: Duration,
    /// How long a stop goes on accepting after readiness fell, so that routers withdraw the node first. Default 0.
    pub withdraw: Duration,
    /// Percent of clusters below which the node is not ready. Default 60.
    pub ready_low: usize,
    /// Percent of clusters from which on it is ready again; not below `ready_low`. Default 80.
    pub ready_high: usize,
    /// How long the share must be low until readiness falls. Default 2 s.
    pub ready_fall: Duration,
    /// How long it must be high until readiness rises. Default 10 s.
    pub ready_rise: Duration,
    /// How long a request waits for another one's answer (`collapse-timeout`). Default 10 s.
    pub collapse_wait: Duration,
    /// Requests held for a live master, over all sites. Default 10000.
    pub hold: usize,
    /// Requests held per cluster. Default 1000.
    pub hold_per_cluster: usize,
    /// What may be fetched that nobody reads: a fill without readers goes on when it has no more than this left, and a range that begins
    /// further behind is not waited for. Default 64 MiB.
    pub orphan_fill: u64,
    /// Bytes of one fill that are neither on disk nor given up; then the fetch waits. Default 8 MiB.
    pub fill_unflushed: u64,
    /// Open connections to one side of one cluster. More wait as if connecting. Default 512.
    pub side_connections: usize,
    /// Exchanges of one site with one side at once. Default 256.
    pub side_exchanges_per_site: usize,
    /// Access-log lines that wait for the writer; more are dropped and counted. Default 65536.
    pub log_queue: usize,
    /// Bytes of a body on the admin API. Default 1 MiB.
    pub admin_body: u64,
    /// Open connections of one listener of the control plane; more than `admin_calls`. Then one without a call gives way. Default 256.
    pub admin_connections: usize,
    /// Calls of the admin API that run at once, their content being there (503); the last quarter is for who has `admin`. Default 128.
    pub admin_calls: usize,
    /// Calls of one token without `admin`, running or still coming (429). Default 16.
    pub admin_calls_of_one: usize,
    /// Calls a second of one token without `admin`, in the long run, and ten times as many after a pause (429). Default 50.
    pub admin_rate: u32,
    /// The whole time for a head and for a body on the admin API, and how long one may take nothing of an answer. Default 15 s.
    pub admin_timeout: Duration,
    /// How often the reserve of each cluster is asked whether it is there. Default 10 s.
    pub probe_interval: Duration,
    /// Switches a minute, unplanned, after which requests are no longer held. Default 6.
    pub flap: u32,
    /// Bytes of one document in the watched directory (a site, a cluster's state); larger ones are refused unread. Default 1 MiB.
    pub document_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 10,
            head_fields: 200,
            request_line_bytes: 16 << 10,
            chunk_line_bytes: 32,
            head_timeout: Duration::from_secs(15),
            keep_alive: Duration::from_secs(60),
            client_idle: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            requests_per_connection: 1000,
            connections: 65536,
            http2_streams: 128,
            drain: Duration::from_secs(30),
            withdraw: Duration::ZERO,
            ready_low: 60,
            ready_high: 80,
            ready_fall: Duration::from_secs(2),
            ready_rise: Duration::from_secs(10),
            collapse_wait: Duration::from_secs(10),
            hold: 10_000,
            hold_per_cluster: 1000,
            orphan_fill: 64 << 20,
            fill_unflushed: 8 << 20,
            side_connections: 512,
            side_exchanges_per_site: 256,
            log_queue: 65536,
            admin_body: 1 << 20,
            admin_connections: 256,
            admin_calls: 128,
            admin_calls_of_one: 16,
            admin_rate: 50,
            admin_timeout: Duration::from_secs(15),
            probe_interval: Duration::from_secs(10),
            flap: 6,
            document_bytes: 1 << 20,
        }
    }
}
