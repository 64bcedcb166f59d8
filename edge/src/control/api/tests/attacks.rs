//! Callers who mean harm, or are only slow: what they hold, they hold from nobody else.

use tokio::net::UnixStream;

use super::*;

const GET: &str = "GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n";

fn limited(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[tokio::test]
async fn whoever_fills_a_listener_shuts_nobody_out() {
    let limits = limited(|limits| {
        limits.admin_connections = 8;
        limits.admin_calls = 4;
        limits.admin_calls_of_one = 4;
        limits.admin_timeout = Duration::from_secs(3600);
    });
    let served = Served::limited(limits).await;
    let token = read_admin_token(served.node.place()).expect("a token");
    let mut idle = Vec::new();
    for address in [&served.tcp, &served.tls, &served.metrics] {
        for _ in 0..40 {
            idle.push(TcpStream::connect(address).await.expect("connect"));
        }
    }
    let mut local = Vec::new();
    for _ in 0..40 {
        let path = served.node.place().join("admin.sock");
        local.push(UnixStream::connect(path).await.expect("connect"));
    }
    let client = Client::of(Address::Tcp(served.tcp.clone()), Some(token));
    client.call(&Ask::get("/v1/nodes")).await.expect("a place");
    served.get("/v1/nodes").await.expect("a place");
    let metrics = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = raw(&served.metrics, metrics).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_flood_between_connecting_and_showing_a_token_cuts_nobody_who_showed_it_lately() {
    let served = Served::limited(limited(|limits| {
        limits.admin_connections = 8;
        limits.admin_calls = 4;
        limits.admin_calls_of_one = 4;
        limits.admin_timeout = Duration::from_secs(3600);
    }))
    .await;
    let token = read_admin_token(served.node.place()).expect("a token");
    let ask = GET.replace(
        "\r\n\r\n",
        &format!("\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"),
    );
    let answer = raw(&served.tcp, &ask).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // The whole of 127.0.0.0/8 is this machine's, so that many addresses can be had.
    let from = async |number: u8| {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        let source = std::net::Ipv4Addr::new(127, 0, 1, number);
        socket.bind((source, 0).into()).expect("an address of ours");
        let address = served.tcp.parse().expect("an address");
        socket.connect(address).await.expect("connect")
    };
    let mut own = TcpStream::connect(&served.tcp).await.expect("connect");
    let mut flood = Vec::new();
    for number in 1..=200 {
        flood.push(from(number).await);
    }
    // The last one is answered, so all before it were taken in.
    let mut last = from(201).await;
    last.write_all(GET.as_bytes()).await.expect("write");
    let mut answer = [0; 12];
    last.read_exact(&mut answer).await.expect("read");
    assert_eq!(&answer, b"HTTP/1.1 401");
    own.write_all(ask.as_bytes()).await.expect("write");
    let mut answer = String::new();
    own.read_to_string(&mut answer).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn whoever_takes_no_answer_is_cut() {
    let limits = limited(|limits| limits.admin_timeout = Duration::from_millis(300));
    let served = Served::limited(limits).await;
    // Each answer is small, all together they are more than sockets hold.
    let mut stream = TcpStream::connect(&served.metrics).await.expect("connect");
    let many = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let until_cut = async { while stream.write_all(many.as_bytes()).await.is_ok() {} };
    let cut = tokio::time::timeout(Duration::from_secs(60), until_cut);
    cut.await.expect("it is cut");
}

#[tokio::test]
async fn a_call_whose_caller_has_left_is_done_told_and_kept_for_its_key() {
    let served = Served::start().await;
    let mut events = served.events.listen();
    let before = served.node.edge.cache.purge_sequence();
    let path = served.node.place().join("admin.sock");
    let body = "{\"site\": \"s-1\", \"all\": true}";
    let request = format!(
        "POST /v1/purges HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for round in 1..=20 {
        let request = request.replace("Key: k", &format!("Key: k-{round}"));
        let mut stream = UnixStream::connect(&path).await.expect("connect");
        stream.write_all(request.as_bytes()).await.expect("write");
        drop(stream);
        let limit = Duration::from_secs(20);
        let told = tokio::time::timeout(limit, events.recv()).await;
        let told = told.expect("in time").expect("heard");
        assert!(told.json.contains("\"status\":200"), "{}", told.json);
        let mut stream = UnixStream::connect(&path).await.expect("connect");
        let again = request.replace("Host: x", "Host: x\r\nConnection: close");
        stream.write_all(again.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        events.recv().await.expect("heard");
        let sequence = served.node.edge.cache.purge_sequence();
        assert_eq!(sequence, before + round, "done once");
    }
}

#[tokio::test]
async fn a_token_that_opens_nothing_opens_nothing_over_the_socket_either() {
    let served = Served::start().await;
    let path = served.node.place().join("admin.sock");
    let ask = async |fields: &str| {
        let mut stream = UnixStream::connect(&path).await.expect("connect");
        let request = GET.replace(
            "\r\n\r\n",
            &format!("\r\nConnection: close\r\n{fields}\r\n"),
        );
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer[9..12].to_owned()
    };
    assert_eq!(ask("").await, "200");
    assert_eq!(ask("Authorization: Bearer withdrawn\r\n").await, "401");
    assert_eq!(ask("Fastly-Key: withdrawn\r\n").await, "401");
    assert_eq!(served.events.strangers.get(), 2);
}

#[tokio::test]
async fn content_that_is_too_large_is_refused_and_the_answer_arrives() {
    let served = Served::start().await;
    let token = read_admin_token(served.node.place()).expect("a token");
    let huge = vec![b' '; 100 << 20];
    let check = async |token: &str, framing: &str, status: &str| {
        let head = format!(
            "POST /v1/purges HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{framing}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(&served.tcp).await.expect("connect");
        stream.write_all(head.as_bytes()).await.expect("write");
        if framing.starts_with("Transfer-Encoding") {
            let size = format!("{:x}\r\n", huge.len());
            stream.write_all(size.as_bytes()).await.expect("write");
        }
        if !framing.contains("Expect") {
            stream.write_all(&huge).await.expect("all is taken");
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{framing}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    };
    let length = format!("Content-Length: {}", huge.len());
    check(&token, &length, "413").await;
    check(&token, "Transfer-Encoding: chunked", "413").await;
    check(&token, &format!("{length}\r\nExpect: 100-continue"), "413").await;
    check("wrong", &length, "401").await;
}

#[tokio::test]
async fn bombs_and_names_that_climb_come_to_nothing() {
    let served = Served::start().await;
    let deep = "[".repeat(500_000);
    let put = async |kind: &'static str, text: &str| {
        let mut ask = Ask::get("/v1/sites/s-9");
        ask.method = Method::PUT;
        ask.text = Some((kind, text));
        served.socket.call(&ask).await.expect_err("refused").code
    };
    assert_eq!(put("application/json", &deep).await, Code::Failure);
    assert_eq!(
        put("application/toml", &format!("a = {deep}")).await,
        Code::Failure
    );
    let many: String = (0..60_000).map(|n| format!("\"k{n}\": 1,")).collect();
    let many = format!("{{{many} \"k\": 1}}");
    assert_eq!(put("application/json", &many).await, Code::Failure);
    for path in [
        "/v1/sites/../versions",
        "/v1/sites/.hidden/versions",
        "/v1/sites/%2e%2e/versions",
    ] {
        let failure = served.get(path).await.expect_err(path);
        assert_eq!(failure.code, Code::NotFound, "{failure}");
    }
    let failure = served
        .get("/v1/sites?dry_run=1")
        .await
        .expect_err("unknown");
    assert!(failure.message.contains("unknown"), "{failure}");
    let mut ask = Ask::send(
        Method::PUT,
        "/v1/sites/s-9?dry_run=1&dry_run=0",
        &Value::Null,
    );
    ask.body = Some(&Value::Null);
    let failure = served.socket.call(&ask).await.expect_err("twice");
    assert!(failure.message.contains("given twice"), "{failure}");
}

#[tokio::test]
async fn whoever_sends_slowly_keeps_no_place_from_those_who_have_something_to_do() {
    let limits = limited(|limits| {
        limits.admin_calls = 8;
        limits.admin_calls_of_one = 4;
        limits.admin_timeout = Duration::from_secs(3600);
    });
    let served = Served::limited(limits).await;
    let mut slow = Vec::new();
    for number in 0..4 {
        let token = served
            .token(&format!("slow-{number}"), "site:s-1:purge")
            .await;
        for _ in 0..4 {
            let mut stream = TcpStream::connect(&served.tcp).await.expect("connect");
            let request = format!(
                "POST /v1/purges HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.expect("write");
            // It is let in and its content is waited for.
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.expect("read");
            assert_eq!(&answer, b"HTTP/1.1 100");
            slow.push(stream);
        }
        // That is its share, and nobody else's.
        let purge = json!({"site": "s-1", "all": true});
        let ask = Ask::send(Method::POST, "/v1/purges", &purge);
        let client = Client::of(Address::Tcp(served.tcp.clone()), Some(token));
        let refused = client.call(&ask).await.expect_err("too many of one");
        assert!(refused.message.contains("admin_calls_of_one"), "{refused}");
    }
    let token = served.token("shop", "site:s-1:purge").await;
    let client = Client::of(Address::Tcp(served.tcp.clone()), Some(token));
    let purge = json!({"site": "s-1", "all": true});
    let ask = Ask::send(Method::POST, "/v1/purges", &purge);
    client.call(&ask).await.expect("a place");
}

#[tokio::test]
async fn who_hears_what_happens_hears_it_until_its_token_is_withdrawn() {
    let served = Served::start().await;
    let listen = async |name: &str| {
        let token = served.token(name, "read").await;
        let mut stream = TcpStream::connect(&served.tcp).await.expect("connect");
        let request =
            format!("GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        stream
    };
    let until = async |stream: &mut TcpStream, word: &str| {
        let mut heard = String::new();
        let mut buffer = [0; 4096];
        while !heard.contains(word) {
            let reading = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer));
            // Sooner than a line is sent because nothing happened.
            let read = reading.await.expect("in time").unwrap_or(0);
            if read == 0 {
                return false;
            }
            heard += &String::from_utf8_lossy(&buffer[..read]);
        }
        true
    };
    let (mut one, mut other) = (listen("one").await, listen("other").await);
    assert!(until(&mut one, "this node's events").await);
    assert!(until(&mut other, "this node's events").await);
    let withdraw = Ask::bare(Method::DELETE, "/v1/tokens/one");
    served.socket.call(&withdraw).await.expect("withdrawn");
    assert!(!until(&mut one, "never").await, "it ended");
    assert!(until(&mut other, "/v1/tokens/one").await, "it goes on");
}

#[tokio::test]
async fn who_calls_too_often_is_told_of_once_and_then_by_number() {
    let served = Served::limited(limited(|limits| limits.admin_rate = 1)).await;
    let token = served.token("shop", "site:s-1:purge").await;
    let mut events = served.events.listen();
    let client = Client::of(Address::Tcp(served.tcp.clone()), Some(token));
    let purge = json!({"site": "s-1", "all": true});
    let ask = Ask::send(Method::POST, "/v1/purges", &purge);
    let mut refused = 0;
    for _ in 0..60 {
        refused += u64::from(client.call(&ask).await.is_err());
    }
    assert!(refused > 1, "{refused}");
    let mut told = 0;
    let counted = async {
        loop {
            let event = events.recv().await.expect("heard");
            let event: Value = serde_json::from_str(&event.json).expect("JSON");
            assert_eq!(event["by"], "token:shop");
            told += u64::from(event["status"] == 429);
            if event["kind"] == "refusals" {
                break event["further"].as_u64().expect("a number");
            }
        }
    };
    let counted = tokio::time::timeout(Duration::from_secs(60), counted);
    let counted = counted.await.expect("in time");
    assert_eq!((told, counted), (1, refused - 1));
}
