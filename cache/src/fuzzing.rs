//! What is tried on each field that strangers write, and on what is read back from a disk: one function a field or a structure, bytes in,
//! nothing out, wrong when it panics.
//!
//! Called by the fuzz targets in `fuzz/` (the feature `fuzzing`) and by the test below, which plays the committed corpora and mutations of
//! them. Each function feeds the field through the functions that the edge calls, and asserts what must hold for any value: nothing
//! overflows, what restricts is found, parts lie within the content, and what is printed reads back as itself.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::key::KeyHasher;
use crate::reason::Reason;
use crate::semantics::directives::{
    CDN_CACHE_CONTROL, DELTA_SECONDS_MAX, JET9_CACHE_CONTROL, RequestDirectives,
    ResponseDirectives, SURROGATE_CONTROL, Source,
};
use crate::semantics::entity_tag::{self, EntityTag};
use crate::semantics::range::{PARTS_MAX, Selected, select};
use crate::semantics::request::{RequestPolicy, may_answer};
use crate::semantics::rules::{
    ClientReload, Languages, LiteSpeed, Post, Rules, SetCookie, Storing, SurrogateControl,
};
use crate::semantics::status::{CacheStatus, ForwardReason};
use crate::semantics::storable::{Storable, TimesOfExchange, assess};
use crate::semantics::validation::{Precondition, precondition};
use crate::semantics::vary::{SELECTING_FIELDS_MAX, SelectingFields, selectors};
use crate::semantics::{freshness, structured};
use crate::stored::StoredResponse;
use crate::time::Timestamp;

/// Friday, 15 January 2027 08:00:00 GMT.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// What is tried on the bytes of one field.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 12] = [
    ("age", age),
    ("cache_control", cache_control),
    ("cache_status", cache_status),
    ("etags", etags),
    ("expires", expires),
    ("journal", journal),
    ("range", range),
    ("record", record),
    ("segment", segment),
    ("superblock", superblock),
    ("targeted", targeted),
    ("vary", vary),
];

fn rules() -> Rules {
    Rules {
        storing: Storing::Allowed,
        default_lifetimes: Vec::new(),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::from_secs(60),
        set_cookie: SetCookie::Rfc,
        client_reload: ClientReload::Obey,
        heuristic_cap: Some(Duration::from_secs(86_400)),
        ignore_cookies: vec!["a*".into()],
        languages: Languages::ByQuality,
        post: Post::Pass,
        surrogate_control: SurrogateControl::Obey,
        litespeed: LiteSpeed::Obey,
    }
}

/// A message with this field; one line for each line feed. `None` for bytes that no message can carry.
fn message(name: &HeaderName, value: &[u8]) -> Option<HeaderMap> {
    let lines = value.split(|byte| *byte == b'\n');
    let line = |line| Some((name.clone(), HeaderValue::from_bytes(line).ok()?));
    lines.map(line).collect()
}

fn get(fields: &HeaderMap) -> Option<RequestPolicy> {
    may_answer(&Method::GET, fields, &rules()).ok()
}

fn stored(fields: &HeaderMap) -> Option<StoredResponse> {
    let times = TimesOfExchange {
        request_time: NOW,
        response_time: NOW,
    };
    let policy = get(&HeaderMap::new())?;
    match assess(&policy, StatusCode::OK, fields, &rules(), times) {
        Storable::Yes(stored) => Some(*stored),
        Storable::No(_) => None,
    }
}

/// `Cache-Control` of responses and requests: no lifetime is above the greatest, and nothing before a `no-store` hides it.
pub fn cache_control(bytes: &[u8]) {
    let Some(mut fields) = message(&header::CACHE_CONTROL, bytes) else {
        return;
    };
    let response = ResponseDirectives::of(&fields, SurrogateControl::Ignore, LiteSpeed::Obey);
    let request = RequestDirectives::of(&fields);
    within_bounds(&response);
    for seconds in [request.max_age, request.min_fresh] {
        assert!(seconds.is_none_or(|seconds| seconds <= DELTA_SECONDS_MAX));
    }
    let value = [
        bytes.rsplit(|b| *b == b'\n').next().unwrap_or_default(),
        b", no-store",
    ]
    .concat();
    let Ok(value) = HeaderValue::from_bytes(&value) else {
        return;
    };
    fields.append(header::CACHE_CONTROL, value);
    assert!(ResponseDirectives::of(&fields, SurrogateControl::Ignore, LiteSpeed::Obey).no_store);
    assert!(RequestDirectives::of(&fields).no_store);
}

/// The targeted fields: one counts exactly where it is a dictionary that is not empty.
pub fn targeted(bytes: &[u8]) {
    for name in [JET9_CACHE_CONTROL, CDN_CACHE_CONTROL, SURROGATE_CONTROL] {
        let Some(fields) = message(&name, bytes) else {
            return;
        };
        let directives = ResponseDirectives::of(&fields, SurrogateControl::Obey, LiteSpeed::Ignore);
        within_bounds(&directives);
        let members = structured::dictionary(&fields, &name);
        let counts = members.is_some_and(|members| !members.is_empty());
        assert_eq!(directives.source == Source::Targeted, counts);
    }
}

fn within_bounds(directives: &ResponseDirectives) {
    let seconds = [
        directives.max_age,
        directives.s_maxage,
        directives.stale_while_revalidate,
        directives.stale_if_error,
    ];
    assert!(
        seconds
            .iter()
            .flatten()
            .all(|seconds| *seconds <= DELTA_SECONDS_MAX)
    );
}

