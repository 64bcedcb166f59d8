//! Which certificate, which site: by the name of the handshake and the host of the request.

use std::time::Duration;

use super::support::cluster::Cluster;
use super::support::edge::Jet9;
use super::support::http1::{Client, get};
use super::support::http2::{End, Http2};
use super::support::origin::Origin;
use super::support::scene::{Scene, scene};
use super::support::setup::{Setup, Site};

const LIMIT: Duration = Duration::from_secs(60);

/// Two sites, one of them with a wildcard, and a default certificate.
fn start(scene: &Scene, origin: &Origin) -> Jet9 {
    Setup::new()
        .site(Site::of("s-1", &["one.test", "*.one.test"]))
        .site(Site::of("s-2", &["two.test"]))
        .cluster(Cluster::of_one("c-1", origin.address))
        .default_certificate(&["default.test"])
        .start(scene)
}

fn origin() -> Origin {
    Origin::start(|seen, wire| {
        let content = format!(
            "{} of {}",
            seen.target,
            seen.field("host").unwrap_or("nobody")
        );
        wire.answer(
            "200 OK",
            "Cache-Control: max-age=600\r\n",
            content.as_bytes(),
        )
    })
}

#[test]
fn sites_are_found_by_name_and_both_protocols_hit() {
    scene(LIMIT, |scene| {
        let origin = origin();
        let edge = start(scene, &origin);
        for host in ["one.test", "www.one.test", "two.test"] {
            let content = format!("/x of {host}");
            let first = edge.tls(host).ask(get(host, "/x"));
            assert_eq!(
                (first.status, first.text()),
                (200, content.clone()),
                "{first:?}"
            );
            assert!(!first.is_shared());
            let second = edge.tls(host).ask(get(host, "/x"));
            assert!(second.is_shared(), "{second:?}");
            let third = edge.http2(host).get(host, "/x");
            assert!(third.is_shared(), "{third:?}");
            assert_eq!(
                (third.content, third.end),
                (content.into_bytes(), End::Clean)
            );
        }
        assert_eq!(origin.count("/x"), 3);
    });
}

#[test]
fn a_host_of_another_site_than_the_handshakes_is_misdirected() {
    scene(LIMIT, |scene| {
        let origin = origin();
        let edge = start(scene, &origin);
        let mut client = edge.tls("one.test");
        assert_eq!(
            client.ask(get("www.one.test", "/x")).status,
            200,
            "the same site"
        );
        assert_eq!(client.ask(get("two.test", "/x")).status, 421);
        let mut client = edge.http2("one.test");
        assert_eq!(client.get("two.test", "/x").status(), 421);
        assert_eq!(client.get("one.test", "/x").status(), 200);
        assert!(
            origin
                .seen()
                .iter()
                .all(|seen| seen.field("host") != Some("two.test"))
        );
    });
}

#[test]
fn an_unknown_host_is_not_found_and_an_unknown_name_gets_the_default_certificate() {
    scene(LIMIT, |scene| {
        let origin = origin();
        let edge = start(scene, &origin);
        let clients: [fn(&Jet9) -> Client; 2] = [Jet9::clear, |edge| edge.tls("default.test")];
        for connect in clients {
            let answer = connect(&edge).ask(get("nobody.test", "/x"));
            assert_eq!(answer.status, 404, "{answer:?}");
        }
        assert_eq!(
            edge.get("a.b.one.test", "/x").status,
            404,
            "a wildcard is one label"
        );
        let mut client: Http2 = edge.http2("default.test");
        assert_eq!(client.get("default.test", "/x").status(), 404);
        assert!(origin.seen().is_empty());
    });
}

#[test]
fn a_port_a_trailing_dot_and_upper_case_change_nothing() {
    scene(LIMIT, |scene| {
        let origin = origin();
        let edge = start(scene, &origin);
        for host in ["one.test", "ONE.test", "one.test.", "one.test:8080"] {
            let answer = edge.get(host, "/same");
            assert_eq!(answer.status, 200, "{host}: {answer:?}");
        }
        assert_eq!(origin.count("/same"), 1);
    });
}
