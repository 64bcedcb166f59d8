//! Purges on a site's own names: what content-management systems send to the cache that they know.
//!
//! Called by `story` for the method `PURGE`, before any redirect to https. In this version a request purges exactly its own URL, hard; a
//! pattern is refused with a hint and never answered 200, because its sender would believe that it worked.
//! Who may: the site's own sides, the networks of `purge.from`, or who has a token; it can never be another's site, because the Host decides.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use jet9_cache::purge::Mode;
use jet9_cluster::Document;

use super::{Performed, TIMEOUT_DEFAULT};
use crate::control::sites::SiteRuntime;
use crate::control::tokens::Right;
use crate::message::{Content, Head, Request, Response};
use crate::parts::Edge;
use crate::request::client::Client;
use crate::response::deliver;
use crate::response::fault::{ClientFault, EdgeFault, Fault};

/// Answers a purge that came on one of the site's own names: exactly 200, also when nothing was stored, with its length.
///
/// # Errors
/// When the client may not purge, or the journal could not be written.
pub async fn in_band(
    edge: &Edge,
    site: &SiteRuntime,
    request: &Request,
    client: &Client,
) -> Result<Response, Fault> {
    if !may_purge(edge, site, request, client) {
        return Err(Fault::Client(ClientFault::Forbidden));
    }
    if let Some(hint) = pattern(request) {
        return Ok(answer(edge, StatusCode::BAD_REQUEST, hint));
    }
    let url = super::url(
        edge.cache.keys(),
        site,
        request.host.as_str(),
        &request.path_and_query,
    );
    let purge = super::of_site(site, vec![url], Mode::Hard);
    match super::perform(edge, purge, TIMEOUT_DEFAULT).await {
        Ok(Performed::Applied(_)) => Ok(answer(edge, StatusCode::OK, "purged\n")),
        Ok(Performed::Lagging) => Err(Fault::Edge(EdgeFault::Overloaded("purge journal"))),
        Err(error) => {
            log::error!("{error}");
            Err(Fault::Edge(EdgeFault::Internal("purge journal")))
        }
    }
}

fn may_purge(edge: &Edge, site: &SiteRuntime, request: &Request, client: &Client) -> bool {
    let address = client.address.map(|address| address.ip().to_canonical());
    let by_address = address.is_some_and(|address| {
        site.site
            .purge_from
            .iter()
            .any(|network| network.contains(&address))
            || is_side(edge, site, address)
    });
    by_address || has_token(edge, site, request)
}

fn has_token(edge: &Edge, site: &SiteRuntime, request: &Request) -> bool {
    let right = Right::Purge(site.site.id.as_str());
    let principal = edge.tokens.principal(&request.fields);
    principal.is_some_and(|principal| principal.may(right))
}

/// Whether the address is one of those that the site's cluster is published with.
fn is_side(edge: &Edge, site: &SiteRuntime, address: IpAddr) -> bool {
    let seen = edge.masters.seen(&site.site.origin.cluster);
    let document = seen.and_then(|seen| seen.document);
    document.is_some_and(|document| has_side(&document, address))
}

fn has_side(document: &Document, address: IpAddr) -> bool {
    let mut addresses = document.a.addrs.iter().chain(&document.b.addrs);
    addresses.any(|side| side.ip().to_canonical() == address)
}

/// What to answer to a purge that means more than its own URL.
fn pattern(request: &Request) -> Option<&'static str> {
    const HINT: &str = "Only exact URLs are purged by this method. For prefixes, tags and everything use the admin API or `jet9 purge`.\n";
    let path = request.path_and_query.split(|&byte| byte == b'?').next();
    let is_pattern = path.is_some_and(|path| path.contains(&b'*'));
    let named = |name: &str| request.fields.contains_key(name);
    let widens = [
        "x-purge-method",
        "xkey",
        "xkey-purge",
        "surrogate-key",
        "cache-tag",
        "cache-tags",
        "x-cache-tags",
        "x-magento-tags-pattern",
    ];
    (is_pattern || widens.into_iter().any(named)).then_some(HINT)
}

fn answer(edge: &Edge, status: StatusCode, text: &'static str) -> Response {
    let mut fields = HeaderMap::with_capacity(4);
    deliver::add_date(&mut fields, edge.clock.now());
    fields.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Response {
        head: Head::Composed { status, fields },
        content: Content::Whole(Bytes::from_static(text.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use jet9_cache::Scheme;

    use super::*;
    use crate::message::{Framing, Host, Protocol};

    fn request(target: &'static str, fields: &[(&'static str, &'static str)]) -> Request {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.insert(*name, HeaderValue::from_static(value));
        }
        Request {
            method: http::Method::from_bytes(b"PURGE").expect("a token"),
            protocol: Protocol::Http11,
            scheme: Scheme::Http,
            host: Host::from_checked(Bytes::from_static(b"a.test")),
            port: None,
            path_and_query: Bytes::from_static(target.as_bytes()),
            fields: map,
            content: Framing::None,
            upgrade: None,
            expects_continue: false,
        }
    }

    #[test]
    fn a_pattern_is_never_taken_for_a_url() {
        let check = |target, fields: &[_], expected: bool| {
            let refused = pattern(&request(target, fields)).is_some();
            assert_eq!(refused, expected, "{target} {fields:?}");
        };
        check("/a", &[], false);
        check("/a?q=*", &[], false);
        check("/.*", &[], true);
        check("/a/(.*)", &[], true);
        check("/*", &[], true);
        check("/a", &[("x-purge-method", "regex")], true);
        check("/", &[("xkey", "post-1")], true);
    }

    #[test]
    fn the_sides_of_a_cluster_are_known_by_their_addresses() {
        let text = r#"{"v":1,"cluster":"c-1","epoch":1,"phase":"down","master":null,"fencing":"confirmed",
            "sides":{"a":{"addrs":["192.0.2.1:80"]},"b":{"addrs":["[2001:db8::1]:80"]}}}"#;
        let document = Document::parse(text.as_bytes()).expect("a document");
        let check = |address: &str, expected: bool| {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(has_side(&document, address), expected, "{address}");
        };
        check("192.0.2.1", true);
        check("2001:db8::1", true);
        check("192.0.2.2", false);
    }
}
