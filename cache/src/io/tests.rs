//! One suite for all backends: the kernel's ring, its safe twin, and threads; on a disk's file system, in memory, and failing on demand.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus::Registry;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::*;
use crate::device::faulty::{Fault, FaultyFiles};
use crate::device::{Opener, RealFiles};
use crate::metrics::Metrics;
use crate::test_support::content;

/// What is the same for every file of a test.
struct Place {
    directory: tempfile::TempDir,
    metrics: Metrics,
    options: Options,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.directory.path().join("jet9.volume")
    }

    fn open(&self) -> VolumeFile {
        VolumeFile::open(&self.path(), &self.metrics, self.options).unwrap()
    }

    /// A file with `length` bytes of [`content`].
    fn filled(&self, length: usize) -> (VolumeFile, Bytes) {
        let bytes = content(1, length);
        std::fs::write(self.path(), &bytes).unwrap();
        (self.open(), bytes)
    }

    /// The same on files that fail; in the kernel's ring nothing of ours can.
    fn failing(&self, faults: &FaultyFiles) -> VolumeFile {
        let device = faults.open_volume(&self.path()).unwrap();
        let options = match self.options.want {
            Want::Best => Options {
                want: Want::Twin,
                ..self.options
            },
            Want::Threads | Want::Twin | Want::Revoked => self.options,
        };
        VolumeFile::start(device, &self.path(), &self.metrics, options).unwrap()
    }

    /// The number of the first operation that a test asks for: where I/O is direct, opening a file asks for one.
    fn first(&self) -> u64 {
        u64::from(self.open().mode() == Mode::Direct)
    }

    fn refused(&self, operation: &str, reason: &str) -> u64 {
        let labels = [operation, reason];
        self.metrics.disk_refused.with_label_values(&labels).get()
    }
}

/// Runs a test on every backend and both kinds of file system, with these limits.
fn on_all(limits: Limits, test: impl AsyncFn(&Place) + Copy) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for want in [Want::Threads, Want::Twin, Want::Best] {
        for directory in [tempfile::tempdir(), tempfile::tempdir_in("/dev/shm")] {
            let Ok(directory) = directory else {
                eprintln!("SKIPPED: no such file system");
                continue;
            };
            let options = Options {
                number: 0,
                want,
                limits,
            };
            let metrics = Metrics::register(&Registry::new()).unwrap();
            let place = Place {
                directory,
                metrics,
                options,
            };
            if want == Want::Best && place.open().backend() == Backend::Threads {
                eprintln!("SKIPPED: io_uring is refused here");
                continue;
            }
            runtime.block_on(test(&place));
        }
    }
}

fn unit(file: &VolumeFile, bytes: &[u8]) -> Unit {
    let mut unit = file.unit(bytes.len());
    assert_eq!(unit.append(bytes), bytes.len());
    unit
}

#[test]
fn what_was_written_is_read_and_outlives_the_handle() {
    on_all(Limits::default(), async |place| {
        let bytes = content(7, 1 << 20);
        let file = place.open();
        file.resize(4 << 20).unwrap();
        assert_eq!(file.length().unwrap(), 4 << 20);
        let back = file.write(8192, unit(&file, &bytes)).done().await.unwrap();
        assert_eq!(back.as_ref(), &bytes[..]);
        file.sync().done().await.unwrap();
        assert_eq!(file.read(8192, 1 << 20).done().await.unwrap(), bytes);
        assert_eq!(file.read(0, 8192).done().await.unwrap(), vec![0; 8192]);
        drop(file);
        assert_eq!(place.open().read(8192, 1 << 20).wait().unwrap(), bytes);
    });
}

#[test]
fn any_range_is_read_whatever_the_alignment() {
    on_all(Limits::default(), async |place| {
        let (file, bytes) = place.filled((1 << 20) + 100);
        for offset in [0, 1, 511, 512, 513, 4095, 4096, 70_000, (1 << 20) - 1] {
            for length in [1, 10, 511, 512, 4096, 16_384 + 96, 300_001] {
                let Some(expected) = bytes.get(offset..offset + length) else {
                    continue;
                };
                let read = file.read(offset as u64, length).done().await.unwrap();
                assert_eq!(read, expected, "{length} at {offset}");
            }
        }
        // The last block of a file need not be whole.
        let tail = file.read((1 << 20) + 50, 50).wait().unwrap();
        assert_eq!(tail, bytes[(1 << 20) + 50..]);
    });
}

