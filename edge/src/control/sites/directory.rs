//! Sites from a watched directory, which a hand and the admin API may change alike.
//!
//! The [`SiteStore`] of `state.kind = "directory"`. Every change, by hand or by call, is made in the watch's thread, one after the other: a call
//! first takes in what a hand has done to its file, then checks, writes the file whole, and answers when the table was swapped.
//! Invariant 6: the file is written only after all checks have passed; a crash leaves the old file or the new one.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jet9_config::Problems;
use parking_lot::Mutex;

use super::fallback;
use super::history::{History, Version};
use super::load::{BY_HAND, Brought, Loader};
use super::store::{Claims, Intent, Removal, SiteStore, Write, WriteError, Written};
use super::{Form, Published, SETTLE};
use crate::control::durable::{self, Durability, Readers};
use crate::control::watch::{Directory, Look, Watch};

/// A watched directory of site documents.
pub(super) struct DirectoryStore {
    watch: Watch,
    loader: Arc<Mutex<Loader>>,
    published: Arc<Published>,
    history: History,
}

impl std::fmt::Debug for DirectoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirectoryStore")
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

impl DirectoryStore {
    /// Brings what is there into force, and watches.
    pub(super) fn open(
        mut directory: Directory,
        published: Arc<Published>,
        mut loader: Loader,
    ) -> io::Result<Self> {
        let by: Arc<str> = BY_HAND.into();
        let changes = directory.look(Look::Changed);
        let there: BTreeSet<String> = changes.iter().map(|change| change.name.clone()).collect();
        // A directory that cannot be read says nothing about its documents.
        if !directory.is_failing() {
            loader.forget_all_but(&there);
        }
        loader.apply(Brought {
            changes,
            by: &by,
            durability: Durability::Later,
        });
        fallback::what_is_refused(&mut loader);
        let history = loader.history.clone();
        let loader = Arc::new(Mutex::new(loader));
        let own = Arc::clone(&loader);
        let apply = move |changes| {
            let durability = Durability::Later;
            let by = &by;
            own.lock().apply(Brought {
                changes,
                by,
                durability,
            });
        };
        Ok(Self {
            watch: Watch::spawn("jet9-sites", directory, SETTLE, apply)?,
            loader,
            published,
            history,
        })
    }

    /// Does something in the watch's thread.
    async fn alone<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Turn<'_>) -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, WriteError> {
        let loader = Arc::clone(&self.loader);
        let published = Arc::clone(&self.published);
        let done = self.watch.run(move |directory| {
            job(&mut Turn {
                loader: &mut loader.lock(),
                published: &published,
                directory,
            })
        });
        let stopping = || WriteError::Failed("the node is stopping".into());
        done.await.unwrap_or_else(|| Err(stopping()))
    }
}

impl SiteStore for DirectoryStore {
    fn put(&self, write: Write) -> BoxFuture<'_, Result<Written, WriteError>> {
        Box::pin(self.alone(move |turn| turn.put(&write)))
    }

    fn remove(&self, removal: Removal) -> BoxFuture<'_, Result<(), WriteError>> {
        Box::pin(self.alone(move |turn| turn.remove(&removal)))
    }

    fn versions(&self, id: &str) -> BoxFuture<'_, io::Result<Vec<Version>>> {
        let (history, id) = (self.history.clone(), id.to_owned());
        Box::pin(async move { blocking(move || Ok(history.versions(&id))).await })
    }

    fn document(&self, id: &str) -> BoxFuture<'_, io::Result<Option<String>>> {
        let Some(site) = self.published.table.load().by_id(id).cloned() else {
            return Box::pin(async { Ok(None) });
        };
        let (history, id) = (self.history.clone(), id.to_owned());
        let read = move || Ok(history.version(&id, site.version).and_then(|v| v.text));
        Box::pin(blocking(read))
    }

    fn reload(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.watch.reload())
    }
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(read)
        .await
        .map_err(io::Error::other)?
}

/// A call's turn in the thread: nobody else changes sites meanwhile.
struct Turn<'a> {
    loader: &'a mut Loader,
    published: &'a Published,
    directory: &'a mut Directory,
}

