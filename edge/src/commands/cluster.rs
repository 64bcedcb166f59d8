//! `jet9 cluster`: published cluster state, read, followed, published by compare-and-swap, and forgotten.
//!
//! Asks a running edge or, where none runs, the etcd itself ([`place`]). What publishing owes to the fencing class is in [`publish`].

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use jet9_config::ClusterId;
use serde_json::Value;

use super::output::{self, Format, Output};
use super::{Code, Failure};
use crate::client::{Ask, Client, Target};

mod place;
mod publish;

use place::Place;
pub use place::Where;
pub use publish::{Ended, Phase, Publish};

/// How often `watch` looks.
const WATCH_PERIOD: Duration = Duration::from_millis(250);

/// What is asked about clusters.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the clusters, as the edge sees them or as they are in the etcd
    Ls {
        /// Where.
        #[command(flatten)]
        place: Where,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
    /// Show one cluster; as JSON with its document
    Get {
        /// The id of the cluster
        #[arg(value_parser = id)]
        id: ClusterId,
        /// Where.
        #[command(flatten)]
        place: Where,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
    /// Show the clusters, and every change from then on, a line each
    Watch {
        /// Only this cluster
        #[arg(value_parser = id)]
        id: Option<ClusterId>,
        /// Where.
        #[command(flatten)]
        place: Where,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
    /// Publish the next state of a cluster, if the expected epoch is there
    Publish(Publish),
    /// Make one edge forget the epochs of a cluster that was created anew. The edge gives up its protection against the old master
    Forget {
        /// The id of the cluster
        #[arg(long, value_name = "ID", value_parser = id)]
        cluster: ClusterId,
        /// Yes, the old life of this cluster is over
        #[arg(long)]
        yes: bool,
        /// Which edge.
        #[command(flatten)]
        target: Target,
    },
}

/// Asks about clusters.
///
/// # Errors
/// What was refused, or why it could not be asked.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Ls { place, output } => {
            let (body, rows) = Place::find(place)?.list()?;
            show(*output, &body, &rows)?;
        }
        Command::Get { id, place, output } => {
            let body = Place::find(place)?.one(id)?;
            show(*output, &body, std::slice::from_ref(&body))?;
        }
        Command::Watch { id, place, output } => watch(id.as_ref(), place, *output)?,
        Command::Publish(wanted) => publish::publish(wanted)?,
        Command::Forget {
            cluster,
            yes,
            target,
        } => forget(cluster, *yes, target)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Follows until it is ended. A place that is away is told of once, and asked again.
fn watch(only: Option<&ClusterId>, place: &Where, output: Output) -> Result<(), Failure> {
    let place = Place::find(place)?;
    let mut shown: BTreeMap<String, Value> = BTreeMap::new();
    let (_, mut rows) = place.list()?;
    let mut is_away = false;
    loop {
        for row in rows {
            let name = row["cluster"].as_str().unwrap_or_default().to_owned();
            let is_wanted = only.is_none_or(|only| only.as_str() == name);
            if is_wanted && shown.get(&name) != Some(&row) {
                output::write(&line(&row, output.format))?;
                shown.insert(name, row);
            }
        }
        std::thread::park_timeout(WATCH_PERIOD);
        rows = match place.list() {
            Ok((_, rows)) => {
                is_away = false;
                rows
            }
            Err(failure) => {
                if !is_away {
                    eprintln!("{failure}");
                }
                is_away = true;
                Vec::new()
            }
        };
    }
}

/// A row as one line: words for eyes, or JSON; or as a YAML document.
fn line(row: &Value, format: Format) -> String {
    match format {
        Format::Json => return format!("{row}\n"),
        Format::Yaml => return format!("---\n{}", output::yaml(row)),
        Format::Table => {}
    }
    let words = COLUMNS.iter().filter_map(|(_, member)| {
        let value = &row[*member];
        (!value.is_null()).then(|| format!("{member}={}", output::cell(value)))
    });
    words.collect::<Vec<_>>().join(" ") + "\n"
}

fn forget(cluster: &ClusterId, yes: bool, target: &Target) -> Result<(), Failure> {
    if !yes {
        let message = "until the next document, this edge would follow an old master; say --yes when that life of the cluster is over";
        return Err(Failure::with(Code::Usage, message));
    }
    let path = format!("/v1/clusters/{cluster}/forget");
    let mut ask = Ask::get(&path);
    ask.method = Method::POST;
    let answered = Client::find(target)?.ask(&ask)?;
    let (old, now) = (&answered.body["forgotten_epoch"], &answered.body["epoch"]);
    output::write(&format!("{cluster}: epoch {old} is forgotten; now {now}\n"))
}

const COLUMNS: [output::Column; 8] = [
    ("CLUSTER", "cluster"),
    ("MASTERSHIP", "mastership"),
    ("MASTER", "master"),
    ("EPOCH", "epoch"),
    ("PHASE", "phase"),
    ("FENCING", "fencing"),
    ("DOUBT", "doubt"),
    ("REFUSED", "refused"),
];

fn show(output: Output, body: &Value, rows: &[Value]) -> Result<(), Failure> {
    output::print(output, body, rows, &COLUMNS)
}

fn id(text: &str) -> Result<ClusterId, String> {
    ClusterId::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_one_line_of_what_is_known() {
        let row = json!({"cluster": "c-1", "master": null, "epoch": 7, "phase": "switching\n"});
        let told = line(&row, Format::Table);
        assert_eq!(told, "cluster=c-1 epoch=7 phase=switching\u{fffd}\n");
        let told = line(&row, Format::Json);
        assert_eq!(serde_json::from_str::<Value>(&told).expect("JSON"), row);
        assert_eq!(told.matches('\n').count(), 1);
    }
}
