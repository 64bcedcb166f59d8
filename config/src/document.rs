//! A parsed document in which each value remembers its place.
//!
//! The first of the two steps of reading: text or JSON to one tree, syntax only. Called by [`crate::check`], whose readers then take
//! the tree apart. TOML values keep their byte offset; JSON values have none, their pointer must do.
//! Knows no key and no type of ours. Invariant: a text with a syntax error yields no tree, so no later step guesses what was meant.

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::Source;
use toml_parser::parser::{Event, EventKind, RecursionGuard, parse_document};

/// Levels of nesting that are taken over, more than any schema of ours has. Deeper values become [`Kind::TooDeep`].
const DEPTH_MAX: usize = 16;

/// Parts of a dotted key. The `toml` crate bounds brackets (80 levels) and dotted keys each alone; a key of many parts in each of many brackets would
/// nest deeply enough to exhaust the stack when its tables are dropped.
const KEY_PARTS_MAX: usize = 8;

/// The bound of the `toml` crate on brackets within brackets.
const BRACKETS_MAX: u32 = 80;

/// A value and the offset of its first byte.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value {
    /// Bytes from the start of the text; `None` for JSON.
    pub(crate) at: Option<usize>,
    pub(crate) kind: Kind,
}

/// What a value is. The union of what TOML and JSON can say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Boolean(bool),
    /// Wide enough for every integer of both; what is wider still saturates, and is out of every range.
    Integer(i128),
    Float(f64),
    String(String),
    Datetime,
    Array(Vec<Value>),
    Table(Vec<Field>),
    /// Whatever lies below [`DEPTH_MAX`]; no reader takes it.
    TooDeep,
}

/// One member of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) key: String,
    pub(crate) key_at: Option<usize>,
    pub(crate) value: Value,
}

/// An error of syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Value {
    /// Parses TOML, or gives all its syntax errors.
    pub(crate) fn from_toml(text: &str) -> Result<Self, Vec<SyntaxError>> {
        if let Some(error) = long_key(text) {
            return Err(vec![error]);
        }
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            let at = Some(table.span().start);
            return Ok(Self {
                at,
                kind: table_from_toml(table.get_ref(), DEPTH_MAX),
            });
        }
        Err(errors
            .iter()
            .map(|error| SyntaxError {
                at: error.span().map_or(text.len(), |span| span.start),
                message: error.message().to_owned(),
            })
            .collect())
    }

    /// Takes over JSON.
    pub(crate) fn from_json(json: &Json) -> Self {
        from_json(json, DEPTH_MAX)
    }

    /// The member of this name, or the element of this number.
    pub(crate) fn child(&self, step: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Table(fields) => (fields.iter())
                .find(|field| field.key == step)
                .map(|field| &field.value),
            Kind::Array(values) => values.get(step.parse::<usize>().ok()?),
            Kind::Null
            | Kind::Boolean(_)
            | Kind::Integer(_)
            | Kind::Float(_)
            | Kind::String(_)
            | Kind::TooDeep
            | Kind::Datetime => None,
        }
    }

    /// What was found, for messages: `the integer 5`. Long strings are cut.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "null".into(),
            Kind::Boolean(value) => value.to_string(),
            Kind::Integer(value) => format!("the integer {value}"),
            Kind::Float(value) => format!("the float {value}"),
            Kind::String(value) => quote(value),
            Kind::Datetime => "a date or time".into(),
            Kind::Array(_) => "an array".into(),
            Kind::Table(_) => "a table".into(),
            Kind::TooDeep => "something nested too deeply".into(),
        }
    }
}

/// Quotes a text of the document for a message, cut when it is long.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN_MAX: usize = 80;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The first dotted key of too many parts. Reads the text with the lexer and grammar that will build the tree, so that both see the same keys.
fn long_key(text: &str) -> Option<SyntaxError> {
    let mut found = None;
    let mut parts = 1;
    let mut count = |event: Event| match event.kind() {
        EventKind::SimpleKey | EventKind::Whitespace => {}
        EventKind::KeySep => {
            parts += 1;
            if parts > KEY_PARTS_MAX {
                found.get_or_insert_with(|| event.span().start());
            }
        }
        _ => parts = 1,
    };
    let mut guard = RecursionGuard::new(&mut count, BRACKETS_MAX);
    parse_document(&Source::new(text).lex().into_vec(), &mut guard, &mut ());
    let message = format!("a dotted key has at most {KEY_PARTS_MAX} parts");
    found.map(|at| SyntaxError { at, message })
}

fn from_toml(value: &Spanned<DeValue<'_>>, depth: usize) -> Value {
    let kind = match value.get_ref() {
        DeValue::Array(_) | DeValue::Table(_) if depth == 0 => Kind::TooDeep,
        DeValue::String(text) => Kind::String(text.clone().into_owned()),
        DeValue::Integer(number) => {
            let parsed = i128::from_str_radix(number.as_str(), number.radix());
            Kind::Integer(parsed.unwrap_or(i128::MAX))
        }
        DeValue::Float(number) => Kind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Kind::Boolean(*value),
        DeValue::Datetime(_) => Kind::Datetime,
        DeValue::Array(values) => Kind::Array(
            values
                .iter()
                .map(|value| from_toml(value, depth - 1))
                .collect(),
        ),
        DeValue::Table(table) => table_from_toml(table, depth - 1),
    };
    Value {
        at: Some(value.span().start),
        kind,
    }
}

fn table_from_toml(table: &DeTable<'_>, depth: usize) -> Kind {
    let field = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| Field {
        key: String::from(AsRef::<str>::as_ref(
            key.get_ref() as &toml::de::DeString<'_>
        )),
        key_at: Some(key.span().start),
        value: from_toml(value, depth),
    };
    Kind::Table(table.iter().map(field).collect())
}

fn from_json(json: &Json, depth: usize) -> Value {
    let kind = match json {
        Json::Array(_) | Json::Object(_) if depth == 0 => Kind::TooDeep,
        Json::Null => Kind::Null,
        Json::Bool(value) => Kind::Boolean(*value),
        Json::Number(number) => (number.as_i128()).map_or_else(
            || Kind::Float(number.as_f64().unwrap_or(f64::NAN)),
            Kind::Integer,
        ),
        Json::String(value) => Kind::String(value.clone()),
        Json::Array(values) => Kind::Array(
            values
                .iter()
                .map(|value| from_json(value, depth - 1))
                .collect(),
        ),
        Json::Object(fields) => Kind::Table(
            fields
                .iter()
                .map(|(key, value)| Field {
                    key: key.clone(),
                    key_at: None,
                    value: from_json(value, depth - 1),
                })
                .collect(),
        ),
    };
    Value { at: None, kind }
}
