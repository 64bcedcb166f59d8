//! Who may purge on a site's own names, and whose purge it is when the Host is the edge's own.
//!
//! Asked by [`super::in_band()`]. A site's own sides may, the networks of its `purge.from`, and who has a token; nobody may for another site. A
//! plugin that was given the edge's address instead of a name sends that as Host: then its token or its address says which site is meant, if
//! that can be one only. What addresses belong to is looked up in an index that is made anew at most once a second, so that strangers who send
//! such requests cost a look-up and no walk over all sites; a side that is new is known within that second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jet9_cluster::Document;
use parking_lot::Mutex;

use crate::control::mastership::Masters;
use crate::control::sites::{SiteRuntime, Sites};
use crate::control::tokens::Right;
use crate::message::Request;
use crate::parts::Edge;
use crate::request::client::Client;

/// How long an index is believed.
const INDEX_AGE_MAX: Duration = Duration::from_secs(1);

/// Whether the sender of a request may purge on a site.
pub(super) fn may_purge(
    edge: &Edge,
    site: &SiteRuntime,
    request: &Request,
    client: &Client,
) -> bool {
    let by_address = address(client)
        .is_some_and(|address| is_listed(site, address) || is_side(edge, site, address));
    by_address || has_token(edge, site, request)
}

fn has_token(edge: &Edge, site: &SiteRuntime, request: &Request) -> bool {
    let right = Right::Purge(site.site.id.as_str());
    let principal = edge.tokens.principal(&request.fields);
    principal.is_some_and(|principal| principal.may(right))
}

/// The address of a client; `None` for the edge itself.
pub(super) fn address(client: &Client) -> Option<IpAddr> {
    client.address.map(|address| address.ip().to_canonical())
}

fn is_listed(site: &SiteRuntime, address: IpAddr) -> bool {
    let mut networks = site.site.purge_from.iter();
    networks.any(|network| network.contains(&address))
}

/// Whether the address is one of those that the site's cluster is published with.
fn is_side(edge: &Edge, site: &SiteRuntime, address: IpAddr) -> bool {
    let seen = edge.masters.seen(&site.site.origin.cluster);
    let document = seen.and_then(|seen| seen.document);
    document.is_some_and(|document| addresses(&document).any(|side| side == address))
}

fn addresses(document: &Document) -> impl Iterator<Item = IpAddr> {
    let sides = document.a.addrs.iter().chain(&document.b.addrs);
    sides.map(|side| side.ip().to_canonical())
}

/// Which sites an address may purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose<T = Arc<SiteRuntime>> {
    /// None.
    Nobodys,
    /// This one.
    Of(T),
    /// Several: it does not say which is meant.
    Several,
}

/// What addresses belong to. One for the process.
#[derive(Debug, Default)]
pub struct Senders {
    index: Mutex<Option<Index>>,
}

#[derive(Debug)]
struct Index {
    made: Instant,
    sides: HashMap<IpAddr, Whose<String>>,
    /// The sites that list networks.
    listing: Vec<Arc<SiteRuntime>>,
}

impl Senders {
    /// The site that is meant by who sends from this address. `now` says how old the index may be, no more.
    pub(super) fn site_of(
        &self,
        sites: &Sites,
        masters: &Masters,
        address: IpAddr,
        now: Instant,
    ) -> Whose {
        let mut index = self.index.lock();
        let fresh = index
            .take()
            .filter(|index| now.saturating_duration_since(index.made) < INDEX_AGE_MAX);
        let index = index.insert(fresh.unwrap_or_else(|| Index::of(sites, masters, now)));
        match index.whose(address) {
            Whose::Of(id) => sites.by_id(&id).map_or(Whose::Nobodys, Whose::Of),
            Whose::Nobodys => Whose::Nobodys,
            Whose::Several => Whose::Several,
        }
    }
}

impl Index {
    fn of(sites: &Sites, masters: &Masters, now: Instant) -> Self {
        let mut by_cluster: HashMap<_, Whose<String>> = HashMap::new();
        let mut listing = Vec::new();
        for site in sites.all() {
            let cluster = site.site.origin.cluster.clone();
            let whose = by_cluster.entry(cluster).or_insert(Whose::Nobodys);
            whose.add(site.site.id.to_string());
            if !site.site.purge_from.is_empty() {
                listing.push(site);
            }
        }
        let mut sides: HashMap<IpAddr, Whose<String>> = HashMap::new();
        for seen in masters.all() {
            let (Some(document), Some(whose)) = (seen.document, by_cluster.get(&seen.cluster))
            else {
                continue;
            };
            for address in addresses(&document) {
                sides
                    .entry(address)
                    .or_insert(Whose::Nobodys)
                    .add_all(whose);
            }
        }
        Self {
            made: now,
            sides,
            listing,
        }
    }

    fn whose(&self, address: IpAddr) -> Whose<String> {
        let mut whose = self.sides.get(&address).cloned().unwrap_or(Whose::Nobodys);
        for site in self.listing.iter().filter(|site| is_listed(site, address)) {
            whose.add(site.site.id.to_string());
        }
        whose
    }
}

impl Whose<String> {
    fn add(&mut self, id: String) {
        *self = match std::mem::replace(self, Self::Several) {
            Self::Nobodys => Self::Of(id),
            Self::Of(other) if other == id => Self::Of(other),
            Self::Of(_) | Self::Several => Self::Several,
        };
    }

    fn add_all(&mut self, other: &Self) {
        match other {
            Self::Nobodys => {}
            Self::Of(id) => self.add(id.clone()),
            Self::Several => *self = Self::Several,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sides_of_a_cluster_are_known_by_their_addresses() {
        let text = r#"{"v":1,"cluster":"c-1","epoch":1,"phase":"down","master":null,"fencing":"confirmed",
            "sides":{"a":{"addrs":["192.0.2.1:80"]},"b":{"addrs":["[::ffff:192.0.2.2]:80"]}}}"#;
        let document = Document::parse(text.as_bytes()).expect("a document");
        let expected: Vec<IpAddr> = ["192.0.2.1", "192.0.2.2"]
            .map(|text| text.parse().expect("an address"))
            .into();
        assert_eq!(addresses(&document).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_address_of_two_sites_says_nothing_of_which_is_meant() {
        let whose = |ids: &[&str]| {
            let mut whose = Whose::Nobodys;
            ids.iter().for_each(|id| whose.add((*id).to_owned()));
            whose
        };
        assert_eq!(whose(&[]), Whose::Nobodys);
        assert_eq!(whose(&["a", "a"]), Whose::Of("a".into()));
        assert_eq!(whose(&["a", "b"]), Whose::Several);
        assert_eq!(whose(&["a", "b", "a"]), Whose::Several);
        let mut several = whose(&["a"]);
        several.add_all(&Whose::Several);
        assert_eq!(several, Whose::Several);
    }
}
