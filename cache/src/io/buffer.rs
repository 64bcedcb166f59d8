//! Memory that direct I/O takes: aligned, recycled, and handed on as [`Bytes`] without a copy.
//!
//! Taken by the backends for each read at the moment it begins (what waits holds none) and by the writer for what it gathers. A buffer
//! goes back to its pool when its last reader drops it. Buffers are cut from regions that begin where large pages do (`pages` says which part of
//! which), without `unsafe`; a region's memory does not move while a part of it is held, so an address that was given to the kernel stays right
//! until the buffer is dropped.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use super::ask_for_large_pages;
use super::pages::{Place, REGION, Regions};

/// Where writes begin and end, and what memory is aligned to: no device in use has larger sectors.
pub const BLOCK: usize = 4096;

/// Keeps memory that is not in use.
#[derive(Default)]
pub(super) struct Pool {
    regions: Mutex<Regions>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// A buffer of at least `bytes`, in whole blocks, with anything in it.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Buffer {
        let capacity = bytes.max(1).next_multiple_of(BLOCK);
        if capacity > REGION {
            return Buffer::apart(capacity, self);
        }
        let (place, memory) = self.part(capacity);
        Buffer {
            memory,
            place: Some(place),
            pool: Arc::clone(self),
        }
    }

    fn part(&self, capacity: usize) -> (Place, BytesMut) {
        loop {
            let part = self.regions.lock().take(capacity);
            if let Some(part) = part {
                return part;
            }
            // Made without the lock; another thread may be faster to cut it up.
            let region = region();
            self.regions.lock().add(region);
        }
    }

    fn put(&self, place: Place, memory: BytesMut) {
        let given_up = self.regions.lock().put(place, memory);
        drop(given_up);
    }

    #[cfg(test)]
    pub(super) fn unused(&self) -> usize {
        self.regions.lock().unused()
    }
}

/// A region, in a large page if the kernel has one.
fn region() -> BytesMut {
    let mut all = BytesMut::with_capacity(2 * REGION);
    let before = all.spare_capacity_mut().as_ptr().align_offset(REGION);
    let mut region = all.split_off(before.min(REGION));
    drop(region.split_off(REGION));
    // Before it is touched. Where it is refused, the memory is as good but slower.
    let _ = ask_for_large_pages(region.spare_capacity_mut());
    region.resize(REGION, 0);
    region
}

/// Aligned memory of one owner.
pub(super) struct Buffer {
    memory: BytesMut,
    /// Where it was cut from; `None` for what is longer than a region.
    place: Option<Place>,
    pool: Arc<Pool>,
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

impl Buffer {
    /// One of exactly so many bytes in memory of its own, which is not touched before it is used: for what is longer than a region.
    pub(super) fn apart(bytes: usize, pool: &Arc<Pool>) -> Self {
        let mut all = BytesMut::zeroed(bytes + BLOCK);
        let before = all.as_ptr().align_offset(BLOCK);
        let mut memory = all.split_off(before.min(BLOCK));
        memory.truncate(bytes);
        Self {
            memory,
            place: None,
            pool: Arc::clone(pool),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.memory.len()
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.memory
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// A part of it, which keeps all of it.
    pub(super) fn into_bytes(self, part: Range<usize>) -> Bytes {
        Bytes::from_owner(Filled { buffer: self, part })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.pool.put(place, std::mem::take(&mut self.memory));
        }
    }
}

/// What was read.
struct Filled {
    buffer: Buffer,
    part: Range<usize>,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer.as_slice()[self.part.clone()]
    }
}

/// What is gathered for one write.
#[derive(Debug)]
pub struct Unit {
    buffer: Buffer,
    length: usize,
}

impl Unit {
    pub(super) const fn new(buffer: Buffer) -> Self {
        Self::from_parts(buffer, 0)
    }

    pub(super) const fn from_parts(buffer: Buffer, length: usize) -> Self {
        Self { buffer, length }
    }

    pub(super) fn into_parts(self) -> (Buffer, usize) {
        (self.buffer, self.length)
    }

    /// How many bytes it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// How many bytes are in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends as much of `bytes` as there is room for, and says how much.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let room = &mut self.buffer.as_mut_slice()[self.length..];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
        taken
    }

    /// Appends zeros up to the next multiple of [`BLOCK`].
    pub fn pad(&mut self) {
        self.pad_to(BLOCK);
    }

    /// Appends zeros up to the next multiple of `bytes`, a part of [`BLOCK`].
    pub fn pad_to(&mut self, bytes: usize) {
        let end = self.length.next_multiple_of(bytes).min(self.capacity());
        self.buffer.as_mut_slice()[self.length..end].fill(0);
        self.length = end;
    }

    /// Forgets what is in it.
    pub const fn clear(&mut self) {
        self.length = 0;
    }

    /// Takes out what is behind the last whole block.
    pub fn split_tail(&mut self) -> Vec<u8> {
        let whole = self.length - self.length % BLOCK;
        let tail = self.as_ref()[whole..].to_vec();
        self.length = whole;
        tail
    }
}

impl AsRef<[u8]> for Unit {
    fn as_ref(&self) -> &[u8] {
        &self.buffer.as_slice()[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::super::pages::KEPT_MAX;
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_as_long_as_asked_in_whole_blocks() {
        let pool = Arc::new(Pool::default());
        let longer = [REGION, REGION + 1, 5 << 20];
        for bytes in [0, 1, 4096, 4097, 20_480, 100_000, 262_144 + 4096, 1 << 20]
            .into_iter()
            .chain(longer)
        {
            let buffer = pool.take(bytes);
            let all = buffer.as_slice();
            assert_eq!(all.as_ptr() as usize % BLOCK, 0);
            assert_eq!(all.len(), bytes.max(1).next_multiple_of(BLOCK));
        }
        assert_eq!(pool.unused(), 1);
    }

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_leaves() {
        let pool = Arc::new(Pool::default());
        let mut buffer = pool.take(BLOCK);
        buffer.as_mut_slice()[100..105].copy_from_slice(b"bytes");
        let address = buffer.as_slice().as_ptr();
        let bytes = buffer.into_bytes(100..105);
        assert_eq!(&bytes[..], b"bytes");
        let part = bytes.slice(1..3);
        drop(bytes);
        assert_eq!((&part[..], pool.unused()), (&b"yt"[..], 0));
        drop(part);
        assert_eq!(pool.unused(), 1);
        assert_eq!(pool.take(1).as_slice().as_ptr(), address);
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_limit() {
        let pool = Arc::new(Pool::default());
        let all: Vec<Buffer> = (0..40).map(|_| pool.take(1 << 20)).collect();
        drop(all);
        assert_eq!(pool.unused(), KEPT_MAX);
    }

    #[test]
    fn a_unit_holds_what_fits_and_is_padded_with_zeros() {
        let pool = Arc::new(Pool::default());
        let mut dirty = pool.take(BLOCK);
        dirty.as_mut_slice().fill(7);
        drop(dirty);
        let mut unit = Unit::new(pool.take(BLOCK));
        assert_eq!(unit.append(&[1; 10]), 10);
        unit.pad();
        assert_eq!(unit.as_ref()[..10], [1; 10]);
        assert_eq!(unit.as_ref()[10..], [0; BLOCK - 10]);
        assert_eq!(unit.append(&[1]), 0);
        unit.clear();
        assert_eq!(unit.append(&[2; BLOCK + 1]), BLOCK);
    }
}
