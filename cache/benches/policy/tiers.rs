//! Memory before a ring of segments, driven by the store's own decisions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use jet9_cache::disk::admission::{self, Admission, Moment, Policy, WhyNot};
use jet9_cache::disk::ghost::Ghost;
use jet9_cache::disk::index::slot::{Address, Birth, SizeClass, Slot};
use jet9_cache::disk::index::table::Table;
use jet9_cache::disk::reinsertion::{self, Candidate};
use jet9_cache::disk::shares::Standing;
use jet9_cache::{KeyHasher, Partition};
use moka::policy::EvictionPolicy;

/// Segments of the ring; real rings have hundreds.
const SEGMENTS: usize = 64;
/// Objects of the smallest segment.
const SEGMENT_MIN: usize = 4;

/// What memory keeps when it is full.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory {
    Lru,
    TinyLfu,
}

/// Sizes in objects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) memory: usize,
    pub(crate) disk: usize,
    pub(crate) memory_policy: Memory,
    /// Everything fetched is written.
    pub(crate) all: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) hit_ratio: f64,
    /// Objects written after the ring had wrapped.
    pub(crate) writes: u64,
}

struct Tiers {
    memory: moka::sync::Cache<u32, Arc<AtomicU8>>,
    disk: Ring,
    policy: Policy,
}

/// The disk: what was written to each place of each segment.
struct Ring {
    keys: KeyHasher,
    table: Table,
    ghost: Ghost,
    segments: Vec<Vec<u32>>,
    open: usize,
    segment_max: usize,
    has_wrapped: bool,
    writes: u64,
}

/// Requests a whole trace.
pub(crate) fn run(trace: &[u32], settings: &Settings) -> Outcome {
    let segment_max = settings.disk.div_ceil(SEGMENTS).max(SEGMENT_MIN);
    let segments = settings.disk / segment_max;
    // What does not fill a segment is given to memory: the sum stays.
    let memory = settings.memory + settings.disk - segments * segment_max;
    let eviction = match settings.memory_policy {
        Memory::Lru => EvictionPolicy::lru(),
        Memory::TinyLfu => EvictionPolicy::tiny_lfu(),
    };
    let records = (segments * segment_max) as u64;
    let mut tiers = Tiers {
        memory: moka::sync::Cache::builder()
            .max_capacity(memory as u64)
            .eviction_policy(eviction)
            .build(),
        disk: Ring {
            keys: KeyHasher::new([7; 16]),
            table: Table::new(records),
            ghost: Ghost::new(records),
            segments: vec![Vec::new(); segments],
            open: 0,
            segment_max,
            has_wrapped: false,
            writes: 0,
        },
        policy: if settings.all {
            Policy::All
        } else {
            Policy::Used
        },
    };
    let hits = trace
        .iter()
        .filter(|object| tiers.request(**object))
        .count();
    Outcome {
        hit_ratio: hits as f64 / trace.len() as f64,
        writes: tiers.disk.writes,
    }
}

impl Tiers {
    fn request(&mut self, object: u32) -> bool {
        if let Some(hits) = self.memory.get(&object) {
            let hits = hits.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            if self.disk.find(object).is_none() {
                self.consider(object, Moment::MemoryHit(hits));
            }
            return true;
        }
        let on_disk = self.disk.find(object);
        if let Some(slot) = on_disk {
            self.disk
                .table
                .count_hit(self.disk.hash(object), slot.address);
        } else {
            let is_recalled = self.disk.ghost.recall(self.disk.hash(object));
            self.consider(object, Moment::Fill { is_recalled });
        }
        self.memory.insert(object, Arc::default());
        self.memory.run_pending_tasks();
        on_disk.is_some()
    }

    fn consider(&mut self, object: u32, moment: Moment) {
        let admission = admission::decide(&admission::Facts {
            moment,
            policy: self.policy,
            replaces: false,
            has_wrapped: self.disk.has_wrapped,
            standing: Standing::Within,
            chance: 0,
        });
        match (admission, moment) {
            (Admission::Write(_), _) => self.disk.write(object, 0),
            (Admission::Leave(WhyNot::Unused), Moment::Fill { .. }) => {
                self.disk.ghost.remember(self.disk.hash(object));
            }
            (Admission::Leave(_), _) => {}
        }
    }
}

impl Ring {
    fn hash(&self, object: u32) -> u128 {
        self.keys.hash(&object.to_le_bytes())
    }

    fn find(&self, object: u32) -> Option<Slot> {
        let slot = self.table.find(self.hash(object)).next()?;
        // The record has the last word.
        (self.object_at(slot.address) == Some(object)).then_some(slot)
    }

    fn object_at(&self, address: Address) -> Option<u32> {
        let place = (address.offset() / 512 - 1) as usize;
        let segment = &self.segments[place / self.segment_max];
        segment.get(place % self.segment_max).copied()
    }

    fn address(&self, segment: usize, place: usize) -> Address {
        let units = segment * self.segment_max + place + 1;
        Address::of_offset(units as u64 * 512).expect("a small ring")
    }

    fn write(&mut self, object: u32, frequency: u8) {
        let address = self.address(self.open, self.segments[self.open].len());
        let slot = Slot {
            address,
            size: SizeClass::of(512).expect("one unit"),
            partition: Partition(1),
            birth: Birth::default(),
            frequency,
        };
        self.segments[self.open].push(object);
        self.table.advance(address);
        self.table.put(self.hash(object), &slot);
        self.writes += u64::from(self.has_wrapped);
        if self.segments[self.open].len() == self.segment_max {
            self.begin_next();
        }
    }

    /// Reuses the oldest segment: what is worth another lap is written to its beginning.
    fn begin_next(&mut self) {
        self.open = (self.open + 1) % self.segments.len();
        let old = std::mem::take(&mut self.segments[self.open]);
        self.has_wrapped |= !old.is_empty();
        let mut live = Vec::new();
        for (place, object) in old.into_iter().enumerate() {
            let (hash, address) = (self.hash(object), self.address(self.open, place));
            if let Some(slot) = self.table.remove(hash, address) {
                live.push((object, slot.frequency));
            }
        }
        let candidates: Vec<Candidate> = live
            .iter()
            .map(|(_, frequency)| candidate(*frequency))
            .collect();
        let mut chosen = reinsertion::choose(&candidates, self.segment_max as u64)
            .into_iter()
            .peekable();
        for (at, (object, frequency)) in live.into_iter().enumerate() {
            if chosen.next_if_eq(&at).is_some() {
                self.write(object, reinsertion::aged(frequency));
            } else {
                self.ghost.remember(self.hash(object));
            }
        }
    }
}

fn candidate(frequency: u8) -> Candidate {
    Candidate {
        frequency,
        bytes: 1,
        standing: Standing::Within,
        is_dead: false,
    }
}
