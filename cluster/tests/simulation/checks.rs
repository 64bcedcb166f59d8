//! What must never be seen from outside, and the count of what was.
//!
//! Knows everything at once: true time, the store's history, which side really answers. The names are those of the invariants in
//! `docs/live-master.md`. I10 (purges over a fleet) is not of this crate.

use std::collections::HashMap;
use std::fmt;

use jet9_cluster::Epoch;
use jet9_cluster::document::{Fencing, Phase};
use jet9_config::Side;

/// No more than so many breaches are written down for one world.
const BROKEN_MAX: usize = 5;

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    /// Requests that went out to a side; one that was sent again counts twice.
    pub(crate) sent: u64,
    /// Visitors that got an error.
    pub(crate) failed: u64,
    pub(crate) held: u64,
    /// By how much longer than its switch a request was held, at most, in microseconds.
    pub(crate) held_over_us: u64,
    /// Exchanges that were cut because their epoch had ended.
    pub(crate) cut: u64,
    /// Answers that were not stored because their epoch had ended.
    pub(crate) not_admitted: u64,
    pub(crate) adopted: u64,
    pub(crate) restarts: u64,
    pub(crate) commits: u64,
    pub(crate) refused_commits: u64,
    /// The breaches, the first few of them.
    pub(crate) broken: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.sent += other.sent;
        self.failed += other.failed;
        self.held += other.held;
        self.held_over_us = self.held_over_us.max(other.held_over_us);
        self.cut += other.cut;
        self.not_admitted += other.not_admitted;
        self.adopted += other.adopted;
        self.restarts += other.restarts;
        self.commits += other.commits;
        self.refused_commits += other.refused_commits;
    }

    /// Whether this invariant was broken.
    pub(crate) fn broke(&self, invariant: &str) -> bool {
        let label = format!("{invariant} ");
        self.broken.iter().any(|breach| breach.starts_with(&label))
    }

    pub(crate) fn breach(&mut self, invariant: &str, what: &str) {
        if self.broken.len() < BROKEN_MAX && !self.broke(invariant) {
            self.broken.push(format!("{invariant} {what}"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} sent, {} failed, {} held, {} cut, {} not admitted, {} epochs adopted, {} restarts, {} commits, {} refused",
            self.requests,
            self.sent,
            self.failed,
            self.held,
            self.cut,
            self.not_admitted,
            self.adopted,
            self.restarts,
            self.commits,
            self.refused_commits
        )
    }
}

/// One request at the moment its first byte goes out.
#[derive(Debug)]
pub(crate) struct Sent {
    /// In true microseconds.
    pub(crate) at: u64,
    pub(crate) visit: u64,
    pub(crate) is_post: bool,
    /// Where the connection really leads, and since which epoch it is open.
    pub(crate) side: Side,
    pub(crate) opened_under: Epoch,
    /// Whether that side takes requests.
    pub(crate) accepted: bool,
}

/// What the checker remembers of one edge.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// The highest epoch that this process saw, and its phase.
    seen: Option<(Epoch, Phase)>,
    /// The highest that it ever adopted, over restarts.
    adopted: Epoch,
    /// When the last good linearizable read was sent, in true microseconds.
    read: Option<u64>,
}

impl Witness {
    pub(crate) fn saw(&mut self, epoch: Epoch, phase: Phase, report: &mut Report) {
        report.adopted += 1;
        if epoch < self.adopted {
            report.breach("I3", &format!("epoch {} after {}", epoch.0, self.adopted.0));
        }
        self.adopted = self.adopted.max(epoch);
        if self.seen.is_none_or(|(seen, _)| seen < epoch) {
            self.seen = Some((epoch, phase));
        }
    }

    pub(crate) fn read(&mut self, sent: u64) {
        self.read = self.read.max(Some(sent));
    }

    pub(crate) fn restarted(&mut self) {
        self.seen = None;
        self.read = None;
    }

    pub(crate) fn stored(&self, fetched_under: Epoch, report: &mut Report) {
        if self.seen.is_some_and(|(seen, _)| seen > fetched_under) {
            report.breach("I9", &format!("a fill of epoch {}", fetched_under.0));
        }
    }

    /// `state` is what the store says at this very moment; `lease_us` the longest that a lease may last in true time.
    pub(crate) fn sent(
        &self,
        sent: &Sent,
        state: (Phase, Fencing),
        lease_us: u64,
        processed: &mut HashMap<u64, u32>,
        report: &mut Report,
    ) {
        report.sent += 1;
        let (phase, fencing) = state;
        let seen = self.seen.map_or(Epoch(0), |(epoch, _)| epoch);
        if self.seen.and_then(|(_, phase)| phase.master()) != Some(sent.side) {
            report.breach("I1", &format!("{sent:?} after epoch {}", seen.0));
        }
        if sent.opened_under != seen {
            report.breach("I11", &format!("{sent:?} in epoch {}", seen.0));
        }
        let other_serves = phase.master().is_some_and(|master| master != sent.side);
        if sent.accepted && other_serves && fencing != Fencing::None {
            report.breach("I2", &format!("{sent:?} while the store says {phase:?}"));
        }
        let within = self.read.is_some_and(|read| sent.at < read + lease_us);
        if fencing == Fencing::Lease && !within {
            report.breach("I8", &format!("{sent:?}, last read {:?}", self.read));
        }
        if sent.accepted && sent.is_post {
            let times = processed.entry(sent.visit).or_default();
            *times += 1;
            if *times > 1 {
                report.breach("I4", &format!("{sent:?} for the second time"));
            }
        }
    }
}
