//! Files that fail on demand: the n-th operation, and as many after it as asked for.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Device, Opener, RealFiles};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done.
    Error,
    /// Half of a write is done, then it fails; a read fails.
    Half,
    /// A bit of a volume is wrong, and nobody says so. Not of the journal: a wrong bit in its last slot looks like a torn write.
    Flip,
}

/// Opens real files and counts what is done to them.
#[derive(Debug)]
pub(crate) struct FaultyFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    fault: Fault,
    /// The first operation that fails, and the first that does not any more.
    from: u64,
    to: u64,
    count: AtomicU64,
}

impl FaultyFiles {
    pub(crate) fn new(fault: Fault, from: u64, many: u64) -> Self {
        let to = from.saturating_add(many);
        Self {
            shared: Arc::new(Shared {
                fault,
                from,
                to,
                count: AtomicU64::new(0),
            }),
        }
    }

    /// How many operations there were.
    pub(crate) fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    fn wrap(&self, path: &Path, device: Arc<dyn Device>) -> Arc<dyn Device> {
        let is_volume = path.ends_with("jet9.volume");
        Arc::new(FaultyFile {
            device,
            is_volume,
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Opener for FaultyFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        Ok(self.wrap(path, RealFiles.open(path)?))
    }

    fn open_locked(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        Ok(self.wrap(path, RealFiles.open_locked(path)?))
    }

    fn open_volume(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        Ok(self.wrap(path, RealFiles.open_volume(path)?))
    }
}

#[derive(Debug)]
struct FaultyFile {
    device: Arc<dyn Device>,
    is_volume: bool,
    shared: Arc<Shared>,
}

impl FaultyFile {
    fn fault(&self) -> Option<Fault> {
        let number = self.shared.count.fetch_add(1, Ordering::Relaxed);
        let fault = self.shared.fault;
        let is_hit = (self.shared.from..self.shared.to).contains(&number);
        (is_hit && (self.is_volume || fault != Fault::Flip)).then_some(fault)
    }
}

fn error() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

impl Device for FaultyFile {
    fn read_some(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.fault() {
            Some(Fault::Error | Fault::Half) => Err(error()),
            Some(Fault::Flip) => {
                let read = self.device.read_some(buffer, offset)?;
                if let Some(byte) = buffer.get_mut(read / 2) {
                    *byte ^= 1;
                }
                Ok(read)
            }
            None => self.device.read_some(buffer, offset),
        }
    }

    fn write_some(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        match self.fault() {
            Some(Fault::Error) => Err(error()),
            Some(Fault::Half) => {
                self.device.write_at(&bytes[..bytes.len() / 2], offset)?;
                Err(error())
            }
            Some(Fault::Flip) => {
                let mut wrong = bytes.to_vec();
                let middle = wrong.len() / 2;
                if let Some(byte) = wrong.get_mut(middle) {
                    *byte ^= 1;
                }
                self.device.write_some(&wrong, offset)
            }
            None => self.device.write_some(bytes, offset),
        }
    }

    fn sync(&self) -> io::Result<()> {
        match self.fault() {
            Some(Fault::Error | Fault::Half) => Err(error()),
            Some(Fault::Flip) | None => self.device.sync(),
        }
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        match self.fault() {
            Some(Fault::Error | Fault::Half) => Err(error()),
            Some(Fault::Flip) | None => self.device.resize(bytes),
        }
    }

    fn length(&self) -> io::Result<u64> {
        self.device.length()
    }
}
