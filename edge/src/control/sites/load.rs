//! Changed site documents to sites in force.
//!
//! Lives in the watch's thread (and, once, in the starting one). Each batch of changes becomes at most one new table, judged as a whole
//! ([`batch`]): two sites that swap a domain may. A document that is good in itself but wants a domain of another site waits, and is tried again when
//! something changed. What comes into force, or is gone, goes into the [`History`].
//! Invariant 6: what is refused leaves the older document in force; every refusal is logged and counted once, with its place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jet9_cache::disk::admission::Policy;
use jet9_cache::disk::shares::Quota;
use jet9_cache::purge::PurgeError;
use jet9_cache::{Cache, Partition};
use jet9_config::site::{Admission, Caching, Site};
use jet9_config::{Problem, Problems, check};
use sha2::{Digest, Sha256};

use super::history::{History, REMOVED_KEPT, REMOVED_KEPT_FOR, Version};
use super::table::{Table, Taken};
use super::{Published, SiteRuntime, batch};
use crate::clock::WallClock;
use crate::control::durable::Durability;
use crate::control::watch::{Change, Content};

/// Who brought a document that was found in the directory.
pub(super) const BY_HAND: &str = "file";

/// What loading needs of the store.
pub(super) trait Shares: Send + Sync {
    /// The shares of the sites of these ids.
    fn partitions(&self, ids: &[&str]) -> Result<Vec<Partition>, PurgeError>;

    /// What of a share is written to disk, from now on, and how large it may be.
    fn write(&self, partition: Partition, wish: &Caching);

    /// Drops all that a share holds. Blocks until that is durable.
    fn empty(&self, partition: Partition) -> Result<(), PurgeError>;
}

impl Shares for Cache {
    fn partitions(&self, ids: &[&str]) -> Result<Vec<Partition>, PurgeError> {
        Self::partitions(self, ids)
    }

    fn write(&self, partition: Partition, wish: &Caching) {
        let policy = match wish.admission {
            Admission::Auto => Policy::Used,
            Admission::All => Policy::All,
        };
        self.set_policy(partition, policy);
        let quota = Quota {
            share: wish.quota.share.unwrap_or(u64::MAX),
            cap: wish.quota.cap.unwrap_or(u64::MAX),
            guaranteed: wish.quota.guaranteed,
        };
        self.set_quota(partition, quota);
    }

    fn empty(&self, partition: Partition) -> Result<(), PurgeError> {
        self.release(partition)
    }
}

pub(super) struct Loader {
    pub(super) published: Arc<Published>,
    pub(super) shares: Arc<dyn Shares>,
    pub(super) history: History,
    clock: WallClock,
    /// What is in force, by name.
    pub(super) standing: HashMap<String, Standing>,
    /// Good documents that are not in force yet, by name.
    pub(super) waiting: BTreeMap<String, Waiting>,
    /// Sites that were removed and whose shares could not be emptied yet, by name, with the number that the removal has.
    full: BTreeMap<String, Removed>,
    /// Sites that are no more and have a history, by the time of their end in milliseconds since the Unix epoch.
    ended: BTreeSet<(u64, String)>,
}

/// The document that is in force.
pub(super) struct Standing {
    pub(super) digest: [u8; 32],
    /// The number of its last version: the next one goes on from there.
    pub(super) version: u64,
}

pub(super) struct Waiting {
    file: String,
    text: String,
    pub(super) site: Site,
}

struct Removed {
    version: u64,
    by: Arc<str>,
}

/// A document that came into force.
struct Placed {
    name: String,
    version: u64,
    text: String,
    /// Whether the history does not have it yet.
    is_new: bool,
}

/// What a batch brings: changes, and who made them.
pub(super) struct Brought<'a> {
    pub(super) changes: Vec<Change>,
    pub(super) by: &'a Arc<str>,
    /// Whether the history must be on the disk when they are in force.
    pub(super) durability: Durability,
}

