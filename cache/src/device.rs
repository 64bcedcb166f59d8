//! Files as the store needs them: reads and writes of exact ranges, preallocation, durability.
//!
//! One trait, so that tests can make any single operation fail, cut it short or flip a bit. Blocking: called only by the store's own
//! threads and while it opens. Knows nothing of what the bytes mean.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::Errno;

/// Only the program's own user reads what it stores.
const MODE: u32 = 0o600;

/// An open file.
pub(crate) trait Device: Debug + Send + Sync {
    /// Fills `buffer` from `offset`, or fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, or fails; then any part of it may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written before is durable.
    fn sync(&self) -> io::Result<()>;
    /// Makes the file `bytes` long, with all its blocks; what is new reads as zeros.
    fn resize(&self, bytes: u64) -> io::Result<()>;
    /// How long the file is.
    fn length(&self) -> io::Result<u64>;
}

/// What opens files: the real one, or one that injects faults.
pub(crate) trait Opener: Debug + Send + Sync {
    /// Opens a file for reading and writing, making it if it is not there.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Device>>;
    /// Opens a file as [`Self::open`] and keeps every other process from doing the same until it is dropped.
    fn open_locked(&self, path: &Path) -> io::Result<Arc<dyn Device>>;
}

/// Opens real files.
#[derive(Debug)]
pub(crate) struct RealFiles;

impl Opener for RealFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        Ok(Arc::new(RealFile(open(path)?)))
    }

    fn open_locked(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        let file = open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            if error == Errno::WOULDBLOCK {
                io::Error::new(io::ErrorKind::WouldBlock, "another process uses it")
            } else {
                error.into()
            }
        })?;
        Ok(Arc::new(RealFile(file)))
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE);
    options.open(path)
}

#[derive(Debug)]
struct RealFile(File);

impl Device for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        if self.length()? > bytes {
            self.0.set_len(bytes)?;
        }
        match fallocate(&self.0, FallocateFlags::empty(), 0, bytes) {
            // A file system that cannot preallocate still serves; it may run full later.
            Err(Errno::OPNOTSUPP) => self.0.set_len(bytes),
            result => Ok(result?),
        }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Makes a rename in `directory` durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Fills an array with unpredictable bytes.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod faulty;
