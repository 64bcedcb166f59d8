//! One slot of the index: what 16 bytes tell about a record on disk without reading it.
//!
//! Two words. The first finds: a tag of the key's hash, where the record begins, and how often it was hit. The second judges: how much to
//! read, whose it is, and when it was born, so that a purge of everything or of a partition needs no I/O. Pure packing; knows no bucket
//! and no disk. Invariant: whatever is packed is unpacked again, and an empty slot is a first word of zero, since no record begins at
//! the start of a volume.

use crate::key::Partition;

/// Records begin at multiples of this many bytes, and an [`Address`] counts in them.
pub const UNIT: u64 = 512;
/// How often a slot can be hit before it counts no further.
pub const FREQUENCY_MAX: u8 = 7;

const ADDRESS_BITS: u32 = 39;
const FREQUENCY_BITS: u32 = 3;
const TAG_BITS: u32 = 22;
const SIZE_BITS: u32 = 8;
const PARTITION_BITS: u32 = 24;
const BIRTH_BITS: u32 = 32;

const FREQUENCY_SHIFT: u32 = ADDRESS_BITS;
const TAG_SHIFT: u32 = ADDRESS_BITS + FREQUENCY_BITS;
/// One hit more, added to a first word.
pub(super) const ONE_HIT: u64 = 1 << FREQUENCY_SHIFT;

const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;
pub(super) const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
const PARTITION_MASK: u64 = (1 << PARTITION_BITS) - 1;
const BIRTH_MASK: u64 = (1 << BIRTH_BITS) - 1;
const FREQUENCY_MASK: u64 = FREQUENCY_MAX as u64;

/// The first word of an empty slot.
pub(super) const EMPTY: u64 = 0;

/// Where a record begins on its volume, in units of [`UNIT`] bytes; never 0, below 2^39 (256 TiB).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u64);

impl Address {
    /// The address of an offset in bytes; `None` where no record can begin.
    pub const fn of_offset(offset: u64) -> Option<Self> {
        let units = offset / UNIT;
        if offset.is_multiple_of(UNIT) && units > 0 && units <= ADDRESS_MASK {
            Some(Self(units))
        } else {
            None
        }
    }

    /// The offset from the start of the volume, in bytes.
    pub const fn offset(self) -> u64 {
        self.0 * UNIT
    }
}

/// How many bytes to read for a record: at least its length, at most a sixteenth and one unit more. Four bits of exponent and four of
/// mantissa, in units of [`UNIT`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SizeClass(u8);

impl SizeClass {
    /// The class of a record of `bytes`; `None` for one larger than any record (above 248 MiB).
    pub fn of(bytes: u64) -> Option<Self> {
        let units = bytes.div_ceil(UNIT).max(1);
        let exponent = units.ilog2().saturating_sub(4);
        // A mantissa that rounds up to 32 carries into the exponent, as it should.
        let class = (u64::from(exponent) << 4) + units.div_ceil(1 << exponent);
        u8::try_from(class).ok().map(Self)
    }

    /// The bytes to read.
    pub const fn bytes(self) -> u64 {
        let class = self.0 as u64;
        if class < 16 {
            return class * UNIT;
        }
        ((16 + (class & 15)) << ((class >> 4) - 1)) * UNIT
    }
}

/// What the index knows of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Where it begins.
    pub address: Address,
    /// How much to read.
    pub size: SizeClass,
    /// Whose it is.
    pub partition: Partition,
    /// When it was born, never later than it really was.
    pub birth: Birth,
    /// How often it was hit since it was written, up to [`FREQUENCY_MAX`].
    pub frequency: u8,
}

/// The tick of a birth in 32 bits. Ticks count groups of purges, a hundred a second at most: they last for more than a year of unbroken
/// storm. A later one is kept as the last that fits, and so dies of purges that it had outlived: too much, never too little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Birth(u32);

impl Birth {
    /// Of a tick of the purges.
    pub fn of(tick: u64) -> Self {
        Self(u32::try_from(tick).unwrap_or(u32::MAX))
    }

    /// The tick that purges are compared with.
    pub fn tick(self) -> u64 {
        u64::from(self.0)
    }
}

impl Slot {
    /// Whether a partition's number fits a slot: one that does not is not kept on disk.
    pub fn fits(partition: Partition) -> bool {
        u64::from(partition.0) <= PARTITION_MASK
    }

