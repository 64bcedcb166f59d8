//! What the tests of the semantics share: messages from literals, a moment, rules.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::request::{RequestPolicy, may_answer};
use super::rules::{
    ClientReload, Languages, LiteSpeed, Post, Rules, SetCookie, Storing, SurrogateControl,
};
use super::storable::{Storable, TimesOfExchange, assess};
use crate::reason::Reason;
use crate::stored::StoredResponse;
use crate::time::Timestamp;

/// Friday, 15 January 2027 08:00:00 GMT.
pub(super) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
/// [`NOW`] as a date.
pub(super) const NOW_DATE: &str = "Fri, 15 Jan 2027 08:00:00 GMT";
/// A thousand seconds before.
pub(super) const EARLIER_DATE: &str = "Fri, 15 Jan 2027 07:43:20 GMT";

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// [`NOW`], some seconds later.
pub(super) fn after(later: u64) -> Timestamp {
    NOW.plus(seconds(later))
}

pub(super) fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

/// The strictest reading of the standards, with a day of stale on errors.
pub(super) fn rules() -> Rules {
    Rules {
        storing: Storing::Allowed,
        default_lifetimes: Vec::new(),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: seconds(86_400),
        set_cookie: SetCookie::Safe,
        client_reload: ClientReload::Obey,
        heuristic_cap: Some(seconds(86_400)),
        ignore_cookies: vec!["_ga*".into(), "consent".into()],
        languages: Languages::AsSent,
        post: Post::Pass,
        surrogate_control: SurrogateControl::Ignore,
        litespeed: LiteSpeed::Ignore,
    }
}

/// An exchange that took no time.
pub(super) const fn at(moment: Timestamp) -> TimesOfExchange {
    TimesOfExchange {
        request_time: moment,
        response_time: moment,
    }
}

pub(super) fn get(request: &[(&str, &str)]) -> RequestPolicy {
    may_answer(&Method::GET, &fields(request), &rules()).unwrap()
}

/// The answer to a plain GET, received at [`NOW`], as stored.
pub(super) fn stored(response: &[(&str, &str)]) -> StoredResponse {
    match assessed(&rules(), &[], 200, response) {
        Ok(stored) => stored,
        Err(reason) => panic!("not storable: {reason:?}"),
    }
}

pub(super) fn assessed(
    rules: &Rules,
    request: &[(&str, &str)],
    status: u16,
    response: &[(&str, &str)],
) -> Result<StoredResponse, Reason> {
    let policy = may_answer(&Method::GET, &fields(request), rules)?;
    let status = StatusCode::from_u16(status).unwrap();
    match assess(&policy, status, &fields(response), rules, at(NOW)) {
        Storable::Yes(stored) => Ok(*stored),
        Storable::No(reason) => Err(reason),
    }
}
