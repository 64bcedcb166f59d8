//! docs/configuration.md and the code say the same: its examples are read, and what they say is the defaults.

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
