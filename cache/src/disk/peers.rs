//! Which volume has a key, and may one believe what it holds of it?
//!
//! Asked at every look-up on disk, when a segment turns, and while an index is loaded. A key lives on the volume that scores highest for it
//! among those in service. While that one is away another has its keys; when it joins again, what the other holds of them is older than
//! what is stored from then on, and must not be found when it goes a second time. Pure. Invariant: of two versions on two volumes the
//! older is never found once the newer was committed.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::superblock::Peer;

/// Rendezvous: when a volume comes or goes, only its own keys move.
pub(super) fn score(primary: u128, name: u64) -> u64 {
    let mixed = (primary >> 64) as u64 ^ primary as u64 ^ name;
    mixed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(32)
        .wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Whether what the volume `name` wrote of a key in a lap is not older than what one of its peers may have taken since.
pub(super) fn is_own(name: u64, peers: &[Peer], primary: u128, lap: u64) -> bool {
    let own = score(primary, name);
    let mut later = peers.iter().filter(|peer| peer.joined >= lap);
    later.all(|peer| score(primary, peer.name) <= own)
}

/// The volumes that came into service beside one in this session, in their order.
///
/// A version that was committed while a key lived here must not be written once the key has moved: what it would be written to is a lap
/// that began after the other joined, whose records are believed.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    names: RwLock<Vec<u64>>,
    count: AtomicU64,
}

impl Arrivals {
    pub(super) fn add(&self, names: &[u64]) {
        let mut all = self.names.write();
        all.extend(names);
        self.count.store(all.len() as u64, Ordering::Release);
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Whether any that came after the first `since` scores higher for a key than the volume `name`.
    pub(super) fn has_better(&self, name: u64, primary: u128, since: u64) -> bool {
        if self.count() == since {
            return false;
        }
        let own = score(primary, name);
        let since = usize::try_from(since).unwrap_or(usize::MAX);
        let names = self.names.read();
        let mut later = names.iter().skip(since);
        later.any(|name| score(primary, *name) > own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_lost_to_a_better_volume_that_came_since() {
        let primary = 5_u128 << 70;
        let mut names = [11, 12, 13];
        names.sort_by_key(|name| score(primary, *name));
        let [worse, own, better] = names;
        let arrivals = Arrivals::default();
        let check = |since, expected| {
            assert_eq!(arrivals.has_better(own, primary, since), expected);
        };
        check(0, false);
        arrivals.add(&[worse]);
        check(0, false);
        arrivals.add(&[better]);
        check(0, true);
        check(1, true);
        check(2, false);
        assert_eq!(arrivals.count(), 2);
    }

    #[test]
    fn what_was_written_before_a_better_volume_joined_is_not_believed() {
        let (primary, names) = (5_u128 << 70, [11_u64, 12]);
        let [worse, better] = {
            let mut names = names;
            names.sort_by_key(|name| score(primary, *name));
            names
        };
        for (name, peer, lap, expected) in [
            (worse, better, 6, false),
            (worse, better, 7, false),
            (worse, better, 8, true),
            (better, worse, 1, true),
        ] {
            let peers = [Peer {
                name: peer,
                joined: 7,
            }];
            assert_eq!(is_own(name, &peers, primary, lap), expected, "{lap}");
        }
        assert!(is_own(worse, &[], primary, 1));
    }
}
