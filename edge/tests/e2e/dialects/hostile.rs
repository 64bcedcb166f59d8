//! Purges that are meant to reach further than their sender may: another site's pages, by another's address, past the framing, or without end.

use serde_json::{Value, json};

use super::super::support::edge::Jet9;
use super::super::support::http1::{Client, get};
use super::super::support::scene::scene;
use super::super::support::setup::Site;
use super::{LIMIT, OTHER_SIDE, Pages, SIDE, STRANGER, from, is_stored, request, setup, stored};

/// Both sites' page is stored; the request gets this status and leaves these alone, or not.
struct Shot<'a> {
    edge: &'a Jet9,
    page: &'a str,
}

impl Shot<'_> {
    /// The status of the answer; whether `site.test` and `other.test` still have their page.
    fn fired(&self, client: &mut Client, sent: impl AsRef<[u8]>) -> (u16, bool, bool) {
        let own = stored(self.edge, "site.test", self.page);
        let others = stored(self.edge, "other.test", self.page);
        let status = client.ask(sent).status;
        (
            status,
            is_stored(self.edge, "site.test", self.page, &own),
            is_stored(self.edge, "other.test", self.page, &others),
        )
    }
}

/// A token with these scopes.
fn token(edge: &Jet9, name: &str, scopes: &[&str]) -> String {
    let made = edge.admin(
        "POST",
        "/v1/tokens",
        &json!({ "name": name, "scopes": scopes }),
    );
    assert_eq!(made.status, 201, "{made:?}");
    let made: Value = serde_json::from_slice(&made.content).expect("JSON");
    made["token"].as_str().expect("a secret").to_owned()
}

#[test]
fn a_name_in_any_spelling_is_the_same_site_and_no_spelling_is_another_s() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let edge = setup(&pages).start(scene);
        let shot = Shot {
            edge: &edge,
            page: "/x?a=1&b=2",
        };
        let check = |line: &str, host: &str, fields: &[&str], expected: (u16, bool, bool)| {
            let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
            let got = shot.fired(&mut from(&edge, SIDE), request(line, host, &fields));
            assert_eq!(got, expected, "{line} {host} {fields:?}");
        };
        let (purged, refused, unclear, malformed) = (
            (200, false, true),
            (403, true, true),
            (400, true, true),
            (400, true, true),
        );
        for host in ["site.test", "SITE.Test", "site.test:8080", "site.test."] {
            check("PURGE /x?a=1&b=2", host, &[], purged);
        }
        check(
            "PURGE http://site.test:81/x?a=1&b=2",
            "site.test:81",
            &[],
            purged,
        );
        // What names another site is another's, wherever it says so.
        check("PURGE /x?a=1&b=2", "other.test", &[], refused);
        check("PURGE /.*", "other.test", &[], refused);
        check(
            "PURGE http://other.test/x?a=1&b=2",
            "other.test",
            &[],
            refused,
        );
        check("PURGE http://other.test/.*", "site.test", &[], malformed);
        check("PURGE //other.test/.*", "site.test", &[], (200, true, true));
        check(
            "BAN /",
            "site.test",
            &["X-Host: other.test", "X-Url: .*"],
            unclear,
        );
        check(
            "BAN /",
            "site.test",
            &["X-Ban-Host: other.test", "X-Ban-Url: .*"],
            unclear,
        );
        check(
            "BAN /",
            "site.test",
            &["X-Host: OTHER.test", "X-Url: ^/x$"],
            unclear,
        );
        // The same where the Host says nothing and the address tells the site.
        let own = edge.bound.http.to_string();
        check("PURGE /.*", &own, &[], purged);
        check("BAN /", &own, &["X-Host: other.test", "X-Url: .*"], unclear);
        check("PURGE /x?a=1&b=2", "nobody.test", &[], purged);
        // Fields that name another host are no names of requests.
        let forged = ["X-Forwarded-Host: other.test", "X-Original-Url: /.*"];
        check("PURGE /x?a=1&b=2", "site.test", &forged, purged);
    });
}

