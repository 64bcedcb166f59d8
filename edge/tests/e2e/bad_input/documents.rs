//! Bad documents beside good ones: sites and cluster state.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use super::super::support::cluster::{Cluster, Side};
use super::super::support::edge::{JET9, Jet9};
use super::super::support::scene::scene;
use super::super::support::setup::{Files, Setup};
use super::super::support::wait::until_true;
use super::{LIMIT, page, stored_pages};

#[test]
fn check_finds_overlapping_domains_and_bad_sites_and_changes_nothing() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let files = Setup::of(Cluster::of_one("c-1", origin.address)).write(scene.dir());
        let site = |name: &str| files.dir.join("state/sites").join(name);
        let output = check(&files, &[&site("s-1.toml")]);
        assert!(output.status.success(), "{output:?}");

        files.put(
            "s-2.toml",
            "id = \"s-2\"\ndomains = [\"site.test\"]\n[origin]\ncluster = \"c-1\"\n",
        );
        files.put(
            "s-3.toml",
            "id = \"s-3\"\ndomains = \"x\"\n[orijin]\ncluster = \"c-1\"\n",
        );
        let bad = [files.dir.join("s-2.toml"), files.dir.join("s-3.toml")];
        let output = check(&files, &[&site("s-1.toml"), &bad[0], &bad[1]]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        for word in [
            "s-2.toml:2:",
            "site.test",
            "s-1",
            "s-3.toml:2:11: /domains",
            "s-3.toml:3:",
            "orijin",
        ] {
            assert!(said.contains(word), "{word} is not in\n{said}");
        }
    });
}

fn check(files: &Files, sites: &[&Path]) -> Output {
    Command::new(JET9)
        .args(["check", "--config"])
        .arg(files.dir.join("node.toml"))
        .args(sites)
        .output()
        .expect("a program")
}

#[test]
fn a_bad_site_document_leaves_the_others_in_force() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let files = Setup::of(Cluster::of_one("c-1", origin.address)).write(scene.dir());
        files.put(
            "state/sites/s-2.toml",
            "id = \"s-2\"\ndomains = [\"site.test\"]\n[origin]\ncluster = \"c-1\"\n",
        );
        files.put("state/sites/s-3.toml", "nonsense");
        let edge = Jet9::start(scene, files);
        assert_eq!(edge.get("site.test", "/x").text(), page("/x"));
        until_true("it names the bad ones", || {
            ["s-2.toml", "site.test", "s-3.toml:1:"]
                .iter()
                .all(|word| edge.process.err.contain(word))
        });
        assert!(edge.metric("jet9_config_rejected_total") > 0.0);
    });
}

#[test]
fn cluster_state_that_is_older_or_garbage_changes_nothing() {
    scene(LIMIT, |scene| {
        let (a, b) = (stored_pages(), stored_pages());
        let first = Cluster::of_two("c-1", a.address, b.address);
        let second = first.switching().serving(Side::B);
        let edge = Setup::of(second.clone()).start(scene);
        for (what, document) in [
            ("an older epoch", first.document().to_string()),
            ("no JSON", "{".to_owned()),
            ("nothing", String::new()),
            (
                "another version",
                json!({ "v": 99, "cluster": "c-1", "epoch": 99 }).to_string(),
            ),
            (
                "another cluster",
                Cluster {
                    id: "c-2",
                    epoch: 99,
                    ..first.clone()
                }
                .document()
                .to_string(),
            ),
            (
                "a wrong type",
                second
                    .serving(Side::A)
                    .document()
                    .to_string()
                    .replace("\"epoch\":4", "\"epoch\":\"4\""),
            ),
            (
                "too much",
                format!("{}{}", " ".repeat(2 << 20), first.document()),
            ),
        ] {
            let said = edge.process.err.all().len();
            edge.files.put("state/clusters/c-1.json", &document);
            until_true(&format!("{what}: it says something"), || {
                let lines = edge.process.err.all();
                lines[said..].iter().any(|line| line.contains("c-1"))
            });
            let target = format!("/{}", what.replace(' ', "-"));
            assert_eq!(
                edge.get("site.test", &target).text(),
                page(&target),
                "{what}"
            );
            assert_eq!(b.count(&target), 1, "{what}");
        }
        assert!(a.seen().is_empty(), "{:?}", a.seen());
    });
}

#[test]
fn an_epoch_is_remembered_over_a_crash() {
    scene(LIMIT, |scene| {
        let (a, b) = (stored_pages(), stored_pages());
        let first = Cluster::of_two("c-1", a.address, b.address);
        let mut edge = Setup::of(first.switching().serving(Side::B)).start(scene);
        edge.get("site.test", "/one");
        edge.process.kill();
        edge.files.publish(&first);
        edge.start_unready();
        let answer = edge.get("site.test", "/two");
        assert!(answer.status == 503, "{answer:?}");
        edge.files.publish(&first.switching().serving(Side::B));
        until_true("side b serves", || {
            edge.get("site.test", "/two").status == 200
        });
        assert!(a.seen().is_empty(), "{:?}", a.seen());
    });
}
