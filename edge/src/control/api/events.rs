//! `/v1/events`: what happens to this node, as server-sent events, until the reader leaves, cannot keep up, or its token is withdrawn.
//!
//! A reader that does not take what is sent has at most [`QUEUE`] events waiting here; then its connection is cut, and counted. Invariant 7. One
//! token has a share of the readers' places and no more, and the last of them are for who has `admin`. Invariant 8.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use http::StatusCode;
use http_body_util::StreamBody;
use hyper::body::Frame;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};

use super::places::Place;
use super::problem::Problem;
use super::{Answer, Api, Call, Content};
use crate::control::events::Event;
use crate::control::tokens::{Principal, Tokens};

/// The media type of events.
pub(super) const STREAM: &str = "text/event-stream";

/// Readers at once.
const READERS_MAX: usize = 16;

/// Of those, of who has not `admin`.
const READERS_COUNTED: usize = 12;

/// Of those, of one token.
const READERS_OF_ONE: usize = 4;

/// Events that wait for one reader, besides what its socket holds.
const QUEUE: usize = 256;

/// How often a line is sent when nothing happens, so that both ends know of each other.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The content of an answer that goes on.
pub(super) type Stream = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// The places of those who listen.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Of those, by name, of who has not `admin`.
    counted: HashMap<String, usize>,
}

/// A reader's place; free again when it is dropped.
#[derive(Debug)]
struct Seat {
    readers: Arc<Readers>,
    /// Whose it is, if that counts.
    name: Option<String>,
}

/// Who listens, and to what.
#[derive(Debug)]
pub(super) struct Reader {
    principal: Principal,
    heard: broadcast::Receiver<Event>,
    /// Tells that some token was withdrawn.
    withdrawn: watch::Receiver<()>,
    _seat: Seat,
}

/// How a reader ends.
enum End {
    Left,
    TooSlow,
    Withdrawn,
}

impl Readers {
    /// A place for one more.
    fn enter(self: &Arc<Self>, who: &Principal) -> Result<Seat, Problem> {
        let name = (!who.is_admin()).then(|| who.name().to_owned());
        let mut taken = self.0.lock();
        if let Some(name) = &name {
            let own = taken.counted.get(name).copied().unwrap_or(0);
            if own >= READERS_OF_ONE {
                let detail = format!("{READERS_OF_ONE} readers listen already with this token");
                return Err(Problem::crowded(StatusCode::TOO_MANY_REQUESTS, detail));
            }
        }
        let counted = taken.counted.values().sum::<usize>();
        if taken.all >= READERS_MAX || (name.is_some() && counted >= READERS_COUNTED) {
            let detail = format!("{} readers listen already", taken.all);
            return Err(Problem::crowded(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
        taken.all += 1;
        if let Some(name) = &name {
            *taken.counted.entry(name.clone()).or_default() += 1;
        }
        Ok(Seat {
            readers: Arc::clone(self),
            name,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.readers.0.lock();
        taken.all -= 1;
        let Some(name) = &self.name else {
            return;
        };
        if let Some(own) = taken.counted.get_mut(name) {
            *own -= 1;
            if *own == 0 {
                taken.counted.remove(name);
            }
        }
    }
}

/// `GET /v1/events`.
pub(super) async fn listen(call: Call<'_>) -> Result<Answer, Problem> {
    let seat = call.api.readers.enter(call.principal)?;
    let mut withdrawn = call.api.edge.tokens.withdrawals();
    // It may have been withdrawn since it was looked at.
    withdrawn.mark_changed();
    let reader = Reader {
        principal: call.principal.clone(),
        heard: call.api.events.listen(),
        withdrawn,
        _seat: seat,
    };
    Ok(Answer::new(StatusCode::OK, Content::Events(reader)))
}

/// The events for a reader, whose connection has this place.
pub(super) fn stream(mut reader: Reader, api: &Arc<Api>, place: Arc<Place>) -> Stream {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let api = Arc::clone(api);
    tokio::spawn(async move {
        match pump(&mut reader, &api.edge.tokens, &sender).await {
            End::Left => return,
            End::TooSlow => {
                log::warn!("a reader of /v1/events is too slow; it is cut");
                api.events.cut.inc();
            }
            End::Withdrawn => {
                let who = reader.principal.name();
                log::info!("{who} is withdrawn; what it hears of /v1/events ends");
            }
        }
        place.cut();
    });
    let frames = unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async {
        let bytes = receiver.recv().await?;
        Some((Ok(Frame::data(bytes)), receiver))
    });
    StreamBody::new(frames.boxed())
}

/// Passes on what is heard, until the reader ends.
async fn pump(reader: &mut Reader, tokens: &Tokens, sender: &mpsc::Sender<Bytes>) -> End {
    let mut next: Bytes = ": this node's events\n\n".into();
    loop {
        match sender.try_send(next) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return End::TooSlow,
            Err(mpsc::error::TrySendError::Closed(_)) => return End::Left,
        }
        next = tokio::select! {
            () = sender.closed() => return End::Left,
            () = is_withdrawn(&reader.principal, tokens, &mut reader.withdrawn) => {
                return End::Withdrawn;
            }
            line = line(&mut reader.heard) => match line {
                Ok(line) => line,
                Err(end) => return end,
            },
        };
    }
}

/// Waits until whoever listens may no longer.
async fn is_withdrawn(who: &Principal, tokens: &Tokens, withdrawn: &mut watch::Receiver<()>) {
    while withdrawn.changed().await.is_ok() {
        if !tokens.stand(who) {
            return;
        }
    }
    std::future::pending().await
}

/// What is to be sent next.
async fn line(heard: &mut broadcast::Receiver<Event>) -> Result<Bytes, End> {
    match tokio::time::timeout(KEEP_ALIVE, heard.recv()).await {
        Err(_) => Ok(": nothing new\n\n".into()),
        Ok(Ok(event)) => Ok(format!(
            "id: {}\nevent: {}\ndata: {}\n\n",
            event.sequence, event.kind, event.json
        )
        .into()),
        Ok(Err(RecvError::Lagged(_))) => Err(End::TooSlow),
        Ok(Err(RecvError::Closed)) => Err(End::Left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_has_its_share_and_the_last_places_are_the_admins() {
        let readers = Arc::new(Readers::default());
        let status = |who: &Principal| {
            let refused = readers.enter(who).expect_err("no place");
            refused.status().as_u16()
        };
        let names = ["a", "b", "c", "d"];
        let tokens = names.map(|name| Principal::new(name, []));
        let mut seats = Vec::new();
        for token in &tokens[..3] {
            seats.extend([(); 4].map(|()| readers.enter(token).expect("its share")));
            assert_eq!(status(token), 429);
        }
        assert_eq!(status(&tokens[3]), 503);
        let admin = Principal::admin("admin");
        seats.extend([(); 4].map(|()| readers.enter(&admin).expect("reserved")));
        assert_eq!(status(&admin), 503);
        seats.clear();
        assert!(readers.enter(&tokens[3]).is_ok());
        let taken = readers.0.lock();
        assert_eq!((taken.all, taken.counted.len()), (0, 0));
    }
}
