//! Which part of which large page is free: buffers are cut from them, and go back.
//!
//! For the pool in `buffer` alone. To a device, memory that lies together is one entry of a list; ordinary pages of 4 KiB are one entry each,
//! and this is most of what a short read costs (measured in `benches/disk_reads`). So buffers lie side by side in regions of the size of a large
//! page, which the kernel is asked for; where it has none, everything is as good but for the speed. Locks nothing and allocates no region:
//! the caller does. Invariants: no byte is in two hands; what is free side by side is one; a region that is all free is given up beyond
//! [`KEPT_MAX`] of them.

use std::collections::BTreeSet;

use bytes::BytesMut;

/// Bytes of a region: a large page of most machines.
pub(super) const REGION: usize = 2 << 20;
/// Regions that are kept though nothing of them is in use.
pub(super) const KEPT_MAX: usize = 8;

/// All regions of a pool.
#[derive(Default)]
pub(super) struct Regions {
    /// By number; a number without one is given again.
    list: Vec<Option<Region>>,
    /// The longest free part of each, with its number: what fits is found in the fullest.
    by_room: BTreeSet<(usize, usize)>,
}

/// Where a part was cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    region: usize,
    offset: usize,
}

/// What of a region is free, by where it begins; neighbours are joined.
struct Region(Vec<(usize, BytesMut)>);

impl Regions {
    /// A part of `bytes`, if there is one.
    pub(super) fn take(&mut self, bytes: usize) -> Option<(Place, BytesMut)> {
        let &(room, number) = self.by_room.range((bytes, 0)..).next()?;
        let region = self.list.get_mut(number)?.as_mut()?;
        let (offset, memory) = region.take(bytes)?;
        self.by_room.remove(&(room, number));
        self.by_room.insert((region.room(), number));
        let place = Place {
            region: number,
            offset,
        };
        Some((place, memory))
    }

    /// Adds a region of which everything is free: [`REGION`] bytes.
    pub(super) fn add(&mut self, memory: BytesMut) {
        let number = self.list.iter().position(Option::is_none);
        let number = number.unwrap_or(self.list.len());
        if number == self.list.len() {
            self.list.push(None);
        }
        self.by_room.insert((memory.len(), number));
        self.list[number] = Some(Region(vec![(0, memory)]));
    }

    /// Takes back what [`Self::take`] gave. A region that is not kept comes out, to be given up without the lock.
    pub(super) fn put(&mut self, place: Place, memory: BytesMut) -> Option<BytesMut> {
        let number = place.region;
        let region = self.list.get_mut(number)?.as_mut()?;
        self.by_room.remove(&(region.room(), number));
        region.put(place.offset, memory);
        let room = region.room();
        if room == REGION && self.unused() >= KEPT_MAX {
            let region = self.list[number].take()?;
            return region.0.into_iter().next().map(|(_, memory)| memory);
        }
        self.by_room.insert((room, number));
        None
    }

    /// Regions of which everything is free.
    pub(super) fn unused(&self) -> usize {
        self.by_room.range((REGION, 0)..).count()
    }
}

impl Region {
    /// The longest part that is free, in bytes.
    fn room(&self) -> usize {
        let lengths = self.0.iter().map(|(_, free)| free.len());
        lengths.max().unwrap_or(0)
    }

    /// The first part of so many bytes: so that what is long stays in one piece behind it.
    fn take(&mut self, bytes: usize) -> Option<(usize, BytesMut)> {
        let n = self.0.iter().position(|(_, free)| free.len() >= bytes)?;
        let (begins, free) = &mut self.0[n];
        let offset = *begins;
        let taken = free.split_to(bytes);
        *begins += bytes;
        if free.is_empty() {
            self.0.remove(n);
        }
        Some((offset, taken))
    }

    fn put(&mut self, offset: usize, memory: BytesMut) {
        let n = self.0.partition_point(|(begins, _)| *begins < offset);
        self.0.insert(n, (offset, memory));
        self.join(n);
        if let Some(before) = n.checked_sub(1) {
            self.join(before);
        }
    }

