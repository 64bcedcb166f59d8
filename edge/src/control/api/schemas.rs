//! What calls take and answer, as JSON Schema (2020-12), by name.
//!
//! Read by `api::openapi`; a route names its own. A site's document is described by its reader itself ([`check::site_schema`]), the other bodies
//! here, with the bounds of those who read them. schemathesis holds every answer against these, and what they forbid against what is refused.

use jet9_config::check;
use serde_json::{Map, Value, json};

use crate::control::purge::{THING_BYTES_MAX, THINGS_MAX};

/// All of them.
pub(super) fn all() -> Map<String, Value> {
    let named = [
        ("Problem", problem()),
        ("Site", site()),
        ("SiteDocument", site_document()),
        ("Sites", listed("sites", "Site", &[("generation", count())])),
        ("SiteWritten", site_written()),
        (
            "Version",
            object(
                &["version"],
                &[("version", json!({ "type": "integer", "minimum": 0 }))],
            ),
        ),
        ("Versions", versions()),
        ("Purge", purge()),
        ("PurgeDone", purge_done()),
        ("PurgeSeen", purge_seen()),
        (
            "FastlyDone",
            open(
                &["status", "id"],
                &[("status", json!({ "const": "ok" })), ("id", count())],
            ),
        ),
        ("FastlyKeys", object(&[], &[("surrogate_keys", texts())])),
        (
            "FastlyKeysDone",
            json!({ "type": "object", "additionalProperties": count() }),
        ),
        ("Cloudflare", cloudflare()),
        (
            "CloudflareDone",
            open(
                &["success", "result"],
                &[
                    ("success", json!({ "const": true })),
                    ("result", open(&["id"], &[("id", count())])),
                ],
            ),
        ),
        ("Question", question()),
        ("Told", json!({ "type": "object" })),
        ("Cluster", cluster()),
        ("Clusters", listed("clusters", "Cluster", &[])),
        ("ClusterDocument", json!({ "type": "object" })),
        (
            "Forgotten",
            open(
                &["cluster", "forgotten_epoch", "epoch"],
                &[
                    ("cluster", text()),
                    ("forgotten_epoch", count()),
                    ("epoch", count()),
                ],
            ),
        ),
        ("Node", node()),
        ("Nodes", listed("nodes", "Node", &[])),
        ("Certificate", certificate()),
        ("Certificates", listed("certificates", "Certificate", &[])),
        ("Token", token()),
        ("Tokens", listed("tokens", "Token", &[])),
        ("TokenWish", token_wish()),
        (
            "TokenMade",
            open(
                &["name", "scopes", "token"],
                &[("name", text()), ("scopes", texts()), ("token", text())],
            ),
        ),
        ("OpenApi", open(&["openapi", "info", "paths"], &[])),
    ];
    let named = named
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema));
    named.collect()
}

/// A reference to one of them.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
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
    let things = json!({ "type": "array", "maxItems": THINGS_MAX, "items": thing });
    object(
        &["site"],
        &[
            ("site", text()),
            ("urls", things.clone()),
            ("prefixes", things.clone()),
            ("tags", things),
            ("all", json!({ "type": "boolean" })),
            ("mode", words(&["soft", "hard"])),
            ("wait", words(&["local", "all"])),
            (
                "timeout_ms",
                json!({ "type": "integer", "minimum": 1, "maximum": 300_000 }),
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
    let name = json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" });
    let scopes = json!({ "type": "array", "minItems": 1, "items": text() });
    object(&["name", "scopes"], &[("name", name), ("scopes", scopes)])
}

#[cfg(test)]
mod tests {
    use super::*;

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
