//! The rules of the workspace that no compiler checks: who may depend on whom, which crates stay out, headers, documentation of metrics.
//!
//! Reads the sources, `Cargo.toml` files and `Cargo.lock`; starts nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 6] = ["config", "cluster", "cache", "tls", "edge", "loadtests"];

/// Which of our crates a crate may use. Arrows go down only.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("config", &[]),
    ("cluster", &["jet9-config"]),
    ("cache", &[]),
    ("tls", &[]),
    (
        "edge",
        &["jet9-config", "jet9-cluster", "jet9-cache", "jet9-tls"],
    ),
    ("loadtests", &["jet9-config"]),
];

/// Crates that a crate must not use, and why.
const MUST_NOT_USE: [(&str, &[&str], &str); 5] = [
    (
        "config",
        &["tokio", "pingora", "rustls", "notify"],
        "pure data: no I/O",
    ),
    (
        "cluster",
        &["tokio", "pingora", "rustls", "notify"],
        "a pure state machine: no I/O",
    ),
    (
        "cache",
        &["pingora", "rustls", "hyper"],
        "knows HTTP and bytes, not who carries them",
    ),
    (
        "tls",
        &["pingora", "tokio", "openssl"],
        "names to certificates: no sockets",
    ),
    ("loadtests", &["pingora"], "black box"),
];

/// Crates that nothing may bring in.
const FORBIDDEN: [(&str, &str); 5] = [
    ("openssl", "one TLS stack: rustls"),
    ("openssl-sys", "one TLS stack: rustls"),
    ("boring", "one TLS stack: rustls"),
    ("native-tls", "one TLS stack: rustls"),
    (
        "foyer",
        "brought deleted entries back and served old versions; see docs/decisions",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("edge lies in the workspace")
        .to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a readable file")
}

fn manifest(name: &str) -> toml::Table {
    read(&root().join(name).join("Cargo.toml"))
        .parse()
        .expect("a valid Cargo.toml")
}

fn dependencies(name: &str, section: &str) -> BTreeSet<String> {
    let table = manifest(name);
    let section = table.get(section).and_then(toml::Value::as_table);
    section
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in CRATES {
        for folder in ["src", "tests", "benches"] {
            sources(&root().join(name).join(folder), &mut found);
        }
    }
    found
}

#[test]
fn arrows_between_our_crates_go_down_only() {
    for (name, allowed) in MAY_USE {
        for dependency in dependencies(name, "dependencies") {
            let ours = dependency.starts_with("jet9-");
            assert!(
                !ours || allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn pure_crates_stay_pure() {
    for (name, banned, why) in MUST_NOT_USE {
        for dependency in dependencies(name, "dependencies") {
            let hit = banned
                .iter()
                .any(|ban| dependency == *ban || dependency.starts_with(&format!("{ban}-")));
            assert!(!hit, "{name} must not depend on {dependency}: {why}");
        }
    }
}

#[test]
fn the_lock_file_holds_no_forbidden_crate() {
    let lock: toml::Table = read(&root().join("Cargo.lock"))
        .parse()
        .expect("a valid Cargo.lock");
    let packages = lock["package"].as_array().expect("packages");
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        for (forbidden, why) in FORBIDDEN {
            assert_ne!(name, forbidden, "{why}");
        }
        let version = package["version"].as_str().unwrap_or_default();
        if name.starts_with("pingora") {
            assert_eq!(
                version, "0.9.1",
                "{name} is pinned: its traits change between releases"
            );
        }
    }
}

#[test]
fn every_module_begins_by_saying_which_question_it_answers() {
    for path in all_sources() {
        let text = read(&path);
        assert!(
            text.starts_with("//!"),
            "{} has no module header",
            path.display()
        );
    }
}

#[test]
fn nothing_is_left_to_do_without_an_owner() {
    for path in all_sources()
        .iter()
        .filter(|path| !path.ends_with("tidy.rs"))
    {
        for (number, line) in read(path).lines().enumerate() {
            for word in ["TODO", "FIXME", "XXX"] {
                assert!(
                    !line.contains(word),
                    "{}:{}: {word}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

/// The one module with `unsafe` in it, and where it is declared.
const UNSAFE: [&str; 2] = ["cache/src/io/uring/raw.rs", "cache/src/io/uring.rs"];

#[test]
fn unsafe_stands_in_one_module() {
    let [module, declaration] = UNSAFE.map(|path| root().join(path));
    let sources = all_sources();
    for path in sources.iter().filter(|path| !path.ends_with("tidy.rs")) {
        let text = read(path);
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        for line in text.lines().filter(is_code) {
            let is_declared = *path == declaration || !line.contains("unsafe_code");
            let is_there = *path == module || !line.contains("unsafe {");
            assert!(is_declared && is_there, "{}: {line}", path.display());
        }
    }
}

#[test]
fn the_oldest_compiler_is_the_same_everywhere() {
    let workspace: toml::Table = read(&root().join("Cargo.toml"))
        .parse()
        .expect("a valid Cargo.toml");
    let version = workspace["workspace"]["package"]["rust-version"]
        .as_str()
        .expect("rust-version");
    assert!(read(&root().join("scripts/prerequisites.sh")).contains(&format!("MSRV={version} ")));
}

#[test]
fn every_metric_of_the_code_is_in_the_documentation() {
    let documentation = read(&root().join("docs/configuration.md"));
    for path in all_sources()
        .iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "src"))
    {
        for name in metric_names(&read(path)) {
            assert!(
                documentation.contains(&name),
                "{}: {name} is not in docs/configuration.md",
                path.display()
            );
        }
    }
}

/// Names like `jet9_edge_requests_total` in string literals.
fn metric_names(text: &str) -> BTreeSet<String> {
    text.split('"')
        .skip(1)
        .step_by(2)
        .filter(|literal| {
            literal.starts_with("jet9_")
                && literal
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_')
        })
        .filter(|literal| !["jet9_edge", "jet9_light"].contains(literal) && !literal.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_reason_word_is_in_the_documentation() {
    let documentation = read(&root().join("docs/configuration.md"));
    for reason in jet9_cache::Reason::ALL {
        assert!(
            documentation.contains(reason.as_str()),
            "{} is not in docs/configuration.md",
            reason.as_str()
        );
    }
}
