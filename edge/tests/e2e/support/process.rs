//! A child process: its words are kept, and it never outlives its owner.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use super::wait::until;

/// The lines of one stream so far.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

/// A running, or ended, child.
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) out: Lines,
    pub(crate) err: Lines,
    input: Mutex<ChildStdin>,
    child: Mutex<Child>,
}

impl Lines {
    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// The first line that `pick` takes.
    pub(crate) fn find<T>(&self, pick: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.0.lock().iter().find_map(|line| pick(line))
    }

    /// Whether a line contains `text`.
    pub(crate) fn contain(&self, text: &str) -> bool {
        self.find(|line| line.contains(text).then_some(()))
            .is_some()
    }

    fn follow(&self, stream: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.0);
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.lock().push(text);
                line.clear();
            }
        });
    }
}

impl Process {
    /// Starts it.
    pub(crate) fn spawn(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let (out, err) = (Lines::default(), Lines::default());
        out.follow(child.stdout.take().expect("piped"));
        err.follow(child.stderr.take().expect("piped"));
        Self {
            name: name.to_owned(),
            out,
            err,
            input: Mutex::new(child.stdin.take().expect("piped")),
            child: Mutex::new(child),
        }
    }

    /// Writes a line to its standard input, if it still reads.
    pub(crate) fn tell(&self, line: &str) {
        let _ = writeln!(self.input.lock(), "{line}");
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().try_wait().expect("our own child")
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&self, limit: Duration) -> ExitStatus {
        until(&format!("{} ends", self.name), limit, || self.ended())
    }

    /// Sends a signal, if it still runs.
    pub(crate) fn signal(&self, signal: Signal) {
        let mut child = self.child.lock();
        if child.try_wait().expect("our own child").is_none() {
            kill_process(pid_of(&child), signal).expect("our own child");
        }
    }

    /// Its number. It has not ended.
    pub(crate) fn pid(&self) -> Pid {
        pid_of(&self.child.lock())
    }

    /// Ends it as a power failure would.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock();
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// What it said, for the report of a failed test.
    pub(crate) fn words(&self) -> String {
        let tail = |lines: Vec<String>| {
            let from = lines.len().saturating_sub(TAIL_LINES);
            lines[from..].join("\n")
        };
        format!(
            "--- {} ({}), standard error:\n{}\n",
            self.name,
            self.ended()
                .map_or_else(|| "running".to_owned(), |s| s.to_string()),
            tail(self.err.all()),
        )
    }
}

fn pid_of(child: &Child) -> Pid {
    let pid = i32::try_from(child.id()).expect("a process id");
    Pid::from_raw(pid).expect("a process id")
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Lines of each process in a report.
const TAIL_LINES: usize = 60;
