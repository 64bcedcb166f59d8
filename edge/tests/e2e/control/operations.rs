//! What an operator does from the command line: sites, certificates, tokens, the node; and the exit codes that scripts rely on.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use super::super::support::cluster::Cluster;
use super::super::support::edge::Jet9;
use super::super::support::http1::Client;
use super::super::support::http1::get;
use super::super::support::scene::scene;
use super::super::support::setup::Setup;
use super::super::support::tls::issue;
use super::{LIMIT, stored_pages};

fn words(output: &Output) -> String {
    let told = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&told).into_owned()
}

fn ready(edge: &Jet9) -> u16 {
    Client::clear(edge.bound.metrics)
        .ask(get("localhost", "/readyz"))
        .status
}

#[test]
fn a_site_goes_through_its_life_by_commands() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let file = edge.files.dir.join("new.toml");
        let file = file.to_str().expect("a path");
        let text = "id = \"s-2\"\ndomains = [\"two.test\"]\nhttps = \"both\"\n[origin]\ncluster = \"c-1\"\n";
        fs::write(file, text).expect("write");
        let check = |arguments: &[&str], code: i32, expected: &[&str]| {
            let output = edge.command(arguments);
            let told = words(&output);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
            for word in expected {
                assert!(
                    told.contains(word),
                    "{arguments:?}: {word} is not in {told}"
                );
            }
        };
        check(&["site", "diff", "-f", file, "-o", "table"], 0, &["+ : {"]);
        check(&["site", "get", "s-2"], 3, &["no site `s-2`"]);
        check(
            &["site", "apply", "-f", file, "-o", "table"],
            0,
            &["version 1 is in force"],
        );
        assert_eq!(edge.get("two.test", "/").status, 200);
        check(&["site", "get", "s-2", "--toml"], 0, &[text]);
        fs::write(file, text.replace("two.test", "three.test")).expect("write");
        let domains = "+ /domains: [\"three.test\"]";
        check(&["site", "diff", "-f", file, "-o", "table"], 0, &[domains]);
        check(
            &["site", "apply", "-f", file, "--expect", "7"],
            4,
            &["version 1"],
        );
        check(
            &["site", "apply", "-f", file, "--expect", "1", "-o", "table"],
            0,
            &[domains],
        );
        check(
            &["site", "history", "s-2", "-o", "table"],
            0,
            &["VERSION", "uid:"],
        );
        check(
            &["site", "rollback", "s-2", "--to", "1", "-o", "table"],
            0,
            &["version 3"],
        );
        assert_eq!(edge.get("two.test", "/").status, 200);
        fs::write(file, text.replace("two.test", "site.test")).expect("write");
        check(
            &["site", "apply", "-f", file],
            4,
            &["belongs to site `s-1`"],
        );
        fs::write(file, text.replace("cluster", "kluster")).expect("write");
        check(&["site", "apply", "-f", file], 1, &["/origin/kluster"]);
        check(
            &["site", "list"],
            0,
            &["\"id\": \"s-2\"", "\"status\": \"in-force\""],
        );
        check(&["site", "ls", "-o", "table"], 0, &["s-2  in-force"]);
        check(&["site", "ls", "-o", "yaml"], 0, &["\"id\": \"s-2\""]);
        check(&["site", "ls", "-o", "json"], 0, &["\"id\": \"s-2\""]);
        check(&["site", "rm", "s-2"], 0, &[]);
        check(&["site", "rm", "s-2"], 3, &[]);
        check(&["site", "rollback"], 2, &[]);
    });
}

#[test]
fn a_certificate_is_in_force_when_it_was_put_and_garbage_stops_no_restart() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let mut edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let site = json!({"domains": ["new.test"], "https": "both", "origin": {"cluster": "c-1"}});
        edge.admin("PUT", "/v1/sites/s-2", &site);
        let issued = issue(&["new.test"]);
        let file = edge.files.dir.join("new.pem");
        fs::write(&file, &issued.pem).expect("write");
        let file = file.to_str().expect("a path");
        let put = edge.command(&["cert", "put", "new", "-f", file]);
        assert!(put.status.success(), "{}", words(&put));
        edge.files.roots.push(issued.leaf);
        let asked = |edge: &Jet9| edge.tls("new.test").ask(get("new.test", "/x")).text();
        assert_eq!(asked(&edge), "page /x");
        let listed = edge.admin("GET", "/v1/certificates", &Value::Null).text();
        assert!(
            listed.contains("new.test") && !listed.contains("PRIVATE"),
            "{listed}"
        );

        let removed = edge.command(&["cert", "rm", "new"]);
        assert_eq!(removed.status.code(), Some(4), "{}", words(&removed));
        let needed = "nothing else covers new.test of site `s-2`";
        assert!(words(&removed).contains(needed), "{}", words(&removed));
        assert_eq!(edge.command(&["cert", "rm", "none"]).status.code(), Some(3));

        fs::write(file, "garbage").expect("write");
        let put = edge.command(&["cert", "put", "new", "-f", file]);
        assert_eq!(put.status.code(), Some(1), "{}", words(&put));
        assert_eq!(asked(&edge), "page /x");

        edge.files.put("data/certificates/bad.pem", "garbage");
        edge.terminate();
        edge.process.wait(LIMIT);
        edge.start_again();
        assert_eq!(asked(&edge), "page /x");
        assert!(edge.process.err.contain("bad.pem"));
        let unusable = edge.metric_of("jet9_tls_certificates", "unusable");
        assert!((unusable - 1.0).abs() < f64::EPSILON, "{unusable}");
        for arguments in [
            &["cert", "rm", "bad"][..],
            &["cert", "rm", "new", "--force"],
        ] {
            let removed = edge.command(arguments);
            assert!(removed.status.success(), "{}", words(&removed));
        }
        let listed = words(&edge.command(&["cert", "ls", "-o", "json"]));
        assert!(!listed.contains("new.test"), "{listed}");
    });
}

#[test]
fn a_drained_node_is_not_ready_and_serves() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let drained = edge.command(&["node", "drain"]);
        assert!(drained.status.success(), "{}", words(&drained));
        assert_eq!(ready(&edge), 503);
        assert_eq!(edge.get("site.test", "/x").text(), "page /x");
        let back = edge.command(&["node", "undrain"]);
        assert!(back.status.success(), "{}", words(&back));
        assert_eq!(ready(&edge), 200);
        let made = edge.command(&["token", "create", "panel", "--scope", "read", "-o", "table"]);
        assert_eq!(words(&made).trim().len(), 64, "{}", words(&made));
        let listed = edge.command(&["token", "ls"]);
        assert!(words(&listed).contains("panel"), "{}", words(&listed));
        let gone = edge.command(&["token", "rm", "panel"]);
        assert!(gone.status.success(), "{}", words(&gone));
    });
}
