//! Requests that want the same at the same time, told whole: who waits, who fetches, what is stored and what is learned from it.
//!
//! The side answers when the test says so, each connection on its own, so that what is under way together is a fact and not luck.

use std::net::SocketAddr;

use bytes::Bytes;
use jet9_cache::Timestamp;
use jet9_cache::purge::{Mode, Purge, What};
use jet9_config::site::Site;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use serde_json::{Value, json};

use super::*;
use crate::clock::{ManualClock, WallClock};
use crate::control::explain::{self, Question};
use crate::exchange::Asked;
use crate::message::Content;
use crate::origin::testing::TestNode;
use crate::request::client::Client;
use crate::request::guard;

mod mastership;

const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
/// How long a fact may take to become true.
const PATIENCE: Duration = Duration::from_secs(20);
const SERVING: &str = r#""phase":"serving","master":"a""#;
const SWITCHING: &str = r#""phase":"switching","master":null"#;

/// A node in front of a side.
struct Scene {
    node: TestNode,
    clock: ManualClock,
    addr: SocketAddr,
    arrivals: mpsc::UnboundedReceiver<Arrived>,
}

/// A request that is at the side.
struct Arrived {
    head: String,
    stream: TcpStream,
}

/// What a client got.
#[derive(Debug)]
struct Got {
    status: u16,
    /// `Cache-Status`, without the name.
    cache: String,
    text: String,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Edge)) -> Self {
        Self::set(|_| {}, change).await
    }

    async fn of_site(change: impl FnOnce(&mut Site)) -> Self {
        Self::set(change, |_| {}).await
    }

    async fn set(of_site: impl FnOnce(&mut Site), of_edge: impl FnOnce(&mut Edge)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (arrive, arrivals) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let arrive = arrive.clone();
                tokio::spawn(async move {
                    let arrived = Arrived::read(stream).await;
                    drop(arrived.map(|arrived| arrive.send(arrived)));
                });
            }
        });
        let clock = ManualClock::starting_at(START);
        let mut node = TestNode::new(of_site);
        let edge = Arc::get_mut(&mut node.edge).unwrap();
        edge.clock = WallClock::Manual(clock.clone());
        of_edge(edge);
        let scene = Self {
            node,
            clock,
            addr,
            arrivals,
        };
        scene.publish(1, SERVING).await;
        scene
    }

    async fn publish(&self, epoch: u64, state: &str) {
        let side = self.addr;
        self.node.publish(epoch, state, side, side).await;
    }

    /// A client asks for `/` with these field lines.
    async fn ask(&self, lines: &str) -> JoinHandle<Got> {
        let edge = Arc::clone(&self.node.edge);
        let head = format!("GET / HTTP/1.1\r\nHost: example.test\r\n{lines}\r\n");
        let asking = tokio::spawn(async move { ask(&edge, head).await });
        // It comes as far as it can without the side.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        asking
    }

    /// The next request at the side.
    async fn next(&mut self) -> Arrived {
        let arrived = timeout(PATIENCE, self.arrivals.recv()).await;
        arrived.expect("a request at the side").unwrap()
    }

    /// A client asks, and the side answers it.
    async fn told(&mut self, lines: &str, answer: &str) -> Got {
        let asking = self.ask(lines).await;
        self.next().await.answer(answer).await;
        asking.await.unwrap()
    }

    /// Whether another request is at the side by now.
    async fn is_quiet(&mut self) -> bool {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.arrivals.try_recv().is_err()
    }

    async fn purge(&self, mode: Mode) {
        let site = self.node.edge.sites.by_id("s-1").unwrap();
        let purge = Purge {
            partition: Some(site.partition),
            what: vec![What::All],
            mode,
        };
        self.node.edge.cache.purge(purge).await.unwrap();
    }

    /// What explain says of a request for `/` now; `question`: members besides its URL.
    async fn explained(&self, question: Value) -> Value {
        let mut question = question;
        question["url"] = "http://example.test/".into();
        let question = Question::parse(question.to_string().as_bytes()).unwrap();
        let asked = explain::Asked::of(&self.node.edge, &question).unwrap();
        explain::explain(&self.node.edge, &asked).await
    }

    fn held(&self) -> usize {
        self.node.edge.origins.holds().held()
    }

    async fn until_held(&self, count: usize) {
        let held = async {
            while self.held() != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, held).await.unwrap();
    }
}

async fn ask(edge: &Arc<Edge>, head: String) -> Got {
    let (answer, cache) = begin(edge, head).await;
    let Answer::Respond(response) = answer else {
        return Got {
            status: 0,
            cache,
            text: "passed through".into(),
        };
    };
    Got {
        status: response.head.status().as_u16(),
        cache,
        text: text(response.content).await,
    }
}

