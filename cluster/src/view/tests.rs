//! Sequences of documents, one table; and over random ones, restarts included, that invariant 1 holds.

use std::collections::HashMap;

use jet9_config::Side;
use proptest::prelude::*;

use super::*;
use crate::document::{Ended, SideFacts};

/// A document in one word each: `epoch`, what the cluster does (`a`, `b`, `switching`, `down`, `drained`).
pub(super) fn doc(epoch: u64, what: &str) -> Document {
    let side = |octet: u8| SideFacts {
        addrs: vec![([192, 0, 2, octet], 80).into()],
        ..SideFacts::default()
    };
    Document {
        cluster: ClusterId::parse("c1").expect("an id"),
        epoch: Epoch(epoch),
        phase: match what {
            "a" => Phase::Serving { master: Side::A },
            "b" => Phase::Serving { master: Side::B },
            "switching" => Phase::Switching,
            "down" => Phase::Down,
            _ => Phase::Drained,
        },
        a: side(1),
        b: side(2),
        fencing: Fencing::Confirmed,
        edge_lease_ms: 3_000,
        hold_ms: 10_000,
        incarnation: None,
        reason: None,
        prev_master: None,
        prev_ended: None,
        data_loss_from_unix_ms: None,
        publisher_seq: None,
    }
}

fn of_life(name: &str, document: Document) -> Document {
    Document {
        incarnation: Some(name.to_owned()),
        ..document
    }
}

pub(super) fn fenced(fencing: Fencing, document: Document) -> Document {
    Document {
        fencing,
        ..document
    }
}

pub(super) fn moved(seq: u64, document: Document) -> Document {
    let a = SideFacts {
        addrs: vec![([192, 0, 2, 11], 80).into()],
        ..SideFacts::default()
    };
    Document {
        a,
        publisher_seq: Some(seq),
        ..document
    }
}

