//! What is accepted, what is refused, and in which words.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::limits::Limits;
use crate::names::HostName;
use crate::node::{AccessLogFormat, AdminListen, ClusterSource, Etcd, EtcdEndpoint, TlsVersion};
use crate::site::{
    Https, Languages, OriginHost, OriginScheme, Post, Profile, QueryOrder, SetCookie,
    SurrogateControl, UnknownCoding,
};
use crate::units::DURATION_MAX;

pub(super) const NODE: &str = "[node]\nid = \"edge1\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n";
pub(super) const SITE: &str =
    "id = \"s-1\"\ndomains = [\"example.test\"]\n[origin]\ncluster = \"c-1\"\n";

pub(super) fn read_node(text: &str) -> Result<Node, Problems> {
    node("node.toml", Path::new("/etc/jet9"), text)
}

pub(super) fn read_site(text: &str) -> Result<Site, Problems> {
    site_toml("s-1.toml", text)
}

/// A document is refused with exactly these lines; `…` at the end of one stands for any rest.
fn check<T: std::fmt::Debug>(got: Result<T, Problems>, want: &[&str]) {
    let problems = got.expect_err("a document that is refused").to_string();
    let got: Vec<&str> = problems.lines().collect();
    let alike = |(got, want): (&&str, &&str)| match want.strip_suffix('…') {
        Some(start) => got.starts_with(start),
        None => got == want,
    };
    let same = got.len() == want.len() && got.iter().zip(want).all(alike);
    assert!(same, "got:\n{}\nwant:\n{}", got.join("\n"), want.join("\n"));
}

fn check_node(added: &str, want: &[&str]) {
    check(read_node(&format!("{NODE}{added}")), want);
}

fn check_site(added: &str, want: &[&str]) {
    check(read_site(&format!("{SITE}{added}")), want);
}

#[test]
fn a_small_node_file_has_defaults() {
    let node = read_node(NODE).expect("a good document");
    assert_eq!(node.id, "edge1");
    assert_eq!(node.zone, "local");
    assert_eq!(node.data_dir, PathBuf::from("/etc/jet9/data"));
    assert_eq!(
        node.listen.admin,
        [AdminListen::Unix("/etc/jet9/data/admin.sock".into())]
    );
    assert_eq!(node.listen.metrics, None);
    assert_eq!(
        (node.cache.memory, node.cache.max_object),
        (256 << 20, 1 << 30)
    );
    assert!(node.cache.disk.is_empty());
    let path = &node.state.path;
    assert_eq!(path, Path::new("/etc/jet9/state"));
    assert_eq!(node.tls.min_version, TlsVersion::V1_2);
    assert_eq!(
        node.tls.certificates,
        Path::new("/etc/jet9/data/certificates")
    );
    assert_eq!(node.limits, Limits::default());
    assert_eq!(
        (node.log.format, node.log.path, node.log.sample),
        (AccessLogFormat::Json, None, 1.0)
    );
}

