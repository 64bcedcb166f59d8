//! What is written to etcd's JSON gateway, and what it says: pure.
//!
//! Called by the client next door. Two habits of the gateway want care: 64-bit numbers are strings, and what has its default value is left
//! out (a first revision, the type of an ordinary event, the `succeeded` of a refused transaction).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The revision of the store at which it was read.
    pub revision: u64,
    /// How many keys there are under the prefix, returned or not.
    pub count: u64,
    /// Those that were asked for.
    pub found: Vec<KeyValue>,
}

/// One key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// Its name; what is no UTF-8 is replaced.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision of its last change.
    pub changed_at: u64,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// What happened up to a revision, in order. None: the watch has begun, or lives.
    Events {
        /// The revision up to which everything is told; 0 where the watch has only begun.
        revision: u64,
        /// What happened.
        events: Vec<Event>,
    },
    /// The history that was asked for is gone: read everything again.
    Compacted,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key has a new value.
    Put(KeyValue),
    /// A key was deleted.
    Deleted {
        /// Its name.
        key: String,
        /// The value that was deleted, where etcd still had it.
        value: Option<Vec<u8>>,
        /// The revision of its deletion.
        at: u64,
    },
}

/// The body of a read; `changed_after` leaves out what was not changed since.
pub(super) fn range(prefix: &str, changed_after: u64) -> Value {
    let mut body = span(prefix);
    if changed_after > 0 {
        body["min_mod_revision"] = json!((changed_after + 1).to_string());
    }
    body
}

/// The body of a compare-and-swap.
pub(super) fn swap(key: &str, value: &[u8], changed_at: u64) -> Value {
    let key = STANDARD.encode(key);
    json!({
        "compare": [{"target": "MOD", "result": "EQUAL", "key": key, "mod_revision": changed_at.to_string()}],
        "success": [{"request_put": {"key": key, "value": STANDARD.encode(value)}}],
    })
}

/// The body of a watch.
pub(super) fn watch(prefix: &str, from: u64) -> Value {
    let mut body = span(prefix);
    body["start_revision"] = json!(from.to_string());
    body["progress_notify"] = json!(true);
    body["prev_kv"] = json!(true);
    json!({"create_request": body})
}

/// All keys that begin with `prefix`: up to the first one that does not.
fn span(prefix: &str) -> Value {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1; // our prefixes are ASCII
    }
    json!({"key": STANDARD.encode(prefix), "range_end": STANDARD.encode(end)})
}

pub(super) fn read_range(answer: &Value) -> Result<Range, String> {
    let found = list(answer, "kvs").map(read_key_value);
    Ok(Range {
        revision: number(&answer["header"], "revision")?,
        count: number(answer, "count")?,
        found: found.collect::<Result<_, _>>()?,
    })
}

pub(super) fn read_notice(line: &[u8]) -> Result<Notice, String> {
    let line: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if let Some(message) = line["error"]["message"].as_str() {
        return Err(message.to_owned());
    }
    let result = &line["result"];
    if number(result, "compact_revision")? > 0 {
        return Ok(Notice::Compacted);
    }
    if result["canceled"].as_bool() == Some(true) {
        let reason = result["cancel_reason"].as_str();
        return Err(format!(
            "cancelled: {}",
            reason.unwrap_or("it did not say why")
        ));
    }
    // The revision at which a watch begins says nothing of what it has told.
    let is_beginning = result["created"].as_bool() == Some(true);
    let revision = number(&result["header"], "revision")?;
    Ok(Notice::Events {
        revision: if is_beginning { 0 } else { revision },
        events: list(result, "events")
            .map(read_event)
            .collect::<Result<_, _>>()?,
    })
}

fn read_event(event: &Value) -> Result<Event, String> {
    if event["type"].as_str() != Some("DELETE") {
        return read_key_value(&event["kv"]).map(Event::Put);
    }
    let key = text(&bytes(&event["kv"], "key")?);
    let value = event.get("prev_kv").map(|before| bytes(before, "value"));
    Ok(Event::Deleted {
        key,
        value: value.transpose()?,
        at: number(&event["kv"], "mod_revision")?,
    })
}

