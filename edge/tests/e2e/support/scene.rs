//! The frame of a test: a directory of its own, an overall deadline, and the processes that end with it.
//!
//! The play runs on its own thread. If it is not over by the deadline its processes are killed, which makes whatever it waits for fail, and
//! the test fails. Whatever a play is about, no process may have panicked in it (invariant 7).

use std::any::Any;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::process::Process;

/// What a play may use.
pub(crate) struct Scene {
    dir: Arc<TempDir>,
    processes: Arc<Mutex<Vec<Arc<Process>>>>,
}

/// Plays a test within `limit`.
pub(crate) fn scene(limit: Duration, play: impl FnOnce(&Scene) + Send + 'static) {
    if let Err(failure) = attempt(limit, play) {
        eprintln!("{}", failure.words);
        std::panic::resume_unwind(failure.reason);
    }
}

/// Why a play failed.
pub(crate) struct Failure {
    /// What it panicked with.
    pub(crate) reason: Box<dyn Any + Send>,
    /// What its processes said.
    pub(crate) words: String,
}

/// As [`scene`], for those who tell of failures themselves.
pub(crate) fn attempt(
    limit: Duration,
    play: impl FnOnce(&Scene) + Send + 'static,
) -> Result<(), Failure> {
    let scene = Scene {
        dir: Arc::new(TempDir::with_prefix("jet9-e2e-").expect("a directory")),
        processes: Arc::default(),
    };
    // The directory outlives the processes.
    let (_dir, processes) = (Arc::clone(&scene.dir), Arc::clone(&scene.processes));
    let (over, is_over) = mpsc::channel::<()>();
    let actor = thread::spawn(move || {
        let _over = over;
        play(&scene);
    });
    let in_time = !matches!(is_over.recv_timeout(limit), Err(RecvTimeoutError::Timeout));
    if !in_time {
        processes.lock().iter().for_each(|process| process.kill());
        return Err(Failure {
            reason: Box::new(format!("the play was not over within {limit:?}")),
            words: words(&processes),
        });
    }
    let outcome = actor.join();
    let words = words(&processes);
    let processes = std::mem::take(&mut *processes.lock());
    outcome
        .and_then(|()| panics(&processes).map_or(Ok(()), |told| Err(Box::new(told) as _)))
        .map_err(|reason| Failure { reason, words })
}

impl Scene {
    /// The directory of this test.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a process that ends with the scene.
    pub(crate) fn spawn(&self, name: &str, command: &mut Command) -> Arc<Process> {
        spawn(&self.processes, name, command)
    }

    /// For those who start processes again and again.
    pub(crate) fn stage(&self) -> Stage {
        Stage(Arc::downgrade(&self.processes))
    }
}

/// A handle to the scene's processes.
#[derive(Clone)]
pub(crate) struct Stage(Weak<Mutex<Vec<Arc<Process>>>>);

impl Stage {
    /// As [`Scene::spawn`].
    pub(crate) fn spawn(&self, name: &str, command: &mut Command) -> Arc<Process> {
        spawn(&self.0.upgrade().expect("the scene lasts"), name, command)
    }
}

fn spawn(processes: &Mutex<Vec<Arc<Process>>>, name: &str, command: &mut Command) -> Arc<Process> {
    let process = Arc::new(Process::spawn(name, command));
    processes.lock().push(Arc::clone(&process));
    process
}

fn words(processes: &Mutex<Vec<Arc<Process>>>) -> String {
    let processes = processes.lock();
    processes.iter().map(|process| process.words()).collect()
}

/// That a process panicked, if one did.
fn panics(processes: &[Arc<Process>]) -> Option<String> {
    let of = |process: &Arc<Process>| {
        let is_it = |line: &str| line.contains("panicked at").then(|| line.to_owned());
        let line = process.err.find(is_it)?;
        Some(format!("{} panicked: {line}", process.name))
    };
    processes.iter().find_map(of)
}
