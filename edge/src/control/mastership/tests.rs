//! Mastership followed in a real directory: switches, refusals, restarts, publishing.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use jet9_config::node::EtcdEndpoint;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;
use crate::origin::connect::Planned;

/// A state directory, a data directory, and what was told of ended epochs.
struct Place {
    directory: TempDir,
    ended: Arc<Mutex<Vec<(String, u64, Planned)>>>,
    registry: Registry,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            ended: Arc::default(),
            registry: Registry::new(),
        }
    }

    fn clusters(&self) -> PathBuf {
        self.directory.path().join("state/clusters")
    }

    /// Publishes as the contract says: by rename.
    fn publish(&self, cluster: &str, text: &str) {
        fs::create_dir_all(self.clusters()).expect("a directory");
        let temporary = self.clusters().join(format!(".{cluster}.tmp"));
        fs::write(&temporary, text).expect("write");
        fs::rename(&temporary, self.clusters().join(format!("{cluster}.json"))).expect("rename");
    }

    fn start(&mut self) -> Result<Arc<Masters>, StartError> {
        self.start_from(&ClusterSource::Directory(self.clusters()))
    }

    fn start_from(&mut self, source: &ClusterSource) -> Result<Arc<Masters>, StartError> {
        let ended = Arc::clone(&self.ended);
        let end = move |id: &ClusterId, epoch: Epoch, planned| {
            ended.lock().push((id.to_string(), epoch.0, planned));
        };
        self.registry = Registry::new();
        let events = Events::new(clock::WallClock::System, &self.registry);
        let events = Arc::new(events.expect("free names"));
        let data = self.directory.path().join("data");
        Masters::follow(source, &data, 6, Box::new(end), &self.registry, events)
    }

    /// Ends the masters, once this is written down: a disk that is slow holds up no switch, and a test of what outlives a restart has to wait.
    async fn stop(&self, masters: Arc<Masters>, written: &str) {
        let path = self.directory.path().join("data").join(EPOCHS_FILE);
        let is_written = || fs::read_to_string(&path).is_ok_and(|text| text.contains(written));
        let writing = async {
            while !is_written() {
                masters.reload().await; // each look tries again
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), writing).await;
        waited.expect("a disk that takes it");
    }

    fn count(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map_or(&[][..], |family| family.get_metric());
        metrics
            .iter()
            .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
            .sum()
    }
}

fn id(text: &str) -> ClusterId {
    ClusterId::parse(text).expect("an id")
}

fn document(cluster: &str, epoch: u64, phase: &str, master: Option<&str>, reason: &str) -> String {
    serde_json::json!({
        "v": 1, "cluster": cluster, "epoch": epoch, "phase": phase, "master": master,
        "sides": {
            "a": {"addrs": ["192.0.2.10:80"]}, "b": {"addrs": ["198.51.100.10:80"]},
        },
        "fencing": "confirmed", "reason": reason, "hold_ms": 5000, "prev": {"ended": "demoted"},
    })
    .to_string()
}

fn serving(cluster: &str, epoch: u64, master: &str) -> String {
    document(cluster, epoch, "serving", Some(master), "standby")
}

fn live(masters: &Masters, cluster: &str) -> Option<(Side, u64)> {
    match masters.current(&id(cluster)) {
        Mastership::Live { side, epoch, .. } => Some((side, epoch.0)),
        _ => None,
    }
}

