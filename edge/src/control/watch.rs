//! What has changed in a directory of documents? The one watcher behind sites and cluster state.
//!
//! Used by `control::sites` (`*.toml`) and `control::mastership` (`*.json`). inotify wakes it; a look at every file's stamp each
//! [`WATCH_POLL`] stands beside it, for file systems without inotify and for events that were lost. Files are read here, whole and bounded;
//! what they mean is the business of the caller, who gets them in one thread, in the order of their names.
//! Knows no document. Invariant 6 begins here: a directory that cannot be read, or that was replaced by an empty one (a mount that is
//! gone), says nothing about its documents, so whatever is in force stays.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jet9_config::node::WATCH_POLL;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::oneshot;

use crate::clock;

mod directory;

pub use directory::{Change, Content, Directory, Look};
pub(crate) use directory::{DOCUMENT_MAX, read_bounded};

/// Wake-ups that wait for the thread. More are not lost: they become one look at everything.
const WAKES_MAX: usize = 1024;

/// How long a burst of changes may go on before it is taken in parts.
const BURST_MAX: Duration = Duration::from_millis(200);

/// A running watch. Dropping it ends its thread.
#[derive(Debug)]
pub struct Watch {
    wakes: SyncSender<Wake>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Wake {
    Name(String),
    Everything,
    Reload(oneshot::Sender<()>),
    Job(Job),
    Stop,
}

/// Something that is done in the watch's thread, between two looks.
struct Job(Box<dyn FnOnce(&mut Directory) + Send>);

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl Watch {
    /// Watches in a thread of this name and gives `apply` what changed, or an empty list at least once in [`WATCH_POLL`]. A burst is
    /// taken as one when its changes follow each other within `settle`.
    ///
    /// # Errors
    /// When the thread cannot be had. Without inotify it polls, and says so.
    pub fn spawn(
        name: &str,
        directory: Directory,
        settle: Duration,
        apply: impl FnMut(Vec<Change>) + Send + 'static,
    ) -> io::Result<Self> {
        let (wakes, woken) = sync_channel(WAKES_MAX);
        let missed = Arc::new(AtomicBool::new(false));
        let watcher = watcher(&directory, wakes.clone(), Arc::clone(&missed));
        let mut seer = Seer {
            directory,
            watcher,
            woken,
            missed,
            settle,
            apply,
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || seer.run())?;
        Ok(Self {
            wakes,
            thread: Some(thread),
        })
    }

    /// Reads every document again, changed or not, and waits until that is applied.
    pub async fn reload(&self) {
        let (done, applied) = oneshot::channel();
        let wakes = self.wakes.clone();
        let sent = tokio::task::spawn_blocking(move || wakes.send(Wake::Reload(done)).is_ok());
        if sent.await.unwrap_or(false) {
            // An error means that the thread ended: the process is stopping.
            let _ = applied.await;
        }
    }

    /// Does something in the watch's thread: no change is read or applied meanwhile. What it learns of a document by looking, it applies itself.
    /// `None` when the thread has ended: the process is stopping.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Directory) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job = Job(Box::new(move |directory| {
            // Whoever asked may have left; it is done all the same.
            let _ = done.send(job(directory));
        }));
        let wakes = self.wakes.clone();
        let sent = tokio::task::spawn_blocking(move || wakes.send(Wake::Job(job)).is_ok());
        match sent.await {
            Ok(true) => result.await.ok(),
            Ok(false) | Err(_) => None,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let stopped = self.wakes.send(Wake::Stop).is_ok();
        if let Some(thread) = self.thread.take()
            && stopped
        {
            let _ = thread.join();
        }
    }
}

/// The thread's own things.
struct Seer<F> {
    directory: Directory,
    watcher: Option<RecommendedWatcher>,
    woken: Receiver<Wake>,
    missed: Arc<AtomicBool>,
    settle: Duration,
    apply: F,
}

/// What one round is to do.
#[derive(Default)]
struct Round {
    names: BTreeSet<String>,
    everything: bool,
    stop: bool,
    reloads: Vec<oneshot::Sender<()>>,
    jobs: Vec<Job>,
}

impl Round {
    fn add(&mut self, wake: Wake) {
        match wake {
            Wake::Name(name) => {
                self.names.insert(name);
            }
            Wake::Everything => self.everything = true,
            Wake::Reload(done) => self.reloads.push(done),
            Wake::Job(job) => self.jobs.push(job),
            Wake::Stop => self.stop = true,
        }
    }

