//! The world: true time, the store with its history, the two sides, the network between, and what goes wrong in it.
//!
//! Events happen in the order of their time; each is one call. Time is in true microseconds; every edge and publisher has a clock of its own
//! that runs by up to a thousandth too fast or too slow, and reads whole milliseconds.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use fastrand::Rng;
use jet9_cluster::document::{Document, Ended, Fencing, Phase, SideFacts};
use jet9_cluster::{Epoch, Instant};
use jet9_config::{ClusterId, Side};

use crate::checks::Report;
use crate::edge::SimulatedEdge;
use crate::publisher::Proposal;

pub(crate) const MILLI: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000_000;

const DURATION: u64 = 40 * SECOND;
const LEASE_MS: u64 = 3_000;
const HOLD_MS: u64 = 5_000;
/// A clock without discipline runs by this wrong at most, in parts of a million.
const DRIFT_PPM: i64 = 1_000;

/// Which rules are in force; [`Rules::SOUND`] but for the controls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// A lease counts from the sending of the read, not from the arrival of its answer.
    pub(crate) lease_from_sending: bool,
    /// Without a proof, the publisher waits for the leases to run out.
    pub(crate) publisher_waits: bool,
    pub(crate) compare_and_swap: bool,
    /// A connection is used only under the epoch under which it was opened.
    pub(crate) pool_by_epoch: bool,
    pub(crate) remembers_over_restarts: bool,
    /// Mastership is asked for again when the connection is there.
    pub(crate) looks_again: bool,
    /// What was fetched is stored only in its own epoch.
    pub(crate) admits_by_epoch: bool,
    /// Nothing less is promised within a move than edges may still go by.
    pub(crate) promise_kept: bool,
}

impl Rules {
    pub(crate) const SOUND: Self = Self {
        lease_from_sending: true,
        publisher_waits: true,
        compare_and_swap: true,
        pool_by_epoch: true,
        remembers_over_restarts: true,
        looks_again: true,
        admits_by_epoch: true,
        promise_kept: true,
    };
}

/// What is to happen in a world.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) fencing: Fencing,
    pub(crate) edges: usize,
    pub(crate) only_planned: bool,
    /// Publishers race.
    pub(crate) races: bool,
    /// Documents are lost, late, doubled; edges are cut off, paused, killed.
    pub(crate) faults: bool,
    /// A second source contradicts the store now and then.
    pub(crate) contradicted: bool,
    /// No failover; the store goes away after five seconds and stays away.
    pub(crate) store_away: bool,
    /// Publishers try to promise less within a move: another fencing class, or a shorter lease.
    pub(crate) promises_less: bool,
}

impl Plan {
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let classes = [
            Fencing::Confirmed,
            Fencing::Lease,
            Fencing::Lease,
            Fencing::None,
        ];
        Self {
            seed,
            fencing: classes[random.usize(..classes.len())],
            edges: random.usize(1..6),
            only_planned: false,
            races: random.bool(),
            faults: random.u8(0..10) > 0,
            contradicted: random.u8(0..4) == 0,
            store_away: false,
            promises_less: random.u8(0..4) == 0,
        }
    }

    /// Switches that go as they should, and a network that works.
    pub(crate) fn clean(seed: u64, fencing: Fencing) -> Self {
        Self {
            only_planned: true,
            races: false,
            faults: false,
            contradicted: false,
            promises_less: false,
            fencing,
            ..Self::random(seed)
        }
    }

    pub(crate) fn store_away(seed: u64, fencing: Fencing) -> Self {
        Self {
            store_away: true,
            ..Self::clean(seed, fencing)
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A visitor comes to an edge; the next one follows.
    Visit(usize),
    /// A connection was opened for a visit, or refused.
    Connected {
        edge: usize,
        life: u32,
        visit: u64,
    },
    /// A side answered a visit.
    Answered {
        edge: usize,
        life: u32,
        visit: u64,
    },
    /// The hold of a visit is over.
    HoldOver {
        edge: usize,
        life: u32,
        visit: u64,
    },
    /// The grace of a planned switch is over.
    Cut {
        edge: usize,
        life: u32,
        below: Epoch,
    },
    /// The edge reads the store; the next reading follows.
    Poll {
        edge: usize,
        life: u32,
    },
    /// The answer to a reading: what stood at this place of the history.
    Reply {
        edge: usize,
        life: u32,
        sent: u64,
        shows: usize,
    },
    /// The watch of the store tells.
    Watched {
        edge: usize,
        shows: usize,
    },
    /// Another source tells.
    Beside {
        edge: usize,
        shows: Box<Document>,
    },
    /// Something happens to an edge; the next thing follows.
    Mishap(usize),
    Commit(Proposal),
    Promote(Proposal, Side, usize),
    StopSide(Side),
    FailOver,
    StoreGone,
}

/// An event at its time; the earliest is the greatest, and of equals the first that was planned.
struct Planned(Reverse<(u64, u64)>, Event);

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rules: Rules,
    pub(crate) random: Rng,
    pub(crate) now: u64,
    pub(crate) report: Report,
    /// Every document that was ever committed, and when.
    pub(crate) store: Vec<Document>,
    pub(crate) committed_at: Vec<u64>,
    pub(crate) last_master: Option<Side>,
    /// How often each POST was taken by a side.
    pub(crate) processed: HashMap<u64, u32>,
    pub(crate) visits: u64,
    store_is_away: bool,
    accepting: [bool; 2],
    publisher_ppm: i64,
    edges: Vec<SimulatedEdge>,
    queue: BinaryHeap<Planned>,
    planned: u64,
}

