//! One question to a side that is no request of a visitor: is somebody there, and what does its guard say?
//!
//! Asked by [`super`]. Speaks as little HTTP/1.1 as `docs/in-band-guard.md` promises: one request on one connection, of whose answer the head is
//! read. Each question has one deadline.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use http::{Method, StatusCode};
use jet9_cluster::{Epoch, Instant};
use jet9_config::ClusterId;
use jet9_config::limits::Limits;
use jet9_config::site::UnknownCoding;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock;
use crate::origin::guard::Said;
use crate::origin::receive::{self, Asked};

/// How long a question may take in all.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The bytes of a head that a guard may answer.
const HEAD_MAX: usize = 4096;

/// Whether one of these addresses takes connections. Nothing is sent.
pub(super) async fn connects(addrs: &[SocketAddr]) -> bool {
    for addr in addrs {
        if let Ok(Ok(_)) = timeout(ANSWER_MAX, TcpStream::connect(addr)).await {
            return true;
        }
    }
    false
}

/// A side's guard, asked as one who believes that the side is master in an epoch.
pub(super) struct Guard<'a> {
    pub(super) addr: SocketAddr,
    pub(super) cluster: &'a ClusterId,
    pub(super) epoch: Epoch,
}

/// What it answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) said: Said,
    /// When it was asked, taken before the first byte was written.
    pub(super) asked: Instant,
}

impl Guard<'_> {
    /// Asks.
    ///
    /// # Errors
    /// When no head came in time that can be read.
    pub(super) async fn ask(&self, limits: &Limits) -> io::Result<Answer> {
        let asking = timeout(ANSWER_MAX, self.converse(limits));
        asking.await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn converse(&self, limits: &Limits) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(self.addr).await?;
        let request = format!(
            "GET /.well-known/jet9-guard HTTP/1.1\r\nHost: {}\r\nJet9-Epoch: {}\r\nConnection: close\r\n\r\n",
            self.cluster, self.epoch.0
        );
        let asked = clock::boottime();
        stream.write_all(request.as_bytes()).await?;
        let head = head(&mut stream).await?;
        let question = Asked {
            method: &Method::GET,
            unknown_coding: UnknownCoding::Refuse,
        };
        let received = receive::head(&head, question, limits).map_err(io::Error::other)?;
        Ok(Answer {
            status: received.status,
            said: received.said,
            asked,
        })
    }
}

/// The bytes of the head, the empty line included.
async fn head(stream: &mut TcpStream) -> io::Result<BytesMut> {
    let mut read = BytesMut::with_capacity(HEAD_MAX);
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            read.truncate(end + 4);
            return Ok(read);
        }
        if read.len() >= HEAD_MAX {
            return Err(io::Error::other("the head is too large"));
        }
        let most = (HEAD_MAX - read.len()) as u64;
        if (&mut *stream).take(most).read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
