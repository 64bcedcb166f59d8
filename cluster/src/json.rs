//! What does a JSON text say at this place, and what is the place called?
//!
//! Used by [`crate::document`] and [`crate::highest`], so that every complaint names the RFC 6901 pointer of its value. Stricter than
//! the usual reader in one point: a name that occurs twice in one object is refused, because readers differ in which one they take
//! (RFC 8259 §4), and two edges must not take different masters from one text. Numbers are whole and not negative; others are kept as unfit.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::document::DocumentError;

/// A value, read.
#[derive(Debug)]
pub(crate) enum Json {
    Null,
    Flag(bool),
    Number(u64),
    /// Negative, fractional, or beyond 64 bits.
    UnfitNumber,
    Text(String),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

impl Json {
    /// Reads a whole text of at most `bytes_max` bytes.
    pub(crate) fn parse(text: &[u8], bytes_max: usize) -> Result<Self, DocumentError> {
        let whole = |message| DocumentError {
            pointer: String::new(),
            message,
        };
        if text.len() > bytes_max {
            return Err(whole(format!(
                "{} bytes, at most {bytes_max} are read",
                text.len()
            )));
        }
        let json: Self = serde_json::from_slice(text).map_err(|error| whole(error.to_string()))?;
        match json {
            Self::Object(_) => Ok(json),
            _ => Err(whole("must be an object".to_owned())),
        }
    }
}

/// A value and where it stands. What is absent is as good as `null`.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    json: &'a Json,
    pointer: String,
}

impl<'a> Node<'a> {
    pub(crate) const fn root(json: &'a Json) -> Self {
        Self {
            json,
            pointer: String::new(),
        }
    }

    /// The member of that name; the names asked for need no escaping.
    pub(crate) fn field(&self, name: &str) -> Self {
        let member = match self.json {
            Json::Object(members) => members.get(name),
            _ => None,
        };
        Self {
            json: member.unwrap_or(&Json::Null),
            pointer: format!("{}/{name}", self.pointer),
        }
    }

    /// `None` where there is nothing.
    pub(crate) fn present(self) -> Option<Self> {
        (!matches!(self.json, Json::Null)).then_some(self)
    }

    pub(crate) fn object(self) -> Result<Self, DocumentError> {
        match self.json {
            Json::Object(_) => Ok(self),
            _ => Err(self.expected("an object")),
        }
    }

    pub(crate) fn elements(&self) -> Result<Vec<Self>, DocumentError> {
        let Json::List(elements) = self.json else {
            return Err(self.expected("a list"));
        };
        let place = |(index, json)| Self {
            json,
            pointer: format!("{}/{index}", self.pointer),
        };
        Ok(elements.iter().enumerate().map(place).collect())
    }

    pub(crate) fn text(&self) -> Result<&'a str, DocumentError> {
        match self.json {
            Json::Text(text) => Ok(text),
            _ => Err(self.expected("a string")),
        }
    }

    pub(crate) fn flag(&self) -> Result<bool, DocumentError> {
        match self.json {
            Json::Flag(flag) => Ok(*flag),
            _ => Err(self.expected("true or false")),
        }
    }

    pub(crate) fn number(&self, range: RangeInclusive<u64>) -> Result<u64, DocumentError> {
        match self.json {
            Json::Number(number) if range.contains(number) => Ok(*number),
            _ => Err(self.expected(&format!(
                "a whole number from {} to {}",
                range.start(),
                range.end()
            ))),
        }
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> DocumentError {
        DocumentError {
            pointer: self.pointer.clone(),
            message: message.into(),
        }
    }

    fn expected(&self, what: &str) -> DocumentError {
        match self.json {
            Json::Null => self.error(format!("is missing; it must be {what}")),
            _ => self.error(format!("must be {what}")),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::UnfitNumber)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::UnfitNumber)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(Json::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = access.next_entry::<String, Json>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(format_args!(
                    "the name {name:?} occurs twice in one object"
                )));
            }
            members.insert(name, value);
        }
        Ok(Json::Object(members))
    }
}
