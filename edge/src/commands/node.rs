//! `jet9 node`: the nodes of the fleet, of which this version knows the one that is asked.

use std::process::ExitCode;

use http::Method;

use super::Failure;
use super::asking::Asking;
use super::output;
use crate::client::Ask;

/// What is asked about nodes.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the nodes
    #[command(visible_alias = "list")]
    Ls {
        /// Which edge, and in which form.
        #[command(flatten)]
        asking: Asking,
    },
    /// Tell routers to send nobody to this node; whoever comes is served as before
    Drain {
        /// Which edge, and in which form.
        #[command(flatten)]
        asking: Asking,
    },
    /// Take a drain back
    Undrain {
        /// Which edge, and in which form.
        #[command(flatten)]
        asking: Asking,
    },
}

/// Asks about nodes.
///
/// # Errors
/// What the admin API refused, or why it could not be asked.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Ls { asking } => {
            let body = asking.ask(&Ask::get("/v1/nodes"))?.body;
            asking.list(&body, "nodes", &COLUMNS)?;
        }
        Command::Drain { asking } => post("/v1/nodes/self/drain", asking)?,
        Command::Undrain { asking } => post("/v1/nodes/self/undrain", asking)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn post(path: &str, asking: &Asking) -> Result<(), Failure> {
    let body = asking.ask(&Ask::bare(Method::POST, path))?.body;
    asking.one(&body, &COLUMNS)
}

const COLUMNS: [output::Column; 6] = [
    ("ID", "id"),
    ("ZONE", "zone"),
    ("VERSION", "version"),
    ("READY", "ready"),
    ("SITES", "sites"),
    ("NOT READY", "not_ready"),
];
