//! A client of a story: sends one request on a connection of its own and keeps what comes.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use rustls::pki_types::CertificateDer;

use super::support::http1::Client;
use super::support::http2::{End, Http2};
use super::support::wait::SOON;

/// The name of the site that all stories are about.
pub(crate) const HOST: &str = "site.test";

/// Where the edge is, and how it is spoken to.
#[derive(Clone)]
pub(crate) enum Door {
    Http1(SocketAddr),
    Http2(SocketAddr, Vec<CertificateDer<'static>>),
}

/// What is asked.
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
}

/// An answer, interim or final.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
    /// How the content ended.
    pub(crate) end: Result<(), String>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = String::from_utf8_lossy(&self.content);
        let Self {
            status,
            fields,
            end,
            ..
        } = self;
        write!(f, "{status} {fields:?} {content:?} {end:?}")
    }
}

/// Where a client tells what comes.
struct Tell {
    tell: Sender<Answer>,
    has_head: Arc<AtomicBool>,
}

impl Tell {
    fn head(&self) {
        self.has_head.store(true, Ordering::Relaxed);
    }

    fn answer(&self, answer: Answer) {
        // Where nobody listens any more, the story is over.
        let _ = self.tell.send(answer);
    }
}

/// A request under way.
pub(crate) struct Asking {
    answers: Receiver<Answer>,
    early: VecDeque<Answer>,
    has_head: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Asking {
    /// Sends the question.
    pub(crate) fn begin(door: Door, question: Question) -> Self {
        let (tell, answers) = mpsc::channel();
        let has_head = Arc::new(AtomicBool::new(false));
        let tell = Tell {
            tell,
            has_head: Arc::clone(&has_head),
        };
        let thread = thread::spawn(move || match door {
            Door::Http1(address) => http1(Client::clear(address), &question, &tell),
            Door::Http2(address, roots) => {
                http2(&mut Http2::connect(address, &roots, HOST), question, &tell);
            }
        });
        Self {
            answers,
            early: VecDeque::new(),
            has_head,
            thread: Some(thread),
        }
    }

    /// The next answer, which may be an interim one.
    pub(crate) fn answer(&mut self) -> Result<Answer, String> {
        if let Some(answer) = self.early.pop_front() {
            return Ok(answer);
        }
        match self.answers.recv_timeout(SOON) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => Err(format!("no answer within {SOON:?}")),
            Err(RecvTimeoutError::Disconnected) => Err(self.why_it_ended()),
        }
    }

    /// Whether the head of the final answer has come.
    pub(crate) fn has_head(&self) -> bool {
        self.has_head.load(Ordering::Relaxed)
    }

    /// An answer that has come and that nobody looked at.
    pub(crate) fn early(&mut self) -> Option<&Answer> {
        self.early.extend(self.answers.try_iter());
        self.early.front()
    }

    fn why_it_ended(&mut self) -> String {
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            Some(Err(reason)) => super::play::words_of(reason.as_ref()),
            Some(Ok(())) | None => "no further answer".to_owned(),
        }
    }
}

fn http1(mut client: Client, question: &Question, tell: &Tell) {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: {HOST}\r\n",
        question.method, question.target
    );
    for (name, value) in &question.fields {
        head.extend([name, ": ", value, "\r\n"]);
    }
    client.send([head.as_bytes(), b"\r\n", &question.content].concat());
    loop {
        let head = client
            .next_head(&question.method)
            .unwrap_or_else(|broken| panic!("no head but {broken:?}"));
        let is_interim = head.is_interim();
        let mut answer = Answer {
            status: head.status,
            fields: head.fields,
            content: Vec::new(),
            end: Ok(()),
        };
        if !is_interim {
            tell.head();
            answer.end = loop {
                match client.more(&mut answer.content) {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(broken) => break Err(format!("{broken:?}")),
                }
            };
        }
        tell.answer(answer);
        if !is_interim {
            return;
        }
    }
}

fn http2(client: &mut Http2, question: Question, tell: &Tell) {
    let mut request = http::Request::builder()
        .method(question.method.as_str())
        .uri(format!("https://{HOST}{}", question.target));
    for (name, value) in &question.fields {
        request = request.header(name, value);
    }
    let request = request
        .body(Bytes::from(question.content))
        .expect("a request");
    let streaming = client.send_telling(request, |interim| {
        tell.answer(Answer {
            status: interim.status().as_u16(),
            fields: lines(interim.headers()),
            content: Vec::new(),
            end: Ok(()),
        });
    });
    let streaming = streaming.unwrap_or_else(|error| panic!("no head but {error}"));
    tell.head();
    let fetched = streaming.rest(Vec::new());
    let answer = Answer {
        status: fetched.head.status.as_u16(),
        fields: lines(&fetched.head.headers),
        content: fetched.content,
        end: match fetched.end {
            End::Clean => Ok(()),
            broken => Err(format!("{broken:?}")),
        },
    };
    tell.answer(answer);
}

fn lines(fields: &http::HeaderMap) -> Vec<(String, String)> {
    let lines = fields.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.as_str().to_owned(), value.into_owned())
    });
    lines.collect()
}
