//! Sites loaded from a real directory: names, refusals, changes, removals.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use jet9_cache::purge::PurgeError;
use jet9_cache::semantics::rules::Storing;
use jet9_config::check;
use jet9_config::site::{Admission, Caching};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;

mod changes;
mod restarts;

/// Partitions as the store gives them, and a record of what was wished and emptied.
#[derive(Default)]
struct Store {
    partitions: Mutex<HashMap<String, u32>>,
    wishes: Mutex<Vec<(u32, Admission)>>,
    emptied: Mutex<Vec<u32>>,
    failing: Mutex<bool>,
}

impl Store {
    fn answer<T>(&self, value: T) -> Result<T, PurgeError> {
        if *self.failing.lock() {
            return Err(PurgeError::Journal(io::Error::other("the disk is full")));
        }
        Ok(value)
    }
}

impl Shares for Store {
    fn partitions(&self, ids: &[&str]) -> Result<Vec<Partition>, PurgeError> {
        let mut partitions = self.partitions.lock();
        let mut given = Vec::new();
        for id in ids {
            let next = u32::try_from(partitions.len() + 1).expect("few");
            let partition = *partitions.entry((*id).to_owned()).or_insert(next);
            given.push(Partition(partition));
        }
        self.answer(given)
    }

    fn write(&self, partition: Partition, wish: &Caching) {
        self.wishes.lock().push((partition.0, wish.admission));
    }

    fn empty(&self, partition: Partition) -> Result<(), PurgeError> {
        self.answer(())?;
        self.emptied.lock().push(partition.0);
        Ok(())
    }
}

struct Place {
    directory: TempDir,
    store: Arc<Store>,
    registry: Registry,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            store: Arc::default(),
            registry: Registry::new(),
        }
    }

    fn write(&self, id: &str, text: &(impl AsRef<[u8]> + ?Sized)) {
        fs::create_dir_all(self.documents()).expect("a directory");
        let temporary = self.documents().join(format!(".{id}.tmp"));
        fs::write(&temporary, text).expect("write");
        fs::rename(temporary, self.file(id)).expect("rename");
    }

    fn file(&self, id: &str) -> std::path::PathBuf {
        self.documents().join(format!("{id}.toml"))
    }

    fn documents(&self) -> std::path::PathBuf {
        self.directory.path().join("sites")
    }

    fn start(&self) -> Sites {
        self.start_with(&self.registry)
    }

    /// Another process of the same node.
    fn restart(&self) -> Sites {
        self.start_with(&Registry::new())
    }

    fn start_with(&self, registry: &Registry) -> Sites {
        let store = Arc::clone(&self.store);
        let places = Places {
            documents: &self.documents(),
            history: &self.directory.path().join("history"),
            document_max: 1 << 20,
        };
        let events = Events::new(WallClock::System, registry).expect("free names");
        Sites::load(places, store, registry, WallClock::System, events.into()).expect("start")
    }

    fn rejected(&self) -> f64 {
        let families = self.registry.gather();
        let mut named = families
            .iter()
            .filter(|family| family.name() == "jet9_config_rejected_total");
        let family = named.next().expect("the counter");
        family.get_metric()[0].get_counter().get_value()
    }
}

fn document(id: &str, domains: &[&str]) -> String {
    format!("id = {id:?}\ndomains = {domains:?}\n[origin]\ncluster = \"c1\"\n")
}

fn owner(sites: &Sites, host: &str) -> Option<String> {
    sites.find(host).map(|named| named.site.site.id.to_string())
}

fn check(sites: &Sites, expected: &[(&str, Option<&str>)]) {
    for &(host, id) in expected {
        assert_eq!(owner(sites, host).as_deref(), id, "{host}");
    }
}

#[tokio::test]
async fn names_are_found_exact_first_then_wildcards() {
    let place = Place::new();
    place.write("one", &document("one", &["a.test", "*.shop.a.test"]));
    place.write("two", &document("two", &["x.shop.a.test", "[2001:db8::1]"]));
    let sites = place.start();
    let expected = [
        ("a.test", Some("one")),
        ("y.shop.a.test", Some("one")),
        ("x.shop.a.test", Some("two")),
        ("z.y.shop.a.test", None),
        ("shop.a.test", None),
        ("[2001:db8::1]", Some("two")),
        ("b.test", None),
        ("", None),
    ];
    check(&sites, &expected);
    assert_eq!(&*sites.find("a.test").expect("found").host, "a.test");
    assert_eq!(sites.all().len(), 2);
    assert_eq!(sites.generation(), 1);
    assert!(sites.by_id("two").is_some());
}

#[tokio::test]
async fn the_store_is_told_what_a_site_wants_written_before_the_site_is_in_force() {
    let place = Place::new();
    let one = document("one", &["a.test"]);
    place.write("one", &one);
    let sites = place.start();
    place.write("one", &format!("{one}[cache]\nadmission = \"all\"\n"));
    sites.reload().await;
    let wishes = place.store.wishes.lock();
    assert_eq!(*wishes, [(1, Admission::Auto), (1, Admission::All)]);
}

#[tokio::test]
async fn a_bad_document_at_start_costs_its_own_site_and_no_other() {
    let place = Place::new();
    place.write("good", &document("good", &["good.test"]));
    place.write("bad", "id = \"bad\"\nno = 1\n");
    place.write("other", &document("another", &["other.test"]));
    let sites = place.start();
    check(&sites, &[("good.test", Some("good")), ("other.test", None)]);
    let problems = sites.problems();
    assert_eq!(problems.keys().collect::<Vec<_>>(), ["bad", "other"]);
    let bad = problems["bad"].to_string();
    assert!(bad.contains("bad.toml:2:1"), "{bad}");
    assert_eq!(place.rejected(), 2.0);
}

