//! The sites in force: read from `<state>/sites/*.toml`, checked, swapped whole.
//!
//! Asked once per request by `request::site`; filled at start and by one thread that watches the directory ([`load`]), which is where the admin
//! API's changes are made too ([`SiteStore`]). A request keeps the `Arc<SiteRuntime>` that it was given. The table is one immutable value of 256 shards behind one pointer, so a changed site costs the shards
//! that it touches, and nobody sees half of a change.
//! Does not know how a name got onto the wire: it is given canonical hosts. Invariant 6: a bad document never replaces a good one; at start
//! it costs its own site and no other (docs/decisions/2026-11-bad-site-at-start.md).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jet9_cache::semantics::rules::Rules;
use jet9_cache::{Cache, Partition};
use jet9_config::site::{Route, Site};
use jet9_config::{HostName, Problems};
use parking_lot::RwLock;
use prometheus::{IntCounter, IntGauge, Opts, Registry};

use crate::clock::WallClock;
use crate::control::events::Events;
use crate::control::watch::Directory;

mod batch;
mod directory;
mod fallback;
mod history;
mod load;
mod rules;
mod store;
mod table;

pub use store::{
    Claims, Expected, Form, Intent, Removal, SiteStore, Version, Write, WriteError, Written,
};

use directory::DirectoryStore;
use history::History;
use load::{Loader, Shares};
use table::Table;

/// How long a burst of new site documents may pause and still be taken as one change.
const SETTLE: Duration = Duration::from_millis(10);

/// A site in force, with what its requests need computed once.
#[derive(Debug)]
pub struct SiteRuntime {
    /// The checked document.
    pub site: Site,
    /// Its share of the store.
    pub partition: Partition,
    /// Its caching rules outside of routes.
    pub rules: Rules,
    /// The caching rules of each route, in the order of `site.routes`.
    pub route_rules: Vec<Rules>,
    /// The change of the set of sites that brought this document into force, counted since the start.
    pub generation: u64,
    /// The number of this document in the site's history, over restarts: its entity tag.
    pub version: u64,
}

impl SiteRuntime {
    /// A site with what its requests need. Its version is the generation, until the history tells another.
    pub fn new(site: Site, partition: Partition, generation: u64) -> Self {
        Self {
            rules: rules::of_site(&site),
            route_rules: site
                .routes
                .iter()
                .map(|r| rules::of_route(&site, r))
                .collect(),
            site,
            partition,
            generation,
            version: generation,
        }
    }

    /// The caching rules for a path (as the request has it, without the query) and the route that made them; the first route that matches
    /// wins.
    pub fn rules_for(&self, path: &str) -> (&Rules, Option<&Route>) {
        let matched = self.site.route(path);
        let ruled = matched.and_then(|(index, route)| Some((self.route_rules.get(index)?, route)));
        ruled.map_or((&self.rules, None), |(rules, route)| (rules, Some(route)))
    }
}

/// The sites in force. Cheap to ask, swapped whole. Dropping it ends the watch.
#[derive(Debug)]
pub struct Sites {
    published: Arc<Published>,
    store: Option<Arc<dyn SiteStore>>,
}

/// Where sites of the state source "directory" live.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Their documents.
    pub documents: &'a Path,
    /// Their last versions.
    pub history: &'a Path,
    /// Bytes of one document; a larger one is refused.
    pub document_max: u64,
}

/// What the loading thread publishes.
#[derive(Debug)]
struct Published {
    table: ArcSwap<Table>,
    /// The documents that are refused now, by file name without `.toml`.
    problems: RwLock<BTreeMap<String, Problems>>,
    metrics: Metrics,
    /// Who is told of changes; nobody is of fixed sites.
    events: Option<Arc<Events>>,
}

#[derive(Debug)]
struct Metrics {
    generation: IntGauge,
    rejected: IntCounter,
}

/// A site that has the asked name.
#[derive(Clone, Debug)]
pub struct Named {
    /// The site.
    pub site: Arc<SiteRuntime>,
    /// The host, shared with the site's table where the domain is exact.
    pub host: Arc<str>,
}

