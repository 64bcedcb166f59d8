//! Stories: what the cache does, told line by line, and played over real sockets against a real edge.
//!
//! Each `*.story` beside this file is one topic; `README.md` explains how they read. `cargo test -p jet9-edge --test stories` plays all of
//! them, `… --test stories -- NAME` those whose name contains it. A story is played over HTTP/1.1, over HTTP/1.1 with restarts on a warm disk,
//! and over HTTP/2. The edge is this same binary, started again as a process of its own with a clock that the story moves: what is played is
//! the whole program, but for its clock. Stories know nothing of the program's inside.

use std::process::ExitCode;

#[cfg(test)]
#[path = "../e2e/support/mod.rs"]
#[expect(dead_code, reason = "the whole-system tests use the rest of it")]
mod support;

#[cfg(test)]
mod client;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod expectation;
#[cfg(test)]
mod origin;
#[cfg(test)]
mod parse;
#[cfg(test)]
mod play;
#[cfg(test)]
mod runner;
#[cfg(test)]
mod selftest;
#[cfg(test)]
mod story;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [word, directory] if word == edge::AS_EDGE => edge::run(directory.as_ref()),
        names => runner::run(names),
    }
}
