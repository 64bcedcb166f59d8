//! `jet9 purge`: through the admin API.

use std::process::ExitCode;

use super::Failure;

/// What is purged.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Purges it.
///
/// # Errors
/// What the admin API refused, or why it could not be asked.
pub fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    unimplemented!()
}
