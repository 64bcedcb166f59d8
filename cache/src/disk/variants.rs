//! Which slots of the index may answer a request whose stored responses vary?
//!
//! Asked by `volume` at every look-up on disk. A slot has no room for selecting fields, so that the lists of field names that responses of
//! a partition vary by are kept here, once each: they are few. For each of them the request's own fields give the hash under which its
//! variant is filed, and no record is read in vain. All variants of a key share the buckets of the index and the upper part of its tag;
//! the lowest byte tells them apart. The record has the last word (RFC 9111 §4.1).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::key::{KeyHasher, Partition};
use crate::semantics::vary::{SelectingFields, Selector};

use super::index::table::{Table, VARIANT_BITS};

/// Lists of one partition; beyond, what varies by the oldest is not found any more.
const LISTS_MAX: usize = 32;
/// The lowest byte of a key's hash tells its variants apart: what does not vary has the key's own.
const _: () = assert!(VARIANT_BITS == u8::BITS);

/// Under which a response is filed in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Filed {
    pub(super) primary: u128,
    /// [`variant_of`].
    pub(super) variant: u32,
}

impl Filed {
    /// The hash that the table knows.
    pub(super) fn hash(self) -> u128 {
        let byte = match self.variant {
            0 => 0,
            variant => u128::from(variant % 255) + 1,
        };
        // Exclusive or: a tag with a constant byte would take 256 times as many strangers for acquaintances.
        self.primary ^ byte
    }
}

/// The hash of a list of selectors; 0 for none.
pub(super) fn vary_of(selectors: &[Selector], keys: &KeyHasher) -> u32 {
    if selectors.is_empty() {
        return 0;
    }
    let mut text = Vec::new();
    for selector in selectors {
        text.extend(selector.field().as_str().as_bytes());
        match selector {
            Selector::Field(_) => {}
            Selector::Cookie(pattern) => {
                text.push(b'=');
                text.extend(pattern.as_bytes());
            }
            Selector::Language(tag) => {
                text.push(b'=');
                text.extend(tag.as_deref().unwrap_or_default().as_bytes());
            }
        }
        text.push(b',');
    }
    (keys.hash(&text) as u32).max(1)
}

/// The hash of a list and of what the fields say; 0 where nothing is selected by.
pub(super) fn variant_of(vary: u32, selected_by: u128) -> u32 {
    if vary == 0 {
        return 0;
    }
    let mixed = (selected_by as u64 ^ u64::from(vary)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 32) as u32).max(1)
}

/// Whether the table may hold any variant of a key, and whether one that varies.
pub(super) fn family(table: &Table, primary: u128) -> Family {
    let variants = table.variants(primary);
    if variants.iter().any(|byte| *byte != primary as u8) {
        Family::Varies
    } else if variants.is_empty() {
        Family::None
    } else {
        Family::Plain
    }
}

/// What [`family`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    None,
    Plain,
    Varies,
}

/// The lists that responses on one volume vary by.
#[derive(Debug, Default)]
pub(super) struct Lists {
    of_partition: RwLock<HashMap<Partition, Vec<List>>>,
}

#[derive(Clone, Debug)]
struct List {
    vary: u32,
    selectors: Arc<[Selector]>,
}

impl Lists {
    /// Whether a list is known; none is.
    pub(super) fn knows(&self, partition: Partition, vary: u32) -> bool {
        if vary == 0 {
            return true;
        }
        let has = |lists: &Vec<List>| lists.iter().any(|list| list.vary == vary);
        let lists = self.of_partition.read();
        lists.get(&partition).is_some_and(has)
    }

    /// Notes a list.
    pub(super) fn learn(&self, partition: Partition, vary: u32, selectors: &[Selector]) {
        if self.knows(partition, vary) {
            return;
        }
        let selectors = selectors.iter().cloned().collect();
        let mut lists = self.of_partition.write();
        let of_partition = lists.entry(partition).or_default();
        if of_partition.len() >= LISTS_MAX {
            of_partition.remove(0);
        }
        of_partition.push(List { vary, selectors });
    }

    /// How many a partition has.
    pub(super) fn count(&self, partition: Partition) -> usize {
        let lists = self.of_partition.read();
        lists.get(&partition).map_or(0, Vec::len)
    }

    /// Where what a request selects may be filed: without selecting fields first, then by every known list.
    pub(super) fn candidates(
        &self,
        (primary, partition): (u128, Partition),
        selecting: &SelectingFields<'_>,
        keys: &KeyHasher,
    ) -> Vec<Filed> {
        let lists = self.of_partition.read().get(&partition).cloned();
        let by_list = |list: &List| variant_of(list.vary, selecting.hash(&list.selectors, keys));
        let varied = lists.iter().flatten().map(by_list);
        std::iter::once(0)
            .chain(varied)
            .map(|variant| Filed { primary, variant })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> KeyHasher {
        KeyHasher::new([3; 16])
    }

    #[test]
    fn variants_of_a_key_share_all_but_the_lowest_byte() {
        let primary = 0x1234_5678_9abc_def0_1234_5678_9abc_def7;
        let hash = |variant| Filed { primary, variant }.hash();
        assert_eq!(hash(0), primary, "as unlike others as can be");
        for variant in [1, 2, 254, 255, 256, u32::MAX] {
            assert_ne!(hash(variant) as u8, primary as u8, "{variant}");
            assert_eq!(hash(variant) >> 8, primary >> 8);
        }
    }

    #[test]
    fn what_varies_has_another_hash_than_what_does_not() {
        let field = || Selector::Field(http::header::ACCEPT_LANGUAGE);
        let language = |tag: &str| Selector::Language(Some(tag.into()));
        let vary = vary_of(&[field()], &keys());
        assert_ne!(vary, vary_of(&[language("de")], &keys()));
        assert_ne!(vary, 0);
        assert_eq!(vary_of(&[], &keys()), 0);
        assert_eq!(variant_of(0, 77), 0);
        assert_ne!(variant_of(vary, 77), 0);
        assert_ne!(variant_of(vary, 77), variant_of(vary, 78));
    }

    #[test]
    fn a_partition_remembers_its_newest_lists_and_no_other_partitions() {
        let lists = Lists::default();
        let site = Partition(7);
        for vary in 1..=LISTS_MAX as u32 + 1 {
            lists.learn(site, vary, &[Selector::Field(http::header::ACCEPT)]);
        }
        assert!(!lists.knows(site, 1));
        assert!((2..=LISTS_MAX as u32 + 1).all(|vary| lists.knows(site, vary)));
        assert!(!lists.knows(Partition(8), 2) && lists.knows(Partition(8), 0));
        let fields = http::HeaderMap::new();
        let selecting = SelectingFields::of(&fields);
        let count = |partition| lists.candidates((1, partition), &selecting, &keys()).len();
        assert_eq!((count(site), count(Partition(8))), (LISTS_MAX + 1, 1));
    }
}