/// What happens to a view, and the word for what came of it.
enum Step {
    Shows(Box<Document>, &'static str),
    Unreadable,
    Restarts,
    RestartsWithTheNumberAlone,
    IsForgotten,
}

use Step::{IsForgotten, Restarts, RestartsWithTheNumberAlone, Unreadable};

fn shows(document: Document, change: &'static str) -> Step {
    Step::Shows(Box::new(document), change)
}

/// Runs the steps and compares the answer after each: `a7` is side a live at epoch 7.
fn check(steps: Vec<(Step, &str)>) {
    let mut view = View::default();
    for (index, (step, answer)) in steps.into_iter().enumerate() {
        let now = Instant(1_000 * index as u64);
        match step {
            Step::Shows(document, change) => assert_eq!(
                word_of_change(&view.observe(*document, Source::Directory, now)),
                change,
                "step {index}"
            ),
            Unreadable => view.unreadable(&error(), now),
            Restarts => view = restart(&view),
            RestartsWithTheNumberAlone => view = View::restored(view.highest()),
            IsForgotten => view.forget(),
        }
        assert_eq!(word_of(&view.mastership(now)), answer, "step {index}");
    }
}

fn error() -> DocumentError {
    DocumentError {
        pointer: "/v".to_owned(),
        message: "unknown".to_owned(),
    }
}

/// Through the bytes on disk, as the edge does it.
fn restart(view: &View) -> View {
    match view.record() {
        Some(record) => {
            View::resumed(Highest::parse(record.to_json().as_bytes()).expect("a record"))
        }
        None => View::default(),
    }
}

pub(super) fn word_of_change(change: &Change) -> String {
    match change {
        Change::Adopted(epoch) => format!("adopted {}", epoch.0),
        Change::Addresses => "addresses".to_owned(),
        Change::Same => "same".to_owned(),
        Change::Older { offered, highest } => format!("older {} < {}", offered.0, highest.0),
        Change::Conflict(epoch) => format!("conflict {}", epoch.0),
        Change::NotNewer(epoch) => format!("not newer {}", epoch.0),
        Change::OtherIncarnation { offered, known } => format!("{offered} is not {known}"),
        Change::OtherCluster(cluster) => format!("about {cluster}"),
        Change::Contradicted(epoch) => format!("contradicted {}", epoch.0),
    }
}

pub(super) fn word_of(mastership: &Mastership) -> String {
    match mastership {
        Mastership::Live {
            side,
            epoch,
            addrs,
            until: None,
            ..
        } => {
            assert!(!addrs.is_empty());
            format!("{side}{}", epoch.0)
        }
        Mastership::Live { until: Some(_), .. } => "leased".to_owned(),
        Mastership::Switching { epoch, hold_ms } => format!("switching{} {hold_ms}", epoch.0),
        Mastership::Doubtful(doubt) => doubt.as_str().to_owned(),
        Mastership::Vacant {
            epoch,
            drained: true,
        } => format!("drained{}", epoch.0),
        Mastership::Vacant {
            epoch,
            drained: false,
        } => format!("down{}", epoch.0),
    }
}

#[test]
fn a_planned_switch_is_followed_epoch_by_epoch() {
    check(vec![
        (shows(doc(7, "a"), "adopted 7"), "a7"),
        (shows(doc(7, "a"), "same"), "a7"),
        (shows(doc(8, "switching"), "adopted 8"), "switching8 10000"),
        (shows(doc(9, "b"), "adopted 9"), "b9"),
        (shows(doc(10, "down"), "adopted 10"), "down10"),
        (shows(doc(20, "drained"), "adopted 20"), "drained20"),
    ]);
}

#[test]
fn an_older_epoch_is_refused_and_what_is_in_force_stays() {
    check(vec![
        (shows(doc(9, "b"), "adopted 9"), "b9"),
        (shows(doc(8, "a"), "older 8 < 9"), "b9"),
        (shows(doc(9, "b"), "same"), "b9"),
    ]);
}

#[test]
fn two_masters_of_one_epoch_are_a_conflict_until_a_higher_epoch() {
    for other in ["b", "switching", "down", "drained"] {
        check(vec![
            (shows(doc(7, "a"), "adopted 7"), "a7"),
            (shows(doc(7, other), "conflict 7"), "conflict"),
            (shows(doc(7, "a"), "same"), "conflict"),
            (shows(doc(6, "a"), "older 6 < 7"), "conflict"),
            (Unreadable, "conflict"),
            (Restarts, "conflict"),
            (shows(doc(7, "a"), "same"), "conflict"),
            (shows(doc(8, "b"), "adopted 8"), "b8"),
        ]);
    }
}

#[test]
fn a_higher_publisher_seq_excuses_no_other_master() {
    check(vec![
        (shows(moved(1, doc(7, "a")), "adopted 7"), "a7"),
        (shows(moved(2, doc(7, "b")), "conflict 7"), "conflict"),
    ]);
}

#[test]
fn addresses_move_within_an_epoch_only_by_a_higher_seq() {
    let mut view = View::default();
    let moved_again = || Document {
        a: SideFacts {
            addrs: vec![([192, 0, 2, 12], 80).into()],
            ..SideFacts::default()
        },
        ..doc(7, "a")
    };
    for (document, change, octet) in [
        (doc(7, "a"), "adopted 7", 1),
        (
            Document {
                publisher_seq: None,
                ..moved(0, doc(7, "a"))
            },
            "not newer 7",
            1,
        ),
        (moved(5, doc(7, "a")), "addresses", 11),
        (moved(4, doc(7, "a")), "same", 11),
        (
            Document {
                publisher_seq: Some(5),
                ..moved_again()
            },
            "not newer 7",
            11,
        ),
        (moved(6, doc(7, "a")), "same", 11),
        (
            Document {
                publisher_seq: Some(6),
                ..moved_again()
            },
            "not newer 7",
            11,
        ),
        (
            Document {
                publisher_seq: Some(7),
                ..moved_again()
            },
            "addresses",
            12,
        ),
        (moved(1, doc(8, "a")), "adopted 8", 11),
    ] {
        assert_eq!(
            word_of_change(&view.observe(document, Source::Directory, Instant(0))),
            change
        );
        let Mastership::Live { addrs, .. } = view.mastership(Instant(0)) else {
            panic!("live")
        };
        assert_eq!(addrs, [([192, 0, 2, octet], 80).into()]);
    }
}

#[test]
fn an_unreadable_document_keeps_what_is_in_force_and_is_remembered_until_a_readable_one() {
    check(vec![
        (Unreadable, "unknown"),
        (shows(doc(7, "a"), "adopted 7"), "a7"),
        (Unreadable, "a7"),
        (Unreadable, "a7"),
        (shows(doc(8, "b"), "adopted 8"), "b8"),
    ]);
    let mut view = View::default();
    view.unreadable(&error(), Instant(5));
    view.unreadable(&error(), Instant(9));
    assert_eq!(view.unreadable_since(), Some((&error(), Instant(5))));
    view.observe(doc(1, "a"), Source::Directory, Instant(10));
    assert_eq!(view.unreadable_since(), None);
}

#[test]
fn a_directory_gives_no_lease_but_shows_the_other_phases() {
    check(vec![
        (
            shows(fenced(Fencing::Lease, doc(7, "a")), "adopted 7"),
            "no-lease",
        ),
        (
            shows(fenced(Fencing::Lease, doc(8, "switching")), "adopted 8"),
            "switching8 10000",
        ),
        (
            shows(fenced(Fencing::Lease, doc(9, "down")), "adopted 9"),
            "down9",
        ),
        (
            shows(fenced(Fencing::None, doc(10, "b")), "adopted 10"),
            "b10",
        ),
    ]);
}

#[test]
fn confirmed_and_none_hold_without_limit() {
    for fencing in [Fencing::Confirmed, Fencing::None] {
        let mut view = View::default();
        view.observe(fenced(fencing, doc(7, "a")), Source::Directory, Instant(0));
        assert_eq!(word_of(&view.mastership(Instant(u64::MAX))), "a7");
    }
}

#[test]
fn a_restart_forgets_no_epoch() {
    check(vec![
        (shows(doc(9, "b"), "adopted 9"), "b9"),
        (Restarts, "unknown"),
        (shows(doc(8, "a"), "older 8 < 9"), "old-epoch"),
        (shows(doc(9, "b"), "adopted 9"), "b9"),
        (Restarts, "unknown"),
        (shows(doc(9, "a"), "conflict 9"), "conflict"),
        (Restarts, "conflict"),
        (shows(doc(10, "a"), "adopted 10"), "a10"),
        (RestartsWithTheNumberAlone, "unknown"),
        (shows(doc(9, "b"), "older 9 < 10"), "old-epoch"),
        (shows(doc(10, "a"), "adopted 10"), "a10"),
    ]);
}

#[test]
fn another_life_is_refused_until_the_first_is_forgotten() {
    check(vec![
        (shows(doc(7, "a"), "adopted 7"), "a7"),
        (shows(of_life("one", doc(8, "a")), "adopted 8"), "a8"),
        (
            shows(of_life("two", doc(1, "b")), "two is not one"),
            "other-incarnation",
        ),
        (
            shows(of_life("two", doc(99, "b")), "two is not one"),
            "other-incarnation",
        ),
        (
            shows(of_life("one", doc(7, "b")), "older 7 < 8"),
            "other-incarnation",
        ),
        (Restarts, "unknown"),
        (
            shows(of_life("two", doc(99, "b")), "two is not one"),
            "other-incarnation",
        ),
        (shows(of_life("one", doc(8, "a")), "adopted 8"), "a8"),
        (shows(doc(9, "b"), "adopted 9"), "b9"),
        (
            shows(of_life("two", doc(10, "a")), "two is not one"),
            "other-incarnation",
        ),
        (IsForgotten, "unknown"),
        (shows(of_life("two", doc(1, "b")), "adopted 1"), "b1"),
    ]);
}

#[test]
fn a_document_about_another_cluster_changes_nothing() {
    let other = Document {
        cluster: ClusterId::parse("c2").expect("an id"),
        ..doc(8, "b")
    };
    check(vec![
        (shows(doc(7, "a"), "adopted 7"), "a7"),
        (shows(other.clone(), "about c2"), "a7"),
        (IsForgotten, "unknown"),
        (shows(other.clone(), "about c2"), "unknown"),
    ]);
    let mut view = View::new(ClusterId::parse("c1").expect("an id"));
    assert_eq!(view.record(), None);
    assert_eq!(
        view.observe(other, Source::Directory, Instant(0)),
        Change::OtherCluster(ClusterId::parse("c2").expect("an id"))
    );
}

#[test]
fn a_hold_is_counted_from_the_adoption() {
    let mut view = View::default();
    view.observe(doc(7, "switching"), Source::Directory, Instant(40));
    view.observe(doc(7, "switching"), Source::Directory, Instant(90));
    assert_eq!(view.since(), Some(Instant(40)));
}

/// `documents` are adopted one each `step_ms`; does the next switching hold?
fn check_flapping(documents: &[Document], step_ms: u64, holds: bool) {
    let mut view = View::default();
    let mut now = Instant(0);
    for document in documents {
        now = Instant(now.0 + step_ms);
        view.observe(document.clone(), Source::Directory, now);
    }
    view.observe(doc(1_000, "switching"), Source::Directory, now);
    assert_eq!(
        view.mastership(now),
        Mastership::Switching {
            epoch: Epoch(1_000),
            hold_ms: if holds { 10_000 } else { 0 }
        }
    );
    assert_eq!(view.is_flapping(now), !holds);
    let later = Instant(now.0 + WINDOW_MS);
    assert!(!view.is_flapping(later));
}

#[test]
fn holding_stops_when_masters_change_unproved_more_than_the_limit_in_a_minute() {
    let switches = |count: u64| {
        (1..=count + 1)
            .map(|epoch| doc(epoch, "a"))
            .collect::<Vec<_>>()
    };
    check_flapping(&switches(6), 100, true);
    check_flapping(&switches(7), 100, false);
    check_flapping(&switches(7), 10_000, true);
    check_flapping(&switches(30), 8_000, false);
    let with = |change: fn(&mut Document)| {
        let mut documents = switches(30);
        documents.iter_mut().for_each(change);
        documents
    };
    check_flapping(
        &with(|document| document.prev_ended = Some(Ended::Demoted)),
        100,
        true,
    );
    check_flapping(
        &with(|document| document.prev_ended = Some(Ended::Fenced)),
        100,
        true,
    );
    check_flapping(
        &with(|document| document.prev_ended = Some(Ended::Unconfirmed)),
        100,
        false,
    );
    check_flapping(
        &with(|document| document.reason = Some("operator".to_owned())),
        100,
        true,
    );
    check_flapping(
        &with(|document| document.reason = Some("crash".to_owned())),
        100,
        false,
    );
}

#[test]
fn every_epoch_is_followed_while_flapping() {
    let mut view = View::default().with_flaps_max(0);
    for epoch in 1..50 {
        let what = if epoch % 2 == 0 { "a" } else { "b" };
        view.observe(doc(epoch, what), Source::Directory, Instant(epoch));
        assert_eq!(
            word_of(&view.mastership(Instant(epoch))),
            format!("{what}{epoch}")
        );
    }
}

fn any_document() -> impl Strategy<Value = Document> {
    let what = prop::sample::select(vec!["a", "b", "a", "b", "switching", "down", "drained"]);
    let fencing = prop::sample::select(vec![Fencing::Confirmed, Fencing::None, Fencing::Lease]);
    let life = prop::sample::select(vec![None, None, Some("one"), Some("two")]);
    (1..6_u64, what, fencing, life, prop::option::of(0..4_u64)).prop_map(
        |(epoch, what, fencing, life, seq)| Document {
            incarnation: life.map(str::to_owned),
            publisher_seq: seq,
            ..fenced(fencing, doc(epoch, what))
        },
    )
}

#[derive(Clone, Debug)]
enum Event {
    Document(Box<Document>),
    Unreadable,
    Restart,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => any_document().prop_map(|document| Event::Document(Box::new(document))),
        1 => Just(Event::Unreadable),
        1 => Just(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn an_epoch_never_has_two_live_sides_and_no_lower_epoch_is_adopted(events in prop::collection::vec(any_event(), 0..40)) {
        let mut view = View::default();
        let mut live: HashMap<Epoch, Side> = HashMap::new();
        for (index, event) in events.into_iter().enumerate() {
            let now = Instant(index as u64);
            let before = view.highest();
            match event {
                Event::Document(document) => {
                    let change = view.observe(*document.clone(), Source::Directory, now);
                    prop_assert!(view.highest() == before || change == Change::Adopted(document.epoch));
                }
                Event::Unreadable => view.unreadable(&error(), now),
                Event::Restart => view = restart(&view),
            }
            prop_assert!(view.highest() >= before);
            let in_force_is_highest = view.document().is_none_or(|document| document.epoch == view.highest());
            prop_assert!(in_force_is_highest);
            if let Mastership::Live { side, epoch, addrs, .. } = view.mastership(now) {
                prop_assert_eq!(epoch, view.highest());
                prop_assert_eq!(*live.entry(epoch).or_insert(side), side);
                prop_assert!(view.document().is_some_and(|document| document.fencing != Fencing::Lease));
                let expected = doc(1, "a").side(side).addrs.clone();
                prop_assert_eq!(addrs, expected);
            }
        }
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(&text);
        let _ = Highest::parse(&text);
    }
}

#[test]
fn a_purge_for_lost_writes_is_owed_once_and_over_restarts_until_it_was_done() {
    let lost = |epoch, what, from| Document {
        data_loss_from_unix_ms: from,
        ..doc(epoch, what)
    };
    let resumed = |view: &View| View::resumed(view.record().expect("an epoch"));
    let show = |view: &mut View, document| {
        view.observe(document, Source::Directory, Instant(0));
        view.owed_purge().map(|loss| loss.epoch.0)
    };
    let mut view = View::default();
    assert_eq!(show(&mut view, lost(1, "a", None)), None);
    assert_eq!(show(&mut view, lost(2, "b", Some(17))), Some(2));
    view = resumed(&view);
    assert_eq!(show(&mut view, lost(2, "b", Some(17))), Some(2));
    view.purged(view.owed_purge().expect("it is owed"));
    assert_eq!(show(&mut view, lost(2, "b", Some(17))), None);
    view = resumed(&view);
    assert_eq!(show(&mut view, lost(2, "b", Some(17))), None);
    assert_eq!(show(&mut view, lost(1, "a", Some(5))), None, "an old one");
    let later = Document {
        publisher_seq: Some(1),
        ..lost(2, "b", Some(16))
    };
    assert_eq!(show(&mut view, later), Some(2), "heard of later");
    assert_eq!(show(&mut view, lost(3, "a", None)), Some(2));
    view.forget();
    assert!(view.owed_purge().is_some());
}
