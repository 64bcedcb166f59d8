//! Cache-Control as it is sent, well and badly.

use proptest::prelude::*;

use super::*;
use crate::semantics::testing::{fields, seconds};

fn read(response: &HeaderMap) -> ResponseDirectives {
    ResponseDirectives::of(response, SurrogateControl::Ignore, LiteSpeed::Ignore)
}

#[track_caller]
fn check(lines: &[(&str, &str)], expected: &ResponseDirectives) {
    assert_eq!(&read(&fields(lines)), expected, "{lines:?}");
}

#[track_caller]
fn check_max_age(value: &str, expected: Option<u64>) {
    let directives = read(&fields(&[("cache-control", value)]));
    assert_eq!(directives.max_age, expected.map(seconds), "{value}");
}

fn names(names: &[&'static str]) -> Scope {
    Scope::Fields(names.iter().map(|n| HeaderName::from_static(n)).collect())
}

#[test]
fn directives_come_from_every_line_in_any_case() {
    check(
        &[
            ("cache-control", "MaX-aGe=10, foo=bar,, PUBLIC"),
            (
                "cache-control",
                "s-maxage=20, must-revalidate, proxy-revalidate, must-understand",
            ),
            (
                "cache-control",
                "stale-while-revalidate=3, stale-if-error=4",
            ),
        ],
        &ResponseDirectives {
            max_age: Some(seconds(10)),
            s_maxage: Some(seconds(20)),
            public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            stale_while_revalidate: Some(seconds(3)),
            stale_if_error: Some(seconds(4)),
            ..ResponseDirectives::default()
        },
    );
    check(
        &[
            ("cache-control", "no-store, no-cache"),
            ("cache-control", "private"),
        ],
        &ResponseDirectives {
            no_store: true,
            no_cache: Scope::Whole,
            private: Scope::Whole,
            ..ResponseDirectives::default()
        },
    );
}

#[test]
fn a_malformed_lifetime_is_zero_and_an_absent_one_is_none() {
    for value in [
        "max-age=",
        "max-age",
        "max-age=-1",
        "max-age=a1",
        "max-age=1a",
        "max-age='10'",
        "max-age=1.0",
        "max-age =10",
        "max-age= 10",
        "max-age=\"10",
        "max-age=+10",
    ] {
        check_max_age(value, Some(0));
    }
    for value in [
        "",
        "maxage=10",
        "x-max-age=10",
        "ext=\"max-age=10\"",
        "ext=\"a, max-age=10, b\"",
    ] {
        check_max_age(value, None);
    }
}

#[test]
fn numbers_are_read_in_both_forms_and_saturate() {
    for (value, expected) in [
        ("max-age=10", 10),
        ("max-age=\"10\"", 10),
        ("max-age=0010", 10),
        ("max-age=2147483647", 2_147_483_647),
        ("max-age=2147483648", 2_147_483_648),
        ("max-age=2147483649", 2_147_483_648),
        ("max-age=99999999999999999999999999", 2_147_483_648),
    ] {
        check_max_age(value, Some(expected));
    }
}

#[test]
fn of_a_directive_that_comes_twice_the_first_counts() {
    check_max_age("max-age=1800, max-age=1", Some(1800));
    check_max_age("max-age=1, max-age=1800", Some(1));
    check_max_age("max-age=x, max-age=1800", Some(0));
}

#[test]
fn a_lone_quote_hides_no_restriction() {
    check(
        &[("cache-control", "ext=\"a, no-store")],
        &ResponseDirectives {
            no_store: true,
            ..ResponseDirectives::default()
        },
    );
}

#[test]
fn field_names_limit_private_and_no_cache_unless_they_also_come_without() {
    let scopes = |value| {
        let directives = read(&fields(&[("cache-control", value)]));
        (directives.private, directives.no_cache)
    };
    assert_eq!(
        scopes("private=\"a, B\", no-cache=c"),
        (names(&["a", "b"]), names(&["c"]))
    );
    assert_eq!(
        scopes("private=\"a\", private=\"b\""),
        (names(&["a", "b"]), Scope::None)
    );
    assert_eq!(
        scopes("private=\"a\", private"),
        (Scope::Whole, Scope::None)
    );
    assert_eq!(
        scopes("private, private=\"a\""),
        (Scope::Whole, Scope::None)
    );
    assert_eq!(
        scopes("private=\"\", no-cache=\"a b\""),
        (Scope::Whole, Scope::Whole)
    );
    assert_eq!(scopes("private=\"a"), (Scope::Whole, Scope::None));
}

#[test]
fn what_permits_must_be_well_formed_and_what_restricts_need_not() {
    check(
        &[("cache-control", "public=x, must-understand=x")],
        &ResponseDirectives::default(),
    );
    check(
        &[("cache-control", "no-store=x, must-revalidate=")],
        &ResponseDirectives {
            no_store: true,
            must_revalidate: true,
            ..ResponseDirectives::default()
        },
    );
    check(
        &[("cache-control", "stale-if-error=x")],
        &ResponseDirectives::default(),
    );
}

#[test]
fn surrogate_control_is_the_last_targeted_field_where_the_site_says_so() {
    let check = |lines: &[(&str, &str)], max_age: u64, source| {
        let directives =
            ResponseDirectives::of(&fields(lines), SurrogateControl::Obey, LiteSpeed::Ignore);
        assert_eq!(
            (directives.max_age, directives.source),
            (Some(seconds(max_age)), source)
        );
    };
    let (plain, surrogate) = (
        ("cache-control", "max-age=1"),
        ("surrogate-control", "max-age=2, content=\"ESI/1.0\""),
    );
    check(&[plain, surrogate], 2, Source::Targeted);
    check(
        &[plain, surrogate, ("cdn-cache-control", "max-age=3")],
        3,
        Source::Targeted,
    );
    check(
        &[surrogate, ("jet9-cache-control", "max-age=4")],
        4,
        Source::Targeted,
    );
    // The form with a grace period is no structured field.
    check(
        &[plain, ("surrogate-control", "max-age=2+3")],
        1,
        Source::CacheControl,
    );
    assert_eq!(read(&fields(&[plain, surrogate])).max_age, Some(seconds(1)));
}

#[test]
fn a_targeted_field_wins_if_it_is_well_formed_and_not_empty() {
    let targeted = |max_age| ResponseDirectives {
        source: Source::Targeted,
        max_age: Some(seconds(max_age)),
        ..ResponseDirectives::default()
    };
    let plain = ("cache-control", "no-store");
    check(
        &[("cdn-cache-control", "max-age=5;x=1, foobar"), plain],
        &targeted(5),
    );
    check(
        &[
            ("jet9-cache-control", "max-age=6"),
            ("cdn-cache-control", "max-age=5"),
            plain,
        ],
        &targeted(6),
    );
    check(
        &[
            ("jet9-cache-control", ""),
            ("cdn-cache-control", "max-age=5"),
            plain,
        ],
        &targeted(5),
    );
    check(
        &[
            ("cdn-cache-control", "max-age=5"),
            ("cdn-cache-control", "max-age=7"),
        ],
        &targeted(7),
    );
    check(
        &[("cdn-cache-control", "max-age=99999999999")],
        &targeted(2_147_483_648),
    );
    check(&[("cdn-cache-control", "max-age=-1")], &targeted(0));
    check(
        &[("cdn-cache-control", "max-age=\"10\""), plain],
        &targeted(0),
    );
    let fallback = || ResponseDirectives {
        no_store: true,
        ..ResponseDirectives::default()
    };
    for malformed in ["", "max-age=5, &&", "Max-Age=5", "max-age =5", "max-age=5,"] {
        check(&[("cdn-cache-control", malformed), plain], &fallback());
    }
    check(
        &[("cdn-cache-control", "private, no-cache=\"a\", no-store=?0")],
        &ResponseDirectives {
            source: Source::Targeted,
            private: Scope::Whole,
            no_cache: names(&["a"]),
            ..ResponseDirectives::default()
        },
    );
}

#[track_caller]
fn check_request(lines: &[(&str, &str)], expected: RequestDirectives) {
    assert_eq!(RequestDirectives::of(&fields(lines)), expected, "{lines:?}");
}

#[test]
fn requests_have_directives_of_their_own() {
    check_request(
        &[(
            "cache-control",
            "no-cache, no-store, only-if-cached, max-age=1, min-fresh=2, max-stale=3",
        )],
        RequestDirectives {
            no_cache: true,
            no_store: true,
            only_if_cached: true,
            max_age: Some(seconds(1)),
            min_fresh: Some(seconds(2)),
            max_stale: Some(seconds(3)),
        },
    );
    check_request(
        &[("cache-control", "max-stale")],
        RequestDirectives {
            max_stale: Some(Duration::MAX),
            ..RequestDirectives::default()
        },
    );
    check_request(
        &[("cache-control", "max-age=x, min-fresh=, max-stale=x")],
        RequestDirectives::default(),
    );
}

#[test]
fn pragma_counts_only_without_cache_control() {
    let no_cache = RequestDirectives {
        no_cache: true,
        ..RequestDirectives::default()
    };
    check_request(&[("pragma", "foo, No-Cache")], no_cache);
    check_request(
        &[("pragma", "no-cache"), ("cache-control", "foo")],
        RequestDirectives::default(),
    );
    check_request(&[("pragma", "foo")], RequestDirectives::default());
}

proptest! {
    #[test]
    fn no_value_panics(value in prop::collection::vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff], 0..80)) {
        let value = http::HeaderValue::from_bytes(&value).unwrap();
        let mut map = HeaderMap::new();
        for name in ["cache-control", "cdn-cache-control", "pragma"] {
            map.insert(name, value.clone());
        }
        let _ = read(&map);
        let _ = RequestDirectives::of(&map);
    }

    #[test]
    fn a_lifetime_is_never_beyond_the_limit(n: u64) {
        let value = format!("max-age={n}");
        let directives = read(&fields(&[("cache-control", &value)]));
        prop_assert!(directives.max_age.unwrap() <= DELTA_SECONDS_MAX);
    }
}

