//! How many purges of one site may wait for the journal at once.
//!
//! Asked by [`super::admitted`]. The journal writes what waits in one group, so that places are free again within a write; who finds none is
//! sending faster than the disk can make it durable, and is told to come again. Invariant 8: a storm of one site's purges keeps no other
//! site's waiting behind it.

use std::collections::HashMap;
use std::sync::Arc;

use jet9_cache::Partition;
use parking_lot::Mutex;

/// Places of one site. A save of a large shop sends some hundred purges at once.
const PLACES: usize = 256;

/// The purges that wait, by site. One for the process.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Arc<Mutex<HashMap<Partition, usize>>>,
}

/// A place in the queue, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Arc<Mutex<HashMap<Partition, usize>>>,
    site: Partition,
}

impl Queue {
    /// A place for a purge of this site; `None`: there is none.
    pub(super) fn enter(&self, site: Partition) -> Option<Place> {
        let mut waiting = self.waiting.lock();
        let taken = waiting.entry(site).or_default();
        if *taken >= PLACES {
            return None;
        }
        *taken += 1;
        Some(Place {
            waiting: Arc::clone(&self.waiting),
            site,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        if let Some(taken) = waiting.get_mut(&self.site) {
            *taken -= 1;
            if *taken == 0 {
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
        let mut places: Vec<_> = (0..PLACES).map_while(|_| queue.enter(one)).collect();
        assert_eq!(places.len(), PLACES);
        assert!(queue.enter(one).is_none());
        assert!(queue.enter(other).is_some());
        places.pop();
        assert!(queue.enter(one).is_some());
        places.clear();
        assert!(queue.waiting.lock().is_empty());
    }
}
