//! The one place that reads the clock. Decisions get what it says as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jet9_cache::Timestamp;

/// The wall clock, in milliseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place that reads the wall clock"
)]
pub fn wall() -> Timestamp {
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
