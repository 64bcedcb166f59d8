//! What differs between two documents, by JSON pointer (RFC 6901). Pure.

use serde_json::{Map, Value, json};

/// Every member that is there in only one of them, or differs; an array differs as a whole.
pub(super) fn between(before: &Value, after: &Value) -> Vec<Value> {
    let mut changes = Vec::new();
    compare("", Some(before), Some(after), &mut changes);
    changes
}

fn compare(pointer: &str, before: Option<&Value>, after: Option<&Value>, out: &mut Vec<Value>) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            members(pointer, before, after, out);
        }
        _ => {
            let mut change = json!({ "pointer": pointer });
            for (name, value) in [("before", before), ("after", after)] {
                if let Some(value) = value {
                    change[name] = value.clone();
                }
            }
            out.push(change);
        }
    }
}

fn members(
    pointer: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    out: &mut Vec<Value>,
) {
    let only_after = after.keys().filter(|name| !before.contains_key(*name));
    for name in before.keys().chain(only_after) {
        let token = name.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{pointer}/{token}");
        compare(&pointer, before.get(name), after.get(name), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_told_once_at_its_place() {
        let before = json!({"id": "s", "cache": {"profile": "rfc", "x/y": 1}, "domains": ["a"]});
        let after = json!({"id": "s", "cache": {"profile": "off"}, "domains": ["a", "b"], "n": 1});
        let expected = [
            json!({"pointer": "/cache/profile", "before": "rfc", "after": "off"}),
            json!({"pointer": "/cache/x~1y", "before": 1}),
            json!({"pointer": "/domains", "before": ["a"], "after": ["a", "b"]}),
            json!({"pointer": "/n", "after": 1}),
        ];
        assert_eq!(between(&before, &after), expected);
        assert!(between(&after, &after).is_empty());
    }
}
