//! The memory tier: what it holds, what it gives up, and that nothing older comes after something newer.

use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::disk::OnDisk;
use crate::key::{Partition, Scheme};
use crate::test_support::{content, name, response};
use crate::variant::{Content, Version};

const MIB: u64 = 1 << 20;

fn keys() -> KeyHasher {
    KeyHasher::new([5; 16])
}

fn tier(bytes: u64, with_disk: bool) -> MemoryTier {
    MemoryTier::new(bytes, with_disk, keys(), Metrics::unregistered().unwrap())
}

fn key(path: &str) -> Key {
    let path = Bytes::from(path.to_owned());
    keys().key(Partition(1), Scheme::Https, Arc::from("host"), path)
}

/// A variant that varies by `vary` and was selected by `by`.
fn variant(
    path: &str,
    version: u64,
    (vary, by): (&[&'static str], u128),
    length: usize,
) -> Arc<Variant> {
    Arc::new(Variant {
        key: key(path),
        response: Arc::new(response(&version.to_string(), &[], vary)),
        selected_by: by,
        content: Content::Whole(content(version, length)),
        birth: Tick(1),
        version: Version(version),
        tags: Arc::default(),
        on_disk: OnDisk::default(),
        is_held: AtomicBool::new(false),
        has_rivals: AtomicBool::new(false),
    })
}

fn plain(path: &str, version: u64, length: usize) -> Arc<Variant> {
    variant(path, version, (&[], 0), length)
}

fn find(tier: &MemoryTier, path: &str) -> Option<String> {
    let fields = HeaderMap::new();
    match tier.find(&key(path), &SelectingFields::of(&fields)) {
        Found::Variant(variant, _) => Some(name(&variant.response)),
        Found::OtherVariants | Found::Nothing => None,
    }
}

#[test]
fn an_older_version_never_replaces_a_newer_one() {
    let tier = tier(MIB, true);
    let [old, new] = [1, 2].map(|version| plain("/", version, 10));
    assert!(tier.insert(&new, || true));
    assert!(!tier.insert(&old, || true));
    assert_eq!(find(&tier, "/").as_deref(), Some("2"));
    assert!(new.is_held() && !old.is_held());
    // Nor does anything that is not allowed.
    assert!(!tier.insert(&plain("/", 3, 10), || false));
    assert_eq!(find(&tier, "/").as_deref(), Some("2"));
}

#[test]
fn what_was_replaced_or_taken_out_is_not_held_any_more() {
    let tier = tier(MIB, true);
    let [old, new] = [1, 2].map(|version| plain("/", version, 10));
    tier.insert(&old, || true);
    tier.insert(&new, || true);
    assert!(new.is_held() && !old.is_held());
    tier.remove(&old);
    assert!(new.is_held() && tier.has(new.key.primary()));
    tier.remove(&new);
    assert!(!new.is_held() && !tier.has(new.key.primary()));
    assert_eq!(tier.used.load(Ordering::Relaxed), 0);
}

#[test]
fn variants_of_a_key_come_newest_first_and_go_together() {
    let tier = tier(MIB, true);
    let selected = |by| SelectingFields::of(by).hash(&[], &keys());
    let fields = HeaderMap::new();
    let all: Vec<_> = (1..=3)
        .map(|n| variant("/", n, (&["accept"], selected(&fields) + u128::from(n)), 10))
        .collect();
    for variant in &all {
        assert!(tier.insert(variant, || true));
    }
    assert_eq!(tier.newest(key("/").primary()).unwrap().version, Version(3));
    tier.remove(&all[2]);
    assert_eq!(tier.newest(key("/").primary()).unwrap().version, Version(2));
    assert_eq!(
        all.iter().map(|v| v.is_held()).collect::<Vec<_>>(),
        [true, true, false]
    );
    for n in 0..100 {
        tier.insert(&plain(&format!("/{n}"), 10 + n, 20_000), || true);
    }
    assert!(all.iter().all(|variant| !variant.is_held()));
}

#[test]
fn what_is_asked_for_survives_a_flood_of_what_is_not() {
    for with_disk in [false, true] {
        let tier = tier(MIB, with_disk);
        tier.insert(&plain("/hot", 1, 10_000), || true);
        for n in 0..1000 {
            tier.insert(&plain(&format!("/{n}"), 2 + n, 10_000), || true);
            assert!(find(&tier, "/hot").is_some(), "{n} {with_disk}");
        }
    }
}

#[test]
fn what_is_on_disk_goes_before_what_is_nowhere_else() {
    let tier = tier(MIB, true);
    let only_here = plain("/only", 1, 10_000);
    tier.insert(&only_here, || true);
    for n in 0..1000 {
        let elsewhere = plain(&format!("/{n}"), 2 + n, 10_000);
        tier.insert(&elsewhere, || true);
        tier.keep(&elsewhere);
    }
    assert!(only_here.is_held());
}

#[test]
fn alone_it_remembers_what_left_and_keeps_it_when_it_comes_back() {
    let tier = tier(MIB, false);
    let flood = |from: u64| {
        for n in from..from + 200 {
            tier.insert(&plain(&format!("/{n}"), n, 10_000), || true);
        }
    };
    let [first, second] = [1, 2].map(|version| plain("/again", version, 10_000));
    tier.insert(&first, || true);
    flood(10);
    assert!(!first.is_held());
    tier.insert(&second, || true);
    flood(1000);
    assert!(second.is_held());
}

#[test]
fn a_sweep_looks_at_everything_and_takes_out_what_is_dead() {
    let tier = tier(64 * MIB, true);
    let all: Vec<_> = (0..2000).map(|n| plain(&format!("/{n}"), n, 10)).collect();
    for variant in &all {
        tier.insert(variant, || true);
    }
    let is_dead = |variant: &Variant| variant.version.0.is_multiple_of(2);
    assert_eq!(tier.sweep(is_dead, || true), Some(Tick(1)));
    assert!(
        all.iter()
            .all(|variant| variant.is_held() != is_dead(variant))
    );
    assert_eq!(tier.sweep(|_| true, || true), Some(Tick::FOREVER));
    assert!(all.iter().all(|variant| !variant.is_held()));
}

#[test]
fn a_sweep_ends_where_it_is_told_to() {
    let tier = tier(64 * MIB, true);
    for n in 0..2 * STEP as u64 {
        tier.insert(&plain(&format!("/{n}"), n, 10), || true);
    }
    assert_eq!(tier.sweep(|_| true, || false), None);
    assert_eq!(tier.responses.load(Ordering::Relaxed), STEP as u64);
}

#[test]
fn a_tier_of_many_shards_holds_what_one_of_one_would() {
    let tier = tier(8 * SHARD_BYTES, true);
    assert_eq!(tier.shards.len(), 8);
    // Everything in one shard, as bad luck could have it: room is made there first, then elsewhere.
    let large = 1 << 20;
    for n in 0..600 {
        tier.insert(&plain(&format!("/{n}"), n, large), || true);
        assert!(tier.used.load(Ordering::Relaxed) <= tier.capacity());
    }
    assert!(tier.responses.load(Ordering::Relaxed) > 450);
    assert!(find(&tier, "/599").is_some());
}

proptest! {
    #[test]
    fn it_never_weighs_more_than_it_may(
        steps in prop::collection::vec((0..30_u8, 0..200_000_usize, any::<bool>()), 1..200),
        with_disk: bool,
    ) {
        let tier = tier(MIB, with_disk);
        let mut newest = std::collections::HashMap::new();
        for (version, (path, length, is_kept)) in (1..).zip(steps) {
            let path = format!("/{path}");
            let length = length.min(tier.content_max() as usize);
            let variant = plain(&path, version, length);
            prop_assert!(tier.insert(&variant, || true));
            prop_assert!(variant.is_held(), "new entries are let in");
            if is_kept {
                tier.keep(&variant);
            }
            newest.insert(path, version);
            let used = tier.used.load(Ordering::Relaxed);
            prop_assert!(used <= tier.capacity());
            let weights = newest.keys().filter_map(|path| tier.newest(key(path).primary()));
            prop_assert_eq!(used, weights.map(|variant| weight::of(&[variant])).sum::<u64>());
        }
        for (path, version) in newest {
            let found = find(&tier, &path);
            prop_assert!(found.is_none() || found == Some(version.to_string()));
        }
    }
}
