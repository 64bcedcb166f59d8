//! The request that a side sees: composed by us, field by field.
//!
//! Pure; called by `fetch` and by `framework::phases` right before a request is sent. Takes the client's end-to-end fields as the guard
//! left them and replaces whatever speaks for the edge: a client cannot forge its address, its scheme or an epoch (RFC 9110 §7.6.3,
//! RFC 7239 is not sent). Knows nothing of connections; framing and the hop-by-hop fields of our own connection are added here last.

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use jet9_cache::Scheme;
use jet9_cache::semantics::cookies;
use jet9_cluster::Epoch;
use jet9_config::site::{OriginHost, Site};

use crate::message::{Framing, Protocol, Request, Upgrade};
use crate::origin::guard;
use crate::request::key;

/// Tells an application that a cache listens to what it says to LiteSpeed servers.
const LSCACHE: HeaderName = HeaderName::from_static("x-lscache");

/// The head that a side gets.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Path and query as the client sent them; to the store's fetches without the parameters that the site ignores.
    pub path_and_query: Bytes,
    /// All fields, `Host` first, framing and connection fields included.
    pub fields: HeaderMap,
}

/// What is known beside the request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// `node.id`, for `Via`.
    pub edge: &'a str,
    /// The epoch under which it is sent.
    pub epoch: Epoch,
    /// The exchange's id.
    pub request_id: &'a str,
    /// Where the client is; `None` for a fetch of our own.
    pub client: Option<IpAddr>,
    /// The port that the client reached us on: the only one that its Host may name towards the side.
    pub port: Option<u16>,
}

/// What the answer is for.
#[derive(Clone, Copy, Debug)]
pub enum For<'a> {
    /// This client alone: its conditions and ranges go with it.
    Client,
    /// The store: a whole representation, or the confirmation of one that has these validators.
    Store {
        /// The conditional fields of our own (RFC 9111 §4.3.1).
        conditional: &'a HeaderMap,
        /// Patterns of the cookies that stay behind (`cache.key.ignore_cookies`).
        ignored_cookies: &'a [String],
    },
}

/// Composes the head of a request that a site's side will get.
pub fn compose(request: &Request, site: &Site, facts: &Facts<'_>, purpose: For<'_>) -> Outgoing {
    let asked_host = named_host(request, facts);
    let mut fields = HeaderMap::with_capacity(request.fields.len() + 10);
    let host = origin_host(site, &request.path_and_query).unwrap_or(&asked_host);
    put(&mut fields, header::HOST, host);
    copy_end_to_end(&mut fields, &request.fields, purpose);
    speak_for_the_edge(&mut fields, request, facts, &asked_host);
    if site.cache.litespeed {
        put(&mut fields, LSCACHE, "on");
    }
    match purpose {
        For::Client => frame(&mut fields, request),
        For::Store { conditional, .. } => fields.extend(conditional.clone()),
    }
    Outgoing {
        method: method(request, purpose),
        path_and_query: target(request, site, purpose),
        fields,
    }
}

impl Outgoing {
    /// The head as HTTP/1.1 bytes, the empty line included.
    pub fn to_http1(&self) -> BytesMut {
        let size: usize = self
            .fields
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        let mut head = BytesMut::with_capacity(size + self.path_and_query.len() + 32);
        head.put_slice(self.method.as_str().as_bytes());
        head.put_u8(b' ');
        head.put_slice(&self.path_and_query);
        head.put_slice(b" HTTP/1.1\r\n");
        for (name, value) in &self.fields {
            head.put_slice(name.as_str().as_bytes());
            head.put_slice(b": ");
            head.put_slice(value.as_bytes());
            head.put_slice(b"\r\n");
        }
        head.put_slice(b"\r\n");
        head
    }
}

/// The store is filled by `GET` for `HEAD` too: one fetch answers both.
fn method(request: &Request, purpose: For<'_>) -> Method {
    match purpose {
        For::Store { .. } if request.method == Method::HEAD => Method::GET,
        _ => request.method.clone(),
    }
}