impl World {
    pub(crate) fn new(plan: Plan, rules: Rules) -> Self {
        let mut random = Rng::with_seed(plan.seed);
        let edges = (0..plan.edges)
            .map(|_| SimulatedEdge::new(random.i64(-DRIFT_PPM..=DRIFT_PPM), random.u64(0..1 << 40)))
            .collect();
        let mut world = Self {
            publisher_ppm: random.i64(-DRIFT_PPM..=DRIFT_PPM),
            store: vec![first(plan.fencing)],
            plan,
            rules,
            random,
            now: 0,
            report: Report::default(),
            committed_at: vec![0],
            last_master: Some(Side::A),
            processed: HashMap::new(),
            visits: 0,
            store_is_away: false,
            accepting: [true, false],
            edges,
            queue: BinaryHeap::new(),
            planned: 0,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for edge in 0..self.edges.len() {
            self.after(0, Event::Poll { edge, life: 0 });
            self.after(50 * MILLI, Event::Visit(edge));
            if self.plan.faults {
                self.after(self.now + SECOND, Event::Mishap(edge));
            }
        }
        if self.plan.store_away {
            self.after(5 * SECOND, Event::StoreGone);
        } else {
            let first = self.random.u64(1_000..4_000) * MILLI;
            self.after(first, Event::FailOver);
        }
    }

    pub(crate) fn run(mut self) -> Report {
        while let Some(Planned(Reverse((at, _)), event)) = self.queue.pop() {
            if at > DURATION {
                break;
            }
            self.now = at;
            self.happen(event);
        }
        self.report
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::FailOver => self.fail_over(),
            Event::Commit(proposal) => self.commit(&proposal),
            Event::Promote(done, old, base) => self.promote(&done, old, base),
            Event::StopSide(side) => self.stop_side(side),
            Event::StoreGone => self.store_is_away = true,
            Event::Visit(edge)
            | Event::Mishap(edge)
            | Event::Connected { edge, .. }
            | Event::Answered { edge, .. }
            | Event::HoldOver { edge, .. }
            | Event::Cut { edge, .. }
            | Event::Poll { edge, .. }
            | Event::Reply { edge, .. }
            | Event::Watched { edge, .. }
            | Event::Beside { edge, .. } => self.happen_at(edge, event),
        }
    }

    /// A stopped process does nothing until it goes on; then everything at once, with a clock that went on.
    fn happen_at(&mut self, edge: usize, event: Event) {
        let paused_until = self.edges[edge].paused_until;
        if self.now < paused_until {
            return self.after(paused_until - self.now, event);
        }
        let mut taken = std::mem::take(&mut self.edges[edge]);
        taken.happen(edge, event, self);
        self.edges[edge] = taken;
    }

