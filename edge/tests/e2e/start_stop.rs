//! Clean starts, reloads and stops.

use std::time::Duration;

use super::support::cluster::Cluster;
use super::support::edge::Jet9;
use super::support::gate::Gate;
use super::support::http1::get;
use super::support::origin::{After, Origin};
use super::support::scene::scene;
use super::support::setup::{Setup, Site};
use super::support::wait::{SOON, now, until_true};

const LIMIT: Duration = Duration::from_secs(60);

/// Answers at once, but `/slow` in two parts with a gate between them.
fn origin_with(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |seen, wire| {
        wire.content();
        if !seen.target.starts_with("/slow") {
            return wire.answer("200 OK", "Cache-Control: max-age=600\r\n", b"fast");
        }
        wire.send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 9\r\n\r\nslow ");
        gate.pass();
        wire.send("page");
        After::KeepAlive
    })
}

#[test]
fn a_stop_loses_no_response_under_way_and_ends_when_the_last_is_over() {
    scene(LIMIT, |scene| {
        let gate = Gate::default();
        let origin = origin_with(&gate);
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let mut slow = [edge.clear(), edge.tls("site.test"), edge.clear()];
        for (client, target) in slow.iter_mut().zip(["/slow-1", "/slow-2", "/slow-3"]) {
            let method = if target == "/slow-3" { "POST" } else { "GET" };
            let request = get("site.test", target).replacen("GET", method, 1);
            client.send(request.replacen("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n", 1));
            let head = client.head(method).expect("a head");
            assert_eq!(head.status, 200);
        }
        let mut http2 = edge.http2("site.test");
        let streaming = http2.begin("GET", "site.test", "/slow-4");
        let mut idle = edge.clear();
        assert_eq!(idle.ask(get("site.test", "/fast")).text(), "fast");

        edge.terminate();
        assert!(idle.is_closed(), "an idle connection stays open");
        until_true("nobody is accepted any more", || {
            std::net::TcpStream::connect(edge.bound.http).is_err()
        });
        assert_eq!(edge.process.ended(), None, "it did not wait");
        gate.open();
        for client in &mut slow {
            let mut content = Vec::new();
            while client.more(&mut content).expect("the rest") {}
            assert_eq!(content, b"slow page");
            assert!(client.is_closed());
        }
        let fetched = streaming.rest(Vec::new());
        assert_eq!(fetched.content, b"slow page");
        assert_eq!(fetched.end, super::support::http2::End::Clean);
        drop(http2);
        assert!(
            edge.process.wait(SOON).success(),
            "{}",
            edge.process.words()
        );
    });
}

#[test]
fn a_stop_ends_at_its_limit_whatever_is_under_way() {
    scene(LIMIT, |scene| {
        let gate = Gate::default();
        let origin = origin_with(&gate);
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .limit("drain = \"1s\"")
            .start(scene);
        let mut client = edge.clear();
        client.send(get("site.test", "/slow"));
        client.head("GET").expect("a head");
        let asked = now();
        edge.terminate();
        edge.process.wait(SOON);
        assert!(
            asked.elapsed() >= Duration::from_millis(900),
            "{:?}",
            asked.elapsed()
        );
        assert!(
            asked.elapsed() < Duration::from_secs(8),
            "{:?}",
            asked.elapsed()
        );
        let mut content = Vec::new();
        while client.more(&mut content) == Ok(true) {}
        assert_ne!(content, b"slow page", "who could have sent that?");
        gate.open();
    });
}

#[test]
fn an_idle_edge_stops_at_once() {
    scene(LIMIT, |scene| {
        let origin = origin_with(&Gate::default());
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .disk("64MiB")
            .start(scene);
        edge.get("site.test", "/fast");
        let asked = now();
        edge.terminate();
        assert!(
            edge.process.wait(SOON).success(),
            "{}",
            edge.process.words()
        );
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{:?}",
            asked.elapsed()
        );
    });
}

#[test]
fn documents_are_read_again_and_a_bad_one_leaves_the_old_in_force() {
    scene(LIMIT, |scene| {
        let origin = origin_with(&Gate::default());
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        assert_eq!(edge.get("new.test", "/fast").status, 404);
        edge.files.put_site(&Site::of("s-2", &["new.test"]));
        edge.reload();
        until_true("the new site is served", || {
            edge.get("new.test", "/fast").status == 200
        });

        edge.files.put(
            "state/sites/s-2.toml",
            "id = \"s-2\"\ndomains = [\"new.test\"]\n[origin]\nclusta = \"c-1\"\n",
        );
        edge.reload();
        until_true("it says what is bad", || {
            edge.process
                .err
                .contain("s-2.toml:4:1: /origin/clusta: unknown key")
        });
        assert!(edge.metric("jet9_config_rejected_total") > 0.0);
        assert_eq!(edge.get("new.test", "/fast").status, 200);

        std::fs::remove_file(edge.files.dir.join("state/sites/s-2.toml")).expect("a file");
        edge.reload();
        until_true("the site is gone", || {
            edge.get("new.test", "/fast").status == 404
        });
        check_rotation(&edge);
    });
}

/// The access log is opened anew at a reload, as those who rotate logs expect.
fn check_rotation(edge: &Jet9) {
    let (log, rotated) = (
        edge.files.dir.join("access.log"),
        edge.files.dir.join("access.log.1"),
    );
    std::fs::rename(&log, rotated).expect("a file");
    edge.reload();
    until_true("the log is there again", || {
        edge.get("site.test", "/fast");
        std::fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 0)
    });
}

#[test]
fn two_edges_never_share_a_data_directory() {
    scene(LIMIT, |scene| {
        let origin = origin_with(&Gate::default());
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .disk("64MiB")
            .start(scene);
        let second = super::support::edge::run_refused(scene, &edge.files, SOON);
        assert_eq!(
            second.ended().and_then(|status| status.code()),
            Some(1),
            "{}",
            second.words()
        );
        assert_eq!(edge.get("site.test", "/fast").text(), "fast");
    });
}
