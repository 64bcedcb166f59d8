//! A ring without `unsafe`: the same promises, kept with `pread` and `pwrite`.
//!
//! The tests run the ring's worker over this as over the kernel's, and over simulated disks, which have no file. What is pushed is
//! carried out in `wait`, the last first, since a kernel promises no order either.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};

use crate::device::Device;

use super::{Bell, Completion, Request, Ring};

/// See the module. After so many waits it is as if the kernel refused it.
pub(in crate::io) struct TwinRing<const WAITS_MAX: usize = { usize::MAX }> {
    waits: usize,
    device: Arc<dyn Device>,
    bell: Arc<Bell>,
    /// By token.
    slots: Vec<Slot>,
    ended: VecDeque<Completion>,
}

/// What belongs to a token.
enum Slot {
    Free,
    Waiting(Request),
    /// Its completion was not taken yet.
    Ended,
}

impl<const WAITS_MAX: usize> Ring for TwinRing<WAITS_MAX> {
    fn start(device: &Arc<dyn Device>, bell: &Arc<Bell>, operations: usize) -> io::Result<Self> {
        Ok(Self {
            waits: 0,
            device: Arc::clone(device),
            bell: Arc::clone(bell),
            slots: std::iter::repeat_with(|| Slot::Free)
                .take(operations)
                .collect(),
            ended: VecDeque::new(),
        })
    }

    fn push(&mut self, request: Request) -> usize {
        let is_free = |slot: &Slot| matches!(slot, Slot::Free);
        let token = self.slots.iter().position(is_free).unwrap();
        self.slots[token] = Slot::Waiting(request);
        token
    }

    fn wait(&mut self) -> io::Result<()> {
        self.waits += 1;
        if self.waits > WAITS_MAX {
            return Err(rustix::io::Errno::PERM.into());
        }
        let is_work = |slot: &Slot| matches!(slot, Slot::Waiting(request) if !matches!(request, Request::Bell));
        if !self.slots.iter().any(is_work) {
            let mut fds = [PollFd::new(&self.bell, PollFlags::IN)];
            poll(&mut fds, None)?;
        }
        for token in (0..self.slots.len()).rev() {
            match std::mem::replace(&mut self.slots[token], Slot::Ended) {
                Slot::Waiting(request) => match self.carry_out(token, request) {
                    Ok(completion) => self.ended.push_back(completion),
                    Err(silent) => self.slots[token] = Slot::Waiting(silent),
                },
                other => self.slots[token] = other,
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Completion> {
        let completion = self.ended.pop_front()?;
        self.slots[completion.token] = Slot::Free;
        Some(completion)
    }
}

impl<const WAITS_MAX: usize> TwinRing<WAITS_MAX> {
    /// Gives the request back if it is to wait on.
    fn carry_out(&self, token: usize, request: Request) -> Result<Completion, Request> {
        let (buffer, result) = match request {
            Request::Read(mut buffer, part, offset) => {
                let part = &mut buffer.as_mut_slice()[part];
                let result = self.device.read_some(part, offset);
                (Some(buffer), result)
            }
            Request::Write(buffer, part, offset) => {
                let result = self.device.write_some(&buffer.as_slice()[part], offset);
                (Some(buffer), result)
            }
            Request::Sync => (None, self.device.sync().map(|()| 0)),
            Request::Bell => {
                let mut fds = [PollFd::new(&self.bell, PollFlags::IN)];
                let now = rustix::event::Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                match poll(&mut fds, Some(&now)) {
                    Ok(0) => return Err(Request::Bell),
                    result => (None, result.map_err(Into::into)),
                }
            }
        };
        Ok(Completion {
            token,
            buffer,
            result,
        })
    }
}
