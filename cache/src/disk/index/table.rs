//! The index of one volume: a table of fixed size that finds the record of a key. 16 bytes a slot, nothing allocated by an insert.
//!
//! A key's hash names two buckets of four slots, a cache line each; a record goes into the emptier one. When both are full, one of their
//! records moves to its other bucket, which follows from its tag; when none can, the one goes that was not hit and would be overwritten
//! next. Look-ups take no lock and miss nothing that moves meanwhile; changes take the locks of both buckets, in their order. It is allowed
//! to forget, never to invent: a slot says where a record with the same tag may be, and the record itself has the last word. Each volume
//! has its own table, so that one that fails or goes takes its slots along. Judges no purge, reads no clock, does no I/O.

use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use log::debug;
use parking_lot::{Mutex, MutexGuard};

use crate::io::ask_for_large_pages;

use super::bucket::{Bucket, SLOTS, matching, positions};
use super::moves::Moves;
use super::slot::{Address, Slot, identity, tag_of};

/// Locks that buckets are spread over.
const LOCKS: usize = 4096;
/// The lowest bits of a hash that may differ among what shares its buckets: the caller tells variants of a key apart by them.
pub const VARIANT_BITS: u32 = 8;
/// Buckets that are allocated at once, when the first of them is written: 128 MiB, of which little lies in no large page.
const REGION: usize = 1 << 21;
/// Of a hundred slots, how many the expected records take. None is displaced before 95 (measured in `benches/index.rs`).
const FULL_PERCENT: u64 = 92;
/// How many records move, one after the other, to make room for one.
const MOVES_MAX: u32 = 3;

/// What is asked of the system for the memory of a region.
type Asking = fn(&mut [MaybeUninit<Bucket>]) -> io::Result<()>;

/// The index of one volume.
#[derive(Debug)]
pub struct Table {
    regions: Box<[OnceLock<Box<[Bucket]>>]>,
    asking: Asking,
    buckets: u64,
    locks: Box<[Mutex<()>]>,
    /// Where the ring is being written, as an offset in units: what lies next ahead of it is overwritten next.
    head: AtomicU64,
    records: AtomicU64,
    displaced: AtomicU64,
    moves: Moves,
}

/// What became of a record that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It took an empty slot.
    Free,
    /// It took the slot of one with the same tag.
    Replacing(Slot),
    /// It took the slot of a record of another key, which is forgotten. That key has one of the buckets of this one.
    Displacing(Slot),
    /// It is not in: only younger and hotter ones are there.
    Not,
}

/// The locks that a thread holds.
#[derive(Clone, Copy)]
struct Held<'a> {
    lock: usize,
    others: Option<&'a Self>,
}

/// The two buckets of a key, locked against other writers.
struct Pair<'a> {
    numbers: [u64; 2],
    buckets: [&'a Bucket; 2],
    _locks: (MutexGuard<'a, ()>, Option<MutexGuard<'a, ()>>),
}

impl Table {
    /// A table for this many records; at that number it is 90 % full.
    pub fn new(records: u64) -> Self {
        Self::asking(records, ask_for_large_pages)
    }

    fn asking(records: u64, asking: Asking) -> Self {
        let slots = records.max(1).saturating_mul(100) / FULL_PERCENT;
        // Two at least: a key has two.
        let buckets = slots.div_ceil(SLOTS as u64).max(2);
        let regions = buckets.div_ceil(REGION as u64);
        Self {
            regions: (0..regions).map(|_| OnceLock::new()).collect(),
            asking,
            buckets,
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
            head: AtomicU64::new(0),
            records: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
            moves: Moves::default(),
        }
    }

    /// Records that it has room for.
    pub const fn slots(&self) -> u64 {
        self.buckets * SLOTS as u64
    }

    /// Buckets that [`Self::buckets_of`] chooses from.
    pub const fn buckets(&self) -> u64 {
        self.buckets
    }

