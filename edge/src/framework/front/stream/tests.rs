//! `FrontStream` over a loopback connection, with the reader that Pingora would be.

use bytes::Bytes;
use jet9_cache::Scheme;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::control::health::Drain;
use crate::framework::front::transport::Transport;

struct Lending {
    client: TcpStream,
    stream: FrontStream,
    home: oneshot::Receiver<Lent>,
}

const SMALL: u64 = 16;

/// A connection whose client has sent `head` and `content`, lent for the request of the head.
async fn lend(head: &str, content: &[u8]) -> Lending {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    let (mut client, server) = (client.unwrap(), accepted.unwrap().0);
    client.set_nodelay(true).unwrap();
    let limits = Limits::default();
    let request = guard::parse_http1(Bytes::from(head.to_owned()), Scheme::Http, &limits);
    let request = request.unwrap().request;
    let connection = Connection::new(Transport::Clear(server), Drain::new().watch(), &limits);
    let (stream, home) = FrontStream::lend(Box::new(connection), &request, SMALL, &limits);
    client.write_all(content).await.unwrap();
    Lending {
        client,
        stream,
        home,
    }
}

/// What Pingora gets, up to `bytes`.
async fn given(lending: &mut Lending, bytes: usize) -> String {
    let mut got = vec![0; bytes];
    lending.stream.read_exact(&mut got).await.unwrap();
    String::from_utf8(got).unwrap()
}

/// Reads until `ahead` bytes of what follows have arrived at our side, and checks that none of them is given.
async fn check_silent(lending: &mut Lending, ahead: usize) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while tokio::time::Instant::now() < deadline {
        let mut byte = [0];
        let read = std::pin::pin!(lending.stream.read(&mut byte));
        assert!(futures_util::poll!(read).is_pending());
        if lending.stream.lent().unwrap().connection.buffer().len() == ahead {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{ahead} bytes did not arrive");
}

const POST: &str = "POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
const CHUNKED: &str = "POST /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const GET: &str = "GET /g HTTP/1.1\r\nHost: a\r\n\r\n";
const WEBSOCKET: &str = "GET /w HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn read_head(lending: &mut Lending) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(lending.stream.read_u8().await.unwrap()));
    }
    head
}

#[tokio::test]
async fn counted_content_is_given_and_nothing_behind_it() {
    let mut lending = lend(POST, b"abcdGET /next HTTP/1.1\r\n").await;
    assert_eq!(read_head(&mut lending).await, POST);
    assert_eq!(given(&mut lending, 4).await, "abcd");
    check_silent(&mut lending, 20).await;
    drop(lending.stream);
    let mut lent = lending.home.await.unwrap();
    assert!(lent.is_at_rest());
    assert_eq!(&lent.connection.buffer()[..], b"GET /next HTTP/1.1\r\n");
}

#[tokio::test]
async fn a_large_read_takes_no_byte_of_the_next_request_from_the_socket() {
    let mut lending = lend(POST, b"abcdGET").await;
    read_head(&mut lending).await;
    let mut space = [0; 1024];
    let mut got = 0;
    while got < 4 {
        got += lending.stream.read(&mut space[got..]).await.unwrap();
    }
    assert_eq!(&space[..got], b"abcd");
}

#[tokio::test]
async fn chunks_are_framed_anew() {
    let mut lending = lend(
        CHUNKED,
        b"0003\r\nabc\r\n1\r\nd\r\n0\r\nX-Trailer: x\r\n\r\nGET",
    )
    .await;
    read_head(&mut lending).await;
    let expected = "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    assert_eq!(given(&mut lending, expected.len()).await, expected);
    check_silent(&mut lending, 3).await;
    drop(lending.stream);
    let mut lent = lending.home.await.unwrap();
    assert!(lent.is_at_rest());
    assert_eq!(&lent.connection.buffer()[..], b"GET");
}

