//! The journal across sessions, and on files that are torn, damaged or fail to be written.

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::device::RealFiles;
use crate::device::faulty::{Fault, FaultyFiles};
use crate::key::KeyHasher;
use crate::purge::watermarks::{Facts, Target, Verdict};
use crate::test_support::directory;

/// A journal with what it told, as its thread keeps it.
struct Kept {
    journal: Journal,
    ledger: Mutex<Ledger>,
    marks: Watermarks,
}

impl Kept {
    fn open(path: &Path) -> Self {
        Self::open_on(path, Arc::new(RealFiles)).unwrap()
    }

    fn open_on(path: &Path, files: Arc<dyn Opener>) -> io::Result<Self> {
        let marks = Watermarks::default();
        let (journal, ledger) = Journal::open(path, files, &marks)?;
        Ok(Self {
            journal,
            ledger: Mutex::new(ledger),
            marks,
        })
    }

    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let tick = Tick(self.ledger.lock().tick.0 + 1);
        self.journal
            .append(records, tick, &self.ledger, &self.marks)?;
        let mut ledger = self.ledger.lock();
        for record in records {
            if let Record::Purge(target, mode) = *record {
                self.marks.apply(target, mode, tick);
                ledger.sequence += 1;
            }
            if let Record::Floor(floor) = *record {
                self.marks.forget(floor);
            }
            ledger.apply(*record);
        }
        ledger.tick = tick;
        Ok(())
    }

    /// Whether a URL was purged at `tick` or later.
    fn is_purged(&self, url: u64, tick: u64) -> bool {
        let facts = Facts {
            partition: Partition(1),
            url: url.into(),
            path: b"/",
            tags: &[],
        };
        let keys = KeyHasher::new(self.journal.secret());
        self.marks.judge(&facts, Tick(tick), &keys) == Verdict::Dead
    }
}

fn url(n: u64) -> Record {
    Record::Purge(Target::Url(Partition(1), n.into()), Mode::Hard)
}

/// Groups of one to three purges; group `n` has the tick `n`, URLs count from 1.
fn filled(path: &Path, groups: u64) -> u64 {
    let mut kept = Kept::open(path);
    let mut last = 0;
    for group in 0..groups {
        let records: Vec<Record> = (0..=group % 3)
            .map(|_| {
                last += 1;
                url(last)
            })
            .collect();
        kept.append(&records).unwrap();
    }
    last
}

#[test]
fn every_session_knows_the_purges_of_all_before() {
    let place = directory();
    for session in 0..5_u64 {
        let mut kept = Kept::open(place.path());
        assert_eq!(kept.ledger.lock().sequence, session * 3);
        for n in 0..session * 3 {
            assert!(kept.is_purged(n, n + 1), "{session} {n}");
            assert!(
                !kept.is_purged(n, n + 2),
                "{session} {n}: only what is as old"
            );
        }
        for n in session * 3..session * 3 + 3 {
            kept.append(&[url(n)]).unwrap();
        }
    }
}

#[test]
fn a_full_journal_is_rewritten_and_loses_nothing() {
    let place = directory();
    let mut kept = Kept::open(place.path());
    kept.append(&[Record::Partition(77, Partition(5)), Record::Expelled(9)])
        .unwrap();
    kept.append(&[Record::Session {
        number: 4,
        ordinal: 2,
    }])
    .unwrap();
    let identity = kept.journal.identity();
    let before = kept.ledger.lock().tick.0;
    // The same few URLs again and again: three times the slots that there are.
    let groups = SLOTS_MIN * 3 / 1000;
    for group in 0..groups {
        let records: Vec<Record> = (0..1000).map(|n| url(n + group % 2)).collect();
        kept.append(&records).unwrap();
    }
    let length = kept.journal.device.length().unwrap();
    assert_eq!(length, 2 * half_bytes(SLOTS_MIN), "it does not grow");
    drop(kept);
    let kept = Kept::open(place.path());
    let ledger = kept.ledger.lock().clone();
    assert_eq!((ledger.session, ledger.sessions), (4, 2));
    assert_eq!(
        (ledger.partitions[&77], ledger.partition_max),
        (Partition(5), 5)
    );
    assert_eq!(ledger.expelled, [9]);
    assert_eq!(ledger.sequence, groups * 1000);
    assert_eq!(kept.journal.identity(), identity);
    for n in 1..999 {
        assert!(kept.is_purged(n, before + groups) && !kept.is_purged(n, before + groups + 1));
    }
}

#[test]
fn marks_that_were_dropped_stay_so_and_push_none_out_at_the_next_start() {
    let place = directory();
    let mut kept = Kept::open(place.path());
    // More than a partition may have at once: dropped in time, none of the younger ones melts.
    for group in 0..20_u64 {
        let records: Vec<Record> = (0..1000).map(|n| url(group * 1000 + n)).collect();
        kept.append(&records).unwrap();
        if group == 11 {
            kept.append(&[Record::Floor(Tick(10))]).unwrap();
        }
    }
    for session in 0..3 {
        assert!(kept.is_purged(999_999, 10), "{session}: whatever is as old");
        assert!(!kept.is_purged(999_999, 11), "{session}");
        for group in 10..20 {
            let tick = group + 1 + u64::from(group > 11);
            let n = group * 1000;
            assert!(kept.is_purged(n, tick), "{session} {n}");
            assert!(!kept.is_purged(n, tick + 1), "{session} {n}");
        }
        assert_eq!(kept.marks.fine(), 10_000, "{session}");
        drop(kept);
        kept = Kept::open(place.path());
        if session == 1 {
            kept.journal.damaged = true;
            kept.append(&[Record::Expelled(1)]).unwrap();
        }
    }
}

