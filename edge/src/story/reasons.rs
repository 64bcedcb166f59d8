//! Each reason word of the closed enum is produced by a request, and explain says that very word before: here, or in the test that is named here.
//!
//! What the side's answer decides, explain is asked about with the answer that the side then gives; without it, it says that the answer decides.

use std::collections::HashSet;
use std::net::SocketAddr;

use bytes::Bytes;
use jet9_cache::Timestamp;
use jet9_cache::disk::VolumeConfig;
use jet9_cache::disk::shares::Quota;
use jet9_cache::purge::{Mode, Purge, What};
use jet9_config::site::{Profile, SetCookie, Site};
use serde_json::{Value, json};

use super::*;
use crate::clock::{self, ManualClock, WallClock};
use crate::control::explain::{self, Question};
use crate::exchange::Asked;
use crate::interim::Interims;
use crate::message::Content;
use crate::origin::testing::{Act, ScriptedSide, TestNode, nowhere, route};
use crate::request::client::Client;
use crate::request::guard;

/// Words that need more than one request after the other, or the passing of time, and where they are produced and explained.
const ELSEWHERE: [(Reason, &str); 3] = [
    // Only time tells: explain lists it while another one's fetch is under way.
    (Reason::CollapseTimeout, "edge/src/story/tests.rs"),
    (Reason::Breaker, "edge/src/story/tests/mastership.rs"),
    // Only time tells: a given answer comes under the epoch of now, and without one explain lists it.
    (Reason::EpochEnded, "edge/src/story/tests/mastership.rs"),
];

const GET: &str = "GET / HTTP/1.1\r\nHost: example.test\r\n";
const SERVING: &str = r#""phase":"serving","master":"a""#;
const VACANT: &str = r#""phase":"switching","master":null"#;

/// What the side does with one request after the other.
#[derive(Clone, Copy)]
enum Side<'a> {
    /// Answers with 200 and these field lines.
    Fields(&'a [&'a str]),
    /// Answers so.
    Answers(&'a [&'a str]),
    /// Writes this head and nothing more.
    Stalls(&'a str),
    /// Would answer with 200, but is not asked by what is tested: the request is passed through.
    Passed,
    /// Nobody is there.
    Away,
    /// No side is master.
    Vacant,
}

impl Side<'_> {
    fn answers(self) -> Vec<String> {
        match self {
            Self::Fields(fields) => fields.iter().map(|fields| ok(fields)).collect(),
            Self::Answers(answers) => answers.iter().map(|&answer| answer.to_owned()).collect(),
            Self::Stalls(head) => vec![head.to_owned()],
            Self::Passed | Self::Away | Self::Vacant => Vec::new(),
        }
    }

    /// The answer to the request of this number, as explain is told it.
    fn given(self, number: usize) -> Value {
        match self {
            Self::Passed => json!({}),
            Self::Away | Self::Vacant => json!("none"),
            Self::Fields(_) | Self::Answers(_) | Self::Stalls(_) => {
                let answers = self.answers();
                let (head, _) = answers[number].split_once("\r\n\r\n").unwrap();
                let (first, lines) = head.split_once("\r\n").unwrap();
                let status: u16 = first.split(' ').nth(1).unwrap().parse().unwrap();
                json!({ "status": status, "headers": headers(lines) })
            }
        }
    }
}

/// Field lines as JSON has them.
fn headers(lines: &str) -> Value {
    let mut headers = serde_json::Map::new();
    for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
        headers.insert(name.to_owned(), value.into());
    }
    headers.into()
}

fn ok(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n{fields}\r\nok")
}

