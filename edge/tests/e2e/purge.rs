//! After a purge is answered, nothing older is served without asking the origin again: whatever door it came through, wherever the object was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;

use super::support::cluster::Cluster;
use super::support::edge::Jet9;
use super::support::gate::Gate;
use super::support::http1::{Client, get};
use super::support::origin::{After, Origin};
use super::support::scene::scene;
use super::support::setup::{Setup, Site};
use super::support::wait::until_true;

/// Rounds of each kind; `./test --long` asks for more.
fn rounds() -> usize {
    if std::env::var_os("JET9_LONG").is_some() {
        1_000
    } else {
        50
    }
}

fn limit() -> Duration {
    Duration::from_secs(60 + rounds() as u64)
}

/// The ways to purge a URL.
#[derive(Clone, Copy, Debug)]
enum Door {
    Socket,
    Tcp,
    Method,
    Command,
}

impl Door {
    /// The cheap ones in turn; a process of its own now and then.
    const fn of(round: usize) -> Self {
        match round % 12 {
            11 => Self::Command,
            other => match other % 3 {
                0 => Self::Socket,
                1 => Self::Tcp,
                _ => Self::Method,
            },
        }
    }

    fn purge(self, edge: &Jet9, target: &str) {
        let url = format!("http://site.test{target}");
        let body = json!({ "site": "s-1", "urls": [url] });
        let status = match self {
            Self::Socket => edge.admin("POST", "/v1/purges", &body).status,
            Self::Tcp => edge.admin_over_tcp("POST", "/v1/purges", &body).status,
            Self::Method => {
                let request = get("site.test", target).replacen("GET", "PURGE", 1);
                edge.clear().ask(request).status
            }
            Self::Command => {
                let output = edge.command(&["purge", "--site", "s-1", "--url", &url]);
                assert!(output.status.success(), "{output:?}");
                200
            }
        };
        assert_eq!(status, 200, "{self:?}");
    }
}

/// An origin whose answer to each target says how often it was asked.
fn versions() -> Origin {
    let asked = Mutex::new(HashMap::<String, usize>::new());
    Origin::start(move |seen, wire| {
        let version = next(&asked, &seen.target);
        wire.answer(
            "200 OK",
            "Cache-Control: max-age=600\r\n",
            version.as_bytes(),
        )
    })
}

fn next(asked: &Mutex<HashMap<String, usize>>, target: &str) -> String {
    let mut asked = asked.lock();
    let times = asked.entry(target.to_owned()).or_default();
    *times += 1;
    format!("version {times}")
}

/// A site whose PURGE method is open to the tests.
fn setup(origin: &Origin) -> Setup {
    let site = Site::of("s-1", &["site.test"])
        .sections("[cache]\nprofile = \"rfc\"\n\n[purge]\nfrom = [\"127.0.0.0/8\"]\n");
    Setup::new()
        .site(site)
        .cluster(Cluster::of_one("c-1", origin.address))
        .disk("256MiB")
}

/// Asks three times at once: one fetch for all of them, and it is stored at once.
fn check_fetched_anew(edge: &Jet9, origin: &Origin, target: &str, version: usize) {
    let mut clients: Vec<Client> = (0..3).map(|_| edge.clear()).collect();
    for client in &mut clients {
        client.send(get("site.test", target));
    }
    for client in &mut clients {
        let answer = client.answer("GET").expect("an answer");
        assert_eq!(
            answer.text(),
            format!("version {version}"),
            "{target}: {answer:?}"
        );
    }
    let stored = edge.get("site.test", target);
    assert!(stored.is_shared(), "{target}: {stored:?}");
    assert_eq!(stored.text(), format!("version {version}"));
    assert_eq!(origin.count(target), version, "{target}");
}

#[test]
fn what_is_in_memory_and_on_disk_is_fetched_anew_after_a_purge() {
    scene(limit(), |scene| {
        let origin = versions();
        let edge = setup(&origin).start(scene);
        for round in 0..rounds() {
            // Each target has several rounds, so that a purge of what an earlier purge left is tried as well.
            let target = format!("/page-{}?x={}", round % 10, round % 2);
            let version = origin.count(&target) + 1;
            if version == 1 {
                check_fetched_anew(&edge, &origin, &target, 1);
            }
            let version = version.max(2);
            Door::of(round).purge(&edge, &target);
            check_fetched_anew(&edge, &origin, &target, version);
        }
    });
}

