//! `jet9 purge`: through the admin API.

use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::output::{self, Format, Output};
use super::{Code, Failure};
use crate::client::{Ask, Client, Target};

/// What is purged.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The site
    #[arg(long, value_name = "ID")]
    pub site: String,
    /// A URL, in every scheme, port and variant; or a path, on every name of the site
    #[arg(long = "url", value_name = "URL")]
    pub urls: Vec<String>,
    /// A cache tag
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// The beginning of a path, on every name of the site
    #[arg(long = "prefix", value_name = "PATH")]
    pub prefixes: Vec<String>,
    /// Everything of the site
    #[arg(long)]
    pub all: bool,
    /// Drop it. Without this it is only stale: it is validated before it is served, and can still be shown when the origin fails
    #[arg(long)]
    pub hard: bool,
    /// Whose acknowledgement to wait for
    #[arg(long, value_name = "WHO", default_value = "local", value_parser = ["local", "all"])]
    pub wait: String,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub timeout: u64,
    /// Which edge.
    #[command(flatten)]
    pub target: Target,
    /// In which form.
    #[command(flatten)]
    pub output: Output,
}

/// Purges it.
///
/// # Errors
/// What the admin API refused, or why it could not be asked.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let named = arguments.urls.len() + arguments.tags.len() + arguments.prefixes.len();
    if named == 0 && !arguments.all {
        let message = "nothing to purge: give --url, --tag, --prefix or --all";
        return Err(Failure::with(Code::Usage, message));
    }
    let body = body(arguments);
    let mut ask = Ask::send(Method::POST, "/v1/purges", &body);
    ask.wait = Duration::from_secs(arguments.timeout);
    let answered = Client::find(&arguments.target)?.ask(&ask)?;
    match arguments.output.format {
        Format::Json | Format::Yaml => output::print(arguments.output, &answered.body, &[], &[])?,
        Format::Table => output::write(&told(&answered.body))?,
    }
    if answered.status == StatusCode::ACCEPTED {
        let message = "not everywhere yet; it goes on without being waited for";
        return Err(Failure::with(Code::Partial, message));
    }
    Ok(ExitCode::SUCCESS)
}

fn body(arguments: &Arguments) -> Value {
    json!({
        "site": arguments.site,
        "urls": arguments.urls,
        "tags": arguments.tags,
        "prefixes": arguments.prefixes,
        "all": arguments.all,
        "mode": if arguments.hard { "hard" } else { "soft" },
        "wait": arguments.wait,
        "timeout_ms": arguments.timeout * 1000,
    })
}

fn told(body: &Value) -> String {
    let names = |member: &str| {
        let nodes = body[member].as_array().into_iter().flatten();
        nodes
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (applied, lagging) = (names("applied"), names("lagging"));
    let mut text = String::new();
    if !applied.is_empty() {
        text += &format!("purged on {applied} (number {})\n", body["sequence"]);
    }
    if !lagging.is_empty() {
        text += &format!("still to come on {lagging}\n");
    }
    text
}
