//! What would our Pacemaker agents publish, at each moment of real failovers?
//!
//! The captures are `crm_mon --output-as=xml` of a cluster of three nodes (sides `c1-a`, `c1-b`, and `c1-q` for the quorum), taken whenever it
//! changed; the number in a file's name is the Unix time. The decisions are those of `deploy/pacemaker/pacemaker.sh`, run by `sh` as the agents
//! run it. A series is played with the document that it leads to: at each capture the alert agent looks, then the resource agent if its side is
//! promoted. Whatever they publish is read by the real [`View`]: no epoch may be a contradiction, and none may break the class's promise.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jet9_cluster::document::Fencing;
use jet9_cluster::{Change, Document, Instant, Source, View};
use jet9_config::{ClusterId, Side};
use serde_json::{Value, json};

/// What the agents know of a document.
#[derive(Clone, Debug)]
struct Published {
    epoch: u64,
    phase: &'static str,
    master: Option<Side>,
    before: Option<Side>,
    ended: String,
    reason: String,
    since: u64,
}

/// What an agent wants to publish.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    phase: String,
    ended: String,
    reason: String,
}

const fn node(side: Side) -> &'static str {
    match side {
        Side::A => "c1-a",
        Side::B => "c1-b",
    }
}

const fn fencing_word(fencing: Fencing) -> &'static str {
    match fencing {
        Fencing::Confirmed => "confirmed",
        Fencing::Lease => "lease",
        Fencing::None => "none",
    }
}

impl Published {
    /// Before anything happens: this side serves, since this second. Older fencings in the captures prove nothing.
    fn serving(master: Side, now: u64) -> Self {
        Self {
            epoch: 7,
            phase: "serving",
            master: Some(master),
            before: Some(master),
            ended: "-".into(),
            reason: "standby".into(),
            since: now,
        }
    }

    /// The document after a step.
    fn after(&self, step: &Step, me: Side, now: u64) -> Self {
        let serves = step.phase == "serving";
        Self {
            epoch: self.epoch + 1,
            phase: if serves { "serving" } else { "switching" },
            master: serves.then_some(me),
            before: if serves { Some(me) } else { self.before },
            ended: step.ended.clone(),
            reason: step.reason.clone(),
            since: now,
        }
    }

    fn document(&self, fencing: Fencing, before: Option<Side>) -> Value {
        let mut prev = json!({ "epoch": self.epoch - 1, "master": before.map(Side::as_str) });
        if self.ended != "-" {
            prev["ended"] = self.ended.as_str().into();
        }
        json!({
            "v": 1, "cluster": "c1", "epoch": self.epoch, "phase": self.phase, "master": self.master.map(Side::as_str),
            "sides": {"a": {"addrs": ["192.0.2.1:80"]}, "b": {"addrs": ["192.0.2.2:80"]}},
            "fencing": fencing_word(fencing), "since_unix_ms": self.since * 1000, "reason": self.reason, "prev": prev,
        })
    }
}

/// Runs `decide` of the agents' shell on one capture, with `old` as the master of before.
fn ask(capture: &Path, there: &Published, fencing: Fencing, old: Side, decide: &str) -> String {
    let look = format!(
        r#"jet9_view site-clone {} "$doc_since" "$doc_reason" <"$1""#,
        node(old)
    );
    shell(capture, there, fencing, &look, decide)
}

/// Runs `decide` on the words that `look` prints of a view.
fn shell(file: &Path, there: &Published, fencing: Fencing, look: &str, decide: &str) -> String {
    let library = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/pacemaker/pacemaker.sh"
    );
    let script = format!(
        r#". "$0" || exit
        words=$({look}) || exit
        read -r view_quorum view_promoted view_node view_ended <<EOF
$words
EOF
        {decide}"#
    );
    let side = |side: Option<Side>| side.map_or("-", Side::as_str);
    let ended = match there.phase {
        "serving" => "-",
        _ => &there.ended,
    };
    let out = Command::new("sh")
        .args(["-c", &script, library])
        .arg(file)
        .env("doc_phase", there.phase)
        .env("doc_master", side(there.master))
        .env("doc_before", side(there.before))
        .env("doc_ended", ended)
        .env("doc_fencing", fencing_word(fencing))
        .env("doc_since", there.since.to_string())
        .env("doc_reason", &there.reason)
        .output()
        .expect("a shell");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn step(told: &str) -> Option<Step> {
    let words: Vec<&str> = told.split(' ').collect();
    match words[..] {
        ["keep" | "wait"] => None,
        [phase @ ("switching" | "serving"), ended, reason] => Some(Step {
            phase: phase.to_owned(),
            ended: ended.to_owned(),
            reason: reason.to_owned(),
        }),
        _ => {
            assert_eq!(told, "", "no decision");
            None
        }
    }
}

