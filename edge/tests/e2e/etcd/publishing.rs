//! Publishing into an etcd without an edge: by `jet9 cluster --etcd`, and by etcd's own tool as `docs/live-master.md` tells.

use std::fs;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::support::cluster::{Cluster, NOBODY};
use super::super::support::edge::JET9;
use super::super::support::etcd::Etcd;
use super::super::support::scene::scene;
use super::super::support::wait::{now, until_true};

/// Publishers at once.
const PUBLISHERS: usize = 4;

fn cluster() -> Cluster {
    let nobody = NOBODY.parse().expect("an address");
    Cluster {
        fencing: "lease",
        ..Cluster::of_two("c-1", nobody, nobody)
    }
}

/// `jet9 cluster` with these words, at all members.
fn jet9(etcd: &Etcd, words: &str) -> Command {
    let mut command = Command::new(JET9);
    command
        .arg("cluster")
        .args(words.split(' '))
        .args(["--etcd", &etcd.urls().join(",")]);
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn run(etcd: &Etcd, words: &str) -> i32 {
    let output = jet9(etcd, words).output().expect("a program");
    code(&output)
}

fn epoch(etcd: &Etcd) -> Value {
    let output = jet9(etcd, "get c-1 -o json").output().expect("a program");
    let body: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(body["document"]["epoch"], body["epoch"]);
    body["epoch"].clone()
}

#[test]
fn what_is_published_without_an_edge_is_compared_and_swapped() {
    scene(Duration::from_secs(90), |scene| {
        let etcd = Etcd::start(scene);
        let first = scene.dir().join("first.json");
        fs::write(&first, cluster().document().to_string()).expect("a file");
        let publish = |expected: u64, words: &str| {
            let words = format!("publish --cluster c-1 --expect-epoch {expected} {words}");
            run(&etcd, &words)
        };
        assert_eq!(run(&etcd, "get c-1"), 3, "nothing is there");
        let file = format!("--file {}", first.display());
        assert_eq!(publish(7, &file), 4, "not what is there");
        assert_eq!(publish(0, &file), 0);
        assert_eq!(publish(0, &file), 4, "now something is there");
        etcd.kill(0);
        assert_eq!(
            publish(1, "--phase serving --master b"),
            2,
            "without a proof"
        );
        let races = thread::scope(|threads| {
            let racing = || threads.spawn(|| publish(1, "--phase switching"));
            let races: Vec<_> = (0..PUBLISHERS).map(|_| racing()).collect();
            let codes = races.into_iter().map(|race| race.join().expect("a code"));
            codes.collect::<Vec<_>>()
        });
        assert_eq!(
            races.iter().filter(|code| **code == 0).count(),
            1,
            "{races:?}"
        );
        assert!(races.iter().all(|code| [0, 4].contains(code)), "{races:?}");
        let began = now();
        assert_eq!(publish(2, "--phase serving --master b"), 0);
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(3_008), "{waited:?}");
        assert_eq!(epoch(&etcd), 3);
    });
}

#[test]
fn a_transaction_of_etcds_own_tool_publishes_too_and_every_change_is_watched() {
    scene(Duration::from_secs(90), |scene| {
        let etcd = Etcd::start(scene);
        let watch = scene.spawn("watch", &mut jet9(&etcd, "watch c-1 -o table"));
        let revision = || {
            let mut get = etcd.tool(0);
            let got = get.args(["get", "/jet9/clusters/c-1", "-w", "json"]);
            let got: Value =
                serde_json::from_slice(&got.output().expect("a tool").stdout).expect("JSON");
            got["kvs"][0]["mod_revision"].as_u64().unwrap_or(0)
        };
        let swap = |revision: u64, cluster: &Cluster| {
            let quoted = cluster.document().to_string().replace('"', "\\\"");
            let text = format!(
                "mod(\"/jet9/clusters/c-1\") = \"{revision}\"\n\nput /jet9/clusters/c-1 \"{quoted}\"\n\n\n"
            );
            let transaction = scene.dir().join("transaction");
            fs::write(&transaction, text).expect("a file");
            let mut tool = etcd.tool(1);
            let tool = tool
                .arg("txn")
                .stdin(fs::File::open(&transaction).expect("a file"));
            let said = tool.output().expect("a tool").stdout;
            String::from_utf8_lossy(&said).starts_with("SUCCESS")
        };
        let one = cluster();
        let two = one.switching();
        assert!(swap(0, &one));
        assert!(!swap(0, &two), "the late publisher");
        until_true("the first is seen", || {
            watch
                .out
                .contain("cluster=c-1 master=a epoch=1 phase=serving")
        });
        assert!(swap(revision(), &two));
        until_true("the second is seen", || {
            watch.out.contain("cluster=c-1 epoch=2 phase=switching")
        });
        assert_eq!(epoch(&etcd), json!(2));
    });
}
