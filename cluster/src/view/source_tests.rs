//! What each source may change, and until when a lease lets the edge send.

use super::tests::{doc, fenced, moved, word_of, word_of_change};
use super::*;

/// What happens to a view at a moment, in milliseconds.
enum Step {
    Read {
        sent: u64,
        shows: Document,
    },
    Watch(Document),
    Beside(Document),
    BesideUnreadable,
    BesideGone,
    Guard {
        side: Side,
        epoch: u64,
        sent: u64,
        ttl_ms: u64,
    },
    Deleted(u64),
    Nothing,
}

use Step::{Beside, BesideGone, BesideUnreadable, Deleted, Guard, Nothing, Read, Watch};

fn leased(epoch: u64, what: &str) -> Document {
    fenced(Fencing::Lease, doc(epoch, what))
}

/// The same, and side a has a guard.
fn leased_with_guard(epoch: u64, what: &str) -> Document {
    let mut document = leased(epoch, what);
    document.a.guard = Some(([192, 0, 2, 1], 8443).into());
    document
}

/// Runs the steps, each at its moment, and compares the answer after each: `a7 until 3500` is side a, live at epoch 7 until then.
fn check(steps: Vec<(u64, Step, &str)>) {
    let mut view = View::default();
    for (at, step, answer) in steps {
        let now = Instant(at);
        match step {
            Read { sent, shows } => {
                let sent = Instant(sent);
                view.observe(shows, Source::Read { sent }, now);
            }
            Watch(document) => drop(view.observe(document, Source::Watch, now)),
            Beside(document) => drop(view.observe(document, Source::Beside, now)),
            BesideUnreadable => view.beside_is_unreadable(),
            BesideGone => view.beside_is_gone(),
            Guard {
                side,
                epoch,
                sent,
                ttl_ms,
            } => drop(view.guarded(side, Epoch(epoch), Instant(sent), ttl_ms)),
            Deleted(epoch) => {
                view.deleted(Epoch(epoch));
            }
            Nothing => {}
        }
        assert_eq!(word(&view.mastership(now)), answer, "at {at}");
    }
}

fn word(mastership: &Mastership) -> String {
    match mastership {
        Mastership::Live {
            side,
            epoch,
            until: Some(until),
            ..
        } => format!("{side}{} until {}", epoch.0, until.0),
        other => word_of(other),
    }
}

#[test]
fn a_lease_is_renewed_by_reads_alone_and_counts_from_their_sending() {
    let read = |sent, epoch, what| Read {
        sent,
        shows: leased(epoch, what),
    };
    check(vec![
        (900, read(500, 1, "a"), "a1 until 3500"),
        (3_400, Watch(leased(1, "a")), "a1 until 3500"),
        (3_499, Nothing, "a1 until 3500"),
        (3_500, Nothing, "lease-expired"),
        (9_000, read(4_000, 1, "a"), "lease-expired"),
        (9_100, read(9_000, 1, "a"), "a1 until 12000"),
    ]);
}

#[test]
fn a_watch_moves_the_master_within_the_lease_of_the_last_read() {
    check(vec![
        (0, Watch(leased(1, "a")), "no-lease"),
        (
            200,
            Read {
                sent: 100,
                shows: leased(1, "a"),
            },
            "a1 until 3100",
        ),
        (300, Watch(leased(2, "switching")), "switching2 10000"),
        (400, Watch(leased(3, "b")), "b3 until 3100"),
        // A reply that was long under way shows an older state: it renews nothing, and moves nothing back.
        (
            2_000,
            Read {
                sent: 250,
                shows: leased(1, "a"),
            },
            "b3 until 3100",
        ),
    ]);
}

#[test]
fn the_guard_of_the_live_side_vouches_without_any_store() {
    let guard = |side, epoch, sent| Guard {
        side,
        epoch,
        sent,
        ttl_ms: 1_000,
    };
    check(vec![
        (0, Watch(leased_with_guard(1, "a")), "no-lease"),
        (100, guard(Side::A, 1, 50), "a1 until 1050"),
        (200, guard(Side::B, 1, 150), "a1 until 1050"),
        (300, guard(Side::A, 2, 250), "a1 until 1050"),
        (400, guard(Side::A, 1, 350), "a1 until 1350"),
        (500, guard(Side::A, 1, 300), "a1 until 1350"),
        (1_350, Nothing, "lease-expired"),
        (1_400, Watch(leased_with_guard(2, "b")), "no-lease"),
        (1_500, guard(Side::B, 2, 1_450), "no-lease"),
    ]);
}

#[test]
fn a_guard_that_no_document_names_vouches_for_nothing_and_none_for_longer_than_the_lease() {
    let guard = |ttl_ms| Guard {
        side: Side::A,
        epoch: 1,
        sent: 50,
        ttl_ms,
    };
    check(vec![
        (0, guard(1_000), "unknown"),
        (1, Watch(leased(1, "a")), "no-lease"),
        (100, guard(1_000), "no-lease"),
    ]);
    check(vec![
        (0, Watch(leased_with_guard(1, "a")), "no-lease"),
        (100, guard(u64::MAX), "a1 until 3050"),
    ]);
}

