//! Sites made, replaced, removed and rolled back by calls, beside the hand that may edit the same files.

use std::fs;

use serde_json::{Value, json};

use super::super::support::cluster::Cluster;
use super::super::support::edge::Jet9;
use super::super::support::http1::Response;
use super::super::support::scene::scene;
use super::super::support::setup::Setup;
use super::super::support::wait::until_true;
use super::{LIMIT, call, stored_pages};

fn document(id: &str, domain: &str) -> Value {
    json!({
        "id": id, "domains": [domain], "https": "both",
        "origin": { "cluster": "c-1" }, "cache": { "profile": "rfc" },
    })
}

fn put(edge: &Jet9, id: &str, document: &Value) -> Response {
    edge.admin("PUT", &format!("/v1/sites/{id}"), document)
}

#[test]
fn a_site_is_served_by_the_first_request_after_the_answer() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .default_certificate(&["*.n.test"])
            .start(scene);
        for round in 0..50 {
            let (id, domain) = (format!("n-{round}"), format!("n-{round}.n.test"));
            let answer = put(&edge, &id, &document(&id, &domain));
            assert_eq!(answer.status, 201, "{answer:?}");
            assert_eq!(answer.head.field("etag"), Some("\"1\""));
            assert_eq!(edge.get(&domain, "/x").text(), "page /x");
            let over_tls = format!("GET /y HTTP/1.1\r\nHost: {domain}\r\n\r\n");
            assert_eq!(edge.tls(&domain).ask(over_tls).text(), "page /y");
            let answer = edge.admin("DELETE", &format!("/v1/sites/{id}"), &Value::Null);
            assert_eq!(answer.status, 204, "{answer:?}");
            assert_eq!(edge.get(&domain, "/x").status, 404);
        }
        assert_eq!(edge.get("site.test", "/x").text(), "page /x");
    });
}

#[test]
fn a_removed_site_takes_what_it_stored_along_also_when_nobody_watched() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let mut edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .disk("64MiB")
            .start(scene);
        let file = edge.files.dir.join("state/sites/s-1.toml");
        let text = fs::read_to_string(&file).expect("a document");
        let fetched = |edge: &Jet9, count: usize| {
            assert_eq!(edge.get("site.test", "/x").text(), "page /x");
            assert_eq!(origin.count("/x"), count);
        };
        fetched(&edge, 1);
        fetched(&edge, 1);
        edge.admin("DELETE", "/v1/sites/s-1", &Value::Null);
        let toml = "Content-Type: application/toml\r\n";
        let answer = call(&edge, "PUT /v1/sites/s-1", toml, &text);
        assert_eq!(answer.status, 201, "{answer:?}");
        fetched(&edge, 2);
        edge.terminate();
        edge.process.wait(LIMIT);
        fs::remove_file(&file).expect("remove");
        edge.start_again();
        edge.process.kill();
        edge.files.put("state/sites/s-1.toml", &text);
        edge.start_again();
        fetched(&edge, 3);
    });
}

