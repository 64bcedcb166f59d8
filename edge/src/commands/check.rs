//! `jet9 check`: validates documents, all problems at once, and changes nothing.
//!
//! Reads what `jet9 run` would read, certificates included, with the same functions. Problems go to standard error, one a line, `file:line:col: /pointer: message`;
//! warnings say what will run but not as one may think. Binds no port and opens no store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jet9_cluster::document::Fencing;
use jet9_cluster::{Document, DocumentError};
use jet9_config::node::{ClusterSource, Node};
use jet9_config::site::Site;
use jet9_config::{ClusterId, Problem, check};

use super::run::read_node;
use super::{Failure, output};
use crate::control::etcd::Etcd;
use crate::control::watch::{Content, Directory, Look};
use crate::framework::tls;

/// What is checked.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The node file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Site documents, checked against those of the node's state directory; none: those themselves.
    #[arg(value_name = "SITE.toml")]
    pub sites: Vec<PathBuf>,
}

/// Checks them.
///
/// # Errors
/// All problems of all documents.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut found = Found::default();
    let node = read_node(&arguments.config).map_err(|failure| found.failures.push(failure.message));
    for path in &arguments.sites {
        found.read_site(path, Role::Asked);
    }
    if let Ok(node) = &node {
        if let Err(problems) = tls::check(&node.tls) {
            found.failures.push(problems.to_string());
        }
        found.read_state(node, arguments.sites.is_empty());
    }
    found.compare_sites();
    found.compare_clusters();
    for warning in &found.warnings {
        eprintln!("warning: {warning}");
    }
    if found.failures.is_empty() {
        let (sites, clusters) = (found.sites.len(), found.clusters.len());
        output::write(&format!(
            "good: the node file, {sites} sites, {clusters} clusters\n"
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(found.failures.join("\n")))
}

/// Whether a document is judged, or only what the judged are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Asked,
    Beside,
}

#[derive(Default)]
struct Found {
    sites: Vec<Read>,
    clusters: Vec<Document>,
    /// Whether the cluster documents were read, so that a missing one means something.
    clusters_known: bool,
    failures: Vec<String>,
    warnings: Vec<String>,
}

/// A site document that is good in itself.
struct Read {
    file: String,
    text: String,
    site: Site,
    role: Role,
}

impl Found {
    fn read_state(&mut self, node: &Node, asked: bool) {
        let state = &node.state.path;
        let role = if asked { Role::Asked } else { Role::Beside };
        for path in documents(&state.join("sites"), "toml") {
            self.read_site(&path, role);
        }
        match &node.state.clusters {
            ClusterSource::Directory(clusters) => {
                for path in documents(clusters, "json") {
                    self.read_cluster(&path, role);
                }
                self.clusters_known = true;
            }
            // What is there is known when the edge runs; its files can be looked at now.
            ClusterSource::Etcd { etcd, .. } => {
                if let Err(error) = Etcd::open(etcd) {
                    self.failures.push(format!("[state.clusters]: {error}"));
                }
            }
        }
    }

    fn read_site(&mut self, path: &Path, role: Role) {
        let file = path.display().to_string();
        let checked = match std::fs::read_to_string(path) {
            Ok(text) => check::site_file(&file, &text).map(|site| (text, site)),
            Err(error) => Err(problem(&file, &error).into()),
        };
        match checked {
            Ok((text, site)) => {
                let known = self.sites.iter().any(|read| read.site.id == site.id);
                if role == Role::Asked || !known {
                    let read = Read {
                        file,
                        text,
                        site,
                        role,
                    };
                    self.sites.push(read);
                }
            }
            Err(problems) if role == Role::Asked => self.failures.push(problems.to_string()),
            // Not asked about; `jet9 run` says it.
            Err(_) => {}
        }
    }

    fn read_cluster(&mut self, path: &Path, role: Role) {
        let parsed = std::fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|text| Document::parse(&text).map_err(|error| error.to_string()))
            .and_then(|document| named(document, path).map_err(|error| error.to_string()));
        match parsed {
            Ok(document) => self.clusters.push(document),
            Err(message) if role == Role::Asked => {
                self.failures.push(format!("{}: {message}", path.display()));
            }
            Err(_) => {}
        }
    }

    /// Each domain belongs to one site; those that are in the directory were first.
    fn compare_sites(&mut self) {
        self.sites.sort_by_key(|read| read.role == Role::Asked);
        let mut failures = Vec::new();
        for (index, read) in self.sites.iter().enumerate() {
            let earlier = &self.sites[..index];
            if let Some(other) = earlier.iter().find(|other| other.site.id == read.site.id) {
                failures.push(format!(
                    "{}: site `{}` is also in {}",
                    read.file, read.site.id, other.file
                ));
                continue;
            }
            failures.extend(read.taken(earlier));
        }
        self.failures.extend(failures);
    }

    fn compare_clusters(&mut self) {
        for document in &self.clusters {
            if document.fencing == Fencing::Lease {
                self.warnings.push(format!(
                    "cluster `{}`: fencing is `lease`, and a watched directory can give no lease: nothing will be sent to it",
                    document.cluster
                ));
            }
        }
        let known = |id: &ClusterId| self.clusters.iter().any(|document| document.cluster == *id);
        for read in self.sites.iter().filter(|_| self.clusters_known) {
            let cluster = &read.site.origin.cluster;
            if !known(cluster) {
                self.warnings.push(format!(
                    "{}: cluster `{cluster}` is not published: nothing will be sent for this site",
                    read.file
                ));
            }
        }
    }
}