fn read_key_value(value: &Value) -> Result<KeyValue, String> {
    Ok(KeyValue {
        key: text(&bytes(value, "key")?),
        value: bytes(value, "value")?,
        changed_at: number(value, "mod_revision")?,
    })
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn bytes(value: &Value, name: &str) -> Result<Vec<u8>, String> {
    let coded = value[name].as_str().unwrap_or_default();
    STANDARD
        .decode(coded)
        .map_err(|error| format!("{name}: {error}"))
}

fn number(value: &Value, name: &str) -> Result<u64, String> {
    match &value[name] {
        Value::Null => Ok(0),
        Value::String(digits) => digits
            .parse()
            .map_err(|_| format!("{name}: `{digits}` is no number")),
        other => other
            .as_u64()
            .ok_or_else(|| format!("{name}: {other} is no number")),
    }
}

/// Bytes as they come, cut into lines.
#[derive(Debug)]
pub(super) struct Lines {
    pending: Vec<u8>,
    /// Up to here no line ends.
    searched: usize,
    max: usize,
}

impl Lines {
    pub(super) const fn new(max: usize) -> Self {
        Self {
            pending: Vec::new(),
            searched: 0,
            max,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.pending.len() + bytes.len() > self.max {
            return Err(format!("a line of more than {} bytes", self.max));
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole line, without its end.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        let Some(end) = memchr::memchr(b'\n', &self.pending[self.searched..]) else {
            self.searched = self.pending.len();
            return None;
        };
        let rest = self.pending.split_off(self.searched + end + 1);
        let mut line = std::mem::replace(&mut self.pending, rest);
        self.searched = 0;
        line.pop();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(text: &str) -> String {
        STANDARD.encode(text)
    }

    #[test]
    fn a_prefix_ends_before_the_first_key_that_does_not_begin_with_it() {
        let body = range("/jet9/clusters/", 41);
        assert_eq!(body["key"], coded("/jet9/clusters/"));
        assert_eq!(body["range_end"], coded("/jet9/clusters0"));
        assert_eq!(body["min_mod_revision"], "42");
        assert_eq!(range("/p/", 0)["min_mod_revision"], Value::Null);
    }

    #[test]
    fn numbers_are_strings_and_defaults_are_left_out() {
        let answer = json!({
            "header": {"revision": "9007199254740993"},
            "kvs": [{"key": coded("/k"), "mod_revision": "7", "value": coded("{}")}, {"key": coded("/empty")}],
            "count": "2",
        });
        let read = read_range(&answer).expect("a range");
        assert_eq!((read.revision, read.count), (9_007_199_254_740_993, 2));
        let key = |key: &str, value: &[u8], changed_at| KeyValue {
            key: key.to_owned(),
            value: value.to_vec(),
            changed_at,
        };
        assert_eq!(read.found, [key("/k", b"{}", 7), key("/empty", b"", 0)]);
        let empty = read_range(&json!({"header": {"revision": "1"}})).expect("a range");
        assert_eq!((empty.count, empty.found.len()), (0, 0));
    }

    #[test]
    fn a_notice_tells_what_happened_or_why_the_watch_ended() {
        let check = |line: Value, expected: Result<Notice, &str>| {
            let read = read_notice(line.to_string().as_bytes());
            assert_eq!(read, expected.map_err(str::to_owned), "{line}");
        };
        let events = |revision, events| Ok(Notice::Events { revision, events });
        let header = json!({"revision": "5"});
        check(
            json!({"result": {"header": header, "created": true}}),
            events(0, vec![]),
        );
        check(json!({"result": {"header": header}}), events(5, vec![]));
        let put = json!({"kv": {"key": coded("/k"), "value": coded("v"), "mod_revision": "5"}});
        let deleted = json!({"type": "DELETE", "kv": {"key": coded("/k"), "mod_revision": "6"}, "prev_kv": {"value": coded("v")}});
        let blind = json!({"type": "DELETE", "kv": {"key": coded("/k"), "mod_revision": "7"}});
        check(
            json!({"result": {"header": header, "events": [put, deleted, blind]}}),
            events(
                5,
                vec![
                    Event::Put(KeyValue {
                        key: "/k".to_owned(),
                        value: b"v".to_vec(),
                        changed_at: 5,
                    }),
                    Event::Deleted {
                        key: "/k".to_owned(),
                        value: Some(b"v".to_vec()),
                        at: 6,
                    },
                    Event::Deleted {
                        key: "/k".to_owned(),
                        value: None,
                        at: 7,
                    },
                ],
            ),
        );
        check(
            json!({"result": {"canceled": true, "compact_revision": "3"}}),
            Ok(Notice::Compacted),
        );
        check(
            json!({"result": {"canceled": true, "cancel_reason": "no leader"}}),
            Err("cancelled: no leader"),
        );
        check(json!({"error": {"message": "no leader"}}), Err("no leader"));
    }

    #[test]
    fn lines_are_cut_wherever_the_pieces_end() {
        let text = b"one\n\ntwo\nthr";
        for size in 1..text.len() {
            let mut lines = Lines::new(64);
            let mut got = Vec::new();
            for piece in text.chunks(size) {
                lines.push(piece).expect("room");
                got.extend(std::iter::from_fn(|| lines.next()));
            }
            assert_eq!(got, [&b"one"[..], b"", b"two"], "{size}");
        }
        assert!(Lines::new(4).push(b"12345").is_err());
    }
}
