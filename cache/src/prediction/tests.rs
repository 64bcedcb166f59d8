//! What an answer predicts, for whom, and for how long.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::key::{Partition, Scheme};

const KEYS: KeyHasher = KeyHasher::new([7; 16]);
const BORN: Tick = Tick(5);
const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let line = |&(name, value): &(_, _)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    lines.iter().map(line).collect()
}

fn key(path: &str) -> Key {
    let path = Bytes::copy_from_slice(path.as_bytes());
    KEYS.key(Partition(1), Scheme::Https, Arc::from("example.com"), path)
}

fn names(names: &[&'static str]) -> Vec<Selector> {
    let name = |name: &&'static str| Selector::Field(HeaderName::from_static(name));
    names.iter().map(name).collect()
}

/// A request that asks for `path`.
struct Question {
    key: Key,
    fields: HeaderMap,
    credentials: Credentials,
    rules: u64,
}

fn ask(path: &str, lines: &[(&'static str, &'static str)]) -> Question {
    Question {
        key: key(path),
        fields: fields(lines),
        credentials: Credentials::None,
        rules: 1,
    }
}

impl Question {
    fn with(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    fn under(mut self, rules: u64) -> Self {
        self.rules = rules;
        self
    }

    fn asker(&self) -> Asker<'_> {
        Asker {
            key: &self.key,
            selecting: SelectingFields::of(&self.fields),
            credentials: self.credentials,
            rules: self.rules,
        }
    }
}

fn learn(predictions: &Predictions, question: &Question, vary: &[&'static str]) {
    let lesson = (Reason::Private, &*names(vary));
    predictions.learn(&question.asker(), lesson, BORN, NOW);
}

fn predicts(predictions: &Predictions, question: &Question, now: Timestamp) -> bool {
    let predicted = predictions.predict(&question.asker(), now, |_| true);
    assert!(matches!(predicted, None | Some(Reason::Private)));
    predicted.is_some()
}

/// A private answer to `taught`, with `vary`; then somebody asks.
fn check(taught: &Question, vary: &[&'static str], asked: &Question, expected: bool) {
    let predictions = Predictions::new(KEYS);
    learn(&predictions, taught, vary);
    assert_eq!(predicts(&predictions, asked, NOW), expected);
}

#[test]
fn an_answer_predicts_for_its_key_and_variant_alone() {
    let plain = |path| ask(path, &[]);
    check(&plain("/a"), &[], &plain("/a"), true);
    check(&plain("/a"), &[], &plain("/b"), false);
    let cookie = |value| ask("/a", &[("cookie", value)]);
    check(&cookie("id=1"), &["cookie"], &cookie("id=1"), true);
    check(&cookie("id=1"), &["cookie"], &cookie("id=2"), false);
    check(&cookie("id=1"), &["cookie"], &plain("/a"), false);
    check(&cookie("id=1"), &[], &cookie("id=2"), true);
}

#[test]
fn an_answer_to_a_personal_request_says_nothing_about_others() {
    use Credentials::{Authorization, Cookie, None};
    for (taught, asked, expected) in [
        (None, None, true),
        (None, Cookie, true),
        (None, Authorization, true),
        (Cookie, None, false),
        (Cookie, Cookie, true),
        (Cookie, Authorization, true),
        (Authorization, None, false),
        (Authorization, Cookie, false),
        (Authorization, Authorization, true),
    ] {
        let request = |credentials| ask("/", &[]).with(credentials);
        check(&request(taught), &[], &request(asked), expected);
    }
}

#[test]
fn other_rules_predict_anew() {
    check(&ask("/", &[]), &[], &ask("/", &[]).under(2), false);
}

#[test]
fn a_prediction_ends_after_its_lifetime_and_when_the_clock_goes_back() {
    for (now, expected) in [
        (NOW.plus(seconds(119)), true),
        (NOW.plus(seconds(120)), false),
        (Timestamp::from_unix_seconds(NOW.unix_seconds() - 1), false),
    ] {
        let predictions = Predictions::new(KEYS);
        learn(&predictions, &ask("/", &[]), &[]);
        assert_eq!(predicts(&predictions, &ask("/", &[]), now), expected);
    }
    assert_eq!(PREDICTION_LIFETIME, seconds(120));
}

#[test]
fn a_purge_ends_what_was_born_before_it_and_nothing_of_other_keys() {
    let predictions = Predictions::new(KEYS);
    let (here, there) = (ask("/", &[]), ask("/other", &[]));
    learn(&predictions, &here, &[]);
    learn(&predictions, &there, &[]);
    let purged = predictions.predict(&here.asker(), NOW, |born| born > BORN);
    assert_eq!(purged, None);
    assert!(!predicts(&predictions, &here, NOW), "forgotten for good");
    assert!(predicts(&predictions, &there, NOW));
}

#[test]
fn a_stored_answer_ends_what_predicted_otherwise_for_it() {
    use Credentials::{Cookie, None};
    let predictions = Predictions::new(KEYS);
    let of = |credentials| ask("/", &[]).with(credentials);
    learn(&predictions, &of(Cookie), &[]);
    predictions.unlearn(&of(None).asker());
    assert!(predicts(&predictions, &of(Cookie), NOW), "a plain answer");
    predictions.unlearn(&of(Cookie).asker());
    assert!(!predicts(&predictions, &of(Cookie), NOW));
}

#[test]
fn only_what_the_answer_is_like_teaches() {
    let plain = RequestDirectives::default();
    let check = |why, status, request: &RequestDirectives, expected| {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(teaches(why, status, request), expected, "{why:?} {status}");
    };
    check(Reason::Private, 200, &plain, true);
    check(Reason::NoFreshness, 404, &plain, true);
    check(Reason::SetCookie, 302, &plain, true);
    check(Reason::Authorization, 200, &plain, true);
    check(Reason::NoFreshness, 503, &plain, false);
    check(Reason::NoStore, 429, &plain, false);
    for why in [Reason::RouteOff, Reason::ProfileOff, Reason::Range] {
        check(why, 200, &plain, false);
    }
    // A site may look up although the client says `no-store`; what that forbids to store says nothing about others.
    let forbids = RequestDirectives {
        no_store: true,
        ..plain
    };
    check(Reason::NoStore, 200, &forbids, false);
}

#[test]
fn the_last_selecting_fields_of_a_key_are_known() {
    let predictions = Predictions::new(KEYS);
    assert_eq!(predictions.vary_of(&key("/")), None);
    learn(&predictions, &ask("/", &[]), &["cookie"]);
    assert_eq!(*predictions.vary_of(&key("/")).unwrap(), names(&["cookie"]));
    learn(&predictions, &ask("/", &[("cookie", "a")]), &[]);
    assert!(predictions.vary_of(&key("/")).unwrap().is_empty());
    let long: Vec<_> = (0..16)
        .map(|n| Selector::Field(HeaderName::try_from(format!("{n:040}")).unwrap()))
        .collect();
    let (other, lesson) = (ask("/long", &[]), (Reason::Private, &*long));
    predictions.learn(&other.asker(), lesson, BORN, NOW);
    assert_eq!(predictions.vary_of(&other.key), None);
}

fn question() -> impl Strategy<Value = (u8, u8, u8, u8)> {
    (0..40_u8, 0..4_u8, 0..3_u8, 0..2_u8)
}

fn built((path, cookie, credentials, rules): (u8, u8, u8, u8)) -> Question {
    use Credentials::{Authorization, Cookie, None};
    let mut question = ask(&format!("/{path}"), &[]).under(rules.into());
    if cookie > 0 {
        let value = HeaderValue::from(u16::from(cookie));
        question.fields.insert("cookie", value);
    }
    question.with([None, Cookie, Authorization][usize::from(credentials)])
}

proptest! {
    /// Whatever happened, nothing is predicted that no living answer taught, and no set outgrows its bound.
    #[test]
    fn nothing_is_predicted_that_was_not_taught(
        events in proptest::collection::vec((question(), 0..3_u8, any::<bool>(), 0..40_u64), 1..120),
        asked in question(),
    ) {
        let predictions = Predictions::new(KEYS);
        let mut taught = Vec::new();
        let mut now = NOW;
        for (asker, event, varies, later) in events {
            now = now.plus(seconds(later));
            let question = built(asker);
            if event < 2 {
                let vary = names(if varies { &["cookie"] } else { &[] });
                let lesson = (Reason::Private, &*vary);
                predictions.learn(&question.asker(), lesson, BORN, now);
                prop_assert!(predicts(&predictions, &question, now));
                taught.push((question, varies, now));
            } else {
                predictions.unlearn(&question.asker());
                prop_assert!(!predicts(&predictions, &question, now));
            }
            prop_assert!(predictions.sets.iter().all(|set| set.lock().len() <= WAYS));
        }
        let asked = built(asked);
        let may_know = |(question, varies, learned): &(Question, bool, Timestamp)| {
            question.key.is_same(&asked.key)
                && question.rules == asked.rules
                && question.credentials <= asked.credentials
                && (!varies || question.fields == asked.fields)
                && now.since(*learned) < PREDICTION_LIFETIME
        };
        if predicts(&predictions, &asked, now) {
            prop_assert!(taught.iter().any(may_know));
        }
    }
}
