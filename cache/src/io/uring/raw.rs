//! The kernel's ring, made safe: the one module of the workspace with `unsafe` in it.
//!
//! An entry handed to the kernel names memory by its address and files by their numbers. Both must stay until the operation has ended,
//! whatever becomes of those who asked. So the ring *owns* them: a buffer goes in with its request and comes out with its completion, and
//! nobody else can reach it meanwhile; dropping the ring waits for what is under way. If the kernel refuses even that, the buffers are
//! leaked. Used by the worker of `uring` through [`Ring`]; `twin` is the same without `unsafe`, and passes the same tests.
//! The index of a volume asks here for large pages, since that, too, names memory by its address.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, size_of_val};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use io_uring::{IoUring, Probe, opcode, squeue, types};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};
use rustix::param::page_size;

use crate::device::Device;

use super::super::buffer::Buffer;
use super::{Bell, Completion, Request, Ring};

/// What the kernel is asked to do; older ones know less.
const OPERATIONS: [u8; 4] = [
    opcode::Read::CODE,
    opcode::Write::CODE,
    opcode::Fsync::CODE,
    opcode::PollAdd::CODE,
];
/// `POLLIN`.
const READABLE: u32 = 1;

/// The ring and everything that the kernel may touch on its behalf.
pub(in crate::io) struct KernelRing {
    ring: IoUring,
    file: Arc<File>,
    bell: Arc<Bell>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// What the kernel would not take.
    refused: VecDeque<Completion>,
}

/// What belongs to a token.
enum Slot {
    Free,
    /// The kernel may read or write the buffer.
    Transfer(Buffer),
    /// It touches no memory of ours.
    Plain,
}

impl Ring for KernelRing {
    fn start(device: &Arc<dyn Device>, bell: &Arc<Bell>, operations: usize) -> io::Result<Self> {
        let file = device.file().ok_or(io::ErrorKind::Unsupported)?;
        let entries = u32::try_from(operations.next_power_of_two()).map_err(io::Error::other)?;
        let ring = build(entries)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !OPERATIONS.iter().all(|&code| probe.is_supported(code)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self {
            ring,
            file: Arc::clone(file),
            bell: Arc::clone(bell),
            slots: Vec::with_capacity(operations),
            free: Vec::with_capacity(operations),
            refused: VecDeque::new(),
        })
    }

