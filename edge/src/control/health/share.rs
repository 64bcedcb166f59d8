//! Are so many clusters cut off from this node that another one would serve visitors better?
//!
//! Asked by [`super::Health`] at every count. Hysteresis in share and in time, or routers would move visitors back and forth: an answer changes
//! only after the share was beyond its threshold for as long as its limit says. What counts is told by [`super::count_clusters`].
//! Pure: the counts, the bounds and the time are arguments.

use std::time::{Duration, Instant};

use jet9_config::limits::Limits;

/// The thresholds, and how long a share must be beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// `limits.ready_low`: below so many percent, for [`Self::fall`], it is not enough.
    pub low: usize,
    /// `limits.ready_high`: from so many percent on, for [`Self::rise`], it is enough again. Not below [`Self::low`].
    pub high: usize,
    /// `limits.ready_fall`.
    pub fall: Duration,
    /// `limits.ready_rise`.
    pub rise: Duration,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self {
            low: limits.ready_low,
            high: limits.ready_high,
            fall: limits.ready_fall,
            rise: limits.ready_rise,
        }
    }
}

/// Clusters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Clusters that sites of this node use.
    pub used: usize,
    /// Those of them that this node can serve, or that no node can.
    pub servable: usize,
}

impl Counted {
    const fn reach(self, percent: usize) -> bool {
        self.servable.saturating_mul(100) >= self.used.saturating_mul(percent)
    }
}

/// Whether the share is enough, as of the last count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not been enough yet: it is as soon as the lower threshold is reached, without a wait.
    Starting,
    /// It is enough.
    Enough {
        /// Since when it has been below the lower threshold, if it is.
        low_since: Option<Instant>,
    },
    /// It is not enough.
    Lacking {
        /// Since when it has reached the upper threshold, if it does.
        high_since: Option<Instant>,
    },
}

impl Standing {
    /// What it is after one more count.
    #[must_use]
    pub fn after(self, counted: Counted, bounds: Bounds, now: Instant) -> Self {
        let over = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        match self {
            Self::Starting if counted.reach(bounds.low) => Self::Enough { low_since: None },
            Self::Starting => Self::Starting,
            Self::Enough { low_since } => {
                let low_since = (!counted.reach(bounds.low)).then(|| low_since.unwrap_or(now));
                match low_since {
                    Some(since) if over(since, bounds.fall) => Self::Lacking { high_since: None },
                    low_since => Self::Enough { low_since },
                }
            }
            Self::Lacking { high_since } => {
                let high_since = counted
                    .reach(bounds.high)
                    .then(|| high_since.unwrap_or(now));
                match high_since {
                    Some(since) if over(since, bounds.rise) => Self::Enough { low_since: None },
                    high_since => Self::Lacking { high_since },
                }
            }
        }
    }

    /// Whether it is enough.
    pub const fn is_enough(self) -> bool {
        matches!(self, Self::Enough { .. })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        low: 60,
        high: 80,
        fall: Duration::from_secs(2),
        rise: Duration::from_secs(10),
    };

    /// Counts of ten clusters, each at a second; whether it was enough after each.
    fn check(counts: &[(u64, usize)], expected: &[bool]) {
        let start = crate::clock::monotonic();
        let mut standing = Standing::Starting;
        let mut enough = Vec::new();
        for (second, servable) in counts {
            let counted = Counted {
                used: 10,
                servable: *servable,
            };
            standing = standing.after(counted, BOUNDS, start + Duration::from_secs(*second));
            enough.push(standing.is_enough());
        }
        assert_eq!(enough, expected, "{counts:?}");
    }

    #[test]
    fn a_node_begins_when_the_lower_threshold_is_reached() {
        check(&[(0, 0), (1, 5), (2, 6)], &[false, false, true]);
    }

    #[test]
    fn a_share_falls_only_after_it_was_low_for_the_limit() {
        check(
            &[(0, 10), (1, 5), (2, 5), (3, 5)],
            &[true, true, true, false],
        );
        check(&[(0, 10), (1, 5), (2, 6), (3, 5), (4, 5)], &[true; 5]);
        check(&[(0, 10), (1, 6), (60, 6)], &[true; 3]);
    }

    #[test]
    fn a_share_rises_only_after_it_was_high_for_the_limit() {
        let fallen = [(0, 10), (1, 0), (3, 0)];
        let then = |more: &[(u64, usize)], expected: &[bool]| {
            let enough = [&[true, true, false], expected].concat();
            check(&[&fallen, more].concat(), &enough);
        };
        then(&[(4, 8), (13, 8), (14, 8)], &[false, false, true]);
        then(&[(4, 8), (13, 7), (14, 8), (23, 8)], &[false; 4]);
        then(&[(4, 7), (99, 7)], &[false, false]);
    }

    #[test]
    fn a_node_without_clusters_lacks_none() {
        let now = crate::clock::monotonic();
        let standing = Standing::Starting.after(Counted::default(), BOUNDS, now);
        assert!(standing.is_enough());
    }

    proptest! {
        #[test]
        fn between_the_thresholds_nothing_changes(was: bool, steps in proptest::collection::vec(60_usize..80, 1..50)) {
            let start = crate::clock::monotonic();
            let mut standing = match was {
                true => Standing::Enough { low_since: None },
                false => Standing::Lacking { high_since: None },
            };
            for (step, servable) in steps.into_iter().enumerate() {
                let now = start + Duration::from_secs(step as u64);
                standing = standing.after(Counted { used: 100, servable }, BOUNDS, now);
                prop_assert_eq!(standing.is_enough(), was);
            }
        }
    }
}