/// What the key does not tell apart must not be in what is stored under it: a side could write it into the page.
fn target(request: &Request, site: &Site, purpose: For<'_>) -> Bytes {
    match purpose {
        For::Client => request.path_and_query.clone(),
        For::Store { .. } => key::without_ignored(&site.cache.key, &request.path_and_query),
    }
}

/// The host that the client named, with its port only if that is where it reached us and the scheme does not say it already. Any other port
/// is the client's invention, and so is a default one that is spelled out: sides write it into links or redirect to the name without it,
/// and keys do not know ports, so that everybody would get that from the store.
fn named_host(request: &Request, facts: &Facts<'_>) -> String {
    let host = request.host.as_str();
    let is_told = |port: &u16| facts.port == Some(*port) && *port != default_port(request.scheme);
    match request.port.filter(is_told) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

const fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// The Host that the site wants its side to see: the first matching route's, else the origin's; `None`: the client's own.
fn origin_host<'a>(site: &'a Site, path_and_query: &[u8]) -> Option<&'a str> {
    let path = path_and_query.split(|byte| *byte == b'?').next();
    let route = path
        .and_then(|path| std::str::from_utf8(path).ok())
        .and_then(|path| site.route(path));
    if let Some(host) = route.and_then(|(_, route)| route.host.as_ref()) {
        return Some(host.as_str());
    }
    match &site.origin.host {
        OriginHost::Preserve => None,
        OriginHost::Fixed(host) => Some(host.as_str()),
    }
}

fn copy_end_to_end(fields: &mut HeaderMap, asked: &HeaderMap, purpose: For<'_>) {
    let for_store = matches!(purpose, For::Store { .. });
    let kept = match purpose {
        For::Store {
            ignored_cookies, ..
        } => without_cookies(asked, ignored_cookies),
        For::Client => None,
    };
    for (name, value) in asked {
        let left_out = is_reserved(name)
            || (for_store && is_for_one_client(name))
            || (kept.is_some() && *name == header::COOKIE);
        if !left_out {
            fields.append(name, value.clone());
        }
    }
    if let Some(Ok(value)) = kept.flatten().map(HeaderValue::try_from) {
        fields.insert(header::COOKIE, value);
    }
}

/// What remains of the cookies, if anything, where some of them stay behind; `None`: they go as they came.
fn without_cookies(asked: &HeaderMap, ignored: &[String]) -> Option<Option<Vec<u8>>> {
    cookies::has_ignored(asked, ignored).then(|| cookies::kept(asked, ignored))
}

/// Whether a side that gets a request as its client sent it learns no more from it than from a fetch for the store, conditions and ranges
/// apart. Else its answer says nothing about what is stored: others would get what no key tells apart.
pub fn is_as_for_store(request: &Request, site: &Site, ignored_cookies: &[String]) -> bool {
    let target = &request.path_and_query;
    key::without_ignored(&site.cache.key, target) == *target
        && !request.fields.keys().any(is_method_override)
        && !cookies::has_ignored(&request.fields, ignored_cookies)
}

/// Fields that only we may set, and those that would be taken for them: a CGI environment cannot tell `_` from `-`.
///
/// `Proxy` would become `HTTP_PROXY` there. `Forwarded` (RFC 7239) we do not speak, so a client's own must not pass for ours. The other names
/// are what application servers and frameworks take for the client's address, or for the host, the scheme or the target in place of those
/// of the request: only a proxy in front of them may say that, and no key knows what a client says there.
fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    name.starts_with("x-forwarded-")
        || name.starts_with("jet9-")
        || matches!(
            name.as_str(),
            "x-real-ip"
                | "client-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "forwarded"
                | "x-forwarded"
                | "x-host"
                | "x-original-host"
                | "x-http-host-override"
                | "x-original-url"
                | "x-rewrite-url"
                | "x-scheme"
                | "x-url-scheme"
                | "front-end-https"
                | "proxy"
                | "x-lscache"
                | "x-request-id"
                | "host"
                | "content-length"
                | "transfer-encoding"
                | "expect"
        )
}