#[test]
fn many_reads_at_once_each_get_their_own_bytes() {
    on_all(Limits::default(), async |place| {
        let (file, bytes) = place.filled(2 << 20);
        let reads: Vec<_> = (0..500)
            .map(|n| {
                let (offset, length) = (n * 4001 % (2 << 20), 1 + n * 37 % 20_000);
                (offset, length, file.read(offset as u64, length))
            })
            .collect();
        for (offset, length, read) in reads {
            match bytes.get(offset..offset + length) {
                Some(expected) => assert_eq!(read.done().await.unwrap(), expected),
                None => assert!(read.done().await.is_err()),
            }
        }
        assert_eq!(file.waiting(), 0);
    });
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    on_all(Limits::default(), async |place| {
        let (file, _) = place.filled(1 << 20);
        let invalid = |operation, offset, length| IoError {
            operation,
            offset,
            length,
            cause: Cause::Invalid,
        };
        for (offset, length) in [(0, 0), (0, (5 << 20) + 1), (u64::MAX - 10, 100)] {
            let expected = invalid(Operation::Read, offset, length as u64);
            assert_eq!(file.read(offset, length).done().await, Err(expected));
        }
        for (offset, length) in [(0, 0), (512, BLOCK), (0, BLOCK + 512)] {
            let bytes = vec![0; length];
            let refused = file.write(offset, unit(&file, &bytes)).done().await;
            let expected = invalid(Operation::Write, offset, length as u64);
            assert_eq!(refused.unwrap_err(), expected);
        }
    });
}

#[test]
fn a_file_that_was_truncated_gives_an_error_and_no_zeros() {
    on_all(Limits::default(), async |place| {
        let (file, bytes) = place.filled(1 << 20);
        let other = OpenOptions::new().write(true).open(place.path()).unwrap();
        other.set_len(10_000).unwrap();
        let error = file.read(8192, 16_384).done().await.unwrap_err();
        assert_eq!((error.operation, error.offset), (Operation::Read, 8192));
        assert_eq!(error.cause, Cause::Short(10_000 - 8192));
        let error = file.read(500_000, 100).done().await.unwrap_err();
        assert_eq!(error.cause, Cause::Short(0));
        let left = file.read(8192, 1808).done().await.unwrap();
        assert_eq!(left, bytes[8192..10_000]);
    });
}

#[test]
fn a_full_file_system_says_so_and_keeps_what_was_there() {
    on_all(Limits::default(), async |place| {
        let full = RealFiles.open("/dev/full".as_ref()).unwrap();
        let path = "/dev/full".as_ref();
        let file = VolumeFile::start(full, path, &place.metrics, place.options).unwrap();
        let error = file.write(0, unit(&file, &[1; BLOCK])).done().await;
        let error = error.unwrap_err();
        assert_eq!(error.cause, Cause::Device(Errno::NOSPC));
        assert_eq!(
            error.to_string(),
            "write of 4096 bytes at 0: No space left on device (os error 28)"
        );
    });
}

/// A small file system in memory, for those who may mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().ok()?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let small = c"size=1m";
        mount("jet9-test", directory.path(), "tmpfs", flags, small).ok()?;
        Some(Self(directory))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

#[test]
fn a_tmpfs_that_runs_full_keeps_what_was_written_before() {
    on_all(Limits::default(), async |place| {
        let Some(small) = Small::mount() else {
            eprintln!("SKIPPED: no right to mount a tmpfs");
            return;
        };
        let path = small.0.path().join("jet9.volume");
        let file = VolumeFile::open(&path, &place.metrics, place.options).unwrap();
        assert_eq!(file.mode(), Mode::Buffered);
        assert!(file.resize(2 << 20).is_err());
        File::create(&path).unwrap().set_len(2 << 20).unwrap();
        let bytes = content(3, 512 << 10);
        file.write(0, unit(&file, &bytes)).done().await.unwrap();
        let more = content(4, 1 << 20);
        let error = file.write(512 << 10, unit(&file, &more)).done().await;
        let cause = error.unwrap_err().cause;
        let is_full = matches!(cause, Cause::Device(Errno::NOSPC) | Cause::Short(_));
        assert!(is_full, "{cause}");
        assert_eq!(file.read(0, 512 << 10).done().await.unwrap(), bytes);
    });
}

