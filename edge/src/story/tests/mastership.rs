//! What becomes of requests and fetches under way when the live master changes.

use jet9_config::ClusterId;

use super::*;
use crate::control::mastership::purge_lost;
use crate::origin::master::{self, NoRoute};

const STEPS_DOWN: &str = r#""phase":"switching","master":null,"reason":"standby""#;
const TAKES_OVER: &str = r#""phase":"serving","master":"b","reason":"standby""#;
const CRASHED: &str = r#""phase":"serving","master":"b","reason":"crash""#;

impl Scene {
    /// The other side takes over in good order: exchanges under way may end.
    async fn switch(&self) {
        self.publish(2, STEPS_DOWN).await;
        self.publish(3, TAKES_OVER).await;
    }

    /// Nothing is stored: a client is answered by the side, under the new epoch.
    async fn serves(&mut self, text: &str) {
        let asking = self.ask("").await;
        let arrived = self.next().await;
        assert!(arrived.head.contains("jet9-epoch: 3"), "{}", arrived.head);
        let answer = format!("Cache-Control: max-age=60 | {text}");
        arrived.answer(&answer).await;
        assert_eq!(asking.await.unwrap().text, text);
    }

    /// A client that has the head and half of the content of a response that is being stored, and the side's end of it.
    async fn half(&mut self) -> (Content, Arrived) {
        let edge = Arc::clone(&self.node.edge);
        let head = "GET / HTTP/1.1\r\nHost: example.test\r\n\r\n".to_owned();
        let asking = tokio::spawn(async move { begin(&edge, head).await });
        let mut arrived = self.next().await;
        let half = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 8\r\n\r\nold-";
        arrived.stream.write_all(half).await.unwrap();
        match asking.await.unwrap() {
            (Answer::Respond(response), cache) if cache.contains("stored") => {
                (response.content, arrived)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_still_coming_when_its_epoch_ends_is_for_its_readers_alone() {
    let mut scene = Scene::new().await;
    let (content, mut arrived) = scene.half().await;
    scene.switch().await;
    scene.serves("new").await;
    arrived.stream.write_all(b"half").await.unwrap();
    assert_eq!(text(content).await, "old-half");
    is_hit(&scene, "", "new").await;
}

#[tokio::test]
async fn from_the_word_of_a_loss_on_nothing_is_fresh_however_long_its_purge_takes() {
    let mut scene = Scene::new().await;
    scene
        .told("", "Cache-Control: max-age=60; ETag: \"1\" | stored")
        .await;
    is_hit(&scene, "", "stored").await;
    // Nobody purges here: the disk takes for ever.
    let loss =
        r#""phase":"serving","master":"b","reason":"crash","prev":{"data_loss_from_unix_ms":17}"#;
    scene.publish(2, loss).await;
    let said = scene.explained(json!({})).await;
    assert_eq!(said["stored"]["purged"], "soft", "{said}");
    for _ in 0..2 {
        let asking = scene.ask("").await;
        let validating = scene.next().await;
        let head = &validating.head;
        assert!(head.contains("if-none-match: \"1\""), "{head}");
        validating
            .answer("304 Cache-Control: max-age=60; ETag: \"1\" | ")
            .await;
        let got = asking.await.unwrap();
        assert_eq!(got.text, "stored");
        assert!(got.cache.contains("detail=revalidated"), "{}", got.cache);
    }
    let cluster = ClusterId::parse("c-1").unwrap();
    tokio::select! {
        () = purge_lost(&scene.node.edge) => unreachable!("it goes on"),
        () = async {
            while scene.node.edge.masters.owes_purge(&cluster) {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    let asking = scene.ask("").await;
    let validating = scene.next().await;
    validating
        .answer("304 Cache-Control: max-age=60; ETag: \"1\" | ")
        .await;
    assert_eq!(asking.await.unwrap().text, "stored");
    is_hit(&scene, "", "stored").await;
}

#[tokio::test]
async fn what_ends_after_its_epoch_is_not_stored() {
    let mut scene = Scene::new().await;
    let (content, mut arrived) = scene.half().await;
    scene.switch().await;
    arrived.stream.write_all(b"half").await.unwrap();
    assert_eq!(text(content).await, "old-half");
    scene.serves("new").await;
}

#[tokio::test]
async fn what_is_answered_after_its_epoch_is_for_its_client_alone() {
    let mut scene = Scene::new().await;
    // That an epoch will end, only time tells.
    let said = scene.explained(json!({})).await;
    let open = said["answer_decides"].as_array().unwrap();
    assert!(open.contains(&json!("epoch-ended")), "{said}");
    let given = json!({ "answer": { "headers": { "Cache-Control": "max-age=60" } } });
    let said = scene.explained(given).await;
    assert_eq!(
        (&said["reason"], &said["answer_decides"]),
        (&Value::Null, &json!([]))
    );
    let (one, other) = (scene.ask("").await, scene.ask("").await);
    let old = scene.next().await;
    scene.switch().await;
    old.answer(PUBLIC).await;
    let first = timeout(PATIENCE, one).await.unwrap().unwrap();
    assert_eq!(
        (first.status, &*first.cache),
        (200, "fwd=uri-miss; fwd-status=200; detail=epoch-ended")
    );
    let new = scene.next().await;
    assert!(new.head.contains("jet9-epoch: 3"), "{}", new.head);
    new.answer("Cache-Control: max-age=60 | new").await;
    assert_eq!(other.await.unwrap().text, "new");
    is_hit(&scene, "", "new").await;
}

#[tokio::test]
async fn what_a_superseded_master_confirms_is_confirmed_to_its_client_alone() {
    let mut scene = Scene::new().await;
    scene
        .told("", "Cache-Control: max-age=60; ETag: \"1\" | stored")
        .await;
    scene.clock.advance(Duration::from_secs(61));
    let asking = scene.ask("").await;
    let old = scene.next().await;
    scene.switch().await;
    old.answer("304 Cache-Control: max-age=60; ETag: \"1\" | ")
        .await;
    assert_eq!(asking.await.unwrap().text, "stored");
    let asking = scene.ask("").await;
    let new = scene.next().await;
    assert!(new.head.contains("if-none-match: \"1\""), "{}", new.head);
    new.answer("304 Cache-Control: max-age=60; ETag: \"1\" | ")
        .await;
    assert_eq!(asking.await.unwrap().text, "stored");
    is_hit(&scene, "", "stored").await;
}

#[tokio::test]
async fn a_crash_cuts_what_is_still_coming() {
    let mut scene = Scene::new().await;
    let (content, mut arrived) = scene.half().await;
    scene.publish(2, CRASHED).await;
    let end = arrived.stream.read(&mut [0; 8]).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_ne!(text(content).await, "old-half");
}

#[tokio::test]
async fn a_crash_sends_to_the_new_master_what_the_old_one_had_not_answered() {
    let mut scene = Scene::new().await;
    let asking = scene.ask("").await;
    let mut old = scene.next().await;
    scene.publish(2, CRASHED).await;
    let end = old.stream.read(&mut [0; 8]).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let new = scene.next().await;
    assert!(new.head.contains("jet9-epoch: 2"), "{}", new.head);
    new.answer(PUBLIC).await;
    assert_eq!(asking.await.unwrap().text, "ours");
}

const FAILED: &str = "503 A: b | down";

/// Five answers in a row that say that the side fails.
async fn fails(scene: &mut Scene) {
    for _ in 0..5 {
        scene.told("", FAILED).await;
    }
}

#[tokio::test]
async fn a_master_that_fails_is_spared_and_asked_now_and_then() {
    let mut scene = Scene::new().await;
    fails(&mut scene).await;
    for _ in 0..3 {
        let said = scene.explained(json!({})).await;
        assert_eq!(
            (&said["decision"], &said["reason"], &said["status"]),
            (&json!("refuse"), &json!("breaker"), &json!(503))
        );
        assert_eq!(said["answer_decides"], json!([]));
        let got = scene.ask("").await.await.unwrap();
        assert_eq!(
            (got.status, &*got.cache),
            (503, "fwd=uri-miss; detail=breaker")
        );
    }
    scene.clock.advance(Duration::from_secs(1));
    for _ in 0..3 {
        let said = scene.explained(json!({})).await;
        assert_eq!(said["decision"], "fetch", "to ask is not to go: {said}");
    }
    assert_eq!(scene.told("", FAILED).await.text, "down");
    assert_eq!(scene.ask("").await.await.unwrap().status, 503);
    for _ in 0..12 {
        scene.clock.advance(Duration::from_secs(1));
        assert_eq!(
            scene.told("", "Cache-Control: no-store | up").await.text,
            "up"
        );
    }
    assert_eq!(
        scene.told("", "Cache-Control: no-store | up").await.text,
        "up"
    );
}

#[tokio::test]
async fn while_a_master_is_spared_what_is_stored_answers_at_once() {
    let mut scene = Scene::new().await;
    scene
        .told("", "Cache-Control: max-age=1, stale-if-error=600 | ours")
        .await;
    scene.clock.advance(Duration::from_secs(2));
    for _ in 0..5 {
        let got = scene.told("", FAILED).await;
        assert!(got.cache.contains("detail=stale-if-error"), "{}", got.cache);
    }
    let said = scene.explained(json!({})).await;
    assert_eq!(
        (&said["decision"], &said["reason"]),
        (&"serve-stale".into(), &"breaker".into())
    );
    let got = scene.ask("").await.await.unwrap();
    assert!(got.cache.contains("detail=breaker"), "{}", got.cache);
    assert!(scene.is_quiet().await, "the side is spared");
    // One asks whether it is well again; no visitor waits for that.
    scene.clock.advance(Duration::from_secs(1));
    let got = scene.ask("").await.await.unwrap();
    assert_eq!((got.status, &*got.text), (200, "ours"));
    scene
        .next()
        .await
        .answer("Cache-Control: max-age=60 | new")
        .await;
    until_fresh(&scene, "").await;
    is_hit(&scene, "", "new").await;
}

#[tokio::test]
async fn what_is_passed_through_is_spared_too() {
    let mut scene = Scene::new().await;
    fails(&mut scene).await;
    let said = scene
        .explained(json!({ "headers": { "Cache-Control": "no-store" } }))
        .await;
    assert_eq!(
        (&said["decision"], &said["reason"]),
        (&json!("refuse"), &json!("breaker"))
    );
    let got = scene.ask("Cache-Control: no-store\r\n").await;
    let got = got.await.unwrap();
    assert_eq!(
        (got.status, &*got.cache),
        (503, "fwd=bypass; detail=breaker")
    );
    scene.publish(2, CRASHED).await;
    let got = scene.ask("Cache-Control: no-store\r\n").await;
    assert_eq!(got.await.unwrap().text, "passed through", "another master");
}

/// A request of the site asks for a route, and says when it got it.
fn wants_route(scene: &Scene) -> JoinHandle<Result<std::time::Instant, NoRoute>> {
    let edge = Arc::clone(&scene.node.edge);
    tokio::spawn(async move {
        let site = edge.sites.by_id("s-1").unwrap();
        let id = edge.request_ids.next();
        let now = clock::monotonic();
        let mut exchange = Exchange::begin(Arc::new(Client::edge()), id, now, edge.clock.now());
        let route = master::route(&edge, &site, &mut exchange, Epoch(0)).await;
        route.map(|_| clock::monotonic())
    })
}

#[tokio::test]
async fn who_was_held_goes_in_steps_and_no_more_than_there_are_places() {
    let scene = Scene::of_site(|site| site.origin.hold_requests = 40).await;
    scene.publish(2, STEPS_DOWN).await;
    let held: Vec<_> = (0..40).map(|_| wants_route(&scene)).collect();
    scene.until_held(40).await;
    assert_eq!(
        wants_route(&scene).await.unwrap(),
        Err(NoRoute::Held),
        "no place"
    );
    let began = clock::monotonic();
    scene.publish(3, TAKES_OVER).await;
    let mut went = Vec::new();
    for held in held {
        went.push(held.await.unwrap().unwrap().duration_since(began));
    }
    went.sort_unstable();
    // Twenty at once, twenty more in the next tenth of a second.
    assert!(went[29] >= Duration::from_millis(45), "{went:?}");
    assert!(went[39] >= Duration::from_millis(95), "{went:?}");
    assert_eq!(scene.held(), 0);
}
