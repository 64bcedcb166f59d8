//! An answer to POST on its way into the store, for later GETs (RFC 9110 §9.3.3, RFC 9111 §4).
//!
//! Called by `edge::response::posted` around one POST. Nobody waits for it or reads along, since it belongs to the client that posted;
//! so it is put in whole, after its last byte, and only if the order of events leaves no doubt: [`Posting`] is known to the store from before
//! the request is sent, its own invalidations (RFC 9111 §4.4) go through it, and if anything else was purged in between, whatever it was,
//! the answer is not stored. Invariant 4 holds that way although the answer is younger than what its own request invalidated.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::collapse::Collapse;
use crate::key::Key;
use crate::purge::PurgeError;
use crate::semantics::vary::SelectingFields;
use crate::store::Cache;
use crate::stored::StoredResponse;

/// The POSTs under way whose answers may be stored, by URL: what invalidates one of these URLs is written down although nothing is stored.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    by_url: Mutex<HashMap<u128, usize>>,
}

impl Postings {
    /// Whether there is one for a URL ([`Key::url`]).
    pub(crate) fn has(&self, url: u128) -> bool {
        self.by_url.lock().contains_key(&url)
    }

    fn enter(&self, url: u128) {
        *self.by_url.lock().entry(url).or_default() += 1;
    }

    fn leave(&self, url: u128) {
        let mut by_url = self.by_url.lock();
        if let Some(count) = by_url.get_mut(&url) {
            *count -= 1;
            if *count == 0 {
                by_url.remove(&url);
            }
        }
    }
}

/// A POST under way. Dropping it stores nothing.
#[derive(Debug)]
pub struct Posting {
    cache: Arc<Cache>,
    key: Key,
    /// The sequence of the last purge, if the last one is its own or was answered before it was sent.
    purged: u64,
}

impl Posting {
    /// A POST whose answer may be stored under this key. Call it before the request is sent.
    pub fn begin(cache: &Arc<Cache>, key: &Key) -> Self {
        cache.postings().enter(key.url());
        Self {
            cache: Arc::clone(cache),
            key: key.to_kept(),
            purged: cache.purges().sequence(),
        }
    }

    /// Invalidates a URL because of its answer, as [`Cache::invalidate`] does.
    ///
    /// # Errors
    /// When the journal could not be written.
    pub async fn invalidate(&mut self, key: &Key) -> Result<(), PurgeError> {
        let purged = self.cache.invalidate(key).await?;
        // Another purge in between has taken the next number: then the two never meet again.
        self.purged += u64::from(purged.is_some());
        Ok(())
    }

    /// Stores the answer, unless anything was purged, fetched or stored meanwhile that it could be older than. Whether it was stored.
    pub async fn store(
        self,
        selecting: &SelectingFields<'_>,
        response: StoredResponse,
        content: Bytes,
    ) -> bool {
        let Collapse::Lead(lead) = self.cache.collapse(&self.key, selecting, None) else {
            return false;
        };
        // From here on the lead is younger than what was purged before, and older than what will be.
        if self.cache.purges().sequence() != self.purged {
            return false;
        }
        let variant = selecting.hash(&response.vary, self.cache.keys());
        let (mut writer, reader) = lead.begin(response, variant, Some(content.len() as u64));
        drop(reader);
        let written = content.is_empty() || writer.write(content).await.is_ok();
        written && writer.finish().await.is_ok()
    }
}

impl Drop for Posting {
    fn drop(&mut self) {
        self.cache.postings().leave(self.key.url());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::Purge;
    use crate::test_support::{Bench, content, directory, memory_only, response};

    const LENGTH: usize = 1000;

    fn bench() -> (tempfile::TempDir, Bench) {
        let place = directory();
        let bench = Bench::open(memory_only(&place));
        (place, bench)
    }

    async fn store(bench: &Bench, posting: Posting) -> bool {
        let answer = response("posted", &[], &[]);
        posting
            .store(&bench.selecting(), answer, content(1, LENGTH))
            .await
    }

    async fn stored(bench: &Bench) -> Option<String> {
        bench.stored("/form").await.map(|(name, _)| name)
    }

    #[tokio::test]
    async fn it_replaces_what_its_own_request_invalidated() {
        let (_place, bench) = bench();
        bench
            .store("/form", response("old", &[], &[]), content(0, LENGTH))
            .await;
        let key = bench.key("/form");
        let mut posting = Posting::begin(&bench.cache, &key);
        posting.invalidate(&key).await.unwrap();
        assert_eq!(stored(&bench).await, None);
        posting.invalidate(&bench.key("/elsewhere")).await.unwrap();
        assert!(store(&bench, posting).await);
        assert_eq!(stored(&bench).await.as_deref(), Some("posted"));
        assert!(!bench.cache.postings().has(key.url()));
    }

    #[tokio::test]
    async fn what_was_purged_between_its_request_and_its_end_keeps_it_out() {
        for before_its_own in [true, false] {
            let (_place, bench) = bench();
            let key = bench.key("/form");
            let mut posting = Posting::begin(&bench.cache, &key);
            if !before_its_own {
                posting.invalidate(&key).await.unwrap();
            }
            bench.cache.purge(Purge::url(&key)).await.unwrap();
            if before_its_own {
                posting.invalidate(&key).await.unwrap();
            }
            assert!(!store(&bench, posting).await);
            assert_eq!(stored(&bench).await, None);
        }
    }

    #[tokio::test]
    async fn another_unsafe_request_keeps_it_out_though_nothing_was_stored() {
        let (_place, bench) = bench();
        let key = bench.key("/form");
        let mut posting = Posting::begin(&bench.cache, &key);
        bench.cache.invalidate(&key).await.unwrap();
        posting.invalidate(&key).await.unwrap();
        assert!(!store(&bench, posting).await);
    }

    #[tokio::test]
    async fn what_a_get_fetches_or_fetched_meanwhile_stays() {
        let (_place, bench) = bench();
        let key = bench.key("/form");
        let posting = Posting::begin(&bench.cache, &key);
        let lead = bench.lead("/form");
        assert!(!store(&bench, posting).await);
        drop(lead);
        let posting = Posting::begin(&bench.cache, &key);
        bench
            .store("/form", response("fetched", &[], &[]), content(0, LENGTH))
            .await;
        assert!(!store(&bench, posting).await);
        assert_eq!(stored(&bench).await.as_deref(), Some("fetched"));
    }

    #[tokio::test]
    async fn an_empty_answer_is_stored_too() {
        let (_place, bench) = bench();
        let posting = Posting::begin(&bench.cache, &bench.key("/form"));
        let answer = response("empty", &[], &[]);
        assert!(
            posting
                .store(&bench.selecting(), answer, Bytes::new())
                .await
        );
        assert_eq!(stored(&bench).await.as_deref(), Some("empty"));
    }
}
