//! Which responses are stored, and for how long.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::semantics::freshness::{self, Freshness};
use crate::semantics::testing::{
    EARLIER_DATE, NOW, NOW_DATE, assessed, at, fields as map, get, rules, seconds, stored,
};
use crate::store::Purging;

type Lines<'a> = &'a [(&'a str, &'a str)];

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// The lifetime in seconds of what is stored, or why it is not.
#[track_caller]
fn check(request: Lines<'_>, status: u16, response: Lines<'_>, expected: Result<u64, Reason>) {
    let outcome = assessed(&rules(), request, status, response);
    let lifetime = outcome.map(|stored| stored.times.lifetime);
    assert_eq!(
        lifetime,
        expected.map(seconds),
        "{request:?} {status} {response:?}"
    );
}

#[test]
fn the_most_specific_lifetime_counts() {
    let expires = ("expires", "Fri, 15 Jan 2027 08:00:30 GMT");
    let date = ("date", NOW_DATE);
    check(
        &[],
        200,
        &[("cache-control", "max-age=1, s-maxage=2"), expires, date],
        Ok(2),
    );
    check(
        &[],
        200,
        &[("cache-control", "max-age=1"), expires, date],
        Ok(1),
    );
    check(&[], 200, &[expires, date], Ok(30));
    check(&[], 200, &[expires, ("date", EARLIER_DATE)], Ok(1030));
    check(&[], 200, &[expires, ("date", "garbage")], Ok(30));
    check(&[], 200, &[expires], Ok(30));
    check(
        &[],
        200,
        &[("cdn-cache-control", "max-age=9"), FRESH, expires],
        Ok(9),
    );
    check(
        &[],
        200,
        &[("cdn-cache-control", "foo"), FRESH, expires],
        Err(Reason::NoFreshness),
    );
}

#[test]
fn a_malformed_or_repeated_expires_is_in_the_past() {
    let etag = ("etag", "\"a\"");
    let valid = ("expires", "Fri, 15 Jan 2027 08:00:30 GMT");
    check(&[], 200, &[("expires", "0"), etag], Ok(0));
    check(&[], 200, &[("expires", "0")], Err(Reason::NoFreshness));
    check(&[], 200, &[valid, valid, etag], Ok(0));
}

#[test]
fn a_tenth_of_the_time_since_modification_is_the_heuristic() {
    let modified = ("last-modified", EARLIER_DATE);
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        check(&[], status, &[modified], Ok(100));
    }
    for status in [201, 202, 302, 307, 403, 500, 502, 503, 504, 599] {
        check(&[], status, &[modified], Err(Reason::NoFreshness));
        check(
            &[],
            status,
            &[modified, ("cache-control", "public")],
            Ok(100),
        );
    }
    check(
        &[],
        200,
        &[("last-modified", "Mon, 01 Jan 2001 00:00:00 GMT")],
        Ok(86_400),
    );
    check(&[], 200, &[modified, ("pragma", "no-cache")], Ok(0));
    let off = Rules {
        heuristic_cap: None,
        ..rules()
    };
    assert_eq!(
        assessed(&off, &[], 200, &[modified])
            .unwrap()
            .times
            .lifetime,
        seconds(0)
    );
}

#[test]
fn any_final_status_with_an_explicit_lifetime_is_stored() {
    for status in [
        200, 203, 204, 299, 301, 302, 400, 404, 499, 500, 503, 599, 999,
    ] {
        check(&[], status, &[FRESH], Ok(60));
    }
    check(&[], 206, &[FRESH], Err(Reason::Range));
    check(&[], 304, &[FRESH], Err(Reason::Status));
    check(&[], 103, &[FRESH], Err(Reason::Status));
}

#[test]
fn must_understand_outranks_no_store_for_known_statuses() {
    let understood = ("cache-control", "max-age=60, no-store, must-understand");
    check(&[], 200, &[understood], Ok(60));
    check(&[], 599, &[understood], Err(Reason::Status));
    check(
        &[],
        599,
        &[("cache-control", "max-age=60, must-understand")],
        Err(Reason::Status),
    );
}

