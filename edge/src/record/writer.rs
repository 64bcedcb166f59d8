//! The writer of the access log: one thread, one bounded queue, one write for many lines.
//!
//! Requests append to a shared buffer and go on; the thread takes the whole buffer some times a second and writes it. A line costs a copy under
//! a short lock and, when the thread sleeps, one wake-up for all lines of the next moment. No lock is held while writing.
//! Whatever the file does (full, slow, gone), no request waits: what does not fit is counted and dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

/// How long lines may wait for others, to be written with them.
const LINGER: Duration = Duration::from_millis(50);

/// Bytes that end the waiting: a write of this size is worth its system call.
const ENOUGH: usize = 256 << 10;

/// Bytes of one line on average; a queue of longer ones is full before its number of lines.
const LINE_BYTES: usize = 2048;

#[derive(Debug)]
pub(super) struct LogWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// The thread waits here for lines.
    filled: Condvar,
    /// Who flushes waits here for the thread.
    written: Condvar,
    lines_max: usize,
    dropped: IntCounter,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    lines: usize,
    /// How many lines were ever added.
    added: u64,
    /// How many of them were written or dropped by the writer.
    done: u64,
    hurry: bool,
    reopen: bool,
    stop: bool,
}

impl LogWriter {
    /// Opens the log; `None` is standard output. At most `lines_max` lines wait.
    pub(super) fn open(
        path: Option<PathBuf>,
        lines_max: usize,
        dropped: IntCounter,
    ) -> io::Result<Self> {
        let output = Output::open(path)?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            lines_max,
            dropped,
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("jet9-access-log".into())
            .spawn(move || of_thread.run(output))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Adds a line, its line feed included; never waits for the file.
    pub(super) fn add(&self, line: &[u8]) {
        let shared = &self.shared;
        let mut queue = shared.queue.lock();
        if queue.lines >= shared.lines_max
            || queue.bytes.len() + line.len() > shared.lines_max.saturating_mul(LINE_BYTES)
        {
            drop(queue);
            shared.dropped.inc();
            return;
        }
        let wake = queue.bytes.is_empty() || queue.bytes.len() >= ENOUGH;
        queue.bytes.extend_from_slice(line);
        queue.lines += 1;
        queue.added += 1;
        drop(queue);
        if wake {
            shared.filled.notify_one();
        }
    }

    pub(super) fn reopen(&self) {
        self.shared.queue.lock().reopen = true;
        self.shared.filled.notify_one();
    }

    pub(super) fn flush(&self) {
        let mut queue = self.shared.queue.lock();
        let added = queue.added;
        while queue.done < added && !queue.stop {
            queue.hurry = true;
            self.shared.filled.notify_one();
            self.shared.written.wait(&mut queue);
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.queue.lock().stop = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, mut output: Output) {
        let mut batch = Vec::new();
        loop {
            let taken = self.take(&mut batch);
            if taken.reopen {
                output.reopen();
            }
            if !output.write(&batch) {
                self.dropped.inc_by(taken.lines as u64);
            }
            batch.clear();
            batch.shrink_to(2 * ENOUGH);
            self.queue.lock().done += taken.lines as u64;
            self.written.notify_all();
            if taken.stop {
                return;
            }
        }
    }

    /// Waits for lines and takes them all.
    fn take(&self, batch: &mut Vec<u8>) -> Queue {
        let mut queue = self.queue.lock();
        while queue.bytes.is_empty() && !queue.is_urgent() {
            self.filled.wait(&mut queue);
        }
        if queue.bytes.len() < ENOUGH && !queue.is_urgent() {
            self.filled.wait_for(&mut queue, LINGER);
        }
        std::mem::swap(batch, &mut queue.bytes);
        let taken = Queue {
            lines: queue.lines,
            reopen: queue.reopen,
            stop: queue.stop,
            ..Queue::default()
        };
        queue.lines = 0;
        queue.hurry = false;
        queue.reopen = false;
        taken
    }
}

impl Queue {
    const fn is_urgent(&self) -> bool {
        self.hurry || self.reopen || self.stop
    }
}

/// Where lines go, and whether that works.
struct Output {
    path: Option<PathBuf>,
    file: Option<File>,
    failing: bool,
}

impl Output {
    fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let file = path.as_deref().map(append_to).transpose()?;
        Ok(Self {
            path,
            file,
            failing: false,
        })
    }

    /// The file of the same name, which may be another now. When it cannot be opened, the old one goes on.
    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append_to(path) {
            Ok(file) => self.file = Some(file),
            Err(error) => log::error!("{}: {error}; the old file goes on", path.display()),
        }
    }

    /// Writes a batch; whether it was written. A failure is told once until it ends.
    fn write(&mut self, batch: &[u8]) -> bool {
        if batch.is_empty() {
            return true;
        }
        let written = match &mut self.file {
            Some(file) => file.write_all(batch),
            None => write_to_stdout(batch),
        };
        if let Err(error) = &written
            && !self.failing
        {
            log::error!("the access log cannot be written, lines are dropped: {error}");
        }
        self.failing = written.is_err();
        written.is_ok()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn write_to_stdout(batch: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(batch)?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "Dropped.").expect("a counter")
    }

    #[test]
    fn lines_are_written_in_order_and_a_reopened_file_gets_the_later_ones() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("access.log");
        let moved = directory.path().join("access.log.1");
        let writer = LogWriter::open(Some(path.clone()), 10, counter()).expect("open");
        writer.add(b"one\n");
        writer.add(b"two\n");
        writer.flush();
        assert_eq!(fs::read_to_string(&path).expect("read"), "one\ntwo\n");
        fs::rename(&path, &moved).expect("rename");
        writer.reopen();
        writer.add(b"three\n");
        drop(writer);
        assert_eq!(fs::read_to_string(&moved).expect("read"), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).expect("read"), "three\n");
    }

    #[test]
    fn what_does_not_fit_is_counted_and_dropped() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("access.log");
        let dropped = counter();
        let writer = LogWriter::open(Some(path.clone()), 0, dropped.clone()).expect("open");
        writer.add(b"one\n");
        drop(writer);
        assert_eq!(dropped.get(), 1);
        assert_eq!(fs::read_to_string(&path).expect("read"), "");
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let dropped = counter();
        let full = Some(PathBuf::from("/dev/full"));
        let writer = LogWriter::open(full, 10, dropped.clone()).expect("open");
        writer.add(b"one\n");
        writer.flush();
        writer.add(b"two\n");
        writer.flush();
        assert_eq!(dropped.get(), 2);
    }
}