impl Read {
    fn taken(&self, earlier: &[Self]) -> Vec<String> {
        let conflict = |(index, domain)| {
            let owner = earlier
                .iter()
                .find(|other| other.site.domains.contains(domain))?;
            let pointer = format!("/domains/{index}");
            let problem = Problem {
                file: self.file.clone(),
                place: check::place(&self.text, &pointer),
                pointer,
                message: format!(
                    "{domain} belongs to site `{}` ({})",
                    owner.site.id, owner.file
                ),
            };
            Some(problem.to_string())
        };
        self.site
            .domains
            .iter()
            .enumerate()
            .filter_map(conflict)
            .collect()
    }
}

/// The documents of a directory; one that is not there has none, and is not made.
fn documents(directory: &Path, extension: &'static str) -> Vec<PathBuf> {
    if !directory.is_dir() {
        return Vec::new();
    }
    let looked =
        Directory::open(directory, extension).map(|mut found| found.look(Look::Everything));
    let there = |content: &Content| !matches!(content, Content::Gone);
    let changes = looked.unwrap_or_default();
    changes
        .into_iter()
        .filter(|change| there(&change.content))
        .map(|change| change.file)
        .collect()
}

fn named(document: Document, path: &Path) -> Result<Document, DocumentError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    if stem == Some(document.cluster.as_str()) {
        return Ok(document);
    }
    Err(DocumentError {
        pointer: "/cluster".into(),
        message: format!(
            "the document of cluster `{0}` lives in a file called `{0}.json`",
            document.cluster
        ),
    })
}

fn problem(file: &str, error: &std::io::Error) -> Problem {
    Problem {
        file: file.to_owned(),
        place: None,
        pointer: String::new(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NODE: &str = "[node]\nid = \"e1\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n";

    fn site(id: &str, domain: &str, cluster: &str) -> String {
        format!("id = \"{id}\"\ndomains = [\"{domain}\"]\n[origin]\ncluster = \"{cluster}\"\n")
    }

    fn cluster(id: &str, fencing: &str) -> String {
        format!(
            r#"{{"v":1,"cluster":"{id}","epoch":1,"phase":"down","master":null,"fencing":"{fencing}",
            "sides":{{"a":{{"addrs":["192.0.2.1:80"]}},"b":{{"addrs":["192.0.2.2:80"]}}}}}}"#
        )
    }

    /// Runs a check in a directory with these files; the paths are relative to it.
    fn check(files: &[(&str, &str)], sites: &[&str]) -> Result<ExitCode, Failure> {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        for (name, text) in files {
            fs::create_dir_all(at(name).parent().expect("a parent")).expect("a directory");
            fs::write(at(name), text).expect("write");
        }
        run(&Arguments {
            config: at("node.toml"),
            sites: sites.iter().map(|name| at(name)).collect(),
        })
    }

    fn refused(files: &[(&str, &str)], sites: &[&str], words: &[&str]) {
        let message = check(files, sites).expect_err("problems").message;
        for word in words {
            assert!(message.contains(word), "{word} is not in {message}");
        }
    }

    #[test]
    fn good_documents_are_good() {
        let one = site("s-1", "a.test", "c-1");
        let files = [
            ("node.toml", NODE),
            ("state/sites/s-1.toml", &one),
            ("state/clusters/c-1.json", &cluster("c-1", "lease")),
        ];
        check(&files, &[]).expect("good");
        check(&files, &["state/sites/s-1.toml"]).expect("the same document");
        check(&files[..1], &[]).expect("no state yet");
    }

    #[test]
    fn certificates_that_cannot_be_used_are_told() {
        let node = format!("{NODE}[tls]\ndefault_certificate = \"none.pem\"\n");
        let files = [
            ("node.toml", node.as_str()),
            ("data/certificates/bad.pem", "garbage"),
        ];
        let words = [
            "bad.pem: /tls/certificates: no certificate found",
            "none.pem: /tls/default_certificate: the certificate cannot be read",
        ];
        refused(&files, &[], &words);
    }

    #[test]
    fn all_problems_of_all_documents_are_told_at_once() {
        let files = [
            ("node.toml", "[node]\nid = 5\n"),
            ("s-1.toml", "id = \"s-1\"\nno = 1\n"),
            ("s-2.toml", "["),
        ];
        let words = ["node.toml:2:", "s-1.toml:2:1: /no", "s-2.toml:1:"];
        refused(&files, &["s-1.toml", "s-2.toml"], &words);
        let one = site("s-1", "a.test", "c-1");
        let files = [
            ("node.toml", NODE),
            ("state/sites/s-1.toml", &one),
            ("state/sites/s-2.toml", &site("s-2", "a.test", "c-1")),
            ("state/clusters/c-1.json", "{}"),
            ("state/clusters/c-2.json", &cluster("c-3", "none")),
        ];
        let words = [
            "s-2.toml:2:12: /domains/0: a.test belongs to site `s-1`",
            "c-1.json: /v",
            "c-2.json: /cluster",
        ];
        refused(&files, &[], &words);
    }

    #[test]
    fn a_new_document_is_compared_with_those_in_force() {
        let files = [
            ("node.toml", NODE),
            ("state/sites/s-1.toml", &site("s-1", "a.test", "c-1")),
            ("state/sites/s-3.toml", "bad, but not asked about"),
            ("s-2.toml", &site("s-2", "a.test", "c-1")),
            ("new/s-1.toml", &site("s-1", "b.test", "c-1")),
        ];
        refused(
            &files,
            &["s-2.toml"],
            &["s-2.toml:2:12", "belongs to site `s-1`"],
        );
        check(&files, &["new/s-1.toml"]).expect("it replaces its own");
        check(&files, &["new/s-1.toml", "s-2.toml"]).expect("it frees the name");
        refused(&files, &["missing.toml"], &["missing.toml: No such file"]);
    }
}
