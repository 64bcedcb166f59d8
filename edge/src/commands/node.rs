//! `jet9 node`: the nodes of the fleet, of which this version knows the one that is asked.

use std::process::ExitCode;

use super::Failure;
use super::output::{self, Output};
use crate::client::{Ask, Client, Target};

/// What is asked about nodes.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the nodes
    Ls {
        /// Which edge.
        #[command(flatten)]
        target: Target,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
}

/// Asks about nodes.
///
/// # Errors
/// What the admin API refused, or why it could not be asked.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    let Command::Ls { target, output } = command;
    let body = Client::find(target)?.ask(&Ask::get("/v1/nodes"))?.body;
    let rows = body["nodes"].as_array().cloned().unwrap_or_default();
    let columns = [
        ("ID", "id"),
        ("ZONE", "zone"),
        ("VERSION", "version"),
        ("READY", "ready"),
        ("SITES", "sites"),
        ("NOT READY", "not_ready"),
    ];
    output::print(*output, &body, &rows, &columns)?;
    Ok(ExitCode::SUCCESS)
}
