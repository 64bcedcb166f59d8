//! Carries the calls: accept, read within limits, answer.
//!
//! hyper reads HTTP/1.1 here; nothing of the visitors' front is shared, so that a flood of visitors does not shut the operator out.
//! Invariant 7: connections, heads, bodies and the time for each have limits.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::access::Peer;
use super::idempotency::{Begun, Named};
use super::problem::Problem;
use super::routes::{Effect, Route, Takes, route};
use super::{Answer, Api, Call, Content, access, events, metrics};
use crate::clock;
use crate::control::tokens::Principal;
use crate::framework::listeners::AdminListener;

/// Open connections of one listener. More wait in the listen queue.
const CONNECTIONS_MAX: usize = 64;

/// The whole time for a head, and for a body. Also how long an idle connection stays open.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of a head.
const HEAD_MAX: usize = 64 << 10;

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
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                let role = Role::Admin(Peer::Local(uid));
                tokio::spawn(connection(Arc::clone(&api), stream, role, permit));
            }
            Err(error) => pause(&error).await,
        }
    }
    Ok(())
}

async fn accept_tcp(
    api: Arc<Api>,
    listener: StdListener,
    role: Role,
    transport: Transport,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) if transport == Transport::Clear => {
                tokio::spawn(connection(Arc::clone(&api), stream, role, permit));
            }
            Ok((stream, _)) => {
                let api = Arc::clone(&api);
                tokio::spawn(async move {
                    if let Some((stream, _)) = api.tls.accept(stream).await {
                        connection(api, stream, role, permit).await;
                    }
                });
            }
            Err(error) => pause(&error).await,
        }
    }
    Ok(())
}

async fn pause(error: &io::Error) {
    log::warn!("control plane: accept: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn connection<S>(api: Arc<Api>, stream: S, role: Role, _permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let cut = Arc::new(Notify::new());
    let is_cut = Arc::clone(&cut);
    let service = service_fn(move |request: Request<Incoming>| {
        let (api, cut) = (Arc::clone(&api), Arc::clone(&cut));
        async move {
            Ok::<_, Infallible>(match role {
                Role::Admin(peer) => admin(&api, peer, request, cut).await,
                Role::Metrics => {
                    metrics::answer(&api, request.method(), request.uri().path()).map(Either::Left)
                }
            })
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = serving => if let Err(error) = served {
            log::debug!("control plane: {error}");
        },
        () = is_cut.notified() => log::warn!("a reader of /v1/events is too slow; it is cut"),
    }
}

async fn admin(
    api: &Api,
    peer: Peer,
    request: Request<Incoming>,
    cut: Arc<Notify>,
) -> Response<Body> {
    match call(api, peer, request).await {
        Ok(answer) => answered(api, answer, cut),
        Err(problem) => refused(&problem).map(Either::Left),
    }
}

async fn call(api: &Api, peer: Peer, request: Request<Incoming>) -> Result<Answer, Problem> {
    let (head, body) = request.into_parts();
    let principal = access::authenticate(&api.edge.tokens, peer, &head.headers)?;
    let _inside = api.gate.enter(&principal, clock::monotonic())?;
    let (route, [name, _]) = route(&head.method, head.uri.path())?;
    let outcome = permitted(api, &principal, route, name, (&head, body)).await;
    if route.effect != Effect::Reads {
        audit(api, &principal, &head, &outcome);
    }
    outcome
}

/// A call whose route is known, from its right to its answer.
async fn permitted(
    api: &Api,
    principal: &Principal,
    route: &Route,
    name: &str,
    (head, body): (&Parts, Incoming),
) -> Result<Answer, Problem> {
    if let Some(right) = route.needs.right(name) {
        access::require(principal, right)?;
    }
    known_parameters(route, head.uri.query().unwrap_or_default())?;
    let body = content(api, route, &head.headers, body).await?;
    let call = Call {
        api,
        principal,
        name,
        query: head.uri.query().unwrap_or_default(),
        fields: &head.headers,
        body: &body,
    };
    if route.effect != Effect::Writes {
        return (route.handler)(call).await;
    }
    let named = Named {
        method: &head.method,
        path_and_query: head.uri.path_and_query().map_or("", |path| path.as_str()),
        fields: &head.headers,
        body: &body,
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
fn audit(api: &Api, who: &Principal, head: &Parts, outcome: &Result<Answer, Problem>) {
    let status = match outcome {
        Ok(answer) => answer.status,
        Err(problem) => problem.status(),
    };
    let (who, method, path) = (who.name(), head.method.as_str(), head.uri.path());
    let told = json!({ "by": who, "method": method, "path": path, "status": status.as_u16() });
    api.events.tell("call", told);
    // Names in paths are what a caller sent: escaped, so that nobody writes lines of his own into the log.
    let path = path.escape_default();
    log::info!("admin API: {who}: {method} {path}: {}", status.as_u16());
}

/// Refuses parameters that the route does not know: one that is misspelt would be believed to have worked.
fn known_parameters(route: &Route, query: &str) -> Result<(), Problem> {
    let names = query.split('&').filter_map(|one| one.split('=').next());
    let mut unknown = names.filter(|name| !name.is_empty() && !route.query.contains(name));
    match unknown.next() {
        None => Ok(()),
        Some(name) => {
            let detail = format!("unknown parameter `{}`", name.escape_default());
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

/// The content of a call, if its route takes one.
async fn content(
    api: &Api,
    route: &Route,
    fields: &HeaderMap,
    body: Incoming,
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
    read(body, route.takes.limit(&api.edge.limits)).await
}

/// What a call says that its content is. A form is what `curl -d` says when nobody told it better; it counts as nothing said.
pub(super) fn media_type(fields: &HeaderMap) -> Option<&str> {
    let value = fields.get(CONTENT_TYPE)?.to_str().unwrap_or("?");
    let kind = value.split(';').next().unwrap_or_default().trim();
    let is_said =
        !kind.is_empty() && !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    is_said.then_some(kind)
}

async fn read(body: Incoming, limit: u64) -> Result<Bytes, Problem> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let collecting = Limited::new(body, limit).collect();
    match tokio::time::timeout(READ_TIMEOUT, collecting).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("more than the {limit} bytes of limits.admin_body");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
        Ok(Err(error)) => Err(Problem::new(StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long",
        )),
    }
}

fn answered(api: &Api, answer: Answer, cut: Arc<Notify>) -> Response<Body> {
    let mut response = match answer.content {
        Content::Nothing => Response::new(Either::Left(Full::default())),
        Content::Json(body) => of_json(&body, "application/json").map(Either::Left),
        Content::Text(kind, text) => of_kind(text, kind).map(Either::Left),
        Content::Events(reader) => {
            let stream = events::stream(reader, Arc::clone(&api.events), cut);
            of_kind(String::new(), "text/event-stream").map(|_| Either::Right(stream))
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