async fn check_refused(content: &[u8], expected: fn(&io::Error) -> bool) {
    let mut lending = lend(CHUNKED, content).await;
    read_head(&mut lending).await;
    let mut space = Vec::new();
    let error = lending.stream.read_to_end(&mut space).await.unwrap_err();
    assert!(expected(&error), "{content:?}: {error:?}");
    drop(lending.stream);
    assert!(!lending.home.await.unwrap().is_at_rest());
}

fn content_error(error: &io::Error) -> Option<ContentError> {
    error.get_ref()?.downcast_ref().copied()
}

#[tokio::test]
async fn malformed_and_oversized_chunks_are_errors() {
    check_refused(b"3;x=y\r\nabc\r\n0\r\n\r\n", |error| {
        matches!(content_error(error), Some(ContentError::Malformed(_)))
    })
    .await;
    check_refused(b"11\r\n01234567890123456\r\n0\r\n\r\n", |error| {
        content_error(error) == Some(ContentError::TooLarge)
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_within_its_content_is_an_error_and_after_it_the_end() {
    for (head, content) in [(POST, &b"ab"[..]), (CHUNKED, b"3\r\na")] {
        let mut lending = lend(head, content).await;
        lending.client.shutdown().await.unwrap();
        read_head(&mut lending).await;
        let mut space = Vec::new();
        let error = lending.stream.read_to_end(&mut space).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
    let mut lending = lend(GET, b"").await;
    lending.client.shutdown().await.unwrap();
    read_head(&mut lending).await;
    assert_eq!(lending.stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn an_http_1_0_request_stays_one() {
    let mut lending = lend("GET /p?q HTTP/1.0\r\nHost: a\r\n\r\n", b"").await;
    assert!(
        read_head(&mut lending)
            .await
            .starts_with("GET /p?q HTTP/1.0\r\n")
    );
}

#[tokio::test]
async fn a_small_head_leaves_with_the_content_behind_it() {
    let mut lending = lend(GET, b"").await;
    let content = vec![b'x'; HELD_BACK_BYTES + 1];
    lending
        .stream
        .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
        .await
        .unwrap();
    assert!(futures_util::poll!(std::pin::pin!(lending.client.readable())).is_pending());
    lending.stream.write_all(&content).await.unwrap();
    let mut got = vec![0; 19 + content.len()];
    lending.client.read_exact(&mut got).await.unwrap();
    assert!(got.starts_with(b"HTTP/1.1 200 OK\r\n\r\nxx"));
}

#[tokio::test]
async fn what_was_held_back_comes_home_and_is_sent_there() {
    let mut lending = lend(GET, b"").await;
    lending.stream.write_all(b"HTTP/1.1 502").await.unwrap();
    drop(lending.stream);
    let mut lent = lending.home.await.unwrap();
    lent.send_held(Duration::from_secs(5)).await.unwrap();
    let mut got = [0; 12];
    lending.client.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"HTTP/1.1 502");
}

#[tokio::test]
async fn a_changed_protocol_opens_the_tunnel_both_ways() {
    let mut lending = lend(WEBSOCKET, b"early").await;
    let head = read_head(&mut lending).await;
    assert!(
        head.ends_with("\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "{head}"
    );
    check_silent(&mut lending, 5).await;
    for head in [
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ] {
        lending.stream.write_all(head.as_bytes()).await.unwrap();
    }
    lending.stream.flush().await.unwrap();
    assert_eq!(given(&mut lending, 5).await, "early");
    lending.client.write_all(b"more").await.unwrap();
    assert_eq!(given(&mut lending, 4).await, "more");
    lending.client.shutdown().await.unwrap();
    assert_eq!(lending.stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_refused_change_of_protocol_opens_nothing() {
    let mut lending = lend(WEBSOCKET, b"frames").await;
    read_head(&mut lending).await;
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n",
        "HTTP/1.1 101",
    ] {
        lending.stream.write_all(bytes.as_bytes()).await.unwrap();
    }
    lending.stream.flush().await.unwrap();
    assert_eq!(given(&mut lending, 5).await, "0\r\n\r\n");
    check_silent(&mut lending, 6).await;
}
