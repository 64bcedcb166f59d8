//! Files in memory that remember everything that was done to them, and what a loss of power would have left at each moment.
//!
//! A write is durable when a sync of its file that began after it has succeeded; until then each of its sectors of 512 bytes is kept or
//! lost by itself, in any order, and a sector that was written more than once may keep any of its versions. A new file's name is durable
//! with the file's first sync, as journaling file systems have it; renames and removals with the directory's, in order. Used by the
//! store's tests: one run is recorded, then every crash point of it is tried.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::io::Mode;

use super::{Device, Opener};

const SECTOR: usize = 512;
const PAGE: usize = 4096;

/// A disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Simulated {
    world: Arc<Mutex<World>>,
}

#[derive(Debug, Default)]
struct World {
    now: Image,
    /// Where recording began, and what was done since.
    before: Image,
    events: Vec<Event>,
    locked: BTreeSet<usize>,
}

/// Everything on a disk.
#[derive(Clone, Debug, Default)]
struct Image {
    names: BTreeMap<PathBuf, usize>,
    files: Vec<Content>,
}

/// One file: pages that are not there are zeros.
#[derive(Clone, Debug, Default)]
struct Content {
    length: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

/// What was done.
#[derive(Clone, Debug)]
enum Event {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncNames,
    Write(usize, u64, Arc<[u8]>),
    Resize(usize, u64),
    Sync(usize),
    /// The test knows something from here on.
    Mark(u64),
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it is lost.
    All,
    /// None: the process was killed.
    Nothing,
    /// Every sector of every write by chance.
    Some(u64),
    /// The last write is cut at some sector, everything before it is kept.
    Torn(u64),
    /// The last write is kept, everything before it is lost.
    Reordered,
}

/// A moment of a recorded run.
#[derive(Debug)]
pub(crate) struct CrashPoint {
    /// How many events there were.
    pub(crate) number: usize,
    /// What the test knew.
    pub(crate) marks: Vec<u64>,
    durable: Image,
    unsynced: Vec<Event>,
}

impl Simulated {
    /// Records from here on.
    pub(crate) fn record(&self) {
        let mut world = self.world.lock();
        world.before = world.now.clone();
        world.events.clear();
    }

    /// Notes that the test knows something now.
    pub(crate) fn mark(&self, mark: u64) {
        self.world.lock().events.push(Event::Mark(mark));
    }

    /// Every moment of what was recorded: before the first event, after each, with what was durable then.
    pub(crate) fn crash_points(&self) -> Vec<CrashPoint> {
        let world = self.world.lock();
        let mut durable = world.before.clone();
        let mut unsynced: Vec<Event> = Vec::new();
        let mut marks = Vec::new();
        let mut points = Vec::new();
        let mut point = |number, marks: &[u64], durable: &Image, unsynced: &[Event]| {
            points.push(CrashPoint {
                number,
                marks: marks.to_vec(),
                durable: durable.clone(),
                unsynced: unsynced.to_vec(),
            });
        };
        point(0, &marks, &durable, &unsynced);
        for (number, event) in world.events.iter().enumerate() {
            match event {
                Event::Mark(mark) => {
                    marks.push(*mark);
                    continue;
                }
                Event::Sync(file) => {
                    let is_synced = |event: &Event| event.is_of(*file);
                    unsynced
                        .extract_if(.., |event| is_synced(event))
                        .for_each(|event| durable.apply(&event));
                }
                Event::SyncNames => {
                    unsynced
                        .extract_if(.., |event| event.is_of_names())
                        .for_each(|event| durable.apply(&event));
                }
                event => unsynced.push(event.clone()),
            }
            point(number + 1, &marks, &durable, &unsynced);
        }
        points
    }

    fn file_of(&self, path: &Path) -> usize {
        let mut world = self.world.lock();
        if let Some(&file) = world.now.names.get(path) {
            return file;
        }
        let file = world.now.files.len();
        world.happen(Event::Create(path.to_owned(), file));
        file
    }

    fn device(&self, file: usize, lock: bool, mode: Mode) -> Arc<dyn Device> {
        Arc::new(SimulatedFile {
            disk: self.clone(),
            file,
            lock,
            mode,
        })
    }

    fn locked(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn Device>> {
        let file = self.file_of(path);
        if !self.world.lock().locked.insert(file) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(self.device(file, true, mode))
    }
}

impl World {
    fn happen(&mut self, event: Event) {
        self.now.apply(&event);
        self.events.push(event);
    }
}

impl Event {
    /// Whether a sync of the file makes it durable.
    fn is_of(&self, file: usize) -> bool {
        match *self {
            Self::Create(_, other) | Self::Write(other, ..) | Self::Resize(other, _) => {
                other == file
            }
            _ => false,
        }
    }