#[test]
fn every_key_of_a_node_file_is_read() {
    let text = r#"
        [node]
        id = "e"
        zone = "z"
        data_dir = "/var/lib/jet9"
        threads = 4
        [listen]
        https = ["[::1]:8443"]
        admin = ["unix:run/a.sock", "127.0.0.1:9443"]
        metrics = "0.0.0.0:9145"
        [cache]
        memory = "1GiB"
        disk = [{ path = "d1", size = "64MiB" }, { path = "/d2", size = "1TiB" }]
        max_object = "5MiB"
        [state]
        path = "/srv/state"
        [tls]
        min_version = "1.3"
        default_certificate = "d.pem"
        certificates = "certs"
        [limits]
        head_bytes = "32KiB"
        request_line_bytes = "8KiB"
        keep_alive = "5s"
        flap = 9
        document_bytes = "2MiB"
        [log]
        access = { format = "combined", path = "access.log", sample = 0.5 }
    "#;
    let node = read_node(text).expect("a good document");
    assert_eq!((node.zone.as_str(), node.threads), ("z", 4));
    assert_eq!(node.data_dir, Path::new("/var/lib/jet9"));
    assert!(node.listen.http.is_empty());
    assert_eq!(
        node.listen.https,
        ["[::1]:8443".parse::<SocketAddr>().expect("an address")]
    );
    assert_eq!(
        node.listen.admin[0],
        AdminListen::Unix("/etc/jet9/run/a.sock".into())
    );
    assert_eq!(node.listen.metrics, "0.0.0.0:9145".parse().ok());
    let disk: Vec<_> = node
        .cache
        .disk
        .iter()
        .map(|volume| (volume.path.display().to_string(), volume.size))
        .collect();
    assert_eq!(
        disk,
        [
            ("/etc/jet9/d1".to_owned(), 64 << 20),
            ("/d2".to_owned(), 1 << 40)
        ]
    );
    assert_eq!(node.tls.min_version, TlsVersion::V1_3);
    assert_eq!(node.tls.default_certificate, Some("/etc/jet9/d.pem".into()));
    assert_eq!(node.tls.certificates, Path::new("/etc/jet9/certs"));
    assert_eq!(
        (
            node.limits.head_bytes,
            node.limits.flap,
            node.limits.document_bytes
        ),
        (32 << 10, 9, 2 << 20)
    );
    assert_eq!(
        (node.limits.request_line_bytes, node.limits.keep_alive),
        (8 << 10, Duration::from_secs(5))
    );
    assert_eq!(node.log.format, AccessLogFormat::Combined);
    assert_eq!(
        (node.log.path, node.log.sample),
        (Some("/etc/jet9/access.log".into()), 0.5)
    );
}

#[test]
fn all_problems_come_at_once_in_their_order() {
    check(
        read_node(
            "[node]\nid = 5\nzne = \"x\"\n[listen]\nhttp = [\"localhost:80\"]\n[cache]\nmemory = 5\n[cash]\n",
        ),
        &[
            "node.toml:2:6: /node/id: expected a string, found the integer 5",
            "node.toml:3:1: /node/zne: unknown key `zne`; did you mean `zone`?",
            "node.toml:5:9: /listen/http/0: expected an address and a port such as \"127.0.0.1:8080\" or \"[::]:8080\", found \"localhost:80\"",
            "node.toml:7:10: /cache/memory: expected a size such as \"64MiB\", found the integer 5",
            "node.toml:8:2: /cash: unknown key `cash`",
        ],
    );
}

#[test]
fn all_syntax_errors_come_at_once() {
    let problems = read_node("a = \nb = 1\nb = 2\n[c\n").expect_err("no TOML");
    let places: Vec<_> = problems
        .0
        .iter()
        .map(|problem| problem.place.map(|place| place.0))
        .collect();
    assert_eq!(places, [Some(1), Some(3), Some(4)], "{problems}");
}

#[test]
fn an_empty_node_file_says_what_is_missing() {
    check(
        read_node(""),
        &[
            "node.toml:1:1: /node/id: `id` is missing: the name of this node in Via, Cache-Status and logs",
            "node.toml:1:1: /listen/http: nothing to serve: listen.http and listen.https are both empty",
        ],
    );
}

#[test]
fn a_section_of_the_wrong_type_is_one_problem() {
    check(
        read_node("node = 1\nlisten = []\n"),
        &[
            "node.toml:1:8: /node: expected a table, found the integer 1",
            "node.toml:2:10: /listen: expected a table, found an array",
        ],
    );
}

#[test]
fn columns_count_characters() {
    check_node(
        "[log]\naccess = { \"ключ\" = 1, x = 2 }\n",
        &[
            "node.toml:6:12: /log/access/ключ: unknown key `ключ`",
            "node.toml:6:24: /log/access/x: unknown key `x`",
        ],
    );
}

