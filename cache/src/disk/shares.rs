//! How much of the disk does each partition take, and how much may it? Invariant 8: no site takes another's share.
//!
//! Told of every record that the index gains or loses, and of the pieces of long content that a volume does; asked by admission and by
//! reinsertion. Of heads it counts what the index knows, not what lies on the disk: superseded ones are nobody's and go with their lap.
//! Pieces count until their segment is reused, superseded or not: nothing tells whose they are by then. Partitions are spread over locks that are held for a moment; no
//! scan, no I/O. Knows no site: what a share is, in bytes, its caller says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::key::Partition;

use super::index::slot::Slot;

/// Locks that partitions are spread over.
const SHARDS: usize = 64;

/// What a partition may take of the disk, in bytes over all volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Up to this much it is kept like everything else; beyond, it is written less often and never written again. Default: no bound.
    pub share: u64,
    /// Beyond this nothing new is written. Default: no bound.
    pub cap: u64,
    /// Up to this much it is kept even if nobody asks for it. Default 0.
    pub guaranteed: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            share: u64::MAX,
            cap: u64::MAX,
            guaranteed: 0,
        }
    }
}

/// How a partition stands with its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// At or below its guaranteed minimum: what it has is kept.
    Guaranteed,
    /// At or below its share.
    Within,
    /// Above its share: it is written with the odds of share to usage.
    Over {
        /// Of 65,536 numbers, the last that is in its favour.
        odds: u16,
    },
    /// At its cap.
    Capped,
}

/// What all partitions take.
#[derive(Debug)]
pub struct Shares {
    shards: [RwLock<HashMap<Partition, Account>>; SHARDS],
    /// What all of them take.
    all: AtomicU64,
}

#[derive(Debug, Default)]
struct Account {
    live: AtomicU64,
    quota: Quota,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            all: AtomicU64::new(0),
        }
    }
}

impl Shares {
    /// Sets what a partition may take from now on; nothing is thrown away for it.
    pub fn set_quota(&self, partition: Partition, quota: Quota) {
        self.shard(partition)
            .write()
            .entry(partition)
            .or_default()
            .quota = quota;
    }

    /// A record came into the index.
    pub fn add(&self, slot: &Slot) {
        self.add_bytes(slot.partition, slot.size.bytes());
    }

    /// A record left the index.
    pub fn subtract(&self, slot: &Slot) {
        self.subtract_bytes(slot.partition, slot.size.bytes());
    }

    /// A partition takes this much more.
    pub fn add_bytes(&self, partition: Partition, bytes: u64) {
        self.all.fetch_add(bytes, Ordering::Relaxed);
        if let Some(account) = self.shard(partition).read().get(&partition) {
            account.live.fetch_add(bytes, Ordering::Relaxed);
            return;
        }
        let mut shard = self.shard(partition).write();
        *shard.entry(partition).or_default().live.get_mut() += bytes;
    }

    /// A partition takes this much less.
    pub fn subtract_bytes(&self, partition: Partition, bytes: u64) {
        let less = |count: &AtomicU64| {
            let less = |live: u64| Some(live.saturating_sub(bytes));
            let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        };
        less(&self.all);
        if let Some(account) = self.shard(partition).read().get(&partition) {
            less(&account.live);
        }
    }

    /// Bytes that the records of all partitions take.
    pub fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// Bytes that the records of a partition take.
    pub fn live(&self, partition: Partition) -> u64 {
        let shard = self.shard(partition).read();
        shard
            .get(&partition)
            .map_or(0, |account| account.live.load(Ordering::Relaxed))
    }

    /// How a partition would stand with `more` bytes.
    pub fn standing(&self, partition: Partition, more: u64) -> Standing {
        let shard = self.shard(partition).read();
        shard.get(&partition).map_or(Standing::Within, |account| {
            let usage = account.live.load(Ordering::Relaxed).saturating_add(more);
            stand(&account.quota, usage)
        })
    }

    fn shard(&self, partition: Partition) -> &RwLock<HashMap<Partition, Account>> {
        &self.shards[partition.0 as usize % SHARDS]
    }
}

/// How `usage` stands with a quota.
fn stand(quota: &Quota, usage: u64) -> Standing {
    if usage > quota.cap {
        return Standing::Capped;
    }
    if usage > quota.share {
        let odds = u128::from(quota.share) * u128::from(u16::MAX) / u128::from(usage);
        return Standing::Over {
            odds: u16::try_from(odds).unwrap_or(u16::MAX),
        };
    }
    if usage <= quota.guaranteed {
        Standing::Guaranteed
    } else {
        Standing::Within
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::index::slot::{Address, Birth, SizeClass};

    const SITE: Partition = Partition(7);

    fn slot(units: u64) -> Slot {
        Slot {
            address: Address::of_offset(512).unwrap(),
            size: SizeClass::of(units * 512).unwrap(),
            partition: SITE,
            birth: Birth::default(),
            frequency: 0,
        }
    }

    #[track_caller]
    fn check(quota: Quota, usage: u64, expected: Standing) {
        assert_eq!(stand(&quota, usage), expected, "{quota:?} {usage}");
    }

    #[test]
    fn a_partition_stands_by_its_quota() {
        let quota = Quota {
            share: 1000,
            cap: 4000,
            guaranteed: 100,
        };
        for (usage, expected) in [
            (0, Standing::Guaranteed),
            (100, Standing::Guaranteed),
            (101, Standing::Within),
            (1000, Standing::Within),
            (1001, Standing::Over { odds: 65_469 }),
            (2000, Standing::Over { odds: 32_767 }),
            (4000, Standing::Over { odds: 16_383 }),
            (4001, Standing::Capped),
            (u64::MAX, Standing::Capped),
        ] {
            check(quota, usage, expected);
        }
        check(Quota::default(), u64::MAX, Standing::Within);
        check(
            Quota {
                share: 0,
                ..Quota::default()
            },
            1,
            Standing::Over { odds: 0 },
        );
    }

    #[test]
    fn what_comes_and_goes_is_counted_as_it_takes() {
        let shares = Shares::default();
        assert_eq!(shares.standing(SITE, 0), Standing::Within);
        shares.add(&slot(10));
        shares.add(&slot(33));
        // 33 units take 34: what is subtracted is what was added.
        assert_eq!((shares.live(SITE), shares.all()), (44 * 512, 44 * 512));
        shares.subtract(&slot(10));
        assert_eq!(shares.live(SITE), 34 * 512);
        shares.set_quota(
            SITE,
            Quota {
                cap: 40 * 512,
                ..Quota::default()
            },
        );
        assert_eq!(shares.standing(SITE, 6 * 512), Standing::Within);
        assert_eq!(shares.standing(SITE, 7 * 512), Standing::Capped);
        shares.subtract(&slot(1000));
        assert_eq!((shares.live(SITE), shares.all()), (0, 0));
        assert_eq!(shares.live(Partition(8)), 0);
    }
}
