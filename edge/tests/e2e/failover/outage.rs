//! The etcd stands still for a while: what is proved is served all the time, and what is leased no longer than its lease.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::super::etcd::Stage;
use super::super::support::cluster::Side;
use super::super::support::etcd::MEMBERS;
use super::super::support::http1::{Client, get};
use super::super::support::scene::scene;
use super::super::support::wait::{now, unix_ms, until_true};
use super::SLACK;

/// How long it stands still, and in the long run.
const AWAY: Duration = Duration::from_secs(5);
const AWAY_LONG: Duration = Duration::from_secs(60);

/// `edge_lease_ms` of the documents, in seconds.
const LEASE: f64 = 3.0;

fn away() -> Duration {
    match std::env::var_os("JET9_LONG") {
        Some(_) => AWAY_LONG,
        None => AWAY,
    }
}

/// Freezes the whole etcd for a while. Gives back the moment before, in seconds since 1970.
fn freeze(stage: &Stage) -> f64 {
    let before = unix_ms() as f64 / 1_000.0;
    (0..MEMBERS).for_each(|member| stage.etcd.freeze(member));
    before
}

fn thaw(stage: &Stage) {
    (0..MEMBERS).for_each(|member| stage.etcd.thaw(member));
}

#[test]
fn while_the_store_is_away_a_confirmed_master_is_served_without_an_error() {
    scene(Duration::from_secs(240), |scene| {
        let stage = Stage::set(scene, "confirmed");
        let (over, address) = (AtomicBool::new(false), stage.edge.bound.http);
        let answers = thread::scope(|threads| {
            let visitors = [0, 1].map(|visitor| {
                let over = &over;
                threads.spawn(move || {
                    let mut client = Client::clear(address);
                    let mut answers = 0;
                    while !over.load(Ordering::Relaxed) {
                        let target = format!("/dynamic/{visitor}/{answers}");
                        let answer = client.ask(get("site.test", &target));
                        assert_eq!(answer.status, 200, "{answer:?}");
                        if answer.field("connection") == Some("close") {
                            client = Client::clear(address);
                        }
                        answers += 1;
                        thread::park_timeout(Duration::from_millis(5));
                    }
                    answers
                })
            });
            freeze(&stage);
            let end = now() + away();
            while now() < end && !visitors.iter().any(thread::ScopedJoinHandle::is_finished) {
                thread::park_timeout(Duration::from_millis(20));
            }
            thaw(&stage);
            over.store(true, Ordering::Relaxed);
            visitors.map(|visitor| visitor.join().expect("no error"))
        });
        assert!(answers.iter().all(|answers| *answers > 100), "{answers:?}");
        let mut stage = stage;
        stage.move_to(Side::B, 0);
    });
}

#[test]
fn while_the_store_is_away_nothing_is_sent_past_a_lease() {
    scene(Duration::from_secs(240), |scene| {
        let stage = Stage::set(scene, "lease");
        let frozen = freeze(&stage);
        stage.until_nothing_is_sent();
        let end = now() + away().saturating_sub(Duration::from_secs(3));
        while now() < end {
            assert_eq!(stage.ask().0, 503);
            thread::park_timeout(Duration::from_millis(20));
        }
        let log = stage.a.log();
        let last = log.iter().map(|logged| logged.ended - logged.took);
        let last = last.fold(0.0, f64::max) - frozen;
        assert!(last < LEASE + SLACK, "{last} s after the store went away");
        assert!(last > 0.0, "the lease was of no use");
        println!("last request {last:.3} s after the store went away; the lease is {LEASE} s");
        assert!(stage.b.log().is_empty());
        thaw(&stage);
        stage.until_served_by(Side::A);
        until_true("the edge says so", || {
            stage.edge.metric_of("jet9_clusters", "live") == 1.0
        });
    });
}
