//! `Idempotency-Key` on POST: the same call, sent again because its answer was lost, is answered again and not done again.
//!
//! Asked by `api::server` around the handler. A key belongs to its caller and names one call: method, path, parameters and content. What was done is
//! kept in memory for [`KEPT_FOR`]; what failed is not, so that it can be tried again. Invariant 7: keys, answers and their time have limits.
//! Invariant 8: where there is no room for a key more, whoever keeps the most gives up its oldest answer, and is refused before others are.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use super::{Answer, Content};
use crate::control::tokens::Principal;

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// Keys that are kept of one caller. More are refused until older ones are forgotten.
const KEYS_OF_ONE_MAX: usize = 1_000;

/// Keys that are kept, of all callers but those who may everything.
const KEYS_MAX: usize = 10_000;

/// Bytes of an answer that is kept. What answers more (a rollback, by its differences) changes nothing when it is done again.
const ANSWER_MAX: usize = 4 << 10;

/// Bytes of a key.
pub(super) const KEY_MAX: usize = 255;

/// The answers that are kept.
#[derive(Debug, Default)]
pub(super) struct Answers {
    kept: Mutex<HashMap<String, OfOne>>,
}

/// What is kept for one caller.
#[derive(Debug, Default)]
struct OfOne {
    is_admin: bool,
    /// By the key that it chose.
    keys: HashMap<Vec<u8>, Kept>,
}

#[derive(Debug)]
struct Kept {
    call: [u8; 32],
    until: Instant,
    /// `None`: the call is running.
    answer: Option<(StatusCode, HeaderMap, Value)>,
}

/// A call as its key is held against it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) method: &'a Method,
    pub(super) path_and_query: &'a str,
    pub(super) fields: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// What to do with a call.
#[derive(Debug)]
pub(super) enum Begun<'a> {
    /// Do it; it has no key.
    Do,
    /// Do it, and keep the answer.
    Keep(Running<'a>),
    /// It was done; this is the answer.
    Done(Answer),
}

/// A call that runs under a key; forgotten when dropped without an answer.
#[derive(Debug)]
pub(super) struct Running<'a> {
    answers: &'a Answers,
    who: String,
    key: Vec<u8>,
    is_kept: bool,
}

impl Answers {
    /// Before a call.
    pub(super) fn begin(
        &self,
        who: &Principal,
        call: Named<'_>,
        now: Instant,
    ) -> Result<Begun<'_>, Problem> {
        let Some(key) = call.fields.get("idempotency-key") else {
            return Ok(Begun::Do);
        };
        if *call.method != Method::POST {
            return Ok(Begun::Do);
        }
        if key.is_empty() || key.len() > KEY_MAX {
            let detail = format!("Idempotency-Key has 1 to {KEY_MAX} bytes");
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let digest = call.digest();
        let mut kept = self.kept.lock();
        if let Some(found) = kept
            .get(who.name())
            .and_then(|of| of.keys.get(key.as_bytes()))
            && found.until > now
        {
            return found.again(digest).map(Begun::Done);
        }
        make_room(&mut kept, who, now)?;
        let running = Kept {
            call: digest,
            until: now + KEPT_FOR,
            answer: None,
        };
        let of_one = kept.entry(who.name().to_owned()).or_default();
        of_one.is_admin = who.is_admin();
        of_one.keys.insert(key.as_bytes().to_vec(), running);
        Ok(Begun::Keep(Running {
            answers: self,
            who: who.name().to_owned(),
            key: key.as_bytes().to_vec(),
            is_kept: false,
        }))
    }

    /// Forgets what was answered to a caller that is gone: another may get its name.
    pub(super) fn forget(&self, who: &str) {
        self.kept.lock().remove(who);
    }
}