#[test]
fn direct_where_the_file_system_takes_it_and_buffered_where_not() {
    on_all(Limits::default(), async |place| {
        let file = place.open();
        let is_in_memory = place.directory.path().starts_with("/dev/shm");
        let labels = [file.backend().as_str(), file.mode().as_str()];
        let open = place.metrics.volume_files.with_label_values(&labels);
        assert_eq!(open.get(), 1);
        if is_in_memory {
            assert_eq!(file.mode(), Mode::Buffered);
        }
        drop(file);
        assert_eq!(open.get(), 0);
    });
}

#[test]
fn a_file_is_one_processes_alone() {
    on_all(Limits::default(), async |place| {
        let file = place.open();
        let again = VolumeFile::open(&place.path(), &place.metrics, place.options);
        assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        drop(file);
        place.open();
    });
}

/// Few of everything, and little patience.
fn small() -> Limits {
    Limits {
        reads_waiting: 4,
        writes_waiting: 2,
        reads_under_way: 2,
        writes_under_way: 1,
        reading_threads: 2,
        read_deadline: Duration::from_millis(50),
        write_deadline: Duration::from_millis(50),
    }
}

const FOREVER: Fault = Fault::Delay(Duration::from_secs(60));

#[test]
fn a_disk_that_hangs_sheds_what_is_too_much_and_tells_everybody_in_time() {
    on_all(small(), async |place| {
        std::fs::write(place.path(), content(1, 1 << 20)).unwrap();
        let faults = FaultyFiles::new(FOREVER, place.first(), u64::MAX);
        let file = place.failing(&faults);
        let reads: Vec<_> = (0..20).map(|n| file.read(n * 4096, 4096)).collect();
        let mut late = 0;
        let mut shed = 0;
        for read in reads {
            match read.done().await.map_err(|error| error.cause) {
                Err(Cause::Late) => late += 1,
                Err(Cause::QueueFull) => shed += 1,
                other => panic!("{:?}", other.map(|bytes| bytes.len())),
            }
        }
        // As many as wait, and those under way.
        assert!((4..=6).contains(&late), "{late}");
        assert_eq!(late + shed, 20);
        assert_eq!(place.refused("read", "late"), late);
        assert_eq!(place.refused("read", "queue_full"), shed);
        let error = file.sync().wait().unwrap_err();
        assert_eq!(error.cause, Cause::Late);
        faults.end_delays();
    });
}

#[test]
fn reads_that_were_given_up_are_not_begun_and_their_buffers_come_back() {
    on_all(Limits::default(), async |place| {
        let (file, bytes) = place.filled(1 << 20);
        for round in 0..50 {
            for n in 0..16 {
                drop(file.read(n * 4096, 16_384));
            }
            let offset = round * 4096;
            let read = file.read(offset as u64, 4096).done().await.unwrap();
            assert_eq!(read, bytes[offset..offset + 4096]);
        }
        drop(file);
    });
}

#[test]
fn a_write_that_was_given_up_before_it_began_never_lands() {
    let limits = Limits {
        write_deadline: Duration::from_millis(50),
        writes_under_way: 1,
        ..Limits::default()
    };
    on_all(limits, async |place| {
        std::fs::write(place.path(), vec![0; 1 << 20]).unwrap();
        let faults = FaultyFiles::new(FOREVER, place.first(), 1);
        let file = place.failing(&faults);
        // The first hangs; the second waits behind it, or, in a ring, behind its thread.
        let first = file.write(0, unit(&file, &[1; BLOCK]));
        let second = file.write(8192, unit(&file, &[2; BLOCK]));
        assert_eq!(first.done().await.unwrap_err().cause, Cause::Late);
        assert_eq!(second.done().await.unwrap_err().cause, Cause::Late);
        faults.end_delays();
        // What was begun lands, whenever that is.
        drop(file);
        let bytes = std::fs::read(place.path()).unwrap();
        assert_eq!(bytes[..BLOCK], [1; BLOCK]);
        assert_eq!(bytes[8192..8192 + BLOCK], [0; BLOCK]);
    });
}

