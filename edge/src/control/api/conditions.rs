//! Preconditions of writes: `If-Match` and `If-None-Match` (RFC 9110 §13.1), where entity tags are numbers.

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, StatusCode};

use super::problem::Problem;
use crate::control::sites::Expected;

/// What a write expects to be there. A weak tag matches nothing (§13.1.1), nor does one that is none of ours.
pub(super) fn expected(fields: &HeaderMap) -> Result<Expected, Problem> {
    let if_match = list(fields, &IF_MATCH)?;
    let if_none_match = list(fields, &IF_NONE_MATCH)?;
    match (if_match, if_none_match) {
        (None, None) => Ok(Expected::Anything),
        (Some(text), None) if text == "*" => Ok(Expected::Something),
        (Some(text), None) => Ok(Expected::OneOf(numbers(&text)?)),
        (None, Some(text)) if text == "*" => Ok(Expected::Nothing),
        (None, Some(_)) => Err(bad(
            "of If-None-Match only `*` is taken: create, do not replace",
        )),
        (Some(_), Some(_)) => Err(bad("If-Match and If-None-Match together say nothing")),
    }
}

fn list(fields: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let mut lines = Vec::new();
    for value in fields.get_all(name) {
        let text = value
            .to_str()
            .map_err(|_| bad("entity tags are ASCII here"))?;
        lines.push(text.trim());
    }
    Ok((!lines.is_empty()).then(|| lines.join(", ")))
}

fn numbers(text: &str) -> Result<Vec<u64>, Problem> {
    let mut numbers = Vec::new();
    for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
        if tag.starts_with("W/") {
            continue;
        }
        let opaque = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let opaque =
            opaque.ok_or_else(|| bad("expected entity tags in If-Match, such as \"42\""))?;
        numbers.extend(opaque.parse::<u64>());
    }
    Ok(numbers)
}

fn bad(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn preconditions_are_read_as_the_standard_says() {
        let check = |lines: &[(HeaderName, &'static str)], wanted: Option<Expected>| {
            let mut fields = HeaderMap::new();
            for (name, value) in lines {
                fields.append(name, HeaderValue::from_static(value));
            }
            assert_eq!(expected(&fields).ok(), wanted, "{lines:?}");
        };
        check(&[], Some(Expected::Anything));
        check(&[(IF_MATCH, "*")], Some(Expected::Something));
        check(&[(IF_MATCH, "\"4\"")], Some(Expected::OneOf(vec![4])));
        let both = Expected::OneOf(vec![4, 5]);
        check(&[(IF_MATCH, "\"4\" , \"5\"")], Some(both.clone()));
        check(&[(IF_MATCH, "\"4\""), (IF_MATCH, "\"5\"")], Some(both));
        check(
            &[(IF_MATCH, "W/\"4\", \"x\"")],
            Some(Expected::OneOf(vec![])),
        );
        check(&[(IF_NONE_MATCH, "*")], Some(Expected::Nothing));
        check(&[(IF_NONE_MATCH, "\"4\"")], None);
        check(&[(IF_MATCH, "4")], None);
        check(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")], None);
    }
}
