//! Every interleaving of a reader that attaches to a fill with the writer that goes on and ends: it reads everything, and never waits for
//! what has been.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::key::{KeyHasher, Partition, Scheme};
use crate::lock::checked::wait_for;
use crate::test_support::response;

type Checked = Fill<loom::sync::Mutex<State>>;

fn subject() -> Subject {
    let path = Bytes::from_static(b"/");
    let keys = KeyHasher::new([1; 16]);
    Subject {
        key: keys.key(Partition(1), Scheme::Https, "host".into(), path),
        response: response("1", &[], &[]).into(),
        variant: 0,
        birth: Tick(1),
        tags: std::sync::Arc::default(),
        length: None,
        object: Version(1),
        mount: Weak::new(),
    }
}

fn read(fill: &Checked) -> Result<Vec<u8>, ()> {
    let (place, mut progress) = fill.join();
    let mut read = Vec::new();
    loop {
        match fill.at(place, read.len() as u64) {
            At::Bytes(bytes) => read.extend_from_slice(&bytes),
            At::Wait => wait_for(progress.changed()).unwrap(),
            At::End => return Ok(read),
            At::Broken | At::OnDisk(..) => return Err(()),
        }
    }
}

fn check(end: fn(&Checked), expected: Result<&'static [u8], ()>) {
    loom::model(move || {
        let fill = Arc::new(Checked::new(subject()));
        let writer = thread::spawn({
            let fill = Arc::clone(&fill);
            move || {
                for part in [&b"a"[..], b"bc"] {
                    assert!(fill.push(Bytes::from_static(part)).is_empty());
                }
                end(&fill);
            }
        });
        let read = read(&fill);
        assert_eq!(read, expected.map(<[u8]>::to_vec));
        writer.join().unwrap();
    });
}

#[test]
fn who_attaches_at_any_moment_reads_everything_and_the_end() {
    check(Checked::finish, Ok(b"abc"));
}

#[test]
fn who_attaches_to_a_fill_that_breaks_never_takes_it_for_whole() {
    check(Checked::break_off, Err(()));
}

/// When a reader begins to listen for progress.
#[derive(Clone, Copy)]
enum Listening {
    /// Before it looks, as readers do.
    First,
    /// After it looked and found nothing.
    Last,
}

/// A reader that found nothing yet is told of the end, whenever it came.
fn check_told(listening: Listening) {
    loom::model(move || {
        let fill = Arc::new(Checked::new(subject()));
        let writer = thread::spawn({
            let fill = Arc::clone(&fill);
            move || fill.finish()
        });
        let (place, mut progress) = fill.join();
        let waits = matches!(fill.at(place, 0), At::Wait);
        if matches!(listening, Listening::Last) {
            (_, progress) = fill.join();
        }
        writer.join().unwrap();
        let is_told = progress.has_changed().unwrap();
        assert!(!waits || is_told, "it would wait for ever");
    });
}

#[test]
fn who_waits_is_told_of_the_end() {
    check_told(Listening::First);
}

#[test]
#[should_panic(expected = "it would wait for ever")]
fn who_listened_after_looking_would_not_be_told() {
    check_told(Listening::Last);
}
