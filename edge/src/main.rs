//! The command line of `jet9`: daemon and client in one binary.
//!
//! Turns arguments into calls of `jet9_edge::commands` and their results into exit codes. The only place that uses `anyhow`.

fn main() {}
