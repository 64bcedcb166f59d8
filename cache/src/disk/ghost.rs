//! Was this key asked for lately, though nothing of it was kept on disk? A memory of hashes alone, two bytes a key.
//!
//! Told what was refused by admission and what fell off the ring unhit, asked at the next fill of the same key: who comes back is worth
//! writing. A fingerprint of 16 bits among 31 in its bucket, first in, first out; about one stranger in two thousand is taken for an
//! acquaintance, which costs a write. No lock: a race forgets a key. Keeps nothing over a restart.

use std::sync::atomic::{AtomicU16, Ordering};

/// Fingerprints of a bucket: with the place of the next one they are a cache line.
const PRINTS: usize = 31;
const NONE: u16 = 0;
/// Keys for a hundred records on disk.
const KEYS_PERCENT: u64 = 125;

/// The keys that were seen and not kept.
#[derive(Debug)]
pub struct Ghost {
    buckets: Box<[Bucket]>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket {
    prints: [AtomicU16; PRINTS],
    next: AtomicU16,
}

impl Ghost {
    /// A memory for a disk of this many records: a quarter more keys. Fewer cost hits, more cost writes (measured).
    pub fn of_records(records: u64) -> Self {
        Self::new(records.saturating_mul(KEYS_PERCENT) / 100)
    }

    /// A memory of this many keys.
    pub fn new(keys: u64) -> Self {
        let buckets = keys.div_ceil(PRINTS as u64).max(1);
        Self {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> u64 {
        size_of_val(&*self.buckets) as u64
    }

    /// Remembers a key, in the place of the one that was remembered longest ago.
    pub fn remember(&self, hash: u128) {
        let (bucket, print) = self.place(hash);
        let next = usize::from(bucket.next.fetch_add(1, Ordering::Relaxed)) % PRINTS;
        bucket.prints[next].store(print, Ordering::Relaxed);
    }

    /// Whether a key is remembered; it is not any more afterwards.
    pub fn recall(&self, hash: u128) -> bool {
        let (bucket, print) = self.place(hash);
        let is_it = |known: &&AtomicU16| known.load(Ordering::Relaxed) == print;
        let Some(known) = bucket.prints.iter().find(is_it) else {
            return false;
        };
        // Who comes second has not seen it: one write is enough.
        let taken = known.compare_exchange(print, NONE, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok()
    }

    fn place(&self, hash: u128) -> (&Bucket, u16) {
        let bucket = ((hash >> 64) * self.buckets.len() as u128) >> 64;
        (&self.buckets[bucket as usize], (hash as u16).max(NONE + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u128 {
        let mixed = |n: u64| u128::from((n ^ n << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed(n) << 64 | mixed(n + (1 << 30))
    }

    #[test]
    fn a_key_is_recalled_once() {
        let ghost = Ghost::new(1000);
        assert!(!ghost.recall(hash(1)));
        ghost.remember(hash(1));
        assert!(ghost.recall(hash(1)));
        assert!(!ghost.recall(hash(1)));
    }

    #[test]
    fn the_last_are_remembered_and_the_old_forgotten() {
        let ghost = Ghost::new(31_000);
        (0..200_000).for_each(|n| ghost.remember(hash(n)));
        let known = |range: std::ops::Range<u64>| range.filter(|n| ghost.recall(hash(*n))).count();
        assert!(known(190_000..200_000) > 9_900);
        assert!(known(0..10_000) < 50);
    }

    #[test]
    fn strangers_are_rarely_known() {
        let ghost = Ghost::new(31_000);
        (0..100_000).for_each(|n| ghost.remember(hash(n)));
        let strangers = (1_000_000..1_100_000).filter(|n| ghost.recall(hash(*n)));
        assert!(strangers.count() < 100);
    }
}