#[test]
fn what_a_litespeed_server_is_told_goes_before_all_but_our_own() {
    let read = |lines: &[(&str, &str)]| {
        ResponseDirectives::of(&fields(lines), SurrogateControl::Obey, LiteSpeed::Obey)
    };
    let said = |value: &'static str| {
        read(&[
            ("x-litespeed-cache-control", value),
            ("cache-control", "max-age=1, no-cache"),
        ])
    };
    let hour = Some(Duration::from_secs(3600));
    let public = said("Public, max-age=3600");
    assert_eq!(
        (public.max_age, public.public, public.source),
        (hour, true, Source::LiteSpeed)
    );
    for value in ["public", "s-maxage=9", "must-revalidate"] {
        assert!(!said(value).allows_authorization(), "{value}");
    }
    assert!(!public.no_store && public.no_cache == Scope::None && public.is_for_sharing());
    assert!(said("no-cache").no_store && said("no-store").no_store);
    assert!(said("public, max-age=3600, esi=on").no_store && said("esi").no_store);
    assert!(!said("public, max-age=3600, esi=off").no_store);
    assert_eq!(
        said("shared, private, no-vary, max-age=3600").private,
        Scope::Whole
    );
    // An empty one says nothing.
    assert_eq!(said("").source, Source::CacheControl);
    let both = [
        ("x-litespeed-cache-control", "public"),
        ("jet9-cache-control", "max-age=3600"),
    ];
    assert_eq!((read(&both).max_age, read(&both).public), (hour, false));
    let both = [
        ("x-litespeed-cache-control", "public"),
        ("cdn-cache-control", "max-age=3600"),
    ];
    assert_eq!((read(&both).max_age, read(&both).public), (None, true));
}