/// The answer with its content still to be read, and its `Cache-Status`.
async fn begin(edge: &Arc<Edge>, head: String) -> (Answer, String) {
    let client = Arc::new(Client::edge());
    let request = guard::parse_http1(Bytes::from(head), client.scheme(), &edge.limits);
    let request = request.unwrap().request;
    let id = edge.request_ids.next();
    let mut exchange = Exchange::begin(client, id, clock::monotonic(), edge.clock.now());
    exchange.asked = Asked::of(&request);
    let answer = answer(edge, &mut exchange, &request, &Interims::unwanted()).await;
    let cache = exchange.cache.map(|status| status.named("e").to_string());
    (answer, cache.unwrap_or_default().replace("e; ", ""))
}

async fn text(content: Content) -> String {
    let mut whole = Vec::new();
    match content {
        Content::None | Content::HeadOnly(_) => {}
        Content::Whole(bytes) => whole.extend(bytes),
        Content::Stored(mut reader) => {
            while let Ok(Some(piece)) = reader.next().await {
                whole.extend(piece);
            }
        }
        Content::Parts(mut reader) => {
            while let Ok(Some(piece)) = reader.next().await {
                whole.extend(piece);
            }
        }
        Content::Origin { mut body, .. } => {
            while let Ok(Some(piece)) = body.next().await {
                whole.extend(piece);
            }
        }
    }
    String::from_utf8(whole).unwrap()
}

impl Arrived {
    async fn read(mut stream: TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
        Some(Self { head, stream })
    }

