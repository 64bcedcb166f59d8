//! What a start finds: bad documents with a good past, and sites that are long gone.

use super::*;
use crate::control::sites::history::{REMOVED_KEPT_FOR, Version};

/// The version in force, by the host's site.
fn version(sites: &Sites, host: &str) -> Option<u64> {
    sites.find(host).map(|named| named.site.version)
}

#[tokio::test]
async fn what_was_good_stays_in_force_over_a_restart() {
    let place = Place::new();
    let sites = place.start();
    for domain in ["a.test", "b.test"] {
        place.write("one", &document("one", &[domain]));
        sites.reload().await;
    }
    place.write("one", "id = \"one\"\n[orijin]\n");
    sites.reload().await;
    drop(sites);

    let sites = place.restart();
    assert_eq!(version(&sites, "b.test"), Some(2));
    assert!(
        sites.problems_of("one").is_some(),
        "it is told all the same"
    );
    let told = sites.problems_of("one").expect("refused").to_string();
    assert!(told.contains("one.toml:2:2: /orijin"), "{told}");
    // The good document comes back by hand: nothing is new. Another one is the next version.
    place.write("one", &document("one", &["b.test"]));
    sites.reload().await;
    assert_eq!(
        (version(&sites, "b.test"), sites.problems_of("one")),
        (Some(2), None)
    );
    place.write("one", &document("one", &["c.test"]));
    sites.reload().await;
    check(&sites, &[("b.test", None), ("c.test", Some("one"))]);
    assert_eq!(version(&sites, "c.test"), Some(3));
    assert!(
        place.store.emptied.lock().is_empty(),
        "what it stored is there"
    );
}

#[tokio::test]
async fn what_stands_in_takes_nothing_from_another_and_nothing_comes_back_that_was_removed() {
    let place = Place::new();
    let sites = place.start();
    place.write("one", &document("one", &["one.test"]));
    place.write("gone", &document("gone", &["gone.test"]));
    sites.reload().await;
    fs::remove_file(place.file("gone")).expect("remove");
    sites.reload().await;
    drop(sites);
    place.write("one", "garbage");
    place.write("gone", "garbage");
    place.write("new", "garbage");
    place.write("two", &document("two", &["one.test"]));

    let sites = place.restart();
    check(&sites, &[("one.test", Some("two")), ("gone.test", None)]);
    let refused: Vec<String> = sites.problems().into_keys().collect();
    assert_eq!(refused, ["gone", "new", "one"]);
}

#[tokio::test]
async fn a_site_that_is_removed_while_nothing_can_stand_in_for_it_is_gone_for_good() {
    let place = Place::new();
    let sites = place.start();
    place.write("one", &document("one", &["one.test"]));
    sites.reload().await;
    drop(sites);
    place.write("one", "garbage");
    place.write("two", &document("two", &["one.test"]));
    let sites = place.restart();
    check(&sites, &[("one.test", Some("two"))]);
    let partition = place.store.partitions.lock()["one"];
    assert!(place.store.emptied.lock().is_empty());
    fs::remove_file(place.file("one")).expect("remove");
    sites.reload().await;
    assert_eq!(*place.store.emptied.lock(), [partition]);
    drop(sites);
    place.write("one", "garbage");
    fs::remove_file(place.file("two")).expect("remove");
    check(&place.restart(), &[("one.test", None)]);
}

#[tokio::test]
async fn what_a_site_gave_up_goes_to_who_has_it_now_and_not_back() {
    let place = Place::new();
    let sites = place.start();
    for (id, domain) in [("a", "x.test"), ("a", "a.test"), ("b", "x.test")] {
        place.write(id, &document(id, &[domain]));
        sites.reload().await;
    }
    drop(sites);
    let newest = place.directory.path().join("history/a/2.json");
    fs::write(newest, "cannot be read").expect("write");
    place.write("a", "garbage");
    place.write("b", "garbage");
    let sites = place.restart();
    check(&sites, &[("x.test", Some("b")), ("a.test", None)]);
}

