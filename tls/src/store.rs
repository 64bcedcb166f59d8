//! Which certificate answers for which name?
//!
//! Built by `edge` whenever a certificate comes or goes, and read by [`crate::resolver`] once a handshake: an immutable snapshot, so
//! that a handshake sees all of one set of certificates or all of another. Knows no files: a chain comes with a label to name it by.
//! Order of choice (RFC 9525 §6.3 for what covers what): the exact name, then the wildcard one label up, then the default. Where several
//! chains cover one name, the one in its life wins, then the one that ends last, then the first label: never the order of a directory.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::Arc;

use rustls::sign::CertifiedKey;

use crate::chain::{Chain, UnixSeconds, Validity};
use crate::name::{CertificateName, normalize, parent_of};

/// A chain and where it came from.
#[derive(Clone, Debug)]
pub struct Entry {
    label: Arc<str>,
    chain: Chain,
}

impl Entry {
    /// Where it came from: a file name, the name of an upload.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The chain.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What makes it the better of two for one name: greater is better.
    fn rank(&self, now: UnixSeconds) -> (Validity, UnixSeconds, std::cmp::Reverse<&str>) {
        (
            self.chain.validity(now),
            self.chain.not_after(),
            std::cmp::Reverse(&self.label),
        )
    }
}

/// A snapshot of all certificates.
#[derive(Clone, Debug, Default)]
pub struct Store {
    exact: HashMap<Arc<str>, Arc<Entry>>,
    /// By the name without its `*.`.
    wildcard: HashMap<Arc<str>, Arc<Entry>>,
    default: Option<Arc<Entry>>,
}

impl Store {
    /// Builds the snapshot from labelled chains. The default answers for names that nothing covers, and for clients without SNI; its own
    /// names count like any other's. `now` only decides between chains of one name.
    pub fn build(
        chains: impl IntoIterator<Item = (String, Chain)>,
        default: Option<(String, Chain)>,
        now: UnixSeconds,
    ) -> Self {
        let mut store = Self::default();
        for (label, chain) in chains {
            store.index(
                &Arc::new(Entry {
                    label: label.into(),
                    chain,
                }),
                now,
            );
        }
        if let Some((label, chain)) = default {
            let entry = Arc::new(Entry {
                label: label.into(),
                chain,
            });
            store.index(&entry, now);
            store.default = Some(entry);
        }
        store
    }

    fn index(&mut self, entry: &Arc<Entry>, now: UnixSeconds) {
        for name in entry.chain.names() {
            let (map, key) = match name {
                CertificateName::Exact(key) => (&mut self.exact, key),
                CertificateName::Wildcard(key) => (&mut self.wildcard, key),
            };
            match map.entry(Arc::clone(key)) {
                hash_map::Entry::Vacant(place) => {
                    place.insert(Arc::clone(entry));
                }
                hash_map::Entry::Occupied(mut place) => {
                    if entry.rank(now) > place.get().rank(now) {
                        place.insert(Arc::clone(entry));
                    }
                }
            }
        }
    }

    /// The certificate that covers `host` by name; the default does not count unless it names the host.
    pub fn find(&self, host: &str) -> Option<&Entry> {
        let host = normalize(host);
        let found = self
            .exact
            .get(host.as_ref())
            .or_else(|| self.wildcard.get(parent_of(&host)?));
        found.map(Arc::as_ref)
    }

    /// Whether a certificate covers `host` by name: what a redirect to HTTPS may rely on. Says nothing of dates.
    pub fn has(&self, host: &str) -> bool {
        self.find(host).is_some()
    }

    /// What a handshake with this server name is answered with; `None`: it is refused.
    pub fn choose(&self, server_name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let named = server_name.and_then(|name| self.find(name));
        named
            .or(self.default.as_deref())
            .map(|entry| entry.chain.certified_key())
    }

    /// The default certificate.
    pub fn default_entry(&self) -> Option<&Entry> {
        self.default.as_deref()
    }

    /// Each certificate that can still answer a handshake, once, in order of labels. One that lost all its names is not here.
    pub fn in_use(&self) -> Vec<&Entry> {
        let indexed = self
            .exact
            .values()
            .chain(self.wildcard.values())
            .chain(&self.default);
        let mut entries: Vec<&Arc<Entry>> = indexed.collect();
        entries.sort_by(|one, other| {
            (&one.label, Arc::as_ptr(one)).cmp(&(&other.label, Arc::as_ptr(other)))
        });
        entries.dedup_by(|one, other| Arc::ptr_eq(one, other));
        entries.into_iter().map(Arc::as_ref).collect()
    }

