//! How much of one site may wait for the journal at once: so many purges, and so many things in them.
//!
//! Asked by [`super::admitted`]. The journal writes what waits in one group, so that places are free again within a write; who finds none is
//! sending faster than the disk can make it durable, and is told to come again. Who cannot be told has everything of its site purged ([`Everything`]):
//! of that one purge is under way and one waits, however many asked for it. Invariant 8: a storm of one site's purges keeps no other
//! site's waiting behind it, nor takes the room that the journal has for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use jet9_cache::Partition;
use jet9_cache::purge::Mode;
use parking_lot::Mutex;

/// Purges of one site. A save of a large shop sends some hundred at once.
const PURGES: usize = 256;

/// Things in all of them, but for a purge that waits alone. The journal takes eight times as many before it refuses.
const THINGS: usize = 8192;

/// What waits, by site. One for the process.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Arc<Mutex<HashMap<Partition, Waiting>>>,
    /// Of sites that purge everything just now.
    everything: Mutex<HashMap<Partition, Weak<Everything>>>,
}

/// Purges of everything of one site, in the place of those for which there was no room.
#[derive(Debug, Default)]
pub(super) struct Everything {
    /// Held by who purges.
    turn: tokio::sync::Mutex<()>,
    asked: Mutex<Asked>,
}

/// How often it was asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    last: u64,
    /// The last that asked for a hard one.
    last_hard: u64,
    /// The last that is done, and all before it.
    done: u64,
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

impl Queue {
    /// For a purge of everything of this site.
    pub(super) fn everything(&self, site: Partition) -> Arc<Everything> {
        let mut everything = self.everything.lock();
        if let Some(found) = everything.get(&site).and_then(Weak::upgrade) {
            return found;
        }
        everything.retain(|_, one| one.strong_count() > 0);
        let new = Arc::new(Everything::default());
        everything.insert(site, Arc::downgrade(&new));
        new
    }
}

impl Everything {
    /// Has everything purged by a purge that begins from now on. `None`: that was somebody else's.
    ///
    /// # Errors
    /// What the purge says; who else waits for it tries itself.
    pub(super) async fn purge<T, E>(
        &self,
        mode: Mode,
        purge: impl AsyncFnOnce(Mode) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let own = self.asked.lock().one_more(mode);
        let _turn = self.turn.lock().await;
        let asked = *self.asked.lock();
        if asked.done >= own {
            return Ok(None);
        }
        let mode = match asked.last_hard > asked.done {
            true => Mode::Hard,
            false => Mode::Soft,
        };
        let purged = purge(mode).await?;
        self.asked.lock().done = asked.last;
        Ok(Some(purged))
    }
}

impl Asked {
    const fn one_more(&mut self, mode: Mode) -> u64 {
        self.last += 1;
        if matches!(mode, Mode::Hard) {
            self.last_hard = self.last;
        }
        self.last
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

    #[tokio::test]
    async fn however_many_ask_for_everything_one_is_under_way_and_one_waits() {
        let queue = Arc::new(Queue::default());
        let site = Partition(1);
        let (asked, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let go_on = Arc::new(tokio::sync::Semaphore::new(0));
        let ask = |mode| {
            let (everything, asked, go_on) =
                (queue.everything(site), asked.clone(), Arc::clone(&go_on));
            tokio::spawn(async move {
                let purge = async |mode| {
                    asked.send(mode).expect("open");
                    go_on.acquire().await.expect("open").forget();
                    Ok::<_, ()>(())
                };
                everything
                    .purge(mode, purge)
                    .await
                    .expect("purged")
                    .is_some()
            })
        };
        let first = ask(Mode::Soft);
        assert_eq!(begun.recv().await, Some(Mode::Soft));
        let mut others: Vec<_> = (0..100).map(|_| ask(Mode::Soft)).collect();
        others.push(ask(Mode::Hard));
        // They all have asked when each has run once.
        while queue.everything(site).asked.lock().last < 102 {
            tokio::task::yield_now().await;
        }
        go_on.add_permits(1);
        assert!(first.await.expect("no panic"));
        assert_eq!(begun.recv().await, Some(Mode::Hard));
        go_on.add_permits(1);
        let mut purged = 0;
        for other in others {
            purged += usize::from(other.await.expect("no panic"));
        }
        assert_eq!(purged, 1);
        assert!(begun.try_recv().is_err());
        drop(queue.everything(Partition(2)));
        assert_eq!(queue.everything.lock().len(), 1);
    }

    #[tokio::test]
    async fn who_waits_for_everything_tries_itself_where_another_fails() {
        let everything = Everything::default();
        let failed = everything
            .purge(Mode::Hard, async |_| Err::<(), _>("disk"))
            .await;
        assert_eq!(failed, Err("disk"));
        let purged = everything
            .purge(Mode::Soft, async |mode| Ok::<_, ()>(mode))
            .await;
        assert_eq!(purged, Ok(Some(Mode::Hard)), "it is still to be done");
        let purged = everything
            .purge(Mode::Soft, async |mode| Ok::<_, ()>(mode))
            .await;
        assert_eq!(purged, Ok(Some(Mode::Soft)));
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
