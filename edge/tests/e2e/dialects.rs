//! What plugins send is understood as they mean it (`edge/tests/dialects`), from those who may, and touches nothing of another site.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;

use super::support::cluster::Cluster;
use super::support::edge::Jet9;
use super::support::http1::{Broken, Client, Response, get};
use super::support::origin::Origin;
use super::support::scene::scene;
use super::support::setup::{Setup, Site};

#[cfg(test)]
mod failing_disk;
#[cfg(test)]
mod hostile;

const LIMIT: Duration = Duration::from_secs(180);

/// Where a side of the site purges from, one of the other site, one of two sites, and nobody.
const SIDE: &str = "127.0.0.2";
const OTHER_SIDE: &str = "127.0.0.3";
const SHARED_SIDE: &str = "127.0.0.1";
const STRANGER: &str = "127.0.0.9";

/// What one plugin sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "where it is from is for readers")]
struct Plugin {
    plugin: String,
    package: String,
    version: String,
    commit: String,
    file: String,
    expects: String,
    pages: BTreeMap<String, String>,
    #[serde(rename = "case")]
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    host: Option<String>,
    requests: Vec<Vec<String>>,
    answers: Option<u16>,
    says: Option<String>,
    purges: Vec<String>,
}

/// An origin whose answers say how often their target was asked for, with the fields that a test gives to targets.
struct Pages {
    origin: Origin,
    fields: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Pages {
    fn start() -> Self {
        let fields: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let asked = Mutex::new(BTreeMap::<String, usize>::new());
        let given = Arc::clone(&fields);
        let origin = Origin::start(move |seen, wire| {
            let content = wire.content();
            let version = {
                let mut asked = asked.lock();
                let times = asked
                    .entry(format!("{:?} {}", seen.field("host"), seen.target))
                    .or_default();
                *times += 1;
                *times
            };
            drop(content);
            let own = given.lock().get(&seen.target).cloned().unwrap_or_default();
            let own = if own.is_empty() {
                own
            } else {
                format!("{own}\r\n")
            };
            let fields = format!("Cache-Control: max-age=600\r\n{own}");
            wire.answer("200 OK", &fields, format!("version {version}").as_bytes())
        });
        Self { origin, fields }
    }

    fn give(&self, target: &str, fields: &str) {
        self.fields
            .lock()
            .insert(target.to_owned(), fields.to_owned());
    }
}

/// Two sites, each on a cluster of its own; both may be asked for at one address.
fn setup(pages: &Pages) -> Setup {
    let port = pages.origin.address.port();
    let side = |text: &str| format!("{text}:{port}").parse().expect("an address");
    Setup::new()
        .site(Site::of("s-1", &["site.test", "www.site.test"]))
        .site(Site::of("s-2", &["other.test"]).cluster("c-2"))
        .cluster(Cluster::of_two("c-1", side(SHARED_SIDE), side(SIDE)))
        .cluster(Cluster::of_two("c-2", side(SHARED_SIDE), side(OTHER_SIDE)))
        .disk("128MiB")
}

fn from(edge: &Jet9, source: &str) -> Client {
    let source: IpAddr = source.parse().expect("an address");
    Client::clear_from(source, edge.bound.http)
}

fn request(line: &str, host: &str, fields: &[String]) -> String {
    let mut text = format!("{line} HTTP/1.1\r\nHost: {host}\r\n");
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

/// What is stored for a target, fetched before if it was not; a visitor sees no tag of it.
fn stored(edge: &Jet9, host: &str, target: &str) -> String {
    let asked = || {
        let answer = edge.clear().ask(get(host, target));
        let hidden = [
            "cache-tags",
            "x-cache-tags",
            "xkey",
            "purge-cache-tags",
            "x-magento-tags",
            "typo3-pid",
            "typo3-sitename",
            "x-litespeed-tag",
            "x-litespeed-purge",
        ];
        for name in hidden {
            assert_eq!(answer.head.field(name), None, "{answer:?}");
        }
        answer
    };
    let (first, second) = (asked(), asked());
    assert!(second.is_shared(), "{host}{target}: {second:?}");
    assert_eq!(first.text(), second.text());
    second.text()
}

/// A GET that says whether it was answered from the store.
fn is_stored(edge: &Jet9, host: &str, target: &str, version: &str) -> bool {
    let answer = edge.clear().ask(get(host, target));
    assert_eq!(
        answer.text() == version,
        answer.is_shared(),
        "{host}{target}: {answer:?}"
    );
    answer.is_shared()
}

fn play(edge: &Jet9, pages: &[String], case: &Case, told: &str) {
    let before =
        |host| -> Vec<String> { pages.iter().map(|page| stored(edge, host, page)).collect() };
    let (own, others) = (before("site.test"), before("other.test"));
    let address = edge.bound.http.to_string();
    let host = match case.host.as_deref() {
        Some("edge") => &address,
        Some(host) => host,
        None => "site.test",
    };
    for sent in &case.requests {
        let (line, fields) = sent.split_first().expect("a request line");
        let mut client = from(edge, SIDE);
        let answer = client.ask(request(line, host, fields));
        check_answer(&answer, case, &format!("{told}: {line}"));
        let closes =
            fields.iter().any(|field| field == "Connection: close") || answer.status == 400;
        if closes && answer.head.field("connection") == Some("close") {
            assert!(client.is_closed(), "{told}");
        }
        let asked = fields.iter().any(|field| field == "Connection: close");
        assert!(
            !asked || answer.head.field("connection") == Some("close"),
            "{told}: {answer:?}"
        );
    }
    for (page, version) in pages.iter().zip(&own) {
        let (kept, purged) = (
            edge.clear().ask(get("site.test", page)).text() == *version,
            case.purges.contains(page),
        );
        assert_eq!(kept, !purged, "{told}: {page}");
    }
    for (page, version) in pages.iter().zip(&others) {
        assert!(
            is_stored(edge, "other.test", page, version),
            "{told}: {page} of the other site"
        );
    }
}

fn check_answer(answer: &Response, case: &Case, told: &str) {
    assert_eq!(
        answer.status,
        case.answers.unwrap_or(200),
        "{told}: {answer:?}"
    );
    assert!(
        answer.head.field("content-length").is_some(),
        "{told}: {answer:?}"
    );
    if let Some(says) = &case.says {
        assert!(answer.text().contains(says), "{told}: {}", answer.text());
    }
}

fn plugins() -> Vec<Plugin> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/dialects");
    let files = std::fs::read_dir(directory).expect("a directory").flatten();
    let mut paths: Vec<_> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a file");
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn what_plugins_send_purges_exactly_what_they_mean() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let edge = setup(&pages).start(scene);
        let plugins = plugins();
        assert!(plugins.len() >= 5, "the data is there");
        for plugin in plugins {
            // What other plugins left is another's.
            edge.command(&["purge", "--site", "s-1", "--all", "--hard"]);
            edge.command(&["purge", "--site", "s-2", "--all", "--hard"]);
            for (target, fields) in &plugin.pages {
                pages.give(target, fields);
            }
            let targets: Vec<String> = plugin.pages.keys().cloned().collect();
            for case in &plugin.cases {
                play(
                    &edge,
                    &targets,
                    case,
                    &format!("{}: {}", plugin.plugin, case.name),
                );
            }
        }
    });
}

