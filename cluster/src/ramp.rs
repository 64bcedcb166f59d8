//! How fast are those let go who were held for a master that is live now?
//!
//! Asked by `edge::origin::hold` for each held request when its cluster is served again. A side that just took over is cold: if a thousand
//! requests fell on it in one moment, it would be down again. Who arrives after the switch is not held and does not ask.

use crate::{Epoch, Instant};

/// So many go at once.
pub const AT_ONCE: u64 = 20;
/// The time in which the number of those who went doubles, in milliseconds. A thousand are gone after less than six of these.
pub const DOUBLING_MS: u64 = 100;

/// The release of the requests of one cluster, one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ramp {
    epoch: Epoch,
    since: Instant,
    gone: u64,
}

impl Ramp {
    /// When the next request that was held may go, to the master of this epoch. The first one to ask sets the beginning.
    pub fn next(&mut self, epoch: Epoch, now: Instant) -> Instant {
        if self.epoch != epoch {
            *self = Self {
                epoch,
                since: now,
                gone: 0,
            };
        }
        let at = Instant(self.since.0.saturating_add(after_ms(self.gone)));
        self.gone += 1;
        at
    }
}

/// How long after the beginning the request goes that has so many before it.
fn after_ms(before: u64) -> u64 {
    let Some(doublings) = (before / AT_ONCE).checked_ilog2() else {
        return 0;
    };
    let there = AT_ONCE << doublings;
    // Within a doubling they follow evenly.
    let place = u128::from(before - there + 1);
    let within = (place * u128::from(DOUBLING_MS)).div_ceil(u128::from(there));
    DOUBLING_MS * u64::from(doublings) + u64::try_from(within).unwrap_or(DOUBLING_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_go_at_once_and_the_number_doubles_in_each_step() {
        let mut ramp = Ramp::default();
        let went: Vec<u64> = (0..1_000)
            .map(|_| ramp.next(Epoch(3), Instant(500)).0 - 500)
            .collect();
        let by = |ms: u64| went.iter().filter(|at| **at <= ms).count() as u64;
        assert!(went.is_sorted());
        assert_eq!(by(0), AT_ONCE);
        for step in 1..6 {
            let expected = (AT_ONCE << step).min(1_000);
            assert_eq!(by(step * DOUBLING_MS), expected, "step {step}");
        }
        assert_eq!(by(6 * DOUBLING_MS), 1_000);
    }

    #[test]
    fn another_epoch_begins_anew() {
        let mut ramp = Ramp::default();
        for _ in 0..500 {
            ramp.next(Epoch(3), Instant(0));
        }
        assert_eq!(ramp.next(Epoch(5), Instant(9_000)), Instant(9_000));
    }

    #[test]
    fn no_number_is_too_large() {
        let at = after_ms(u64::MAX);
        assert!(at < 10_000, "{at}");
    }
}
