//! What a HEAD that went to the origin says of the stored response to GET (RFC 9111 §4.3.5).
//!
//! Called by `framework::phases` for each HEAD that passes through: before it is sent, and when it was answered. The judgement is
//! `cache::semantics::validation`'s. HEADs that the story answers itself come from the store or are fetched as GET, and have no need of it.
//! Invariant 4: the store is asked before the origin is, so that an answer from before a purge freshens nothing that the purge touched.

use std::sync::Arc;

use jet9_cache::semantics::request::{ReadMethod, RequestPolicy};
use jet9_cache::semantics::storable::TimesOfExchange;
use jet9_cache::semantics::validation::{self, ByHead, HeadAnswer};
use jet9_cache::semantics::vary::SelectingFields;
use jet9_cache::store::{Body, StoredHandle};
use jet9_cache::{Lookup, StoredResponse, Timestamp};

use crate::control::sites::SiteRuntime;
use crate::message::Request;
use crate::origin::forward;
use crate::origin::receive::Received;
use crate::parts::Edge;
use crate::request::key;

/// The stored response that a HEAD would have got if it had been a GET that the store may answer.
#[derive(Debug)]
pub struct Described {
    handle: StoredHandle,
    response: Arc<StoredResponse>,
    /// Of its content, in bytes.
    length: u64,
    /// When the origin was about to be asked.
    request_time: Timestamp,
}

/// Looks up what an answer to this HEAD will be about. Call it before the request is sent.
/// `None` where nothing is stored, or where the request tells the side what a fetch for the store would not.
pub async fn described(edge: &Edge, site: &SiteRuntime, request: &Request) -> Option<Described> {
    let named = edge.sites.find(request.host.as_str())?;
    let key = key::of(
        edge.cache.keys(),
        site.partition,
        &site.site.cache.key,
        request.scheme,
        &named.host,
        &request.path_and_query,
    );
    let (rules, _) = site.rules_for(request.path());
    if !forward::is_as_for_store(request, &site.site, &rules.ignore_cookies) {
        return None;
    }
    let selecting = SelectingFields::of(&request.fields).without_cookies(&rules.ignore_cookies);
    let request_time = edge.clock.now();
    let Lookup::Hit(hit) = edge.cache.lookup(&key, &selecting).await else {
        return None;
    };
    let length = match &hit.body {
        Body::Whole(content) => content.len() as u64,
        Body::Stream(reader) => reader.length()?,
    };
    Some(Described {
        handle: hit.handle,
        response: hit.response,
        length,
        request_time,
    })
}

/// Freshens the stored response, or makes it stale, by what the origin answered.
pub async fn update(
    edge: &Edge,
    site: &SiteRuntime,
    request: &Request,
    described: &Described,
    received: &Received,
) {
    let answer = HeadAnswer {
        status: received.status,
        fields: &received.fields,
        length: received.length,
        times: TimesOfExchange {
            request_time: described.request_time,
            response_time: edge.clock.now(),
        },
    };
    let (rules, _) = site.rules_for(request.path());
    let policy = RequestPolicy::of(ReadMethod::Head, &request.fields, rules);
    let stored = &described.response;
    match validation::freshen_by_head(stored, described.length, answer, &policy, rules) {
        ByHead::Freshened(response) | ByHead::Outdated(response) => {
            // `false`: it was replaced or purged meanwhile, and whatever is there now is younger.
            let _ = edge.cache.freshen(&described.handle, *response).await;
        }
        ByHead::Unrelated => {}
    }
}
