//! The first two pages of a volume: what it is, and whether this node may believe it.
//!
//! Read and written by `volume` when a store opens and closes. Two copies are written in turn, so that a torn write leaves the other. A
//! volume remembers the journal that it belongs to and the last two sessions that it took part in: one that was away during a session
//! may hold what was purged or replaced then, and is emptied. Emptying is a new identity: no old record's checksum fits it. It remembers,
//! too, how far its ring had come, so that the loss of its newest segment is noticed, and when it last saw each other volume in service:
//! from then on those others had a part of the keys that it may still hold.

use std::io;

use bytes::Bytes;

use crate::device::random;

use super::record::{Decoder, Encoder};
use super::segment::{COUNT_MAX, Geometry};

/// Bytes of one copy.
pub(super) const COPY_BYTES: u64 = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"JET9VOL\0");
const VERSION: u32 = 2;
/// Other volumes that one remembers; with more, it is emptied at every start.
pub(super) const PEERS_MAX: usize = 64;
/// Bytes of its fields; their checksum follows.
pub(super) const USED: usize = 8 + 4 + 4 + 16 + 8 + 4 + 4 + 16 + 32 + 8 + 8 + PEERS_MAX * 16;
const _: () = assert!(USED + 4 <= COPY_BYTES as usize);

/// What a volume knows about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Random; new whenever the volume is emptied.
    pub(super) identity: u128,
    pub(super) geometry: Geometry,
    /// The journal that can purge what is here.
    pub(super) journal: u128,
    /// The session before the one that began last, and that one: a crash may fall between the two notes of a beginning.
    pub(super) sessions: [u128; 2],
    /// Grows with every write; the higher one counts.
    pub(super) serial: u64,
    /// A lap that had begun, durably: there are records up to it at least.
    pub(super) last_lap: u64,
    /// Every other volume that was in service beside this one, by name, and the lap that had begun here when it last joined.
    pub(super) peers: Vec<Peer>,
}

/// Another volume of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) name: u64,
    pub(super) joined: u64,
}

/// Why a volume is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Emptied {
    #[error("it has no readable superblock")]
    Unreadable,
    #[error("its format has version {0}, known is version {VERSION}")]
    Version(u32),
    #[error("its size was changed")]
    Size,
    #[error("it belongs to another purge journal")]
    Journal,
    #[error("it was away while the store was in use")]
    Away,
    #[error("it failed when it was last in use")]
    Failed,
    #[error("a segment of it cannot be read")]
    Gap,
    #[error("it holds what is younger than this purge journal")]
    Future,
}

impl Superblock {
    pub(super) fn new(geometry: Geometry, journal: u128) -> io::Result<Self> {
        let identity = u128::from_le_bytes(random()?);
        Ok(Self {
            identity,
            geometry,
            journal,
            sessions: [0; 2],
            serial: 0,
            last_lap: 0,
            peers: Vec::new(),
        })
    }

    /// Notes that another volume has joined in a lap; `false` when there are too many.
    pub(super) fn see(&mut self, name: u64, joined: u64) -> bool {
        match self.peers.iter_mut().find(|peer| peer.name == name) {
            Some(peer) => peer.joined = joined,
            None => self.peers.push(Peer { name, joined }),
        }
        self.peers.len() <= PEERS_MAX
    }

    /// Reads the copy that counts; `read` gives what is at an offset, of a length.
    pub(super) fn read(read: impl Fn(u64, u64) -> io::Result<Bytes>) -> Result<Self, Emptied> {
        let copies = [0, COPY_BYTES].map(|offset| {
            let page = read(offset, COPY_BYTES).map_err(|_| Emptied::Unreadable)?;
            Self::decode(&page)
        });
        let [a, b] = copies;
        match (a, b) {
            (Ok(a), Ok(b)) => Ok(if a.serial >= b.serial { a } else { b }),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
            (Err(Emptied::Unreadable), Err(why)) | (Err(why), Err(_)) => Err(why),
        }
    }

    /// What is to be written next, and where: over the older copy.
    pub(super) fn next(&mut self) -> (u64, Vec<u8>) {
        self.serial += 1;
        let offset = (self.serial % 2) * COPY_BYTES;
        (offset, self.encode())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u64(MAGIC);
        out.u32(VERSION);
        out.u32(0);
        out.u128(self.identity);
        out.u64(self.geometry.segment_bytes);
        out.u32(self.geometry.segments);
        out.u32(0);
        out.u128(self.journal);
        out.u128(self.sessions[0]);
        out.u128(self.sessions[1]);
        out.u64(self.serial);
        out.u64(self.last_lap);
        for at in 0..PEERS_MAX {
            let peer = self.peers.get(at);
            out.u64(peer.map_or(0, |peer| peer.name));
            out.u64(peer.map_or(0, |peer| peer.joined));
        }
        let crc = crc32c::crc32c(&out.bytes);
        out.u32(crc);
        out.bytes.resize(COPY_BYTES as usize, 0);
        out.bytes
    }

    pub(super) fn decode(page: &[u8]) -> Result<Self, Emptied> {
        let mut from = Decoder::new(page);
        let mut fields = || {
            let magic = from.u64()?;
            let version = from.u32()?;
            from.u32()?;
            let identity = from.u128()?;
            let segment_bytes = from.u64()?;
            let segments = from.u32()?;
            from.u32()?;
            let journal = from.u128()?;
            let sessions = [from.u128()?, from.u128()?];
            let serial = from.u64()?;
            let last_lap = from.u64()?;
            let mut peers = Vec::new();
            for _ in 0..PEERS_MAX {
                let (name, joined) = (from.u64()?, from.u64()?);
                peers.push(Peer { name, joined });
            }
            peers.retain(|peer| peer.name != 0);
            let crc = from.u32()?;
            let it = Self {
                identity,
                geometry: Geometry {
                    segment_bytes,
                    segments,
                },
                journal,
                sessions,
                serial,
                last_lap,
                peers,
            };
            Some((magic, version, it, crc))
        };
        let (magic, version, superblock, crc) = fields().ok_or(Emptied::Unreadable)?;
        if magic != MAGIC {
            return Err(Emptied::Unreadable);
        }
        if version != VERSION {
            return Err(Emptied::Version(version));
        }
        if crc != crc32c::crc32c(page.get(..USED).ok_or(Emptied::Unreadable)?) {
            return Err(Emptied::Unreadable);
        }
        if superblock.serial.max(superblock.last_lap) > COUNT_MAX {
            return Err(Emptied::Unreadable);
        }
        Ok(superblock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_is_read_as_it_was_written_and_any_flipped_bit_is_noticed() {
        let superblock = Superblock {
            identity: 1,
            geometry: Geometry {
                segment_bytes: 2,
                segments: 3,
            },
            journal: 4,
            sessions: [5, 6],
            serial: 7,
            last_lap: 8,
            peers: vec![Peer {
                name: 9,
                joined: 10,
            }],
        };
        let page = superblock.encode();
        assert_eq!(page.len() as u64, COPY_BYTES);
        assert_eq!(Superblock::decode(&page), Ok(superblock));
        for bit in 0..(USED + 4) * 8 {
            let mut bad = page.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Superblock::decode(&bad).is_err(), "bit {bit}");
        }
    }
}
