//! `jet9 cluster publish`: the next document of a cluster, kept to what its fencing class promises the edges.
//!
//! Takes the document that is there, changes phase and master, and puts it back under the epoch that the publisher saw; or takes a whole
//! document from a file. Where the class is `confirmed`, the end of the old master has to be told. Where it is `lease` and nothing is proved,
//! the command itself waits until no edge can hold a lease any more, on the clock that nobody sets.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jet9_cluster::document::{EDGE_LEASE_MS_DEFAULT, Fencing};
use jet9_cluster::{Document, lease};
use jet9_config::{ClusterId, Side};
use serde_json::{Value, json};

use super::place::{Place, Where};
use super::show;
use crate::clock::{self, WallClock};
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
    /// Why
    #[arg(long, value_name = "WORD", default_value = "operator")]
    pub reason: String,
    /// A whole document instead, as it is; `-`: from standard input
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["phase", "master", "ended", "reason"])]
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
    // Only now: what was read may have been committed while the question was on its way, and until then leases were given.
    let read = clock::boottime();
    let next = match &wanted.file {
        Some(file) => document_in(file)?,
        None => next_document(&there, wanted, WallClock::System.now().unix_millis())?,
    };
    if let Some(wait) = owed(&there, &next)? {
        let end = read.0.saturating_add(wait);
        eprintln!("waiting {wait} ms, until no edge can hold a lease of the old master");
        while let left @ 1.. = end.saturating_sub(clock::boottime().0) {
            std::thread::park_timeout(Duration::from_millis(left));
        }
    }
    let body = place.publish(&wanted.cluster, &next, wanted.expect_epoch)?;
    show(wanted.output, &body, std::slice::from_ref(&body))
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
    let mut next = there.clone();
    next["prev"] = json!({
        "epoch": wanted.expect_epoch,
        "master": last_master(there),
        "ended": wanted.ended.map(Ended::as_str),
        "ended_unix_ms": now_ms,
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

/// While switching, the master before is the one that the document names as previous.
fn last_master(document: &Value) -> &Value {
    match &document["master"] {
        Value::Null => &document["prev"]["master"],
        master => master,
    }
}

/// What the fencing class of the document that is there demands before the next one may move the master: nothing, or so many milliseconds
/// from when it had been read.
fn owed(there: &Value, next: &Value) -> Result<Option<u64>, Failure> {
    let usage = |message: &str| Err(Failure::with(Code::Usage, message));
    let lease_ms = |document: &Value| {
        let given = document["edge_lease_ms"].as_u64();
        given.unwrap_or(EDGE_LEASE_MS_DEFAULT)
    };
    let is_leased = there["fencing"] == Fencing::Lease.as_str();
    if is_leased && next["phase"] != "serving" && lease_ms(next) < lease_ms(there) {
        return usage(
            "edges that do not hear of it go by the lease that was: lower `edge_lease_ms` with --phase serving",
        );
    }
    // Of a master before that nobody names, nothing is known: it may be any.
    let moves =
        there.is_object() && next["master"].is_string() && next["master"] != *last_master(there);
    let proved = matches!(next["prev"]["ended"].as_str(), Some("demoted" | "fenced"));
    if !moves || proved {
        return Ok(None);
    }
    match there["fencing"].as_str() {
        Some(class) if class == Fencing::None.as_str() => Ok(None),
        Some(class) if class == Fencing::Lease.as_str() => {
            if there["phase"] == "serving" {
                return usage(
                    "fencing is `lease`, and nothing proves that the old master is out: publish --phase switching first",
                );
            }
            Ok(Some(lease::wait_ms(lease_ms(there).max(lease_ms(next)))))
        }
        // Also a class that is not known.
        Some(_) | None => usage(
            "fencing is `confirmed`: the edges rely on the old master being out; say so with --ended demoted or --ended fenced",
        ),
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
    use std::io::Write;
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

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
    }

    #[test]
    fn what_would_break_the_promise_of_the_class_is_refused_or_waits() {
        let check = |there: &Value, phase, master, ended, expected: Option<Option<u64>>| {
            let next = next_document(there, &wanted(phase, master, ended), 7);
            let got = next.and_then(|next| {
                Document::parse(next.to_string().as_bytes()).expect("it is readable");
                owed(there, &next)
            });
            assert_eq!(got.ok(), expected, "{phase:?} {master:?} {ended:?}");
        };
        let (a, b) = (Some(Side::A), Some(Side::B));
        let confirmed = there("serving", Some("a"), "confirmed");
        check(&confirmed, Phase::Serving, b, None, None);
        check(
            &confirmed,
            Phase::Serving,
            b,
            Some(Ended::Unconfirmed),
            None,
        );
        check(
            &confirmed,
            Phase::Serving,
            b,
            Some(Ended::Fenced),
            Some(None),
        );
        check(&confirmed, Phase::Serving, a, None, Some(None));
        check(&confirmed, Phase::Switching, None, None, Some(None));
        check(&confirmed, Phase::Drained, None, None, Some(None));
        check(&confirmed, Phase::Switching, b, None, None);
        check(&confirmed, Phase::Serving, None, None, None);
        check(&Value::Null, Phase::Down, None, None, None);
        let none = there("serving", Some("a"), "none");
        check(&none, Phase::Serving, b, None, Some(None));
        let leased = there("serving", Some("a"), "lease");
        check(&leased, Phase::Serving, b, None, None);
        check(&leased, Phase::Serving, b, Some(Ended::Fenced), Some(None));
        check(&leased, Phase::Switching, None, None, Some(None));
        let mut nameless = there("switching", None, "confirmed");
        nameless["prev"] = Value::Null;
        check(&nameless, Phase::Serving, a, None, None);
        let mut switching = there("switching", None, "lease");
        check(&switching, Phase::Serving, b, None, Some(Some(3_008)));
        check(&switching, Phase::Serving, a, None, Some(None));
        switching["edge_lease_ms"] = 1_000.into();
        let waits = Some(Some(1_004));
        check(
            &switching,
            Phase::Serving,
            b,
            Some(Ended::Unconfirmed),
            waits,
        );
    }

    #[test]
    fn a_whole_document_owes_what_the_one_before_demands() {
        let mut next = there("serving", Some("b"), "none");
        next["prev"]["ended"] = "unconfirmed".into();
        next["edge_lease_ms"] = 5_000.into();
        assert_eq!(owed(&Value::Null, &next).ok(), Some(None), "the first one");
        let before = there("serving", Some("a"), "confirmed");
        assert_eq!(owed(&before, &next).ok(), None);
        let before = there("serving", Some("a"), "lease");
        let mut shorter = there("switching", None, "lease");
        assert_eq!(owed(&before, &shorter).ok(), Some(None));
        shorter["edge_lease_ms"] = 2_999.into();
        assert_eq!(owed(&before, &shorter).ok(), None, "nobody would wait");
        let before = there("switching", None, "lease");
        assert_eq!(
            owed(&before, &next).ok(),
            Some(Some(5_012)),
            "the longer lease"
        );
    }

    /// Answers one call on a socket, after a pause. Gives the moment of the answer.
    fn answer(edge: &UnixListener, pause: Duration, body: &Value) -> Instant {
        let (mut stream, _) = edge.accept().expect("a call");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        std::thread::park_timeout(pause); // nobody wakes it
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let answered = clock::monotonic();
        let answer = head + &body;
        stream.write_all(answer.as_bytes()).expect("it listens");
        answered
    }

    #[test]
    fn leases_are_waited_for_from_when_switching_was_read_however_long_that_took() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("edge");
        let edge = UnixListener::bind(&socket).expect("a socket");
        let mut switching = there("switching", None, "lease");
        switching["edge_lease_ms"] = 100.into();
        let edge = std::thread::spawn(move || {
            let read = json!({"document": switching});
            let answered = answer(&edge, Duration::from_millis(300), &read);
            let published = answer(&edge, Duration::ZERO, &json!({}));
            published.duration_since(answered)
        });
        let mut wanted = wanted(Phase::Serving, Some(Side::B), None);
        wanted.place.target.admin = Some(format!("unix:{}", socket.display()));
        publish(&wanted).expect("it is published");
        let waited = edge.join().expect("two calls");
        assert!(waited >= Duration::from_millis(100), "{waited:?}");
    }
}
