//! `jet9 cluster`: published cluster state, read and published by compare-and-swap.
//!
//! [`publish`](Publish) takes the document that is there, changes phase and master, and puts it back under the epoch that the operator saw.
//! Where the fencing class is `confirmed`, it insists on being told how the old master ended: that is what the class promises the edges.

use std::process::ExitCode;

use http::Method;
use jet9_config::Side;
use serde_json::{Value, json};

use super::output::{self, Output};
use super::{Code, Failure};
use crate::client::{Ask, Client, Target};
use crate::clock::WallClock;

/// What is asked about clusters.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the clusters as the edge sees them
    Ls {
        /// Which edge.
        #[command(flatten)]
        target: Target,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
    /// Show one cluster; as JSON with its document
    Get {
        /// The id of the cluster
        id: String,
        /// Which edge.
        #[command(flatten)]
        target: Target,
        /// In which form.
        #[command(flatten)]
        output: Output,
    },
    /// Publish the next state of a cluster, if the expected epoch is there
    Publish(Publish),
}

/// The next state of a cluster.
#[derive(Debug, clap::Args)]
pub struct Publish {
    /// The id of the cluster
    #[arg(long, value_name = "ID")]
    pub cluster: String,
    /// What the cluster does from now on
    #[arg(long)]
    pub phase: Phase,
    /// The side that serves
    #[arg(long, value_name = "SIDE", value_parser = side)]
    pub master: Option<Side>,
    /// The epoch that is there now
    #[arg(long, value_name = "EPOCH")]
    pub expect_epoch: u64,
    /// How the master before ended
    #[arg(long, value_name = "HOW")]
    pub ended: Option<Ended>,
    /// Why
    #[arg(long, value_name = "WORD", default_value = "operator")]
    pub reason: String,
    /// Which edge.
    #[command(flatten)]
    pub target: Target,
    /// In which form.
    #[command(flatten)]
    pub output: Output,
}

/// What a cluster does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Phase {
    /// One side serves.
    Serving,
    /// Between masters, soon over.
    Switching,
    /// Both sides are down.
    Down,
    /// Taken out by the operator.
    Drained,
}

/// How a master ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Ended {
    /// It stepped down.
    Demoted,
    /// It was fenced.
    Fenced,
    /// Nobody knows.
    Unconfirmed,
}

/// Asks about clusters.
///
/// # Errors
/// What the admin API refused, or why it could not be asked.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Ls { target, output } => {
            let body = Client::find(target)?.ask(&Ask::get("/v1/clusters"))?.body;
            let rows = body["clusters"].as_array().cloned().unwrap_or_default();
            show(*output, &body, &rows)?;
        }
        Command::Get { id, target, output } => {
            let body = Client::find(target)?.ask(&Ask::get(&path_of(id)))?.body;
            show(*output, &body, std::slice::from_ref(&body))?;
        }
        Command::Publish(wanted) => publish(wanted)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn publish(wanted: &Publish) -> Result<(), Failure> {
    let client = Client::find(&wanted.target)?;
    let path = path_of(&wanted.cluster);
    let there = client.ask(&Ask::get(&path))?.body;
    let next = next_document(
        &there["document"],
        wanted,
        WallClock::System.now().unix_millis(),
    )?;
    let mut ask = Ask::send(Method::PUT, &path, &next);
    ask.if_match = Some(wanted.expect_epoch);
    let body = client.ask(&ask)?.body;
    show(wanted.output, &body, std::slice::from_ref(&body))
}

fn show(output: Output, body: &Value, rows: &[Value]) -> Result<(), Failure> {
    let columns = [
        ("CLUSTER", "cluster"),
        ("MASTERSHIP", "mastership"),
        ("MASTER", "master"),
        ("EPOCH", "epoch"),
        ("PHASE", "phase"),
        ("FENCING", "fencing"),
        ("DOUBT", "doubt"),
        ("REFUSED", "refused"),
    ];
    output::print(output, body, rows, &columns)
}

fn path_of(id: &str) -> String {
    format!("/v1/clusters/{id}")
}

fn side(text: &str) -> Result<Side, String> {
    Side::parse(text).ok_or_else(|| "expected a or b".to_owned())
}

