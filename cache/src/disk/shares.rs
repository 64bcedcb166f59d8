//! How much of the disk does each partition take, and how much may it? Invariant 8: no site takes another's share.
//!
//! Told of every record that the index gains or loses, and of the pieces of long content that a volume does; asked by admission and by
//! reinsertion. Of heads it counts what the index knows, not what lies on the disk: superseded ones are nobody's and go with their lap.
//! Pieces count until their segment is reused, superseded or not: nothing tells whose they are by then. Each volume keeps a [`Ledger`] of its
//! own, which counts while the volume serves: what is still written to one that failed, or loaded from it, is nobody's. Partitions are spread
//! over locks that are held for a moment; no scan, no I/O. Knows no site: what a share is, in bytes, its caller says.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::key::Partition;

use super::index::slot::Slot;

/// Locks that the partitions of a volume are spread over.
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

/// What all partitions may take, and what they do.
#[derive(Debug, Default)]
pub struct Shares {
    quotas: RwLock<HashMap<Partition, Quota>>,
    /// Of the volumes that serve: few.
    volumes: RwLock<Vec<Arc<Taken>>>,
}

/// What partitions take of one volume.
#[derive(Debug)]
struct Taken {
    shards: [RwLock<HashMap<Partition, AtomicU64>>; SHARDS],
    /// What all of them take.
    all: AtomicU64,
}

impl Default for Taken {
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
        self.quotas.write().insert(partition, quota);
    }

    /// The account of a volume that is to serve.
    pub fn open(self: &Arc<Self>) -> Ledger {
        let taken = Arc::new(Taken::default());
        self.volumes.write().push(Arc::clone(&taken));
        Ledger {
            shares: Arc::clone(self),
            taken,
        }
    }

    /// Bytes that the records of all partitions take.
    pub fn all(&self) -> u64 {
        let volumes = self.volumes.read();
        let of_volumes = volumes.iter().map(|of| of.all.load(Ordering::Relaxed));
        of_volumes.sum()
    }

    /// Bytes that the records of a partition take.
    pub fn live(&self, partition: Partition) -> u64 {
        let volumes = self.volumes.read();
        volumes.iter().map(|of| of.live(partition)).sum()
    }

    /// How a partition would stand with `more` bytes.
    pub fn standing(&self, partition: Partition, more: u64) -> Standing {
        let quota = self.quotas.read().get(&partition).copied();
        quota.map_or(Standing::Within, |quota| {
            stand(&quota, self.live(partition).saturating_add(more))
        })
    }
}

/// The account of one volume: it counts until it is closed, or dropped.
#[derive(Debug)]
pub struct Ledger {
    shares: Arc<Shares>,
    taken: Arc<Taken>,
}

impl Ledger {
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
        self.taken.all.fetch_add(bytes, Ordering::Relaxed);
        if let Some(live) = self.taken.shard(partition).read().get(&partition) {
            live.fetch_add(bytes, Ordering::Relaxed);
            return;
        }
        let mut shard = self.taken.shard(partition).write();
        *shard.entry(partition).or_default().get_mut() += bytes;
    }

    /// A partition takes this much less.
    pub fn subtract_bytes(&self, partition: Partition, bytes: u64) {
        let less = |count: &AtomicU64| {
            let less = |live: u64| Some(live.saturating_sub(bytes));
            let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        };
        less(&self.taken.all);
        if let Some(live) = self.taken.shard(partition).read().get(&partition) {
            less(live);
        }
    }

    /// The volume is out of service: what is on it, and whatever is still told of it, takes nobody's share any more.
    pub fn close(&self) {
        let mut volumes = self.shares.volumes.write();
        volumes.retain(|of| !Arc::ptr_eq(of, &self.taken));
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

impl Taken {
    fn live(&self, partition: Partition) -> u64 {
        let shard = self.shard(partition).read();
        let live = shard.get(&partition);
        live.map_or(0, |live| live.load(Ordering::Relaxed))
    }

    fn shard(&self, partition: Partition) -> &RwLock<HashMap<Partition, AtomicU64>> {
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
        let shares = Arc::new(Shares::default());
        assert_eq!(shares.standing(SITE, 0), Standing::Within);
        let ledger = shares.open();
        ledger.add(&slot(10));
        ledger.add(&slot(33));
        // 33 units take 34: what is subtracted is what was added.
        assert_eq!((shares.live(SITE), shares.all()), (44 * 512, 44 * 512));
        ledger.subtract(&slot(10));
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
        ledger.subtract(&slot(1000));
        assert_eq!((shares.live(SITE), shares.all()), (0, 0));
        assert_eq!(shares.live(Partition(8)), 0);
    }

    #[test]
    fn what_a_volume_takes_after_it_failed_is_nobodys() {
        let shares = Arc::new(Shares::default());
        let [failed, good] = [shares.open(), shares.open()];
        failed.add(&slot(10));
        good.add(&slot(2));
        assert_eq!((shares.live(SITE), shares.all()), (12 * 512, 12 * 512));
        failed.close();
        failed.add(&slot(10));
        assert_eq!((shares.live(SITE), shares.all()), (2 * 512, 2 * 512));
        drop(failed);
        drop(good);
        assert_eq!((shares.live(SITE), shares.all()), (0, 0));
    }
}
