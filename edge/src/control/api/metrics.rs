//! The metrics listener: `/metrics`, `/livez`, `/readyz`. For those who watch; nothing here can be changed.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, IntGaugeVec, Opts, Registry, TextEncoder};

use super::Api;
use crate::clock;
use crate::control::health::{self, NotReady};
use crate::parts::Edge;

/// Registers what is known of the process itself.
pub(super) fn register_process(registry: &Registry) {
    let labels = ["version", "commit"];
    let info = Opts::new("jet9_build_info", "Always 1; the labels say what runs.");
    let registered = IntGaugeVec::new(info, &labels).and_then(|info| {
        let commit = option_env!("JET9_COMMIT").unwrap_or("unknown");
        info.with_label_values(&[env!("CARGO_PKG_VERSION"), commit])
            .set(1);
        registry.register(Box::new(info))?;
        registry.register(Box::new(ProcessCollector::for_self()))
    });
    if let Err(error) = registered {
        log::warn!("the metrics of the process are missing: {error}");
    }
}

/// Answers one request.
pub(super) fn answer(api: &Api, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match path {
        "/metrics" => scrape(&api.registry),
        "/livez" if api.edge.health.live() => text(StatusCode::OK, "ok\n"),
        "/livez" => text(StatusCode::SERVICE_UNAVAILABLE, "not alive\n"),
        "/readyz" => ready(&api.edge),
        _ => text(StatusCode::NOT_FOUND, "/metrics, /livez, /readyz\n"),
    }
}

fn scrape(registry: &Registry) -> Response<Full<Bytes>> {
    let mut out = Vec::new();
    let encoder = TextEncoder::new();
    if let Err(error) = encoder.encode(&registry.gather(), &mut out) {
        log::error!("metrics: {error}");
        return text(StatusCode::INTERNAL_SERVER_ERROR, "not encodable\n");
    }
    let mut response = text(StatusCode::OK, out);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn ready(edge: &Edge) -> Response<Full<Bytes>> {
    let now = clock::monotonic();
    health::count_clusters(edge, now);
    match edge.health.ready(now) {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(reasons) => {
            let words: Vec<&str> = reasons.into_iter().map(NotReady::as_str).collect();
            text(StatusCode::SERVICE_UNAVAILABLE, words.join("\n") + "\n")
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