/// The document that follows the one that is there.
fn next_document(there: &Value, wanted: &Publish, now_ms: u64) -> Result<Value, Failure> {
    let usage = |message: &str| Err(Failure::with(Code::Usage, message));
    if !there.is_object() {
        return Err(Failure::new(
            "the document that is there cannot be read; replace its file by hand",
        ));
    }
    match (wanted.phase, wanted.master) {
        (Phase::Serving, None) => return usage("--phase serving needs --master"),
        (Phase::Serving, Some(_)) | (_, None) => {}
        (_, Some(_)) => return usage("--master goes with --phase serving only"),
    }
    // While switching, the master before is the one that the document names as previous.
    let before = match &there["master"] {
        Value::Null => &there["prev"]["master"],
        master => master,
    };
    let master = wanted.master.map(Side::as_str);
    let moves = master.is_some() && before.as_str().is_some_and(|before| master != Some(before));
    let proved = matches!(wanted.ended, Some(Ended::Demoted | Ended::Fenced));
    if moves && !proved && there["fencing"] == "confirmed" {
        return usage(
            "fencing is `confirmed`: the edges rely on the old master being out; say so with --ended demoted or --ended fenced",
        );
    }
    let mut next = there.clone();
    next["prev"] = json!({
        "epoch": wanted.expect_epoch,
        "master": before,
        "ended": wanted.ended.map(Ended::as_str),
        "ended_unix_ms": now_ms,
    });
    if wanted.ended.is_none() {
        next["prev"]
            .as_object_mut()
            .map(|prev| prev.remove("ended"));
    }
    next["epoch"] = wanted.expect_epoch.saturating_add(1).into();
    next["phase"] = wanted.phase.as_str().into();
    next["master"] = master.into();
    next["reason"] = wanted.reason.as_str().into();
    next["since_unix_ms"] = now_ms.into();
    Ok(next)
}

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Switching => "switching",
            Self::Down => "down",
            Self::Drained => "drained",
        }
    }
}

impl Ended {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Demoted => "demoted",
            Self::Fenced => "fenced",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

#[cfg(test)]
mod tests {
    use jet9_cluster::Document;

    use super::*;

    fn there(phase: &str, master: Option<&str>, fencing: &str) -> Value {
        json!({
            "v": 1, "cluster": "c-1", "epoch": 40, "phase": phase, "master": master, "fencing": fencing,
            "sides": {"a": {"addrs": ["192.0.2.1:80"]}, "b": {"addrs": ["192.0.2.2:80"]}},
            "prev": {"epoch": 39, "master": "a", "ended": "demoted"}, "x-own": 5,
        })
    }

    fn wanted(phase: Phase, master: Option<Side>, ended: Option<Ended>) -> Publish {
        Publish {
            cluster: "c-1".into(),
            phase,
            master,
            expect_epoch: 40,
            ended,
            reason: "operator".into(),
            target: Target::default(),
            output: Output::default(),
        }
    }

    #[test]
    fn the_next_document_keeps_what_it_does_not_change_and_can_be_read() {
        let there = there("switching", None, "confirmed");
        let wanted = wanted(Phase::Serving, Some(Side::B), Some(Ended::Demoted));
        let next = next_document(&there, &wanted, 7).expect("a document");
        assert_eq!((&next["epoch"], &next["master"]), (&json!(41), &json!("b")));
        assert_eq!(next["x-own"], 5);
        assert_eq!(next["prev"]["master"], "a");
        let read = Document::parse(next.to_string().as_bytes()).expect("it is readable");
        assert!(read.is_planned());
    }

    #[test]
    fn what_would_break_the_promise_of_the_class_is_refused() {
        let check = |there: &Value, phase, master, ended, good: bool| {
            let next = next_document(there, &wanted(phase, master, ended), 7);
            assert_eq!(next.is_ok(), good, "{phase:?} {master:?} {ended:?}");
            if let Ok(next) = next {
                Document::parse(next.to_string().as_bytes()).expect("it is readable");
            }
        };
        let confirmed = there("serving", Some("a"), "confirmed");
        let none = there("serving", Some("a"), "none");
        let b = Some(Side::B);
        check(&confirmed, Phase::Serving, b, None, false);
        check(
            &confirmed,
            Phase::Serving,
            b,
            Some(Ended::Unconfirmed),
            false,
        );
        check(&confirmed, Phase::Serving, b, Some(Ended::Fenced), true);
        check(&confirmed, Phase::Serving, Some(Side::A), None, true);
        check(&none, Phase::Serving, b, None, true);
        check(&confirmed, Phase::Switching, None, None, true);
        check(&confirmed, Phase::Drained, None, None, true);
        check(&confirmed, Phase::Switching, b, None, false);
        check(&confirmed, Phase::Serving, None, None, false);
        check(&Value::Null, Phase::Down, None, None, false);
    }
}
