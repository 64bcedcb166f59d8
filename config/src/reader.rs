//! Takes a document apart by name and type, and collects every problem on the way.
//!
//! Called by the readers in [`crate::check`]: a [`Table`] gives up its fields by name, an [`Item`] is one value with typed readers, and
//! whatever does not fit is added to the [`Report`] while reading goes on with a default, so that one run finds all problems.
//! Knows no schema. Invariant: each `None` that a reader returns for a value that is there has left a problem in the report, and each
//! key that nobody asked for is one; so a value built from a report without problems was read completely.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::document::{Field, Kind, Value, quote};
use crate::error::{Problem, Problems};
use crate::schema::Probe;
use crate::units;

/// Problems of one document that are reported; more are counted. A document of nothing but mistakes must not make an endless answer.
const PROBLEMS_MAX: usize = 1000;

/// The problems found so far.
pub(crate) struct Report {
    file: String,
    found: RefCell<Vec<Found>>,
}

struct Found {
    at: Option<usize>,
    pointer: String,
    message: String,
}

/// A table that is being read.
pub(crate) struct Table<'d> {
    at: Option<usize>,
    pointer: String,
    fields: &'d [Field],
    asked: Vec<&'static str>,
    /// The value was no table, which is reported: nothing is called missing in it.
    broken: bool,
    report: &'d Report,
    probe: Option<Rc<Probe>>,
}

/// A value that is being read.
#[derive(Clone)]
pub(crate) struct Item<'d> {
    value: &'d Value,
    key_at: Option<usize>,
    pointer: String,
    report: &'d Report,
    /// Where it is noted what would be taken, when that is what is asked.
    probe: Option<Rc<Probe>>,
}

/// What stands in the place of a value when readers are asked what they would take.
static NOTHING: Value = Value {
    at: None,
    kind: Kind::Null,
};

/// What a reader of a document's root would take, as JSON Schema.
pub(crate) fn schema<T>(read: impl FnOnce(&mut Table<'_>) -> T) -> Json {
    let report = Report::new("");
    let probe = Rc::<Probe>::default();
    Item::probing(&report, Rc::clone(&probe)).table(read);
    probe.schema()
}

impl Report {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            found: RefCell::default(),
        }
    }

    /// Adds a problem.
    pub(crate) fn add(&self, at: Option<usize>, pointer: &str, message: impl Into<String>) {
        self.found.borrow_mut().push(Found {
            at,
            pointer: pointer.into(),
            message: message.into(),
        });
    }

    /// How many problems there are.
    pub(crate) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Reads the whole document, unknown keys included.
    pub(crate) fn read<T>(&self, root: &Value, read: impl FnOnce(&mut Table<'_>) -> T) -> T {
        let item = Item {
            value: root,
            key_at: root.at,
            pointer: String::new(),
            report: self,
            probe: None,
        };
        item.table(read)
    }

    /// The value, if nothing is wrong with it; else all problems, with places in `text`.
    pub(crate) fn finish<T>(self, text: &str, value: Option<T>) -> Result<T, Problems> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            debug_assert!(value.is_some(), "a value is missing and nobody said why");
            if let Some(value) = value {
                return Ok(value);
            }
        }
        found.sort_by_key(|found| found.at);
        let left_out = found.len().saturating_sub(PROBLEMS_MAX);
        found.truncate(PROBLEMS_MAX);
        let mut places = Places::new(text);
        let mut problems = Vec::with_capacity(found.len());
        for found in found {
            problems.push(Problem {
                file: self.file.clone(),
                place: found.at.map(|at| places.of(at)),
                pointer: found.pointer,
                message: found.message,
            });
        }
        if left_out > 0 || problems.is_empty() {
            problems.push(Problem {
                file: self.file,
                place: None,
                pointer: String::new(),
                message: format!("{left_out} more problems"),
            });
        }
        Err(Problems(problems))
    }
}

/// The line and column of a byte offset, from 1.
pub(crate) fn place(text: &str, at: usize) -> (usize, usize) {
    Places::new(text).of(at)
}

/// Turns rising byte offsets into lines and columns in one walk over the text.
struct Places<'t> {
    rest: std::iter::Peekable<std::str::CharIndices<'t>>,
    line: usize,
    column: usize,
}

