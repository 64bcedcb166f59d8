//! kill -9 in the middle of any write: after the next start it is there whole or not at all, and what was acknowledged is there.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::support::cluster::Cluster;
use super::super::support::edge::Jet9;
use super::super::support::http1::{Client, Response};
use super::super::support::scene::scene;
use super::super::support::setup::Setup;
use super::super::support::tls::issue;
use super::{call, request, stored_pages};

/// Rounds; `./test --long` asks for more.
fn rounds() -> u64 {
    if std::env::var_os("JET9_LONG").is_some() {
        200
    } else {
        12
    }
}

/// What writing came to before the process was killed.
struct Reached {
    /// The number of the last write that was answered, and what that said.
    answered: u64,
    answer: Option<Response>,
    /// The number of the last that was sent.
    sent: u64,
}

/// Writes one thing after the other until the process is gone.
fn write_on(socket: &Path, from: u64, sent: &mpsc::Sender<u64>, write: Write) -> Reached {
    let mut client = Client::unix(socket);
    let mut reached = Reached {
        answered: from,
        answer: None,
        sent: from,
    };
    loop {
        let number = reached.sent + 1;
        reached.sent = number;
        client.send(write(number));
        // Nobody listens any more once the process is killed.
        let _ = sent.send(number - from);
        match client.answer("PUT") {
            Ok(answer) => {
                assert!(matches!(answer.status, 200 | 201), "{answer:?}");
                reached.answer = Some(answer);
            }
            Err(_) => return reached,
        }
        reached.answered = number;
    }
}

/// The call that writes the thing of this number.
type Write = fn(u64) -> Vec<u8>;

/// Kills an edge again and again while it writes. `check` says after each start which number is there.
fn kill_again_and_again(write: Write, check: fn(&Jet9, &Reached) -> u64) {
    let limit = Duration::from_secs(60 + 10 * rounds());
    scene(limit, move |scene| {
        let origin = stored_pages();
        let mut edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let mut last = 0;
        for round in 0..rounds() {
            let socket = edge.files.dir.join("data/admin.sock");
            let (sent, is_sent) = mpsc::channel();
            let writer = thread::spawn(move || write_on(&socket, last, &sent, write));
            kill_within_a_write(&edge, &is_sent, round);
            let reached = writer.join().expect("no panic");
            edge.start_again();
            last = check(&edge, &reached);
            assert!((reached.answered..=reached.sent).contains(&last), "{last}");
        }
    });
}

/// A site, each version with a domain of its own.
fn site(number: u64) -> Vec<u8> {
    let document = json!({
        "domains": [format!("v{number}.test"), "always.test"], "https": "both",
        "origin": { "cluster": "c-1" },
        // Long enough for a torn write to show.
        "pages": { "stub": { "html": format!("{number} ").repeat(6_000) } },
    });
    let fields = "Content-Type: application/json\r\n";
    request("PUT /v1/sites/w", fields, document.to_string())
}

/// A token more, for some hundred sites.
fn token(number: u64) -> Vec<u8> {
    let scopes = (0..300).map(|site| format!("site:s-{number}-{site}:purge"));
    let wish = json!({ "name": format!("t{number}"), "scopes": scopes.collect::<Vec<_>>() });
    let fields = "Content-Type: application/json\r\n";
    request("POST /v1/tokens", fields, wish.to_string())
}

/// A certificate, each time for another name.
fn certificate(number: u64) -> Vec<u8> {
    let name = format!("v{number}.test");
    let fields = "Content-Type: application/x-pem-file\r\n";
    request("PUT /v1/certificates/w", fields, issue(&[&name]).pem)
}

#[test]
fn a_write_that_is_cut_is_whole_or_nothing_and_what_was_answered_stays() {
    kill_again_and_again(site, site_in_force);
}

#[test]
fn a_token_that_was_answered_opens_and_none_is_half_there() {
    kill_again_and_again(token, tokens_kept);
}

