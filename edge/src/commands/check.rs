//! `jet9 check`: validates documents, all problems at once.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Failure;

/// What is checked.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The node file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Site documents; none: those of the node's state directory.
    #[arg(value_name = "SITE.toml")]
    pub sites: Vec<PathBuf>,
}

/// Checks them.
///
/// # Errors
/// All problems of all documents.
pub fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    unimplemented!()
}
