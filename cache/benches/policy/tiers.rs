//! Memory before a ring of segments, driven by the store's own decisions; and memory alone.

use std::collections::HashMap;

use jet9_cache::disk::admission::{self, Admission, Moment, Policy, WhyNot};
use jet9_cache::disk::allowance::Allowance;
use jet9_cache::disk::ghost::{Ghost, Sign};
use jet9_cache::disk::index::slot::{Address, Birth, SizeClass, Slot};
use jet9_cache::disk::index::table::Table;
use jet9_cache::disk::reinsertion::{self, Candidate};
use jet9_cache::disk::shares::Standing;
use jet9_cache::memory::queues::{Id, Queue, Queues, Rules};
use jet9_cache::{KeyHasher, Partition};

/// Segments of the ring; real rings have hundreds.
const SEGMENTS: usize = 64;
/// Objects of the smallest segment.
const SEGMENT_MIN: usize = 4;

/// Sizes in objects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) memory: usize,
    pub(crate) segments: usize,
    pub(crate) segment: usize,
    /// Everything fetched is written.
    pub(crate) all: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) hit_ratio: f64,
    /// The share of requests that memory answered.
    pub(crate) from_memory: f64,
    /// Objects written after the ring had wrapped.
    pub(crate) writes: u64,
}

struct Tiers {
    memory: Memory,
    disk: Ring,
    policy: Policy,
}

/// Memory, full of objects of weight one.
struct Memory {
    queues: Queues<u32>,
    held: HashMap<u32, Held>,
    capacity: u64,
}

/// What the store knows of a response in memory.
struct Held {
    id: Id,
    is_on_disk: bool,
}

/// The disk: what was written to each place of each segment.
struct Ring {
    keys: KeyHasher,
    table: Table,
    ghost: Ghost,
    allowance: Allowance,
    segments: Vec<Vec<u32>>,
    open: usize,
    segment_max: usize,
    has_wrapped: bool,
    writes: u64,
}

impl Settings {
    /// So many objects in memory, and on a disk of some [`SEGMENTS`]; what does not fill a segment is given to memory: the sum stays.
    pub(crate) fn of(memory: usize, disk: usize, all: bool) -> Self {
        let segment = disk.div_ceil(SEGMENTS).max(SEGMENT_MIN);
        let segments = disk / segment;
        Self {
            memory: memory + disk - segments * segment,
            segments,
            segment,
            all,
        }
    }
}

