//! `jet9 cert`: the certificates of a running edge.

use std::path::PathBuf;
use std::process::ExitCode;

use http::Method;
use jet9_config::SiteId;
use serde_json::Value;

use super::Failure;
use super::output::{self, Format, Output};
use super::read_file;
use crate::client::{Ask, Client, Target};

/// What is asked about certificates.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the certificates in force
    Ls {
        /// Which edge.
        #[command(flatten)]
        target: Target,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
    /// Put a certificate in force
    Put {
        /// Its name, which becomes its file's
        #[arg(value_parser = super::site::id)]
        name: SiteId,
        /// The PEM file, chain and key; `-` reads standard input
        #[arg(short = 'f', long = "file", value_name = "FILE")]
        file: PathBuf,
        /// Which edge.
        #[command(flatten)]
        target: Target,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
}

/// Asks about certificates.
///
/// # Errors
/// What the admin API refused, or why it could not be asked.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Ls { target, output } => {
            let body = Client::find(target)?
                .ask(&Ask::get("/v1/certificates"))?
                .body;
            let rows = body["certificates"].as_array().cloned().unwrap_or_default();
            show(*output, &body, &rows)?;
        }
        Command::Put {
            name,
            file,
            target,
            output,
        } => {
            let pem = read_file(file)?;
            let path = format!("/v1/certificates/{name}");
            let mut ask = Ask::get(&path);
            ask.method = Method::PUT;
            ask.text = Some(("application/x-pem-file", &pem));
            let body = Client::find(target)?.ask(&ask)?.body;
            show(*output, &body, std::slice::from_ref(&body))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(output: Output, body: &Value, rows: &[Value]) -> Result<(), Failure> {
    if output.format != Format::Table {
        return output::print(output, body, rows, &COLUMNS);
    }
    let mut rows = rows.to_vec();
    for row in &mut rows {
        let seconds = row["not_after"].as_u64().unwrap_or(0);
        row["not_after"] = output::moment(seconds).into();
    }
    output::print(output, body, &rows, &COLUMNS)
}

const COLUMNS: [output::Column; 5] = [
    ("NAME", "name"),
    ("STATE", "state"),
    ("NOT AFTER", "not_after"),
    ("ISSUER", "issuer"),
    ("DOMAINS", "domains"),
];
