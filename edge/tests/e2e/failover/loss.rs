//! A master that lost its last writes: what was stored of it is validated before it is served again, once, whatever happens in between.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::support::cluster::{Cluster, Side};
use super::super::support::edge::Jet9;
use super::super::support::origin::Origin;
use super::super::support::refusing_disk::{deaf, limit_files};
use super::super::support::scene::scene;
use super::super::support::setup::{Setup, Site};
use super::super::support::wait::{SOON, unix_ms, until_true};

const PURGES: &str = "jet9_cluster_loss_purges_total";

/// An origin whose answers are numbered, and may be stored for long.
fn numbered() -> Origin {
    let asked = AtomicUsize::new(0);
    Origin::start(move |_, wire| {
        let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
        let content = format!("version {number}");
        wire.answer(
            "200 OK",
            "Cache-Control: max-age=600\r\n",
            content.as_bytes(),
        )
    })
}

/// Publishes that the master before lost its last writes.
fn publish_loss(edge: &Jet9, cluster: &Cluster) {
    let mut document = cluster.document();
    document["prev"]["data_loss_from_unix_ms"] = (unix_ms() - 60_000).into();
    let path = format!("state/clusters/{}.json", cluster.id);
    edge.files.put(&path, &document.to_string());
}

/// The page is of this version; asked for twice, so that it is stored.
fn check_version(edge: &Jet9, version: usize) {
    for _ in 0..2 {
        let page = edge.get("site.test", "/page");
        assert_eq!(page.text(), format!("version {version}"), "{page:?}");
    }
}

fn until_purged(edge: &Jet9, times: f64) {
    until_true("the purge for the loss is done", || {
        edge.metric(PURGES) == times
    });
}

/// Stops it in order and starts it again: what is stored outlives that.
fn restart(edge: &mut Jet9, meanwhile: impl FnOnce(&Jet9)) {
    edge.terminate();
    assert!(edge.process.wait(SOON).success());
    meanwhile(edge);
    edge.start_again();
}

#[test]
fn what_was_stored_of_a_master_that_lost_writes_is_validated_once_and_over_restarts() {
    scene(Duration::from_secs(60), |scene| {
        let (origin, other) = (numbered(), numbered());
        let mut cluster = Cluster::of_two("c-1", origin.address, origin.address);
        let mut edge = Setup::new()
            .site(Site::of("s-1", &["site.test"]).sections("[cache]\nadmission = \"all\"\n"))
            .site(Site::of("s-2", &["other.test"]).cluster("c-2"))
            .cluster(cluster.clone())
            .cluster(Cluster::of_one("c-2", other.address))
            .disk("64MiB")
            .start(scene);
        check_version(&edge, 1);
        assert_eq!(edge.get("other.test", "/").text(), "version 1");

        cluster = cluster.serving(Side::B);
        publish_loss(&edge, &cluster);
        until_purged(&edge, 1.0);
        check_version(&edge, 2);
        let spared = edge.get("other.test", "/");
        assert_eq!(spared.text(), "version 1", "the site of another cluster");
        until_true("it is in the log", || {
            let log = &edge.process.err;
            log.contain("epoch=2: 1 sites are purged")
        });

        cluster = cluster.serving(Side::A);
        restart(&mut edge, |edge| publish_loss(edge, &cluster));
        until_purged(&edge, 1.0);
        check_version(&edge, 3);

        restart(&mut edge, |_| ());
        check_version(&edge, 3);
        assert_eq!(edge.metric(PURGES), 0.0, "it was done before");

        // As a crash leaves it between the adoption and the purge.
        restart(&mut edge, |edge| {
            edge.files.edit("data/epochs.json", |text| {
                let owed = r#""purge_owed":{"data_loss_from_unix_ms":17,"epoch":3}"#;
                assert!(text.contains(r#""purge_owed":null"#), "{text}");
                text.replace(r#""purge_owed":null"#, owed)
            });
        });
        until_purged(&edge, 2.0); // the record of the other cluster was changed too
        check_version(&edge, 4);
        restart(&mut edge, |_| ());
        check_version(&edge, 4);
        assert_eq!(edge.metric(PURGES), 0.0);
    });
}

#[test]
fn while_the_disk_refuses_what_a_loss_demands_nothing_is_fresh_and_it_is_done_afterwards() {
    scene(Duration::from_secs(60), |scene| {
        let origin = numbered();
        let cluster = Cluster::of_two("c-1", origin.address, origin.address);
        let files = Setup::new()
            .site(Site::of("s-1", &["site.test"]).sections("[cache]\nadmission = \"all\"\n"))
            .cluster(cluster.clone())
            .disk("64MiB")
            .write(scene.dir());
        let mut edge = Jet9::start_as(deaf, scene, files);
        check_version(&edge, 1);
        limit_files(&edge, Some(0));
        publish_loss(&edge, &cluster.serving(Side::B));
        until_true("neither epoch nor purge can be written", || {
            edge.metric("jet9_cluster_epochs_unwritten") == 1.0
        });
        for version in 2..4 {
            let page = edge.get("site.test", "/page");
            assert_eq!(page.text(), format!("version {version}"), "{page:?}");
        }
        assert_eq!(edge.metric(PURGES), 0.0);
        limit_files(&edge, None);
        until_purged(&edge, 1.0);
        until_true("the epoch is written", || {
            edge.metric("jet9_cluster_epochs_unwritten") == 0.0
        });
        check_version(&edge, 4);
        // The volume that failed may be empty; what was done is done.
        restart(&mut edge, |edge| {
            edge.files.edit("data/epochs.json", |text| {
                assert!(text.contains(r#""purge_owed":null"#), "{text}");
                text
            });
        });
        assert_eq!(edge.metric(PURGES), 0.0, "it was done before");
    });
}
