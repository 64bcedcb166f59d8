//! What does a publisher owe the edges before the next document may follow the one that is there?
//!
//! Asked by everything that publishes, at an edge and at the store itself (`edge::control::mastership`), about the two documents alone. The
//! answer is a time to wait, counted by the publisher from when it had *read* what is there: until that was committed, leases were given.
//! Whether the epochs follow each other is the store's comparison, not looked at here.
//! I2 in `docs/live-master.md`, the publisher's half: without a proof nobody is made master while an edge may still send to the one before.

use jet9_config::Side;

use crate::document::{Document, DocumentError, Ended, Fencing, Phase};
use crate::lease;

const MISNAMED: &str = "not the master of what is there: name that one, or none";
const PROMISED: &str = "edges that do not hear of it go by what was promised before: lower it while one side is master, and stays it";

/// What is there to be followed.
#[derive(Clone, Copy, Debug)]
pub enum There<'a> {
    /// Nothing was published yet.
    Nothing,
    /// Something that is no document: who the last master was, and what edges rely on, is not known.
    Unreadable,
    /// A document.
    Document(&'a Document),
}

/// How long the publisher of `next` waits from when it had read what is there, in milliseconds; 0: not at all.
///
/// # Errors
/// When `next` may not follow it at all; names the field that would have to be another.
pub fn owed(there: There<'_>, next: &Document) -> Result<u64, DocumentError> {
    match there {
        There::Nothing => Ok(0),
        There::Unreadable => owed_blindly(next),
        There::Document(there) => {
            check_promise(there, next)?;
            check_named(there, next)?;
            owed_after(there, next)
        }
    }
}

/// What the edges were promised may be anything: only the class that demands a proof covers it.
fn owed_blindly(next: &Document) -> Result<u64, DocumentError> {
    if next.phase.master().is_some() {
        return if is_proved(next) {
            Ok(0)
        } else {
            wrong(
                "/prev/ended",
                "what is there cannot be read, so nobody knows who was master: say that the old one is out with `demoted` or `fenced`",
            )
        };
    }
    if next.prev_master.is_some() {
        return wrong(
            "/prev/master",
            "what is there cannot be read, so nobody knows who was master: leave it out",
        );
    }
    if next.fencing != Fencing::Confirmed {
        return wrong(
            "/fencing",
            "what is there cannot be read, so nobody knows what the edges rely on: `confirmed`, or `serving` with a proof",
        );
    }
    Ok(0)
}

/// Within a move the publisher keeps what edges rely on that have not heard of it yet. At rest they have time to hear of another promise.
fn check_promise(there: &Document, next: &Document) -> Result<(), DocumentError> {
    let master = there.phase.master();
    if master.is_some() && next.phase.master() == master {
        return Ok(());
    }
    match (there.fencing, next.fencing) {
        // A proof is demanded from now on, which is good for whatever was promised.
        (_, Fencing::Confirmed) | (Fencing::None, Fencing::None) => Ok(()),
        (Fencing::Lease, Fencing::Lease) if next.edge_lease_ms >= there.edge_lease_ms => Ok(()),
        (Fencing::Lease, Fencing::Lease) => wrong("/edge_lease_ms", PROMISED),
        _ => wrong("/fencing", PROMISED),
    }
}

/// Who publishes next goes by this word: a copy of an older `prev` would pass the other side off as the last master.
fn check_named(there: &Document, next: &Document) -> Result<(), DocumentError> {
    if next.phase.master().is_none() && is_misnamed(there, next) {
        return wrong("/prev/master", MISNAMED);
    }
    Ok(())
}

