//! The control plane of a whole node, asked over its real sockets.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use http::Method;
use jet9_config::limits::Limits;
use jet9_config::node::{Tls, TlsVersion};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::client::{Address, Answered, Ask, Client};
use crate::clock::WallClock;
use crate::commands::{Code, Failure};
use crate::control::tokens::read_admin_token;
use crate::origin::testing::TestNode;

mod attacks;

/// A node whose control plane is served.
struct Served {
    node: TestNode,
    socket: Client,
    tcp: String,
    tls: String,
    events: Arc<Events>,
    metrics: String,
}

impl Served {
    async fn start() -> Self {
        Self::limited(Limits::default()).await
    }

    async fn limited(limits: Limits) -> Self {
        let mut node = TestNode::new(|_| {});
        Arc::get_mut(&mut node.edge)
            .expect("nobody else has it")
            .limits = limits;
        let path = node.place().join("admin.sock");
        let unix = UnixListener::bind(&path).expect("a socket");
        unix.set_nonblocking(true).expect("non-blocking");
        let (admin, tcp) = bound();
        let (remote, tls_address) = bound();
        let (metrics, metrics_address) = bound();
        let registry = Registry::new();
        let events = Events::new(WallClock::System, &registry).expect("free names");
        let certificates = certificates(&node);
        let config = certificates.server_config(TlsVersion::V1_2);
        let metrics_of_tls = jet9_tls::Metrics::register(&Registry::new()).expect("free names");
        let patience = Duration::from_secs(10);
        let tls = Acceptor::new(config.expect("a configuration"), patience, metrics_of_tls);
        let own = Arc::clone(&node.edge);
        let events = Arc::new(events);
        let api = Api::new(own, registry, certificates, Arc::clone(&events), &tls);
        let admin = vec![
            AdminListener::Unix(unix),
            AdminListener::Tcp(admin),
            AdminListener::Tls(remote),
        ];
        tokio::spawn(serve(Arc::new(api), admin, Some(metrics)));
        Self {
            node,
            socket: Client::of(Address::Unix(path), None),
            tcp,
            tls: tls_address,
            events,
            metrics: metrics_address,
        }
    }

    async fn post(&self, body: &Value) -> Result<Answered, Failure> {
        self.socket
            .call(&Ask::send(Method::POST, "/v1/purges", body))
            .await
    }

    /// The secret of a new token.
    async fn token(&self, name: &str, scope: &str) -> String {
        let wish = json!({"name": name, "scopes": [scope]});
        let ask = Ask::send(Method::POST, "/v1/tokens", &wish);
        let made = self.socket.call(&ask).await.expect("made").body;
        made["token"].as_str().expect("a secret").to_owned()
    }

    async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.socket
            .call(&Ask::get(path))
            .await
            .map(|answered| answered.body)
    }
}

fn certificates(node: &TestNode) -> Arc<Certificates> {
    let tls = Tls {
        min_version: TlsVersion::V1_2,
        default_certificate: None,
        certificates: node.place().join("certificates"),
    };
    let metrics = jet9_tls::Metrics::register(&Registry::new()).expect("free names");
    Arc::new(Certificates::load(&tls, metrics).expect("none"))
}

fn bound() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("non-blocking");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

/// Sends bytes and reads all that comes back.
async fn raw(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("in time")
        .expect("text");
    answer
}

#[tokio::test]
async fn a_purge_is_durable_when_it_is_answered_and_numbers_grow() {
    let served = Served::start().await;
    let one = json!({"site": "s-1", "urls": ["https://example.test/x"], "mode": "hard"});
    let first = served.post(&one).await.expect("purged");
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(first.body["applied"], json!(["edge-1"]));
    let all = json!({"site": "s-1", "all": true});
    let second = served.post(&all).await.expect("purged");
    let number = |answered: &Answered| answered.body["sequence"].as_u64().expect("a number");
    assert!(number(&second) > number(&first));
    let last = number(&second);
    let seen = served.get(&format!("/v1/purges/{last}")).await;
    let seen = seen.expect("it is known");
    let expected = json!({"sequence": last, "applied": ["edge-1"], "lagging": []});
    assert_eq!(seen, expected);
    for unknown in [(last + 1).to_string(), "0".to_owned(), "x".to_owned()] {
        let failure = served.get(&format!("/v1/purges/{unknown}")).await;
        assert_eq!(failure.expect_err("none").code, Code::NotFound, "{unknown}");
    }
}

