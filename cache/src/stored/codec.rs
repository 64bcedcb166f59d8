//! The stored head as bytes: what the store writes beside the content, and reads back after a restart.
//!
//! Called by `store` alone. A version byte comes first; integers are little endian. Only what cannot be derived is written: the
//! HTTP/1.1 head, the validators and the selecting fields are made anew on decoding. Invariant: decoding an encoded response gives
//! the same response, and decoding anything else gives `None` or a well-formed response, never a panic or an unbounded allocation.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{FIELD_BYTES_MAX, FIELD_LINES_MAX, Parts, Reuse, StoredResponse, Times};
use crate::semantics::rules::{Languages, LiteSpeed};
use crate::time::Timestamp;

/// The version of the form. A reader knows exactly one; another one decodes to `None`, which is a miss.
const VERSION: u8 = 1;

/// An encoded head is never longer than this, in bytes.
pub const ENCODED_BYTES_MAX: usize = 256 * 1024;

/// No encoded line has more bytes of lengths than this, so that the limits on fields imply the limit on the whole.
const LENGTHS_PER_LINE: usize = 6;
const _: () = assert!(
    FIELD_BYTES_MAX + FIELD_LINES_MAX * LENGTHS_PER_LINE + 64 * 1024 < ENCODED_BYTES_MAX,
    "fields within their limits leave room for the tags"
);

const NO_CACHE: u8 = 1;
const MUST_REVALIDATE: u8 = 1 << 1;
const SHARED_WITH_AUTHORIZATION: u8 = 1 << 2;
const PERSONAL: u8 = 1 << 3;
const LANGUAGES_BY_QUALITY: u8 = 1 << 4;
const LITESPEED: u8 = 1 << 5;
const FLAGS: u8 = NO_CACHE
    | MUST_REVALIDATE
    | SHARED_WITH_AUTHORIZATION
    | PERSONAL
    | LANGUAGES_BY_QUALITY
    | LITESPEED;

impl StoredResponse {
    /// Appends its encoded form to `out`: at most [`ENCODED_BYTES_MAX`] bytes for what [`Self::assemble`] made.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend([VERSION, flags(self)]);
        out.extend(self.status.as_u16().to_le_bytes());
        let times = self.times;
        let numbers = [
            times.request_time.unix_millis(),
            times.response_time.unix_millis(),
            millis(times.initial_age),
            millis(times.lifetime),
            millis(self.reuse.stale_while_revalidate),
            millis(self.reuse.stale_if_error),
        ];
        out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        encode_fields(&self.fields, out);
        encode_fields(&self.withheld, out);
        encode_length(self.tags.len(), out);
        for tag in &self.tags {
            encode_length(tag.len(), out);
            out.extend(tag.as_bytes());
        }
    }

    /// The response whose encoded form is exactly `bytes`; `None` if it is another version or no encoded form at all.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > ENCODED_BYTES_MAX {
            return None;
        }
        let mut reader = Reader { rest: bytes };
        let parts = reader.parts()?;
        let at_end = reader.rest.is_empty();
        at_end.then(|| Self::assemble(parts).ok())?
    }
}

