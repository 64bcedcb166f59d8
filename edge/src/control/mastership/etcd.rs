//! Follows the cluster state in an etcd: one member at a time, read and watched at once.
//!
//! A thread with a runtime of its own, so that no busy request delays a failover. The watch tells first; the reads, each [`POLL`], renew the
//! leases and find a watch that is silent. A read that fails ends both: the next member is tried. What documents mean is decided by
//! `jet9_cluster::View`, what follows from it by [`Follower`].
//! Invariant 1: a lease counts from before the first byte of a read was written.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jet9_cluster::{Document, Instant, Source};
use jet9_config::ClusterId;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::Store;
use super::follow::{Follower, Found};
use crate::clock;
use crate::control::etcd::{Etcd, EtcdError, Event, KeyValue, Member, Notice, Range, Watching};

/// How often the store is read. A third of the shortest lease that is of use with an etcd; a watch that tells nothing is found in less
/// than three of these.
pub(super) const POLL: Duration = Duration::from_millis(500);

/// Before the next member is tried, after all of them failed.
const PAUSE: Duration = Duration::from_millis(250);

/// Reloads that wait.
const RELOADS_MAX: usize = 16;

/// The running follower. Dropping it ends its thread, within the time of a call.
#[derive(Debug)]
pub(super) struct EtcdFollow {
    reloads: mpsc::Sender<oneshot::Sender<()>>,
}

impl EtcdFollow {
    pub(super) fn spawn(store: &Store, follower: Arc<Mutex<Follower>>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (reloads, asked) = mpsc::channel(RELOADS_MAX);
        let mut following = Following {
            prefix: store.prefix(),
            etcd: store.etcd().clone(),
            follower,
            asked,
            failing: false,
            answered: false,
        };
        std::thread::Builder::new()
            .name("jet9-clusters".into())
            .spawn(move || runtime.block_on(following.run()))?;
        Ok(Self { reloads })
    }

    /// Waits until everything in the store was read once more; not when it cannot be reached.
    pub(super) async fn reload(&self) {
        let (done, read) = oneshot::channel();
        if self.reloads.send(done).await.is_ok() {
            // An error means that the store failed meanwhile.
            let _ = read.await;
        }
    }
}

struct Following {
    etcd: Etcd,
    prefix: String,
    follower: Arc<Mutex<Follower>>,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    /// Whether the last member failed, so that it is told once.
    failing: bool,
    /// Whether a member has answered since the start, or what was kept is in force instead.
    answered: bool,
}

/// Why following one member ended.
enum Ended {
    /// It failed: try the next.
    Failed(EtcdError),
    /// Its history was compacted: begin anew, with the same.
    Compacted,
    /// The edge stops.
    Stopped,
}

impl From<EtcdError> for Ended {
    fn from(error: EtcdError) -> Self {
        Self::Failed(error)
    }
}

/// What one member has told.
struct Told {
    /// The store was read up to this revision; 0: the next read is of everything.
    read: u64,
    /// The watch told of everything up to this revision.
    watched: u64,
    /// The newest change that a read has shown.
    newest: u64,
    /// The keys that there are.
    present: HashSet<String>,
    /// At which revision keys were deleted that a read under way may still show.
    deleted: HashMap<String, u64>,
    /// The last read knew of a change that the watch had not told.
    lags: bool,
}

impl Told {
    /// Takes what was deleted meanwhile out of a read that the watch has overtaken: a cluster that is forgotten must not come back. Later reads
    /// are of later revisions, and show none of it.
    fn leave_out_deleted(&mut self, range: &mut Range) {
        let deleted = &mut self.deleted;
        let is_there = |found: &KeyValue| {
            let at = deleted.get(&found.key);
            at.is_none_or(|at| found.changed_at > *at)
        };
        range.found.retain(is_there);
        deleted.retain(|_, at| *at > range.revision);
    }
}

/// A member that answers.
struct Opened {
    reader: Member,
    watching: Watching,
    sent: Instant,
    range: Range,
}

/// What comes next.
enum Next {
    Notice(Result<Notice, EtcdError>),
    Poll(Option<oneshot::Sender<()>>),
    Read(Member, Instant, Result<Range, EtcdError>),
    Stop,
}

