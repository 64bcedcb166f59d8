//! The story of a request, on one page.
//!
//! Called once per request by the carriers (`framework::front` for HTTP/1.1, `framework::http2`), with a request that passed the guard.
//! Branches here, works below: each line is a stage of its own.

use std::sync::Arc;
use std::time::Duration;

use jet9_cache::Reason;
use jet9_cache::collapse::{Collapse, Followed, Follower, Lead};
use jet9_cache::fill::Filling;
use jet9_cache::semantics::freshness::{self, Freshness};
use jet9_cache::semantics::request::{ReadMethod, RequestPolicy};
use jet9_cache::store::{Body, Purging};
use jet9_cluster::Epoch;
use tokio::time::timeout;

use crate::clock;
use crate::control::purge;
use crate::control::sites::SiteRuntime;
use crate::exchange::Exchange;
use crate::interim::{Interims, Teller};
use crate::message::{Request, Response};
use crate::origin;
use crate::origin::fetch::OriginAnswer;
use crate::parts::Edge;
use crate::request::guard::Refusal;
use crate::request::lookup::{self, Asking, Stored};
use crate::response::deliver;
use crate::response::fault::{self, ClientFault, EdgeFault, Fault};
use crate::response::missing;
use crate::response::store::{Fill, Outcome};

pub(crate) mod course;

use course::{Brought, Meaning, Source, Turn, Unasked};

/// How often a request looks again after another one's fetch ended in its favour or failed. Then it fetches for itself.
const LOOKS_MAX: usize = 4;

/// What the carrier has to do.
#[derive(Debug)]
pub enum Answer {
    /// Write this response.
    Respond(Response),
    /// Hand the request to Pingora's `HttpProxy`: uploads, upgrades, unsafe methods, uncacheable requests. A live master was there when
    /// this was said; the hold is over.
    PassThrough,
}

/// Answers a request, or says that it is to be passed through. Never fails: every fault has its response.
///
/// May wait long (for the origin, another request's fetch, a live master): the carrier races it with the client's leaving and drops it then,
/// and passes on what comes out of `interims` meanwhile.
pub async fn answer(
    edge: &Arc<Edge>,
    exchange: &mut Exchange,
    request: &Request,
    interims: &Interims,
) -> Answer {
    let told = Story {
        edge,
        exchange: &mut *exchange,
        request,
        interims,
        patience: edge.limits.collapse_wait,
    }
    .tell()
    .await;
    match told {
        Ok(answer) => answer,
        Err(fault) => Answer::Respond(fault::respond(edge, exchange, Some(request), &fault)),
    }
}

/// The response to a head that the guard refused. The carrier closes the connection after it.
pub fn refuse(edge: &Edge, exchange: &mut Exchange, refusal: &Refusal) -> Response {
    fault::respond(
        edge,
        exchange,
        None,
        &Fault::Client(ClientFault::Refused(*refusal)),
    )
}

/// One request on its way through the stages.
struct Story<'a> {
    edge: &'a Arc<Edge>,
    exchange: &'a mut Exchange,
    request: &'a Request,
    interims: &'a Interims,
    /// How long it will still wait for other requests' fetches, however many.
    patience: Duration,
}

