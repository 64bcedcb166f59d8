//! `POST /v1/explain` and `jet9 explain` tell what a request then meets, and touch no origin.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::cluster::Cluster;
use super::support::edge::Jet9;
use super::support::http1::get;
use super::support::origin::Origin;
use super::support::scene::scene;
use super::support::setup::{Setup, Site};

const LIMIT: Duration = Duration::from_secs(120);

fn origin() -> Origin {
    Origin::start(|seen, wire| match seen.target.as_str() {
        "/private" => wire.answer("200 OK", "Cache-Control: private\r\n", b"mine"),
        _ => wire.answer(
            "200 OK",
            "Cache-Control: max-age=600\r\nCache-Tag: a\r\n",
            b"ours",
        ),
    })
}

fn setup(origin: &Origin) -> Setup {
    Setup::of(Cluster::of_one("c-1", origin.address))
        .site(Site::of("s-2", &["secure.test"]).https("redirect"))
        .disk("64MiB")
}

fn explained(edge: &Jet9, question: &Value) -> Value {
    let answer = edge.admin("POST", "/v1/explain", question);
    assert_eq!(answer.status, 200, "{question}: {answer:?}");
    serde_json::from_slice(&answer.content).expect("JSON")
}

/// These members of the answer have these values; no side was asked.
#[track_caller]
fn check(edge: &Jet9, origin: &Origin, question: &Value, expected: &Value) {
    let asked = origin.seen().len();
    let said = explained(edge, question);
    for (name, value) in expected.as_object().expect("members") {
        assert_eq!(said[name], *value, "{question}: {name} of {said:#}");
    }
    assert_eq!(origin.seen().len(), asked, "{question}");
}

#[test]
fn it_is_told_what_a_request_then_meets() {
    scene(LIMIT, |scene| {
        let origin = origin();
        let edge = setup(&origin).start(scene);
        let check = |question: Value, expected: Value| check(&edge, &origin, &question, &expected);
        let page = json!({ "url": "http://site.test/page?b=1" });
        check(
            page.clone(),
            json!({ "decision": "fetch", "fetched": "shared", "reason": null, "cache_status": "edge1; fwd=uri-miss",
                "key": { "scheme": "http", "host": "site.test", "path_and_query": "/page?b=1" } }),
        );
        let met = edge.get("site.test", "/page?b=1");
        assert!(
            met.head.cache_status().starts_with("edge1; fwd=uri-miss"),
            "{met:?}"
        );
        assert!(edge.get("site.test", "/page?b=1").is_shared());
        let said = explained(&edge, &page);
        assert_eq!(
            (&said["decision"], &said["answer_decides"]),
            (&json!("serve"), &json!([]))
        );
        assert_eq!(
            (&said["stored"]["status"], &said["stored"]["tags"]),
            (&json!(200), &json!(["a"]))
        );
        assert_eq!(
            (&said["master"]["mastership"], &said["master"]["master"]),
            (&json!("live"), &json!("a"))
        );
        assert_eq!(said["site"]["id"], "s-1");
        let no_cache = json!({ "url": "http://site.test/page?b=1", "headers": { "Cache-Control": "no-cache" } });
        check(
            no_cache,
            json!({ "decision": "validate", "reason": "no-cache", "fetched": "apart" }),
        );
        let only = json!({ "url": "http://site.test/absent", "headers": { "Cache-Control": "only-if-cached" } });
        check(only, json!({ "decision": "refuse", "status": 504 }));
        check(
            json!({ "method": "POST", "url": "http://site.test/page" }),
            json!({ "decision": "pass-through", "reason": "method" }),
        );
        check(
            json!({ "url": "http://secure.test/x" }),
            json!({ "decision": "redirect", "status": 301 }),
        );
        check(
            json!({ "url": "https://secure.test/x" }),
            json!({ "decision": "fetch" }),
        );
        check(
            json!({ "url": "http://nobody.test/" }),
            json!({ "decision": "refuse", "status": 404, "error": "unknown-host", "site": null }),
        );
        check(
            json!({ "url": "http://site.test/", "headers": { "Content-Length": ["1", "2"] } }),
            json!({ "decision": "refuse", "status": 400 }),
        );
        edge.get("site.test", "/private");
        check(
            json!({ "url": "http://site.test/private" }),
            json!({ "decision": "fetch", "reason": "predicted-uncacheable", "learned": "private", "fetched": "alone" }),
        );
        let purge =
            json!({ "method": "PURGE", "url": "http://site.test/.*", "client": "127.0.0.1" });
        check(
            purge,
            json!({ "decision": "purge", "purge": { "things": 1, "mode": "hard" } }),
        );
        let stranger =
            json!({ "method": "PURGE", "url": "http://site.test/.*", "client": "192.0.2.1" });
        check(stranger, json!({ "decision": "refuse", "status": 403 }));
        let pattern =
            json!({ "method": "PURGE", "url": "http://site.test/*a*", "client": "127.0.0.1" });
        check(pattern, json!({ "decision": "refuse", "status": 400 }));
        // Nothing of all this was done.
        assert!(edge.get("site.test", "/page?b=1").is_hit());
    });
}

#[test]
fn the_command_tells_the_same() {
    scene(LIMIT, |scene| {
        let origin = origin();
        let edge = setup(&origin).start(scene);
        let run = |arguments: &[&str]| {
            let output = edge.command(arguments);
            (
                output.status.code(),
                String::from_utf8(output.stdout).expect("text"),
            )
        };
        edge.clear().ask(get("site.test", "/page"));
        let (code, text) = run(&["explain", "http://site.test/page"]);
        assert_eq!(code, Some(0));
        assert!(text.starts_with("decision        serve\n"), "{text}");
        let arguments = [
            "explain",
            "-o",
            "json",
            "-X",
            "HEAD",
            "-H",
            "Cookie: a=b",
            "-H",
            "Cookie: c=d",
            "http://site.test/x",
        ];
        let (code, text) = run(&arguments);
        let said: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((code, &said["decision"]), (Some(0), &json!("fetch")));
        assert_eq!(
            run(&["explain", "-H", "nonsense", "http://site.test/"]).0,
            Some(2)
        );
        assert_ne!(run(&["explain", "site.test"]).0, Some(0));
        assert_eq!(origin.seen().len(), 1);
    });
}