fn owed_after(there: &Document, next: &Document) -> Result<u64, DocumentError> {
    let last = last_master(there);
    if next.phase.master().is_none_or(|next| Some(next) == last) {
        return Ok(0);
    }
    match there.fencing {
        Fencing::None => Ok(0),
        // Its end is not that of the master before.
        _ if is_proved(next) && is_misnamed(there, next) && last.is_some() => {
            wrong("/prev/master", MISNAMED)
        }
        _ if is_proved(next) => Ok(0),
        Fencing::Lease if matches!(there.phase, Phase::Serving { .. }) => wrong(
            "/phase",
            "fencing is `lease`, and nothing proves that the old master is out: publish `switching` first",
        ),
        Fencing::Lease => Ok(lease::wait_ms(there.edge_lease_ms.max(next.edge_lease_ms))),
        Fencing::Confirmed => wrong(
            "/prev/ended",
            "fencing is `confirmed`: the edges rely on the old master being out; say so with `demoted` or `fenced`",
        ),
    }
}

fn is_proved(next: &Document) -> bool {
    matches!(next.prev_ended, Some(Ended::Demoted | Ended::Fenced))
}

fn is_misnamed(there: &Document, next: &Document) -> bool {
    next.prev_master
        .is_some_and(|named| Some(named) != last_master(there))
}

fn wrong<T>(pointer: &str, message: &str) -> Result<T, DocumentError> {
    Err(DocumentError {
        pointer: pointer.to_owned(),
        message: message.to_owned(),
    })
}