impl<'t> Places<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            rest: text.char_indices().peekable(),
            line: 1,
            column: 1,
        }
    }

    fn of(&mut self, at: usize) -> (usize, usize) {
        while let Some((_, character)) = self.rest.next_if(|(offset, _)| *offset < at) {
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        (self.line, self.column)
    }
}

impl<'d> Table<'d> {
    /// The field of this name, if it is there.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Item<'d>> {
        self.asked.push(name);
        if let Some(probe) = &self.probe {
            return Some(Item::probing(self.report, probe.member(name)));
        }
        let field = self.fields.iter().find(|field| field.key == name)?;
        Some(self.item(field))
    }

    /// The field of this name; its absence is a problem.
    pub(crate) fn require(&mut self, name: &'static str, what: &str) -> Option<Item<'d>> {
        let item = self.take(name);
        if let Some(probe) = &self.probe {
            probe.require(name);
        }
        if item.is_none() && !self.broken {
            let pointer = pointer_to(&self.pointer, name);
            let message = format!("`{name}` is missing: {what}");
            self.report.add(self.at, &pointer, message);
        }
        item
    }

    /// The field of this name as `read` reads it, or the default.
    pub(crate) fn value<T>(
        &mut self,
        name: &'static str,
        default: T,
        read: impl FnOnce(Item<'d>) -> Option<T>,
    ) -> T {
        self.take(name).and_then(read).unwrap_or(default)
    }

    /// The table of this name; where it is absent, an empty one is read, so that its defaults and missing keys show.
    pub(crate) fn section<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let Some(item) = self.take(name) else {
            let pointer = pointer_to(&self.pointer, name);
            let mut table = Table::new(self.at, pointer, &[], self.broken, self.report);
            return read(&mut table);
        };
        let probe = item.probe.clone();
        let value = item.table(read);
        if let (Some(own), Some(probe)) = (&self.probe, probe)
            && probe.is_demanding()
        {
            own.require(name);
        }
        value
    }

    /// Adds a problem of the field of this name, at its value if it is there, else at the table; none where the table is no table.
    pub(crate) fn complain(&self, name: &str, message: impl Into<String>) {
        if self.broken {
            return;
        }
        let field = self.fields.iter().find(|field| field.key == name);
        let at = field.map_or(self.at, |field| field.value.at);
        self.report
            .add(at, &pointer_to(&self.pointer, name), message);
    }

    /// How many problems the document has so far.
    pub(crate) fn problems(&self) -> usize {
        self.report.count()
    }

    fn new(
        at: Option<usize>,
        pointer: String,
        fields: &'d [Field],
        broken: bool,
        report: &'d Report,
    ) -> Self {
        Self {
            at,
            pointer,
            fields,
            asked: Vec::new(),
            broken,
            report,
            probe: None,
        }
    }

    fn item(&self, field: &'d Field) -> Item<'d> {
        Item {
            value: &field.value,
            key_at: field.key_at,
            pointer: pointer_to(&self.pointer, &field.key),
            report: self.report,
            probe: None,
        }
    }

    fn report_unknown_keys(&self) {
        for field in self.fields {
            if !self.asked.contains(&field.key.as_str()) {
                let hint = hint(&field.key, self.asked.iter().copied());
                let pointer = pointer_to(&self.pointer, &field.key);
                let message = format!("unknown key `{}`{hint}", field.key.escape_debug());
                self.report.add(field.key_at, &pointer, message);
            }
        }
    }
}

impl<'d> Item<'d> {
    /// What stands in the place of a value when its reader is asked what it would take: it is none of what any reader expects.
    fn probing(report: &'d Report, probe: Rc<Probe>) -> Self {
        Self {
            value: &NOTHING,
            key_at: None,
            pointer: String::new(),
            report,
            probe: Some(probe),
        }
    }

    /// Notes what this reader takes, when that is asked.
    fn note(&self, keywords: impl FnOnce() -> Json) {
        if let Some(probe) = &self.probe {
            probe.note(keywords());
        }
    }

    /// Adds a problem at this value.
    pub(crate) fn problem(&self, message: impl Into<String>) {
        self.report.add(self.value.at, &self.pointer, message);
    }

    /// Adds a problem at this value's key.
    pub(crate) fn key_problem(&self, message: impl Into<String>) {
        self.report.add(self.key_at, &self.pointer, message);
    }

    /// Says that this schema is right and this version cannot do it.
    pub(crate) fn not_yet(&self, what: &str) {
        self.note(|| json!({ "not": {} }));
        self.problem(format!("this version does not do this yet: {what}"));
    }

    /// A table, read with `read`; keys that it does not ask for are problems.
    pub(crate) fn table<T>(self, read: impl FnOnce(&mut Table<'d>) -> T) -> T {
        self.note(|| json!({ "type": "object" }));
        let probe = self.probe.clone();
        let (fields, broken) = match &self.value.kind {
            Kind::Table(fields) => (fields.as_slice(), false),
            _ => {
                self.expected::<()>("a table");
                (&[][..], true)
            }
        };
        let mut table = Table::new(self.value.at, self.pointer, fields, broken, self.report);
        table.probe = probe;
        let value = read(&mut table);
        table.report_unknown_keys();
        value
    }

    /// The members of a table whose keys are data.
    pub(crate) fn entries(&self) -> Option<Vec<(&'d str, Self)>> {
        if let Some(probe) = &self.probe {
            self.note(|| json!({ "type": "object" }));
            let each = Item::probing(self.report, probe.each("additionalProperties"));
            return Some(vec![("", each)]);
        }
        let Kind::Table(fields) = &self.value.kind else {
            return self.expected("a table");
        };
        let table = Table::new(
            self.value.at,
            self.pointer.clone(),
            fields,
            false,
            self.report,
        );
        Some(
            fields
                .iter()
                .map(|field| (field.key.as_str(), table.item(field)))
                .collect(),
        )
    }

    /// The members of an array.
    pub(crate) fn array(&self) -> Option<Vec<Self>> {
        if let Some(probe) = &self.probe {
            self.note(|| json!({ "type": "array" }));
            return Some(vec![Item::probing(self.report, probe.each("items"))]);
        }
        let Kind::Array(values) = &self.value.kind else {
            return self.expected("an array");
        };
        let item = |(index, value): (usize, &'d Value)| Item {
            value,
            key_at: value.at,
            pointer: pointer_to(&self.pointer, &index.to_string()),
            report: self.report,
            probe: None,
        };
        Some(values.iter().enumerate().map(item).collect())
    }

    /// The members of an array of so many things.
    pub(crate) fn array_of(&self, count: RangeInclusive<usize>, what: &str) -> Option<Vec<Self>> {
        let (min, max) = (*count.start(), *count.end());
        self.note(|| json!({ "minItems": min, "maxItems": max }));
        let items = self.array()?;
        if self.probe.is_some() || count.contains(&items.len()) {
            return Some(items);
        }
        self.expected(&match min {
            0 => format!("at most {max} {what}"),
            min => format!("{min} to {max} {what}"),
        })
    }

    /// The members of an array as `read` reads them; those that it refuses are left out (and reported).
    pub(crate) fn list<T>(&self, read: impl FnMut(Self) -> Option<T>) -> Option<Vec<T>> {
        Some(self.array()?.into_iter().filter_map(read).collect())
    }

    /// A table as the one reads it, or anything else as the other does.
    pub(crate) fn table_or<T>(
        self,
        table: impl FnOnce(Self) -> Option<T>,
        other: impl FnOnce(Self) -> Option<T>,
    ) -> Option<T> {
        if let Some(probe) = &self.probe {
            table(Item::probing(self.report, probe.or()));
            return other(Item::probing(self.report, probe.or()));
        }
        match self.value.kind {
            Kind::Table(_) => table(self),
            _ => other(self),
        }
    }

    /// A string.
    pub(crate) fn string(&self) -> Option<&'d str> {
        self.note(|| json!({ "type": "string" }));
        match &self.value.kind {
            Kind::String(text) => Some(text),
            _ => self.expected("a string"),
        }
    }

    /// A string that `parse` accepts.
    pub(crate) fn parse<T, E: Display>(
        &self,
        parse: impl FnOnce(&'d str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(self.string()?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(error.to_string());
                None
            }
        }
    }

    /// A string that `parse` accepts, all of which look like this (ECMA-262).
    pub(crate) fn parse_like<T, E: Display>(
        &self,
        pattern: &str,
        parse: impl FnOnce(&'d str) -> Result<T, E>,
    ) -> Option<T> {
        self.note(|| json!({ "pattern": pattern }));
        self.parse(parse)
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> Option<bool> {
        self.note(|| json!({ "type": "boolean" }));
        match self.value.kind {
            Kind::Boolean(value) => Some(value),
            _ => self.expected("true or false"),
        }
    }

    /// An integer of this range.
    pub(crate) fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Display + PartialOrd + TryFrom<i128>,
    {
        let number = |bound: &T| serde_json::from_str::<Json>(&bound.to_string()).ok();
        self.note(|| {
            json!({
                "type": "integer", "minimum": number(range.start()), "maximum": number(range.end()),
            })
        });
        let what = format!("an integer from {} to {}", range.start(), range.end());
        let Kind::Integer(number) = self.value.kind else {
            return self.expected(&what);
        };
        match T::try_from(number) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => self.expected(&what),
        }
    }

    /// A number from 0.0 to 1.0; the integers 0 and 1 count.
    pub(crate) fn share(&self) -> Option<f64> {
        self.note(|| json!({ "type": "number", "minimum": 0, "maximum": 1 }));
        match self.value.kind {
            Kind::Float(number) if (0.0..=1.0).contains(&number) => Some(number),
            Kind::Integer(0) => Some(0.0),
            Kind::Integer(1) => Some(1.0),
            _ => self.expected("a number from 0.0 to 1.0"),
        }
    }

    /// A duration of this range.
    pub(crate) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.note(|| json!({ "type": "string", "pattern": units::DURATION_PATTERN }));
        let Kind::String(text) = &self.value.kind else {
            return self.expected("a duration such as \"10s\"");
        };
        let show = units::display_duration;
        self.in_range(units::duration(text), range, show)
    }

    /// A size in bytes of this range.
    pub(crate) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.note(|| json!({ "type": "string", "pattern": units::SIZE_PATTERN }));
        let Kind::String(text) = &self.value.kind else {
            return self.expected("a size such as \"64MiB\"");
        };
        self.in_range(units::size(text), range, units::display_size)
    }

    /// One of these words, and what it stands for.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let all = || -> Vec<&str> { words.iter().map(|(word, _)| *word).collect() };
        self.note(|| json!({ "type": "string", "enum": all() }));
        let text = self.string()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let all: Vec<String> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let hint = hint(text, words.iter().map(|(word, _)| *word));
        self.problem(format!(
            "expected {}, found {}{hint}",
            all.join(" or "),
            quote(text)
        ));
        None
    }

    /// Says what was expected and what is there.
    pub(crate) fn expected<T>(&self, what: &str) -> Option<T> {
        self.problem(format!("expected {what}, found {}", self.value.describe()));
        None
    }

    fn in_range<T: PartialOrd + Copy>(
        &self,
        value: Result<T, units::UnitError>,
        range: RangeInclusive<T>,
        show: impl Fn(T) -> String,
    ) -> Option<T> {
        match value {
            Ok(value) if range.contains(&value) => Some(value),
            Ok(value) => {
                let (start, end) = (show(*range.start()), show(*range.end()));
                self.problem(format!("{} is not within {start} to {end}", show(value)));
                None
            }
            Err(error) => {
                self.problem(error.to_string());
                None
            }
        }
    }
}

/// The JSON pointer of a member (RFC 6901 §3: `~` and `/` are escaped).
fn pointer_to(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// `; did you mean …?` for the nearest known word, when one is near enough to be a slip.
fn hint<'w>(found: &str, known: impl Iterator<Item = &'w str>) -> String {
    const LENGTH_MAX: usize = 64;
    if found.len() > LENGTH_MAX {
        return String::new();
    }
    let near = |word: &'w str| {
        let distance = distance(found, word);
        (distance <= 2 && distance * 3 <= word.len()).then_some((distance, word))
    };
    match known.filter_map(near).min() {
        Some((_, word)) => format!("; did you mean `{word}`?"),
        None => String::new(),
    }
}

/// Insertions, deletions and replacements that turn one word into the other (Levenshtein's distance).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, character) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}
