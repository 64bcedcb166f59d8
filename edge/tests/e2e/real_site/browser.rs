//! Headless Chromium loads pages of the real site over HTTP/2: no failed request, no console error, and a picture to look at.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::support::edge::Jet9;
use super::super::support::process::Process;
use super::super::support::scene::{Scene, scene};
use super::{HOST, setup, start_sides};

/// Pages with style sheets, scripts and pictures, each with a part of its title.
const PAGES: &[&str] = &[
    "/index.html",
    "/tutorial/index.html",
    "/library/turtle.html",
];

/// Time for one page, the start of the browser included.
const PAGE_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_browser_loads_pages_over_http2_without_a_failed_request_or_a_console_error() {
    scene(Duration::from_secs(200), |scene| {
        let sides = start_sides(scene);
        let edge = setup(&sides).start(scene);
        for (number, page) in PAGES.iter().enumerate() {
            load(scene, &edge, number, page);
        }
        let lines = edge
            .access_log()
            .wait(PAGES.len(), |line| line["host"] == HOST);
        for line in &lines {
            assert_eq!(line["protocol"], "h2", "{line}");
            let status = line["status"].as_u64().expect("a status");
            assert!(status < 400, "{line}");
        }
        for page in PAGES {
            assert!(
                lines.iter().any(|line| line["path"] == *page),
                "{page} was not asked for"
            );
        }
        // The pages share their style sheets and scripts: the later ones found them stored.
        assert!(lines.iter().any(|line| line["cache"] == "hit"), "no hit");
        assert!(
            lines.len() > PAGES.len() * 3,
            "{} requests only",
            lines.len()
        );
    });
}

fn load(scene: &Scene, edge: &Jet9, number: usize, page: &str) {
    let dir = scene.dir().join(format!("browser-{number}"));
    fs::create_dir_all(&dir).expect("a directory");
    let (net_log, screenshot) = (dir.join("netlog.json"), dir.join("page.png"));
    let process = browse(scene, edge, page, &dir, &net_log, &screenshot);
    let status = process.wait(PAGE_LIMIT);
    assert!(status.success(), "{}", process.words());

    let console = process
        .err
        .all()
        .into_iter()
        .filter(|line| line.contains("CONSOLE"));
    assert_eq!(console.collect::<Vec<_>>(), [""; 0], "{page}");
    check_net_log(page, &net_log);
    keep_screenshot(number, &screenshot);
}

fn browse(
    scene: &Scene,
    edge: &Jet9,
    page: &str,
    dir: &Path,
    net_log: &Path,
    screenshot: &Path,
) -> Arc<Process> {
    let argument = |name: &str, path: &Path| format!("--{name}={}", path.display());
    scene.spawn(
        "chromium",
        Command::new("/usr/bin/chromium")
            .args(FLAGS)
            .arg(argument("user-data-dir", &dir.join("profile")))
            .arg(argument("log-net-log", net_log))
            .arg(argument("screenshot", screenshot))
            .arg(format!(
                "--host-resolver-rules=MAP {HOST} {}",
                edge.bound.https
            ))
            .arg(format!("https://{HOST}{page}"))
            .env("HOME", dir),
    )
}

/// No request for the site failed, by the browser's own log of its network.
fn check_net_log(page: &str, path: &Path) {
    let text = fs::read_to_string(path).expect("a log");
    let log: Value = serde_json::from_str(&text).expect("JSON");
    let events = log["events"].as_array().expect("events");
    let site = format!("https://{HOST}/");
    let is_for_site = |event: &&Value| {
        let url = event["params"]["url"].as_str();
        url.is_some_and(|url| url.starts_with(&site))
    };
    let requests: HashSet<u64> = events
        .iter()
        .filter(is_for_site)
        .filter_map(|event| event["source"]["id"].as_u64())
        .collect();
    let is_failure = |event: &&Value| {
        let request = event["source"]["id"].as_u64();
        !event["params"]["net_error"].is_null() && request.is_some_and(|id| requests.contains(&id))
    };
    let failures: Vec<&Value> = events.iter().filter(is_failure).collect();
    assert!(failures.is_empty(), "{page}: {failures:?}");

    let over_http2 =
        &log["constants"]["logEventTypes"]["HTTP_TRANSACTION_HTTP2_SEND_REQUEST_HEADERS"];
    let sent = events.iter().filter(|event| event["type"] == *over_http2);
    assert!(sent.count() > 0, "{page}: no request over HTTP/2");
}

fn keep_screenshot(number: usize, screenshot: &Path) {
    let picture = fs::read(screenshot).expect("a screenshot");
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(
        picture.len() > 10_000,
        "{} bytes: an empty page",
        picture.len()
    );
    let kept = artefacts();
    fs::create_dir_all(&kept).expect("a directory");
    fs::write(kept.join(format!("page-{number}.png")), picture).expect("a file");
}

/// Where what a person may want to look at is kept: beside what cargo builds.
fn artefacts() -> PathBuf {
    let beside = Path::new(env!("CARGO_TARGET_TMPDIR"));
    beside.with_file_name("e2e-artifacts")
}

const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--no-first-run",
    "--no-default-browser-check",
    "--ignore-certificate-errors",
    "--enable-logging=stderr",
    "--v=0",
    "--window-size=1200,900",
    "--virtual-time-budget=10000",
];
