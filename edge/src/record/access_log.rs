//! The access log: one line per exchange, from [`Exchange`] alone.
//!
//! Formats into one buffer without intermediate strings. Fields are those of docs/configuration.md, in this order; what is not known is left out. Text comes from clients: it is escaped so that a line is one line and valid JSON, whatever they sent.
//! Does not write: [`super::writer`] does.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::words::CacheWord;
use crate::exchange::{Attempt, Exchange};
use crate::message::Protocol;

mod text;

pub(super) use text::{common_log_time, rfc3339};
use text::{escape_combined, escape_json};

/// Bytes that a line usually fits in.
const LINE_CAPACITY: usize = 1024;

/// The node's own fields, escaped once.
#[derive(Debug)]
pub(super) struct Node {
    /// `"node":"…","zone":"…"`.
    json: Vec<u8>,
}

impl Node {
    pub(super) fn new(id: &str, zone: &str) -> Self {
        let mut line = Object::continued(Vec::new());
        line.text("node", id);
        line.text("zone", zone);
        Self { json: line.0 }
    }
}

/// The form of a line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    Json,
    Combined,
}

impl Format {
    /// The line of an exchange that ended at `now`, its line feed included.
    pub(super) fn line(self, node: &Node, exchange: &Exchange, now: Instant) -> Vec<u8> {
        match self {
            Self::Json => json(node, exchange, now),
            Self::Combined => combined(exchange),
        }
    }
}

fn json(node: &Node, exchange: &Exchange, now: Instant) -> Vec<u8> {
    let mut line = Object::begin();
    line.bare("ts", |out| {
        out.push(b'"');
        rfc3339(out, exchange.started_wall.unix_millis());
        out.push(b'"');
    });
    line.0.push(b',');
    line.0.extend_from_slice(&node.json);
    asked(&mut line, exchange);
    cached(&mut line, exchange);
    fetched(&mut line, exchange);
    timed(&mut line, exchange, now);
    line.optional("error", exchange.error);
    line.nonempty("user_agent", &exchange.asked.user_agent);
    line.nonempty("referer", &exchange.asked.referer);
    line.end()
}

/// Who asked what, and what was answered.
fn asked(line: &mut Object, exchange: &Exchange) {
    let asked = &exchange.asked;
    line.optional(
        "site",
        exchange.site.as_ref().map(|site| site.site.id.as_str()),
    );
    line.text("request_id", &exchange.request_id);
    if let Some(address) = exchange.client_ip() {
        line.bare("client_ip", |out| print(out, format_args!("\"{address}\"")));
    }
    line.optional("protocol", asked.protocol.map(Protocol::as_str));
    line.optional(
        "tls_version",
        exchange.client.tls.as_ref().map(|tls| tls.version),
    );
    line.nonempty("method", &asked.method);
    line.nonempty("scheme", asked.scheme);
    line.nonempty("host", &asked.host);
    line.nonempty("path", &asked.path);
    line.nonempty("query", &asked.query);
    line.number("status", Some(exchange.answered.status.into()));
    line.number("bytes_in", Some(exchange.answered.bytes_in));
    line.number("bytes_out", Some(exchange.answered.bytes_out));
}

/// What the store had to do with it.
fn cached(line: &mut Object, exchange: &Exchange) {
    line.text("cache", CacheWord::of(exchange).as_str());
    line.optional(
        "cache_reason",
        exchange.reason.map(jet9_cache::Reason::as_str),
    );
    if let Some(ttl) = exchange.cache.and_then(|status| status.ttl) {
        line.bare("cache_ttl", |out| print(out, format_args!("{ttl}")));
    }
    if let Some(age) = exchange.age {
        line.bare("cache_age", |out| {
            print(out, format_args!("{}", age.as_secs()))
        });
    }
    line.optional("cache_tier", exchange.tier.map(tier_word));
    line.bare("collapsed", |out| {
        print(out, format_args!("{}", exchange.collapsed))
    });
}

/// What was asked of the sides: the last attempt, and how many there were.
fn fetched(line: &mut Object, exchange: &Exchange) {
    let cluster = exchange
        .site
        .as_ref()
        .map(|site| site.site.origin.cluster.as_str());
    let last = exchange.attempts.last();
    line.optional("cluster", cluster);
    line.optional("side", last.map(|attempt| attempt.side.as_str()));
    line.number("epoch", last.map(|attempt| attempt.epoch.0));
    line.number(
        "origin_status",
        last.and_then(|attempt| attempt.status).map(u64::from),
    );
    line.number("attempts", Some(exchange.attempts.len() as u64));
    let parts = exchange
        .parts
        .as_ref()
        .map(|parts| parts.load(Ordering::Relaxed));
    line.number("parts", parts.filter(|parts| *parts > 0).map(u64::from));
}

