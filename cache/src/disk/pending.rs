//! Which version of a response is on its way to disk: only the newest that was committed may get there, and only it may be found.
//!
//! A commit claims the place of its response; the claim goes with the record through the writer's queue and is settled when the record is
//! written. A version that was overtaken is not written any more, so that of one response the later record is always the newer version:
//! recovery relies on it. While a volume loads, a claim that has ended still keeps older records of its response out. Until it ends, who
//! looks for the response is given what is on its way: it may have left memory by then, and nothing else of it may be found.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::variant::{Variant, Version};

use super::variants::Filed;

/// Locks that responses are spread over.
const SHARDS: usize = 64;

/// The claims of one volume.
#[derive(Debug)]
pub(super) struct Pending {
    shards: Box<[Mutex<HashMap<Filed, Claimed>>]>,
    loading: AtomicBool,
}

#[derive(Debug)]
struct Claimed {
    version: Version,
    /// Held by whoever has claimed.
    variant: Weak<Variant>,
    ended: bool,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            loading: AtomicBool::new(true),
        }
    }

    /// Claims the place of a response for a version. `None`: a newer version has it.
    #[cfg(test)]
    pub(super) fn claim(&self, filed: Filed, version: Version) -> Option<Overtakes> {
        self.claim_if(filed, version, Weak::new(), || true)
    }

    /// The same, and only if `is_newest`, asked under the lock: a commit is in memory before it claims.
    pub(super) fn claim_if(
        &self,
        filed: Filed,
        version: Version,
        variant: Weak<Variant>,
        is_newest: impl FnOnce() -> bool,
    ) -> Option<Overtakes> {
        let mut claims = self.shard(filed.primary).lock();
        // Nor twice for the same version: whoever claimed it first writes it.
        let newer = claims.get(&filed).filter(|claim| claim.version >= version);
        if newer.is_some() || !is_newest() {
            return None;
        }
        let claimed = Claimed {
            version,
            variant,
            ended: false,
        };
        Some(match claims.insert(filed, claimed) {
            Some(Claimed { ended: false, .. }) => Overtakes::OnItsWay,
            Some(_) | None => Overtakes::Nothing,
        })
    }

    /// Whether any response of a key is on its way.
    pub(super) fn has(&self, primary: u128) -> bool {
        let claims = self.shard(primary).lock();
        let is_it = |(filed, claim): (&Filed, &Claimed)| filed.primary == primary && !claim.ended;
        claims.iter().any(is_it)
    }

    /// Whether any other response of a key is on its way.
    pub(super) fn has_beside(&self, filed: Filed) -> bool {
        let claims = self.shard(filed.primary).lock();
        let is_other = |(other, claim): (&Filed, &Claimed)| {
            other.primary == filed.primary && other.variant != filed.variant && !claim.ended
        };
        claims.iter().any(is_other)
    }

    /// Whether a version is on its way.
    pub(super) fn is_claimed(&self, filed: Filed) -> bool {
        let claims = self.shard(filed.primary).lock();
        claims.get(&filed).is_some_and(|claim| !claim.ended)
    }

    /// What is on its way, if anything is; within that `None` when it is given up just now.
    pub(super) fn on_its_way(&self, filed: Filed) -> Option<Option<Arc<Variant>>> {
        let claims = self.shard(filed.primary).lock();
        let claim = claims.get(&filed).filter(|claim| !claim.ended)?;
        Some(claim.variant.upgrade())
    }

    /// Whether a version has its place still.
    pub(super) fn is_current(&self, filed: Filed, version: Version) -> bool {
        let claims = self.shard(filed.primary).lock();
        let is_it = |claim: &Claimed| claim.version == version && !claim.ended;
        claims.get(&filed).is_some_and(is_it)
    }

    /// Ends a claim; `then` is done under the lock if no newer version has the place by now.
    pub(super) fn end(&self, filed: Filed, version: Version, then: impl FnOnce()) {
        let mut claims = self.shard(filed.primary).lock();
        match claims.get_mut(&filed) {
            Some(claim) if claim.version == version && !claim.ended => {
                (claim.ended, claim.variant) = (true, Weak::new());
            }
            _ => return,
        }
        then();
        if !self.loading.load(Ordering::Acquire) {
            claims.remove(&filed);
        }
    }

    /// Does `then` with the place of a response unless something was committed for it since the start.
    pub(super) fn unless_claimed(&self, filed: Filed, then: impl FnOnce()) -> bool {
        let claims = self.shard(filed.primary).lock();
        let is_free = !claims.contains_key(&filed);
        if is_free {
            then();
        }
        is_free
    }

    /// Nothing older can appear any more.
    pub(super) fn finish_loading(&self) {
        self.loading.store(false, Ordering::Release);
        for shard in &self.shards {
            let mut claims = shard.lock();
            claims.retain(|_, claim| !claim.ended);
            claims.shrink_to_fit();
        }
    }

    fn shard(&self, primary: u128) -> &Mutex<HashMap<Filed, Claimed>> {
        &self.shards[(primary >> 32) as usize % SHARDS]
    }
}

/// What a claim took the place from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overtakes {
    Nothing,
    /// An older version was on its way; it may reach the disk all the same, where nobody knows it.
    OnItsWay,
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILED: Filed = Filed {
        primary: 5,
        variant: 6,
    };

    fn claim(pending: &Pending, version: u64) -> bool {
        pending.claim(FILED, Version(version)).is_some()
    }

    fn ends(pending: &Pending, version: u64) -> bool {
        let mut done = false;
        pending.end(FILED, Version(version), || done = true);
        done
    }

    #[test]
    fn only_the_newest_version_is_current_and_settles() {
        let pending = Pending::new();
        pending.finish_loading();
        assert!(claim(&pending, 1) && claim(&pending, 2) && !claim(&pending, 1));
        assert!(!pending.is_current(FILED, Version(1)) && pending.is_current(FILED, Version(2)));
        assert!(!claim(&pending, 2), "it is claimed already");
        assert!(!ends(&pending, 1), "overtaken");
        assert!(ends(&pending, 2) && !ends(&pending, 2), "once");
        assert!(!pending.is_current(FILED, Version(2)));
        assert!(pending.unless_claimed(FILED, || {}));
    }

    #[test]
    fn what_is_on_its_way_is_known_until_it_is_there() {
        let pending = Pending::new();
        let overtaken = |version| pending.claim(FILED, Version(version));
        assert!(!pending.has(FILED.primary));
        assert_eq!(overtaken(1), Some(Overtakes::Nothing));
        assert!(pending.has(FILED.primary) && !pending.has(FILED.primary + 1));
        assert_eq!(overtaken(2), Some(Overtakes::OnItsWay));
        assert!(ends(&pending, 2) && !pending.has(FILED.primary));
        assert_eq!(overtaken(3), Some(Overtakes::Nothing), "while it loads");
    }

    #[test]
    fn what_was_committed_while_loading_keeps_older_records_out() {
        let pending = Pending::new();
        assert!(pending.unless_claimed(FILED, || {}));
        assert!(claim(&pending, 1) && ends(&pending, 1));
        assert!(!pending.unless_claimed(FILED, || {}));
        assert!(!claim(&pending, 0), "even a commit");
        pending.finish_loading();
        assert!(pending.unless_claimed(FILED, || {}));
    }
}
