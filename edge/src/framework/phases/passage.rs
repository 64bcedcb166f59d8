//! One request's passage through `HttpProxy`: where it is being sent, how far it came, what went wrong, what may be tried again.
//!
//! The context of the callbacks in `framework::phases`; the mapping of Pingora's errors to faults is here. Invariant 2: a request that is not
//! idempotent is tried again only while nothing of it was sent; the table is `origin::fetch`'s, shared with fetches.
//! Every passage is recorded once, also one whose task is dropped before its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use jet9_cache::Timestamp;
use jet9_cache::semantics::status::CacheStatus;
use jet9_cluster::{Epoch, Instant as LeaseInstant};
use jet9_config::site::{Origin, Site};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::Passing;
use crate::clock;
use crate::control::sites::SiteRuntime;
use crate::exchange::Attempt;
use crate::origin::breakers::Ended;
use crate::origin::connect::{Group, SitePlace};
use crate::origin::fetch::{Failed, Next, Reached, Tries, connect_fault};
use crate::origin::guard::Said;
use crate::origin::master::{self, Route};
use crate::parts::Edge;
use crate::record::metrics::Outcome;
use crate::response::by_head::Described;
use crate::response::fault::{self, ClientFault, EdgeFault, Fault, OriginFault};
use crate::response::posted::{Gathering, Posted};

/// The type of errors that stand for a fault which the passage keeps.
const FAULT: ErrorType = ErrorType::Custom("a fault of ours");

/// The log's word for a client that is gone.
const LEFT: &str = "client-left";

/// What one request carries through the callbacks.
pub struct Passage {
    edge: Arc<Edge>,
    passing: Option<Box<Passing>>,
    attempt: Option<Underway>,
    tries: Option<Tries>,
    next_addr: usize,
    pause: Duration,
    content: u64,
    /// A POST that was sent, until it is answered.
    pub(super) posted: Option<Posted>,
    /// Its answer, while it is being kept.
    kept: Option<Gathering>,
    fault: Option<Fault>,
    told: Told,
}

/// An attempt at a side.
struct Underway {
    route: Route,
    group: Arc<Group>,
    /// The site's place at the side, until the exchange is over.
    place: Option<SitePlace>,
    reached: Reached,
    began: Instant,
    sent: Option<Timestamp>,
    /// The same by the clock of leases, taken before the last look at the epoch.
    asked: Option<LeaseInstant>,
    described: Option<Described>,
}

/// What the client got in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Fault,
}

impl Passage {
    pub(super) const fn new(edge: Arc<Edge>) -> Self {
        Self {
            edge,
            passing: None,
            attempt: None,
            tries: None,
            next_addr: 0,
            pause: Duration::ZERO,
            content: 0,
            posted: None,
            kept: None,
            fault: None,
            told: Told::Nothing,
        }
    }

    pub(super) fn take_in(&mut self, passing: Box<Passing>) {
        let site = passing.exchange.site.as_ref();
        self.tries = site.map(|site| Tries::new(site.site.origin.retry_idempotent));
        self.passing = Some(passing);
    }

    /// The request and its site.
    pub(super) fn parts(&mut self) -> Result<(&mut Passing, Arc<SiteRuntime>)> {
        let passing = self.passing.as_deref_mut();
        match passing {
            Some(passing) => match passing.exchange.site.clone() {
                Some(site) => Ok((passing, site)),
                None => Error::e_explain(FAULT, "a request without its site"),
            },
            None => Error::e_explain(FAULT, "a request that nobody handed over"),
        }
    }

    /// Keeps a fault and gives the error that stands for it.
    pub(super) fn fail(&mut self, fault: Fault) -> Box<Error> {
        self.fault = Some(fault);
        Error::new(FAULT)
    }

    /// For how long the last failed attempt asked to wait.
    pub(super) const fn take_pause(&mut self) -> Duration {
        std::mem::replace(&mut self.pause, Duration::ZERO)
    }