#[test]
fn a_name_below_a_wildcard_that_is_another_site_s_is_that_one_s() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let wild = Site::of("s-3", &["*.wild.test"]);
        let exact = Site::of("s-4", &["a.wild.test"]).cluster("c-2");
        let edge = setup(&pages).site(wild).site(exact).start(scene);
        let check = |source: &str, host: &str, fields: &[&str], status: u16, kept: bool| {
            let version = stored(&edge, "a.wild.test", "/x");
            let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
            let answer = from(&edge, source).ask(request("BAN /", host, &fields));
            assert_eq!(answer.status, status, "{source} {host}: {answer:?}");
            assert_eq!(
                is_stored(&edge, "a.wild.test", "/x", &version),
                kept,
                "{source} {host}"
            );
        };
        check(SIDE, "a.wild.test", &[], 403, true);
        check(SIDE, "b.wild.test", &[], 200, true);
        check(
            SIDE,
            "b.wild.test",
            &["X-Host: a.wild.test", "X-Url: /x"],
            400,
            true,
        );
        check(OTHER_SIDE, "b.wild.test", &[], 403, true);
        let named = json!({ "site": "s-3", "urls": ["http://a.wild.test/x"] });
        let refused = edge.admin("POST", "/v1/purges", &named);
        assert_eq!(refused.status, 422, "{refused:?}");
        check(OTHER_SIDE, "a.wild.test", &[], 200, false);
    });
}

#[test]
fn who_sends_is_told_by_the_connection_and_by_nothing_that_is_sent() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let edge = setup(&pages).start(scene);
        let shot = Shot {
            edge: &edge,
            page: "/x",
        };
        for field in [
            "X-Forwarded-For: 127.0.0.2",
            "X-Real-IP: 127.0.0.2",
            "Forwarded: for=127.0.0.2",
            "X-Client-IP: 127.0.0.2",
            "Client-IP: 127.0.0.2",
            "Jet9-Epoch: 1",
            "Authorization: Basic OjE=",
            "Authorization: Bearer",
            "X-Auth-Key:",
        ] {
            let sent = request("PURGE /x", "site.test", &[field.to_owned()]);
            let got = shot.fired(&mut from(&edge, STRANGER), sent);
            assert_eq!(got, (403, true, true), "{field}");
        }
        let line = "PROXY TCP4 127.0.0.2 127.0.0.1 1 2\r\n";
        let sent = line.to_owned() + &request("PURGE /x", "site.test", &[]);
        let got = shot.fired(&mut from(&edge, STRANGER), sent);
        assert_eq!(got, (400, true, true), "nobody's PROXY line is believed");
    });
}

#[test]
fn a_token_of_a_site_purges_that_site_alone() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let edge = setup(&pages).start(scene);
        let shot = Shot {
            edge: &edge,
            page: "/x",
        };
        let basic = |secret: &str| {
            use base64::Engine as _;
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("any:{secret}"));
            format!("Authorization: Basic {pair}")
        };
        let bearer = |secret: &str| format!("Authorization: Bearer {secret}");
        let check = |host: &str, field: &str, expected: (u16, bool, bool)| {
            for line in ["PURGE /x", "PURGE /.*", "BAN /"] {
                let sent = request(line, host, &[field.to_owned()]);
                let got = shot.fired(&mut from(&edge, STRANGER), sent);
                assert_eq!(got, expected, "{line} {host}");
            }
        };
        let one = token(&edge, "one", &["site:s-1:purge"]);
        let address = edge.bound.http.to_string();
        for field in [bearer(&one), basic(&one), format!("X-Auth-Key: {one}")] {
            check("site.test", &field, (200, false, true));
            check("other.test", &field, (403, true, true));
            check(&address, &field, (200, false, true));
        }
        let two = token(&edge, "two", &["site:s-1:purge", "site:s-2:purge"]);
        check("other.test", &bearer(&two), (200, true, false));
        check(&address, &bearer(&two), (404, true, true));
        let weak = token(
            &edge,
            "weak",
            &["read", "site:s-1:write", "cluster:c-1:publish"],
        );
        check("site.test", &bearer(&weak), (403, true, true));
        // Two credentials are none, and what was withdrawn is nobody's.
        let both = format!("{}\r\nX-Auth-Key: {one}", bearer(&one));
        check("site.test", &both, (403, true, true));
        assert_eq!(
            edge.admin("DELETE", "/v1/tokens/one", &Value::Null).status,
            204
        );
        check("site.test", &bearer(&one), (403, true, true));
    });
}

