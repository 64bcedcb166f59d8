//! Entity tags (RFC 9110 §8.8.3): parsing, strong and weak comparison, and lists of them.
//!
//! Called by `validation` (If-None-Match, freshening) and `range` (If-Range). Tags are bytes: they may hold obs-text and commas.
//! Invariant: what is not a well-formed entity tag compares equal to nothing.

/// An entity tag, borrowed from its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    weak: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// The tag that a value consists of, and nothing else.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::take(value)?;
        rest.is_empty().then_some(tag)
    }

    /// The tag that a value consists of, which [`Self::parse`] has taken before.
    pub(crate) fn of_well_formed(value: &'a [u8]) -> Self {
        debug_assert!(Self::parse(value).is_some());
        let opaque = value.strip_prefix(b"W/");
        Self {
            weak: opaque.is_some(),
            opaque: opaque.unwrap_or(value),
        }
    }

    /// The tag that `value` begins with, and what follows it.
    fn take(value: &'a [u8]) -> Option<(Self, &'a [u8])> {
        // `W/` is case-sensitive (RFC 9110 §8.8.3).
        let (weak, tag) = match value.strip_prefix(b"W/") {
            Some(tag) => (true, tag),
            None => (false, value),
        };
        let inner = tag.strip_prefix(b"\"")?;
        let length = inner.iter().position(|byte| !is_etagc(*byte))?;
        let (opaque, rest) = tag.split_at_checked(length + 2)?;
        opaque
            .ends_with(b"\"")
            .then_some((Self { weak, opaque }, rest))
    }

    /// Whether it is weak.
    pub const fn is_weak(self) -> bool {
        self.weak
    }

    /// Strong comparison: equal, and both strong (RFC 9110 §8.8.3.2).
    pub fn is_strongly(self, other: Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison: equal, either strength (RFC 9110 §8.8.3.2).
    pub fn is_weakly(self, other: Self) -> bool {
        self.opaque == other.opaque
    }
}

/// The well-formed tags of a list. A malformed member is skipped up to the next comma: a comma within a tag's quotes does not count.
pub(crate) fn list(mut value: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    std::iter::from_fn(move || {
        loop {
            value = value.trim_ascii_start();
            let rest = match value.strip_prefix(b",") {
                Some(rest) => rest,
                None if value.is_empty() => return None,
                None => match EntityTag::take(value) {
                    Some((tag, rest)) if ends_member(rest) => {
                        value = rest;
                        return Some(tag);
                    }
                    _ => after_comma(value),
                },
            };
            value = rest;
        }
    })
}

fn ends_member(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start().first(), None | Some(b','))
}

fn after_comma(value: &[u8]) -> &[u8] {
    let end = value
        .iter()
        .position(|byte| *byte == b',')
        .unwrap_or(value.len());
    &value[end..]
}

/// RFC 9110 §8.8.3: visible characters but the double quote, and obs-text.
const fn is_etagc(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7e | 0x80..=0xff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, strongly: bool, weakly: bool) {
        let (a, b) = (
            EntityTag::parse(a.as_bytes()).unwrap(),
            EntityTag::parse(b.as_bytes()).unwrap(),
        );
        assert_eq!((a.is_strongly(b), a.is_weakly(b)), (strongly, weakly));
    }

    #[test]
    fn comparison_is_that_of_the_table_in_the_rfc() {
        check("W/\"1\"", "W/\"1\"", false, true);
        check("W/\"1\"", "W/\"2\"", false, false);
        check("W/\"1\"", "\"1\"", false, true);
        check("\"1\"", "\"1\"", true, true);
    }

    #[test]
    fn what_is_malformed_is_no_tag() {
        for text in [
            "", "abc", "\"", "\"a", "a\"", "w/\"a\"", "W\"a\"", "W/a", "\"a\" ", "\"a b\"",
            "\"a\"b\"", "*",
        ] {
            assert_eq!(EntityTag::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[track_caller]
    fn check_list(value: &str, tags: &[&str]) {
        let expected: Vec<_> = tags
            .iter()
            .map(|t| EntityTag::parse(t.as_bytes()).unwrap())
            .collect();
        assert_eq!(
            list(value.as_bytes()).collect::<Vec<_>>(),
            expected,
            "{value}"
        );
    }

    #[test]
    fn a_list_gives_its_well_formed_members() {
        check_list("", &[]);
        check_list(
            "\"a\", W/\"b\",\"c,d\" , ,\"\"",
            &["\"a\"", "W/\"b\"", "\"c,d\"", "\"\""],
        );
        check_list("abc, \"a\"", &["\"a\""]);
        check_list("\"a\"x, \"b\"", &["\"b\""]);
        check_list("*", &[]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_loop(value in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(list(&value).count() <= value.len());
        }

        #[test]
        fn every_well_formed_tag_is_found_in_a_list(a in "(W/)?\"[!#-~]{0,8}\"", b in "(W/)?\"[!#-~]{0,8}\"") {
            let both = format!("{a} ,{b}");
            prop_assert_eq!(list(both.as_bytes()).count(), 2);
        }
    }
}