    fn is_urgent(&self) -> bool {
        self.stop || !self.reloads.is_empty() || !self.jobs.is_empty()
    }

    fn look(&mut self) -> Look {
        if !self.reloads.is_empty() {
            Look::Everything
        } else if self.everything {
            Look::Changed
        } else {
            Look::Names(std::mem::take(&mut self.names))
        }
    }
}

impl<F: FnMut(Vec<Change>)> Seer<F> {
    fn run(&mut self) {
        let mut polled = clock::monotonic();
        loop {
            let mut round = self.next_round(WATCH_POLL.saturating_sub(polled.elapsed()));
            if round.stop {
                return;
            }
            if polled.elapsed() >= WATCH_POLL || self.missed.swap(false, Ordering::AcqRel) {
                round.everything = true;
            }
            if round.everything {
                polled = clock::monotonic();
            }
            if round.everything || !round.reloads.is_empty() {
                self.follow_directory();
            }
            let changes = self.directory.look(round.look());
            (self.apply)(changes);
            for done in round.reloads {
                let _ = done.send(());
            }
            for Job(job) in round.jobs {
                job(&mut self.directory);
            }
        }
    }

    /// Waits for a wake-up, at most `wait`, and for the burst behind it to settle.
    fn next_round(&self, wait: Duration) -> Round {
        let mut round = Round::default();
        match self.woken.recv_timeout(wait) {
            Ok(wake) => round.add(wake),
            Err(RecvTimeoutError::Timeout) => return round,
            // Not while a `Watch` lives.
            Err(RecvTimeoutError::Disconnected) => round.stop = true,
        }
        let began = clock::monotonic();
        while !round.is_urgent() && began.elapsed() < BURST_MAX {
            match self.woken.recv_timeout(self.settle) {
                Ok(wake) => round.add(wake),
                Err(_) => break,
            }
        }
        round
    }

    /// The directory may have been replaced by another of the same name: then inotify looks at the old one. Without inotify it is asked for all
    /// the same: an empty one in its place says nothing.
    fn follow_directory(&mut self) {
        if self.directory.was_replaced()
            && let Some(watcher) = &mut self.watcher
        {
            let _ = watcher.unwatch(self.directory.path());
            if let Err(error) = watcher.watch(self.directory.path(), RecursiveMode::NonRecursive) {
                log::warn!("{}: polled only: {error}", self.directory.path().display());
            }
        }
    }
}

fn watcher(
    directory: &Directory,
    wakes: SyncSender<Wake>,
    missed: Arc<AtomicBool>,
) -> Option<RecommendedWatcher> {
    let filter = Filter {
        directory: directory.path().to_owned(),
        extension: directory.extension(),
    };
    let on_event = move |event: notify::Result<notify::Event>| {
        for wake in filter.wakes(event) {
            if let Err(TrySendError::Full(_)) = wakes.try_send(wake) {
                missed.store(true, Ordering::Release);
            }
        }
    };
    let made = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(directory.path(), RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    made.map_err(|error| log::warn!("{}: polled only: {error}", directory.path().display()))
        .ok()
}

/// Which events say that a document may be complete now.
struct Filter {
    directory: PathBuf,
    extension: &'static str,
}

impl Filter {
    fn wakes(&self, event: notify::Result<notify::Event>) -> Vec<Wake> {
        let Ok(event) = event else {
            return vec![Wake::Everything];
        };
        if event.need_rescan() {
            return vec![Wake::Everything];
        }
        let wake = |path: &PathBuf| self.wake(event.kind, path);
        event.paths.iter().filter_map(wake).collect()
    }

    fn wake(&self, kind: EventKind, path: &Path) -> Option<Wake> {
        let complete = match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_) => true,
            // A file that is being written ends with a close; a link is complete at once.
            EventKind::Create(_) => path.is_symlink(),
            EventKind::Access(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => {
                false
            }
        };
        if !complete {
            return None;
        }
        if let Some(name) = directory::document_name(path, self.extension) {
            return Some(Wake::Name(name));
        }
        // Whole sets of documents are swapped by renaming a link beside them; temporary files are renamed *from* such names.
        let swapped = matches!(kind, EventKind::Modify(ModifyKind::Name(RenameMode::To)));
        (swapped || path == self.directory).then_some(Wake::Everything)
    }
}

#[cfg(test)]
mod tests;
