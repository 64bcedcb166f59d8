//! `jet9 site`: the sites of a running edge, shown and changed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http::Method;
use jet9_config::SiteId;
use serde_json::{Value, json};

use super::asking::Asking;
use super::{Failure, output, read_file};
use crate::client::{Ask, Client, Target};

/// What is asked about sites.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the sites in force, and those whose documents are refused
    #[command(visible_alias = "list")]
    Ls {
        /// Which edge, and in which form.
        #[command(flatten)]
        asking: Asking,
    },
    /// Show one site; as JSON or YAML with its document
    Get {
        /// The id of the site
        #[arg(value_parser = id)]
        id: SiteId,
        /// Print the document in force as it was written, to be edited and applied
        #[arg(long)]
        toml: bool,
        /// Which edge, and in which form.
        #[command(flatten)]
        asking: Asking,
    },
    /// Create or replace a site; it is in force when this returns
    Apply(Apply),
    /// Tell what applying a document would change, and change nothing
    Diff(Apply),
    /// List the last versions of a site, the newest first
    History {
        /// The id of the site
        #[arg(value_parser = id)]
        id: SiteId,
        /// Which edge, and in which form.
        #[command(flatten)]
        asking: Asking,
    },
    /// Put what an earlier version said in force again, as a new version
    Rollback {
        /// The id of the site
        #[arg(value_parser = id)]
        id: SiteId,
        /// The version; `jet9 site history` lists them
        #[arg(long, value_name = "VERSION")]
        to: u64,
        /// The version that must be in force now
        #[arg(long, value_name = "VERSION")]
        expect: Option<u64>,
        /// Which edge, and in which form.
        #[command(flatten)]
        asking: Asking,
    },
    /// Remove a site and drop what is stored for it
    Rm {
        /// The id of the site
        #[arg(value_parser = id)]
        id: SiteId,
        /// The version that must be in force now
        #[arg(long, value_name = "VERSION")]
        expect: Option<u64>,
        /// Which edge.
        #[command(flatten)]
        target: Target,
    },
}

/// A document to be applied.
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// The document, TOML or JSON; `-` reads standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// The version that must be in force now
    #[arg(long, value_name = "VERSION")]
    pub expect: Option<u64>,
    /// Which edge, and in which form.
    #[command(flatten)]
    pub asking: Asking,
}

/// Asks about sites.
///
/// # Errors
/// What the admin API refused, or why it could not be asked.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Ls { asking } => {
            let body = asking.ask(&Ask::get("/v1/sites"))?.body;
            asking.list(&body, "sites", &COLUMNS)?;
        }
        Command::Get { id, toml, asking } => get(id, *toml, asking)?,
        Command::Apply(document) => apply(document, "")?,
        Command::Diff(document) => apply(document, "?dry_run=1")?,
        Command::History { id, asking } => history(id, asking)?,
        Command::Rollback {
            id,
            to,
            expect,
            asking,
        } => {
            let path = format!("{}/rollback", path_of(id));
            let wish = json!({ "version": to });
            let mut ask = Ask::send(Method::POST, &path, &wish);
            ask.if_match = *expect;
            told(asking, &asking.ask(&ask)?.body)?;
        }
        Command::Rm { id, expect, target } => {
            let path = path_of(id);
            let mut ask = Ask::bare(Method::DELETE, &path);
            ask.if_match = *expect;
            Client::find(target)?.ask(&ask)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn get(id: &SiteId, toml: bool, asking: &Asking) -> Result<(), Failure> {
    let path = path_of(id);
    let mut ask = Ask::get(&path);
    if toml {
        ask.accept = Some("application/toml");
    }
    let answered = asking.ask(&ask)?;
    if toml && answered.body.is_null() {
        return output::write(&answered.text);
    }
    let body = answered.body;
    asking.one(&body, &COLUMNS)?;
    match asking.is_table() {
        true => output::write(&problems(&body)),
        false => Ok(()),
    }
}

fn apply(document: &Apply, query: &str) -> Result<(), Failure> {
    let text = read_file(&document.file)?;
    let kind = match is_json(&document.file, &text) {
        true => "application/json",
        false => "application/toml",
    };
    let path = format!("{}{query}", path_of(&id_in(&text, kind)?));
    let mut ask = Ask::put(&path, kind, &text);
    ask.if_match = document.expect;
    told(&document.asking, &document.asking.ask(&ask)?.body)
}

fn is_json(file: &Path, text: &str) -> bool {
    match file.extension() {
        Some(extension) => extension == "json",
        None => text.trim_start().starts_with('{'),
    }
}

/// The site whose document a text is. What else is wrong with it the edge says, all at once.
fn id_in(text: &str, kind: &str) -> Result<SiteId, Failure> {
    let document: Value = if kind == "application/json" {
        serde_json::from_str(text).map_err(Failure::new)?
    } else {
        toml::from_str(text).map_err(Failure::new)?
    };
    let id = document["id"].as_str();
    let id = id.ok_or_else(|| Failure::new("the document says no `id`"))?;
    SiteId::parse(id).map_err(Failure::new)
}

fn history(id: &SiteId, asking: &Asking) -> Result<(), Failure> {
    let path = format!("{}/versions", path_of(id));
    let mut body = asking.ask(&Ask::get(&path))?.body;
    let rows = body["versions"].as_array_mut().into_iter().flatten();
    for row in rows.filter(|_| asking.is_table()) {
        let millis = row["unix_ms"].as_u64().unwrap_or(0);
        row["when"] = output::moment(millis / 1000).into();
    }
    let columns = [
        ("VERSION", "version"),
        ("WHEN", "when"),
        ("BY", "by"),
        ("IN FORCE", "in_force"),
        ("REMOVED", "removed"),
    ];
    asking.list(&body, "versions", &columns)
}

/// What a write did: the version, and what differs, a line each.
fn told(asking: &Asking, body: &Value) -> Result<(), Failure> {
    if !asking.is_table() {
        return asking.one(body, &[]);
    }
    let changes = body["changes"].as_array().into_iter().flatten();
    let mut text = String::new();
    for change in changes {
        let pointer = change["pointer"].as_str().unwrap_or_default();
        for (sign, member) in [("-", "before"), ("+", "after")] {
            if let Some(value) = change.get(member).filter(|value| !value.is_null()) {
                text += &format!("{sign} {pointer}: {value}\n");
            }
        }
    }
    if body["dry_run"] != true {
        let id = body["id"].as_str().unwrap_or_default();
        text += &format!("site {id}: version {} is in force\n", body["generation"]);
    }
    output::write(&text)
}

fn path_of(id: &SiteId) -> String {
    format!("/v1/sites/{id}")
}

/// The id of a site, or a name of the same grammar, as an argument.
pub(super) fn id(text: &str) -> Result<SiteId, String> {
    SiteId::parse(text).map_err(|error| error.to_string())
}

const COLUMNS: [output::Column; 5] = [
    ("ID", "id"),
    ("STATUS", "status"),
    ("GENERATION", "generation"),
    ("CLUSTER", "cluster"),
    ("DOMAINS", "domains"),
];

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
