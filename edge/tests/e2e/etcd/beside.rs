//! A directory beside the etcd stops the edge where it shows something else, and never moves it.

use std::time::Duration;

use super::super::support::cluster::{Cluster, Side};
use super::super::support::edge::Jet9;
use super::super::support::etcd::Etcd;
use super::super::support::http1::{Client, get};
use super::super::support::origin::Origin;
use super::super::support::scene::scene;
use super::super::support::setup::{Setup, Site};
use super::super::support::wait::until_true;

/// A side that says its name.
fn side(name: &'static str) -> Origin {
    Origin::start(move |_, wire| {
        wire.answer("200 OK", "Cache-Control: no-store\r\n", name.as_bytes())
    })
}

fn is_served_by(edge: &Jet9, side: Side) -> bool {
    let answer = edge.get("site.test", "/");
    answer.status == 200 && answer.text() == side.as_str()
}

fn until_live(edge: &Jet9, live: f64) {
    until_true("the edge has taken what it was shown", || {
        edge.metric_of("jet9_clusters", "live") == live
    });
}

fn show(edge: &Jet9, cluster: &Cluster) {
    let document = cluster.document().to_string();
    edge.files.put("beside/c-1.json", &document);
}

#[test]
fn a_directory_beside_the_store_stops_the_edge_until_both_agree() {
    scene(Duration::from_secs(120), |scene| {
        let (a, b) = (side("a"), side("b"));
        let etcd = Etcd::start(scene);
        let first = Cluster::of_two("c-1", a.address, b.address);
        etcd.publish(0, &first);
        let setup = Setup::new().site(Site::of("s-1", &["site.test"]));
        let setup = setup.etcd(&etcd).beside().limit("ready_fall = \"0s\"");
        let edge = setup.start(scene);
        until_true("the store is followed", || is_served_by(&edge, Side::A));

        // It knows of a newer epoch: what comes is held, and goes where the store says then.
        let second = first.serving(Side::B);
        show(&edge, &second);
        until_live(&edge, 0.0);
        let mut held: Client = edge.clear();
        held.send(get("site.test", "/held"));
        until_true("it is held", || {
            edge.metric("jet9_origin_held_requests") == 1.0
        });
        assert!(b.seen().is_empty(), "a file moves no master");
        etcd.publish(1, &second);
        let answer = held.answer("GET").expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "b"));

        // An older one only lags.
        show(&edge, &first);
        until_true("it is served all the same", || is_served_by(&edge, Side::B));
        // Another master in the same epoch stops it; a file that is gone does not.
        let other = Cluster {
            epoch: second.epoch,
            ..first
        };
        show(&edge, &other);
        until_live(&edge, 0.0);
        assert_eq!(a.count("/held"), 0);
        until_true("routers hear of it", || {
            let told = Client::clear(edge.bound.metrics).ask(get("localhost", "/readyz"));
            told.text() == "clusters-doubtful\n"
        });
        let told = edge.command(&["cluster", "get", "c-1", "-o", "json"]);
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(
            told.contains("another source shows something else"),
            "{told}"
        );
        std::fs::remove_file(edge.files.dir.join("beside/c-1.json")).expect("a file");
        until_live(&edge, 1.0);
        assert!(is_served_by(&edge, Side::B));
    });
}