#[test]
fn wrong_values_of_a_node_file_are_named() {
    let check = check_node;
    check(
        "admin = [\"unix:\"]\n",
        &["node.toml:5:10: /listen/admin/0: expected a path after \"unix:\""],
    );
    let long = "s".repeat(120);
    check(
        &format!("admin = [\"unix:{long}\"]\n"),
        &["node.toml:5:10: /listen/admin/0: /etc/jet9/ssss…"],
    );
    check(
        "https = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\n",
        &["node.toml:5:25: /listen/https/1: 127.0.0.1:1 is listened on twice"],
    );
    check(
        "metrics = 1\n",
        &["node.toml:5:11: /listen/metrics: expected a string, found the integer 1"],
    );
    check(
        "[cache]\nmemory = \"1KiB\"\n",
        &["node.toml:6:10: /cache/memory: 1KiB is not within 1MiB to 9223372036854775807B"],
    );
    check(
        "[cache]\nmemory = \"64MB\"\n",
        &[
            "node.toml:6:10: /cache/memory: expected a size such as \"64MiB\" (units: B, KiB, MiB, GiB, TiB), found \"64MB\"",
        ],
    );
    check(
        "[cache]\ndisk = [{ size = \"1MiB\" }]\n",
        &[
            "node.toml:6:9: /cache/disk/0/path: `path` is missing: the directory of this volume",
            "node.toml:6:18: /cache/disk/0/size: 1MiB is not within 64MiB…",
        ],
    );
    check(
        "[[cache.disk]]\npath = \"a\"\nsize = \"1GiB\"\n[[cache.disk]]\npath = \"a/b\"\nsize = \"1GiB\"\n",
        &["node.toml:8:1: /cache/disk/1: this volume and that in /etc/jet9/a share a directory"],
    );
    check(
        "[tls]\nmin_version = \"1.1\"\n",
        &[
            "node.toml:6:15: /tls/min_version: expected \"1.2\" or \"1.3\", found \"1.1\"; did you mean `1.2`?",
        ],
    );
    check(
        "[log.access]\nsample = 1.5\nformat = \"jsn\"\npath = \"\"\n",
        &[
            "node.toml:6:10: /log/access/sample: expected a number from 0.0 to 1.0, found the float 1.5",
            "node.toml:7:10: /log/access/format: expected \"json\" or \"combined\" or \"off\", found \"jsn\"; did you mean `json`?",
            "node.toml:8:8: /log/access/path: expected a path, found \"\"",
        ],
    );
    check(
        "[log.access]\nsample = nan\n",
        &[
            "node.toml:6:10: /log/access/sample: expected a number from 0.0 to 1.0, found the float NaN",
        ],
    );
}

#[test]
fn limits_have_ranges_and_relations() {
    let check = check_node;
    check(
        "[limits]\nhead_fields = 0\n",
        &[
            "node.toml:6:15: /limits/head_fields: expected an integer from 1 to 10000, found the integer 0",
        ],
    );
    check(
        "[limits]\nhead_timeout = 15\n",
        &[
            "node.toml:6:16: /limits/head_timeout: expected a duration such as \"10s\", found the integer 15",
        ],
    );
    check(
        "[limits]\nrequests_per_connection = 99999999999999999999\n",
        &[
            "node.toml:6:27: /limits/requests_per_connection: expected an integer from 1 to 4294967295…",
        ],
    );
    check(
        "[limits]\nadmin_calls = 256\nadmin_calls_of_one = 257\n",
        &[
            "node.toml:5:1: /limits/admin_connections: is not more than limits.admin_calls (256): a connection without a call must be there to give way",
            "node.toml:7:22: /limits/admin_calls_of_one: is more than limits.admin_calls (256)",
        ],
    );
    check(
        "[limits]\nready_low = 101\n",
        &[
            "node.toml:6:13: /limits/ready_low: expected an integer from 0 to 100, found the integer 101",
        ],
    );
    check(
        "[limits]\nready_low = 90\n",
        &[
            "node.toml:5:1: /limits/ready_high: is less than limits.ready_low (90): in between, readiness would rise and fall for ever",
        ],
    );
    check(
        "[limits]\nrequest_line_bytes = \"128KiB\"\nhold = 10\n",
        &[
            "node.toml:5:1: /limits/hold_per_cluster: is more than limits.hold (10), the sum over all clusters",
            "node.toml:6:22: /limits/request_line_bytes: is larger than limits.head_bytes (64KiB), which counts the request line too",
        ],
    );
}

