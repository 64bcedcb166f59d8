//! HTTP/2 heads, as the HTTP/2 library hands them over.

use http::request::Parts;

use super::*;
use crate::message::{Framing, Protocol};

/// URIs and fields (`name: value`) that break a rule, of a GET with content to come.
pub(super) const REFUSED: &[((&str, &[&str]), Rule)] = &[
    (("http://a.test/", &[]), Rule::TargetScheme),
    (("https://a.test/{a}", &[]), Rule::TargetByte),
    (("https://a.test/%zz", &[]), Rule::TargetPercent),
    (("https://a.test/é", &[]), Rule::TargetByte),
    (("https://u@a.test/", &[]), Rule::HostInvalid),
    (("https://a.test/", &["host: b.test"]), Rule::HostMismatch),
    (
        ("https://a.test/", &["host: a.test:444"]),
        Rule::HostMismatch,
    ),
    (
        ("https://a.test/", &["host: a.test", "host: a.test"]),
        Rule::HostRepeated,
    ),
    (
        ("https://a.test/", &["host: a.test,b.test"]),
        Rule::HostInvalid,
    ),
    (
        ("https://a.test/", &["connection: close"]),
        Rule::ConnectionSpecific,
    ),
    (
        ("https://a.test/", &["keep-alive: 5"]),
        Rule::ConnectionSpecific,
    ),
    (
        ("https://a.test/", &["proxy-connection: close"]),
        Rule::ConnectionSpecific,
    ),
    (
        ("https://a.test/", &["upgrade: websocket"]),
        Rule::ConnectionSpecific,
    ),
    (
        ("https://a.test/", &["transfer-encoding: chunked"]),
        Rule::ConnectionSpecific,
    ),
    (("https://a.test/", &["te: gzip"]), Rule::ConnectionSpecific),
    (
        ("https://a.test/", &["te: trailers, gzip"]),
        Rule::ConnectionSpecific,
    ),
    (("https://a.test/", &["a:  b"]), Rule::FieldValue),
    (
        ("https://a.test/", &["content-length: +5"]),
        Rule::ContentLength,
    ),
    (
        (
            "https://a.test/",
            &["content-length: 5", "content-length: 5"],
        ),
        Rule::ContentLengthRepeated,
    ),
    (("https://a.test/", &["expect: x"]), Rule::Expectation),
    // The stream ends with the head; see `head`.
    (
        ("https://a.test/end", &["content-length: 5"]),
        Rule::ContentLengthMismatch,
    ),
];

/// A head; its stream ends where the path is `/end`.
fn head(method: &str, uri: &str, fields: &[&str]) -> (Parts, bool) {
    let mut builder = http::Request::builder().method(method).uri(uri);
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap();
        builder = builder.header(name, value);
    }
    let parts = builder.body(()).unwrap().into_parts().0;
    let ended = parts.uri.path() == "/end";
    (parts, ended)
}

fn read(method: &str, uri: &str, fields: &[&str]) -> Result<Request, Rule> {
    let (parts, ended) = head(method, uri, fields);
    let checked = check_http2(&parts, ended, Scheme::Https, &Limits::default());
    checked.map_err(|refusal| refusal.rule)
}

#[test]
fn bad_heads_are_refused() {
    for ((uri, fields), rule) in REFUSED {
        match read("GET", uri, fields) {
            Ok(request) => panic!("{uri} {fields:?}: {request:?}"),
            Err(actual) => assert_eq!(actual, *rule, "{uri} {fields:?}"),
        }
    }
    let refused = |method, uri| read(method, uri, &[]).map(|_| ());
    assert_eq!(refused("CONNECT", "a.test:443"), Err(Rule::MethodConnect));
    assert_eq!(refused("TRACE", "https://a.test/"), Err(Rule::MethodTrace));
    assert_eq!(refused("GET", "*"), Err(Rule::TargetForm));
    assert_eq!(refused("GET", "/"), Err(Rule::HostMissing));
}

#[test]
fn a_plain_head_becomes_a_request() {
    let fields = [
        "cookie: a=b",
        "user-agent: x",
        "te: trailers",
        "x_y: z",
        "cookie: c=d",
        "proxy: evil",
        "cookie: e=f",
    ];
    let request = read("GET", "https://A.test.:444/p?q[]={}", &fields).unwrap();
    assert_eq!(request.protocol, Protocol::Http2);
    assert_eq!((request.host.as_str(), request.port), ("a.test", Some(444)));
    assert_eq!(&request.path_and_query[..], b"/p?q[]={}");
    assert_eq!(request.fields.len(), 2);
    assert_eq!(request.fields["cookie"], "a=b; c=d; e=f");
    assert_eq!(request.content, Framing::Unknown);
    assert_eq!(request.upgrade, None);
}

#[test]
fn the_host_may_stand_in_either_place() {
    let check = |uri: &str, fields: &[&str], port| {
        let (parts, ended) = head("GET", uri, fields);
        let request = check_http2(&parts, ended, Scheme::Https, &Limits::default()).unwrap();
        assert_eq!((request.host.as_str(), request.port), ("a.test", port));
    };
    check("https://a.test/", &["host: a.test"], None);
    check("https://a.test/", &["host: A.test.:443"], None);
    check("https://a.test:443/", &["host: a.test"], Some(443));
    check("/", &["host: a.test"], None);
}

#[test]
fn content_is_framed_by_the_stream() {
    let check = |path: &str, fields: &[&str], framing| {
        let uri = format!("https://a.test{path}");
        assert_eq!(read("POST", &uri, fields).unwrap().content, framing);
    };
    check("/end", &[], Framing::None);
    check("/end", &["content-length: 0"], Framing::None);
    check("/", &[], Framing::Unknown);
    check("/", &["content-length: 5"], Framing::Length(5));
}

#[test]
fn limits_count_as_the_protocol_does() {
    let limits = Limits {
        head_bytes: 80,
        head_fields: 2,
        request_line_bytes: 5,
        ..Limits::default()
    };
    let check = |uri: &str, fields: &[&str], expected: Result<(), Rule>| {
        let (parts, ended) = head("GET", uri, fields);
        let checked = check_http2(&parts, ended, Scheme::Https, &limits);
        assert_eq!(
            checked.map(|_| ()).map_err(|refusal| refusal.rule),
            expected
        );
    };
    check("https://a.test/2345", &[], Ok(()));
    check("https://a.test/23456", &[], Err(Rule::RequestLineBytes));
    check("https://a.test/", &["a: 2345678", "b: 2345678"], Ok(()));
    check(
        "https://a.test/",
        &["a: 2345678", "b: 23456789"],
        Err(Rule::HeadBytes),
    );
    let limits = Limits {
        head_bytes: 800,
        ..limits
    };
    let (parts, ended) = head("GET", "https://a.test/", &["a: 1", "b: 2", "c: 3"]);
    let checked = check_http2(&parts, ended, Scheme::Https, &limits);
    assert_eq!(checked.unwrap_err().rule, Rule::HeadFields);
}