fn flags(response: &StoredResponse) -> u8 {
    let reuse = response.reuse;
    let bits = [
        (reuse.no_cache, NO_CACHE),
        (reuse.must_revalidate, MUST_REVALIDATE),
        (reuse.shared_with_authorization, SHARED_WITH_AUTHORIZATION),
        (reuse.personal, PERSONAL),
        (
            response.languages == Languages::ByQuality,
            LANGUAGES_BY_QUALITY,
        ),
        (response.litespeed == LiteSpeed::Obey, LITESPEED),
    ];
    let set = bits.into_iter().filter(|(is_set, _)| *is_set);
    set.fold(0, |flags, (_, bit)| flags | bit)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A length beyond 16 bits is above the limits of `assemble`; it is written so that decoding fails.
fn encode_length(length: usize, out: &mut Vec<u8>) {
    out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
}

fn encode_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    encode_length(fields.len(), out);
    for (name, value) in fields {
        encode_length(name.as_str().len(), out);
        out.extend(name.as_str().as_bytes());
        out.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(value.as_bytes());
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn parts(&mut self) -> Option<Parts> {
        let [version, flags] = self.array()?;
        if version != VERSION || flags & !FLAGS != 0 {
            return None;
        }
        let status = StatusCode::from_u16(u16::from_le_bytes(self.array()?)).ok()?;
        let times = Times {
            request_time: Timestamp::from_unix_millis(self.number()?),
            response_time: Timestamp::from_unix_millis(self.number()?),
            initial_age: Duration::from_millis(self.number()?),
            lifetime: Duration::from_millis(self.number()?),
        };
        let reuse = Reuse {
            no_cache: flags & NO_CACHE != 0,
            must_revalidate: flags & MUST_REVALIDATE != 0,
            shared_with_authorization: flags & SHARED_WITH_AUTHORIZATION != 0,
            personal: flags & PERSONAL != 0,
            stale_while_revalidate: Duration::from_millis(self.number()?),
            stale_if_error: Duration::from_millis(self.number()?),
        };
        let (fields, withheld) = (self.fields()?, self.fields()?);
        let tags = (0..self.length()?)
            .map(|_| self.tag())
            .collect::<Option<_>>()?;
        Some(Parts {
            status,
            fields,
            withheld,
            times,
            reuse,
            tags,
            languages: if flags & LANGUAGES_BY_QUALITY == 0 {
                Languages::AsSent
            } else {
                Languages::ByQuality
            },
            litespeed: if flags & LITESPEED == 0 {
                LiteSpeed::Ignore
            } else {
                LiteSpeed::Obey
            },
        })
    }

    fn fields(&mut self) -> Option<HeaderMap> {
        let mut fields = HeaderMap::new();
        for _ in 0..self.length()? {
            let length = self.length()?;
            let name = HeaderName::from_bytes(self.take(length)?).ok()?;
            let length = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
            let value = HeaderValue::from_bytes(self.take(length)?).ok()?;
            fields.try_append(name, value).ok()?;
        }
        Some(fields)
    }

    fn tag(&mut self) -> Option<Box<str>> {
        let length = self.length()?;
        Some(std::str::from_utf8(self.take(length)?).ok()?.into())
    }

    fn length(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_le_bytes(self.array()?)))
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*head)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(response: &StoredResponse) -> Vec<u8> {
        let mut out = Vec::new();
        response.encode(&mut out);
        out
    }

    fn fields() -> impl Strategy<Value = HeaderMap> {
        let name = prop_oneof![
            "[a-z][a-z0-9-]{0,12}",
            Just("etag".into()),
            Just("vary".into()),
            Just("content-language".into()),
            Just("x-litespeed-vary".into())
        ];
        let value = prop_oneof![
            prop::collection::vec(0x20_u8..0x7f, 0..40),
            prop::collection::vec(0x80_u8..=0xff, 0..40),
            Just(b"\"abc\"".to_vec()),
            Just(b"accept-language".to_vec()),
            Just(b"cookie=a".to_vec()),
        ];
        prop::collection::vec((name, value), 0..12).prop_map(|lines| {
            let mut map = HeaderMap::new();
            for (name, value) in lines {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                map.append(name, HeaderValue::from_bytes(&value).unwrap());
            }
            map
        })
    }

    prop_compose! {
        fn parts()(
            status in 100_u16..1000,
            fields in fields(),
            withheld in fields(),
            times: [u64; 6],
            bits: [bool; 6],
            tags in prop::collection::vec(".{0,20}", 0..10),
        ) -> Parts {
            Parts {
                status: StatusCode::from_u16(status).unwrap(),
                fields,
                withheld,
                times: Times {
                    request_time: Timestamp::from_unix_millis(times[0]),
                    response_time: Timestamp::from_unix_millis(times[1]),
                    initial_age: Duration::from_millis(times[2]),
                    lifetime: Duration::from_millis(times[3]),
                },
                reuse: Reuse {
                    no_cache: bits[0],
                    must_revalidate: bits[1],
                    shared_with_authorization: bits[2],
                    personal: bits[3],
                    stale_while_revalidate: Duration::from_millis(times[4]),
                    stale_if_error: Duration::from_millis(times[5]),
                },
                tags: tags.into_iter().map(Into::into).collect(),
                languages: if bits[4] { Languages::ByQuality } else { Languages::AsSent },
                litespeed: if bits[5] { LiteSpeed::Obey } else { LiteSpeed::Ignore },
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(parts in parts()) {
            if let Ok(response) = StoredResponse::assemble(parts) {
                let bytes = encoded(&response);
                prop_assert!(bytes.len() <= ENCODED_BYTES_MAX);
                prop_assert_eq!(StoredResponse::decode(&bytes), Some(response));
            }
        }

        #[test]
        fn a_cut_or_prolonged_form_decodes_to_nothing(parts in parts(), cut: prop::sample::Index) {
            if let Ok(response) = StoredResponse::assemble(parts) {
                let mut bytes = encoded(&response);
                prop_assert_eq!(StoredResponse::decode(&bytes[..cut.index(bytes.len())]), None);
                bytes.push(0);
                prop_assert_eq!(StoredResponse::decode(&bytes), None);
            }
        }

        #[test]
        fn no_flipped_byte_panics(parts in parts(), at: prop::sample::Index, with: u8) {
            if let Ok(response) = StoredResponse::assemble(parts) {
                let mut bytes = encoded(&response);
                let at = at.index(bytes.len());
                bytes[at] = with;
                let _ = StoredResponse::decode(&bytes);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = bytes;
            let _ = StoredResponse::decode(&bytes);
            bytes.insert(0, VERSION);
            let _ = StoredResponse::decode(&bytes);
        }
    }

    #[test]
    fn another_version_decodes_to_nothing() {
        let mut bytes = encoded(&StoredResponse::assemble(Parts::default()).unwrap());
        assert!(StoredResponse::decode(&bytes).is_some());
        bytes[0] = VERSION + 1;
        assert_eq!(StoredResponse::decode(&bytes), None);
    }

    #[test]
    fn fields_beyond_the_limit_are_not_assembled() {
        let mut parts = Parts::default();
        let long = HeaderValue::from_bytes(&vec![b'a'; FIELD_BYTES_MAX]).unwrap();
        parts.fields.insert("a", long);
        assert_eq!(
            StoredResponse::assemble(parts),
            Err(crate::Reason::TooLarge)
        );
    }
}