#[test]
fn cluster_state_comes_from_a_directory_or_from_etcd() {
    let clusters =
        |added: &str| read_node(&format!("{NODE}{added}")).map(|node| node.state.clusters);
    let own = clusters("[state]\npath = \"/s\"\n").expect("a node");
    assert_eq!(own, ClusterSource::Directory("/s/clusters".into()));
    let named = clusters("[state.clusters]\nkind = \"directory\"\npath = \"/c\"\n");
    assert_eq!(
        named.expect("a node"),
        ClusterSource::Directory("/c".into())
    );
    let etcd = "[state.clusters]\nkind = \"etcd\"\n";
    let full = format!(
        "{etcd}endpoints = [\"https://e1.test:2379\", \"http://[::1]:2379/\"]\nprefix = \"/p\"\nca = \"/ca.pem\"\n\
         certificate = \"/own.pem\"\nusername = \"u\"\npassword_file = \"/secret\"\nbeside = \"/b\"\n"
    );
    let endpoint = |tls, host: &str| EtcdEndpoint {
        tls,
        host: host.to_owned(),
        port: 2379,
    };
    let expected = Etcd {
        endpoints: vec![endpoint(true, "e1.test"), endpoint(false, "::1")],
        prefix: "/p".to_owned(),
        ca: Some("/ca.pem".into()),
        certificate: Some("/own.pem".into()),
        login: Some(("u".to_owned(), "/secret".into())),
    };
    assert_eq!(
        clusters(&full).expect("a node"),
        ClusterSource::Etcd {
            etcd: expected,
            beside: Some("/b".into())
        }
    );

    let check = |added: &str, pointer: &str| {
        let problems = read_node(&format!("{NODE}{etcd}{added}")).expect_err(added);
        let pointers: Vec<_> = problems.0.iter().map(|problem| &problem.pointer).collect();
        assert_eq!(pointers, [pointer], "{problems}");
    };
    let one = "endpoints = [\"http://e1.test:2379\"]\n";
    check("", "/state/clusters/endpoints");
    check("endpoints = []\n", "/state/clusters/endpoints");
    for bad in [
        "e1.test:2379",
        "http://e1.test",
        "http://e1.test:2379/v3",
        "http://u@e1.test:1",
        "ftp://e1.test:1",
    ] {
        check(
            &format!("endpoints = [\"{bad}\"]\n"),
            "/state/clusters/endpoints/0",
        );
    }
    check(
        "endpoints = [\"https://e1.test:2379\"]\n",
        "/state/clusters/endpoints",
    );
    check(
        &format!("{one}prefix = \"jet9\"\n"),
        "/state/clusters/prefix",
    );
    check(
        &format!("{one}username = \"u\"\n"),
        "/state/clusters/username",
    );
    check(
        &format!("{one}password_file = \"f\"\n"),
        "/state/clusters/password_file",
    );
    check(
        &format!("{one}certificate = \"f\"\n"),
        "/state/clusters/certificate",
    );
    check(&format!("{one}token = \"f\"\n"), "/state/clusters/token");
}

#[test]
fn the_admin_api_may_listen_for_other_machines() {
    let node = read_node(&format!("{NODE}admin = [\"0.0.0.0:0\"]\n")).expect("a good node");
    let anywhere = "0.0.0.0:0".parse().expect("an address");
    assert_eq!(node.listen.admin, [AdminListen::Tcp(anywhere)]);
}

#[test]
fn what_a_node_cannot_do_yet_is_refused() {
    let check = |added: &str, pointer: &str| {
        let problems = read_node(&format!("{NODE}{added}")).expect_err(added);
        assert_eq!(problems.0.len(), 1, "{problems}");
        assert_eq!(problems.0[0].pointer, pointer);
        assert!(
            problems.0[0]
                .message
                .starts_with("this version does not do this yet"),
            "{problems}"
        );
        assert!(problems.0[0].place.is_some());
    };
    check(
        "proxy_protocol_from = [\"10.0.0.0/8\"]\n",
        "/listen/proxy_protocol_from",
    );
    check("[state]\nkind = \"etcd\"\n", "/state/kind");
    check(
        "[state]\nendpoints = [\"http://127.0.0.1:2379\"]\n",
        "/state/endpoints",
    );
    check("[state]\nprefix = \"/other\"\n", "/state/prefix");
    check("[state]\nsecret_file = \"key\"\n", "/state/secret_file");
    check(
        "[tls.acme]\ndirectory = \"https://acme.test/\"\n",
        "/tls/acme/directory",
    );
    check(
        "[tls.acme]\ncontact = [\"a@example.test\"]\n",
        "/tls/acme/contact",
    );
}

