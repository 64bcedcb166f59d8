//! Lifetimes, ages and serving stale, by examples and properties.

use proptest::prelude::*;

use super::*;
use crate::semantics::request::ReadMethod;
use crate::semantics::rules::{Rules, SetCookie};
use crate::semantics::testing::{after, assessed, get, rules, seconds, stored};

type Lines<'a> = &'a [(&'a str, &'a str)];

/// Judges a response received at the origin of the tests' time, so many seconds later.
fn judged(control: &str, request: Lines<'_>, purging: Purging, later: u64) -> Freshness {
    let response = stored(&[("cache-control", control), ("etag", "\"a\"")]);
    assess(&response, &get(request), purging, after(later))
}

#[track_caller]
fn check_fresh(control: &str, request: Lines<'_>, later: u64, ttl: i64) {
    let expected = Freshness::Fresh {
        age: seconds(later),
        ttl,
    };
    assert_eq!(
        judged(control, request, Purging::None, later),
        expected,
        "{control} {request:?}"
    );
}

#[track_caller]
fn check_stale(control: &str, request: Lines<'_>, later: u64, reason: Reason, serve: StaleUse) {
    match judged(control, request, Purging::None, later) {
        Freshness::Stale {
            reason: r,
            serve: s,
            ..
        } => {
            assert_eq!((r, s), (reason, serve), "{control} {request:?}");
        }
        other => panic!("{control} {request:?}: {other:?}"),
    }
}

#[test]
fn a_response_is_fresh_until_its_age_is_its_lifetime() {
    check_fresh("max-age=60", &[], 0, 60);
    check_fresh("max-age=60", &[], 59, 1);
    check_stale(
        "max-age=60",
        &[],
        60,
        Reason::Expired,
        StaleUse::IfOriginFails,
    );
}

#[test]
fn what_is_stale_has_a_negative_ttl() {
    let Freshness::Stale {
        age, ttl, forward, ..
    } = judged("max-age=60", &[], Purging::None, 150)
    else {
        panic!("fresh");
    };
    assert_eq!(
        (age, ttl, forward),
        (seconds(150), -90, ForwardReason::Stale)
    );
}

#[test]
fn no_cache_validates_and_is_never_served_otherwise() {
    check_stale(
        "max-age=60, no-cache",
        &[],
        1,
        Reason::NoCache,
        StaleUse::Never,
    );
    let accepts: Lines<'_> = &[("cache-control", "max-stale")];
    check_stale(
        "max-age=60, no-cache",
        accepts,
        1,
        Reason::NoCache,
        StaleUse::Never,
    );
}

#[test]
fn where_the_origin_forbids_stale_responses_none_is_served() {
    for forbidding in ["must-revalidate", "proxy-revalidate", "s-maxage=2"] {
        let control =
            format!("max-age=2, stale-while-revalidate=99, stale-if-error=99, {forbidding}");
        for request in ["", "max-stale"] {
            check_stale(
                &control,
                &[("cache-control", request)],
                5,
                Reason::Expired,
                StaleUse::Never,
            );
        }
    }
}

#[test]
fn the_windows_end() {
    let control = "max-age=10, stale-while-revalidate=5, stale-if-error=20";
    check_stale(
        control,
        &[],
        14,
        Reason::Expired,
        StaleUse::WhileRevalidating,
    );
    check_stale(control, &[], 15, Reason::Expired, StaleUse::IfOriginFails);
    check_stale(control, &[], 29, Reason::Expired, StaleUse::IfOriginFails);
    check_stale(control, &[], 30, Reason::Expired, StaleUse::Never);
}

#[test]
fn the_request_may_want_a_younger_one() {
    let request = |directives: &'static str| [("cache-control", directives)];
    for (directives, reason) in [
        ("no-cache", Reason::NoCache),
        ("max-age=0", Reason::Expired),
        ("max-age=9", Reason::Expired),
        ("min-fresh=51", Reason::Expired),
    ] {
        check_stale(
            "max-age=60",
            &request(directives),
            10,
            reason,
            StaleUse::IfOriginFails,
        );
    }
    check_fresh("max-age=60", &request("max-age=10, min-fresh=50"), 10, 50);
    // A reload in the very second of the fill is still a reload.
    check_stale(
        "max-age=60",
        &request("max-age=0"),
        0,
        Reason::Expired,
        StaleUse::IfOriginFails,
    );
    let forwarded = judged("max-age=60", &request("no-cache"), Purging::None, 10);
    let Freshness::Stale { forward, ttl, .. } = forwarded else {
        panic!("fresh")
    };
    assert_eq!((forward, ttl), (ForwardReason::Request, 50));
}