#[tokio::test]
async fn plugins_of_other_services_purge_in_their_shapes() {
    let served = Served::start().await;
    let post = async |path: &str, body: Value| {
        let ask = Ask::send(Method::POST, path, &body);
        served.socket.call(&ask).await
    };
    let keys = post("/service/s-1/purge", json!({"surrogate_keys": ["a", "b"]})).await;
    let keys = keys.expect("purged").body;
    assert_eq!(keys["a"], keys["b"]);
    let all = post("/service/s-1/purge_all", json!({})).await;
    assert_eq!(all.expect("purged").body["status"], "ok");
    let zone = "/client/v4/zones/s-1/purge_cache";
    for body in [
        json!({"purge_everything": true}),
        json!({"files": ["https://example.test/x", {"url": "http://example.test/y"}]}),
        json!({"tags": ["a"]}),
        json!({"prefixes": ["example.test/x/"]}),
    ] {
        let done = post(zone, body.clone()).await.expect("purged");
        assert_eq!(done.body["success"], true, "{body}");
    }
    for (path, body, word) in [
        (
            zone,
            json!({"files": ["http://other.test/"]}),
            "/files/0: `other.test`",
        ),
        (
            zone,
            json!({"hosts": ["example.test"]}),
            "/hosts: cannot be purged by",
        ),
        (
            zone,
            json!({"prefixes": ["other.test/x"]}),
            "/prefixes/0: `other.test` is not a name",
        ),
        (zone, json!({}), "nothing to purge"),
        (
            "/service/s-1/purge",
            json!({"surrogate_keys": 1}),
            "/surrogate_keys: expected an array",
        ),
        ("/service/s-9/purge_all", json!({}), "no site `s-9`"),
    ] {
        let failure = post(path, body.clone()).await.expect_err("refused");
        assert!(failure.message.contains(word), "{body}: {failure}");
    }
}

#[tokio::test]
async fn a_call_with_a_problem_says_which_and_does_nothing() {
    let served = Served::start().await;
    let check = async |body: Value, code: Code, word: &str| {
        let failure = served.post(&body).await.expect_err(word);
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(word), "{failure}");
    };
    let foreign = json!({"site": "s-1", "urls": ["https://other.test/"]});
    check(foreign, Code::Failure, "/urls/0: `other.test`").await;
    check(
        json!({"site": "s-9", "all": true}),
        Code::NotFound,
        "no site `s-9`",
    )
    .await;
    check(
        json!({"sight": "s-1"}),
        Code::Failure,
        "/sight: unknown member",
    )
    .await;
    let long = json!({"site": "s-1", "tags": ["x".repeat(2 << 20)]});
    check(long, Code::Failure, "limits.admin_body").await;
}