#[test]
fn every_key_of_a_site_is_read() {
    let text = r#"
        id = "s-9"
        domains = ["Example.TEST.", "*.b.test", "192.0.2.1", "[2001:DB8::1]"]
        https = "only"
        litespeed = false
        [origin]
        cluster = "c-2"
        scheme = "https"
        tls_name = "origin.test"
        host = "inner.test"
        port = 8080
        connect_timeout = "500ms"
        first_byte_timeout = "2m"
        hold = { max = "3s", requests = 7 }
        retry = { idempotent = 0 }
        breaker = false
        unknown_transfer_coding = "until-close"
        [cache]
        profile = "static"
        default = { "404" = "1s", "200" = "1h" }
        heuristic_cap = "0s"
        stale_while_revalidate = "5s"
        stale_if_error = "unlimited"
        set_cookie = "rfc"
        client_reload = "ignore"
        languages = "by-quality"
        post = "store"
        surrogate_control = "obey"
        litespeed = true
        key = { query = "as-sent", ignore_parameters = ["a*"], ignore_cookies = [] }
        admission = "all"
        quota = { share = "2GiB", cap = "3GiB", guaranteed = "1MiB" }
        [[route]]
        path = "/a"
        cache = "rfc"
        default = { "200" = "2s" }
        host = "x.test"
        [[route]]
        path = "/a/*"
        [purge]
        from = ["192.0.2.0/24", "2001:db8::5"]
        [pages]
        stub = { html = "<p>Soon back</p>" }
        [limits]
        body = "1MiB"
        requests_per_second_per_client = 0
    "#;
    let site = read_site(text).expect("a good document");
    let domains: Vec<String> = site.domains.iter().map(ToString::to_string).collect();
    assert_eq!(
        domains,
        ["example.test", "*.b.test", "192.0.2.1", "[2001:db8::1]"]
    );
    assert_eq!(site.https, Https::Only);
    let name = |text| HostName::parse(text).expect("a name");
    assert_eq!(
        site.origin.scheme,
        OriginScheme::Https {
            tls_name: name("origin.test")
        }
    );
    assert_eq!(site.origin.host, OriginHost::Fixed(name("inner.test")));
    assert_eq!(
        (
            site.origin.port,
            site.origin.hold_requests,
            site.origin.retry_idempotent,
            site.origin.breaker
        ),
        (8080, 7, 0, false)
    );
    assert_eq!(
        site.origin.unknown_transfer_coding,
        UnknownCoding::UntilClose
    );
    assert_eq!(site.origin.connect_timeout, Duration::from_millis(500));
    assert_eq!(site.origin.hold_max, Duration::from_secs(3));
    let cache = &site.cache;
    assert_eq!(
        cache.default,
        [
            (StatusCode::OK, Duration::from_secs(3600)),
            (StatusCode::NOT_FOUND, Duration::from_secs(1))
        ]
    );
    assert_eq!(
        (cache.heuristic_cap, cache.stale_if_error),
        (None, DURATION_MAX)
    );
    assert_eq!(
        (cache.set_cookie, cache.key.query),
        (SetCookie::Rfc, QueryOrder::AsSent)
    );
    assert_eq!(
        (cache.languages, cache.post, cache.surrogate_control),
        (Languages::ByQuality, Post::Store, SurrogateControl::Obey)
    );
    assert!(cache.litespeed);
    assert_eq!(cache.key.ignore_parameters, ["a*"]);
    assert!(cache.key.ignore_cookies.is_empty());
    assert_eq!(
        (cache.quota.share, cache.quota.cap, cache.quota.guaranteed),
        (Some(2 << 30), Some(3 << 30), 1 << 20)
    );
    assert_eq!(
        (site.routes[0].cache, site.routes[1].cache),
        (Some(Profile::Rfc), None)
    );
    assert_eq!(site.route("/a/b").map(|(index, _)| index), Some(1));
    let from: Vec<String> = site.purge_from.iter().map(ToString::to_string).collect();
    assert_eq!(from, ["192.0.2.0/24", "2001:db8::5/128"]);
    assert_eq!(site.stub.as_deref(), Some("<p>Soon back</p>"));
    assert_eq!(site.body, 1 << 20);
}

