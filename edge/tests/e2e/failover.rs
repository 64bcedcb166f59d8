//! The master moves while visitors load pages: nobody notices, and no side hears of an epoch that is not its own.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::support::cluster::{Cluster, Side};
use super::support::edge::Jet9;
use super::support::http1::Client;
use super::support::http2::End;
use super::support::nginx::{Logged, Nginx};
use super::support::scene::scene;
use super::support::setup::{Setup, Site};
use super::support::wait::until_true;

#[cfg(test)]
mod loss;
#[cfg(test)]
mod nemesis;
#[cfg(test)]
mod outage;

/// Moves of the master.
const MOVES: usize = 20;

/// Clients that load pages meanwhile.
const VISITORS: usize = 12;

/// Requests that each epoch's master must have seen before the next move.
const REQUESTS_PER_EPOCH: usize = 20;

const HOST: &str = "docs.test";

#[test]
fn no_visitor_sees_twenty_moves_of_the_master_and_no_side_serves_out_of_its_epoch() {
    scene(Duration::from_secs(120), |scene| {
        let root = fs::canonicalize("/usr/share/doc/python3/html").expect("python3-doc");
        let a = Nginx::start(scene, "a", &root);
        let b = Nginx::start(scene, "b", &root);
        let mut cluster = Cluster::of_two("c-1", a.address, b.address);
        let edge = Setup::new()
            .site(Site::of("docs", &[HOST]))
            .cluster(cluster.clone())
            .start(scene);
        let visit = Visit {
            edge: Arc::new(edge),
            over: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            page: root.join("tutorial/index.html"),
        };
        let masters = thread::scope(|threads| {
            let visit = &visit;
            let visitors: Vec<_> = (0..VISITORS)
                .map(|number| {
                    threads.spawn(move || match number % 4 {
                        3 => visit.load_over_http2(number),
                        _ => visit.load_pages(number),
                    })
                })
                .collect();
            let masters = move_master(&visit.edge, &mut cluster, &a, &b, || {
                visitors.iter().any(thread::ScopedJoinHandle::is_finished)
            });
            visit.over.store(true, Ordering::Relaxed);
            for visitor in visitors {
                visitor.join().expect("a visitor who saw nothing");
            }
            masters
        });
        let requests = visit.requests.load(Ordering::Relaxed);
        assert!(requests > MOVES * VISITORS, "{requests} requests only");
        check_logs(&masters, &a, &b);
        check_adoptions(&visit.edge, &masters, &a, &b);
        check_access_log(&visit.edge, &a, &b);
        assert_eq!(visit.edge.metric("jet9_origin_wrong_side_total"), 0.0);
    });
}

/// Moves the master, and tells whose each epoch was.
fn move_master(
    edge: &Jet9,
    cluster: &mut Cluster,
    a: &Nginx,
    b: &Nginx,
    failed: impl Fn() -> bool,
) -> HashMap<u64, Side> {
    let mut master = Side::A;
    let mut masters = HashMap::from([(cluster.epoch, master)]);
    for _ in 0..MOVES {
        let log = match master {
            Side::A => a,
            Side::B => b,
        };
        until_true("the master serves visitors", || {
            let in_epoch = |logged: &Logged| logged.epoch == Some(cluster.epoch);
            failed() || log.log().iter().filter(|l| in_epoch(l)).count() >= REQUESTS_PER_EPOCH
        });
        if failed() {
            break;
        }
        *cluster = cluster.switching();
        edge.files.publish(cluster);
        master = master.other();
        *cluster = cluster.serving(master);
        thread::park_timeout(SWITCH);
        edge.files.publish(cluster);
        masters.insert(cluster.epoch, master);
    }
    masters
}

/// What visitors do.
struct Visit {
    edge: Arc<Jet9>,
    over: AtomicBool,
    requests: AtomicUsize,
    page: PathBuf,
}

impl Visit {
    /// Loads stored pages, fresh pages and scripts' answers, and posts, until it is over.
    fn load_pages(&self, visitor: usize) {
        let page = fs::read(&self.page).expect("a page");
        let mut client = self.connect(visitor);
        for number in 0..REQUESTS_MAX {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let asked = Asked::of(visitor, number);
            let answer = client.ask(asked.request());
            assert_eq!(answer.status, 200, "{asked:?}: {answer:?}");
            assert!(
                asked.is_answered_by(&answer.content, &page),
                "{asked:?}: {answer:?}"
            );
            self.requests.fetch_add(1, Ordering::Relaxed);
            if answer.field("connection") == Some("close") {
                client = self.connect(visitor);
            }
        }
    }

