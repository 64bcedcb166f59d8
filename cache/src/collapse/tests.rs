//! Who leads, who follows, and what becomes of the followers.

use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::prediction::Credentials;
use crate::purge::{Mode, Purge, What};
use crate::test_support::{Bench, directory, memory_only, name, read_all, response};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn bench() -> (tempfile::TempDir, Bench) {
    let place = directory();
    let bench = Bench::open(memory_only(&place));
    (place, bench)
}

async fn purge(bench: &Bench, what: What, mode: Mode) {
    let purge = Purge {
        partition: Some(bench.site),
        what: vec![what],
        mode,
    };
    bench.cache.purge(purge).await.unwrap();
}

fn plain() -> StoredResponse {
    response("one", &[], &[])
}

#[tokio::test]
async fn a_lead_that_is_dropped_fails_its_followers() {
    let (_directory, bench) = bench();
    let lead = bench.lead("/");
    let follower = bench.follow("/");
    drop(lead);
    assert!(matches!(follower.outcome().await, Followed::Failed));
    drop(bench.lead("/"));
}

#[tokio::test]
async fn followers_are_told_of_a_release_and_of_a_freshening() {
    let (_directory, bench) = bench();
    let lead = bench.lead("/");
    let follower = bench.follow("/");
    lead.release(Reason::Private);
    assert!(matches!(
        follower.outcome().await,
        Followed::Released(Reason::Private)
    ));
    let lead = bench.lead("/");
    let follower = bench.follow("/");
    lead.freshened();
    assert!(matches!(follower.outcome().await, Followed::LookAgain));
}

#[tokio::test]
async fn other_keys_are_not_collapsed() {
    let (_directory, bench) = bench();
    let _lead = bench.lead("/a");
    let _other = bench.lead("/b");
}

#[tokio::test]
async fn who_missed_before_the_commit_and_collapses_after_it_looks_again() {
    let (_directory, bench) = bench();
    assert!(bench.stored("/").await.is_none());
    bench.store("/", plain(), Bytes::from_static(b"x")).await;
    assert!(matches!(
        bench.follow("/").outcome().await,
        Followed::LookAgain
    ));
}

#[tokio::test]
async fn who_saw_what_is_stored_leads_its_validation() {
    let (_directory, bench) = bench();
    bench.store("/", plain(), Bytes::from_static(b"x")).await;
    let seen = bench.hit("/").await.unwrap().handle;
    let again = bench
        .cache
        .collapse(&bench.key("/"), &bench.selecting(), Some(&seen));
    let Collapse::Lead(lead) = again else {
        panic!()
    };
    assert!(bench.cache.freshen(&seen, response("two", &[], &[])).await);
    lead.freshened();
    let late = bench
        .cache
        .collapse(&bench.key("/"), &bench.selecting(), Some(&seen));
    let Collapse::Follow(follower) = late else {
        panic!()
    };
    assert!(matches!(follower.outcome().await, Followed::LookAgain));
    assert_eq!(
        bench.stored("/").await.unwrap(),
        ("two".into(), Bytes::from_static(b"x"))
    );
    assert!(
        !bench
            .cache
            .freshen(&seen, response("three", &[], &[]))
            .await,
        "it was replaced"
    );
}

/// A fetch is sent, then purged; then somebody comes.
async fn check_purged_while_asking(what: impl Fn(&Bench) -> What, sent: bool, joins: bool) {
    let (_directory, bench) = bench();
    let mut lead = bench.lead("/news/1");
    if sent {
        lead.sent();
    }
    purge(&bench, what(&bench), Mode::Hard).await;
    match bench.collapse("/news/1") {
        Collapse::Follow(_) => assert!(joins),
        Collapse::Lead(_) => assert!(!joins),
    }
}

