//! Those who publish: the cluster manager of each side, and the quorum's. They may race; the store tells who was first.
//!
//! A failover is a script: when the store accepts one step, the next one follows. A step is prepared on the document that the publisher read,
//! and refused when another was committed meanwhile.

use jet9_cluster::document::{Document, Ended, Fencing, Phase};
use jet9_cluster::lease;
use jet9_cluster::publishing::{There, owed};
use jet9_config::Side;

use crate::world::{Event, MILLI, SECOND, World};

/// A failover in its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failover {
    /// The old master steps down first.
    Planned,
    /// It was to step down, and stays after all.
    Cancelled,
    /// It died, and is fenced before another one begins.
    Fenced,
    /// It was cut off and fenced while it still answered.
    FencedAlive,
    /// Nobody can tell whether it still answers; it does, for long.
    Unproved,
    /// Both sides go down for a while.
    Down,
}

/// One publication on its way to the store.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    /// The document that the publisher read: its place in the store's history.
    pub(crate) base: usize,
    pub(crate) phase: Phase,
    pub(crate) ended: Option<Ended>,
    pub(crate) failover: Failover,
    pub(crate) reason: &'static str,
    /// Whoever lacks a proof, or patience, tries to promise less.
    pub(crate) promises_less: bool,
}

/// A lease for those who have no patience.
const SHORT_LEASE_MS: u64 = 300;

impl World {
    /// A failover begins, sometimes two at once.
    pub(crate) fn fail_over(&mut self) {
        let base = self.latest_index();
        let Some(master) = self.latest().phase.master() else {
            return self.after(SECOND, Event::FailOver);
        };
        let failover = self.pick_failover();
        let detected = match failover {
            Failover::Planned | Failover::Cancelled => 0,
            _ => self.random.u64(500..3_000) * MILLI,
        };
        if matches!(failover, Failover::Fenced | Failover::Down) {
            self.stop_side(master);
        }
        let reason = match failover {
            Failover::Planned | Failover::Cancelled => "standby",
            _ => "crash",
        };
        let switching = Proposal {
            base,
            phase: Phase::Switching,
            ended: None,
            failover,
            reason,
            promises_less: self.plan.promises_less && self.random.bool(),
        };
        self.after(detected, Event::Commit(switching.clone()));
        if self.plan.races && self.random.u8(0..3) == 0 {
            // The side that was cut off says its own word, late.
            let late = detected + self.random.u64(0..2_000) * MILLI;
            self.after(late, Event::Commit(switching));
        }
    }

    fn pick_failover(&mut self) -> Failover {
        if self.plan.only_planned {
            return Failover::Planned;
        }
        let proved = [
            Failover::Planned,
            Failover::Cancelled,
            Failover::Fenced,
            Failover::FencedAlive,
            Failover::Down,
        ];
        let fencing = self.latest().fencing;
        match fencing {
            Fencing::Confirmed => proved[self.random.usize(..proved.len())],
            Fencing::Lease | Fencing::None if self.random.bool() => Failover::Unproved,
            Fencing::Lease | Fencing::None => proved[self.random.usize(..proved.len())],
        }
    }

    /// A publication reaches the store.
    pub(crate) fn commit(&mut self, proposal: &Proposal) {
        let base = &self.store[proposal.base];
        if self.rules.compare_and_swap && proposal.base != self.latest_index() {
            self.report.refused_commits += 1;
            return;
        }
        let (next, failover) = self.next_document(base, proposal);
        if self.store.iter().any(|known| known.epoch == next.epoch) {
            let what = format!("epoch {} was committed twice", next.epoch.0);
            self.report.breach("I5", &what);
        }
        self.report.commits += 1;
        let old = base.phase.master().or(self.last_master);
        self.last_master = proposal.phase.master().or(old);
        self.store.push(next);
        self.committed_at.push(self.now);
        self.announce();
        let done = Proposal {
            failover,
            ..proposal.clone()
        };
        self.next_step(&done, old);
    }

    /// What is published, and how the failover goes on: whoever may not promise less does it by the promise that was made.
    fn next_document(&self, base: &Document, proposal: &Proposal) -> (Document, Failover) {
        let mut next = Document {
            phase: proposal.phase,
            prev_ended: proposal.ended,
            reason: Some(proposal.reason.to_owned()),
            ..base.clone()
        };
        next.epoch.0 += 1;
        if !proposal.promises_less || base.fencing == Fencing::None {
            return (next, proposal.failover);
        }
        let less = Document {
            fencing: Fencing::Lease,
            edge_lease_ms: match base.fencing {
                Fencing::Lease => SHORT_LEASE_MS,
                Fencing::Confirmed | Fencing::None => base.edge_lease_ms,
            },
            ..next.clone()
        };
        if self.rules.promise_kept && owed(There::Document(base), &less).is_err() {
            return (next, proposal.failover);
        }
        (less, Failover::Unproved)
    }

    /// What follows a step that the store accepted.
    fn next_step(&mut self, done: &Proposal, old: Option<Side>) {
        let Some(old) = old else { return };
        let base = self.latest_index();
        match done.phase {
            Phase::Switching if done.failover == Failover::Down => {
                let down = Proposal {
                    base,
                    phase: Phase::Down,
                    promises_less: false,
                    ..done.clone()
                };
                self.after(300 * MILLI, Event::Commit(down));
            }
            Phase::Switching | Phase::Down => {
                let proof = self.proof_after(done.failover, old);
                self.after(proof, Event::Promote(done.clone(), old, base));
            }
            Phase::Serving { .. } => {
                let pause = self.random.u64(3_000..7_000) * MILLI;
                self.after(pause, Event::FailOver);
            }
            Phase::Drained => {}
        }
    }

    /// How long it takes until the old side is known to be out, or is taken to be.
    fn proof_after(&mut self, failover: Failover, old: Side) -> u64 {
        match failover {
            Failover::Planned | Failover::FencedAlive => {
                let demoted = self.random.u64(50..300) * MILLI;
                self.after(demoted, Event::StopSide(old));
                demoted + MILLI
            }
            Failover::Cancelled => 100 * MILLI,
            Failover::Fenced => 200 * MILLI,
            Failover::Down => SECOND,
            Failover::Unproved => {
                let leased = self.latest().fencing == Fencing::Lease;
                let waits = self.rules.publisher_waits && leased;
                let wait_ms = if waits {
                    lease::wait_ms(self.latest().edge_lease_ms)
                } else {
                    200
                };
                self.publisher_clock_us(wait_ms)
            }
        }
    }

    /// The other side takes over, or the same one again; then it is published.
    pub(crate) fn promote(&mut self, done: &Proposal, old: Side, base: usize) {
        let stays = done.failover == Failover::Cancelled
            || (done.failover == Failover::Down && self.random.bool());
        let new = if stays { old } else { old.other() };
        if done.failover == Failover::Unproved {
            // It comes to its senses before it could be master again.
            self.after(2 * SECOND, Event::StopSide(old));
        }
        self.start_side(new);
        let ended = match done.failover {
            Failover::Planned | Failover::Cancelled => Ended::Demoted,
            Failover::Fenced | Failover::FencedAlive | Failover::Down => Ended::Fenced,
            Failover::Unproved => Ended::Unconfirmed,
        };
        let serving = Proposal {
            base,
            phase: Phase::Serving { master: new },
            ended: Some(ended),
            promises_less: false,
            ..done.clone()
        };
        let takes = self.random.u64(10..60) * MILLI;
        self.after(takes, Event::Commit(serving));
    }
}
