//! The last document of each cluster in a file of its own, for a start while the store is away.
//!
//! Written by a thread of its own after a document came into force: nothing waits for it, a disk that hangs costs two texts a cluster, and what
//! one refuses is tried again as epochs are, and keeps no other cluster's waiting. Read by
//! [`super::etcd`] only when no member answered at the start. One file a cluster under `<data_dir>/clusters`: the SHA-256 of the document, then
//! the document as it was published; replaced by rename.
//! Knows nothing of leases: what is read back proves nothing about the moment, and the epochs file next door says whether it is the newest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jet9_cluster::document::DOCUMENT_BYTES_MAX;
use jet9_cluster::{Document, DocumentError};
use jet9_config::ClusterId;
use parking_lot::{Condvar, Mutex};
use sha2::{Digest, Sha256};

use super::epochs::replace;
use super::follow::EPOCHS_RETRY;

/// What a kept document's file name ends with.
const EXTENSION: &str = "kept";

/// The most bytes of a file: a digest in hexadecimal, a line feed, a document.
const FILE_MAX: u64 = 64 + 1 + DOCUMENT_BYTES_MAX as u64;

/// The kept documents. Dropping it ends the thread, once all that was given is written.
#[derive(Debug)]
pub(super) struct Kept {
    directory: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// The newest text of each cluster that is to be written; `None`: its file is to go.
type Texts = BTreeMap<ClusterId, Option<Vec<u8>>>;

#[derive(Debug, Default)]
struct Waiting {
    texts: Texts,
    is_over: bool,
}

impl Kept {
    /// Keeps documents in this directory, which is created when it is missing.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let shared = Arc::<Shared>::default();
        let (path, writing) = (directory.to_owned(), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("jet9-kept".into())
            .spawn(move || write_all(&path, &writing))?;
        Ok(Self {
            directory: directory.to_owned(),
            shared,
        })
    }

    /// Has this document written, soon.
    pub(super) fn keep(&self, id: &ClusterId, text: Vec<u8>) {
        self.write(id, Some(text));
    }

    /// Has the document of a cluster removed, soon.
    pub(super) fn forget(&self, id: &ClusterId) {
        self.write(id, None);
    }

    fn write(&self, id: &ClusterId, text: Option<Vec<u8>>) {
        self.shared.waiting.lock().texts.insert(id.clone(), text);
        self.shared.changed.notify_one();
    }

