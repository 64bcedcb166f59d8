//! What one volume holds, as far as memory knows: which record answers for a key, and may a response be written or left out?
//!
//! Asked at every look-up on disk and every commit, changed by the volume's writer and its recovery. Puts together the table of slots, the
//! lists of selecting fields, the claims of what is on its way, and the marks of what was forgotten. Invariants: the slot of a response is
//! that of its newest record or none; while a newer version is on its way, nothing of it is found; and whatever key may have a record on
//! disk is known to *perhaps* have one. Slots are replaced in place, so that a key whose slot was taken by another with the same tag still
//! sees that tag. Does no I/O and judges no purge.

use std::sync::Arc;

use crate::key::{KeyHasher, Partition};
use crate::purge::Tick;
use crate::semantics::vary::{SelectingFields, Selector};
use crate::variant::{Variant, Version};

use super::forgotten::Forgotten;
use super::ghost::Ghost;
use super::index::slot::{Address, Slot};
use super::index::table::{Put, Table};
use super::pending::{Overtakes, Pending};
use super::shares::Ledger;
use super::variants::{Family, Filed, Lists, family};

/// The catalog of one volume.
#[derive(Debug)]
pub(super) struct Catalog {
    table: Table,
    lists: Lists,
    pending: Pending,
    forgotten: Forgotten,
    ghost: Ghost,
    /// What the records that are found take.
    ledger: Arc<Ledger>,
}

impl Catalog {
    /// A catalog for about this many records, of a volume that loads.
    pub(super) fn new(records: u64, ledger: Arc<Ledger>) -> Self {
        let table = Table::new(records);
        let forgotten = Forgotten::new(table.buckets());
        Self {
            table,
            lists: Lists::default(),
            pending: Pending::new(),
            forgotten,
            ghost: Ghost::of_records(records),
            ledger,
        }
    }

    /// The keys that were seen and not kept.
    pub(super) const fn ghost(&self) -> &Ghost {
        &self.ghost
    }

    /// How many records are known.
    pub(super) fn len(&self) -> u64 {
        self.table.len()
    }

    /// What may answer: mostly one, or none. Of a response that is on its way only that.
    pub(super) fn candidates(
        &self,
        place: (u128, Partition),
        selecting: &SelectingFields<'_>,
        keys: &KeyHasher,
    ) -> Vec<Candidate> {
        let filed = self.lists.candidates(place, selecting, keys).into_iter();
        let known = |filed: Filed| match self.pending.on_its_way(filed) {
            Some(variant) => variant.map(|variant| Candidate::OnItsWay(filed, variant)),
            None => {
                let slot = self.table.find(filed.hash());
                slot.map(|slot| Candidate::Record(filed, slot))
            }
        };
        filed.filter_map(known).collect()
    }

    /// Whether a response has others of its key beside it that vary by other fields than it does.
    pub(super) fn has_rivals(&self, filed: Filed, partition: Partition) -> bool {
        if self.pending.has_beside(filed) {
            return true;
        }
        let own = filed.hash() as u8;
        let mut others = self.table.variants(filed.primary);
        others.retain(|byte| *byte != own);
        // Of one list they have one place for each request.
        let is_plain = |byte: u8| byte == filed.primary as u8;
        let of_one_list = !is_plain(own)
            && !others.iter().any(|byte| is_plain(*byte))
            && self.lists.count(partition) <= 1;
        !others.is_empty() && !of_one_list
    }

    /// Whether what a request selects may be another response of a key, too.
    pub(super) fn has_rivals_for(
        &self,
        filed: Filed,
        partition: Partition,
        selecting: &SelectingFields<'_>,
        keys: &KeyHasher,
    ) -> bool {
        let place = (filed.primary, partition);
        let mut others = self.lists.candidates(place, selecting, keys).into_iter();
        others.any(|other| {
            other.variant != filed.variant
                && (self.pending.is_claimed(other) || self.table.find(other.hash()).is_some())
        })
    }

