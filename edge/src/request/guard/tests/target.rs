//! Targets and hosts.

use bytes::Bytes;
use http::Method;
use http::uri::PathAndQuery;

use super::*;
use crate::request::guard::target::check;

/// Heads with bad targets.
pub(super) const REFUSED: &[Refused] = &[
    // No form, or the wrong one for the method.
    (b"GET a HTTP/1.1\r\nHost: a.test\r\n\r\n", Rule::TargetForm),
    (b"GET ?a HTTP/1.1\r\nHost: a.test\r\n\r\n", Rule::TargetForm),
    (b"GET * HTTP/1.1\r\nHost: a.test\r\n\r\n", Rule::TargetForm),
    (
        b"OPTIONS ** HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetForm,
    ),
    (
        b"OPTIONS *?a HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetForm,
    ),
    (
        b"GET a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetForm,
    ),
    (
        b"GET @evil.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetForm,
    ),
    (
        b"GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetForm,
    ),
    (
        b"GET file:///etc HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetForm,
    ),
    (
        b"GET http:/a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetForm,
    ),
    (
        b"GET http:a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetForm,
    ),
    (
        b"GET \\a HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetForm,
    ),
    // Bytes.
    (
        b"GET /a\x00b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetByte,
    ),
    (
        b"GET /a\tb HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetByte,
    ),
    (
        b"GET /a\x7f HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetByte,
    ),
    (
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetByte,
    ),
    (
        b"GET /?\xff HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetByte,
    ),
    (
        b"GET /a\\b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetByte,
    ),
    (
        b"GET /\"a\" HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetByte,
    ),
    (
        b"GET /<a> HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetByte,
    ),
    (
        b"GET /{a} HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetByte,
    ),
    (
        b"GET /?<a> HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetByte,
    ),
    (
        b"GET /?\"a\" HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetByte,
    ),
    (
        b"GET /#a HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetFragment,
    ),
    (
        b"GET /?a#b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetFragment,
    ),
    (
        b"GET http://a.test#b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetFragment,
    ),
    (
        b"GET /% HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetPercent,
    ),
    (
        b"GET /%4 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetPercent,
    ),
    (
        b"GET /%zz HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetPercent,
    ),
    (
        b"GET /%4?1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetPercent,
    ),
    (
        b"GET /%%34 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetPercent,
    ),
    (
        b"GET /a%00.php HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetPercent,
    ),
    // Absolute.
    (
        b"GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::TargetScheme,
    ),
    (
        b"GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::HostMismatch,
    ),
    (
        b"GET http://a.test:81/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::HostMismatch,
    ),
    (b"GET http://a.test/ HTTP/1.1\r\n\r\n", Rule::HostMissing),
    (
        b"GET http://a.test/ HTTP/1.1\r\nHost: a b\r\n\r\n",
        Rule::HostInvalid,
    ),
    (
        b"GET http:///a HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::HostInvalid,
    ),
    (
        b"GET http://u@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::HostInvalid,
    ),
    (
        b"GET http://u:p@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::HostPort,
    ),
    (
        b"GET http://a.test:/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Rule::HostPort,
    ),
];

/// Heads with bad hosts.
pub(super) const REFUSED_HOSTS: &[Refused] = &[
    (b"GET / HTTP/1.1\r\n\r\n", Rule::HostMissing),
    (b"GET / HTTP/1.1\r\nA: b\r\n\r\n", Rule::HostMissing),
    (b"GET / HTTP/1.0\r\n\r\n", Rule::HostMissing),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        Rule::HostRepeated,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nA: b\r\nhOST: b.test\r\n\r\n",
        Rule::HostRepeated,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: \r\nHost: b.test\r\n\r\n",
        Rule::HostRepeated,
    ),
];

