//! The highest epoch ever adopted of each cluster, and what it said, in a file that survives everything but the disk.
//!
//! Read at start, written by a thread of its own before a new epoch is acted on: a disk that hangs must not stop the follower. Written whole:
//! temporary file, fsync, rename, fsync of the directory. Epochs only grow, and a cluster is left out only once it is forgotten.
//! What the disk refused is tried again by whoever calls [`Epochs::retry`], which waits for nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use jet9_cluster::Highest;
use jet9_config::ClusterId;
use serde_json::Value;

use super::StartError;

/// How long the writing of epochs may hold up a switch. After that the edge follows without it (and says so): availability must not hang on
/// a disk, and the old side is not sent to anyway.
const WRITE_WAIT: Duration = Duration::from_secs(1);

/// The epochs and the way to write them down.
#[derive(Debug)]
pub(super) struct Epochs {
    highest: BTreeMap<ClusterId, Highest>,
    jobs: SyncSender<Job>,
    /// Counts what was noted.
    noted: u64,
    /// How much of it the file has.
    written: u64,
    /// What the thread was given last: up to where, and what came of it.
    under_way: Option<(u64, Receiver<io::Result<()>>)>,
}

#[derive(Debug)]
struct Job {
    text: Vec<u8>,
    done: SyncSender<io::Result<()>>,
}

impl Epochs {
    /// Reads the file; none is as good as an empty one.
    pub(super) fn open(path: &Path) -> Result<Self, StartError> {
        let failed = |message: String| StartError::Epochs {
            path: path.display().to_string(),
            message,
        };
        let highest = match std::fs::read(path) {
            Ok(text) => parse(&text).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(error.to_string())),
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| failed(error.to_string()))?;
        }
        // One waits while one is written: the newest has all that older ones had.
        let (jobs, received) = sync_channel(1);
        let path = path.to_owned();
        std::thread::Builder::new()
            .name("jet9-epochs".into())
            .spawn(move || write_all(&path, &received))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            highest,
            jobs,
            noted: 0,
            written: 0,
            under_way: None,
        })
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Highest> {
        self.highest.values()
    }

    /// Notes what a view wants to outlive the process; [`Self::persist`] writes it down.
    pub(super) fn note(&mut self, record: Highest) {
        if self.highest.get(&record.cluster) != Some(&record) {
            self.highest.insert(record.cluster.clone(), record);
            self.noted += 1;
        }
    }

    /// Leaves a cluster out from now on: its store proved that it was deleted, or the operator said so.
    pub(super) fn forget(&mut self, cluster: &ClusterId) {
        self.noted += u64::from(self.highest.remove(cluster).is_some());
    }

    /// Writes down what was noted.
    ///
    /// # Errors
    /// When the disk refuses or takes longer than [`WRITE_WAIT`]. What was noted is written by a later call, of this or [`Self::retry`].
    pub(super) fn persist(&mut self) -> io::Result<()> {
        // What the thread has had since an earlier call was waited for then.
        let wait = if self.begin()? {
            WRITE_WAIT
        } else {
            Duration::ZERO
        };
        self.settle(wait)
    }

    /// Tries again what was not written, without waiting for it: what comes of it is told by the next call.
    ///
    /// # Errors
    /// As long as the file lacks something.
    pub(super) fn retry(&mut self) -> io::Result<()> {
        let told = self.settle(Duration::ZERO);
        if told.is_err() {
            let _ = self.begin()?;
        }
        told
    }

    /// Gives the thread what the file lacks, unless it has just that; says whether it did.
    fn begin(&mut self) -> io::Result<bool> {
        let newest = self.under_way.as_ref().map(|(noted, _)| *noted);
        if self.noted == self.written || newest == Some(self.noted) {
            return Ok(false);
        }
        let (done, told) = sync_channel(1);
        let text = print(&self.highest);
        let given = self.jobs.try_send(Job { text, done });
        given.map_err(|error| busy(&error))?;
        self.under_way = Some((self.noted, told));
        Ok(true)
    }

    /// Waits for what is under way.
    fn settle(&mut self, wait: Duration) -> io::Result<()> {
        if self.noted == self.written {
            return Ok(());
        }
        let Some((noted, told)) = self.under_way.take() else {
            return Err(busy(&RecvTimeoutError::Disconnected));
        };
        match told.recv_timeout(wait) {
            Ok(written) => written?,
            Err(error) => {
                self.under_way = Some((noted, told)).filter(|_| error == RecvTimeoutError::Timeout);
                return Err(busy(&error));
            }
        }
        self.written = noted;
        if noted == self.noted {
            return Ok(());
        }
        Err(busy(&RecvTimeoutError::Timeout))
    }
}

fn busy(error: &dyn std::fmt::Display) -> io::Error {
    let message = format!("the disk takes too long ({error})");
    io::Error::new(io::ErrorKind::TimedOut, message)
}

