//! Names to sites: one immutable value in 256 shards, copied shard by shard when it changes.
//!
//! Asked by [`super::Sites`], changed by [`super::load`] on a copy. A wildcard lies under the name that it is one label below of.
//! Invariant: a domain belongs to at most one site, whatever is placed.

use std::collections::HashMap;
use std::sync::Arc;

use jet9_config::HostName;
use jet9_config::site::{Domain, Site};

use super::SiteRuntime;

/// So many that a change of one site among ten thousand copies some forty entries for each of its names.
const SHARDS: usize = 256;

/// The sites in force. Cloning copies pointers to shards.
#[derive(Clone, Debug)]
pub(super) struct Table {
    shards: Box<[Arc<Shard>]>,
    /// How often the set changed since the start.
    pub(super) generation: u64,
}

#[derive(Clone, Debug, Default)]
struct Shard {
    exact: HashMap<Arc<str>, Arc<SiteRuntime>>,
    wildcards: HashMap<Arc<str>, Arc<SiteRuntime>>,
    ids: HashMap<Arc<str>, Arc<SiteRuntime>>,
}

/// A domain that another site has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its number in the refused site's list.
    pub(super) index: usize,
    /// The domain.
    pub(super) domain: Domain,
    /// The site that has it; `None` where whose it is stays untold.
    pub(super) by: Option<String>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            shards: vec![Arc::default(); SHARDS].into(),
            generation: 0,
        }
    }
}

impl Table {
    pub(super) fn exact(&self, host: &str) -> Option<(&Arc<str>, &Arc<SiteRuntime>)> {
        self.shard(host).exact.get_key_value(host)
    }

    pub(super) fn wildcard(&self, parent: &str) -> Option<&Arc<SiteRuntime>> {
        self.shard(parent).wildcards.get(parent)
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&Arc<SiteRuntime>> {
        self.shard(id).ids.get(id)
    }

    pub(super) fn all(&self) -> Vec<Arc<SiteRuntime>> {
        let sites = self.shards.iter().flat_map(|shard| shard.ids.values());
        let mut sites: Vec<_> = sites.cloned().collect();
        sites.sort_unstable_by(|a, b| a.site.id.cmp(&b.site.id));
        sites
    }

    /// The domains of this site that other sites have.
    pub(super) fn taken(&self, site: &Site) -> Vec<Taken> {
        let taken = |(index, domain): (usize, &Domain)| {
            let owner = self.owner(domain)?;
            (owner.site.id != site.id).then(|| Taken {
                index,
                domain: domain.clone(),
                by: Some(owner.site.id.to_string()),
            })
        };
        site.domains.iter().enumerate().filter_map(taken).collect()
    }

    /// The domains of this site that other sites have, or answer to by a wildcard, unless this one had them before; whose they are stays untold.
    pub(super) fn taken_or_covered(&self, site: &Site) -> Vec<Taken> {
        let covered = |(index, domain): (usize, &Domain)| {
            let Domain::Exact(name) = domain else {
                return None;
            };
            let owner = self.wildcard(HostName::parent(name.as_str())?)?;
            let is_own = owner.site.id == site.id || self.owner(domain).is_some();
            (!is_own).then(|| Taken {
                index,
                domain: domain.clone(),
                by: None,
            })
        };
        let covered = site.domains.iter().enumerate().filter_map(covered);
        let mut taken: Vec<Taken> = self.taken(site).into_iter().chain(covered).collect();
        taken.sort_by_key(|taken| taken.index);
        taken.iter_mut().for_each(|taken| taken.by = None);
        taken
    }

    /// The site that has a domain.
    pub(super) fn owner(&self, domain: &Domain) -> Option<&Arc<SiteRuntime>> {
        match domain {
            Domain::Exact(name) => self.shard(name.as_str()).exact.get(name.as_str()),
            Domain::Wildcard(name) => self.shard(name.as_str()).wildcards.get(name.as_str()),
        }
    }

    /// Puts a site in the place of the one that had its id.
    ///
    /// # Errors
    /// When another site has one of its domains; nothing is changed then.
    pub(super) fn place(&mut self, new: Arc<SiteRuntime>) -> Result<(), Vec<Taken>> {
        let taken = self.taken(&new.site);
        if !taken.is_empty() {
            return Err(taken);
        }
        self.remove(new.site.id.as_str());
        for domain in &new.site.domains {
            let (name, site) = (name_of(domain), Arc::clone(&new));
            self.domains_mut(domain).insert(name, site);
        }
        let id: Arc<str> = new.site.id.as_str().into();
        self.shard_mut(&id).ids.insert(Arc::clone(&id), new);
        Ok(())
    }

    /// Takes a site out.
    pub(super) fn remove(&mut self, id: &str) -> Option<Arc<SiteRuntime>> {
        self.by_id(id)?;
        let old = self.shard_mut(id).ids.remove(id)?;
        for domain in &old.site.domains {
            self.domains_mut(domain).remove(&name_of(domain));
        }
        Some(old)
    }

    fn domains_mut(&mut self, domain: &Domain) -> &mut HashMap<Arc<str>, Arc<SiteRuntime>> {
        match domain {
            Domain::Exact(name) => &mut self.shard_mut(name.as_str()).exact,
            Domain::Wildcard(name) => &mut self.shard_mut(name.as_str()).wildcards,
        }
    }

    fn shard(&self, name: &str) -> &Shard {
        &self.shards[shard_of(name)]
    }

    fn shard_mut(&mut self, name: &str) -> &mut Shard {
        Arc::make_mut(&mut self.shards[shard_of(name)])
    }
}

fn name_of(domain: &Domain) -> Arc<str> {
    match domain {
        Domain::Exact(name) | Domain::Wildcard(name) => name.shared(),
    }
}

/// FNV-1a, folded to a shard. Only operators fill the table, so an even spread is all that it has to give; the maps inside hash with a key.
fn shard_of(name: &str) -> usize {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::from((hash ^ (hash >> 32)).to_le_bytes()[0])
}

#[cfg(test)]
impl Table {
    /// How many shards are not shared with another table.
    pub(super) fn shards_apart(&self, other: &Self) -> usize {
        let pairs = self.shards.iter().zip(&other.shards);
        pairs.filter(|(a, b)| !Arc::ptr_eq(a, b)).count()
    }
}