    /// What is known of a key in all its variants.
    pub(super) fn family(&self, primary: u128) -> Family {
        family(&self.table, primary)
    }

    /// Whether any record of a key may be on disk, now or soon.
    pub(super) fn may_have(&self, primary: u128) -> bool {
        // In the order in which it gets there, so that it is not missed on the way.
        self.pending.has(primary) || self.may_be_on_disk(primary)
    }

    fn may_be_on_disk(&self, primary: u128) -> bool {
        self.forgotten.may_have(self.table.buckets_of(primary))
            || self.family(primary) != Family::None
    }

    /// Whether a record is the one that is found for its response.
    pub(super) fn holds(&self, filed: Filed, address: Address) -> bool {
        self.slot(filed, address).is_some()
    }

    /// The slot of a record, if that is found.
    pub(super) fn slot(&self, filed: Filed, address: Address) -> Option<Slot> {
        let is_claimed = self.pending.is_claimed(filed);
        self.table
            .get(filed.hash(), address)
            .filter(|_| !is_claimed)
    }

    /// Whether exactly this version is on its way, or the record that is found.
    pub(super) fn has(&self, filed: Filed, version: Version, address: Option<Address>) -> bool {
        // In the order in which it gets there, so that it is not missed on the way.
        self.pending.is_current(filed, version)
            || address.is_some_and(|address| self.holds(filed, address))
    }

    /// Counts a hit of a record.
    pub(super) fn count_hit(&self, filed: Filed, address: Address) {
        self.table.count_hit(filed.hash(), address);
    }

    /// Counts a hit of the record of a response, wherever it is; `false` when there is none.
    pub(super) fn count_hit_of(&self, filed: Filed) -> bool {
        let slot = self.table.find(filed.hash());
        if let Some(slot) = slot {
            self.table.count_hit(filed.hash(), slot.address);
        }
        slot.is_some()
    }

    /// A version is committed: nothing older is found any more. `None` when a newer one was; else whether an older one may be on disk.
    pub(super) fn claim(&self, filed: Filed, variant: &Arc<Variant>) -> Option<Replaces> {
        self.claim_late(filed, variant, || true)
    }

    /// The same for a version that was committed a while ago: only while it `is_newest`, asked under the lock.
    pub(super) fn claim_late(
        &self,
        filed: Filed,
        variant: &Arc<Variant>,
        is_newest: impl FnOnce() -> bool,
    ) -> Option<Replaces> {
        let (version, variant) = (variant.version, Arc::downgrade(variant));
        let overtakes = self.pending.claim_if(filed, version, variant, is_newest)?;
        // Afterwards: what was on its way until just now is there.
        Some(match overtakes {
            Overtakes::Nothing if !self.may_be_on_disk(filed.primary) => Replaces::Nothing,
            Overtakes::Nothing | Overtakes::OnItsWay => Replaces::Perhaps,
        })
    }

    /// Whether a version is still the newest of its response.
    pub(super) fn is_current(&self, filed: Filed, version: Version) -> bool {
        self.pending.is_current(filed, version)
    }

    /// A claimed version is on disk.
    pub(super) fn settle(&self, filed: Filed, version: Version, slot: &Slot) {
        self.pending.end(filed, version, || self.put(filed, slot));
    }

    /// A claimed version does not reach the disk: what is there is older, and stays out of reach.
    pub(super) fn abandon(&self, filed: Filed, version: Version) {
        self.pending.end(filed, version, || {
            if let Some(stale) = self.table.take(filed.hash()) {
                self.ledger.subtract(&stale);
                self.mark(filed.hash());
            }
        });
    }

    /// Makes it cheaper to load some dozens of records next.
    pub(super) fn warm(&self, filed: impl Iterator<Item = Filed>) {
        self.table.warm(filed.map(Filed::hash));
    }