/// Values of `Host` that are none.
const BAD_HOSTS: &[(&str, Rule)] = &[
    ("", Rule::HostInvalid),
    (" ", Rule::HostInvalid),
    (".", Rule::HostInvalid),
    ("a..test", Rule::HostInvalid),
    ("a.test..", Rule::HostInvalid),
    (".a.test", Rule::HostInvalid),
    ("a.test,b.test", Rule::HostInvalid),
    ("a.test, b.test", Rule::HostInvalid),
    ("a.test b.test", Rule::HostInvalid),
    ("a.test\tb.test", Rule::HostInvalid),
    ("a.test/", Rule::HostInvalid),
    ("a.test/b", Rule::HostInvalid),
    ("a.test?b", Rule::HostInvalid),
    ("a.test#b", Rule::HostInvalid),
    ("a.test\\b", Rule::HostInvalid),
    ("user@a.test", Rule::HostInvalid),
    ("user:secret@a.test", Rule::HostPort),
    ("http://a.test", Rule::HostPort),
    ("a%2etest", Rule::HostInvalid),
    ("bücher.test", Rule::HostInvalid),
    ("*.a.test", Rule::HostInvalid),
    ("a.test;b", Rule::HostInvalid),
    ("\"a.test\"", Rule::HostInvalid),
    ("a'b.test", Rule::HostInvalid),
    ("<a>.test", Rule::HostInvalid),
    ("a.test:", Rule::HostPort),
    ("a.test:x", Rule::HostPort),
    ("a.test:-1", Rule::HostPort),
    ("a.test:+80", Rule::HostPort),
    ("a.test: 80", Rule::HostPort),
    ("a.test:80 ,", Rule::HostPort),
    ("a.test:0", Rule::HostPort),
    ("a.test:65536", Rule::HostPort),
    ("a.test:000080", Rule::HostPort),
    ("a.test:80:80", Rule::HostPort),
    ("a.test:80/", Rule::HostPort),
    ("a.test:80@b.test", Rule::HostPort),
    (":80", Rule::HostInvalid),
    ("2001:db8::1", Rule::HostInvalid),
    ("[2001:db8::1", Rule::HostInvalid),
    ("[2001:db8::g]", Rule::HostInvalid),
    ("[2001:db8::1]80", Rule::HostInvalid),
    ("[2001:db8::1]:", Rule::HostPort),
    ("[fe80::1%25eth0]", Rule::HostInvalid),
    ("[v1.a]", Rule::HostInvalid),
    ("[]", Rule::HostInvalid),
    ("[a.test]", Rule::HostInvalid),
    ("1.2.3", Rule::HostInvalid),
    ("256.1.1.1", Rule::HostInvalid),
    ("0x7f.1", Rule::HostInvalid),
];

#[test]
fn bad_targets_are_refused() {
    for (head, rule) in REFUSED {
        check_refused(head, *rule);
    }
}

#[test]
fn bad_hosts_are_refused() {
    for (head, rule) in REFUSED_HOSTS {
        check_refused(head, *rule);
    }
    for (host, rule) in BAD_HOSTS {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        check_refused(head.as_bytes(), *rule);
    }
    let long = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a.".repeat(127) + "a");
    check_refused(long.as_bytes(), Rule::HostInvalid);
}

#[test]
fn hosts_are_folded_to_one_spelling() {
    let check = |host: &str, expected: &str, port: Option<u16>| {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let request = read(head.as_bytes()).unwrap().request;
        assert_eq!((request.host.as_str(), request.port), (expected, port));
    };
    check("a.test", "a.test", None);
    check(" \ta.test \t", "a.test", None);
    check("A.Test", "a.test", None);
    check("a.test.", "a.test", None);
    check("A.TEST.:8080", "a.test", Some(8080));
    check("a.test:80", "a.test", Some(80));
    check("a.test:00080", "a.test", Some(80));
    check("a.test:65535", "a.test", Some(65535));
    check("localhost", "localhost", None);
    check("a_b.test", "a_b.test", None);
    check("xn--bcher-kva.test", "xn--bcher-kva.test", None);
    check("192.0.2.1:81", "192.0.2.1", Some(81));
    check("[2001:DB8::1]", "[2001:db8::1]", None);
    check("[2001:db8:0::1]:443", "[2001:db8::1]", Some(443));
}

#[test]
fn targets_stay_as_they_were_sent() {
    let check = |target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let request = read(head.as_bytes()).unwrap().request;
        assert_eq!(&request.path_and_query[..], target.as_bytes());
        // What is handed on through `http` types stays the same there too.
        let uri = PathAndQuery::from_maybe_shared(request.path_and_query).unwrap();
        assert_eq!(uri.as_str(), target);
    };
    for target in [
        "/",
        "//",
        "//evil.test/a",
        "/a/../b/./c//d",
        "/?",
        "/??",
        "/?a/b?c",
        "/-._~!$&'()*+,;=:@/",
        "/%20%C3%A9%2F%2e%252e",
        "/a[1]|b^c",
        "/?a[]=1&b={x}|`y`\\^~",
        "/?off=50%&x=%zz&y=%00",
        "/*",
        "/http://a.test/",
        "/a;b=c,d",
    ] {
        check(target);
    }
}

