//! What each site was: its last versions, on this node's disk.
//!
//! Written by [`super::load`] when a document has come into force or is gone, read by the admin API. One directory a site, one file a version; a
//! site's numbers only grow, over restarts and removals too, so they serve as entity tags. The newest entry is also how a node that was down
//! learns that a site was removed meanwhile, and what it falls back to when a document is bad at a start. Sites that were removed long ago are forgotten. An entry that cannot be read costs itself and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::durable::{self, Durability, Readers};

/// Versions of one site that are kept.
pub(super) const VERSIONS_KEPT: usize = 10;

/// Removed sites whose versions are kept; the longest removed are forgotten first.
pub(super) const REMOVED_KEPT: usize = 10_000;

/// How long they are kept.
pub(super) const REMOVED_KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// The versions of all sites.
#[derive(Clone, Debug)]
pub(super) struct History {
    directory: PathBuf,
}

/// One version of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number: 1, and one more with every change.
    pub number: u64,
    /// When it came into force, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Who brought it: a principal's name, or `file` for a hand edit.
    pub by: String,
    /// The document; `None`: the site was removed.
    pub text: Option<String>,
}

impl History {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// The sites that have a history, removed ones too.
    pub(super) fn sites(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The last version of a site, even if what it was cannot be read: its number is in its name.
    pub(super) fn newest(&self, site: &str) -> Option<(u64, Option<Version>)> {
        let number = self.numbers(site).last().copied()?;
        Some((number, self.version(site, number)))
    }

    /// The versions that are kept, the newest first.
    pub(super) fn versions(&self, site: &str) -> Vec<Version> {
        let numbers = self.numbers(site).into_iter().rev();
        numbers
            .filter_map(|number| self.version(site, number))
            .collect()
    }

    pub(super) fn version(&self, site: &str, number: u64) -> Option<Version> {
        let json = fs::read(self.file(site, number)).ok()?;
        let value: Value = serde_json::from_slice(&json).ok()?;
        Some(Version {
            number,
            unix_ms: value["unix_ms"].as_u64()?,
            by: value["by"].as_str()?.to_owned(),
            text: value["document"].as_str().map(str::to_owned),
        })
    }

    /// Adds a version, and forgets what is too old.
    pub(super) fn add(
        &self,
        site: &str,
        version: &Version,
        durability: Durability,
    ) -> io::Result<()> {
        let directory = self.directory.join(site);
        if !directory.exists() {
            fs::create_dir_all(&directory)?;
            if durability == Durability::Now {
                // Else a loss of power may take the directory with what is in it.
                fs::File::open(&self.directory)?.sync_all()?;
            }
        }
        let json = json!({
            "unix_ms": version.unix_ms, "by": version.by, "document": version.text,
        });
        let file = self.file(site, version.number);
        let text = json.to_string();
        durable::replace(&file, text.as_bytes(), Readers::Umask, durability)?;
        let numbers = self.numbers(site);
        let old = numbers.len().saturating_sub(VERSIONS_KEPT);
        for number in &numbers[..old] {
            fs::remove_file(self.file(site, *number))?;
        }
        Ok(())
    }

    /// Forgets a site that was removed. Its end goes last: what a crash leaves of it still says that it was removed.
    pub(super) fn forget(&self, site: &str) -> io::Result<()> {
        for number in self.numbers(site) {
            fs::remove_file(self.file(site, number))?;
        }
        fs::remove_dir(self.directory.join(site))
    }

    /// The numbers of the versions that are there, the oldest first.
    fn numbers(&self, site: &str) -> Vec<u64> {
        let entries = fs::read_dir(self.directory.join(site));
        let number = |entry: io::Result<fs::DirEntry>| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_suffix(".json")?.parse().ok()
        };
        let mut numbers: Vec<u64> = entries
            .map(|entries| entries.filter_map(number).collect())
            .unwrap_or_default();
        numbers.sort_unstable();
        numbers
    }

    fn file(&self, site: &str, number: u64) -> PathBuf {
        self.directory.join(site).join(format!("{number}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64, text: Option<&str>) -> Version {
        Version {
            number,
            unix_ms: number * 1000,
            by: "file".into(),
            text: text.map(str::to_owned),
        }
    }

    #[test]
    fn the_last_ten_versions_are_kept_and_numbers_go_on() {
        let place = tempfile::tempdir().expect("a directory");
        let history = History::open(&place.path().join("history")).expect("open");
        assert_eq!(history.newest("s"), None);
        for number in 1..=12 {
            let text = (number != 12).then_some("text");
            let added = history.add("s", &version(number, text), Durability::Later);
            added.expect("written");
        }
        let kept = history.versions("s");
        let numbers: Vec<u64> = kept.iter().map(|version| version.number).collect();
        assert_eq!(numbers, (3..=12).rev().collect::<Vec<_>>());
        assert_eq!(history.newest("s"), Some((12, Some(version(12, None)))));
        assert_eq!(history.version("s", 3), Some(version(3, Some("text"))));
        assert_eq!(history.sites().expect("read"), ["s"]);
    }

    #[test]
    fn an_entry_that_cannot_be_read_costs_itself_and_keeps_its_number() {
        let place = tempfile::tempdir().expect("a directory");
        let history = History::open(place.path()).expect("open");
        let added = history.add("s", &version(1, Some("one")), Durability::Now);
        added.expect("written");
        fs::write(place.path().join("s/2.json"), "{").expect("write");
        fs::write(place.path().join("s/x.json"), "{}").expect("write");
        assert_eq!(history.newest("s"), Some((2, None)));
        assert_eq!(history.versions("s"), [version(1, Some("one"))]);
    }
}
