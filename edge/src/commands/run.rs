//! `jet9 run`: the edge in the foreground.
//!
//! Reads the node file, sets up the process log and hands over to `framework::server`. Exit code 1 with every problem of the node file when
//! it cannot start, 0 after a stop.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jet9_config::node::Node;

use super::Failure;
use crate::clock::WallClock;
use crate::framework::server;

/// Which edge is run.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The node file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs until a signal ends it.
///
/// # Errors
/// Everything that is wrong with the node file, its addresses and its certificates, at once; or why the store or the state cannot be used.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    run_by(arguments, WallClock::System)
}

/// The same by another clock: for tests that move time.
///
/// # Errors
/// As [`run`].
pub fn run_by(arguments: &Arguments, clock: WallClock) -> Result<ExitCode, Failure> {
    set_up_log();
    let node = read_node(&arguments.config)?;
    server::run(&arguments.config, node, clock).map_err(Failure::new)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads and checks a node file.
///
/// # Errors
/// When it cannot be read, or all its problems.
pub fn read_node(file: &Path) -> Result<Node, Failure> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("{shown}: the node file cannot be read: {error}")))?;
    let absolute = std::path::absolute(file)
        .map_err(|error| Failure::new(format!("{shown}: the path cannot be resolved: {error}")))?;
    let base = absolute.parent().unwrap_or_else(|| Path::new("/"));
    jet9_config::check::node(&shown, base, &text).map_err(Failure::new)
}

/// What is logged unless `JET9_LOG` says otherwise. Pingora calls a pooled connection that the side has closed an error: every second of a
/// quiet node has some.
const LEVELS: &str =
    "info,pingora_core=warn,pingora_proxy=warn,pingora_core::connectors=off,notify=warn";

/// The process log: to standard error, one line an event, with the level from `JET9_LOG` (`info` by default).
fn set_up_log() {
    let environment = env_logger::Env::new().filter_or("JET9_LOG", LEVELS);
    // An error says that a log is set up already, as in tests.
    let _ = env_logger::Builder::from_env(environment)
        .format(|out, record| {
            let now = out.timestamp_millis();
            writeln!(
                out,
                "{now} {} {}: {}",
                record.level(),
                record.target(),
                record.args()
            )
        })
        .try_init();
}
