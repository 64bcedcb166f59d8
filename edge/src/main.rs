//! The command line of `jet9`: daemon and client in one binary.
//!
//! Turns arguments into calls of `jet9_edge::commands` and their results into exit codes. Installs what is there once for a process: the
//! provider of cryptography and the process log.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use jet9_edge::commands::{
    Failure, cache, cert, check, cluster, explain, node, purge, quickstart, run, site, token,
};

/// Jet9 Edge: a caching reverse proxy that follows the live master of each site.
#[derive(Debug, Parser)]
#[command(name = "jet9", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the edge in the foreground. SIGTERM drains and ends it, SIGHUP makes it read its documents again.
    Run(run::Arguments),
    /// Check a node file and site documents; says all that is wrong at once.
    Check(check::Arguments),
    /// Run everything on loopback with no preparation, and say what to try.
    Quickstart(quickstart::Arguments),
    /// Purge stored responses of a site.
    Purge(purge::Arguments),
    /// Tell what would be done with a request, and why, without asking any origin.
    Explain(explain::Arguments),
    /// Sites of a running edge.
    #[command(subcommand)]
    Site(site::Command),
    /// Cluster state: as the edge sees it, and published by compare-and-swap.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Certificates of a running edge.
    #[command(subcommand)]
    Cert(cert::Command),
    /// Tokens for the admin API of a running edge.
    #[command(subcommand)]
    Token(token::Command),
    /// Volumes of the store on disk.
    #[command(subcommand)]
    Cache(cache::Command),
    /// Nodes of the fleet.
    #[command(subcommand)]
    Node(node::Command),
}

fn main() -> ExitCode {
    // Before anything that could do TLS: Pingora would otherwise choose another provider. An error says that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match execute(&Arguments::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            failure.code.into()
        }
    }
}

fn execute(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Quickstart(arguments) => match quickstart::run(arguments) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(Failure::new(error)),
        },
        Command::Purge(arguments) => purge::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Site(command) => site::run(command),
        Command::Cluster(command) => cluster::run(command),
        Command::Cert(command) => cert::run(command),
        Command::Token(command) => token::run(command),
        Command::Cache(command) => cache::run(command),
        Command::Node(command) => node::run(command),
    }
}