#[test]
fn the_content_of_a_purge_is_no_request() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let edge = setup(&pages).start(scene);
        let shot = Shot {
            edge: &edge,
            page: "/x",
        };
        let smuggled = request("PURGE /.*", "site.test", &[]);
        let length = smuggled.len();
        for (fields, content, status) in [
            (format!("Content-Length: {length}"), smuggled.clone(), 200),
            (
                "Transfer-Encoding: chunked".to_owned(),
                format!("{length:x}\r\n{smuggled}\r\n0\r\n\r\n"),
                200,
            ),
            (
                format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
                format!("0\r\n\r\n{smuggled}"),
                400,
            ),
        ] {
            let mut client = from(&edge, SIDE);
            let sent =
                request("PURGE /other", "site.test", std::slice::from_ref(&fields)) + &content;
            let got = shot.fired(&mut client, sent);
            assert_eq!(got, (status, true, true), "{fields}");
            assert!(
                client.is_closed(),
                "{fields}: what was not read is not a request"
            );
        }
        // Nor are a visitor's requests that follow his content.
        let mut visitor = from(&edge, STRANGER);
        let sent = format!(
            "POST /form HTTP/1.1\r\nHost: site.test\r\nContent-Length: {length}\r\n\r\n{smuggled}"
        );
        assert_eq!(shot.fired(&mut visitor, sent), (200, true, true));
    });
}

#[test]
fn tags_of_any_number_and_any_bytes_purge_what_they_name_or_nothing() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let edge = setup(&pages).start(scene);
        pages.give("/many", "xkey: t-7 b");
        let many: Vec<_> = (0..10_000).map(|n| format!("t-{n}")).collect();
        let sent = |tags: &str| request("PURGE /", "site.test", &[format!("xkey: {tags}")]);
        for (tags, expected, kept) in [
            // More than a head may have; more than one purge may name.
            (many.join(" "), 431, true),
            (many[..5000].join(" "), 400, true),
            (many[..1000].join(" "), 200, false),
        ] {
            let version = stored(&edge, "site.test", "/many");
            let status = from(&edge, SIDE).ask(sent(&tags)).status;
            assert_eq!(status, expected, "{} bytes", tags.len());
            assert_eq!(
                is_stored(&edge, "site.test", "/many", &version),
                kept,
                "{}",
                tags.len()
            );
        }
        let version = stored(&edge, "site.test", "/many");
        let mut bytes = sent("").into_bytes();
        let place = bytes
            .windows(6)
            .position(|window| window == b"xkey: ")
            .expect("a field")
            + 6;
        bytes.splice(place..place, *b"caf\xe9 b");
        assert_eq!(
            from(&edge, SIDE).ask(&bytes).status,
            200,
            "no text is no reason"
        );
        assert!(!is_stored(&edge, "site.test", "/many", &version));
        assert!(edge.is_alive());
    });
}

#[test]
fn a_purge_of_a_url_is_of_all_that_is_stored_for_it() {
    scene(LIMIT, |scene| {
        let pages = Pages::start();
        let edge = setup(&pages).start(scene);
        pages.give("/v", "Vary: Accept-Language");
        let ask = |scheme: &str, language: &str| {
            let line = format!("Accept-Language: {language}");
            let sent = request("GET /v", "site.test", &[line]);
            match scheme {
                "https" => edge.tls("site.test").ask(sent),
                _ => edge.clear().ask(sent),
            }
        };
        let all = [
            ("http", "de"),
            ("http", "en"),
            ("https", "de"),
            ("https", "en"),
        ];
        for (line, fields) in [
            ("PURGE /v", vec![]),
            ("PURGE /v", vec!["Fastly-Soft-Purge: 1".to_owned()]),
            ("URIBAN /v", vec![]),
        ] {
            for (scheme, language) in all {
                ask(scheme, language);
                assert!(ask(scheme, language).is_shared(), "{scheme} {language}");
            }
            let answer = from(&edge, SIDE).ask(request(line, "site.test:4711", &fields));
            assert_eq!(answer.status, 200);
            for (scheme, language) in all {
                let after = ask(scheme, language);
                assert!(
                    !after.is_shared(),
                    "{line} {fields:?} {scheme} {language}: {after:?}"
                );
            }
        }
        // What is asked for by HEAD is the same page.
        let version = stored(&edge, "site.test", "/v");
        from(&edge, SIDE).ask(request("PURGE /v", "site.test", &[]));
        let head = edge
            .clear()
            .ask(get("site.test", "/v").replacen("GET", "HEAD", 1));
        assert!(!head.is_shared(), "{head:?}");
        assert_ne!(edge.get("site.test", "/v").text(), version);
    });
}
