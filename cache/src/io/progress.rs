//! How far a read or a write has come, and whether to go on: the same rules for every backend.
//!
//! A kernel may do less than it was asked. What is left is asked again, so that callers see all or an error. With direct I/O only a rest
//! that is aligned can be asked for.

use std::io;
use std::ops::Range;

use rustix::io::Errno;

use super::error::Cause;
use super::queue::Span;

/// How often an operation that was only interrupted is begun again.
const RETRIES_MAX: u32 = 16;

/// What of a write is under way at once. The device takes no longer for it than for some reads, and little longer for a long write in such
/// parts than for it whole (measured in `benches/disk_reads`).
const WRITE_PART_BYTES: usize = 128 << 10;

/// One transfer between a buffer and the file.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// Where it began in the file.
    start: u64,
    /// Bytes that may be transferred, from the buffer's start.
    whole: usize,
    /// Bytes without which it is not done: a read near the end of the file need not give the rest of the last block.
    enough: usize,
    done: usize,
    /// What offsets and lengths must be multiples of.
    alignment: usize,
    retries: u32,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All is there.
    Done,
    /// [`Progress::rest`] is to be asked for.
    Again,
    /// No more will come.
    Failed(Cause),
}

impl Progress {
    /// A read of a span, and the part of the buffer where the span will be: with direct I/O whole sectors are read.
    pub(super) fn of_read(span: Span, alignment: usize) -> (Self, Range<usize>) {
        let start = span.offset - span.offset % alignment as u64;
        let before = usize::try_from(span.offset - start).unwrap_or(0);
        let enough = before + span.length;
        let whole = enough.next_multiple_of(alignment);
        (Self::new(start, whole, enough, alignment), before..enough)
    }

    /// A write of so many bytes.
    pub(super) const fn of_write(offset: u64, length: usize, alignment: usize) -> Self {
        Self::new(offset, length, length, alignment)
    }

    const fn new(start: u64, whole: usize, enough: usize, alignment: usize) -> Self {
        Self {
            start,
            whole,
            enough,
            done: 0,
            alignment,
            retries: 0,
        }
    }

    /// The part of the buffer that is still to be transferred.
    pub(super) const fn rest(&self) -> Range<usize> {
        self.done..self.whole
    }

    /// What of it is asked for at once: of a write a part, so that a read which comes meanwhile need not wait for all of it.
    pub(super) fn part(&self) -> Range<usize> {
        self.done..self.whole.min(self.done + WRITE_PART_BYTES)
    }

    /// Where that part is in the file.
    pub(super) const fn offset(&self) -> u64 {
        self.start + self.done as u64
    }

    /// Takes what one try gave: how many bytes, or why none.
    pub(super) fn advance(&mut self, result: io::Result<usize>) -> Step {
        match result {
            Ok(bytes) => self.transferred(bytes),
            Err(error) if self.may_retry(&error) => {
                self.retries += 1;
                Step::Again
            }
            Err(error) => Step::Failed(Cause::of(&error)),
        }
    }

    fn transferred(&mut self, bytes: usize) -> Step {
        self.done = (self.done + bytes).min(self.whole);
        if self.done >= self.enough {
            return Step::Done;
        }
        if bytes == 0 || !self.done.is_multiple_of(self.alignment) {
            return Step::Failed(Cause::Short(self.done as u64));
        }
        Step::Again
    }

    fn may_retry(&self, error: &io::Error) -> bool {
        let errno = Errno::from_io_error(error);
        let is_passing = matches!(errno, Some(Errno::INTR | Errno::AGAIN));
        is_passing && self.retries < RETRIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(alignment: usize, tries: &[Result<usize, Errno>], expected: Step) {
        let mut progress = Progress::new(8192, 8192, 5000, alignment);
        let mut last = Step::Again;
        for &result in tries {
            assert_eq!(last, Step::Again, "{tries:?}");
            last = progress.advance(result.map_err(io::Error::from));
        }
        assert_eq!(last, expected, "{tries:?}");
    }

    #[test]
    fn what_is_missing_is_asked_for_until_nothing_more_comes() {
        let short = |done| Step::Failed(Cause::Short(done));
        let failed = |errno| Step::Failed(Cause::Device(errno));
        check(4096, &[Ok(8192)], Step::Done);
        check(4096, &[Ok(5000)], Step::Done);
        check(4096, &[Ok(4999)], short(4999));
        check(4096, &[Ok(4096)], Step::Again);
        check(4096, &[Ok(4096), Ok(904)], Step::Done);
        check(4096, &[Ok(4096), Ok(0)], short(4096));
        check(1, &[Ok(1), Ok(2), Ok(0)], short(3));
        check(512, &[Ok(512), Err(Errno::IO)], failed(Errno::IO));
        check(512, &[Err(Errno::INTR), Ok(8192)], Step::Done);
        check(512, &[Err(Errno::AGAIN); 17], failed(Errno::AGAIN));
    }

    #[test]
    fn a_long_write_is_asked_for_part_by_part() {
        let whole = 2 * WRITE_PART_BYTES + 4096;
        let mut progress = Progress::of_write(0, whole, 4096);
        let mut parts = Vec::new();
        loop {
            let part = progress.part();
            parts.push((part.len(), progress.offset()));
            if progress.advance(Ok(part.len())) == Step::Done {
                break;
            }
        }
        let part = WRITE_PART_BYTES as u64;
        let expected = [
            (WRITE_PART_BYTES, 0),
            (WRITE_PART_BYTES, part),
            (4096, 2 * part),
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn the_rest_follows_what_is_done() {
        let mut progress = Progress::new(100, 50, 50, 1);
        assert_eq!(progress.advance(Ok(20)), Step::Again);
        assert_eq!((progress.rest(), progress.offset()), (20..50, 120));
    }
}