/// Whether a field asks for something else than what is stored under the target.
pub fn is_for_one_client(name: &HeaderName) -> bool {
    is_about_part(name) || is_method_override(name)
}

/// Conditions and ranges (RFC 9110 §13.1, §14.2) ask for less than the whole representation.
pub fn is_about_part(name: &HeaderName) -> bool {
    [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
    ]
    .contains(name)
}

/// Names another method to frameworks that look at it. What is stored is the answer to a GET.
fn is_method_override(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "x-http-method-override" | "x-http-method" | "x-method-override"
    )
}

fn speak_for_the_edge(
    fields: &mut HeaderMap,
    request: &Request,
    facts: &Facts<'_>,
    asked_host: &str,
) {
    if let Some(ip) = facts.client {
        let ip = ip.to_canonical().to_string();
        put(fields, HeaderName::from_static("x-forwarded-for"), &ip);
        put(fields, HeaderName::from_static("x-real-ip"), &ip);
    }
    put(
        fields,
        HeaderName::from_static("x-forwarded-proto"),
        request.scheme.as_str(),
    );
    put(
        fields,
        HeaderName::from_static("x-forwarded-host"),
        asked_host,
    );
    put(
        fields,
        HeaderName::from_static("x-request-id"),
        facts.request_id,
    );
    fields.insert(guard::EPOCH, HeaderValue::from(facts.epoch.0));
    append(fields, header::VIA, &via(request.protocol, facts.edge));
}

/// Our member of `Via` (RFC 9110 §7.6.3): the protocol of the message that we received, and who we are.
pub fn via(received: Protocol, edge: &str) -> String {
    let version = match received {
        Protocol::Http10 => "1.0",
        Protocol::Http11 => "1.1",
        Protocol::Http2 => "2.0",
    };
    format!("{version} {edge}")
}