    /// Plans an event, in so many true microseconds.
    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.planned += 1;
        let at = self.now + delay;
        self.queue.push(Planned(Reverse((at, self.planned)), event));
    }

    pub(crate) fn latest(&self) -> &Document {
        &self.store[self.latest_index()]
    }

    pub(crate) const fn latest_index(&self) -> usize {
        self.store.len() - 1
    }

    /// What the store says now, for the checker.
    pub(crate) fn state(&self) -> (Phase, Fencing) {
        (self.latest().phase, self.plan.fencing)
    }

    /// The longest that a lease may let an edge send, in true microseconds.
    pub(crate) const fn lease_us() -> u64 {
        (LEASE_MS + 2) * MILLI * (1_000_000 + 2 * DRIFT_PPM as u64) / 1_000_000
    }

    pub(crate) const fn lease_ms() -> u64 {
        LEASE_MS
    }

    /// How long it takes until the publisher's clock has counted so many milliseconds.
    pub(crate) fn publisher_clock_us(&self, ms: u64) -> u64 {
        ms * MILLI * 1_000_000 / 1_000_000u64.saturating_add_signed(self.publisher_ppm)
    }

    pub(crate) const fn accepts(&self, side: Side) -> bool {
        self.accepting[side as usize]
    }

    pub(crate) fn start_side(&mut self, side: Side) {
        self.accepting[side as usize] = true;
    }

    pub(crate) fn stop_side(&mut self, side: Side) {
        self.accepting[side as usize] = false;
    }

    /// The watch tells every edge of the newest document: mostly soon, sometimes late, twice, or never.
    pub(crate) fn announce(&mut self) {
        for edge in 0..self.edges.len() {
            let shows = self.latest_index();
            let delay = self.watch_delay(edge);
            let lost = self.plan.faults && self.random.u8(0..8) == 0;
            if !lost && !self.store_is_away {
                self.after(delay, Event::Watched { edge, shows });
            }
            if self.plan.faults && self.random.u8(0..4) == 0 {
                let again = self.random.u64(0..8_000) * MILLI;
                let older = self.random.usize(..=shows);
                self.after(again, Event::Watched { edge, shows: older });
            }
            if self.plan.contradicted {
                self.contradict(edge);
            }
        }
    }

    fn watch_delay(&mut self, edge: usize) -> u64 {
        let is_slow = self.now < self.edges[edge].slow_until;
        if is_slow || (self.plan.faults && self.random.u8(0..4) == 0) {
            self.random.u64(0..8_000) * MILLI
        } else {
            self.random.u64(1..20) * MILLI
        }
    }

    /// Another source says something, wrong in any way, and takes it back later.
    fn contradict(&mut self, edge: usize) {
        let mut wrong = self.latest().clone();
        wrong.epoch.0 = (wrong.epoch.0 + self.random.u64(0..6))
            .saturating_sub(2)
            .max(1);
        let masters = [Side::A, Side::B];
        wrong.phase = Phase::Serving {
            master: masters[self.random.usize(..2)],
        };
        let right = Box::new(self.latest().clone());
        let from = self.random.u64(0..2_000) * MILLI;
        let shows = Box::new(wrong);
        self.after(from, Event::Beside { edge, shows });
        self.after(from + SECOND, Event::Beside { edge, shows: right });
    }

    /// A reading on its way: after how long its answer comes. `None`: it is lost.
    pub(crate) fn read(&mut self, is_cut_off: bool, is_slow: bool) -> Option<u64> {
        let lost = self.plan.faults && self.random.u8(0..10) == 0;
        if self.store_is_away || is_cut_off || lost {
            return None;
        }
        let slow = is_slow || (self.plan.faults && self.random.u8(0..5) == 0);
        Some(if slow {
            self.random.u64(0..2 * LEASE_MS) * MILLI
        } else {
            self.random.u64(500..30_000)
        })
    }
}

fn first(fencing: Fencing) -> Document {
    let side = |octet: u8| SideFacts {
        addrs: vec![([192, 0, 2, octet], 80).into()],
        ..SideFacts::default()
    };
    Document {
        cluster: ClusterId::parse("c1").expect("an id"),
        epoch: Epoch(1),
        phase: Phase::Serving { master: Side::A },
        a: side(1),
        b: side(2),
        fencing,
        edge_lease_ms: LEASE_MS,
        hold_ms: HOLD_MS,
        incarnation: None,
        reason: None,
        prev_master: None,
        prev_ended: Some(Ended::Demoted),
        data_loss_from_unix_ms: None,
        publisher_seq: None,
    }
}

/// The clock of an edge: what it reads at a true moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    pub(crate) ppm: i64,
    pub(crate) zero_ms: u64,
}

impl Clock {
    pub(crate) fn read(&self, at: u64) -> Instant {
        let rate = 1_000_000u64.saturating_add_signed(self.ppm);
        Instant(self.zero_ms + at * rate / 1_000_000 / MILLI)
    }
}
