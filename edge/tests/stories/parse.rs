//! Reads story files. What makes no sense is told with file and line.

use std::time::Duration;

use serde_json::json;

use super::expectation::{Kind, Rule};
use super::story::{Action, End, Ending, Message, Step, Story, When};

/// A line that begins a step, and the indented ones below it.
struct Block<'a> {
    line: usize,
    head: &'a str,
    body: Vec<(usize, &'a str)>,
}

/// What is wrong, and in which line.
type Wrong = (usize, String);

/// Reads a story.
pub(crate) fn story(file: &str, text: &str) -> Result<Story, String> {
    read(file, text).map_err(|(line, problem)| format!("{file}:{line}: {problem}"))
}

fn read(file: &str, text: &str) -> Result<Story, Wrong> {
    let mut story = Story {
        name: file.trim_end_matches(".story").to_owned(),
        file: file.to_owned(),
        without_disk: None,
        without_http2: None,
        site: None,
        steps: Vec::new(),
    };
    for block in blocks(text)? {
        if let Some(why) = block.head.strip_prefix("without disk:") {
            story.without_disk = Some(reason(&block, why)?);
        } else if let Some(why) = block.head.strip_prefix("without HTTP/2:") {
            story.without_http2 = Some(reason(&block, why)?);
        } else if block.head == "site" {
            let lines: Vec<&str> = block.body.iter().map(|(_, line)| *line).collect();
            story.site = Some(lines.join("\n") + "\n");
        } else {
            let action = action(&block)?;
            let line = block.line;
            story.steps.push(Step { line, action });
        }
    }
    check_disk(&story, text.lines().count())?;
    Ok(story)
}

fn reason(block: &Block<'_>, why: &str) -> Result<String, Wrong> {
    match why.trim() {
        "" => Err((block.line, "a reason is missing".to_owned())),
        why => Ok(why.to_owned()),
    }
}

/// A story says where the edge restarts, or why it need not.
fn check_disk(story: &Story, last: usize) -> Result<(), Wrong> {
    let restarts = |step: &Step| matches!(step.action, Action::Restart { .. });
    let marked = story.steps.iter().any(restarts);
    match (marked, &story.without_disk) {
        (false, None) => Err((
            last,
            "neither \"restart?\" anywhere nor \"without disk: why\"".to_owned(),
        )),
        (true, Some(_)) => Err((last, "a restart in a story without disk".to_owned())),
        _ => Ok(()),
    }
}

fn blocks(text: &str) -> Result<Vec<Block<'_>>, Wrong> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if !line.starts_with(' ') {
            blocks.push(Block {
                line: number,
                head: trimmed,
                body: Vec::new(),
            });
        } else if let Some(block) = blocks.last_mut() {
            block.body.push((number, line.trim_start()));
        } else {
            return Err((number, "an indented line before the first step".to_owned()));
        }
    }
    Ok(blocks)
}

fn action(block: &Block<'_>) -> Result<Action, Wrong> {
    let words: Vec<&str> = block.head.split_whitespace().collect();
    let action = match words.as_slice() {
        ["client", "sends", method, target] => client_sends("", method, target, block)?,
        ["client", who, "sends", method, target] => client_sends(who, method, target, block)?,
        ["client", who, "waits"] => Action::ClientWaits {
            who: (*who).to_owned(),
        },
        ["client", "begins"] => Action::ClientBegins { who: String::new() },
        ["client", who, "begins"] => Action::ClientBegins {
            who: (*who).to_owned(),
        },
        ["client", "sees", answer @ ..] => client_sees("", answer, block)?,
        ["client", who, "sees", answer @ ..] => client_sees(who, answer, block)?,
        ["origin", "sees", "nothing"] => Action::OriginSeesNothing,
        ["origin", "sees", method, target] => origin_sees("", method, target, block)?,
        ["origin", who, "sees", method, target] => origin_sees(who, method, target, block)?,
        ["origin", "answers", status] => origin_answers("", status, block)?,
        ["origin", who, "answers", status] => origin_answers(who, status, block)?,
        ["origin", "adds"] => origin_adds("", block)?,
        ["origin", who, "adds"] => origin_adds(who, block)?,
        ["origin", "closes"] => Action::OriginCloses { who: String::new() },
        ["origin", who, "closes"] => Action::OriginCloses {
            who: (*who).to_owned(),
        },
        ["origin", "stops"] => Action::OriginStops,
        ["origin", "starts"] => Action::OriginStarts,
        ["advance", time] => Action::Advance(duration(time).map_err(|why| (block.line, why))?),
        ["restart"] => restart(Ending::Stop, When::Always),
        ["restart?"] => restart(Ending::Stop, When::WithDisk),
        ["kill"] => restart(Ending::Kill, When::Always),
        ["kill?"] => restart(Ending::Kill, When::WithDisk),
        ["purge", mode @ ("soft" | "hard"), what @ ..] => purge(mode, what, block)?,
        _ => return Err((block.line, format!("no step: {:?}", block.head))),
    };
    if !has_body(&action)
        && let Some((line, text)) = block.body.first()
    {
        return Err((
            *line,
            format!("nothing may stand below this step: {text:?}"),
        ));
    }
    Ok(action)
}

const fn has_body(action: &Action) -> bool {
    matches!(
        action,
        Action::ClientSends { .. }
            | Action::ClientSees { .. }
            | Action::OriginSees { .. }
            | Action::OriginAnswers { .. }
            | Action::OriginAdds { .. }
    )
}

