//! Disks that give back other bytes than they were given, or take no more.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

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