    /// The two words. `tag` is cut to its 22 bits.
    pub(super) fn pack(&self, tag: u64) -> [u64; 2] {
        debug_assert!(Self::fits(self.partition));
        let frequency = u64::from(self.frequency.min(FREQUENCY_MAX));
        let finds = (tag & TAG_MASK) << TAG_SHIFT | frequency << FREQUENCY_SHIFT | self.address.0;
        let judges = u64::from(self.size.0) << (PARTITION_BITS + BIRTH_BITS)
            | (u64::from(self.partition.0) & PARTITION_MASK) << BIRTH_BITS
            | u64::from(self.birth.0);
        [finds, judges]
    }

    /// What two words say; `None` for an empty slot.
    pub(super) fn unpack([finds, judges]: [u64; 2]) -> Option<Self> {
        let address = finds & ADDRESS_MASK;
        if address == 0 {
            return None;
        }
        // Every cast drops bits that are masked or shifted away.
        Some(Self {
            address: Address(address),
            size: SizeClass((judges >> (PARTITION_BITS + BIRTH_BITS)) as u8),
            partition: Partition((judges >> BIRTH_BITS & PARTITION_MASK) as u32),
            birth: Birth((judges & BIRTH_MASK) as u32),
            frequency: frequency_of(finds),
        })
    }
}

/// The tag of a key's hash. The first bucket is chosen by its upper half, the second by the first and the tag.
pub(super) const fn tag_of(hash: u128) -> u64 {
    hash as u64 & TAG_MASK
}

/// Whether a first word is that of a record with this tag.
pub(super) const fn has_tag(finds: u64, tag: u64) -> bool {
    tag_in(finds) == tag && finds & ADDRESS_MASK != 0
}

/// A first word without its hits: what stays alike as long as it is the same record.
pub(super) const fn identity_of(finds: u64) -> u64 {
    finds & !(FREQUENCY_MASK << FREQUENCY_SHIFT)
}

/// The first word, without hits, of the record with this tag at an address.
pub(super) const fn identity(tag: u64, address: Address) -> u64 {
    tag << TAG_SHIFT | address.0
}

pub(super) const fn tag_in(finds: u64) -> u64 {
    finds >> TAG_SHIFT
}

pub(super) const fn frequency_of(finds: u64) -> u8 {
    (finds >> FREQUENCY_SHIFT & FREQUENCY_MASK) as u8
}

const _: () = assert!(ADDRESS_BITS + FREQUENCY_BITS + TAG_BITS == u64::BITS);
const _: () = assert!(SIZE_BITS + PARTITION_BITS + BIRTH_BITS == u64::BITS);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_class_covers_its_bytes_and_little_more() {
        let check = |bytes: u64| {
            let class = SizeClass::of(bytes).unwrap().bytes();
            assert!(class >= bytes, "{bytes}: {class}");
            assert!(
                class <= bytes.max(1).next_multiple_of(UNIT) * 17 / 16,
                "{bytes}: {class}"
            );
        };
        (0..2048).map(|units| units * 511).for_each(check);
        (9..28)
            .flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1])
            .for_each(check);
        assert_eq!(
            SizeClass::of(248 << 20).map(SizeClass::bytes),
            Some(248 << 20)
        );
        assert_eq!(SizeClass::of((248 << 20) + 1), None);
        assert_eq!(SizeClass::of(u64::MAX), None);
    }

    #[test]
    fn records_begin_at_units_but_never_at_the_start() {
        for (offset, is_address) in [
            (0, false),
            (511, false),
            (512, true),
            (513, false),
            ((1 << 48) - 512, true),
            (1 << 48, false),
        ] {
            assert_eq!(
                Address::of_offset(offset).map(Address::offset),
                is_address.then_some(offset)
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            (units, size, partition, birth, frequency) in
                (1..1_u64 << 39, any::<u8>(), 0..1_u32 << 24, any::<u32>(), 0..=FREQUENCY_MAX),
            hash: u128,
        ) {
            let slot = Slot {
                address: Address(units),
                size: SizeClass(size),
                partition: Partition(partition),
                birth: Birth(birth),
                frequency,
            };
            let words = slot.pack(tag_of(hash));
            prop_assert_eq!(Slot::unpack(words), Some(slot));
            prop_assert!(has_tag(words[0], tag_of(hash)));
            prop_assert_eq!(identity_of(words[0]), identity(tag_of(hash), slot.address));
        }
    }

    #[test]
    fn a_birth_is_never_later_than_it_was() {
        for (tick, kept) in [
            (0, 0),
            (7, 7),
            (u64::from(u32::MAX) + 1, u64::from(u32::MAX)),
        ] {
            assert_eq!(Birth::of(tick).tick(), kept);
        }
    }
}
