//! The sites in force: read from `<state>/sites/*.toml`, checked, swapped whole.

use std::sync::Arc;

use jet9_cache::Partition;
use jet9_cache::semantics::rules::Rules;
use jet9_config::site::Site;

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
    /// Counts the changes of the set of sites.
    pub generation: u64,
}

/// The sites in force. Cheap to ask, swapped whole.
#[derive(Debug)]
pub struct Sites {}

/// A site that has the asked name.
#[derive(Clone, Debug)]
pub struct Named {
    /// The site.
    pub site: Arc<SiteRuntime>,
    /// The host, shared with the site's table where the domain is exact.
    pub host: Arc<str>,
}

impl Sites {
    /// The site that answers to a host (lower case, no port): exact names first, then `*.` names.
    pub fn find(&self, _host: &str) -> Option<Named> {
        unimplemented!()
    }
}