    /// Recovery found a record, in the order in which they were written.
    pub(super) fn load(&self, filed: Filed, slot: &Slot) {
        self.pending.unless_claimed(filed, || self.put(filed, slot));
    }

    /// Nothing older can be found any more.
    pub(super) fn finish_loading(&self) {
        self.pending.finish_loading();
    }

    /// The slot of a record, claimed or not.
    pub(super) fn present(&self, filed: Filed, address: Address) -> Option<Slot> {
        self.table.get(filed.hash(), address)
    }

    /// A record was copied. `false`: what it was copied from is not found any more, and neither is the copy.
    pub(super) fn relocate(&self, filed: Filed, from: Address, slot: &Slot) -> bool {
        let mut moved = false;
        self.pending.unless_claimed(filed, || {
            let replaced = self.table.replace(filed.hash(), from, slot);
            if let Some(replaced) = replaced {
                self.ledger.subtract(&replaced);
                self.ledger.add(slot);
                moved = true;
            }
        });
        if !moved {
            self.drop_record(filed, from);
        }
        moved
    }

    /// A record cannot be read: it is not tried again. It may still be there after a restart.
    pub(super) fn forget(&self, filed: Filed, address: Address) {
        if self.drop_record(filed, address) {
            self.mark(filed.hash());
        }
    }

    /// A record is about to be overwritten; whether it was found until now.
    pub(super) fn drop_record(&self, filed: Filed, address: Address) -> bool {
        let removed = self.table.remove(filed.hash(), address);
        if let Some(slot) = &removed {
            self.ledger.subtract(slot);
        }
        removed.is_some()
    }

    /// All records at these addresses are about to be overwritten, whatever they were.
    pub(super) fn drop_range(&self, range: std::ops::Range<u64>) {
        self.table.retain(|slot| {
            let is_kept = !range.contains(&slot.address.offset());
            if !is_kept {
                self.ledger.subtract(slot);
            }
            is_kept
        });
    }

    /// The birth of the oldest record that is found, [`Tick::FOREVER`] without any. Goes through the whole table.
    pub(super) fn oldest(&self) -> Tick {
        let mut oldest = Tick::FOREVER;
        self.table.retain(|slot| {
            oldest = oldest.min(Tick(slot.birth.tick()));
            true
        });
        oldest
    }

    /// Tells where the ring is written from now on, and whether it begins anew.
    pub(super) fn advance(&self, head: u64, is_first: bool) {
        if let Some(head) = Address::of_offset(head) {
            self.table.advance(head);
        }
        if is_first {
            self.forgotten.turn();
        }
    }

    /// Notes what responses of a partition vary by.
    pub(super) fn learn(&self, partition: Partition, vary: u32, selectors: &[Selector]) {
        self.lists.learn(partition, vary, selectors);
    }

    /// Whether the field names behind a hash are known.
    pub(super) fn knows(&self, partition: Partition, vary: u32) -> bool {
        self.lists.knows(partition, vary)
    }

    /// In the place of what has the same tag, which is an older record of it in all but four of a million cases.
    fn put(&self, filed: Filed, slot: &Slot) {
        let hash = filed.hash();
        match self.table.put(hash, slot) {
            Put::Free => {}
            Put::Replacing(old) => self.ledger.subtract(&old),
            Put::Displacing(other) => {
                self.ledger.subtract(&other);
                self.mark(hash);
            }
            Put::Not => return self.mark(hash),
        }
        self.ledger.add(slot);
    }

    fn mark(&self, hash: u128) {
        self.forgotten.mark(self.table.buckets_of(hash));
    }
}

/// What may answer a look-up.
#[derive(Debug)]
pub(super) enum Candidate {
    /// A record, to be read.
    Record(Filed, Slot),
    /// What is not written yet.
    OnItsWay(Filed, Arc<Variant>),
}

/// Whether a commit has an older version on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replaces {
    /// There is none.
    Nothing,
    /// There may be one, or it is on its way: the newer must be written.
    Perhaps,
}
