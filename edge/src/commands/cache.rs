//! `jet9 cache inspect` and `jet9 cache verify`: what is in a volume, and is all of it as it was written?
//!
//! Reads the volume's file alone, whether an edge runs on it or not; asks no admin API and changes nothing. `verify` reads every record
//! and fails when one is damaged: to the edge that is a miss, to the operator a hint about the disk.

use std::path::PathBuf;
use std::process::ExitCode;

use jet9_cache::disk::inspect::{AGES, Depth, Report, Share, inspect};
use serde_json::{Value, json};

use super::output::{self, Output};
use super::{Code, Failure};
use crate::clock::WallClock;

/// What is asked about a volume.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Shows what is in a volume, by site and age
    Inspect(Arguments),
    /// Reads every record of a volume and checks it
    Verify(Arguments),
}

/// Which volume.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The directory of the volume, as `cache.disk` has it, or the file in it
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// How it is printed.
    #[command(flatten)]
    pub output: Output,
}

/// Looks, and prints.
///
/// # Errors
/// When the file is no volume or cannot be read; `verify`, too, when something in it is damaged ([`Code::Partial`]).
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    let (arguments, depth) = match command {
        Command::Inspect(arguments) => (arguments, Depth::Heads),
        Command::Verify(arguments) => (arguments, Depth::Everything),
    };
    let report = inspect(&arguments.path, depth, WallClock::System.now())
        .map_err(|error| Failure::new(format!("{}: {error}", arguments.path.display())))?;
    let answer = answer(&report);
    let rows = answer["partitions"].as_array().cloned().unwrap_or_default();
    output::print(arguments.output, &answer, &rows, &COLUMNS)?;
    if depth == Depth::Everything && !report.is_good() {
        let problems = report.problems.join("\n");
        let message = format!("{} records are damaged\n{problems}", report.unreadable);
        return Err(Failure::with(Code::Partial, message.trim_end()));
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: [output::Column; 8] = [
    ("PARTITION", "partition"),
    ("RESPONSES", "responses"),
    ("BYTES", "bytes"),
    ("<1MIN", "minute"),
    ("<1H", "hour"),
    ("<1D", "day"),
    ("<7D", "week"),
    ("OLDER", "older"),
];

fn answer(report: &Report) -> Value {
    let partitions: Vec<Value> = report.partitions.iter().map(row).collect();
    json!({
        "segment_bytes": report.segment_bytes,
        "segments": report.segments,
        "used": report.used,
        "sealed": report.sealed,
        "last_lap": report.last_lap,
        "pieces": report.pieces,
        "piece_bytes": report.piece_bytes,
        "unreadable": report.unreadable,
        "problems": report.problems,
        "partitions": partitions,
    })
}

fn row((partition, share): (&u32, &Share)) -> Value {
    const { assert!(AGES.len() == 5, "a column for each") };
    let [minute, hour, day, week, older] = share.by_age;
    json!({
        "partition": partition,
        "responses": share.responses,
        "bytes": share.bytes,
        "minute": minute,
        "hour": hour,
        "day": day,
        "week": week,
        "older": older,
    })
}
