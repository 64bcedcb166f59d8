//! The backend over `io_uring`: one thread for each volume that hands operations to the kernel and their outcomes to the callers.
//!
//! Requests' threads do not submit themselves, although it would spare a change of threads: the kernel ties an operation to the thread that
//! submitted it, completes it there and cancels it when that thread ends. They put a job into the queue and ring a bell (an `eventfd` that
//! the ring polls) if the worker sleeps. The worker is the same over two rings: the kernel's ([`raw`], the one module with `unsafe`) and
//! its safe twin for tests. A kernel that stops serving a ring at run time costs the operations under way: the worker becomes the writing
//! thread of the portable backend and starts its readers.

use std::io;
use std::ops::Range;
use std::sync::{Arc, mpsc};

use bytes::Bytes;

use crate::device::Device;

use super::buffer::{Buffer, Unit};
use super::error::{Cause, IoError};
use super::file::{Crew, Limits, Options, Shared};
use super::pending::Promise;
use super::progress::{Progress, Step};
use super::queue::{Found, Job, Lane};
use super::threads;

mod bell;
#[expect(
    unsafe_code,
    reason = "the kernel is given addresses; the one module that may"
)]
mod raw;
#[cfg(test)]
mod twin;

pub(super) use bell::Bell;
pub(super) use raw::KernelRing;
pub(crate) use raw::ask_for_large_pages;
#[cfg(test)]
pub(super) use twin::TwinRing;

/// What is handed to a ring. Parts are within their buffers; places are in the file.
#[derive(Debug)]
pub(super) enum Request {
    Read(Buffer, Range<usize>, u64),
    Write(Buffer, Range<usize>, u64),
    Sync,
    /// Completes when the bell is rung.
    Bell,
}

/// What a ring gives back.
#[derive(Debug)]
pub(super) struct Completion {
    token: usize,
    /// Of a read or a write.
    pub(super) buffer: Option<Buffer>,
    pub(super) result: io::Result<usize>,
}

/// Operations under way, each with a token. Whatever it was given it keeps until the operation has ended.
pub(super) trait Ring: Sized {
    /// A ring for a device's file, with room for so many operations and a bell.
    fn start(device: &Arc<dyn Device>, bell: &Arc<Bell>, operations: usize) -> io::Result<Self>;
    /// Takes a request; its token is smaller than the room, and is not used for another before it came back.
    fn push(&mut self, request: Request) -> usize;
    /// Begins what was pushed and waits for something to end.
    fn wait(&mut self) -> io::Result<()>;
    /// What has ended.
    fn next(&mut self) -> Option<Completion>;
}

/// Starts the thread; it tells whether there is a ring before this returns.
pub(super) fn start<R: Ring>(shared: &Arc<Shared>, options: Options) -> io::Result<Arc<Bell>> {
    let bell = Arc::new(Bell::new()?);
    let of_thread = Arc::clone(&bell);
    let (told, started) = mpsc::sync_channel(1);
    let name = format!("jet9-io-{}", options.number);
    Crew::start(shared, name, move |shared| {
        let operations = options.limits.reads_under_way + options.limits.writes_under_way;
        let ring = R::start(&shared.device, &of_thread, operations + 1);
        let worker = ring.map(|ring| Worker::new(shared, of_thread, ring, options));
        // Nobody listens only if the opening thread is gone.
        match worker {
            Ok(worker) => {
                let _ = told.send(Ok(()));
                worker.run();
            }
            Err(error) => drop(told.send(Err(error))),
        }
    })?;
    started.recv().map_err(io::Error::other)??;
    Ok(bell)
}

/// An operation under way, and whom to tell.
enum Flight {
    Bell,
    Read(Progress, Range<usize>, Promise<Bytes>),
    /// With the unit's length.
    Write(Progress, usize, Promise<Unit>),
    Sync(Promise<()>),
}

struct Worker<'a, R> {
    shared: &'a Arc<Shared>,
    bell: Arc<Bell>,
    options: Options,
    ring: R,
    /// By token, with what is said of it when it fails.
    flights: Vec<Option<(Flight, IoError)>>,
    reads: usize,
    writes: usize,
    is_bell_armed: bool,
}

impl<'a, R: Ring> Worker<'a, R> {
    fn new(shared: &'a Arc<Shared>, bell: Arc<Bell>, ring: R, options: Options) -> Self {
        Self {
            shared,
            bell,
            options,
            ring,
            flights: Vec::new(),
            reads: 0,
            writes: 0,
            is_bell_armed: false,
        }
    }

    fn run(mut self) {
        let mut jobs = Vec::new();
        loop {
            if !self.is_bell_armed {
                self.is_bell_armed = true;
                let otherwise = IoError::of_bell();
                self.fly(Request::Bell, Flight::Bell, otherwise);
            }
            match self.take(&mut jobs) {
                Found::Jobs => continue,
                Found::Nothing => {}
                Found::Closed => return,
            }
            if let Err(error) = self.ring.wait() {
                return self.degrade(&error);
            }
            while let Some(completion) = self.ring.next() {
                self.land(completion);
            }
        }
    }

