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
use jet9_config::site::Site;

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
    // An older version may have names that its site gave up since: they are of whoever has them in a newest one, or got them later; even
    // if that cannot be in force for another reason.
    good.sort_by_key(|(good, _)| (good.number != good.newest, Reverse(good.unix_ms)));
    let mut owners = HashMap::new();
    for (good, name) in &good {
        for domain in &good.site.domains {
            owners.entry(domain.clone()).or_insert_with(|| name.clone());
        }
    }
    let mut placed = Vec::new();
    for (good, name) in good {
        let given = good
            .site
            .domains
            .iter()
            .find(|domain| owners[*domain] != name);
        if let Some(domain) = given {
            let owner = &owners[domain];
            log::error!(
                "site {name}: version {} cannot stand in for its document: {domain} was given to site `{owner}` since",
                good.number
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
    let refused = |why: &dyn std::fmt::Display| {
        log::error!(
            "site {name}: version {} cannot stand in for its document: {why}",
            good.number
        );
    };
    if let Some(taken) = table.taken(&good.site).first() {
        refused(&taken.problem("", &good.text).message);
        return None;
    }
    let partition = match loader.shares.partitions(&[name]) {
        Ok(partitions) => partitions.into_iter().next()?,
        Err(error) => {
            refused(&error);
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
