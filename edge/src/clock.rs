//! The one place that reads clocks. Decisions get what they say as an argument.
//!
//! The wall clock is a part of the node ([`crate::parts::Edge::clock`]): ages, freshness, fills and dates of one node all come from it, and a
//! test may give a node a clock of its own. Durations and leases are measured by clocks that nobody sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jet9_cache::Timestamp;

/// A wall clock, in milliseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub enum WallClock {
    /// The machine's.
    System,
    /// One that stands still until it is advanced. Only tests make it: no option of `jet9` does.
    Manual(ManualClock),
}

impl WallClock {
    /// What it says now.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => system(),
            Self::Manual(clock) => clock.now(),
        }
    }
}

/// A wall clock that is moved by hand; all clones are one clock.
#[derive(Clone, Debug)]
pub struct ManualClock {
    millis: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that says this.
    pub fn starting_at(start: Timestamp) -> Self {
        Self {
            millis: Arc::new(AtomicU64::new(start.unix_millis())),
        }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// What it says now.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.millis.load(Ordering::Relaxed))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the place that reads the wall clock"
)]
fn system() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Timestamp::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A moment of the clock that only goes forward, for measuring durations.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place that reads the monotonic clock"
)]
pub fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// The clock that also counts while the machine sleeps: for leases and mastership.
pub fn boottime() -> jet9_cluster::Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
    jet9_cluster::Instant(seconds.saturating_mul(1000).saturating_add(millis))
}
