//! Structured fields, as far as caching reads them: dictionaries and lists (RFC 9651, formerly 8941).
//!
//! Called by `directives` (targeted cache control, RFC 9213) and `tags` (Cache-Groups, RFC 9875). The whole grammar is checked, since
//! a field that breaks it counts as absent, but only the types that those fields use are kept. Parameters are checked and dropped.
//! Invariant: linear time, no panic; `None` for anything that the grammar does not allow.

use http::{HeaderMap, HeaderName};

/// The value of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Integer(i64),
    String(String),
    Boolean(bool),
    /// A type that no field read here uses: token, decimal, bytes, date, display string, inner list.
    Other,
}

/// The members of a dictionary, in order; of a key that comes twice the last (§4.2.2). `Some` of nothing when the field is absent.
pub(crate) fn dictionary(fields: &HeaderMap, name: &HeaderName) -> Option<Vec<(String, Item)>> {
    let text = joined(fields, name)?;
    let mut parser = Parser {
        rest: text.as_bytes(),
    };
    let mut members: Vec<(String, Item)> = Vec::new();
    parser.members(|parser| {
        let key = parser.key()?;
        let value = if parser.eat(b'=') {
            parser.member()?
        } else {
            Item::Boolean(true)
        };
        parser.parameters()?;
        members.push((key, value));
        Some(())
    })?;
    // The last of equal keys wins: a stable sort keeps their order, and only the last of each run stays.
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    members.reverse();
    members.dedup_by(|(a, _), (b, _)| a == b);
    Some(members)
}

/// The members of a list. `Some` of nothing when the field is absent.
pub(crate) fn list(fields: &HeaderMap, name: &HeaderName) -> Option<Vec<Item>> {
    let text = joined(fields, name)?;
    let mut parser = Parser {
        rest: text.as_bytes(),
    };
    let mut members = Vec::new();
    parser.members(|parser| {
        let item = parser.member()?;
        parser.parameters()?;
        members.push(item);
        Some(())
    })?;
    Some(members)
}

