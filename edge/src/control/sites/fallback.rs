//! What is served, after a start, of a site whose document cannot be?
//!
//! Called by [`super::directory`] once, after the documents that are good came into force. While a node runs, a bad document leaves the one before in
//! force; so that a restart does not take it away, the last version of the history that is good does so here. The refusal stays, told and shown,
//! and the first good document replaces what stands in for it. A site that was removed has nothing to fall back to, and whatever
//! another site's good document has taken meanwhile stays with that. Invariants 6 and 8. Writes nothing: no version is new here.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use jet9_config::check;
use jet9_config::site::{Domain, Site};

use super::load::{Loader, Standing};
use super::table::Table;
use super::{SiteRuntime, load};

/// Who brought what was taken from the history, in the audit trail.
const BY_HISTORY: &str = "history";

/// A version that can be in force.
struct Good {
    number: u64,
    /// The number of the last version, readable or not: later ones go on from there.
    newest: u64,
    /// When it came into force, in milliseconds since the Unix epoch.
    unix_ms: u64,
    text: String,
    site: Site,
}

impl Good {
    /// Whether there was a later one, which cannot be read.
    const fn is_outdated(&self) -> bool {
        self.number != self.newest
    }

    fn cannot_stand_in(&self, name: &str, why: &dyn std::fmt::Display) {
        log::error!(
            "site {name}: version {} cannot stand in for its document: {why}",
            self.number
        );
    }
}

/// Brings the last good version of each site into force whose document is refused.
pub(super) fn what_is_refused(loader: &mut Loader) {
    let refused: Vec<String> = loader.published.problems.read().keys().cloned().collect();
    let mut table = Table::clone(&loader.published.table.load());
    let generation = table.generation + 1;
    let absent = refused
        .into_iter()
        .filter(|name| table.by_id(name).is_none());
    let good = absent.filter_map(|name| Some((last_good(loader, &name)?, name)));
    let mut good: Vec<(Good, String)> = good.collect();
    good.sort_by_key(|(good, _)| (good.is_outdated(), Reverse(good.unix_ms)));
    let owners = owners(loader, &good);
    let mut placed = Vec::new();
    for (good, name) in good {
        let domains = good.site.domains.iter();
        let mut given = domains.filter(|domain| owners[*domain] != name);
        if let Some(domain) = given.next() {
            let owner = &owners[domain];
            good.cannot_stand_in(
                &name,
                &format!("{domain} was given to site `{owner}` since"),
            );
            continue;
        }
        if let Some(number) = place(loader, &mut table, &name, good, generation) {
            placed.push((name, number));
        }
    }
    if placed.is_empty() {
        return;
    }
    loader.publish(table, generation);
    for (name, number) in placed {
        log::warn!(
            "site {name}: version {number}, which was in force before, is served in place of its document"
        );
        loader.tell(&name, number, BY_HISTORY, "in-force");
    }
}

/// Which site each name is of that is wanted, of sites that are not in force. An older version may have names that its site gave up since: they are of
/// whoever has them in a last version, or wants them by a good document, or got them later; even if that cannot be in force for another reason.
fn owners(loader: &Loader, good: &[(Good, String)]) -> HashMap<Domain, String> {
    let (outdated, last): (Vec<_>, Vec<_>) = good.iter().partition(|(good, _)| good.is_outdated());
    let of = |(good, name): &'_ &(Good, String)| (good.site.domains.clone(), name.clone());
    let waiting = loader.waiting.iter();
    let waiting = waiting.map(|(name, waiting)| (waiting.site.domains.clone(), name.clone()));
    let wanted = last
        .iter()
        .map(of)
        .chain(waiting)
        .chain(outdated.iter().map(of));
    let mut owners = HashMap::new();
    for (domains, name) in wanted {
        for domain in domains {
            owners.entry(domain).or_insert_with(|| name.clone());
        }
    }
    owners
}

/// The last version of a site that can be in force, back to its last removal.
fn last_good(loader: &Loader, name: &str) -> Option<Good> {
    let (newest, _) = loader.history.newest(name)?;
    let versions = loader.history.versions(name);
    let since_removal = versions
        .into_iter()
        .map_while(|one| Some((one.number, one.unix_ms, one.text?)));
    let mut good = since_removal.filter_map(|(number, unix_ms, text)| {
        let site = check::site_toml("", &text).ok()?;
        (site.id.as_str() == name).then_some(Good {
            number,
            newest,
            unix_ms,
            text,
            site,
        })
    });
    good.next()
}

/// Puts a version into the table, if what it needs is free; its number.
fn place(
    loader: &mut Loader,
    table: &mut Table,
    name: &str,
    good: Good,
    generation: u64,
) -> Option<u64> {
    if let Some(taken) = table.taken(&good.site).first() {
        good.cannot_stand_in(name, &taken.problem("", &good.text).message);
        return None;
    }
    let partition = match loader.shares.partitions(&[name]) {
        Ok(partitions) => partitions.into_iter().next()?,
        Err(error) => {
            good.cannot_stand_in(name, &error);
            return None;
        }
    };
    loader.shares.write(partition, &good.site.cache);
    let standing = Standing {
        digest: load::digest(good.text.as_bytes()),
        version: good.newest,
    };
    loader.standing.insert(name.to_owned(), standing);
    let mut site = SiteRuntime::new(good.site, partition, generation);
    site.version = good.number;
    // That its names are free was asked before.
    table.place(Arc::new(site)).ok()?;
    Some(good.number)
}
