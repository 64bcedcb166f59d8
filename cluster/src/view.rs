//! What one edge knows of one cluster, document by document.
//!
//! Fed by `edge::control::mastership`, one view for each cluster. Decides what a document may change, which depends on its [`Source`]: a
//! source can make the edge more careful, and only the authority can move it to another side. A lease needs a source that can vouch for the
//! moment of reading, which a directory cannot: there, fencing class `lease` leaves the edge in doubt unless a side's guard vouches.
//! Invariant 1: the highest epoch never falls, and an epoch never has two masters; [`View::resumed`] keeps both over restarts.

use std::cmp::Ordering;

use jet9_config::{ClusterId, Side};

use crate::document::{Document, DocumentError, Fencing, Phase};
use crate::flaps::Flaps;
use crate::highest::Highest;
use crate::lease::Lease;
use crate::losses::{Loss, Losses};
use crate::mastership::{Doubt, Mastership};
use crate::{Epoch, Instant};

pub use crate::flaps::{FLAPS_MAX_DEFAULT, WINDOW_MS};

/// One edge's view of one cluster.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Whose documents are taken; `None` until the first.
    cluster: Option<ClusterId>,
    highest: Epoch,
    /// What the highest epoch said; `None` while only its number is known.
    said: Option<Phase>,
    /// Two documents of the highest epoch disagreed; only a higher one ends it.
    conflict: bool,
    incarnation: Option<String>,
    in_force: Option<InForce>,
    /// What is wrong with the last document that could be read.
    doubt: Option<Doubt>,
    unreadable: Option<(DocumentError, Instant)>,
    flaps: Flaps,
    lease: Lease,
    losses: Losses,
    /// The authority was found at this epoch, below the highest.
    behind: Option<Epoch>,
    beside: Beside,
}

/// What the source beside the authority said last.
#[derive(Clone, Copy, Debug, Default)]
enum Beside {
    #[default]
    Nothing,
    Said(Epoch, Phase),
    /// Something that cannot be read; what it said before is not known.
    Unreadable,
}

/// Where a document was seen: what it may change, and what it proves about the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A watched directory, the only source of this edge and thereby its authority. Proves nothing about the moment.
    Directory,
    /// A linearizable read of the store that orders all publishers by compare-and-swap. What it shows was so at some moment after `sent`.
    Read {
        /// When the read was sent, taken before its first byte was written.
        sent: Instant,
    },
    /// A watch of that store. In order, but of any age.
    Watch,
    /// A directory beside the store: can make the edge more careful, never less.
    Beside,
}

/// The document that is acted on: always of the highest epoch.
#[derive(Clone, Debug)]
struct InForce {
    document: Document,
    since: Instant,
}

/// What a document changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This epoch came into force: a higher one, or after a restart the same.
    Adopted(Epoch),
    /// The same epoch with other addresses, or another fact beside phase and master.
    Addresses,
    /// Nothing.
    Same,
    /// It was refused: an epoch below the highest seen.
    Older {
        /// The epoch of the document.
        offered: Epoch,
        /// The highest seen.
        highest: Epoch,
    },
    /// The same epoch with another master or phase: an alarm. Told once for each epoch; until a higher one there is no master.
    Conflict(Epoch),
    /// It was refused: the same epoch, phase and master with other facts, but without a higher `publisher.seq`.
    NotNewer(Epoch),
    /// It was refused: another life of the cluster. An alarm: there is no master until [`View::forget`], or a document of the known life.
    OtherIncarnation {
        /// The life that the document names.
        offered: String,
        /// The life that is known.
        known: String,
    },
    /// It was refused: it is about another cluster.
    OtherCluster(ClusterId),
    /// A source beside the authority says something else. Nothing is sent until the authority shows this epoch, or the source agrees again.
    Contradicted(Epoch),
}

