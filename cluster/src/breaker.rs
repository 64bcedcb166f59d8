//! Is the live master worth asking, or does it fail so much that asking only hurts?
//!
//! Asked by `edge::origin::breakers` before a request goes out, and told how it ended. The published state says *who* is master; this says
//! only whether to spare it. While open, some requests still pass, so that it closes by itself; what the others get (a stale copy, an answer at
//! once) is not decided here. It closes in steps: a side that just came back is not given the whole load at once.

use std::collections::VecDeque;

use crate::Instant;

/// So many failures in a row open it.
pub const FAILURES_IN_A_ROW: u32 = 5;
/// Over how long the share of failures is counted, in milliseconds.
pub const WINDOW_MS: u64 = 10_000;
/// The share of failures is judged from so many results on; half of them failed: it opens.
pub const WINDOW_RESULTS: usize = 20;
/// Fresh from opening, each so-many-th request passes.
pub const EVERY: u32 = 20;
/// At least one request passes in so many milliseconds, if there is one.
pub const PASSES_AFTER_MS: u64 = 1_000;
/// Between two that pass lie at least so many milliseconds while it is wide open.
pub const PASSES_NOT_BEFORE_MS: u64 = 100;
/// So many good answers in a row halve the share that is refused.
pub const GOOD_IN_A_ROW: u32 = 3;

/// An open one that nobody asked for so many milliseconds is as good as none.
pub const FORGOTTEN_MS: u64 = 60_000;

/// Whether a request goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does; tell [`Breaker::ended`] how it went.
    Pass,
    /// It does not: the breaker is open.
    Refuse,
}

/// What a result changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// It opened: an alarm.
    Open,
    /// It closed.
    Closed,
}

/// The breaker of what has one master, under one epoch: a new master begins with a new one. Its clock may be one that people set: when that
/// goes back, it begins to count anew from there.
#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Closed(Counted),
    Open(Open),
}

/// The latest results, oldest first.
#[derive(Clone, Debug, Default)]
struct Counted {
    results: VecDeque<(Instant, bool)>,
    failures_in_a_row: u32,
}

#[derive(Clone, Debug)]
struct Open {
    /// Each so-many-th request passes; at one it is closed.
    every: u32,
    refused: u32,
    passed: Instant,
    good_in_a_row: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed(Counted::default()),
        }
    }
}

impl Breaker {
    /// Whether a request may go out now.
    pub fn ask(&mut self, now: Instant) -> Verdict {
        match &mut self.state {
            State::Closed(_) => Verdict::Pass,
            State::Open(open) => open.ask(now),
        }
    }

    /// A request that passed has ended: well, or with a failed connection, no answer, or a server error.
    pub fn ended(&mut self, well: bool, now: Instant) -> Option<Turned> {
        match &mut self.state {
            State::Closed(counted) => {
                if counted.is_still_good(well, now) {
                    return None;
                }
                self.state = State::Open(Open::fresh(now));
                Some(Turned::Open)
            }
            State::Open(open) => {
                if !open.is_healed(well, now) {
                    return None;
                }
                *self = Self::default();
                Some(Turned::Closed)
            }
        }
    }

    /// Whether a new one would do as well: nothing failed lately, or nobody asked for long.
    pub fn is_idle(&self, now: Instant) -> bool {
        match &self.state {
            State::Closed(counted) => {
                let is_recent = |at: &Instant| now.0.saturating_sub(at.0) < WINDOW_MS;
                let mut results = counted.results.iter();
                !results.any(|(at, well)| !well && is_recent(at))
            }
            State::Open(open) => now.0.saturating_sub(open.passed.0) >= FORGOTTEN_MS,
        }
    }

    /// Whether most requests are refused.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }
}

impl Counted {
    fn is_still_good(&mut self, well: bool, now: Instant) -> bool {
        self.failures_in_a_row = if well { 0 } else { self.failures_in_a_row + 1 };
        let is_old = |at: &Instant| now.0.saturating_sub(at.0) >= WINDOW_MS;
        while self.results.front().is_some_and(|(at, _)| is_old(at))
            || self.results.len() >= WINDOW_RESULTS
        {
            self.results.pop_front();
        }
        self.results.push_back((now, well));
        let failed = self.results.iter().filter(|(_, well)| !well).count();
        let too_many = self.results.len() >= WINDOW_RESULTS && failed * 2 >= WINDOW_RESULTS;
        self.failures_in_a_row < FAILURES_IN_A_ROW && !too_many
    }
}

impl Open {
    const fn fresh(now: Instant) -> Self {
        Self {
            every: EVERY,
            refused: 0,
            passed: now,
            good_in_a_row: 0,
        }
    }

    fn ask(&mut self, now: Instant) -> Verdict {
        self.passed = self.passed.min(now);
        let since = now.0.saturating_sub(self.passed.0);
        let is_its_turn = self.refused + 1 >= self.every;
        // The pause between two shrinks with the share that is refused, or the ramp would end in a wall.
        let pause = PASSES_NOT_BEFORE_MS * u64::from(self.every) / u64::from(EVERY);
        if since >= PASSES_AFTER_MS || (is_its_turn && since >= pause) {
            self.refused = 0;
            self.passed = now;
            return Verdict::Pass;
        }
        self.refused = self.refused.saturating_add(1);
        Verdict::Refuse
    }