#[test]
fn a_source_beside_the_store_stops_the_edge_and_never_moves_it() {
    check(vec![
        (0, Watch(doc(4, "a")), "a4"),
        (1, Beside(doc(3, "b")), "a4"),
        (2, Beside(doc(6, "a")), "switching6 10000"),
        (3, Watch(doc(5, "switching")), "switching6 10000"),
        (4, Watch(doc(6, "b")), "switching6 10000"),
        (5, Beside(doc(6, "b")), "b6"),
        (6, Beside(doc(9, "a")), "switching9 10000"),
        (7, Beside(doc(6, "b")), "b6"),
        (8, Beside(doc(6, "switching")), "switching6 10000"),
        (9, Watch(doc(7, "b")), "b7"),
    ]);
}

#[test]
fn only_a_deletion_of_the_highest_epoch_lets_a_cluster_begin_anew() {
    check(vec![
        (0, Watch(doc(7, "a")), "a7"),
        (1, Deleted(6), "a7"),
        (2, Watch(doc(1, "b")), "a7"),
        (3, Deleted(7), "unknown"),
        (4, Watch(doc(1, "b")), "b1"),
    ]);
}

#[test]
fn a_source_beside_the_store_stops_the_next_life_of_a_cluster_too() {
    check(vec![
        (0, Watch(doc(7, "a")), "a7"),
        (1, Beside(doc(9, "drained")), "switching9 10000"),
        (2, Deleted(7), "switching9 0"),
        (3, Watch(doc(1, "b")), "switching9 10000"),
    ]);
}

#[test]
fn what_was_fetched_is_admitted_only_in_its_own_epoch() {
    let mut view = View::default();
    let mut watch = |document| word_of_change(&view.observe(document, Source::Watch, Instant(0)));
    assert_eq!(watch(doc(4, "a")), "adopted 4");
    assert_eq!(watch(moved(1, doc(4, "a"))), "addresses");
    assert!(view.admits(Epoch(4)));
    let mut watch = |document| word_of_change(&view.observe(document, Source::Watch, Instant(0)));
    assert_eq!(watch(doc(5, "switching")), "adopted 5");
    assert!(!view.admits(Epoch(4)));
    view.observe(doc(5, "a"), Source::Watch, Instant(0));
    assert!(!view.admits(Epoch(5)), "a conflict");
}

#[test]
fn a_store_that_went_back_to_a_lower_epoch_renews_no_lease() {
    let mut view = View::default();
    let read = |view: &mut View, sent: u64, epoch, what| {
        let sent = Instant(sent);
        view.observe(leased(epoch, what), Source::Read { sent }, sent);
    };
    read(&mut view, 1_000, 42, "b");
    read(&mut view, 2_000, 40, "a");
    view.confirmed(Instant(3_000));
    assert_eq!(word(&view.mastership(Instant(3_000))), "b42 until 4000");
    read(&mut view, 3_500, 42, "b");
    view.confirmed(Instant(3_600));
    assert_eq!(word(&view.mastership(Instant(4_000))), "b42 until 6600");
}

#[test]
fn an_authority_that_went_back_is_told_from_one_that_was_overtaken() {
    let check = |source: Source, behind: Option<u64>| {
        let mut view = View::default();
        view.observe(doc(9, "a"), Source::Watch, Instant(1_000));
        view.observe(doc(7, "b"), source, Instant(1_200));
        assert_eq!(view.behind(), behind.map(Epoch), "{source:?}");
        assert_eq!(
            word_of(&view.mastership(Instant(1_200))),
            "a9",
            "{source:?}"
        );
        view.observe(doc(9, "a"), Source::Watch, Instant(1_300));
        assert_eq!(view.behind(), None);
    };
    check(
        Source::Read {
            sent: Instant(1_100),
        },
        Some(7),
    );
    check(Source::Read { sent: Instant(900) }, None);
    check(Source::Watch, None);
    check(Source::Directory, Some(7));
    let mut view = View::default();
    view.observe(doc(9, "a"), Source::Watch, Instant(0));
    let mut view = View::resumed(view.record().expect("an epoch"));
    view.observe(doc(7, "b"), Source::Read { sent: Instant(5) }, Instant(9));
    assert_eq!(view.behind(), Some(Epoch(7)), "after a restart");
}

#[test]
fn what_stands_beside_and_cannot_be_read_says_what_it_said_before_and_else_may_say_anything() {
    check(vec![
        (0, BesideUnreadable, "unknown"),
        (1, Watch(doc(4, "a")), "switching4 10000"),
        (2, Beside(doc(4, "a")), "a4"),
        (3, BesideUnreadable, "a4"),
        (4, Beside(doc(5, "a")), "switching5 10000"),
        (5, BesideUnreadable, "switching5 10000"),
        (6, BesideGone, "a4"),
        (7, BesideUnreadable, "switching4 10000"),
        (8, BesideGone, "a4"),
    ]);
}