#[test]
fn a_document_keeps_its_text_its_versions_and_its_tag() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let mut edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let toml = "Content-Type: application/toml\r\n";
        let text = "# why it is here\nid = \"s-2\"\ndomains = [\"two.test\"]\n[origin]\ncluster = \"c-1\"\n";
        assert_eq!(call(&edge, "PUT /v1/sites/s-2", toml, text).status, 201);
        let same = json!({"domains": ["two.test"], "origin": {"cluster": "c-1"}});
        let answer = put(&edge, "s-2", &same);
        assert_eq!(answer.status, 200, "{answer:?}");
        let shown = call(
            &edge,
            "GET /v1/sites/s-2",
            "Accept: application/toml\r\n",
            "",
        );
        assert_eq!(
            (shown.text().as_str(), shown.head.field("etag")),
            (text, Some("\"1\""))
        );

        let tried = edge.admin(
            "PUT",
            "/v1/sites/s-2?dry_run=1",
            &document("s-2", "three.test"),
        );
        let told: Value = serde_json::from_str(&tried.text()).expect("JSON");
        let changes = told["changes"].as_array().expect("a list");
        let domains =
            json!({"pointer": "/domains", "before": ["two.test"], "after": ["three.test"]});
        assert!(changes.contains(&domains), "{told}");
        assert_eq!(edge.get("three.test", "/").status, 404);

        let replaced = put(&edge, "s-2", &document("s-2", "three.test"));
        assert_eq!(replaced.head.field("etag"), Some("\"2\""));
        edge.files.put(
            "state/sites/s-2.toml",
            &text.replace("two.test", "by-hand.test"),
        );
        until_true("the hand's edit is in force", || {
            edge.get("by-hand.test", "/").status == 200
        });
        let stale = call(
            &edge,
            "PUT /v1/sites/s-2",
            "If-Match: \"2\"\r\n",
            document("s-2", "four.test").to_string(),
        );
        assert_eq!(stale.status, 412, "{stale:?}");
        edge.process.kill();
        edge.start_again();
        let versions = edge.admin("GET", "/v1/sites/s-2/versions", &Value::Null);
        let versions: Value = serde_json::from_str(&versions.text()).expect("JSON");
        let by: Vec<&str> = versions["versions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|version| version["by"].as_str().expect("a name"))
            .collect();
        assert_eq!(by.len(), 3, "{versions}");
        assert!(by[0] == "file" && by[1].starts_with("uid:"), "{by:?}");
        let back = edge.admin("POST", "/v1/sites/s-2/rollback", &json!({"version": 1}));
        assert_eq!(back.head.field("etag"), Some("\"4\""), "{back:?}");
        assert_eq!(edge.get("two.test", "/").status, 200);
        let kept = fs::read_to_string(edge.files.dir.join("state/sites/s-2.toml"));
        assert_eq!(kept.expect("there"), text);
    });
}

#[test]
fn bad_input_of_every_kind_is_told_clearly_and_what_was_good_stays() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let json = "Content-Type: application/json\r\n";
        let check = |line: &str, fields: &str, content: &[u8], status: u16, words: &[&str]| {
            let answer = call(&edge, line, fields, content);
            let told = answer.text();
            assert_eq!(answer.status, status, "{line}: {told}");
            let kind = answer.head.field("content-type");
            assert_eq!(kind, Some("application/problem+json"), "{line}");
            let problem: Value = serde_json::from_str(&told).expect("JSON");
            assert_eq!(problem["status"], status);
            for word in words {
                assert!(told.contains(word), "{word} is not in {told}");
            }
            assert_eq!(edge.get("site.test", "/x").text(), "page /x", "{line}");
        };
        let put = "PUT /v1/sites/s-1";
        let mut wrong = document("s-1", "site.test");
        wrong["htps"] = json!("both");
        wrong["origin"]["port"] = json!(-1);
        let all = ["/htps", "/origin/port", "did you mean `https`?"];
        check(put, json, wrong.to_string().as_bytes(), 422, &all);
        let other = document("s-9", "nine.test").to_string();
        check(put, json, other.as_bytes(), 422, &["/id", "s-9"]);
        let taken = document("s-2", "site.test").to_string();
        let told = ["/domains/0", "belongs to site `s-1`"];
        check("PUT /v1/sites/s-2", json, taken.as_bytes(), 409, &told);
        check(put, json, b"{\"id\": \"\xff\"}", 400, &[]);
        check(put, json, b"[", 400, &[]);
        check(put, json, b"[]", 422, &[]);
        let toml = "Content-Type: application/toml\r\n";
        check(put, toml, b"id = \"s-1\"\n# \xff", 400, &["utf-8"]);
        let lines = b"id = \"s-1\"\ndomains = [\"site.test\"]\n[orijin]\n";
        check(put, toml, lines, 422, &["line 3, column 2", "/orijin"]);
        let kind = "Content-Type: text/html\r\n";
        check(put, kind, b"x", 415, &["application/toml"]);
        let older = "Content-Type: application/json\r\nIf-Match: \"0\"\r\n";
        let good = document("s-1", "other.test").to_string();
        check(put, older, good.as_bytes(), 412, &["version 1"]);
        check(
            "PUT /v1/sites/s-1?dryrun=1",
            json,
            good.as_bytes(),
            400,
            &["dryrun"],
        );
        let large = vec![b' '; 100 << 20];
        check(put, json, &large, 413, &["limits.admin_body"]);
        let tags: Vec<String> = (0..10_000).map(|tag| format!("t-{tag}")).collect();
        let tags = json!({ "site": "s-1", "tags": tags }).to_string();
        let told = ["10000 things to purge; at most 1000"];
        check("POST /v1/purges", json, tags.as_bytes(), 422, &told);
        let unknown = "Authorization: Bearer 0123456789abcdef\r\n";
        let all = b"{\"site\": \"s-1\", \"all\": true}";
        check("POST /v1/purges", unknown, all, 401, &["no such token"]);
        check(
            "POST /v1/sites/s-1/rollback",
            json,
            b"{\"version\": 7}",
            404,
            &["version 7"],
        );
        check(
            "POST /v1/sites/s-1/rollback",
            json,
            b"{}",
            422,
            &["/version"],
        );
        check("DELETE /v1/sites/none", "", b"", 404, &["none"]);
        check("GET /v1/sites/..%2f..%2fx/versions", "", b"", 404, &[]);
        assert!(edge.is_alive());
    });
}