    fn push(&mut self, request: Request) -> usize {
        let token = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() - 1
        });
        let file = types::Fd(self.file.as_raw_fd());
        let entry = match request {
            Request::Read(buffer, part, offset) => {
                let (address, length) = self.keep(token, buffer, part);
                let read = opcode::Read::new(file, address, length);
                read.offset(offset).build()
            }
            Request::Write(buffer, part, offset) => {
                let (address, length) = self.keep(token, buffer, part);
                let write = opcode::Write::new(file, address.cast_const(), length);
                write.offset(offset).build()
            }
            Request::Sync => {
                self.slots[token] = Slot::Plain;
                let sync = opcode::Fsync::new(file);
                sync.flags(types::FsyncFlags::DATASYNC).build()
            }
            Request::Bell => {
                self.slots[token] = Slot::Plain;
                let bell = types::Fd(self.bell.as_fd().as_raw_fd());
                opcode::PollAdd::new(bell, READABLE).build()
            }
        };
        self.enter(token, &entry.user_data(token as u64));
        token
    }

    fn wait(&mut self) -> io::Result<()> {
        if !self.refused.is_empty() {
            return Ok(());
        }
        match self.ring.submit_and_wait(1) {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn next(&mut self) -> Option<Completion> {
        if let Some(refused) = self.refused.pop_front() {
            return Some(refused);
        }
        loop {
            let entry = self.ring.completion().next()?;
            let result = match u32::try_from(entry.result()) {
                Ok(bytes) => Ok(bytes as usize),
                Err(_) => Err(io::Error::from_raw_os_error(
                    entry.result().saturating_neg(),
                )),
            };
            let token = usize::try_from(entry.user_data()).unwrap_or(usize::MAX);
            if let Some(completion) = self.ended(token, result) {
                return Some(completion);
            }
        }
    }
}

impl KernelRing {
    /// Keeps a buffer for as long as the kernel may touch it, and gives the address and length of a part of it.
    fn keep(&mut self, token: usize, mut buffer: Buffer, part: Range<usize>) -> (*mut u8, u32) {
        let part = buffer.as_mut_slice().get_mut(part).unwrap_or_default();
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        let address = part.as_mut_ptr();
        // Moving the buffer does not move its memory.
        self.slots[token] = Slot::Transfer(buffer);
        (address, length)
    }

    /// Puts an entry into the submission queue.
    fn enter(&mut self, token: usize, entry: &squeue::Entry) {
        if self.ring.submission().is_full() {
            // What has been entered is handed over, which makes room. If not, the push below says so.
            let _ = self.ring.submit();
        }
        // SAFETY: the entry's memory is a part of the buffer in `self.slots[token]` (or none), of the entry's length; its descriptors are
        // those of `self.file` and `self.bell`. The slot is not `Free`, so that no other request gets the token, and it gives the buffer
        // away only in `ended`, after the kernel's completion of this very entry. The files live as long as `self`, whose `drop` waits for
        // every completion, and leaks the buffers if it cannot.
        let pushed = unsafe { self.ring.submission().push(entry) };
        if pushed.is_err() {
            let refused = self.ended(token, Err(Errno::BUSY.into()));
            self.refused.extend(refused);
        }
    }

    /// Takes what belongs to a token, of which the kernel knows nothing any more.
    fn ended(&mut self, token: usize, result: io::Result<usize>) -> Option<Completion> {
        let slot = self.slots.get_mut(token)?;
        let buffer = match std::mem::replace(slot, Slot::Free) {
            Slot::Free => return None,
            Slot::Transfer(buffer) => Some(buffer),
            Slot::Plain => None,
        };
        self.free.push(token);
        Some(Completion {
            token,
            buffer,
            result,
        })
    }

    fn has_transfers(&self) -> bool {
        let is_transfer = |slot: &Slot| matches!(slot, Slot::Transfer(_));
        self.slots.iter().any(is_transfer)
    }
}

impl Drop for KernelRing {
    fn drop(&mut self) {
        while self.has_transfers() {
            if let Err(error) = self.wait() {
                log::error!("a ring cannot be waited for, its buffers are given up: {error}");
                std::mem::forget(std::mem::take(&mut self.slots));
                return;
            }
            while self.next().is_some() {}
        }
    }
}

/// The fewest interruptions that the kernel can do; an older one refuses the flags, not the ring.
fn build(entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    let ring = builder.dontfork().build(entries);
    ring.or_else(|error| match Errno::from_io_error(&error) {
        Some(Errno::INVAL) => IoUring::builder().dontfork().build(entries),
        _ => Err(error),
    })
}

/// Asks for large pages for memory that nothing was written to yet, so that its addresses are found faster, and a device is told of fewer parts.
/// What an allocator has used before has small pages already: those are given back, and large ones come when it is written to.
///
/// # Errors
/// When the kernel has none; the memory is as good as before.
pub(crate) fn ask_for_large_pages<T>(memory: &mut [MaybeUninit<T>]) -> io::Result<()> {
    let (page, bytes) = (page_size(), size_of_val(memory));
    let start = memory.as_mut_ptr().cast::<u8>();
    let before = start.align_offset(page).min(bytes);
    let length = (bytes - before) / page * page;
    let pages = start.wrapping_add(before).cast();
    for advice in [Advice::LinuxHugepage, Advice::LinuxDontNeed] {
        // SAFETY: the pages lie within `memory`, which the caller alone has. They stay where they are; what is in them becomes zeros, and of
        // memory that may be anything nobody may know what it was.
        unsafe { madvise(pages, length, advice) }?;
    }
    Ok(())
}

/// Whether trying again helps: a signal, completions that are to be taken first, memory that is short.
fn is_passing(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::INTR | Errno::AGAIN | Errno::BUSY))
}
