//! What was purged, for ever: watermarks in memory, and the journal that brings them back after a crash.
//!
//! Called by `store` at every look-up, commit and reinsertion, and by `edge::control::purge`. A response is dead when it was born at or
//! before a watermark that matches it; ticks are logical, so a clock that steps back changes nothing. A purge is answered only after its
//! slot is on disk. Invariant 4 rests here.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod horizon;
mod journal;
#[cfg(test)]
mod model;
mod slot;
mod watermarks;
mod writer;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::device::Opener;
use crate::key::{Key, KeyHasher, Partition};
use crate::lock::{Make, Own, Rising};
use crate::metrics::Metrics;

pub(crate) use horizon::Oldest;
use horizon::{Horizon, Lookout};
use journal::{Journal, Ledger};
use slot::Record;
pub(crate) use watermarks::{Facts, Verdict};
use watermarks::{Target, Watermarks};
use writer::Writer;

/// How hard a purge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What matches is stale: it is validated before it is served, or served when the origin fails.
    Soft,
    /// What matches is gone.
    Hard,
}

/// What to purge. Build the hashes with [`crate::KeyHasher`].
#[derive(Clone, Debug)]
pub struct Purge {
    /// The partition (site) that it is limited to; `None` with [`What::All`] only.
    pub partition: Option<Partition>,
    /// What in it.
    pub what: Vec<What>,
    /// Soft or hard.
    pub mode: Mode,
}

impl Purge {
    /// A hard purge of the URL of a key.
    pub fn url(key: &Key) -> Self {
        let what = vec![What::Url(key.url())];
        Self {
            partition: Some(key.partition()),
            what,
            mode: Mode::Hard,
        }
    }
}

/// One thing to purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Everything in the store, or in the partition.
    All,
    /// One URL in every scheme and variant: [`crate::Key::url`].
    Url(u128),
    /// Every path (with query) that begins with these bytes, on any host of the partition.
    Prefix(Box<[u8]>),
    /// Every response that carries this tag.
    Tag(Box<str>),
}

/// Whose the partitions of a store are, by their numbers, as far as they belong to one of these names. Reads the journal in the store's data
/// directory, whether a node runs on it or not.
///
/// # Errors
/// When there is no journal that can be read.
pub fn names_of_partitions(data_dir: &Path, names: &[String]) -> io::Result<HashMap<u32, String>> {
    let (secret, partitions) = journal::partitions_in(data_dir)?;
    let keys = KeyHasher::new(secret);
    let of_name = |name: &String| {
        let partition = partitions.get(&keys.hash(name.as_bytes()))?;
        Some((partition.0, name.clone()))
    };
    Ok(names.iter().filter_map(of_name).collect())
}

/// The answer to a purge: it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The journal's sequence number of its last slot; grows by one for each thing purged, over restarts too.
    pub sequence: u64,
}

/// A purge was not done.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The journal could not be written.
    #[error("the purge journal cannot be written: {0}")]
    Journal(io::Error),
}

/// A moment in the order of purges: how many groups of purges were durable before it, plus one. Not a time; no clock moves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tick(pub(crate) u64);

impl Tick {
    /// Before every purge and every birth.
    pub(crate) const NEVER: Self = Self(0);
    /// After every purge and every birth.
    pub(crate) const FOREVER: Self = Self(u64::MAX);
}

/// The purges of a node: what is dead, and the order of births and purges.
#[derive(Debug)]
pub(crate) struct Purges {
    keys: KeyHasher,
    identity: u128,
    state: Arc<State>,
    writer: Writer,
    #[expect(dead_code, reason = "it ends with the store")]
    lookout: Lookout,
    /// Held while partitions are assigned, so that no two names get the same one.
    assigning: Mutex<()>,
}

