//! Interim responses (RFC 9110 §15.2) on their way from a side to the client whose request caused the fetch.
//!
//! A carrier that can write them brings [`Interims`] to the story and drains it for as long as the story has not answered; the fill of the
//! request that leads gets the [`Teller`]. Nobody else: who reads along, who is served from the store, and HTTP/1.0 clients get none.
//! They are never stored and never mixed into the final head. Invariant: a fetch never waits for a client to take one; what a slow client
//! leaves lying is bounded by [`INTERIM_MAX`] and [`INTERIM_BYTES`] and dropped beyond.

use std::future::poll_fn;
use std::task::{Context, Poll};

use http::{HeaderMap, StatusCode};
use jet9_cache::semantics::storable;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::message::field_bytes;
use crate::origin::receive::Received;

/// Interim responses before a final one. Not configurable: more is a side that never comes to the point, and its answer is refused.
pub const INTERIM_MAX: usize = 16;

/// Bytes of fields that one fetch tells its client in interim responses. Not configurable: as much as a large head; the rest is left out.
pub const INTERIM_BYTES: usize = 64 << 10;

/// An interim response as the client gets it: end-to-end fields only.
#[derive(Clone, Debug)]
pub struct Interim {
    /// 102 to 199.
    pub status: StatusCode,
    /// The fields, without framing and what is for the edge alone.
    pub fields: HeaderMap,
}

/// What a carrier holds: interim responses for one request, from the moment that a fetch is made for it.
#[derive(Debug)]
pub struct Interims {
    wanted: bool,
    // Empty until the story leads a fetch: hits, which are nearly all requests, pay nothing for what they never have.
    source: Mutex<Option<mpsc::Receiver<Interim>>>,
}

impl Interims {
    /// For a client that is told (HTTP/1.1, HTTP/2).
    pub const fn wanted() -> Self {
        Self::new(true)
    }

    /// For one that is not: HTTP/1.0 knows none (RFC 9110 §15.2).
    pub const fn unwanted() -> Self {
        Self::new(false)
    }

    const fn new(wanted: bool) -> Self {
        Self {
            wanted,
            source: Mutex::new(None),
        }
    }

    /// Opens the way from a fetch; `None` where nobody wants to be told. A later fetch for the same request takes the place of an earlier.
    pub fn open(&self) -> Option<Teller> {
        if !self.wanted {
            return None;
        }
        let (sender, source) = mpsc::channel(INTERIM_MAX);
        *self.source.lock() = Some(source);
        Some(Teller {
            sender,
            left: INTERIM_BYTES,
        })
    }

    /// The next one, in the order in which they came. Pending for ever when none comes any more.
    ///
    /// To be polled by the task that polls the story, after it: only the story opens the way, so that nobody else need wake this.
    pub async fn next(&self) -> Interim {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Interim> {
        let mut source = self.source.lock();
        let Some(receiver) = source.as_mut() else {
            return Poll::Pending;
        };
        match receiver.poll_recv(cx) {
            Poll::Ready(Some(interim)) => Poll::Ready(interim),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// One that has arrived already.
    pub fn take(&self) -> Option<Interim> {
        self.source.lock().as_mut()?.try_recv().ok()
    }
}

/// The other end, for one fetch.
#[derive(Debug)]
pub struct Teller {
    sender: mpsc::Sender<Interim>,
    left: usize,
}

impl Teller {
    /// Passes an interim response on, unless it is about this connection alone, or too much, or the client is gone.
    ///
    /// RFC 9110 §15.2 wants all passed on but those that a proxy asked for itself. 100 answers an expectation, which no fetch has sent.
    pub fn tell(&mut self, received: Received) {
        let Received {
            status, mut fields, ..
        } = received;
        if status == StatusCode::CONTINUE || status == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        for name in withheld(&fields) {
            fields.remove(name);
        }
        let Some(left) = self.left.checked_sub(field_bytes(&fields)) else {
            return;
        };
        // Full: the client takes nothing. Closed: it is gone. Neither is the fetch's concern.
        if self.sender.try_send(Interim { status, fields }).is_ok() {
            self.left = left;
        }
    }
}

fn withheld(fields: &HeaderMap) -> Vec<http::HeaderName> {
    let withheld = fields.keys().filter(|name| storable::is_withheld(name));
    withheld.cloned().collect()
}

#[cfg(test)]
mod tests {
    use http::Method;
    use jet9_config::limits::Limits;
    use jet9_config::site::UnknownCoding;

    use super::*;
    use crate::origin::receive::{self, Asked};

    fn received(text: &str) -> Received {
        let asked = Asked {
            method: &Method::GET,
            unknown_coding: UnknownCoding::Refuse,
        };
        receive::head(text.as_bytes(), asked, &Limits::default()).unwrap()
    }

    fn told(text: &str) -> Option<String> {
        let interims = Interims::wanted();
        interims.open().unwrap().tell(received(text));
        let Interim { status, fields } = interims.take()?;
        let lines = fields.iter();
        let lines = lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        Some(format!(
            "{status}|{}",
            lines.collect::<Vec<_>>().join("|"),
            status = status.as_u16()
        ))
    }

    #[test]
    fn what_is_not_about_one_connection_is_passed_on_with_its_end_to_end_fields() {
        let check = |lines: &str, expected: Option<&str>| {
            let got = told(&format!("HTTP/1.1 {lines}\r\n\r\n"));
            assert_eq!(got.as_deref(), expected, "{lines:?}");
        };
        check("100 Continue", None);
        check("101 Switching Protocols\r\nUpgrade: x", None);
        check("102 Processing", Some("102|"));
        check(
            "103 Early Hints\r\nLink: </a>\r\nLink: </b>",
            Some("103|link: </a>|link: </b>"),
        );
        check("104 Unknown\r\nX: y", Some("104|x: y"));
        check(
            "103 Early Hints\r\nConnection: x-mine, close\r\nX-Mine: 1\r\nKeep-Alive: 2\r\nLink: </a>",
            Some("103|link: </a>"),
        );
        check(
            "103 Early Hints\r\nCache-Tag: secret\r\nJet9-Cache-Control: no-store\r\nLink: </a>",
            Some("103|link: </a>"),
        );
    }

    #[test]
    fn a_slow_client_leaves_no_more_lying_than_the_limits() {
        let interims = Interims::wanted();
        let mut teller = interims.open().unwrap();
        for _ in 0..3 * INTERIM_MAX {
            teller.tell(received("HTTP/1.1 102 Processing\r\n\r\n"));
        }
        let waiting = std::iter::from_fn(|| interims.take());
        assert_eq!(waiting.count(), INTERIM_MAX);

        let large = format!(
            "HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n",
            "x".repeat(INTERIM_BYTES / 3)
        );
        for _ in 0..INTERIM_MAX {
            teller.tell(received(&large));
        }
        let waiting = std::iter::from_fn(|| interims.take());
        assert_eq!(waiting.count(), 2);
    }

    #[test]
    fn who_wants_none_opens_no_way() {
        assert!(Interims::unwanted().open().is_none());
        assert!(Interims::wanted().take().is_none());
    }
}