#[test]
fn what_the_origin_forbids_is_not_stored() {
    check(
        &[],
        200,
        &[("cache-control", "max-age=60, no-store")],
        Err(Reason::NoStore),
    );
    check(
        &[],
        200,
        &[("cache-control", "max-age=60, private")],
        Err(Reason::Private),
    );
    check(
        &[],
        200,
        &[("cdn-cache-control", "private"), FRESH],
        Err(Reason::Private),
    );
    check(&[], 200, &[FRESH, ("vary", "*")], Err(Reason::VaryStar));
    check(
        &[],
        200,
        &[
            ("cache-control", "no-store"),
            ("cdn-cache-control", "max-age=9"),
        ],
        Ok(9),
    );
}

#[test]
fn what_could_never_be_used_is_not_stored() {
    check(&[], 200, &[], Err(Reason::NoFreshness));
    check(
        &[],
        200,
        &[("cache-control", "max-age=0")],
        Err(Reason::NoFreshness),
    );
    check(
        &[],
        200,
        &[("cache-control", "max-age=60, no-cache")],
        Err(Reason::NoCache),
    );
    check(
        &[],
        200,
        &[("cache-control", "no-cache"), ("etag", "\"a\"")],
        Ok(0),
    );
    check(&[], 200, &[("etag", "\"a\"")], Ok(0));
    check(&[], 302, &[("etag", "\"a\"")], Err(Reason::NoFreshness));
    check(
        &[],
        200,
        &[("cache-control", "max-age=0, stale-while-revalidate=9")],
        Ok(0),
    );
    check(
        &[],
        200,
        &[("cache-control", "s-maxage=0, stale-if-error=9")],
        Err(Reason::NoFreshness),
    );
}

#[test]
fn an_answer_to_head_is_not_stored() {
    let head = RequestPolicy {
        method: ReadMethod::Head,
        ..get(&[])
    };
    let outcome = assess(&head, StatusCode::OK, &map(&[FRESH]), &rules(), at(NOW));
    assert_eq!(outcome, Storable::No(Reason::Method));
}

#[test]
fn an_authorized_answer_is_stored_only_when_the_origin_shares_it() {
    let request: Lines<'_> = &[("authorization", "x")];
    check(request, 200, &[FRESH], Err(Reason::Authorization));
    for shared in ["public", "must-revalidate", "s-maxage=60"] {
        let control = format!("max-age=60, {shared}");
        check(request, 200, &[("cache-control", &control)], Ok(60));
        let stored = assessed(&rules(), request, 200, &[("cache-control", &control)]).unwrap();
        assert!(stored.reuse.shared_with_authorization && stored.reuse.personal);
    }
    check(
        request,
        200,
        &[("cache-control", "max-age=60, proxy-revalidate")],
        Err(Reason::Authorization),
    );
}

#[test]
fn an_answer_to_a_cookie_gets_no_lifetime_that_its_origin_did_not_give() {
    let request: Lines<'_> = &[("cookie", "sid=1")];
    let modified = ("last-modified", EARLIER_DATE);
    check(request, 200, &[FRESH], Ok(60));
    check(request, 200, &[modified], Err(Reason::CookieUnknown));
    check(&[("cookie", "_ga=1")], 200, &[modified], Ok(100));
    let defaults = Rules {
        default_lifetimes: vec![(StatusCode::NOT_FOUND, seconds(10))],
        ..rules()
    };
    let lifetime = |request: Lines<'_>, response: Lines<'_>| {
        assessed(&defaults, request, 404, response).map(|stored| stored.times.lifetime)
    };
    assert_eq!(lifetime(&[], &[]), Ok(seconds(10)));
    assert_eq!(lifetime(&[], &[modified]), Ok(seconds(10)));
    assert_eq!(lifetime(&[], &[FRESH]), Ok(seconds(60)));
    assert_eq!(lifetime(request, &[]), Err(Reason::CookieUnknown));
}

