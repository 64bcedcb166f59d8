//! Is the answer to a POST kept for later GETs (RFC 9110 §9.3.3)?
//!
//! Called by `framework::phases` around a POST that passes through, where a site says `cache.post = "store"`. Only what a GET for the same
//! target could have got counts: the request says nothing that a fetch for the store would leave out, and the answer names the target in
//! `Content-Location`. The content is gathered while it goes to the client, and stored whole after its last byte.
//! Knows nothing of framing and callbacks. The POST itself is never answered from the store, and never sent on its behalf.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use jet9_cache::posted::Posting;
use jet9_cache::semantics::invalidation::Target;
use jet9_cache::semantics::request::{RequestPolicy, may_store_post};
use jet9_cache::semantics::storable::{self, Storable, TimesOfExchange};
use jet9_cache::semantics::vary::SelectingFields;
use jet9_cache::{Key, StoredResponse, Timestamp};

use crate::control::sites::SiteRuntime;
use crate::message::Request;
use crate::origin::forward;
use crate::origin::receive::{Framing, Received};
use crate::parts::Edge;
use crate::record::metrics::Fetching;
use crate::request::key;

/// The largest content that is kept of an answer to POST, in bytes: it is gathered in memory, and may still turn out not to be storable.
const CONTENT_MAX: usize = 1 << 20;

/// A POST under way whose answer may be kept.
#[derive(Debug)]
pub struct Posted {
    posting: Posting,
    site: Arc<SiteRuntime>,
    policy: RequestPolicy,
    /// What selects among variants.
    fields: HeaderMap,
    path: String,
    sent: Timestamp,
    /// Counted among the fetches for the store.
    under_way: Fetching,
}

impl Posted {
    /// For a request that is sent now; `None` where its answer is not kept.
    pub fn sending(
        edge: &Edge,
        site: &Arc<SiteRuntime>,
        request: &Request,
        now: Timestamp,
    ) -> Option<Self> {
        let (rules, _) = site.rules_for(request.path());
        let plain = request.method == Method::POST
            && request.upgrade.is_none()
            && !request.fields.keys().any(forward::is_about_part)
            && forward::is_as_for_store(request, &site.site, &rules.ignore_cookies);
        let policy = may_store_post(&request.fields, rules)
            .ok()
            .filter(|_| plain)?;
        Some(Self {
            posting: Posting::begin(&edge.cache, &key_of(edge, site, request)?),
            site: Arc::clone(site),
            policy,
            fields: request.fields.clone(),
            path: request.path().to_owned(),
            sent: now,
            under_way: edge.recorder.origin().fetch(),
        })
    }

    /// The POST as the store knows it: what its answer invalidates goes through this.
    pub const fn posting(&mut self) -> &mut Posting {
        &mut self.posting
    }

    /// Judges the final head, after it has invalidated what it does. `None`: the answer is not kept.
    pub fn answered(
        self,
        target: Target<'_>,
        received: &Received,
        now: Timestamp,
    ) -> Option<Gathering> {
        let announced = match received.framing {
            Framing::None => Some(0),
            Framing::Length(length) => usize::try_from(length).ok(),
            Framing::Chunked => None,
            // Its end cannot be told from a break here.
            Framing::Close => return None,
        };
        if announced.is_some_and(|length| length > CONTENT_MAX) {
            return None;
        }
        let (rules, _) = self.site.rules_for(&self.path);
        let times = TimesOfExchange {
            request_time: self.sent,
            response_time: now,
        };
        let (status, fields) = (received.status, &received.fields);
        match storable::assess_post(&self.policy, target, status, fields, rules, times) {
            Storable::Yes(response) => Some(Gathering {
                response,
                content: BytesMut::new(),
                announced,
                posted: self,
            }),
            Storable::No(_) => None,
        }
    }
}

fn key_of(edge: &Edge, site: &SiteRuntime, request: &Request) -> Option<Key> {
    let named = edge.sites.find(request.host.as_str())?;
    Some(key::of(
        edge.cache.keys(),
        site.partition,
        &site.site.cache.key,
        request.scheme,
        &named.host,
        &request.path_and_query,
    ))
}

/// An answer that is kept, while its content comes in.
#[derive(Debug)]
pub struct Gathering {
    posted: Posted,
    response: Box<StoredResponse>,
    content: BytesMut,
    announced: Option<usize>,
}

impl Gathering {
    /// Adds content; `false`: it is too much, forget it.
    pub fn gather(&mut self, piece: &[u8]) -> bool {
        let fits = self.content.len() + piece.len() <= self.announced.unwrap_or(CONTENT_MAX);
        if fits {
            self.content.extend_from_slice(piece);
        }
        fits
    }

    /// All of the content was there: stores it, in a task of its own.
    pub fn finish(self) {
        if self
            .announced
            .is_some_and(|length| length != self.content.len())
        {
            return;
        }
        tokio::spawn(self.store());
    }

    async fn store(self) {
        let Posted {
            posting,
            site,
            fields,
            path,
            under_way,
            ..
        } = self.posted;
        let (rules, _) = site.rules_for(&path);
        let selecting = SelectingFields::of(&fields).without_cookies(&rules.ignore_cookies);
        let content = Bytes::from(self.content);
        posting.store(&selecting, *self.response, content).await;
        drop(under_way);
    }
}
