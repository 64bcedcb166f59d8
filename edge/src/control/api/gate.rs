//! How much may be called at once, and how often?
//!
//! Asked by `api::server` for each call, once it is known who calls and before its content is read. Invariants 7 and 8: whoever has the token of
//! a site cannot keep the operator, or another site's owner, from calling. Pure but for its counters; the time is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::RETRY_AFTER;
use parking_lot::Mutex;

use super::problem::Problem;
use crate::control::tokens::Principal;

/// Calls that run at once.
const CALLS_MAX: usize = 128;

/// Calls of one principal that run at once, unless it may everything.
const CALLS_OF_ONE_MAX: usize = 16;

/// Calls a second of one principal, in the long run, unless it may everything. A save in a shop makes some fifty at once, now and then.
const CALLS_PER_SECOND: f64 = 50.0;

/// Calls that one principal may make at once after a pause.
const BURST: f64 = 500.0;

/// Principals that are counted. When there are more, those that have been quiet are forgotten first.
const PRINCIPALS_MAX: usize = 10_000;

/// Counts calls.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    of: HashMap<String, One>,
}

#[derive(Debug)]
struct One {
    running: usize,
    left: f64,
    since: Instant,
}

/// A call that runs; leaves when dropped.
#[derive(Debug)]
pub(super) struct Inside<'g> {
    gate: &'g Gate,
    name: Option<String>,
}

impl Gate {
    /// Lets a call in.
    pub(super) fn enter(&self, who: &Principal, now: Instant) -> Result<Inside<'_>, Problem> {
        let mut state = self.state.lock();
        if state.running >= CALLS_MAX {
            let detail = format!("{CALLS_MAX} calls are running");
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
            return Err(problem.with(RETRY_AFTER, 1.into()));
        }
        let name = match who.is_admin() {
            true => None,
            false => {
                state.count(who.name(), now)?;
                Some(who.name().to_owned())
            }
        };
        state.running += 1;
        Ok(Inside { gate: self, name })
    }
}

impl State {
    fn count(&mut self, name: &str, now: Instant) -> Result<(), Problem> {
        if self.of.len() >= PRINCIPALS_MAX && !self.of.contains_key(name) {
            self.of.retain(|_, one| {
                one.refill(now);
                one.running > 0 || one.left < BURST
            });
        }
        if self.of.len() >= PRINCIPALS_MAX && !self.of.contains_key(name) {
            return Err(too_many("too many callers at once"));
        }
        let one = self.of.entry(name.to_owned()).or_insert(One {
            running: 0,
            left: BURST,
            since: now,
        });
        one.refill(now);
        if one.running >= CALLS_OF_ONE_MAX {
            return Err(too_many("16 calls with this token are running"));
        }
        if one.left < 1.0 {
            return Err(too_many(
                "50 calls a second with one token, 500 after a pause",
            ));
        }
        one.left -= 1.0;
        one.running += 1;
        Ok(())
    }
}

impl One {
    fn refill(&mut self, now: Instant) {
        let passed: Duration = now.saturating_duration_since(self.since);
        self.left = (self.left + passed.as_secs_f64() * CALLS_PER_SECOND).min(BURST);
        self.since = now;
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.running = state.running.saturating_sub(1);
        let one = self.name.as_ref().and_then(|name| state.of.get_mut(name));
        if let Some(one) = one {
            one.running = one.running.saturating_sub(1);
        }
    }
}

fn too_many(detail: &str) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).with(RETRY_AFTER, 1.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn one_caller_is_slowed_and_others_are_not() {
        let gate = Gate::default();
        let (shop, other) = (Principal::new("shop", []), Principal::new("other", []));
        let start = clock::monotonic();
        let status = |who: &Principal, now| {
            let entered = gate.enter(who, now);
            entered.map_or_else(|problem| problem.status().as_u16(), |_| 200)
        };
        for _ in 0..500 {
            assert_eq!(status(&shop, start), 200);
        }
        assert_eq!(status(&shop, start), 429);
        assert_eq!(status(&other, start), 200);
        assert_eq!(status(&Principal::admin("admin"), start), 200);
        let later = start + Duration::from_millis(100);
        for _ in 0..5 {
            assert_eq!(status(&shop, later), 200);
        }
        assert_eq!(status(&shop, later), 429);
    }

    #[test]
    fn so_many_run_at_once_of_one_and_of_all() {
        let gate = Gate::default();
        let now = clock::monotonic();
        let shop = Principal::new("shop", []);
        let mut running = Vec::new();
        for _ in 0..CALLS_OF_ONE_MAX {
            running.push(gate.enter(&shop, now).expect("a place"));
        }
        let refused = gate.enter(&shop, now).expect_err("too many of one");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let admin = Principal::admin("admin");
        while running.len() < CALLS_MAX {
            running.push(gate.enter(&admin, now).expect("a place"));
        }
        let refused = gate.enter(&admin, now).expect_err("too many of all");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        running.clear();
        assert!(gate.enter(&shop, now).is_ok());
    }

    #[test]
    fn those_who_are_quiet_are_forgotten_when_there_are_too_many() {
        let gate = Gate::default();
        let now = clock::monotonic();
        for number in 0..PRINCIPALS_MAX {
            let who = Principal::new(format!("p{number}"), []);
            assert!(gate.enter(&who, now).is_ok());
        }
        let another = Principal::new("another", []);
        assert!(gate.enter(&another, now).is_err());
        let later = now + Duration::from_secs(1);
        assert!(gate.enter(&another, later).is_ok());
        assert_eq!(gate.state.lock().of.len(), 1);
    }
}
