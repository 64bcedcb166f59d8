//! The table against a plain map: it may forget, it never invents.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::disk::index::slot::{Birth, SizeClass};
use crate::key::Partition;

fn slot(units: u64, frequency: u8) -> Slot {
    Slot {
        address: Address::of_offset(units * 512).unwrap(),
        size: SizeClass::of(units).unwrap(),
        partition: Partition(units as u32 & 0xff),
        birth: Birth::of(units),
        frequency,
    }
}

/// A hash of few: its tag and buckets collide with those of others now and then.
fn hash(seed: u8) -> u128 {
    let mixed = |n: u64| (u64::from(seed) + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u128::from(mixed(1)) << 64 | u128::from(mixed(2) & !0x3f_ffff | u64::from(seed & 3))
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8),
    InsertUnlessKnown(u8),
    Replace(u8),
    Remove(u8),
    Hit(u8),
    Retain(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u8>().prop_map(Step::Insert),
        2 => any::<u8>().prop_map(Step::InsertUnlessKnown),
        2 => any::<u8>().prop_map(Step::Replace),
        2 => any::<u8>().prop_map(Step::Remove),
        2 => any::<u8>().prop_map(Step::Hit),
        1 => any::<u32>().prop_map(Step::Retain),
    ]
}

/// A table that does everything that its map does, but for what it says that it forgot.
struct Twin {
    table: Table,
    /// Hash and slot by address.
    model: HashMap<Address, (u128, Slot)>,
    next: u64,
}

impl Twin {
    fn new(records: u64) -> Self {
        Self {
            table: Table::new(records),
            model: HashMap::new(),
            next: 1,
        }
    }

    fn fresh(&mut self) -> Slot {
        self.next += 1;
        self.table.advance(slot(self.next, 0).address);
        slot(self.next, 0)
    }

    /// The address of some record of a hash, and of none.
    fn known(&self, hash: u128) -> Option<Address> {
        let mut of_hash = self.model.iter().filter(|(_, (of, _))| *of == hash);
        of_hash.next().map(|(address, _)| *address)
    }

    fn inserted(&mut self, hash: u128, slot: Slot, became: Inserted) {
        if let Inserted::Displacing(gone) = became {
            let (_, model) = self.model.remove(&gone.address).unwrap();
            assert_eq!(model, gone);
        }
        if became != Inserted::Not {
            self.model.insert(slot.address, (hash, slot));
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Insert(seed) => {
                let slot = self.fresh();
                let became = self.table.insert(hash(seed), &slot);
                self.inserted(hash(seed), slot, became);
            }
            Step::InsertUnlessKnown(seed) => {
                let slot = self.fresh();
                let became = self.table.insert_unless_known(hash(seed), &slot);
                if self.known(hash(seed)).is_some() {
                    assert_eq!(became, Inserted::Not);
                }
                self.inserted(hash(seed), slot, became);
            }
            Step::Replace(seed) => {
                let new = self.fresh();
                let old = self.known(hash(seed)).unwrap_or(new.address);
                let before = self.model.remove(&old).map(|(_, slot)| slot);
                assert_eq!(self.table.replace(hash(seed), old, &new), before);
                if before.is_some() {
                    self.model.insert(new.address, (hash(seed), new));
                }
            }
            Step::Remove(seed) => {
                let address = self.known(hash(seed)).unwrap_or_else(|| slot(1, 0).address);
                let before = self.model.remove(&address).map(|(_, slot)| slot);
                assert_eq!(self.table.remove(hash(seed), address), before);
            }
            Step::Hit(seed) => {
                let Some(address) = self.known(hash(seed)) else {
                    return;
                };
                self.table.count_hit(hash(seed), address);
                let (_, slot) = self.model.get_mut(&address).unwrap();
                slot.frequency = (slot.frequency + 1).min(3);
            }
            Step::Retain(partition) => {
                let keep = |slot: &Slot| slot.partition.0 != partition & 0xff;
                self.table.retain(keep);
                self.model.retain(|_, (_, slot)| keep(slot));
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.model.len() as u64);
        for (address, (hash, slot)) in &self.model {
            assert_eq!(self.table.get(*hash, *address), Some(*slot));
        }
        for seed in 0..=u8::MAX {
            for found in self.table.find(hash(seed)) {
                assert_eq!(
                    self.model.get(&found.address).map(|(_, slot)| *slot),
                    Some(found)
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn a_table_is_a_map_that_may_forget(
        records in 1..200_u64,
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut twin = Twin::new(records);
        for step in &steps {
            twin.apply(step);
        }
        twin.check();
    }
}

#[test]
fn when_both_buckets_are_full_the_unhit_that_is_overwritten_next_goes() {
    let table = Table::new(14);
    assert_eq!(table.slots(), 16);
    // The ring is written at 100: what lies ahead of it is of the lap before.
    table.advance(slot(100, 0).address);
    let present = [90, 101, 102, 200].into_iter().chain(1..=12);
    for units in present {
        let frequency = u8::from(units == 101);
        assert_eq!(table.insert(7, &slot(units, frequency)), Inserted::Free);
    }
    for gone in [102, 200, 1, 2] {
        let became = table.insert(7, &slot(99, 0));
        assert_eq!(became, Inserted::Displacing(slot(gone, 0)));
        assert_eq!(table.remove(7, slot(99, 0).address), Some(slot(99, 0)));
        assert_eq!(table.insert(7, &slot(98, 3)), Inserted::Free);
    }
    assert_eq!(table.displaced(), 4);
    // Recovery finds older ones last: they push out nothing younger.
    assert_eq!(table.insert(7, &slot(103, 0)), Inserted::Not);
}

#[test]
fn readers_see_whole_records_or_none_while_writers_replace_them() {
    let table = Table::new(1);
    let rounds = 20_000;
    std::thread::scope(|scope| {
        for writer in 0..2_u64 {
            let table = &table;
            scope.spawn(move || {
                let mut old = slot(writer + 1, 0);
                table.insert(7, &old);
                for round in 1..rounds {
                    let new = slot(1 + writer + 2 * round, 0);
                    assert!(table.replace(7, old.address, &new).is_some());
                    old = new;
                }
                table.remove(7, old.address).unwrap();
            });
        }
        scope.spawn(|| {
            for _ in 0..rounds {
                for found in table.find(7) {
                    let units = found.address.offset() / 512;
                    let whole = slot(units, found.frequency);
                    assert_eq!(found, whole);
                    table.count_hit(7, found.address);
                }
            }
        });
    });
    assert!(table.is_empty());
}
