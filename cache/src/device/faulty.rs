//! Files that fail on demand: the n-th operation, and as many after it as asked for.
//!
//! Over any other files, real or simulated. Used by the sweeps of `store`, the journal's tests and those of `io`.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

use crate::io::{Mode, Options};

use super::{Device, Opener, RealFiles};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done.
    Error,
    /// Nothing is done, because there is no room; reads fail as with [`Self::Error`].
    NoSpace,
    /// Half of a write is done, then it fails; a read fails.
    Half,
    /// Half of it is done, and said so.
    Short,
    /// A bit is wrong, and nobody says so.
    Flip,
    /// It is done, after a long time.
    Delay(Duration),
}

/// Opens files and counts what is done to them.
#[derive(Debug)]
pub(crate) struct FaultyFiles {
    files: Arc<dyn Opener>,
    options: Options,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    fault: Fault,
    /// The first operation that fails, and the first that does not any more.
    from: AtomicU64,
    to: AtomicU64,
    count: AtomicU64,
    /// Ends delays.
    ended: Mutex<bool>,
    changed: Condvar,
}

impl FaultyFiles {
    pub(crate) fn new(fault: Fault, from: u64, many: u64) -> Self {
        Self::over(Arc::new(RealFiles), fault, from, many)
    }

    pub(crate) fn over(files: Arc<dyn Opener>, fault: Fault, from: u64, many: u64) -> Self {
        let to = from.saturating_add(many);
        Self {
            options: files.options(),
            files,
            shared: Arc::new(Shared {
                fault,
                from: AtomicU64::new(from),
                to: AtomicU64::new(to),
                count: AtomicU64::new(0),
                ended: Mutex::new(false),
                changed: Condvar::new(),
            }),
        }
    }

    /// The same, read and written in another way.
    pub(crate) fn with(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// The next so many operations fail, and no others.
    pub(crate) fn fail_next(&self, many: u64) {
        let count = self.count();
        self.shared.from.store(count, Ordering::Relaxed);
        let to = count.saturating_add(many);
        self.shared.to.store(to, Ordering::Relaxed);
    }

    /// How many operations there were.
    pub(crate) fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Lets what is delayed go on, now and from now on.
    pub(crate) fn end_delays(&self) {
        *self.shared.ended.lock() = true;
        self.shared.changed.notify_all();
    }

    fn wrap(&self, device: Arc<dyn Device>) -> Arc<dyn Device> {
        Arc::new(FaultyFile {
            device,
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Opener for FaultyFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        Ok(self.wrap(self.files.open(path)?))
    }

    fn open_locked(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        Ok(self.wrap(self.files.open_locked(path)?))
    }

    fn open_volume(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        Ok(self.wrap(self.files.open_volume(path)?))
    }

    fn options(&self) -> Options {
        self.options
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.files.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.files.sync_directory(directory)
    }
}

#[derive(Debug)]
struct FaultyFile {
    device: Arc<dyn Device>,
    shared: Arc<Shared>,
}

impl FaultyFile {
    /// Counts an operation, waits if it is delayed, and says how else it fails.
    fn fault(&self) -> Option<Fault> {
        let number = self.shared.count.fetch_add(1, Ordering::Relaxed);
        let fault = self.shared.fault;
        let from = self.shared.from.load(Ordering::Relaxed);
        let is_hit = (from..self.shared.to.load(Ordering::Relaxed)).contains(&number);
        if let (true, Fault::Delay(delay)) = (is_hit, fault) {
            let mut ended = self.shared.ended.lock();
            let is_delayed = |ended: &mut bool| !*ended;
            self.shared
                .changed
                .wait_while_for(&mut ended, is_delayed, delay);
            return None;
        }
        is_hit.then_some(fault)
    }
}

fn error(fault: Option<Fault>) -> io::Error {
    match fault {
        Some(Fault::NoSpace) => Errno::NOSPC.into(),
        _ => Errno::IO.into(),
    }
}

/// Half of it, in whole sectors if there are several: no device does less.
const fn half(length: usize) -> usize {
    match length / 2 {
        half @ 512.. => half / 512 * 512,
        half => half,
    }
}

impl Device for FaultyFile {
    fn read_some(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.fault() {
            Some(Fault::Error | Fault::Half | Fault::NoSpace) => Err(error(None)),
            Some(Fault::Short) => {
                let half = half(buffer.len()).max(1);
                self.device.read_some(&mut buffer[..half], offset)
            }
            Some(Fault::Flip) => {
                let read = self.device.read_some(buffer, offset)?;
                if let Some(byte) = buffer.get_mut(read / 2) {
                    *byte ^= 1;
                }
                Ok(read)
            }
            Some(Fault::Delay(_)) | None => self.device.read_some(buffer, offset),
        }
    }

    fn write_some(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        match self.fault() {
            fault @ Some(Fault::Error | Fault::NoSpace) => Err(error(fault)),
            Some(Fault::Half) => {
                self.device.write_at(&bytes[..half(bytes.len())], offset)?;
                Err(error(None))
            }
            Some(Fault::Short) => {
                let half = half(bytes.len()).max(1);
                self.device.write_some(&bytes[..half], offset)
            }
            Some(Fault::Flip) => {
                let mut wrong = bytes.to_vec();
                let middle = wrong.len() / 2;
                if let Some(byte) = wrong.get_mut(middle) {
                    *byte ^= 1;
                }
                self.device.write_some(&wrong, offset)
            }
            Some(Fault::Delay(_)) | None => self.device.write_some(bytes, offset),
        }
    }

    fn sync(&self) -> io::Result<()> {
        match self.fault() {
            fault @ Some(Fault::Error | Fault::Half | Fault::NoSpace) => Err(error(fault)),
            Some(Fault::Flip | Fault::Short | Fault::Delay(_)) | None => self.device.sync(),
        }
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        match self.fault() {
            fault @ Some(Fault::Error | Fault::Half | Fault::NoSpace) => Err(error(fault)),
            Some(Fault::Flip | Fault::Short | Fault::Delay(_)) | None => self.device.resize(bytes),
        }
    }

    fn length(&self) -> io::Result<u64> {
        self.device.length()
    }

    fn mode(&self) -> Mode {
        self.device.mode()
    }
}