#[test]
fn an_answer_to_a_cookie_that_is_always_validated_is_stored_only_when_it_is_for_sharing() {
    let request: Lines<'_> = &[("cookie", "sid=1")];
    let tag = ("etag", "\"a\"");
    for (control, with_cookie, without) in [
        ("max-age=0", Err(Reason::CookieUnknown), 0),
        ("no-cache, max-age=60", Err(Reason::CookieUnknown), 60),
        ("public, max-age=0", Ok(0), 0),
        ("s-maxage=0", Ok(0), 0),
        ("max-age=60", Ok(60), 60),
    ] {
        let response: Lines<'_> = &[("cache-control", control), tag];
        check(request, 200, response, with_cookie);
        check(&[], 200, response, Ok(without));
    }
    let lifetime = assessed(&rfc(), request, 200, &[tag]).map(|stored| stored.times.lifetime);
    assert_eq!(lifetime, Ok(seconds(0)));
}

/// The strictest reading of the standard.
fn rfc() -> Rules {
    Rules {
        set_cookie: SetCookie::Rfc,
        ..rules()
    }
}

#[test]
fn an_answer_to_a_cookie_is_not_offered_stale_to_others_unasked() {
    let window = |request: Lines<'_>, response: Lines<'_>| {
        assessed(&rfc(), request, 200, response)
            .unwrap()
            .reuse
            .stale_if_error
    };
    let day = seconds(86_400);
    assert_eq!(
        window(&[("cookie", "sid=1")], &[("etag", "\"a\"")]),
        seconds(0)
    );
    assert_eq!(window(&[("cookie", "sid=1")], &[FRESH]), day);
    assert_eq!(window(&[], &[("etag", "\"a\"")]), day);
    assert_eq!(
        window(&[], &[("cache-control", "max-age=60, stale-if-error=5")]),
        seconds(5)
    );
    assert_eq!(
        window(&[], &[("cache-control", "max-age=60, must-revalidate")]),
        seconds(0)
    );
}

#[test]
fn cookies_are_stored_for_nobody_by_default() {
    let cookie = ("set-cookie", "a=b");
    check(&[], 200, &[FRESH, cookie], Err(Reason::SetCookie));
    for shared in [
        ("cache-control", "max-age=60, public"),
        ("cache-control", "s-maxage=60"),
        ("cdn-cache-control", "max-age=60"),
        ("cache-control", "max-age=60, private=\"set-cookie\""),
    ] {
        let stored = stored(&[shared, cookie, ("a", "1")]);
        assert!(!stored.fields.contains_key("set-cookie") && stored.fields.contains_key("a"));
        assert!(
            !stored
                .http1_head
                .windows(12)
                .any(|w| w.eq_ignore_ascii_case(b"\r\nset-cookie"))
        );
    }
    let rfc = Rules {
        set_cookie: SetCookie::Rfc,
        ..rules()
    };
    let stored = assessed(&rfc, &[], 200, &[FRESH, cookie]).unwrap();
    assert_eq!(stored.fields["set-cookie"], "a=b");
    let defaults = Rules {
        default_lifetimes: vec![(StatusCode::OK, seconds(9))],
        ..rfc
    };
    assert_eq!(
        assessed(&defaults, &[], 200, &[cookie]),
        Err(Reason::SetCookie)
    );
}

#[test]
fn a_page_that_comes_with_the_cookie_that_selects_it_is_not_stored_for_those_without() {
    let said = ("x-litespeed-cache-control", "public,max-age=60");
    let no_vary = ("x-litespeed-cache-control", "public,max-age=60,no-vary");
    let vary = ("x-litespeed-vary", "cookie=money");
    let check = |response: Lines<'_>, is_stored: bool| {
        for set_cookie in [SetCookie::Safe, SetCookie::Rfc] {
            let obeying = Rules {
                litespeed: LiteSpeed::Obey,
                set_cookie,
                ..rules()
            };
            let assessed = assessed(&obeying, &[], 200, response);
            let why = assessed.err();
            assert_eq!(
                why,
                (!is_stored).then_some(Reason::SetCookie),
                "{response:?}"
            );
        }
    };
    let member = ("set-cookie", "_lscache_vary=member; Path=/");
    let other = ("set-cookie", "seen=_lscache_vary; Path=/money=1");
    check(&[said, member], false);
    check(&[said, vary, other, ("set-cookie", "money=eur")], false);
    check(&[said, vary, other], true);
    check(&[said, ("set-cookie", "money=eur")], true);
    check(&[no_vary, member], true);
}

