//! Conditional requests both ways, and freshening.

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::reason::Reason;
use crate::semantics::request::{ReadMethod, RequestPolicy};
use crate::semantics::rules::{Rules, SetCookie};
use crate::semantics::testing::{
    EARLIER_DATE, NOW_DATE, after, assessed, at, fields as map, get, rules, seconds, stored,
};

type Lines<'a> = &'a [(&'a str, &'a str)];

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const LATER_DATE: &str = "Fri, 15 Jan 2027 08:01:40 GMT";

fn with(response: Lines<'_>) -> StoredResponse {
    stored(&response.iter().copied().chain([FRESH]).collect::<Vec<_>>())
}

#[test]
fn all_validators_are_sent_and_malformed_ones_are_none() {
    let sent = |response| conditional_fields(&with(response)).collect::<HeaderMap>();
    let both: Lines<'_> = &[("etag", "W/\"a\""), ("last-modified", EARLIER_DATE)];
    assert_eq!(
        sent(both),
        map(&[
            ("if-none-match", "W/\"a\""),
            ("if-modified-since", EARLIER_DATE)
        ])
    );
    assert!(sent(&[("etag", "a"), ("last-modified", "x")]).is_empty());
    assert!(sent(&[("etag", "\"a\""), ("etag", "\"b\"")]).is_empty());
}

#[track_caller]
fn check(response: Lines<'_>, request: Lines<'_>, not_modified: bool) {
    let expected = if not_modified {
        Precondition::NotModified
    } else {
        Precondition::Passed
    };
    assert_eq!(
        precondition(&map(request), &with(response)),
        expected,
        "{response:?} {request:?}"
    );
}

#[test]
fn a_client_that_holds_the_tag_gets_a_304() {
    let tagged: Lines<'_> = &[("etag", "\"a\"")];
    for held in ["\"a\"", "W/\"a\"", "\"1\", \"a\", \"2\"", "*", "x, \"a\""] {
        check(tagged, &[("if-none-match", held)], true);
    }
    for other in ["\"b\"", "a", "w/\"a\"", ""] {
        check(tagged, &[("if-none-match", other)], false);
    }
    check(&[("etag", "W/\"a\"")], &[("if-none-match", "\"a\"")], true);
    check(
        tagged,
        &[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")],
        true,
    );
    check(&[], &[("if-none-match", "\"a\"")], false);
    check(&[], &[("if-none-match", "*")], true);
    check(
        &[("etag", "\"a\u{fc}\"")],
        &[("if-none-match", "\"a\u{fc}\"")],
        true,
    );
}

#[test]
fn the_tag_outranks_the_date() {
    let response: Lines<'_> = &[("etag", "\"a\""), ("last-modified", EARLIER_DATE)];
    let old = "Fri, 15 Jan 2010 08:00:00 GMT";
    check(
        response,
        &[("if-none-match", "\"a\""), ("if-modified-since", old)],
        true,
    );
    check(
        response,
        &[("if-none-match", "\"b\""), ("if-modified-since", NOW_DATE)],
        false,
    );
}

#[test]
fn a_client_that_holds_the_date_gets_a_304() {
    let modified: Lines<'_> = &[("last-modified", EARLIER_DATE)];
    check(modified, &[("if-modified-since", EARLIER_DATE)], true);
    check(
        modified,
        &[("if-modified-since", "Friday, 15-Jan-27 07:43:20 GMT")],
        true,
    );
    check(modified, &[("if-modified-since", NOW_DATE)], true);
    check(
        modified,
        &[("if-modified-since", "Fri, 15 Jan 2027 07:43:19 GMT")],
        false,
    );
    check(modified, &[("if-modified-since", "garbage")], false);
    check(
        &[("date", EARLIER_DATE)],
        &[("if-modified-since", EARLIER_DATE)],
        true,
    );
    check(&[], &[("if-modified-since", EARLIER_DATE)], false);
    check(&[], &[("if-modified-since", NOW_DATE)], true);
    check(modified, &[], false);
}

#[test]
fn conditions_are_about_successful_responses() {
    let not_found = assessed(&rules(), &[], 404, &[FRESH, ("etag", "\"a\"")]).unwrap();
    let request = map(&[("if-none-match", "*")]);
    assert_eq!(precondition(&request, &not_found), Precondition::Passed);
}

#[test]
fn a_304_carries_what_guides_caches() {
    let response = with(&[
        ("etag", "\"a\""),
        ("content-type", "x"),
        ("vary", "a"),
        ("b", "1"),
    ]);
    let names: Vec<_> = not_modified_fields(&response)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["etag", "vary", "cache-control", "date"]);
}