impl Turn<'_> {
    fn put(&mut self, write: &Write) -> Result<Written, WriteError> {
        let id = write.site.id.as_str();
        let max = self.directory.document_max();
        if write.text.len() as u64 > max {
            return Err(WriteError::TooLarge(max));
        }
        self.take_in(id, &BY_HAND.into(), Durability::Later);
        let table = self.published.table.load_full();
        let old = table.by_id(id);
        let found = old.map(|site| site.version);
        if !write.expected.is_met(found) {
            return Err(WriteError::moved(found));
        }
        let taken = match write.claims {
            Claims::All => table.taken(&write.site),
            Claims::Free => table.taken_or_covered(&write.site),
        };
        if !taken.is_empty() {
            let problem = |taken: &super::table::Taken| taken.problem("", &write.text);
            return Err(WriteError::Taken(Problems(
                taken.iter().map(problem).collect(),
            )));
        }
        let before = old.and_then(|site| self.loader.history.version(id, site.version));
        let before = before.and_then(|version| version.text);
        let means_the_same = old.is_some_and(|old| old.site == write.site);
        let is_the_same = before.as_ref() == Some(&write.text);
        let is_there = self.published.problems.read().get(id).is_none()
            && match write.form {
                Form::Meaning => means_the_same,
                Form::Text => is_the_same,
            };
        if !is_there && write.intent == Intent::Do {
            self.write(write)?;
        }
        Ok(Written {
            version: self.version(id).unwrap_or(0),
            is_new: found.is_none(),
            before,
        })
    }

    fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let id = write.site.id.as_str();
        if !self.loader.is_forgotten(id) {
            let message =
                "what was stored of the site of this id, now removed, could not be dropped yet";
            return Err(WriteError::Failed(message.into()));
        }
        let file = self.file(id);
        let text = write.text.as_bytes();
        let unwritten =
            |error: io::Error| WriteError::Failed(format!("it could not be written: {error}"));
        let prepared = durable::prepare(&file, text, Readers::Umask, Durability::Now);
        let prepared = prepared.map_err(unwritten)?;
        // That took as long as the disk takes. What a hand did meanwhile is taken in, so that it is in the history at least.
        self.take_in(id, &BY_HAND.into(), Durability::Later);
        let found = self.version(id);
        if !write.expected.is_met(found) {
            return Err(WriteError::moved(found));
        }
        let before = self.directory.content(id).ok();
        prepared.commit().map_err(unwritten)?;
        self.take_in(id, &write.by, Durability::Now);
        let table = self.published.table.load();
        if table.by_id(id).is_some_and(|new| new.site == write.site) {
            return Ok(());
        }
        let why = self.published.problems.read().get(id).cloned();
        let undone = match before {
            Some(before) => durable::replace(&file, &before, Readers::Umask, Durability::Now),
            None => durable::remove(&file),
        };
        self.take_in(id, &BY_HAND.into(), Durability::Later);
        let why = why.map_or_else(String::new, |problems| problems.to_string());
        Err(WriteError::Failed(match undone {
            Ok(()) => format!("it could not be brought into force: {why}"),
            Err(error) => format!("it is written but not in force: {why}; {error}"),
        }))
    }

    fn remove(&mut self, removal: &Removal) -> Result<(), WriteError> {
        let id = removal.id.as_str();
        self.take_in(id, &BY_HAND.into(), Durability::Later);
        let found = self.version(id);
        let is_refused = self.published.problems.read().contains_key(id);
        if found.is_none() && !is_refused {
            return Err(WriteError::Missing);
        }
        if !removal.expected.is_met(found) {
            return Err(WriteError::moved(found));
        }
        durable::remove(&self.file(id))
            .map_err(|error| WriteError::Failed(format!("it could not be removed: {error}")))?;
        self.take_in(id, &removal.by, Durability::Now);
        if self.loader.is_forgotten(id) {
            return Ok(());
        }
        let message =
            "it is removed; what it stored could not be dropped yet, which is tried again";
        Err(WriteError::Failed(message.into()))
    }

    /// Brings into force what the file of a site says.
    fn take_in(&mut self, id: &str, by: &Arc<str>, durability: Durability) {
        let changes = self
            .directory
            .look(Look::Names(BTreeSet::from([id.to_owned()])));
        self.loader.apply(Brought {
            changes,
            by,
            durability,
        });
    }

    fn version(&self, id: &str) -> Option<u64> {
        let table = self.published.table.load();
        table.by_id(id).map(|site| site.version)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.directory.path().join(format!("{id}.toml"))
    }
}
