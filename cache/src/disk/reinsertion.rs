//! Which records of a segment are written once more before it is reused?
//!
//! Asked by the volume's writer, once a segment. The ring forgets what is oldest; what was hit on its way around is worth another lap.
//! Hits in memory do not count: what is served from there needs the disk the less, and a burst is no habit (measured: fewer writes at a
//! higher hit ratio). Pure. Invariant: a tenth of every segment is new, so the ring always moves on.

use super::shares::Standing;

/// Of a hundred bytes of a segment, how many may be written once more. 40 were measured to cost 0.2 to 2 points of hit ratio, 85 up to 0.14
/// where the ring is small; 95 cost writes for nothing.
pub const BUDGET_PERCENT: u64 = 90;

/// A record of the segment that the index still points to.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Hits on disk since it was written, as its slot counts them.
    pub frequency: u8,
    /// Bytes that it takes, with padding.
    pub bytes: u64,
    /// How its partition stands.
    pub standing: Standing,
    /// A purge has touched it.
    pub is_dead: bool,
}

impl Candidate {
    /// How much it is worth another lap; `None`: not at all.
    const fn worth(&self) -> Option<u8> {
        match self.standing {
            _ if self.is_dead => None,
            Standing::Over { .. } | Standing::Capped => None,
            Standing::Guaranteed => Some(self.frequency),
            Standing::Within if self.frequency > 0 => Some(self.frequency),
            Standing::Within => None,
        }
    }
}

/// The frequency that a record begins its next lap with: a hit is used up, so that what is not hit again goes after seven laps.
pub const fn aged(frequency: u8) -> u8 {
    frequency.saturating_sub(1)
}

/// The positions of those that are written once more, in ascending order: the hottest that fit the budget of a segment of
/// `segment_bytes`, of equally hot ones the youngest, which lie last.
pub fn choose(candidates: &[Candidate], segment_bytes: u64) -> Vec<usize> {
    let mut worthy: Vec<(u8, usize)> = (candidates.iter().enumerate())
        .filter_map(|(at, candidate)| Some((candidate.worth()?, at)))
        .collect();
    worthy.sort_unstable_by(|a, b| b.cmp(a));
    let mut left = segment_bytes.saturating_mul(BUDGET_PERCENT) / 100;
    let mut chosen: Vec<usize> = worthy
        .into_iter()
        .filter_map(|(_, at)| {
            left = left.checked_sub(candidates[at].bytes)?;
            Some(at)
        })
        .collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLD: Candidate = Candidate {
        frequency: 0,
        bytes: 10,
        standing: Standing::Within,
        is_dead: false,
    };
    const HIT: Candidate = Candidate {
        frequency: 1,
        ..COLD
    };
    const HOT: Candidate = Candidate {
        frequency: 3,
        ..COLD
    };

    #[track_caller]
    fn check(candidates: &[Candidate], segment_bytes: u64, expected: &[usize]) {
        assert_eq!(
            choose(candidates, segment_bytes),
            expected,
            "{candidates:?}"
        );
    }

    #[test]
    fn the_hottest_stay_within_the_budget() {
        check(&[], 100, &[]);
        check(&[COLD, HIT, COLD, HOT], 1000, &[1, 3]);
        check(&[HIT, HOT, HIT, HOT, HIT], 40, &[1, 3, 4]);
        // What does not fit leaves room for what does.
        check(&[HIT, Candidate { bytes: 361, ..HOT }, HOT], 400, &[0, 2]);
        check(&[HOT; 20], 100, &[11, 12, 13, 14, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn dead_ones_go_and_so_do_those_over_their_share() {
        let dead = Candidate {
            is_dead: true,
            ..HOT
        };
        let of = |standing| Candidate { standing, ..HOT };
        let over = of(Standing::Over { odds: 60_000 });
        check(&[dead, over, of(Standing::Capped), HIT], 1000, &[3]);
    }

    #[test]
    fn what_is_guaranteed_stays_unhit_but_after_what_was_hit() {
        let kept = Candidate {
            standing: Standing::Guaranteed,
            ..COLD
        };
        let dead = Candidate {
            is_dead: true,
            ..kept
        };
        check(&[kept, COLD, dead], 1000, &[0]);
        check(&[kept, HIT], 14, &[1]);
    }

    #[test]
    fn an_unhit_record_is_gone_after_seven_laps() {
        assert_eq!([7, 3, 2, 1, 0].map(aged), [6, 2, 1, 0, 0]);
    }
}
