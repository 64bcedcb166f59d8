//! The writer of answers over HTTP/2; whole nodes are asked in the modules.

mod client;
mod limits;
mod semantics;

use http::{HeaderMap, HeaderName, Request as HttpRequest, StatusCode};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::origin::receive::Framing;

const IDLE: Duration = Duration::from_secs(60);

/// What the client saw of one answer.
struct Seen {
    status: u16,
    fields: HeaderMap,
    /// The content, or the reason of the reset that broke it.
    content: Result<Vec<u8>, Reason>,
}

impl Seen {
    fn broken(error: &h2::Error) -> Self {
        Self {
            status: 0,
            fields: HeaderMap::new(),
            content: Err(error.reason().unwrap()),
        }
    }
}

/// Writes one response on a connection of its own; the writer's verdict, what it noted, and what the client saw.
async fn exchange(
    method: Method,
    response: Response,
) -> (Result<(), &'static str>, Answered, Seen) {
    let (near, far) = duplex(1 << 16);
    let asked = method.clone();
    let client = tokio::spawn(async move { ask(near, asked).await });
    let (mut stream, driving) = accept(far).await;
    let mut answered = Answered::default();
    let written = write(&mut stream, &method, response, &mut answered).await;
    if written.is_err() {
        stream.reset(Reason::INTERNAL_ERROR);
    }
    drop(stream);
    let seen = client.await.unwrap();
    driving.abort();
    (written, answered, seen)
}

/// The first stream of a connection, and the task that drives the connection from then on.
async fn accept(far: DuplexStream) -> (Http2Stream, JoinHandle<()>) {
    let mut connection = h2::server::handshake(far).await.unwrap();
    let (request, respond) = connection.accept().await.unwrap().unwrap();
    let driving = tokio::spawn(async move {
        assert!(connection.accept().await.is_none());
    });
    let stream = Http2Stream::new(request.into_body(), respond, IDLE);
    (stream, driving)
}

async fn ask(near: DuplexStream, method: Method) -> Seen {
    let (mut send, connection) = h2::client::handshake(near).await.unwrap();
    let driving = tokio::spawn(connection);
    let request = HttpRequest::builder()
        .method(method)
        .uri("https://example.test/")
        .body(())
        .unwrap();
    let (response, _) = send.send_request(request, true).unwrap();
    let (head, mut body) = match response.await {
        Ok(response) => response.into_parts(),
        // The reset overtook the head.
        Err(error) => return Seen::broken(&error),
    };
    let mut content = Vec::new();
    while let Some(piece) = body.data().await {
        match piece {
            Ok(piece) => content.extend_from_slice(&piece),
            Err(error) => return Seen::broken(&error),
        }
    }
    drop(driving);
    Seen {
        status: head.status.as_u16(),
        fields: head.headers,
        content: Ok(content),
    }
}

fn composed(content: Content) -> Response {
    let name = HeaderName::from_static("x-kept");
    Response {
        head: Head::Composed {
            status: StatusCode::OK,
            fields: HeaderMap::from_iter([(name, HeaderValue::from_static("yes"))]),
        },
        content,
    }
}

async fn origin(bytes: &'static str, framing: Framing) -> Content {
    let (mut side, stream) = duplex(1 << 16);
    side.write_all(bytes.as_bytes()).await.unwrap();
    Content::Origin {
        length: None,
        body: OriginBody::reading(Box::new(stream), framing),
    }
}

#[tokio::test]
async fn each_kind_of_content_is_written_whole_and_ended_cleanly() {
    let check = async |method: Method, content: Content, length: Option<&str>, expected: &str| {
        let (written, answered, seen) = exchange(method, composed(content)).await;
        assert_eq!(written, Ok(()));
        assert!(answered.complete && answered.first_byte.is_some());
        let sent = field_bytes(&seen.fields) + expected.len();
        assert_eq!((answered.status, answered.bytes_out), (200, sent as u64));
        assert_eq!(
            (seen.status, &seen.fields["x-kept"]),
            (200, &HeaderValue::from_static("yes"))
        );
        let announced = seen
            .fields
            .get("content-length")
            .map(|value| value.to_str().unwrap());
        assert_eq!(announced, length);
        assert_eq!(seen.content.unwrap(), expected.as_bytes());
    };
    check(Method::GET, Content::None, None, "").await;
    check(
        Method::GET,
        Content::Whole(Bytes::from_static(b"abc")),
        Some("3"),
        "abc",
    )
    .await;
    check(Method::GET, Content::Whole(Bytes::new()), Some("0"), "").await;
    check(Method::HEAD, Content::HeadOnly(Some(7)), Some("7"), "").await;
    let chunked = origin("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", Framing::Chunked).await;
    check(Method::GET, chunked, None, "abcde").await;
}

#[tokio::test]
async fn a_transfer_that_breaks_is_reset_and_never_ended() {
    // Eight bytes: one less than announced, or without the last chunk.
    for framing in [Framing::Length(9), Framing::Chunked] {
        let content = origin("3\r\nabc\r\n", framing).await;
        let (written, answered, seen) = exchange(Method::GET, composed(content)).await;
        assert_eq!(written, Err("body-incomplete"));
        assert!(!answered.complete);
        assert_eq!(seen.content.unwrap_err(), Reason::INTERNAL_ERROR);
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_wait_for_content() {
    let (near, far) = duplex(1 << 16);
    let client = tokio::spawn(async move {
        let (mut send, connection) = h2::client::handshake(near).await.unwrap();
        let driving = tokio::spawn(connection);
        let request = HttpRequest::get("https://example.test/").body(()).unwrap();
        let (response, mut stream) = send.send_request(request, true).unwrap();
        response.await.unwrap();
        stream.send_reset(Reason::CANCEL);
        let _ = driving.await;
    });
    let (mut answering, driving) = accept(far).await;
    let (_silent_side, stream) = duplex(16);
    let content = Content::Origin {
        length: Some(5),
        body: OriginBody::reading(Box::new(stream), Framing::Length(5)),
    };
    let mut answered = Answered::default();
    let written = write(
        &mut answering,
        &Method::GET,
        composed(content),
        &mut answered,
    )
    .await;
    assert_eq!(written, Err("client-left"));
    driving.abort();
    client.abort();
}