#[test]
fn wrong_values_of_a_site_are_named() {
    let check = check_site;
    check(
        "[cache]\nquota = { share = \"2GiB\", cap = \"1GiB\", guaranteed = \"3GiB\" }\n",
        &[
            "s-1.toml:6:19: /cache/quota/share: `share` is above `cap`",
            "s-1.toml:6:54: /cache/quota/guaranteed: `guaranteed` is above `share` or `cap`",
        ],
    );
    check(
        "port = 70000\n",
        &[
            "s-1.toml:5:8: /origin/port: expected an integer from 0 to 65535, found the integer 70000",
        ],
    );
    check(
        "unknown_transfer_coding = \"any\"\n",
        &[
            "s-1.toml:5:27: /origin/unknown_transfer_coding: expected \"refuse\" or \"until-close\", found \"any\"",
        ],
    );
    check(
        "scheme = \"https\"\n",
        &[
            "s-1.toml:3:1: /origin/tls_name: `tls_name` is missing: the name that the sides' certificate must have",
        ],
    );
    check(
        "tls_name = \"a.test\"\n",
        &[
            "s-1.toml:5:12: /origin/tls_name: there is no certificate to verify: origin.scheme is \"http\"",
        ],
    );
    check(
        "host = \"a.test:80\"\n",
        &["s-1.toml:5:8: /origin/host: a host has no port here…"],
    );
    check(
        "connect_timeout = \"0s\"\n",
        &["s-1.toml:5:19: /origin/connect_timeout: 0s is not within 10ms to 1m"],
    );
    check(
        "[cache]\nprofile = \"lamp_safe\"\n",
        &[
            "s-1.toml:6:11: /cache/profile: expected \"off\" or \"rfc\" or \"lamp-safe\" or \"static\", found \"lamp_safe\"; did you mean `lamp-safe`?",
        ],
    );
    check(
        "[cache]\ndefault = { \"304\" = \"1s\", ok = \"1s\", \"200\" = 1 }\n",
        &[
            "s-1.toml:6:13: /cache/default/304: expected a final status other than 206 and 304 such as \"404\", found \"304\"",
            "s-1.toml:6:27: /cache/default/ok: expected a final status…",
            "s-1.toml:6:46: /cache/default/200: expected a duration such as \"10s\", found the integer 1",
        ],
    );
    check(
        "[cache.key]\nignore_parameters = [\"a*b\", \"\", \"a&b\"]\nignore_cookies = [\"a=b\", \"*\"]\n",
        &[
            "s-1.toml:6:22: /cache/key/ignore_parameters/0: expected a name…",
            "s-1.toml:6:29: /cache/key/ignore_parameters/1: expected a name…",
            "s-1.toml:6:33: /cache/key/ignore_parameters/2: expected a name…",
            "s-1.toml:7:19: /cache/key/ignore_cookies/0: expected a name…",
        ],
    );
    check(
        "[[route]]\npath = \"wp\"\n[[route]]\ncache = \"off\"\n[[route]]\npath = \"/*/a\"\n[[route]]\npath = \"/a?b\"\n[[route]]\npath = \"/ a\"\n",
        &[
            "s-1.toml:6:8: /route/0/path: expected a path that begins with `/`, found \"wp\"",
            "s-1.toml:7:1: /route/1/path: `path` is missing…",
            "s-1.toml:10:8: /route/2/path: a path has at most one `*`, at its end",
            "s-1.toml:12:8: /route/3/path: a route matches the path alone, without query and fragment",
            "s-1.toml:14:8: /route/4/path: ' ' is not allowed in a path…",
        ],
    );
    check(
        "[[route]]\npath = \"/a*\"\n[[route]]\npath = \"/ab/*\"\n",
        &["s-1.toml:7:1: /route/1: never reached: the earlier route `/a*` matches all of it"],
    );
    check(
        "[purge]\nfrom = [\"192.0.2.1/24\", \"x\"]\n",
        &[
            "s-1.toml:6:9: /purge/from/0: 192.0.2.1/24 has bits beyond its length; did you mean 192.0.2.0/24?",
            "s-1.toml:6:25: /purge/from/1: expected a network such as \"192.0.2.0/24\", found \"x\"",
        ],
    );
    check(
        "[pages]\nstub = \"stub.html\"\n",
        &["s-1.toml:6:8: /pages/stub: expected \"builtin\", found \"stub.html\""],
    );
    check(
        "[pages]\nstub = { html = \"\" }\n",
        &["s-1.toml:6:17: /pages/stub/html: the page has 0 bytes, not 1 to 65536"],
    );
    check(
        "[limits]\nrequests_per_second_per_client = 5\n",
        &[
            "s-1.toml:6:34: /limits/requests_per_second_per_client: this version does not do this yet…",
        ],
    );
}

