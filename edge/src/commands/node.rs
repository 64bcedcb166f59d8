//! `jet9 node`: the nodes of the fleet, of which this version knows the one that is asked.

use std::process::ExitCode;

use http::Method;

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
    /// Tell routers to send nobody to this node; whoever comes is served as before
    Drain {
        /// Which edge.
        #[command(flatten)]
        target: Target,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
    /// Take a drain back
    Undrain {
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
    match command {
        Command::Ls { target, output } => {
            let body = Client::find(target)?.ask(&Ask::get("/v1/nodes"))?.body;
            let rows = body["nodes"].as_array().cloned().unwrap_or_default();
            output::print(*output, &body, &rows, &COLUMNS)?;
        }
        Command::Drain { target, output } => post("/v1/nodes/self/drain", target, *output)?,
        Command::Undrain { target, output } => post("/v1/nodes/self/undrain", target, *output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn post(path: &str, target: &Target, output: Output) -> Result<(), Failure> {
    let mut ask = Ask::get(path);
    ask.method = Method::POST;
    let body = Client::find(target)?.ask(&ask)?.body;
    output::print(output, &body, std::slice::from_ref(&body), &COLUMNS)
}

const COLUMNS: [output::Column; 6] = [
    ("ID", "id"),
    ("ZONE", "zone"),
    ("VERSION", "version"),
    ("READY", "ready"),
    ("SITES", "sites"),
    ("NOT READY", "not_ready"),
];
