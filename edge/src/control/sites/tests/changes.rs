//! Sites changed by calls and by hand: versions, preconditions, conflicts, history, and what a restart finds.

use super::*;

/// A write of a document by somebody.
fn write(text: &str) -> Write {
    Write {
        site: check::site_toml("", text).expect("a good document"),
        text: text.to_owned(),
        form: Form::Text,
        expected: Expected::Anything,
        by: "tester".into(),
        claims: Claims::All,
        intent: Intent::Do,
    }
}

fn removal(id: &str) -> Removal {
    Removal {
        id: id.to_owned(),
        expected: Expected::Anything,
        by: "tester".into(),
    }
}

fn store(sites: &Sites) -> &Arc<dyn SiteStore> {
    sites.store().expect("a directory")
}

async fn versions(sites: &Sites, id: &str) -> Vec<(u64, String, bool)> {
    let versions = store(sites).versions(id).await.expect("read");
    let told = |version: Version| (version.number, version.by, version.text.is_some());
    versions.into_iter().map(told).collect()
}

#[tokio::test]
async fn a_site_is_in_force_and_on_disk_when_the_call_returns() {
    let place = Place::new();
    let sites = place.start();
    let one = document("one", &["one.test"]);
    let written = store(&sites).put(write(&one)).await.expect("created");
    assert_eq!((written.version, written.is_new), (1, true));
    check(&sites, &[("one.test", Some("one"))]);
    assert_eq!(fs::read_to_string(place.file("one")).expect("there"), one);
    let again = store(&sites).put(write(&one)).await.expect("the same");
    assert_eq!((again.version, again.is_new), (1, false));
    let two = document("one", &["two.test"]);
    let written = store(&sites).put(write(&two)).await.expect("replaced");
    assert_eq!(written.version, 2);
    assert_eq!(written.before, Some(one));
    check(&sites, &[("one.test", None), ("two.test", Some("one"))]);
    let by = |number| (number, "tester".to_owned(), true);
    assert_eq!(versions(&sites, "one").await, [by(2), by(1)]);
    let document = store(&sites).document("one").await.expect("read");
    assert_eq!(document, Some(two));
}

#[tokio::test]
async fn what_is_no_document_is_replaced_and_holds_nobody_up() {
    let place = Place::new();
    let sites = place.start();
    let made = std::process::Command::new("mkfifo")
        .arg(place.file("pipe"))
        .status();
    assert!(made.expect("mkfifo").success());
    std::os::unix::fs::symlink("/dev/zero", place.file("device")).expect("link");
    sites.reload().await;
    for id in ["pipe", "device"] {
        assert!(sites.problems_of(id).is_some(), "{id}");
        let text = document(id, &[&format!("{id}.test")]);
        let put = store(&sites).put(write(&text));
        let put = tokio::time::timeout(Duration::from_secs(20), put).await;
        put.expect("in time").expect("created");
        assert_eq!(fs::read_to_string(place.file(id)).expect("there"), text);
    }
    let expected = [("pipe.test", Some("pipe")), ("device.test", Some("device"))];
    check(&sites, &expected);
}

#[tokio::test]
async fn what_is_only_tried_changes_nothing() {
    let place = Place::new();
    let sites = place.start();
    let mut wish = write(&document("one", &["one.test"]));
    wish.intent = Intent::Try;
    let tried = store(&sites).put(wish).await.expect("it could be");
    assert_eq!((tried.version, tried.is_new, tried.before), (0, true, None));
    check(&sites, &[("one.test", None)]);
    assert!(!place.file("one").exists());
}

