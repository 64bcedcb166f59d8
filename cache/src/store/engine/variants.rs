//! Variants of one key, some of them on disk alone.

use http::header::{ACCEPT, ACCEPT_LANGUAGE};
use http::{HeaderMap, HeaderValue};

use super::*;

/// A request with this language and this type.
fn asks(bench: &mut Bench, language: &'static str, accept: &'static str) {
    bench.fields = HeaderMap::from_iter([
        (ACCEPT_LANGUAGE, HeaderValue::from_static(language)),
        (ACCEPT, HeaderValue::from_static(accept)),
    ]);
}

/// The version that the request finds, wherever it is; then once more, and which tier that came from.
async fn found(bench: &Bench) -> Option<(u64, Tier)> {
    let first = version(bench, "/", 3_000).await?;
    let again = bench.hit("/").await.unwrap();
    let second: u64 = name(&again.response).parse().unwrap();
    assert_eq!(first, second);
    Some((first, again.tier))
}

/// Versions 1, 2, ... of one key, which vary by these fields; all on disk and none in memory.
async fn on_disk(place: &tempfile::TempDir, variants: &[(&'static str, &[&'static str])]) -> Bench {
    let mut bench = open(place.path(), &["disk"]).await;
    for (version, (language, vary)) in (1..).zip(variants) {
        asks(&mut bench, language, "b");
        let head = response(&version.to_string(), &[], vary);
        bench.store("/", head, content(version, 3_000)).await;
        bench.flushed().await;
    }
    bench.cache.forget_memory();
    bench
}

/// RFC 9111 §4: of several that a request selects the most recent one is used.
#[tokio::test]
async fn what_came_into_memory_hides_nothing_newer_that_varies_by_other_fields() {
    for restarts in [false, true] {
        let place = directory();
        let mut bench = on_disk(&place, &[("de", &["accept-language"]), ("fr", &["accept"])]).await;
        if restarts {
            bench.cache.close().await;
            drop(bench);
            bench = open(place.path(), &["disk"]).await;
        }
        // It selects the first alone.
        asks(&mut bench, "de", "a");
        assert_eq!(found(&bench).await, Some((1, Tier::Memory)));
        // And this one both.
        asks(&mut bench, "de", "b");
        assert_eq!(found(&bench).await, Some((2, Tier::Disk)), "{restarts}");
        asks(&mut bench, "en", "b");
        assert_eq!(found(&bench).await, Some((2, Tier::Memory)));
        asks(&mut bench, "en", "a");
        assert_eq!(found(&bench).await, None);
    }
}

#[tokio::test]
async fn of_what_varies_and_what_does_not_the_newer_is_found() {
    for (first, second, expected) in [
        (&["accept-language"][..], &[][..], 2),
        (&[][..], &["accept-language"][..], 2),
    ] {
        let place = directory();
        let mut bench = on_disk(&place, &[("de", first), ("de", second)]).await;
        asks(&mut bench, "fr", "a");
        let of_others = if first.is_empty() { 1 } else { 2 };
        assert_eq!(version(&bench, "/", 3_000).await, Some(of_others));
        asks(&mut bench, "de", "a");
        assert_eq!(version(&bench, "/", 3_000).await, Some(expected));
    }
}

#[tokio::test]
async fn variants_by_the_same_fields_are_all_held_in_memory() {
    let by = &["accept-language"][..];
    let place = directory();
    let mut bench = on_disk(&place, &[("de", by), ("fr", by), ("en", by)]).await;
    for (language, version) in [("de", 1), ("fr", 2), ("en", 3)] {
        asks(&mut bench, language, "a");
        assert_eq!(found(&bench).await, Some((version, Tier::Memory)));
    }
    // Another key of the site varies by something else.
    let head = response("9", &[], &["accept"]);
    bench.store("/other", head, content(9, 3_000)).await;
    bench.flushed().await;
    bench.cache.forget_memory();
    for (language, version) in [("de", 1), ("fr", 2), ("en", 3)] {
        asks(&mut bench, language, "a");
        assert_eq!(found(&bench).await, Some((version, Tier::Memory)));
    }
}
