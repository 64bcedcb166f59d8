//! One fetch per key: who leads it, who follows, and what becomes of the followers.
//!
//! Called by `edge::request::lookup` when the store cannot answer. Waiters wake by notification. A lead that is dropped without a word
//! fails its followers, so that no request waits for a fetch that is gone. A fetch that was sent before a purge is not joined by
//! requests that came after it (invariant 4). Where the selecting fields of the last answer are known, requests wait only for a fetch of
//! their own variant; who fetches apart (its answer is predicted to be for one client) is waited for by nobody until it proves to be
//! storable. Implements *collapsed requests* of RFC 9111 §4.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::fill::{Fill, FillWriter, Filling, Subject};
use crate::key::{Key, KeyHasher};
use crate::lock::Lock;
use crate::prediction::Asker;
use crate::purge::{Facts, Purges, Tick, Verdict};
use crate::reason::Reason;
use crate::semantics::vary::{Selecting, SelectingFields, Selector};
use crate::store::Cache;
use crate::stored::StoredResponse;
use crate::time::Timestamp;
use crate::variant::tags_of;

/// Locks that keys in flight are spread over.
const SHARDS: usize = 64;

/// The place of a request among those that want the same key now.
#[derive(Debug)]
pub enum Collapse {
    /// It is the first: it fetches for all.
    Lead(Lead),
    /// Another one fetches already, or has just stored the answer.
    Follow(Follower),
}

/// The right to fetch for a key, and the duty to say what became of it.
#[derive(Debug)]
pub struct Lead {
    cache: Arc<Cache>,
    flight: Arc<Flight>,
    /// Whether followers were told what became of the fetch.
    told: bool,
}

impl Lead {
    pub(crate) const fn new(cache: Arc<Cache>, flight: Arc<Flight>) -> Self {
        Self {
            cache,
            flight,
            told: false,
        }
    }

    /// The key that is fetched.
    pub fn key(&self) -> &Key {
        &self.flight.key
    }

    /// Marks that the request is sent to the origin now: purges answered before this do not touch the response.
    /// Call it again when the request is sent again.
    pub fn sent(&mut self) {
        self.flight
            .sent
            .store(self.cache.purges().now().0, Ordering::Release);
    }

    /// Teaches that the answer to this asker, whose `Vary` names `vary`, is not stored, and why: see [`crate::prediction`].
    pub fn learn(&self, asker: &Asker<'_>, why: Reason, vary: &[Selector], now: Timestamp) {
        let born = self.flight.birth();
        self.cache
            .predictions()
            .learn(asker, (why, vary), born, now);
    }

    /// Teaches that an answer to this asker may be stored: requests like it wait for one another again.
    pub fn unlearn(&self, asker: &Asker<'_>) {
        self.cache.predictions().unlearn(asker);
    }

    /// Ready when nobody waits for this fetch any more who followed; the leader itself does not count.
    pub fn deserted(&self) -> impl Future<Output = ()> + Send + use<> {
        let flight = Arc::clone(&self.flight);
        async move { flight.fate.closed().await }
    }

    /// The head arrived and may be stored: followers whose selecting fields match become readers.
    /// `variant` is the hash of the leader's selecting fields, `length` the announced content length.
    ///
    /// A response that is announced larger than what the store keeps is for the leader alone: followers fetch for themselves.
    pub fn begin(
        mut self,
        response: StoredResponse,
        variant: u128,
        length: Option<u64>,
    ) -> (FillWriter, Filling) {
        let kept = length.is_none_or(|length| length <= self.cache.kept_max());
        let (object, mount) = self.cache.place_for(&self.flight.key);
        let fill = Arc::new(Fill::new(Subject {
            key: self.flight.key.clone(),
            tags: tags_of(&response, self.cache.purges()),
            response: Arc::new(response),
            variant,
            birth: self.flight.birth(),
            length,
            object,
            mount,
        }));
        if !kept {
            fill.become_window();
        }
        let filling = Filling::join(&fill);
        if kept {
            self.tell(Fate::Filling(Arc::clone(&fill)));
        } else {
            self.cache.fills().land(&self.flight);
            self.tell(Fate::Released(Reason::TooLarge));
        }
        (
            FillWriter::new(Arc::clone(&self.cache), Arc::clone(&self.flight), fill),
            filling,
        )
    }

    /// The response is for the leader alone: followers fetch for themselves.
    pub fn release(mut self, why: Reason) {
        self.cache.fills().land(&self.flight);
        self.tell(Fate::Released(why));
    }

    /// The stored response was freshened: followers look it up again.
    pub fn freshened(mut self) {
        self.cache.fills().land(&self.flight);
        self.tell(Fate::LookAgain);
    }

