//! Two edges follow an etcd while everything around them is killed, frozen and started again, and visitors ask and post all the while.
//!
//! A seed chooses what happens in each round; it is printed, and `JET9_SEED=…` plays it again. Every round moves the master (`JET9_MOVES=…`
//! of them). What must hold: a side only ever sees epochs in which it is the master, and nothing from an edge that has said that it knows of a newer one; no post reaches the sides
//! twice; and where nothing but the move happens, no visitor sees an error.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rustix::process::Signal;

use super::super::support::cluster::{Cluster, Side};
use super::super::support::edge::Jet9;
use super::super::support::etcd::{Etcd, MEMBERS};
use super::super::support::http1::{Client, get};
use super::super::support::nginx::{Logged, Nginx};
use super::super::support::process::Process;
use super::super::support::scene::{Scene, scene};
use super::super::support::setup::{Setup, Site};
use super::super::support::wait::{now, unix_ms, until_true};
use super::{CUT, SLACK, STRAGGLERS, adoption};

/// Moves of the master, and in the long run.
const ROUNDS: usize = 30;
const ROUNDS_LONG: usize = 1_000;

const EDGES: usize = 2;

/// Visitors of each edge.
const VISITORS: usize = 3;

/// Answers that each visitor must have had from the new master before the next round: the second was asked for after the move.
const ANSWERS: usize = 2;

/// How long a visitor waits for an answer: longer than anything is held or frozen.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two requests of a visitor. The machine is to be busy, not stuck.
const PAUSE: Duration = Duration::from_millis(3);

const HOST: &str = "site.test";

/// The fencing class of odd seeds, and the publisher's wait for the three seconds of its documents.
const LEASE: &str = "lease";
const LEASE_WAIT: Duration = Duration::from_millis(3_008);

fn fencing(seed: u64) -> &'static str {
    match seed % 2 {
        0 => "confirmed",
        _ => LEASE,
    }
}

/// Nobody unparks these threads early, but a wake-up without a reason is allowed.
fn rest(pause: Duration) {
    let end = now() + pause;
    while let Some(left) = end.checked_duration_since(now())
        && !left.is_zero()
    {
        thread::park_timeout(left);
    }
}

/// What happens in a round, besides the move of the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nemesis {
    Nothing,
    KillSide,
    FreezeSide,
    KillEdge(usize),
    FreezeEdge(usize),
    KillMember(usize),
    FreezeMember(usize),
}

/// Numbers that a seed determines (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).expect("less than sides")
    }

    fn nemesis(&mut self) -> Nemesis {
        match self.roll(10) {
            0 => Nemesis::KillSide,
            1 => Nemesis::FreezeSide,
            2 => Nemesis::KillEdge(self.roll(EDGES)),
            3 => Nemesis::FreezeEdge(self.roll(EDGES)),
            4 => Nemesis::KillMember(self.roll(MEMBERS)),
            5 => Nemesis::FreezeMember(self.roll(MEMBERS)),
            _ => Nemesis::Nothing,
        }
    }
}

#[test]
fn whatever_is_killed_or_frozen_no_side_is_asked_out_of_its_epoch_and_no_post_comes_twice() {
    let is_long = std::env::var_os("JET9_LONG").is_some();
    let rounds = if is_long { ROUNDS_LONG } else { ROUNDS };
    let moves = std::env::var("JET9_MOVES").ok();
    let rounds = moves.map_or(rounds, |moves| {
        moves.parse().expect("JET9_MOVES is a number")
    });
    let seed = std::env::var("JET9_SEED").ok();
    let seed = seed.map_or_else(unix_ms, |seed| seed.parse().expect("JET9_SEED is a number"));
    println!("JET9_SEED={seed}");
    let limit = Duration::from_secs(180 + 5 * rounds as u64);
    scene(limit, move |scene| play(scene, seed, rounds));
}

