//! What one lock of the memory tier guards: a map of keys, and the queues that say who goes.
//!
//! Used by the tier alone. Keys are hashes with a secret of the node: half of one finds an entry, all of it is compared. Two keys that share
//! half of their hash push each other out. Keeps each variant's mark of being held; knows no capacity.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::queues::{Hit, Id, Queue, Queues, Rules};
use super::weight;
use crate::key::Key;
use crate::variant::{Variant, Version};

/// The variants of one key, newest first; never none. One needs no list.
#[derive(Clone, Debug)]
pub(super) enum Held {
    One(Arc<Variant>),
    Many(Arc<[Arc<Variant>]>),
}

impl Held {
    /// `None` for none.
    pub(super) fn of(mut list: Vec<Arc<Variant>>) -> Option<Self> {
        if list.len() > 1 {
            return Some(Self::Many(list.into()));
        }
        list.pop().map(Self::One)
    }

    pub(super) fn list(&self) -> &[Arc<Variant>] {
        match self {
            Self::One(variant) => std::slice::from_ref(variant),
            Self::Many(variants) => variants,
        }
    }

    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.list()
            .first()
            .is_some_and(|first| first.key.is_same(key))
    }

    /// The newest variant that is wanted.
    pub(super) fn find(self, mut is_wanted: impl FnMut(&Variant) -> bool) -> Option<Arc<Variant>> {
        match self {
            Self::One(variant) => Some(variant).filter(|variant| is_wanted(variant)),
            Self::Many(variants) => variants.iter().find(|variant| is_wanted(variant)).cloned(),
        }
    }

    fn primary(&self) -> Option<u128> {
        self.list().first().map(|newest| newest.key.primary())
    }

    fn mark(&self, is_held: bool) {
        for variant in self.list() {
            variant.is_held.store(is_held, Ordering::Release);
        }
    }
}

/// A part of the tier.
#[derive(Debug)]
pub(super) struct Shard {
    ids: HashMap<u64, Id, Spread>,
    queues: Queues<Held>,
}

impl Shard {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            ids: HashMap::with_hasher(Spread),
            queues: Queues::new(rules),
        }
    }

    /// Bytes and keys that are in it.
    pub(super) fn measure(&self) -> (u64, u64) {
        (self.queues.weight(), self.ids.len() as u64)
    }

    pub(super) fn get(&self, primary: u128) -> Option<&Held> {
        self.queues.get(self.id(primary)?)
    }

    /// What is held under a key, and what a hit of it says.
    pub(super) fn hit(&mut self, primary: u128) -> Option<(Held, Hit)> {
        let id = self.id(primary)?;
        let hit = self.queues.hit(id);
        Some((self.queues.get(id)?.clone(), hit))
    }

    /// Puts a key's variants in the place of those that are there, or into a queue.
    pub(super) fn put(&mut self, primary: u128, held: Held, queue: Queue) {
        let weight = u32::try_from(weight::of(held.list())).unwrap_or(u32::MAX);
        let half = half(primary);
        let present = self.ids.get(&half).copied();
        let marked = held.clone();
        let gone = match present {
            Some(id) => {
                if queue == Queue::Kept {
                    self.queues.keep(id);
                }
                self.queues.replace(id, held, weight)
            }
            None => {
                let id = self.queues.insert(held, weight, queue);
                self.ids.insert(half, id);
                None
            }
        };
        if let Some(gone) = gone {
            gone.mark(false);
        }
        // After what is gone: some variants are in both lists.
        marked.mark(true);
    }

    pub(super) fn keep(&mut self, primary: u128) {
        if let Some(id) = self.id(primary) {
            self.queues.keep(id);
        }
    }

    /// Takes one version out.
    pub(super) fn remove_version(&mut self, primary: u128, version: Version) {
        let Some(present) = self.get(primary) else {
            return;
        };
        let rest = present
            .list()
            .iter()
            .filter(|other| other.version != version);
        let rest: Vec<_> = rest.cloned().collect();
        if rest.len() == present.list().len() {
            return;
        }
        match Held::of(rest) {
            Some(rest) => self.put(primary, rest, Queue::Window),
            None => {
                let id = self.ids.remove(&half(primary));
                if let Some(gone) = id.and_then(|id| self.queues.remove(id)) {
                    gone.mark(false);
                }
            }
        }
    }

    /// Gives up the key that is worth least, but not `spared`.
    pub(super) fn evict(&mut self, spared: Option<u128>) -> Option<(u128, Queue)> {
        let spared = spared.and_then(|primary| self.id(primary));
        let (gone, queue) = self.queues.evict(spared)?;
        gone.mark(false);
        let primary = gone.primary()?;
        self.ids.remove(&half(primary));
        Some((primary, queue))
    }

    /// What is held at `count` places from one on; `None` beyond the last. An entry never changes its place.
    pub(super) fn some_from(&self, place: usize, count: usize) -> Option<Vec<Held>> {
        let some = self.queues.places(place, count)?;
        Some(some.cloned().collect())
    }

    /// The entry of exactly this key.
    fn id(&self, primary: u128) -> Option<Id> {
        let id = *self.ids.get(&half(primary))?;
        let held = self.queues.get(id)?;
        (held.primary() == Some(primary)).then_some(id)
    }
}

const fn half(primary: u128) -> u64 {
    primary as u64
}

/// Halves of keyed hashes spread as well as any hash could.
#[derive(Clone, Copy, Debug, Default)]
struct Spread;

impl std::hash::BuildHasher for Spread {
    type Hasher = Half;

    fn build_hasher(&self) -> Half {
        Half(0)
    }
}

/// The hasher of [`Spread`].
#[derive(Clone, Copy, Debug)]
struct Half(u64);

impl std::hash::Hasher for Half {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }
}