#[test]
fn a_short_transfer_is_completed_and_an_error_is_told() {
    on_all(Limits::default(), async |place| {
        let bytes = content(1, 1 << 20);
        std::fs::write(place.path(), &bytes).unwrap();
        let first = place.first();
        let file = place.failing(&FaultyFiles::new(Fault::Short, first, 3));
        let read = file.read(4096, 100_000).done().await.unwrap();
        assert_eq!(read, bytes[4096..104_096]);
        drop(file);
        let file = place.failing(&FaultyFiles::new(Fault::Short, first, 3));
        let other = content(2, 64 << 10);
        file.write(0, unit(&file, &other)).done().await.unwrap();
        assert_eq!(file.read(0, 64 << 10).done().await.unwrap(), other);
        drop(file);
        for (fault, errno) in [(Fault::Error, Errno::IO), (Fault::NoSpace, Errno::NOSPC)] {
            let file = place.failing(&FaultyFiles::new(fault, first, 2));
            let failed = file.write(4096, unit(&file, &[0; BLOCK])).done().await;
            assert_eq!(failed.unwrap_err().cause, Cause::Device(errno));
            let failed = file.sync().wait().unwrap_err();
            assert_eq!(failed.cause, Cause::Device(errno));
            assert_eq!(file.read(0, 64 << 10).done().await.unwrap(), other);
        }
    });
}

#[test]
fn what_waits_is_still_done_when_the_handle_goes() {
    on_all(Limits::default(), async |place| {
        let (file, _) = place.filled(1 << 20);
        let bytes = content(9, 64 << 10);
        let writes: Vec<_> = (0..8_u64)
            .map(|n| file.write(n << 16, unit(&file, &bytes)))
            .collect();
        drop(file);
        for write in writes {
            write.done().await.unwrap();
        }
        let whole = File::open(place.path()).unwrap();
        let mut read = vec![0; 64 << 10];
        whole.read_exact_at(&mut read, 7 << 16).unwrap();
        assert_eq!(read, bytes);
    });
}

#[test]
fn a_ring_serves_many_threads_at_once() {
    on_all(Limits::default(), async |place| {
        let (file, bytes) = place.filled(1 << 20);
        let file = Arc::new(file);
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let (file, bytes) = (&file, &bytes);
                scope.spawn(move || {
                    for n in 0..200 {
                        let offset = (n * 8009 + thread * 131) % (900 << 10);
                        let read = file.read(offset as u64, 5000).wait().unwrap();
                        assert_eq!(read, bytes[offset..offset + 5000]);
                    }
                });
            }
        });
    });
}

#[test]
fn a_ring_that_is_taken_away_costs_what_is_under_way_and_no_more() {
    on_all(Limits::default(), async |place| {
        let bytes = content(1, 1 << 20);
        std::fs::write(place.path(), &bytes).unwrap();
        let options = Options {
            want: Want::Revoked,
            ..place.options
        };
        let file = VolumeFile::open(&place.path(), &place.metrics, options).unwrap();
        let mut lost = 0;
        for n in 0..100 {
            let offset = n * 5000;
            match file.read(offset as u64, 5000).done().await {
                Ok(read) => assert_eq!(read, bytes[offset..offset + 5000]),
                Err(error) => {
                    assert_eq!(error.cause, Cause::Device(Errno::PERM));
                    lost += 1;
                }
            }
        }
        assert!(lost <= 1, "{lost}");
        let other = content(2, 64 << 10);
        file.write(0, unit(&file, &other)).done().await.unwrap();
        file.sync().done().await.unwrap();
        assert_eq!(file.read(0, 64 << 10).done().await.unwrap(), other);
    });
}
