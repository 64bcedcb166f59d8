//! `jet9 site`: the sites of a running edge.

use std::process::ExitCode;

use serde_json::Value;

use super::Failure;
use super::output::{self, Output};
use crate::client::{Ask, Client, Target};

/// What is asked about sites.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the sites in force, and those whose documents are refused
    Ls {
        /// Which edge.
        #[command(flatten)]
        target: Target,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
    /// Show one site
    Get {
        /// The id of the site
        id: String,
        /// Which edge.
        #[command(flatten)]
        target: Target,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
}

/// Asks about sites.
///
/// # Errors
/// What the admin API refused, or why it could not be asked.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    let columns = [
        ("ID", "id"),
        ("STATUS", "status"),
        ("GENERATION", "generation"),
        ("CLUSTER", "cluster"),
        ("DOMAINS", "domains"),
    ];
    match command {
        Command::Ls { target, output } => {
            let body = Client::find(target)?.ask(&Ask::get("/v1/sites"))?.body;
            let rows = body["sites"].as_array().cloned().unwrap_or_default();
            output::print(*output, &body, &rows, &columns)?;
        }
        Command::Get { id, target, output } => {
            let body = Client::find(target)?
                .ask(&Ask::get(&format!("/v1/sites/{id}")))?
                .body;
            output::print(*output, &body, std::slice::from_ref(&body), &columns)?;
            if output.format == output::Format::Table {
                output::write(&problems(&body))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The problems of a refused document, one a line, as compilers write theirs.
fn problems(site: &Value) -> String {
    let one = |problem: &Value| {
        let word = |name: &str| match &problem[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let place = match (&problem["line"], &problem["column"]) {
            (Value::Number(line), Value::Number(column)) => format!(":{line}:{column}"),
            _ => String::new(),
        };
        format!(
            "{}{place}: {}: {}\n",
            word("file"),
            word("pointer"),
            word("detail")
        )
    };
    site["problems"]
        .as_array()
        .into_iter()
        .flatten()
        .map(one)
        .collect()
}