#[test]
fn fields_that_must_not_be_stored_are_not() {
    let stored = stored(&[
        ("date", NOW_DATE),
        ("cache-control", "max-age=60, private=\"p\", no-cache=\"n\""),
        ("connection", "a, b"),
        ("a", "1"),
        ("b", "1"),
        ("p", "1"),
        ("n", "1"),
        ("keep-alive", "1"),
        ("proxy-connection", "1"),
        ("proxy-authenticate", "1"),
        ("proxy-authentication-info", "1"),
        ("te", "1"),
        ("trailer", "1"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "1"),
        ("age", "1"),
        ("content-length", "1"),
        ("surrogate-key", "t1 t2"),
        (
            "jet9-cache-control",
            "max-age=60, private=\"p\", no-cache=\"n\"",
        ),
        ("cdn-cache-control", "max-age=1"),
        ("cache-groups", "\"t3\""),
        ("kept", "1"),
    ]);
    let names: Vec<_> = stored.fields.keys().map(HeaderName::as_str).collect();
    assert_eq!(
        names,
        [
            "date",
            "cache-control",
            "cdn-cache-control",
            "cache-groups",
            "kept"
        ]
    );
    let withheld: Vec<_> = stored.withheld.keys().map(HeaderName::as_str).collect();
    assert_eq!(withheld, ["surrogate-key", "jet9-cache-control"]);
    assert_eq!(
        stored.tags.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
        ["t1", "t2", "t3"]
    );
}

#[test]
fn a_response_without_date_gets_the_time_of_its_receipt() {
    assert_eq!(stored(&[FRESH]).fields["date"], NOW_DATE);
    assert_eq!(
        stored(&[FRESH, ("date", EARLIER_DATE)]).fields["date"],
        EARLIER_DATE
    );
}

#[track_caller]
fn check_age(response: Lines<'_>, expected: u64) {
    let response: Vec<_> = response
        .iter()
        .copied()
        .chain([("cache-control", "max-age=9999")])
        .collect();
    assert_eq!(
        stored(&response).times.initial_age,
        seconds(expected),
        "{response:?}"
    );
}

#[test]
fn the_initial_age_is_the_greater_of_what_date_and_age_say() {
    check_age(&[], 0);
    check_age(&[("date", EARLIER_DATE)], 1000);
    check_age(&[("date", EARLIER_DATE), ("age", "2000")], 2000);
    check_age(&[("date", "Fri, 15 Jan 2027 09:00:00 GMT")], 0);
    check_age(&[("age", "7, 0")], 7);
    check_age(&[("age", "7"), ("age", "0")], 7);
    for ignored in ["abc", "-7", "7.0", "", "7;a=b"] {
        check_age(&[("age", ignored)], 0);
    }
    check_age(&[("age", "99999999999999999999")], 2_147_483_648);
}

#[test]
fn the_delay_of_the_response_adds_to_its_age() {
    let times = TimesOfExchange {
        request_time: NOW,
        response_time: NOW.plus(seconds(3)),
    };
    let response = map(&[FRESH, ("age", "10"), ("date", NOW_DATE)]);
    let outcome = assess(&get(&[]), StatusCode::OK, &response, &rules(), times);
    let Storable::Yes(stored) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(stored.times.initial_age, seconds(13));
}