#[test]
fn only_a_side_a_listed_network_or_a_token_may_purge_and_never_another_site() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let listed = "[cache]\nprofile = \"rfc\"\n\n[purge]\nfrom = [\"127.0.0.8\"]\n";
        let site = Site::of("s-3", &["listed.test"])
            .cluster("c-2")
            .sections(listed);
        let edge = setup(&pages).site(site).start(scene);
        let token = edge.token();
        let bearer = format!("Authorization: Bearer {token}");
        let edge_host = edge.bound.http.to_string();
        let check = |source: &str, method: &str, host: &str, field: &str, status: u16| {
            let sent = request(&format!("{method} /x"), host, &[field.to_owned()]);
            let answer = from(&edge, source).ask(sent);
            assert_eq!(
                answer.status, status,
                "{source} {method} {host} {field}: {answer:?}"
            );
        };
        for method in ["PURGE", "BAN", "URIBAN", "FULLBAN"] {
            check(SIDE, method, "site.test", "X-A: b", 200);
            check(SIDE, method, "other.test", "X-A: b", 403);
            check(OTHER_SIDE, method, "site.test", "X-A: b", 403);
            check(STRANGER, method, "site.test", "X-A: b", 403);
            check(STRANGER, method, "site.test", &bearer, 200);
            check(
                STRANGER,
                method,
                "site.test",
                "Authorization: Bearer nonsense-nonsense-nonsense",
                403,
            );
            check("127.0.0.8", method, "listed.test", "X-A: b", 200);
            check("127.0.0.8", method, "site.test", "X-A: b", 403);
            // By its own address alone: one site, several, or none.
            check(SIDE, method, &edge_host, "X-A: b", 200);
            check("127.0.0.8", method, &edge_host, "X-A: b", 200);
            check(SHARED_SIDE, method, &edge_host, "X-A: b", 404);
            check(STRANGER, method, &edge_host, "X-A: b", 404);
        }
        check(STRANGER, "PURGEKEYS", "site.test", "xkey: a", 403);
        check(SIDE, "PURGEKEYS", "site.test", "xkey: a", 200);
    });
}