fn captures(series: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/captures")
        .join(series);
    let files = fs::read_dir(&directory).expect("a series");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort_unstable();
    files
}

fn second(capture: &Path) -> u64 {
    let name = capture.file_stem().expect("a name").to_string_lossy();
    let (_, time) = name.split_once('-').expect("a time");
    let (second, _) = time.split_once('.').expect("a fraction");
    second.parse().expect("a second")
}

/// Plays a series in which `first` is master; what is published, each with the number of its capture.
fn play(series: &str, first: Side, fencing: Fencing) -> Vec<String> {
    let captures = captures(series);
    let mut there = Published::serving(first, second(&captures[0]));
    let mut view = View::new(ClusterId::parse("c1").expect("an id"));
    let mut told = Vec::new();
    adopt(&mut view, &there.document(fencing, None));
    for (number, capture) in captures.iter().enumerate() {
        // The alert agent, then the agent of each side, which looks until nothing is left to say.
        for turn in [None, Some(Side::A), Some(Side::B)] {
            while let Some(step) = decide(capture, &there, fencing, turn) {
                let me = turn.unwrap_or(first);
                assert_promise(&there, &step, me, fencing);
                let next = there.after(&step, me, second(capture));
                adopt(&mut view, &next.document(fencing, there.before));
                there = next;
                let who = turn.map_or("alert", node);
                let Step {
                    phase,
                    ended,
                    reason,
                } = step;
                told.push(format!("{number:02} {who}: {phase} {ended} {reason}"));
            }
        }
    }
    told
}

/// What the alert agent (no side) or the resource agent of a side, if it is promoted, does at a capture.
fn decide(capture: &Path, there: &Published, fencing: Fencing, turn: Option<Side>) -> Option<Step> {
    let Some(me) = turn else {
        let old = there.master?;
        let told = ask(
            capture,
            there,
            fencing,
            old,
            &format!("jet9_alert {}", node(old)),
        );
        return step(&told);
    };
    let old = me.other();
    let promoted = ask(
        capture,
        there,
        fencing,
        old,
        "echo $view_quorum $view_promoted",
    );
    if promoted != format!("quorate {}", node(me)) {
        return None;
    }
    let start = format!("jet9_start {} {me}", node(me), me = me.as_str());
    step(&ask(capture, there, fencing, old, &start))
}

fn adopt(view: &mut View, document: &Value) {
    let document = Document::parse(document.to_string().as_bytes()).expect("it is readable");
    let change = view.observe(document, Source::Watch, Instant(0));
    assert!(matches!(change, Change::Adopted(_)), "{change:?}");
}

/// Where fencing is `confirmed`, nobody else is named without a proof; where it is `lease`, not without the wait, which begins with `switching`.
fn assert_promise(there: &Published, step: &Step, me: Side, fencing: Fencing) {
    let moves = step.phase == "serving" && there.before.is_some_and(|before| before != me);
    if !moves || ["demoted", "fenced"].contains(&step.ended.as_str()) {
        return;
    }
    assert_ne!(fencing, Fencing::Confirmed, "{step:?}");
    assert!(
        fencing == Fencing::None || there.phase == "switching",
        "{step:?}"
    );
}

#[track_caller]
fn check(series: &str, first: Side, fencing: Fencing, expected: &[&str]) {
    assert_eq!(play(series, first, fencing), expected, "{series}");
}