    /// Begins what waits, as far as there is room.
    fn take(&mut self, jobs: &mut Vec<Job>) -> Found {
        let Limits {
            reads_under_way,
            writes_under_way,
            ..
        } = self.options.limits;
        let reads = reads_under_way.saturating_sub(self.reads);
        let writes = writes_under_way.saturating_sub(self.writes);
        let is_busy = self.reads + self.writes > 0;
        let found = self.shared.queue.take(reads, writes, is_busy, jobs);
        for job in jobs.drain(..) {
            self.begin(job);
        }
        found
    }

    fn begin(&mut self, job: Job) {
        let otherwise = job.error(Cause::Closed);
        let alignment = self.shared.alignment();
        match job {
            Job::Read(span, promise) => {
                let (progress, part) = Progress::of_read(span, alignment);
                let buffer = self.shared.pool.take(progress.rest().end);
                let request = Request::Read(buffer, progress.rest(), progress.offset());
                self.reads += 1;
                self.fly(request, Flight::Read(progress, part, promise), otherwise);
            }
            Job::Write(offset, unit, promise) => {
                let (buffer, length) = unit.into_parts();
                let progress = Progress::of_write(offset, length, alignment);
                let request = Request::Write(buffer, progress.part(), progress.offset());
                self.writes += 1;
                self.fly(request, Flight::Write(progress, length, promise), otherwise);
            }
            Job::Sync(promise) => {
                self.writes += 1;
                self.fly(Request::Sync, Flight::Sync(promise), otherwise);
            }
        }
    }

    fn fly(&mut self, request: Request, flight: Flight, otherwise: IoError) {
        let token = self.ring.push(request);
        if self.flights.len() <= token {
            self.flights.resize_with(token + 1, || None);
        }
        self.flights[token] = Some((flight, otherwise));
    }

    /// Tells whoever waits, or asks for the rest.
    fn land(&mut self, completion: Completion) {
        let Completion {
            token,
            buffer,
            result,
        } = completion;
        let flight = self.flights.get_mut(token).and_then(Option::take);
        let Some((flight, otherwise)) = flight else {
            return;
        };
        let failed = |cause| IoError { cause, ..otherwise };
        match (flight, buffer) {
            (Flight::Bell, _) => {
                self.is_bell_armed = false;
                self.bell.silence();
            }
            (Flight::Read(mut progress, part, promise), Some(buffer)) => {
                self.reads -= 1;
                match progress.advance(result) {
                    Step::Done => promise.keep(Ok(buffer.into_bytes(part))),
                    Step::Failed(cause) => promise.keep(Err(failed(cause))),
                    Step::Again => {
                        self.reads += 1;
                        let request = Request::Read(buffer, progress.rest(), progress.offset());
                        self.fly(request, Flight::Read(progress, part, promise), otherwise);
                    }
                }
            }
            (Flight::Write(mut progress, length, promise), Some(buffer)) => {
                self.writes -= 1;
                match progress.advance(result) {
                    Step::Done => promise.keep(Ok(Unit::from_parts(buffer, length))),
                    Step::Failed(cause) => promise.keep(Err(failed(cause))),
                    Step::Again => {
                        self.writes += 1;
                        let request = Request::Write(buffer, progress.part(), progress.offset());
                        self.fly(request, Flight::Write(progress, length, promise), otherwise);
                    }
                }
            }
            (Flight::Sync(promise), _) => {
                self.writes -= 1;
                let synced = result.map(drop);
                promise.keep(synced.map_err(|error| failed(Cause::of(&error))));
            }
            // A ring gives back what it was given; dropping the promise says that nothing is known.
            (Flight::Read(..) | Flight::Write(..), None) => {}
        }
    }

    /// The kernel serves the ring no longer.
    fn degrade(self, error: &io::Error) {
        let name = &self.shared.name;
        log::error!("{name}: io_uring failed: {error}; going on with threads");
        let cause = Cause::of(error);
        for (flight, otherwise) in self.flights.into_iter().flatten() {
            let failed = IoError { cause, ..otherwise };
            match flight {
                Flight::Bell => {}
                Flight::Read(_, _, promise) => promise.keep(Err(failed)),
                Flight::Write(_, _, promise) => promise.keep(Err(failed)),
                Flight::Sync(promise) => promise.keep(Err(failed)),
            }
        }
        // Dropping the ring waits for what may still touch its buffers: last of all.
        let ring = self.ring;
        if let Err(error) = threads::start_readers(self.shared, self.options) {
            log::error!("{name}: no thread can be started to read: {error}");
        }
        threads::serve(self.shared, Lane::Write);
        drop(ring);
    }
}
