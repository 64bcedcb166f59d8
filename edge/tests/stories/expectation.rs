//! What a story expects of a message, and whether a message is so.

use super::story::End;

/// An expectation and its line.
pub(crate) struct Rule {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

/// What is expected of one field, or of the content.
pub(crate) enum Kind {
    /// All lines of the field together are exactly this list.
    Equals(String, String),
    Absent(String),
    Present(String),
    /// One of the list's members, or one of their parameters.
    Has(String, String),
    Lacks(String, String),
    /// A pattern with `*`.
    Like(String, String),
    Content(Vec<u8>),
    NoContent,
    /// The next part of multipart/byteranges.
    Part {
        media_type: String,
        range: String,
        content: Vec<u8>,
    },
}

/// A message as it came.
pub(crate) struct Came<'a> {
    pub(crate) fields: &'a [(String, String)],
    pub(crate) content: &'a [u8],
}

/// The first rule that does not hold, with its line and what came instead. `expand` fills in what values leave open.
pub(crate) fn check(
    rules: &[Rule],
    came: &Came<'_>,
    expand: impl Fn(&str) -> Result<String, String>,
) -> Result<(), (usize, String)> {
    let mut parts = None;
    for rule in rules {
        let outcome = match &rule.kind {
            Kind::Part {
                media_type,
                range,
                content,
            } => parts_of(&mut parts, came)
                .and_then(|parts| check_part(parts, media_type, range, content)),
            kind => check_one(kind, came, &expand),
        };
        outcome.map_err(|problem| (rule.line, problem))?;
    }
    match parts {
        Some(left) if !left.is_empty() => Err((
            rules.last().map_or(0, |rule| rule.line),
            format!("{} parts more", left.len()),
        )),
        _ => Ok(()),
    }
}

fn check_one(
    kind: &Kind,
    came: &Came<'_>,
    expand: impl Fn(&str) -> Result<String, String>,
) -> Result<(), String> {
    match kind {
        Kind::Equals(name, value) => {
            let value = expand(value)?;
            let it = came.value(name);
            holds(it.as_deref() == Some(&value), || {
                format!("{name} is {}, not {value:?}", shown(it.as_deref()))
            })
        }
        Kind::Absent(name) => {
            let it = came.value(name);
            holds(it.is_none(), || {
                format!("{name} is there: {}", shown(it.as_deref()))
            })
        }
        Kind::Present(name) => holds(came.value(name).is_some(), || format!("{name} is absent")),
        Kind::Has(name, part) => {
            let it = came.value(name);
            holds(has(it.as_deref(), &expand(part)?), || {
                format!("{name} has no {part:?}: {}", shown(it.as_deref()))
            })
        }
        Kind::Lacks(name, part) => {
            let it = came.value(name);
            holds(!has(it.as_deref(), &expand(part)?), || {
                format!("{name} has {part:?}: {}", shown(it.as_deref()))
            })
        }
        Kind::Like(name, pattern) => {
            let (it, pattern) = (came.value(name), expand(pattern)?);
            let is_like = it.as_deref().is_some_and(|it| is_like(&pattern, it));
            holds(is_like, || {
                format!("{name} is not like {pattern:?}: {}", shown(it.as_deref()))
            })
        }
        Kind::Content(content) => holds(came.content == content, || {
            let texts = (came.content, content.as_slice());
            format!(
                "the content is {:?}, not {:?}",
                text(texts.0),
                text(texts.1)
            )
        }),
        Kind::NoContent => holds(came.content.is_empty(), || {
            format!("there is content: {:?}", text(came.content))
        }),
        Kind::Part { .. } => Ok(()),
    }
}

fn holds(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Came<'_> {
    /// All lines of a field as one list.
    fn value(&self, name: &str) -> Option<String> {
        let named = self
            .fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let values: Vec<&str> = named.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

fn has(value: Option<&str>, part: &str) -> bool {
    let mut words = value.unwrap_or_default().split([',', ';']);
    words.any(|word| word.trim().eq_ignore_ascii_case(part))
}

/// Whether a text is like a pattern in which `*` stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|at| is_like(after, &rest[at..]))
        }),
    }
}

/// A part of multipart/byteranges: its fields and its content.
type Part = (Vec<(String, String)>, Vec<u8>);

/// The parts that were not looked at yet; the next one is the last.
fn parts_of<'a>(
    parts: &'a mut Option<Vec<Part>>,
    came: &Came<'_>,
) -> Result<&'a mut Vec<Part>, String> {
    if parts.is_none() {
        *parts = Some(multipart(came)?);
    }
    parts.as_mut().ok_or_else(String::new)
}

fn check_part(
    parts: &mut Vec<Part>,
    media_type: &str,
    range: &str,
    content: &[u8],
) -> Result<(), String> {
    let (fields, given) = parts.pop().ok_or("no such part")?;
    let came = Came {
        fields: &fields,
        content: &given,
    };
    let equals = |name: &str, value: &str| Kind::Equals(name.to_owned(), value.to_owned());
    let asis = |value: &str| Ok(value.to_owned());
    check_one(&equals("content-type", media_type), &came, asis)?;
    check_one(&equals("content-range", range), &came, asis)?;
    check_one(&Kind::Content(content.to_owned()), &came, asis)
}

/// Takes multipart/byteranges apart (RFC 9110 §14.6), the first part last.
fn multipart(came: &Came<'_>) -> Result<Vec<Part>, String> {
    let media_type = came.value("content-type").unwrap_or_default();
    let boundary = media_type
        .strip_prefix("multipart/byteranges; boundary=")
        .ok_or_else(|| format!("no parts: {media_type:?}"))?
        .trim_matches('"');
    let content = format!("\r\n{}", text(came.content));
    let delimiter = format!("\r\n--{boundary}");
    let mut pieces: Vec<&str> = content.split(&delimiter).collect();
    let end = pieces.pop();
    let is_empty = |preamble: &&str| preamble.trim_end().is_empty();
    if end.map(str::trim_end) != Some("--") || !pieces.first().is_some_and(is_empty) {
        return Err(format!("the parts do not begin and end well: {content:?}"));
    }
    pieces
        .iter()
        .skip(1)
        .rev()
        .map(|piece| part(piece))
        .collect()
}

fn part(piece: &str) -> Result<Part, String> {
    let whole = piece.strip_prefix("\r\n");
    let (head, content) = whole
        .and_then(|whole| whole.split_once("\r\n\r\n"))
        .ok_or_else(|| format!("a part without a head: {piece:?}"))?;
    let fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    Ok((fields.collect(), content.into()))
}

/// An answer's end against the expected one.
pub(crate) fn check_end(expected: End, came: &Result<(), String>) -> Result<(), String> {
    match (expected, came) {
        (End::Clean, Ok(())) | (End::Broken, Err(_)) => Ok(()),
        (End::Clean, Err(how)) => Err(format!("the transfer broke off: {how}")),
        (End::Broken, Ok(())) => Err("the transfer ended well".to_owned()),
    }
}

fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "absent".to_owned(), |value| format!("{value:?}"))
}

fn text(content: &[u8]) -> String {
    String::from_utf8_lossy(content).into_owned()
}
