//! An HTTP/2 client over TLS that tells a clean end of a stream from a reset.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::tls;
use super::wait::SOON;

/// A connection, driven while one of its methods runs.
pub(crate) struct Http2 {
    runtime: Runtime,
    send: SendRequest<Bytes>,
}

/// An answer whose content is still coming.
pub(crate) struct Streaming<'a> {
    runtime: &'a Runtime,
    pub(crate) head: http::response::Parts,
    body: RecvStream,
}

/// A whole answer, or what came of one.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) head: http::response::Parts,
    pub(crate) content: Vec<u8>,
    pub(crate) end: End,
}

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    Reset(Reason),
    /// The connection ended under it.
    Cut(String),
}

impl Http2 {
    /// Connects, and makes sure that HTTP/2 is spoken.
    pub(crate) fn connect(
        address: SocketAddr,
        roots: &[CertificateDer<'static>],
        name: &str,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let config = tls::client_config(roots, &["h2", "http/1.1"]);
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let send = runtime.block_on(async {
            let socket = TcpStream::connect(address).await.expect("a connection");
            let tls = TlsConnector::from(config)
                .connect(name, socket)
                .await
                .expect("a handshake");
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (send, connection) = h2::client::Builder::new()
                .initial_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .handshake(tls)
                .await
                .expect("HTTP/2");
            tokio::spawn(connection);
            send
        });
        Self { runtime, send }
    }

    /// Asks for `target` of `host` and reads the head of the answer.
    pub(crate) fn begin(&mut self, method: &str, host: &str, target: &str) -> Streaming<'_> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("https://{host}{target}"))
            .body(Bytes::new())
            .expect("a request");
        self.send(request).expect("a head")
    }

    /// Sends a request with its content and reads the head of the answer.
    pub(crate) fn send(
        &mut self,
        request: http::Request<Bytes>,
    ) -> Result<Streaming<'_>, h2::Error> {
        self.send_telling(request, |_| {})
    }

    /// The same, telling of interim responses when they come.
    pub(crate) fn send_telling(
        &mut self,
        request: http::Request<Bytes>,
        mut interim: impl FnMut(http::Response<()>),
    ) -> Result<Streaming<'_>, h2::Error> {
        let send = self.send.clone();
        let (request, content) = request.into_parts();
        let answer = self.runtime.block_on(within(async move {
            let mut send = send.ready().await?;
            let request = http::Request::from_parts(request, ());
            let (answer, mut stream) = send.send_request(request, content.is_empty())?;
            if !content.is_empty() {
                stream.send_data(content, true)?;
            }
            let mut answer = pin!(answer);
            poll_fn(|cx| {
                // An error is the answer's to tell.
                while let Poll::Ready(Some(Ok(head))) = answer.poll_informational(cx) {
                    interim(head);
                }
                answer.as_mut().poll(cx)
            })
            .await
        }))?;
        let (head, body) = answer.into_parts();
        Ok(Streaming {
            runtime: &self.runtime,
            head,
            body,
        })
    }

    /// Asks for all `targets` of `host` at once, and reads the answers.
    pub(crate) fn get_all(&mut self, host: &str, targets: &[String]) -> Vec<Fetched> {
        let send = &self.send;
        let asking = targets.iter().map(|target| async move {
            let mut send = send.clone().ready().await?;
            let request = http::Request::get(format!("https://{host}{target}"));
            let request = request.body(()).expect("a request");
            let (head, mut body) = send.send_request(request, true)?.0.await?.into_parts();
            let mut content = Vec::new();
            while let Some(data) = body.data().await.transpose()? {
                body.flow_control().release_capacity(data.len())?;
                content.extend_from_slice(&data);
            }
            let end = End::Clean;
            Ok::<_, h2::Error>(Fetched { head, content, end })
        });
        let answers = self.runtime.block_on(within(try_join_all(asking)));
        answers.expect("whole answers")
    }

    /// Asks for `target` of `host` and reads all of the answer.
    pub(crate) fn get(&mut self, host: &str, target: &str) -> Fetched {
        self.begin("GET", host, target).rest(Vec::new())
    }
}

impl Streaming<'_> {
    /// Waits for more of the content.
    pub(crate) fn more(&mut self) -> Result<Bytes, End> {
        let body = &mut self.body;
        let data = self.runtime.block_on(within(async {
            let data = body.data().await;
            if let Some(Ok(data)) = &data {
                body.flow_control().release_capacity(data.len())?;
            }
            data.transpose()
        }));
        match data {
            Ok(Some(data)) => Ok(data),
            Ok(None) => Err(End::Clean),
            Err(error) if error.is_reset() => {
                Err(End::Reset(error.reason().unwrap_or(Reason::NO_ERROR)))
            }
            Err(error) => Err(End::Cut(error.to_string())),
        }
    }

    /// Reads the rest; `content` came before.
    pub(crate) fn rest(mut self, mut content: Vec<u8>) -> Fetched {
        let end = loop {
            match self.more() {
                Ok(data) => content.extend_from_slice(&data),
                Err(end) => break end,
            }
        };
        Fetched {
            head: self.head,
            content,
            end,
        }
    }
}

impl Fetched {
    /// The status.
    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// As [`super::http1::Head::is_shared`].
    pub(crate) fn is_shared(&self) -> bool {
        let status = self.head.headers.get("cache-status");
        let text = status
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        text.contains("; hit") || text.contains("; collapsed")
    }
}

/// Bytes that a server may send ahead: small enough that a reader can hold it up.
const WINDOW: u32 = 256 << 10;

async fn within<T>(work: impl Future<Output = Result<T, h2::Error>>) -> Result<T, h2::Error> {
    let limit: Duration = SOON;
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| panic!("nothing over HTTP/2 within {limit:?}"))
}
