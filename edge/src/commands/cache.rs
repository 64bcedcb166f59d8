//! `jet9 cache inspect` and `jet9 cache verify`: what is in a volume, and is all of it as it was written?
//!
//! Reads the volume's file, whether an edge runs on it or not; asks no admin API and changes nothing. Partitions have numbers there; with
//! the node file, the purge journal tells which sites they are. `verify` reads every record and fails when one is damaged: to the edge
//! that is a miss, to the operator a hint about the disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jet9_cache::disk::inspect::{AGES, Depth, Report, Share, inspect};
use jet9_cache::purge::names_of_partitions;
use serde_json::{Value, json};

use super::output::{self, Output};
use super::run::read_node;
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
    /// The node file: sites are shown by their ids then
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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
    let names = match &arguments.config {
        Some(config) => names(config)?,
        None => HashMap::new(),
    };
    let answer = answer(&report, &names);
    let rows = answer["partitions"].as_array().cloned().unwrap_or_default();
    output::print(arguments.output, &answer, &rows, &COLUMNS)?;
    if depth == Depth::Everything && !report.is_good() {
        let problems = report.problems.join("\n");
        let message = format!("{} records are damaged\n{problems}", report.unreadable);
        return Err(Failure::with(Code::Partial, message.trim_end()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The ids of the sites that have a document, by their partitions.
fn names(config: &Path) -> Result<HashMap<u32, String>, Failure> {
    let node = read_node(config)?;
    let sites = node.state.path.join("sites");
    let entries = std::fs::read_dir(&sites)
        .map_err(|error| Failure::new(format!("{}: {error}", sites.display())))?;
    let documents = entries.flatten().map(|entry| entry.path());
    let ids: Vec<String> = documents
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names_of_partitions(&node.data_dir, &ids)
        .map_err(|error| Failure::new(format!("{}: {error}", node.data_dir.display())))
}

const COLUMNS: [output::Column; 9] = [
    ("PARTITION", "partition"),
    ("SITE", "site"),
    ("RESPONSES", "responses"),
    ("BYTES", "bytes"),
    ("<1MIN", "minute"),
    ("<1H", "hour"),
    ("<1D", "day"),
    ("<7D", "week"),
    ("OLDER", "older"),
];

fn answer(report: &Report, names: &HashMap<u32, String>) -> Value {
    let row = |(number, share): (&u32, &Share)| row(*number, names.get(number), share);
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

fn row(partition: u32, site: Option<&String>, share: &Share) -> Value {
    const { assert!(AGES.len() == 5, "a column for each") };
    let [minute, hour, day, week, older] = share.by_age;
    json!({
        "partition": partition,
        "site": site,
        "responses": share.responses,
        "bytes": share.bytes,
        "minute": minute,
        "hour": hour,
        "day": day,
        "week": week,
        "older": older,
    })
}