impl Following {
    async fn run(&mut self) {
        let mut member = 0;
        loop {
            match self.follow(member).await {
                Ended::Stopped => return,
                Ended::Compacted => {}
                Ended::Failed(error) => {
                    self.told_failure(member, &error);
                    member = (member + 1) % self.etcd.members();
                    if self.pause(member).await {
                        return;
                    }
                }
            }
        }
    }

    fn told_failure(&mut self, member: usize, error: &EtcdError) {
        if !self.failing {
            log::error!("etcd member {}: {error}; the others are tried", member + 1);
            self.failing = true;
        }
    }

    /// Before the next member is tried. Says whether the edge stops.
    async fn pause(&mut self, member: usize) -> bool {
        while self.asked.try_recv().is_ok() {} // nobody waits for a store that is away
        if member == 0 {
            // Only now: a store that can be asked knows better.
            if !std::mem::replace(&mut self.answered, true) {
                self.follower.lock().take_kept();
            }
            sleep(PAUSE).await;
        }
        self.asked.is_closed()
    }

    async fn follow(&mut self, member: usize) -> Ended {
        let (etcd, prefix) = (self.etcd.clone(), self.prefix.clone());
        let opened = match open(&etcd, &prefix, member).await {
            Ok(opened) => opened,
            Err(error) => return error.into(),
        };
        self.answered = true;
        if self.failing {
            log::info!("etcd member {} answers", opened.reader.name());
            self.failing = false;
        }
        let told = Told {
            read: opened.range.revision,
            watched: opened.range.revision,
            newest: 0,
            present: keys(&opened.range).collect(),
            deleted: HashMap::new(),
            lags: false,
        };
        let sent = opened.sent;
        self.take(opened.range.found, Source::Read { sent });
        self.go_on(opened.reader, opened.watching, told).await
    }

    async fn go_on(&mut self, reader: Member, mut watching: Watching, mut told: Told) -> Ended {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reader = Some(reader);
        let mut reading = None;
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        loop {
            let next = tokio::select! {
                biased;
                notice = watching.next() => Next::Notice(notice),
                (reader, sent, range) = async { running(&mut reading).await }, if reading.is_some() => Next::Read(reader, sent, range),
                next = poll(&mut ticks, &mut self.asked), if reading.is_none() => next,
            };
            match next {
                Next::Stop => return Ended::Stopped,
                Next::Notice(Err(error)) => return error.into(),
                Next::Notice(Ok(Notice::Compacted)) => return Ended::Compacted,
                Next::Notice(Ok(Notice::Events { revision, events })) => {
                    told.watched = told.watched.max(revision);
                    self.watched(events, &mut told);
                }
                Next::Poll(asked) => {
                    if asked.is_some() {
                        told.read = 0; // who asks wants everything
                    }
                    waiting.extend(asked);
                    let Some(reader) = reader.take() else {
                        continue;
                    };
                    reading = Some(Box::pin(read(reader, self.prefix.clone(), told.read)));
                }
                Next::Read(member, sent, range) => {
                    reading = None;
                    reader = Some(member);
                    match range {
                        Ok(range) => {
                            if let Some(ended) = self.read(range, sent, &mut told) {
                                return ended;
                            }
                        }
                        Err(error) => return error.into(),
                    }
                    for done in waiting.drain(..) {
                        let _: Result<(), ()> = done.send(()); // who asked may have left
                    }
                }
            }
        }
    }

    /// Takes what a read found changed; everything else that is there is as it was.
    fn read(&mut self, mut range: Range, sent: Instant, told: &mut Told) -> Option<Ended> {
        told.leave_out_deleted(&mut range);
        // Reads show a change once: what the watch still owes has to be remembered.
        let shown = range.found.iter().map(|found| found.changed_at);
        told.newest = shown.fold(told.newest, u64::max);
        if told.read == 0 {
            told.present.clear();
        }
        told.present.extend(keys(&range));
        told.read = range.revision;
        if usize::try_from(range.count) != Ok(told.present.len()) {
            told.read = 0; // one was deleted, and the watch has not told of it yet
        }
        let is_silent = told.newest > told.watched;
        self.take(range.found, Source::Read { sent });
        if told.read > 0 {
            let present = told.present.iter().filter_map(|key| self.id_of(key));
            let present: HashSet<_> = present.collect();
            self.follower.lock().confirm(sent, &present);
        }
        if is_silent && told.lags {
            return Some(EtcdError::Mute.into());
        }
        told.lags = is_silent;
        None
    }

