//! Responses as bytes on a loopback connection.

use std::collections::VecDeque;

use http::HeaderValue;
use jet9_config::limits::Limits;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::control::health::Drain;
use crate::framework::front::transport::Transport;

const TERMS: Terms = Terms {
    protocol: Protocol::Http11,
    head_only: false,
    close: false,
    idle: Duration::from_secs(5),
};

async fn pair() -> (TcpStream, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    let transport = Transport::Clear(accepted.unwrap().0);
    let connection = Connection::new(transport, Drain::new().watch(), &Limits::default());
    (client.unwrap(), connection)
}

fn composed(status: u16, content: Content) -> Response {
    let mut fields = HeaderMap::new();
    fields.insert("x-a", HeaderValue::from_static("1"));
    // The carrier's own: a field of this name from elsewhere must not reach the client.
    fields.insert(CONTENT_LENGTH, HeaderValue::from_static("99"));
    Response {
        head: Head::Composed {
            status: StatusCode::from_u16(status).unwrap(),
            fields,
        },
        content,
    }
}

async fn check(status: u16, content: Content, terms: Terms, expected: &str) {
    let (mut client, mut connection) = pair().await;
    let mut answered = Answered::default();
    let response = composed(status, content);
    write(&mut connection, response, &terms, &mut answered)
        .await
        .unwrap();
    drop(connection);
    let mut got = String::new();
    client.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, expected);
    assert_eq!(answered.bytes_out, expected.len() as u64);
    assert_eq!(answered.status, status);
    assert!(answered.complete && answered.first_byte.is_some());
}

fn whole() -> Content {
    Content::Whole(Bytes::from_static(b"abc"))
}

#[tokio::test]
async fn the_form_of_each_content() {
    let ok = "HTTP/1.1 200 OK\r\nx-a: 1\r\n";
    check(
        200,
        whole(),
        TERMS,
        &format!("{ok}content-length: 3\r\n\r\nabc"),
    )
    .await;
    check(
        200,
        Content::None,
        TERMS,
        &format!("{ok}content-length: 0\r\n\r\n"),
    )
    .await;
    check(
        204,
        whole(),
        TERMS,
        "HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n",
    )
    .await;
    check(
        304,
        Content::None,
        TERMS,
        "HTTP/1.1 304 Not Modified\r\nx-a: 1\r\n\r\n",
    )
    .await;
    check(
        200,
        Content::HeadOnly(Some(7)),
        TERMS,
        &format!("{ok}content-length: 7\r\n\r\n"),
    )
    .await;
    check(200, Content::HeadOnly(None), TERMS, &format!("{ok}\r\n")).await;
    let head = Terms {
        head_only: true,
        ..TERMS
    };
    check(
        200,
        whole(),
        head,
        &format!("{ok}content-length: 3\r\n\r\n"),
    )
    .await;
    // A status without a registered phrase: RFC 9112 §4 wants the space all the same.
    check(
        599,
        Content::None,
        TERMS,
        "HTTP/1.1 599 \r\nx-a: 1\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
}

#[tokio::test]
async fn what_is_said_of_the_connection() {
    let old = Terms {
        protocol: Protocol::Http10,
        ..TERMS
    };
    let ok = "HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 3\r\n";
    check(
        200,
        whole(),
        old,
        &format!("{ok}connection: keep-alive\r\n\r\nabc"),
    )
    .await;
    for protocol in [Protocol::Http10, Protocol::Http11] {
        let last = Terms {
            protocol,
            close: true,
            ..TERMS
        };
        check(
            200,
            whole(),
            last,
            &format!("{ok}connection: close\r\n\r\nabc"),
        )
        .await;
    }
}

struct Script(VecDeque<Result<&'static [u8], &'static str>>);

impl Pieces for Script {
    async fn next(&mut self) -> Result<Option<Bytes>, &'static str> {
        tokio::task::yield_now().await;
        self.0
            .pop_front()
            .map(|piece| piece.map(Bytes::from_static))
            .transpose()
    }
}

/// Streams a script and gives back what the client got after the head, and how it ended.
async fn streamed(
    framing: Framing,
    script: impl IntoIterator<Item = Result<&'static [u8], &'static str>>,
) -> (String, Result<(), Broken>) {
    streamed_from(framing, &mut Script(script.into_iter().collect())).await
}

