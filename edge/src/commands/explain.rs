//! `jet9 explain`: what would be done with a request, and why.

use std::net::IpAddr;
use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value, json};

use super::output::{self, Format, Output};
use super::{Code, Failure};
use crate::client::{Ask, Client, Target};

/// The request that is asked about.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The URL, with its scheme
    #[arg(value_name = "URL")]
    pub url: String,
    /// The method
    #[arg(
        short = 'X',
        long = "method",
        value_name = "METHOD",
        default_value = "GET"
    )]
    pub method: String,
    /// A header of the request
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// The address that the request would come from
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<IpAddr>,
    /// The status of an answer that the side would give: what only it decides is then told
    #[arg(long, value_name = "STATUS", conflicts_with = "no_answer", value_parser = clap::value_parser!(u16).range(200..=999))]
    pub answer_status: Option<u16>,
    /// A header of that answer; its status is 200 unless it is given
    #[arg(long, value_name = "NAME: VALUE", conflicts_with = "no_answer")]
    pub answer_header: Vec<String>,
    /// The side cannot be reached
    #[arg(long)]
    pub no_answer: bool,
    /// Which edge.
    #[command(flatten)]
    pub target: Target,
    /// In which form.
    #[command(flatten)]
    pub output: Output,
}

/// Asks.
///
/// # Errors
/// What the admin API refused, or why it could not be asked.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let body = body(arguments)?;
    let ask = Ask::send(Method::POST, "/v1/explain", &body);
    let answered = Client::find(&arguments.target)?.ask(&ask)?;
    match arguments.output.format {
        Format::Json | Format::Yaml => output::print(arguments.output, &answered.body, &[], &[])?,
        Format::Table => output::write(&told(&answered.body))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn body(arguments: &Arguments) -> Result<Value, Failure> {
    let mut body = json!({
        "method": arguments.method,
        "url": arguments.url,
        "headers": lines(&arguments.headers)?,
        "client": arguments.client,
    });
    if arguments.no_answer {
        body["answer"] = "none".into();
    } else if arguments.answer_status.is_some() || !arguments.answer_header.is_empty() {
        body["answer"] = json!({
            "status": arguments.answer_status,
            "headers": lines(&arguments.answer_header)?,
        });
    }
    Ok(body)
}

fn lines(headers: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut fields: Map<String, Value> = Map::new();
    for header in headers {
        let Some((name, value)) = header.split_once(':') else {
            let message = format!("`{header}` is no header: expected `Name: value`");
            return Err(Failure::with(Code::Usage, message));
        };
        let lines = fields.entry(name.trim()).or_insert_with(|| json!([]));
        if let Value::Array(lines) = lines {
            lines.push(value.trim().into());
        }
    }
    Ok(fields)
}

/// The answer as lines: what is decided first, then why, then what it rests on.
fn told(said: &Value) -> String {
    const LINES: [&str; 20] = [
        "decision",
        "then",
        "hold_ms",
        "status",
        "reason",
        "error",
        "rule",
        "rule_text",
        "hint",
        "cache_status",
        "answer",
        "answer_decides",
        "learned",
        "fetched",
        "under_way",
        "site",
        "route",
        "key",
        "stored",
        "master",
    ];
    let mut text = String::new();
    for name in LINES.into_iter().chain(["purge"]) {
        let value = &said[name];
        let is_there = !value.is_null() && *value != json!([]) && *value != json!(false);
        if is_there {
            let heading = name.replace('_', " ");
            text += &format!("{heading:<15} {}\n", output::cell(&flat(value)));
        }
    }
    text
}

/// An object as a list of its members that are there.
fn flat(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let members = members.map(|(name, value)| format!("{name}={}", output::cell(value)));
            members.collect::<Vec<_>>().join(" ").into()
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_line_by_line() {
        let said = json!({
            "decision": "validate", "reason": "expired", "status": null, "answer_decides": [],
            "stored": { "age": 7, "tags": ["a", "b"], "purged": null }, "rule": "\u{1b}[2J",
        });
        let expected = "decision        validate\n\
                        reason          expired\n\
                        rule            \u{fffd}[2J\n\
                        stored          age=7 tags=a,b\n";
        assert_eq!(told(&said), expected);
    }
}
