//! An etcd that speaks TLS and knows its users.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use super::super::support::cluster::Side;
use super::super::support::edge::JET9;
use super::super::support::etcd::Etcd;
use super::super::support::scene::scene;
use super::super::support::tls::issue;
use super::super::support::wait::until_true;
use super::Stage;

/// `jet9 cluster get c-1` at the etcd itself, with another certificate authority or password.
fn get(etcd: &Etcd, ca: Option<&str>, password: Option<&str>) -> Output {
    command(etcd, ca, password).output().expect("a program")
}

fn command(etcd: &Etcd, ca: Option<&str>, password: Option<&str>) -> Command {
    let secured = etcd.secured().expect("it is secured");
    let text = |path: &std::path::Path| path.display().to_string();
    let ca = ca.map_or_else(|| text(&secured.ca), str::to_owned);
    let password = password.map_or_else(|| text(&secured.password), str::to_owned);
    let mut command = Command::new(JET9);
    command
        .args(["cluster", "get", "c-1", "--etcd", &etcd.urls().join(",")])
        .args([
            "--ca",
            &ca,
            "--username",
            secured.user,
            "--password-file",
            &password,
        ]);
    command
}

#[test]
fn an_etcd_with_tls_and_users_is_followed_and_published_to() {
    scene(Duration::from_secs(120), |scene| {
        let mut stage = Stage::set_with(scene, Etcd::start_secured(scene), "confirmed");
        stage.move_to(Side::B, 1);
        let told = stage.edge.command(&[
            "cluster",
            "publish",
            "--cluster",
            "c-1",
            "--phase",
            "serving",
            "--master",
            "a",
            "--expect-epoch",
            "3",
            "--ended",
            "demoted",
        ]);
        assert!(told.status.success(), "{told:?}");
        stage.until_served_by(Side::A);
        stage.etcd.kill(0);
        stage.cluster = stage.cluster.serving(Side::A);
        stage.move_to(Side::B, 2);

        let good = get(&stage.etcd, None, None);
        assert!(good.status.success(), "{good:?}");
        let put = |name: &str, text: &str| {
            let path = scene.dir().join(name);
            fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let other = put("other.pem", &issue(&["127.0.0.1"]).pem);
        let wrong = put("wrong", "se cret \n");
        for (ca, password, why) in [
            (Some(other.as_str()), None, "certificate"),
            (None, Some(wrong.as_str()), "authentication failed"),
        ] {
            let refused = get(&stage.etcd, ca, password);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(
                !refused.status.success() && said.contains(why),
                "{refused:?}"
            );
        }
    });
}

#[test]
fn members_that_want_certificates_are_shown_one_and_let_nobody_else_in() {
    scene(Duration::from_secs(120), |scene| {
        let etcd = Etcd::start_certified(scene);
        let mut stage = Stage::set_with(scene, etcd, "lease");
        stage.move_to(Side::B, 1);
        let certificate = stage.etcd.secured().and_then(|it| it.certificate.clone());
        let certificate = certificate.expect("they want one").display().to_string();
        let mut with = command(&stage.etcd, None, None);
        let with = with.args(["--certificate", &certificate]).output();
        let with = with.expect("a program");
        assert!(with.status.success(), "{with:?}");
        let without = get(&stage.etcd, None, None);
        assert!(!without.status.success(), "{without:?}");
        let other = scene.dir().join("other.pem");
        fs::write(&other, issue(&["edge.test"]).pem).expect("a file");
        let named = scene.dir().join("etcd-named.pem");
        // Where there are users, the gateway takes no certificate that names one.
        for (path, why) in [(other, ""), (named, "CommonName")] {
            let mut refused = command(&stage.etcd, None, None);
            let refused = refused.arg("--certificate").arg(&path).output();
            let refused = refused.expect("a program");
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && said.contains(why), "{said}");
        }
    });
}

#[test]
fn a_certificate_that_is_renewed_is_shown_at_the_next_connection() {
    scene(Duration::from_secs(120), |scene| {
        let etcd = Etcd::start_certified(scene);
        let mut stage = Stage::set_with(scene, etcd, "confirmed");
        let certificate = stage.etcd.secured().and_then(|it| it.certificate.clone());
        let certificate = certificate.expect("they want one");
        let good = fs::read(&certificate).expect("a file");
        let show = |pem: &[u8]| {
            let next = scene.dir().join("next.pem");
            fs::write(&next, pem).expect("a file");
            fs::rename(&next, &certificate).expect("renewed");
        };
        show(issue(&["edge.test"]).pem.as_bytes());
        stage.etcd.kill(0); // the edge has to connect again
        until_true("members let nobody in who shows the new one", || {
            stage.edge.metric("jet9_cluster_oldest_state_age_seconds") > 2.0
        });
        assert!(stage.edge.process.err.contain("renewed certificates"));
        show(b"-----BEGIN");
        until_true("a bad one is told of", || {
            stage.edge.process.err.contain("what was read before stays")
        });
        show(&good);
        stage.move_to(Side::B, 1);
    });
}
