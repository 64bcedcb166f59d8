//! What a device gives through `io_uring` with nothing in between: the measure for everything else.
//!
//! Called by the benches alone. One thread, one ring, no queue, no wake-up, no promise; buffers are used again at once.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::device::open_beside;

use super::buffer::{Buffer, Pool};
use super::uring::{Bell, KernelRing, Request, Ring};

/// What it reads into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// What an allocator gives to everybody: small pages.
    Ordinary,
    /// The large pages that the store reads into.
    LargePages,
}

/// Reads `length` bytes at each offset, `depth` at once, calls `done` after each, and gives the bytes read.
///
/// # Errors
/// When the file or a ring cannot be had, or a read fails or is short.
pub fn read(
    path: &Path,
    memory: Memory,
    length: usize,
    depth: usize,
    offsets: impl IntoIterator<Item = u64>,
    mut done: impl FnMut(),
) -> io::Result<u64> {
    let device = open_beside(path)?;
    let pool = Arc::new(Pool::default());
    let bell = Arc::new(Bell::new()?);
    let mut ring = KernelRing::start(&device, &bell, depth)?;
    let buffer = || match memory {
        Memory::Ordinary => Buffer::apart(length, &pool),
        Memory::LargePages => pool.take(length),
    };
    let mut offsets = offsets.into_iter();
    let mut under_way = 0;
    let mut bytes = 0;
    for offset in offsets.by_ref().take(depth) {
        ring.push(Request::Read(buffer(), 0..length, offset));
        under_way += 1;
    }
    while under_way > 0 {
        ring.wait()?;
        while let Some(completion) = ring.next() {
            under_way -= 1;
            done();
            bytes += completion.result? as u64;
            if let (Some(buffer), Some(offset)) = (completion.buffer, offsets.next()) {
                ring.push(Request::Read(buffer, 0..length, offset));
                under_way += 1;
            }
        }
    }
    Ok(bytes)
}