    /// Begins an attempt on this route: at its first address, or at the next one when the last attempt found none there.
    pub(super) fn begin_attempt(&mut self, route: Route, origin: &Origin) -> Result<Box<HttpPeer>> {
        self.end_attempt();
        self.fault = None;
        self.content = 0; // sent again from its beginning
        let Some(addr) = route
            .addrs
            .get(self.next_addr % route.addrs.len().max(1))
            .copied()
        else {
            return Err(self.fail(Fault::Edge(EdgeFault::Internal(
                "a route without an address",
            ))));
        };
        let (mut peer, group) = self.edge.side_connections.peer(&route, addr, origin);
        if let Some(passing) = &mut self.passing {
            if passing.request.upgrade.is_some() {
                peer.options.read_timeout = Some(super::TUNNEL_IDLE);
            }
            passing.exchange.attempts.push(Attempt {
                side: route.side,
                epoch: route.epoch,
                sent: None,
                status: None,
                took: Duration::ZERO,
            });
        }
        self.attempt = Some(Underway {
            route,
            group,
            place: None,
            reached: Reached::Nothing,
            began: clock::monotonic(),
            sent: None,
            asked: None,
            described: None,
        });
        Ok(Box::new(peer))
    }

    /// Waits for a place of the site at the side; not longer than for a connection.
    pub(super) async fn enter(&mut self, site: &Site) -> Result<()> {
        let Some(underway) = &mut self.attempt else {
            return Ok(());
        };
        let deadline = site.origin.connect_timeout;
        underway.place = underway.group.enter(&site.id, deadline).await;
        match underway.place {
            Some(_) => Ok(()),
            None => Err(self.not_connected(Error::new(ErrorType::ConnectTimedout))),
        }
    }

    /// Frees the site's place at the side: the exchange is over, and what follows may have to be held.
    fn leave(&mut self) {
        if let Some(underway) = &mut self.attempt {
            underway.place = None;
        }
    }

    /// Counts the attempt that was under way, if there was one.
    fn end_attempt(&mut self) {
        if let Some(underway) = self.attempt.take() {
            let refused = matches!(self.fault, Some(Fault::Origin(OriginFault::Refused(_))));
            let outcome = match underway.reached {
                Reached::Nothing if refused => Outcome::Refused,
                Reached::Nothing => Outcome::Connect,
                Reached::Sent => Outcome::NoAnswer,
                Reached::Answered => Outcome::Answered,
            };
            master::ended(&self.edge, &underway.route, underway.sent, outcome);
        }
    }

    pub(super) fn route(&self) -> Result<&Route> {
        match &self.attempt {
            Some(attempt) => Ok(&attempt.route),
            None => Error::e_explain(FAULT, "no attempt was begun"),
        }
    }

    /// The head goes out now. `described`: what an answer to it, if it is a HEAD, will be about.
    pub(super) fn sent(
        &mut self,
        (now, asked): (Timestamp, LeaseInstant),
        described: Option<Described>,
    ) {
        self.note(Reached::Sent, |attempt| attempt.sent = Some(now));
        if let Some(underway) = &mut self.attempt {
            underway.sent = Some(now);
            underway.asked = Some(asked);
            underway.described = described;
        }
    }

    /// What the answer to this HEAD is about.
    pub(super) fn take_described(&mut self) -> Option<Described> {
        self.attempt.as_mut()?.described.take()
    }

    /// The epoch below which no attempt is made.
    pub(super) fn at_least(&self) -> Epoch {
        self.tries.as_ref().map_or(Epoch(0), Tries::at_least)
    }

