//! Whether the stories can fail: what is wrong in a file is told with its line, and what is wrong in a play as well.

use super::parse;
use super::play::{self, Mode};

/// Files that make no sense, and what is said about them.
const WRONG: [(&str, &str); 8] = [
    (
        "client sends GET /\nrestart?\nclient jumps",
        "test:3: no step: \"client jumps\"",
    ),
    ("restart?\nadvance 10", "test:2: no time"),
    ("restart?\nclient sees 2000", "test:2: no status"),
    (
        "restart?\nclient sees 200\n  Age near 10",
        "test:3: not understood",
    ),
    (
        "restart?\nclient sends GET /\n  Age present",
        "test:3: this can be expected, not sent",
    ),
    (
        "restart?\nadvance 1s\n  Age: 1",
        "test:3: nothing may stand below this step",
    ),
    (
        "client sends GET /\nclient sees 200",
        "test:2: neither \"restart?\" anywhere",
    ),
    (
        "without disk:\nclient sends GET /",
        "test:1: a reason is missing",
    ),
];

/// The beginning of plays that must fail: the second line below it is line 11.
const BEGINNING: &str = "restart?
client sends GET /page
origin sees GET /page
origin answers 200
  Cache-Control: max-age=60
  | hello
client sees 200

client sends GET /page
";

/// How they go on, and what is said about them.
const FAILING: [(&str, &str); 6] = [
    ("client sees 404", "test:10: the status is 200"),
    (
        "client sees 200\n  Age: 1",
        "test:11: Age is \"0\", not \"1\"",
    ),
    (
        "client sees 200\n  | hallo",
        "test:11: the content is \"hello\", not \"hallo\"",
    ),
    (
        "client sees 200\n  Cache-Status has stored",
        "test:11: Cache-Status has no \"stored\"",
    ),
    (
        "client sees 200\nadvance 61s\nclient sends GET /page\norigin sees GET /other",
        "test:13: another request came",
    ),
    ("", "test: at the end: what client \"\" sees is not told"),
];

/// The first that is not as it should be.
pub(crate) fn run() -> Result<(), String> {
    for (text, expected) in WRONG {
        let told = parse::story("test", text).err();
        check(text, told, expected)?;
    }
    for (rest, expected) in FAILING {
        let text = format!("{BEGINNING}{rest}");
        // To the end of the process, for the thread that plays it.
        let story = Box::leak(Box::new(parse::story("test", &text)?));
        check(&text, play::play(story, Mode::Http1).err(), expected)?;
    }
    Ok(())
}

fn check(text: &str, told: Option<String>, expected: &str) -> Result<(), String> {
    match told {
        Some(told) if told.starts_with(expected) => Ok(()),
        told => Err(format!(
            "a story that must fail: {text}\nexpected {expected}\ntold {told:?}"
        )),
    }
}
