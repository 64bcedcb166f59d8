//! Pass-through: the callbacks of Pingora's `HttpProxy`, in calling order, a few lines each, no decisions.
//!
//! `HttpProxy` carries what the story does not answer itself: uploads, unsafe methods, upgrades, bypassed requests. The HTTP/1.1 front hands
//! a request over with [`pass`], HTTP/2 with [`hand_over`]. Where a request goes is `origin::master`'s word at each attempt, what is sent
//! `origin::forward`'s, what is believed of the answer `origin::receive`'s. Caching is off here.
//! Invariant 1: the route is asked for again in the last callback before the head is written. Invariant 2: see [`passage`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::DATE;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use jet9_cache::Timestamp;
use jet9_cache::semantics::storable;
use parking_lot::Mutex;
use pingora_core::apps::HttpServerApp;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::clock::{self, WallClock};
use crate::control::purge;
use crate::exchange::Exchange;
use crate::framework::front::{DateSlot, FrontStream};
use crate::framework::http2;
use crate::interim::INTERIM_MAX;
use crate::message::{Content, Framing, Protocol, Request, Response, field_bytes};
use crate::origin::forward::{self, Facts, For};
use crate::origin::guard::{self, Said};
use crate::origin::master;
use crate::origin::receive::{self, Asked};
use crate::parts::Edge;
use crate::response::fault::{self, ClientFault, Fault, OriginFault};
use crate::response::posted::Posted;
use crate::response::{by_head, deliver, store};

pub mod passage;

use passage::Passage;

/// Idle connections to sides that pass-through keeps; fetches have a pool of their own.
const IDLE_MAX: usize = 4096;

/// How long either end of a tunnel (WebSocket) may be silent, and how long the side may take to open it: Pingora has one wait for both. Its ends keep it alive as they see fit; this only bounds what they forgot.
const TUNNEL_IDLE: Duration = Duration::from_secs(3600);

/// A request on its way through `HttpProxy`, with its facts.
#[derive(Debug)]
pub struct Passing {
    /// The request as the guard left it.
    pub request: Request,
    /// Its facts so far; recorded by the `logging` callback.
    pub exchange: Exchange,
    /// What the `Date` of its answer is to be.
    pub date: DateSlot,
    /// Interim responses that the side has sent.
    interims: usize,
}

impl Passing {
    /// A request on its way. `date`: where the carrier is told of the answer's `Date`, if it has to put that in itself.
    pub fn new(request: Request, exchange: Exchange, date: DateSlot) -> Self {
        Self {
            request,
            exchange,
            date,
            interims: 0,
        }
    }

    /// A head goes out to the client.
    fn count_head(&mut self, head: &ResponseHeader) {
        self.exchange.answered.bytes_out += field_bytes(&head.headers) as u64;
    }
}

/// The callbacks of `HttpProxy`. One for the process, shared by all listeners.
#[derive(Debug)]
pub struct Phases {
    edge: Arc<Edge>,
}

impl Phases {
    /// The callbacks of this node.
    pub const fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }

    /// The `HttpProxy` of this node. Needs the process's crypto provider to be installed.
    pub fn proxy(edge: Arc<Edge>) -> Arc<HttpProxy<Self>> {
        let conf = ServerConf {
            threads: 1,
            upstream_keepalive_pool_size: IDLE_MAX,
            ..ServerConf::default()
        };
        let mut proxy = HttpProxy::new(Self::new(edge), Arc::new(conf));
        proxy.handle_init_modules();
        Arc::new(proxy)
    }
}

/// Passes one request of an HTTP/1.1 connection through; `true` if Pingora left the connection usable. `close`: the answer says
/// `Connection: close`.
pub async fn pass(
    proxy: &Arc<HttpProxy<Phases>>,
    stream: FrontStream,
    passing: Passing,
    close: bool,
    shutdown: &ShutdownWatch,
) -> bool {
    let mut session = ServerSession::new_http1(Box::new(stream));
    session.set_connection_user_context(Some(Box::new(Lent { passing, close })));
    proxy.process_new_http(session, shutdown).await.is_some()
}

/// What Pingora carries to the callbacks as the context of an HTTP/1.1 connection.
struct Lent {
    passing: Passing,
    close: bool,
}

