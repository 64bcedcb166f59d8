//! kill -9 in the middle of any write: after the next start it is there whole or not at all, and what was acknowledged is there.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::support::cluster::Cluster;
use super::super::support::edge::Jet9;
use super::super::support::http1::Client;
use super::super::support::scene::scene;
use super::super::support::setup::Setup;
use super::{request, stored_pages};

/// Rounds; `./test --long` asks for more.
fn rounds() -> u64 {
    if std::env::var_os("JET9_LONG").is_some() {
        200
    } else {
        12
    }
}

/// What writing came to before the process was killed: the number of the last write that was answered, and of the last that was sent.
struct Reached {
    answered: u64,
    sent: u64,
}

/// Writes one version after the other, each with a domain of its own, until the process is gone.
fn write_on(socket: &Path, from: u64, sent: &mpsc::Sender<u64>) -> Reached {
    let mut client = Client::unix(socket);
    let mut reached = Reached {
        answered: from,
        sent: from,
    };
    loop {
        let number = reached.sent + 1;
        let document = json!({
            "domains": [format!("v{number}.test"), "always.test"], "https": "both",
            "origin": { "cluster": "c-1" },
            // Long enough for a torn write to show.
            "pages": { "stub": { "html": format!("{number} ").repeat(6_000) } },
        });
        let fields = "Content-Type: application/json\r\n";
        reached.sent = number;
        client.send(request("PUT /v1/sites/w", fields, document.to_string()));
        // Nobody listens any more once the process is killed.
        let _ = sent.send(number - from);
        match client.answer("PUT") {
            Ok(answer) => assert!(matches!(answer.status, 200 | 201), "{answer:?}"),
            Err(_) => return reached,
        }
        reached.answered = number;
    }
}

#[test]
fn a_write_that_is_cut_is_whole_or_nothing_and_what_was_answered_stays() {
    let limit = Duration::from_secs(60 + 10 * rounds());
    scene(limit, |scene| {
        let origin = stored_pages();
        let mut edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let mut last = 0;
        for round in 0..rounds() {
            let socket = edge.files.dir.join("data/admin.sock");
            let (sent, is_sent) = mpsc::channel();
            let writer = thread::spawn(move || write_on(&socket, last, &sent));
            kill_within_a_write(&edge, &is_sent, round);
            let reached = writer.join().expect("no panic");
            edge.start_again();
            last = check(&edge, &reached);
        }
    });
}

/// Kills the process after some writes, in each round at another moment of the one that is under way then.
fn kill_within_a_write(edge: &Jet9, is_sent: &mpsc::Receiver<u64>, round: u64) {
    while is_sent.recv().is_ok_and(|number| number < 1 + round % 5) {}
    // The next one is sent once this one is answered; until then this waits a little less each time, or more.
    let _ = is_sent.recv_timeout(Duration::from_micros(round * 373 % 4_000));
    edge.process.kill();
}

/// What is in force after the start; it is one of the two that it may be, and all of it.
fn check(edge: &Jet9, reached: &Reached) -> u64 {
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
