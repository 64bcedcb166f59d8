//! The portable backend: threads that block in `pread` and `pwrite`, a few for reads and one for writes and syncs.
//!
//! Each volume has its own, so that one that hangs stalls nobody else, and none of them is tokio's, whose blocking threads resolve names
//! and more. Also what a ring's thread becomes when the kernel takes the ring away.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::buffer::Unit;
use super::error::{Cause, IoError};
use super::file::{Crew, Options, Shared};
use super::progress::{Progress, Step};
use super::queue::{Job, Lane, Span};

/// Starts the threads.
pub(super) fn start(shared: &Arc<Shared>, options: Options) -> io::Result<()> {
    let number = options.number;
    start_readers(shared, options)?;
    Crew::start(shared, format!("jet9-write-{number}"), |shared| {
        serve(shared, Lane::Write);
    })
}

/// Starts the threads that read.
pub(super) fn start_readers(shared: &Arc<Shared>, options: Options) -> io::Result<()> {
    for thread in 0..options.limits.reading_threads.max(1) {
        let name = format!("jet9-read-{}.{thread}", options.number);
        Crew::start(shared, name, |shared| serve(shared, Lane::Read))?;
    }
    Ok(())
}

/// Carries out what is in a list until the queue is closed.
pub(super) fn serve(shared: &Shared, lane: Lane) {
    while let Some(job) = shared.queue.wait(lane) {
        carry_out(shared, job);
    }
}

fn carry_out(shared: &Shared, job: Job) {
    let what = job.error(Cause::Closed);
    let failed = |cause| IoError { cause, ..what };
    match job {
        Job::Read(span, promise) => promise.keep(read(shared, span).map_err(failed)),
        Job::Write(offset, unit, promise) => {
            let written = write(shared, offset, &unit).map_err(failed);
            promise.keep(written.map(|()| unit));
        }
        Job::Sync(promise) => {
            let synced = shared.device.sync();
            promise.keep(synced.map_err(|error| failed(Cause::of(&error))));
        }
    }
}

fn read(shared: &Shared, span: Span) -> Result<Bytes, Cause> {
    let (mut progress, part) = Progress::of_read(span, shared.alignment());
    let mut buffer = shared.pool.take(progress.rest().end);
    loop {
        let rest = &mut buffer.as_mut_slice()[progress.rest()];
        let result = shared.device.read_some(rest, progress.offset());
        match progress.advance(result) {
            Step::Done => return Ok(buffer.into_bytes(part)),
            Step::Again => {}
            Step::Failed(cause) => return Err(cause),
        }
    }
}

fn write(shared: &Shared, offset: u64, unit: &Unit) -> Result<(), Cause> {
    let mut progress = Progress::of_write(offset, unit.len(), shared.alignment());
    loop {
        let part = &unit.as_ref()[progress.part()];
        let result = shared.device.write_some(part, progress.offset());
        match progress.advance(result) {
            Step::Done => return Ok(()),
            Step::Again => {}
            Step::Failed(cause) => return Err(cause),
        }
    }
}
