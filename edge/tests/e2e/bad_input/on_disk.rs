//! Disks that give back other bytes than they were given, or take no more.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::super::support::cluster::Cluster;
use super::super::support::origin::Origin;
use super::super::support::scene::{Scene, scene};
use super::super::support::setup::Setup;
use super::super::support::wait::{SOON, until_true};
use super::{LIMIT, page, stored_pages};

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

/// A page of 3 MB, whose every line says where it is, and its parts.
fn long_page() -> Origin {
    Origin::start(|seen, wire| {
        let content = long_content();
        let fields = "Cache-Control: max-age=600\r\nETag: \"long\"\r\n";
        let Some(range) = seen.field("range") else {
            return wire.answer("200 OK", fields, &content);
        };
        assert_eq!(seen.field("if-range"), Some("\"long\""));
        let (first, last) = range
            .strip_prefix("bytes=")
            .and_then(|range| range.split_once('-'))
            .expect("one range");
        let place = |text: &str| text.parse::<usize>().expect("a place");
        let content_range = format!("Content-Range: bytes {range}/{}\r\n", content.len());
        let content_range = content_range.replace("bytes=", "");
        let part = &content[place(first)..=place(last)];
        wire.answer(
            "206 Partial Content",
            &(fields.to_owned() + &content_range),
            part,
        )
    })
}

fn long_content() -> Vec<u8> {
    let lines = (0..LONG_LINES).map(|line| format!("this is the line number {line:06}\n"));
    lines.collect::<String>().into_bytes()
}

const LONG_LINES: usize = 100_000;

#[test]
fn a_part_of_long_content_that_rots_is_fetched_again_in_mid_transfer() {
    scene(LIMIT, |scene| {
        let origin = long_page();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .disk("64MiB")
            .start(scene);
        let whole = long_content();
        let check = || {
            let answer = edge.get("site.test", "/long");
            assert_eq!(answer.status, 200);
            assert!(answer.content == whole);
        };
        // A machine that is busy may read late, and ask for more.
        let asked = |part: bool| {
            let seen = origin.seen().into_iter();
            seen.filter(|seen| seen.field("range").is_some() == part)
                .count()
        };
        check();
        until_true("it is on disk", || {
            edge.metric_of("jet9_cache_stored_responses", "tier=\"disk\"") >= 1.0
        });
        check();
        let report = |verb| {
            let path = |name| edge.files.dir.join(name).display().to_string();
            let (volume, node) = (path("data/cache"), path("node.toml"));
            let told = edge.command(&["cache", verb, &volume, "--config", &node, "-o", "json"]);
            let report: Value = serde_json::from_slice(&told.stdout).expect("a report");
            (told.status.code(), report)
        };
        let (code, good) = report("verify");
        assert_eq!((code, &good["unreadable"]), (Some(0), &json!(0)), "{good}");
        assert_eq!(good["partitions"][0]["responses"], 1, "{good}");
        assert!(good["partitions"][0]["site"].is_string(), "{good}");
        let volume = files_in(&edge.files.dir.join("data/cache"));
        let volume = volume.first().expect("a volume");
        let content = fs::read(volume).expect("a volume");
        let line = b"this is the line number 050000\n";
        let found = content.windows(line.len()).position(|bytes| bytes == line);
        let place = found.expect("the line is on disk") as u64;
        let file = OpenOptions::new().write(true).open(volume);
        let mut file = file.expect("a volume");
        file.seek(SeekFrom::Start(place)).expect("a place");
        file.write_all(b"That").expect("a byte");
        drop(file);
        assert_eq!(report("inspect").0, Some(0), "it looks at heads alone");
        let (code, bad) = report("verify");
        assert_eq!((code, &bad["unreadable"]), (Some(5), &json!(1)), "{bad}");
        let before = (asked(true), asked(false));
        check();
        assert!(asked(true) > before.0, "the piece, in the same transfer");
        check();
        assert!(asked(false) > before.1, "it is fetched anew");
    });
}

#[test]
fn a_disk_that_fills_up_costs_hits_and_nothing_else() {
    check_full_disk(When::Running);
}

#[test]
fn a_disk_that_is_full_at_start_costs_hits_and_nothing_else() {
    check_full_disk(When::BeforeStart);
}

/// When the disk is filled by somebody else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    BeforeStart,
    Running,
}

fn check_full_disk(when: When) {
    scene(LIMIT, move |scene| {
        let Some(small) = Tmpfs::mount(scene, "size=80m") else {
            eprintln!("SKIPPED, the disk is not filled: no right to mount a tmpfs");
            return;
        };
        let other = small.path.join("other");
        if when == When::BeforeStart {
            fill_up(&other);
        }
        let origin = Origin::start(|seen, wire| {
            let content = seen.target.repeat((1 << 20) / seen.target.len());
            wire.answer(
                "200 OK",
                "Cache-Control: max-age=600\r\n",
                content.as_bytes(),
            )
        });
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .memory("8MiB")
            .disk_at(&small.path.join("cache"), "64MiB")
            .start(scene);
        if when == When::Running {
            fill_up(&other);
        }
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
        // A volume takes its space at the start, so that others cannot take it later; without it, the edge says so and works from memory.
        let failed = edge.metric("jet9_cache_disk_errors_total") > 0.0;
        assert_eq!(failed, when == When::BeforeStart);
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