async fn node(change: impl FnOnce(&mut Site), side: Side<'_>) -> TestNode {
    let answers = side.answers().into_iter().map(|answer| &*answer.leak());
    let act = match side {
        Side::Stalls(_) => Act::Stall,
        _ => Act::Answer,
    };
    let script: Vec<_> = answers.map(|answer| vec![act(answer)]).collect();
    let mut node = TestNode::new(change);
    // Nothing gets older between a question and the request.
    let clock = ManualClock::starting_at(Timestamp::from_unix_seconds(1_800_000_000));
    Arc::get_mut(&mut node.edge).unwrap().clock = WallClock::Manual(clock);
    let away = nowhere();
    let addr: SocketAddr = match side {
        Side::Fields(_) | Side::Answers(_) | Side::Stalls(_) => ScriptedSide::play(script).addr,
        Side::Passed | Side::Away | Side::Vacant => away,
    };
    let state = if matches!(side, Side::Vacant) {
        VACANT
    } else {
        SERVING
    };
    node.publish(1, state, addr, away).await;
    node
}

/// The reason of one request with these lines; its answer is taken to its head.
async fn ask(edge: &Arc<Edge>, head: &str) -> Option<Reason> {
    let head = Bytes::from(format!("{head}\r\n"));
    let client = Arc::new(Client::edge());
    let request = guard::parse_http1(head, client.scheme(), &edge.limits)
        .unwrap()
        .request;
    let (now, wall) = (clock::monotonic(), edge.clock.now());
    let mut exchange = Exchange::begin(client, edge.request_ids.next(), now, wall);
    exchange.asked = Asked::of(&request);
    if let Answer::Respond(response) =
        answer(edge, &mut exchange, &request, &Interims::unwanted()).await
    {
        until_stored(response.content).await;
    }
    exchange.reason
}

/// What explain says of the request with these lines, and with this answer of the side.
async fn explained(edge: &Arc<Edge>, lines: &str, answer: Value) -> Value {
    let url = "http://example.test/";
    let question = json!({ "url": url, "headers": headers(lines), "answer": answer });
    let question = Question::parse(question.to_string().as_bytes()).unwrap();
    let asked = explain::Asked::of(edge, &question).unwrap();
    explain::explain(edge, &asked).await
}

/// With the answer, explain said the very reason; without it, too, or that the answer would decide and might give this one.
#[track_caller]
fn agree(said: &Value, without: &Value, done: Option<Reason>) {
    let done = done.map(Reason::as_str);
    assert_eq!(said["reason"], json!(done), "{said}");
    assert_eq!(said["answer_decides"], json!([]), "{done:?}: {said}");
    let decides = without["answer_decides"].as_array().unwrap();
    let left_open = done.is_none_or(|word| decides.iter().any(|open| open == word));
    assert!(
        without["reason"] == json!(done) || left_open,
        "{done:?}: {without}"
    );
}

/// Reads a fill to its end, so that the next request finds it stored.
async fn until_stored(content: Content) {
    if let Content::Stored(mut reader) = content {
        while let Ok(Some(_)) = reader.next().await {}
    }
}

/// The last of these requests has this reason.
async fn check(
    produced: &mut HashSet<Reason>,
    reason: Reason,
    site: fn(&mut Site),
    side: Side<'_>,
    heads: &[&str],
) {
    let mut node = node(site, side).await;
    if let Side::Stalls(_) = side {
        Arc::get_mut(&mut node.edge).unwrap().limits.orphan_fill = 10;
    }
    let mut last = None;
    for (number, head) in heads.iter().enumerate() {
        let without = explained(&node.edge, head, Value::Null).await;
        let said = explained(&node.edge, head, side.given(number)).await;
        let again = explained(&node.edge, head, side.given(number)).await;
        assert_eq!(said, again, "asking changes nothing");
        last = ask(&node.edge, &format!("{GET}{head}")).await;
        agree(&said, &without, last);
    }
    assert_eq!(last, Some(reason), "{heads:?}");
    produced.insert(reason);
}

/// An answer of this kind is not stored for this reason, which explain knows from then on, and the next request is told so.
async fn check_learned(produced: &mut HashSet<Reason>, reason: Reason, lines: &str, answer: &str) {
    let side = Side::Answers(&[answer, answer]);
    let node = node(safe, side).await;
    let head = format!("{GET}{lines}");
    assert_eq!(ask(&node.edge, &head).await, Some(reason));
    let said = explained(&node.edge, lines, Value::Null).await;
    assert_eq!(said["reason"], "predicted-uncacheable", "{said}");
    let known = explained(&node.edge, lines, side.given(1)).await;
    agree(&known, &said, Some(Reason::PredictedUncacheable));
    assert_eq!(known["answer"]["why"], reason.as_str(), "{known}");
    assert_eq!(said["learned"], reason.as_str(), "{said}");
    assert_eq!(said["decision"], "fetch", "{said}");
    let next = ask(&node.edge, &head).await;
    assert_eq!(next, Some(Reason::PredictedUncacheable), "{reason:?}");
    produced.insert(Reason::PredictedUncacheable);
}

