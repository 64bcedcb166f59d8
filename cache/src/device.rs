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

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock, fstatfs};
use rustix::io::Errno;

use crate::io::{Mode, Options};

/// The file system that lives in memory: it takes the flag for direct I/O and ignores it.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// Only the program's own user reads what it stores.
const MODE: u32 = 0o600;

/// An open file.
pub(crate) trait Device: Debug + Send + Sync {
    /// Reads some of what is at `offset`, and says how much; nothing at the end of the file.
    fn read_some(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of `bytes` at `offset`, and says how much.
    fn write_some(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Returns when everything written before is durable.
    fn sync(&self) -> io::Result<()>;
    /// Makes the file `bytes` long, with all its blocks; what is new reads as zeros.
    fn resize(&self, bytes: u64) -> io::Result<()>;
    /// How long the file is.
    fn length(&self) -> io::Result<u64>;

    /// Whether the page cache takes part. Direct I/O wants everything aligned.
    fn mode(&self) -> Mode {
        Mode::Buffered
    }

    /// The file of the system, where there is one.
    fn file(&self) -> Option<&Arc<File>> {
        None
    }

    /// Fills `buffer` from `offset`, or fails.
    fn read_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match retried(self.read_some(buffer, offset))? {
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(read) => {
                    buffer = &mut buffer[read..];
                    offset += read as u64;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`, or fails; then any part of it may have been written.
    fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match retried(self.write_some(bytes, offset))? {
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// `None` when it was only interrupted.
fn retried(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// What opens files: the real one, or one that injects faults.
pub(crate) trait Opener: Debug + Send + Sync {
    /// Opens a file for reading and writing, making it if it is not there.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Device>>;
    /// Opens a file as [`Self::open`] and keeps every other process from doing the same until it is dropped.
    fn open_locked(&self, path: &Path) -> io::Result<Arc<dyn Device>>;
    /// Opens a file as [`Self::open_locked`], without the page cache where the file system can do that.
    fn open_volume(&self, path: &Path) -> io::Result<Arc<dyn Device>>;
    /// How a volume's file is read and written.
    fn options(&self) -> Options {
        Options::default()
    }
    /// Whether there is a file of this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Gives a file another name, in place of one that has it; durable after [`Self::sync_directory`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes what was renamed in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// Opens real files.
#[derive(Debug)]
pub(crate) struct RealFiles;

impl Opener for RealFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        Ok(Arc::new(RealFile::new(open(path, OFlags::empty())?)))
    }

    fn open_locked(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        let file = open(path, OFlags::empty())?;
        lock(&file)?;
        Ok(Arc::new(RealFile::new(file)))
    }

    fn open_volume(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        let file = open_direct(path)?;
        lock(&file.file)?;
        Ok(Arc::new(file))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

/// Opens a file without the page cache where the file system can do that; locks nothing.
fn open_direct(path: &Path) -> io::Result<RealFile> {
    let file = match open(path, OFlags::DIRECT) {
        Err(error) if is_unknown(&error) => return Ok(RealFile::new(open(path, OFlags::empty())?)),
        file => file?,
    };
    let is_in_memory =
        fstatfs(&file).is_ok_and(|system| u64::try_from(system.f_type) == Ok(TMPFS_MAGIC));
    let mode = if is_in_memory {
        Mode::Buffered
    } else {
        Mode::Direct
    };
    Ok(RealFile {
        mode,
        ..RealFile::new(file)
    })
}

/// The same for a bench, beside a store that has it open.
pub(crate) fn open_beside(path: &Path) -> io::Result<Arc<dyn Device>> {
    Ok(Arc::new(open_direct(path)?))
}

/// Whether a file system says that it knows no direct I/O.
fn is_unknown(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::OPNOTSUPP)
    )
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .custom_flags(flags.bits().cast_signed());
    options.open(path)
}

fn lock(file: &File) -> io::Result<()> {
    flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        if error == Errno::WOULDBLOCK {
            io::Error::new(io::ErrorKind::WouldBlock, "another process uses it")
        } else {
            error.into()
        }
    })
}

#[derive(Debug)]
struct RealFile {
    file: Arc<File>,
    mode: Mode,
}

impl RealFile {
    fn new(file: File) -> Self {
        Self {
            file: Arc::new(file),
            mode: Mode::Buffered,
        }
    }
}

impl Device for RealFile {
    fn read_some(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_some(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        if self.length()? > bytes {
            self.file.set_len(bytes)?;
        }
        match fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
            // A file system that cannot preallocate still serves; it may run full later.
            Err(Errno::OPNOTSUPP) => self.file.set_len(bytes),
            result => Ok(result?),
        }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn file(&self) -> Option<&Arc<File>> {
        Some(&self.file)
    }
}

/// Opens real files whose volumes are read and written as one is told.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct RealFilesWith(pub(crate) Options);

#[cfg(test)]
impl Opener for RealFilesWith {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        RealFiles.open(path)
    }

    fn open_locked(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        RealFiles.open_locked(path)
    }

    fn open_volume(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        RealFiles.open_volume(path)
    }

    fn options(&self) -> Options {
        self.0
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealFiles.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        RealFiles.sync_directory(directory)
    }
}

/// Opens a file that is there for reading alone.
pub(crate) fn open_to_read(path: &Path) -> io::Result<Arc<dyn Device>> {
    let file = Arc::new(File::open(path)?);
    let mode = Mode::Buffered;
    Ok(Arc::new(RealFile { file, mode }))
}

/// Fills an array with unpredictable bytes.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) mod simulated;