    fn watched(&mut self, events: Vec<Event>, told: &mut Told) {
        let mut found = Vec::new();
        for event in events {
            match event {
                Event::Put(put) => {
                    told.present.insert(put.key.clone());
                    found.push(put);
                }
                Event::Deleted { key, value, at } => {
                    told.present.remove(&key);
                    self.take(std::mem::take(&mut found), Source::Watch);
                    self.deleted(&key, value.as_deref());
                    told.deleted.insert(key, at);
                }
            }
        }
        self.take(found, Source::Watch);
    }

    fn deleted(&mut self, key: &str, value: Option<&[u8]>) {
        let Some(id) = self.id_of(key) else { return };
        match value.map(Document::parse) {
            Some(Ok(document)) => self.follower.lock().deleted(&id, document.epoch),
            Some(Err(_)) | None => log::error!("{key}: deleted; what is in force stays"),
        }
    }

    fn take(&mut self, found: Vec<KeyValue>, source: Source) {
        if found.is_empty() {
            return;
        }
        let found = found.into_iter().filter_map(|found| {
            let id = self.id_of(&found.key)?;
            let document = Document::of(&found.value, &id);
            Some(Found {
                id,
                place: format!("etcd {}", found.key),
                source,
                document,
                text: Some(found.value),
            })
        });
        let found = found.collect();
        self.follower.lock().take(found);
    }

    fn id_of(&self, key: &str) -> Option<ClusterId> {
        let name = key.strip_prefix(&self.prefix)?;
        ClusterId::parse(name)
            .map_err(|error| log::error!("etcd {key}: not the name of a cluster: {error}"))
            .ok()
    }
}

/// The moment of the next read, or somebody who wants one now.
async fn poll(ticks: &mut Interval, asked: &mut mpsc::Receiver<oneshot::Sender<()>>) -> Next {
    tokio::select! {
        asked = asked.recv() => asked.map_or(Next::Stop, |asked| Next::Poll(Some(asked))),
        _ = ticks.tick() => Next::Poll(None),
    }
}

/// Reads everything, and watches from there.
async fn open(etcd: &Etcd, prefix: &str, member: usize) -> Result<Opened, EtcdError> {
    let mut reader = etcd.connect(member).await?;
    let sent = clock::boottime();
    let range = reader.range(prefix, 0).await?;
    let watcher = etcd.connect(member).await?;
    let watching = watcher.watch(prefix, range.revision + 1).await?;
    Ok(Opened {
        reader,
        watching,
        sent,
        range,
    })
}

fn keys(range: &Range) -> impl Iterator<Item = String> {
    range.found.iter().map(|found| found.key.clone())
}

async fn read(
    mut reader: Member,
    prefix: String,
    after: u64,
) -> (Member, Instant, Result<Range, EtcdError>) {
    let sent = clock::boottime();
    let range = reader.range(&prefix, after).await;
    (reader, sent, range)
}

/// Goes on with the read that is under way; never ends without one.
async fn running<F: Future + Unpin>(reading: &mut Option<F>) -> F::Output {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_the_watch_has_overtaken_brings_nothing_deleted_back() {
        let mut told = Told {
            read: 5,
            watched: 7,
            newest: 5,
            present: HashSet::new(),
            deleted: HashMap::from([("/gone".into(), 7), ("/again".into(), 7)]),
            lags: false,
        };
        let mut check = |revision, found: &[(&str, u64)], expected: &[&str]| {
            let found = found.iter().map(|(key, changed_at)| KeyValue {
                key: (*key).into(),
                value: Vec::new(),
                changed_at: *changed_at,
            });
            let mut range = Range {
                revision,
                found: found.collect(),
                count: 0,
            };
            told.leave_out_deleted(&mut range);
            assert_eq!(keys(&range).collect::<Vec<_>>(), expected);
            told.deleted.len()
        };
        let found = [("/gone", 6), ("/other", 6), ("/again", 6)];
        assert_eq!(check(6, &found, &["/other"]), 2);
        assert_eq!(check(8, &[("/gone", 6), ("/again", 8)], &["/again"]), 0);
    }
}