fn play(scene: &Scene, seed: u64, rounds: usize) {
    let root = scene.dir().join("root");
    fs::create_dir_all(&root).expect("a directory");
    let sides = Sides {
        a: Nginx::start(scene, "a", &root),
        b: Nginx::start(scene, "b", &root),
    };
    let etcd = Etcd::start(scene);
    let cluster = Cluster {
        fencing: fencing(seed),
        ..Cluster::of_two("c-1", sides.a.address, sides.b.address)
    };
    etcd.publish_fast(0, &cluster);
    let edges = ["edge1", "edge2"].map(|name| {
        let setup = Setup::new().named(name);
        let edge = setup
            .site(Site::of("s-1", &[HOST]))
            .etcd(&etcd)
            .limit("flap = 1000") // masters that change without a proof are what is played here
            .start(scene);
        Edge {
            processes: Mutex::new(vec![Arc::clone(&edge.process)]),
            running: RwLock::new(edge),
        }
    });
    let drama = Drama {
        sides,
        etcd,
        edges,
        answers: std::array::from_fn(|_| [AtomicUsize::new(0), AtomicUsize::new(0)]),
        over: AtomicBool::new(false),
        errors: Mutex::default(),
    };
    let told = thread::scope(|threads| {
        let drama = &drama;
        for visitor in 0..EDGES * VISITORS {
            threads.spawn(move || drama.visit(visitor));
        }
        let _over = Over(&drama.over);
        drama.rounds(seed, rounds, cluster)
    });
    drama.check(&told, seed);
}

/// Ends the visits, also when a round fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Sides {
    a: Nginx,
    b: Nginx,
}

impl Sides {
    const fn of(&self, side: Side) -> &Nginx {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}

struct Edge {
    running: RwLock<Jet9>,
    /// All that ran under its name.
    processes: Mutex<Vec<Arc<Process>>>,
}

struct Drama {
    sides: Sides,
    etcd: Etcd,
    edges: [Edge; EDGES],
    /// Whole answers that each visitor had of each side.
    answers: [[AtomicUsize; 2]; EDGES * VISITORS],
    over: AtomicBool,
    errors: Mutex<Vec<Unserved>>,
}

/// What a visitor saw that was no whole answer of a side, and from when to when.
#[derive(Debug)]
struct Unserved {
    asked: Instant,
    ended: Instant,
    why: String,
}

/// What the rounds were.
struct Told {
    /// Whose each epoch was.
    masters: HashMap<u64, Side>,
    /// From when to when nothing but a move happened.
    clean: Vec<(Instant, Instant)>,
    /// From when to when a side stood still, in seconds since 1970.
    frozen: Vec<(Side, f64, f64)>,
}

impl Drama {
    fn rounds(&self, seed: u64, rounds: usize, mut cluster: Cluster) -> Told {
        let mut dice = Dice(seed);
        let mut told = Told {
            masters: HashMap::from([(cluster.epoch, Side::A)]),
            clean: Vec::new(),
            frozen: Vec::new(),
        };
        let mut master = Side::A;
        self.until_served_by(master);
        for round in 0..rounds {
            let nemesis = dice.nemesis();
            let leases_over = self.leases_over();
            let began = (now(), unix_ms());
            self.begin(nemesis, master);
            let ended = match nemesis {
                Nemesis::Nothing | Nemesis::KillMember(_) => "demoted",
                _ if cluster.fencing == LEASE => "unconfirmed",
                Nemesis::KillSide | Nemesis::FreezeSide => "fenced",
                _ => "demoted",
            };
            cluster = cluster.switching().after(ended);
            self.etcd.publish_fast(round, &cluster);
            let pause = match ended {
                // Nothing proves that the old master is out: no edge may hold a lease of it any more.
                "unconfirmed" => LEASE_WAIT,
                _ => Duration::from_millis(dice.roll(80) as u64),
            };
            rest(pause);
            cluster = cluster.serving(master.other());
            told.masters.insert(cluster.epoch, master.other());
            self.etcd.publish_fast(round + 1, &cluster);
            self.end(nemesis, master, &cluster);
            if nemesis == Nemesis::FreezeSide {
                let seconds = |ms: u64| ms as f64 / 1_000.0;
                told.frozen
                    .push((master, seconds(began.1), seconds(unix_ms()) + 1.0));
            }
            master = master.other();
            self.until_served_by(master);
            // An etcd that found no leader for as long as a lease lasts is more than a move, whoever held it up.
            if nemesis == Nemesis::Nothing && self.leases_over() == leases_over {
                told.clean.push((began.0, now()));
            }
        }
        told
    }

