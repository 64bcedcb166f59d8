//! What a router sees of a node: `/readyz` falls and rises with the clusters, and before the node closes.

use std::process::Command;
use std::time::Duration;

use super::support::cluster::{Cluster, Side};
use super::support::edge::Jet9;
use super::support::http1::{Client, Response, get};
use super::support::nginx::Nginx;
use super::support::origin::Origin;
use super::support::scene::scene;
use super::support::setup::{Setup, Site};
use super::support::wait::{SOON, until_true};

const LIMIT: Duration = Duration::from_secs(60);

fn origin() -> Origin {
    Origin::start(|_, wire| {
        wire.content();
        wire.answer("200 OK", "Cache-Control: max-age=600\r\n", b"page")
    })
}

fn readyz(edge: &Jet9) -> Response {
    Client::clear(edge.bound.metrics).ask(get("localhost", "/readyz"))
}

/// What `deploy/readiness/jet9-readyz` makes of it for a router.
fn worth(edge: &Jet9) -> String {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/readiness/jet9-readyz"
    );
    let url = format!("http://{}/readyz", edge.bound.metrics);
    let told = Command::new("sh").args([script, &url]).output();
    let told = told.expect("a shell").stdout;
    String::from_utf8_lossy(&told).trim().to_owned()
}

#[test]
fn a_node_that_does_not_know_half_of_its_clusters_is_not_ready_and_serves_on() {
    scene(LIMIT, |scene| {
        let origin = origin();
        let [first, second] = ["c-1", "c-2"].map(|id| Cluster::of_one(id, origin.address));
        let edge = Setup::of(first)
            .site(Site::of("s-2", &["two.test"]).cluster("c-2"))
            .cluster(second.clone())
            .limit("ready_fall = \"0s\"")
            .limit("ready_rise = \"0s\"")
            .start(scene);
        // Switching is no reason: it is so for every node.
        edge.files.publish(&second.switching());
        until_true("the switch is seen", || {
            edge.metric_of("jet9_clusters", "vacant") == 1.0
        });
        assert_eq!(readyz(&edge).status, 200);
        // The same epoch with another word is a contradiction.
        edge.files.publish(&Cluster {
            epoch: 2,
            ..second.serving(Side::A)
        });
        until_true("readiness falls", || {
            let told = readyz(&edge);
            told.status == 503 && told.text() == "clusters-doubtful\n"
        });
        assert_eq!(worth(&edge), "far");
        assert_eq!(edge.get("site.test", "/").status, 200);
        edge.files.publish(&Cluster {
            epoch: 3,
            ..second.serving(Side::A)
        });
        until_true("readiness rises", || readyz(&edge).status == 200);
        assert_eq!(worth(&edge), "near");
    });
}

#[test]
fn a_stop_tells_the_routers_first_and_serves_whom_they_still_send() {
    scene(LIMIT, |scene| {
        let origin = origin();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .limit("withdraw = \"3s\"")
            .start(scene);
        edge.terminate();
        until_true("readiness falls", || {
            let told = readyz(&edge);
            told.status == 503 && told.text() == "draining\n"
        });
        assert_eq!(worth(&edge), "gone");
        // New connections, and old ones stay open.
        let mut client = edge.clear();
        assert_eq!(client.ask(get("site.test", "/")).status, 200);
        assert_eq!(client.ask(get("site.test", "/")).status, 200);
        assert_eq!(edge.process.ended(), None);
        let status = edge.process.wait(SOON);
        assert!(status.success(), "{}", edge.process.words());
    });
}

#[test]
fn a_second_signal_does_not_wait_for_the_routers() {
    scene(LIMIT, |scene| {
        let origin = origin();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .limit("withdraw = \"5m\"")
            .start(scene);
        edge.terminate();
        until_true("readiness falls", || readyz(&edge).status == 503);
        edge.terminate();
        assert!(edge.process.wait(SOON).success());
    });
}

#[test]
fn a_node_that_reaches_too_few_masters_is_the_last_resort_until_it_reaches_them() {
    scene(LIMIT, |scene| {
        let root = scene.dir().join("root");
        std::fs::create_dir_all(&root).expect("a directory");
        let (origin, other) = (origin(), Nginx::start(scene, "a", &root));
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .site(Site::of("s-2", &["two.test"]).cluster("c-2"))
            .cluster(Cluster::of_one("c-2", other.address))
            .limit("ready_fall = \"0s\"")
            .limit("ready_rise = \"0s\"")
            .start(scene);
        assert_eq!(edge.get("two.test", "/dynamic/1").status, 200);
        other.kill();
        until_true("readiness falls", || {
            assert_ne!(edge.get("two.test", "/dynamic/2").status, 200);
            let told = readyz(&edge);
            told.status == 503 && told.text() == "clusters-unreachable\n"
        });
        assert_eq!(worth(&edge), "far");
        assert_eq!(edge.metric("jet9_cluster_masters_unreachable"), 1.0);
        assert_eq!(edge.get("site.test", "/").status, 200);
        // Nobody comes by it any more: it finds out by itself.
        other.start_again();
        until_true("readiness rises", || readyz(&edge).status == 200);
        assert_eq!(worth(&edge), "near");
        assert_eq!(edge.metric("jet9_cluster_masters_unreachable"), 0.0);
    });
}