    fn tell(&mut self, fate: Fate) {
        self.told = true;
        self.flight.fate.send_replace(fate);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.told {
            self.cache.fills().land(&self.flight);
            self.tell(Fate::Failed);
        }
    }
}

/// A request that waits for the leader's answer.
#[derive(Debug)]
pub struct Follower {
    cache: Arc<Cache>,
    /// `None`: the answer is in the store already.
    fate: Option<watch::Receiver<Fate>>,
}

/// What became of the leader's fetch.
#[derive(Debug)]
pub enum Followed {
    /// It fills: read along (check first that `variant` is the follower's own).
    Filling(Filling),
    /// The stored response was freshened, or the fill has just ended: look it up again.
    LookAgain,
    /// It was not for sharing.
    Released(Reason),
    /// It failed before a head arrived.
    Failed,
}

impl Follower {
    pub(crate) const fn of(cache: Arc<Cache>, fate: watch::Receiver<Fate>) -> Self {
        Self {
            cache,
            fate: Some(fate),
        }
    }

    pub(crate) const fn look_again(cache: Arc<Cache>) -> Self {
        Self { cache, fate: None }
    }

    /// Waits for the leader. Put a deadline around it (`limits.collapse_wait`).
    pub async fn outcome(self) -> Followed {
        let Some(mut fate) = self.fate else {
            return Followed::LookAgain;
        };
        let Ok(fate) = fate.wait_for(|fate| !matches!(fate, Fate::Asking)).await else {
            return Followed::Failed;
        };
        match &*fate {
            Fate::Filling(fill) => join(fill, self.cache.purges()),
            Fate::LookAgain => Followed::LookAgain,
            Fate::Released(why) => Followed::Released(*why),
            Fate::Asking | Fate::Failed => Followed::Failed,
        }
    }
}

fn join(fill: &Arc<Fill>, purges: &Purges) -> Followed {
    if fill.is_broken() {
        return Followed::Failed;
    }
    if purges.judge(&fill.facts(), fill.birth) != Verdict::Live {
        return Followed::LookAgain;
    }
    // Once it joined, the place holds the first byte even if the fill becomes a window right now.
    let filling = Filling::join(fill);
    if fill.is_open_to_all() {
        Followed::Filling(filling)
    } else {
        Followed::LookAgain
    }
}

/// One fetch under way.
#[derive(Debug)]
pub(crate) struct Flight {
    key: Key,
    open: Open,
    /// The tick when the request was sent; until then 0.
    sent: AtomicU64,
    /// The tick when the leader was chosen.
    begun: Tick,
    fate: watch::Sender<Fate>,
}

/// Who may wait for a flight before its head arrived.
#[derive(Debug)]
pub(crate) enum Open {
    /// Requests with the same selecting fields, as far as `vary` tells them: it is what the last answer named.
    ToVariant {
        vary: Arc<[Selector]>,
        selected_by: u128,
    },
    /// Nobody.
    ToNobody,
}

impl Open {
    fn is_to(&self, selecting: &mut Selecting<'_>) -> bool {
        match self {
            Self::ToVariant { vary, selected_by } => selecting.matches(vary, *selected_by),
            Self::ToNobody => false,
        }
    }
}

/// What a flight tells its followers.
#[derive(Debug)]
pub(crate) enum Fate {
    Asking,
    Filling(Arc<Fill>),
    LookAgain,
    Released(Reason),
    Failed,
}

impl Flight {
    fn new(key: Key, open: Open, begun: Tick) -> Self {
        let fate = watch::Sender::new(Fate::Asking);
        Self {
            key,
            open,
            sent: AtomicU64::new(0),
            begun,
            fate,
        }
    }

    /// The tick at which what it fetches is born. A lead that never said `sent` is judged by its beginning.
    fn birth(&self) -> Tick {
        match self.sent.load(Ordering::Acquire) {
            0 => self.begun,
            sent => Tick(sent),
        }
    }

    fn may_be_joined(&self, key: &Key, selecting: &mut Selecting<'_>, purges: &Purges) -> bool {
        if !self.key.is_same(key) {
            return false;
        }
        match &*self.fate.borrow() {
            Fate::Asking => {
                // What is not sent yet will be younger than every purge until now.
                let sent = Tick(self.sent.load(Ordering::Acquire));
                self.open.is_to(selecting)
                    && (sent == Tick::NEVER || purges.judge(&facts_of(key), sent) == Verdict::Live)
            }
            Fate::Filling(fill) => {
                selecting.matches(&fill.response.vary, fill.variant)
                    && !fill.is_broken()
                    && purges.judge(&fill.facts(), fill.birth) == Verdict::Live
            }
            Fate::LookAgain | Fate::Released(_) | Fate::Failed => false,
        }
    }
}