#[tokio::test]
async fn over_tcp_only_the_token_opens() {
    let served = Served::start().await;
    let token = read_admin_token(served.node.place()).expect("a token");
    let address = Address::Tcp(served.tcp.clone());
    let check = async |token: Option<&str>, good: bool| {
        let client = Client::of(address.clone(), token.map(str::to_owned));
        let answered = client.call(&Ask::get("/v1/nodes")).await;
        assert_eq!(answered.is_ok(), good, "{answered:?}");
    };
    check(Some(&token), true).await;
    check(Some("wrong"), false).await;
    check(None, false).await;
    let answer = raw(
        &served.tcp,
        "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let answer = answer.await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
}

#[tokio::test]
async fn a_token_for_one_site_purges_it_and_no_other() {
    let served = Served::start().await;
    let wish = json!({"name": "shop", "scopes": ["site:s-1:purge"]});
    let make = async |body: &Value| {
        let ask = Ask::send(Method::POST, "/v1/tokens", body);
        served.socket.call(&ask).await
    };
    let made = make(&wish).await.expect("made").body;
    let token = made["token"].as_str().expect("a secret").to_owned();
    let client = Client::of(Address::Tcp(served.tcp.clone()), Some(token));
    let purge = async |site: &str| {
        let body = json!({"site": site, "all": true});
        let ask = Ask::send(Method::POST, "/v1/purges", &body);
        client.call(&ask).await.map_err(|failure| failure.message)
    };
    purge("s-1").await.expect("its own");
    for other in ["s-2", "s-1 ", ""] {
        let refused = purge(other).await.expect_err(other);
        assert!(refused.starts_with("Forbidden"), "{other}: {refused}");
    }
    let tokens = client.call(&Ask::get("/v1/tokens")).await;
    assert!(tokens.is_err(), "{tokens:?}");
    let listed = served.get("/v1/tokens").await.expect("for the admin");
    assert_eq!(listed["tokens"][0]["scopes"], json!(["site:s-1:purge"]));
    assert!(listed["tokens"][0].get("token").is_none());
    let again = make(&wish).await.expect_err("twice");
    assert_eq!(again.code, Code::Conflict);
    let bad = json!({"name": "", "scopes": ["site:*:purge"], "for": 5});
    let told = make(&bad).await.expect_err("bad").message;
    for pointer in ["/name: ", "/scopes/0: ", "/for: "] {
        assert!(told.contains(pointer), "{told}");
    }
    let path = "/v1/tokens/shop";
    let mut ask = Ask::get(path);
    ask.method = Method::DELETE;
    served.socket.call(&ask).await.expect("withdrawn");
    let refused = purge("s-1").await.expect_err("withdrawn");
    assert!(refused.starts_with("Unauthorized"), "{refused}");
}

#[tokio::test]
async fn other_machines_come_over_tls_with_a_token() {
    let served = Served::start().await;
    let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "x.test".to_owned()]);
    let issued = issued.expect("a certificate");
    let pem = format!(
        "{}{}",
        issued.cert.pem(),
        issued.signing_key.serialize_pem()
    );
    let mut ask = Ask::get("/v1/certificates/admin");
    ask.method = Method::PUT;
    ask.text = Some(("application/x-pem-file", &pem));
    served.socket.call(&ask).await.expect("put");
    let ca = served.node.place().join("ca.pem");
    std::fs::write(&ca, issued.cert.pem()).expect("write");
    let token = read_admin_token(served.node.place()).expect("a token");
    let port = served.tls.rsplit_once(':').expect("a port").1;
    let check = async |token: Option<&str>, ca: Option<&std::path::Path>, good: bool| {
        let address = Address::Tls(format!("localhost:{port}"));
        let mut client = Client::of(address, token.map(str::to_owned));
        if let Some(ca) = ca {
            client = client.trusting(ca.to_owned());
        }
        let answered = client.call(&Ask::get("/v1/nodes")).await;
        assert_eq!(answered.is_ok(), good, "{answered:?}");
    };
    // The certificate is for another name than the one that is asked for.
    check(Some(&token), Some(&ca), false).await;
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
    let pem = format!(
        "{}{}",
        issued.cert.pem(),
        issued.signing_key.serialize_pem()
    );
    ask.text = Some(("application/x-pem-file", &pem));
    served.socket.call(&ask).await.expect("put");
    check(Some(&token), Some(&ca), false).await;
    std::fs::write(&ca, issued.cert.pem()).expect("write");
    check(Some(&token), Some(&ca), true).await;
    check(Some(&token), None, false).await;
    check(None, Some(&ca), false).await;
    let answer = raw(&served.tls, "GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
}

#[tokio::test]
async fn whoever_listens_hears_of_every_write_and_of_its_end() {
    let served = Served::start().await;
    let path = served.node.place().join("admin.sock");
    let mut stream = tokio::net::UnixStream::connect(path)
        .await
        .expect("connect");
    let request = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut heard = String::new();
    let mut until = async |word: &str| {
        let reading = async {
            while !heard.contains(word) {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.expect("read");
                assert_ne!(read, 0, "{heard}");
                heard += &String::from_utf8_lossy(&buffer[..read]);
            }
            heard.clone()
        };
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, reading).await.expect("in time")
    };
    let head = until("this node's events").await;
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let _ = served.post(&json!({"site": "s-9", "all": true})).await;
    let told = until("\"status\":404").await;
    for word in ["event: call\n", "\"path\":\"/v1/purges\"", "\"by\":\"uid:"] {
        assert!(told.contains(word), "{told}");
    }
    served.get("/v1/sites").await.expect("a read");
    served
        .post(&json!({"site": "s-1", "all": true}))
        .await
        .expect("purged");
    let told = until("\"status\":200").await;
    assert!(!told.contains("/v1/sites"), "{told}");
}

#[tokio::test]
async fn a_call_that_is_sent_again_with_its_key_is_done_once() {
    let served = Served::start().await;
    let ask = async |body: &str| {
        let length = body.len();
        let request = format!(
            "POST /v1/purges HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIdempotency-Key: k-1\r\n\
             Authorization: Bearer {}\r\nContent-Length: {length}\r\n\r\n{body}",
            read_admin_token(served.node.place()).expect("a token"),
        );
        raw(&served.tcp, &request).await
    };
    let content = |answer: &str| answer.split("\r\n\r\n").nth(1).map(str::to_owned);
    let first = ask("{\"site\": \"s-1\", \"all\": true}").await;
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    let again = ask("{\"site\": \"s-1\", \"all\": true}").await;
    assert_eq!(content(&again), content(&first), "the same number");
    let other = ask("{\"site\": \"s-1\", \"tags\": [\"t\"]}").await;
    assert!(other.starts_with("HTTP/1.1 422"), "{other}");
}