/// How long it took, in milliseconds with three decimals where it is measured by us.
fn timed(line: &mut Object, exchange: &Exchange, now: Instant) {
    let started = exchange.started;
    let since = |then: Instant| then.saturating_duration_since(started);
    line.millis("hold_ms", Some(exchange.held));
    line.millis("origin_ms", origin_time(&exchange.attempts));
    line.millis("first_byte_ms", exchange.answered.first_byte.map(since));
    line.millis("total_ms", Some(since(now)));
}

fn origin_time(attempts: &[Attempt]) -> Option<Duration> {
    (!attempts.is_empty()).then(|| attempts.iter().map(|attempt| attempt.took).sum())
}

const fn tier_word(tier: jet9_cache::store::Tier) -> &'static str {
    match tier {
        jet9_cache::store::Tier::Memory => "memory",
        jet9_cache::store::Tier::Disk => "disk",
    }
}

/// The combined format of Apache and nginx. Bytes are those of the whole response: the edge does not count heads apart.
fn combined(exchange: &Exchange) -> Vec<u8> {
    let mut out = Vec::with_capacity(LINE_CAPACITY);
    let (asked, answered) = (&exchange.asked, &exchange.answered);
    match exchange.client_ip() {
        Some(address) => print(&mut out, format_args!("{address}")),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" - - [");
    common_log_time(&mut out, exchange.started_wall.unix_millis());
    out.extend_from_slice(b"] \"");
    if asked.method.is_empty() {
        out.push(b'-');
    } else {
        request_line(&mut out, exchange);
    }
    print(
        &mut out,
        format_args!("\" {} {} ", answered.status, answered.bytes_out),
    );
    quoted_or_dash(&mut out, &asked.referer);
    out.push(b' ');
    quoted_or_dash(&mut out, &asked.user_agent);
    out.push(b'\n');
    out
}

fn request_line(out: &mut Vec<u8>, exchange: &Exchange) {
    let asked = &exchange.asked;
    escape_combined(out, asked.method.as_bytes());
    out.push(b' ');
    escape_combined(out, asked.path.as_bytes());
    if !asked.query.is_empty() {
        out.push(b'?');
        escape_combined(out, asked.query.as_bytes());
    }
    out.extend_from_slice(match asked.protocol {
        Some(Protocol::Http10) => b" HTTP/1.0",
        Some(Protocol::Http11) => b" HTTP/1.1",
        Some(Protocol::Http2) => b" HTTP/2.0",
        None => b"",
    });
}

fn quoted_or_dash(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.is_empty() {
        out.push(b'-');
    }
    escape_combined(out, text.as_bytes());
    out.push(b'"');
}

/// A JSON object that is written member by member. Names are ours and need no escape.
struct Object(Vec<u8>);

impl Object {
    fn begin() -> Self {
        let mut out = Vec::with_capacity(LINE_CAPACITY);
        out.push(b'{');
        Self(out)
    }

    /// Members only, to be put into another object.
    const fn continued(out: Vec<u8>) -> Self {
        Self(out)
    }

    fn bare(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.0.last(), None | Some(b'{')) {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        value(&mut self.0);
    }

    fn text(&mut self, name: &str, value: &str) {
        self.bare(name, |out| {
            out.push(b'"');
            escape_json(out, value.as_bytes());
            out.push(b'"');
        });
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// Text that is empty when it was not there.
    fn nonempty(&mut self, name: &str, value: &str) {
        self.optional(name, Some(value).filter(|value| !value.is_empty()));
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.bare(name, |out| print(out, format_args!("{value}")));
        }
    }

    fn millis(&mut self, name: &str, value: Option<Duration>) {
        if let Some(value) = value {
            let micros = value.as_micros();
            let (whole, rest) = (micros / 1000, micros % 1000);
            self.bare(name, |out| print(out, format_args!("{whole}.{rest:03}")));
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"}\n");
        self.0
    }
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(text);
}

/// Takes an even share of lines: each line adds the share, and one is taken whenever that reaches a whole.
#[derive(Debug)]
pub(super) struct Sampler {
    /// The share in 2⁻³²; 2³² is all.
    step: u64,
    sum: AtomicU64,
}

impl Sampler {
    const WHOLE: u64 = 1 << 32;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the share was clamped to 0..=1"
    )]
    pub(super) fn new(share: f64) -> Self {
        Self {
            step: (share.clamp(0.0, 1.0) * Self::WHOLE as f64) as u64,
            sum: AtomicU64::new(0),
        }
    }

    pub(super) fn takes(&self) -> bool {
        if self.step >= Self::WHOLE {
            return true;
        }
        let before = self.sum.fetch_add(self.step, Ordering::Relaxed);
        before / Self::WHOLE != before.wrapping_add(self.step) / Self::WHOLE
    }
}

#[cfg(test)]
mod tests;