/// `Age`: it makes a response older, never younger, and ages grow as time does.
pub fn age(bytes: &[u8]) {
    let Some(mut fields) = message(&header::AGE, bytes) else {
        return;
    };
    fields.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=60"),
    );
    let Some(stored) = stored(&fields) else {
        return;
    };
    assert!(stored.times.initial_age <= DELTA_SECONDS_MAX);
    let later = freshness::current_age(&stored.times, NOW.plus(Duration::from_secs(1)));
    assert!(later == stored.times.initial_age + Duration::from_secs(1));
    let end = freshness::current_age(&stored.times, Timestamp::from_unix_millis(u64::MAX));
    assert!(end >= later);
}

/// `Expires`, and thus every date: a date that was read is printed and read as the same, and a lifetime ends where it says.
pub fn expires(bytes: &[u8]) {
    let Some(mut fields) = message(&header::EXPIRES, bytes) else {
        return;
    };
    fields.insert(header::ETAG, HeaderValue::from_static("\"a\""));
    let Some(stored) = stored(&fields) else {
        return;
    };
    let date = Timestamp::parse_http_date(bytes, NOW).filter(|_| !bytes.contains(&b'\n'));
    match date {
        Some(date) => {
            let printed = date.http_date().to_string();
            assert_eq!(
                Timestamp::parse_http_date(printed.as_bytes(), NOW),
                Some(date)
            );
            assert_eq!(stored.times.lifetime, date.since(NOW));
        }
        None => assert_eq!(stored.times.lifetime, Duration::ZERO),
    }
}

/// `Vary`, and the selecting fields of a request: selectors are few, sorted and each once; whitespace and lines select nothing.
pub fn vary(bytes: &[u8]) {
    let half = bytes.len() / 2;
    let (Some(response), Ok(value)) = (
        message(&header::VARY, &bytes[..half]),
        HeaderValue::from_bytes(&bytes[half..]),
    ) else {
        return;
    };
    let Ok(vary) = selectors(&response, &response, Languages::ByQuality, LiteSpeed::Obey) else {
        return;
    };
    assert!(vary.len() <= SELECTING_FIELDS_MAX);
    assert!(
        vary.windows(2)
            .all(|pair| pair[0].field().as_str() < pair[1].field().as_str())
    );
    let (mut request, mut spaced) = (HeaderMap::new(), HeaderMap::new());
    let Ok(with_space) = HeaderValue::from_bytes(&[b" ", &bytes[half..], b"\t"].concat()) else {
        return;
    };
    for selector in &vary {
        let field = selector.field();
        request.insert(field.clone(), value.clone());
        spaced.insert(field.clone(), with_space.clone());
    }
    let hash = |fields| SelectingFields::of(fields).hash(&vary, &KeyHasher::new([7; 16]));
    assert_eq!(hash(&request), hash(&spaced));
}

/// `Range`: every part lies within the content, there are not too many, and no two overlap.
pub fn range(bytes: &[u8]) {
    let Some(fields) = message(&header::RANGE, bytes) else {
        return;
    };
    let mut response = HeaderMap::new();
    response.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=60"),
    );
    let (Some(policy), Some(stored)) = (get(&fields), stored(&response)) else {
        return;
    };
    for length in [0, 1, 1000, u64::MAX] {
        let mut parts = match select(&policy, &fields, &stored, length) {
            Selected::Whole | Selected::Unsatisfiable => continue,
            Selected::Part(part) => vec![part],
            Selected::Parts(parts) => parts,
        };
        assert!((1..=PARTS_MAX).contains(&parts.len()));
        parts.sort_unstable_by_key(|part| part.first());
        assert!(
            parts
                .iter()
                .all(|part| part.first() <= part.last() && part.last() < length)
        );
        assert!(
            parts
                .windows(2)
                .all(|pair| pair[0].last() < pair[1].first())
        );
    }
}

/// Lists of entity tags: whatever stands before a tag, a list finds it, and so does `If-None-Match`.
pub fn etags(bytes: &[u8]) {
    let (before, etag) = bytes.split_at(bytes.len() / 2);
    let list = [before, b", ", etag].concat();
    assert!(entity_tag::list(&list).count() <= list.len());
    let Some(tag) = EntityTag::parse(etag) else {
        return;
    };
    assert!(entity_tag::list(&list).any(|found| found == tag));
    let (Some(request), Some(mut response)) = (
        message(&header::IF_NONE_MATCH, &list),
        message(&header::ETAG, etag),
    ) else {
        return;
    };
    response.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=60"),
    );
    let answer = stored(&response).map(|stored| precondition(&request, &stored));
    assert_eq!(answer, Some(Precondition::NotModified));
}

/// `Cache-Status` as it is written, under any name of a cache; and any list of structured fields.
pub fn cache_status(bytes: &[u8]) {
    let name = String::from_utf8_lossy(bytes);
    let status = CacheStatus::forward(ForwardReason::Stale)
        .answered(StatusCode::OK)
        .because(Reason::Expired);
    let printed = status.named(&name).to_string();
    let field = HeaderName::from_static("cache-status");
    let members = message(&field, printed.as_bytes()).and_then(|m| structured::list(&m, &field));
    assert!(members.is_some_and(|members| members.len() == 1));
    if let Some(fields) = message(&field, bytes) {
        let members = structured::list(&fields, &field).unwrap_or_default();
        assert!(members.len() <= bytes.len());
    }
}

/// The purge journal: its header, then slots.
pub fn journal(bytes: &[u8]) {
    crate::purge::fuzzing::journal(bytes);
}

/// A record of a volume.
pub fn record(bytes: &[u8]) {
    crate::disk::fuzzing::record(bytes);
}

/// A segment's header and footer.
pub fn segment(bytes: &[u8]) {
    crate::disk::fuzzing::segment(bytes);
}

/// A volume's superblock.
pub fn superblock(bytes: &[u8]) {
    crate::disk::fuzzing::superblock(bytes);
}

#[cfg(test)]
mod tests;
