//! Carries the calls: accept, read within limits, answer.
//!
//! hyper reads HTTP/1.1 here; nothing of the visitors' front is shared, so that a flood of visitors does not shut the operator out.
//! Invariant 7: connections, heads, bodies and the time for each have limits; who cannot wait or will not read gives up its place, not the others.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;

use super::access::Peer;
use super::gate::Inside;
use super::idempotency::{Begun, Named};
use super::patient::Patient;
use super::places::{Place, Places, Who};
use super::problem::Problem;
use super::refusals::Telling;
use super::routes::{Effect, Route, Takes, route};
use super::{Answer, Api, Call, Content, access, events, metrics, refusals};
use crate::clock;
use crate::control::tokens::Principal;
use crate::framework::listeners::AdminListener;

/// Bytes of a head.
const HEAD_MAX: usize = 64 << 10;

/// Bytes that are read of a content that nobody wants.
const DRAIN_MAX: usize = 256 << 20;

/// Characters of a path that are told in the audit trail.
const TOLD_MAX: usize = 256;

/// How long accepting pauses when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener is for.
#[derive(Clone, Copy)]
enum Role {
    Admin(Peer),
    Metrics,
}

/// How bytes come over TCP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Clear,
    Tls,
}

/// What an answer carries: all of it, or events as they happen.
type Body = Either<Full<Bytes>, events::Stream>;

pub(super) async fn serve(api: Arc<Api>, admin: Vec<AdminListener>, metrics: Option<StdListener>) {
    let mut loops = JoinSet::new();
    for listener in admin {
        match listener {
            AdminListener::Unix(listener) => loops.spawn(accept_unix(Arc::clone(&api), listener)),
            AdminListener::Tcp(listener) => {
                let role = Role::Admin(Peer::Remote);
                loops.spawn(accept_tcp(
                    Arc::clone(&api),
                    listener,
                    role,
                    Transport::Clear,
                ))
            }
            AdminListener::Tls(listener) => {
                let role = Role::Admin(Peer::Remote);
                loops.spawn(accept_tcp(Arc::clone(&api), listener, role, Transport::Tls))
            }
        };
    }
    if let Some(listener) = metrics {
        loops.spawn(accept_tcp(api, listener, Role::Metrics, Transport::Clear));
    }
    while let Some(ended) = loops.join_next().await {
        if let Ok(Err(error)) = ended {
            log::error!("a listener of the control plane ended: {error}");
        }
    }
}

async fn accept_unix(api: Arc<Api>, listener: StdUnixListener) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let places = Places::new(api.edge.limits.admin_connections);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
        let role = Role::Admin(Peer::Local(uid));
        if let Some(place) = places.enter(Who::Uid(uid), clock::monotonic()) {
            tokio::spawn(connection(Arc::clone(&api), stream, role, Arc::new(place)));
        }
    }
}

async fn accept_tcp(
    api: Arc<Api>,
    listener: StdListener,
    role: Role,
    transport: Transport,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Places::new(api.edge.limits.admin_connections);
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let Some(place) = places.enter(Who::at(address.ip()), clock::monotonic()) else {
            continue;
        };
        let (api, place) = (Arc::clone(&api), Arc::new(place));
        match transport {
            Transport::Clear => tokio::spawn(connection(api, stream, role, place)),
            Transport::Tls => tokio::spawn(over_tls(api, stream, role, place)),
        };
    }
}

async fn pause(error: &io::Error) {
    log::warn!("control plane: accept: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn over_tls(api: Arc<Api>, stream: TcpStream, role: Role, place: Arc<Place>) {
    let accepted = tokio::select! {
        accepted = api.tls.accept(stream) => accepted,
        () = place.is_cut() => None,
    };
    if let Some((stream, _)) = accepted {
        connection(api, stream, role, place).await;
    }
}

async fn connection<S>(api: Arc<Api>, stream: S, role: Role, place: Arc<Place>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let own = Arc::clone(&place);
    let patience = api.edge.limits.admin_timeout;
    let service = service_fn(move |request: Request<Incoming>| {
        let (api, place) = (Arc::clone(&api), Arc::clone(&own));
        async move {
            Ok::<_, Infallible>(match role {
                Role::Admin(peer) => admin(api, peer, request, place).await,
                Role::Metrics => {
                    metrics::answer(&api, request.method(), request.uri().path()).map(Either::Left)
                }
            })
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream, patience)), service);
    tokio::select! {
        served = serving => if let Err(error) = served {
            log::debug!("control plane: {error}");
        },
        () = place.is_cut() => {}
    }
}

/// Answers a call. It is done in a task of its own: what has begun is done, told and kept for its key though its caller leaves meanwhile.
async fn admin(
    api: Arc<Api>,
    peer: Peer,
    request: Request<Incoming>,
    place: Arc<Place>,
) -> Response<Body> {
    let (own, cut) = (Arc::clone(&api), Arc::clone(&place));
    let called = tokio::spawn(async move { call(&own, peer, request, &place).await });
    match called.await {
        Ok(Ok(answer)) => answered(&api, answer, cut),
        Ok(Err(problem)) => refused(&problem).map(Either::Left),
        Err(_) => {
            let detail = "the call broke off";
            refused(&Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)).map(Either::Left)
        }
    }
}