/// Freshens a hundred seconds after the fill.
fn freshened(rules: &Rules, old: Lines<'_>, new: Lines<'_>, request: Lines<'_>) -> Freshened {
    freshen(&with(old), &map(new), &get(request), rules, at(after(100)))
}

#[track_caller]
fn updated(old: Lines<'_>, new: Lines<'_>) -> StoredResponse {
    match freshened(&rules(), old, new, &[]) {
        Freshened::Store(response) => *response,
        other => panic!("{old:?} {new:?}: {other:?}"),
    }
}

#[test]
fn a_304_replaces_fields_and_keeps_the_others() {
    let old: Lines<'_> = &[
        ("etag", "\"a\""),
        ("a", "1"),
        ("b", "1"),
        ("b", "2"),
        ("surrogate-key", "t"),
    ];
    let response = updated(
        old,
        &[
            ("etag", "\"a\""),
            ("b", "3"),
            ("cache-control", "max-age=10"),
        ],
    );
    let expected = map(&[
        ("etag", "\"a\""),
        ("a", "1"),
        ("b", "3"),
        ("cache-control", "max-age=10"),
        ("date", LATER_DATE),
    ]);
    assert_eq!(response.fields, expected);
    assert_eq!(response.times.lifetime, seconds(10));
    assert_eq!(response.times.initial_age, seconds(0));
    assert_eq!(response.times.response_time, after(100));
    assert_eq!(response.tags, ["t".into()].into());
}

#[test]
fn what_describes_the_content_stays() {
    let old: Lines<'_> = &[
        ("etag", "\"a\""),
        ("content-type", "x"),
        ("content-encoding", "gzip"),
    ];
    let new: Lines<'_> = &[
        ("content-type", "y"),
        ("content-encoding", "br"),
        ("content-range", "bytes 0-1/2"),
        ("content-length", "10"),
        ("connection", "c"),
        ("c", "1"),
        ("keep-alive", "1"),
    ];
    let response = updated(old, new);
    let expected = map(&[
        ("etag", "\"a\""),
        ("content-type", "x"),
        ("content-encoding", "gzip"),
        FRESH,
        ("date", LATER_DATE),
    ]);
    assert_eq!(response.fields, expected);
}

#[test]
fn a_304_without_a_matching_validator_freshens_nothing() {
    for (old, new) in [
        (("etag", "\"a\""), ("etag", "\"b\"")),
        (("last-modified", EARLIER_DATE), ("last-modified", NOW_DATE)),
    ] {
        assert_eq!(
            freshened(&rules(), &[old], &[new], &[]),
            Freshened::Mismatch
        );
    }
    updated(&[("etag", "\"a\"")], &[]);
    updated(
        &[("last-modified", EARLIER_DATE)],
        &[("last-modified", EARLIER_DATE)],
    );
    updated(
        &[("etag", "\"a\""), ("last-modified", EARLIER_DATE)],
        &[("etag", "\"a\""), ("last-modified", NOW_DATE)],
    );
}

#[test]
fn a_weak_tag_does_not_become_strong() {
    let kept = updated(&[("etag", "W/\"a\"")], &[("etag", "\"a\"")]);
    assert_eq!(kept.validators.etag.unwrap(), "W/\"a\"");
    let weakened = updated(&[("etag", "\"a\"")], &[("etag", "W/\"a\"")]);
    assert_eq!(weakened.validators.etag.unwrap(), "W/\"a\"");
}

