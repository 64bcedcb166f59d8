//! What is tried on bytes that should be the purge journal's.
//!
//! Called by `crate::fuzzing` alone. Both halves hold what the input says; in the second one the checksums are made right. What must hold:
//! nothing panics, a group counts as a whole or not at all, and what is mended is read again as it was read.

use super::journal::Replay;
use super::slot::{HEADER_BYTES, HEADER_USED, Header, SLOT_BYTES, Slot};

/// Whose journal it is.
const IDENTITY: u128 = 0x6a65_7439;

/// The header's fields first, then slots. A slot whose last byte is odd stays as it is: torn, mostly.
pub(crate) fn journal(bytes: &[u8]) {
    let (first, slots) = bytes.split_at(bytes.len().min(HEADER_USED));
    let mut page = vec![0; HEADER_BYTES];
    page[..first.len()].copy_from_slice(first);
    let _ = Header::decode(&page);
    Header::seal(&mut page);
    let Ok(header) = Header::decode(&page) else {
        return;
    };
    assert_eq!(Header::decode(&header.encode()), Ok(header));
    let slots: Vec<&[u8]> = slots.chunks_exact(SLOT_BYTES).collect();
    // As many as there is room for, and who they belong to, is what the file and its header agree on.
    let header = Header {
        identity: IDENTITY,
        room: slots.len() as u64,
        ..header
    };
    let raw = half(&header, slots.iter().map(|slot| slot.to_vec()));
    let good = half(&header, slots.iter().map(|slot| made_good(slot)));
    replay(&Replay::of(header, [raw, good]));
}

fn half(header: &Header, slots: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut half = header.encode().to_vec();
    half.extend(slots.flatten());
    half
}

fn made_good(slot: &[u8]) -> Vec<u8> {
    let mut slot = slot.to_vec();
    if slot.last().is_some_and(|last| last.is_multiple_of(2)) {
        Slot::seal(&mut slot, IDENTITY);
    }
    if let Some(read) = Slot::decode(&slot, IDENTITY) {
        let again = Slot::decode(&read.encode(IDENTITY), IDENTITY);
        assert_eq!(again, Some(read));
    }
    slot
}

fn replay(replay: &Replay) {
    let Some(slots) = replay.slots() else { return };
    assert!(slots.len() as u64 <= replay.header().room);
    let Some(mended) = replay.mended(&slots) else {
        return;
    };
    let mended = Replay::of(replay.header(), [mended.clone(), mended]);
    assert_eq!(mended.slots(), Some(slots));
}
