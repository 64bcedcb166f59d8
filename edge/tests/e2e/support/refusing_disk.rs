//! A disk that takes nothing, as one that is full: every write past the limit of the process fails.

use std::process::Command;

use rustix::process::{Resource, Rlimit, prlimit};

use super::edge::{JET9, Jet9};
use super::setup::Files;

/// `jet9`, deaf to the signal that comes with a write past a file's limit: as on a disk that is full, the write fails.
pub(crate) fn deaf(files: &Files) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", JET9])
        .args(["run", "--config"])
        .arg(files.dir.join("node.toml"));
    command
}

/// No file can be written any more; or again.
pub(crate) fn limit_files(edge: &Jet9, bytes: Option<u64>) {
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Some(edge.process.pid()), Resource::Fsize, limit).expect("our own child");
}