#[test]
fn a_page_below_the_purge_location_is_a_page_for_visitors() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let edge = setup(&pages).start(scene);
        let version = stored(&edge, "site.test", "/x");
        let visitor = from(&edge, STRANGER).ask(get("site.test", "/purge/x"));
        assert_eq!(
            (visitor.status, visitor.text()),
            (200, "version 1".to_owned())
        );
        assert!(is_stored(&edge, "site.test", "/x", &version));
        let side = from(&edge, SIDE).ask(get("site.test", "/purge/x"));
        assert_eq!(side.text(), "purged\n");
        assert!(!is_stored(&edge, "site.test", "/x", &version));
    });
}

#[test]
fn a_save_sends_fifty_purges_at_once_and_before_any_redirect() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let site = Site::of("s-3", &["secure.test"]).https("redirect");
        let edge = setup(&pages).site(site).start(scene);
        let target = |number| format!("/page/{number}/");
        let warm = |number| {
            edge.tls("secure.test")
                .ask(get("secure.test", &target(number)))
        };
        for number in 0..5 {
            assert_eq!(warm(number).text(), "version 1");
        }
        assert_eq!(
            edge.get("secure.test", "/page/0/").status,
            301,
            "it does redirect"
        );
        let purge = |number| request(&format!("PURGE {}", target(number)), "secure.test", &[]);
        // On one connection, without waiting for answers; then each on its own, all at once.
        let mut one = from(&edge, SIDE);
        one.send((0..50).map(purge).collect::<String>());
        for _ in 0..50 {
            assert_eq!(one.answer("PURGE").expect("an answer").status, 200);
        }
        let mut each: Vec<Client> = (0..50).map(|_| from(&edge, SIDE)).collect();
        for (number, client) in each.iter_mut().enumerate() {
            client.send(purge(number));
        }
        for client in &mut each {
            assert_eq!(client.answer("PURGE").expect("an answer").status, 200);
        }
        for number in 0..5 {
            assert_eq!(warm(number).text(), "version 2", "over https too");
        }
    });
}

#[test]
fn a_side_purges_by_its_answers_on_its_own_site_alone() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let edge = setup(&pages).start(scene);
        pages.give("/tagged", "X-LiteSpeed-Tag: abc_post_1,abc_home");
        pages.give("/grouped", "Cache-Groups: \"g 1\"");
        let targets = ["/tagged", "/grouped", "/plain"];
        let check = |method: &str, target: &str, order: &str, purges: &[&str]| {
            let versions = |host: &str| targets.map(|target| stored(&edge, host, target));
            let (own, others) = (versions("site.test"), versions("other.test"));
            pages.give(target, order);
            let sent = request(
                &format!("{method} {target}"),
                "site.test",
                &["Content-Length: 0".to_owned()],
            );
            let answer = from(&edge, STRANGER).ask(sent);
            assert_eq!(answer.status, 200);
            assert_eq!(answer.head.field("x-litespeed-purge"), None, "{answer:?}");
            for (target, version) in targets.iter().zip(&own) {
                let kept = is_stored(&edge, "site.test", target, version);
                assert_eq!(kept, !purges.contains(target), "{order}: {target}");
            }
            for (target, version) in targets.iter().zip(&others) {
                assert!(
                    is_stored(&edge, "other.test", target, version),
                    "{order}: {target}"
                );
            }
        };
        check(
            "POST",
            "/save",
            "X-LiteSpeed-Purge: tag=abc_post_1",
            &["/tagged"],
        );
        check(
            "GET",
            "/cron",
            "X-LiteSpeed-Purge: public,/plain",
            &["/plain"],
        );
        check(
            "GET",
            "/cron-2",
            "X-LiteSpeed-Purge2: stale,abc_home; private,*",
            &["/tagged"],
        );
        check("POST", "/all", "X-LiteSpeed-Purge: *", &targets);
        check(
            "POST",
            "/group",
            "Cache-Group-Invalidation: \"g 1\"",
            &["/grouped"],
        );
        check("GET", "/group-2", "Cache-Group-Invalidation: \"g 1\"", &[]);
    });
}

#[test]
fn a_connection_is_kept_or_closed_as_the_sender_wants() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let edge = setup(&pages).start(scene);
        let mut client = from(&edge, SIDE);
        for _ in 0..3 {
            let answer = client.ask(request("PURGE /x", "site.test", &[]));
            assert_eq!(
                (answer.status, answer.head.field("content-length")),
                (200, Some("7"))
            );
        }
        client.ask(request(
            "PURGE /x",
            "site.test",
            &["Connection: close".to_owned()],
        ));
        assert!(client.is_closed());
        let broken = client.answer("PURGE").expect_err("nothing more");
        assert_eq!(broken, Broken::Closed);
    });
}
