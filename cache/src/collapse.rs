//! One fetch per key: who leads it, who follows, and what becomes of the followers.
//!
//! Called by `edge::request::lookup` when the store cannot answer. Waiters wake by notification. A lead that is dropped without a word
//! fails its followers, so that no request waits for a fetch that is gone.

use crate::fill::{FillWriter, Filling};
use crate::key::Key;
use crate::reason::Reason;
use crate::stored::StoredResponse;

/// The place of a request among those that want the same key now.
#[derive(Debug)]
pub enum Collapse {
    /// It is the first: it fetches for all.
    Lead(Lead),
    /// Another one fetches already.
    Follow(Follower),
}

/// The right to fetch for a key, and the duty to say what became of it.
#[derive(Debug)]
pub struct Lead {}

impl Lead {
    /// The key that is fetched.
    pub fn key(&self) -> &Key {
        unimplemented!()
    }

    /// Marks that the request is sent to the origin now: purges answered before this do not touch the response.
    pub fn sent(&mut self) {
        unimplemented!()
    }

    /// The head arrived and may be stored: followers whose selecting fields match become readers.
    /// `variant` is the hash of the leader's selecting fields, `length` the announced content length.
    pub fn begin(
        self,
        _response: StoredResponse,
        _variant: u128,
        _length: Option<u64>,
    ) -> (FillWriter, Filling) {
        unimplemented!()
    }

    /// The response is for the leader alone: followers fetch for themselves.
    pub fn release(self, _why: Reason) {
        unimplemented!()
    }

    /// The stored response was freshened: followers look it up again.
    pub fn freshened(self) {
        unimplemented!()
    }
}

/// A request that waits for the leader's answer.
#[derive(Debug)]
pub struct Follower {}

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
    /// Waits for the leader. Put a deadline around it (`limits.collapse_wait`).
    pub async fn outcome(self) -> Followed {
        unimplemented!()
    }
}
