//! The table against a plain map: it may forget, it never invents.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::disk::index::slot::{Birth, FREQUENCY_MAX, SizeClass};
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
    Put(u8),
    Replace(u8),
    Remove(u8),
    Take(u8),
    Hit(u8),
    Retain(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => any::<u8>().prop_map(Step::Put),
        2 => any::<u8>().prop_map(Step::Replace),
        2 => any::<u8>().prop_map(Step::Remove),
        1 => any::<u8>().prop_map(Step::Take),
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

    fn put(&mut self, hash: u128) {
        let slot = self.fresh();
        let became = self.table.put(hash, &slot);
        match became {
            Put::Free => assert_eq!(self.known(hash), None),
            Put::Replacing(gone) | Put::Displacing(gone) => {
                let (_, model) = self.model.remove(&gone.address).unwrap();
                assert_eq!(model, gone);
            }
            Put::Not => return,
        }
        self.model.insert(slot.address, (hash, slot));
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Put(seed) => self.put(hash(seed)),
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
            Step::Take(seed) => {
                let taken = self.table.take(hash(seed));
                let model = taken.map(|taken| self.model.remove(&taken.address));
                assert_eq!(
                    model.map(|known| known.map(|(_, slot)| slot)),
                    taken.map(Some)
                );
                assert_eq!(self.known(hash(seed)), None);
            }
            Step::Hit(seed) => {
                let Some(address) = self.known(hash(seed)) else {
                    return;
                };
                self.table.count_hit(hash(seed), address);
                let (_, slot) = self.model.get_mut(&address).unwrap();
                slot.frequency = (slot.frequency + 1).min(FREQUENCY_MAX);
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
        for (hash, _) in self.model.values() {
            assert!(self.table.variants(*hash).contains(&(*hash as u8)));
        }
        for seed in 0..=u8::MAX {
            if let Some(found) = self.table.find(hash(seed)) {
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

/// Hashes of one family, each with a tag of its own.
fn variant(byte: u128) -> u128 {
    1 << 8 | byte
}

#[test]
fn when_both_buckets_are_full_the_unhit_that_is_overwritten_next_goes() {
    let table = Table::new(6);
    assert_eq!(table.slots(), 8);
    // The ring is written at 100: what lies ahead of it is of the lap before.
    table.advance(slot(100, 0).address);
    let present = [90, 101, 102, 200].into_iter().chain(1..=4);
    for units in present {
        let frequency = u8::from(units == 101);
        assert_eq!(
            table.put(variant(units.into()), &slot(units, frequency)),
            Put::Free
        );
    }
    assert_eq!(table.variants(variant(0)).len(), 8);
    for (units, gone) in (210..).zip([102, 200, 1, 2]) {
        let young = slot(100, 3);
        assert_eq!(
            table.put(variant(units), &young),
            Put::Displacing(slot(gone, 0))
        );
        assert_eq!(
            table.put(variant(units), &slot(99, 3)),
            Put::Replacing(young)
        );
    }
    assert_eq!(table.displaced(), 4);
    // Recovery may find what is older than all that is there: it pushes out nothing younger.
    assert_eq!(table.put(variant(250), &slot(103, 0)), Put::Not);
}

#[test]
fn variants_of_a_key_share_their_buckets() {
    let table = Table::new(100_000);
    for seed in 0..=u8::MAX {
        let hash = hash(seed);
        for byte in 0..=u8::MAX {
            let variant = hash & !0xff | u128::from(byte);
            assert_eq!(table.buckets_of(variant), table.buckets_of(hash));
        }
    }
}

#[test]
fn nothing_is_displaced_at_ninety_percent() {
    check_ninety_percent(&Table::new(200_000));
}

#[test]
fn memory_is_as_good_where_large_pages_are_refused() {
    let refused = |_: &mut [MaybeUninit<Bucket>]| Err(io::ErrorKind::Unsupported.into());
    check_ninety_percent(&Table::asking(200_000, refused));
}

fn check_ninety_percent(table: &Table) {
    let mut state = 1_u128;
    for units in 1..=200_000 {
        state = state
            .wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645)
            .wrapping_add(1);
        table.put(state ^ state >> 64, &slot(units, 0));
    }
    assert_eq!(table.displaced(), 0);
    assert!(
        table.len() > 199_950,
        "{} share their tag",
        200_000 - table.len()
    );
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
                let hash = variant(writer.into());
                table.put(hash, &old);
                for round in 1..rounds {
                    let new = slot(1 + writer + 2 * round, 0);
                    assert!(table.replace(hash, old.address, &new).is_some());
                    assert!(table.variants(variant(99)).contains(&(writer as u8)));
                    old = new;
                }
                table.remove(hash, old.address).unwrap();
            });
        }
        scope.spawn(|| {
            for round in 0..rounds {
                let hash = variant(u128::from(round % 2));
                if let Some(found) = table.find(hash) {
                    let units = found.address.offset() / 512;
                    let whole = slot(units, found.frequency);
                    assert_eq!(found, whole);
                    table.count_hit(hash, found.address);
                }
            }
        });
    });
    assert!(table.is_empty());
}