    /// What the side's guard said. An error when it refused the request: then nobody has seen it.
    pub(super) fn heard(&mut self, status: StatusCode, said: Said) -> Result<()> {
        let Some(underway) = &mut self.attempt else {
            return Ok(());
        };
        let Some(refusal) = master::refusal(&underway.route, status, said) else {
            if let Some(asked) = underway.asked {
                master::heard(&self.edge, &underway.route, said, asked);
            }
            return Ok(());
        };
        self.note(Reached::Nothing, |attempt| {
            attempt.status = Some(status.as_u16())
        });
        Err(self.fail(Fault::Origin(OriginFault::Refused(refusal))))
    }

    /// The side answered, in the interim or finally.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.note(Reached::Answered, |attempt| {
            attempt.status = Some(status.as_u16())
        });
        if let Some(passing) = &mut self.passing {
            let cache = &mut passing.exchange.cache;
            *cache = cache.map(|cache| cache.answered(status));
        }
    }

    fn note(&mut self, reached: Reached, change: impl FnOnce(&mut Attempt)) {
        let Some(underway) = &mut self.attempt else {
            return;
        };
        underway.reached = reached;
        let took = clock::monotonic().duration_since(underway.began);
        let attempts = self
            .passing
            .as_mut()
            .map(|passing| &mut passing.exchange.attempts);
        if let Some(attempt) = attempts.and_then(|attempts| attempts.last_mut()) {
            attempt.took = took;
            change(attempt);
        }
    }

    /// Counts content of the request; how much there was until now.
    pub(super) const fn took_content(&mut self, length: u64) -> u64 {
        self.content = self.content.saturating_add(length);
        self.content
    }

    /// The answer to a POST is kept, if it is.
    pub(super) fn keep(&mut self, kept: Option<Gathering>) {
        if let (Some(_), Some(passing)) = (&kept, &mut self.passing) {
            let cache = &mut passing.exchange.cache;
            *cache = cache.map(CacheStatus::and_stored);
        }
        self.kept = kept;
    }

    /// Content of the answer, on its way to the client.
    pub(super) fn gather(&mut self, piece: &[u8], is_last: bool) {
        let kept = self.kept.take();
        self.kept = kept.and_then(|mut kept| kept.gather(piece).then_some(kept));
        if let Some(kept) = self.kept.take_if(|_| is_last)
            && let Some(underway) = &self.attempt
            && master::admits(&self.edge, &underway.route)
        {
            kept.finish();
        }
    }

    pub(super) fn first_byte(&mut self) {
        if let Some(passing) = &mut self.passing {
            let first = &mut passing.exchange.answered.first_byte;
            first.get_or_insert_with(clock::monotonic);
        }
    }

    /// No connection: the next address of the same side, or a pause.
    pub(super) fn not_connected(&mut self, mut error: Box<Error>) -> Box<Error> {
        let Some(underway) = &self.attempt else {
            return error;
        };
        let fault = if underway.group.is_cut() {
            OriginFault::EpochEnded
        } else {
            connect_fault(&error)
        };
        self.next_addr += 1;
        let round = underway.route.addrs.len().max(1);
        let another = !self.next_addr.is_multiple_of(round);
        self.note(Reached::Nothing, |_| {});
        self.leave();
        self.fault = Some(Fault::Origin(fault));
        let again = (another && fault != OriginFault::EpochEnded) || self.may_try(fault);
        error.set_retry(again);
        error
    }

    /// The attempt failed after a connection was there.
    pub(super) fn broke_off(&mut self, session: &Session, mut error: Box<Error>) -> Box<Error> {
        self.leave();
        let fault = self.fault.take().unwrap_or_else(|| self.judge(&error));
        let again = match &fault {
            Fault::Origin(origin) if self.may_repeat(session) => self.may_try(*origin),
            _ => false,
        };
        self.fault = Some(fault);
        error.set_retry(again);
        error
    }

    /// Whether sending once more cannot do anything twice, and nothing of an answer has gone to the client.
    fn may_repeat(&self, session: &Session) -> bool {
        let reached = self.attempt.as_ref().map(|attempt| attempt.reached);
        let Some(passing) = &self.passing else {
            return false;
        };
        let idempotent =
            passing.request.method.is_idempotent() && passing.request.upgrade.is_none();
        session.response_written().is_none()
            && !session.as_ref().retry_buffer_truncated()
            && (reached == Some(Reached::Nothing) || idempotent)
    }

    fn may_try(&mut self, fault: OriginFault) -> bool {
        let reached = self
            .attempt
            .as_ref()
            .map_or(Reached::Nothing, |attempt| attempt.reached);
        match self
            .tries
            .as_mut()
            .map(|tries| tries.after(Failed { fault, reached }))
        {
            Some(Next::Again(pause)) => {
                self.pause = pause;
                true
            }
            Some(Next::GiveUp) | None => false,
        }
    }

    /// What an error of Pingora's means.
    fn judge(&self, error: &Error) -> Fault {
        let cut = self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.group.is_cut());
        let begun = self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.reached == Reached::Answered);
        judge(
            error,
            if begun {
                Reached::Answered
            } else {
                Reached::Sent
            },
            cut,
        )
    }

    /// The fault that ends the passage.
    pub(super) fn final_fault(&mut self, error: &Error) -> Fault {
        let fault = self.fault.take().unwrap_or_else(|| self.judge(error));
        self.fault = Some(fault.clone());
        fault
    }

    /// The client got a response that tells the fault.
    pub(super) const fn fault_was_told(&mut self) {
        self.told = Told::Fault;
    }

    /// Tells whoever decides whether to spare the master how the last attempt ended. An end that is the client's doing says nothing.
    fn tell(&self, passing: &Passing) {
        let status = passing.exchange.attempts.last();
        let status = status.and_then(|attempt| attempt.status);
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let how = ended(status, self.fault.as_ref());
        if let (Some(underway), Some(site)) = (&self.attempt, &passing.exchange.site) {
            master::told(&self.edge, site, &underway.route, how);
        }
    }

    /// Records the exchange.
    pub(super) fn record(&mut self, session: &Session, error: Option<&Error>) {
        let Some(mut passing) = self.passing.take() else {
            return;
        };
        self.tell(&passing);
        let answered = &mut passing.exchange.answered;
        answered.status = session
            .response_written()
            .map_or(0, |head| head.status.as_u16());
        answered.bytes_in += session.body_bytes_read() as u64;
        answered.bytes_out += session.body_bytes_sent() as u64;
        answered.complete = error.is_none() || self.told == Told::Fault;
        if error.is_some() {
            passing
                .exchange
                .error
                .get_or_insert_with(|| self.fault.as_ref().map_or(LEFT, fault::word));
        }
        self.edge.recorder.finished(&passing.exchange);
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.end_attempt();
        if let Some(passing) = &mut self.passing {
            passing.exchange.error.get_or_insert(LEFT);
            self.edge.recorder.finished(&passing.exchange);
        }
    }
}