const fn as_is(_: &mut Site) {}

const fn safe(site: &mut Site) {
    site.cache.set_cookie = SetCookie::Safe;
}

fn off(site: &mut Site) {
    site.cache = Profile::Off.defaults();
}

fn off_by_a_route(site: &mut Site) {
    let mut off = route("/*", None);
    off.cache = Some(Profile::Off);
    site.routes = vec![off];
}

const fn impatient(site: &mut Site) {
    site.origin.hold_max = Duration::ZERO;
}

fn many(name: &str, count: usize) -> String {
    let members: Vec<_> = (0..count).map(|n| format!("f{n}")).collect();
    format!(
        "Cache-Control: max-age=9\r\n{name}: {}\r\n",
        members.join(",")
    )
}

/// Requests that are not for the store, whatever would be answered.
async fn of_requests(produced: &mut HashSet<Reason>) {
    let websocket = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for (reason, site, head) in [
        (
            Reason::Method,
            as_is as fn(&mut Site),
            "Content-Length: 1\r\n",
        ),
        (Reason::NoStore, as_is, "Cache-Control: no-store\r\n"),
        (Reason::Precondition, as_is, "If-Match: *\r\n"),
        (Reason::Upgrade, as_is, websocket),
        (Reason::ProfileOff, off, ""),
        (Reason::RouteOff, off_by_a_route, ""),
    ] {
        check(produced, reason, site, Side::Passed, &[head]).await;
    }
}

/// Answers that are not stored.
async fn of_answers(produced: &mut HashSet<Reason>) {
    let (fields, tags) = (many("Vary", 17), many("Cache-Tag", 1001));
    const FRESH: &str = "Cache-Control: max-age=9\r\n";
    for (reason, head, answer) in [
        (Reason::Private, "", "Cache-Control: private\r\n"),
        (Reason::NoCache, "", "Cache-Control: no-cache\r\n"),
        (Reason::NoStore, "", "Cache-Control: no-store\r\n"),
        (Reason::NoFreshness, "", ""),
        (
            Reason::SetCookie,
            "",
            "Cache-Control: max-age=9\r\nSet-Cookie: a=b\r\n",
        ),
        (
            Reason::VaryStar,
            "",
            "Cache-Control: max-age=9\r\nVary: *\r\n",
        ),
        (Reason::VaryLimit, "", &fields),
        (Reason::TooManyTags, "", &tags),
        (Reason::Authorization, "Authorization: x\r\n", FRESH),
        (Reason::CookieUnknown, "Cookie: a=b\r\n", "ETag: \"a\"\r\n"),
    ] {
        check(produced, reason, safe, Side::Fields(&[answer]), &[head]).await;
        check_learned(produced, reason, head, &ok(answer)).await;
    }
    let huge = "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\nCache-Control: max-age=9\r\n\r\n";
    check(
        produced,
        Reason::TooLarge,
        as_is,
        Side::Answers(&[huge]),
        &[""],
    )
    .await;
    let unknown =
        "HTTP/1.1 299 OK\r\nContent-Length: 0\r\nCache-Control: must-understand, max-age=9\r\n\r\n";
    check(
        produced,
        Reason::Status,
        as_is,
        Side::Answers(&[unknown]),
        &[""],
    )
    .await;
    // The range begins where nobody waits for the fill to come.
    let slow = "HTTP/1.1 200 OK\r\nContent-Length: 200\r\nCache-Control: max-age=9\r\n\r\n";
    let range = "Range: bytes=100-\r\n";
    check(produced, Reason::Range, as_is, Side::Stalls(slow), &[range]).await;
}

