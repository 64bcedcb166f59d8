//! Waiting for a fact, with a deadline. The only place of the tests that reads the clock or pauses.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should take no time on an idle machine. Far above what is needed on a busy one.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// The pause between two looks at a fact.
const PAUSE: Duration = Duration::from_millis(3);

/// Waits until `fact` gives a value.
pub(crate) fn until<T>(what: &str, limit: Duration, mut fact: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + limit;
    loop {
        if let Some(value) = fact() {
            return value;
        }
        assert!(now() < deadline, "not within {limit:?}: {what}");
        thread::park_timeout(PAUSE);
    }
}

/// Waits until `fact` is true.
pub(crate) fn until_true(what: &str, mut fact: impl FnMut() -> bool) {
    until(what, SOON, || fact().then_some(()));
}

/// The monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "tests measure their own deadlines"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "documents carry the time at which they were published"
)]
pub(crate) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("a clock before the year 584556019")
}