    fn is_healed(&mut self, well: bool, now: Instant) -> bool {
        if !well {
            *self = Self::fresh(now);
            return false;
        }
        self.good_in_a_row += 1;
        if self.good_in_a_row == GOOD_IN_A_ROW {
            self.good_in_a_row = 0;
            self.every /= 2;
        }
        self.every <= 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds results at a distance of so many milliseconds: `+` went well, `-` failed; says when it turned, and how.
    fn check(results: &str, distance_ms: u64, expected: Option<(usize, Turned)>) {
        let mut breaker = Breaker::default();
        let turned = results.chars().enumerate().find_map(|(index, result)| {
            let now = Instant(index as u64 * distance_ms);
            breaker
                .ended(result == '+', now)
                .map(|turned| (index, turned))
        });
        assert_eq!(turned, expected, "{results}");
    }

    #[test]
    fn it_opens_after_five_failures_in_a_row_or_when_half_of_twenty_failed() {
        check("++-----", 1, Some((6, Turned::Open)));
        check("----+----+----+", 1, None);
        check(&"-+".repeat(9), 1, None);
        check(&"-+".repeat(20), 1, Some((19, Turned::Open)));
        check(&"-++".repeat(50), 1, None);
        check(&"-+".repeat(50), 600, None);
    }

    /// How many of so many requests, at a distance of so many milliseconds, pass a breaker that just opened.
    fn passed(requests: u64, distance_ms: u64) -> u64 {
        let mut breaker = Breaker {
            state: State::Open(Open::fresh(Instant(0))),
        };
        let pass = |index: u64| breaker.ask(Instant(index * distance_ms)) == Verdict::Pass;
        (1..=requests).map(pass).filter(|passes| *passes).count() as u64
    }

    #[test]
    fn while_open_each_twentieth_passes_within_bounds() {
        assert_eq!(passed(1_000, 10), 50, "each twentieth");
        assert_eq!(passed(10, 1_000), 10, "one in a second");
        let many = passed(10_000, 1);
        assert!((95..=100).contains(&many), "ten in a second: {many}");
    }

    #[test]
    fn it_closes_in_steps_and_a_failure_on_the_way_begins_anew() {
        let mut breaker = Breaker {
            state: State::Open(Open::fresh(Instant(0))),
        };
        let mut good = |times: usize| {
            (0..times)
                .filter_map(|_| breaker.ended(true, Instant(1)))
                .last()
        };
        assert_eq!(good(11), None);
        assert_eq!(good(1), Some(Turned::Closed));

        let mut breaker = Breaker {
            state: State::Open(Open::fresh(Instant(0))),
        };
        for _ in 0..11 {
            breaker.ended(true, Instant(1));
        }
        assert_eq!(breaker.ended(false, Instant(2)), None);
        assert_eq!(breaker.ended(true, Instant(3)), None);
        assert!(breaker.is_open());
    }

    #[test]
    fn a_clock_that_is_set_back_delays_nobody_for_long() {
        let mut breaker = Breaker {
            state: State::Open(Open::fresh(Instant(1_000_000))),
        };
        assert_eq!(breaker.ask(Instant(0)), Verdict::Refuse);
        assert_eq!(breaker.ask(Instant(PASSES_AFTER_MS)), Verdict::Pass);
    }

    #[test]
    fn it_is_forgotten_when_nothing_failed_lately_and_when_nobody_asked_for_long() {
        let mut breaker = Breaker::default();
        assert!(breaker.is_idle(Instant(0)));
        breaker.ended(false, Instant(0));
        breaker.ended(true, Instant(1));
        assert!(!breaker.is_idle(Instant(WINDOW_MS - 1)));
        assert!(breaker.is_idle(Instant(WINDOW_MS)));
        let open = Breaker {
            state: State::Open(Open::fresh(Instant(0))),
        };
        assert!(!open.is_idle(Instant(FORGOTTEN_MS - 1)));
        assert!(open.is_idle(Instant(FORGOTTEN_MS)));
    }

    proptest! {
        #[test]
        fn it_always_closes_again_when_the_master_is_well(
            results in proptest::collection::vec((any::<bool>(), 0u64..2_000), 0..200),
        ) {
            let mut breaker = Breaker::default();
            let mut now = 0;
            for (well, later) in results {
                now += later;
                if breaker.ask(Instant(now)) == Verdict::Pass {
                    breaker.ended(well, Instant(now));
                }
            }
            for _ in 0..12 {
                now += PASSES_AFTER_MS;
                prop_assert_eq!(breaker.ask(Instant(now)), Verdict::Pass);
                breaker.ended(true, Instant(now));
            }
            prop_assert!(!breaker.is_open());
        }
    }
}