/// Ties the facts of a request to an HTTP/2 session, which has no context of its own: in the extensions of its head.
pub(crate) fn hand_over(head: &mut RequestHeader, passing: Passing) {
    let slot = Handed(Arc::new(Mutex::new(Some(Box::new(passing)))));
    head.extensions_mut().insert(slot);
}

#[derive(Clone)]
struct Handed(Arc<Mutex<Option<Box<Passing>>>>);

#[async_trait]
impl ProxyHttp for Phases {
    type CTX = Passage;

    fn new_ctx(&self) -> Passage {
        Passage::new(Arc::clone(&self.edge))
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    fn on_connection_reuse(
        &self,
        session: &mut Session,
        ctx: &mut Passage,
        context: Box<dyn std::any::Any + Send + Sync>,
    ) {
        if let Ok(lent) = context.downcast::<Lent>() {
            let idle = self.edge.limits.keep_alive.as_secs().max(1);
            session.set_keepalive((!lent.close).then_some(idle));
            ctx.take_in(Box::new(lent.passing));
        }
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Passage) -> Result<()> {
        let handed = session.req_header_mut().extensions_mut().remove::<Handed>();
        if let Some(passing) = handed.and_then(|handed| handed.0.lock().take()) {
            ctx.take_in(passing);
        }
        let (upgrades, is_http10) = ctx.parts().map_or((false, false), |(passing, _)| {
            let request = &passing.request;
            (
                request.upgrade.is_some(),
                request.protocol == Protocol::Http10,
            )
        });
        // RFC 9110 §15.2: HTTP/1.0 knows no interim answers, and would take one for the answer.
        session.set_ignore_info_resp(is_http10);
        let idle = Some(self.edge.limits.client_idle);
        session.set_read_timeout(if upgrades { Some(TUNNEL_IDLE) } else { idle });
        session.set_write_timeout(idle);
        session.set_total_drain_timeout(idle);
        Ok(())
    }

    async fn request_filter(&self, _session: &mut Session, ctx: &mut Passage) -> Result<bool> {
        let (passing, site) = ctx.parts()?;
        match passing.request.content {
            Framing::Length(length) if length > site.site.body => Err(too_large(ctx)),
            _ => Ok(false),
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Passage,
    ) -> Result<Box<HttpPeer>> {
        let at_least = ctx.at_least();
        let pause = ctx.take_pause();
        let (passing, site) = ctx.parts()?;
        let routed = async {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            master::route(&self.edge, &site, &mut passing.exchange, at_least).await
        };
        let route = tokio::select! {
            biased;
            route = routed => route.map_err(Fault::Cluster),
            () = left(session) => Err(Fault::Client(ClientFault::Left)),
        };
        let peer = match route {
            Ok(route) => ctx.begin_attempt(route, &site.site.origin)?,
            Err(fault) => return Err(ctx.fail(fault)),
        };
        let entered = tokio::select! {
            biased;
            entered = ctx.enter(&site.site) => Some(entered),
            () = left(session) => None,
        };
        match entered {
            Some(entered) => entered.map(|()| peer),
            None => Err(ctx.fail(Fault::Client(ClientFault::Left))),
        }
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        head: &mut RequestHeader,
        ctx: &mut Passage,
    ) -> Result<()> {
        let route = ctx.route()?.clone();
        let (passing, site) = ctx.parts()?;
        let described = match passing.request.method {
            Method::HEAD => by_head::described(&self.edge, &site, &passing.request).await,
            _ => None,
        };
        let facts = Facts {
            edge: &self.edge.id,
            epoch: route.epoch,
            request_id: &passing.exchange.request_id,
            client: passing.exchange.client_ip(),
            port: passing.exchange.client_port(),
        };
        let outgoing = forward::compose(&passing.request, &site.site, &facts, For::Client);
        let upgrades = passing.request.upgrade.is_some();
        *head = request_header(outgoing)?;
        if upgrades {
            // Pingora believes that content may follow (see `FrontStream`) and would announce chunks.
            head.insert_header(http::header::CONTENT_LENGTH, HeaderValue::from_static("0"))?;
        }
        // Read before the last look at the epoch, as for a fetch.
        let now = (WallClock::System.now(), clock::boottime());
        if !master::recheck(&self.edge, &route) {
            return Err(ctx.fail(Fault::Origin(OriginFault::EpochEnded)));
        }
        let (passing, site) = ctx.parts()?;
        let now_here = self.edge.clock.now();
        ctx.posted = Posted::sending(&self.edge, &site, &passing.request, now_here);
        ctx.sent(now, described);
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Passage,
    ) -> Result<()> {
        let length = body.as_ref().map_or(0, Bytes::len);
        let (passing, site) = ctx.parts()?;
        // What follows an upgrade is no content.
        let most = if passing.request.upgrade.is_some() {
            u64::MAX
        } else {
            site.site.body
        };
        if ctx.took_content(length as u64) > most {
            return Err(too_large(ctx));
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Passage,
    ) -> Result<()> {
        ctx.heard(head.status, Said::of(&head.headers))?;
        ctx.answered(head.status);
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            if ctx.parts()?.0.request.upgrade.is_none() {
                let fault = OriginFault::Malformed("an upgrade nobody asked for");
                return Err(ctx.fail(Fault::Origin(fault)));
            }
            head.remove_header(&guard::EPOCH);
            head.remove_header(&guard::NOT_PROCESSED);
            return Ok(());
        }
        if head.status.is_informational() {
            let (passing, _) = ctx.parts()?;
            passing.interims += 1;
            if passing.interims > INTERIM_MAX {
                let fault = OriginFault::Malformed("too many interim answers");
                return Err(ctx.fail(Fault::Origin(fault)));
            }
        }
        let posted = ctx.posted.take_if(|_| !head.status.is_informational());
        let described = match head.status.is_informational() {
            true => None,
            false => ctx.take_described(),
        };
        let route = ctx.route()?.clone();
        let (passing, site) = ctx.parts()?;
        let method = passing.request.method.clone();
        let asked = Asked {
            method: &method,
            unknown_coding: site.site.origin.unknown_transfer_coding,
        };
        let received = match receive::judge(head.version, head.status, head.headers.clone(), asked)
        {
            Ok(received) => received,
            Err(rule) => return Err(ctx.fail(Fault::Origin(OriginFault::Malformed(rule)))),
        };
        keep_end_to_end(head, &received);
        if let Some(described) = described
            && master::admits(&self.edge, &route)
        {
            by_head::update(&self.edge, &site, &passing.request, &described, &received).await;
        }
        let request = &passing.request;
        if !head.status.is_informational() {
            purge::by_response(&self.edge, &site, request, &received.fields).await;
        }
        if !head.status.is_informational() && !method.is_safe() {
            let kept = store::invalidate(&self.edge, &site, request, &received, posted).await;
            ctx.keep(kept);
        }
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Passage,
    ) -> Result<Option<Duration>> {
        ctx.gather(body.as_deref().unwrap_or_default(), end_of_stream);
        Ok(None)
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Passage,
    ) -> Result<()> {
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            ctx.parts()?.0.count_head(head);
            return Ok(());
        }
        head.set_version(Version::HTTP_11); // RFC 9110 §2.5: our own version, not the side's
        let (passing, _) = ctx.parts()?;
        let date = date_of(head, self.edge.clock.now());
        passing.date.set(date.clone());
        head.insert_header(DATE, date)?;
        let mut added = HeaderMap::new();
        deliver::add_via(&self.edge, &mut added);
        deliver::add_cache_status(&self.edge, &passing.exchange, &mut added);
        for (name, value) in &added {
            head.append_header(name, value)?;
        }
        passing.count_head(head);
        ctx.first_byte();
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Passage,
        error: Box<Error>,
    ) -> Box<Error> {
        ctx.not_connected(error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Passage,
        _client_reused: bool,
    ) -> Box<Error> {
        ctx.broke_off(session, error)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Passage,
    ) -> FailToProxy {
        let fault = ctx.final_fault(error);
        let begun = session
            .response_written()
            .is_some_and(|head| !head.status.is_informational());
        let code = match ctx.parts() {
            Ok((passing, _)) if !begun && fault != Fault::Client(ClientFault::Left) => {
                respond(&self.edge, session, passing, &fault).await
            }
            _ => None,
        };
        if code.is_some() {
            ctx.fault_was_told();
        }
        FailToProxy {
            error_code: code.unwrap_or(0),
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Passage) {
        ctx.record(session, error);
    }

    // The access log and `response::fault` tell what happened, once.

    fn suppress_error_log(&self, _session: &Session, _ctx: &Passage, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Passage,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// Ends when the client has left while its request is not under way. Over HTTP/1.1 that shows only once its content was read, because reading
/// on would take content away; until then a request that is held to be sent again keeps its place to the end of the hold.
async fn left(session: &mut Session) {
    let downstream = &mut session.downstream_session;
    if downstream.is_custom() || downstream.is_body_done() {
        // Over HTTP/2 this reads nothing; over HTTP/1.1 nothing comes after the content but an end or an error: see `FrontStream`.
        let _ = downstream.read_body_or_idle(true).await;
    } else {
        std::future::pending().await
    }
}

fn too_large(ctx: &mut Passage) -> Box<Error> {
    ctx.fail(Fault::Client(ClientFault::ContentTooLarge))
}

fn request_header(outgoing: forward::Outgoing) -> Result<RequestHeader> {
    let size = outgoing.fields.len();
    let mut head = RequestHeader::build(outgoing.method, &outgoing.path_and_query, Some(size))?;
    head.set_version(Version::HTTP_11);
    for (name, value) in &outgoing.fields {
        head.append_header(name, value)?;
    }
    Ok(head)
}

/// Takes off what ends at the side's connection, or is for the edge alone. `chunked` is left to Pingora, which frames the content anew by it; an
/// unknown coding that was let pass is taken off like the rest: Pingora reads its content until the connection ends.
fn keep_end_to_end(head: &mut ResponseHeader, received: &receive::Received) {
    let withheld = head
        .headers
        .keys()
        .filter(|name| storable::is_withheld(name));
    let withheld: Vec<_> = withheld.cloned().collect();
    for name in receive::connection_fields(&head.headers)
        .into_iter()
        .chain(withheld)
    {
        if name != http::header::TRANSFER_ENCODING || !is_chunked(head) {
            head.remove_header(&name);
        }
    }
    if head.status == StatusCode::NO_CONTENT || received.status.is_informational() {
        head.remove_header(&http::header::CONTENT_LENGTH);
        head.remove_header(&http::header::TRANSFER_ENCODING);
    }
}

fn is_chunked(head: &ResponseHeader) -> bool {
    let coding = head.headers.get(http::header::TRANSFER_ENCODING);
    coding.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// The `Date` of an answer: the side's (RFC 9110 §6.6.1), the first where it sent several, or the time when the answer came.
fn date_of(head: &ResponseHeader, now: Timestamp) -> HeaderValue {
    let said = head.headers.get(DATE);
    said.cloned().unwrap_or_else(|| deliver::date(now))
}

fn response_header(response: &Response) -> Result<ResponseHeader> {
    let fields = http2::fields(response);
    let mut head = ResponseHeader::build_no_case(response.head.status(), Some(fields.len()))?;
    for (name, value) in &fields {
        head.append_header(name, value)?;
    }
    Ok(head)
}

/// Writes the response to a fault; the status, when it went out whole.
async fn respond(
    edge: &Edge,
    session: &mut Session,
    passing: &mut Passing,
    fault: &Fault,
) -> Option<u16> {
    let response = fault::respond(edge, &mut passing.exchange, Some(&passing.request), fault);
    let status = response.head.status();
    let head = response_header(&response).ok()?;
    passing.date.set(date_of(&head, edge.clock.now()));
    passing.count_head(&head);
    session.set_keepalive(None);
    let downstream = &mut session.downstream_session;
    downstream
        .write_response_header(Box::new(head))
        .await
        .ok()?;
    let content = match response.content {
        Content::Whole(content) => content,
        _ => Bytes::new(),
    };
    downstream.write_response_body(content, true).await.ok()?;
    if !downstream.is_custom() {
        // Says that the answer is whole: a stream that is only dropped was broken off.
        downstream.shutdown().await;
    }
    Some(status.as_u16())
}

#[cfg(test)]
mod tests;
