//! What calls take and answer, as JSON Schema (2020-12), by name.
//!
//! Read by `api::openapi`; a route names its own. A site's document is described by its reader itself ([`check::site_schema`]), the other bodies
//! here, with the bounds of those who read them; a test asks those readers whether they take what is said here, member by member. schemathesis
//! holds every answer against these, and what they forbid against what is refused.

use jet9_config::check;
use serde_json::{Map, Value, json};

use super::tokens;
use crate::control::purge::{THING_BYTES_MAX, THINGS_MAX, TIMEOUT_MAX};

/// All of them.
pub(super) fn all() -> Map<String, Value> {
    let named = [
        vec![("Problem", problem())],
        of_sites(),
        of_purges(),
        of_other_services(),
        vec![("Question", question()), ("Told", anything())],
        of_clusters(),
        vec![("Node", node()), ("Nodes", listed("nodes", "Node", &[]))],
        of_certificates_and_tokens(),
        vec![("OpenApi", open(&["openapi", "info", "paths"], &[]))],
    ];
    let named = named.into_iter().flatten();
    named
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

/// Schemas by name.
type Named = Vec<(&'static str, Value)>;

fn of_sites() -> Named {
    let version = json!({ "type": "integer", "minimum": 0 });
    vec![
        ("Site", site()),
        ("SiteDocument", site_document()),
        ("Sites", listed("sites", "Site", &[("generation", count())])),
        ("SiteWritten", site_written()),
        ("Version", object(&["version"], &[("version", version)])),
        ("Versions", versions()),
    ]
}

fn of_purges() -> Named {
    vec![
        ("Purge", purge()),
        ("PurgeDone", purge_done()),
        ("PurgeSeen", purge_seen()),
    ]
}

fn of_other_services() -> Named {
    let fastly = [("status", json!({ "const": "ok" })), ("id", count())];
    let keys = json!({ "type": "object", "additionalProperties": count() });
    let cloudflare_done = [
        ("success", json!({ "const": true })),
        ("result", open(&["id"], &[("id", count())])),
    ];
    vec![
        ("FastlyDone", open(&["status", "id"], &fastly)),
        ("FastlyKeys", object(&[], &[("surrogate_keys", texts())])),
        ("FastlyKeysDone", keys),
        ("Cloudflare", cloudflare()),
        (
            "CloudflareDone",
            open(&["success", "result"], &cloudflare_done),
        ),
    ]
}

fn of_clusters() -> Named {
    let forgotten = [
        ("cluster", text()),
        ("forgotten_epoch", count()),
        ("epoch", count()),
    ];
    vec![
        ("Cluster", cluster()),
        ("Clusters", listed("clusters", "Cluster", &[])),
        ("ClusterDocument", anything()),
        (
            "Forgotten",
            open(&["cluster", "forgotten_epoch", "epoch"], &forgotten),
        ),
    ]
}

fn of_certificates_and_tokens() -> Named {
    let made = [("name", text()), ("scopes", texts()), ("token", text())];
    vec![
        ("Certificate", certificate()),
        ("Certificates", listed("certificates", "Certificate", &[])),
        ("Token", token()),
        ("Tokens", listed("tokens", "Token", &[])),
        ("TokenWish", token_wish()),
        ("TokenMade", open(&["name", "scopes", "token"], &made)),
    ]
}

/// A reference to one of them.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn anything() -> Value {
    json!({ "type": "object" })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn texts() -> Value {
    json!({ "type": "array", "items": text() })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

/// This, or nothing.
fn perhaps(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

/// An object of these members and no others: what is sent.
fn object(required: &[&str], members: &[(&str, Value)]) -> Value {
    let mut schema = open(required, members);
    schema["additionalProperties"] = false.into();
    schema
}

/// An object of these members, to which later versions may add: what is answered.
fn open(required: &[&str], members: &[(&str, Value)]) -> Value {
    let members = members
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    json!({ "type": "object", "required": required, "properties": members.collect::<Map<_, _>>() })
}

/// An object with a list of others.
fn listed(name: &str, of: &str, members: &[(&str, Value)]) -> Value {
    let list = json!({ "type": "array", "items": reference(of) });
    let mut schema = open(&[name], members);
    schema["properties"][name] = list;
    schema
}

/// RFC 9457, with a JSON pointer for each value that is wrong.
fn problem() -> Value {
    let error = open(
        &["pointer", "detail"],
        &[("pointer", text()), ("detail", text())],
    );
    let errors = json!({ "type": "array", "items": error });
    open(
        &["type", "title", "status", "detail"],
        &[
            ("type", text()),
            ("title", text()),
            (
                "status",
                json!({ "type": "integer", "minimum": 400, "maximum": 599 }),
            ),
            ("detail", text()),
            ("errors", errors),
        ],
    )
}

/// As its reader takes it, but for the id, which the path says where the document does not.
fn site_document() -> Value {
    let mut schema = check::site_schema();
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| name != "id");
    }
    schema
}

fn site() -> Value {
    let place = [
        ("file", text()),
        ("line", perhaps("integer")),
        ("column", perhaps("integer")),
        ("pointer", text()),
        ("detail", text()),
    ];
    let problems = json!({ "type": "array", "items": open(&["pointer", "detail"], &place) });
    open(
        &["id", "status", "problems"],
        &[
            ("id", text()),
            ("status", words(&["in-force", "lagging", "refused"])),
            ("generation", count()),
            ("domains", texts()),
            ("https", words(&["redirect", "both", "only"])),
            ("cluster", text()),
            ("problems", problems),
            ("spec", perhaps("object")),
        ],
    )
}

fn site_written() -> Value {
    let change = open(
        &["pointer"],
        &[
            ("pointer", text()),
            ("before", json!({})),
            ("after", json!({})),
        ],
    );
    open(
        &["id", "generation", "changes"],
        &[
            ("id", text()),
            ("generation", count()),
            ("changes", json!({ "type": "array", "items": change })),
            ("dry_run", json!({ "const": true })),
            ("is_new", json!({ "type": "boolean" })),
        ],
    )
}

fn versions() -> Value {
    let flag = json!({ "type": "boolean" });
    let members = [
        ("version", count()),
        ("unix_ms", count()),
        ("by", text()),
        ("removed", flag.clone()),
        ("in_force", flag),
        ("spec", perhaps("object")),
    ];
    let version = open(
        &["version", "unix_ms", "by", "removed", "in_force"],
        &members,
    );
    let versions = json!({ "type": "array", "items": version });
    open(
        &["site", "versions"],
        &[("site", text()), ("versions", versions)],
    )
}

fn purge() -> Value {
    let thing = json!({ "type": "string", "minLength": 1, "maxLength": THING_BYTES_MAX });
    let things = json!({ "type": ["array", "null"], "maxItems": THINGS_MAX, "items": thing });
    let millis = u64::try_from(TIMEOUT_MAX.as_millis()).unwrap_or(u64::MAX);
    object(
        &["site"],
        &[
            ("site", text()),
            ("urls", things.clone()),
            ("prefixes", things.clone()),
            ("tags", things),
            ("all", perhaps("boolean")),
            ("mode", json!({ "enum": ["soft", "hard", null] })),
            ("wait", json!({ "enum": ["local", "all", null] })),
            (
                "timeout_ms",
                json!({ "type": ["integer", "null"], "minimum": 1, "maximum": millis }),
            ),
        ],
    )
}

fn purge_done() -> Value {
    open(
        &["site", "mode", "things", "applied", "lagging"],
        &[
            ("site", text()),
            ("mode", words(&["soft", "hard"])),
            ("things", count()),
            ("sequence", count()),
            ("applied", texts()),
            ("lagging", texts()),
        ],
    )
}

fn purge_seen() -> Value {
    let members = [
        ("sequence", count()),
        ("applied", texts()),
        ("lagging", texts()),
    ];
    open(&["sequence", "applied", "lagging"], &members)
}

fn cloudflare() -> Value {
    let file = json!({ "anyOf": [text(), open(&["url"], &[("url", text())])] });
    object(
        &[],
        &[
            ("files", json!({ "type": "array", "items": file })),
            ("tags", texts()),
            ("prefixes", texts()),
            ("purge_everything", json!({ "type": "boolean" })),
        ],
    )
}

fn question() -> Value {
    let field = json!({ "anyOf": [text(), texts()] });
    let headers = json!({ "type": ["object", "null"], "additionalProperties": field });
    let status = json!({ "type": ["integer", "null"], "minimum": 200, "maximum": 999 });
    let answer = object(&[], &[("status", status), ("headers", headers.clone())]);
    let none = json!({ "enum": ["none", null] });
    object(
        &["url"],
        &[
            ("method", perhaps("string")),
            ("url", text()),
            ("headers", headers),
            ("client", perhaps("string")),
            ("answer", json!({ "anyOf": [answer, none] })),
        ],
    )
}

fn cluster() -> Value {
    let state = words(&["live", "switching", "doubtful", "vacant"]);
    open(
        &["cluster", "mastership", "epoch"],
        &[
            ("cluster", text()),
            ("mastership", state),
            ("master", json!({ "enum": ["a", "b", null] })),
            ("doubt", perhaps("string")),
            ("epoch", count()),
            ("phase", perhaps("string")),
            ("fencing", perhaps("string")),
            ("reason", perhaps("string")),
            ("adopted_unix_ms", perhaps("integer")),
            ("reserve", perhaps("string")),
            ("document", perhaps("object")),
        ],
    )
}

fn node() -> Value {
    let flag = json!({ "type": "boolean" });
    open(
        &[
            "id",
            "zone",
            "self",
            "version",
            "ready",
            "not_ready",
            "draining",
            "sites",
            "generation",
        ],
        &[
            ("id", text()),
            ("zone", text()),
            ("self", flag.clone()),
            ("version", text()),
            ("ready", flag.clone()),
            ("not_ready", texts()),
            ("draining", flag),
            ("sites", count()),
            ("generation", count()),
        ],
    )
}

fn certificate() -> Value {
    let moment = json!({ "type": "integer" });
    open(
        &[
            "name",
            "domains",
            "issuer",
            "not_before",
            "not_after",
            "state",
        ],
        &[
            ("name", text()),
            ("domains", texts()),
            ("issuer", text()),
            ("not_before", moment.clone()),
            ("not_after", moment),
            ("state", words(&["valid", "not-yet", "expired"])),
        ],
    )
}

fn token() -> Value {
    let members = [
        ("name", text()),
        ("scopes", texts()),
        ("made_unix_ms", count()),
    ];
    open(&["name", "scopes", "made_unix_ms"], &members)
}

fn token_wish() -> Value {
    let name = json!({
        "type": "string", "minLength": 1, "maxLength": tokens::NAME_MAX, "pattern": tokens::NAME_PATTERN,
    });
    let scopes = json!({ "type": "array", "minItems": 1, "items": text() });
    object(&["name", "scopes"], &[("name", name), ("scopes", scopes)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a schema allows a value: as much of JSON Schema as is said here.
    fn allows(schema: &Value, value: &Value) -> bool {
        let says = |name: &str| schema.get(name).filter(|said| !said.is_null());
        let number = |name: &str| says(name).and_then(Value::as_u64);
        let is_of = |kind: &Value| match kind.as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            Some("null") => value.is_null(),
            other => panic!("{other:?}"),
        };
        let within = |found: u64, min: &str, max: &str| {
            number(min).is_none_or(|min| found >= min) && number(max).is_none_or(|max| found <= max)
        };
        let has_type = says("type").is_none_or(|kind| match kind {
            Value::Array(kinds) => kinds.iter().any(is_of),
            kind => is_of(kind),
        });
        let is_listed = says("enum").is_none_or(|of| of.as_array().expect("words").contains(value));
        let of_any = says("anyOf").and_then(Value::as_array);
        let is_of_any = of_any.is_none_or(|of| of.iter().any(|schema| allows(schema, value)));
        let is_inside = match value {
            Value::String(text) => {
                assert!(says("pattern").is_none_or(|pattern| pattern == tokens::NAME_PATTERN));
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                within(text.len() as u64, "minLength", "maxLength")
                    && (says("pattern").is_none() || text.chars().all(is_plain))
            }
            Value::Number(_) if says("minimum").is_some() => value
                .as_u64()
                .is_some_and(|found| within(found, "minimum", "maximum")),
            Value::Array(values) => {
                let items = says("items");
                let fits = |value| items.is_none_or(|items| allows(items, value));
                within(values.len() as u64, "minItems", "maxItems") && values.iter().all(fits)
            }
            Value::Object(members) => members.iter().all(|(name, value)| {
                match (&schema["properties"][name], says("additionalProperties")) {
                    (Value::Null, Some(Value::Bool(false))) => false,
                    (Value::Null, Some(schema)) => allows(schema, value),
                    (Value::Null, None) => true,
                    (schema, _) => allows(schema, value),
                }
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => true,
        };
        has_type && is_listed && is_of_any && is_inside
    }

    /// Values of every kind, at all bounds.
    fn candidates() -> Vec<Value> {
        let numbers = [0, 1, 199, 200, 999, 1_000, 300_000, 300_001];
        let texts = [
            "", "x", "soft", "hard", "local", "all", "none", "a b", "GET",
        ];
        let lengths = [64, 65, THING_BYTES_MAX, THING_BYTES_MAX + 1];
        let long = lengths.map(|length| "x".repeat(length));
        let mut all = vec![
            json!(null),
            json!(true),
            json!(false),
            json!(-1),
            json!(1.5),
            json!([]),
            json!([1]),
            json!([null]),
            json!([["x"]]),
            json!(vec!["x"; THINGS_MAX + 1]),
            json!({}),
            json!({ "x": "y" }),
            json!({ "x": ["y", "z"] }),
            json!({ "x": 1 }),
            json!({ "status": "200" }),
            json!({ "status": null }),
            json!({ "headers": { "x": "y" } }),
            json!({ "headers": { "x": 1 } }),
        ];
        all.extend(numbers.map(|number| json!(number)));
        all.extend(numbers.map(|number| json!({ "status": number })));
        all.extend(texts.map(|text| json!(text)));
        all.extend(long.iter().map(|text| json!(text)));
        all.extend(long.iter().map(|text| json!([text])));
        all.extend(texts.map(|text| json!([text])));
        all
    }

    /// Holds a schema against the reader of what it describes. `finer`: members of which the reader demands what no schema can say.
    #[track_caller]
    fn check_reader(
        name: &str,
        base: &Value,
        members: &[&str],
        finer: &[&str],
        is_read: impl Fn(&Value) -> bool,
    ) {
        let schema = &all()[name];
        let said = schema["properties"].as_object().expect("members");
        let mut said: Vec<&str> = said.keys().map(String::as_str).collect();
        let mut members = members.to_vec();
        said.sort_unstable();
        members.sort_unstable();
        assert_eq!(said, members, "{name}");
        assert!(is_read(base) && allows(schema, base), "{name}: {base}");
        let with = |member: &str, value: &Value| {
            let mut body = base.clone();
            body[member] = value.clone();
            body
        };
        assert!(!is_read(&with("another", &json!(1))), "{name}");
        assert_eq!(schema["additionalProperties"], false, "{name}");
        for required in schema["required"].as_array().expect("a list") {
            let mut body = base.clone();
            let members = body.as_object_mut().expect("an object");
            members.remove(required.as_str().expect("a name"));
            assert!(!is_read(&body), "{name}: {required}");
        }
        for member in members {
            for value in candidates() {
                let is_allowed = allows(&schema["properties"][member], &value);
                let is_read = is_read(&with(member, &value));
                let is_one = is_allowed == is_read || (is_allowed && finer.contains(&member));
                let mut shown = value.to_string();
                shown.truncate(60);
                assert!(
                    is_one,
                    "{name}: {member}: {shown}: allowed {is_allowed}, read {is_read}"
                );
            }
        }
    }

    #[test]
    fn what_is_said_of_a_body_is_what_its_reader_takes() {
        use crate::control::explain::{self, Question};
        use crate::control::purge;
        let base = json!({ "site": "s-1", "all": true, "tags": ["t"] });
        let read = |body: &Value| purge::Call::parse(body.to_string().as_bytes()).is_ok();
        check_reader("Purge", &base, &purge::MEMBERS, &[], read);
        let base = json!({ "url": "http://a.test/" });
        let read = |body: &Value| Question::parse(body.to_string().as_bytes()).is_ok();
        let finer = ["url", "method", "client"];
        check_reader("Question", &base, &explain::MEMBERS, &finer, read);
        let base = json!({ "name": "panel", "scopes": ["read"] });
        let read = |body: &Value| tokens::read(body.to_string().as_bytes()).is_ok();
        check_reader("TokenWish", &base, &tokens::MEMBERS, &["scopes"], read);
    }

    #[test]
    fn a_site_sent_as_json_need_not_say_its_id_and_each_schema_has_a_type() {
        let schemas = all();
        assert_eq!(
            schemas["SiteDocument"]["required"],
            json!(["domains", "origin"])
        );
        for (name, schema) in schemas {
            assert_eq!(schema["type"], "object", "{name}");
        }
    }
}