/// Makes room for a key more: by forgetting what is too old, and if that is not enough, of others who keep more, the oldest answer of who keeps the
/// most. Refuses who keeps the most itself.
fn make_room(
    kept: &mut HashMap<String, OfOne>,
    who: &Principal,
    now: Instant,
) -> Result<(), Problem> {
    let own = |kept: &HashMap<String, OfOne>| kept.get(who.name()).map_or(0, |of| of.keys.len());
    let is_full = |kept: &HashMap<String, OfOne>| {
        let counted = kept.values().filter(|of| !of.is_admin);
        let all = || counted.map(|of| of.keys.len()).sum::<usize>();
        own(kept) >= KEYS_OF_ONE_MAX || (!who.is_admin() && all() >= KEYS_MAX)
    };
    if !is_full(kept) {
        return Ok(());
    }
    kept.retain(|_, of_one| {
        of_one.keys.retain(|_, kept| kept.until > now);
        !of_one.keys.is_empty()
    });
    let own = own(kept);
    if is_full(kept) && (own >= KEYS_OF_ONE_MAX || !give_up_one(kept, own)) {
        let detail = "too many calls with an Idempotency-Key in the last hour";
        let status = StatusCode::TOO_MANY_REQUESTS;
        return Err(Problem::crowded(status, detail));
    }
    Ok(())
}

/// Forgets the oldest answer of who keeps the most, if that is more than this many.
fn give_up_one(kept: &mut HashMap<String, OfOne>, own: usize) -> bool {
    let counted = kept.values_mut().filter(|of| !of.is_admin);
    let largest = counted.max_by_key(|of| of.keys.len());
    let Some(largest) = largest.filter(|of| of.keys.len() > own) else {
        return false;
    };
    let answered = largest
        .keys
        .iter()
        .filter(|(_, kept)| kept.answer.is_some());
    let oldest = answered.min_by_key(|(_, kept)| kept.until);
    let oldest = oldest.map(|(key, _)| key.clone());
    oldest.is_some_and(|key| largest.keys.remove(&key).is_some())
}

impl Named<'_> {
    fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for part in [self.method.as_str(), self.path_and_query] {
            hasher.update(part);
            hasher.update([0]);
        }
        hasher.update(self.body);
        hasher.finalize().into()
    }
}