#[tokio::test]
async fn a_write_needs_the_version_that_it_names() {
    let place = Place::new();
    let sites = place.start();
    let put = async |domain: &str, expected: Expected| {
        let mut wish = write(&document("one", &[domain]));
        wish.expected = expected;
        store(&sites).put(wish).await
    };
    let moved = |result: Result<Written, WriteError>| match result {
        Err(WriteError::Moved(version)) => version,
        Err(WriteError::Unexpected(_)) => 0,
        other => panic!("{other:?}"),
    };
    assert_eq!(moved(put("a.test", Expected::OneOf(vec![1])).await), 0);
    assert_eq!(moved(put("a.test", Expected::Something).await), 0);
    put("a.test", Expected::Nothing).await.expect("created");
    assert_eq!(moved(put("b.test", Expected::Nothing).await), 1);
    let mut remove = removal("one");
    remove.expected = Expected::OneOf(vec![7]);
    let refused = store(&sites).remove(remove).await;
    assert!(matches!(refused, Err(WriteError::Moved(1))), "{refused:?}");
    // Nobody was told of this edit yet.
    place.write("one", &document("one", &["by-hand.test"]));
    assert_eq!(moved(put("b.test", Expected::OneOf(vec![1])).await), 2);
    check(&sites, &[("by-hand.test", Some("one"))]);
    put("b.test", Expected::OneOf(vec![2])).await.expect("now");
    check(&sites, &[("b.test", Some("one"))]);
    let by: Vec<String> = versions(&sites, "one")
        .await
        .into_iter()
        .map(|v| v.1)
        .collect();
    assert_eq!(by, ["tester", "file", "tester"]);
}