proptest! {
    /// `Age` is printed as the digits of a number; the next cache on the way reads the same number.
    #[test]
    fn every_age_that_we_print_is_read_back(age in any::<u64>()) {
        check_age(&[("age", &age.to_string())], age.min(2_147_483_648));
    }

    #[test]
    fn no_message_panics(
        status in 100_u16..1000,
        values in prop::collection::vec("[ -~]{0,30}", 8),
        request: u64,
        response: u64,
    ) {
        let names = ["cache-control", "cdn-cache-control", "expires", "date", "age", "vary", "last-modified", "etag"];
        let lines: Vec<_> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
        let times = TimesOfExchange {
            request_time: Timestamp::from_unix_millis(request),
            response_time: Timestamp::from_unix_millis(response),
        };
        let _ = assess(&get(&[]), StatusCode::from_u16(status).unwrap(), &map(&lines), &rules(), times);
    }

    #[test]
    fn an_age_is_never_below_what_date_and_age_say(date in 0..2_000_000_000_u64, age: u32, delay in 0..1000_u64) {
        let date_line = Timestamp::from_unix_seconds(date).http_date().to_string();
        let response = map(&[("cache-control", "max-age=60"), ("date", &date_line), ("age", &age.to_string())]);
        let times = TimesOfExchange { request_time: NOW, response_time: NOW.plus(seconds(delay)) };
        let Storable::Yes(stored) = assess(&get(&[]), StatusCode::OK, &response, &rules(), times) else {
            return Err(TestCaseError::fail("storable"));
        };
        let apparent = NOW.plus(seconds(delay)).since(Timestamp::from_unix_seconds(date));
        let said = seconds(u64::from(age).min(1 << 31)) + seconds(delay);
        prop_assert_eq!(stored.times.initial_age, apparent.max(said));
    }
}

/// Whether the answer to a POST to `/form?x` may be stored, and for how many seconds it is fresh.
#[track_caller]
fn check_post(request: Lines<'_>, status: u16, response: Lines<'_>, expected: Result<u64, Reason>) {
    let rules = Rules {
        post: crate::semantics::rules::Post::Store,
        default_lifetimes: vec![(StatusCode::OK, seconds(600))],
        ..rules()
    };
    let target = Target {
        scheme: crate::Scheme::Https,
        authority: "example.com",
        path_and_query: "/form?x",
    };
    let policy = crate::semantics::request::may_store_post(&map(request), &rules);
    let judged = policy.and_then(|policy| {
        let status = StatusCode::from_u16(status).unwrap();
        match assess_post(&policy, target, status, &map(response), &rules, at(NOW)) {
            Storable::Yes(stored) => Ok(stored.times.lifetime),
            Storable::No(reason) => Err(reason),
        }
    });
    assert_eq!(
        judged,
        expected.map(seconds),
        "{request:?} {status} {response:?}"
    );
}

#[test]
fn an_answer_to_post_is_stored_if_it_says_that_it_is_the_targets_and_for_how_long() {
    let here = ("content-location", "/form?x");
    check_post(&[], 200, &[FRESH, here], Ok(60));
    check_post(
        &[],
        200,
        &[
            FRESH,
            ("content-location", "https://EXAMPLE.com:443/form?x"),
        ],
        Ok(60),
    );
    check_post(&[], 200, &[FRESH, ("content-location", "")], Ok(60));
    let no = Err(Reason::Method);
    check_post(&[], 200, &[FRESH], no);
    check_post(&[], 200, &[FRESH, here, here], no);
    for elsewhere in [
        "/form",
        "/form?y",
        "http://example.com/form?x",
        "//other.test/form?x",
    ] {
        check_post(&[], 200, &[FRESH, ("content-location", elsewhere)], no);
    }
    for status in [201, 204, 303, 404, 500] {
        check_post(&[], status, &[FRESH, here], no);
    }
}

#[test]
fn an_answer_to_post_has_no_lifetime_but_its_own_and_the_limits_of_any_answer() {
    let (here, etag) = (("content-location", "/form?x"), ("etag", "\"a\""));
    let modified = ("last-modified", EARLIER_DATE);
    check_post(&[], 200, &[here, modified, etag], Err(Reason::NoFreshness));
    check_post(
        &[],
        200,
        &[here, etag, ("cache-control", "max-age=0")],
        Err(Reason::NoFreshness),
    );
    check_post(
        &[],
        200,
        &[here, ("cache-control", "private, max-age=9")],
        Err(Reason::Private),
    );
    check_post(
        &[],
        200,
        &[here, FRESH, ("set-cookie", "a=b")],
        Err(Reason::SetCookie),
    );
    check_post(
        &[("authorization", "x")],
        200,
        &[here, FRESH],
        Err(Reason::Authorization),
    );
    check_post(
        &[("cache-control", "no-store")],
        200,
        &[here, FRESH],
        Err(Reason::NoStore),
    );
    check_post(
        &[("if-match", "*")],
        200,
        &[here, FRESH],
        Err(Reason::Precondition),
    );
    let pass = crate::semantics::request::may_store_post(&map(&[]), &rules());
    assert_eq!(pass, Err(Reason::Method));
}

