//! Is a response worth writing to disk? And if not, why not?
//!
//! Asked at every fill that is done, at a hit in memory of what is not on disk yet, and for that when the store closes. Flash wears out by
//! what is written, and most of what is fetched is never asked for again: after the ring has wrapped, use decides, and while the
//! allowance of writes is used up, only the best signs of it. Pure: every fact is an argument, chance included.
//! Invariant: what replaces a record on disk is always written, so that no older version can come back.

use crate::reason::Reason;

use super::ghost::{Recalled, Sign};
use super::shares::Standing;

/// When admission is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The response was fetched.
    Fill {
        /// What [`super::ghost::Ghost::recall`] knew of its key.
        recalled: Option<Recalled>,
    },
    /// It was found in memory, a while after it was fetched: [`crate::memory::queues::Hit::has_waited`].
    MemoryHit,
    /// It was found in memory at least once, and the store closes.
    Stop,
}

/// What a site wants written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// What is used.
    #[default]
    Used,
    /// Everything storable.
    All,
}

/// What admission decides by.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// When.
    pub moment: Moment,
    /// The site's wish.
    pub policy: Policy,
    /// A record of the same key and selecting fields is on disk, or may be.
    pub replaces: bool,
    /// Every segment of the volume was written once: what is written now pushes something out.
    pub has_wrapped: bool,
    /// What may be written is not used up: [`super::allowance::Allowance::is_left`].
    pub has_allowance: bool,
    /// How the partition stands with its share.
    pub standing: Standing,
    /// Any number, evenly spread: decides for partitions that are over their share.
    pub chance: u16,
}

/// Whether to write, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Write it.
    Write(Why),
    /// Leave it in memory.
    Leave(WhyNot),
}

/// Why a response is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It replaces a record on disk.
    Replaces,
    /// There is free space still, and what is written survives a crash.
    Room,
    /// The site wants all of it.
    Policy,
    /// Its key was asked for before.
    Recalled,
    /// It was hit in memory.
    Used,
}

/// Why it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// Nothing tells yet that it will be asked for again: remember its key.
    Unused,
    /// The partition is over its share, and chance was against it.
    Share,
    /// The partition is at its cap.
    Cap,
}

impl WhyNot {
    /// The reason that is told to whoever asks; none for what may be written later.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Unused => None,
            Self::Share | Self::Cap => Some(Reason::Quota),
        }
    }
}

/// Decides whether a response goes to disk now.
pub fn decide(facts: &Facts) -> Admission {
    if facts.replaces {
        return Admission::Write(Why::Replaces);
    }
    if facts.standing == Standing::Capped {
        return Admission::Leave(WhyNot::Cap);
    }
    if !facts.has_wrapped {
        return Admission::Write(Why::Room);
    }
    match (worth(facts), facts.standing) {
        (Admission::Write(_), Standing::Over { odds }) if facts.chance > odds => {
            Admission::Leave(WhyNot::Share)
        }
        (worth, _) => worth,
    }
}

/// What its use says.
const fn worth(facts: &Facts) -> Admission {
    match (facts.policy, facts.moment) {
        (Policy::All, _) => Admission::Write(Why::Policy),
        (
            Policy::Used,
            Moment::Fill {
                recalled: Some(key),
            },
        ) if facts.has_allowance || comes_back_for_sure(key) => Admission::Write(Why::Recalled),
        (Policy::Used, Moment::MemoryHit) if facts.has_allowance => Admission::Write(Why::Used),
        (Policy::Used, Moment::Stop) => Admission::Write(Why::Used),
        (Policy::Used, Moment::Fill { .. } | Moment::MemoryHit) => Admission::Leave(WhyNot::Unused),
    }
}

