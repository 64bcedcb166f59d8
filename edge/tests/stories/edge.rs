//! The edge of a story: this binary as a process of its own, which is `jet9 run` with a clock that standard input moves.

use std::fs;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use jet9_cache::Timestamp;
use jet9_edge::clock::{ManualClock, WallClock};
use jet9_edge::commands::run;

use super::support::setup::Files;

/// The argument that makes this binary an edge; its directory follows.
pub(crate) const AS_EDGE: &str = "--as-edge";

/// Beside the node file: when the clock starts, in milliseconds since 1970.
pub(crate) const CLOCK_FILE: &str = "clock";

/// How an edge of a story is started.
pub(crate) fn program(files: &Files) -> Command {
    let this = std::env::current_exe().expect("this program");
    let mut command = Command::new(this);
    command.arg(AS_EDGE).arg(&files.dir);
    command
}

/// What tells it to move its clock, and what it says when it has.
pub(crate) fn advance(by: Duration, now: Timestamp) -> (String, String) {
    let moved = format!("clock {}", now.unix_millis());
    (by.as_millis().to_string(), moved)
}

/// Is the edge, until a signal ends it.
pub(crate) fn run(directory: &Path) -> ExitCode {
    // As the program itself does, before anything that could do TLS.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let start = fs::read_to_string(directory.join(CLOCK_FILE)).expect("a clock");
    let start = Timestamp::from_unix_millis(start.parse().expect("milliseconds"));
    let clock = ManualClock::starting_at(start);
    let hand = clock.clone();
    thread::spawn(move || follow(&hand));
    let arguments = run::Arguments {
        config: directory.join("node.toml"),
    };
    run::run_by(&arguments, WallClock::Manual(clock)).unwrap_or_else(|failure| {
        eprintln!("{failure}");
        ExitCode::FAILURE
    })
}

/// Moves the clock as told, and ends the process with the one who tells.
fn follow(clock: &ManualClock) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let millis = line.parse().expect("milliseconds");
        clock.advance(Duration::from_millis(millis));
        let mut out = std::io::stdout().lock();
        let told = writeln!(out, "clock {}", clock.now().unix_millis());
        told.and_then(|()| out.flush()).expect("somebody who reads");
    }
    std::process::exit(1);
}
