//! `jet9 token`: tokens with scopes for the admin API.

use std::process::ExitCode;

use http::Method;
use jet9_config::SiteId;
use serde_json::json;

use super::Failure;
use super::asking::Asking;
use super::output;
use crate::client::{Ask, Client, Target};

/// What is asked about tokens.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the tokens, without their secrets
    #[command(visible_alias = "list")]
    Ls {
        /// Which edge, and in which form.
        #[command(flatten)]
        asking: Asking,
    },
    /// Make a token and print its secret, which is told this once
    Create {
        /// Its name, for the audit trail
        #[arg(value_parser = super::site::id)]
        name: SiteId,
        /// What it is for: `admin`, `read`, `site:<id>:purge`, `site:<id>:write` or `cluster:<id>:publish`
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// Which edge, and in which form.
        #[command(flatten)]
        asking: Asking,
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
        Command::Ls { asking } => {
            let body = asking.ask(&Ask::get("/v1/tokens"))?.body;
            asking.list(&body, "tokens", &[("NAME", "name"), ("SCOPES", "scopes")])?;
        }
        Command::Create {
            name,
            scopes,
            asking,
        } => {
            let wish = json!({ "name": name.as_str(), "scopes": scopes });
            let ask = Ask::send(Method::POST, "/v1/tokens", &wish);
            let body = asking.ask(&ask)?.body;
            match body["token"].as_str() {
                Some(secret) if asking.is_table() => output::write(&format!("{secret}\n"))?,
                _ => asking.one(&body, &[])?,
            }
        }
        Command::Rm { name, target } => {
            let path = format!("/v1/tokens/{name}");
            Client::find(target)?.ask(&Ask::bare(Method::DELETE, &path))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
