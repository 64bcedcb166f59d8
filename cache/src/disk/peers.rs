//! Which volume has a key, and may one believe what it holds of it?
//!
//! Asked at every look-up on disk, when a segment turns, and while an index is loaded. A key lives on the volume that scores highest for it
//! among those in service. While that one is away another has its keys; when it joins again, what the other holds of them is older than
//! what is stored from then on, and must not be found when it goes a second time. Pure. Invariant: of two versions on two volumes the
//! older is never found once the newer was committed.

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

#[cfg(test)]
mod tests {
    use super::*;

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
