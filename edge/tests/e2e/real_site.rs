//! A real site: the documentation of Python as Debian packages it, over a thousand files, behind two nginx servers.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::support::cluster::Cluster;
use super::support::http1::{Client, Head, Response};
use super::support::nginx::Nginx;
use super::support::scene::{Scene, scene};
use super::support::setup::{Setup, Site};
use super::support::wait::until_true;

mod browser;

/// Debian's package python3-doc.
const DOCUMENTATION: &str = "/usr/share/doc/python3/html";

/// The host of the site.
const HOST: &str = "docs.test";

/// Connections of a crawl.
const CRAWLERS: usize = 6;

/// The two sides and the state that makes `a` the master.
struct Sides {
    a: Nginx,
    _b: Nginx,
    cluster: Cluster,
}

/// What a crawl found, by target.
struct Found(HashMap<String, Response>);

#[test]
fn a_crawl_through_the_edge_equals_a_direct_one_then_hits_and_hits_from_disk_after_a_crash() {
    scene(Duration::from_secs(150), |scene| {
        let sides = start_sides(scene);
        let targets = targets(&documentation());
        assert!(targets.len() > 1_000, "{} files", targets.len());
        let direct = crawl(&targets, || Client::clear(sides.a.address));

        let mut edge = setup(&sides).start(scene);
        let first = crawl(&targets, || edge.tls(HOST));
        first.check_equals(&direct);

        let second = crawl(&targets, || edge.tls(HOST));
        second.check_equals(&direct);
        second.check_hits(99);

        edge.process.kill();
        edge.start_again();
        let asked_before = sides.a.log().len();
        let third = crawl(&targets, || edge.tls(HOST));
        third.check_equals(&direct);
        third.check_hits(95);
        let asked = sides.a.log().len() - asked_before;
        assert!(asked * 20 <= targets.len(), "{asked} requests to the side");
        from_disk(&edge.access_log().lines(), targets.len());
    });
}

/// The hits after the restart came from disk, by the log's own words.
fn from_disk(lines: &[serde_json::Value], asked: usize) {
    let last = &lines[lines.len() - asked.min(lines.len())..];
    let disk = last.iter().filter(|line| line["cache_tier"] == "disk");
    assert!(disk.count() * 100 >= asked * 90, "too few hits from disk");
}

fn start_sides(scene: &Scene) -> Sides {
    let root = documentation();
    let (a, b) = (
        Nginx::start(scene, "a", &root),
        Nginx::start(scene, "b", &root),
    );
    let cluster = Cluster::of_two("c-1", a.address, b.address);
    Sides { a, _b: b, cluster }
}

fn setup(sides: &Sides) -> Setup {
    Setup::new()
        .site(Site::of("docs", &[HOST]).https("redirect"))
        .cluster(sides.cluster.clone())
        .memory("32MiB")
        .disk("512MiB")
}

fn documentation() -> PathBuf {
    fs::canonicalize(DOCUMENTATION)
        .unwrap_or_else(|error| panic!("{DOCUMENTATION}, of the package python3-doc: {error}"))
}

/// Every file under `root`, as the target of a request.
pub(super) fn targets(root: &Path) -> Vec<String> {
    let mut targets = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory").flatten() {
            let path = entry.path();
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => directories.push(path),
                Ok(_) => targets.push(target(root, &path)),
                // A link to a package that is not installed.
                Err(_) => {}
            }
        }
    }
    targets.sort_unstable();
    targets
}

fn target(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).expect("beneath the root");
    let mut target = "/".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                target.push(char::from(byte));
            }
            byte => target.push_str(&format!("%{byte:02X}")),
        }
    }
    target
}

/// Fetches all targets over a few connections.
fn crawl(targets: &[String], connect: impl Fn() -> Client + Sync) -> Found {
    let share = targets.len().div_ceil(CRAWLERS);
    let found = thread::scope(|threads| {
        let crawlers: Vec<_> = targets
            .chunks(share)
            .map(|share| threads.spawn(|| crawl_share(share, &connect)))
            .collect();
        let shares = crawlers
            .into_iter()
            .map(|crawler| crawler.join().expect("a share"));
        shares.flatten().collect()
    });
    Found(found)
}

fn crawl_share(targets: &[String], connect: impl Fn() -> Client) -> Vec<(String, Response)> {
    let mut client = connect();
    let mut found = Vec::new();
    for target in targets {
        let answer = client.ask(super::support::http1::get(HOST, target));
        if answer.field("connection") == Some("close") {
            client = connect();
        }
        found.push((target.clone(), answer));
    }
    found
}

impl Found {
    fn check_equals(&self, direct: &Self) {
        assert_eq!(self.0.len(), direct.0.len());
        for (target, answer) in &self.0 {
            let direct = &direct.0[target];
            assert_eq!(answer.status, direct.status, "{target}");
            assert!(
                answer.content == direct.content,
                "{target} has other content"
            );
            for field in ["content-type", "etag", "last-modified", "cache-control"] {
                assert_eq!(answer.field(field), direct.field(field), "{target}");
            }
        }
    }

    fn check_hits(&self, percent: usize) {
        let (hits, others): (Vec<_>, Vec<_>) = self.0.values().partition(|r| is_hit(r));
        let seen: Vec<&str> = others.iter().take(5).map(|r| r.cache_status()).collect();
        assert!(
            hits.len() * 100 >= self.0.len() * percent,
            "{} hits of {}; others: {seen:?}",
            hits.len(),
            self.0.len(),
        );
    }
}

fn is_hit(head: &Head) -> bool {
    head.is_hit()
}

#[test]
fn clear_text_is_redirected_to_https() {
    scene(Duration::from_secs(60), |scene| {
        let sides = start_sides(scene);
        let edge = setup(&sides).start(scene);
        let there = format!(
            "https://docs.test:{}/index.html?x=y",
            edge.bound.https.port()
        );
        until_true("the redirect", || {
            let answer = edge.get(HOST, "/index.html?x=y");
            matches!(answer.status, 301 | 308) && answer.field("location") == Some(there.as_str())
        });
        assert_eq!(sides.a.log().len(), 0);
    });
}