/// What the last attempt says about the master, by the status that it came to and the fault that ended the passage. An interim answer is none,
/// except where it is the last (RFC 9110 §15.2.2).
fn ended(status: Option<StatusCode>, fault: Option<&Fault>) -> Option<Ended> {
    let is_last = |status: &StatusCode| {
        *status == StatusCode::SWITCHING_PROTOCOLS || !status.is_informational()
    };
    match (status.filter(is_last), fault) {
        (_, Some(Fault::Origin(OriginFault::Refused(_)) | Fault::Cluster(_))) => None,
        (Some(status), _) => Ended::with(status),
        (None, fault) => fault.and_then(Ended::by),
    }
}

/// What an error of Pingora's during an exchange means. `cut`: our own cut of the connection is the cause of whatever the side's end shows.
fn judge(error: &Error, reached: Reached, cut: bool) -> Fault {
    match error.esource() {
        ErrorSource::Downstream => Fault::Client(match error.etype() {
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => ClientFault::Timeout,
            _ => ClientFault::Left,
        }),
        ErrorSource::Upstream if cut => Fault::Origin(OriginFault::EpochEnded),
        ErrorSource::Upstream => Fault::Origin(side_fault(error, reached)),
        ErrorSource::Internal | ErrorSource::Unset => {
            Fault::Edge(EdgeFault::Internal("pass-through failed"))
        }
    }
}

