//! What an unsafe request invalidates (RFC 9111 §4.4).
//!
//! Called by `edge::response::store` once per answer to a request that was not read-only. Resolves references (RFC 3986 §5.2) and
//! compares origins; it knows neither keys nor the store. Invariant: nothing outside of the target's own origin is ever named, so that
//! one site cannot empty another's store.

use http::{HeaderMap, Method, StatusCode, header};

use crate::key::Scheme;

/// The target URI of a request, in parts.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its scheme.
    pub scheme: Scheme,
    /// Host and port as the client sent them.
    pub authority: &'a str,
    /// Path and query as the client sent them.
    pub path_and_query: &'a str,
}

/// The URIs to invalidate, each as path and query on the target's origin: the target itself, then `Location` and `Content-Location`
/// where they are of the same origin. Nothing after a safe method or an answer other than 2xx and 3xx.
pub fn invalidated(
    method: &Method,
    status: StatusCode,
    target: Target<'_>,
    response: &HeaderMap,
) -> Vec<String> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut uris = vec![target.path_and_query.to_owned()];
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let lines = response
            .get_all(name)
            .iter()
            .filter_map(|line| line.to_str().ok());
        for uri in lines.filter_map(|reference| same_origin(target, reference.trim())) {
            if !uris.contains(&uri) {
                uris.push(uri);
            }
        }
    }
    uris
}

/// Whether a response says that it is what the target URI identifies: `Content-Location`, on one line, means the target itself
/// (RFC 9110 §8.7).
pub(super) fn is_of_target(target: Target<'_>, response: &HeaderMap) -> bool {
    let mut lines = response.get_all(header::CONTENT_LOCATION).iter();
    let line = lines.next().filter(|_| lines.next().is_none());
    let named = line
        .and_then(|line| line.to_str().ok())
        .and_then(|reference| same_origin(target, reference.trim()));
    named.is_some_and(|uri| uri == target.path_and_query)
}

/// Methods that are registered as safe. Whatever else there is may change anything (RFC 9110 §9.2.1).
fn is_safe(method: &Method) -> bool {
    matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PROPFIND" | "QUERY" | "REPORT" | "SEARCH"
    )
}

/// Path and query of what a reference means, if it is of the target's origin.
fn same_origin(target: Target<'_>, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (scheme, rest) = match split_scheme(reference) {
        Some((scheme, rest)) => (scheme_of(scheme)?, rest),
        None => (target.scheme, reference),
    };
    if let Some(rest) = rest.strip_prefix("//") {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let theirs = normal(authority, scheme)?;
        let same = scheme == target.scheme && theirs == normal(target.authority, target.scheme)?;
        return same.then(|| absolute(path));
    }
    // "http:path" has no authority: not of this origin (RFC 3986 §5.2.2 in its strict reading).
    (rest.len() == reference.len()).then(|| resolve(target.path_and_query, rest))
}

/// A scheme and what follows its colon.
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let begins = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (begins && scheme.chars().all(is_scheme)).then_some((scheme, rest))
}

fn scheme_of(name: &str) -> Option<Scheme> {
    [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|s| s.as_str().eq_ignore_ascii_case(name))
}

/// An authority in lower case without the default port; `None` when it has user information, which no target has.
fn normal(authority: &str, scheme: Scheme) -> Option<String> {
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let lower = authority.to_ascii_lowercase();
    let default = match scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    let bare = lower
        .strip_suffix(default)
        .or_else(|| lower.strip_suffix(':'));
    Some(bare.unwrap_or(&lower).to_owned())
}

/// A relative reference without authority against a base path and query (RFC 3986 §5.2.2).
fn resolve(base: &str, reference: &str) -> String {
    let base_path = base.split('?').next().unwrap_or_default();
    if reference.is_empty() {
        base.to_owned()
    } else if reference.starts_with('/') {
        absolute(reference)
    } else if reference.starts_with('?') {
        format!("{base_path}{reference}")
    } else {
        // §5.2.3: in place of all after the last slash.
        let folder = base_path
            .rfind('/')
            .map_or("/", |slash| &base_path[..=slash]);
        absolute(&format!("{folder}{reference}"))
    }
}

/// A path and query with its dot segments removed (RFC 3986 §5.2.4); an empty path is `/` (RFC 9110 §4.2.3).
fn absolute(path_and_query: &str) -> String {
    let query = path_and_query.find('?').unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(query);
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<_> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    for (at, segment) in segments.iter().enumerate() {
        let is_last = at + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests;
