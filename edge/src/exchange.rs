//! One request and its facts, added in order, each once.
//!
//! For observing, not for deciding: decisions pass by return values; `record` reads this and nothing else, so the log and the metrics
//! cannot disagree with what was done.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use http::StatusCode;
use jet9_cache::Reason;
use jet9_cache::semantics::status::{CacheStatus, ForwardReason};
use jet9_cache::store::Tier;
use jet9_cluster::Epoch;
use jet9_config::Side;

use crate::control::sites::SiteRuntime;
use crate::message::{Protocol, Request};
use crate::request::client::Client;
use crate::request::lookup::Stored;

/// The facts of one exchange.
#[derive(Debug)]
pub struct Exchange {
    /// Who asks; `Client::Edge` for a fetch of our own.
    pub client: Arc<Client>,
    /// Unique to this node and process start; also sent to the side as `X-Request-ID`.
    pub request_id: String,
    /// When the first byte of the head arrived.
    pub started: Instant,
    /// The same on the wall clock.
    pub started_wall: jet9_cache::Timestamp,
    /// What was asked, for the log.
    pub asked: Asked,
    /// The site that it belongs to, once found.
    pub site: Option<Arc<SiteRuntime>>,
    /// What became of it in the cache.
    pub cache: Option<CacheStatus>,
    /// Why, where there is a reason.
    pub reason: Option<Reason>,
    /// The current age of a hit.
    pub age: Option<std::time::Duration>,
    /// The tier of a hit.
    pub tier: Option<Tier>,
    /// Whether it was served by another request's fetch.
    pub collapsed: bool,
    /// How long it was held for a live master.
    pub held: std::time::Duration,
    /// Attempts at the origin, in order.
    pub attempts: Vec<Attempt>,
    /// Counts the parts of long content that the disk did not give back and a side was asked for, while it went out.
    pub parts: Option<Arc<AtomicU32>>,
    /// What the client got.
    pub answered: Answered,
    /// What went wrong, in one word.
    pub error: Option<&'static str>,
}

/// What a client asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The protocol; `None` when the head could not be read.
    pub protocol: Option<Protocol>,
    /// The method as sent.
    pub method: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host as checked, or empty.
    pub host: String,
    /// Path, without the query.
    pub path: String,
    /// The query, without the question mark.
    pub query: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// `Referer`.
    pub referer: String,
}

/// One attempt at a side.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The side.
    pub side: Side,
    /// The epoch under which it was sent.
    pub epoch: Epoch,
    /// When it was sent, on the machine's wall clock, by which epochs are adopted; `None` when nothing was sent.
    pub sent: Option<jet9_cache::Timestamp>,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// How long the head of the answer took.
    pub took: std::time::Duration,
}

/// What the client got.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answered {
    /// The status; 0 when nothing was sent.
    pub status: u16,
    /// Content and head bytes received.
    pub bytes_in: u64,
    /// Content and head bytes sent.
    pub bytes_out: u64,
    /// When the first byte went out.
    pub first_byte: Option<Instant>,
    /// Whether the response was sent to its end.
    pub complete: bool,
}

impl Exchange {
    /// A new exchange of this client.
    pub fn begin(
        client: Arc<Client>,
        request_id: String,
        started: Instant,
        started_wall: jet9_cache::Timestamp,
    ) -> Self {
        Self {
            client,
            request_id,
            started,
            started_wall,
            asked: Asked::default(),
            site: None,
            cache: None,
            reason: None,
            age: None,
            tier: None,
            collapsed: false,
            held: std::time::Duration::ZERO,
            attempts: Vec::new(),
            parts: None,
            answered: Answered::default(),
            error: None,
        }
    }

    /// Notes that the store could not answer, and why.
    pub fn forwarded(&mut self, forward: ForwardReason, reason: Option<Reason>) {
        self.cache = Some(CacheStatus::forward(forward));
        self.because(reason);
    }

    /// Notes the reason of what was decided, if there is a new one.
    pub fn because(&mut self, reason: Option<Reason>) {
        if let Some(reason) = reason {
            self.reason = Some(reason);
            self.cache = self.cache.map(|status| status.because(reason));
        }
    }

    /// Notes that a stored response is served; `stale` says why although it is stale.
    pub fn hit(&mut self, stored: &Stored, stale: Option<Reason>) {
        self.cache = Some(CacheStatus::hit(stored.ttl));
        self.age = Some(stored.age);
        self.tier = Some(stored.hit.tier);
        self.reason = None;
        self.because(stale);
    }

    /// Notes that the origin's answer is being stored and this request reads along.
    pub fn filled(&mut self, status: StatusCode) {
        self.cache = self.cache.map(|cache| {
            let cache = cache.answered(status).and_stored();
            if self.collapsed {
                cache.and_collapsed()
            } else {
                cache
            }
        });
    }

    /// Notes that the origin confirmed the stored response that is served now.
    pub fn confirmed(&mut self) {
        self.cache = self
            .cache
            .map(|cache| cache.answered(StatusCode::NOT_MODIFIED).and_stored());
        self.because(Some(Reason::Revalidated));
    }

    /// Notes what the origin answered, and why it is not stored. Why the request had to fetch for itself outranks that.
    pub fn not_stored(&mut self, status: StatusCode, why: Reason) {
        self.cache = self.cache.map(|cache| cache.answered(status));
        let fetched_alone = [Reason::PredictedUncacheable, Reason::CollapseTimeout];
        if self
            .reason
            .is_none_or(|reason| !fetched_alone.contains(&reason))
        {
            self.because(Some(why));
        }
    }

    /// The port that the client reached us on.
    pub fn client_port(&self) -> Option<u16> {
        self.client.local.map(|local| local.port())
    }

    /// The address of the client.
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.client.address.map(|a| a.ip())
    }
}

impl Asked {
    /// What this request asked for.
    pub fn of(request: &Request) -> Self {
        let target = String::from_utf8_lossy(&request.path_and_query);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        Self {
            protocol: Some(request.protocol),
            method: request.method.as_str().to_owned(),
            scheme: request.scheme.as_str(),
            host: request.host.as_str().to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            user_agent: text(request, &http::header::USER_AGENT),
            referer: text(request, &http::header::REFERER),
        }
    }
}

/// The value of a field as text; bytes outside of UTF-8 are replaced.
fn text(request: &Request, name: &http::HeaderName) -> String {
    request.fields.get(name).map_or_else(String::new, |value| {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    })
}

/// Makes request ids that no other process of this node and no other node makes.
#[derive(Debug)]
pub struct RequestIds {
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids of the node `node` (a token), of the process `process` that started at `started`.
    pub fn new(node: &str, process: u32, started: jet9_cache::Timestamp) -> Self {
        Self {
            prefix: format!("{node}-{:x}-{process:x}", started.unix_millis()),
            next: AtomicU64::new(1),
        }
    }

    /// The next id.
    pub fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number:x}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_differ_within_a_process_and_between_processes() {
        let start = jet9_cache::Timestamp::from_unix_millis(1_700_000_000_000);
        let (one, other) = (
            RequestIds::new("e1", 7, start),
            RequestIds::new("e1", 8, start),
        );
        assert_eq!(one.next(), "e1-18bcfe56800-7-1");
        assert_eq!(one.next(), "e1-18bcfe56800-7-2");
        assert_eq!(other.next(), "e1-18bcfe56800-8-1");
    }
}