#[test]
fn the_dialect_of_litespeed_is_not_spoken_yet() {
    check(
        read_site(&format!("litespeed = true\n{SITE}")),
        &["s-1.toml:1:13: /litespeed: this version does not do this yet: the LiteSpeed dialect"],
    );
}

#[test]
fn domains_are_names_wildcards_and_addresses_each_once() {
    let check = |domains: &str, want: &[&str]| {
        check(read_site(&SITE.replace("\"example.test\"", domains)), want);
    };
    check(
        "",
        &["s-1.toml:2:11: /domains: expected 1 to 1000 domains, found an array"],
    );
    check(
        "\"a.test\", \"A.test.\"",
        &["s-1.toml:2:22: /domains/1: `a.test` stands here twice"],
    );
    check(
        "\"a.*.test\", \"*\", \"**.test\", \"*.192.0.2.1\", \"http://a\"",
        &[
            "s-1.toml:2:12: /domains/0: a wildcard is one leading `*.`",
            "s-1.toml:2:24: /domains/1: a wildcard is one leading `*.`",
            "s-1.toml:2:29: /domains/2: a wildcard is one leading `*.`",
            "s-1.toml:2:40: /domains/3: an address has no wildcard",
            "s-1.toml:2:55: /domains/4: a host has no port here…",
        ],
    );
}

#[test]
fn json_has_the_same_schema_and_pointers_for_places() {
    let json: serde_json::Value = serde_json::from_str(
        r#"{"id":"s-1","domains":["example.test"],"origin":{"cluster":"c-1","port":1.5},"a/b":null,"cache":null}"#,
    )
    .expect("JSON");
    check(
        site_json(&json),
        &[
            "/origin/port: expected an integer from 0 to 65535, found the float 1.5",
            "/cache: expected a table, found null",
            "/a~1b: unknown key `a/b`",
        ],
    );
    let json =
        serde_json::json!({"id": "s-1", "domains": ["example.test"], "origin": {"cluster": "c-1"}});
    assert_eq!(site_json(&json), read_site(SITE));
    check(
        site_json(&serde_json::json!([1])),
        &["expected a table, found an array"],
    );
}

#[test]
fn a_site_lives_in_a_file_of_its_name() {
    assert!(site_file("/srv/state/sites/s-1.toml", SITE).is_ok());
    check(
        site_file("sites/s-2.toml", SITE),
        &["sites/s-2.toml:1:6: /id: the document of site `s-1` lives in a file called `s-1.toml`"],
    );
    let check = |name: &str, want: bool| assert_eq!(site_id_of_file(name).is_ok(), want, "{name}");
    check("s-1.toml", true);
    check(".toml", false);
    check(".s-1.toml", false);
    check("s-1.toml~", false);
    check("a/s-1.toml", false);
}