#[tokio::test]
async fn a_domain_of_another_site_is_a_conflict_and_nothing_is_written() {
    let place = Place::new();
    place.write("one", &document("one", &["a.test"]));
    let sites = place.start();
    let wish = write(&document("two", &["b.test", "a.test"]));
    let refused = store(&sites).put(wish).await;
    let Err(WriteError::Taken(problems)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(problems.0[0].pointer, "/domains/1");
    assert!(!place.file("two").exists());
    check(&sites, &[("a.test", Some("one")), ("b.test", None)]);
}

#[tokio::test]
async fn what_cannot_be_brought_into_force_is_taken_back() {
    let place = Place::new();
    let sites = place.start();
    *place.store.failing.lock() = true;
    let refused = store(&sites)
        .put(write(&document("one", &["a.test"])))
        .await;
    assert!(matches!(refused, Err(WriteError::Failed(_))), "{refused:?}");
    assert!(!place.file("one").exists());
    *place.store.failing.lock() = false;
    sites.reload().await;
    check(&sites, &[("a.test", None)]);
    assert_eq!(sites.problems(), BTreeMap::new());
}

#[tokio::test]
async fn a_removed_site_is_gone_with_what_it_stored_and_its_versions_stay() {
    let place = Place::new();
    place.write("one", &document("one", &["a.test"]));
    let sites = place.start();
    let partition = sites.by_id("one").expect("there").partition;
    store(&sites).remove(removal("one")).await.expect("removed");
    check(&sites, &[("a.test", None)]);
    assert!(!place.file("one").exists());
    assert_eq!(*place.store.emptied.lock(), [partition.0]);
    let again = store(&sites).remove(removal("one")).await;
    assert!(matches!(again, Err(WriteError::Missing)), "{again:?}");
    let written = store(&sites)
        .put(write(&document("one", &["a.test"])))
        .await;
    assert_eq!(written.expect("made anew").version, 3);
    let told = versions(&sites, "one").await;
    let expected = [
        (3, "tester".to_owned(), true),
        (2, "tester".to_owned(), false),
        (1, "file".to_owned(), true),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_document_that_is_refused_can_be_removed_and_replaced() {
    let place = Place::new();
    place.write("one", "no = 1");
    place.write("two", "no = 1");
    let sites = place.start();
    store(&sites).remove(removal("one")).await.expect("removed");
    assert!(!place.file("one").exists());
    let written = store(&sites)
        .put(write(&document("two", &["b.test"])))
        .await;
    assert_eq!(written.expect("replaced").version, 1);
    assert_eq!(sites.problems(), BTreeMap::new());
}

#[tokio::test]
async fn numbers_go_on_over_restarts_and_an_edit_meanwhile_is_a_version() {
    let place = Place::new();
    place.write("one", &document("one", &["a.test"]));
    place.write("two", &document("two", &["b.test"]));
    drop(place.start());
    place.write("two", &document("two", &["c.test"]));
    let sites = place.restart();
    let version = |id| sites.by_id(id).expect("there").version;
    assert_eq!((version("one"), version("two")), (1, 2));
    assert_eq!(versions(&sites, "two").await.len(), 2);
    assert!(place.store.emptied.lock().is_empty());
}

#[tokio::test]
async fn what_a_site_stored_that_was_removed_while_nobody_watched_never_comes_back() {
    let place = Place::new();
    place.write("one", &document("one", &["a.test"]));
    place.write("two", &document("two", &["b.test"]));
    let partition = {
        let sites = place.start();
        sites.by_id("one").expect("there").partition
    };
    fs::remove_file(place.file("one")).expect("remove");
    *place.store.failing.lock() = true;
    drop(place.restart());
    *place.store.failing.lock() = false;
    {
        let sites = place.restart();
        assert_eq!(*place.store.emptied.lock(), [partition.0]);
        check(&sites, &[("a.test", None), ("b.test", Some("two"))]);
        place.write("one", &document("one", &["a.test"]));
        sites.reload().await;
        check(&sites, &[("a.test", Some("one"))]);
        fs::remove_file(place.file("one")).expect("remove");
        sites.reload().await;
    }
    drop(place.restart());
    let emptied = place.store.emptied.lock().clone();
    assert_eq!(emptied, [partition.0; 2], "once for each removal");
}

#[tokio::test]
async fn domains_change_hands_within_one_batch() {
    let place = Place::new();
    place.write("a", &document("a", &["1.test"]));
    place.write("b", &document("b", &["2.test"]));
    place.write("c", &document("c", &["3.test"]));
    let sites = place.start();
    place.write("a", &document("a", &["2.test"]));
    place.write("b", &document("b", &["3.test"]));
    place.write("c", &document("c", &["1.test"]));
    sites.reload().await;
    let expected = [
        ("1.test", Some("c")),
        ("2.test", Some("a")),
        ("3.test", Some("b")),
    ];
    check(&sites, &expected);
    assert_eq!(sites.problems(), BTreeMap::new());
    // `b` cannot have what `d` keeps, so it keeps `3.test`, which `a` then cannot have.
    place.write("d", &document("d", &["4.test"]));
    sites.reload().await;
    place.write("b", &document("b", &["4.test"]));
    place.write("a", &document("a", &["3.test"]));
    sites.reload().await;
    check(&sites, &expected);
    let refused: Vec<String> = sites.problems().into_keys().collect();
    assert_eq!(refused, ["a", "b"]);
    place.write("d", &document("d", &["5.test"]));
    sites.reload().await;
    let expected = [
        ("2.test", None),
        ("3.test", Some("a")),
        ("4.test", Some("b")),
        ("5.test", Some("d")),
    ];
    check(&sites, &expected);
    assert_eq!(sites.problems(), BTreeMap::new());
}

#[tokio::test]
async fn of_two_new_sites_with_one_domain_the_first_by_name_gets_it() {
    let place = Place::new();
    place.write("b", &document("b", &["1.test"]));
    place.write("a", &document("a", &["1.test"]));
    let sites = place.start();
    check(&sites, &[("1.test", Some("a"))]);
    assert!(sites.problems_of("b").is_some());
}

#[tokio::test]
async fn whoever_writes_one_site_takes_no_name_that_another_answers_to() {
    let place = Place::new();
    let sites = place.start();
    let put = async |id: &str, domains: &[&str], claims: Claims| {
        let mut wish = write(&document(id, domains));
        wish.claims = claims;
        store(&sites).put(wish).await
    };
    let all = ["*.shop.test", "shop.test"];
    put("one", &all, Claims::All).await.expect("free");
    let check = async |domains: &[&str], told: Option<&str>| {
        let error = put("two", domains, Claims::Free).await.err();
        let error = error.map(|error| error.to_string());
        match (&error, told) {
            (Some(error), Some(told)) => {
                assert!(error.contains(told) && !error.contains("one"), "{error}");
            }
            (error, told) => assert_eq!(error.as_deref(), told, "{domains:?}"),
        }
    };
    let taken = "belongs to another site already";
    check(
        &["two.test", "pay.shop.test"],
        Some(&format!("/domains/1: pay.shop.test {taken}")),
    )
    .await;
    check(
        &["shop.test"],
        Some(&format!("/domains/0: shop.test {taken}")),
    )
    .await;
    check(&["two.test", "a.b.shop.test", "*.b.shop.test"], None).await;
    // Who may everything may part a name from a wildcard; its site keeps it then.
    put("two", &["pay.shop.test"], Claims::All)
        .await
        .expect("parted");
    check(&["pay.shop.test", "two.test"], None).await;
    check(&["two.test", "pay2.shop.test"], Some(taken)).await;
}
