//! A hosting panel that tells the edge what it does to sites, by the hook in `deploy/panel`.
//!
//! The panel of this test knows of the edge only what a panel would: its address, a token, and the hook. What it may rely on: after the hook
//! ended with 0 the edge serves the site as the panel said it last, events may come twice, and other sites never notice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use super::support::cluster::Cluster;
use super::support::edge::Jet9;
use super::support::origin::Origin;
use super::support::scene::scene;
use super::support::setup::Setup;

const LIMIT: Duration = Duration::from_secs(120);

/// A panel that has the sites of its customers.
struct Panel {
    api: String,
    token: PathBuf,
}

impl Panel {
    /// Of an edge that it reaches over TCP, as its administrator.
    fn of(edge: &Jet9, dir: &Path) -> Self {
        let token = dir.join("panel.token");
        fs::write(&token, edge.token()).expect("a file");
        Self {
            api: format!("http://{}", edge.bound.admin),
            token,
        }
    }

    /// Something happened to a site.
    fn event(&self, event: &str, site: &str, domains: &str) -> Output {
        Command::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../deploy/panel/jet9-site-hook"
        ))
        .arg(event)
        .env("JET9_API", &self.api)
        .env("JET9_TOKEN_FILE", &self.token)
        .env("JET9_SITE", site)
        .env("JET9_DOMAINS", domains)
        .env("JET9_CLUSTER", "c-1")
        .env("JET9_ATTEMPTS", "2")
        .env("JET9_PAUSE", "0")
        .output()
        .expect("a shell")
    }

    /// Something happened to a site, and the edge took it.
    fn tell(&self, event: &str, site: &str, domains: &str) {
        let output = self.event(event, site, domains);
        assert!(output.status.success(), "{event} {site}: {output:?}");
    }

    /// Something happened to a site that the hook ends with `code` for, saying `words`.
    fn tell_in_vain(&self, event: &str, site: &str, domains: &str, code: i32, words: &str) {
        let output = self.event(event, site, domains);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{event} {site}: {told}");
        assert!(told.contains(words), "{event} {site}: {told}");
    }
}

fn generation(edge: &Jet9, site: &str) -> Value {
    let answer = edge.admin("GET", &format!("/v1/sites/{site}"), &Value::Null);
    assert_eq!(answer.status, 200, "{answer:?}");
    let site: Value = serde_json::from_str(&answer.text()).expect("JSON");
    site["generation"].clone()
}

#[test]
fn what_a_panel_says_is_served_when_the_hook_has_ended() {
    scene(LIMIT, |scene| {
        let origin = Origin::start(|seen, wire| {
            let host = seen.field("host").unwrap_or("nobody");
            wire.answer("200 OK", "", host.as_bytes())
        });
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let panel = Panel::of(&edge, scene.dir());
        let serves = |host: &str| edge.get(host, "/").text() == host;

        panel.tell("created", "customer-1", "one.test www.one.test");
        assert!(serves("one.test") && serves("www.one.test"));
        let first = generation(&edge, "customer-1");
        panel.tell("created", "customer-1", "one.test www.one.test");
        assert_eq!(generation(&edge, "customer-1"), first, "nothing changed");

        panel.tell("changed", "customer-1", "one.test *.one.test");
        assert!(serves("one.test") && serves("shop.one.test"));
        assert_ne!(generation(&edge, "customer-1"), first);

        panel.tell("deleted", "customer-1", "");
        assert!(!serves("one.test") && !serves("shop.one.test"));
        panel.tell("deleted", "customer-1", "");
        assert!(serves("site.test"), "the other site never noticed");
    });
}

#[test]
fn a_panel_is_told_why_not_and_whether_to_try_again() {
    scene(LIMIT, |scene| {
        let origin = Origin::start(|_, wire| wire.answer("200 OK", "", b"here"));
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let panel = Panel::of(&edge, scene.dir());

        panel.tell_in_vain("created", "customer-1", "site.test", 1, "s-1");
        panel.tell_in_vain("created", "customer-1", "not_a_name!", 2, "JET9_DOMAINS");
        panel.tell_in_vain("created", "customer-1", "", 2, "JET9_DOMAINS is empty");
        panel.tell_in_vain("created", "../s-1", "one.test", 2, "JET9_SITE");
        panel.tell_in_vain("moved", "customer-1", "one.test", 2, "usage");
        assert_eq!(edge.get("site.test", "/").text(), "here");

        edge.process.kill();
        panel.tell_in_vain("created", "customer-1", "one.test", 75, "2 attempts");
    });
}
