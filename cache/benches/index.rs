//! How much memory and time does the index take? Ten million records: put in, found, missed, hit, rebuilt from footers.
//!
//! `cargo bench -p jet9-cache --bench index`. Prints figures, asserts nothing; `docs/performance.md` keeps them. Memory is what the process
//! has resident, before and after; time is the processor's, so that other load on the machine counts little. Keys are made by a mixer that costs next to nothing, as keys of
//! requests are hashed before.

use std::hint::black_box;
use std::time::Duration;

use jet9_cache::Partition;
use jet9_cache::disk::index::slot::{Address, Birth, SizeClass, Slot};
use jet9_cache::disk::index::table::Table;

#[path = "support/mod.rs"]
mod support;

use support::CpuTime;

const RECORDS: u64 = 10_000_000;
/// Records of a segment of 64 MiB, at 32 KiB a record.
const PER_SEGMENT: u64 = 2048;
/// Records whose buckets are warmed at a time.
const BATCH: usize = 32;
/// What a footer says of a record: hash, address, birth, partition, size; rounded up.
const FOOTER_ENTRY: usize = 40;

fn main() {
    println!("{}, {} records", support::machine(), RECORDS);
    let table = fill();
    look_up(&table);
    drop(table);
    for percent in [80, 85, 90, 92, 95, 98] {
        overfill(percent);
    }
    rebuild();
}

fn slot(n: u64) -> Slot {
    Slot {
        address: Address::of_offset((n + 1) * 512).expect("a volume of 5 TB"),
        size: SizeClass::of(n % 40_000).expect("below 40 kB"),
        partition: Partition((n % 1000) as u32),
        birth: Birth::of(n >> 10),
        frequency: 0,
    }
}

fn fill() -> Table {
    let before = support::resident();
    let table = Table::new(RECORDS);
    let start = CpuTime::now();
    for n in 0..RECORDS {
        table.put(support::hash(n), &slot(n));
    }
    let taken = start.elapsed();
    let bytes = support::resident() - before;
    println!(
        "put: {:.1} M/s; {:.2} bytes a record, {} displaced, {} not told apart",
        rate(RECORDS, taken),
        bytes as f64 / RECORDS as f64,
        table.displaced(),
        RECORDS - table.len() - table.displaced(),
    );
    table
}

fn look_up(table: &Table) {
    let order = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % RECORDS;
    // What making the keys takes is measured by itself, and taken off.
    let keys = taken(|n| support::hash(order(n)) as u64);
    let net = |taken: Duration| rate(RECORDS, taken.saturating_sub(keys));
    let nanos = |taken: Duration| taken.as_secs_f64() * 1e9 / RECORDS as f64;
    println!(
        "making keys: {:.1} ns each; a random word of memory as large: {:.1} M/s a core",
        nanos(keys),
        words(table.slots() * 2)
    );
    let find = |n: u64| table.find(support::hash(n)).map_or(0, slot_bits);
    for (name, first) in [("there", 0), ("not there", RECORDS)] {
        let apart = taken(|n| find(first + order(n)));
        println!(
            "look-up of what is {name}: {:.1} M/s a core, {:.1} with the keys",
            net(apart),
            rate(RECORDS, apart)
        );
    }
    // Each needs the last one's result: nothing overlaps.
    let mut last = 0;
    let chained = taken(|n| {
        last = find(order(n) ^ (last & 1)) & 1;
        last
    });
    println!(
        "look-up that waits for the one before: {:.0} ns",
        nanos(chained.saturating_sub(keys))
    );
    let hit = taken(|n| {
        let at = order(n);
        table.count_hit(support::hash(at), slot(at).address);
        1
    });
    println!("hit counted: {:.1} M/s a core", net(hit));
    let start = CpuTime::now();
    table.retain(|slot| slot.address.offset() != 0);
    println!(
        "all slots seen once: {:.0} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
}

/// Something of all of a slot, so that all of it is read.
fn slot_bits(slot: Slot) -> u64 {
    slot.address.offset() ^ slot.birth.tick()
}

/// How fast this machine reads at random places now: no look-up can do better than two a look-up.
fn words(count: u64) -> f64 {
    let words: Vec<u64> = (0..count).collect();
    let taken = taken(|n| words[(support::hash(n) as u64 % count) as usize] & 1);
    rate(RECORDS, taken)
}

/// Processor time of some work for each record, the best of three rounds: what others do on the machine only ever adds.
fn taken(mut work: impl FnMut(u64) -> u64) -> Duration {
    let mut round = || {
        let start = CpuTime::now();
        let sum = (0..RECORDS).fold(0_u64, |sum, n| sum.wrapping_add(work(n)));
        black_box(sum);
        start.elapsed()
    };
    (0..3).map(|_| round()).min().unwrap_or_default()
}

fn overfill(percent: u64) {
    let table = Table::new(RECORDS);
    let records = table.slots() * percent / 100;
    for n in 0..records {
        table.put(support::hash(n), &slot(n));
    }
    println!(
        "{percent} % full: {:.2} bytes a record, {:.4} % displaced",
        table.slots() as f64 * 16.0 / records as f64,
        table.displaced() as f64 * 100.0 / records as f64
    );
}

/// Footers in memory, as they come from disk: their checksum, their entries, the table.
fn rebuild() {
    let footers: Vec<Vec<u8>> = (0..RECORDS / PER_SEGMENT).map(footer).collect();
    for batch in [1, BATCH] {
        rebuild_from(&footers, batch);
    }
}

fn rebuild_from(footers: &[Vec<u8>], batch: usize) {
    let table = Table::new(RECORDS);
    let start = CpuTime::now();
    for (bytes, crc) in footers
        .iter()
        .map(|footer| footer.split_at(footer.len() - 4))
    {
        if crc32c::crc32c(bytes).to_le_bytes() != *crc {
            continue;
        }
        for entries in bytes.chunks(batch * FOOTER_ENTRY) {
            if batch > 1 {
                table.warm(
                    entries
                        .chunks_exact(FOOTER_ENTRY)
                        .map(|entry| decode(entry).0),
                );
            }
            for entry in entries.chunks_exact(FOOTER_ENTRY) {
                let (hash, slot) = decode(entry);
                table.put(hash, &slot);
            }
        }
    }
    let taken = start.elapsed();
    let million = table.len() as f64 / 1e6;
    println!(
        "rebuilt from footers in memory, warmed by {batch}: {million:.1} M records in {taken:.2?}, one core"
    );
}

fn footer(segment: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in segment * PER_SEGMENT..(segment + 1) * PER_SEGMENT {
        bytes.extend(support::hash(n).to_le_bytes());
        bytes.extend(slot(n).address.offset().to_le_bytes());
        bytes.extend((n >> 10).to_le_bytes());
        bytes.extend(((n % 1000) as u32).to_le_bytes());
        bytes.extend(((n % 40_000) as u32).to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

fn decode(entry: &[u8]) -> (u128, Slot) {
    let word = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("8 bytes"));
    let hash = u128::from(word(0)) | u128::from(word(8)) << 64;
    let slot = Slot {
        address: Address::of_offset(word(16)).expect("a good offset"),
        size: SizeClass::of(word(32) >> 32).expect("below 40 kB"),
        partition: Partition(word(32) as u32),
        birth: Birth::of(word(24)),
        frequency: 0,
    };
    (hash, slot)
}

fn rate(count: u64, taken: Duration) -> f64 {
    count as f64 / taken.as_secs_f64() / 1e6
}
