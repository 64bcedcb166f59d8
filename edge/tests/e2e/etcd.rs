//! Cluster state in an etcd: the edge follows it over whichever member answers, and sends no longer than its lease.

use std::fs;
use std::time::Duration;

use super::support::cluster::{Cluster, Side};
use super::support::edge::Jet9;
use super::support::etcd::{Etcd, MEMBERS};
use super::support::nginx::Nginx;
use super::support::scene::{Scene, scene};
use super::support::setup::{Setup, Site};
use super::support::wait::until_true;

#[cfg(test)]
mod beside;
#[cfg(test)]
mod publishing;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod secured;

/// An etcd, two sides, and an edge that serves from the first of them.
pub(crate) struct Stage {
    pub(crate) etcd: Etcd,
    pub(crate) a: Nginx,
    pub(crate) b: Nginx,
    cluster: Cluster,
    pub(crate) edge: Jet9,
    asked: std::cell::Cell<usize>,
}

impl Stage {
    pub(crate) fn set(scene: &Scene, fencing: &'static str) -> Self {
        Self::set_with(scene, Etcd::start(scene), fencing)
    }

    fn set_with(scene: &Scene, etcd: Etcd, fencing: &'static str) -> Self {
        let root = scene.dir().join("root");
        fs::create_dir_all(&root).expect("a directory");
        let a = Nginx::start(scene, "a", &root);
        let b = Nginx::start(scene, "b", &root);
        let cluster = Cluster {
            fencing,
            ..Cluster::of_two("c-1", a.address, b.address)
        };
        etcd.publish(0, &cluster);
        let edge = Setup::new()
            .site(Site::of("s-1", &["site.test"]))
            .etcd(&etcd)
            .start(scene);
        let stage = Self {
            etcd,
            a,
            b,
            cluster,
            edge,
            asked: std::cell::Cell::default(),
        };
        stage.until_served_by(Side::A);
        stage
    }

    /// Moves the master, through this member.
    pub(crate) fn move_to(&mut self, side: Side, through: usize) {
        self.cluster = self.cluster.switching();
        self.etcd.publish(through, &self.cluster);
        self.cluster = self.cluster.serving(side);
        self.etcd.publish(through, &self.cluster);
        self.until_served_by(side);
    }

    /// What an uncached request gets.
    pub(crate) fn ask(&self) -> (u16, String) {
        self.asked.set(self.asked.get() + 1);
        let target = format!("/dynamic/{}", self.asked.get());
        let answer = self.edge.get("site.test", &target);
        (
            answer.status,
            String::from_utf8_lossy(&answer.content).into_owned(),
        )
    }

    pub(crate) fn until_served_by(&self, side: Side) {
        let told = format!("of side {}\n", side.as_str());
        until_true(&format!("served by side {}", side.as_str()), || {
            let (status, content) = self.ask();
            status == 200 && content.ends_with(&told)
        });
    }

    fn lose_store(&self) {
        (0..MEMBERS).for_each(|member| self.etcd.kill(member));
    }

    fn find_store(&self) {
        (0..MEMBERS).for_each(|member| self.etcd.start_again(member));
    }

    /// Changes a byte of what the edge kept of the cluster.
    fn damage_kept(&self) {
        let path = self.edge.files.dir.join("data/clusters/c-1.kept");
        let mut text = fs::read(&path).expect("it was kept");
        *text.last_mut().expect("a byte") ^= 1;
        fs::write(&path, text).expect("a file");
    }

    pub(crate) fn until_nothing_is_sent(&self) {
        until_true("the lease is over", || self.ask().0 == 503);
    }
}

#[test]
fn the_master_is_followed_over_frozen_and_dead_members() {
    scene(Duration::from_secs(90), |scene| {
        let mut stage = Stage::set(scene, "lease");
        stage.move_to(Side::B, 1);
        stage.etcd.freeze(0);
        stage.move_to(Side::A, 1);
        stage.etcd.kill(0);
        stage.move_to(Side::B, 2);
        assert_eq!(stage.edge.metric("jet9_origin_wrong_side_total"), 0.0);
        assert_eq!(stage.edge.metric("jet9_cluster_switches_total"), 3.0);
    });
}

#[test]
fn without_a_quorum_a_lease_ends_and_a_confirmed_master_stays() {
    scene(Duration::from_secs(90), |scene| {
        let leased = Stage::set(scene, "lease");
        leased.etcd.kill(1);
        leased.etcd.freeze(2);
        leased.until_nothing_is_sent();
        until_true("the edge says so", || {
            leased.edge.process.err.contain("the lease is over")
        });
        assert_eq!(leased.edge.metric_of("jet9_clusters", "doubtful"), 1.0);
    });
    scene(Duration::from_secs(90), |scene| {
        let confirmed = Stage::set(scene, "confirmed");
        for member in 0..3 {
            confirmed.etcd.kill(member);
        }
        until_true("the edge notices", || {
            confirmed.edge.process.err.contain("the others are tried")
        });
        confirmed.until_served_by(Side::A);
    });
}

#[test]
fn a_cluster_that_was_deleted_may_begin_anew() {
    scene(Duration::from_secs(90), |scene| {
        let mut stage = Stage::set(scene, "confirmed");
        stage.move_to(Side::B, 0);
        stage.etcd.delete(&stage.cluster);
        until_true("it is forgotten", || {
            stage.edge.process.err.contain("; forgotten")
        });
        let (a, b) = (stage.cluster.a, stage.cluster.b);
        stage.cluster = Cluster::of_two("c-1", a, b);
        stage.etcd.publish(0, &stage.cluster);
        stage.until_served_by(Side::A);
    });
}

#[test]
fn a_start_without_the_store_serves_what_is_proved_and_waits_for_what_is_leased() {
    scene(Duration::from_secs(120), |scene| {
        let mut stage = Stage::set(scene, "confirmed");
        stage.move_to(Side::B, 0);
        stage.lose_store();
        stage.edge.process.kill();
        stage.edge.start_again();
        stage.until_served_by(Side::B);
        stage.damage_kept();
        stage.edge.start_unready();
        until_true("it says why not", || {
            stage.edge.process.err.contain("not as it was written")
        });
        assert_eq!(stage.ask().0, 503);
        stage.find_store();
        stage.until_served_by(Side::B);
    });
    scene(Duration::from_secs(120), |scene| {
        let mut stage = Stage::set(scene, "lease");
        stage.lose_store();
        stage.edge.process.kill();
        stage.edge.start_unready();
        until_true("it tried all members", || {
            stage
                .edge
                .process
                .err
                .contain("as they were at the last run")
        });
        assert_eq!(stage.ask().0, 503);
        stage.find_store();
        stage.until_served_by(Side::A);
    });
}

#[test]
fn a_store_that_went_back_is_an_alarm_where_a_confirmed_master_is_served_on() {
    scene(Duration::from_secs(90), |scene| {
        let mut stage = Stage::set(scene, "confirmed");
        let first = stage.cluster.clone();
        stage.move_to(Side::B, 0);
        assert_eq!(stage.edge.metric("jet9_cluster_sources_behind"), 0.0);
        // As a restored backup would show it.
        stage.etcd.publish(1, &first);
        until_true("it is told", || {
            stage.edge.metric("jet9_cluster_sources_behind") == 1.0
        });
        stage.until_served_by(Side::B);
        until_true("it is in the log", || {
            let log = &stage.edge.process.err;
            log.contain("/epoch: 1 is older than 3")
        });
        stage.move_to(Side::A, 2);
        assert_eq!(stage.edge.metric("jet9_cluster_sources_behind"), 0.0);
    });
}
