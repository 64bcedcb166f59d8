//! Cache-Status as other caches read it.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(status: CacheStatus, expected: &str) {
    assert_eq!(status.named("edge1").to_string(), expected);
}

#[test]
fn members_read_as_in_the_rfc() {
    check(CacheStatus::hit(376), "edge1; hit; ttl=376");
    check(
        CacheStatus::hit(-90).because(Reason::OriginDown),
        "edge1; hit; ttl=-90; detail=origin-down",
    );
    check(
        CacheStatus::forward(ForwardReason::UriMiss),
        "edge1; fwd=uri-miss",
    );
    check(
        CacheStatus::forward(ForwardReason::UriMiss)
            .answered(StatusCode::OK)
            .and_stored()
            .and_collapsed(),
        "edge1; fwd=uri-miss; fwd-status=200; stored; collapsed",
    );
    check(
        CacheStatus::forward(ForwardReason::Bypass).because(Reason::RouteOff),
        "edge1; fwd=bypass; detail=route-off",
    );
    check(
        CacheStatus::hit(1)
            .answered(StatusCode::OK)
            .and_stored()
            .and_collapsed(),
        "edge1; hit; ttl=1",
    );
}

#[test]
fn a_name_that_is_no_token_is_a_string() {
    let named = |name: &str| CacheStatus::hit(1).named(name).to_string();
    assert_eq!(named("1edge"), "\"1edge\"; hit; ttl=1");
    assert_eq!(named("a \"b\\\u{e9}"), "\"a \\\"b\\\\?\"; hit; ttl=1");
    assert_eq!(named(""), "\"\"; hit; ttl=1");
}

/// Reads what `Named` writes.
fn parse(text: &str) -> Option<CacheStatus> {
    let mut parameters = text
        .split("; ")
        .skip(1)
        .map(|p| p.split_once('=').unwrap_or((p, "")));
    let mut status = match parameters.next()? {
        ("hit", "") => CacheStatus {
            ttl: None,
            ..CacheStatus::hit(0)
        },
        ("fwd", word) => CacheStatus::forward(
            ForwardReason::ALL
                .into_iter()
                .find(|r| r.as_str() == word)?,
        ),
        _ => return None,
    };
    for parameter in parameters {
        match parameter {
            ("fwd-status", code) => status = status.answered(code.parse().ok()?),
            ("stored", "") => status = status.and_stored(),
            ("collapsed", "") => status = status.and_collapsed(),
            ("ttl", number) => status.ttl = Some(number.parse().ok()?),
            ("detail", word) => {
                status.detail = Reason::ALL.iter().copied().find(|r| r.as_str() == word);
            }
            _ => return None,
        }
    }
    Some(status)
}

fn any_status() -> impl Strategy<Value = CacheStatus> {
    let forward = (
        prop::sample::select(&ForwardReason::ALL[..]),
        prop::option::of(100_u16..1000),
        any::<[bool; 2]>(),
    );
    let outcome = prop_oneof![
        Just(Outcome::Hit),
        forward.prop_map(|(reason, status, [stored, collapsed])| {
            let status = status.map(|s| StatusCode::from_u16(s).unwrap());
            Outcome::Forward {
                reason,
                status,
                stored,
                collapsed,
            }
        }),
    ];
    let ttl = prop::option::of(-INTEGER_MAX..=INTEGER_MAX);
    let detail = prop::option::of(prop::sample::select(Reason::ALL));
    (outcome, ttl, detail).prop_map(|(outcome, ttl, detail)| CacheStatus {
        outcome,
        ttl,
        detail,
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(status in any_status()) {
        prop_assert_eq!(parse(&status.named("edge1").to_string()), Some(status));
    }
}
