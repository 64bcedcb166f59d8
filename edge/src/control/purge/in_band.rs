//! Purges on a site's own names: what content-management systems send to the cache that they know.
//!
//! Called by `story` for every request, before any redirect to https; almost all are no purges, which costs a comparison of the method. What
//! a request means is [`dialect`]'s word, who may is [`sender`]'s. A request that cannot be understood to the letter is answered 400 with a
//! hint, and purges nothing. It can never be another's site: the Host decides, or the sender where the Host is nobody's.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use jet9_cache::purge::{Mode, What};

use super::dialect::{self, Asked, Hint, Order, Thing};
use super::sender::{self, Whose};
use super::{NotPurged, Performed, TIMEOUT_DEFAULT};
use crate::clock;
use crate::control::sites::{Named, SiteRuntime};
use crate::control::tokens::Principal;
use crate::message::{Content, Head, Request, Response};
use crate::parts::Edge;
use crate::request::client::Client;
use crate::response::deliver;
use crate::response::fault::{ClientFault, EdgeFault, Fault};

/// A purge whose sender may purge the site.
#[derive(Debug)]
pub struct Ordered {
    /// The site.
    pub site: Arc<SiteRuntime>,
    /// Whether its name is the Host of the request.
    is_by_name: bool,
    order: Result<Order, Hint>,
}

/// Whether a request is a purge, and of which site. `named`: the site of its Host.
///
/// # Errors
/// When it is one and its sender may not purge, or it cannot be told for which site.
pub fn ordered(
    edge: &Edge,
    named: Result<&Named, &ClientFault>,
    request: &Request,
    client: &Client,
) -> Result<Option<Ordered>, ClientFault> {
    let asked = Asked {
        method: request.method.as_str(),
        target: std::str::from_utf8(&request.path_and_query).unwrap_or_default(),
        fields: &request.fields,
    };
    let Some(order) = dialect::read(&asked) else {
        return Ok(None);
    };
    let (site, is_by_name) = match named {
        Ok(named) => (Arc::clone(&named.site), true),
        Err(ClientFault::UnknownHost) if !dialect::is_also_plain(&asked) => {
            (site_of_sender(edge, request, client)?, false)
        }
        Err(_) => return Ok(None),
    };
    match sender::may_purge(edge, &site, request, client) {
        true => Ok(Some(Ordered {
            site,
            is_by_name,
            order,
        })),
        false if dialect::is_also_plain(&asked) => Ok(None),
        false => Err(ClientFault::Forbidden),
    }
}

impl Ordered {
    /// What it purges, and how.
    ///
    /// # Errors
    /// When it cannot be understood to the letter.
    pub fn understood(&self, edge: &Edge, request: &Request) -> Result<(Vec<What>, Mode), Hint> {
        let order = self.order.as_ref().map_err(Clone::clone)?;
        let here = self.is_by_name.then(|| request.host.as_str());
        Ok((what(edge, &self.site, here, &order.things)?, order.mode))
    }
}

fn site_of_sender(
    edge: &Edge,
    request: &Request,
    client: &Client,
) -> Result<Arc<SiteRuntime>, ClientFault> {
    let principal = edge.tokens.principal(&request.fields);
    let of_token = principal.as_ref().and_then(Principal::only_purges);
    if let Some(site) = of_token.and_then(|id| edge.sites.by_id(id.as_str())) {
        return Ok(site);
    }
    let address = sender::address(client).ok_or(ClientFault::UnknownHost)?;
    let now = clock::monotonic();
    let senders = &edge.senders;
    match senders.site_of(&edge.sites, &edge.masters, address, now) {
        Whose::Of(site) => Ok(site),
        Whose::Nobodys | Whose::Several => Err(ClientFault::UnknownHost),
    }
}

/// Answers a purge: exactly 200, also when nothing was stored, with its length.
///
/// # Errors
/// When too many of the site wait, or the journal could not be written.
pub async fn in_band(edge: &Edge, ordered: &Ordered, request: &Request) -> Result<Response, Fault> {
    let (what, mode) = match ordered.understood(edge, request) {
        Ok(understood) => understood,
        Err(Hint(hint)) => return Ok(answer(edge, StatusCode::BAD_REQUEST, format!("{hint}\n"))),
    };
    let purge = super::of_site(&ordered.site, what, mode);
    match super::admitted(edge, purge, TIMEOUT_DEFAULT).await {
        Ok(Performed::Applied(_)) => Ok(answer(edge, StatusCode::OK, "purged\n".to_owned())),
        Ok(Performed::Lagging) => Err(Fault::Edge(EdgeFault::Overloaded("purge journal"))),
        Err(NotPurged::TooMany) => Err(Fault::Edge(EdgeFault::Overloaded("purges of a site"))),
        Err(NotPurged::Failed(error)) => {
            log::error!("{error}");
            Err(Fault::Edge(EdgeFault::Internal("purge journal")))
        }
    }
}

/// Things as the store names them. `here`: the name that the request came to; none where it was the edge's own.
fn what(
    edge: &Edge,
    site: &SiteRuntime,
    here: Option<&str>,
    things: &[Thing],
) -> Result<Vec<What>, Hint> {
    let mut what = Vec::with_capacity(things.len());
    for thing in things {
        match thing {
            Thing::All => what.push(What::All),
            Thing::Prefix(prefix) => what.push(What::Prefix(prefix.as_bytes().into())),
            Thing::Tag(tag) => what.push(What::Tag(tag.as_str().into())),
            Thing::Host(host) => check_host(edge, site, host)?,
            Thing::Url { host, target } => {
                what.extend(urls(edge, site, host.as_deref().or(here), target)?)
            }
        }
    }
    Ok(what)
}

/// A URL on a name of the site, or on every one where none is given.
fn urls(
    edge: &Edge,
    site: &SiteRuntime,
    host: Option<&str>,
    target: &str,
) -> Result<Vec<What>, Hint> {
    let keys = edge.cache.keys();
    match host {
        Some(host) => {
            check_host(edge, site, host)?;
            let host = host.to_ascii_lowercase();
            Ok(vec![super::url(keys, site, &host, target.as_bytes())])
        }
        None => {
            let names = super::exact_names(site).map_err(Hint)?;
            let url = |name: &jet9_config::HostName| {
                super::url(keys, site, name.as_str(), target.as_bytes())
            };
            Ok(names.map(url).collect())
        }
    }
}

fn check_host(edge: &Edge, site: &SiteRuntime, host: &str) -> Result<(), Hint> {
    if super::has_name(&edge.sites, site, &host.to_ascii_lowercase()) {
        return Ok(());
    }
    Err(Hint(format!(
        "`{host}` is not a name of this site; nothing was purged"
    )))
}

fn answer(edge: &Edge, status: StatusCode, text: String) -> Response {
    let mut fields = HeaderMap::with_capacity(4);
    deliver::add_date(&mut fields, edge.clock.now());
    fields.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Response {
        head: Head::Composed { status, fields },
        content: Content::Whole(Bytes::from(text)),
    }
}