#[tokio::test]
async fn an_outdated_version_takes_no_name_that_was_given_to_another_since() {
    let check_with = async |newest_of_b: &[&str], of_b: OfB, expected: Option<&str>| {
        let place = Place::new();
        let sites = place.start();
        place.write("aa", &document("aa", &["aa.test"]));
        for (id, domains) in [
            ("a", &["x.test"][..]),
            ("a", &["a.test"]),
            ("b", newest_of_b),
        ] {
            place.write(id, &document(id, domains));
            sites.reload().await;
        }
        drop(sites);
        let history = place.directory.path().join("history");
        fs::write(history.join("a/2.json"), "cannot be read").expect("write");
        place.write("a", "garbage");
        match of_b {
            OfB::LastVersion => place.write("b", "garbage"),
            OfB::Outdated => {
                fs::write(history.join("b/2.json"), "cannot be read").expect("write");
                place.write("b", "garbage");
            }
            OfB::Document => fs::remove_dir_all(history.join("b")).expect("remove"),
        }
        // By name it comes before `b`.
        place.write("aa", &document("aa", &["aa.test", "y.test"]));
        // When it came into force: the files of one millisecond tell nothing.
        let version = fs::read_to_string(history.join("a/1.json")).expect("there");
        let mut version: serde_json::Value = serde_json::from_str(&version).expect("JSON");
        version["unix_ms"] = 1.into();
        fs::write(history.join("a/1.json"), version.to_string()).expect("write");
        check(&place.restart(), &[("x.test", expected)]);
    };
    check_with(&["x.test"], OfB::LastVersion, Some("b")).await;
    check_with(&["x.test"], OfB::Outdated, Some("b")).await;
    check_with(&["x.test"], OfB::Document, Some("b")).await;
    // The site that has it cannot be in force either, for another has the other name: it is nobody's.
    check_with(&["x.test", "y.test"], OfB::LastVersion, None).await;
    check_with(&["x.test", "y.test"], OfB::Document, None).await;
}

/// What is known of the site that got the name.
enum OfB {
    LastVersion,
    Outdated,
    /// Its document is good, and it has no history.
    Document,
}

#[tokio::test]
async fn a_version_that_cannot_be_read_lets_an_older_one_stand_in_and_no_number_comes_twice() {
    let place = Place::new();
    let sites = place.start();
    for domain in ["a.test", "b.test"] {
        place.write("one", &document("one", &[domain]));
        sites.reload().await;
    }
    drop(sites);
    let history = place.directory.path().join("history/one");
    fs::write(
        history.join("2.json"),
        "{\"unix_ms\": 1, \"by\": \"x\", \"document\": \"?\"}",
    )
    .expect("write");
    fs::remove_file(place.file("one")).expect("remove");
    std::os::unix::fs::symlink("nowhere", place.file("one")).expect("link");

    let sites = place.restart();
    assert_eq!(version(&sites, "a.test"), Some(1));
    place.write("one", &document("one", &["c.test"]));
    sites.reload().await;
    assert_eq!(version(&sites, "c.test"), Some(3));
}

#[tokio::test]
async fn sites_that_were_removed_long_ago_are_forgotten() {
    let place = Place::new();
    let sites = place.start();
    for id in ["old", "late", "back"] {
        place.write(id, &document(id, &[&format!("{id}.test")]));
    }
    sites.reload().await;
    for id in ["old", "late", "back"] {
        fs::remove_file(place.file(id)).expect("remove");
    }
    sites.reload().await;
    place.write("back", &document("back", &["back.test"]));
    sites.reload().await;
    drop(sites);
    let history = History::open(&place.directory.path().join("history")).expect("open");
    let now = WallClock::System.now().unix_millis();
    let ago = u64::try_from(REMOVED_KEPT_FOR.as_millis()).expect("years");
    for (id, number, ended) in [("old", 3, now - ago - 1), ("late", 3, now - ago + 600_000)] {
        let end = Version {
            number,
            unix_ms: ended,
            by: "x".into(),
            text: None,
        };
        history
            .add(id, &end, crate::control::durable::Durability::Later)
            .expect("written");
    }
    let _sites = place.restart();
    assert_eq!(history.sites().expect("read"), ["back", "late"]);
}