/// The side that is master, or was before. Where nobody names one, nothing is known: it may be any.
fn last_master(there: &Document) -> Option<Side> {
    there.phase.master().or(there.prev_master)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a`, `b`, or `switching` after `a`, in a class, with a lease.
    fn document(what: &str, fencing: &str, lease_ms: u64, ended: Option<&str>) -> Document {
        let master = ["a", "b"].into_iter().find(|side| *side == what);
        let phase = if master.is_some() { "serving" } else { what };
        let text = serde_json::json!({
            "v": 1, "cluster": "c-1", "epoch": 40, "phase": phase, "master": master, "fencing": fencing,
            "sides": {"a": {"addrs": ["192.0.2.1:80"]}, "b": {"addrs": ["192.0.2.2:80"]}},
            "edge_lease_ms": lease_ms, "prev": {"epoch": 39, "master": "a", "ended": ended},
        });
        Document::parse(text.to_string().as_bytes()).expect("a document")
    }

    /// The wait, or the field that stands in the way.
    fn check(there: &Document, next: &Document, expected: Result<u64, &str>) {
        let owed = owed(There::Document(there), next).map_err(|error| error.pointer);
        let expected = expected.map_err(str::to_owned);
        assert_eq!(owed, expected, "{there:?}\n{next:?}");
    }

    #[test]
    fn each_class_demands_its_own() {
        let to = |what, ended| document(what, "confirmed", 3_000, ended);
        let confirmed = document("a", "confirmed", 3_000, None);
        check(&confirmed, &to("b", None), Err("/prev/ended"));
        check(
            &confirmed,
            &to("b", Some("unconfirmed")),
            Err("/prev/ended"),
        );
        check(&confirmed, &to("b", Some("fenced")), Ok(0));
        check(&confirmed, &to("a", None), Ok(0));
        for phase in ["switching", "down", "drained"] {
            check(&confirmed, &to(phase, None), Ok(0));
        }
        let none = document("a", "none", 3_000, None);
        check(&none, &to("b", None), Ok(0));
        let leased = document("a", "lease", 3_000, None);
        check(&leased, &to("b", None), Err("/phase"));
        check(&leased, &to("b", Some("demoted")), Ok(0));
        check(&leased, &to("switching", None), Ok(0));
        for phase in ["switching", "down", "drained"] {
            let between = document(phase, "lease", 3_000, None);
            check(&between, &to("b", None), Ok(3_008));
            check(&between, &to("b", Some("unconfirmed")), Ok(3_008));
            check(&between, &to("a", None), Ok(0));
            check(&between, &to("b", Some("fenced")), Ok(0));
        }
    }

    #[test]
    fn the_longer_lease_is_waited_for_and_none_is_lowered_unheard() {
        let switching = document("switching", "lease", 1_000, None);
        let next = document("b", "lease", 5_000, None);
        check(&switching, &next, Ok(5_012));
        let shorter = |what, ended| document(what, "lease", 999, ended);
        let proved = shorter("b", Some("fenced"));
        for next in [shorter("b", None), shorter("a", None), proved] {
            check(&switching, &next, Err("/edge_lease_ms"));
        }
        check(&switching, &shorter("down", None), Err("/edge_lease_ms"));
        let before = document("a", "lease", 1_000, None);
        check(&before, &shorter("switching", None), Err("/edge_lease_ms"));
        check(&before, &shorter("a", None), Ok(0));
    }

    #[test]
    fn a_class_is_lowered_only_while_one_side_is_master_and_stays_it() {
        let classes = ["confirmed", "lease", "none"];
        // What covers what was promised before: the same, and whatever demands a proof.
        let covers = |before: &str, after: &str| before == after || after == "confirmed";
        for (before, after) in classes.iter().flat_map(|b| classes.map(|a| (*b, a))) {
            let refused = (!covers(before, after)).then_some("/fencing");
            for there in ["a", "switching", "down", "drained"] {
                let there = document(there, before, 3_000, None);
                for next in ["switching", "down", "drained", "a", "b"] {
                    let next = document(next, after, 3_000, Some("demoted"));
                    let rests = there.phase == next.phase && there.phase.master().is_some();
                    let pointer = refused.filter(|_| !rests);
                    check(&there, &next, pointer.map_or(Ok(0), Err));
                }
            }
        }
    }

    #[test]
    fn a_master_that_nobody_names_may_have_been_any() {
        let nameless = Document {
            prev_master: None,
            ..document("switching", "lease", 3_000, None)
        };
        let next = document("a", "lease", 3_000, None);
        check(&nameless, &next, Ok(3_008));
        let known = Document {
            prev_master: Some(Side::A),
            ..nameless
        };
        check(&known, &next, Ok(0));
    }

    #[test]
    fn a_copy_of_an_older_prev_passes_nobody_off_as_the_last_master() {
        // Side b took over from side a; whoever edits that document finds `prev.master` a, `prev.ended` demoted.
        for fencing in ["confirmed", "lease"] {
            let there = document("b", fencing, 3_000, Some("demoted"));
            for phase in ["switching", "down", "drained"] {
                let copied = document(phase, fencing, 3_000, None);
                check(&there, &copied, Err("/prev/master"));
                let nameless = Document {
                    prev_master: None,
                    ..copied.clone()
                };
                check(&there, &nameless, Ok(0));
                check(&nameless, &copied, Err("/prev/master"));
            }
            let back = document("a", fencing, 3_000, Some("demoted"));
            check(&there, &back, Err("/prev/master"));
            let stays = document("b", fencing, 3_000, Some("demoted"));
            check(&there, &stays, Ok(0));
        }
        let none = document("b", "none", 3_000, Some("demoted"));
        check(&none, &document("a", "none", 3_000, Some("demoted")), Ok(0));
    }

    #[test]
    fn what_cannot_be_read_lets_nobody_become_master_without_a_proof() {
        let proof = |ended| document("b", "none", 3_000, ended);
        assert!(owed(There::Unreadable, &proof(None)).is_err());
        assert!(owed(There::Unreadable, &proof(Some("unconfirmed"))).is_err());
        assert_eq!(owed(There::Unreadable, &proof(Some("fenced"))), Ok(0));
        let down = |fencing, prev_master| Document {
            prev_master,
            ..document("down", fencing, 3_000, None)
        };
        let named = owed(There::Unreadable, &down("confirmed", Some(Side::A)));
        assert_eq!(named.map_err(|e| e.pointer), Err("/prev/master".to_owned()));
        for fencing in ["lease", "none"] {
            let weaker = owed(There::Unreadable, &down(fencing, None));
            assert_eq!(weaker.map_err(|e| e.pointer), Err("/fencing".to_owned()));
        }
        assert_eq!(owed(There::Unreadable, &down("confirmed", None)), Ok(0));
        assert_eq!(owed(There::Nothing, &proof(None)), Ok(0));
    }
}