#[test]
fn a_planned_switch_is_published_with_its_proof() {
    let by_b = ["02 c1-b: serving demoted standby"];
    for fencing in [Fencing::Confirmed, Fencing::Lease, Fencing::None] {
        // Caught between demote and stop, and between stop and promote. (The resource agent itself would have said so before the demote.)
        check(
            "sw-clean",
            Side::B,
            fencing,
            &[
                "01 alert: switching - standby",
                "02 c1-a: serving demoted standby",
            ],
        );
        check(
            "sw-clean-pub",
            Side::A,
            fencing,
            &[&["01 alert: switching - standby"], &by_b[..]].concat(),
        );
    }
}

#[test]
fn a_lost_side_without_stonith_is_never_taken_for_stopped() {
    for (series, first, capture) in [
        ("part-nostonith-1", Side::A, 2),
        ("part-nostonith-2", Side::B, 1),
        ("crash-nostonith-1", Side::B, 3),
        ("freeze-nostonith", Side::A, 3),
        ("split-view-majority", Side::A, 2),
    ] {
        let switching = "01 alert: switching - crash";
        let serving = format!(
            "{capture:02} {}: serving unconfirmed crash",
            node(first.other())
        );
        check(series, first, Fencing::Lease, &[switching, &serving]);
        check(series, first, Fencing::None, &[switching, &serving]);
    }
    // Where the edges were promised a proof, nobody else is named: until the lost side is back and known to be demoted.
    for (series, first) in [
        ("crash-nostonith-1", Side::B),
        ("freeze-nostonith", Side::A),
    ] {
        check(
            series,
            first,
            Fencing::Confirmed,
            &["01 alert: switching - crash"],
        );
    }
    check(
        "part-nostonith-1",
        Side::A,
        Fencing::Confirmed,
        &[
            "01 alert: switching - crash",
            "03 c1-b: serving demoted standby",
        ],
    );
}

#[test]
fn a_fenced_side_is_out_once_its_fencing_is_over() {
    for fencing in [Fencing::Confirmed, Fencing::Lease] {
        check(
            "part-stonith-3",
            Side::B,
            fencing,
            &[
                "01 alert: switching - crash",
                "04 c1-a: serving fenced fence-ok",
            ],
        );
        check(
            "part-stonith-1",
            Side::B,
            fencing,
            &[
                "01 alert: switching - crash",
                "02 c1-a: serving fenced fence-ok",
            ],
        );
    }
}

#[test]
fn a_partition_without_quorum_says_nothing() {
    check("split-view-isolated", Side::A, Fencing::Lease, &[]);
}

#[test]
fn a_side_that_fails_and_is_promoted_again_needs_no_proof_against_itself() {
    check(
        "rscfail",
        Side::B,
        Fencing::Confirmed,
        &[
            "03 alert: switching - standby",
            "05 c1-b: serving - restart",
        ],
    );
}

/// What is decided on `c1-b`, where a document and the words of a view are given.
#[track_caller]
fn check_words(document: &str, view: &str, decide: &str, expected: &str) {
    let mut words = document.split(' ');
    let [phase, master, before, ended, class] =
        std::array::from_fn(|_| words.next().expect("five words"));
    let there = Published {
        phase: match phase {
            "serving" => "serving",
            "switching" => "switching",
            "down" => "down",
            _ => "drained",
        },
        master: Side::parse(master),
        before: Side::parse(before),
        ended: ended.to_owned(),
        ..Published::serving(Side::A, 1)
    };
    let fencing = match class {
        "confirmed" => Fencing::Confirmed,
        "lease" => Fencing::Lease,
        _ => Fencing::None,
    };
    let look = format!("echo {view}");
    let told = shell(Path::new("none"), &there, fencing, &look, decide);
    assert_eq!(told, expected, "{document}, {view}: {decide}");
}