/// All lines as one text (§4.2); `None` if it is not ASCII.
fn joined(fields: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines = fields.get_all(name).iter().map(|line| line.to_str().ok());
    Some(lines.collect::<Option<Vec<_>>>()?.join(","))
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    /// Comma-separated members to the end of the text (§4.2.1, §4.2.2); a trailing comma is an error.
    fn members(&mut self, mut member: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.rest = self.rest.trim_ascii();
        if self.rest.is_empty() {
            return Some(());
        }
        loop {
            member(self)?;
            self.whitespace();
            if self.rest.is_empty() {
                return Some(());
            }
            self.expect(b',')?;
            self.whitespace();
        }
    }

    fn member(&mut self) -> Option<Item> {
        if self.eat(b'(') {
            self.inner_list()
        } else {
            self.bare_item()
        }
    }

    /// After its opening parenthesis (§4.2.1.2).
    fn inner_list(&mut self) -> Option<Item> {
        loop {
            self.spaces();
            if self.eat(b')') {
                return Some(Item::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.rest.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.spaces();
            self.key()?;
            if self.eat(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn key(&mut self) -> Option<String> {
        if !matches!(self.rest.first()?, b'a'..=b'z' | b'*') {
            return None;
        }
        let in_key = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(b);
        Some(String::from_utf8_lossy(self.take_while(in_key)).into_owned())
    }

    fn bare_item(&mut self) -> Option<Item> {
        match self.rest.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'?' => self.boolean(),
            b':' => self.bytes(),
            b'@' => self.date(),
            b'%' => self.display_string(),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => self.token(),
            _ => None,
        }
    }

    /// An integer of up to 15 digits, or a decimal of 12 and 3 (§4.2.4).
    fn number(&mut self) -> Option<Item> {
        let negative = self.eat(b'-');
        let whole = self.take_while(u8::is_ascii_digit);
        if whole.is_empty() {
            return None;
        }
        if self.eat(b'.') {
            let fraction = self.take_while(u8::is_ascii_digit);
            let fits = whole.len() <= 12 && (1..=3).contains(&fraction.len());
            return fits.then_some(Item::Other);
        }
        if whole.len() > 15 {
            return None;
        }
        let value = whole
            .iter()
            .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        Some(Item::Integer(if negative { -value } else { value }))
    }

    fn string(&mut self) -> Option<Item> {
        self.expect(b'"')?;
        let mut text = String::new();
        loop {
            match self.next()? {
                b'"' => return Some(Item::String(text)),
                b'\\' => match self.next()? {
                    escaped @ (b'"' | b'\\') => text.push(char::from(escaped)),
                    _ => return None,
                },
                plain @ 0x20..=0x7e => text.push(char::from(plain)),
                _ => return None,
            }
        }
    }

    fn token(&mut self) -> Option<Item> {
        let in_token = |b: &u8| b":/".contains(b) || super::fields::is_token(&[*b]);
        (!self.take_while(in_token).is_empty()).then_some(Item::Other)
    }

    fn boolean(&mut self) -> Option<Item> {
        self.expect(b'?')?;
        match self.next()? {
            b'1' => Some(Item::Boolean(true)),
            b'0' => Some(Item::Boolean(false)),
            _ => None,
        }
    }

    fn bytes(&mut self) -> Option<Item> {
        self.expect(b':')?;
        self.take_while(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b));
        self.expect(b':')?;
        Some(Item::Other)
    }

    fn date(&mut self) -> Option<Item> {
        self.expect(b'@')?;
        matches!(self.number()?, Item::Integer(_)).then_some(Item::Other)
    }

    fn display_string(&mut self) -> Option<Item> {
        self.expect(b'%')?;
        self.expect(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Some(Item::Other),
                b'%' => {
                    let is_lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                    if !(is_lower_hex(self.next()?) && is_lower_hex(self.next()?)) {
                        return None;
                    }
                }
                0x20..=0x7e => {}
                _ => return None,
            }
        }
    }

    fn whitespace(&mut self) {
        self.take_while(|b| matches!(b, b' ' | b'\t'));
    }

    fn spaces(&mut self) {
        self.take_while(|b| *b == b' ');
    }

    fn take_while(&mut self, test: impl Fn(&u8) -> bool) -> &'a [u8] {
        let length = self
            .rest
            .iter()
            .position(|b| !test(b))
            .unwrap_or(self.rest.len());
        let (head, rest) = self.rest.split_at(length);
        self.rest = rest;
        head
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.expect(byte).is_some()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const NAME: HeaderName = HeaderName::from_static("x");

    fn map(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|l| (NAME, HeaderValue::from_bytes(l.as_bytes()).unwrap()))
            .collect()
    }

    #[track_caller]
    fn check(lines: &[&str], members: Option<&[(&str, Item)]>) {
        let mut parsed = dictionary(&map(lines), &NAME);
        if let Some(parsed) = &mut parsed {
            parsed.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        let expected = members.map(|m| m.iter().map(|(k, v)| ((*k).into(), v.clone())).collect());
        assert_eq!(parsed, expected, "{lines:?}");
    }

    #[test]
    fn a_dictionary_has_keys_values_and_the_last_of_equal_keys() {
        check(&[], Some(&[]));
        check(&[""], Some(&[]));
        check(
            &["a=1, b;p=2;q, c=\"x\\\"y\""],
            Some(&[
                ("a", Item::Integer(1)),
                ("b", Item::Boolean(true)),
                ("c", Item::String("x\"y".into())),
            ]),
        );
        check(
            &["a=1", "a=-2 ,\tb=?0"],
            Some(&[("a", Item::Integer(-2)), ("b", Item::Boolean(false))]),
        );
        check(
            &["a=tok, b=1.5, c=:AA==:, d=(1 \"x\";y), e=@1, f=%\"%c3%bc\""],
            Some(&[
                ("a", Item::Other),
                ("b", Item::Other),
                ("c", Item::Other),
                ("d", Item::Other),
                ("e", Item::Other),
                ("f", Item::Other),
            ]),
        );
        check(
            &["a=999999999999999"],
            Some(&[("a", Item::Integer(999_999_999_999_999))]),
        );
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_nothing_at_all() {
        for text in [
            "a=1,",
            ",a",
            "a=1 b=2",
            "A=1",
            "a=",
            "a =1",
            "a= 1",
            "&&&",
            "a=1, &&&&&",
            "a=\"x",
            "a=\"\\x\"",
            "a=1000000000000000",
            "a=1.",
            "a=1.2345",
            "a=-",
            "a=?2",
            "a=(1",
            "a=(1\"x\")",
            "a=:A",
            "a;",
            "ü",
            "a=@1.5",
            "a=%\"%C3\"",
        ] {
            check(&[text], None);
        }
    }

    #[test]
    fn a_list_has_its_members_in_order() {
        let parsed = list(&map(&["\"a\";p, \"b\"", "c"]), &NAME);
        let expected = [
            Item::String("a".into()),
            Item::String("b".into()),
            Item::Other,
        ];
        assert_eq!(parsed.as_deref(), Some(expected.as_slice()));
        assert_eq!(list(&map(&["\"a\" \"b\""]), &NAME), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~]{0,60}") {
            let _ = dictionary(&map(&[&text]), &NAME);
            let _ = list(&map(&[&text]), &NAME);
        }

        #[test]
        fn integers_and_strings_survive(n in -999_999_999_999_999_i64..=999_999_999_999_999, s in "[ !#-\\[\\]-~]{0,20}") {
            let text = format!("n={n}, s=\"{s}\"");
            let members = dictionary(&map(&[&text]), &NAME).unwrap();
            prop_assert!(members.contains(&("n".into(), Item::Integer(n))));
            prop_assert!(members.contains(&("s".into(), Item::String(s))));
        }
    }
}