async fn call(
    api: &Arc<Api>,
    peer: Peer,
    request: Request<Incoming>,
    place: &Place,
) -> Result<Answer, Problem> {
    let (head, mut body) = request.into_parts();
    let outcome = known(api, peer, &head, &mut body, place).await;
    // Who waits for 100 (Continue) is not told to send it.
    if !body.is_end_stream() && !head.headers.contains_key(EXPECT) {
        tokio::spawn(drain(body, api.edge.limits.admin_timeout));
    }
    outcome
}

/// Reads what nobody wants any more, within bounds: a connection that is closed on unread bytes is reset, and its caller would not see the answer.
async fn drain(body: Incoming, patience: Duration) {
    let reading = Limited::new(body, DRAIN_MAX);
    let mut reading = std::pin::pin!(reading);
    let all = async { while let Some(Ok(_)) = reading.frame().await {} };
    let _ = tokio::time::timeout(patience, all).await;
}

/// A call from whom it comes to its answer.
async fn known(
    api: &Arc<Api>,
    peer: Peer,
    head: &Parts,
    body: &mut Incoming,
    place: &Place,
) -> Result<Answer, Problem> {
    let known = access::authenticate(&api.edge.tokens, peer, &head.headers);
    let principal = known.inspect_err(|_| api.events.strangers.inc())?;
    let now = clock::monotonic();
    place.shown(&principal, now);
    let (route, [name, _]) = route(&head.method, head.uri.path())?;
    let outcome = match api.gate.enter(&principal, now) {
        Ok(inside) => {
            let room = (&inside, place);
            permitted(api, &principal, (route, name), (head, body), room).await
        }
        Err(problem) => Err(problem),
    };
    if route.effect != Effect::Reads {
        audit(api, &principal, head, &outcome);
    }
    outcome
}