fn write_all(path: &Path, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        // Nobody waits any more when it took too long; the next one brings the same.
        let _ = job.done.try_send(replace(path, &job.text));
    }
}

/// Replaces a file so that after any crash it is whole, the old or the new.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = PathBuf::from(format!("{}.tmp", path.display()));
    let mut file = File::create(&temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// One record a line, so that a human can read the file too.
fn print(highest: &BTreeMap<ClusterId, Highest>) -> Vec<u8> {
    let records: Vec<String> = highest.values().map(Highest::to_json).collect();
    format!("{{\"v\":1,\"clusters\":[\n{}\n]}}\n", records.join(",\n")).into_bytes()
}

fn parse(text: &[u8]) -> Result<BTreeMap<ClusterId, Highest>, String> {
    let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if value.get("v") != Some(&Value::from(1)) {
        return Err("/v: not 1".into());
    }
    let records = value.get("clusters").and_then(Value::as_array);
    let records = records.ok_or("/clusters: missing, or not an array")?;
    let one = |(index, record): (usize, &Value)| {
        let record = Highest::parse(record.to_string().as_bytes())
            .map_err(|e| format!("/clusters/{index}{}: {}", e.pointer, e.message))?;
        Ok((record.cluster.clone(), record))
    };
    records.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cluster: &str, epoch: u64) -> Highest {
        Highest {
            cluster: ClusterId::parse(cluster).expect("an id"),
            epoch: jet9_cluster::Epoch(epoch),
            incarnation: None,
            phase: None,
            conflict: false,
            losses: jet9_cluster::Losses::default(),
        }
    }

    #[test]
    fn what_was_persisted_is_read_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("data/epochs.json");
        let mut epochs = Epochs::open(&path).expect("none is as good as empty");
        epochs.note(record("c1", 41));
        epochs.note(record("c2", 7));
        epochs.note(record("c1", 42));
        epochs.persist().expect("a good disk");
        let again = Epochs::open(&path).expect("it was written");
        let read: Vec<_> = again.records().cloned().collect();
        assert_eq!(read, [record("c1", 42), record("c2", 7)]);
    }

    #[test]
    fn a_broken_file_is_refused_with_the_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("epochs.json");
        let check = |text: &str, expected: &str| {
            std::fs::write(&path, text).expect("write");
            let error = Epochs::open(&path).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("", "EOF");
        check("{\"v\":1,", "line 1 column 7");
        check(r#"{"v":2,"clusters":[]}"#, "/v: not 1");
        check(r#"{"v":1}"#, "/clusters: missing");
        check(
            r#"{"v":1,"clusters":[{"v":1,"cluster":"c","epoch":-1,"conflict":false}]}"#,
            "/clusters/0/epoch: ",
        );
    }

    #[test]
    fn what_the_disk_refused_is_written_by_the_next_call() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("data/epochs.json");
        let mut epochs = Epochs::open(&path).expect("empty");
        std::fs::remove_dir(directory.path().join("data")).expect("remove");
        epochs.note(record("c1", 1));
        epochs.persist().expect_err("there is no directory");
        std::fs::create_dir(directory.path().join("data")).expect("create");
        epochs.persist().expect("a good disk");
        assert_eq!(Epochs::open(&path).expect("written").records().count(), 1);
    }

    #[test]
    fn a_disk_that_hangs_is_waited_for_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("epochs.json");
        let mut epochs = Epochs::open(&path).expect("empty");
        // To open a pipe hangs until somebody reads from it.
        let pipe = directory.path().join("epochs.json.tmp");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).expect("a pipe");
        epochs.note(record("c1", 1));
        epochs.persist().expect_err("it hangs");
        #[expect(clippy::disallowed_methods, reason = "a real thread is waited for")]
        let began = std::time::Instant::now();
        epochs.persist().expect_err("it hangs still");
        assert!(began.elapsed() < WRITE_WAIT);
        drop(File::open(&pipe).expect("a reader"));
    }

    #[test]
    fn what_the_disk_refused_is_tried_again_without_waiting_for_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("data/epochs.json");
        let mut epochs = Epochs::open(&path).expect("empty");
        epochs.retry().expect("there is nothing to write");
        std::fs::remove_dir(directory.path().join("data")).expect("remove");
        epochs.note(record("c1", 1));
        epochs.persist().expect_err("there is no directory");
        let told = std::iter::repeat_with(|| epochs.retry().expect_err("still none"));
        let refused = |told: &io::Error| told.kind() == io::ErrorKind::NotFound;
        assert_eq!(told.into_iter().filter(refused).take(2).count(), 2);
        std::fs::create_dir(directory.path().join("data")).expect("create");
        epochs.note(record("c1", 2));
        while epochs.retry().is_err() {
            std::thread::yield_now();
        }
        let again = Epochs::open(&path).expect("written");
        let read: Vec<_> = again.records().cloned().collect();
        assert_eq!(read, [record("c1", 2)]);
    }
}