#[test]
fn the_request_may_accept_a_stale_one() {
    let request = |directives: &'static str| [("cache-control", directives)];
    for accepting in ["max-stale", "max-stale=5", "max-stale=5, max-age=15"] {
        check_stale(
            "max-age=10",
            &request(accepting),
            15,
            Reason::Expired,
            StaleUse::AsIs,
        );
    }
    for other in [
        "max-stale=4",
        "max-stale=5, max-age=14",
        "max-stale, no-cache",
    ] {
        check_stale(
            "max-age=10",
            &request(other),
            15,
            Reason::Expired,
            StaleUse::IfOriginFails,
        );
    }
}

#[test]
fn a_reload_is_not_answered_while_revalidating() {
    let control = "max-age=10, stale-while-revalidate=50";
    let reload: Lines<'_> = &[("cache-control", "no-cache")];
    check_stale(
        control,
        reload,
        15,
        Reason::Expired,
        StaleUse::IfOriginFails,
    );
}

#[test]
fn what_was_softly_purged_is_stale_whatever_its_age() {
    let purged = |control| match judged(control, &[], Purging::Soft, 1) {
        Freshness::Stale {
            reason: Reason::Purged,
            serve,
            ttl,
            ..
        } => (serve, ttl),
        other => panic!("{other:?}"),
    };
    let swr = "max-age=60, stale-while-revalidate=99";
    assert_eq!(purged(swr), (StaleUse::IfOriginFails, 0));
    assert_eq!(purged("max-age=60, must-revalidate"), (StaleUse::Never, 0));
}

#[test]
fn an_authorized_request_gets_only_what_is_shared() {
    let request: Lines<'_> = &[("authorization", "x")];
    let unusable = Freshness::Unusable(Reason::Authorization);
    assert_eq!(judged("max-age=60", request, Purging::None, 1), unusable);
    check_fresh("max-age=60, public", request, 1, 59);
}

#[test]
fn only_what_is_fresh_is_shared_while_it_arrives() {
    let shared = |control: &str, later| {
        may_be_shared(
            &stored(&[("cache-control", control), ("etag", "\"a\"")]),
            after(later),
        )
    };
    assert!(shared("max-age=60", 59));
    assert!(!shared("max-age=60", 60));
    assert!(!shared("max-age=60, no-cache", 0));
    assert!(!shared("foo", 0));
    let rfc = Rules {
        set_cookie: SetCookie::Rfc,
        ..rules()
    };
    let personal = assessed(&rfc, &[("cookie", "sid=1")], 200, &[("etag", "\"a\"")]).unwrap();
    assert!(!may_be_shared(&personal, after(0)));
}

proptest! {
    #[test]
    fn nothing_overflows_and_fresh_means_younger_than_its_lifetime(
        times: [u64; 4],
        windows: [u64; 2],
        bits: [bool; 4],
        now: u64,
        soft: bool,
    ) {
        let mut response = stored(&[("cache-control", "max-age=1")]);
        response.times = Times {
            request_time: Timestamp::from_unix_millis(times[0]),
            response_time: Timestamp::from_unix_millis(times[1]),
            initial_age: Duration::from_millis(times[2]),
            lifetime: Duration::from_millis(times[3]),
        };
        response.reuse.no_cache = bits[0];
        response.reuse.must_revalidate = bits[1];
        response.reuse.stale_while_revalidate = Duration::from_millis(windows[0]);
        response.reuse.stale_if_error = Duration::from_millis(windows[1]);
        let mut request = get(&[]);
        request.method = ReadMethod::Head;
        request.directives.no_cache = bits[2];
        request.directives.max_stale = bits[3].then_some(Duration::MAX);
        let purging = if soft { Purging::Soft } else { Purging::None };
        let now = Timestamp::from_unix_millis(now);
        match assess(&response, &request, purging, now) {
            Freshness::Fresh { age, ttl } => {
                prop_assert!(age < response.times.lifetime && ttl >= 0 && !soft && !bits[0]);
                prop_assert!(may_be_shared(&response, now));
            }
            Freshness::Stale { serve, .. } => {
                prop_assert!(serve == StaleUse::Never || !(bits[0] || bits[1]) || bits[2]);
            }
            Freshness::Unusable(reason) => prop_assert!(false, "{:?}", reason),
        }
    }
}