/// Whether a key that comes back is worth a write even when few are left. Of those that were asked for once and long ago, the fewest are
/// asked for again.
const fn comes_back_for_sure(key: Recalled) -> bool {
    key.is_soon || matches!(key.sign, Sign::Proven)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Facts = Facts {
        moment: Moment::Fill { recalled: None },
        policy: Policy::Used,
        replaces: false,
        has_wrapped: true,
        has_allowance: true,
        standing: Standing::Within,
        chance: 0,
    };
    const KNOWN: Facts = Facts {
        moment: Moment::Fill {
            recalled: Some(Recalled {
                sign: Sign::First,
                is_soon: false,
            }),
        },
        ..NEW
    };
    const HIT: Facts = Facts {
        moment: Moment::MemoryHit,
        ..NEW
    };
    const CAPPED: Facts = Facts {
        standing: Standing::Capped,
        ..KNOWN
    };

    #[track_caller]
    fn check(facts: Facts, expected: Admission) {
        assert_eq!(decide(&facts), expected, "{facts:?}");
    }

    #[test]
    fn use_decides_once_the_ring_has_wrapped() {
        check(NEW, Admission::Leave(WhyNot::Unused));
        check(KNOWN, Admission::Write(Why::Recalled));
        check(HIT, Admission::Write(Why::Used));
        let stop = Facts {
            moment: Moment::Stop,
            ..NEW
        };
        check(stop, Admission::Write(Why::Used));
        check(
            Facts {
                policy: Policy::All,
                ..NEW
            },
            Admission::Write(Why::Policy),
        );
        check(
            Facts {
                has_wrapped: false,
                ..NEW
            },
            Admission::Write(Why::Room),
        );
    }

    #[test]
    fn without_an_allowance_only_the_best_signs_count() {
        let poor = |facts: Facts| Facts {
            has_allowance: false,
            ..facts
        };
        let back = |sign, is_soon| Facts {
            moment: Moment::Fill {
                recalled: Some(Recalled { sign, is_soon }),
            },
            ..NEW
        };
        let (write, leave) = (
            Admission::Write(Why::Recalled),
            Admission::Leave(WhyNot::Unused),
        );
        check(poor(back(Sign::First, false)), leave);
        check(poor(back(Sign::First, true)), write);
        check(poor(back(Sign::Proven, false)), write);
        check(poor(HIT), leave);
        // What a site wants, what the store keeps at its end, and free space are no question of it.
        let all = Facts {
            policy: Policy::All,
            ..NEW
        };
        let stop = Facts {
            moment: Moment::Stop,
            ..NEW
        };
        let room = Facts {
            has_wrapped: false,
            ..NEW
        };
        check(poor(all), Admission::Write(Why::Policy));
        check(poor(stop), Admission::Write(Why::Used));
        check(poor(room), Admission::Write(Why::Room));
    }

    #[test]
    fn what_replaces_a_record_is_always_written() {
        for standing in [
            Standing::Within,
            Standing::Over { odds: 0 },
            Standing::Capped,
        ] {
            for has_wrapped in [false, true] {
                let facts = Facts {
                    replaces: true,
                    standing,
                    has_wrapped,
                    ..NEW
                };
                check(facts, Admission::Write(Why::Replaces));
            }
        }
    }

    #[test]
    fn a_cap_holds_even_while_there_is_room_and_a_share_only_afterwards() {
        check(CAPPED, Admission::Leave(WhyNot::Cap));
        check(
            Facts {
                has_wrapped: false,
                ..CAPPED
            },
            Admission::Leave(WhyNot::Cap),
        );
        let over = |chance| Facts {
            standing: Standing::Over { odds: 100 },
            chance,
            ..KNOWN
        };
        check(over(100), Admission::Write(Why::Recalled));
        check(over(101), Admission::Leave(WhyNot::Share));
        check(
            Facts {
                has_wrapped: false,
                ..over(101)
            },
            Admission::Write(Why::Room),
        );
        check(
            Facts {
                moment: NEW.moment,
                ..over(101)
            },
            Admission::Leave(WhyNot::Unused),
        );
    }

    #[test]
    fn quotas_have_a_reason_to_tell() {
        assert_eq!(WhyNot::Cap.reason(), Some(Reason::Quota));
        assert_eq!(WhyNot::Share.reason(), Some(Reason::Quota));
        assert_eq!(WhyNot::Unused.reason(), None);
    }
}