    /// All documents that are whole. Others are told of and left. Blocks.
    pub(super) fn read_all(&self) -> Vec<Document> {
        let files = fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten();
        let read = files.filter_map(|file| {
            let path = file.path();
            if path
                .extension()
                .is_none_or(|extension| extension != EXTENSION)
            {
                return None;
            }
            let document = read(&path);
            document
                .map_err(|error| log::error!("{}: {error}; it is not used", path.display()))
                .ok()
        });
        read.collect()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.shared.waiting.lock().is_over = true;
        self.shared.changed.notify_one();
    }
}

fn write_all(directory: &Path, shared: &Shared) {
    let mut failing = false;
    while let Some(texts) = next(shared) {
        let mut refused = Texts::new();
        for (id, text) in texts {
            if let Err(error) = bring(&file_of(directory, &id), text.as_deref()) {
                if !std::mem::replace(&mut failing, true) {
                    log::error!(
                        "cluster {id}: its document is not kept for the next start, and tried again: {error}"
                    );
                }
                refused.insert(id, text);
            }
        }
        if refused.is_empty() {
            failing = false;
        } else {
            try_later(shared, refused);
        }
    }
}

/// All that is to be written; `None`: nor will anything be.
fn next(shared: &Shared) -> Option<Texts> {
    let mut waiting = shared.waiting.lock();
    while waiting.texts.is_empty() {
        if waiting.is_over {
            return None;
        }
        shared.changed.wait(&mut waiting);
    }
    Some(std::mem::take(&mut waiting.texts))
}

/// What the disk refused waits again, unless something newer of its cluster does, or nobody does any more; and so does the thread.
fn try_later(shared: &Shared, refused: Texts) {
    let mut waiting = shared.waiting.lock();
    if !waiting.is_over {
        for (id, text) in refused {
            waiting.texts.entry(id).or_insert(text);
        }
        shared.changed.wait_for(&mut waiting, EPOCHS_RETRY);
    }
}

/// Brings a file to this document, or to none.
fn bring(file: &Path, document: Option<&[u8]>) -> io::Result<()> {
    let Some(document) = document else {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    let text = sealed(document);
    // After a restart everything is taken anew, and most of it is as it was.
    if fs::read(file).is_ok_and(|there| there == text) {
        return Ok(());
    }
    replace(file, &text)
}

fn file_of(directory: &Path, id: &ClusterId) -> PathBuf {
    directory.join(format!("{id}.{EXTENSION}"))
}

fn sealed(document: &[u8]) -> Vec<u8> {
    let digest = Sha256::digest(document);
    let mut text: Vec<u8> = digest
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .collect();
    text.push(b'\n');
    text.extend_from_slice(document);
    text
}

fn read(path: &Path) -> Result<Document, String> {
    let name = path.file_stem().and_then(|name| name.to_str());
    let id = ClusterId::parse(name.unwrap_or_default()).map_err(|error| error.to_string())?;
    let text = bounded(path).map_err(|error| error.to_string())?;
    let document = text.splitn(2, |byte| *byte == b'\n').nth(1);
    let document = document.filter(|document| sealed(document) == text);
    let document = document.ok_or("it is not as it was written")?;
    let read = Document::of(document, &id);
    read.map_err(|error: DocumentError| error.to_string())
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    File::open(path)?
        .take(FILE_MAX + 1)
        .read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    fn text(cluster: &str, epoch: u64) -> Vec<u8> {
        let document = serde_json::json!({
            "v": 1, "cluster": cluster, "epoch": epoch, "phase": "serving", "master": "a",
            "sides": {"a": {"addrs": ["192.0.2.1:80"]}, "b": {"addrs": []}}, "fencing": "confirmed",
        });
        document.to_string().into_bytes()
    }

    fn id(text: &str) -> ClusterId {
        ClusterId::parse(text).expect("an id")
    }

    /// Writes what waits, as the thread would.
    fn written(kept: &Kept) {
        let texts = std::mem::take(&mut kept.shared.waiting.lock().texts);
        for (id, text) in texts {
            bring(&file_of(&kept.directory, &id), text.as_deref()).expect("a good disk");
        }
    }

    fn epochs(kept: &Kept) -> Vec<(String, u64)> {
        let documents = kept.read_all().into_iter();
        let mut epochs: Vec<_> = documents
            .map(|document| (document.cluster.to_string(), document.epoch.0))
            .collect();
        epochs.sort_unstable();
        epochs
    }

    fn of(directory: &Path) -> Kept {
        Kept {
            directory: directory.to_owned(),
            shared: Arc::default(),
        }
    }

    #[test]
    fn the_newest_document_of_each_cluster_is_read_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = of(directory.path());
        kept.keep(&id("c1"), text("c1", 41));
        kept.keep(&id("c1"), text("c1", 42));
        kept.keep(&id("c2"), text("c2", 7));
        written(&kept);
        assert_eq!(epochs(&kept), [("c1".into(), 42), ("c2".into(), 7)]);
        kept.forget(&id("c2"));
        kept.forget(&id("c3"));
        written(&kept);
        assert_eq!(epochs(&kept), [("c1".into(), 42)]);
    }

    #[test]
    fn a_file_that_is_cut_changed_or_in_another_place_is_not_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = of(directory.path());
        let whole = sealed(&text("c1", 42));
        let check = |name: &str, text: &[u8], is_used: bool| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("write");
            assert_eq!(epochs(&kept).len(), usize::from(is_used), "{name}");
            fs::remove_file(path).expect("remove");
        };
        check("c1.kept", &whole, true);
        check("c2.kept", &whole, false);
        check("c1.kept.tmp", &whole, false);
        for cut in 0..whole.len() {
            check("c1.kept", &whole[..cut], false);
        }
        for index in 0..whole.len() {
            let mut bent = whole.clone();
            bent[index] ^= 1;
            check("c1.kept", &bent, false);
        }
    }

    #[test]
    fn what_the_disk_refused_is_written_once_it_takes_it() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().join("clusters");
        let kept = Kept::open(&directory).expect("a thread");
        fs::remove_dir(&directory).expect("remove");
        kept.keep(&id("c1"), text("c1", 41));
        kept.keep(&id("c2"), text("c2", 7));
        kept.keep(&id("c1"), text("c1", 42));
        fs::create_dir(&directory).expect("create");
        while epochs(&kept) != [("c1".into(), 42), ("c2".into(), 7)] {
            std::thread::yield_now();
        }
        fs::rename(&directory, place.path().join("away")).expect("rename");
        kept.keep(&id("c2"), text("c2", 8));
        let shared = Arc::downgrade(&kept.shared);
        drop(kept);
        while shared.strong_count() > 0 {
            std::thread::yield_now(); // it ends all the same
        }
    }

    #[test]
    fn what_the_disk_refuses_of_one_cluster_keeps_no_other_waiting() {
        let directory = tempfile::tempdir().expect("a directory");
        let in_its_way = file_of(directory.path(), &id("c1"));
        fs::create_dir(&in_its_way).expect("create");
        let kept = Kept::open(directory.path()).expect("a thread");
        let until = |expected: &[(String, u64)]| {
            let began = clock::monotonic();
            while epochs(&kept) != expected {
                assert!(began.elapsed() < Duration::from_secs(20), "{expected:?}");
                std::thread::yield_now();
            }
        };
        kept.keep(&id("c1"), text("c1", 41));
        kept.keep(&id("c2"), text("c2", 7));
        until(&[("c2".into(), 7)]);
        kept.keep(&id("c2"), text("c2", 8));
        until(&[("c2".into(), 8)]);
        fs::remove_dir(&in_its_way).expect("remove");
        until(&[("c1".into(), 41), ("c2".into(), 8)]);
    }

    #[test]
    fn what_was_given_is_written_before_the_thread_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = Kept::open(directory.path()).expect("a thread");
        for epoch in 1..100 {
            kept.keep(&id("c1"), text("c1", epoch));
        }
        let shared = Arc::downgrade(&kept.shared);
        drop(kept);
        while shared.strong_count() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(epochs(&of(directory.path())), [("c1".into(), 99)]);
    }
}