#[tokio::test]
async fn sites_clusters_and_nodes_are_shown_as_they_are() {
    let served = Served::start().await;
    let sites = served.get("/v1/sites").await.expect("sites");
    assert_eq!(sites["sites"][0]["id"], "s-1");
    let site = served.get("/v1/sites/s-1").await.expect("a site");
    assert_eq!(
        (&site["status"], &site["domains"]),
        (&json!("in-force"), &json!(["example.test"]))
    );
    let nodes = served.get("/v1/nodes").await.expect("nodes");
    assert_eq!(nodes["nodes"][0]["id"], "edge-1");
    for path in [
        "/v1/sites/none",
        "/v1/clusters/c-1",
        "/v1/clusters/%20",
        "/v2",
    ] {
        let failure = served.get(path).await.expect_err(path);
        assert_eq!(failure.code, Code::NotFound, "{path}");
    }
}

#[tokio::test]
async fn a_cluster_is_published_by_compare_and_swap() {
    let served = Served::start().await;
    let document = |epoch: u64, master: &str| {
        json!({
            "v": 1, "cluster": "c-1", "epoch": epoch, "phase": "serving", "master": master,
            "sides": {"a": {"addrs": ["192.0.2.1:80"]}, "b": {"addrs": ["192.0.2.2:80"]}},
            "fencing": "confirmed", "prev": {"ended": "demoted"},
        })
    };
    let put = async |document: &Value, expected: Option<u64>| {
        let mut ask = Ask::send(Method::PUT, "/v1/clusters/c-1", document);
        ask.if_match = expected;
        served.socket.call(&ask).await
    };
    let first = put(&document(1, "a"), Some(0)).await.expect("published");
    assert_eq!(
        (&first.body["master"], &first.body["epoch"]),
        (&json!("a"), &json!(1))
    );
    let check = async |document: Value, expected: Option<u64>, code: Code| {
        let failure = put(&document, expected).await.expect_err("refused");
        assert_eq!(failure.code, code, "{failure}");
    };
    check(document(2, "b"), Some(7), Code::Conflict).await;
    check(document(1, "b"), Some(1), Code::Conflict).await;
    check(document(2, "b"), None, Code::Failure).await;
    let mut unproved = document(2, "b");
    unproved["prev"]["ended"] = Value::Null;
    check(unproved, Some(1), Code::Conflict).await;
    check(json!({"v": 1}), Some(1), Code::Failure).await;
    put(&document(2, "b"), Some(1)).await.expect("published");
    let seen = served.get("/v1/clusters/c-1").await.expect("seen");
    assert_eq!(
        (&seen["master"], &seen["document"]["epoch"]),
        (&json!("b"), &json!(2))
    );
    let all = served.get("/v1/clusters").await.expect("seen");
    assert_eq!(all["clusters"][0]["mastership"], "live");

    let forget = async |path: &str| {
        let mut ask = Ask::get(path);
        ask.method = Method::POST;
        let answered = served.socket.call(&ask).await;
        answered.map(|answered| answered.body)
    };
    let forgotten = forget("/v1/clusters/c-1/forget")
        .await
        .expect("it was known");
    assert_eq!(
        (&forgotten["forgotten_epoch"], &forgotten["epoch"]),
        (&json!(2), &json!(2)),
        "its document is still there"
    );
    let failure = forget("/v1/clusters/c-9/forget")
        .await
        .expect_err("unknown");
    assert_eq!(failure.code, Code::NotFound);
}

#[tokio::test]
async fn the_metrics_listener_tells_and_changes_nothing() {
    let served = Served::start().await;
    let check = async |method: &str, path: &str, status: &str, word: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = raw(&served.metrics, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.contains(word), "{answer}");
    };
    check("GET", "/metrics", "200", "jet9_build_info{").await;
    check("GET", "/metrics", "200", "process_open_fds ").await;
    check("GET", "/livez", "200", "ok\n").await;
    check("GET", "/readyz", "503", "starting\n").await;
    check("HEAD", "/livez", "200", "").await;
    check("POST", "/metrics", "405", "allow: GET, HEAD").await;
    check("GET", "/", "404", "/readyz").await;
}
