//! Members that misbehave in ways that a real one rarely shows: a script plays the JSON gateway.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::super::support::cluster::{Cluster, NOBODY};
use super::super::support::edge::Jet9;
use super::super::support::gate::Gate;
use super::super::support::origin::{After, Origin, Seen, Wire};
use super::super::support::scene::scene;
use super::super::support::setup::{Setup, Site};
use super::super::support::wait::{now, until_true};

/// A gateway with one document.
#[derive(Default)]
struct Script {
    store: Mutex<Store>,
    /// Ends the watches.
    over: Gate,
}

#[derive(Default)]
struct Store {
    revision: u64,
    document: String,
    /// `start_revision` of each watch.
    watches: Vec<u64>,
    /// Watches that are told that their history is gone, before others begin.
    compacted: usize,
}

impl Script {
    fn put(&self, cluster: &Cluster) {
        let mut store = self.store.lock();
        store.revision += 10;
        store.document = cluster.document().to_string();
    }

    fn watches(&self) -> Vec<u64> {
        self.store.lock().watches.clone()
    }

    fn play(&self, seen: &Seen, wire: &mut Wire) -> After {
        let asked: Value = serde_json::from_slice(&wire.content()).unwrap_or_default();
        if seen.target == "/v3/kv/range" {
            let answer = self.range(&asked).to_string();
            return wire.answer("200 OK", "", answer.as_bytes());
        }
        let said = self.watch(&asked).to_string() + "\n";
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        wire.send(format!("{:x}\r\n{said}\r\n", said.len()));
        // It lives, and tells nothing.
        self.over.pass();
        After::Close
    }

    fn range(&self, asked: &Value) -> Value {
        let store = self.store.lock();
        let after = asked["min_mod_revision"].as_str();
        let after: u64 = after.map_or(0, |after| after.parse().expect("a number"));
        let document = json!({
            "key": STANDARD.encode("/jet9/clusters/c-1"),
            "value": STANDARD.encode(&store.document),
            "mod_revision": store.revision.to_string(),
        });
        let found = Vec::from_iter((store.revision >= after).then_some(document));
        json!({"header": {"revision": store.revision.to_string()}, "count": "1", "kvs": found})
    }

    fn watch(&self, asked: &Value) -> Value {
        let mut store = self.store.lock();
        let from = asked["create_request"]["start_revision"].as_str();
        store
            .watches
            .push(from.expect("a revision").parse().expect("a number"));
        let header = json!({"revision": store.revision.to_string()});
        if store.compacted >= store.watches.len() {
            let compacted = store.revision.to_string();
            return json!({"result": {"header": header, "canceled": true, "compact_revision": compacted}});
        }
        json!({"result": {"header": header, "created": true}})
    }
}

fn cluster() -> Cluster {
    let nobody = NOBODY.parse().expect("an address");
    Cluster::of_two("c-1", nobody, nobody)
}

/// Whether the edge knows of this epoch.
fn knows(edge: &Jet9, epoch: u64) -> bool {
    edge.metric("jet9_cluster_epoch") == epoch as f64
}

fn play(script: &Arc<Script>) -> (Origin, Setup) {
    let playing = Arc::clone(script);
    let member = Origin::start(move |seen, wire| playing.play(seen, wire));
    let setup = Setup::new()
        .site(Site::of("s-1", &["site.test"]))
        .etcd_at(&format!("http://{}", member.address));
    (member, setup)
}

#[test]
fn a_watch_that_tells_nothing_is_found_by_the_reads_and_left() {
    scene(Duration::from_secs(60), |scene| {
        let script = Arc::<Script>::default();
        let one = cluster();
        script.put(&one);
        let (_member, setup) = play(&script);
        let edge = setup.start(scene);
        assert!(knows(&edge, 1));
        let began = now();
        script.put(&one.switching());
        until_true("a read tells of it", || knows(&edge, 2));
        until_true("the watch is left", || script.watches().len() > 1);
        println!(
            "a silent watch was left {:?} after the change",
            began.elapsed()
        );
        assert_eq!(script.watches(), [11, 21]);
        assert!(edge.process.err.contain("does not tell what has changed"));
        script.over.open();
    });
}

#[test]
fn after_a_compaction_everything_is_read_again() {
    scene(Duration::from_secs(60), |scene| {
        let script = Arc::<Script>::default();
        script.put(&cluster());
        script.store.lock().compacted = 2;
        let (_member, setup) = play(&script);
        let edge = setup.start(scene);
        until_true("it watches at last", || script.watches().len() == 3);
        assert!(knows(&edge, 1));
        assert_eq!(script.watches(), [11, 11, 11]);
        script.put(&cluster().switching());
        until_true("it goes on", || knows(&edge, 2));
        script.over.open();
    });
}