fn side_fault(error: &Error, reached: Reached) -> OriginFault {
    let begun = reached == Reached::Answered;
    match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout if begun => OriginFault::BodyTimeout,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => OriginFault::FirstByteTimeout,
        ErrorType::InvalidHTTPHeader => OriginFault::Malformed("bad head"),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError if !begun => {
            OriginFault::Closed
        }
        _ if begun => OriginFault::BodyIncomplete,
        _ => OriginFault::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::guard::Refusal;
    use crate::origin::master::NoRoute;

    #[test]
    fn only_a_final_answer_speaks_well_of_a_master() {
        let check = |status: Option<u16>, fault: Option<Fault>, expected| {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            assert_eq!(ended(status, fault.as_ref()), expected, "{status:?}");
        };
        let closed = || Some(Fault::Origin(OriginFault::Closed));
        check(Some(200), None, Some(Ended::Well));
        check(Some(101), closed(), Some(Ended::Well));
        check(Some(200), closed(), Some(Ended::Well));
        check(None, closed(), Some(Ended::Failed));
        check(Some(100), closed(), Some(Ended::Failed));
        let left = Some(Fault::Client(ClientFault::Left));
        check(Some(103), left, None);
        let refused = Fault::Origin(OriginFault::Refused(Refusal::Behind));
        check(Some(421), Some(refused), None);
        check(Some(421), Some(Fault::Cluster(NoRoute::Held)), None);
        check(Some(421), None, Some(Ended::Well));
    }

    #[test]
    fn errors_of_the_framework_become_faults_with_the_right_blame() {
        let check = |source: ErrorSource, kind: ErrorType, reached, cut, expected: Fault| {
            let mut error = Error::new(kind);
            error.esource = source;
            assert_eq!(
                judge(&error, reached, cut),
                expected,
                "{error:?} {reached:?}"
            );
        };
        use ErrorSource::{Downstream, Internal, Upstream};
        use Reached::{Answered, Sent};
        let origin = Fault::Origin;
        check(
            Downstream,
            ErrorType::ReadError,
            Sent,
            false,
            Fault::Client(ClientFault::Left),
        );
        check(
            Downstream,
            ErrorType::WriteTimedout,
            Sent,
            true,
            Fault::Client(ClientFault::Timeout),
        );
        check(
            Upstream,
            ErrorType::ConnectionClosed,
            Sent,
            false,
            origin(OriginFault::Closed),
        );
        check(
            Upstream,
            ErrorType::WriteError,
            Sent,
            false,
            origin(OriginFault::Closed),
        );
        check(
            Upstream,
            ErrorType::ReadTimedout,
            Sent,
            false,
            origin(OriginFault::FirstByteTimeout),
        );
        check(
            Upstream,
            ErrorType::ReadTimedout,
            Answered,
            false,
            origin(OriginFault::BodyTimeout),
        );
        check(
            Upstream,
            ErrorType::ConnectionClosed,
            Answered,
            false,
            origin(OriginFault::BodyIncomplete),
        );
        check(
            Upstream,
            ErrorType::InvalidHTTPHeader,
            Sent,
            false,
            origin(OriginFault::Malformed("bad head")),
        );
        check(
            Upstream,
            ErrorType::ReadError,
            Sent,
            true,
            origin(OriginFault::EpochEnded),
        );
        check(
            Upstream,
            ErrorType::ConnectionClosed,
            Answered,
            true,
            origin(OriginFault::EpochEnded),
        );
        let internal = Fault::Edge(EdgeFault::Internal("pass-through failed"));
        check(Internal, ErrorType::InternalError, Sent, false, internal);
    }
}