    /// How often the edges that run now said that a lease had run out.
    fn leases_over(&self) -> usize {
        let of = |edge: &Edge| {
            let lines = edge.running.read().process.err.all();
            let over = lines
                .iter()
                .filter(|line| line.contains("the lease is over"));
            over.count()
        };
        self.edges.iter().map(of).sum()
    }

    fn begin(&self, nemesis: Nemesis, master: Side) {
        match nemesis {
            Nemesis::Nothing => {}
            Nemesis::KillSide => self.sides.of(master).kill(),
            Nemesis::FreezeSide => self.sides.of(master).freeze(),
            Nemesis::KillEdge(edge) => self.edges[edge].running.read().process.kill(),
            Nemesis::FreezeEdge(edge) => {
                self.edges[edge].running.read().process.signal(Signal::STOP);
            }
            Nemesis::KillMember(member) => self.etcd.kill(member),
            Nemesis::FreezeMember(member) => self.etcd.freeze(member),
        }
    }

    fn end(&self, nemesis: Nemesis, master: Side, cluster: &Cluster) {
        match nemesis {
            Nemesis::Nothing => {}
            Nemesis::KillSide => self.sides.of(master).start_again(),
            Nemesis::FreezeSide => self.sides.of(master).thaw(),
            Nemesis::KillEdge(edge) => {
                let edge = &self.edges[edge];
                let mut running = edge.running.write();
                running.start_again();
                edge.processes.lock().push(Arc::clone(&running.process));
            }
            Nemesis::FreezeEdge(edge) => {
                self.edges[edge].running.read().process.signal(Signal::CONT);
            }
            Nemesis::KillMember(member) => {
                self.etcd.start_again(member);
                self.etcd.publish(member, cluster);
            }
            Nemesis::FreezeMember(member) => {
                self.etcd.thaw(member);
                self.etcd.publish(member, cluster);
            }
        }
    }

    /// Until every visitor has had some answers of this side.
    fn until_served_by(&self, side: Side) {
        let count = |of: &[AtomicUsize; 2]| of[side as usize].load(Ordering::Relaxed);
        let before = self.answers.each_ref().map(count);
        until_true("every visitor is served by the new master", || {
            let mut visitors = self.answers.iter().zip(before);
            visitors.all(|(of, before)| count(of) >= before + ANSWERS)
        });
    }

    /// Asks and posts in turn, until it is over.
    fn visit(&self, visitor: usize) {
        let edge = &self.edges[visitor % EDGES];
        let mut client = None;
        for number in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let asked = now();
            let method = if number % 2 == 0 { "GET" } else { "POST" };
            let answered = self.ask(edge, &mut client, method, &format!("{visitor}/{number}"));
            match answered {
                Ok(side) => {
                    self.answers[visitor][side as usize].fetch_add(1, Ordering::Relaxed);
                }
                Err(why) => {
                    client = None;
                    let ended = now();
                    self.errors.lock().push(Unserved { asked, ended, why });
                }
            }
            thread::park_timeout(PAUSE);
        }
    }