impl View {
    /// A view of a cluster that was never seen; documents about another are refused. (A default view takes the cluster of its first.)
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster: Some(cluster),
            ..Self::default()
        }
    }

    /// A view that starts from the highest epoch that was adopted before a restart, of which no more than the number is known: the first
    /// document of that epoch is believed. [`View::resumed`] is stricter.
    pub fn restored(highest: Epoch) -> Self {
        Self {
            highest,
            ..Self::default()
        }
    }

    /// A view that starts from what was recorded before a restart.
    pub fn resumed(record: Highest) -> Self {
        Self {
            cluster: Some(record.cluster),
            highest: record.epoch,
            said: record.phase,
            conflict: record.conflict,
            incarnation: record.incarnation,
            losses: record.losses,
            ..Self::default()
        }
    }

    /// Sets how many changes of master in a minute, neither planned nor proved, are borne before requests are no longer held.
    #[must_use]
    pub fn with_flaps_max(mut self, max: usize) -> Self {
        self.flaps = Flaps::at_most(max);
        self
    }

    /// The highest epoch ever adopted; persist it before acting on it.
    pub const fn highest(&self) -> Epoch {
        self.highest
    }

    /// What to persist before acting, whenever it differs from what was persisted last; `None` while nothing was adopted.
    pub fn record(&self) -> Option<Highest> {
        let cluster = self
            .cluster
            .clone()
            .filter(|_| self.highest > Epoch::default())?;
        Some(Highest {
            cluster,
            epoch: self.highest,
            incarnation: self.incarnation.clone(),
            phase: self.said,
            conflict: self.conflict,
            losses: self.losses,
        })
    }

    /// The writes that were lost with a master, for which what is stored was not purged yet.
    pub const fn owed_purge(&self) -> Option<Loss> {
        self.losses.owed
    }

    /// What is stored was purged for this loss.
    pub fn purged(&mut self, loss: Loss) {
        self.losses.purged(loss);
    }

    /// The document in force, even where a doubt forbids to act on it.
    pub fn document(&self) -> Option<&Document> {
        self.in_force.as_ref().map(|in_force| &in_force.document)
    }

    /// When the epoch in force was adopted: where a hold is counted from.
    pub fn since(&self) -> Option<Instant> {
        self.in_force.as_ref().map(|in_force| in_force.since)
    }

    /// The epoch at which the authority was found below the highest: a store that was restored from a backup, or an old file that was put
    /// back. An alarm, whatever the fencing class: others may be told of another master. `None`: it is not.
    pub const fn behind(&self) -> Option<Epoch> {
        self.behind
    }

    /// Why the published document could not be read, and since when, if the last one could not.
    pub fn unreadable_since(&self) -> Option<(&DocumentError, Instant)> {
        self.unreadable
            .as_ref()
            .map(|(error, since)| (error, *since))
    }

    /// Whether masters change so often without plan or proof that requests are no longer held. An alarm.
    pub fn is_flapping(&self, now: Instant) -> bool {
        self.flaps.too_many(now)
    }

    /// Takes a document from a source.
    pub fn observe(&mut self, document: Document, source: Source, now: Instant) -> Change {
        if source == Source::Beside {
            return self.beside(&document);
        }
        self.unreadable = None;
        if let Some(refused) = self.check_identity(&document) {
            return refused;
        }
        let epoch = document.epoch;
        let change = match epoch.cmp(&self.highest) {
            Ordering::Less => self.older(epoch, source),
            Ordering::Equal => self.same_epoch(document, now),
            Ordering::Greater => self.adopt(document, now),
        };
        if let Source::Read { sent } = source
            && epoch == self.highest
        {
            self.lease.read(sent);
        }
        change
    }

    /// A linearizable read that was sent at this moment said that nothing has changed: what was last read renews its lease. A document that
    /// cannot be read renews nothing; nor does one that is not in force, such as that of a lower epoch in a store that was restored from a
    /// backup, where others may be told of another master.
    pub fn confirmed(&mut self, sent: Instant) {
        if self.unreadable.is_none() && self.doubt.is_none() {
            self.lease.read(sent);
        }
    }

    /// The guard of a side answered, to a question sent at this moment, that the side is master in `epoch` for `ttl_ms` more. Believed of
    /// the master in force where its document names a guard, and no longer than the lease of that document, which is what a publisher waits
    /// for. Says whether anything was renewed.
    pub fn guarded(&mut self, side: Side, epoch: Epoch, sent: Instant, ttl_ms: u64) -> bool {
        let Some(document) = self.document() else {
            return false;
        };
        let vouched = document.epoch == epoch
            && document.phase.master() == Some(side)
            && document.side(side).guard.is_some();
        let ttl_ms = ttl_ms.min(document.edge_lease_ms);
        vouched && self.lease.guarded(side, epoch, sent, ttl_ms)
    }

    /// The store says that the document was deleted by compare-and-swap on this epoch: a re-created cluster may begin anew. A deletion of
    /// another epoch than the highest proves nothing and changes nothing. Says whether the cluster was forgotten.
    pub fn deleted(&mut self, epoch: Epoch) -> bool {
        let proved = epoch == self.highest && !self.conflict;
        if proved {
            self.forget();
        }
        proved
    }

    /// Whether what was fetched under this epoch may be stored: no other epoch was adopted since.
    pub fn admits(&self, epoch: Epoch) -> bool {
        self.highest == epoch && !self.conflict
    }

    /// Notes that the published document cannot be read: what is in force stays, nothing is renewed.
    pub fn unreadable(&mut self, error: &DocumentError, now: Instant) {
        let since = self.unreadable.take().map_or(now, |(_, since)| since);
        self.unreadable = Some((error.clone(), since));
    }

    /// Forgets all but the name of the cluster, so that a re-created one may begin at a low epoch. Only on an operator's word: it gives
    /// up the protection against an old master until the next document. What stands beside the authority stands there still.
    pub fn forget(&mut self) {
        let flaps = Flaps::at_most(self.flaps.max());
        self.losses.forget();
        *self = Self {
            cluster: self.cluster.take(),
            flaps,
            losses: self.losses,
            beside: self.beside,
            ..Self::default()
        };
    }

    /// Who is the live master at `now`.
    pub fn mastership(&self, now: Instant) -> Mastership {
        if self.conflict {
            return Mastership::Doubtful(Doubt::Conflict);
        }
        if let Some(epoch) = self.contradicted() {
            let hold_ms = self.document().map_or(0, |document| document.hold_ms);
            return Mastership::Switching { epoch, hold_ms };
        }
        match (&self.in_force, self.doubt) {
            (_, Some(Doubt::OtherIncarnation)) => Mastership::Doubtful(Doubt::OtherIncarnation),
            (None, doubt) => Mastership::Doubtful(doubt.unwrap_or(Doubt::Unknown)),
            (Some(in_force), _) => self.answer(&in_force.document, now),
        }
    }

    fn answer(&self, document: &Document, now: Instant) -> Mastership {
        let epoch = document.epoch;
        match document.phase {
            Phase::Serving { master } => self.serving(document, master, now),
            Phase::Switching if self.is_flapping(now) => {
                Mastership::Switching { epoch, hold_ms: 0 }
            }
            Phase::Switching => Mastership::Switching {
                epoch,
                hold_ms: document.hold_ms,
            },
            Phase::Down => Mastership::Vacant {
                epoch,
                drained: false,
            },
            Phase::Drained => Mastership::Vacant {
                epoch,
                drained: true,
            },
        }
    }

    fn serving(&self, document: &Document, master: Side, now: Instant) -> Mastership {
        let epoch = document.epoch;
        let until = match document.fencing {
            Fencing::Confirmed | Fencing::None => None,
            Fencing::Lease => match self.lease.until(master, epoch, document.edge_lease_ms) {
                None => return Mastership::Doubtful(Doubt::NoLease),
                Some(until) if until <= now => return Mastership::Doubtful(Doubt::LeaseExpired),
                until => until,
            },
        };
        Mastership::Live {
            side: master,
            epoch,
            addrs: document.side(master).addrs.clone(),
            guard: document.side(master).guard,
            until,
        }
    }

    /// What another source shows, beside the authority.
    fn beside(&mut self, document: &Document) -> Change {
        if let Some(refused) = self.check_cluster(document) {
            return refused;
        }
        self.beside = Beside::Said(document.epoch, document.phase);
        match self.contradicted() {
            Some(epoch) => Change::Contradicted(epoch),
            None => Change::Same,
        }
    }

    /// The source beside the authority says nothing of this cluster any more.
    pub const fn beside_is_gone(&mut self) {
        self.beside = Beside::Nothing;
    }

    /// The source beside the authority says something that cannot be read: as before, if that is known. Else it may be anything, and the edge
    /// is as careful as it can be.
    pub const fn beside_is_unreadable(&mut self) {
        if matches!(self.beside, Beside::Nothing) {
            self.beside = Beside::Unreadable;
        }
    }

    /// Whether the source beside the authority cannot be read, nor was before.
    pub const fn is_beside_unreadable(&self) -> bool {
        matches!(self.beside, Beside::Unreadable)
    }

    /// The epoch at which the source beside the authority says something else, or may. An older one is no contradiction: it only lags.
    pub fn contradicted(&self) -> Option<Epoch> {
        let (epoch, phase) = match self.beside {
            Beside::Nothing => return None,
            Beside::Said(epoch, phase) => (epoch, phase),
            // Of a cluster of which nothing is known nothing is stopped.
            Beside::Unreadable => {
                return (self.highest > Epoch::default()).then_some(self.highest);
            }
        };
        let differs = match epoch.cmp(&self.highest) {
            Ordering::Less => false,
            Ordering::Equal => self.said.is_some_and(|said| said != phase),
            Ordering::Greater => true,
        };
        differs.then_some(epoch)
    }

    fn check_cluster(&self, document: &Document) -> Option<Change> {
        let known = self.cluster.as_ref()?;
        (*known != document.cluster).then(|| Change::OtherCluster(document.cluster.clone()))
    }

    /// Is it about this cluster, in the life that is known? A document that names no life is judged by its epoch alone.
    fn check_identity(&mut self, document: &Document) -> Option<Change> {
        if let Some(refused) = self.check_cluster(document) {
            return Some(refused);
        }
        match (&self.incarnation, &document.incarnation) {
            (Some(known), Some(offered)) if known != offered => {
                // Who re-created the cluster may have another master by now: the old answer is no longer vouched for.
                self.doubt = Some(Doubt::OtherIncarnation);
                Some(Change::OtherIncarnation {
                    offered: offered.clone(),
                    known: known.clone(),
                })
            }
            _ => None,
        }
    }

    /// A good document stays in force: an old copy put back is no news. It does not end a doubt either.
    fn older(&mut self, offered: Epoch, source: Source) -> Change {
        // What was sent before the highest was adopted may have been overtaken; a watch is of any age.
        let is_behind = match source {
            Source::Directory => true,
            Source::Read { sent } => self.since().is_none_or(|since| since < sent),
            Source::Watch | Source::Beside => false,
        };
        if is_behind {
            self.behind = Some(offered);
        }
        self.doubt = self.doubt.or(Some(Doubt::OldEpoch));
        Change::Older {
            offered,
            highest: self.highest,
        }
    }

    fn same_epoch(&mut self, document: Document, now: Instant) -> Change {
        if self.conflict {
            return Change::Same;
        }
        if self.said.is_some_and(|said| said != document.phase) {
            self.conflict = true;
            return Change::Conflict(document.epoch);
        }
        let Some(in_force) = &mut self.in_force else {
            return self.adopt(document, now);
        };
        self.doubt = None;
        self.behind = None;
        let known = &mut in_force.document;
        let is_newer = document.publisher_seq > known.publisher_seq;
        let is_alike = Document {
            publisher_seq: known.publisher_seq,
            ..document.clone()
        } == *known;
        match (is_alike, is_newer) {
            (true, true) => known.publisher_seq = document.publisher_seq,
            // The same text again, or a late copy of it.
            (true, false) => {}
            (false, false) => return Change::NotNewer(document.epoch),
            (false, true) => {
                let told = document.data_loss_from_unix_ms;
                self.losses.tell(self.highest, document.epoch, told);
                self.incarnation = document
                    .incarnation
                    .clone()
                    .or_else(|| self.incarnation.take());
                *known = document;
                return Change::Addresses;
            }
        }
        Change::Same
    }

    fn adopt(&mut self, document: Document, now: Instant) -> Change {
        let epoch = document.epoch;
        let is_switch = document.phase.master().is_some()
            && Epoch::default() < self.highest
            && self.highest < epoch;
        if is_switch && !document.is_planned() {
            self.flaps.note(now);
        }
        self.cluster.get_or_insert_with(|| document.cluster.clone());
        if document.incarnation.is_some() {
            self.incarnation.clone_from(&document.incarnation);
        }
        let told = document.data_loss_from_unix_ms;
        self.losses.tell(self.highest, epoch, told);
        self.highest = epoch;
        self.said = Some(document.phase);
        self.conflict = false;
        self.doubt = None;
        self.behind = None;
        self.in_force = Some(InForce {
            document,
            since: now,
        });
        Change::Adopted(epoch)
    }
}

#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod tests;
