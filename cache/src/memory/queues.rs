//! Which entries stay when memory is full? Two queues, and what was asked for stays longer.
//!
//! Used by the memory tier, a pair for each of its shards, and by the bench that measures the policy. New entries pass through the *window*,
//! where what is asked for goes back to the end; those that proved themselves are *kept*: what is kept gets another round for each hit.
//! One record of 16 bytes beside the value, two links and no allocation an entry. Knows weights, not what they are of; reads no clock.
//! Invariant: an entry is in exactly one queue, and the weights of the queues are the sums of theirs.

/// Another round is given this often in one eviction; then the next in turn goes whatever it was hit, so that no eviction takes long.
const ROUNDS_MAX: u32 = 64;
/// Hits that an entry is remembered for.
const HITS_MAX: u8 = 3;
/// Parts of the whole weight: when one more of them came in anew, the clock goes on.
const CLOCK_PARTS: u64 = 4;
/// No entry.
const NONE: u32 = u32::MAX;

/// The two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Where entries begin.
    Window,
    /// Where those are that are worth more, or are to make room first.
    Kept,
}

/// How the queues share the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Of a hundred bytes, how many are for what is kept.
    pub kept_percent: u64,
    /// Hits in the window after which an entry is kept when its turn to leave comes; `None`: the caller alone says what is kept.
    pub promoted_at: Option<u8>,
}

impl Rules {
    /// Before a disk. What is there, too, is kept, in a small share: to forget it costs a read and not a fetch. The rest is for what is
    /// nowhere else. The share was measured: half as much again costs 0.04 points of hit ratio for 2 to 4 more points answered from memory.
    pub const BEFORE_DISK: Self = Self {
        kept_percent: 10,
        promoted_at: None,
    };
    /// Alone: as S3-FIFO, but for the window, in which a hit counts as an arrival.
    pub const ALONE: Self = Self {
        kept_percent: 90,
        promoted_at: Some(2),
    };
}

/// What a hit says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    /// It is the first since the entry came, or since its last round among those that are kept.
    pub is_first: bool,
    /// Since the entry came, some of the rest was exchanged: up to a quarter, an eighth on the average. A hit that follows at once (a
    /// reload, a page with the same part twice) tells little.
    pub has_waited: bool,
}

/// Names an entry while it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u32);

/// Entries in two queues.
#[derive(Debug)]
pub struct Queues<T> {
    entries: Vec<Entry<T>>,
    /// The first of the places that are free, linked by `after`.
    free: u32,
    lists: [List; 2],
    rules: Rules,
    /// Goes on when so much came in as a part of the whole is.
    clock: u16,
    /// What came in since then.
    came: u64,
}

#[derive(Debug)]
struct Entry<T> {
    /// `None`: the place is free.
    value: Option<T>,
    weight: u32,
    before: u32,
    after: u32,
    queue: Queue,
    hits: u8,
    /// By the clock. It comes round again after thousands of times what fits: who is still there then, may seem new for once.
    came: u16,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
    weight: u64,
}

impl List {
    const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
        weight: 0,
    };
}

impl<T> Queues<T> {
    /// Bytes that an entry takes here, its value included.
    pub const ENTRY_BYTES: usize = size_of::<Entry<T>>();