#[test]
fn absolute_targets_lose_their_authority() {
    let check = |line: &str, host: &str, path: &str, named: (&str, Option<u16>)| {
        let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let request = read(head.as_bytes()).unwrap().request;
        assert_eq!(&request.path_and_query[..], path.as_bytes(), "{line}");
        assert_eq!((request.host.as_str(), request.port), named, "{line}");
    };
    check("GET http://a.test/b?c", "a.test", "/b?c", ("a.test", None));
    check("GET HTTP://A.test/b", "a.TEST.", "/b", ("a.test", None));
    check("GET http://a.test", "a.test", "/", ("a.test", None));
    check("GET http://a.test?b", "a.test", "/?b", ("a.test", None));
    check("GET http://a.test:80/", "a.test", "/", ("a.test", Some(80)));
    check("GET http://a.test/", "a.test:80", "/", ("a.test", None));
    check(
        "GET http://a.test:81/",
        "a.test:81",
        "/",
        ("a.test", Some(81)),
    );
    check(
        "GET http://[::1]:81/",
        "[0::1]:81",
        "/",
        ("[::1]", Some(81)),
    );
    check("OPTIONS http://a.test", "a.test", "*", ("a.test", None));
    check("OPTIONS http://a.test/", "a.test", "/", ("a.test", None));
    check("OPTIONS *", "a.test", "*", ("a.test", None));
}

#[test]
fn the_scheme_of_a_target_is_that_of_the_connection() {
    let over_https = |line: &str| {
        let head = format!("{line} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let parsed = read_over(head.as_bytes(), Scheme::Https);
        parsed.map(|accepted| accepted.request.scheme)
    };
    assert_eq!(over_https("GET /"), Ok(Scheme::Https));
    assert_eq!(over_https("GET https://a.test/"), Ok(Scheme::Https));
    assert_eq!(over_https("GET https://a.test:443/"), Ok(Scheme::Https));
    assert_eq!(over_https("GET http://a.test/"), Err(Rule::TargetScheme));
    assert_eq!(
        over_https("GET https://a.test:80/"),
        Err(Rule::HostMismatch)
    );
}

#[test]
fn http_1_0_may_name_its_host_in_the_target() {
    let request = read(b"GET http://a.test/b HTTP/1.0\r\n\r\n")
        .unwrap()
        .request;
    assert_eq!(request.host.as_str(), "a.test");
    let request = read(b"GET /b HTTP/1.0\r\nHost: a.test\r\n\r\n")
        .unwrap()
        .request;
    assert_eq!(request.host.as_str(), "a.test");
}

#[test]
fn every_byte_has_its_place_in_paths_and_queries() {
    let in_path = b"!$%&'()*+,-./:;=@[]^_|~";
    let in_query = b"!$%&'()*+,-./:;=?@[\\]^_`{|}~";
    for byte in 0..=255_u8 {
        let letter = byte.is_ascii_alphanumeric();
        // With digits behind, so that `%` is well-formed; `?` begins a query.
        let path = [b"/".as_slice(), &[byte], b"41"].concat();
        let expected = letter || in_path.contains(&byte) || byte == b'?';
        assert_eq!(check(&path).is_ok(), expected, "path, {byte:#04x}");
        let query = [b"/?".as_slice(), &[byte]].concat();
        let expected = letter || in_query.contains(&byte);
        assert_eq!(check(&query).is_ok(), expected, "query, {byte:#04x}");
    }
}

#[test]
fn a_lower_case_host_and_the_path_are_slices_of_the_head() {
    let head = Bytes::from_static(b"GET /path HTTP/1.1\r\nHost: a.test\r\nA: value\r\n\r\n");
    let whole = head.as_ptr_range();
    let request = parse_http1(head, Scheme::Http, &Limits::default())
        .unwrap()
        .request;
    assert_eq!(request.method, Method::GET);
    assert!(whole.contains(&request.path_and_query.as_ptr()));
    assert!(whole.contains(&request.host.as_str().as_ptr()));
    assert!(whole.contains(&request.fields["a"].as_bytes().as_ptr()));
}
