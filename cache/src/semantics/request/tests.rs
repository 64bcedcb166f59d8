//! Which requests may be answered from the store.

use super::*;
use crate::semantics::testing::{fields, get, rules, seconds};

#[track_caller]
fn check(method: &str, request: &[(&str, &str)], expected: Result<(), Reason>) {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let answer = may_answer(&method, &fields(request), &rules());
    assert_eq!(answer.map(|_| ()), expected, "{method} {request:?}");
}

#[test]
fn only_get_and_head_are_looked_up() {
    check("GET", &[], Ok(()));
    check("HEAD", &[], Ok(()));
    for method in ["POST", "PUT", "OPTIONS", "M-SEARCH", "get"] {
        check(method, &[], Err(Reason::Method));
    }
}

#[test]
fn a_request_that_must_not_be_stored_is_not_looked_up() {
    check(
        "GET",
        &[("cache-control", "no-store")],
        Err(Reason::NoStore),
    );
}

#[test]
fn a_condition_for_the_origin_is_not_judged_here() {
    check("GET", &[("if-match", "\"a\"")], Err(Reason::Precondition));
    check(
        "GET",
        &[("if-unmodified-since", "x")],
        Err(Reason::Precondition),
    );
    check("GET", &[("if-none-match", "\"a\"")], Ok(()));
}

#[test]
fn a_site_or_route_that_is_off_answers_nothing() {
    for (storing, reason) in [
        (Storing::ProfileOff, Reason::ProfileOff),
        (Storing::RouteOff, Reason::RouteOff),
    ] {
        let rules = Rules { storing, ..rules() };
        assert_eq!(
            may_answer(&Method::GET, &HeaderMap::new(), &rules),
            Err(reason)
        );
    }
}

#[test]
fn a_request_is_personal_by_authorization_or_an_unknown_cookie() {
    for (request, personal) in [
        (&[][..], false),
        (&[("authorization", "x")], true),
        (&[("cookie", "_ga=1; _gat_x=2; consent=3")], false),
        (&[("cookie", "_ga=1"), ("cookie", "sid=2")], true),
        (&[("cookie", "consent2=1")], true),
        (&[("cookie", "Consent=1")], true),
        (&[("cookie", " ; ;; consent ; ")], false),
        (&[("cookie", "=consent")], true),
        (&[("cookie", "")], false),
    ] {
        assert_eq!(get(request).personal, personal, "{request:?}");
    }
}

#[test]
fn a_site_may_ignore_reloads_but_not_only_if_cached() {
    let rules = Rules {
        client_reload: ClientReload::Ignore,
        ..rules()
    };
    let request = fields(&[(
        "cache-control",
        "no-cache, max-age=0, no-store, only-if-cached",
    )]);
    let policy = may_answer(&Method::GET, &request, &rules).unwrap();
    let expected = RequestDirectives {
        no_store: true,
        only_if_cached: true,
        ..RequestDirectives::default()
    };
    assert_eq!(policy.directives, expected);
    let obeyed = get(&[("cache-control", "max-age=1, only-if-cached")]).directives;
    assert_eq!(
        (obeyed.max_age, obeyed.only_if_cached),
        (Some(seconds(1)), true)
    );
}