#[test]
fn a_fill_in_flight_at_the_purge_is_not_served_after_it() {
    scene(limit(), |scene| {
        let asked = Mutex::new(HashMap::new());
        let gates: Arc<Mutex<HashMap<String, Gate>>> = Arc::default();
        let held = Arc::clone(&gates);
        let origin = Origin::start(move |seen, wire| {
            let version = next(&asked, &seen.target);
            let gate = held.lock().get(&seen.target).cloned();
            match gate {
                // The first answer pauses in the middle of its content.
                Some(gate) if version == "version 1" => {
                    wire.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 9\r\n\r\nvers");
                    gate.pass();
                    wire.send("ion 1");
                    After::KeepAlive
                }
                _ => wire.answer(
                    "200 OK",
                    "Cache-Control: max-age=600\r\n",
                    version.as_bytes(),
                ),
            }
        });
        let edge = setup(&origin).start(scene);
        for round in 0..rounds() {
            let (target, gate) = (format!("/flight-{round}"), Gate::default());
            gates.lock().insert(target.clone(), gate.clone());
            let mut early = edge.clear();
            early.send(get("site.test", &target));
            early.head("GET").expect("a head");
            Door::of(round).purge(&edge, &target);
            if round % 2 == 0 {
                // Before the old fill ends, and after.
                check_fetched_anew(&edge, &origin, &target, 2);
            }
            gate.open();
            let mut content = Vec::new();
            while early.more(&mut content).expect("its content") {}
            assert_eq!(
                content, b"version 1",
                "who asked before the purge may have it"
            );
            if round % 2 == 0 {
                assert_eq!(edge.get("site.test", &target).text(), "version 2");
            } else {
                check_fetched_anew(&edge, &origin, &target, 2);
            }
        }
    });
}

#[test]
fn a_purge_outlives_a_crash() {
    scene(limit(), |scene| {
        let origin = versions();
        let mut edge = setup(&origin).start(scene);
        for crash in 0..rounds().div_ceil(PER_CRASH) {
            let purged: Vec<String> = (0..PER_CRASH)
                .map(|n| format!("/purged-{crash}-{n}"))
                .collect();
            let kept = format!("/kept-{crash}");
            for target in purged.iter().chain([&kept]) {
                assert_eq!(edge.get("site.test", target).text(), "version 1");
            }
            let all = (PER_CRASH + 1) as f64 * (crash + 1) as f64;
            until_true("all are on disk", || {
                edge.metric_of("jet9_cache_stored_responses", "tier=\"disk\"") >= all
            });
            for (number, target) in purged.iter().enumerate() {
                Door::of(number).purge(&edge, target);
            }
            edge.process.kill();
            edge.start_again();
            for target in &purged {
                check_fetched_anew(&edge, &origin, target, 2);
            }
            // The control: what was not purged is still there, so the disk did give back what it had.
            let answer = edge.get("site.test", &kept);
            assert!(answer.is_hit(), "{answer:?}");
        }
    });
}

#[test]
fn a_purge_of_a_site_leaves_other_sites_alone_and_strangers_may_not_purge() {
    scene(limit(), |scene| {
        let origin = versions();
        let closed = Site::of("s-2", &["closed.test"]);
        let edge = setup(&origin).site(closed).start(scene);
        for host in ["site.test", "closed.test"] {
            edge.get(host, &format!("/{host}"));
        }
        let all = json!({ "site": "s-1", "all": true });
        assert_eq!(edge.admin("POST", "/v1/purges", &all).status, 200);
        assert!(!edge.get("site.test", "/site.test").is_shared());
        assert!(edge.get("closed.test", "/closed.test").is_shared());

        let mut stranger = Client::clear(edge.bound.admin);
        let refused = stranger
            .ask("POST /v1/purges HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(refused.status, 401, "{refused:?}");
        for (body, status) in [
            (json!({ "site": "nobody", "all": true }), 404..=422),
            (
                json!({ "site": "s-1", "urls": ["http://closed.test/closed.test"] }),
                400..=422,
            ),
            (json!({ "site": "s-1", "urlz": [] }), 400..=422),
            (json!("nonsense"), 400..=422),
        ] {
            let refused = edge.admin("POST", "/v1/purges", &body);
            assert!(status.contains(&refused.status), "{body}: {refused:?}");
        }
        assert!(edge.get("closed.test", "/closed.test").is_shared());
    });
}

/// Objects purged before each crash: every door once.
const PER_CRASH: usize = 12;
