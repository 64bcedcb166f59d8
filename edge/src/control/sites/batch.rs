//! Which of the documents that came together can come into force together?
//!
//! Asked by [`super::load`] for each batch. Pure. A domain belongs to one site, so a batch is judged as a whole: what a site of the batch gives up
//! another may take, in a ring too. Between two that want the same domain, the one that has it keeps it, else the first by name gets it.
//! Invariant: placing all that are chosen, after their older selves were taken out, takes no domain from anybody else.

use std::collections::BTreeSet;
use std::collections::btree_map::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};

use jet9_config::site::Domain;

use super::load::Waiting;
use super::table::Table;

/// The names of those that can, all together. `may` says which names may be placed at all.
pub(super) fn consistent(
    table: &Table,
    waiting: &BTreeMap<String, Waiting>,
    may: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let names = waiting.keys().map(String::as_str);
    let mut chosen: BTreeSet<&str> = names.filter(|name| may(name)).collect();
    loop {
        let losers = losers(table, waiting, &chosen);
        if losers.is_empty() {
            return chosen.into_iter().map(str::to_owned).collect();
        }
        chosen.retain(|name| !losers.contains(name));
    }
}

/// Those of the chosen that want what another one keeps or gets.
fn losers<'w>(
    table: &Table,
    waiting: &'w BTreeMap<String, Waiting>,
    chosen: &BTreeSet<&'w str>,
) -> BTreeSet<&'w str> {
    let mut losers = BTreeSet::new();
    let mut claims: HashMap<&Domain, &'w str> = HashMap::new();
    let wishes = chosen
        .iter()
        .filter_map(|name| waiting.get_key_value(*name));
    for (name, waiting) in wishes {
        for domain in &waiting.site.domains {
            let owner = table.owner(domain).map(|site| site.site.id.as_str());
            let is_kept = owner.is_some_and(|owner| owner != name && !chosen.contains(owner));
            if is_kept {
                losers.insert(name.as_str());
                continue;
            }
            match claims.entry(domain) {
                Entry::Vacant(free) => {
                    free.insert(name);
                }
                Entry::Occupied(mut claimed) if owner == Some(name) => {
                    losers.insert(claimed.insert(name));
                }
                Entry::Occupied(_) => {
                    losers.insert(name);
                }
            }
        }
    }
    losers
}
