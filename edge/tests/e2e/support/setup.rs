//! The files of an edge: node file, sites, cluster state, certificates. Written as an operator would, from the contract alone.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;

use super::cluster::Cluster;
use super::edge::Jet9;
use super::etcd::Etcd;
use super::scene::Scene;
use super::tls::{Issued, issue};

/// What an edge is made of.
#[derive(Clone)]
pub(crate) struct Setup {
    name: &'static str,
    memory: &'static str,
    disk: Option<(PathBuf, &'static str)>,
    limits: String,
    sites: Vec<Site>,
    clusters: Vec<Cluster>,
    /// Lines of `[state.clusters]`.
    etcd: Option<String>,
    default_certificate: Option<Issued>,
}

/// A site document.
#[derive(Clone)]
pub(crate) struct Site {
    id: &'static str,
    domains: Vec<&'static str>,
    cluster: &'static str,
    https: &'static str,
    sections: String,
    certificate: Issued,
}

/// An edge's files on disk.
#[derive(Clone)]
pub(crate) struct Files {
    /// Where they all are.
    pub(crate) dir: PathBuf,
    /// What clients have to trust.
    pub(crate) roots: Vec<CertificateDer<'static>>,
}

impl Setup {
    /// One edge with 64 MiB of memory and no disk.
    pub(crate) const fn new() -> Self {
        Self {
            name: "edge1",
            memory: "64MiB",
            disk: None,
            limits: String::new(),
            sites: Vec::new(),
            clusters: Vec::new(),
            etcd: None,
            default_certificate: None,
        }
    }

    /// One site, `site.test`, in front of one cluster.
    pub(crate) fn of(cluster: Cluster) -> Self {
        Self::new()
            .site(Site::of("s-1", &["site.test"]))
            .cluster(cluster)
    }

    /// Sets the id of the node, which is also the name of its directory.
    pub(crate) const fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Adds a site.
    pub(crate) fn site(mut self, site: Site) -> Self {
        self.sites.push(site);
        self
    }

    /// Adds the state of a cluster.
    pub(crate) fn cluster(mut self, cluster: Cluster) -> Self {
        self.clusters.push(cluster);
        self
    }

    /// Takes the state of clusters from an etcd.
    pub(crate) fn etcd(mut self, etcd: &Etcd) -> Self {
        let mut lines = format!("kind = \"etcd\"\nendpoints = {:?}\n", etcd.urls());
        if let Some(secured) = etcd.secured() {
            let (ca, user, password) = (&secured.ca, secured.user, &secured.password);
            writeln!(
                lines,
                "ca = {ca:?}\nusername = {user:?}\npassword_file = {password:?}"
            )
            .expect("memory");
            if let Some(certificate) = &secured.certificate {
                writeln!(lines, "certificate = {certificate:?}").expect("memory");
            }
        }
        self.etcd = Some(lines);
        self
    }

    /// Has it look at the documents in `beside` too, next to its node file.
    pub(crate) fn beside(mut self) -> Self {
        let lines = self.etcd.as_mut().expect("an etcd");
        lines.push_str("beside = \"beside\"\n");
        self
    }

    /// Takes the state of clusters from a member of an etcd, or what plays one.
    pub(crate) fn etcd_at(mut self, url: &str) -> Self {
        self.etcd = Some(format!("kind = \"etcd\"\nendpoints = [{url:?}]\n"));
        self
    }

    /// Gives it a volume of this size.
    pub(crate) fn disk(mut self, size: &'static str) -> Self {
        self.disk = Some((PathBuf::from("data/cache"), size));
        self
    }

    /// Gives it a volume of this size in this directory.
    pub(crate) fn disk_at(mut self, path: &Path, size: &'static str) -> Self {
        self.disk = Some((path.to_owned(), size));
        self
    }

    /// Sets the size of the memory tier.
    pub(crate) const fn memory(mut self, size: &'static str) -> Self {
        self.memory = size;
        self
    }

    /// Sets a limit of the node: a line of its `[limits]`.
    pub(crate) fn limit(mut self, line: &str) -> Self {
        writeln!(self.limits, "{line}").expect("memory");
        self
    }

    /// Gives it a certificate for names that have none.
    pub(crate) fn default_certificate(mut self, names: &[&str]) -> Self {
        self.default_certificate = Some(issue(names));
        self
    }

