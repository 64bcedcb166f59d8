//! What unsafe requests invalidate, and what not.

use proptest::prelude::*;

use super::*;
use crate::semantics::testing::fields;

const TARGET: Target<'_> = Target {
    scheme: Scheme::Https,
    authority: "Example.test",
    path_and_query: "/a/b?q",
};

fn of(method: &str, status: u16, response: &[(&str, &str)]) -> Vec<String> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    invalidated(
        &method,
        StatusCode::from_u16(status).unwrap(),
        TARGET,
        &fields(response),
    )
}

#[test]
fn every_unsafe_or_unknown_method_invalidates_its_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO", "post"] {
        assert_eq!(of(method, 200, &[]), ["/a/b?q"]);
        assert_eq!(of(method, 303, &[]), ["/a/b?q"]);
        for failed in [103, 400, 404, 500, 599] {
            assert!(of(method, failed, &[]).is_empty());
        }
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND"] {
        assert!(of(method, 200, &[]).is_empty());
    }
}

/// The other URI that a Location invalidates, if any.
#[track_caller]
fn check(reference: &str, expected: Option<&str>) {
    let uris = of("POST", 201, &[("location", reference)]);
    assert_eq!(uris.get(1).map(String::as_str), expected, "{reference}");
    assert_eq!(
        uris,
        of(
            "POST",
            201,
            &[("content-location", reference), ("location", reference)]
        )
    );
}

#[test]
fn references_are_resolved_against_the_target() {
    check("c", Some("/a/c"));
    check("./c?x=1#f", Some("/a/c?x=1"));
    check("../c", Some("/c"));
    check("../../../c/", Some("/c/"));
    check(".", Some("/a/"));
    check("..", Some("/"));
    check("/c/./d/../e", Some("/c/e"));
    check("?x", Some("/a/b?x"));
    check("", None);
    check("#f", None);
    check("c/../d?..", Some("/a/d?.."));
}

#[test]
fn only_the_same_origin_is_invalidated() {
    check("https://example.test/c", Some("/c"));
    check("HTTPS://EXAMPLE.test:443/c", Some("/c"));
    check("https://example.test:/c", Some("/c"));
    check("https://example.test", Some("/"));
    check("https://example.test?x", Some("/?x"));
    check("//example.test/c", Some("/c"));
    for other in [
        "http://example.test/c",
        "https://example.test:8443/c",
        "https://example.test.evil/c",
        "https://evil@example.test/c",
        "https://example.test@evil/c",
        "https:///c",
        "https:c",
        "//other.test/c",
        "///c",
        "ftp://example.test/c",
        "mailto:a@example.test",
    ] {
        check(other, None);
    }
}

proptest! {
    #[test]
    fn no_reference_panics_and_all_uris_begin_with_a_slash(reference in "[ -~]{0,40}") {
        for uri in of("POST", 200, &[("location", &reference)]) {
            prop_assert!(uri.starts_with('/') && !uri.contains('#'));
        }
    }
}