    const fn is_of_names(&self) -> bool {
        matches!(self, Self::Create(..) | Self::Rename(..) | Self::Remove(_))
    }
}

impl Image {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Create(path, file) => {
                self.names.insert(path.clone(), *file);
                self.file(*file);
            }
            Event::Rename(from, to) => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Event::Remove(path) => drop(self.names.remove(path)),
            Event::Write(file, offset, bytes) => self.file(*file).write(bytes, *offset),
            Event::Resize(file, bytes) => self.file(*file).resize(*bytes),
            Event::SyncNames | Event::Sync(_) | Event::Mark(_) => {}
        }
    }

    fn file(&mut self, file: usize) -> &mut Content {
        if self.files.len() <= file {
            self.files.resize_with(file + 1, Content::default);
        }
        &mut self.files[file]
    }
}

impl Content {
    fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let left = self.length.saturating_sub(offset);
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        for (page, within, part) in parts(offset, length) {
            match self.pages.get(&page) {
                Some(bytes) => buffer[part.clone()].copy_from_slice(&bytes[within..][..part.len()]),
                None => buffer[part].fill(0),
            }
        }
        length
    }

    fn write(&mut self, bytes: &[u8], offset: u64) {
        self.length = self.length.max(offset + bytes.len() as u64);
        for (page, within, part) in parts(offset, bytes.len()) {
            let page = self
                .pages
                .entry(page)
                .or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..][..part.len()].copy_from_slice(&bytes[part]);
        }
    }

    fn resize(&mut self, bytes: u64) {
        self.length = bytes;
        self.pages.retain(|&page, _| page * (PAGE as u64) < bytes);
    }
}

/// A range by pages: the page, where in it, and which part of the range.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let position = offset + done as u64;
        let within = usize::try_from(position % PAGE as u64).unwrap();
        let end = length.min(done + PAGE - within);
        let part = done..end;
        done = end;
        Some((position / PAGE as u64, within, part))
    })
}

impl CrashPoint {
    /// The disk as it is when power comes back.
    pub(crate) fn disk(&self, loss: Loss) -> Simulated {
        let mut image = self.durable.clone();
        let last = self
            .unsynced
            .iter()
            .rposition(|event| matches!(event, Event::Write(..)));
        let mut chance = Chance::new(loss, self.number);
        let names = self
            .unsynced
            .iter()
            .filter(|event| event.is_of_names())
            .count();
        // Of changes of names some first ones are kept.
        let mut names_kept = match loss {
            Loss::All | Loss::Reordered => 0,
            Loss::Nothing | Loss::Torn(_) => names,
            Loss::Some(_) => chance.below(names + 1),
        };
        for (number, event) in self.unsynced.iter().enumerate() {
            match (event, loss) {
                (event, _) if event.is_of_names() => {
                    if names_kept > 0 {
                        names_kept -= 1;
                        image.apply(event);
                    }
                }
                (event, Loss::Nothing) => image.apply(event),
                (_, Loss::All) => {}
                (event, Loss::Reordered) if Some(number) == last => image.apply(event),
                (_, Loss::Reordered) => {}
                (event, Loss::Torn(_)) if Some(number) != last => image.apply(event),
                (Event::Write(file, offset, bytes), Loss::Torn(_)) => {
                    let kept = chance.below(bytes.len().div_ceil(SECTOR)) * SECTOR;
                    image.file(*file).write(&bytes[..kept], *offset);
                }
                (Event::Write(file, offset, bytes), Loss::Some(_)) => {
                    // Whole sectors of the device, wherever the write begins.
                    let mut start = 0;
                    while start < bytes.len() {
                        let position = usize::try_from(*offset).unwrap() + start;
                        let end = bytes.len().min(start + SECTOR - position % SECTOR);
                        if chance.below(2) == 0 {
                            image.file(*file).write(&bytes[start..end], position as u64);
                        }
                        start = end;
                    }
                }
                (event, Loss::Some(_)) => {
                    if chance.below(2) == 0 {
                        image.apply(event);
                    }
                }
                (_, Loss::Torn(_)) => {}
            }
        }
        let world = World {
            now: image,
            ..World::default()
        };
        Simulated {
            world: Arc::new(Mutex::new(world)),
        }
    }
}

/// Choices that are the same at each run.
struct Chance(u64);

