//! What happens to this node: the audit trail and the changes of its sites, for who listens.
//!
//! Told by the admin API (every call that writes, done or refused), by the loading of sites (by call or by hand) and by the following of clusters; heard at `GET /v1/events`.
//! Telling never waits: the last [`EVENTS_KEPT`] are kept for readers that are a little behind, and one that is further behind is cut and counted.
//! Invariant 7: readers, events and what each holds have limits. What is told carries no secret and no document.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{IntCounter, Registry};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::clock::WallClock;

/// Events that a reader may be behind.
pub const EVENTS_KEPT: usize = 1024;

/// What happens.
#[derive(Debug)]
pub struct Events {
    sender: broadcast::Sender<Event>,
    sequence: AtomicU64,
    clock: WallClock,
    /// Readers that were cut because they were too slow.
    pub(crate) cut: IntCounter,
    /// Calls of the admin API by nobody who is known.
    pub(crate) strangers: IntCounter,
}

/// One thing that happened. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number since the start.
    pub sequence: u64,
    /// What it is: `call`, `site`, `cluster`.
    pub kind: &'static str,
    /// What is known of it, as JSON in one line.
    pub json: std::sync::Arc<str>,
}

impl Events {
    /// None yet.
    ///
    /// # Errors
    /// When the name of the metric is taken.
    pub fn new(clock: WallClock, registry: &Registry) -> Result<Self, prometheus::Error> {
        let cut = IntCounter::new(
            "jet9_edge_event_readers_cut_total",
            "Readers of /v1/events that were cut because they were too slow.",
        )?;
        registry.register(Box::new(cut.clone()))?;
        let strangers = IntCounter::new(
            "jet9_edge_admin_strangers_total",
            "Calls of the admin API whose caller is not known: no token, or none that opens anything.",
        )?;
        registry.register(Box::new(strangers.clone()))?;
        Ok(Self {
            sender: broadcast::Sender::new(EVENTS_KEPT),
            sequence: AtomicU64::new(0),
            clock,
            cut,
            strangers,
        })
    }

    /// Tells of something: an object, to which its number and time are added.
    pub fn tell(&self, kind: &'static str, mut told: Value) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        told["kind"] = kind.into();
        told["sequence"] = sequence.into();
        told["unix_ms"] = self.clock.now().unix_millis().into();
        let json = told.to_string().into();
        // An error says that nobody listens.
        let _ = self.sender.send(Event {
            sequence,
            kind,
            json,
        });
    }

    /// Tells of a site that came into force or is gone.
    pub(crate) fn site(&self, id: &str, version: u64, by: &str, change: &'static str) {
        let told = json!({ "site": id, "version": version, "by": by, "change": change });
        self.tell("site", told);
    }

    /// Hears what happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listeners_hear_in_order_and_telling_waits_for_nobody() {
        let events = Events::new(WallClock::System, &Registry::new()).expect("free names");
        events.tell("call", json!({"by": "nobody hears it"}));
        let mut quick = events.listen();
        let mut slow = events.listen();
        for number in 0..EVENTS_KEPT as u64 + 5 {
            events.site("s-1", number, "file", "placed");
            let heard = quick.recv().await.expect("in time");
            assert_eq!(heard.sequence, number + 2);
        }
        let lagged = slow.recv().await.expect_err("too slow");
        assert!(
            matches!(lagged, broadcast::error::RecvError::Lagged(_)),
            "{lagged:?}"
        );
    }
}
