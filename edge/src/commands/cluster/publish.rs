//! `jet9 cluster publish`: the next document of a cluster, kept to what its fencing class promises the edges.
//!
//! Takes the document that is there, changes phase and master, and puts it back under the epoch that the publisher saw; or takes a whole
//! document from a file. Where the class is `confirmed`, the end of the old master has to be told. Where it is `lease` and nothing is proved,
//! it takes until no edge can hold a lease any more: the rule is `jet9_cluster::publishing`'s, and kept where the document is written.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jet9_cluster::publishing::{There, owed};
use jet9_cluster::{Document, DocumentError};
use jet9_config::{ClusterId, Side};
use serde_json::{Value, json};

use super::place::{Place, Where};
use super::show;
use crate::clock::WallClock;
use crate::commands::output::Output;
use crate::commands::{Code, Failure};

/// The next state of a cluster.
#[derive(Debug, clap::Args)]
pub struct Publish {
    /// The id of the cluster
    #[arg(long, value_name = "ID", value_parser = super::id)]
    pub cluster: ClusterId,
    /// What the cluster does from now on
    #[arg(long, required_unless_present = "file")]
    pub phase: Option<Phase>,
    /// The side that serves
    #[arg(long, value_name = "SIDE", value_parser = side)]
    pub master: Option<Side>,
    /// The epoch that is there now; 0: none
    #[arg(long, value_name = "EPOCH")]
    pub expect_epoch: u64,
    /// How the master before ended
    #[arg(long, value_name = "HOW")]
    pub ended: Option<Ended>,
    /// From when on the last writes of the master before are lost, in milliseconds since 1970: what edges have stored is validated
    #[arg(long, value_name = "UNIX_MS")]
    pub data_loss_from: Option<u64>,
    /// Why
    #[arg(long, value_name = "WORD", default_value = "operator")]
    pub reason: String,
    /// A whole document instead, as it is; `-`: from standard input
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["phase", "master", "ended", "data_loss_from", "reason"])]
    pub file: Option<PathBuf>,
    /// Where.
    #[command(flatten)]
    pub place: Where,
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

pub(super) fn publish(wanted: &Publish) -> Result<(), Failure> {
    let place = Place::find(&wanted.place)?;
    let there = match place.one(&wanted.cluster) {
        Ok(mut there) => there["document"].take(),
        Err(failure) if failure.code == Code::NotFound && wanted.file.is_some() => Value::Null,
        Err(failure) => return Err(failure),
    };
    let next = match &wanted.file {
        Some(file) => document_in(file)?,
        None => next_document(&there, wanted, WallClock::System.now().unix_millis())?,
    };
    let wait = wait(&there, &next)?;
    if !wait.is_zero() {
        let wait = wait.as_millis();
        eprintln!("waiting {wait} ms, until no edge can hold a lease of the old master");
    }
    let (id, expected) = (&wanted.cluster, wanted.expect_epoch);
    let body = place.publish(id, &next, expected, wait)?;
    show(wanted.output, &body, std::slice::from_ref(&body))
}

/// How long publishing takes at most for the leases of edges. Who publishes decides; this is to tell of it, and not to give up before.
fn wait(there: &Value, next: &Value) -> Result<Duration, Failure> {
    let parse = |value: &Value| Document::parse(value.to_string().as_bytes());
    let usage = |error: DocumentError| Failure::with(Code::Usage, error);
    let next = parse(next).map_err(usage)?;
    let document = parse(there);
    let there = match &document {
        _ if there.is_null() => There::Nothing,
        Ok(document) => There::Document(document),
        Err(_) => There::Unreadable,
    };
    let ms = owed(there, &next).map_err(usage)?;
    Ok(Duration::from_millis(ms))
}

fn side(text: &str) -> Result<Side, String> {
    Side::parse(text).ok_or_else(|| "expected a or b".to_owned())
}

fn document_in(file: &Path) -> Result<Value, Failure> {
    let named =
        |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", file.display()));
    let mut text = Vec::new();
    if file.as_os_str() == "-" {
        let read = std::io::stdin().lock().read_to_end(&mut text);
        read.map_err(|error| named(&error))?;
    } else {
        text = std::fs::read(file).map_err(|error| named(&error))?;
    }
    Document::parse(&text).map_err(|error| named(&error))?;
    serde_json::from_slice(&text).map_err(|error| named(&error))
}

