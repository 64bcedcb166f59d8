//! A node file that cannot work: the process says all that is wrong, with places, and does not start.

use std::fs;
use std::net::TcpListener;

use super::super::support::cluster::Cluster;
use super::super::support::edge::run_refused;
use super::super::support::scene::{Scene, scene};
use super::super::support::setup::{Files, Setup};
use super::super::support::wait::{SOON, until_true};
use super::{LIMIT, stored_pages};

/// Starts an edge whose files were made bad: it ends with 1, and its words name all of `words`.
fn check_refused(scene: &Scene, make_bad: impl FnOnce(&Files), words: &[&str]) {
    let origin = stored_pages();
    let files = Setup::of(Cluster::of_one("c-1", origin.address))
        .disk("64MiB")
        .write(scene.dir());
    make_bad(&files);
    let process = run_refused(scene, &files, SOON);
    assert_eq!(
        process.ended().and_then(|status| status.code()),
        Some(1),
        "{}",
        process.words()
    );
    // The stream is read on a thread of its own, which may lag behind the end of the process.
    until_true(&format!("{words:?} in\n{}", process.words()), || {
        let said = process.err.all().join("\n");
        words.iter().all(|word| said.contains(word))
    });
    assert!(!process.out.contain("listening"));
}

#[test]
fn all_errors_of_a_node_file_are_said_at_once_with_their_places() {
    scene(LIMIT, |scene| {
        check_refused(
            scene,
            |files| {
                files.edit("node.toml", |text| {
                    text.replace("threads = 2", "thread = 2")
                        .replace("memory = \"64MiB\"", "memory = \"64MB\"\nmax_object = 7")
                });
            },
            &[
                "node.toml:5:1: /node/thread: unknown key",
                "did you mean `threads`?",
                "node.toml:14:10: /cache/memory",
                "node.toml:15:14: /cache/max_object",
            ],
        );
    });
}

#[test]
fn a_node_file_that_is_missing_or_no_toml_is_named() {
    scene(LIMIT, |scene| {
        check_refused(
            scene,
            |files| fs::remove_file(files.dir.join("node.toml")).expect("a file"),
            &["node.toml", "No such file"],
        );
    });
    scene(LIMIT, |scene| {
        check_refused(
            scene,
            |files| files.put("node.toml", "[node\nid = "),
            &["node.toml:1:"],
        );
    });
}

#[test]
fn a_port_in_use_is_an_error_at_start_that_names_the_key() {
    scene(LIMIT, |scene| {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address").to_string();
        for (key, line) in [
            ("listen.http[0]", "http = [\"127.0.0.1:0\"]"),
            ("listen.https[0]", "https = [\"127.0.0.1:0\"]"),
            ("listen.metrics", "metrics = \"127.0.0.1:0\""),
        ] {
            let taken = line.replace("127.0.0.1:0", &address);
            check_refused(
                scene,
                |files| {
                    files.edit("node.toml", |text| {
                        text.replace(&format!("\n{line}"), &format!("\n{taken}"))
                    })
                },
                &[key, &address],
            );
        }
    });
}

#[test]
fn a_default_certificate_that_cannot_be_read_is_an_error_at_start() {
    for bad in [
        None,
        Some("nonsense"),
        Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ] {
        scene(LIMIT, move |scene| {
            check_refused(
                scene,
                |files| {
                    files.edit("node.toml", |text| {
                        text.replace(
                            "default_certificate = \"\"",
                            "default_certificate = \"default.pem\"",
                        )
                    });
                    if let Some(bad) = bad {
                        files.put("default.pem", bad);
                    }
                },
                &["default.pem"],
            );
        });
    }
}