/// Damages the slots from `first` on, and checks what the next session makes of it.
fn check_damage(groups: u64, damaged: std::ops::Range<u64>, expected: Option<u64>) {
    let place = directory();
    let all = filled(place.path(), groups);
    let identity = Kept::open(place.path()).journal.identity();
    let file = RealFiles.open(&place.path().join(FILE)).unwrap();
    for slot in damaged.clone() {
        for half in [0, half_bytes(SLOTS_MIN)] {
            let at = half + offset_of(slot) + 20;
            file.write_at(&[0xff; 8], at).unwrap();
        }
    }
    drop(file);
    let mut kept = Kept::open(place.path());
    let is_same = kept.journal.identity() == identity;
    assert_eq!(is_same, expected.is_some(), "{damaged:?} of {all}");
    for n in 1..=expected.unwrap_or(0) {
        assert!(kept.is_purged(n, 1), "{damaged:?} of {all}: {n}");
    }
    // It goes on, and the next session finds that, too.
    kept.append(&[url(1_000)]).unwrap();
    drop(kept);
    let kept = Kept::open(place.path());
    assert!(kept.is_purged(1_000, 1), "{damaged:?} of {all}");
    for n in 1..=expected.unwrap_or(0) {
        assert!(kept.is_purged(n, 1), "{damaged:?} of {all}: {n}, later");
    }
}

#[test]
fn a_torn_last_group_is_cut_off_and_a_hole_before_a_later_group_empties_the_store() {
    // Groups of 1, 2, 3, 1, 2, 3 purges: slots 0 | 1 2 | 3 4 5 | 6 | 7 8 | 9 10 11.
    check_damage(6, 11..12, Some(9));
    check_damage(6, 10..11, Some(9));
    check_damage(6, 9..10, Some(9));
    check_damage(6, 9..12, Some(9));
    check_damage(6, 8..12, Some(7));
    check_damage(6, 8..9, None);
    check_damage(6, 0..1, None);
    check_damage(6, 3..4, None);
    check_damage(1, 0..1, Some(0));
}

/// Changes one half alone: nothing is lost, and the other half may go next.
#[test]
fn either_half_alone_knows_every_purge() {
    for half in [0, half_bytes(SLOTS_MIN)] {
        let place = directory();
        let all = filled(place.path(), 6);
        let identity = Kept::open(place.path()).journal.identity();
        for (bad, other) in [(half, 0), (half_bytes(SLOTS_MIN) - half, 1)] {
            let file = RealFiles.open(&place.path().join(FILE)).unwrap();
            let bytes = vec![0xff; usize::try_from(offset_of(all)).unwrap()];
            file.write_at(&bytes, bad).unwrap();
            drop(file);
            let kept = Kept::open(place.path());
            assert_eq!(kept.journal.identity(), identity, "{half} {other}");
            for n in 1..=all {
                assert!(kept.is_purged(n, 1), "{half} {other}: {n}");
            }
        }
    }
}

#[test]
fn an_unknown_version_begins_anew_and_keeps_the_old_file() {
    let place = directory();
    filled(place.path(), 4);
    let identity = Kept::open(place.path()).journal.identity();
    let file = RealFiles.open(&place.path().join(FILE)).unwrap();
    for half in [0, half_bytes(SLOTS_MIN)] {
        file.write_at(&[9], half + 8).unwrap();
    }
    drop(file);
    let kept = Kept::open(place.path());
    assert_ne!(kept.journal.identity(), identity);
    assert!(place.path().join(UNREADABLE_FILE).exists());
}

#[test]
fn a_group_that_failed_does_not_count_and_the_next_one_does() {
    for fault in [Fault::Error, Fault::Half] {
        for from in 0..14 {
            let place = directory();
            let files = Arc::new(FaultyFiles::new(fault, from, 1));
            let Ok(mut kept) = Kept::open_on(place.path(), files) else {
                continue;
            };
            let answered: Vec<u64> = (1..6).filter(|&n| kept.append(&[url(n)]).is_ok()).collect();
            assert!(answered.len() >= 4, "{fault:?} {from}: {answered:?}");
            drop(kept);
            let kept = Kept::open(place.path());
            for n in answered {
                assert!(kept.is_purged(n, 1), "{fault:?} {from}: {n}");
            }
        }
    }
}

#[test]
fn a_journal_cut_or_changed_anywhere_opens() {
    let original = directory();
    let all = filled(original.path(), 50);
    let bytes = std::fs::read(original.path().join(FILE)).unwrap();
    let used = HEADER_BYTES + usize::try_from(all).unwrap() * SLOT_BYTES;
    proptest!(ProptestConfig::with_cases(64), |(cut in 0..used + 100, at in 0..used, to: u8)| {
        let place = directory();
        let mut changed = bytes[..used + 200].to_vec();
        changed[at] = to;
        changed.truncate(cut.max(at + 1));
        std::fs::write(place.path().join(FILE), &changed).unwrap();
        let mut kept = Kept::open(place.path());
        kept.append(&[url(1_000)]).unwrap();
        drop(kept);
        prop_assert!(Kept::open(place.path()).is_purged(1_000, 1));
    });
}
