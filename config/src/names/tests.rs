//! Which names are names.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn check(text: &str, want: Option<&str>) {
    let got = HostName::parse(text);
    assert_eq!(
        got.as_ref().ok().map(HostName::as_str),
        want,
        "{text:?}: {got:?}"
    );
    assert_eq!(HostName::is_valid(text), want.is_some(), "{text:?}");
}

#[test]
fn dns_names_are_folded_and_lose_one_trailing_dot() {
    check("example.test", Some("example.test"));
    check("WWW.Example.TEST", Some("www.example.test"));
    check("example.test.", Some("example.test"));
    check("Example.test.", Some("example.test"));
    check("localhost", Some("localhost"));
    check("_acme.a-b.xn--p1ai", Some("_acme.a-b.xn--p1ai"));
    check("3com.1a", Some("3com.1a"));
}

#[test]
fn what_is_no_host_is_refused() {
    for text in [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a..",
        "a b",
        " a",
        "a ",
        "a:80",
        "user@a",
        "a/b",
        "a?b",
        "a#b",
        "a,b",
        "*",
        "*.a",
        "%61",
        "пример.рф",
        "a\u{212a}",
        "a\0",
        "a\r\n",
        "a\\b",
        "a;b",
        "a=b",
    ] {
        check(text, None);
    }
}

#[test]
fn lengths_are_bounded() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    check(&longest, Some(longest.as_str()));
    check(&format!("{longest}."), Some(longest.as_str()));
    check(&format!("{longest}a"), None);
    check(&format!("a{label}.test"), None);
}

#[test]
fn addresses_have_one_form() {
    check("192.0.2.1", Some("192.0.2.1"));
    check("192.0.2.1.", Some("192.0.2.1"));
    check("[2001:DB8:0:0::1]", Some("[2001:db8::1]"));
    check("[::ffff:192.0.2.1]", Some("[::ffff:192.0.2.1]"));
    for text in [
        "1",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.01",
        "1.2.3.4.5",
        "0x7f.1",
        "a.0x7F",
        "example.0x",
        "2001:db8::1",
        "[2001:db8::1",
        "[::1]:80",
        "[]",
        "[192.0.2.1]",
        "[fe80::1%eth0]",
        "[::1].",
        "[::1]]",
    ] {
        check(text, None);
    }
}

#[test]
fn the_parent_of_a_name_is_where_its_wildcard_is_found() {
    let check = |host: &str, want: Option<&str>| assert_eq!(HostName::parent(host), want, "{host}");
    check("www.example.test", Some("example.test"));
    check("localhost", None);
    check("192.0.2.1", None);
    check("[2001:db8::1]", None);
    check("[::ffff:192.0.2.1]", None);
}

#[test]
fn a_map_by_host_is_asked_with_text() {
    let map = HashMap::from([(HostName::parse("Example.test").expect("a name"), 1)]);
    assert_eq!(map.get("example.test"), Some(&1));
}

#[test]
fn ids_have_a_small_alphabet() {
    let check = |text: &str, want: bool| {
        assert_eq!(SiteId::parse(text).is_ok(), want, "{text:?}");
        assert_eq!(ClusterId::parse(text).is_ok(), want, "{text:?}");
    };
    check("s-4711", true);
    check("A.b_c-9", true);
    check(&"a".repeat(64), true);
    for text in [
        "",
        ".",
        "..",
        ".a",
        "a/b",
        "a b",
        "ä",
        "a\0",
        &"a".repeat(65),
    ] {
        check(text, false);
    }
}

#[test]
fn a_node_is_called_by_a_token() {
    assert!(check_token("edge1.dc-2").is_ok());
    for text in ["", "a b", "a;b", "a\"b", "é", "a,b", &"a".repeat(65)] {
        assert!(check_token(text).is_err(), "{text:?}");
    }
}

#[test]
fn there_are_two_sides() {
    assert_eq!(Side::A.other(), Side::B);
    assert_eq!(Side::parse("b"), Some(Side::B));
    assert_eq!(Side::parse("c"), None);
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = (HostName::parse(&text), SiteId::parse(&text), check_token(&text));
    }

    #[test]
    fn a_parsed_host_parses_to_itself(text in "[A-Za-z0-9_-]{1,8}(\\.[A-Za-z0-9_-]{1,8}){0,4}\\.?") {
        if let Ok(host) = HostName::parse(&text) {
            prop_assert_eq!(HostName::parse(host.as_str()), Ok(host.clone()));
            prop_assert_eq!(HostName::parse(&format!("{}.", host.as_str().to_ascii_uppercase())), Ok(host));
        }
    }

    #[test]
    fn every_ipv6_address_round_trips(bits in any::<u128>()) {
        let text = format!("[{}]", Ipv6Addr::from_bits(bits));
        let host = HostName::parse(&text);
        prop_assert_eq!(host.as_ref().map(HostName::as_str), Ok(text.as_str()));
    }

    #[test]
    fn every_ipv4_address_round_trips(bits in any::<u32>()) {
        let text = Ipv4Addr::from_bits(bits).to_string();
        let host = HostName::parse(&text);
        prop_assert_eq!(host.as_ref().map(HostName::as_str), Ok(text.as_str()));
        prop_assert!(host.is_ok_and(|host| host.is_ip()));
    }

    #[test]
    fn ids_are_kept_as_written(text in "[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}") {
        prop_assert_eq!(SiteId::parse(&text).map(|id| id.to_string()), Ok(text));
    }
}

/// A pattern without its anchors, for generating.
fn inside(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').expect("anchored");
    pattern.strip_suffix('$').expect("anchored")
}

#[test]
fn what_the_described_grammar_makes_is_taken() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut check = |pattern: &str, is_taken: fn(&str) -> bool| {
        let texts = proptest::string::string_regex(inside(pattern)).expect("a pattern");
        let taken = runner.run(&texts, |text| {
            prop_assert!(is_taken(&text), "{text:?}");
            Ok(())
        });
        taken.expect(pattern);
    };
    check(ID_PATTERN, |text| SiteId::parse(text).is_ok());
    let short = |pattern: &str| pattern.replace("[0-9]+", "[0-9]{1,6}");
    let duration = short(crate::units::DURATION_PATTERN).replace("|d", "");
    check(&duration, |text| crate::units::duration(text).is_ok());
    let size = short(crate::units::SIZE_PATTERN);
    check(&size, |text| crate::units::size(text).is_ok());
}