async fn streamed_from(framing: Framing, pieces: &mut impl Pieces) -> (String, Result<(), Broken>) {
    let (mut client, mut connection) = pair().await;
    let mut answered = Answered::default();
    let head = composed(200, Content::None).head;
    let ending = ending(&head, framing, &TERMS);
    let mut out = Out {
        connection: &mut connection,
        idle: TERMS.idle,
        answered: &mut answered,
        framing,
        head: Some((head, ending)),
    };
    let result = out.stream(pieces).await;
    drop(connection);
    let mut got = String::new();
    client.read_to_string(&mut got).await.unwrap();
    let content = got.split_once("\r\n\r\n").unwrap().1.to_owned();
    (content, result)
}

#[tokio::test]
async fn content_in_pieces() {
    let pieces = || [Ok(&b"ab"[..]), Ok(b""), Ok(b"cde")];
    let (content, result) = streamed(Framing::Length(5), pieces()).await;
    assert_eq!((content.as_str(), result), ("abcde", Ok(())));
    let (content, result) = streamed(Framing::UntilClose, pieces()).await;
    assert_eq!((content.as_str(), result), ("abcde", Ok(())));
    let (content, result) = streamed(Framing::Chunked, pieces()).await;
    assert_eq!(
        (content.as_str(), result),
        ("2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", Ok(()))
    );
}

#[tokio::test]
async fn content_that_broke_off_is_not_ended() {
    let broken = Err(Broken::Content("origin-incomplete"));
    let script = || [Ok(&b"ab"[..]), Err("origin-incomplete")];
    let (content, result) = streamed(Framing::Chunked, script()).await;
    assert_eq!((content.as_str(), result), ("2\r\nab\r\n", broken));
    let (content, result) = streamed(Framing::Length(5), script()).await;
    assert_eq!((content.as_str(), result), ("ab", broken));
}

#[tokio::test]
async fn content_that_broke_off_before_the_head_was_written_still_has_a_head() {
    struct Broke;
    impl Pieces for Broke {
        async fn next(&mut self) -> Result<Option<Bytes>, &'static str> {
            Err("origin-incomplete")
        }
    }
    let (content, result) = streamed_from(Framing::Length(5), &mut Broke).await;
    assert_eq!(content, "");
    assert_eq!(result, Err(Broken::Content("origin-incomplete")));
}

#[tokio::test]
async fn content_of_another_length_than_announced_is_broken() {
    let (content, result) = streamed(Framing::Length(3), [Ok(&b"ab"[..])]).await;
    assert_eq!(content, "ab");
    assert_eq!(result, Err(Broken::Content("content-too-short")));
    let (content, result) = streamed(Framing::Length(3), [Ok(&b"ab"[..]), Ok(b"cd")]).await;
    assert_eq!(content, "ab", "nothing beyond the announced length");
    assert_eq!(result, Err(Broken::Content("content-too-long")));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_wait_for_the_next_piece() {
    struct Never;
    impl Pieces for Never {
        async fn next(&mut self) -> Result<Option<Bytes>, &'static str> {
            std::future::pending().await
        }
    }
    let (client, mut connection) = pair().await;
    drop(client);
    let mut answered = Answered::default();
    let mut out = Out {
        connection: &mut connection,
        idle: TERMS.idle,
        answered: &mut answered,
        framing: Framing::Chunked,
        head: None,
    };
    let result = out.stream(&mut Never).await;
    assert_eq!(result, Err(Broken::Client(Gone::Left)));
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let (_client, mut connection) = pair().await;
    let terms = Terms {
        idle: Duration::from_millis(50),
        ..TERMS
    };
    let content = Content::Whole(Bytes::from(vec![0; 64 << 20]));
    let mut answered = Answered::default();
    let failed = write(
        &mut connection,
        composed(200, content),
        &terms,
        &mut answered,
    )
    .await;
    assert_eq!(failed.unwrap_err().why, Broken::Client(Gone::Stalled));
    assert!(!answered.complete);
}

#[test]
fn chunk_sizes_are_hexadecimal() {
    for (size, expected) in [
        (1, "1\r\n"),
        (255, "ff\r\n"),
        (usize::MAX, "ffffffffffffffff\r\n"),
    ] {
        assert_eq!(chunk_size_line(&mut [0; 18], size), expected.as_bytes());
    }
}