#[test]
fn bytes_get_no_strong_tag_that_did_not_come_with_them() {
    let modified = ("last-modified", EARLIER_DATE);
    for (old, new, expected) in [
        (&[modified][..], &[modified, ("etag", "\"a\"")][..], None),
        (&[modified], &[("etag", "\"a\"")], None),
        (&[], &[("etag", "\"a\"")], None),
        (
            &[modified],
            &[modified, ("etag", "W/\"a\"")],
            Some("W/\"a\""),
        ),
        (
            &[modified, ("etag", "\"a\"")],
            &[modified, ("etag", "\"a\"")],
            Some("\"a\""),
        ),
    ] {
        let tag = match freshened(&rules(), old, new, &[]) {
            Freshened::Store(response) => response.validators.etag,
            Freshened::Mismatch => None,
            Freshened::Deliver(..) => panic!("{old:?} {new:?}"),
        };
        assert_eq!(
            tag.as_ref().map(|tag| tag.as_bytes()),
            expected.map(str::as_bytes)
        );
    }
}

#[test]
fn a_304_may_end_the_storing() {
    let outcome = freshened(
        &rules(),
        &[("etag", "\"a\"")],
        &[("cache-control", "no-store")],
        &[],
    );
    let Freshened::Deliver(response, Reason::NoStore) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(response.fields["cache-control"], "no-store");
    assert!(response.reuse.no_cache);
}

#[test]
fn a_304_with_another_vary_is_a_mismatch() {
    let outcome = freshened(&rules(), &[("etag", "\"a\"")], &[("vary", "accept")], &[]);
    assert_eq!(outcome, Freshened::Mismatch);
}

#[test]
fn a_cookie_that_comes_with_a_304_is_not_stored() {
    let new: Lines<'_> = &[("set-cookie", "sid=1")];
    assert!(
        !updated(&[("etag", "\"a\"")], new)
            .fields
            .contains_key("set-cookie")
    );
    let rfc = Rules {
        set_cookie: SetCookie::Rfc,
        ..rules()
    };
    let outcome = freshened(&rfc, &[("etag", "\"a\"")], new, &[]);
    let Freshened::Store(response) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(response.fields["set-cookie"], "sid=1");
}

#[test]
fn a_response_stays_personal_until_someone_without_cookies_gets_it() {
    let rfc = Rules {
        set_cookie: SetCookie::Rfc,
        ..rules()
    };
    let cookie: Lines<'_> = &[("cookie", "sid=1")];
    let modified: Lines<'_> = &[("last-modified", EARLIER_DATE)];
    let personal = assessed(&rfc, cookie, 200, modified).unwrap();
    let personal_after = |stored: &StoredResponse, request| match freshen(
        stored,
        &map(&[]),
        &get(request),
        &rfc,
        at(after(1)),
    ) {
        Freshened::Store(response) => (response.reuse.personal, response.times.lifetime),
        other => panic!("{other:?}"),
    };
    assert_eq!(personal_after(&personal, cookie), (true, seconds(0)));
    assert_eq!(personal_after(&personal, &[]), (false, seconds(100)));
    let plain = assessed(&rfc, &[], 200, modified).unwrap();
    assert_eq!(personal_after(&plain, cookie), (false, seconds(100)));
}

/// What a HEAD, a hundred seconds later, makes of a stored response of ten bytes.
fn by_head(stored: Lines<'_>, request: Lines<'_>, status: u16, head: Lines<'_>) -> ByHead {
    let fields = map(head);
    let length = fields.get("content-length");
    let answer = HeadAnswer {
        status: StatusCode::from_u16(status).unwrap(),
        fields: &fields,
        length: length.map(|value| value.to_str().unwrap().parse().unwrap()),
        times: at(after(100)),
    };
    freshen_by_head(&with(stored), 10, answer, &policy(request), &rules())
}

/// Of a request that may be past the store, too.
fn policy(request: Lines<'_>) -> RequestPolicy {
    RequestPolicy::of(ReadMethod::Head, &map(request), &rules())
}

const TAGGED: Lines<'_> = &[("etag", "\"a\""), ("a", "1")];

#[test]
fn a_head_freshens_what_it_describes() {
    let head: Lines<'_> = &[
        ("etag", "\"a\""),
        ("content-length", "10"),
        ("a", "2"),
        ("cache-control", "max-age=5"),
    ];
    let outcome = by_head(TAGGED, &[], 200, head);
    let ByHead::Freshened(response) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(response.fields["a"], "2");
    assert_eq!(response.times.lifetime, seconds(5));
    assert!(matches!(
        by_head(TAGGED, &[], 200, &[]),
        ByHead::Freshened(_)
    ));
}