/// The document that follows the one that is there.
fn next_document(there: &Value, wanted: &Publish, now_ms: u64) -> Result<Value, Failure> {
    let usage = |message: &str| Err(Failure::with(Code::Usage, message));
    if !there.is_object() {
        return Err(Failure::new(
            "there is no document that can be read; publish a whole one with --file",
        ));
    }
    let phase = wanted.phase.unwrap_or(Phase::Serving);
    match (phase, wanted.master) {
        (Phase::Serving, None) => return usage("--phase serving needs --master"),
        (Phase::Serving, Some(_)) | (_, None) => {}
        (_, Some(_)) => return usage("--master goes with --phase serving only"),
    }
    // A store that went back shows less than edges have seen: it does not say who was master.
    let is_last = there["epoch"] == wanted.expect_epoch;
    let mut next = there.clone();
    next["prev"] = json!({
        "epoch": wanted.expect_epoch,
        "master": is_last.then(|| last_master(there)),
        "ended": wanted.ended.map(Ended::as_str),
        "ended_unix_ms": now_ms,
        "data_loss_from_unix_ms": wanted.data_loss_from.or_else(|| told_loss(there)),
    });
    if wanted.ended.is_none() {
        next["prev"]
            .as_object_mut()
            .map(|prev| prev.remove("ended"));
    }
    next["epoch"] = wanted.expect_epoch.saturating_add(1).into();
    next["phase"] = phase.as_str().into();
    next["master"] = wanted.master.map(Side::as_str).into();
    next["reason"] = wanted.reason.as_str().into();
    next["since_unix_ms"] = now_ms.into();
    Ok(next)
}

/// The loss that was told of while switching; who missed that hears of it with the next master.
fn told_loss(there: &Value) -> Option<u64> {
    let between = there["master"].is_null();
    there["prev"]["data_loss_from_unix_ms"]
        .as_u64()
        .filter(|_| between)
}

/// While switching, the master before is the one that the document names as previous.
fn last_master(document: &Value) -> &Value {
    match &document["master"] {
        Value::Null => &document["prev"]["master"],
        master => master,
    }
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
            cluster: ClusterId::parse("c-1").expect("an id"),
            phase: Some(phase),
            master,
            expect_epoch: 40,
            ended,
            data_loss_from: None,
            reason: "operator".into(),
            file: None,
            place: Where::default(),
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
        let ahead = Publish {
            expect_epoch: 42,
            ..wanted
        };
        let next = next_document(&there, &ahead, 7).expect("a document");
        assert_eq!(next["prev"]["master"], Value::Null, "nobody knows");
    }

    #[test]
    fn what_would_break_the_promise_of_the_class_is_refused_or_waits() {
        let check = |there: &Value, phase, master, ended, expected: Option<u64>| {
            let next = next_document(there, &wanted(phase, master, ended), 7);
            let got = next.and_then(|next| wait(there, &next));
            let expected = expected.map(Duration::from_millis);
            assert_eq!(got.ok(), expected, "{phase:?} {master:?} {ended:?}");
        };
        let b = Some(Side::B);
        let confirmed = there("serving", Some("a"), "confirmed");
        check(&confirmed, Phase::Serving, b, None, None);
        check(&confirmed, Phase::Serving, b, Some(Ended::Fenced), Some(0));
        check(&confirmed, Phase::Switching, None, None, Some(0));
        check(&confirmed, Phase::Switching, b, None, None);
        check(&confirmed, Phase::Serving, None, None, None);
        check(&Value::Null, Phase::Down, None, None, None);
        let switching = there("switching", None, "lease");
        check(&switching, Phase::Serving, b, None, Some(3_008));
        check(&switching, Phase::Serving, Some(Side::A), None, Some(0));
        let mut unreadable = switching;
        unreadable["v"] = 2.into();
        let whole = there("serving", Some("b"), "none");
        assert_eq!(
            wait(&unreadable, &whole).ok(),
            Some(Duration::ZERO),
            "it has a proof"
        );
    }

    #[test]
    fn whoever_changes_phase_and_master_alone_is_never_refused_for_promising_less() {
        let phases = [
            (Phase::Serving, Some(Side::B)),
            (Phase::Switching, None),
            (Phase::Down, None),
            (Phase::Drained, None),
        ];
        for fencing in ["confirmed", "lease", "none"] {
            for (word, master) in [
                ("serving", Some("a")),
                ("switching", None),
                ("drained", None),
            ] {
                let there = there(word, master, fencing);
                for (phase, master) in phases {
                    let wanted = wanted(phase, master, Some(Ended::Demoted));
                    let next = next_document(&there, &wanted, 7).expect("a document");
                    let wait = wait(&there, &next).map_err(|failure| failure.message);
                    assert_eq!(wait, Ok(Duration::ZERO), "{there}\n{next}");
                }
            }
        }
    }

    #[test]
    fn a_loss_is_told_of_until_the_next_master_is() {
        let first = there("serving", Some("a"), "confirmed");
        let mut switch = wanted(Phase::Switching, None, None);
        switch.data_loss_from = Some(17);
        let between = next_document(&first, &switch, 7).expect("a document");
        assert_eq!(between["prev"]["data_loss_from_unix_ms"], 17);
        let serve = wanted(Phase::Serving, Some(Side::B), Some(Ended::Fenced));
        let served = next_document(&between, &serve, 8).expect("a document");
        assert_eq!(served["prev"]["data_loss_from_unix_ms"], 17);
        let next = next_document(&served, &wanted(Phase::Switching, None, None), 9);
        let next = next.expect("a document");
        assert_eq!(next["prev"]["data_loss_from_unix_ms"], Value::Null);
    }
}
