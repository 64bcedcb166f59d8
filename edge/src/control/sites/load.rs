//! Changed site documents to sites in force.
//!
//! Lives in the watch's thread (and, once, in the starting one). Each batch of changes becomes at most one new table. A document that is good in
//! itself but wants a domain of another site waits, and is tried again when something changed.
//! Invariant 6: what is refused leaves the older document in force; every refusal is logged and counted once, with its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use jet9_cache::disk::admission::Policy;
use jet9_cache::purge::{Mode, Purge, PurgeError, What};
use jet9_cache::{Cache, Partition};
use jet9_config::site::{Admission, Site};
use jet9_config::{Problem, Problems, check};

use super::table::{Table, Taken};
use super::{Published, SiteRuntime};
use crate::control::watch::{Change, Content};

/// What loading needs of the store.
pub(super) trait Shares: Send + Sync {
    /// The share of the site of this id.
    fn partition(&self, id: &str) -> Result<Partition, PurgeError>;

    /// What of a share is written to disk, from now on.
    fn write(&self, partition: Partition, wish: Admission);

    /// Drops all that a share holds. Blocks until that is durable.
    fn empty(&self, partition: Partition) -> Result<(), PurgeError>;
}

impl Shares for Cache {
    fn partition(&self, id: &str) -> Result<Partition, PurgeError> {
        Self::partition(self, id)
    }

    fn write(&self, partition: Partition, wish: Admission) {
        let policy = match wish {
            Admission::Auto => Policy::Used,
            Admission::All => Policy::All,
        };
        self.set_policy(partition, policy);
    }

    fn empty(&self, partition: Partition) -> Result<(), PurgeError> {
        let everything = Purge {
            partition: Some(partition),
            what: vec![What::All],
            mode: Mode::Hard,
        };
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build();
        let runtime = runtime.map_err(PurgeError::Journal)?;
        runtime.block_on(self.purge(everything)).map(drop)
    }
}

pub(super) struct Loader {
    published: Arc<Published>,
    shares: Arc<dyn Shares>,
    /// Good documents that are not in force yet, by name.
    waiting: BTreeMap<String, Waiting>,
    /// Shares of sites that were removed and could not be emptied yet, by name.
    full: BTreeMap<String, Partition>,
}

struct Waiting {
    file: String,
    text: String,
    site: Site,
}

impl Loader {
    pub(super) fn new(published: Arc<Published>, shares: Arc<dyn Shares>) -> Self {
        Self {
            published,
            shares,
            waiting: BTreeMap::new(),
            full: BTreeMap::new(),
        }
    }

    /// Brings changes into force.
    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        self.empty_shares();
        if changes.is_empty() && self.waiting.is_empty() {
            return;
        }
        let mut table = Table::clone(&self.published.table.load());
        let generation = table.generation + 1;
        let mut removed = Vec::new();
        let mut changed = false;
        for change in changes {
            if let Some(name) = self.read(change) {
                removed.extend(table.remove(&name).map(|old| (name, old.partition)));
            }
        }
        while self.place_waiting(&mut table, generation) {
            changed = true;
        }
        if changed || !removed.is_empty() {
            self.publish(table, generation);
        }
        self.full.extend(removed);
        self.empty_shares();
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
            Content::Bytes(bytes) => match parse(&file, &bytes) {
                Ok((text, site)) => {
                    self.waiting.insert(name, Waiting { file, text, site });
                }
                Err(problems) => self.refuse(name, problems),
            },
        }
        None
    }

    /// Tries each waiting document; whether one came into force, which may have freed what another waits for.
    fn place_waiting(&mut self, table: &mut Table, generation: u64) -> bool {
        let before = self.waiting.len();
        let mut changed = false;
        for (name, waiting) in std::mem::take(&mut self.waiting) {
            match self.place(table, &name, &waiting, generation) {
                Ok(placed) => {
                    changed |= placed;
                    self.published.problems.write().remove(&name);
                }
                Err(problems) => {
                    self.refuse(name.clone(), problems);
                    self.waiting.insert(name, waiting);
                }
            }
        }
        changed && self.waiting.len() < before
    }

    fn place(
        &self,
        table: &mut Table,
        name: &str,
        waiting: &Waiting,
        generation: u64,
    ) -> Result<bool, Problems> {
        let Waiting { file, text, site } = waiting;
        if table.by_id(name).is_some_and(|old| old.site == *site) {
            return Ok(false);
        }
        let taken = table.taken(site);
        if !taken.is_empty() {
            return Err(Problems(
                taken.iter().map(|t| t.problem(file, text)).collect(),
            ));
        }
        if self.full.contains_key(name) {
            let message =
                "what was stored of the site of this id, now removed, could not be dropped yet";
            return Err(whole(file, message.into()).into());
        }
        let partition = self.shares.partition(name);
        let partition = partition.map_err(|error| whole(file, error.to_string()))?;
        self.shares.write(partition, site.cache.admission);
        let site = SiteRuntime::new(site.clone(), partition, generation);
        let placed = table.place(Arc::new(site));
        debug_assert!(placed.is_ok(), "whether domains are taken was asked before");
        Ok(placed.is_ok())
    }

    fn publish(&self, mut table: Table, generation: u64) {
        table.generation = generation;
        self.published.table.store(Arc::new(table));
        let shown = i64::try_from(generation).unwrap_or(i64::MAX);
        self.published.metrics.generation.set(shown);
        log::info!("sites: generation {generation} is in force");
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

    fn empty_shares(&mut self) {
        self.full
            .retain(|name, partition| match self.shares.empty(*partition) {
                Ok(()) => false,
                Err(error) => {
                    log::error!("site {name}: what it stored is not dropped yet: {error}");
                    true
                }
            });
    }
}

impl Taken {
    fn problem(&self, file: &str, text: &str) -> Problem {
        let pointer = format!("/domains/{}", self.index);
        Problem {
            file: file.to_owned(),
            place: check::place(text, &pointer),
            pointer,
            message: format!("{} belongs to site `{}` already", self.domain, self.by),
        }
    }
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