impl Purges {
    /// Opens the journal of a directory and replays it.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub(crate) fn open(
        directory: &Path,
        files: Arc<dyn Opener>,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let marks = Watermarks::default();
        let (journal, ledger) = Journal::open(directory, files, &marks)?;
        let state = Arc::new(State::new(marks, ledger, metrics));
        Ok(Self {
            keys: KeyHasher::new(journal.secret()),
            identity: journal.identity(),
            writer: Writer::start(journal, Arc::clone(&state))?,
            lookout: Lookout::start(Arc::clone(&state.horizon))?,
            state,
            assigning: Mutex::default(),
        })
    }

    /// The hasher with the secret of the journal.
    pub(crate) const fn keys(&self) -> &KeyHasher {
        &self.keys
    }

    /// Which journal this is: a volume that knows another one holds what this one cannot purge.
    pub(crate) const fn identity(&self) -> u128 {
        self.identity
    }

    /// The number of the session that began last.
    pub(crate) fn session(&self) -> u128 {
        self.state.ledger.lock().session
    }

    /// How many sessions there were, this one included.
    pub(crate) fn session_number(&self) -> u64 {
        u64::from(self.state.ledger.lock().sessions)
    }

    /// Whether a volume failed in service.
    pub(crate) fn is_expelled(&self, volume: u128) -> bool {
        self.state.ledger.lock().expelled.contains(&volume)
    }

    /// The sequence number of the last thing purged.
    pub(crate) fn sequence(&self) -> u64 {
        self.state.ledger.lock().sequence
    }

    /// The tick of what is born now: above every purge that was answered, at or below every purge to come.
    pub(crate) fn now(&self) -> Tick {
        self.state.now()
    }

    /// What has become of a response with these facts that was born at `birth`.
    pub(crate) fn judge(&self, facts: &Facts<'_>, birth: Tick) -> Verdict {
        self.state.marks.judge(facts, birth, &self.keys)
    }

    /// Sets who tells how far back purges must be remembered. Whoever sets it takes it back with `None` before it goes.
    pub(crate) fn ask_for_oldest(&self, oldest: Option<Oldest>) {
        self.state.horizon.answer_by(oldest);
    }

    /// Lets the next purge find the tables crowded.
    #[cfg(test)]
    pub(crate) fn crowd(&self) {
        self.state.marks.crowd();
        self.state.horizon.expect_much();
    }

    /// Waits until what was asked of whoever keeps responses is answered; the next purge takes the answer in.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        self.state.horizon.settle();
    }

    /// How many things of partitions are marked as purged.
    #[cfg(test)]
    pub(crate) fn marks(&self) -> u64 {
        self.state.marks.fine()
    }

    /// The hash that a tag has in watermarks.
    pub(crate) fn tag(&self, tag: &str) -> u128 {
        self.keys.hash(tag.as_bytes())
    }

    /// The partitions of names, in their order. Blocks while new ones are written down, all in one group.
    ///
    /// # Errors
    /// When they could not be written down; then none is assigned.
    pub(crate) fn partitions(&self, names: &[&str]) -> Result<Vec<Partition>, PurgeError> {
        let hashes: Vec<u128> = names
            .iter()
            .map(|name| self.keys.hash(name.as_bytes()))
            .collect();
        let _assigning = self.assigning.lock();
        let new = self.state.new_partitions(&hashes);
        if !new.is_empty() {
            self.writer
                .append_blocking(new)
                .map_err(PurgeError::Journal)?;
        }
        let ledger = self.state.ledger.lock();
        let known = hashes
            .iter()
            .filter_map(|hash| ledger.partitions.get(hash).copied());
        Ok(known.collect())
    }

    /// Purges; durable when it returns.
    ///
    /// # Errors
    /// When the journal could not be written; nothing is purged then.
    pub(crate) async fn purge(&self, purge: &Purge) -> Result<Purged, PurgeError> {
        let target = |what| self.target(purge.partition, what);
        let targets: Option<Vec<Target>> = purge.what.iter().map(target).collect();
        let Some(targets) = targets else {
            let why = "only everything can be purged without a partition";
            return Err(PurgeError::Journal(io::Error::new(
                io::ErrorKind::InvalidInput,
                why,
            )));
        };
        let records = targets
            .into_iter()
            .map(|target| Record::Purge(target, purge.mode))
            .collect();
        let sequence = self
            .writer
            .append(records)
            .await
            .map_err(PurgeError::Journal)?;
        Ok(Purged { sequence })
    }

    /// Drops all that a partition holds, and takes it from its name. A later session may give it to another: whatever was born in it until
    /// now is dead. Blocks.
    ///
    /// # Errors
    /// When the journal could not be written; then nothing has happened.
    pub(crate) fn release(&self, partition: Partition) -> Result<(), PurgeError> {
        let _assigning = self.assigning.lock();
        let is_known = self
            .state
            .ledger
            .lock()
            .partitions
            .values()
            .any(|known| *known == partition);
        let mut records = vec![Record::Purge(Target::Partition(partition), Mode::Hard)];
        records.extend(is_known.then_some(Record::Released(partition)));
        let appended = self.writer.append_blocking(records);
        appended.map(drop).map_err(PurgeError::Journal)
    }

    /// Begins a session; the volumes know its number already. Blocks.
    ///
    /// What the last one released may be given out from now on: what was fetched for the old name after the release dies before.
    ///
    /// # Errors
    /// When the journal could not be written.
    pub(crate) fn begin_session(&self, number: u128) -> io::Result<()> {
        let (ordinal, released) = {
            let ledger = self.state.ledger.lock();
            (ledger.sessions + 1, ledger.released.clone())
        };
        let emptied = |partition| Record::Purge(Target::Partition(partition), Mode::Hard);
        for some in released.chunks(writer::GROUP_MAX) {
            let records = some.iter().copied().map(emptied).collect();
            self.writer.append_blocking(records)?;
        }
        let session = Record::Session { number, ordinal };
        self.writer.append_blocking(vec![session]).map(|_| ())
    }

    /// Notes that a volume failed in service: it is emptied before it serves again. Blocks.
    ///
    /// # Errors
    /// When the journal could not be written.
    pub(crate) fn expel(&self, volume: u128) -> io::Result<()> {
        self.writer
            .append_blocking(vec![Record::Expelled(volume)])
            .map(|_| ())
    }

    /// What a purge means, hashed; `None` when it makes no sense.
    fn target(&self, partition: Option<Partition>, what: &What) -> Option<Target> {
        Some(match (partition, what) {
            (None, What::All) => Target::Everything,
            (None, What::Url(_) | What::Tag(_) | What::Prefix(_)) => return None,
            (Some(partition), What::All) => Target::Partition(partition),
            (Some(partition), What::Url(url)) => Target::Url(partition, *url),
            (Some(partition), What::Tag(tag)) => Target::Tag(partition, self.tag(tag)),
            (Some(partition), What::Prefix(prefix)) => Target::Prefix {
                partition,
                length: u32::try_from(prefix.len()).ok()?,
                hash: self.keys.hash(prefix),
            },
        })
    }
}