impl Loader {
    pub(super) fn new(
        published: Arc<Published>,
        shares: Arc<dyn Shares>,
        history: History,
        clock: WallClock,
    ) -> Self {
        Self {
            published,
            shares,
            history,
            clock,
            standing: HashMap::new(),
            waiting: BTreeMap::new(),
            full: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    /// Brings changes into force.
    pub(super) fn apply(&mut self, brought: Brought<'_>) {
        self.empty_shares();
        self.forget_ended();
        if brought.changes.is_empty() && self.waiting.is_empty() {
            return;
        }
        let Brought {
            changes,
            by,
            durability,
        } = brought;
        let mut table = Table::clone(&self.published.table.load());
        let generation = table.generation + 1;
        let mut is_changed = false;
        for change in changes {
            if let Some(name) = self.read(change) {
                is_changed |= self.remove(&mut table, name, by);
            }
        }
        let placed = self.place_waiting(&mut table, generation);
        if is_changed || !placed.is_empty() {
            self.publish(table, generation);
        }
        for placed in &placed {
            self.tell(&placed.name, placed.version, by, "in-force");
        }
        for placed in placed.into_iter().filter(|placed| placed.is_new) {
            let text = Some(placed.text);
            self.record(&placed.name, placed.version, text, by, durability);
        }
        self.empty_shares();
    }

    /// Drops what sites have stored that were removed while this node was down: those of the history that have no document. `there` are those
    /// that have one, good or bad.
    pub(super) fn forget_all_but(&mut self, there: &BTreeSet<String>) {
        let known = self.history.sites().unwrap_or_else(|error| {
            log::error!("the history of sites cannot be read: {error}");
            Vec::new()
        });
        for name in known {
            if there.contains(&name) {
                continue;
            }
            match self.history.newest(&name) {
                Some((
                    _,
                    Some(Version {
                        text: None,
                        unix_ms,
                        ..
                    }),
                )) => {
                    self.ended.insert((unix_ms, name));
                }
                Some((number, _)) => {
                    let removed = Removed {
                        version: number + 1,
                        by: BY_HAND.into(),
                    };
                    self.full.insert(name, removed);
                }
                None => {}
            }
        }
        self.empty_shares();
        self.forget_ended();
    }

    /// Forgets the history of sites that were removed too long ago, or are too many.
    fn forget_ended(&mut self) {
        let kept_for = u64::try_from(REMOVED_KEPT_FOR.as_millis()).unwrap_or(u64::MAX);
        let until = self.clock.now().unix_millis().saturating_sub(kept_for);
        while let Some((ended, _)) = self.ended.first()
            && (*ended < until || self.ended.len() > REMOVED_KEPT)
        {
            let Some((_, name)) = self.ended.pop_first() else {
                return;
            };
            // One that came back since is not at its end, whatever this remembers.
            let newest = self.history.newest(&name).and_then(|(_, newest)| newest);
            let is_over = newest.is_some_and(|newest| newest.text.is_none());
            if is_over && let Err(error) = self.history.forget(&name) {
                log::warn!("site {name}, long removed, is not forgotten: {error}");
            }
        }
    }

    /// Whether all that a removed site has stored is dropped for ever.
    pub(super) fn is_forgotten(&self, name: &str) -> bool {
        !self.full.contains_key(name)
    }

    /// Reads one document into the waiting list; gives back the name when it is gone.
    fn read(&mut self, change: Change) -> Option<String> {
        let Change {
            name,
            file,
            content,
        } = change;
        self.waiting.remove(&name);
        let file = file.display().to_string();
        match content {
            Content::Gone => {
                self.published.problems.write().remove(&name);
                return Some(name);
            }
            Content::Unreadable(error) => {
                self.refuse(name, whole(&file, error.to_string()).into());
            }
            Content::Bytes(bytes) if self.stands(&name, &bytes) => {
                self.published.problems.write().remove(&name);
            }
            Content::Bytes(bytes) => match parse(&file, &bytes) {
                Ok((text, site)) => {
                    self.waiting.insert(name, Waiting { file, text, site });
                }
                Err(problems) => self.refuse(name, problems),
            },
        }
        None
    }

    fn stands(&self, name: &str, text: &[u8]) -> bool {
        let standing = self.standing.get(name);
        standing.is_some_and(|standing| standing.digest == digest(text))
    }

    /// Takes a site out of the table; whether it was there.
    fn remove(&mut self, table: &mut Table, name: String, by: &Arc<str>) -> bool {
        let standing = self.standing.remove(&name);
        let Some(old) = table.remove(&name) else {
            self.end(name, by);
            return false;
        };
        let version = standing.map_or(old.version, |standing| standing.version) + 1;
        self.tell(&name, version, by, "removed");
        let by = Arc::clone(by);
        self.full.insert(name, Removed { version, by });
        true
    }

    /// Ends a site that has not been in force since the start, for its document was refused, and whose history goes on.
    fn end(&mut self, name: String, by: &Arc<str>) {
        if let Some((number, newest)) = self.history.newest(&name)
            && newest.is_none_or(|newest| newest.text.is_some())
        {
            let (version, by) = (number + 1, Arc::clone(by));
            self.full.entry(name).or_insert(Removed { version, by });
        }
    }

    /// Brings into force what can be, until nothing more can; what cannot is refused and goes on waiting.
    fn place_waiting(&mut self, table: &mut Table, generation: u64) -> Vec<Placed> {
        let mut placed = Vec::new();
        loop {
            let free = |name: &str| !self.full.contains_key(name);
            let chosen = batch::consistent(table, &self.waiting, free);
            if chosen.is_empty() {
                break;
            }
            let names: Vec<&str> = chosen.iter().map(String::as_str).collect();
            let partitions = match self.shares.partitions(&names) {
                Ok(partitions) => partitions,
                Err(error) => {
                    self.refuse_waiting(table, Some(&error.to_string()));
                    return placed;
                }
            };
            for name in &chosen {
                table.remove(name);
            }
            for (name, partition) in chosen.into_iter().zip(partitions) {
                placed.extend(self.place(table, name, partition, generation));
            }
        }
        self.refuse_waiting(table, None);
        placed
    }

    /// Puts one site into the table, whose domains are free; nothing when none of this name waits.
    fn place(
        &mut self,
        table: &mut Table,
        name: String,
        partition: Partition,
        generation: u64,
    ) -> Option<Placed> {
        let Waiting { text, site, .. } = self.waiting.remove(&name)?;
        self.shares.write(partition, &site.cache);
        let (version, is_new) = self.number(&name, &text);
        let mut site = SiteRuntime::new(site, partition, generation);
        site.version = version;
        let placed = table.place(Arc::new(site));
        debug_assert!(placed.is_ok(), "whether domains are taken was asked before");
        self.published.problems.write().remove(&name);
        let digest = digest(text.as_bytes());
        let standing = Standing { digest, version };
        self.standing.insert(name.clone(), standing);
        Some(Placed {
            name,
            version,
            text,
            is_new,
        })
    }

    /// The number of a document that comes into force, and whether it is new: after a start it mostly is the last one of the history.
    fn number(&self, name: &str, text: &str) -> (u64, bool) {
        if let Some(standing) = self.standing.get(name) {
            return (standing.version + 1, true);
        }
        match self.history.newest(name) {
            None => (1, true),
            Some((number, Some(newest))) if newest.text.as_deref() == Some(text) => (number, false),
            Some((number, _)) => (number + 1, true),
        }
    }

    fn record(
        &mut self,
        name: &str,
        number: u64,
        text: Option<String>,
        by: &str,
        durability: Durability,
    ) {
        let version = Version {
            number,
            unix_ms: self.clock.now().unix_millis(),
            by: by.to_owned(),
            text,
        };
        if version.text.is_none() {
            self.ended.insert((version.unix_ms, name.to_owned()));
        }
        if let Err(error) = self.history.add(name, &version, durability) {
            log::error!("site {name}: version {number} is not in the history: {error}");
        }
    }

    pub(super) fn tell(&self, name: &str, version: u64, by: &str, change: &'static str) {
        if let Some(events) = &self.published.events {
            events.site(name, version, by, change);
        }
    }

    pub(super) fn publish(&self, mut table: Table, generation: u64) {
        table.generation = generation;
        self.published.table.store(Arc::new(table));
        let shown = i64::try_from(generation).unwrap_or(i64::MAX);
        self.published.metrics.generation.set(shown);
        log::info!("sites: generation {generation} is in force");
    }

    /// Refuses what waits: for a domain, for the share of its removed namesake, or because shares cannot be had.
    fn refuse_waiting(&self, table: &Table, failure: Option<&str>) {
        for (name, waiting) in &self.waiting {
            let Waiting { file, text, site } = waiting;
            let taken = table.taken(site);
            let problems = if !taken.is_empty() {
                Problems(taken.iter().map(|t| t.problem(file, text)).collect())
            } else if let Some(failure) = failure {
                whole(file, failure.to_owned()).into()
            } else {
                let message =
                    "what was stored of the site of this id, now removed, could not be dropped yet";
                whole(file, message.into()).into()
            };
            self.refuse(name.clone(), problems);
        }
    }

    /// Logs and counts a refusal, unless it is the one that stands already.
    fn refuse(&self, name: String, problems: Problems) {
        let mut standing = self.published.problems.write();
        if standing.get(&name) == Some(&problems) {
            return;
        }
        for problem in &problems.0 {
            log::error!("{problem}");
        }
        self.published.metrics.rejected.inc();
        standing.insert(name, problems);
    }

    /// Drops what removed sites have stored. Only then their end goes into the history: a crash in between makes the next start do it again.
    fn empty_shares(&mut self) {
        for (name, removed) in std::mem::take(&mut self.full) {
            let shares = &self.shares;
            let emptied = shares
                .partitions(&[&name])
                .and_then(|of| of.into_iter().try_for_each(|one| shares.empty(one)));
            match emptied {
                Ok(()) => {
                    let Removed { version, by } = removed;
                    self.record(&name, version, None, &by, Durability::Now);
                }
                Err(error) => {
                    log::error!("site {name}: what it stored is not dropped yet: {error}");
                    self.full.insert(name, removed);
                }
            }
        }
    }
}

impl Taken {
    pub(super) fn problem(&self, file: &str, text: &str) -> Problem {
        let pointer = format!("/domains/{}", self.index);
        Problem {
            file: file.to_owned(),
            place: check::place(text, &pointer),
            pointer,
            message: match &self.by {
                Some(site) => format!("{} belongs to site `{site}` already", self.domain),
                None => format!("{} belongs to another site already", self.domain),
            },
        }
    }
}

pub(super) fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn parse(file: &str, bytes: &[u8]) -> Result<(String, Site), Problems> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok((text.to_owned(), check::site_file(file, text)?)),
        Err(error) => {
            let valid = &bytes[..error.valid_up_to()];
            let line = valid.iter().filter(|&&byte| byte == b'\n').count() + 1;
            let mut problem = whole(file, "not UTF-8".into());
            problem.place = Some((line, 1));
            Err(problem.into())
        }
    }
}

/// A problem of the document as a whole.
fn whole(file: &str, message: String) -> Problem {
    Problem {
        file: file.to_owned(),
        place: None,
        pointer: String::new(),
        message,
    }
}
