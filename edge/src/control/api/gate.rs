//! How much may be called at once, and how often?
//!
//! Asked by `api::server` for each call, once it is known who calls and before its content is read. Invariants 7 and 8: whoever has the token of
//! a site cannot keep the operator, or another site's owner, from calling. Pure but for its counters; the time is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::RETRY_AFTER;
use jet9_config::limits::Limits;
use parking_lot::Mutex;

use super::problem::Problem;
use crate::control::tokens::Principal;

/// How many times the calls of a second one principal may make at once after a pause.
const BURST: u32 = 10;

/// Of all calls that run at once, the share that is for those who may everything.
const RESERVED: usize = 4;

/// Principals that are counted. When there are more, those that have been quiet are forgotten first.
const PRINCIPALS_MAX: usize = 10_000;

/// Counts calls.
#[derive(Debug)]
pub(super) struct Gate {
    bounds: Bounds,
    state: Mutex<State>,
}

/// Of `limits`, those of calls.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    calls: usize,
    of_one: usize,
    per_second: u32,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    /// Of those, calls of principals that may not everything.
    counted: usize,
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
    /// One that lets in what these limits say.
    pub(super) fn new(limits: &Limits) -> Self {
        let bounds = Bounds {
            calls: limits.admin_calls,
            of_one: limits.admin_calls_of_one,
            per_second: limits.admin_rate,
        };
        Self {
            bounds,
            state: Mutex::default(),
        }
    }

    /// Lets a call in.
    pub(super) fn enter(&self, who: &Principal, now: Instant) -> Result<Inside<'_>, Problem> {
        let mut state = self.state.lock();
        let name = (!who.is_admin()).then(|| who.name().to_owned());
        let Bounds { calls, .. } = self.bounds;
        let is_full = match &name {
            Some(_) => state.counted >= calls - calls / RESERVED,
            None => false,
        };
        if is_full || state.running >= calls {
            let detail = "limits.admin_calls are running";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
            return Err(problem.with(RETRY_AFTER, 1.into()));
        }
        if let Some(name) = &name {
            state.count(self.bounds, name, now)?;
            state.counted += 1;
        }
        state.running += 1;
        Ok(Inside { gate: self, name })
    }
}

impl State {
    fn count(&mut self, bounds: Bounds, name: &str, now: Instant) -> Result<(), Problem> {
        let burst = bounds.burst();
        if self.of.len() >= PRINCIPALS_MAX && !self.of.contains_key(name) {
            self.of.retain(|_, one| {
                one.refill(bounds, now);
                one.running > 0 || one.left < burst
            });
        }
        if self.of.len() >= PRINCIPALS_MAX && !self.of.contains_key(name) {
            return Err(too_many("too many callers at once"));
        }
        let one = self.of.entry(name.to_owned()).or_insert(One {
            running: 0,
            left: burst,
            since: now,
        });
        one.refill(bounds, now);
        if one.running >= bounds.of_one {
            return Err(too_many(
                "limits.admin_calls_of_one are running with this token",
            ));
        }
        if one.left < 1.0 {
            return Err(too_many(
                "more calls a second with one token than limits.admin_rate",
            ));
        }
        one.left -= 1.0;
        one.running += 1;
        Ok(())
    }
}

impl Bounds {
    fn burst(self) -> f64 {
        f64::from(self.per_second) * f64::from(BURST)
    }
}

impl One {
    fn refill(&mut self, bounds: Bounds, now: Instant) {
        let passed: Duration = now.saturating_duration_since(self.since);
        let refilled = passed.as_secs_f64() * f64::from(bounds.per_second);
        self.left = (self.left + refilled).min(bounds.burst());
        self.since = now;
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.running = state.running.saturating_sub(1);
        if self.name.is_some() {
            state.counted = state.counted.saturating_sub(1);
        }
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
        let gate = Gate::new(&Limits::default());
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
        let gate = Gate::new(&Limits::default());
        let now = clock::monotonic();
        let shop = Principal::new("shop", []);
        let mut running = Vec::new();
        for _ in 0..16 {
            running.push(gate.enter(&shop, now).expect("a place"));
        }
        let refused = gate.enter(&shop, now).expect_err("too many of one");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        while running.len() < 96 {
            let another = Principal::new(format!("shop-{}", running.len()), []);
            running.push(gate.enter(&another, now).expect("a place"));
        }
        let another = Principal::new("another", []);
        let refused = gate.enter(&another, now).expect_err("the rest is reserved");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let admin = Principal::admin("admin");
        while running.len() < 128 {
            running.push(gate.enter(&admin, now).expect("a place"));
        }
        let refused = gate.enter(&admin, now).expect_err("too many of all");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        running.clear();
        assert!(gate.enter(&shop, now).is_ok());
        assert_eq!(gate.state.lock().counted, 0);
    }

    #[test]
    fn those_who_are_quiet_are_forgotten_when_there_are_too_many() {
        let gate = Gate::new(&Limits::default());
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
