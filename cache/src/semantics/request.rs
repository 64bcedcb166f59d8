//! Whether a request may be answered from the store (RFC 9111 §4, §5.2.1).
//!
//! Called by `edge::request::lookup`, once per request, before the look-up. It reads all that later decisions need of the request's
//! own fields. Knows no stored response. Conditions and ranges are judged later, by `validation` and `range`.

use http::{HeaderMap, Method, header};

use super::cookies;
use super::directives::RequestDirectives;
use super::rules::{ClientReload, Post, Rules, Storing};
use crate::reason::Reason;

/// What a request that may be answered from the store asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestPolicy {
    /// GET or HEAD.
    pub method: ReadMethod,
    /// It has `Authorization`: RFC 9111 §3.5 applies.
    pub authorization: bool,
    /// It has `Authorization` or a cookie outside of `ignore_cookies`: the site's own lifetimes do not apply to its answer.
    pub personal: bool,
    /// It has `Range`.
    pub range: bool,
    /// Its directives as far as the site obeys them. `no_store` and `only_if_cached` are always obeyed.
    pub directives: RequestDirectives,
}

/// The methods that the store can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMethod {
    /// GET.
    Get,
    /// HEAD: answered from a stored response to GET; its own is never stored, for it has no content.
    Head,
}

/// Whether to look the request up, and what it asks for.
///
/// # Errors
/// The reason why it is forwarded without a look-up; nothing of the answer is stored either.
pub fn may_answer(
    method: &Method,
    fields: &HeaderMap,
    rules: &Rules,
) -> Result<RequestPolicy, Reason> {
    match rules.storing {
        Storing::Allowed => {}
        Storing::ProfileOff => return Err(Reason::ProfileOff),
        Storing::RouteOff => return Err(Reason::RouteOff),
    }
    let method = match *method {
        Method::GET => ReadMethod::Get,
        Method::HEAD => ReadMethod::Head,
        _ => return Err(Reason::Method),
    };
    if fields.contains_key(header::IF_MATCH) || fields.contains_key(header::IF_UNMODIFIED_SINCE) {
        // RFC 9110 §13.1.1: they ask about the origin's present state, which a cache cannot vouch for.
        return Err(Reason::Precondition);
    }
    let policy = RequestPolicy::of(method, fields, rules);
    if policy.directives.no_store && rules.client_reload == ClientReload::Obey {
        return Err(Reason::NoStore);
    }
    Ok(policy)
}

impl RequestPolicy {
    /// What a request with these fields asks for, whether the store may answer it or not.
    pub fn of(method: ReadMethod, fields: &HeaderMap, rules: &Rules) -> Self {
        let authorization = fields.contains_key(header::AUTHORIZATION);
        let directives = RequestDirectives::of(fields);
        Self {
            method,
            authorization,
            personal: authorization || cookies::has_other(fields, &rules.ignore_cookies),
            range: fields.contains_key(header::RANGE),
            directives: obeyed(directives, rules.client_reload),
        }
    }
}

/// Whether the answer to a POST may be stored for later GETs, and what such a GET would be (RFC 9110 §9.3.3).
///
/// # Errors
/// The reason why nothing of the answer is stored.
pub fn may_store_post(fields: &HeaderMap, rules: &Rules) -> Result<RequestPolicy, Reason> {
    match rules.post {
        Post::Pass => Err(Reason::Method),
        Post::Store => may_answer(&Method::GET, fields, rules),
    }
}

fn obeyed(directives: RequestDirectives, reload: ClientReload) -> RequestDirectives {
    match reload {
        ClientReload::Obey => directives,
        ClientReload::Ignore => RequestDirectives {
            no_store: directives.no_store,
            only_if_cached: directives.only_if_cached,
            ..RequestDirectives::default()
        },
    }
}

#[cfg(test)]
mod tests;