#[tokio::test]
async fn a_fetch_that_was_sent_before_a_purge_is_not_joined_after_it() {
    let url = |bench: &Bench| What::Url(bench.key("/news/1").url());
    check_purged_while_asking(url, true, false).await;
    check_purged_while_asking(url, false, true).await;
    check_purged_while_asking(|_| What::All, true, false).await;
    check_purged_while_asking(|_| What::Prefix(Box::from(&b"/news/"[..])), true, false).await;
    check_purged_while_asking(|_| What::Prefix(Box::from(&b"/old/"[..])), true, true).await;
}

/// A fill is under way when a purge is answered. The readers that it has end well, nobody joins it, and nothing of it is stored; a
/// fetch sent afterwards is shared and stored at once.
async fn check_purged_while_filling(what: What, mode: Mode) {
    let (_directory, bench) = bench();
    let head = response("old", &["tag"], &[]);
    let (mut old, reader) = bench.begin("/", head, None);
    old.write(Bytes::from_static(b"old")).await.unwrap();
    let waiting = bench.follow("/");
    purge(&bench, what, mode).await;
    assert!(matches!(waiting.outcome().await, Followed::LookAgain));

    let (mut new, _) = bench.begin("/", response("new", &["tag"], &[]), None);
    let Followed::Filling(shared) = bench.follow("/").outcome().await else {
        panic!()
    };
    assert_eq!(name(&shared.response), "new");
    new.write(Bytes::from_static(b"new")).await.unwrap();
    new.finish().await.unwrap();
    old.finish().await.unwrap();
    assert_eq!(read_all(reader.body).await.unwrap(), "old");
    assert_eq!(read_all(shared.body).await.unwrap(), "new");
    assert_eq!(bench.stored("/").await.unwrap().0, "new");
}

#[tokio::test]
async fn a_fill_that_was_sent_before_a_purge_is_dead_and_the_next_lives() {
    for mode in [Mode::Hard, Mode::Soft] {
        check_purged_while_filling(What::All, mode).await;
        check_purged_while_filling(What::Tag(Box::from("tag")), mode).await;
        check_purged_while_filling(What::Prefix(Box::from(&b"/"[..])), mode).await;
    }
}

