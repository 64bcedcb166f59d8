//! Purge calls, from the admin API and in-band, turned into purges of the store.
//!
//! [`call`] reads the JSON of `POST /v1/purges`, [`in_band()`] what plugins send to a site's own names ([`dialect`]), [`by_response()`] what a side
//! orders by its answers; all end in [`perform`], which answers when the purge is durable. A URL is named by the function that names requests (`request::key`), so a purge hits exactly what a request
//! for it would find, whatever its scheme, port and variant.
//! Invariant 4 begins here, invariant 6 too: a call with any problem purges nothing. Nobody purges another's site.

use std::time::Duration;

use jet9_cache::purge::{Mode, Purge, PurgeError, Purged, What};
use jet9_cache::{KeyHasher, Scheme};
use jet9_config::HostName;
use jet9_config::site::Domain;

use crate::control::sites::{SiteRuntime, Sites};
use crate::parts::Edge;
use crate::request;

mod by_response;
pub mod call;
pub mod dialect;
mod in_band;
mod queue;
mod sender;

pub use by_response::by_response;
pub use call::{
    Call, CallError, FieldError, MEMBERS, THING_BYTES_MAX, THINGS_MAX, TIMEOUT_MAX, Wait,
};
pub use in_band::{Ordered, in_band, ordered};
pub use queue::Queue;
pub use sender::Senders;

/// How long a purge is waited for when the call does not say.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// What became of a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Performed {
    /// It is durable and applied on this node.
    Applied(Purged),
    /// It is not yet; it will be unless the disk fails.
    Lagging,
}

/// A purge was not done.
#[derive(Debug, thiserror::Error)]
pub enum NotPurged {
    /// Too many of the same site wait.
    #[error("too many purges of this site wait; nothing was purged")]
    TooMany,
    /// The journal could not be written.
    #[error(transparent)]
    Failed(#[from] PurgeError),
}

/// Purges for somebody who can send it again: not if too many of that site wait already. As [`perform`] otherwise.
///
/// # Errors
/// When nothing was purged.
pub async fn admitted(
    edge: &Edge,
    purge: Purge,
    timeout: Duration,
) -> Result<Performed, NotPurged> {
    let place = match purge.partition {
        Some(site) => {
            let place = edge.purges.enter(site, purge.what.len());
            Some(place.ok_or(NotPurged::TooMany)?)
        }
        None => None,
    };
    Ok(perform_in(edge, purge, timeout, place).await?)
}

/// Purges. Goes on to its end when the caller leaves or `timeout` passes: half a purge is none.
///
/// # Errors
/// When the journal could not be written; nothing is purged then.
pub async fn perform(
    edge: &Edge,
    purge: Purge,
    timeout: Duration,
) -> Result<Performed, PurgeError> {
    perform_in(edge, purge, timeout, None).await
}

async fn perform_in(
    edge: &Edge,
    purge: Purge,
    timeout: Duration,
    place: Option<queue::Place>,
) -> Result<Performed, PurgeError> {
    let cache = std::sync::Arc::clone(&edge.cache);
    let purging = tokio::spawn(async move {
        let purged = cache.purge(purge).await;
        drop(place);
        purged
    });
    match tokio::time::timeout(timeout, purging).await {
        Ok(Ok(purged)) => purged.map(Performed::Applied),
        Ok(Err(ended)) => Err(PurgeError::Journal(std::io::Error::other(ended))),
        Err(_) => Ok(Performed::Lagging),
    }
}

/// What a purge of one URL names: every scheme and variant of it.
pub(crate) fn url(keys: &KeyHasher, site: &SiteRuntime, host: &str, path_and_query: &[u8]) -> What {
    let path_and_query = bytes::Bytes::copy_from_slice(path_and_query);
    let rules = &site.site.cache.key;
    // Any scheme will do: the hash of the URL leaves it out.
    let scheme = Scheme::Https;
    let key = request::key::of(
        keys,
        site.partition,
        rules,
        scheme,
        &host.into(),
        &path_and_query,
    );
    What::Url(key.url())
}

/// The names of a site that a path without a host is meant on.
///
/// # Errors
/// When it has wildcards: nobody can list what they cover.
pub(crate) fn exact_names(site: &SiteRuntime) -> Result<impl Iterator<Item = &HostName>, String> {
    let wildcard = |domain: &&Domain| matches!(domain, Domain::Wildcard(_));
    if let Some(domain) = site.site.domains.iter().find(wildcard) {
        return Err(format!(
            "a path does not say which name of `{domain}` is meant; give the whole URL, or a prefix"
        ));
    }
    Ok(site.site.domains.iter().filter_map(|domain| match domain {
        Domain::Exact(name) => Some(name),
        Domain::Wildcard(_) => None,
    }))
}

/// Whether a host, in lower case, is a name of the site. One below its wildcard may be another's.
pub(crate) fn has_name(sites: &Sites, site: &SiteRuntime, host: &str) -> bool {
    let named = sites.find(host);
    named.is_some_and(|named| named.site.partition == site.partition)
}

/// The purge of these things in a site's share of the store.
pub(crate) const fn of_site(site: &SiteRuntime, what: Vec<What>, mode: Mode) -> Purge {
    Purge {
        partition: Some(site.partition),
        what,
        mode,
    }
}

/// The word of a mode, as calls and metrics have it.
pub(crate) const fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Soft => "soft",
        Mode::Hard => "hard",
    }
}
