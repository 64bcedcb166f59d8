//! `[limits]` of the node file: each bound within what makes sense, and their relations.
//!
//! Called by the reader of the node file. The ranges refuse slips (a limit of zero, seconds for milliseconds), they are no advice.
//! Knows nothing of who keeps a bound. Invariant: the names of the keys are the names of [`Limits`]' fields.

use std::time::Duration;

use crate::limits::Limits;
use crate::reader::{Item, Table};
use crate::units::display_size;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

pub(super) fn read(table: &mut Table<'_>) -> Limits {
    let problems = table.problems();
    let limits = fields(table);
    // A field that is wrong has its default here: what that one contradicts would be a second, false problem.
    if table.problems() == problems {
        relations(table, &limits);
    }
    limits
}

fn fields(table: &mut Table<'_>) -> Limits {
    let default = Limits::default();
    let mut size =
        |name, default, min, max| table.value(name, default, |item| item.size(min..=max));
    let head_bytes = size("head_bytes", default.head_bytes, KIB, MIB);
    let request_line_bytes = size("request_line_bytes", default.request_line_bytes, 256, MIB);
    // 16 digits are a chunk of 2^64 − 1 bytes, and CR LF.
    let chunk_line_bytes = size("chunk_line_bytes", default.chunk_line_bytes, 18, 4 * KIB);
    let orphan_fill = size("orphan_fill", default.orphan_fill, 0, GIB);
    let fill_unflushed = size("fill_unflushed", default.fill_unflushed, 64 * KIB, GIB);
    let admin_body = size("admin_body", default.admin_body, KIB, GIB);
    let document_bytes = size("document_bytes", default.document_bytes, KIB, GIB);

    let mut time =
        |name, default, min, max| table.value(name, default, |item| item.duration(min..=max));
    let hour = Duration::from_secs(3600);
    let head_timeout = time("head_timeout", default.head_timeout, MOMENT, hour);
    let keep_alive = time("keep_alive", default.keep_alive, MOMENT, hour);
    let client_idle = time("client_idle", default.client_idle, MOMENT, hour);
    let handshake_timeout = time("handshake_timeout", default.handshake_timeout, MOMENT, hour);
    let drain = time("drain", default.drain, Duration::ZERO, hour);
    let probe_interval = time("probe_interval", default.probe_interval, MOMENT, hour);
    let collapse_wait = time("collapse_wait", default.collapse_wait, MOMENT, FIVE_MINUTES);

    let mut count = |name, default, max| table.value(name, default, |item| item.integer(1..=max));
    Limits {
        head_bytes,
        head_fields: count("head_fields", default.head_fields, 10_000),
        request_line_bytes,
        chunk_line_bytes,
        head_timeout,
        keep_alive,
        client_idle,
        handshake_timeout,
        drain,
        probe_interval,
        collapse_wait,
        connections: count("connections", default.connections, 10_000_000),
        hold: count("hold", default.hold, 10_000_000),
        hold_per_cluster: count("hold_per_cluster", default.hold_per_cluster, 10_000_000),
        orphan_fill,
        fill_unflushed,
        side_connections: count("side_connections", default.side_connections, 1_000_000),
        side_exchanges_per_site: count(
            "side_exchanges_per_site",
            default.side_exchanges_per_site,
            1_000_000,
        ),
        log_queue: count("log_queue", default.log_queue, 10_000_000),
        admin_body,
        document_bytes,
        ..small_counts(table)
    }
}

fn readiness(table: &mut Table<'_>) -> Limits {
    let default = Limits::default();
    let mut time =
        |name, default, max| table.value(name, default, |item| item.duration(Duration::ZERO..=max));
    let withdraw = time("withdraw", default.withdraw, FIVE_MINUTES);
    let ready_fall = time("ready_fall", default.ready_fall, FIVE_MINUTES);
    let ready_rise = time("ready_rise", default.ready_rise, FIVE_MINUTES);
    let mut percent = |name, default| table.value(name, default, |item| item.integer(0..=100));
    Limits {
        withdraw,
        ready_low: percent("ready_low", default.ready_low),
        ready_high: percent("ready_high", default.ready_high),
        ready_fall,
        ready_rise,
        ..default
    }
}

fn small_counts(table: &mut Table<'_>) -> Limits {
    let default = Limits::default();
    let mut count = |name, default, max| table.value(name, default, |item| item.integer(1..=max));
    Limits {
        requests_per_connection: count(
            "requests_per_connection",
            default.requests_per_connection,
            u32::MAX,
        ),
        http2_streams: count("http2_streams", default.http2_streams, 10_000),
        flap: count("flap", default.flap, 1_000),
        ..admin(table)
    }
}

fn admin(table: &mut Table<'_>) -> Limits {
    let default = Limits::default();
    let hour = Duration::from_secs(3600);
    let mut count = |name, default, max| table.value(name, default, |item| item.integer(1..=max));
    let admin_connections = count("admin_connections", default.admin_connections, 65_536);
    let admin_calls = count("admin_calls", default.admin_calls, 16_384);
    let admin_calls_of_one = count("admin_calls_of_one", default.admin_calls_of_one, 16_384);
    let rate = |item: Item<'_>| item.integer(1..=1_000_000);
    let timeout = |item: Item<'_>| item.duration(MOMENT..=hour);
    Limits {
        admin_connections,
        admin_calls,
        admin_calls_of_one,
        admin_rate: table.value("admin_rate", default.admin_rate, rate),
        admin_timeout: table.value("admin_timeout", default.admin_timeout, timeout),
        ..readiness(table)
    }
}

fn relations(table: &Table<'_>, limits: &Limits) {
    if limits.request_line_bytes > limits.head_bytes {
        let head = display_size(limits.head_bytes);
        let message =
            format!("is larger than limits.head_bytes ({head}), which counts the request line too");
        table.complain("request_line_bytes", message);
    }
    if limits.ready_high < limits.ready_low {
        let message = format!(
            "is less than limits.ready_low ({}): in between, readiness would rise and fall for ever",
            limits.ready_low
        );
        table.complain("ready_high", message);
    }
    if limits.admin_connections <= limits.admin_calls {
        let message = format!(
            "is not more than limits.admin_calls ({}): a connection without a call must be there to give way",
            limits.admin_calls
        );
        table.complain("admin_connections", message);
    }
    if limits.admin_calls_of_one > limits.admin_calls {
        let message = format!("is more than limits.admin_calls ({})", limits.admin_calls);
        table.complain("admin_calls_of_one", message);
    }
    if limits.hold_per_cluster > limits.hold {
        let message = format!(
            "is more than limits.hold ({}), the sum over all clusters",
            limits.hold
        );
        table.complain("hold_per_cluster", message);
    }
}

const MOMENT: Duration = Duration::from_millis(10);
const FIVE_MINUTES: Duration = Duration::from_secs(300);
