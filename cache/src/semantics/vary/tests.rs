//! Which requests select the same variant.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::semantics::testing::fields;

const HASHER: KeyHasher = KeyHasher::new([7; 16]);

fn vary(values: &[&str]) -> Result<Vec<String>, Reason> {
    let lines: Vec<_> = values.iter().map(|value| ("vary", *value)).collect();
    let selectors = of_vary(&fields(&lines), Languages::AsSent)?;
    let names = selectors
        .iter()
        .map(|selector| selector.field().to_string());
    Ok(names.collect())
}

#[test]
fn selecting_fields_are_sorted_and_lower_case() {
    assert_eq!(vary(&[]), Ok(vec![]));
    assert_eq!(
        vary(&["Foo, bar", " ,foo"]),
        Ok(vec!["bar".into(), "foo".into()])
    );
}

#[test]
fn a_star_anywhere_selects_nothing() {
    for values in [
        &["*"][..],
        &["*, *"],
        &["*", "*"],
        &[", *"],
        &["", "*"],
        &["*, Foo"],
        &["Foo, *"],
        &["a b"],
    ] {
        assert_eq!(vary(values), Err(Reason::VaryStar), "{values:?}");
    }
}

#[test]
fn what_the_edge_says_of_the_client_selects_nothing() {
    for name in ["X-Forwarded-For", "x-real-ip", "X-Request-Id"] {
        assert_eq!(vary(&["Accept", name]), Err(Reason::VaryStar), "{name}");
    }
}

#[test]
fn what_no_fetch_takes_from_its_client_does_not_select() {
    assert_eq!(
        vary(&["Host, X-Forwarded-Proto, X-Forwarded-Host, Range, If-None-Match, Accept"]),
        Ok(vec!["accept".into()])
    );
}

#[test]
fn many_variants_are_told_apart_by_one_look_at_the_request() {
    let (a, b) = (
        [Selector::Field(header::ACCEPT)],
        [Selector::Field(header::ACCEPT_ENCODING)],
    );
    let request = fields(&[("accept", "x"), ("accept-encoding", "br")]);
    let selecting = SelectingFields::of(&request);
    let mut selected = Selecting::new(selecting, &HASHER);
    for vary in [&a, &a, &b, &a] {
        let hash = selecting.hash(vary, &HASHER);
        assert!(selected.matches(vary, hash));
        assert!(!selected.matches(vary, !hash));
    }
    assert!(selected.matches(&[], 0));
}

#[test]
fn more_selecting_fields_than_the_limit_are_refused() {
    let many: Vec<_> = (0..=SELECTING_FIELDS_MAX)
        .map(|n| format!("f{n}"))
        .collect();
    assert_eq!(vary(&[&many.join(",")]), Err(Reason::VaryLimit));
    assert!(vary(&[&many[1..].join(",")]).is_ok());
}

type Lines<'a> = &'a [(&'a str, &'a str)];

#[track_caller]
fn check(name: &'static str, a: Lines<'_>, b: Lines<'_>, same: bool) {
    check_vary(
        &[Selector::Field(HeaderName::from_static(name))],
        a,
        b,
        same,
    );
}

#[track_caller]
fn check_vary(vary: &[Selector], a: Lines<'_>, b: Lines<'_>, same: bool) {
    let hash = |lines| SelectingFields::of(&fields(lines)).hash(vary, &HASHER);
    assert_eq!(hash(a) == hash(b), same, "{vary:?} {a:?} {b:?}");
}

/// Whether two values of `Accept-Language` select the same variant in a language, by quality.
#[track_caller]
fn check_languages(content_language: &str, a: &str, b: &str, same: bool) {
    let response = [
        ("vary", "Accept-Language"),
        ("content-language", content_language),
    ];
    let vary = of_vary(&fields(&response), Languages::ByQuality).unwrap();
    let (a, b) = ([("accept-language", a)], [("accept-language", b)]);
    check_vary(&vary, &a, &b, same);
}

#[test]
fn an_absent_field_differs_from_an_empty_one() {
    check("foo", &[], &[("foo", "")], false);
    check("foo", &[], &[("bar", "x")], true);
    check("accept-encoding", &[], &[("accept-encoding", "")], false);
}

#[test]
fn whitespace_and_lines_do_not_select() {
    check("foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")], true);
    check(
        "foo",
        &[("foo", "1, 2")],
        &[("foo", "1"), ("foo", "2")],
        true,
    );
    check("foo", &[("foo", "1")], &[("foo", "2")], false);
    check("foo", &[("foo", "a b")], &[("foo", "ab")], false);
    check("foo", &[("foo", "A")], &[("foo", "a")], false);
    check("foo", &[("foo", "1,2")], &[("foo", "2,1")], false);
    check(
        "foo",
        &[("foo", "\"1,  2\"")],
        &[("foo", "\"1, 2\"")],
        false,
    );
}

#[test]
fn languages_select_by_order_and_not_by_case() {
    check(
        "accept-language",
        &[("accept-language", "en, de")],
        &[("accept-language", " eN ,   De")],
        true,
    );
    check(
        "accept-language",
        &[("accept-language", "en, de")],
        &[("accept-language", "de, en")],
        false,
    );
}