/// Framing, as we will write the content; and what the two ends of a connection agree on hop by hop.
fn frame(fields: &mut HeaderMap, request: &Request) {
    match request.content {
        Framing::Length(length) => {
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        Framing::Unknown => put(fields, header::TRANSFER_ENCODING, "chunked"),
        Framing::None if expects_content(&request.method) => {
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        }
        Framing::None => {}
    }
    if request.expects_continue {
        put(fields, header::EXPECT, "100-continue");
    }
    if let Some(Upgrade::WebSocket) = request.upgrade {
        put(fields, header::CONNECTION, "Upgrade");
        put(fields, header::UPGRADE, "websocket");
    }
}

/// Methods whose content has a meaning: its absence is said (RFC 9110 §8.6).
fn expects_content(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

/// Sets a field whose text is ours or was checked by the guard; what is no field value after all is left out.
fn put(fields: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        fields.insert(name, value);
    }
}

fn append(fields: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        fields.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use jet9_cache::Scheme;
    use jet9_config::HostName;

    use super::*;
    use crate::message::Host;
    use crate::origin::testing;

    fn request(method: Method, fields: &[(&'static str, &'static str)]) -> Request {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        Request {
            method,
            protocol: Protocol::Http11,
            scheme: Scheme::Https,
            host: Host::from_checked(Bytes::from_static(b"example.test")),
            port: None,
            path_and_query: Bytes::from_static(b"/a?b=c"),
            fields: map,
            content: Framing::None,
            upgrade: None,
            expects_continue: false,
        }
    }

    fn facts() -> Facts<'static> {
        Facts {
            edge: "edge-1",
            epoch: Epoch(42),
            request_id: "r-1",
            client: Some("203.0.113.7".parse().unwrap()),
            port: Some(8080),
        }
    }

    fn lines(outgoing: &Outgoing) -> Vec<String> {
        let text = String::from_utf8(outgoing.to_http1().to_vec()).unwrap();
        let head = text.strip_suffix("\r\n\r\n").unwrap();
        let mut lines: Vec<_> = head.split("\r\n").map(str::to_owned).collect();
        lines[2..].sort();
        lines
    }

    const OURS: &[&str] = &[
        "jet9-epoch: 42",
        "via: 1.1 edge-1",
        "x-forwarded-for: 203.0.113.7",
        "x-forwarded-host: example.test",
        "x-forwarded-proto: https",
        "x-real-ip: 203.0.113.7",
        "x-request-id: r-1",
    ];

    fn check(request: &Request, purpose: For<'_>, first: &str, host: &str, beside_ours: &[&str]) {
        let outgoing = compose(request, &testing::site(), &facts(), purpose);
        let mut expected = vec![first.to_owned(), format!("host: {host}")];
        let mut rest: Vec<_> = OURS
            .iter()
            .chain(beside_ours)
            .map(|l| (*l).to_owned())
            .collect();
        rest.sort();
        expected.extend(rest);
        assert_eq!(lines(&outgoing), expected);
    }

    #[test]
    fn what_a_client_says_about_itself_is_replaced_by_what_we_know() {
        let forged = request(
            Method::GET,
            &[
                ("x-forwarded-for", "10.0.0.1"),
                ("x_forwarded_for", "10.0.0.1"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-port", "1"),
                ("x-real-ip", "10.0.0.1"),
                ("forwarded", "for=10.0.0.1"),
                ("jet9-epoch", "99"),
                ("jet9_light", "1"),
                ("proxy", "http://evil.test"),
                ("x-request-id", "theirs"),
                ("client-ip", "10.0.0.1"),
                ("x-client-ip", "10.0.0.1"),
                ("x-cluster-client-ip", "10.0.0.1"),
                ("accept", "*/*"),
                ("accept-encoding", "br;q=0.5, gzip"),
            ],
        );
        check(
            &forged,
            For::Client,
            "GET /a?b=c HTTP/1.1",
            "example.test",
            &["accept: */*", "accept-encoding: br;q=0.5, gzip"],
        );
    }

    #[test]
    fn a_client_names_no_other_host_scheme_or_target_beside_those_of_its_request() {
        let forged = request(
            Method::GET,
            &[
                ("x-forwarded", "host=evil.test"),
                ("x-host", "evil.test"),
                ("x-original-host", "evil.test"),
                ("x-http-host-override", "evil.test"),
                ("x-original-url", "/evil"),
                ("x-rewrite-url", "/evil"),
                ("x-scheme", "http"),
                ("x-url-scheme", "http"),
                ("front-end-https", "off"),
            ],
        );
        let first = "GET /a?b=c HTTP/1.1";
        check(&forged, For::Client, first, "example.test", &[]);
    }

    #[test]
    fn a_side_is_told_of_a_cache_like_litespeed_s_by_its_site_alone() {
        let asked = request(Method::GET, &[("x-lscache", "on,esi")]);
        let told = |litespeed| {
            let mut site = testing::site();
            site.cache.litespeed = litespeed;
            let fields = compose(&asked, &site, &facts(), For::Client).fields;
            fields
                .get("x-lscache")
                .map(|value| value.as_bytes().to_vec())
        };
        assert_eq!(told(false), None);
        assert_eq!(told(true), Some(b"on".to_vec()));
    }

    #[test]
    fn ignored_parameters_are_sent_only_on_the_way_past_the_store() {
        let conditional = HeaderMap::new();
        let mut asked = request(Method::GET, &[]);
        asked.path_and_query = Bytes::from_static(b"/a?utm_source=x&b=c");
        let mut site = testing::site();
        site.cache.key.ignore_parameters = vec!["utm_*".into()];
        let target = |purpose| compose(&asked, &site, &facts(), purpose).path_and_query;
        let for_store = For::Store {
            conditional: &conditional,
            ignored_cookies: &[],
        };
        assert_eq!(target(for_store), "/a?b=c");
        assert_eq!(target(For::Client), asked.path_and_query);
    }

    #[test]
    fn ignored_cookies_are_sent_only_on_the_way_past_the_store() {
        let conditional = HeaderMap::new();
        let ignored = vec!["_ga*".to_owned()];
        let check = |sent: &[&'static str], expected: Option<&str>| {
            let lines: Vec<_> = sent.iter().map(|line| ("cookie", *line)).collect();
            let asked = request(Method::GET, &lines);
            let for_store = For::Store {
                conditional: &conditional,
                ignored_cookies: &ignored,
            };
            let outgoing = compose(&asked, &testing::site(), &facts(), for_store);
            let fetched = outgoing.fields.get("cookie");
            assert_eq!(fetched.map(|v| v.to_str().unwrap()), expected, "{sent:?}");
            let passed = compose(&asked, &testing::site(), &facts(), For::Client).fields;
            assert!(passed.get_all("cookie").iter().eq(sent));
        };
        check(&["sid=1;_ga=2; b=3"], Some("sid=1; b=3"));
        check(&["_ga=2", "sid=1"], Some("sid=1"));
        check(&["_ga=2; _ga_X=3"], None);
        check(&["sid=1;b=2"], Some("sid=1;b=2"));
    }

    #[test]
    fn what_the_key_does_not_tell_makes_an_answer_one_of_its_own() {
        let mut site = testing::site();
        site.cache.key.ignore_parameters = vec!["utm_*".into()];
        let check = |target: &'static str, line: Option<(&'static str, &'static str)>, same| {
            let mut asked = request(Method::HEAD, line.as_slice());
            asked.path_and_query = Bytes::from_static(target.as_bytes());
            let got = is_as_for_store(&asked, &site, &["_ga*".to_owned()]);
            assert_eq!(got, same, "{target} {line:?}");
        };
        check("/a?b=c", Some(("if-match", "*")), true);
        check("/a", Some(("cookie", "sid=1")), true);
        check("/a?utm_source=x&b=c", None, false);
        check("/a", Some(("x-http-method-override", "DELETE")), false);
        check("/a", Some(("cookie", "sid=1; _ga=2")), false);
    }

    #[test]
    fn another_method_is_named_only_on_the_way_past_the_store() {
        let conditional = HeaderMap::new();
        let first = "GET /a?b=c HTTP/1.1";
        for name in [
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
        ] {
            let overriding = request(Method::GET, &[(name, "DELETE")]);
            let for_store = For::Store {
                conditional: &conditional,
                ignored_cookies: &[],
            };
            check(&overriding, for_store, first, "example.test", &[]);
            let line = format!("{name}: DELETE");
            check(&overriding, For::Client, first, "example.test", &[&line]);
        }
    }

    #[test]
    fn a_default_port_that_is_spelled_out_does_not_reach_the_side() {
        let check = |scheme, port, expected: &str| {
            let mut asked = request(Method::GET, &[]);
            (asked.scheme, asked.port) = (scheme, Some(port));
            let reached = Facts {
                port: Some(port),
                ..facts()
            };
            let fields = compose(&asked, &testing::site(), &reached, For::Client).fields;
            assert_eq!(fields["host"], expected);
            assert_eq!(fields["x-forwarded-host"], expected);
        };
        check(Scheme::Http, 80, "example.test");
        check(Scheme::Https, 443, "example.test");
        check(Scheme::Http, 443, "example.test:443");
        check(Scheme::Https, 8443, "example.test:8443");
    }

    #[test]
    fn each_framing_of_the_content_is_written_in_our_words() {
        let framed = |method, content| Request {
            content,
            ..request(method, &[])
        };
        let put = "PUT /a?b=c HTTP/1.1";
        check(
            &framed(Method::PUT, Framing::Length(5)),
            For::Client,
            put,
            "example.test",
            &["content-length: 5"],
        );
        check(
            &framed(Method::PUT, Framing::Unknown),
            For::Client,
            put,
            "example.test",
            &["transfer-encoding: chunked"],
        );
        check(
            &framed(Method::PUT, Framing::None),
            For::Client,
            put,
            "example.test",
            &["content-length: 0"],
        );
        check(
            &framed(Method::GET, Framing::None),
            For::Client,
            "GET /a?b=c HTTP/1.1",
            "example.test",
            &[],
        );
    }

    #[test]
    fn an_upgrade_and_an_expectation_pass() {
        let mut upgrade = request(Method::GET, &[("sec-websocket-version", "13")]);
        upgrade.upgrade = Some(Upgrade::WebSocket);
        check(
            &upgrade,
            For::Client,
            "GET /a?b=c HTTP/1.1",
            "example.test",
            &[
                "connection: Upgrade",
                "sec-websocket-version: 13",
                "upgrade: websocket",
            ],
        );
        let mut expecting = request(Method::POST, &[]);
        expecting.content = Framing::Length(1);
        expecting.expects_continue = true;
        check(
            &expecting,
            For::Client,
            "POST /a?b=c HTTP/1.1",
            "example.test",
            &["content-length: 1", "expect: 100-continue"],
        );
    }

    #[test]
    fn a_fetch_for_the_store_asks_for_the_whole_with_our_own_conditions() {
        let partial = request(
            Method::HEAD,
            &[
                ("range", "bytes=0-1"),
                ("if-range", "\"x\""),
                ("if-none-match", "\"theirs\""),
                ("if-modified-since", "Sun, 22 Nov 2026 00:00:00 GMT"),
                ("if-match", "*"),
                ("if-unmodified-since", "Sun, 22 Nov 2026 00:00:00 GMT"),
                ("cookie", "a=b"),
            ],
        );
        let mut conditional = HeaderMap::new();
        conditional.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"ours\""));
        check(
            &partial,
            For::Store {
                conditional: &conditional,
                ignored_cookies: &[],
            },
            "GET /a?b=c HTTP/1.1",
            "example.test",
            &["cookie: a=b", "if-none-match: \"ours\""],
        );
        let for_client = compose(&partial, &testing::site(), &facts(), For::Client);
        assert_eq!(for_client.method, Method::HEAD);
        assert_eq!(for_client.fields["if-none-match"], "\"theirs\"");
        assert_eq!(for_client.fields["range"], "bytes=0-1");
    }

    #[test]
    fn the_host_follows_the_sites_rule() {
        let check = |port: Option<u16>, site: &Site, path: &'static str, expected: &str| {
            let mut asked = request(Method::GET, &[]);
            asked.port = port;
            asked.path_and_query = Bytes::from_static(path.as_bytes());
            let fields = compose(&asked, site, &facts(), For::Client).fields;
            assert_eq!(fields["host"], expected);
        };
        let preserve = testing::site();
        check(None, &preserve, "/", "example.test");
        check(Some(8080), &preserve, "/", "example.test:8080");
        check(Some(1337), &preserve, "/", "example.test");
        let mut fixed = testing::site();
        fixed.origin.host = OriginHost::Fixed(HostName::parse("inner.test").unwrap());
        fixed.routes = vec![
            testing::route("/api/*", Some("api.test")),
            testing::route("/x", None),
        ];
        check(None, &fixed, "/", "inner.test");
        check(Some(80), &fixed, "/api/v1?q", "api.test");
        check(None, &fixed, "/x?q", "inner.test");
        check(None, &fixed, "/apix", "inner.test");
    }

    #[test]
    fn via_is_appended_in_the_protocol_that_we_were_spoken_to() {
        let check = |protocol, expected: &[&str]| {
            let mut asked = request(Method::GET, &[("via", "1.0 fred")]);
            asked.protocol = protocol;
            let fields = compose(&asked, &testing::site(), &facts(), For::Client).fields;
            let members: Vec<_> = fields.get_all("via").iter().collect();
            assert_eq!(members, expected);
        };
        check(Protocol::Http10, &["1.0 fred", "1.0 edge-1"]);
        check(Protocol::Http2, &["1.0 fred", "2.0 edge-1"]);
    }

    #[test]
    fn a_fetch_of_our_own_names_no_client() {
        let facts = Facts {
            client: None,
            ..facts()
        };
        let asked = request(Method::GET, &[("x-forwarded-for", "10.0.0.1")]);
        let fields = compose(&asked, &testing::site(), &facts, For::Client).fields;
        assert!(!fields.contains_key("x-forwarded-for") && !fields.contains_key("x-real-ip"));
    }
}