/// What the journal's thread writes and everybody reads.
struct State<M: Make = Own> {
    marks: Watermarks<M>,
    ledger: Mutex<Ledger>,
    /// What is born now is born at this tick: one above the newest durable purge. Never more, or a purge that a crash tears could be
    /// repeated below births that it did not see.
    now: M::Rising,
    horizon: Arc<Horizon>,
    metrics: Metrics,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl<M: Make> State<M> {
    fn new(marks: Watermarks<M>, ledger: Ledger, metrics: Metrics) -> Self {
        let now = M::Rising::at(ledger.tick.0 + 1);
        metrics
            .purge_applied_sequence
            .set(ledger.sequence.cast_signed());
        Self {
            marks,
            ledger: Mutex::new(ledger),
            now,
            horizon: Arc::default(),
            metrics,
        }
    }

    /// Drops the marks that were found to touch nothing any more, and asks for more of them if the journal `is_full` or the tables are
    /// crowded. Gives what is dead from now on, to be noted in the journal: who replays it must not meet the bounds where these marks did not.
    fn forget_old(&self, is_full: bool) -> Option<Record> {
        let sequence = self.ledger.lock().sequence;
        let floor = self.horizon.take_floor();
        if let Some(floor) = floor {
            let before = self.marks.fine();
            self.marks.forget(floor);
            if self.marks.fine() > before / 4 * 3 {
                self.horizon.was_futile(sequence);
            }
        }
        let is_crowded = self.marks.take_crowded() && self.horizon.is_due(sequence);
        if is_full || is_crowded {
            self.horizon.ask(self.now());
        }
        floor
            .filter(|floor| *floor > Tick::NEVER)
            .map(Record::Floor)
    }

    fn now(&self) -> Tick {
        Tick(self.now.get())
    }

    /// Takes in a group that is durable; the sequence of its last purge.
    fn apply(&self, records: &[Record], tick: Tick) -> u64 {
        let mut ledger = self.ledger.lock();
        for record in records {
            if let Record::Purge(target, mode) = *record {
                self.marks.apply(target, mode, tick);
                ledger.sequence += 1;
            }
            if let Some(labels) = record.labels() {
                self.metrics.purges.with_label_values(&labels).inc();
            }
            ledger.apply(*record);
        }
        ledger.tick = tick;
        self.now.raise(tick.0 + 1);
        self.metrics
            .purge_applied_sequence
            .set(ledger.sequence.cast_signed());
        ledger.sequence
    }

    /// Partitions for those of the names that have none: what is free first, so that numbers do not run out.
    fn new_partitions(&self, hashes: &[u128]) -> Vec<Record> {
        let ledger = self.ledger.lock();
        let mut next = ledger.partition_max;
        let mut free = ledger.free.iter().copied();
        let mut seen = HashSet::new();
        let unknown = hashes
            .iter()
            .filter(|&hash| !ledger.partitions.contains_key(hash) && seen.insert(*hash));
        let assign = |hash: &u128| {
            let partition = free.next().unwrap_or_else(|| {
                next += 1;
                Partition(next)
            });
            Record::Partition(*hash, partition)
        };
        unknown.map(assign).collect()
    }
}