#[test]
fn by_quality_the_order_of_languages_does_not_select_and_their_weights_do() {
    for (a, b, same) in [
        ("en, de", "DE,en;q=1.0", true),
        ("en, de", "en, de;q=0.5", false),
        ("en;q=0.5, de", "en, de;q=0.5", false),
        ("en", "en, *;q=0", false),
        ("en, en;q=0", "en;q=0, en", false), // twice: as text
        ("en;x=1", "en;X=1", true),
        ("en_us", "en-us", false),
        ("", "*", false),
    ] {
        check_languages("", a, b, same);
    }
}

#[test]
fn by_quality_a_language_answers_all_who_prefer_nothing_to_it() {
    for (language, a, b, same) in [
        ("de", "en, de", "fr;q=0.5, de;q=1.0", true),
        ("De", "de", "de;q=0.1", true),
        ("de-AT", "de, fr;q=0.9", "de-at, de;q=0.3", true),
        ("de", "de", "en, de;q=0.9", false),
        ("de", "de", "de-AT", false),
        ("de", "de", "*", false),
        ("de", "de", "*, de;q=0.9", false),
        ("de", "de", "de;q=0", false),
        ("de-AT", "de", "de, de-AT;q=0.9", false),
        ("de", "deu", "de", false),
        ("de, en", "de", "de, fr;q=0.5", false),
        ("de", "fr", "es", false),
        ("de", "fr, es", "es, fr", true),
        ("de", "de", "!", false),
    ] {
        check_languages(language, a, b, same);
    }
}

#[test]
fn a_request_without_languages_is_not_one_that_prefers_some() {
    let vary = [Selector::Language(Some("de".into()))];
    check_vary(&vary, &[], &[("accept-language", "de")], false);
    check_vary(&vary, &[], &[("accept-language", "")], false);
}

#[test]
fn codings_select_by_their_weights_and_not_by_order() {
    let name = "accept-encoding";
    for (a, b, same) in [
        ("gzip, br", "br,gzip", true),
        ("gzip;q=1.0", "GZIP", true),
        ("x-gzip", "gzip", true),
        ("gzip;q=0.5", "gzip; Q=0.500", true),
        ("gzip;q=0", "gzip", false),
        ("gzip;q=0", "", false),
        ("gzip;q=0.5, br", "gzip, br", false),
        ("gzip", "gzip, unknown", false),
        ("gzip, gzip;q=0", "gzip;q=0", false),
        ("gzip;q=2", "gzip", false),
        ("gzip=1000,", "gzip", false),
        ("*", "", false),
        ("identity", "", false),
    ] {
        check(name, &[(name, a)], &[(name, b)], same);
    }
}

#[test]
fn cookies_select_byte_by_byte_however_they_are_crumbled() {
    check(
        "cookie",
        &[("cookie", "a=1; b=2")],
        &[("cookie", "a=1"), ("cookie", "b=2")],
        true,
    );
    check(
        "cookie",
        &[("cookie", "a=1, 2")],
        &[("cookie", "a=1,2")],
        false,
    );
}

#[test]
fn cookies_that_are_ignored_do_not_select() {
    let check = |a: &str, b: &str, same: bool| {
        let patterns = ["_ga*".to_owned(), "consent".to_owned()];
        let hash = |cookies: &str| {
            let lines: &[_] = if cookies.is_empty() {
                &[]
            } else {
                &[("cookie", cookies)]
            };
            let request = fields(lines);
            let selecting = SelectingFields::of(&request).without_cookies(&patterns);
            selecting.hash(&[Selector::Field(header::COOKIE)], &HASHER)
        };
        assert_eq!(hash(a) == hash(b), same, "{a} {b}");
    };
    check("", "_ga=1; _ga_x=2;consent=y", true);
    check("a=1", "_ga=1; a=1;consent", true);
    check("a=1; b=2", "a=1; _ga=1;  b=2;", true);
    check("a=1; b=2", "b=2; a=1", false);
    check("", "consents=1", false);
    check("a=_ga", "a=_gb", false);
}

#[test]
fn a_value_does_not_read_as_the_beginning_of_the_next_field() {
    let names = of_vary(&fields(&[("vary", "a, b")]), Languages::AsSent).unwrap();
    let values = ["", "x", "b", "1x", "xb1"];
    let mut seen = BTreeSet::new();
    for a in values {
        for b in values {
            let request = fields(&[("a", a), ("b", b)]);
            assert!(
                seen.insert(SelectingFields::of(&request).hash(&names, &HASHER)),
                "{a} {b}"
            );
        }
    }
}

