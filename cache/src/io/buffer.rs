//! Memory that direct I/O takes: aligned, recycled, and handed on as [`Bytes`] without a copy.
//!
//! Taken by the backends for each read at the moment it begins (what waits holds none) and by the writer for what it gathers. A buffer
//! goes back to its pool when its last reader drops it. Alignment is by choosing where to start in a longer vector, which needs no
//! `unsafe` and costs under a block for each buffer; the vector's memory does not move while its owner does, so an address that was given
//! to the kernel stays right until the buffer is dropped.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Where writes begin and end, and what memory is aligned to: no device in use has larger sectors.
pub const BLOCK: usize = 4096;

/// Free memory that a pool keeps, at most.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Keeps buffers that are not in use, a list for each capacity.
#[derive(Default)]
pub(super) struct Pool {
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    /// (capacity, buffers of it), few and short: capacities are from a small set.
    classes: Vec<(usize, Vec<Vec<u8>>)>,
    bytes: usize,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// A buffer of at least `bytes`, with anything in it.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Buffer {
        let capacity = class_of(bytes);
        let memory = self.free.lock().take(capacity);
        let memory = memory.unwrap_or_else(|| vec![0; capacity + BLOCK]);
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Buffer {
            memory,
            start,
            capacity,
            pool: Arc::clone(self),
        }
    }

    fn put(&self, capacity: usize, memory: Vec<u8>) {
        let mut free = self.free.lock();
        if free.bytes + capacity <= KEPT_BYTES_MAX {
            free.put(capacity, memory);
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.free.lock().bytes
    }
}

impl Free {
    fn take(&mut self, capacity: usize) -> Option<Vec<u8>> {
        let class = self.classes.iter_mut().find(|class| class.0 == capacity)?;
        let memory = class.1.pop()?;
        self.bytes -= capacity;
        Some(memory)
    }

    fn put(&mut self, capacity: usize, memory: Vec<u8>) {
        self.bytes += capacity;
        match self.classes.iter_mut().find(|class| class.0 == capacity) {
            Some(class) => class.1.push(memory),
            None => self.classes.push((capacity, vec![memory])),
        }
    }
}

/// The capacity that serves `bytes`: whole blocks, four steps in each power of two, so that at most a fifth is wasted.
fn class_of(bytes: usize) -> usize {
    let blocks = bytes.div_ceil(BLOCK).max(1);
    let step = (blocks.next_power_of_two() / 8).max(1);
    blocks.next_multiple_of(step) * BLOCK
}

/// Aligned memory of one owner.
pub(super) struct Buffer {
    memory: Vec<u8>,
    /// Where the aligned part begins.
    start: usize,
    capacity: usize,
    pool: Arc<Pool>,
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capacity = self.capacity;
        f.debug_struct("Buffer")
            .field("capacity", &capacity)
            .finish_non_exhaustive()
    }
}

impl Buffer {
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..][..self.capacity]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.capacity]
    }

    /// A part of it, which keeps all of it.
    pub(super) fn into_bytes(self, part: Range<usize>) -> Bytes {
        Bytes::from_owner(Filled { buffer: self, part })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool
            .put(self.capacity, std::mem::take(&mut self.memory));
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
    pub const fn capacity(&self) -> usize {
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
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_little_larger_than_asked() {
        let pool = Arc::new(Pool::default());
        for bytes in [0, 1, 4096, 4097, 20_480, 100_000, 262_144 + 4096, 1 << 20] {
            let buffer = pool.take(bytes);
            let all = buffer.as_slice();
            assert_eq!(all.as_ptr() as usize % BLOCK, 0);
            assert!(all.len() >= bytes, "{bytes}");
            assert!(
                all.len() <= bytes + bytes / 4 + BLOCK,
                "{bytes}: {}",
                all.len()
            );
        }
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
        assert_eq!((&part[..], pool.kept()), (&b"yt"[..], 0));
        drop(part);
        assert_eq!(pool.kept(), BLOCK);
        assert_eq!(pool.take(1).as_slice().as_ptr(), address);
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_limit() {
        let pool = Arc::new(Pool::default());
        let all: Vec<Buffer> = (0..40).map(|_| pool.take(1 << 20)).collect();
        drop(all);
        assert_eq!(pool.kept(), KEPT_BYTES_MAX);
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