impl Story<'_> {
    async fn tell(mut self) -> Result<Answer, Fault> {
        let named = match course::meaning(self.edge, self.exchange, self.request)? {
            Meaning::Purge(ordered) => {
                let purged = purge::in_band(self.edge, &ordered, self.request);
                return purged.await.map(Answer::Respond);
            }
            Meaning::Answered(response) => return Ok(Answer::Respond(response)),
            Meaning::Resource(named) => named,
        };
        match lookup::asking(self.edge, &named, self.request) {
            Ok(asking) => self.retrieve(&asking).await,
            Err(past) => {
                self.exchange.forwarded(past.forward, Some(past.reason));
                self.pass_through(&named.site).await
            }
        }
    }

    /// From the store, from another request's fetch, or by a fetch of its own.
    async fn retrieve(&mut self, asking: &Asking<'_>) -> Result<Answer, Fault> {
        for _ in 0..LOOKS_MAX {
            let stale = match course::source(self.edge, self.exchange, asking).await? {
                Source::Store { stored, stale } => {
                    if matches!(stale, Some(Reason::StaleWhileRevalidate | Reason::Breaker)) {
                        self.revalidate_in_background(asking, &stored);
                    }
                    return self.deliver(asking, stored);
                }
                Source::Apart(stale) => return self.apart(asking, stale).await,
                Source::Alone(stale, why) => return self.alone(asking, stale, why).await,
                Source::Shared(stale) => stale,
            };
            let seen = stale.as_ref().map(|stored| &stored.hit.handle);
            match self
                .edge
                .cache
                .collapse(&asking.key, &asking.selecting, seen)
            {
                Collapse::Lead(lead) => return self.lead(asking, lead, stale).await,
                Collapse::Follow(follower) => {
                    if let Some(answer) = self.follow(asking, follower, stale).await? {
                        return Ok(answer);
                    }
                }
            }
        }
        self.alone(asking, None, Reason::CollapseTimeout).await
    }

    /// Fetches for all who want the key now.
    async fn lead(
        &mut self,
        asking: &Asking<'_>,
        lead: Lead,
        stale: Option<Stored>,
    ) -> Result<Answer, Fault> {
        // Who waited for another one's fetch before has not looked since.
        let stale = match course::unasked(self.edge, asking, stale) {
            Unasked::Serve(stored, Reason::Breaker) => {
                // Nobody waits to learn whether the origin is well again.
                drop(self.fill(asking, lead, Some(&stored), None).detach());
                return self.serve(asking, stored, Some(Reason::Breaker));
            }
            Unasked::Serve(stored, why) => return self.serve(asking, stored, Some(why)),
            Unasked::No(stale) => stale,
        };
        let interim = self.interims.open();
        let fill = self.fill(asking, lead, stale.as_ref(), interim);
        let report = fill.detach().await;
        let report = report
            .map_err(|_| Fault::Edge(EdgeFault::Internal("a fetch ended without a report")))?;
        self.exchange.attempts.extend(report.attempts);
        self.exchange.held += report.held;
        let brought = self.brought(asking, &report.outcome);
        let reach = self.edge.limits.orphan_fill;
        let turn = course::turn(self.exchange, brought, stale.as_ref(), reach);
        match (turn, report.outcome, stale) {
            (Turn::ReadAlong, Outcome::Filling(filling), _) => self.read_along(asking, filling),
            (Turn::Confirmed, Outcome::Confirmed(response), Some(mut stored)) => {
                stored.hit.response = Arc::from(response);
                self.deliver(asking, stored)
            }
            (Turn::Stale, _, Some(stored)) => self.deliver(asking, stored),
            (Turn::Alone, Outcome::Private { answer, .. }, _) => Ok(self.private(*answer)),
            (Turn::ToSide, outcome, _) => {
                drop(outcome);
                self.pass_through(asking.site).await
            }
            (_, Outcome::ServerError(answer), _) => Ok(self.private(*answer)),
            (_, Outcome::Failed(fault), _) => Err(fault),
            _ => Err(Fault::Edge(EdgeFault::Internal(
                "an answer to another question",
            ))),
        }
    }

    fn brought(&self, asking: &Asking<'_>, outcome: &Outcome) -> Brought {
        match outcome {
            Outcome::Filling(filling) => Brought::Filling {
                status: filling.response.status,
                awaited: self.awaited(asking, filling),
            },
            Outcome::Confirmed(_) => Brought::Confirmed,
            Outcome::Private { answer, why } => Brought::Alone {
                status: answer.status,
                why: *why,
                offers_range: deliver::offers_range(&asking.policy, answer.status, &answer.fields),
            },
            Outcome::ServerError(_) | Outcome::Failed(_) => Brought::Failure,
        }
    }

    /// Waits for another request's fetch. `None`: look again.
    async fn follow(
        &mut self,
        asking: &Asking<'_>,
        follower: Follower,
        stale: Option<Stored>,
    ) -> Result<Option<Answer>, Fault> {
        let since = clock::monotonic();
        let followed = timeout(self.patience, follower.outcome()).await;
        self.patience = self.patience.saturating_sub(since.elapsed());
        let Ok(followed) = followed else {
            let waited = self.alone(asking, stale, Reason::CollapseTimeout);
            return waited.await.map(Some);
        };
        match (followed, stale) {
            (Followed::Filling(filling), _) if self.may_read_along(asking, &filling) => {
                if self.is_out_of_reach(asking, &filling) {
                    drop(filling);
                    let left = self.leave_to_side(asking, Reason::Range);
                    return left.await.map(Some);
                }
                self.exchange.collapsed = true;
                self.exchange.filled(filling.response.status);
                self.read_along(asking, filling).map(Some)
            }
            (Followed::Filling(_), stale) => self.apart(asking, stale).await.map(Some),
            (Followed::Released(why), stale) => self.alone(asking, stale, why).await.map(Some),
            (Followed::Failed, Some(stored)) if stored.if_error => self
                .serve(asking, stored, Some(Reason::StaleIfError))
                .map(Some),
            (Followed::LookAgain | Followed::Failed, _) => Ok(None),
        }
    }

    /// Whether a fill that another request leads is an answer to this one: the same variant, and fresh enough to need no validation.
    fn may_read_along(&self, asking: &Asking<'_>, filling: &Filling) -> bool {
        let variant = asking
            .selecting
            .hash(&filling.response.vary, self.edge.cache.keys());
        let judged = freshness::assess(
            &filling.response,
            &asking.policy,
            lookup::purging(self.edge, asking, Purging::None),
            self.edge.clock.now(),
        );
        variant == filling.variant && matches!(judged, Freshness::Fresh { .. })
    }

    /// Whether a range begins so far behind what a fill has brought that the origin had better be asked for it.
    fn is_out_of_reach(&self, asking: &Asking<'_>, filling: &Filling) -> bool {
        self.awaited(asking, filling) > self.edge.limits.orphan_fill
    }

    fn awaited(&self, asking: &Asking<'_>, filling: &Filling) -> u64 {
        let (length, arrived) = (filling.body.length(), filling.body.arrived());
        deliver::awaited(
            self.request,
            &asking.policy,
            &filling.response,
            length,
            arrived,
        )
    }

    /// Fetches without waiting for anybody, or anybody waiting for it until it proves to be storable.
    async fn apart(&mut self, asking: &Asking<'_>, stale: Option<Stored>) -> Result<Answer, Fault> {
        let lead = self.edge.cache.lead_apart(&asking.key);
        self.lead(asking, lead, stale).await
    }

    /// The same where the answer is not expected to be for sharing: then it is not asked for more than the client wants of it.
    async fn alone(
        &mut self,
        asking: &Asking<'_>,
        stale: Option<Stored>,
        why: Reason,
    ) -> Result<Answer, Fault> {
        if course::is_left_to_side(self.request, stale.as_ref()) {
            return self.leave_to_side(asking, why).await;
        }
        // What another one's answer was like is no word about this one's, which may well be stored.
        if matches!(why, Reason::PredictedUncacheable | Reason::CollapseTimeout) {
            self.exchange.because(Some(why));
        }
        self.apart(asking, stale).await
    }

    /// Passes on what the client wants of the content, no more.
    async fn leave_to_side(&mut self, asking: &Asking<'_>, why: Reason) -> Result<Answer, Fault> {
        self.exchange.because(Some(why));
        self.pass_through(asking.site).await
    }

    /// Waits until there is a live master, then leaves the rest to `HttpProxy`.
    async fn pass_through(&mut self, site: &SiteRuntime) -> Result<Answer, Fault> {
        let route = origin::master::route(self.edge, site, self.exchange, Epoch(0)).await;
        route
            .and_then(|route| origin::master::spare(self.edge, site, &route))
            .map_err(Fault::Cluster)?;
        Ok(Answer::PassThrough)
    }

    /// Validates a stale response without anybody waiting, unless a fetch for the key is under way already.
    fn revalidate_in_background(&self, asking: &Asking<'_>, stored: &Stored) {
        let seen = Some(&stored.hit.handle);
        if let Collapse::Lead(lead) = self
            .edge
            .cache
            .collapse(&asking.key, &asking.selecting, seen)
        {
            drop(self.fill(asking, lead, Some(stored), None).detach());
        }
    }

    fn fill(
        &self,
        asking: &Asking<'_>,
        lead: Lead,
        stale: Option<&Stored>,
        interim: Option<Teller>,
    ) -> Fill {
        Fill {
            edge: Arc::clone(self.edge),
            site: Arc::clone(asking.site),
            client: Arc::clone(&self.exchange.client),
            request_id: self.exchange.request_id.clone(),
            request: self.request.clone(),
            policy: RequestPolicy {
                method: ReadMethod::Get,
                ..asking.policy
            }, // what may be stored is fetched by GET
            lead,
            stale: stale.map(Stored::to_validate),
            interim,
        }
    }

    fn serve(
        &mut self,
        asking: &Asking<'_>,
        stored: Stored,
        stale: Option<Reason>,
    ) -> Result<Answer, Fault> {
        self.exchange.hit(&stored, stale);
        self.deliver(asking, stored)
    }

    fn deliver(&mut self, asking: &Asking<'_>, mut stored: Stored) -> Result<Answer, Fault> {
        let hit = &mut stored.hit;
        missing::offer(self.edge, self.exchange, self.request, asking.site, hit);
        deliver::stored(
            self.edge,
            self.exchange,
            self.request,
            &asking.policy,
            stored.hit.response,
            stored.hit.body,
        )
        .map(Answer::Respond)
    }

    fn read_along(&mut self, asking: &Asking<'_>, filling: Filling) -> Result<Answer, Fault> {
        let body = Body::Stream(filling.body);
        deliver::stored(
            self.edge,
            self.exchange,
            self.request,
            &asking.policy,
            filling.response,
            body,
        )
        .map(Answer::Respond)
    }

    fn private(&self, answer: OriginAnswer) -> Answer {
        Answer::Respond(deliver::private(
            self.edge,
            self.exchange,
            self.request,
            answer,
        ))
    }
}

#[cfg(test)]
mod reasons;
#[cfg(test)]
mod tests;