/// A call whose route is known, from its right to its answer. Whoever is slow to send its content keeps nothing but a connection, and that only
/// until somebody needs its place.
async fn permitted(
    api: &Api,
    principal: &Principal,
    (route, name): (&Route, &str),
    (head, body): (&Parts, &mut Incoming),
    (inside, place): (&Inside<'_>, &Place),
) -> Result<Answer, Problem> {
    if let Some(right) = route.needs.right(name) {
        access::require(principal, right)?;
    }
    let query = head.uri.query().unwrap_or_default();
    known_parameters(route, query)?;
    let body = content(api, route, &head.headers, body).await?;
    let _running = (inside.run()?, place.run());
    let call = Call {
        api,
        principal,
        name,
        query,
        fields: &head.headers,
        body: &body,
    };
    done(call, route, head).await
}

/// A call that runs, once however often it is sent under one key.
async fn done(call: Call<'_>, route: &Route, head: &Parts) -> Result<Answer, Problem> {
    if route.effect != Effect::Writes {
        return (route.handler)(call).await;
    }
    let Call { api, principal, .. } = call;
    let named = Named {
        method: &head.method,
        path_and_query: head.uri.path_and_query().map_or("", |path| path.as_str()),
        fields: &head.headers,
        body: call.body,
    };
    match api.answers.begin(principal, named, clock::monotonic())? {
        Begun::Do => (route.handler)(call).await,
        Begun::Done(answer) => Ok(answer),
        Begun::Keep(running) => {
            let answer = (route.handler)(call).await?;
            running.keep(&answer);
            Ok(answer)
        }
    }
}

/// Tells of a call that writes, done or refused: in the log and to those who listen.
fn audit(api: &Arc<Api>, who: &Principal, head: &Parts, outcome: &Result<Answer, Problem>) {
    if let Err(problem) = outcome
        && problem.is_crowded()
        && !who.is_admin()
    {
        match api.refusals.add(who.name()) {
            Telling::Now => tokio::spawn(tell_further(Arc::clone(api), who.name().to_owned())),
            Telling::Later => return,
        };
    }
    let status = match outcome {
        Ok(answer) => answer.status,
        Err(problem) => problem.status(),
    };
    let (who, method) = (who.name(), head.method.as_str());
    // With its parameters, of which `dry_run` says that nothing was written; short, however long a path somebody sent.
    let target = head
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    let target: String = target.chars().take(TOLD_MAX).collect();
    let told = json!({ "by": who, "method": method, "path": target, "status": status.as_u16() });
    api.events.tell("call", told);
    // Names in paths are what a caller sent: escaped, so that nobody writes lines of his own into the log.
    let target = target.escape_default();
    log::info!("admin API: {who}: {method} {target}: {}", status.as_u16());
}

/// Tells, a while after a refusal for want of room, how many more of the same caller there were.
async fn tell_further(api: Arc<Api>, who: String) {
    tokio::time::sleep(refusals::PERIOD).await;
    let further = api.refusals.take(&who);
    if further > 0 {
        api.events
            .tell("refusals", json!({ "by": who, "further": further }));
        log::info!("admin API: {who}: {further} more refused for want of room");
    }
}

/// Refuses parameters that the route does not know, or that are there twice: one that is misspelt or overruled would be believed to have worked.
fn known_parameters(route: &Route, query: &str) -> Result<(), Problem> {
    let names = query.split('&').filter_map(|one| one.split('=').next());
    let mut seen = Vec::new();
    for name in names.filter(|name| !name.is_empty()) {
        let wrong = match (route.query.contains(&name), seen.contains(&name)) {
            (true, false) => None,
            (true, true) => Some("given twice"),
            (false, _) => Some("unknown"),
        };
        if let Some(wrong) = wrong {
            let detail = format!("parameter `{}`: {wrong}", name.escape_default());
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        seen.push(name);
    }
    Ok(())
}

/// The content of a call, if its route takes one.
async fn content(
    api: &Api,
    route: &Route,
    fields: &HeaderMap,
    body: &mut Incoming,
) -> Result<Bytes, Problem> {
    let Takes::OneOf(kinds) = route.takes else {
        return Ok(Bytes::new());
    };
    if let Some(kind) = media_type(fields)
        && !kinds.iter().any(|known| kind.eq_ignore_ascii_case(known))
    {
        let detail = format!(
            "`{}` is not taken here; send {}",
            kind.escape_default(),
            kinds.join(" or ")
        );
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let limits = &api.edge.limits;
    read(body, route.takes.limit(limits), limits.admin_timeout).await
}

/// What a call says that its content is. A form is what `curl -d` says when nobody told it better; it counts as nothing said.
pub(super) fn media_type(fields: &HeaderMap) -> Option<&str> {
    let value = fields.get(CONTENT_TYPE)?.to_str().unwrap_or("?");
    let kind = value.split(';').next().unwrap_or_default().trim();
    let is_said =
        !kind.is_empty() && !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    is_said.then_some(kind)
}

async fn read(body: &mut Incoming, limit: u64, patience: Duration) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("more than the {limit} bytes of limits.admin_body");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    // Before anything is read: who waits for 100 (Continue) need not send it.
    if body.size_hint().lower() > limit {
        return Err(too_large());
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let collecting = Limited::new(body, limit).collect();
    match tokio::time::timeout(patience, collecting).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::new(StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long",
        )),
    }
}

fn answered(api: &Arc<Api>, answer: Answer, place: Arc<Place>) -> Response<Body> {
    let mut response = match answer.content {
        Content::Nothing => Response::new(Either::Left(Full::default())),
        Content::Json(body) => of_json(&body, "application/json").map(Either::Left),
        Content::Text(kind, text) => of_kind(text, kind).map(Either::Left),
        Content::Events(reader) => {
            let stream = events::stream(reader, api, place);
            of_kind(String::new(), events::STREAM).map(|_| Either::Right(stream))
        }
    };
    *response.status_mut() = answer.status;
    response.headers_mut().extend(answer.fields);
    response
}

fn refused(problem: &Problem) -> Response<Full<Bytes>> {
    let mut response = of_json(&problem.body(), "application/problem+json");
    *response.status_mut() = problem.status();
    response.headers_mut().extend(problem.fields());
    response
}

fn of_json(body: &Value, kind: &'static str) -> Response<Full<Bytes>> {
    let mut text = body.to_string();
    text.push('\n');
    of_kind(text, kind)
}

fn of_kind(text: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