    /// Answers with `lines` and `text`, given as `"Field: value | text"`; the status is 200 unless the lines begin with another.
    async fn answer(mut self, answer: &str) {
        let (lines, text) = answer.split_once(" | ").unwrap();
        let (status, lines) = match lines.split_once(' ') {
            Some((status, lines)) if status.parse::<u16>().is_ok() => (status, lines),
            _ => ("200", lines),
        };
        let lines = lines.replace("; ", "\r\n");
        let length = if status == "304" { 0 } else { text.len() };
        let answer = format!(
            "HTTP/1.1 {status} \r\n{lines}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{text}"
        );
        self.stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

const PRIVATE: &str = "Cache-Control: private | mine";
const PUBLIC: &str = "Cache-Control: max-age=60 | ours";

/// Two clients ask with the same lines. That many fetches are at the side together, and there are no others; what each client got.
async fn both(scene: &mut Scene, lines: &str, fetches: usize, answer: &str) -> [Got; 2] {
    let (one, other) = (scene.ask(lines).await, scene.ask(lines).await);
    let mut arrived = Vec::new();
    for _ in 0..fetches {
        arrived.push(scene.next().await);
    }
    for arrived in arrived {
        arrived.answer(answer).await;
    }
    let got = async { [one.await.unwrap(), other.await.unwrap()] };
    timeout(PATIENCE, got)
        .await
        .expect("as few fetches as expected")
}

#[tokio::test]
async fn requests_for_a_page_that_was_private_are_at_the_side_together() {
    let mut scene = Scene::new().await;
    let first = scene.told("", PRIVATE).await;
    assert_eq!(first.cache, "fwd=uri-miss; fwd-status=200; detail=private");
    let (one, other) = (scene.ask("").await, scene.ask("").await);
    let (first, second) = (scene.next().await, scene.next().await);
    second.answer(PRIVATE).await;
    first.answer(PRIVATE).await;
    for got in [one.await.unwrap(), other.await.unwrap()] {
        assert_eq!(
            got.cache,
            "fwd=uri-miss; fwd-status=200; detail=predicted-uncacheable"
        );
        assert_eq!(got.text, "mine");
    }
}

#[tokio::test]
async fn who_waited_for_an_answer_that_turns_out_private_is_let_go_at_once() {
    let mut scene = Scene::new().await;
    let mut asking = Vec::new();
    for _ in 0..5 {
        asking.push(scene.ask("").await);
    }
    let leader = scene.next().await;
    assert!(scene.is_quiet().await, "the others wait");
    leader.answer("Cache-Control: private | 0").await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(scene.next().await);
    }
    for (number, arrived) in waiting.into_iter().enumerate() {
        let answer = format!("Cache-Control: private | {}", number + 1);
        arrived.answer(&answer).await;
    }
    let mut texts = Vec::new();
    for asking in asking {
        let got = asking.await.unwrap();
        assert!(got.cache.contains("detail=private"), "{}", got.cache);
        texts.push(got.text);
    }
    texts.sort_unstable();
    assert_eq!(texts, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn an_answer_that_may_be_stored_ends_the_prediction() {
    let mut scene = Scene::new().await;
    scene.told("", PRIVATE).await;
    let (one, other) = (scene.ask("").await, scene.ask("").await);
    let (first, _second) = (scene.next().await, scene.next().await);
    first.answer(PUBLIC).await;
    let got = one.await.unwrap();
    assert_eq!(
        got.cache,
        "fwd=uri-miss; fwd-status=200; stored; detail=predicted-uncacheable"
    );
    other.abort();
    let hit = scene.ask("").await.await.unwrap();
    assert!(hit.cache.starts_with("hit"), "{}", hit.cache);
    scene.clock.advance(Duration::from_secs(61));
    let [_, other] = both(&mut scene, "", 1, PUBLIC).await;
    assert!(other.cache.contains("collapsed"), "{}", other.cache);
}

/// This answer to a request with these lines; then two ask at once, which takes that many fetches.
async fn check_fetches(
    taught: (&str, &str),
    after: impl AsyncFnOnce(&mut Scene),
    lines: &str,
    fetches: usize,
) {
    let mut scene = Scene::new().await;
    scene.told(taught.0, taught.1).await;
    after(&mut scene).await;
    both(&mut scene, lines, fetches, PUBLIC).await;
}

#[tokio::test]
async fn a_prediction_ends_by_time_and_by_a_purge() {
    let after = |seconds| {
        async move |scene: &mut Scene| {
            scene.clock.advance(Duration::from_secs(seconds));
        }
    };
    check_fetches(("", PRIVATE), after(119), "", 2).await;
    check_fetches(("", PRIVATE), after(121), "", 1).await;
    for mode in [Mode::Soft, Mode::Hard] {
        let purge = async |scene: &mut Scene| scene.purge(mode).await;
        check_fetches(("", PRIVATE), purge, "", 1).await;
    }
}

#[tokio::test]
async fn a_prediction_is_for_requests_alike() {
    let nothing = async |_: &mut Scene| {};
    let by_language = "Cache-Control: private; Vary: Accept-Language | mine";
    let (english, french) = ("Accept-Language: en\r\n", "Accept-Language: fr\r\n");
    check_fetches((english, by_language), nothing, english, 2).await;
    check_fetches((english, by_language), nothing, french, 1).await;
    let (signed_in, tokened) = ("Cookie: id=1\r\n", "Authorization: Basic eDp5\r\n");
    check_fetches((signed_in, PRIVATE), nothing, signed_in, 2).await;
    check_fetches((signed_in, PRIVATE), nothing, "", 1).await;
    check_fetches(("", PRIVATE), nothing, signed_in, 2).await;
    check_fetches((tokened, PUBLIC), nothing, "", 1).await;
    check_fetches((tokened, PUBLIC), nothing, tokened, 2).await;
}

#[tokio::test]
async fn an_answer_about_the_origin_predicts_nothing() {
    let nothing = async |_: &mut Scene| {};
    for answer in ["503 X: y | down", "429 Cache-Control: no-store | slower"] {
        check_fetches(("", answer), nothing, "", 1).await;
    }
}

#[tokio::test]
async fn a_predicted_request_for_less_than_the_whole_is_passed_through() {
    let mut scene = Scene::new().await;
    scene.told("", PRIVATE).await;
    for lines in ["Range: bytes=0-1\r\n", "If-None-Match: \"1\"\r\n"] {
        let got = scene.ask(lines).await.await.unwrap();
        assert_eq!(got.text, "passed through");
        assert_eq!(got.cache, "fwd=uri-miss; detail=predicted-uncacheable");
    }
}

#[tokio::test]
async fn who_may_not_have_what_is_stored_asks_once_and_at_once() {
    let mut scene = Scene::new().await;
    scene.told("", PUBLIC).await;
    let got = scene.told("Authorization: Basic eDp5\r\n", PUBLIC).await;
    assert_eq!(got.cache, "fwd=miss; fwd-status=200; detail=authorization");
}

#[tokio::test]
async fn who_wants_the_origins_own_word_waits_for_nobody() {
    let mut scene = Scene::new().await;
    let one = scene.ask("").await;
    let first = scene.next().await;
    let reload = scene.ask("Cache-Control: no-cache\r\n").await;
    scene
        .next()
        .await
        .answer("Cache-Control: max-age=60 | new")
        .await;
    assert_eq!(reload.await.unwrap().text, "new");
    first.answer(PUBLIC).await;
    assert_eq!(one.await.unwrap().text, "ours");
}

#[tokio::test]
async fn what_always_needs_validation_is_validated_by_each_on_its_own() {
    let mut scene = Scene::new().await;
    scene
        .told("", "Cache-Control: no-cache; ETag: \"1\" | text")
        .await;
    let confirmed = "304 Cache-Control: no-cache; ETag: \"1\" | ";
    let (one, other) = (scene.ask("").await, scene.ask("").await);
    for arrived in [scene.next().await, scene.next().await] {
        assert!(
            arrived.head.contains("if-none-match: \"1\""),
            "{}",
            arrived.head
        );
        arrived.answer(confirmed).await;
    }
    for got in [one.await.unwrap(), other.await.unwrap()] {
        assert_eq!((got.status, &*got.text), (200, "text"), "{}", got.cache);
    }
}

#[tokio::test]
async fn who_waited_long_enough_for_another_ones_fetch_makes_its_own() {
    let short = |edge: &mut Edge| edge.limits.collapse_wait = Duration::from_millis(10);
    let mut scene = Scene::with(short).await;
    let waits = |said: &Value| {
        let open = said["answer_decides"].as_array().unwrap();
        let waits = open.iter().any(|reason| reason == "collapse-timeout");
        assert_eq!(said["under_way"], waits, "{said}");
        waits
    };
    assert!(!waits(&scene.explained(json!({})).await), "nobody asks");
    let one = scene.ask("").await;
    let stuck = scene.next().await;
    assert!(waits(&scene.explained(json!({})).await));
    let given = scene.explained(json!({ "answer": {} })).await;
    assert_eq!(given["answer_decides"], json!(["collapse-timeout"]));
    let reload = json!({ "headers": { "Cache-Control": "no-cache" } });
    assert!(
        !waits(&scene.explained(reload).await),
        "it waits for nobody"
    );
    let other = scene.ask("").await;
    scene.next().await.answer(PUBLIC).await;
    let got = other.await.unwrap();
    assert_eq!(
        got.cache,
        "fwd=uri-miss; fwd-status=200; stored; detail=collapse-timeout"
    );
    stuck.answer(PUBLIC).await;
    assert_eq!(one.await.unwrap().text, "ours");
}

#[tokio::test]
async fn a_fetch_that_is_held_for_nobody_gives_its_place_up() {
    let mut scene = Scene::new().await;
    scene.publish(2, SWITCHING).await;
    let leader = scene.ask("").await;
    scene.until_held(1).await;
    let follower = scene.ask("").await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    assert!(scene.is_quiet().await);
    assert_eq!(scene.held(), 1, "the follower wants it");
    follower.abort();
    scene.until_held(0).await;

    let leader = scene.ask("").await;
    scene.until_held(1).await;
    let follower = scene.ask("").await;
    leader.abort();
    scene.publish(3, SERVING).await;
    scene.next().await.answer(PUBLIC).await;
    assert_eq!(follower.await.unwrap().text, "ours");
}

#[tokio::test]
async fn a_revalidation_in_the_background_is_not_held() {
    let mut scene = Scene::new().await;
    let stored = "Cache-Control: max-age=1, stale-while-revalidate=600 | ours";
    scene.told("", stored).await;
    scene.clock.advance(Duration::from_secs(10));
    scene.publish(2, SWITCHING).await;
    let got = scene.ask("").await.await.unwrap();
    assert_eq!(got.text, "ours");
    scene.until_held(0).await;
    scene.publish(3, SERVING).await;
    scene.ask("").await.await.unwrap();
    scene.next().await.answer(PUBLIC).await;
}

const ENGLISH: &str = "Accept-Language: en\r\n";
const FRENCH: &str = "Accept-Language: fr\r\n";
const GERMAN: &str = "Accept-Language: de\r\n";

/// An answer in a language, as one of several variants.
fn variant(tag: &str) -> String {
    let control = "Cache-Control: max-age=60, stale-while-revalidate=600";
    format!("{control}; Vary: Accept-Language; ETag: \"{tag}\" | {tag}")
}

/// The same, confirmed.
fn confirmed(tag: &str) -> String {
    format!("304 Cache-Control: max-age=60; ETag: \"{tag}\" | ")
}

async fn is_hit(scene: &Scene, lines: &str, text: &str) {
    let asking = timeout(PATIENCE, scene.ask(lines).await);
    let got = asking.await.expect("nothing to wait for").unwrap();
    assert!(got.cache.starts_with("hit"), "{}", got.cache);
    assert_eq!(got.text, text);
}

#[tokio::test]
async fn each_variant_is_validated_once_in_the_background_by_its_own_validator() {
    let mut scene = Scene::new().await;
    scene.told(ENGLISH, &variant("en")).await;
    scene.told(FRENCH, &variant("fr")).await;
    scene.clock.advance(Duration::from_secs(100));
    for _ in 0..3 {
        is_hit(&scene, ENGLISH, "en").await;
        is_hit(&scene, FRENCH, "fr").await;
    }
    let mut arrived = [scene.next().await, scene.next().await];
    assert!(scene.is_quiet().await, "one revalidation of each");
    arrived.sort_by_key(|arrived| arrived.head.contains("language: fr"));
    let [english, french] = arrived;
    assert!(english.head.contains("if-none-match: \"en\"\r\n"));
    assert!(french.head.contains("if-none-match: \"fr\"\r\n"));
    french.answer(&confirmed("fr")).await;
    until_fresh(&scene, FRENCH).await;
    let got = scene.ask(ENGLISH).await.await.unwrap();
    assert_eq!(got.cache, "hit; ttl=-40; detail=stale-while-revalidate");
    english.answer(&confirmed("en")).await;
    until_fresh(&scene, ENGLISH).await;
    assert!(scene.is_quiet().await);
}

/// Asks until what is stored is fresh again; it answers all the time.
async fn until_fresh(scene: &Scene, lines: &str) {
    let fresh = async { while scene.ask(lines).await.await.unwrap().cache != "hit; ttl=60" {} };
    timeout(PATIENCE, fresh).await.unwrap();
}

#[tokio::test]
async fn a_revalidation_may_bring_a_new_variant() {
    let mut scene = Scene::new().await;
    scene.told(ENGLISH, &variant("en")).await;
    scene.clock.advance(Duration::from_secs(1000));
    let agent = "Accept-Language: en\r\nUser-Agent: one\r\n";
    let new = "Cache-Control: max-age=60; Vary: Accept-Language, User-Agent; ETag: \"2\" | for one";
    let asking = scene.ask(agent).await;
    let arrived = scene.next().await;
    assert!(arrived.head.contains("if-none-match: \"en\"\r\n"));
    arrived.answer(new).await;
    assert_eq!(asking.await.unwrap().text, "for one");
    is_hit(&scene, agent, "for one").await;
    // The old one is there for others, as stale as it was, with its own validator.
    let other = scene
        .ask("Accept-Language: en\r\nUser-Agent: two\r\n")
        .await;
    let arrived = scene.next().await;
    assert!(arrived.head.contains("if-none-match: \"en\"\r\n"));
    arrived.answer(&confirmed("en")).await;
    assert_eq!(other.await.unwrap().text, "en");
}

#[tokio::test]
async fn an_answer_without_vary_takes_the_place_of_all_variants() {
    let mut scene = Scene::new().await;
    scene.told(ENGLISH, &variant("en")).await;
    scene.told(FRENCH, &variant("fr")).await;
    scene.told(GERMAN, "Cache-Control: max-age=60 | all").await;
    for lines in [ENGLISH, FRENCH, GERMAN, ""] {
        is_hit(&scene, lines, "all").await;
    }
}

#[tokio::test]
async fn who_waited_for_another_variant_fetches_its_own_and_it_is_stored() {
    let mut scene = Scene::new().await;
    let (english, french) = (scene.ask(ENGLISH).await, scene.ask(FRENCH).await);
    let same = scene.ask(ENGLISH).await;
    scene.next().await.answer(&variant("en")).await;
    scene.next().await.answer(&variant("fr")).await;
    assert_eq!(english.await.unwrap().text, "en");
    assert_eq!(french.await.unwrap().text, "fr");
    assert_eq!(same.await.unwrap().text, "en");
    is_hit(&scene, FRENCH, "fr").await;
    is_hit(&scene, ENGLISH, "en").await;
    assert!(scene.is_quiet().await);
}

#[tokio::test]
async fn other_variants_do_not_wait_where_the_selecting_fields_are_known() {
    let mut scene = Scene::new().await;
    scene.told(GERMAN, &variant("de")).await;
    let (english, french) = (scene.ask(ENGLISH).await, scene.ask(FRENCH).await);
    let same = scene.ask(ENGLISH).await;
    let mut arrived = [scene.next().await, scene.next().await];
    arrived.sort_by_key(|arrived| arrived.head.contains("language: fr"));
    for (arrived, tag) in arrived.into_iter().zip(["en", "fr"]) {
        arrived.answer(&variant(tag)).await;
    }
    assert_eq!(english.await.unwrap().text, "en");
    assert_eq!(french.await.unwrap().text, "fr");
    let same = same.await.unwrap();
    assert!(same.text == "en" && same.cache.ends_with("stored; collapsed"));
}