proptest! {
    #[test]
    fn other_values_select_other_variants(a in "[a-c]{0,3}(,[a-c]{0,2}){0,3}", b in "[a-c]{0,3}(,[a-c]{0,2}){0,3}") {
        check("foo", &[("foo", &a)], &[("foo", &b)], a == b);
    }

    #[test]
    fn fields_that_do_not_select_do_not_matter(value in "[ -~]{0,20}") {
        check("foo", &[("foo", "1")], &[("foo", "1"), ("bar", &value)], true);
    }

    #[test]
    fn no_value_panics(value in prop::collection::vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff], 0..60)) {
        let value = http::HeaderValue::from_bytes(&value).unwrap();
        let names = [
            header::ACCEPT_ENCODING, header::ACCEPT_LANGUAGE, header::CONTENT_LANGUAGE, header::COOKIE, header::VARY,
        ];
        let map: HeaderMap = names.iter().map(|name| (name.clone(), value.clone())).collect();
        let by_quality = Selector::Language(language::of(&map));
        let vary: Vec<_> = names.into_iter().map(Selector::Field).chain([by_quality]).collect();
        SelectingFields::of(&map).hash(&vary, &HASHER);
        let _ = selectors(&map, &map, Languages::ByQuality, LiteSpeed::Obey);
    }

    #[test]
    fn the_order_of_codings_and_languages_never_selects_and_their_weights_always_do(
        members in prop::collection::btree_map("[a-z]{1,3}(-[a-z]{1,3})?", 0_u16..=1000, 1..6),
        other in 0_u16..=1000,
        turn: prop::sample::Index,
    ) {
        let print = |members: &[(&String, u16)]| {
            let member = |(name, weight): &(&String, u16)| format!("{name};q={}.{:03}", weight / 1000, weight % 1000);
            members.iter().map(member).collect::<Vec<_>>().join(", ")
        };
        let mut members: Vec<_> = members.iter().map(|(name, weight)| (name, *weight)).collect();
        let (first, was) = (print(&members), members[0].1);
        let by = turn.index(members.len());
        members.rotate_left(by);
        check_languages("", &first, &print(&members), true);
        check("accept-encoding", &[("accept-encoding", &first)], &[("accept-encoding", &print(&members))], true);
        members.rotate_right(by);
        members[0].1 = other;
        check_languages("", &first, &print(&members), was == other);
        check("accept-encoding", &[("accept-encoding", &first)], &[("accept-encoding", &print(&members))], was == other);
    }
}

/// The selectors of a response to those who know nothing of LiteSpeed.
fn of_vary(response: &HeaderMap, languages: Languages) -> Result<Box<[Selector]>, Reason> {
    selectors(response, &HeaderMap::new(), languages, LiteSpeed::Ignore)
}

#[test]
fn cookies_that_litespeed_varies_by_select_by_their_values_alone() {
    let withheld = fields(&[("x-litespeed-vary", "cookie=my_money")]);
    let vary = selectors(
        &HeaderMap::new(),
        &withheld,
        Languages::AsSent,
        LiteSpeed::Obey,
    )
    .unwrap();
    let names: Vec<_> = vary
        .iter()
        .map(|selector| selector.field().as_str())
        .collect();
    assert_eq!(names, ["cookie", "cookie"]);
    let hasher = KeyHasher::new([1; 16]);
    let ignored = vec!["ignored".to_owned()];
    let hash = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
        let map = fields(&lines);
        SelectingFields::of(&map)
            .without_cookies(&ignored)
            .hash(&vary, &hasher)
    };
    let guest = hash(&[]);
    assert_eq!(hash(&["PHPSESSID=1; other=2"]), guest);
    assert_eq!(hash(&["ignored=1"]), guest);
    let euro = hash(&["my_money=eur"]);
    assert_ne!(euro, guest);
    assert_eq!(hash(&["a=b; my_money=eur", "c=d"]), euro);
    assert_ne!(hash(&["my_money=usd"]), euro);
    let member = hash(&["_lscache_vary=x"]);
    assert!(member != guest && member != euro);
    assert_ne!(hash(&["_lscache_vary_shop=x"]), member);
    let both = hash(&["_lscache_vary=x; _lscache_vary_shop=y"]);
    assert_eq!(hash(&["_lscache_vary_shop=y", "_lscache_vary=x"]), both);
    // The first of two of one name counts.
    let first = hash(&["my_money=eur; my_money=usd"]);
    assert_ne!(hash(&["my_money=usd; my_money=eur"]), first);
    // What PHP takes for a cookie that selects is no guest's.
    for alias in [
        "my.money=usd",
        "my money=usd",
        "my[money=usd",
        "my_money[a]=usd",
        "my%5fmoney=usd",
        "my_m%6Fney%00=usd",
        "+my_money=usd",
        ".lscache_vary=x",
        "%20_lscache.vary.shop=x",
    ] {
        assert_ne!(hash(&[alias]), guest, "{alias}");
    }
    for other in [
        "my-money=usd",
        "mymoney=usd",
        "my_money_=usd",
        "my%5money=usd",
        "%=1",
        "=",
    ] {
        assert_eq!(hash(&[other]), guest, "{other}");
    }
    // What is said to a LiteSpeed server means nothing where the site does not say so.
    let plain = selectors(
        &HeaderMap::new(),
        &withheld,
        Languages::AsSent,
        LiteSpeed::Ignore,
    );
    assert!(plain.unwrap().is_empty());
}