#[test]
fn a_certificate_that_was_answered_is_in_force_and_none_is_half_there() {
    kill_again_and_again(certificate, certificate_in_force);
}

/// The number of the last token; all before it are there.
fn tokens_kept(edge: &Jet9, reached: &Reached) -> u64 {
    let listed = edge.admin("GET", "/v1/tokens", &Value::Null);
    let listed: Value = serde_json::from_str(&listed.text()).expect("JSON");
    let tokens = listed["tokens"].as_array().expect("tokens");
    let kept = u64::try_from(tokens.len()).expect("a number");
    for number in 1..=kept {
        let name = format!("t{number}");
        let token = tokens.iter().find(|token| token["name"] == *name);
        let scopes = token.map(|token| &token["scopes"]);
        let last = format!("site:s-{number}-299:purge");
        assert_eq!(scopes.map(|scopes| &scopes[299]), Some(&json!(last)));
    }
    if let Some(answer) = &reached.answer {
        let made: Value = serde_json::from_str(&answer.text()).expect("JSON");
        let secret = made["token"].as_str().expect("a secret");
        let fields = format!("Authorization: Bearer {secret}\r\n");
        let opened = call(edge, "GET /v1/openapi.json", &fields, "");
        assert_eq!(opened.status, 200, "token {}", reached.answered);
    }
    kept
}

/// The number of the certificate in force.
fn certificate_in_force(edge: &Jet9, _: &Reached) -> u64 {
    let unusable = "jet9_tls_certificates{state=\"unusable\"}";
    assert_eq!(edge.metrics()[unusable], 0.0);
    let listed = edge.admin("GET", "/v1/certificates", &Value::Null);
    let listed: Value = serde_json::from_str(&listed.text()).expect("JSON");
    let certificates = listed["certificates"].as_array().expect("certificates");
    let Some(own) = certificates.iter().find(|one| one["name"] == "w") else {
        return 0;
    };
    let name = own["domains"][0].as_str().expect("a name");
    let number = name
        .strip_prefix('v')
        .and_then(|name| name.strip_suffix(".test"));
    number.and_then(|number| number.parse().ok()).expect("ours")
}

/// Kills the process after some writes, in each round at another moment of the one that is under way then.
fn kill_within_a_write(edge: &Jet9, is_sent: &mpsc::Receiver<u64>, round: u64) {
    while is_sent.recv().is_ok_and(|number| number < 1 + round % 5) {}
    // The next one is sent once this one is answered; until then this waits a little less each time, or more.
    let _ = is_sent.recv_timeout(Duration::from_micros(round * 373 % 4_000));
    edge.process.kill();
}

/// What is in force after the start; it is one of the two that it may be, and all of it.
fn site_in_force(edge: &Jet9, reached: &Reached) -> u64 {
    let file = edge.files.dir.join("state/sites/w.toml");
    if reached.answered == 0 && !file.exists() {
        assert_eq!(edge.get("always.test", "/").status, 404);
        return 0;
    }
    let candidates = reached.answered.max(1)..=reached.sent;
    let is_served = |number: &u64| edge.get(&format!("v{number}.test"), "/").status == 200;
    let served: Vec<u64> = candidates.filter(is_served).collect();
    assert_eq!(
        served.len(),
        1,
        "of {} to {}",
        reached.answered,
        reached.sent
    );
    let number = served[0];
    assert_eq!(edge.get("always.test", "/").status, 200);
    assert_eq!(edge.get("site.test", "/").status, 200);
    let text = fs::read_to_string(file).expect("there");
    assert!(text.contains(&format!("{number} ").repeat(6_000)));
    let shown = edge.admin("GET", "/v1/sites/w", &Value::Null);
    let shown: Value = serde_json::from_str(&shown.text()).expect("JSON");
    assert_eq!(shown["status"], "in-force");
    assert_eq!(
        shown["generation"], number,
        "no number is lost or given twice"
    );
    assert_eq!(shown["spec"]["domains"][0], format!("v{number}.test"));
    number
}
