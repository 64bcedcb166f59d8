//! `jet9 cert`: the certificates of a running edge.

use std::path::PathBuf;
use std::process::ExitCode;

use http::Method;
use jet9_config::SiteId;
use serde_json::Value;

use super::Failure;
use super::asking::Asking;
use super::output;
use super::read_file;
use crate::client::{Ask, Client, Target};

/// What is asked about certificates.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the certificates in force
    #[command(visible_alias = "list")]
    Ls {
        /// Which edge, and in which form.
        #[command(flatten)]
        asking: Asking,
    },
    /// Put a certificate in force
    Put {
        /// Its name, which becomes its file's
        #[arg(value_parser = super::site::id)]
        name: SiteId,
        /// The PEM file, chain and key; `-` reads standard input
        #[arg(short = 'f', long = "file", value_name = "FILE")]
        file: PathBuf,
        /// Which edge, and in which form.
        #[command(flatten)]
        asking: Asking,
    },
    /// Take a certificate out of force and remove it
    Rm {
        /// Its name
        #[arg(value_parser = super::site::id)]
        name: SiteId,
        /// Even if names of sites have no other certificate
        #[arg(long)]
        force: bool,
        /// Which edge.
        #[command(flatten)]
        target: Target,
    },
}

/// Asks about certificates.
///
/// # Errors
/// What the admin API refused, or why it could not be asked.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Ls { asking } => {
            let mut body = asking.ask(&Ask::get("/v1/certificates"))?.body;
            let rows = body["certificates"].as_array_mut();
            rows.into_iter().flatten().for_each(|row| date(asking, row));
            asking.list(&body, "certificates", &COLUMNS)?;
        }
        Command::Put { name, file, asking } => {
            let pem = read_file(file)?;
            let path = path_of(name);
            let ask = Ask::put(&path, "application/x-pem-file", &pem);
            let mut body = asking.ask(&ask)?.body;
            date(asking, &mut body);
            asking.one(&body, &COLUMNS)?;
        }
        Command::Rm {
            name,
            force,
            target,
        } => {
            let query = if *force { "?force=1" } else { "" };
            let path = path_of(name) + query;
            Client::find(target)?.ask(&Ask::bare(Method::DELETE, &path))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path_of(name: &SiteId) -> String {
    format!("/v1/certificates/{name}")
}

/// For eyes, the end of its life as a date.
fn date(asking: &Asking, row: &mut Value) {
    if asking.is_table() {
        let seconds = row["not_after"].as_u64().unwrap_or(0);
        row["not_after"] = output::moment(seconds).into();
    }
}

const COLUMNS: [output::Column; 5] = [
    ("NAME", "name"),
    ("STATE", "state"),
    ("NOT AFTER", "not_after"),
    ("ISSUER", "issuer"),
    ("DOMAINS", "domains"),
];