/// Requests a whole trace.
pub(crate) fn run(trace: &[u32], settings: &Settings) -> Outcome {
    let (segments, segment_max) = (settings.segments, settings.segment);
    let records = (segments * segment_max) as u64;
    let mut tiers = Tiers {
        memory: Memory::new(Rules::BEFORE_DISK, settings.memory),
        disk: Ring {
            keys: KeyHasher::new([7; 16]),
            table: Table::new(records),
            ghost: Ghost::of_records(records),
            allowance: Allowance::of_ring(records),
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
    let mut from_memory = 0;
    let mut hits = 0;
    for object in trace {
        from_memory += u32::from(tiers.memory.held.contains_key(object));
        hits += u32::from(tiers.request(*object));
    }
    let share = |count| f64::from(count) / trace.len() as f64;
    Outcome {
        hit_ratio: share(hits),
        from_memory: share(from_memory),
        writes: tiers.disk.writes,
    }
}

/// The hit ratio of memory without a disk, for `capacity` objects.
pub(crate) fn run_alone(trace: &[u32], capacity: usize) -> f64 {
    let keys = KeyHasher::new([7; 16]);
    let hash = |object: u32| keys.hash(&object.to_le_bytes());
    let ghost = Ghost::new(capacity as u64);
    let mut memory = Memory::new(Rules::ALONE, capacity);
    let mut hits = 0;
    for object in trace {
        if let Some(held) = memory.held.get(object) {
            memory.queues.hit(held.id);
            hits += 1;
            continue;
        }
        let queue = if ghost.recall(hash(*object)).is_some() {
            Queue::Kept
        } else {
            Queue::Window
        };
        memory.insert(*object, queue, |gone, from| {
            if from == Queue::Window {
                ghost.remember(hash(gone), Sign::First);
            }
        });
    }
    f64::from(hits) / trace.len() as f64
}

impl Memory {
    fn new(rules: Rules, capacity: usize) -> Self {
        Self {
            queues: Queues::new(rules),
            held: HashMap::new(),
            capacity: capacity as u64,
        }
    }

    fn insert(&mut self, object: u32, queue: Queue, mut told: impl FnMut(u32, Queue)) {
        let id = self.queues.insert(object, 1, queue);
        let held = Held {
            id,
            is_on_disk: queue == Queue::Kept,
        };
        self.held.insert(object, held);
        while self.queues.weight() > self.capacity {
            let Some((gone, from)) = self.queues.evict(Some(id)) else {
                return;
            };
            self.held.remove(&gone);
            told(gone, from);
        }
    }

    /// It is on its way to the disk.
    fn keep(&mut self, object: u32) {
        if let Some(held) = self.held.get_mut(&object) {
            held.is_on_disk = true;
            self.queues.keep(held.id);
        }
    }
}

impl Tiers {
    fn request(&mut self, object: u32) -> bool {
        if self.hit_in_memory(object) {
            return true;
        }
        if let Some(slot) = self.disk.find(object) {
            self.disk.count_hit(object, &slot);
            self.memory.insert(object, Queue::Kept, |_, _| {});
            return true;
        }
        if self.disk.has_wrapped {
            self.disk.allowance.earn(1);
        }
        let recalled = self.disk.ghost.recall(self.disk.hash(object));
        self.memory.insert(object, Queue::Window, |_, _| {});
        let moment = Moment::Fill { recalled };
        if self.consider(object, moment) == Admission::Leave(WhyNot::Unused) {
            let hash = self.disk.hash(object);
            self.disk.ghost.remember(hash, Sign::after(recalled));
        }
        false
    }

    fn hit_in_memory(&mut self, object: u32) -> bool {
        let Some(held) = self.memory.held.get_mut(&object) else {
            return false;
        };
        let hit = self.memory.queues.hit(held.id);
        if !held.is_on_disk {
            if hit.has_waited {
                self.consider(object, Moment::MemoryHit);
            }
        } else if hit.is_first {
            match self.disk.find(object) {
                Some(slot) => self.disk.count_hit(object, &slot),
                None => held.is_on_disk = false,
            }
        }
        true
    }

    fn consider(&mut self, object: u32, moment: Moment) -> Admission {
        let admission = admission::decide(&admission::Facts {
            moment,
            policy: self.policy,
            replaces: false,
            has_wrapped: self.disk.has_wrapped,
            has_allowance: self.disk.allowance.is_left(),
            standing: Standing::Within,
            chance: 0,
        });
        if matches!(admission, Admission::Write(_)) {
            self.disk.write(object, 0);
            self.memory.keep(object);
        }
        admission
    }
}

impl Ring {
    fn hash(&self, object: u32) -> u128 {
        self.keys.hash(&object.to_le_bytes())
    }

    fn find(&self, object: u32) -> Option<Slot> {
        let slot = self.table.find(self.hash(object))?;
        // The record has the last word.
        (self.object_at(slot.address) == Some(object)).then_some(slot)
    }

    fn object_at(&self, address: Address) -> Option<u32> {
        let place = (address.offset() / 512 - 1) as usize;
        let segment = &self.segments[place / self.segment_max];
        segment.get(place % self.segment_max).copied()
    }

    fn count_hit(&self, object: u32, slot: &Slot) {
        self.table.count_hit(self.hash(object), slot.address);
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
        if self.has_wrapped {
            self.writes += 1;
            self.allowance.spend(1);
        }
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
                self.ghost.remember(self.hash(object), Sign::Proven);
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