impl Kept {
    fn again(&self, call: [u8; 32]) -> Result<Answer, Problem> {
        if self.call != call {
            let detail = "this Idempotency-Key was used for another call";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        match &self.answer {
            Some((status, fields, body)) => Ok(Answer {
                status: *status,
                fields: fields.clone(),
                content: Content::Json(body.clone()),
            }),
            None => {
                let detail = "the call of this Idempotency-Key is still running";
                Err(Problem::new(StatusCode::CONFLICT, detail))
            }
        }
    }
}

impl Running<'_> {
    /// Keeps the answer, if it has one that can be given again.
    pub(super) fn keep(mut self, answer: &Answer) {
        let Content::Json(body) = &answer.content else {
            return;
        };
        if body.to_string().len() > ANSWER_MAX {
            return;
        }
        let mut kept = self.answers.kept.lock();
        let of_one = kept.get_mut(&self.who);
        if let Some(kept) = of_one.and_then(|of_one| of_one.keys.get_mut(&self.key)) {
            kept.answer = Some((answer.status, answer.fields.clone(), body.clone()));
            self.is_kept = true;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let mut kept = self.answers.kept.lock();
        if let Some(of_one) = kept.get_mut(&self.who) {
            of_one.keys.remove(&self.key);
            if of_one.keys.is_empty() {
                kept.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;
    use crate::clock;

    #[test]
    fn a_call_is_done_once_and_answered_as_often_as_it_is_sent() {
        let answers = Answers::default();
        let (one, other) = (Principal::new("one", []), Principal::new("other", []));
        let start = clock::monotonic();
        let mut fields = HeaderMap::new();
        fields.insert("idempotency-key", HeaderValue::from_static("k"));
        let call = |body| Named {
            method: &Method::POST,
            path_and_query: "/v1/purges",
            fields: &fields,
            body,
        };
        let begin = |who, body, now| answers.begin(who, call(body), now);
        let status = |begun: Result<Begun<'_>, Problem>| match begun {
            Ok(Begun::Do) => 0,
            Ok(Begun::Keep(_)) => 1,
            Ok(Begun::Done(answer)) => answer.status.as_u16(),
            Err(problem) => problem.status().as_u16(),
        };
        let Ok(Begun::Keep(running)) = begin(&one, b"a", start) else {
            panic!("it is new");
        };
        assert_eq!(status(begin(&one, b"a", start)), 409);
        assert_eq!(
            status(begin(&other, b"b", start)),
            1,
            "a key is its caller's"
        );
        running.keep(&Answer::of(StatusCode::CREATED, json!({"n": 1})));
        assert_eq!(status(begin(&one, b"a", start)), 201);
        assert_eq!(status(begin(&one, b"b", start)), 422);
        let later = start + KEPT_FOR;
        assert_eq!(status(begin(&one, b"b", later)), 1, "it failed");
        assert_eq!(status(begin(&one, b"b", later)), 1, "and is tried again");
    }

    #[test]
    fn one_caller_s_keys_leave_room_for_others_and_large_answers_are_not_kept() {
        let answers = Answers::default();
        let now = clock::monotonic();
        let begin = |who: &Principal, key: usize, now| {
            let mut fields = HeaderMap::new();
            fields.insert("idempotency-key", key.into());
            let call = Named {
                method: &Method::POST,
                path_and_query: "/",
                fields: &fields,
                body: b"",
            };
            answers.begin(who, call, now)
        };
        let done = |who: &Principal, key| match begin(who, key, now) {
            Ok(Begun::Keep(running)) => running.keep(&Answer::ok(json!({}))),
            other => panic!("{other:?}"),
        };
        let is_refused = |who: &Principal, key| {
            let refused = begin(who, key, now).expect_err("full");
            refused.status() == StatusCode::TOO_MANY_REQUESTS
        };
        let shops: Vec<_> = (0..11)
            .map(|n| Principal::new(format!("shop-{n}"), []))
            .collect();
        for key in 0..KEYS_OF_ONE_MAX {
            done(&shops[0], key);
        }
        assert!(is_refused(&shops[0], KEYS_OF_ONE_MAX));
        for shop in &shops[1..10] {
            (0..KEYS_OF_ONE_MAX).for_each(|key| done(shop, key));
        }
        assert!(is_refused(&shops[9], KEYS_OF_ONE_MAX), "its own share");
        // Who keeps none finds room, with one that keeps the most; and so until they all keep as many.
        let share = KEYS_MAX / shops.len();
        (0..=share).for_each(|key| done(&shops[10], key));
        assert!(matches!(begin(&shops[10], 0, now), Ok(Begun::Done(_))));
        assert!(is_refused(&shops[10], KEYS_MAX), "no more than others");
        let kept_of = |who: &Principal| answers.kept.lock()[who.name()].keys.len();
        let of_shops: Vec<usize> = shops.iter().map(kept_of).collect();
        assert_eq!(of_shops.iter().sum::<usize>(), KEYS_MAX);
        assert!(
            of_shops.iter().all(|of| (share..=share + 1).contains(of)),
            "{of_shops:?}"
        );
        let admin = Principal::admin("admin");
        done(&admin, 0);
        assert!(matches!(begin(&admin, 0, now), Ok(Begun::Done(_))));
        answers.forget("admin");
        let Ok(Begun::Keep(running)) = begin(&admin, 0, now) else {
            panic!("it is forgotten");
        };
        running.keep(&Answer::ok(json!("x".repeat(ANSWER_MAX))));
        assert!(matches!(begin(&admin, 0, now), Ok(Begun::Keep(_))));
        assert!(
            begin(&shops[10], 0, now + KEPT_FOR).is_ok(),
            "an hour later"
        );
        assert_eq!(
            answers.kept.lock().len(),
            0,
            "what did not end is forgotten"
        );
    }

    #[test]
    fn what_has_no_key_or_cannot_have_one_is_simply_done() {
        let answers = Answers::default();
        let who = Principal::new("one", []);
        let check = |method: Method, key: Option<&[u8]>, good: bool| {
            let mut fields = HeaderMap::new();
            if let Some(key) = key {
                let value = HeaderValue::from_bytes(key).expect("a value");
                fields.insert("idempotency-key", value);
            }
            let call = Named {
                method: &method,
                path_and_query: "/",
                fields: &fields,
                body: b"",
            };
            let begun = answers.begin(&who, call, clock::monotonic());
            assert_eq!(matches!(begun, Ok(Begun::Do)), good, "{begun:?}");
        };
        check(Method::POST, None, true);
        check(Method::PUT, Some(b"k"), true);
        check(Method::POST, Some(b""), false);
        check(Method::POST, Some(&[b'k'; 256]), false);
    }
}