/// What happens to a stored response that is stale.
async fn of_stale_ones(produced: &mut HashSet<Reason>) {
    const STALE: &str = "Cache-Control: max-age=0\r\nETag: \"a\"\r\n";
    const CONFIRMED: &str = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nConnection: close\r\n\r\n";
    const FAILED: &str = "HTTP/1.1 503 Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let while_revalidating = ok("Cache-Control: max-age=0, stale-while-revalidate=9\r\n");
    let if_error = ok("Cache-Control: max-age=0, stale-if-error=9\r\n");
    let (stale, another) = (ok(STALE), ok("ETag: \"b\"\r\n"));
    for (reason, answers) in [
        (Reason::Expired, [&*stale, &another]),
        (Reason::Revalidated, [&stale, CONFIRMED]),
        (
            Reason::StaleWhileRevalidate,
            [&while_revalidating, CONFIRMED],
        ),
        (Reason::StaleIfError, [&if_error, FAILED]),
    ] {
        check(produced, reason, as_is, Side::Answers(&answers), &["", ""]).await;
    }
}

async fn of_purged_ones(produced: &mut HashSet<Reason>) {
    let fresh = "Cache-Control: max-age=9\r\n";
    let node = node(as_is, Side::Fields(&[fresh, fresh])).await;
    ask(&node.edge, GET).await;
    let all = Purge {
        partition: None,
        what: vec![What::All],
        mode: Mode::Soft,
    };
    node.edge.cache.purge(all).await.unwrap();
    let said = explained(&node.edge, "", Side::Fields(&[fresh]).given(0)).await;
    assert_eq!(
        (&said["reason"], &said["stored"]["purged"]),
        (&json!("purged"), &json!("soft"))
    );
    assert_eq!(ask(&node.edge, GET).await, Some(Reason::Purged));
    produced.insert(Reason::Purged);
}

/// A site that may take nothing of the disk asks for what is too long to be held in memory.
async fn of_quotas(produced: &mut HashSet<Reason>) {
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\nCache-Control: max-age=9\r\n\r\n";
    let node = TestNode::with_store(as_is, |store| {
        let path = store.data_dir.join("disk");
        store.memory = 1 << 20;
        store.disk = vec![VolumeConfig {
            path,
            size: 18 << 20,
        }];
    });
    let side = ScriptedSide::play(vec![vec![Act::Answer(long)]]).addr;
    node.publish(1, SERVING, side, side).await;
    let cache = &node.edge.cache;
    let partition = cache.partition("s-1").unwrap();
    cache.set_quota(
        partition,
        Quota {
            cap: 0,
            ..Quota::default()
        },
    );
    let said = explained(&node.edge, "", Side::Answers(&[long]).given(0)).await;
    let without = explained(&node.edge, "", Value::Null).await;
    let done = ask(&node.edge, GET).await;
    assert_eq!(done, Some(Reason::Quota));
    agree(&said, &without, done);
    produced.insert(Reason::Quota);
}

#[tokio::test]
async fn each_reason_is_produced_by_a_request_or_by_a_test_that_is_named() {
    let mut produced = HashSet::new();
    of_requests(&mut produced).await;
    of_answers(&mut produced).await;
    of_stale_ones(&mut produced).await;
    of_purged_ones(&mut produced).await;
    of_quotas(&mut produced).await;
    check(&mut produced, Reason::OriginDown, as_is, Side::Away, &[""]).await;
    check(&mut produced, Reason::Hold, impatient, Side::Vacant, &[""]).await;
    for (reason, path) in ELSEWHERE {
        let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        let named = [
            format!("Reason::{reason:?}"),
            format!("detail={}", reason.as_str()),
        ];
        assert!(
            named.iter().any(|name| text.contains(name)),
            "{reason:?} in {path}"
        );
        assert!(
            text.contains("explain"),
            "{reason:?} is explained in {path}"
        );
        produced.insert(reason);
    }
    let promised: Vec<_> = Reason::ALL
        .iter()
        .filter(|r| !produced.contains(r))
        .collect();
    assert!(promised.is_empty(), "no test produces {promised:?}");
}
