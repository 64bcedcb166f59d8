//! Files that are there whole or not at all, whatever happens while they are written.
//!
//! Used by what the control plane keeps: site documents, their history, tokens, certificates. A new text is written beside the old one, brought
//! to the disk, and takes its name at once; what is left over by a crash is hidden (a leading dot) and overwritten by the next attempt.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// When a written file must be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// When the call returns.
    Now,
    /// When the system writes it; until then a loss of power may take it.
    Later,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Whoever the process' umask lets.
    Umask,
    /// Its owner.
    Owner,
}

/// Replaces a file, or makes it.
///
/// # Errors
/// What the system said; the old file is there then, except when only the directory could not be brought to the disk.
pub(crate) fn replace(
    path: &Path,
    content: &[u8],
    readers: Readers,
    durability: Durability,
) -> io::Result<()> {
    prepare(path, content, readers, durability)?.commit()
}

/// A text on the disk that has not taken its name yet. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Prepared<'p> {
    path: &'p Path,
    temporary: PathBuf,
    durability: Durability,
    is_there: bool,
}

/// Writes a text beside the file that it is to replace: all that takes long of [`replace`].
///
/// # Errors
/// What the system said.
pub(crate) fn prepare<'p>(
    path: &'p Path,
    content: &[u8],
    readers: Readers,
    durability: Durability,
) -> io::Result<Prepared<'p>> {
    let (_, temporary) = beside(path)?;
    let mode = match readers {
        Readers::Umask => 0o666,
        Readers::Owner => 0o600,
    };
    // One that a crash left may have other permissions.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    let prepared = Prepared {
        path,
        temporary,
        durability,
        is_there: true,
    };
    file.write_all(content)?;
    if durability == Durability::Now {
        file.sync_all()?;
    }
    Ok(prepared)
}

impl Prepared<'_> {
    /// Takes the name.
    ///
    /// # Errors
    /// As [`replace`].
    pub(crate) fn commit(mut self) -> io::Result<()> {
        std::fs::rename(&self.temporary, self.path)?;
        self.is_there = false;
        let (directory, _) = beside(self.path)?;
        match self.durability {
            Durability::Now => File::open(directory)?.sync_all(),
            Durability::Later => Ok(()),
        }
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        if self.is_there {
            // What is left is hidden, and overwritten by the next attempt.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Removes a file; durable when it returns. One that is not there is removed.
///
/// # Errors
/// What the system said.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let (directory, _) = beside(path)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::open(directory)?.sync_all()
}

fn beside(path: &Path) -> io::Result<(&Path, PathBuf)> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = format!(".{}.tmp", name.to_string_lossy());
    Ok((directory, directory.join(temporary)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_removed_twice() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("x.toml");
        std::fs::write(place.path().join(".x.toml.tmp"), "left over").expect("write");
        for text in ["one", "two"] {
            replace(&path, text.as_bytes(), Readers::Owner, Durability::Now).expect("written");
            assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
        }
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(place.path()).expect("there").count(), 1);
        drop(prepare(&path, b"three", Readers::Owner, Durability::Now).expect("written"));
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "two");
        assert_eq!(std::fs::read_dir(place.path()).expect("there").count(), 1);
        remove(&path).expect("removed");
        remove(&path).expect("nothing to do");
        assert!(!path.exists());
    }
}