/// The youngest of the flights that a request may join.
fn joinable<'f>(
    flights: &'f Flights,
    key: &Key,
    (selecting, keys): (&SelectingFields<'_>, &KeyHasher),
    purges: &Purges,
) -> Option<&'f Arc<Flight>> {
    let of_key = flights.get(&key.primary())?;
    let mut selected = Selecting::new(*selecting, keys);
    let mut youngest_first = of_key.iter().rev();
    youngest_first.find(|flight| flight.may_be_joined(key, &mut selected, purges))
}

/// What is known of an answer to a key before it is there.
pub(crate) fn facts_of(key: &Key) -> Facts<'_> {
    Facts {
        partition: key.partition(),
        url: key.url(),
        path: key.path_and_query(),
        tags: &[],
    }
}

pub(crate) type Flights = HashMap<u128, Vec<Arc<Flight>>>;

/// The fetches under way, by primary key.
#[derive(Debug)]
pub(crate) struct InFlight<L = Mutex<Flights>> {
    shards: Box<[L]>,
    /// What all fills together keep in memory, in bytes.
    charged: AtomicU64,
}

/// The place that [`InFlight::take`] found.
pub(crate) enum Seat {
    Lead(Arc<Flight>),
    Follow(watch::Receiver<Fate>),
    /// Meanwhile the answer was stored.
    Stored,
}

impl<L: Lock<Flights>> InFlight<L> {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| L::around(Flights::new())).collect();
        Self {
            shards,
            charged: AtomicU64::new(0),
        }
    }

    /// Joins a flight, or begins one unless `stored`, asked under the lock, says that the answer is there: a fill is stored before
    /// its flight is taken out, so that whoever finds neither is the first. `vary` is what the last answer named.
    pub(crate) fn take(
        &self,
        key: &Key,
        (selecting, vary): (&SelectingFields<'_>, Arc<[Selector]>),
        keys: &KeyHasher,
        purges: &Purges,
        stored: impl FnOnce() -> bool,
    ) -> Seat {
        let mut flights = self.shard(key.primary()).lock();
        if let Some(flight) = joinable(&flights, key, (selecting, keys), purges) {
            return Seat::Follow(flight.fate.subscribe());
        }
        if stored() {
            return Seat::Stored;
        }
        let selected_by = selecting.hash(&vary, keys);
        let open = Open::ToVariant { vary, selected_by };
        let flight = Arc::new(Flight::new(key.to_kept(), open, purges.now()));
        let of_key = flights.entry(key.primary()).or_default();
        of_key.push(Arc::clone(&flight));
        Seat::Lead(flight)
    }

    /// Whether [`Self::take`] would join a flight now.
    pub(crate) fn has_joinable(
        &self,
        key: &Key,
        selecting: &SelectingFields<'_>,
        keys: &KeyHasher,
        purges: &Purges,
    ) -> bool {
        let flights = self.shard(key.primary()).lock();
        joinable(&flights, key, (selecting, keys), purges).is_some()
    }

    /// Begins a flight that nobody waits for unless it proves to be storable.
    pub(crate) fn take_apart(&self, key: &Key, begun: Tick) -> Arc<Flight> {
        let flight = Arc::new(Flight::new(key.to_kept(), Open::ToNobody, begun));
        let mut flights = self.shard(key.primary()).lock();
        let of_key = flights.entry(key.primary()).or_default();
        of_key.push(Arc::clone(&flight));
        flight
    }

    /// Takes a flight out: nobody can join it any more.
    pub(crate) fn land(&self, flight: &Arc<Flight>) {
        let primary = flight.key.primary();
        let mut flights = self.shard(primary).lock();
        if let Some(of_key) = flights.get_mut(&primary) {
            of_key.retain(|other| !Arc::ptr_eq(other, flight));
            if of_key.is_empty() {
                flights.remove(&primary);
            }
        }
    }

    /// The birth of the oldest that is under way, [`Tick::FOREVER`] when nothing is.
    pub(crate) fn oldest(&self) -> Tick {
        let of_shard = |shard: &L| {
            let shard = shard.lock();
            let births = shard.values().flatten().map(|flight| flight.birth());
            births.min()
        };
        let oldest = self.shards.iter().filter_map(of_shard).min();
        oldest.unwrap_or(Tick::FOREVER)
    }

    /// A fill keeps `now` bytes in memory instead of `before`; gives what all of them keep.
    pub(crate) fn charge(&self, before: u64, now: u64) -> u64 {
        if now >= before {
            self.charged.fetch_add(now - before, Ordering::Relaxed) + (now - before)
        } else {
            self.charged.fetch_sub(before - now, Ordering::Relaxed) - (before - now)
        }
    }

    /// Whether anything is under way for a primary key.
    pub(crate) fn has(&self, primary: u128) -> bool {
        self.shard(primary).lock().contains_key(&primary)
    }

    fn shard(&self, primary: u128) -> &L {
        &self.shards[primary as usize % SHARDS]
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
