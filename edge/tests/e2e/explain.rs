//! `POST /v1/explain` and `jet9 explain` tell what a request then meets, and touch no origin.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::cluster::Cluster;
use super::support::edge::Jet9;
use super::support::gate::Gate;
use super::support::http1::get;
use super::support::origin::{After, Origin};
use super::support::scene::scene;
use super::support::setup::{Setup, Site};
use super::support::wait::until_true;

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

/// Answers of the side: status, field lines as JSON has them, and the word that comes of them; with the request's own lines.
fn answers() -> Vec<(&'static str, Value, u16, Value, Option<&'static str>)> {
    let none = json!({});
    let tags: Vec<_> = (0..1001).map(|n| n.to_string()).collect();
    let many = json!({ "Cache-Control": "max-age=9", "Cache-Tag": tags.join(",") });
    vec![
        (
            "stored",
            none.clone(),
            200,
            json!({ "Cache-Control": "max-age=9" }),
            None,
        ),
        (
            "no-freshness",
            none.clone(),
            200,
            none.clone(),
            Some("no-freshness"),
        ),
        (
            "no-store",
            none.clone(),
            200,
            json!({ "Cache-Control": "no-store" }),
            Some("no-store"),
        ),
        (
            "private",
            none.clone(),
            200,
            json!({ "Cache-Control": "private" }),
            Some("private"),
        ),
        (
            "no-cache",
            none.clone(),
            200,
            json!({ "Cache-Control": "no-cache" }),
            Some("no-cache"),
        ),
        (
            "vary-star",
            none.clone(),
            200,
            json!({ "Cache-Control": "max-age=9", "Vary": ["Accept", "*"] }),
            Some("vary-star"),
        ),
        (
            "too-many-tags",
            none.clone(),
            200,
            many,
            Some("too-many-tags"),
        ),
        (
            "status",
            none.clone(),
            299,
            json!({ "Cache-Control": "max-age=9, must-understand" }),
            Some("status"),
        ),
        (
            "authorization",
            json!({ "Authorization": "Basic eDp5" }),
            200,
            json!({ "Cache-Control": "max-age=9" }),
            Some("authorization"),
        ),
        (
            "shared",
            json!({ "Authorization": "Basic eDp5" }),
            404,
            json!({ "Cache-Control": "s-maxage=9" }),
            None,
        ),
        (
            "too-large",
            none,
            200,
            json!({ "Cache-Control": "max-age=9", "Content-Length": "2000000000" }),
            Some("too-large"),
        ),
    ]
}

fn lines(headers: &Value) -> String {
    let mut lines = String::new();
    for (name, value) in headers.as_object().expect("headers") {
        let values = match value {
            Value::Array(values) => values.clone(),
            value => vec![value.clone()],
        };
        for value in values {
            lines += &format!("{name}: {}\r\n", value.as_str().expect("text"));
        }
    }
    lines
}

#[test]
fn with_the_answer_of_the_side_it_tells_the_very_reason() {
    scene(LIMIT, |scene| {
        let origin = Origin::start(|seen, wire| {
            let name = seen.target.trim_start_matches('/');
            let answers = answers();
            let found = answers.iter().find(|(target, ..)| *target == name);
            let (_, _, status, headers, _) = found.expect("a target of the table");
            let length = match headers["Content-Length"] {
                Value::Null => "Content-Length: 0\r\n",
                _ => "",
            };
            wire.send(format!(
                "HTTP/1.1 {status} \r\n{length}{}\r\n",
                lines(headers)
            ));
            After::KeepAlive
        });
        let edge = setup(&origin).start(scene);
        for (name, own, status, headers, reason) in answers() {
            let url = format!("http://site.test/{name}");
            let question = json!({ "url": url, "headers": own, "answer": { "status": status, "headers": headers } });
            let said = explained(&edge, &question);
            assert_eq!(
                (&said["reason"], &said["answer_decides"]),
                (&json!(reason), &json!([])),
                "{name}"
            );
            let becomes = if reason.is_some() { "alone" } else { "stored" };
            assert_eq!(said["answer"]["becomes"], becomes, "{name}: {said}");
            let mut client = edge.clear();
            client.send(format!(
                "GET /{name} HTTP/1.1\r\nHost: site.test\r\n{}\r\n",
                lines(&own)
            ));
            let met = client.head("GET").expect("an answer");
            let detail = met
                .cache_status()
                .split_once("detail=")
                .map(|(_, word)| word.to_owned());
            assert_eq!(detail.as_deref(), reason, "{name}: {met:?}");
        }
        // Nobody is there, and an answer that is none.
        let unreachable = json!({ "url": "http://site.test/new", "answer": "none" });
        let said = explained(&edge, &unreachable);
        assert_eq!(
            (&said["decision"], &said["reason"], &said["status"]),
            (&json!("refuse"), &json!("origin-down"), &json!(502))
        );
        let framed_twice = json!({ "url": "http://site.test/new",
            "answer": { "headers": { "Content-Length": "1", "Transfer-Encoding": "chunked" } } });
        assert_eq!(explained(&edge, &framed_twice)["status"], 502);
    });
}

#[test]
fn a_fetch_that_is_under_way_is_told() {
    scene(LIMIT, |scene| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_, wire| {
            held.pass();
            wire.answer("200 OK", "Cache-Control: max-age=600\r\n", b"ours")
        });
        let edge = setup(&origin).start(scene);
        let question = json!({ "url": "http://site.test/slow" });
        assert_eq!(explained(&edge, &question)["under_way"], false);
        let mut client = edge.clear();
        client.send(get("site.test", "/slow"));
        until_true("the side is asked", || origin.seen().len() == 1);
        let said = explained(&edge, &question);
        assert_eq!(
            (&said["under_way"], &said["fetched"]),
            (&json!(true), &json!("shared"))
        );
        gate.open();
        assert_eq!(client.answer("GET").expect("an answer").text(), "ours");
        until_true("it is stored", || {
            explained(&edge, &question)["decision"] == "serve"
        });
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
        let (code, text) = run(&["explain", "-o", "table", "http://site.test/page"]);
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
        let given = [
            "explain",
            "-o",
            "table",
            "http://site.test/x",
            "--answer-status",
            "404",
            "--answer-header",
            "Cache-Control: private",
        ];
        let (code, text) = run(&given);
        assert_eq!(code, Some(0));
        assert!(text.contains("reason          private\n"), "{text}");
        assert!(text.contains("becomes=alone why=private\n"), "{text}");
        let (code, text) = run(&[
            "explain",
            "-o",
            "table",
            "http://site.test/x",
            "--no-answer",
        ]);
        assert_eq!(code, Some(0));
        assert!(text.contains("reason          origin-down\n"), "{text}");
        for wrong in [["--answer-status", "103"], ["--answer-header", "nonsense"]] {
            let arguments = ["explain", "http://site.test/x", wrong[0], wrong[1]];
            assert_eq!(run(&arguments).0, Some(2), "{wrong:?}");
        }
        assert_ne!(run(&["explain", "site.test"]).0, Some(0));
        assert_eq!(origin.seen().len(), 1);
    });
}