    /// As [`Visit::load_pages`], over one HTTP/2 connection after another, and without posts.
    fn load_over_http2(&self, visitor: usize) {
        let page = fs::read(&self.page).expect("a page");
        for connection in 0..REQUESTS_MAX {
            let mut client = self.edge.http2(HOST);
            for number in 0..REQUESTS_PER_CONNECTION {
                if self.over.load(Ordering::Relaxed) {
                    return;
                }
                let asked = Asked::of(visitor, connection * REQUESTS_PER_CONNECTION + number);
                let (Asked::Page(target) | Asked::Script("GET", target)) = &asked else {
                    continue;
                };
                let answer = client.get(HOST, target);
                assert_eq!(answer.status(), 200, "{asked:?}: {answer:?}");
                assert_eq!(answer.end, End::Clean, "{asked:?}");
                assert!(asked.is_answered_by(&answer.content, &page), "{asked:?}");
                self.requests.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn connect(&self, visitor: usize) -> Client {
        match visitor % 2 {
            0 => self.edge.clear(),
            _ => self.edge.tls(HOST),
        }
    }
}

/// What a visitor asks for.
#[derive(Debug)]
enum Asked {
    Page(String),
    Script(&'static str, String),
}

impl Asked {
    fn of(visitor: usize, number: usize) -> Self {
        let script = |method| Self::Script(method, format!("/dynamic/{visitor}/{number}"));
        match number % 8 {
            0 | 4 => Self::Page("/tutorial/index.html".to_owned()),
            1 | 5 => Self::Page(format!("/tutorial/index.html?n={visitor}-{number}")),
            2 | 6 => script("GET"),
            3 => script("POST"),
            _ => script("PUT"),
        }
    }

    /// Whether this is the whole answer of one of the sides.
    fn is_answered_by(&self, content: &[u8], page: &[u8]) -> bool {
        match self {
            Self::Page(_) => content == page,
            Self::Script(method, target) => ["a", "b"]
                .iter()
                .any(|side| content == format!("{method} {target} of side {side}\n").as_bytes()),
        }
    }

    fn request(&self) -> String {
        match self {
            Self::Page(target) => format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
            Self::Script("GET", target) => format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
            Self::Script(method, target) => format!(
                "{method} {target} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 6\r\n\r\nposted"
            ),
        }
    }
}

/// What reached a side carries an epoch in which it was the master; and no request that is not idempotent came twice.
fn check_logs(masters: &HashMap<u64, Side>, a: &Nginx, b: &Nginx) {
    let mut posts: HashMap<String, usize> = HashMap::new();
    for (side, nginx) in [(Side::A, a), (Side::B, b)] {
        for logged in nginx.log() {
            let epoch = logged
                .epoch
                .unwrap_or_else(|| panic!("no epoch: {logged:?}"));
            assert_eq!(masters.get(&epoch), Some(&side), "{logged:?}");
            if logged.method == "POST" {
                *posts.entry(logged.target).or_default() += 1;
            }
        }
    }
    posts.retain(|_, times| *times > 1);
    assert!(posts.is_empty(), "sent twice: {posts:?}");
}

/// No request reached a side after the edge had said that it adopted an epoch in which that side is not the master.
fn check_adoptions(edge: &Jet9, masters: &HashMap<u64, Side>, a: &Nginx, b: &Nginx) {
    let adoptions: Vec<(u64, f64)> = edge
        .process
        .err
        .all()
        .iter()
        .filter_map(|line| adoption(line))
        .collect();
    for epoch in masters.keys() {
        assert!(
            adoptions.iter().any(|(adopted, _)| adopted == epoch),
            "{epoch} was not adopted"
        );
    }
    let late = a.log().into_iter().chain(b.log()).filter_map(|logged| {
        let (_, adopted) = adoptions
            .iter()
            .find(|(epoch, _)| Some(*epoch) > logged.epoch)?;
        Some((logged.ended - logged.took - adopted, logged))
    });
    let stragglers: Vec<(f64, Logged)> = late.filter(|(late, _)| *late > SLACK).collect();
    assert!(stragglers.len() <= STRAGGLERS, "{stragglers:?}");
    assert!(
        stragglers.iter().all(|(late, _)| *late < CUT),
        "{stragglers:?}"
    );
}

/// What the edge says of its requests is what the sides say.
fn check_access_log(edge: &Jet9, a: &Nginx, b: &Nginx) {
    let logged = |side: &'static str, nginx: &Nginx| {
        let log = nginx.log().into_iter();
        log.map(move |logged| (logged.request_id, side, logged.epoch))
            .collect::<Vec<_>>()
    };
    let known: HashSet<_> = [logged("a", a), logged("b", b)]
        .concat()
        .into_iter()
        .collect();
    for line in edge.access_log().lines() {
        let side = match line["side"].as_str() {
            Some("a") => "a",
            Some("b") => "b",
            _ => continue,
        };
        let request_id = line["request_id"].as_str().expect("an id").to_owned();
        assert!(
            known.contains(&(request_id, side, line["epoch"].as_u64())),
            "no side knows of {line}"
        );
    }
}

/// The epoch that a line of the edge says was adopted, and when, in seconds since 1970.
fn adoption(line: &str) -> Option<(u64, f64)> {
    let (_, words) = line.split_once("adopted cluster=c-1 ")?;
    let value = |name: &str| {
        words
            .split(' ')
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let wall_ms: f64 = value("wall_ms")?.parse().ok()?;
    Some((value("epoch")?.parse().ok()?, wall_ms / 1_000.0))
}

/// Seconds between the last look at the epoch, before a request's first byte is written, and the moment in which nginx reads that byte: the way
/// through the kernel, and nginx's clock, which it looks at once for each round of events.
const SLACK: f64 = 0.25;

/// Requests of a whole run that may take longer on that way: those whose thread a crowded machine put aside between look and write.
const STRAGGLERS: usize = 3;

/// Seconds after which connections of the old epoch are cut, whatever is under way on them, with the slack of a crowded machine.
const CUT: f64 = 3.0;

/// How long nobody is the master.
const SWITCH: Duration = Duration::from_millis(60);

/// Fewer than an edge takes of one connection.
const REQUESTS_PER_CONNECTION: usize = 500;

/// Far more requests than a visitor makes.
const REQUESTS_MAX: usize = 1_000_000;
