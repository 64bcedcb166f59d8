//! Is a response worth writing to disk? And if not, why not?
//!
//! Asked at every fill that is done, at a hit in memory of what is not on disk yet, and for that when the store closes. Flash wears out by what is written, and most of
//! what is fetched is never asked for again: after the ring has wrapped, use decides. Pure: every fact is an argument, chance included.
//! Invariant: what replaces a record on disk is always written, so that no older version can come back.

use crate::reason::Reason;

use super::shares::Standing;

/// The hit in memory at which a response is worth the disk. The first often follows at once (a reload, a page with the same part
/// twice); waiting for the second saves a seventh of the writes at least, at -0.2 to +0.4 points of hit ratio.
pub const MEMORY_HITS: u8 = 2;

/// When admission is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The response was fetched.
    Fill {
        /// [`super::ghost::Ghost::recall`] knew its key.
        is_recalled: bool,
    },
    /// It was found in memory, for the so-and-so-many-th time since it was fetched.
    MemoryHit(u8),
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
        (Policy::Used, Moment::Fill { is_recalled: true }) => Admission::Write(Why::Recalled),
        (Policy::Used, Moment::Stop) => Admission::Write(Why::Used),
        (Policy::Used, Moment::MemoryHit(hits)) if hits >= MEMORY_HITS => {
            Admission::Write(Why::Used)
        }
        (Policy::Used, Moment::Fill { .. } | Moment::MemoryHit(_)) => {
            Admission::Leave(WhyNot::Unused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Facts = Facts {
        moment: Moment::Fill { is_recalled: false },
        policy: Policy::Used,
        replaces: false,
        has_wrapped: true,
        standing: Standing::Within,
        chance: 0,
    };
    const KNOWN: Facts = Facts {
        moment: Moment::Fill { is_recalled: true },
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
        for (hits, expected) in [
            (1, Admission::Leave(WhyNot::Unused)),
            (2, Admission::Write(Why::Used)),
            (9, Admission::Write(Why::Used)),
        ] {
            check(
                Facts {
                    moment: Moment::MemoryHit(hits),
                    ..NEW
                },
                expected,
            );
        }
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
