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
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::access::Peer;
use super::problem::Problem;
use super::routes::{Effect, Route, Takes, route};
use super::{Answer, Api, Call, Content, access, metrics};
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

pub(super) async fn serve(api: Arc<Api>, admin: Vec<AdminListener>, metrics: Option<StdListener>) {
    let mut loops = JoinSet::new();
    for listener in admin {
        match listener {
            AdminListener::Unix(listener) => loops.spawn(accept_unix(Arc::clone(&api), listener)),
            AdminListener::Tcp(listener) => {
                let role = Role::Admin(Peer::Remote);
                loops.spawn(accept_tcp(Arc::clone(&api), listener, role))
            }
        };
    }
    if let Some(listener) = metrics {
        loops.spawn(accept_tcp(api, listener, Role::Metrics));
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

async fn accept_tcp(api: Arc<Api>, listener: StdListener, role: Role) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(Arc::clone(&api), stream, role, permit));
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
    let service = service_fn(move |request: Request<Incoming>| {
        let api = Arc::clone(&api);
        async move {
            Ok::<_, Infallible>(match role {
                Role::Admin(peer) => admin(&api, peer, request).await,
                Role::Metrics => metrics::answer(&api, request.method(), request.uri().path()),
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        log::debug!("control plane: {error}");
    }
}

async fn admin(api: &Api, peer: Peer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    match call(api, peer, request).await {
        Ok(answer) => answered(answer),
        Err(problem) => refused(&problem),
    }
}

async fn call(api: &Api, peer: Peer, request: Request<Incoming>) -> Result<Answer, Problem> {
    let (head, body) = request.into_parts();
    let principal = access::authenticate(&api.edge.tokens, peer, &head.headers)?;
    let (route, [name, _]) = route(&head.method, head.uri.path())?;
    if let Some(right) = route.needs.right(name) {
        access::require(&principal, right)?;
    }
    known_parameters(route, head.uri.query().unwrap_or_default())?;
    let body = content(api, route, &head.headers, body).await?;
    let call = Call {
        api,
        principal: &principal,
        name,
        query: head.uri.query().unwrap_or_default(),
        fields: &head.headers,
        body: &body,
    };
    let outcome = (route.handler)(call).await;
    if route.effect == Effect::Writes {
        let status = outcome
            .as_ref()
            .map_or_else(Problem::status, |answer| answer.status);
        // Names in paths are what a caller sent: escaped, so that nobody writes lines of his own into the log.
        let (who, path) = (principal.name(), head.uri.path().escape_default());
        log::info!(
            "admin API: {who}: {} {path}: {}",
            head.method,
            status.as_u16()
        );
    }
    outcome
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

fn answered(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = match answer.content {
        Content::Nothing => Response::new(Full::default()),
        Content::Json(body) => json(&body, "application/json"),
        Content::Text(kind, text) => of_kind(text, kind),
    };
    *response.status_mut() = answer.status;
    response.headers_mut().extend(answer.fields);
    response
}

fn refused(problem: &Problem) -> Response<Full<Bytes>> {
    let mut response = json(&problem.body(), "application/problem+json");
    *response.status_mut() = problem.status();
    response.headers_mut().extend(problem.fields());
    response
}

fn json(body: &Value, kind: &'static str) -> Response<Full<Bytes>> {
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