#[tokio::test]
async fn a_bad_document_never_replaces_a_good_one() {
    let place = Place::new();
    place.write("one", &document("one", &["one.test"]));
    let sites = place.start();
    for bad in ["id = 5", "\u{0}", "id = \"one\"\ndomains = []"] {
        place.write("one", bad);
        sites.reload().await;
        check(&sites, &[("one.test", Some("one"))]);
        assert!(sites.problems_of("one").is_some(), "{bad:?}");
    }
    place.write("one", b"id = \"one\"\n# \xff");
    sites.reload().await;
    let problems = sites.problems_of("one").expect("not UTF-8").to_string();
    assert!(problems.ends_with("one.toml:2:1: not UTF-8"), "{problems}");
    assert_eq!(sites.generation(), 1);
    place.write("one", &document("one", &["new.test"]));
    sites.reload().await;
    check(&sites, &[("one.test", None), ("new.test", Some("one"))]);
    assert_eq!(sites.problems(), BTreeMap::new());
    assert_eq!(place.rejected(), 4.0);
}

#[tokio::test]
async fn a_domain_stays_with_the_site_that_has_it_until_that_gives_it_up() {
    let place = Place::new();
    place.write("old", &document("old", &["a.test", "b.test"]));
    let sites = place.start();
    place.write("new", &document("new", &["c.test", "b.test"]));
    sites.reload().await;
    check(&sites, &[("b.test", Some("old")), ("c.test", None)]);
    let problems = sites.problems_of("new").expect("taken").to_string();
    let expected = "new.toml:2:22: /domains/1: b.test belongs to site `old` already";
    assert!(problems.ends_with(expected), "{problems}");
    place.write("old", &document("old", &["a.test"]));
    sites.reload().await;
    check(&sites, &[("a.test", Some("old")), ("b.test", Some("new"))]);
    assert_eq!(sites.problems(), BTreeMap::new());
}

#[tokio::test]
async fn a_removed_site_loses_its_names_and_what_it_stored() {
    let place = Place::new();
    place.write("one", &document("one", &["one.test"]));
    place.write("two", &document("two", &["two.test"]));
    let sites = place.start();
    let partition = sites.find("one.test").expect("found").site.partition;
    *place.store.failing.lock() = true;
    fs::remove_file(place.file("one")).expect("remove");
    sites.reload().await;
    check(&sites, &[("one.test", None), ("two.test", Some("two"))]);
    place.write("one", &document("one", &["one.test"]));
    sites.reload().await;
    check(&sites, &[("one.test", None)]);
    assert!(sites.problems_of("one").is_some());
    *place.store.failing.lock() = false;
    sites.reload().await;
    assert_eq!(*place.store.emptied.lock(), [partition.0]);
    check(&sites, &[("one.test", Some("one"))]);
}

#[tokio::test]
async fn a_new_document_is_in_force_without_being_asked_for() {
    let place = Place::new();
    let sites = place.start();
    place.write("one", &document("one", &["one.test"]));
    let found = async {
        while owner(&sites, "one.test").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found)
        .await
        .expect("in force");
}

#[tokio::test]
async fn a_reload_without_changes_is_no_new_generation_and_keeps_the_runtime() {
    let place = Place::new();
    place.write("one", &document("one", &["one.test"]));
    let sites = place.start();
    let before = sites.find("one.test").expect("found").site;
    sites.reload().await;
    let after = sites.find("one.test").expect("found").site;
    assert!(Arc::ptr_eq(&before, &after));
    assert_eq!(sites.generation(), 1);
}

#[test]
fn the_first_route_that_matches_makes_the_rules() {
    let text = document("one", &["one.test"])
        + "[[route]]\npath = \"/admin/*\"\ncache = \"off\"\n[[route]]\npath = \"/*\"\ndefault = { \"200\" = \"5s\" }\n";
    let site = check::site_toml("one.toml", &text).expect("a site");
    let site = SiteRuntime::new(site, Partition(1), 1);
    let check = |path: &str, storing: Storing, route: Option<&str>| {
        let (rules, matched) = site.rules_for(path);
        assert_eq!(rules.storing, storing, "{path}");
        assert_eq!(matched.map(|route| route.path.as_str()), route, "{path}");
    };
    check("/admin/x", Storing::RouteOff, Some("/admin/*"));
    check("/admin", Storing::Allowed, Some("/*"));
    check("*", Storing::Allowed, None);
}

#[test]
fn a_changed_site_among_ten_thousand_costs_its_own_shards() {
    let site = |number: usize| {
        let text = document(&format!("s{number}"), &[&format!("n{number}.test")]);
        let site = check::site_toml("s.toml", &text).expect("a site");
        Arc::new(SiteRuntime::new(site, Partition(1), 1))
    };
    let mut table = Table::default();
    for number in 0..2000 {
        table.place(site(number)).expect("its names are free");
    }
    let before = table.clone();
    table.place(site(7)).expect("its own names");
    assert!(table.shards_apart(&before) <= 2);
    assert_eq!(table.all().len(), 2000);
    assert!(table.exact("n1999.test").is_some());
}