#[test]
fn a_domain_belongs_to_one_site() {
    let site = |id: &str, domains: &str| {
        let text = SITE.replace("s-1", id).replace("\"example.test\"", domains);
        read_site(&text).expect("a good document")
    };
    let first = site("s-1", "\"a.test\", \"*.b.test\"");
    let second = site("s-2", "\"x.b.test\", \"*.a.test\"");
    let third = site("s-3", "\"A.test\", \"*.b.test\"");
    assert_eq!(sites([&first, &second]), Ok(()));
    check(
        sites([&first, &second, &third]),
        &[
            "s-3.toml: /domains/0: `a.test` is a domain of site `s-1`; site `s-3` cannot have it too",
            "s-3.toml: /domains/1: `*.b.test` is a domain of site `s-1`; site `s-3` cannot have it too",
        ],
    );
    check(
        sites([&first, &first]),
        &["s-1.toml: /id: there are two sites `s-1`"],
    );
}

#[test]
fn a_document_of_nothing_but_mistakes_has_a_short_answer() {
    let text: String = (0..5000).map(|index| format!("x{index} = 1\n")).collect();
    let problems = read_site(&text).expect_err("unknown keys");
    assert_eq!(problems.0.len(), 1001);
    assert_eq!(problems.0[1000].message, "4003 more problems");
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = (read_node(&text), read_site(&text));
    }

    #[test]
    fn no_text_of_toml_characters_panics(text in "[\\[\\]{}a-c\"'=.,#0-9 \\n\\\\x_-]{0,80}") {
        let _ = (read_node(&text), read_site(&text));
    }

    #[test]
    fn no_value_panics(value in "[\"\\[\\]{}a-z0-9:/.*, =-]{0,40}", key in 0usize..8) {
        let keys = ["[origin]\nport", "domains", "[cache]\ndefault", "[cache]\nkey", "[[route]]\npath", "[purge]\nfrom", "[pages]\nstub", "[cache]\nstale_if_error"];
        for value in [value.clone(), format!("{value:?}")] {
            let _ = read_site(&format!("id = \"s\"\n{} = {value}\n", keys[key]));
        }
    }

    #[test]
    fn one_changed_byte_never_panics(at in 0usize..200, byte in 0u8..128) {
        let mut text = format!("{SITE}[cache]\nstale_if_error = \"1h\"\n[[route]]\npath = \"/a*\"\n").into_bytes();
        let at = at % text.len();
        text[at] = byte;
        let _ = read_site(&String::from_utf8_lossy(&text));
    }
}

#[test]
fn deep_documents_are_refused_and_never_exhaust_the_stack() {
    let deep = |part: &str, count: usize| part.repeat(count);
    for text in [
        format!("x = {}", deep("[", 100_000)),
        format!("x = {}{}", deep("[", 100_000), deep("]", 100_000)),
        format!("x = {}", deep("{a=", 100_000)),
        format!("{}a = 1", deep("a.", 100_000)),
        format!("[{}a]", deep("a.", 100_000)),
        format!("[[{}a]]", deep("a.", 100_000)),
        format!("x = {{ {}a = 1 }}", deep("a.", 100_000)),
        format!(
            "x = {}1{}",
            deep(&format!("{{{}a = ", deep("a.", 75)), 75),
            deep("}", 75)
        ),
    ] {
        assert!(read_site(&text).is_err());
    }
}

#[test]
fn the_place_of_a_pointer_is_that_of_its_value() {
    let text = "id = \"s\"\ndomains = [\"a.test\",\n  \"b.test\"]\n[origin]\ncluster = \"c\"\n";
    let check = |pointer: &str, expected: Option<(usize, usize)>| {
        assert_eq!(place(text, pointer), expected, "{pointer}");
    };
    check("/id", Some((1, 6)));
    check("/domains/0", Some((2, 12)));
    check("/domains/1", Some((3, 3)));
    check("/origin/cluster", Some((5, 11)));
    check("/domains/2", None);
    check("/origin/x", None);
    check("/id/x", None);
}