    /// The side that answered, or what came instead.
    fn ask(
        &self,
        edge: &Edge,
        client: &mut Option<Client>,
        method: &str,
        id: &str,
    ) -> Result<Side, String> {
        let target = format!("/dynamic/{id}");
        let request = match method {
            "GET" => get(HOST, &target),
            _ => format!(
                "POST {target} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n{id}",
                id.len()
            ),
        };
        let connection = match client {
            Some(client) => client,
            None => {
                let address = edge.running.read().bound.http;
                let connected = Client::try_impatient(address, PATIENCE);
                client.insert(connected.map_err(|error| error.to_string())?)
            }
        };
        connection.send(request);
        let answer = connection.answer(method);
        let answer = answer.map_err(|broken| format!("{method} {target}: {broken:?}"))?;
        let side = [Side::A, Side::B].into_iter().find(|side| {
            let told = format!("{method} {target} of side {}\n", side.as_str());
            answer.status == 200 && answer.content == told.into_bytes()
        });
        let is_last = answer.field("connection") == Some("close");
        let side = side.ok_or_else(|| format!("{method} {target}: {answer:?}"))?;
        if is_last {
            *client = None;
        }
        Ok(side)
    }

    fn check(&self, told: &Told, seed: u64) {
        let mut posts: HashMap<String, usize> = HashMap::new();
        let mut late = Vec::new();
        let mut requests = 0;
        let adoptions = self.adoptions();
        for side in [Side::A, Side::B] {
            for logged in self.sides.of(side).log() {
                requests += 1;
                let epoch = logged
                    .epoch
                    .unwrap_or_else(|| panic!("no epoch: {logged:?}"));
                assert_eq!(told.masters.get(&epoch), Some(&side), "{logged:?}");
                late.extend(
                    told.lateness(side, &logged, &adoptions)
                        .map(|by| (by, logged.clone())),
                );
                if logged.method == "POST" {
                    *posts.entry(logged.target).or_default() += 1;
                }
            }
        }
        posts.retain(|_, times| *times > 1);
        assert!(posts.is_empty(), "sent twice: {posts:?}");
        assert!(late.len() <= STRAGGLERS, "{late:?}");
        assert!(late.iter().all(|(by, _)| *by < CUT), "{late:?}");
        for edge in &self.edges {
            let wrong = edge.running.read().metric("jet9_origin_wrong_side_total");
            assert_eq!(wrong, 0.0);
        }
        let errors = self.errors.lock();
        let unforced: Vec<_> = (errors.iter())
            .filter(|error| {
                let mut clean = told.clean.iter();
                clean.any(|(from, to)| *from <= error.asked && error.ended <= *to)
            })
            .map(|error| &error.why)
            .collect();
        assert!(unforced.is_empty(), "JET9_SEED={seed}: {unforced:?}");
        println!(
            "{}: {requests} requests reached the sides in {} epochs, {} clean moves; visitors saw {} errors in the others",
            fencing(seed),
            told.masters.len(),
            told.clean.len(),
            errors.len()
        );
    }

    /// What each edge said that it adopted, and when: by the name that it has in `Via`.
    fn adoptions(&self) -> HashMap<String, Vec<(u64, f64)>> {
        let of = |(index, edge): (usize, &Edge)| {
            let processes = edge.processes.lock();
            let lines = processes.iter().flat_map(|process| process.err.all());
            let adopted: Vec<_> = lines.filter_map(|line| adoption(&line)).collect();
            (format!("1.1 edge{}", index + 1), adopted)
        };
        self.edges.iter().enumerate().map(of).collect()
    }
}

impl Told {
    /// By how many seconds a request came to a side after its edge had said that it knows of a newer epoch; `None`: it did not, or the side stood
    /// still, so that its log does not tell when it came.
    fn lateness(
        &self,
        side: Side,
        logged: &Logged,
        adoptions: &HashMap<String, Vec<(u64, f64)>>,
    ) -> Option<f64> {
        let came = logged.ended - logged.took;
        let stood =
            |(frozen, from, to): &(Side, f64, f64)| *frozen == side && (*from..*to).contains(&came);
        if self.frozen.iter().any(stood) {
            return None;
        }
        let of_edge = adoptions
            .get(&logged.via)
            .unwrap_or_else(|| panic!("no edge: {logged:?}"));
        let (_, adopted) = of_edge
            .iter()
            .find(|(epoch, _)| Some(*epoch) > logged.epoch)?;
        Some(came - adopted).filter(|by| *by > SLACK)
    }
}