    /// Writes the files and starts the edge; it is ready.
    pub(crate) fn start(&self, scene: &Scene) -> Jet9 {
        Jet9::start(scene, self.write(scene.dir()))
    }

    /// Writes the files, in a directory of the edge's own beneath `dir`.
    pub(crate) fn write(&self, dir: &Path) -> Files {
        let dir = dir.join(self.name);
        for sub in ["data/certificates", "state/sites", "state/clusters"] {
            fs::create_dir_all(dir.join(sub)).expect("a directory");
        }
        let files = Files {
            dir,
            roots: self.roots(),
        };
        files.put("node.toml", &self.node());
        if let Some(issued) = &self.default_certificate {
            files.put("default.pem", &issued.pem);
        }
        for site in &self.sites {
            files.put(
                &format!("data/certificates/{}.pem", site.id),
                &site.certificate.pem,
            );
            files.put_site(site);
        }
        for cluster in &self.clusters {
            files.publish(cluster);
        }
        files
    }

    fn roots(&self) -> Vec<CertificateDer<'static>> {
        let of_sites = self.sites.iter().map(|site| &site.certificate);
        of_sites
            .chain(&self.default_certificate)
            .map(|issued| issued.leaf.clone())
            .collect()
    }

    fn node(&self) -> String {
        let disk = self.disk.as_ref().map_or_else(String::new, |(path, size)| {
            format!(
                r#"disk = [{{ path = "{}", size = "{size}" }}]"#,
                path.display()
            )
        });
        let clusters = match &self.etcd {
            None => String::new(),
            Some(lines) => format!("[state.clusters]\n{lines}"),
        };
        let default = match &self.default_certificate {
            Some(_) => "default.pem",
            None => "",
        };
        format!(
            r#"
[node]
id = "{name}"
data_dir = "data"
threads = 2

[listen]
http = ["127.0.0.1:0"]
https = ["127.0.0.1:0"]
admin = ["unix:data/admin.sock", "127.0.0.1:0"]
metrics = "127.0.0.1:0"

[cache]
memory = "{memory}"
{disk}

[state]
path = "state"
{clusters}
[tls]
default_certificate = "{default}"

[limits]
{limits}

[log]
access = {{ format = "json", path = "access.log" }}
"#,
            name = self.name,
            memory = self.memory,
            limits = self.limits,
        )
    }
}

impl Site {
    /// A site of the cluster `c-1` that is served in clear text and over https, and cached as the standards say.
    pub(crate) fn of(id: &'static str, domains: &[&'static str]) -> Self {
        Self {
            id,
            domains: domains.to_owned(),
            cluster: "c-1",
            https: "both",
            sections: "[cache]\nprofile = \"rfc\"\n".to_owned(),
            certificate: issue(domains),
        }
    }

    /// Replaces what follows `[origin]`: whole sections of the document.
    pub(crate) fn sections(mut self, sections: &str) -> Self {
        sections.clone_into(&mut self.sections);
        self
    }

    /// Sets its cluster.
    pub(crate) const fn cluster(mut self, cluster: &'static str) -> Self {
        self.cluster = cluster;
        self
    }

    /// Sets `https`.
    pub(crate) const fn https(mut self, https: &'static str) -> Self {
        self.https = https;
        self
    }

    fn document(&self) -> String {
        format!(
            "id = {:?}\ndomains = {:?}\nhttps = {:?}\n\n[origin]\ncluster = {:?}\n\n{}",
            self.id, self.domains, self.https, self.cluster, self.sections
        )
    }
}

impl Files {
    /// Replaces a file by rename.
    pub(crate) fn put(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        let name = path.file_name().expect("a name").to_string_lossy();
        let new = path.with_file_name(format!(".{name}.new"));
        fs::write(&new, text).expect("a file");
        fs::rename(&new, &path).expect("a file");
    }

    /// Changes a file's text.
    pub(crate) fn edit(&self, path: &str, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.dir.join(path)).expect("a file");
        self.put(path, &change(text));
    }

    /// Publishes cluster state.
    pub(crate) fn publish(&self, cluster: &Cluster) {
        self.put(
            &format!("state/clusters/{}.json", cluster.id),
            &cluster.document().to_string(),
        );
    }

    /// Puts a site document in force.
    pub(crate) fn put_site(&self, site: &Site) {
        self.put(&format!("state/sites/{}.toml", site.id), &site.document());
    }
}