#[test]
fn a_head_about_something_else_makes_what_is_stored_stale_once() {
    for head in [
        [("etag", "\"b\"")],
        [("content-length", "11")],
        [("last-modified", NOW_DATE)],
        [("cache-control", "no-store")],
        [("vary", "a")],
    ] {
        let ByHead::Outdated(stale) = by_head(TAGGED, &[], 200, &head) else {
            panic!("{head:?}")
        };
        assert!(stale.times.lifetime.is_zero(), "{head:?}");
        assert_eq!(stale.fields["a"], "1");
    }
    let stale: Lines<'_> = &[("etag", "\"a\""), ("cache-control", "max-age=0")];
    let again = by_head(&stale[..1], &[], 200, &[("etag", "\"b\"")]);
    assert!(matches!(again, ByHead::Outdated(_)));
    let stored = stored(stale);
    let fields = map(&[("etag", "\"b\"")]);
    let answer = HeadAnswer {
        status: StatusCode::OK,
        fields: &fields,
        length: None,
        times: at(after(100)),
    };
    assert_eq!(
        freshen_by_head(&stored, 10, answer, &policy(&[]), &rules()),
        ByHead::Unrelated
    );
}

#[test]
fn a_head_for_somebody_else_or_of_another_status_says_nothing() {
    let other: Lines<'_> = &[("etag", "\"b\"")];
    for status in [204, 206, 304, 404, 500] {
        assert_eq!(by_head(TAGGED, &[], status, other), ByHead::Unrelated);
    }
    for request in [
        ("authorization", "x"),
        ("cookie", "sid=1"),
        ("cache-control", "no-store"),
    ] {
        for head in [other, &[("etag", "\"a\"")]] {
            assert_eq!(by_head(TAGGED, &[request], 200, head), ByHead::Unrelated);
        }
    }
    let shared: Lines<'_> = &[("etag", "\"a\""), ("cache-control", "public")];
    let outcome = by_head(shared, &[("authorization", "x")], 200, other);
    assert!(matches!(outcome, ByHead::Outdated(_)), "{outcome:?}");
}

#[track_caller]
fn check_answer(status: u16, answer: Lines<'_>, request: Lines<'_>, not_modified: bool) {
    let status = StatusCode::from_u16(status).unwrap();
    let judged = precondition_of_answer(&map(request), status, &map(answer), after(0));
    let expected = if not_modified {
        Precondition::NotModified
    } else {
        Precondition::Passed
    };
    assert_eq!(judged, expected, "{status} {answer:?} {request:?}");
}

#[test]
fn an_answer_that_the_client_holds_already_is_a_304_to_it() {
    let tagged: Lines<'_> = &[("etag", "W/\"a\""), ("last-modified", EARLIER_DATE)];
    check_answer(200, tagged, &[("if-none-match", "\"a\"")], true);
    check_answer(200, tagged, &[("if-none-match", "*")], true);
    check_answer(200, tagged, &[("if-modified-since", EARLIER_DATE)], true);
    let both: Lines<'_> = &[("if-none-match", "\"b\""), ("if-modified-since", NOW_DATE)];
    check_answer(200, tagged, both, false);
    check_answer(500, tagged, &[("if-none-match", "\"a\"")], false);
    check_answer(302, tagged, &[("if-none-match", "*")], false);
    check_answer(200, tagged, &[], false);
    // A date of making is no date of modification.
    let dated: Lines<'_> = &[("date", EARLIER_DATE)];
    check_answer(200, dated, &[("if-modified-since", NOW_DATE)], false);
    check_answer(200, &[], &[("if-modified-since", NOW_DATE)], false);
}

proptest! {
    #[test]
    fn no_fields_panic(values in prop::collection::vec("[ -~]{0,30}", 6)) {
        let names = ["etag", "last-modified", "if-none-match", "if-modified-since", "cache-control", "vary"];
        let lines: Vec<_> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
        let stored = with(&[("etag", "\"a\"")]);
        let _ = precondition(&map(&lines), &stored);
        let _ = freshen(&stored, &map(&lines), &get(&[]), &rules(), at(after(1)));
    }
}