/// The sites cannot be served at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory cannot be had.
    #[error("the site directory {path}: {source}")]
    Directory {
        /// The directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The metrics cannot be registered: a name is taken.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

impl Sites {
    /// Reads all documents of the directory (created when it is missing) and watches it from then on. Documents that are refused are logged,
    /// each problem with its place, and left out. What sites have stored that were removed while nobody watched is dropped.
    ///
    /// # Errors
    /// When a directory cannot be had, or no thread to watch it.
    pub fn open(
        places: Places<'_>,
        cache: Arc<Cache>,
        registry: &Registry,
        clock: WallClock,
        events: Arc<Events>,
    ) -> Result<Self, StartError> {
        Self::load(places, cache, registry, clock, events)
    }

    /// Fixed sites, watched nowhere: for what is configured without a directory, and for tests. A domain that is taken twice stays with
    /// the first.
    pub fn fixed(sites: impl IntoIterator<Item = SiteRuntime>) -> Self {
        let mut table = Table::default();
        for site in sites {
            let _ = table.place(Arc::new(site));
        }
        let published = Published {
            table: ArcSwap::from_pointee(table),
            problems: RwLock::default(),
            metrics: Metrics::unregistered(),
            events: None,
        };
        Self {
            published: Arc::new(published),
            store: None,
        }
    }

    fn load(
        places: Places<'_>,
        shares: Arc<impl Shares + 'static>,
        registry: &Registry,
        clock: WallClock,
        events: Arc<Events>,
    ) -> Result<Self, StartError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| StartError::Directory { path, source }
        };
        let published = Arc::new(Published {
            table: ArcSwap::default(),
            problems: RwLock::default(),
            metrics: Metrics::register(registry)?,
            events: Some(events),
        });
        let history = History::open(places.history).map_err(failed(places.history))?;
        let loader = Loader::new(Arc::clone(&published), shares, history, clock);
        let documents = places.documents;
        let directory = Directory::open(documents, "toml").map_err(failed(documents))?;
        let directory = directory.with_document_max(places.document_max);
        let store = DirectoryStore::open(directory, Arc::clone(&published), loader)
            .map_err(failed(documents))?;
        Ok(Self {
            published,
            store: Some(Arc::new(store)),
        })
    }

    /// Where they come from and can be changed; `None` of fixed ones.
    pub fn store(&self) -> Option<&Arc<dyn SiteStore>> {
        self.store.as_ref()
    }

    /// The site that answers to a host (lower case, no port): exact names first, then `*.` names. Allocates only for the latter.
    pub fn find(&self, host: &str) -> Option<Named> {
        let table = self.published.table.load();
        if let Some((name, site)) = table.exact(host) {
            return Some(Named {
                site: Arc::clone(site),
                host: Arc::clone(name),
            });
        }
        let site = table.wildcard(HostName::parent(host)?)?;
        Some(Named {
            site: Arc::clone(site),
            host: host.into(),
        })
    }

    /// The site of this id.
    pub fn by_id(&self, id: &str) -> Option<Arc<SiteRuntime>> {
        self.published.table.load().by_id(id).cloned()
    }

    /// All sites, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<SiteRuntime>> {
        self.published.table.load().all()
    }

    /// How often the set of sites changed since the start.
    pub fn generation(&self) -> u64 {
        self.published.table.load().generation
    }

    /// The documents that are refused now, by file name without `.toml`; an older document may be in force in their place.
    pub fn problems(&self) -> BTreeMap<String, Problems> {
        self.published.problems.read().clone()
    }

    /// Why this site's newest document is refused, if it is.
    pub fn problems_of(&self, id: &str) -> Option<Problems> {
        self.published.problems.read().get(id).cloned()
    }

    /// Reads every document again, changed or not, and waits until that is in force.
    pub async fn reload(&self) {
        if let Some(store) = &self.store {
            store.reload().await;
        }
    }
}

impl Metrics {
    fn unregistered() -> Self {
        let gauge = IntGauge::new("jet9_config_generation", GENERATION_HELP);
        let counter = IntCounter::new("jet9_config_rejected_total", REJECTED_HELP);
        Self {
            generation: gauge.expect("the name is valid"),
            rejected: counter.expect("the name is valid"),
        }
    }

    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            generation: IntGauge::with_opts(Opts::new("jet9_config_generation", GENERATION_HELP))?,
            rejected: IntCounter::new("jet9_config_rejected_total", REJECTED_HELP)?,
        };
        registry.register(Box::new(metrics.generation.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        Ok(metrics)
    }
}

const GENERATION_HELP: &str = "How often the set of sites changed since the start.";
const REJECTED_HELP: &str = "Documents that were refused; what was in force stayed.";

#[cfg(test)]
mod tests;