#[test]
fn the_resource_agent_names_its_side_only_where_it_may() {
    let check = |document, view, expected| {
        check_words(document, view, "jet9_start c1-b b", expected);
    };
    let gone = "quorate c1-b away unconfirmed";
    // Nobody is named who served: the other side may have; this side was the last one; somebody has proved already how the other ended.
    check("switching - - - confirmed", gone, "wait");
    check(
        "switching - - - confirmed",
        "quorate c1-b idle demoted",
        "serving demoted standby",
    );
    check("switching - b - confirmed", gone, "serving - restart");
    check(
        "switching - a demoted confirmed",
        gone,
        "serving demoted standby",
    );
    check("down - a fenced confirmed", gone, "serving fenced fence-ok");
    // Straight from one side to the other, where the proof is there; else the wait begins with `switching`.
    check(
        "serving a a - confirmed",
        "quorate c1-b idle demoted",
        "serving demoted standby",
    );
    check("serving a a - lease", gone, "switching - crash");
    check("serving a a - confirmed", gone, "switching - crash");
    check("serving a a - none", gone, "serving unconfirmed crash");
    check(
        "switching - a unconfirmed lease",
        gone,
        "serving unconfirmed crash",
    );
    check("switching - a - confirmed", gone, "wait");
    // What is there already, or is the operator's.
    check("serving b b - lease", gone, "keep");
    check("drained - a - lease", gone, "keep");
    check("drained - a - lease", "blind - away unconfirmed", "keep");
    // Who may not speak, or is not alone.
    check(
        "switching - a demoted lease",
        "blind c1-b away demoted",
        "wait",
    );
    check(
        "switching - a demoted lease",
        "quorate c1-a,c1-b live unconfirmed",
        "wait",
    );
    check(
        "switching - a demoted lease",
        "quorate - idle demoted",
        "wait",
    );
}

#[test]
fn an_alert_only_ever_ends_a_master() {
    let check = |document, view, expected| {
        check_words(document, view, "jet9_alert c1-a", expected);
    };
    check(
        "serving a a - lease",
        "quorate c1-a live unconfirmed",
        "keep",
    );
    check(
        "serving a a - lease",
        "quorate c1-b away unconfirmed",
        "switching - crash",
    );
    check(
        "serving a a - lease",
        "quorate - away fenced",
        "switching fenced crash",
    );
    check(
        "serving a a - lease",
        "quorate - idle demoted",
        "switching demoted standby",
    );
    check(
        "serving a a - lease",
        "quorate c1-a,c1-b live unconfirmed",
        "switching - crash",
    );
    check("serving a a - lease", "blind - away unconfirmed", "keep");
    check("switching - a - lease", "quorate c1-b idle demoted", "keep");
    check("drained - a - lease", "quorate - away fenced", "keep");
}

#[test]
fn a_document_that_says_another_thing_is_noticed() {
    let check = |document, expected| {
        check_words(
            document,
            "quorate c1-b idle demoted",
            "jet9_monitor b",
            expected,
        );
    };
    check("serving b b - lease", "keep");
    check("drained - b - lease", "keep");
    check("serving a a - lease", "lost");
    check("switching - b - lease", "lost");
    check("down - b - lease", "lost");
}

#[test]
fn a_fencing_proves_what_came_before_it_whatever_the_zone_of_its_clock() {
    let capture = &captures("part-stonith-3")[4];
    let check = |completed: &str, since: u64, expected: &str| {
        let there = Published::serving(Side::B, since);
        let look = format!(
            r#"sed 's/2026-11-21 21:32:37Z/{completed}/' "$1" | jet9_view site-clone c1-b {since} crash"#
        );
        let told = shell(capture, &there, Fencing::Lease, &look, "echo $view_ended");
        assert_eq!(told, expected, "{completed}, {since}");
    };
    for completed in [
        "2026-11-21 21:32:37Z",
        "2026-11-21 22:32:37.25 +01:00",
        "2026-11-21 16:02:37 -05:30",
        "2026-11-22 00:32:37+03:00",
    ] {
        check(completed, 1_795_296_758, "fenced");
        check(completed, 1_795_296_759, "unconfirmed");
    }
    check("2028-02-29 00:00:00Z", 1_835_395_201, "fenced");
    check("2028-03-01 00:00:00Z", 1_835_481_602, "unconfirmed");
    check("Sat Nov 21 21:32:37 2026", 1, "fenced"); // by the others of the history, which are later than 1
    check("Sat Nov 21 21:32:37 2026", 1_795_296_740, "unconfirmed");
}