    /// How many names are covered, a wildcard counting as one.
    pub fn names(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tests::Issued;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn store(chains: &[(&str, Issued)], default: Option<Issued>) -> Store {
        let chains = chains
            .iter()
            .map(|(label, issued)| ((*label).to_owned(), issued.chain()));
        Store::build(
            chains,
            default.map(|issued| ("default".to_owned(), issued.chain())),
            NOW,
        )
    }

    fn check(store: &Store, host: &str, label: Option<&str>) {
        assert_eq!(store.find(host).map(Entry::label), label, "{host}");
        assert_eq!(store.has(host), label.is_some(), "{host}");
    }

    #[test]
    fn an_exact_name_goes_before_a_wildcard_and_the_default_covers_only_its_own_names() {
        let store = store(
            &[
                (
                    "one",
                    Issued::for_names(&["www.example.com", "*.example.org"]),
                ),
                ("wild", Issued::for_names(&["*.example.com"])),
            ],
            Some(Issued::for_names(&["edge.example.net"])),
        );
        check(&store, "www.example.com", Some("one"));
        check(&store, "WWW.Example.Com.", Some("one"));
        check(&store, "shop.example.com", Some("wild"));
        check(&store, "a.shop.example.com", None);
        check(&store, "example.com", None);
        check(&store, "a.example.org", Some("one"));
        check(&store, "edge.example.net", Some("default"));
        check(&store, "", None);
        assert_eq!(store.names(), 4);
        assert_eq!(store.in_use().len(), 3);
    }

    #[test]
    fn the_default_answers_unknown_names_and_clients_without_sni() {
        let with = store(
            &[("one", Issued::for_names(&["a.example"]))],
            Some(Issued::for_names(&["d.example"])),
        );
        let default = with
            .default_entry()
            .expect("a default")
            .chain()
            .certified_key();
        for name in [None, Some("unknown.example")] {
            assert!(
                with.choose(name)
                    .is_some_and(|key| Arc::ptr_eq(key, default)),
                "{name:?}"
            );
        }
        assert!(
            with.choose(Some("a.example"))
                .is_some_and(|key| !Arc::ptr_eq(key, default))
        );
        let without = store(&[("one", Issued::for_names(&["a.example"]))], None);
        assert!(without.choose(None).is_none());
        assert!(without.choose(Some("unknown.example")).is_none());
    }

    #[test]
    fn of_two_chains_for_one_name_the_living_then_the_longer_then_the_first_label_wins() {
        let living = |label, until| {
            (
                label,
                Issued::for_names(&["a.example"]).until(NOW.0 + until),
            )
        };
        let both_orders =
            |one: &(&'static str, Issued), other: &(&'static str, Issued), winner: &str| {
                check(
                    &store(&[one.clone(), other.clone()], None),
                    "a.example",
                    Some(winner),
                );
                check(
                    &store(&[other.clone(), one.clone()], None),
                    "a.example",
                    Some(winner),
                );
            };
        both_orders(&living("x", 1_000), &living("y", 2_000), "y");
        both_orders(&living("x", 1_000), &living("y", 1_000), "x");
        both_orders(&living("x", -1_000), &living("y", 1_000), "y");
        let future = (
            "z",
            Issued::for_names(&["a.example"])
                .from(NOW.0 + 500)
                .until(NOW.0 + 5_000),
        );
        both_orders(&living("x", 1_000), &future, "x");
        both_orders(&living("x", -1_000), &future, "z");
    }

    #[test]
    fn a_chain_that_lost_all_its_names_is_no_longer_in_use() {
        let short = Issued::for_names(&["a.example"]).until(NOW.0 + 1);
        let long = Issued::for_names(&["a.example"]).until(NOW.0 + 100);
        let store = store(&[("short", short), ("long", long)], None);
        assert_eq!(
            store
                .in_use()
                .iter()
                .map(|entry| entry.label())
                .collect::<Vec<_>>(),
            ["long"]
        );
    }
}
