//! Bad input of every kind: a clear message, and what was good stays as it was. Nothing panics; each scene sees to that.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::support::cluster::{Cluster, Side};
use super::support::edge::{Jet9, run_refused};
use super::support::http1::Client;
use super::support::origin::Origin;
use super::support::scene::{Scene, scene};
use super::support::setup::{Files, Setup};
use super::support::wait::{SOON, until_true};

const LIMIT: Duration = Duration::from_secs(60);

fn stored_pages() -> Origin {
    Origin::start(|seen, wire| {
        wire.content();
        let content = format!("page {} ", seen.target).repeat(64);
        wire.answer(
            "200 OK",
            "Cache-Control: max-age=600\r\n",
            content.as_bytes(),
        )
    })
}

fn page(target: &str) -> String {
    format!("page {target} ").repeat(64)
}

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

fn check(files: &Files, sites: &[&Path]) -> std::process::Output {
    Command::new(super::support::edge::JET9)
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

#[test]
fn garbage_on_every_port_harms_nobody() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let garbage = garbage();
        for address in [
            edge.bound.http,
            edge.bound.https,
            edge.bound.admin,
            edge.bound.metrics,
        ] {
            for bytes in &garbage {
                let mut client = Client::clear(address);
                client.send(bytes);
                client.finish_sending();
                client.read_to_the_end();
            }
        }
        for bytes in &garbage {
            let mut client = edge.tls("site.test");
            client.send(bytes);
            client.finish_sending();
            client.read_to_the_end();
        }
        assert!(edge.is_alive());
        assert_eq!(edge.get("site.test", "/x").text(), page("/x"));
        assert_eq!(edge.http2("site.test").get("site.test", "/x").status(), 200);
    });
}

/// Bytes that no listener expects, without chance: every run sends the same.
fn garbage() -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    let noise = |length: usize, byte: &mut dyn FnMut() -> u8| (0..length).map(|_| byte()).collect();
    vec![
        Vec::new(),
        vec![0],
        b"\r\n\r\n".to_vec(),
        b"\x16\x03\x01\xff\xff".to_vec(),
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\xff\xff\x04\x00\x00\x00\x00\x00".to_vec(),
        b"GET / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
        b"POST /v1/purges HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{".to_vec(),
        vec![b'\n'; 100_000],
        vec![b'A'; 100_000],
        vec![0xff; 100_000],
        noise(17, &mut byte),
        noise(1_000, &mut byte),
        noise(100_000, &mut byte),
    ]
}

#[test]
fn http2_garbage_after_a_good_preface_harms_nobody() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        for frames in garbage() {
            let mut client =
                Client::tls_for(edge.bound.https, &edge.files.roots, "site.test", "h2");
            client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
            client.send(&frames);
            client.finish_sending();
            client.read_to_the_end();
        }
        assert!(edge.is_alive());
        assert_eq!(edge.http2("site.test").get("site.test", "/x").status(), 200);
    });
}

#[test]
fn flipped_bytes_in_the_volume_are_misses_and_never_served() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let mut edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .disk("64MiB")
            .start(scene);
        let targets: Vec<String> = (0..100).map(|number| format!("/page-{number}")).collect();
        for target in &targets {
            edge.get("site.test", target);
        }
        until_true("all are on disk", || {
            edge.metric_of("jet9_cache_stored_responses", "tier=\"disk\"") >= 100.0
        });
        for step in [997, 4_099] {
            edge.terminate();
            assert!(edge.process.wait(SOON).success());
            flip(&edge.files.dir.join("data/cache"), step);
            edge.start_again();
            for target in &targets {
                let answer = edge.get("site.test", target);
                assert_eq!(
                    (answer.status, answer.text()),
                    (200, page(target)),
                    "{target}"
                );
            }
        }
        assert!(edge.is_alive());
    });
}

/// Flips a bit of every `step`th byte of every file in the volume.
fn flip(volume: &Path, step: u64) {
    let mut flipped = 0;
    for path in files_in(volume) {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("a file");
        let length = file.metadata().expect("a file").len().min(FLIPPED_BYTES);
        for place in (step / 2..length).step_by(usize::try_from(step).expect("small")) {
            let mut byte = [0];
            file.seek(SeekFrom::Start(place)).expect("a place");
            file.read_exact(&mut byte).expect("a byte");
            file.seek(SeekFrom::Start(place)).expect("a place");
            file.write_all(&[byte[0] ^ 0x10]).expect("a byte");
            flipped += 1;
        }
    }
    assert!(flipped > 10, "nothing to flip in {}", volume.display());
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_in(&entry.path())),
            Ok(_) => files.push(entry.path()),
            Err(_) => {}
        }
    }
    files
}

#[test]
fn a_full_disk_costs_hits_and_nothing_else() {
    scene(LIMIT, |scene| {
        let Some(small) = Tmpfs::mount(scene, "size=80m") else {
            eprintln!("SKIPPED a_full_disk_costs_hits_and_nothing_else: no right to mount a tmpfs");
            return;
        };
        let origin = Origin::start(|seen, wire| {
            let content = seen.target.repeat((1 << 20) / seen.target.len());
            wire.answer(
                "200 OK",
                "Cache-Control: max-age=600\r\n",
                content.as_bytes(),
            )
        });
        // The file takes what the volume counts on.
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .memory("8MiB")
            .disk_at(&small.path.join("cache"), "64MiB")
            .start(scene);
        fill_up(&small.path.join("other"));
        for round in 0..2 {
            for number in 0..100 {
                let target = format!("/{number:03}");
                let answer = edge.get("site.test", &target);
                assert_eq!(answer.status, 200, "round {round}");
                assert!(
                    answer.content == target.repeat((1 << 20) / 4).as_bytes(),
                    "{target}"
                );
            }
        }
        assert!(edge.is_alive());
        edge.terminate();
        assert!(edge.process.wait(SOON).success());
    });
}

/// A small file system of the test's own.
struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// `None` where the test has no right to mount.
    fn mount(scene: &Scene, options: &str) -> Option<Self> {
        let path = scene.dir().join("small");
        fs::create_dir_all(&path).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&path)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self { path })
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process that is just ending may still hold it.
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}

/// Writes until nothing more fits.
fn fill_up(path: &Path) {
    let mut file = fs::File::create(path).expect("a file");
    let block = vec![0; 64 << 10];
    while file.write_all(&block).is_ok() {}
}

/// Of a large, mostly empty volume only the beginning is damaged: where the records are.
const FLIPPED_BYTES: u64 = 8 << 20;