/// Waits until the fact holds, woken by the changes of the cluster.
async fn until(masters: &Masters, cluster: &str, fact: impl Fn(&Masters) -> bool) {
    let mut changed = masters.changed(&id(cluster));
    let wait = async {
        while !fact(masters) {
            changed.changed().await.expect("the masters live");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("the fact");
}

#[tokio::test]
async fn a_switch_is_followed_and_the_old_epoch_ended() {
    let mut place = Place::new();
    place.publish("c1", &serving("c1", 40, "a"));
    let masters = place.start().expect("start");
    assert_eq!(live(&masters, "c1"), Some((Side::A, 40)));
    place.publish("c1", &document("c1", 41, "switching", None, "standby"));
    let switching = |masters: &Masters| {
        masters.current(&id("c1"))
            == Mastership::Switching {
                epoch: Epoch(41),
                hold_ms: 5000,
            }
    };
    until(&masters, "c1", switching).await;
    place.publish("c1", &serving("c1", 42, "b"));
    until(&masters, "c1", |m| live(m, "c1") == Some((Side::B, 42))).await;
    let expected = [
        ("c1".to_owned(), 40, Planned::Yes),
        ("c1".to_owned(), 41, Planned::Yes),
    ];
    assert_eq!(*place.ended.lock(), expected);
    assert_eq!(place.count("jet9_cluster_switches_total"), 1.0);
    assert_eq!(place.count("jet9_cluster_epoch"), 42.0);
    let seen = masters.seen(&id("c1")).expect("published");
    assert_eq!((seen.epoch, seen.refused), (Epoch(42), None));
    let adopted = seen.adopted.expect("it was adopted");
    let late = adopted.plus(Duration::from_millis(11));
    assert!(!masters.was_superseded(&id("c1"), Epoch(41), adopted));
    assert!(masters.was_superseded(&id("c1"), Epoch(41), late));
    assert!(!masters.was_superseded(&id("c1"), Epoch(42), late));
}

#[tokio::test]
async fn an_older_epoch_is_refused_even_after_a_restart() {
    let mut place = Place::new();
    place.publish("c1", &serving("c1", 42, "b"));
    let masters = place.start().expect("start");
    place.publish("c1", &serving("c1", 41, "a"));
    masters.reload().await;
    assert_eq!(live(&masters, "c1"), Some((Side::B, 42)));
    let seen = masters.seen(&id("c1")).expect("published");
    assert!(
        seen.refused
            .expect("a reason")
            .contains("41 is older than 42")
    );
    place.stop(masters, "\"epoch\":42").await;
    let masters = place.start().expect("start again");
    let doubt = Mastership::Doubtful(Doubt::OldEpoch);
    assert_eq!(masters.current(&id("c1")), doubt);
    assert_eq!(place.count("jet9_cluster_documents_refused_total"), 1.0);
    assert_eq!(place.count("jet9_cluster_sources_behind"), 1.0);
    place.publish("c1", &serving("c1", 43, "a"));
    until(&masters, "c1", |m| live(m, "c1") == Some((Side::A, 43))).await;
    assert_eq!(place.count("jet9_cluster_sources_behind"), 0.0);
}

#[tokio::test]
async fn a_source_that_went_back_is_told_of_once() {
    let mut place = Place::new();
    place.publish("c1", &serving("c1", 42, "b"));
    let masters = place.start().expect("start");
    let mut heard = masters.events.as_ref().expect("they are told").listen();
    place.publish("c1", &serving("c1", 41, "a"));
    masters.reload().await;
    masters.reload().await;
    let event = heard.try_recv().expect("an event");
    let told: serde_json::Value = serde_json::from_str(&event.json).expect("JSON");
    assert_eq!(told["change"], "behind");
    assert_eq!((&told["epoch"], &told["offered"]), (&42.into(), &41.into()));
    assert!(heard.try_recv().is_err(), "it was told once");
}

#[tokio::test]
async fn another_master_in_the_same_epoch_stops_sending_and_stays_stopped_after_a_restart() {
    let mut place = Place::new();
    place.publish("c1", &serving("c1", 42, "b"));
    let masters = place.start().expect("start");
    place.publish("c1", &serving("c1", 42, "a"));
    let conflict = Mastership::Doubtful(Doubt::Conflict);
    until(&masters, "c1", |m| m.current(&id("c1")) == conflict).await;
    masters.reload().await;
    assert_eq!(*place.ended.lock(), [("c1".to_owned(), 42, Planned::No)]);
    assert_eq!(place.count("jet9_cluster_contradictions_total"), 1.0);
    place.stop(masters, "\"conflict\":true").await;
    let masters = place.start().expect("start again");
    assert_eq!(masters.current(&id("c1")), conflict);
}

#[tokio::test]
async fn what_cannot_be_read_leaves_the_state_in_force() {
    let mut place = Place::new();
    place.publish("c1", &serving("c1", 42, "b"));
    let masters = place.start().expect("start");
    let check = async |text: Option<&str>, why: &str| {
        match text {
            Some(text) => place.publish("c1", text),
            None => fs::remove_file(place.clusters().join("c1.json")).expect("remove"),
        }
        masters.reload().await;
        assert_eq!(live(&masters, "c1"), Some((Side::B, 42)), "{why}");
        let refused = masters.seen(&id("c1")).expect("published").refused;
        let refused = refused.expect(why);
        assert!(refused.contains(why), "{refused}");
    };
    check(Some("{"), "EOF").await;
    check(Some(r#"{"v":2}"#), "/v").await;
    check(Some(&serving("c2", 50, "a")), "/cluster").await;
    check(None, "removed").await;
    place.publish("c1", &serving("c1", 42, "b"));
    masters.reload().await;
    assert_eq!(masters.seen(&id("c1")).expect("published").refused, None);
}

#[tokio::test]
async fn a_cluster_that_was_created_anew_is_believed_once_the_old_life_is_forgotten() {
    let mut place = Place::new();
    let of_life = |life: &str, epoch: u64, master: &str| {
        let text = serving("c1", epoch, master);
        text.replacen('{', &format!("{{\"incarnation\":\"{life}\","), 1)
    };
    place.publish("c1", &of_life("first", 42, "b"));
    let masters = place.start().expect("start");
    assert_eq!(live(&masters, "c1"), Some((Side::B, 42)));
    place.publish("c1", &of_life("second", 1, "a"));
    masters.reload().await;
    assert_eq!(live(&masters, "c1"), None, "two lives at once");
    assert!(masters.forget(&id("c1")).await);
    assert_eq!(live(&masters, "c1"), Some((Side::A, 1)));
    assert_eq!(
        place.ended.lock().last(),
        Some(&("c1".to_owned(), 42, Planned::No))
    );
    assert!(!masters.forget(&id("c2")).await, "nothing is known of it");
    place.stop(masters, "\"incarnation\":\"second").await;
    let masters = place.start().expect("start again");
    assert_eq!(live(&masters, "c1"), Some((Side::A, 1)));
}

#[tokio::test]
async fn a_broken_record_of_epochs_stops_the_start() {
    let mut place = Place::new();
    fs::create_dir_all(place.directory.path().join("data")).expect("a directory");
    fs::write(place.directory.path().join("data/epochs.json"), "{}").expect("write");
    let error = place.start().expect_err("a decision for a human");
    assert!(error.to_string().contains("epochs.json: /v"), "{error}");
}

/// An etcd that nobody can ask.
fn nobody_s_etcd(beside: Option<PathBuf>) -> ClusterSource {
    let nobody = EtcdEndpoint::parse("http://127.0.0.1:1").expect("a URL");
    let etcd = EtcdConfig {
        endpoints: vec![nobody],
        prefix: "/jet9".into(),
        ca: None,
        certificate: None,
        login: None,
    };
    ClusterSource::Etcd { etcd, beside }
}

/// A store has shown this.
fn shown(masters: &Masters, text: &str, source: Source) {
    let document = Document::parse(text.as_bytes()).expect("a document");
    let found = follow::Found {
        id: document.cluster.clone(),
        place: "a test".into(),
        source,
        document: Ok(document),
        text: None,
    };
    let follower = masters.follower.upgrade().expect("it follows");
    follower.lock().take(vec![found]);
}

#[tokio::test]
async fn what_stands_beside_the_store_is_obeyed_when_it_cannot_be_read_and_wipes_no_other_reason() {
    let mut place = Place::new();
    place.publish("c1", "{");
    let source = nobody_s_etcd(Some(place.clusters()));
    let masters = place.start_from(&source).expect("start");
    let why = || masters.seen(&id("c1")).expect("published").refused;
    let says = |word: &str| why().is_some_and(|why| why.contains(word));
    shown(&masters, &serving("c1", 42, "a"), Source::Watch);
    assert_eq!(
        live(&masters, "c1"),
        None,
        "it may have been there to stop this"
    );
    assert!(says("cannot be read"), "{:?}", why());
    fs::remove_file(place.clusters().join("c1.json")).expect("remove");
    masters.reload().await;
    assert_eq!((live(&masters, "c1"), why()), (Some((Side::A, 42)), None));

    let sent = clock::boottime();
    let sent = Instant(sent.0 + 1);
    shown(&masters, &serving("c1", 41, "b"), Source::Read { sent });
    assert!(says("41 is older than 42"), "{:?}", why());
    place.publish("c1", &serving("c1", 43, "b"));
    masters.reload().await;
    assert_eq!(live(&masters, "c1"), None);
    assert!(
        says("41 is older than 42") && says("something else at 43"),
        "{:?}",
        why()
    );
    place.publish("c1", &serving("c1", 42, "a"));
    masters.reload().await;
    assert_eq!(live(&masters, "c1"), Some((Side::A, 42)));
    assert!(says("41 is older than 42") && !says("43"), "{:?}", why());
}

#[tokio::test]
async fn epochs_that_the_disk_refused_are_written_without_another_document() {
    let mut place = Place::new();
    // No look at a directory tries again by itself.
    let source = nobody_s_etcd(None);
    let masters = place.start_from(&source).expect("start");
    let [data, away] = ["data", "away"].map(|name| place.directory.path().join(name));
    fs::rename(&data, &away).expect("the disk goes");
    shown(&masters, &serving("c1", 42, "a"), Source::Watch);
    assert_eq!(
        live(&masters, "c1"),
        Some((Side::A, 42)),
        "it follows all the same"
    );
    assert_eq!(place.count("jet9_cluster_epochs_unwritten"), 1.0);
    fs::rename(&away, &data).expect("the disk comes back");
    let written = async {
        while place.count("jet9_cluster_epochs_unwritten") == 1.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), written).await;
    waited.expect("it is tried again");
    let text = fs::read_to_string(data.join(EPOCHS_FILE)).expect("it is there");
    assert!(text.contains("\"epoch\":42"), "{text}");
}

#[tokio::test]
async fn a_cluster_may_be_waited_for_before_it_is_published() {
    let mut place = Place::new();
    let masters = place.start().expect("start");
    let unknown = Mastership::Doubtful(Doubt::Unknown);
    assert_eq!(masters.current(&id("c1")), unknown);
    let changed = masters.changed(&id("c1"));
    assert!(masters.seen(&id("c1")).is_none());
    assert!(masters.all().is_empty());
    place.publish("c1", &serving("c1", 1, "a"));
    until(&masters, "c1", |m| live(m, "c1") == Some((Side::A, 1))).await;
    assert!(changed.has_changed().expect("the masters live"));
    assert_eq!(masters.all().len(), 1);
}

#[tokio::test]
async fn nothing_is_sent_under_an_epoch_that_is_not_written_down_yet() {
    let document = Document::parse(serving("c1", 42, "a").as_bytes()).expect("a document");
    let masters = Masters::fixed([document]);
    assert_eq!(live(&masters, "c1"), Some((Side::A, 42)));
    let cluster = masters.clusters.of(&id("c1"));
    cluster.set(|known| known.durable = false);
    let held = Mastership::Switching {
        epoch: Epoch(42),
        hold_ms: 5000,
    };
    assert_eq!(masters.current(&id("c1")), held);
}

#[tokio::test]
async fn a_lease_that_the_guard_gave_ends_and_with_it_what_is_under_way() {
    let mut place = Place::new();
    let mut leased: serde_json::Value =
        serde_json::from_str(&serving("c1", 42, "a")).expect("a document");
    leased["fencing"] = "lease".into();
    leased["edge_lease_ms"] = 3_000.into();
    leased["sides"]["a"]["guard"] = "192.0.2.10:8443".into();
    place.publish("c1", &leased.to_string());
    let masters = place.start().expect("start");
    let no_lease = Mastership::Doubtful(Doubt::NoLease);
    assert_eq!(masters.current(&id("c1")), no_lease);
    let guarded = |side, ttl_ms| {
        masters.guarded(&id("c1"), side, Epoch(42), clock::boottime(), ttl_ms);
    };
    // It is not listened to in the moment in which something else is noted.
    let until_live = |ttl_ms| {
        while live(&masters, "c1") != Some((Side::A, 42)) {
            guarded(Side::B, ttl_ms);
            guarded(Side::A, ttl_ms);
        }
    };
    until_live(500);
    let is_over =
        |masters: &Masters| masters.current(&id("c1")) == Mastership::Doubtful(Doubt::LeaseExpired);
    until(&masters, "c1", is_over).await;
    until(&masters, "c1", |_| {
        *place.ended.lock() == [("c1".to_owned(), 42, Planned::No)]
    })
    .await;
    until_live(60_000);
}

#[tokio::test]
async fn a_document_is_published_only_over_the_epoch_that_it_was_made_for() {
    let mut place = Place::new();
    let masters = place.start().expect("start");
    let publish = async |text: String, expected: u64| {
        let published = masters
            .publish(&id("c1"), text.as_bytes(), Epoch(expected))
            .await;
        published.map_err(|error| error.to_string())
    };
    assert_eq!(publish(serving("c1", 1, "a"), 0).await, Ok(()));
    assert_eq!(live(&masters, "c1"), Some((Side::A, 1)));
    assert_eq!(publish(serving("c1", 3, "b"), 1).await, Ok(()));
    assert_eq!(live(&masters, "c1"), Some((Side::B, 3)));
    let check = async |text: String, expected: u64, why: &str| {
        let refused = publish(text, expected).await.expect_err(why);
        assert!(refused.contains(why), "{refused}");
        assert_eq!(live(&masters, "c1"), Some((Side::B, 3)));
    };
    check(serving("c1", 4, "a"), 1, "epoch 3 is there, not 1").await;
    check(serving("c1", 3, "a"), 3, "epoch 3 is not above 3").await;
    check(serving("c2", 4, "a"), 3, "/cluster").await;
    check("{}".into(), 3, "/v").await;
    let document = masters.published(&id("c1")).await.expect("published");
    assert_eq!(document["epoch"], 3);
}

#[tokio::test]
async fn nothing_is_published_over_what_cannot_be_read() {
    let mut place = Place::new();
    let masters = place.start().expect("start");
    fs::create_dir_all(place.clusters().join("c1.json")).expect("a directory in its place");
    let text = serving("c1", 1, "a");
    let published = masters.publish(&id("c1"), text.as_bytes(), Epoch(0)).await;
    assert!(
        matches!(published, Err(PublishError::Read(_))),
        "{published:?}"
    );
    assert!(masters.published(&id("c1")).await.is_none());
}

#[tokio::test]
async fn publishing_keeps_the_promise_of_the_fencing_class() {
    let mut place = Place::new();
    let masters = place.start().expect("start");
    let leased = |epoch: u64, master: Option<&str>, ended: Option<&str>| {
        let phase = if master.is_some() {
            "serving"
        } else {
            "switching"
        };
        let text = document("c1", epoch, phase, master, "crash");
        let mut next: serde_json::Value = serde_json::from_str(&text).expect("a document");
        next["fencing"] = "lease".into();
        next["edge_lease_ms"] = 400.into();
        next["prev"] = serde_json::json!({"master": "a", "ended": ended});
        next.to_string()
    };
    let publish = async |text: String, expected: u64| {
        let published = masters
            .publish(&id("c1"), text.as_bytes(), Epoch(expected))
            .await;
        published.map_err(|error| error.to_string())
    };
    publish(leased(1, Some("a"), None), 0)
        .await
        .expect("the first");
    let refused = publish(leased(2, Some("b"), None), 1).await;
    let refused = refused.expect_err("nothing proves it");
    assert!(refused.contains("/phase"), "{refused}");
    let proved = publish(leased(2, Some("b"), Some("fenced")), 1).await;
    proved.expect("nothing to wait for");
    let mut b_was_last: serde_json::Value =
        serde_json::from_str(&leased(3, None, None)).expect("a document");
    b_was_last["prev"]["master"] = "b".into();
    let before = clock::boottime();
    publish(b_was_last.to_string(), 2).await.expect("switching");
    let mut less = b_was_last.clone();
    less["epoch"] = 4.into();
    for (field, value) in [("/fencing", "none".into()), ("/edge_lease_ms", 399.into())] {
        let mut less = less.clone();
        less[&field[1..]] = value;
        let refused = publish(less.to_string(), 3).await;
        let refused = refused.expect_err("edges go by what was promised");
        assert!(refused.contains(field), "{refused}");
    }
    publish(leased(4, Some("a"), None), 3)
        .await
        .expect("waited");
    let waited = clock::boottime().0 - before.0;
    assert!(waited >= 403, "{waited} ms after switching");
    assert_eq!(masters.seen(&id("c1")).expect("published").epoch, Epoch(4));
}