    /// Empty ones.
    pub const fn new(rules: Rules) -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            lists: [List::EMPTY; 2],
            rules,
            clock: 0,
            came: 0,
        }
    }

    /// The weight of everything.
    pub fn weight(&self) -> u64 {
        self.lists.iter().map(|list| list.weight).sum()
    }

    /// Puts an entry at the end of a queue.
    pub fn insert(&mut self, value: T, weight: u32, queue: Queue) -> Id {
        self.came += u64::from(weight);
        if self.came >= self.weight() / CLOCK_PARTS {
            (self.clock, self.came) = (self.clock.wrapping_add(1), 0);
        }
        let entry = Entry {
            value: Some(value),
            weight,
            before: NONE,
            after: NONE,
            queue,
            hits: 0,
            came: self.clock,
        };
        let id = self.free;
        let id = if let Some(place) = self.entries.get_mut(id as usize) {
            self.free = place.after;
            *place = entry;
            id
        } else {
            self.entries.push(entry);
            // 2^32 entries of 32 bytes are more than a machine has; the last would be given up.
            u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
        };
        self.link(id);
        Id(id)
    }

    /// What an entry holds.
    pub fn get(&self, id: Id) -> Option<&T> {
        self.entries.get(id.0 as usize)?.value.as_ref()
    }

    /// What is at `count` places from one on; `None` beyond the last. An entry never changes its place.
    pub fn places(&self, place: usize, count: usize) -> Option<impl Iterator<Item = &T>> {
        let rest = self.entries.get(place..).filter(|rest| !rest.is_empty())?;
        let some = rest.iter().take(count);
        Some(some.filter_map(|entry| entry.value.as_ref()))
    }

    /// The queue that an entry is in.
    pub fn queue(&self, id: Id) -> Option<Queue> {
        let entry = self.entries.get(id.0 as usize)?;
        entry.value.as_ref().map(|_| entry.queue)
    }

    /// Counts a hit.
    pub fn hit(&mut self, id: Id) -> Hit {
        let Some(entry) = self.entries.get_mut(id.0 as usize) else {
            return Hit::default();
        };
        let hit = Hit {
            is_first: entry.hits == 0,
            has_waited: entry.came != self.clock,
        };
        entry.hits = entry.hits.saturating_add(1).min(HITS_MAX);
        if entry.queue == Queue::Window && entry.value.is_some() {
            self.unlink(id.0);
            self.link(id.0);
        }
        hit
    }

    /// Gives an entry another value in the same place.
    pub fn replace(&mut self, id: Id, value: T, weight: u32) -> Option<T> {
        let entry = self.entries.get_mut(id.0 as usize)?;
        let list = &mut self.lists[entry.queue as usize];
        list.weight = list.weight + u64::from(weight) - u64::from(entry.weight);
        entry.weight = weight;
        entry.value.replace(value)
    }

    /// Moves an entry from the window to the end of those that are kept.
    pub fn keep(&mut self, id: Id) {
        if self.queue(id) == Some(Queue::Window) {
            self.move_to(id.0, Queue::Kept);
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, id: Id) -> Option<T> {
        self.queue(id)?;
        self.unlink(id.0);
        let entry = &mut self.entries[id.0 as usize];
        entry.after = self.free;
        self.free = id.0;
        entry.value.take()
    }

    /// Takes out what is worth least, and says from which queue; never `spared`. `None`: there is nothing else.
    pub fn evict(&mut self, spared: Option<Id>) -> Option<(T, Queue)> {
        let spared = spared.map_or(NONE, |id| id.0);
        let mut rounds = 0;
        loop {
            let (id, queue) = self.next_to_go(spared)?;
            let entry = &mut self.entries[id as usize];
            let promoted_at = self.rules.promoted_at.unwrap_or(u8::MAX);
            let has_proved = match queue {
                Queue::Window => entry.hits >= promoted_at,
                Queue::Kept => entry.hits > 0,
            };
            if !has_proved || rounds == ROUNDS_MAX {
                return self.remove(Id(id)).map(|value| (value, queue));
            }
            rounds += 1;
            entry.hits = match queue {
                Queue::Window => 0,
                Queue::Kept => entry.hits - 1,
            };
            self.move_to(id, Queue::Kept);
        }
    }

    /// The entry whose turn it is: of those that are kept when they have more than their share.
    fn next_to_go(&self, spared: u32) -> Option<(u32, Queue)> {
        let [window, kept] = [Queue::Window, Queue::Kept].map(|queue| {
            let first = self.lists[queue as usize].first;
            let id = if first == spared && first != NONE {
                self.entries[first as usize].after
            } else {
                first
            };
            (id != NONE).then_some((id, queue))
        });
        let weight = self.lists[Queue::Kept as usize].weight;
        if weight * 100 > self.weight() * self.rules.kept_percent {
            kept.or(window)
        } else {
            window.or(kept)
        }
    }

    fn move_to(&mut self, id: u32, queue: Queue) {
        self.unlink(id);
        self.entries[id as usize].queue = queue;
        self.link(id);
    }

    fn link(&mut self, id: u32) {
        let Some(entry) = self.entries.get_mut(id as usize) else {
            return;
        };
        let list = &mut self.lists[entry.queue as usize];
        list.weight += u64::from(entry.weight);
        (entry.before, entry.after) = (list.last, NONE);
        let last = std::mem::replace(&mut list.last, id);
        match self.entries.get_mut(last as usize) {
            Some(last) => last.after = id,
            None => list.first = id,
        }
    }

    fn unlink(&mut self, id: u32) {
        let entry = &self.entries[id as usize];
        let (before, after) = (entry.before, entry.after);
        let list = &mut self.lists[entry.queue as usize];
        list.weight -= u64::from(entry.weight);
        match self.entries.get_mut(before as usize) {
            Some(before) => before.after = after,
            None => list.first = after,
        }
        match self.entries.get_mut(after as usize) {
            Some(after) => after.before = before,
            None => list.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Fills a cache of `capacity` entries of weight one with the letters of `requests`; what is in it at the end.
    fn run(rules: Rules, capacity: u64, requests: &str) -> String {
        let mut queues = Queues::new(rules);
        let mut ids = std::collections::HashMap::new();
        for letter in requests.chars() {
            if let Some(id) = ids.get(&letter) {
                queues.hit(*id);
                continue;
            }
            let id = queues.insert(letter, 1, Queue::Window);
            ids.insert(letter, id);
            while queues.weight() > capacity {
                let (gone, _) = queues.evict(Some(id)).unwrap();
                ids.remove(&gone);
            }
        }
        let mut left: Vec<char> = ids.into_keys().collect();
        left.sort_unstable();
        left.into_iter().collect()
    }

    #[track_caller]
    fn check(rules: Rules, requests: &str, expected: &str) {
        assert_eq!(run(rules, 5, requests), expected, "{requests}");
    }

    #[test]
    fn what_was_asked_for_outlives_what_was_not() {
        check(Rules::BEFORE_DISK, "abcdef", "bcdef");
        check(Rules::BEFORE_DISK, "abcdeaf", "acdef");
        // Three requests prove an entry: a stream of others does not push it out.
        check(Rules::ALONE, "aaabcdefghijkl", "aijkl");
        check(Rules::ALONE, "aabcdefghijkl", "hijkl");
    }

    #[test]
    fn what_is_kept_goes_first_when_it_has_more_than_its_share() {
        let mut queues = Queues::new(Rules::BEFORE_DISK);
        let [a, b] = ["a", "b"].map(|name| queues.insert(name, 1, Queue::Window));
        queues.keep(b);
        assert_eq!(queues.evict(None), Some(("b", Queue::Kept)));
        assert_eq!(queues.get(b), None);
        assert_eq!(queues.evict(Some(a)), None);
        assert_eq!(queues.evict(None), Some(("a", Queue::Window)));
        assert_eq!(queues.weight(), 0);
    }

    #[test]
    fn a_hit_is_worth_a_round() {
        let mut queues = Queues::new(Rules::BEFORE_DISK);
        let [a, b] = ["a", "b"].map(|name| queues.insert(name, 1, Queue::Kept));
        assert!(queues.hit(a).is_first);
        assert!(!queues.hit(a).is_first);
        assert_eq!(queues.evict(None), Some(("b", Queue::Kept)));
        assert!(queues.queue(a).is_some() && queues.queue(b).is_none());
    }

    #[test]
    fn an_entry_has_waited_when_a_quarter_of_the_whole_was_exchanged() {
        let mut queues = Queues::new(Rules::BEFORE_DISK);
        let exchange = |queues: &mut Queues<u32>, spared, queue| {
            if queues.weight() == 160 {
                queues.evict(spared);
            }
            queues.insert(0, 1, queue)
        };
        for _ in 0..160 {
            exchange(&mut queues, None, Queue::Window);
        }
        // Wherever the clock stands: a quarter later it went on, and a hit does not turn it back.
        for n in 0..50 {
            let id = exchange(&mut queues, None, Queue::Window);
            assert!(!queues.hit(id).has_waited, "{n}");
            for _ in 0..40 {
                exchange(&mut queues, Some(id), Queue::Kept);
            }
            assert!(
                queues.hit(id).has_waited && queues.hit(id).has_waited,
                "{n}"
            );
        }
    }

    #[test]
    fn an_eviction_ends_however_much_was_hit() {
        let mut queues = Queues::new(Rules::BEFORE_DISK);
        for n in 0..10 * ROUNDS_MAX {
            let id = queues.insert(n, 1, Queue::Kept);
            queues.hit(id);
        }
        assert_eq!(queues.evict(None), Some((ROUNDS_MAX, Queue::Kept)));
    }

    #[test]
    fn an_entry_takes_no_more_than_it_says() {
        assert_eq!(Queues::<[usize; 2]>::ENTRY_BYTES, 40);
        assert_eq!(Queues::<Box<u8>>::ENTRY_BYTES, 24);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32, Queue),
        Hit(usize),
        Replace(usize, u32),
        Keep(usize),
        Remove(usize),
        Evict,
    }

    fn step() -> impl Strategy<Value = Step> {
        let queue = prop_oneof![Just(Queue::Window), Just(Queue::Kept)];
        prop_oneof![
            4 => (0..100_u32, queue).prop_map(|(weight, queue)| Step::Insert(weight, queue)),
            2 => any::<usize>().prop_map(Step::Hit),
            1 => (any::<usize>(), 0..100_u32).prop_map(|(at, weight)| Step::Replace(at, weight)),
            1 => any::<usize>().prop_map(Step::Keep),
            1 => any::<usize>().prop_map(Step::Remove),
            2 => Just(Step::Evict),
        ]
    }

    proptest! {
        #[test]
        fn weights_are_sums_and_everything_leaves_once(
            steps in prop::collection::vec(step(), 1..200), alone: bool,
        ) {
            let rules = if alone { Rules::ALONE } else { Rules::BEFORE_DISK };
            let mut queues = Queues::new(rules);
            let mut model: Vec<(Id, usize, u32)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                let any = |at: usize| (!model.is_empty()).then(|| at % model.len());
                match step {
                    Step::Insert(weight, queue) => {
                        model.push((queues.insert(number, weight, queue), number, weight));
                    }
                    Step::Hit(at) => if let Some(at) = any(at) {
                        queues.hit(model[at].0);
                    },
                    Step::Keep(at) => if let Some(at) = any(at) {
                        queues.keep(model[at].0);
                    },
                    Step::Replace(at, weight) => if let Some(at) = any(at) {
                        prop_assert_eq!(queues.replace(model[at].0, number, weight), Some(model[at].1));
                        (model[at].1, model[at].2) = (number, weight);
                    },
                    Step::Remove(at) => if let Some(at) = any(at) {
                        let (id, value, _) = model.swap_remove(at);
                        prop_assert_eq!(queues.remove(id), Some(value));
                    },
                    Step::Evict => match queues.evict(None) {
                        Some((gone, _)) => {
                            let at = model.iter().position(|(_, value, _)| *value == gone);
                            model.swap_remove(at.unwrap());
                        }
                        None => prop_assert!(model.is_empty()),
                    },
                }
                let weight: u64 = model.iter().map(|(_, _, weight)| u64::from(*weight)).sum();
                prop_assert_eq!(queues.weight(), weight);
                for (id, value, _) in &model {
                    prop_assert_eq!(queues.get(*id), Some(value));
                }
            }
        }
    }
}
