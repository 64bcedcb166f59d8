//! `/v1/events`: what happens to this node, as server-sent events, until the reader leaves or cannot keep up.
//!
//! A reader that does not take what is sent has at most [`QUEUE`] events waiting here; then its connection is cut, and counted. Invariant 7.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use http::StatusCode;
use http::header::RETRY_AFTER;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};

use super::places::Place;
use super::problem::Problem;
use super::{Answer, Call, Content};
use crate::control::events::{Event, Events};

/// The media type of events.
pub(super) const STREAM: &str = "text/event-stream";

/// Readers at once.
pub(super) const READERS_MAX: usize = 16;

/// Events that wait for one reader, besides what its socket holds.
const QUEUE: usize = 256;

/// How often a line is sent when nothing happens, so that both ends know of each other.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The content of an answer that goes on.
pub(super) type Stream = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A reader's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Reader {
    heard: broadcast::Receiver<Event>,
    _place: OwnedSemaphorePermit,
}

/// `GET /v1/events`.
pub(super) async fn listen(call: Call<'_>) -> Result<Answer, Problem> {
    let place = Arc::clone(&call.api.readers).try_acquire_owned();
    let place = place.map_err(|_| {
        let detail = format!("{READERS_MAX} readers listen already");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(RETRY_AFTER, 5.into())
    })?;
    let reader = Reader {
        heard: call.api.events.listen(),
        _place: place,
    };
    Ok(Answer::new(StatusCode::OK, Content::Events(reader)))
}

/// The events for a reader, whose connection has this place.
pub(super) fn stream(reader: Reader, events: Arc<Events>, place: Arc<Place>) -> Stream {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        if !pump(reader, &sender).await {
            log::warn!("a reader of /v1/events is too slow; it is cut");
            events.cut.inc();
            place.cut();
        }
    });
    let frames = unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async {
        let bytes = receiver.recv().await?;
        Some((Ok(Frame::data(bytes)), receiver))
    });
    StreamBody::new(frames.boxed())
}

/// Passes on what is heard; `false`: the reader was too slow.
async fn pump(mut reader: Reader, sender: &mpsc::Sender<Bytes>) -> bool {
    let mut next: Bytes = ": this node's events\n\n".into();
    loop {
        match sender.try_send(next) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return false,
            Err(mpsc::error::TrySendError::Closed(_)) => return true,
        }
        let heard = tokio::select! {
            () = sender.closed() => return true,
            heard = tokio::time::timeout(KEEP_ALIVE, reader.heard.recv()) => heard,
        };
        next = match heard {
            Err(_) => ": nothing new\n\n".into(),
            Ok(Ok(event)) => format!(
                "id: {}\nevent: {}\ndata: {}\n\n",
                event.sequence, event.kind, event.json
            )
            .into(),
            Ok(Err(RecvError::Lagged(_))) => return false,
            Ok(Err(RecvError::Closed)) => return true,
        };
    }
}
