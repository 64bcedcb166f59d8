//! Which answers are for one client each: what the last ones taught, so that requests for them do not wait for one another.
//!
//! Asked by `edge::story` before it collapses a request, taught by `edge::response::store` through [`crate::collapse::Lead`]. A predicted
//! request still fetches in a way that can be stored, and an answer that is stored ends the prediction: it costs a few fetches to be
//! wrong, never an answer. Pure: `now` and what was purged are arguments. Knows a fixed number of answers and no site.
//! Invariant: an answer predicts only for requests that it could have been given to: the same key, the same selecting fields
//! (RFC 9111 §4.1), no less personal, and judged by the same rules.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use crate::key::{Key, KeyHasher};
use crate::purge::Tick;
use crate::reason::Reason;
use crate::semantics::directives::RequestDirectives;
use crate::semantics::request::RequestPolicy;
use crate::semantics::rules::Rules;
use crate::semantics::vary::{self, SelectingFields, Selector};
use crate::time::Timestamp;

/// How long an answer predicts. As long as Varnish's `uncacheable_ttl`: most pages that become storable do so by a purge, which ends it.
pub const PREDICTION_LIFETIME: Duration = Duration::from_secs(120);
/// The keys are spread over this many sets, each with its own lock.
const SETS: usize = 4096;
/// Answers that one set remembers, and thus the most of one key; beyond, the oldest is forgotten. All sets full take some 3 MiB, and
/// less than 20 MiB if every answer had the longest `Vary`.
const WAYS: usize = 8;
/// Bytes that the names of the selecting fields may have together; an answer with more predicts nothing.
const VARY_BYTES_MAX: usize = 128;

/// Who asks for what: all that a prediction depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// What is asked for.
    pub key: &'a Key,
    /// What selects among variants.
    pub selecting: SelectingFields<'a>,
    /// What else of the request the answer may have been made for.
    pub credentials: Credentials,
    /// Names the rules in force: what was learned under others is forgotten.
    pub rules: u64,
}

/// What of a request may make its answer personal without a word of `Vary`, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A cookie that the site's rules do not ignore.
    Cookie,
    /// `Authorization`.
    Authorization,
}

impl Credentials {
    /// Those of a request.
    pub const fn of(request: &RequestPolicy) -> Self {
        if request.authorization {
            Self::Authorization
        } else if request.personal {
            Self::Cookie
        } else {
            Self::None
        }
    }
}

/// Whether an answer that is not stored for this reason says something about the next ones. Not if it tells how the origin is (a server
/// error, 429), nor if it was this one request that forbade it; `Authorization` and cookies teach about requests that have them too.
pub fn teaches(why: Reason, status: StatusCode, request: &RequestDirectives) -> bool {
    let is_about_origin = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let is_about_answer = matches!(
        why,
        Reason::Authorization
            | Reason::CookieUnknown
            | Reason::SetCookie
            | Reason::NoStore
            | Reason::Private
            | Reason::NoCache
            | Reason::NoFreshness
            | Reason::VaryStar
            | Reason::VaryLimit
            | Reason::TooLarge
            | Reason::TooManyTags
            | Reason::Status
    );
    is_about_answer && !is_about_origin && !request.no_store
}

/// The selecting fields of an answer that is not stored: those of its `Vary`; none where that selects nothing that could be found again.
pub fn selectors(response: &HeaderMap, rules: &Rules) -> Box<[Selector]> {
    vary::selectors(response, response, rules.languages, rules.litespeed).unwrap_or_default()
}

/// What the last answers taught. Bounded in number and size; locks are held for a look at [`WAYS`] entries.
#[derive(Debug)]
pub(crate) struct Predictions {
    keys: KeyHasher,
    sets: Box<[Mutex<Vec<Lesson>>]>,
}

/// One answer that could not be stored.
#[derive(Clone, Debug)]
struct Lesson {
    primary: u128,
    vary: Arc<[Selector]>,
    /// The hash of the selecting fields.
    selected_by: u128,
    credentials: Credentials,
    rules: u64,
    why: Reason,
    born: Tick,
    learned: Timestamp,
}

impl Lesson {
    /// Whether it is old, or the clock went back behind it.
    fn is_over(&self, now: Timestamp) -> bool {
        now < self.learned || now.since(self.learned) >= PREDICTION_LIFETIME
    }

    /// Whether the asker could have been given this answer.
    fn is_about(&self, asker: &Asker<'_>, keys: &KeyHasher) -> bool {
        self.primary == asker.key.primary()
            && self.rules == asker.rules
            && self.credentials <= asker.credentials
            && asker.selecting.hash(&self.vary, keys) == self.selected_by
    }
}

impl Predictions {
    pub(crate) fn new(keys: KeyHasher) -> Self {
        Self {
            keys,
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Why the asker's answer is most likely not for sharing. `lives` tells whether something born at a tick was not purged since.
    pub(crate) fn predict(
        &self,
        asker: &Asker<'_>,
        now: Timestamp,
        lives: impl Fn(Tick) -> bool,
    ) -> Option<Reason> {
        let mut set = self.set(asker.key).lock();
        let is_mine = |lesson: &Lesson| lesson.primary == asker.key.primary();
        set.retain(|lesson| !lesson.is_over(now) && (!is_mine(lesson) || lives(lesson.born)));
        set.iter()
            .find(|lesson| lesson.is_about(asker, &self.keys))
            .map(|lesson| lesson.why)
    }

    /// Takes in that an answer to the asker, born at `born` and selected by the fields `vary`, was not stored.
    pub(crate) fn learn(
        &self,
        asker: &Asker<'_>,
        (why, vary): (Reason, &[Selector]),
        born: Tick,
        now: Timestamp,
    ) {
        if vary.iter().map(Selector::bytes).sum::<usize>() > VARY_BYTES_MAX {
            return;
        }
        let lesson = Lesson {
            primary: asker.key.primary(),
            vary: vary.into(),
            selected_by: asker.selecting.hash(vary, &self.keys),
            credentials: asker.credentials,
            rules: asker.rules,
            why,
            born,
            learned: now,
        };
        let mut set = self.set(asker.key).lock();
        set.retain(|known| !known.is_over(now) && !known.is_about(asker, &self.keys));
        if set.len() >= WAYS {
            set.remove(0); // the oldest: they are in the order in which they were learned
        }
        set.push(lesson);
    }

    /// Takes in that an answer to the asker is being stored: what would have predicted otherwise is over.
    pub(crate) fn unlearn(&self, asker: &Asker<'_>) {
        self.set(asker.key)
            .lock()
            .retain(|lesson| !lesson.is_about(asker, &self.keys));
    }

    /// The selecting fields that the last answer for a key named, if it is remembered.
    pub(crate) fn vary_of(&self, key: &Key) -> Option<Arc<[Selector]>> {
        let set = self.set(key).lock();
        let last = set
            .iter()
            .rev()
            .find(|lesson| lesson.primary == key.primary());
        last.map(|lesson| Arc::clone(&lesson.vary))
    }

    fn set(&self, key: &Key) -> &Mutex<Vec<Lesson>> {
        // Not the bits that choose the shards of flights and memory: those would leave most sets of a shard together.
        &self.sets[(key.primary() >> 64) as usize % SETS]
    }
}

#[cfg(test)]
mod tests;
