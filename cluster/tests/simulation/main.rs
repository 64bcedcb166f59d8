//! A cluster, its publishers, a store and some edges, simulated: do the rules of `jet9-cluster` keep the invariants?
//!
//! Each seed is one world of forty seconds: a fencing class, edges with clocks that drift, documents that are lost, late, doubled, reordered
//! or contradicted, partitions, pauses, restarts, publishers that race, and a failover every few seconds. What the edges do is decided by the
//! real [`jet9_cluster::View`]; what happened is judged by [`checks`], which knows everything. The last test takes one rule away at a time:
//! a checker that does not notice proves nothing.
//!
//! `JET9_SIMULATION_SEED=n` replays one seed; `JET9_LONG=1` runs a hundred million requests instead of a million.

mod checks;
mod edge;
mod publisher;
mod world;

use checks::Report;
use jet9_cluster::document::Fencing;
use world::{Plan, Rules, World};

/// Requests in a plain run, and in a long one.
const REQUESTS: u64 = 1_000_000;
const REQUESTS_LONG: u64 = 100_000_000;

/// So many worlds are tried until a rule that was taken away is missed.
const CONTROL_SEEDS: u64 = 2_000;

fn run(seed: u64, rules: Rules) -> Report {
    World::new(Plan::random(seed), rules).run()
}

#[test]
fn the_invariants_hold_in_every_world() {
    if let Some(seed) = number("JET9_SIMULATION_SEED") {
        return check(seed, &run(seed, Rules::SOUND));
    }
    let wanted = if std::env::var_os("JET9_LONG").is_some() {
        REQUESTS_LONG
    } else {
        REQUESTS
    };
    let mut total = Report::default();
    for seed in 0.. {
        let report = run(seed, Rules::SOUND);
        check(seed, &report);
        total.add(&report);
        if total.requests >= wanted {
            println!("{} worlds: {total}", seed + 1);
            break;
        }
    }
    assert!(
        total.sent > total.requests / 2,
        "the edges hardly sent: {total}"
    );
    assert!(
        total.adopted > 0 && total.restarts > 0 && total.refused_commits > 0,
        "{total}"
    );
    assert!(
        total.held > 0 && total.not_admitted > 0 && total.cut > 0,
        "{total}"
    );
}

#[test]
fn a_clean_switch_costs_no_visitor_an_error_and_little_time() {
    for fencing in [Fencing::Confirmed, Fencing::Lease, Fencing::None] {
        for seed in 0..20 {
            let report = World::new(Plan::clean(seed, fencing), Rules::SOUND).run();
            check(seed, &report);
            assert!(report.adopted > 4, "seed {seed}: {report}");
            assert_eq!(report.failed, 0, "seed {seed}, {fencing:?}: {report}");
            let over = report.held_over_us / 1_000;
            assert!(
                over <= 50,
                "seed {seed}: held {over} ms longer than the switch"
            );
        }
    }
}

#[test]
fn without_the_store_a_confirmed_cluster_is_served_as_long_as_it_takes() {
    for seed in 0..20 {
        let report = World::new(Plan::store_away(seed, Fencing::Confirmed), Rules::SOUND).run();
        check(seed, &report);
        assert_eq!(report.failed, 0, "seed {seed}: {report}");
        let leased = World::new(Plan::store_away(seed, Fencing::Lease), Rules::SOUND).run();
        check(seed, &leased);
        assert!(
            leased.failed > 0,
            "seed {seed}: a lease was never over: {leased}"
        );
    }
}

#[test]
fn each_rule_that_is_taken_away_is_missed() {
    let caught = |without: &str, rules: Rules, invariant: &str| {
        let seed = (0..CONTROL_SEEDS).find(|seed| run(*seed, rules).broke(invariant));
        let seed = seed.unwrap_or_else(|| {
            panic!("without {without} nobody noticed in {CONTROL_SEEDS} worlds")
        });
        println!("without {without}: {invariant} is broken with seed {seed}");
    };
    let sound = Rules::SOUND;
    caught(
        "anchoring the lease at the sending",
        Rules {
            lease_from_sending: false,
            ..sound
        },
        "I2",
    );
    caught(
        "the publisher's wait",
        Rules {
            publisher_waits: false,
            ..sound
        },
        "I2",
    );
    caught(
        "compare-and-swap",
        Rules {
            compare_and_swap: false,
            ..sound
        },
        "I5",
    );
    caught(
        "the epoch in the key of the pool",
        Rules {
            pool_by_epoch: false,
            ..sound
        },
        "I11",
    );
    caught(
        "the highest epoch kept over restarts",
        Rules {
            remembers_over_restarts: false,
            ..sound
        },
        "I3",
    );
    caught(
        "looking again before the first byte",
        Rules {
            looks_again: false,
            ..sound
        },
        "I1",
    );
    caught(
        "asking for the epoch before storing",
        Rules {
            admits_by_epoch: false,
            ..sound
        },
        "I9",
    );
    caught(
        "keeping to the promise of the class within a move",
        Rules {
            promise_kept: false,
            ..sound
        },
        "I2",
    );
}

fn check(seed: u64, report: &Report) {
    assert!(
        report.broken.is_empty(),
        "seed {seed} (JET9_SIMULATION_SEED={seed} replays it): {report}\n{}",
        report.broken.join("\n")
    );
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
