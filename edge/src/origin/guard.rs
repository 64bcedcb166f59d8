//! What does the guard of a side say in its answers (`docs/in-band-guard.md`)?
//!
//! Pure; read by `receive` from each head before the fields that are for the edge alone are taken off. A guard's 421 says that nobody has seen
//! the request, so that it may be sent again; a stamp says until when the side is master. Strict: what is not exactly as the contract says
//! is no word of a guard's, but an application's, and neither repeats a request nor renews a lease.

use http::header::{HeaderMap, HeaderName};
use http::{HeaderValue, StatusCode};
use jet9_cluster::Epoch;

/// The epoch: of a request, or of the side that answers.
pub const EPOCH: HeaderName = HeaderName::from_static("jet9-epoch");

/// Nobody behind the guard has seen the request.
pub const NOT_PROCESSED: HeaderName = HeaderName::from_static("jet9-not-processed");

/// The digits of an Integer (RFC 9651 §3.3.1).
const DIGITS_MAX: usize = 15;

/// What an answer says of the guard in front of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The epoch in which the side is master; 0: it is not.
    epoch: Option<Epoch>,
    ttl_ms: Option<u64>,
    not_processed: bool,
}

/// A guard has refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The side is at a higher epoch than the request: we have not heard of it yet.
    Ahead(Epoch),
    /// The side is at a lower one, or is no master as far as it knows.
    Behind,
}

impl Said {
    /// Reads it from the fields of an answer.
    pub fn of(fields: &HeaderMap) -> Self {
        let stamp = only(fields, &EPOCH).and_then(stamp);
        Self {
            epoch: stamp.map(|(epoch, _)| epoch),
            ttl_ms: stamp.and_then(|(_, ttl_ms)| ttl_ms),
            not_processed: only(fields, &NOT_PROCESSED).is_some_and(|value| value == "?1"),
        }
    }

    /// Whether an answer with this status to a request of this epoch is a guard's refusal.
    pub fn refusal(&self, status: StatusCode, sent_under: Epoch) -> Option<Refusal> {
        let epoch = self.epoch.filter(|epoch| *epoch != sent_under)?;
        let refused = status == StatusCode::MISDIRECTED_REQUEST && self.not_processed;
        refused.then_some(if epoch > sent_under {
            Refusal::Ahead(epoch)
        } else {
            Refusal::Behind
        })
    }

    /// For how long the guard vouches for its side in the epoch of a request that it let pass, in milliseconds from when that was sent.
    pub fn vouches_ms(&self, sent_under: Epoch) -> Option<u64> {
        let vouches = self.epoch == Some(sent_under) && !self.not_processed;
        self.ttl_ms.filter(|ttl_ms| vouches && *ttl_ms > 0)
    }
}

/// The value of a field that stands there once.
fn only<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = fields.get_all(name).iter();
    let value = values.next().map(HeaderValue::to_str)?.ok()?;
    values.next().is_none().then(|| value.trim_matches(' '))
}

/// `42` or `42;ttl=2500`, with whatever other parameters that are no strings.
fn stamp(value: &str) -> Option<(Epoch, Option<u64>)> {
    let mut parts = value.split(';');
    let epoch = Epoch(integer(parts.next()?)?);
    let mut ttl_ms = None;
    for parameter in parts {
        let parameter = parameter.trim_start_matches(' ');
        if parameter.contains(['"', ' ']) {
            return None;
        }
        if let Some(value) = parameter.strip_prefix("ttl=") {
            if ttl_ms.is_some() {
                return None;
            }
            ttl_ms = Some(integer(value)?);
        }
    }
    Some((epoch, ttl_ms))
}

fn integer(text: &str) -> Option<u64> {
    let is_integer =
        (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_integer.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(lines: &[(&str, &str)]) -> Said {
        let line = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        let mut fields = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            fields.append(name, value);
        }
        Said::of(&fields)
    }

    #[test]
    fn a_refusal_is_a_421_with_both_fields_and_another_epoch() {
        let check = |status: u16, lines: &[(&str, &str)], expected| {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                said(lines).refusal(status, Epoch(42)),
                expected,
                "{lines:?}"
            );
        };
        let refused = ("Jet9-Not-Processed", "?1");
        let ahead = Some(Refusal::Ahead(Epoch(43)));
        check(421, &[refused, ("Jet9-Epoch", "43")], ahead);
        check(421, &[refused, ("Jet9-Epoch", " 43;ttl=5 ")], ahead);
        check(421, &[refused, ("Jet9-Epoch", "41")], Some(Refusal::Behind));
        check(421, &[refused, ("Jet9-Epoch", "0")], Some(Refusal::Behind));
        check(421, &[refused, ("Jet9-Epoch", "42")], None);
        check(503, &[refused, ("Jet9-Epoch", "43")], None);
        check(421, &[("Jet9-Epoch", "43")], None);
        check(421, &[refused], None);
        check(421, &[refused, refused, ("Jet9-Epoch", "43")], None);
        check(
            421,
            &[refused, ("Jet9-Epoch", "43"), ("Jet9-Epoch", "43")],
            None,
        );
        check(
            421,
            &[("Jet9-Not-Processed", "1"), ("Jet9-Epoch", "43")],
            None,
        );
        for wrong in [
            "",
            "-1",
            "43.0",
            "a",
            "43,44",
            "1234567890123456",
            "43;ttl=x",
        ] {
            check(421, &[refused, ("Jet9-Epoch", wrong)], None);
        }
    }

    #[test]
    fn a_stamp_vouches_for_its_own_epoch_and_a_while() {
        let check = |value: &str, expected| {
            let said = said(&[("Jet9-Epoch", value)]);
            assert_eq!(said.vouches_ms(Epoch(42)), expected, "{value}");
        };
        check("42;ttl=2500", Some(2500));
        check("42; ttl=2500", Some(2500));
        check("42;a;ttl=2500;b=?0", Some(2500));
        check("42", None);
        check("42;ttl=0", None);
        check("43;ttl=2500", None);
        check("42;ttl=1;ttl=2", None);
        check("42;ttl=-1", None);
        check("42;x=\";ttl=2500", None);
        check("42;ttl =2500", None);
        let refused = [("Jet9-Epoch", "42;ttl=9"), ("Jet9-Not-Processed", "?1")];
        assert_eq!(said(&refused).vouches_ms(Epoch(42)), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut fields = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                fields.insert(EPOCH, value);
            }
            Said::of(&fields);
        }
    }
}
