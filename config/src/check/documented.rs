//! docs/configuration.md and the code say the same: its examples are read, and what they say is the defaults.

use serde_json::json;

use super::tests::{NODE, SITE, read_node, read_site};
use crate::limits::Limits;
use crate::site::{Caching, Profile};

/// The fenced block that follows this marker in docs/configuration.md.
fn example(marker: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let docs = std::fs::read_to_string(path).expect("docs/configuration.md");
    let (_, rest) = docs
        .split_once(&format!("<!-- {marker} -->\n```toml\n"))
        .expect(marker);
    rest.split_once("\n```\n")
        .expect("the end of the block")
        .0
        .to_owned()
        + "\n"
}

#[test]
fn the_documented_node_file_says_the_defaults() {
    let mut node = read_node(&example("example: node.toml")).expect("a good document");
    let small = read_node(NODE).expect("a good document");
    node.listen = small.listen.clone();
    node.cache.disk = Vec::new();
    assert_eq!(format!("{node:#?}"), format!("{small:#?}"));
}

#[test]
fn the_documented_limits_are_the_defaults() {
    let text = format!("{NODE}{}", example("example: limits"));
    assert_eq!(
        read_node(&text).expect("a good document").limits,
        Limits::default()
    );
    let keys = text.lines().skip_while(|line| *line != "[limits]").skip(1);
    let fields = format!("{:#?}", Limits::default())
        .lines()
        .filter(|line| line.starts_with("    ") && !line.starts_with("     "))
        .count();
    assert_eq!(
        keys.filter(|line| line.contains(" = ")).count(),
        fields,
        "a limit is not documented"
    );
}

#[test]
fn the_documented_site_says_the_defaults() {
    let mut site = read_site(&example("example: site.toml")).expect("a good document");
    let small = read_site(SITE).expect("a good document");
    assert_eq!(site.domains.len(), 3);
    assert_eq!(site.routes.len(), 1);
    site.id = small.id.clone();
    site.domains = small.domains.clone();
    site.origin.cluster = small.origin.cluster.clone();
    site.routes = Vec::new();
    assert_eq!(site, small);
}

#[test]
fn the_documented_profiles_are_the_defaults() {
    for (name, profile) in [
        ("lamp-safe", Profile::LampSafe),
        ("rfc", Profile::Rfc),
        ("static", Profile::Static),
    ] {
        let want = profile.defaults();
        check_profile(&format!("[cache]\nprofile = \"{name}\"\n"), &want);
        check_profile(&example(&format!("profile: {name}")), &want);
    }
    let lamp_safe = Profile::LampSafe.defaults();
    check_profile(
        "[cache]\nprofile = \"off\"\n",
        &Caching {
            profile: Profile::Off,
            ..lamp_safe
        },
    );
}

fn check_profile(section: &str, want: &Caching) {
    let site = read_site(&format!("{SITE}{section}")).expect("a good document");
    assert_eq!(&site.cache, want, "{section}");
}

#[test]
fn the_schema_says_what_the_reader_takes() {
    let schema = crate::check::site_schema();
    let check = |pointer: &str, expected: serde_json::Value| {
        assert_eq!(schema.pointer(pointer), Some(&expected), "{pointer}");
    };
    check("/required", json!(["id", "domains", "origin"]));
    check("/additionalProperties", json!(false));
    check("/properties/origin/required", json!(["cluster"]));
    check(
        "/properties/https/enum",
        json!(["redirect", "both", "only"]),
    );
    let port = json!({"type": "integer", "minimum": 0, "maximum": 65535});
    check("/properties/origin/properties/port", port);
    check("/properties/domains/maxItems", json!(1000));
    check("/properties/domains/items/type", json!("string"));
    let lifetime = "/properties/cache/properties/default/additionalProperties/pattern";
    check(lifetime, json!("^[0-9]+(ms|s|m|h|d)$"));
    check(
        "/properties/pages/properties/stub/anyOf/0/required",
        json!(["html"]),
    );
    check(
        "/properties/pages/properties/stub/anyOf/1/enum",
        json!(["builtin"]),
    );
    check(
        "/properties/route/items/properties/browser_max_age/not",
        json!({}),
    );
    // Every key of the documented site, and no other.
    let document: toml::Value = toml::from_str(&example("example: site.toml")).expect("TOML");
    assert_keys(&document, &schema, "");
}

/// Each key of the example is in the schema, and each of the schema in the example, but for those that say nothing by default. Elements of arrays
/// have no defaults.
fn assert_keys(value: &toml::Value, schema: &serde_json::Value, at: &str) {
    const ELSEWHERE: [&str; 2] = ["/origin/tls_name", "/cache/quota"];
    let (Some(table), Some(known)) = (value.as_table(), schema["properties"].as_object()) else {
        return;
    };
    for (key, value) in table {
        let at = format!("{at}/{key}");
        let known = known.get(key);
        let known = known.unwrap_or_else(|| panic!("{at} is not in the schema"));
        assert_keys(value, known, &at);
    }
    for (name, schema) in known {
        let key = format!("{at}/{name}");
        let is_later = schema.get("not").is_some();
        let is_there = table.contains_key(name) || ELSEWHERE.contains(&key.as_str());
        assert!(is_there || is_later, "{key} is not in the documented site");
    }
}
