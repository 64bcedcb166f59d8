//! S3-FIFO as its authors describe it, for objects of one size: the yardstick of the policy bench.
//!
//! A small queue of a tenth, a main queue, a ghost as long as the main queue, two bits of frequency. No claim to be fast.

use std::collections::{HashMap, HashSet, VecDeque};

const FREQUENCY_MAX: u8 = 3;
/// Hits in the small queue that lead to the main one.
const PROMOTED: u8 = 2;

struct Cache {
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    frequency: HashMap<u32, u8>,
    ghost: VecDeque<u32>,
    in_ghost: HashSet<u32>,
    capacity: usize,
}

/// The share of requests that a cache of `capacity` objects answers.
pub(crate) fn hit_ratio(trace: &[u32], capacity: usize) -> f64 {
    let mut cache = Cache {
        small: VecDeque::new(),
        main: VecDeque::new(),
        frequency: HashMap::new(),
        ghost: VecDeque::new(),
        in_ghost: HashSet::new(),
        capacity,
    };
    let hits = trace
        .iter()
        .filter(|object| cache.request(**object))
        .count();
    hits as f64 / trace.len() as f64
}

impl Cache {
    fn small_max(&self) -> usize {
        (self.capacity / 10).max(1)
    }

    fn request(&mut self, object: u32) -> bool {
        if let Some(frequency) = self.frequency.get_mut(&object) {
            *frequency = (*frequency + 1).min(FREQUENCY_MAX);
            return true;
        }
        while self.small.len() + self.main.len() >= self.capacity {
            self.evict();
        }
        self.frequency.insert(object, 0);
        if self.in_ghost.remove(&object) {
            self.main.push_back(object);
        } else {
            self.small.push_back(object);
        }
        false
    }

    fn evict(&mut self) {
        if self.small.len() >= self.small_max() || self.main.is_empty() {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    fn evict_small(&mut self) {
        let Some(object) = self.small.pop_front() else {
            return;
        };
        if self
            .frequency
            .get(&object)
            .is_some_and(|hits| *hits >= PROMOTED)
        {
            self.frequency.insert(object, 0);
            self.main.push_back(object);
            return;
        }
        self.frequency.remove(&object);
        self.ghost.push_back(object);
        self.in_ghost.insert(object);
        while self.ghost.len() > self.capacity - self.small_max() {
            if let Some(oldest) = self.ghost.pop_front() {
                self.in_ghost.remove(&oldest);
            }
        }
    }

    fn evict_main(&mut self) {
        while let Some(object) = self.main.pop_front() {
            let Some(frequency) = self.frequency.get_mut(&object).filter(|hits| **hits > 0) else {
                self.frequency.remove(&object);
                return;
            };
            *frequency -= 1;
            self.main.push_back(object);
        }
    }
}