#[test]
fn a_token_of_one_site_reaches_no_other() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let wish = json!({"name": "shop", "scopes": ["site:s-2:write", "site:s-2:purge"]});
        let made = edge.admin("POST", "/v1/tokens", &wish);
        let made: Value = serde_json::from_str(&made.text()).expect("JSON");
        let secret = made["token"].as_str().expect("a secret");
        let token = format!("Authorization: Bearer {secret}\r\n");
        let check = |line: &str, content: &Value, status: u16| {
            let content = match content {
                Value::Null => String::new(),
                content => content.to_string(),
            };
            let fields = format!("{token}Content-Type: application/json\r\n");
            let answer = call(&edge, line, &fields, &content);
            assert_eq!(answer.status, status, "{line}: {}", answer.text());
        };
        check("PUT /v1/sites/s-2", &document("s-2", "two.test"), 201);
        check("GET /v1/sites/s-2", &Value::Null, 200);
        check("POST /v1/purges", &json!({"site": "s-2", "all": true}), 200);
        // Not another's, whether it is there or not, nor another's by its own document.
        for other in ["s-1", "s-3"] {
            let path = format!("/v1/sites/{other}");
            check(&format!("GET {path}"), &Value::Null, 403);
            check(&format!("PUT {path}"), &document(other, "x.test"), 403);
            check(&format!("DELETE {path}"), &Value::Null, 403);
            check(&format!("GET {path}/versions"), &Value::Null, 403);
            check(
                &format!("POST {path}/rollback"),
                &json!({"version": 1}),
                403,
            );
            check("POST /v1/purges", &json!({"site": other, "all": true}), 403);
        }
        check("PUT /v1/sites/s-2", &document("s-1", "two.test"), 422);
        check("PUT /v1/sites/s-2", &document("s-2", "site.test"), 409);
        check("GET /v1/sites", &Value::Null, 403);
        check("GET /v1/clusters", &Value::Null, 403);
        check("GET /v1/tokens", &Value::Null, 403);
        check("POST /v1/tokens", &wish, 403);
        check("DELETE /v1/tokens/shop", &Value::Null, 403);
        assert_eq!(edge.get("site.test", "/x").text(), "page /x");
    });
}

#[test]
fn a_hand_edit_with_an_error_is_told_and_what_was_good_is_served_over_a_restart_too() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let mut edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let file = edge.files.dir.join("state/sites/s-1.toml");
        let text = fs::read_to_string(&file).expect("a document");
        edge.files
            .put("state/sites/s-1.toml", &format!("{text}\n[orijin]\n"));
        let told = "/orijin: unknown key";
        until_true("it is told", || edge.process.err.contain(told));
        for _ in 0..2 {
            assert_eq!(edge.get("site.test", "/x").text(), "page /x");
            let shown = edge.admin("GET", "/v1/sites/s-1", &Value::Null).text();
            let shown: Value = serde_json::from_str(&shown).expect("JSON");
            assert_eq!(
                (&shown["status"], &shown["generation"]),
                (&json!("lagging"), &json!(1))
            );
            assert_eq!(shown["problems"][0]["pointer"], "/orijin");
            let listed = edge.command(&["site", "ls", "-o", "table"]);
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            assert!(listed.contains("s-1  lagging"), "{listed}");
            edge.process.kill();
            edge.start_again();
        }
        let stands_in = "version 1, which was in force before, is served";
        assert!(edge.process.err.contain(stands_in));
        edge.files.put("state/sites/s-1.toml", &text);
        until_true("the good document is in force", || {
            let shown = edge.admin("GET", "/v1/sites/s-1", &Value::Null).text();
            shown.contains("in-force")
        });
    });
}
