//! The files of a watched directory: which are there, which changed since the last look, what they hold.
//!
//! Blocking file operations, called by the watch's thread and once at start. A file is told from its earlier self by device, inode, size and
//! both times; a name that inotify reported is read whatever its stamp says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of one document, unless another bound is set. A site with a thousand domains and a stub page of its own has less than 200 KiB.
pub(crate) const DOCUMENT_MAX: u64 = 1 << 20;

/// A directory of documents with one extension.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    extension: &'static str,
    document_max: u64,
    known: BTreeMap<String, Known>,
    identity: Option<Identity>,
    replaced: bool,
    /// Whether its failure was logged already.
    failing: bool,
}

/// What a look takes in.
#[derive(Debug)]
pub enum Look {
    /// Every file whose stamp changed, and those that are gone.
    Changed,
    /// Every file, changed or not, and those that are gone.
    Everything,
    /// These, changed or not.
    Names(BTreeSet<String>),
}

/// One document that changed.
#[derive(Debug)]
pub struct Change {
    /// Its file name without the extension.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// What became of it.
    pub content: Content,
}

/// What became of a document.
#[derive(Debug)]
pub enum Content {
    /// It reads so.
    Bytes(Vec<u8>),
    /// It is there but cannot be read.
    Unreadable(io::Error),
    /// It is no longer there.
    Gone,
}

/// What the last look at a file gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Read(Stamp),
    /// It is tried again at every look, and told of once: the process may have been out of descriptors for a moment.
    Failing(io::ErrorKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// What a file's metadata must differ in after any change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    identity: Identity,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Directory {
    /// A directory that is created when it is missing. Nothing of it counts as known.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn open(path: &Path, extension: &'static str) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self {
            path: path.to_owned(),
            extension,
            document_max: DOCUMENT_MAX,
            known: BTreeMap::new(),
            identity: Some(Identity::of(&fs::metadata(path)?)),
            replaced: false,
            failing: false,
        })
    }

    /// With another bound on the bytes of one document.
    pub const fn with_document_max(mut self, document_max: u64) -> Self {
        self.document_max = document_max;
        self
    }

    /// Bytes of one document; a larger one is unreadable.
    pub const fn document_max(&self) -> u64 {
        self.document_max
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its documents' names end with, after the dot.
    pub const fn extension(&self) -> &'static str {
        self.extension
    }

    /// Whether it could not be read at the last look around.
    pub const fn is_failing(&self) -> bool {
        self.failing
    }

    /// Whether another directory has taken its place since this was last asked.
    pub(super) fn was_replaced(&mut self) -> bool {
        let Ok(metadata) = fs::metadata(&self.path) else {
            return false;
        };
        let identity = Some(Identity::of(&metadata));
        if identity != self.identity {
            self.identity = identity;
            self.replaced = true;
            return true;
        }
        false
    }

    /// What a document holds, whether it changed or not. Waits for nobody: a pipe holds nothing, nor does what is too large to be a document.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn content(&self, name: &str) -> io::Result<Vec<u8>> {
        read_bounded(&self.file(name), self.document_max)
    }

    /// The documents that changed, in the order of their names.
    pub fn look(&mut self, look: Look) -> Vec<Change> {
        match look {
            Look::Names(names) => names
                .into_iter()
                .filter_map(|name| self.read(name))
                .collect(),
            Look::Changed => self.look_around(false),
            Look::Everything => self.look_around(true),
        }
    }

    fn look_around(&mut self, again: bool) -> Vec<Change> {
        let found = match self.names() {
            Ok(found) => found,
            Err(error) => {
                self.failed(&error);
                return Vec::new();
            }
        };
        if self.replaced && found.is_empty() && !self.known.is_empty() {
            self.failed(&io::Error::other("it was replaced by an empty directory"));
            return Vec::new();
        }
        self.replaced = false;
        self.failing = false;
        let gone = self.known.keys().filter(|name| !found.contains(*name));
        let names: BTreeSet<String> = gone.cloned().chain(found.iter().cloned()).collect();
        names
            .into_iter()
            .filter(|name| again || self.is_changed(name))
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|name| self.read(name))
            .collect()
    }

    fn failed(&mut self, error: &io::Error) {
        if !self.failing {
            log::error!("{}: {error}; what is in force stays", self.path.display());
        }
        self.failing = true;
    }

    fn names(&self) -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(document_name(&entry?.path(), self.extension));
        }
        Ok(names)
    }

    fn is_changed(&self, name: &str) -> bool {
        match fs::metadata(self.file(name)) {
            Ok(found) => self.known.get(name) != Some(&Known::Read(Stamp::of(&found))),
            // Gone, or a link that leads nowhere.
            Err(_) => true,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.{}", self.extension))
    }

    /// Reads one document; `None` when it is neither there nor known.
    fn read(&mut self, name: String) -> Option<Change> {
        let file = self.file(&name);
        let content = match read_stamped(&file, self.document_max) {
            Ok((stamp, bytes)) => {
                self.known.insert(name.clone(), Known::Read(stamp));
                Content::Bytes(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !file.is_symlink() => {
                self.known.remove(&name)?;
                Content::Gone
            }
            Err(error) => {
                let failing = Known::Failing(error.kind());
                if self.known.insert(name.clone(), failing) == Some(failing) {
                    return None;
                }
                Content::Unreadable(error)
            }
        };
        Some(Change {
            name,
            file,
            content,
        })
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            identity: Identity::of(metadata),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The name of a document's file without the extension; hidden files (editors' locks, temporary files) are none.
pub(super) fn document_name(path: &Path, extension: &str) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
    (!stem.is_empty() && !stem.starts_with('.')).then(|| stem.to_owned())
}

/// Reads a regular file of at most so many bytes, and waits for nobody: a pipe or a device is none.
///
/// # Errors
/// When it cannot be read, is none, or is larger.
pub(crate) fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    Ok(read_stamped(path, max)?.1)
}

/// The same with the stamp that it had before it was read: a change meanwhile shows at the next look.
fn read_stamped(path: &Path, max: u64) -> io::Result<(Stamp, Vec<u8>)> {
    let file = open_without_waiting(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.size()).unwrap_or(0).min(1 << 16));
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("larger than {max} bytes")));
    }
    Ok((Stamp::of(&metadata), bytes))
}

/// A pipe in the directory must not hold the thread until somebody writes to it.
fn open_without_waiting(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}
