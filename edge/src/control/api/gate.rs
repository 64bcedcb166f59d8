//! How much may be called at once, and how often?
//!
//! Asked by `api::server` for each call twice: once it is known who calls ([`Gate::enter`]: how often, and how many of one), and again when all of its
//! content is there ([`Inside::run`]: how many of all), so that whoever sends slowly takes no place from those who have something to do. Invariants 7
//! and 8: whoever has the token of a site cannot keep the operator, or another site's owner, from calling. Pure but for its counters; the time is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::StatusCode;
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
    /// Calls that are inside, running or not.
    inside: usize,
    left: f64,
    since: Instant,
}

/// A call that was let in; leaves when dropped.
#[derive(Debug)]
pub(super) struct Inside<'g> {
    gate: &'g Gate,
    /// Whose it is, unless that one may everything.
    name: Option<String>,
}

/// A call that runs; over when dropped.
#[derive(Debug)]
pub(super) struct Running<'i> {
    gate: &'i Gate,
    is_counted: bool,
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

    /// Lets a call in, of which only the head is there.
    pub(super) fn enter(&self, who: &Principal, now: Instant) -> Result<Inside<'_>, Problem> {
        let name = (!who.is_admin()).then(|| who.name().to_owned());
        if let Some(name) = &name {
            self.state.lock().count(self.bounds, name, now)?;
        }
        Ok(Inside { gate: self, name })
    }
}

impl Inside<'_> {
    /// Lets it run; all of it is there.
    pub(super) fn run(&self) -> Result<Running<'_>, Problem> {
        let calls = self.gate.bounds.calls;
        let mut state = self.gate.state.lock();
        let is_counted = self.name.is_some();
        if state.running >= calls || (is_counted && state.counted >= calls - calls / RESERVED) {
            let detail = "limits.admin_calls are running";
            return Err(Problem::crowded(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
        state.running += 1;
        state.counted += usize::from(is_counted);
        let gate = self.gate;
        Ok(Running { gate, is_counted })
    }
}

impl State {
    fn count(&mut self, bounds: Bounds, name: &str, now: Instant) -> Result<(), Problem> {
        let burst = bounds.burst();
        if self.of.len() >= PRINCIPALS_MAX && !self.of.contains_key(name) {
            self.of.retain(|_, one| {
                one.refill(bounds, now);
                one.inside > 0 || one.left < burst
            });
        }
        if self.of.len() >= PRINCIPALS_MAX && !self.of.contains_key(name) {
            return Err(too_many("too many callers at once"));
        }
        let one = self.of.entry(name.to_owned()).or_insert(One {
            inside: 0,
            left: burst,
            since: now,
        });
        one.refill(bounds, now);
        if one.inside >= bounds.of_one {
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
        one.inside += 1;
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
        let Some(name) = &self.name else {
            return;
        };
        if let Some(one) = self.gate.state.lock().of.get_mut(name) {
            one.inside = one.inside.saturating_sub(1);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.running = state.running.saturating_sub(1);
        let counted = usize::from(self.is_counted);
        state.counted = state.counted.saturating_sub(counted);
    }
}

fn too_many(detail: &str) -> Problem {
    Problem::crowded(StatusCode::TOO_MANY_REQUESTS, detail)
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
        let enter = |who: &Principal| gate.enter(who, now).expect("a place");
        let shop = Principal::new("shop", []);
        let mut inside: Vec<_> = (0..16).map(|_| enter(&shop)).collect();
        let refused = gate.enter(&shop, now).expect_err("too many of one");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        for number in 0..80 {
            inside.push(enter(&Principal::new(format!("shop-{number}"), [])));
        }
        let running: Vec<_> = inside
            .iter()
            .map(|one| one.run().expect("a place"))
            .collect();
        let another = enter(&Principal::new("another", []));
        let refused = another.run().expect_err("the rest is reserved");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let admin = enter(&Principal::admin("admin"));
        let of_admin: Vec<_> = (0..32).map(|_| admin.run().expect("a place")).collect();
        let refused = admin.run().expect_err("too many of all");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop((running, of_admin));
        assert!(another.run().is_ok());
        let state = gate.state.lock();
        assert_eq!((state.counted, state.running), (0, 0));
    }

    #[test]
    fn who_has_not_sent_all_of_a_call_takes_no_place_of_those_that_run() {
        let gate = Gate::new(&Limits::default());
        let now = clock::monotonic();
        let mut sending = Vec::new();
        for number in 0..200 {
            let slow = Principal::new(format!("slow-{}", number / 16), []);
            sending.push(gate.enter(&slow, now).expect("a place of its own"));
        }
        let shop = gate.enter(&Principal::new("shop", []), now);
        assert!(shop.expect("a place").run().is_ok());
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