const fn restart(how: Ending, when: When) -> Action {
    Action::Restart { how, when }
}

fn client_sends(who: &str, method: &str, target: &str, block: &Block<'_>) -> Result<Action, Wrong> {
    Ok(Action::ClientSends {
        who: who.to_owned(),
        method: method.to_owned(),
        target: target.to_owned(),
        message: message(block)?,
    })
}

fn client_sees(who: &str, answer: &[&str], block: &Block<'_>) -> Result<Action, Wrong> {
    let (code, end) = match answer {
        [code] => (code, End::Clean),
        [code, "broken"] => (code, End::Broken),
        _ => return Err((block.line, "a status is missing".to_owned())),
    };
    Ok(Action::ClientSees {
        who: who.to_owned(),
        status: status(code, block)?,
        end,
        rules: rules(block)?,
    })
}

fn origin_sees(who: &str, method: &str, target: &str, block: &Block<'_>) -> Result<Action, Wrong> {
    Ok(Action::OriginSees {
        who: who.to_owned(),
        method: method.to_owned(),
        target: target.to_owned(),
        rules: rules(block)?,
    })
}

fn origin_answers(who: &str, code: &str, block: &Block<'_>) -> Result<Action, Wrong> {
    Ok(Action::OriginAnswers {
        who: who.to_owned(),
        status: status(code, block)?,
        message: message(block)?,
    })
}

fn origin_adds(who: &str, block: &Block<'_>) -> Result<Action, Wrong> {
    let message = message(block)?;
    if !message.fields.is_empty() {
        return Err((block.line, "fields cannot be added".to_owned()));
    }
    Ok(Action::OriginAdds {
        who: who.to_owned(),
        content: message.content,
    })
}

/// The body of a call of the admin API.
fn purge(mode: &str, what: &[&str], block: &Block<'_>) -> Result<Action, Wrong> {
    let mut call = json!({ "site": "s-1", "mode": mode });
    match what {
        ["all"] => call["all"] = json!(true),
        ["url", path] => call["urls"] = json!([path]),
        ["prefix", path] => call["prefixes"] = json!([path]),
        ["tag", tag] => call["tags"] = json!([tag]),
        _ => return Err((block.line, "purge … url|prefix|tag X, or all".to_owned())),
    }
    Ok(Action::Purge(call))
}

fn status(text: &str, block: &Block<'_>) -> Result<u16, Wrong> {
    let parsed = text
        .parse()
        .ok()
        .filter(|status| (100..1000).contains(status));
    parsed.ok_or_else(|| (block.line, format!("no status: {text:?}")))
}

/// What is sent.
fn message(block: &Block<'_>) -> Result<Message, Wrong> {
    let mut message = Message::default();
    for rule in rules(block)? {
        match rule.kind {
            Kind::Equals(name, value) => message.fields.push((name, Some(value))),
            Kind::Absent(name) => message.fields.push((name, None)),
            Kind::Content(content) => message.content = content,
            _ => return Err((rule.line, "this can be expected, not sent".to_owned())),
        }
    }
    Ok(message)
}

fn rules(block: &Block<'_>) -> Result<Vec<Rule>, Wrong> {
    let mut rules: Vec<Rule> = Vec::new();
    for &(line, text) in &block.body {
        if let Some(content) = text.strip_prefix('|') {
            let content = content.strip_prefix(' ').unwrap_or(content).as_bytes();
            match rules.last_mut().map(|rule| &mut rule.kind) {
                Some(
                    Kind::Content(before)
                    | Kind::Part {
                        content: before, ..
                    },
                ) => {
                    before.push(b'\n');
                    before.extend_from_slice(content);
                }
                _ => rules.push(Rule {
                    line,
                    kind: Kind::Content(content.to_owned()),
                }),
            }
        } else {
            let kind = rule(text).ok_or_else(|| (line, format!("not understood: {text:?}")))?;
            rules.push(Rule { line, kind });
        }
    }
    Ok(rules)
}

fn rule(text: &str) -> Option<Kind> {
    if text == "no content" {
        return Some(Kind::NoContent);
    }
    if let Some(part) = text.strip_prefix("part ") {
        return self::part(part);
    }
    let (name, rest) = text.split_at(text.find([' ', ':'])?);
    let name = name.to_owned();
    if let Some(value) = rest.strip_prefix(':') {
        return Some(Kind::Equals(name, value.trim().to_owned()));
    }
    let rest = rest.trim();
    let (word, value) = rest.split_once(' ').unwrap_or((rest, ""));
    let value = value.trim().to_owned();
    match (word, value.is_empty()) {
        ("absent", true) => Some(Kind::Absent(name)),
        ("present", true) => Some(Kind::Present(name)),
        ("has", false) => Some(Kind::Has(name, value)),
        ("lacks", false) => Some(Kind::Lacks(name, value)),
        ("like", false) => Some(Kind::Like(name, value)),
        _ => None,
    }
}

/// `TYPE RANGE | CONTENT`.
fn part(text: &str) -> Option<Kind> {
    let (head, content) = text.split_once('|')?;
    let (media_type, range) = head.trim().split_once(' ')?;
    Some(Kind::Part {
        media_type: media_type.to_owned(),
        range: range.trim().to_owned(),
        content: content.strip_prefix(' ').unwrap_or(content).into(),
    })
}

/// `61s`, `10ms`, `2h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("no time: {text:?} (for example 10s; units: ms, s, m, h, d)");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 24 * 3600 * 1000,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(number * millis))
}
