//! How much of one site may wait for the journal at once: so many purges, and so many things in them.
//!
//! Asked by [`super::admitted`]. The journal writes what waits in one group, so that places are free again within a write; who finds none is
//! sending faster than the disk can make it durable, and is told to come again. Invariant 8: a storm of one site's purges keeps no other
//! site's waiting behind it, nor takes the room that the journal has for all of them.

use std::collections::HashMap;
use std::sync::Arc;

use jet9_cache::Partition;
use parking_lot::Mutex;

/// Purges of one site. A save of a large shop sends some hundred at once.
const PURGES: usize = 256;

/// Things in all of them, but for a purge that waits alone. The journal takes eight times as many before it refuses.
const THINGS: usize = 8192;

/// What waits, by site. One for the process.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Arc<Mutex<HashMap<Partition, Waiting>>>,
}

/// What waits of one site.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    purges: usize,
    things: usize,
}

/// A place in the queue, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Arc<Mutex<HashMap<Partition, Waiting>>>,
    site: Partition,
    things: usize,
}

impl Queue {
    /// A place for a purge of so many things of this site; `None`: there is none.
    pub(super) fn enter(&self, site: Partition, things: usize) -> Option<Place> {
        let mut waiting = self.waiting.lock();
        let of_site = waiting.get(&site).copied().unwrap_or_default();
        let is_alone = of_site.purges == 0;
        let fits = of_site.purges < PURGES && of_site.things + things <= THINGS;
        if !is_alone && !fits {
            return None;
        }
        let entered = Waiting {
            purges: of_site.purges + 1,
            things: of_site.things + things,
        };
        waiting.insert(site, entered);
        Some(Place {
            waiting: Arc::clone(&self.waiting),
            site,
            things,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        if let Some(of_site) = waiting.get_mut(&self.site) {
            of_site.purges -= 1;
            of_site.things -= self.things;
            if of_site.purges == 0 {
                waiting.remove(&self.site);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_site_fills_its_own_places_and_leaves_no_trace() {
        let queue = Queue::default();
        let (one, other) = (Partition(1), Partition(2));
        let mut places: Vec<_> = (0..PURGES).map_while(|_| queue.enter(one, 1)).collect();
        assert_eq!(places.len(), PURGES);
        assert!(queue.enter(one, 1).is_none());
        assert!(queue.enter(other, 1).is_some());
        places.pop();
        assert!(queue.enter(one, 1).is_some());
        places.clear();
        assert!(queue.waiting.lock().is_empty());
    }

    #[test]
    fn a_few_purges_of_many_things_fill_it_too() {
        let queue = Queue::default();
        let site = Partition(1);
        let half = queue.enter(site, THINGS / 2);
        let other_half = queue.enter(site, THINGS / 2);
        assert!(half.is_some() && other_half.is_some());
        assert!(queue.enter(site, 1).is_none());
        drop(half);
        assert!(queue.enter(site, THINGS / 2 + 1).is_none());
        assert!(queue.enter(site, 1).is_some());
        drop(other_half);
        // What is larger than all that may wait is not kept out for ever.
        assert!(queue.enter(site, THINGS + 1).is_some());
        assert!(queue.waiting.lock().is_empty());
    }
}
