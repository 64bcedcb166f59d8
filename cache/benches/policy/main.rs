//! What do admission, ghost and reinsertion do to hit ratio and flash writes? Two tiers over recorded traces, beside plain S3-FIFO.
//!
//! `cargo bench -p jet9-cache --bench policy -- <directory of traces>`: every `*.txt.gz` in it, one object number a line. The decisions
//! are the store's own code, and so are the queues of memory. Objects weigh one each. Writes count after the ring has wrapped.
//! With `replay <microseconds>` after the directory the store itself is asked instead, on volumes in the build directory, by a visitor who
//! pauses so long after each answer. Prints tables for `docs/performance.md`, asserts nothing.

mod replay;
mod s3fifo;
mod tiers;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use tiers::{Outcome, Settings};

/// Both tiers together, in percent of the objects of the trace.
const SIZES: [usize; 3] = [5, 10, 20];
/// Memory in percent of both tiers.
const MEMORY: [usize; 4] = [2, 5, 10, 25];
/// Memory without a disk, in percent of the objects of the trace.
const ALONE: [usize; 4] = [1, 5, 10, 20];

fn main() -> ExitCode {
    // cargo itself adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let Some(directory) = arguments.first() else {
        println!("no traces: cargo bench -p jet9-cache --bench policy -- <directory>");
        return ExitCode::SUCCESS;
    };
    match traces(Path::new(directory)) {
        Ok(traces) if traces.is_empty() => fail("there is no *.txt.gz in it"),
        Ok(traces) => run(&traces, &arguments[1..]),
        Err(error) => fail(&error.to_string()),
    }
}

fn run(traces: &[(String, Vec<u32>)], arguments: &[String]) -> ExitCode {
    let done = match arguments {
        [word, pause] if word == "replay" => match pause.parse() {
            Ok(pause) => replay::print(traces, Duration::from_micros(pause)),
            Err(_) => return fail("replay <microseconds>"),
        },
        [] => {
            print(traces);
            Ok(())
        }
        _ => return fail("there is only: replay <microseconds>"),
    };
    done.map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS)
}

fn fail(why: &str) -> ExitCode {
    eprintln!("no figures: {why}");
    ExitCode::FAILURE
}

fn traces(directory: &Path) -> std::io::Result<Vec<(String, Vec<u32>)>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".txt.gz"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| Ok((name(path), read(path)?)))
        .collect()
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.trim_end_matches(".txt.gz").to_owned()
}

fn read(path: &Path) -> std::io::Result<Vec<u32>> {
    let output = Command::new("gzip").arg("-dc").arg(path).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect())
}

fn print(traces: &[(String, Vec<u32>)]) {
    println!("| trace | both tiers | memory | S3-FIFO | admit all | both | from memory | writes |");
    println!("| --- | --: | --: | --: | --: | --: | --: | --: |");
    for (name, trace) in traces {
        for (percent, memory) in SIZES
            .iter()
            .flat_map(|size| MEMORY.map(|memory| (*size, memory)))
        {
            let total = objects(trace) * percent / 100;
            let memory_objects = (total * memory / 100).max(1);
            let run = |all| {
                let settings = Settings::of(memory_objects, total - memory_objects, all);
                tiers::run(trace, &settings)
            };
            let (all, used): (Outcome, Outcome) = (run(true), run(false));
            println!(
                "| {name} | {percent} % | {memory} % | {:.4} | {:.4} | {:.4} | {:.2} | {:.2} |",
                s3fifo::hit_ratio(trace, total),
                all.hit_ratio,
                used.hit_ratio,
                used.from_memory,
                used.writes as f64 / all.writes.max(1) as f64,
            );
        }
    }
    println!("\n| trace | memory alone | S3-FIFO | memory |");
    println!("| --- | --: | --: | --: |");
    for (name, trace) in traces {
        for percent in ALONE {
            let total = objects(trace) * percent / 100;
            println!(
                "| {name} | {percent} % | {:.4} | {:.4} |",
                s3fifo::hit_ratio(trace, total),
                tiers::run_alone(trace, total),
            );
        }
    }
}

fn objects(trace: &[u32]) -> usize {
    let objects: std::collections::HashSet<_> = trace.iter().collect();
    objects.len()
}
