//! What commands print: tables for eyes, JSON and YAML for programs.

use std::io::IsTerminal;

use serde_json::Value;

use super::Failure;

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for reading.
    #[default]
    Table,
    /// The answer of the admin API.
    Json,
    /// The same as YAML.
    Yaml,
}

impl Format {
    /// What suits who reads standard output: eyes, or a program.
    fn for_stdout() -> &'static str {
        match std::io::stdout().is_terminal() {
            true => "table",
            false => "json",
        }
    }
}

/// How results are printed; an argument of all commands that have some.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Output {
    /// The form of the result; a table on a terminal, else JSON
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORM",
        default_value = Format::for_stdout(),
        hide_default_value = true
    )]
    pub format: Format,
}

/// One column: its heading, and the member of the row that it shows.
pub(super) type Column = (&'static str, &'static str);

/// Prints a result: the rows of a table, or all of the answer.
pub(super) fn print(
    output: Output,
    answer: &Value,
    rows: &[Value],
    columns: &[Column],
) -> Result<(), Failure> {
    let text = match output.format {
        Format::Table => table(rows, columns),
        Format::Json => serde_json::to_string_pretty(answer).map_err(Failure::new)? + "\n",
        Format::Yaml => yaml(answer),
    };
    write(&text)
}

/// Writes to standard output; a reader that has gone is no failure.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(error)),
        _ => Ok(()),
    }
}

/// A moment, in seconds since the Unix epoch, as HTTP writes dates.
pub(super) fn moment(unix_seconds: u64) -> String {
    let since = std::time::Duration::from_secs(unix_seconds);
    let moment = std::time::UNIX_EPOCH.checked_add(since);
    moment.map_or_else(|| "-".to_owned(), httpdate::fmt_http_date)
}

/// A value as YAML 1.2, of which JSON's scalars and flow forms are a part: all strings are quoted, so none is taken for something else.
pub(super) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

/// A collection in lines of its own, each indented; a scalar at the end of the line that has begun.
fn block(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                *out += &format!("{pad}{}:", Value::from(name.as_str()));
                nested(value, indent, out);
            }
        }
        Value::Array(values) if !values.is_empty() => {
            for value in values {
                *out += &format!("{pad}-");
                nested(value, indent, out);
            }
        }
        scalar => *out += &format!("{pad}{scalar}\n"),
    }
}

fn nested(value: &Value, indent: usize, out: &mut String) {
    let is_block = match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if is_block {
        out.push('\n');
        block(value, indent + 2, out);
    } else {
        *out += &format!(" {value}\n");
    }
}

fn table(rows: &[Value], columns: &[Column]) -> String {
    let cells = |row: &Value| {
        columns
            .iter()
            .map(|(_, member)| cell(&row[*member]))
            .collect()
    };
    let heading: Vec<String> = columns
        .iter()
        .map(|(heading, _)| (*heading).to_owned())
        .collect();
    let lines: Vec<Vec<String>> = std::iter::once(heading)
        .chain(rows.iter().map(cells))
        .collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded = line
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"));
        text += padded.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// A value in a table; what is not there is a dash. Control characters cannot reach the terminal.
pub(super) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    };
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            json!({"id": "a", "names": ["x.test", "y.test"], "n": 1}),
            json!({"id": "long-one", "names": []}),
            json!({"id": "\u{1b}[31m", "n": false}),
        ];
        let text = table(&rows, &[("ID", "id"), ("NAMES", "names"), ("N", "n")]);
        let expected = "ID        NAMES          N\n\
                        a         x.test,y.test  1\n\
                        long-one  -              -\n\
                        \u{fffd}[31m     -              false\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn yaml_is_indented_and_every_string_is_quoted() {
        let value =
            json!({"a": ["x", {"b": null}, [1, []]], "no": "no", "t": {"u": true}, "z": {}});
        let expected = "\"a\":\n  - \"x\"\n  -\n    \"b\": null\n  -\n    - 1\n    - []\n\
                        \"no\": \"no\"\n\"t\":\n  \"u\": true\n\"z\": {}\n";
        assert_eq!(yaml(&value), expected);
        assert_eq!(yaml(&json!("x")), "\"x\"\n");
    }
}