/// An answer, told in numbers: seconds since 1970, milliseconds where it says so.
#[derive(Clone, Copy, Debug)]
struct Told {
    date: Option<u64>,
    age: Option<u64>,
    max_age: u64,
    sent_millis: u64,
    delay_millis: u64,
    asked_after_millis: u64,
}

impl Told {
    /// `current_age` in milliseconds, as RFC 9111 §4.2.3 writes it down.
    fn current_age_millis(self) -> i128 {
        let request_time = i128::from(self.sent_millis);
        let response_time = request_time + i128::from(self.delay_millis);
        let now = response_time + i128::from(self.asked_after_millis);
        // Dates have whole seconds: so has the moment that they are compared with. Without a Date, the response is dated when it came.
        let received = response_time / 1000 * 1000;
        let date_value = self.date.map_or(received, |date| i128::from(date) * 1000);
        let age_value = i128::from(self.age.unwrap_or_default().min(1 << 31)) * 1000;
        let apparent_age = (received - date_value).max(0);
        let response_delay = response_time - request_time;
        let corrected_age_value = age_value + response_delay;
        let corrected_initial_age = apparent_age.max(corrected_age_value);
        let resident_time = now - response_time;
        corrected_initial_age + resident_time
    }

    /// Whether the store would serve it as fresh.
    fn is_fresh(self) -> bool {
        let mut response = vec![
            ("cache-control", format!("max-age={}", self.max_age)),
            ("etag", "\"a\"".to_owned()),
        ];
        let date = self
            .date
            .map(|date| Timestamp::from_unix_seconds(date).http_date().to_string());
        response.extend(date.map(|date| ("date", date)));
        response.extend(self.age.map(|age| ("age", age.to_string())));
        let response: Vec<_> = response
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let request_time = Timestamp::from_unix_millis(self.sent_millis);
        let times = TimesOfExchange {
            request_time,
            response_time: request_time.plus(Duration::from_millis(self.delay_millis)),
        };
        let Storable::Yes(stored) =
            assess(&get(&[]), StatusCode::OK, &map(&response), &rules(), times)
        else {
            return false;
        };
        let now = times
            .response_time
            .plus(Duration::from_millis(self.asked_after_millis));
        let judged = freshness::assess(&stored, &get(&[]), Purging::None, now);
        matches!(judged, Freshness::Fresh { .. })
    }
}

prop_compose! {
    /// Around one moment, so that ages and lifetimes meet; dates may lie ahead of it.
    fn told()(
        date in prop::option::of(1_800_000_000_u64 - 200..1_800_000_000 + 200),
        age in prop::option::of(prop_oneof![0..200_u64, any::<u64>()]),
        max_age in prop_oneof![0..400_u64, any::<u64>()],
        sent in 0..20_000_u64,
        delay_millis in prop_oneof![Just(0), 0..100_000_u64],
        asked_after_millis in prop_oneof![Just(0), 0..300_000_u64, 0..1_u64 << 50],
    ) -> Told {
        Told { date, age, max_age, sent_millis: 1_800_000_000_000 + sent, delay_millis, asked_after_millis }
    }
}

proptest! {
    #[test]
    fn what_is_fresh_is_younger_than_the_rfc_asks_and_what_is_younger_is_fresh(told in told()) {
        let lifetime = i128::from(told.max_age.min(1 << 31)) * 1000;
        prop_assert_eq!(told.is_fresh(), told.current_age_millis() < lifetime);
    }
}