impl Chance {
    fn new(loss: Loss, number: usize) -> Self {
        let seed = match loss {
            Loss::Some(seed) | Loss::Torn(seed) => seed,
            Loss::All | Loss::Nothing | Loss::Reordered => 0,
        };
        Self((seed ^ (number as u64) << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

impl Opener for Simulated {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        let file = self.file_of(path);
        Ok(self.device(file, false, Mode::Buffered))
    }

    fn open_locked(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        self.locked(path, Mode::Buffered)
    }

    fn open_volume(&self, path: &Path) -> io::Result<Arc<dyn Device>> {
        self.locked(path, Mode::Direct)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.world.lock().now.names.contains_key(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        if !world.now.names.contains_key(from) {
            return Err(Errno::NOENT.into());
        }
        world.happen(Event::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.world.lock().happen(Event::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        self.world.lock().happen(Event::SyncNames);
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Simulated,
    file: usize,
    lock: bool,
    mode: Mode,
}

impl SimulatedFile {
    /// With direct I/O a device takes whole sectors alone.
    fn check(&self, offset: u64, length: usize) -> io::Result<()> {
        let is_whole = offset.is_multiple_of(SECTOR as u64) && length.is_multiple_of(SECTOR);
        match self.mode {
            Mode::Direct if !is_whole => Err(Errno::INVAL.into()),
            Mode::Direct | Mode::Buffered => Ok(()),
        }
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        if self.lock {
            self.disk.world.lock().locked.remove(&self.file);
        }
    }
}

impl Device for SimulatedFile {
    fn read_some(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.check(offset, buffer.len())?;
        Ok(self
            .disk
            .world
            .lock()
            .now
            .file(self.file)
            .read(buffer, offset))
    }

    fn write_some(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.check(offset, bytes.len())?;
        let event = Event::Write(self.file, offset, bytes.into());
        self.disk.world.lock().happen(event);
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.world.lock().happen(Event::Sync(self.file));
        Ok(())
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        if self.length()? != bytes {
            self.disk
                .world
                .lock()
                .happen(Event::Resize(self.file, bytes));
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.world.lock().now.file(self.file).length)
    }

    fn mode(&self) -> Mode {
        self.mode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: &Simulated, name: &str) -> Option<Vec<u8>> {
        let path = Path::new(name);
        disk.exists(path).unwrap().then(|| {
            let device = disk.open(path).unwrap();
            let mut bytes = vec![0; usize::try_from(device.length().unwrap()).unwrap()];
            device.read_at(&mut bytes, 0).unwrap();
            bytes
        })
    }

    /// What is left in a file of two sectors after a loss at each crash point.
    fn left(disk: &Simulated, loss: Loss) -> Vec<Option<String>> {
        let text = |bytes: Vec<u8>| -> String {
            bytes.into_iter().step_by(SECTOR).map(char::from).collect()
        };
        let points = disk.crash_points();
        points
            .iter()
            .map(|point| read(&point.disk(loss), "f").map(text))
            .collect()
    }

    #[test]
    fn what_was_synced_is_never_lost_and_the_rest_as_said() {
        let disk = Simulated::default();
        disk.record();
        let file = disk.open("f".as_ref()).unwrap();
        file.write_at(&[b'a'; 2 * SECTOR], 0).unwrap();
        file.sync().unwrap();
        file.write_at(&[b'b'; SECTOR], 0).unwrap();
        file.write_at(&[b'c'; SECTOR], SECTOR as u64).unwrap();
        let check = |loss, expected: [Option<&str>; 6]| {
            assert_eq!(
                left(&disk, loss),
                expected.map(|text| text.map(str::to_owned)),
                "{loss:?}"
            );
        };
        let (aa, ba, bc, ac) = (Some("aa"), Some("ba"), Some("bc"), Some("ac"));
        check(Loss::Nothing, [None, Some(""), aa, aa, ba, bc]);
        check(Loss::All, [None, None, None, aa, aa, aa]);
        check(Loss::Reordered, [None, None, None, aa, ba, ac]);
        let seen: BTreeSet<_> = (0..50)
            .map(|seed| left(&disk, Loss::Some(seed))[5].clone())
            .collect();
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn a_rename_counts_when_the_directory_was_synced() {
        let disk = Simulated::default();
        let old = disk.open("f".as_ref()).unwrap();
        old.write_at(b"o", 0).unwrap();
        old.sync().unwrap();
        disk.record();
        let new = disk.open("g".as_ref()).unwrap();
        new.write_at(b"n", 0).unwrap();
        new.sync().unwrap();
        disk.rename("g".as_ref(), "f".as_ref()).unwrap();
        disk.mark(7);
        disk.sync_directory("".as_ref()).unwrap();
        let points = disk.crash_points();
        let lost: Vec<_> = points
            .iter()
            .map(|point| read(&point.disk(Loss::All), "f").unwrap())
            .collect();
        assert_eq!(lost, [b"o", b"o", b"o", b"o", b"o", b"n"]);
        let marks: Vec<_> = points.iter().map(|point| point.marks.len()).collect();
        assert_eq!(marks, [0, 0, 0, 0, 0, 1]);
    }
}