    /// Joins a free part with the next one, if nothing lies between them.
    fn join(&mut self, n: usize) {
        let Some([(begins, free), (next, _)]) = self.0.get(n..n + 2) else {
            return;
        };
        if begins + free.len() == *next {
            let (_, next) = self.0.remove(n + 1);
            // They are parts of one allocation and lie side by side: nothing is copied.
            self.0[n].1.unsplit(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region() -> BytesMut {
        let mut all = BytesMut::zeroed(REGION + 1);
        all.truncate(REGION);
        all
    }

    fn regions(count: usize) -> Regions {
        let mut regions = Regions::default();
        (0..count).for_each(|_| regions.add(region()));
        regions
    }

    #[test]
    fn parts_come_from_the_fullest_region_that_has_room() {
        let mut regions = regions(2);
        let (long, _kept) = regions.take(REGION - 8192).unwrap();
        let (short, _kept) = regions.take(8192).unwrap();
        assert_eq!(short.region, long.region);
        let (other, _kept) = regions.take(1 << 20).unwrap();
        assert_ne!(other.region, long.region);
        assert!(regions.take(REGION).is_none());
    }

    #[test]
    fn what_came_back_is_one_piece_again_where_it_was() {
        let mut regions = regions(1);
        let address = regions.list[0].as_ref().unwrap().0[0].1.as_ptr();
        let parts: Vec<_> = (0..4).map(|_| regions.take(REGION / 4).unwrap()).collect();
        assert!(regions.take(1).is_none());
        let mut parts: Vec<_> = parts.into_iter().map(Some).collect();
        for n in [2, 0, 3, 1] {
            let (place, memory) = parts[n].take().unwrap();
            assert!(regions.put(place, memory).is_none());
        }
        let (place, all) = regions.take(REGION).unwrap();
        assert_eq!(
            (place.offset, all.as_ptr(), all.len()),
            (0, address, REGION)
        );
    }

    #[test]
    fn regions_that_are_not_used_are_given_up_beyond_some() {
        let count = KEPT_MAX + 3;
        let mut regions = regions(count);
        let all: Vec<_> = (0..count).map(|_| regions.take(REGION).unwrap()).collect();
        let given_up = all
            .into_iter()
            .filter_map(|(place, all)| regions.put(place, all));
        assert_eq!(
            given_up.map(|all| all.len()).collect::<Vec<_>>(),
            [REGION; 3]
        );
        assert_eq!(regions.unused(), KEPT_MAX);
        regions.add(region());
        assert_eq!(regions.list.len(), count);
    }

    proptest! {
        #[test]
        fn no_byte_is_in_two_hands_and_none_is_lost(
            steps in proptest::collection::vec((any::<bool>(), 1..600_usize, any::<usize>()), 1..200)
        ) {
            let mut regions = regions(2);
            let mut taken: Vec<(Place, BytesMut)> = Vec::new();
            for (takes, blocks, which) in steps {
                if takes {
                    taken.extend(regions.take(blocks * 4096));
                } else if !taken.is_empty() {
                    let (place, memory) = taken.swap_remove(which % taken.len());
                    prop_assert!(regions.put(place, memory).is_none());
                }
                let mut parts: Vec<_> = taken
                    .iter()
                    .map(|(place, memory)| (place.region, place.offset, memory.len()))
                    .chain(regions.list.iter().enumerate().flat_map(|(number, region)| {
                        let free = &region.as_ref().unwrap().0;
                        free.iter().map(move |(offset, free)| (number, *offset, free.len()))
                    }))
                    .collect();
                parts.sort_unstable();
                let mut expected = (0, 0);
                for (number, offset, length) in parts {
                    if (number, offset) != expected {
                        prop_assert_eq!((number, offset, expected), (expected.0 + 1, 0, (expected.0, REGION)));
                    }
                    expected = (number, offset + length);
                }
                prop_assert_eq!(expected, (1, REGION));
            }
            for (place, memory) in taken {
                regions.put(place, memory);
            }
            prop_assert_eq!(regions.unused(), 2);
        }
    }
}
