//! Purges of every kind race the fills of a hot page: what a purge was answered for is never served again, and one fetch serves all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::support::cluster::Cluster;
use super::support::edge::Jet9;
use super::support::http1::{Client, Response, get};
use super::support::origin::{After, Origin};
use super::support::scene::scene;
use super::support::setup::{Setup, Site};

const LIMIT: Duration = Duration::from_secs(300);
/// So many that the journal writes theirs together: the disk is not what is tested.
const PURGERS: usize = 25;
const READERS: usize = 3;
const PURGES: usize = 10_000;

/// Every kind, hard and soft, as plugins send them.
const KINDS: [(&str, &str); 8] = [
    ("PURGE /hot?a=1", ""),
    ("PURGE /hot?a=1", "Fastly-Soft-Purge: 1\r\n"),
    ("PURGE /ho.*", ""),
    ("PURGE /ho.*", "Fastly-Soft-Purge: 1\r\n"),
    ("PURGE /", "xkey: hot\r\n"),
    ("PURGE /", "xkey-softpurge: hot\r\n"),
    ("PURGE /.*", ""),
    ("PURGE /.*", "Fastly-Soft-Purge: 1\r\n"),
];

/// The page as it is, and as old as it may be served.
#[derive(Default)]
struct Page {
    version: AtomicU64,
    /// The newest version whose purge was answered.
    floor: AtomicU64,
    over: AtomicBool,
    purged: AtomicUsize,
    read: AtomicUsize,
}

/// A connection that is opened anew when the edge has had enough of it.
struct Patient<'a> {
    edge: &'a Jet9,
    client: Client,
}

impl<'a> Patient<'a> {
    fn new(edge: &'a Jet9) -> Self {
        Self {
            edge,
            client: edge.clear(),
        }
    }

    fn ask(&mut self, request: &str) -> Response {
        let answer = self.client.ask(request);
        if answer.head.field("connection") == Some("close") {
            self.client = self.edge.clear();
        }
        answer
    }
}

/// An origin whose answers say the version that the page had when it was asked, in two pieces, so that fills are caught half way.
fn origin(page: &Arc<Page>) -> Origin {
    let page = Arc::clone(page);
    Origin::start(move |_, wire| {
        let text = format!("{:012}", page.version.load(Ordering::SeqCst));
        wire.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nxkey: hot\r\nContent-Length: 12\r\n\r\n");
        thread::yield_now();
        wire.send(text);
        After::KeepAlive
    })
}

fn purge(edge: &Jet9, page: &Page, first: usize) {
    let mut client = Patient::new(edge);
    for number in 0..PURGES / PURGERS {
        let (line, fields) = KINDS[(first + number) % KINDS.len()];
        let version = page.version.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = client.ask(&format!(
            "{line} HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n"
        ));
        assert_eq!(answer.status, 200, "{line}: {answer:?}");
        page.floor.fetch_max(version, Ordering::SeqCst);
        page.purged.fetch_add(1, Ordering::SeqCst);
    }
}

fn read(edge: &Jet9, page: &Page) {
    let mut client = Patient::new(edge);
    while !page.over.load(Ordering::SeqCst) {
        let floor = page.floor.load(Ordering::SeqCst);
        let answer = client.ask(&get("site.test", "/hot?a=1"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let version: u64 = answer.text().parse().expect("a version");
        assert!(
            version >= floor,
            "version {version} was purged as {floor} was: {answer:?}"
        );
        page.read.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn ten_thousand_purges_race_the_fills_of_a_hot_page() {
    scene(LIMIT, |scene| {
        let page = Arc::new(Page::default());
        let origin = origin(&page);
        let site = Site::of("s-1", &["site.test"])
            .sections("[cache]\nprofile = \"rfc\"\n\n[purge]\nfrom = [\"127.0.0.0/8\"]\n");
        let edge = Setup::new()
            .site(site)
            .cluster(Cluster::of_one("c-1", origin.address))
            .disk("128MiB")
            .start(scene);
        thread::scope(|threads| {
            let (edge, page) = (&edge, &*page);
            for _ in 0..READERS {
                threads.spawn(move || read(edge, page));
            }
            let purging: Vec<_> = (0..PURGERS)
                .map(|first| threads.spawn(move || purge(edge, page, first)))
                .collect();
            let ended: Vec<_> = purging
                .into_iter()
                .map(thread::ScopedJoinHandle::join)
                .collect();
            page.over.store(true, Ordering::SeqCst);
            for ended in ended {
                ended.expect("all purges were answered");
            }
        });
        let (purged, fetched, read) = (
            page.purged.load(Ordering::SeqCst),
            origin.seen().len(),
            page.read.load(Ordering::SeqCst),
        );
        println!("{purged} purges, {read} requests, {fetched} fetches");
        assert_eq!(purged, PURGES / PURGERS * PURGERS);
        // Between two purges one fetch serves all who ask.
        assert!(
            fetched <= purged + 1,
            "{fetched} fetches for {purged} purges"
        );
        assert!(
            fetched > 100 && read > fetched,
            "they did race: {fetched} fetches for {read} requests"
        );
    });
}