#[tokio::test]
async fn fifty_requests_for_one_cold_key_make_one_fetch() {
    let (_directory, bench) = bench();
    let lead = bench.lead("/");
    let followers: Vec<_> = (0..49)
        .map(|_| tokio::spawn(bench.follow("/").outcome()))
        .collect();
    let (mut writer, _) = lead.begin(plain(), 0, None);
    let write = async move {
        for _ in 0..100 {
            writer
                .write(Bytes::from_static(b"0123456789"))
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
        writer.finish().await.unwrap();
    };
    tokio::spawn(write);
    for follower in followers {
        let Followed::Filling(filling) = follower.await.unwrap() else {
            panic!()
        };
        assert_eq!(read_all(filling.body).await.unwrap().len(), 1000);
    }
}

/// A request for `/` in this language.
fn in_language(language: &'static str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert("accept-language", HeaderValue::from_static(language));
    fields
}

fn take(bench: &Bench, fields: &HeaderMap) -> Collapse {
    let selecting = SelectingFields::of(fields);
    bench.cache.collapse(&bench.key("/"), &selecting, None)
}

fn leads(bench: &Bench, fields: &HeaderMap) -> Option<Lead> {
    match take(bench, fields) {
        Collapse::Lead(lead) => Some(lead),
        Collapse::Follow(_) => None,
    }
}

#[tokio::test]
async fn other_variants_wait_for_each_other_only_until_the_selecting_fields_are_known() {
    let (english, french) = (in_language("en"), in_language("fr"));
    for is_stored in [false, true] {
        let (_directory, mut bench) = bench();
        if is_stored {
            bench.fields = in_language("de");
            let response = response("german", &[], &["accept-language"]);
            bench.store("/", response, Bytes::from_static(b"x")).await;
        }
        let _first = leads(&bench, &english).unwrap();
        assert!(leads(&bench, &english).is_none());
        assert_eq!(leads(&bench, &french).is_some(), is_stored);
    }
}

#[tokio::test]
async fn the_selecting_fields_of_an_answer_that_was_not_stored_are_known_too() {
    let (_directory, bench) = bench();
    let (english, french) = (in_language("en"), in_language("fr"));
    let key = bench.key("/");
    let asker = Asker {
        key: &key,
        selecting: SelectingFields::of(&english),
        credentials: Credentials::None,
        rules: 1,
    };
    let lead = leads(&bench, &english).unwrap();
    let vary = [Selector::Field(http::header::ACCEPT_LANGUAGE)];
    lead.learn(&asker, Reason::Private, &vary, NOW);
    lead.release(Reason::Private);
    assert_eq!(bench.cache.predict(&asker, NOW), Some(Reason::Private));
    let _english = leads(&bench, &english).unwrap();
    let _french = leads(&bench, &french).unwrap();
}

#[tokio::test]
async fn who_fetches_apart_is_joined_once_it_fills_and_not_before() {
    let (_directory, bench) = bench();
    let key = bench.key("/");
    let (mut one, other) = (bench.cache.lead_apart(&key), bench.cache.lead_apart(&key));
    one.sent();
    drop(bench.lead("/"));
    let (mut writer, _) = one.begin(plain(), 0, None);
    let followed = bench.follow("/").outcome().await;
    assert!(matches!(followed, Followed::Filling(_)));
    drop(other);
    writer.write(Bytes::from_static(b"x")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(bench.stored("/").await.unwrap().1, "x");
}

#[tokio::test]
async fn what_is_fetched_apart_is_invalidated_like_everything_else() {
    let (_directory, bench) = bench();
    let key = bench.key("/");
    let mut apart = bench.cache.lead_apart(&key);
    apart.sent();
    bench.cache.invalidate(&key).await.unwrap();
    let (mut writer, _) = apart.begin(plain(), 0, None);
    writer.write(Bytes::from_static(b"old")).await.unwrap();
    writer.finish().await.unwrap();
    assert!(bench.stored("/").await.is_none());
}

#[tokio::test]
async fn a_purge_ends_a_prediction_and_one_of_something_else_does_not() {
    for (what, mode, expected) in [
        (What::All, Mode::Hard, None),
        (What::Prefix(Box::from(&b"/"[..])), Mode::Soft, None),
        (
            What::Prefix(Box::from(&b"/x"[..])),
            Mode::Hard,
            Some(Reason::Private),
        ),
    ] {
        let (_directory, bench) = bench();
        let key = bench.key("/");
        let asker = Asker {
            key: &key,
            selecting: bench.selecting(),
            credentials: Credentials::None,
            rules: 1,
        };
        let mut lead = bench.lead("/");
        lead.sent();
        lead.learn(&asker, Reason::Private, &[], NOW);
        lead.release(Reason::Private);
        purge(&bench, what, mode).await;
        assert_eq!(bench.cache.predict(&asker, NOW), expected);
        // An answer that was asked for before the purge and comes after it predicts nothing, however late it comes.
        lead_late(&bench, &asker, mode).await;
        assert_eq!(bench.cache.predict(&asker, NOW), None);
    }
}

/// Teaches by an answer that was sent before everything was purged.
async fn lead_late(bench: &Bench, asker: &Asker<'_>, mode: Mode) {
    let mut late = bench.cache.lead_apart(asker.key);
    late.sent();
    purge(bench, What::All, mode).await;
    late.learn(asker, Reason::Private, &[], NOW);
    late.release(Reason::Private);
}

#[tokio::test]
async fn a_lead_is_deserted_when_its_last_follower_has_left() {
    let (_directory, bench) = bench();
    let lead = bench.lead("/");
    lead.deserted().await;
    let follower = bench.follow("/");
    let mut deserted = Box::pin(lead.deserted());
    let first = std::future::poll_fn(|context| Poll::Ready(deserted.as_mut().poll(context)));
    assert!(first.await.is_pending());
    drop(follower);
    deserted.await;
}
