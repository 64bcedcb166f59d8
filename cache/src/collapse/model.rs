//! Every interleaving of a request that comes for a key with the end of the fill for it: nobody fetches what was just stored.

use http::HeaderMap;
use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::*;
use crate::key::{Partition, Scheme};
use crate::metrics::Metrics;

type Checked = InFlight<loom::sync::Mutex<Flights>>;

/// What a store would know, made once for all interleavings.
struct World {
    purges: Purges,
    keys: KeyHasher,
    key: Key,
    fields: HeaderMap,
}

fn world() -> World {
    let place = crate::test_support::directory();
    let files = Arc::new(crate::device::RealFiles);
    let purges = Purges::open(place.path(), files, Metrics::unregistered().unwrap()).unwrap();
    let keys = purges.keys().clone();
    let path = bytes::Bytes::from_static(b"/");
    World {
        key: keys.key(Partition(1), Scheme::Https, Arc::from("host"), path),
        purges,
        keys,
        fields: HeaderMap::new(),
    }
}

impl World {
    fn take(&self, flights: &Checked, stored: impl FnOnce() -> bool) -> Seat {
        let selecting = SelectingFields::of(&self.fields);
        let asked = (&selecting, Arc::default());
        flights.take(&self.key, asked, &self.keys, &self.purges, stored)
    }
}

/// How a fill ends: what is stored, and that nobody can join any more.
#[derive(Clone, Copy)]
enum Ending {
    StoredThenLanded,
    LandedThenStored,
}

fn check(ending: Ending) {
    let world = Arc::new(world());
    loom::model(move || {
        let flights = loom::sync::Arc::new(Checked::new());
        let is_stored = loom::sync::Arc::new(AtomicBool::new(false));
        let Seat::Lead(flight) = world.take(&flights, || false) else {
            unreachable!("the first leads");
        };
        let writer = thread::spawn({
            let (flights, is_stored) = (flights.clone(), is_stored.clone());
            move || match ending {
                Ending::StoredThenLanded => {
                    is_stored.store(true, Ordering::Release);
                    flights.land(&flight);
                }
                Ending::LandedThenStored => {
                    flights.land(&flight);
                    is_stored.store(true, Ordering::Release);
                }
            }
        });
        let seat = world.take(&flights, || is_stored.load(Ordering::Acquire));
        assert!(
            !matches!(seat, Seat::Lead(_)),
            "it is fetched a second time"
        );
        writer.join().unwrap();
    });
}

#[test]
fn whoever_comes_while_a_fill_ends_joins_it_or_finds_it_stored() {
    check(Ending::StoredThenLanded);
}

#[test]
#[should_panic(expected = "it is fetched a second time")]
fn landing_before_storing_would_fetch_twice() {
    check(Ending::LandedThenStored);
}

/// Two requests come at once for a key that nobody has: one leads, the other follows.
#[test]
fn of_two_that_come_at_once_one_leads() {
    let world = Arc::new(world());
    loom::model(move || {
        let flights = loom::sync::Arc::new(Checked::new());
        let other = thread::spawn({
            let (world, flights) = (world.clone(), flights.clone());
            move || matches!(world.take(&flights, || false), Seat::Lead(_))
        });
        let leads = matches!(world.take(&flights, || false), Seat::Lead(_));
        assert!(leads != other.join().unwrap());
    });
}
