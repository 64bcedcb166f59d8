//! Every interleaving of a fill that is sent, answered and stored with a purge of what it fetches: whoever looks once the purge was answered
//! never finds what the origin had before.
//!
//! The watermarks, the tick, and their orders of memory are the store's own, and so is the memory tier. An origin changes its content and purges;
//! a fill is sent before, meanwhile or after, and what it brought is committed and looked up as `store` does it.

use std::sync::Arc as Kept;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http::HeaderMap;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64 as Watched, Ordering};
use loom::thread;

use super::*;
use crate::disk::OnDisk;
use crate::key::Scheme;
use crate::lock::checked::Checked;
use crate::memory::{Found, MemoryTier};
use crate::semantics::vary::SelectingFields;
use crate::test_support::response;
use crate::variant::{Content, Variant, Version};

/// Where a fill's birth and its purges are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// As `store` does.
    AtEveryLookUp,
    /// When it is committed, and never after.
    AtTheCommitAlone,
    /// At every look-up, but it is born when it is stored and not when it was sent.
    OfALateBirth,
}

/// What the origin has, before and after it changes.
const OLD: u64 = 1;
const NEW: u64 = 2;

struct World {
    state: State<Checked>,
    memory: MemoryTier,
    origin: Watched,
    keys: KeyHasher,
    key: Key,
    check: Check,
}

impl World {
    fn new(check: Check) -> Self {
        let metrics = Metrics::unregistered().unwrap();
        let keys = KeyHasher::new([1; 16]);
        let path = Bytes::from_static(b"/");
        Self {
            key: keys.key(Partition(1), Scheme::Https, "host".into(), path),
            memory: MemoryTier::new(1 << 20, false, keys.clone(), metrics.clone()),
            state: State::new(Watermarks::new(), Ledger::default(), metrics),
            origin: Watched::new(OLD),
            keys,
            check,
        }
    }

    fn is_dead(&self, birth: Tick) -> bool {
        let facts = Variant::facts_of(&self.key, &[]);
        self.state.marks.judge(&facts, birth, &self.keys) == Verdict::Dead
    }

    /// Fetches and stores.
    fn fill(&self, version: u64) {
        let sent = self.state.now();
        let fetched = self.origin.load(Ordering::Relaxed);
        let birth = match self.check {
            Check::OfALateBirth => self.state.now(),
            Check::AtEveryLookUp | Check::AtTheCommitAlone => sent,
        };
        if self.is_dead(birth) {
            return;
        }
        let variant = Variant {
            key: self.key.clone(),
            response: response(&fetched.to_string(), &[], &[]).into(),
            selected_by: 0,
            content: Content::Whole(Bytes::new()),
            birth,
            version: Version(version),
            tags: Kept::default(),
            on_disk: OnDisk::default(),
            is_held: AtomicBool::new(false),
            has_rivals: AtomicBool::new(false),
        };
        self.memory.insert(&variant.into(), || true);
    }

    /// Changes the content and purges what was stored of it.
    fn change_and_purge(&self) {
        self.origin.store(NEW, Ordering::Relaxed);
        let target = Target::Url(self.key.partition(), self.key.url());
        let tick = self.state.now();
        self.state.apply(&[Record::Purge(target, Mode::Hard)], tick);
    }

    /// What a visitor gets from the store.
    fn look(&self) -> Option<u64> {
        let fields = HeaderMap::new();
        let found = self.memory.find(&self.key, &SelectingFields::of(&fields));
        let Found::Variant(variant, _) = found else {
            return None;
        };
        let is_unchecked = self.check == Check::AtTheCommitAlone;
        let is_served = is_unchecked || !self.is_dead(variant.birth);
        is_served.then(|| {
            crate::test_support::name(&variant.response)
                .parse()
                .unwrap()
        })
    }
}

fn check(check: Check) {
    loom::model(move || {
        let world = Arc::new(World::new(check));
        let purge = thread::spawn({
            let world = Arc::clone(&world);
            move || world.change_and_purge()
        });
        let fill = thread::spawn({
            let world = Arc::clone(&world);
            move || world.fill(1)
        });
        purge.join().unwrap();
        // The purge was answered, whatever the fill does.
        assert_ne!(world.look(), Some(OLD), "a purge is forgotten");
        fill.join().unwrap();
        assert_ne!(world.look(), Some(OLD), "a purge is forgotten");
        // What is sent from now on lives.
        world.fill(2);
        assert_eq!(world.look(), Some(NEW));
    });
}

#[test]
fn what_was_sent_before_a_purge_is_never_found_after_it() {
    check(Check::AtEveryLookUp);
}

#[test]
#[should_panic(expected = "a purge is forgotten")]
fn a_check_at_the_commit_alone_would_forget_a_purge() {
    check(Check::AtTheCommitAlone);
}

#[test]
#[should_panic(expected = "a purge is forgotten")]
fn a_birth_at_the_commit_would_forget_a_purge() {
    check(Check::OfALateBirth);
}

#[test]
fn a_mark_that_gives_way_to_a_floor_is_missed_by_nobody() {
    loom::model(|| {
        let marks = Arc::new(Watermarks::<Checked>::new());
        let site = Partition(1);
        marks.apply(Target::Url(site, 11), Mode::Hard, Tick(1));
        let forgetting = thread::spawn({
            let marks = Arc::clone(&marks);
            move || marks.forget(Tick(1))
        });
        let facts = Facts {
            partition: site,
            url: 11,
            path: b"/",
            tags: &[],
        };
        let verdict = marks.judge(&facts, Tick(1), &KeyHasher::new([1; 16]));
        assert_eq!(verdict, Verdict::Dead);
        forgetting.join().unwrap();
    });
}