    /// The two buckets that the record of a key can be in, alike for all its variants; rarely they are one.
    pub fn buckets_of(&self, hash: u128) -> [u64; 2] {
        let first = scale((hash >> 64) as u64, self.buckets);
        [first, self.partner(first, tag_of(hash))]
    }

    /// Records that are in it.
    pub fn len(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records that had to leave for others so far.
    pub fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    /// Tells where the ring is written from now on.
    pub fn advance(&self, head: Address) {
        self.head.store(head.offset(), Ordering::Relaxed);
    }

    /// The record that may be that of a key; rarely it is another's with the same tag. No lock, no allocation. What is replaced at this
    /// moment may be missing; what is moved is not.
    pub fn find(&self, hash: u128) -> Option<Slot> {
        let (tag, numbers) = (tag_of(hash), self.buckets_of(hash));
        self.moves.watched(|| {
            let buckets = numbers.map(|number| self.bucket(number));
            matching(buckets, tag)
        })
    }

    /// Makes what is put in soon cheaper: the cache misses of a batch overlap. Some dozens at a time are best.
    pub fn warm(&self, hashes: impl IntoIterator<Item = u128>) {
        let buckets = hashes.into_iter().flat_map(|hash| self.buckets_of(hash));
        let touched = buckets.map(|number| self.bucket(number).map_or(0, Bucket::rooms));
        std::hint::black_box(touched.fold(0, |all, rooms| all | rooms));
    }

    /// The record of a key at an address, if it is still the one there. Exact, since it waits for whoever changes its buckets.
    pub fn get(&self, hash: u128, address: Address) -> Option<Slot> {
        let pair = self.lock(hash);
        let (bucket, at) = pair.position(identity(tag_of(hash), address))?;
        bucket.read_any(at)
    }

    /// Counts a hit of a record, if it is still there.
    pub fn count_hit(&self, hash: u128, address: Address) {
        let identity = identity(tag_of(hash), address);
        for number in self.buckets_of(hash) {
            if let Some(bucket) = self.bucket(number)
                && let Some(at) = bucket.position(identity)
            {
                return bucket.count_hit(at, identity);
            }
        }
    }

    /// Which variants of a key may be there: the lowest bytes of their tags. Exact, since it waits for whoever changes their buckets.
    pub fn variants(&self, hash: u128) -> Vec<u8> {
        let pair = self.lock(hash);
        let is_present =
            |(bucket, at): (&Bucket, usize)| bucket.read_any(at).map(|_| bucket.tag(at));
        let tags = pair.slots().filter_map(is_present);
        let family = tags.filter(|tag| tag >> VARIANT_BITS == tag_of(hash) >> VARIANT_BITS);
        family.map(|tag| tag as u8).collect()
    }

    /// Puts a record in, in the place of one with the same tag: that is an older one of the same response in all but four of a million
    /// cases, and a cache may forget. The caller lets nothing older come after something younger.
    pub fn put(&self, hash: u128, slot: &Slot) -> Put {
        let pair = self.lock(hash);
        let (tag, words) = (tag_of(hash), slot.pack(tag_of(hash)));
        let known = pair.known(tag);
        if let Some((bucket, at, replaced)) = known {
            bucket.write(at, words);
            return Put::Replacing(replaced);
        }
        if let Some((bucket, at)) = pair.room().or_else(|| self.make_room(&pair)) {
            bucket.write(at, words);
            self.records.fetch_add(1, Ordering::Relaxed);
            return Put::Free;
        }
        self.displaced.fetch_add(1, Ordering::Relaxed);
        let victim = self
            .least_worth(&pair)
            .filter(|(_, _, victim)| self.worth(slot) >= self.worth(victim));
        let Some((bucket, at, victim)) = victim else {
            return Put::Not;
        };
        bucket.write(at, words);
        Put::Displacing(victim)
    }

    /// Puts `slot` in the place of the record at `old`; what was there, or `None` when that is gone and nothing was done.
    pub fn replace(&self, hash: u128, old: Address, slot: &Slot) -> Option<Slot> {
        let pair = self.lock(hash);
        let (bucket, at) = pair.position(identity(tag_of(hash), old))?;
        let replaced = bucket.read_any(at);
        bucket.write(at, slot.pack(tag_of(hash)));
        replaced
    }

    /// Takes the record at an address out, if it is still there.
    pub fn remove(&self, hash: u128, address: Address) -> Option<Slot> {
        let pair = self.lock(hash);
        let (bucket, at) = pair.position(identity(tag_of(hash), address))?;
        let removed = bucket.read_any(at);
        bucket.clear(at);
        self.records.fetch_sub(1, Ordering::Relaxed);
        removed
    }

    /// Takes out whatever has the tag of a key; nothing is missed, as a look-up without locks might.
    pub fn take(&self, hash: u128) -> Option<Slot> {
        let pair = self.lock(hash);
        let (bucket, at, taken) = pair.known(tag_of(hash))?;
        bucket.clear(at);
        self.records.fetch_sub(1, Ordering::Relaxed);
        Some(taken)
    }

    /// Goes through the whole table and takes out what `keep` does not want: for a segment whose footer cannot be read. Holds one lock at a
    /// time; what is put in or moved meanwhile may be passed over.
    pub fn retain(&self, mut keep: impl FnMut(&Slot) -> bool) {
        for number in 0..self.buckets {
            let Some(bucket) = self.bucket(number) else {
                continue;
            };
            let _lock = self.locks[lock_of(number)].lock();
            for at in 0..SLOTS {
                if bucket.read_any(at).is_some_and(|slot| !keep(&slot)) {
                    bucket.clear(at);
                    self.records.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Frees a slot of a full pair by moving records to their other buckets: as few as it takes.
    fn make_room<'a>(&'a self, pair: &Pair<'a>) -> Option<(&'a Bucket, usize)> {
        let [first, second] = pair.numbers.map(lock_of);
        let first = Held::only(first);
        let held = first.and(second);
        (1..=MOVES_MAX).find_map(|moves| {
            let mut buckets = distinct(pair.numbers).zip(pair.buckets);
            buckets.find_map(|(number, bucket)| Some((bucket, self.vacate(number, moves, &held)?)))
        })
    }

    /// Frees a slot of a full bucket, whose lock is held, by up to `moves` moves.
    fn vacate(&self, number: u64, moves: u32, held: &Held<'_>) -> Option<usize> {
        let bucket = self.bucket_or_new(number);
        (0..SLOTS).find_map(|at| {
            let other = self.partner(number, bucket.tag(at));
            let lock = lock_of(other);
            // Never waited for: this thread holds locks already.
            let _lock = if held.has(lock) {
                None
            } else {
                Some(self.locks[lock].try_lock()?)
            };
            let target = self.bucket_or_new(other);
            let deeper = || {
                (moves > 1)
                    .then(|| self.vacate(other, moves - 1, &held.and(lock)))
                    .flatten()
            };
            let room = positions(target.rooms()).next().or_else(deeper)?;
            self.moves
                .note(|| target.write(room, bucket.words(at)), || bucket.clear(at));
            Some(at)
        })
    }

    /// The record of the pair that is missed least.
    fn least_worth<'a>(&self, pair: &Pair<'a>) -> Option<(&'a Bucket, usize, Slot)> {
        let present = pair
            .slots()
            .filter_map(|(bucket, at)| Some((bucket, at, bucket.read_any(at)?)));
        present.min_by_key(|(_, _, slot)| self.worth(slot))
    }

    /// What was hit is worth more; of what was not, what was written later.
    fn worth(&self, slot: &Slot) -> (u8, u64) {
        let head = self.head.load(Ordering::Relaxed);
        // What lies ahead of the head was written a lap earlier: the distance up to it, seen backwards around the ring.
        let behind = head.wrapping_sub(slot.address.offset());
        (slot.frequency, u64::MAX - behind)
    }

    fn lock(&self, hash: u128) -> Pair<'_> {
        let numbers = self.buckets_of(hash);
        let [first, second] = numbers.map(lock_of);
        // In their order, so that no two writers wait for each other.
        let low = self.locks[first.min(second)].lock();
        let high = (first != second).then(|| self.locks[first.max(second)].lock());
        Pair {
            numbers,
            buckets: numbers.map(|number| self.bucket_or_new(number)),
            _locks: (low, high),
        }
    }

    /// The other bucket of a record with this tag: the partner of the partner is the bucket itself.
    const fn partner(&self, number: u64, tag: u64) -> u64 {
        let sum = scale(spread(tag >> VARIANT_BITS), self.buckets);
        if sum >= number {
            sum - number
        } else {
            sum + self.buckets - number
        }
    }

    fn bucket(&self, number: u64) -> Option<&Bucket> {
        let region = self.regions.get(number as usize / REGION)?.get()?;
        region.get(number as usize % REGION)
    }

    fn bucket_or_new(&self, number: u64) -> &Bucket {
        let (region, at) = (number as usize / REGION, number as usize % REGION);
        &self.regions[region].get_or_init(|| self.new_region(region))[at]
    }

    /// Memory for a region, asked about before it is touched: look-ups at random wait for the translation of addresses as much as for memory.
    fn new_region(&self, region: usize) -> Box<[Bucket]> {
        let after = self.buckets as usize - region * REGION;
        let mut buckets = Vec::with_capacity(after.min(REGION));
        let refused = (self.asking)(buckets.spare_capacity_mut()).err();
        if let (0, Some(error)) = (region, refused) {
            debug!("the index has no large pages: {error}");
        }
        buckets.extend((0..after.min(REGION)).map(|_| Bucket::default()));
        buckets.into()
    }
}

impl<'a> Pair<'a> {
    fn slots(&self) -> impl Iterator<Item = (&'a Bucket, usize)> {
        let buckets = distinct(self.numbers)
            .zip(self.buckets)
            .map(|(_, bucket)| bucket);
        buckets.flat_map(|bucket| (0..SLOTS).map(move |at| (bucket, at)))
    }

    fn position(&self, identity: u64) -> Option<(&'a Bucket, usize)> {
        let mut buckets = self.buckets.into_iter();
        buckets.find_map(|bucket| Some((bucket, bucket.position(identity)?)))
    }

    /// The record with this tag.
    fn known(&self, tag: u64) -> Option<(&'a Bucket, usize, Slot)> {
        let [first, second] = self.buckets.map(|bucket| bucket.matches(tag));
        positions(first | second << SLOTS).find_map(|at| {
            let bucket = self.buckets[at / SLOTS];
            Some((bucket, at % SLOTS, bucket.read(at % SLOTS, tag)?))
        })
    }

    /// A free slot of the emptier bucket.
    fn room(&self) -> Option<(&'a Bucket, usize)> {
        let [first, second] = self.buckets.map(|bucket| bucket.rooms());
        let is_second = second.count_ones() > first.count_ones();
        let (bucket, rooms) = if is_second {
            (self.buckets[1], second)
        } else {
            (self.buckets[0], first)
        };
        positions(rooms).next().map(|at| (bucket, at))
    }
}

impl<'a> Held<'a> {
    const fn only(lock: usize) -> Self {
        Self { lock, others: None }
    }

    const fn and(&'a self, lock: usize) -> Self {
        Self {
            lock,
            others: Some(self),
        }
    }

    fn has(&self, lock: usize) -> bool {
        self.lock == lock || self.others.is_some_and(|others| others.has(lock))
    }
}

/// Both numbers, or the one that they are.
fn distinct([first, second]: [u64; 2]) -> impl Iterator<Item = u64> {
    std::iter::once(first).chain((second != first).then_some(second))
}

/// Few bits as many evenly spread ones.
const fn spread(bits: u64) -> u64 {
    let mixed = bits.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// The upper bits of a hash as a number below `bound`.
const fn scale(hash: u64, bound: u64) -> u64 {
    ((hash as u128 * bound as u128) >> 64) as u64
}

const fn lock_of(bucket: u64) -> usize {
    bucket as usize % LOCKS
}

#[cfg(test)]
mod tests;
