//! The edge's access log, read as another program would.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::wait::{SOON, until};

/// A log of JSON lines.
pub(crate) struct AccessLog(pub(crate) PathBuf);

impl AccessLog {
    /// The lines that are there.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("a line that is no JSON ({error}): {line}"))
            })
            .collect()
    }

    /// Waits until `count` lines are there that `pick` takes, and gives those.
    pub(crate) fn wait(&self, count: usize, pick: impl Fn(&Value) -> bool) -> Vec<Value> {
        until(
            &format!("{count} such lines in the access log"),
            SOON,
            || {
                let found: Vec<Value> =
                    self.lines().into_iter().filter(|line| pick(line)).collect();
                (found.len() >= count).then_some(found)
            },
        )
    }
}
