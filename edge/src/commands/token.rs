//! `jet9 token`: tokens with scopes for the admin API.

use std::process::ExitCode;

use http::Method;
use jet9_config::SiteId;
use serde_json::json;

use super::Failure;
use super::output::{self, Format, Output};
use crate::client::{Ask, Client, Target};

/// What is asked about tokens.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the tokens, without their secrets
    Ls {
        /// Which edge.
        #[command(flatten)]
        target: Target,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
    /// Make a token and print its secret, which is told this once
    Create {
        /// Its name, for the audit trail
        #[arg(value_parser = super::site::id)]
        name: SiteId,
        /// What it is for: `admin`, `read`, `site:<id>:purge`, `site:<id>:write` or `cluster:<id>:publish`
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// Which edge.
        #[command(flatten)]
        target: Target,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
    /// Withdraw a token
    Rm {
        /// Its name
        #[arg(value_parser = super::site::id)]
        name: SiteId,
        /// Which edge.
        #[command(flatten)]
        target: Target,
    },
}

/// Asks about tokens.
///
/// # Errors
/// What the admin API refused, or why it could not be asked.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Ls { target, output } => {
            let body = Client::find(target)?.ask(&Ask::get("/v1/tokens"))?.body;
            let rows = body["tokens"].as_array().cloned().unwrap_or_default();
            output::print(
                *output,
                &body,
                &rows,
                &[("NAME", "name"), ("SCOPES", "scopes")],
            )?;
        }
        Command::Create {
            name,
            scopes,
            target,
            output,
        } => {
            let wish = json!({ "name": name.as_str(), "scopes": scopes });
            let ask = Ask::send(Method::POST, "/v1/tokens", &wish);
            let body = Client::find(target)?.ask(&ask)?.body;
            match output.format {
                Format::Table => {
                    let secret = body["token"].as_str().unwrap_or_default();
                    output::write(&format!("{secret}\n"))?;
                }
                Format::Json | Format::Yaml => output::print(*output, &body, &[], &[])?,
            }
        }
        Command::Rm { name, target } => {
            let path = format!("/v1/tokens/{name}");
            let mut ask = Ask::get(&path);
            ask.method = Method::DELETE;
            Client::find(target)?.ask(&ask)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
