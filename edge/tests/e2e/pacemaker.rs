//! The agents of `deploy/pacemaker`, run as Pacemaker runs them, with a real etcd and the built `jet9`; what `crm_mon` says are captures of a
//! real cluster. What they decide is tabled in `cluster/tests/captures`; the whole of it runs in `deploy/pacemaker/rig`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::edge::JET9;
use super::support::etcd::Etcd;
use super::support::scene::{Scene, scene};

const LIMIT: Duration = Duration::from_secs(90);

/// What OCF gives to its agents, as far as ours use it.
const OCF: &str = r#"
OCF_SUCCESS=0 OCF_ERR_GENERIC=1 OCF_ERR_ARGS=2 OCF_ERR_UNIMPLEMENTED=3 OCF_ERR_INSTALLED=5 OCF_ERR_CONFIGURED=6 OCF_NOT_RUNNING=7
ocf_local_nodename() { echo "$TEST_NODE"; }
ocf_log() { shift; echo "$*" >&2; }
ocf_exit_reason() { echo "$*" >&2; }
"#;

/// The nodes of a cluster, as far as our agents see them.
struct Nodes<'a> {
    etcd: &'a Etcd,
    dir: PathBuf,
}

impl<'a> Nodes<'a> {
    fn new(scene: &Scene, etcd: &'a Etcd) -> Self {
        let dir = scene.dir().join("nodes");
        let nodes = Self { etcd, dir };
        for node in ["c1-a", "c1-b"] {
            fs::create_dir_all(nodes.dir.join(node)).expect("a directory");
        }
        nodes.put("ocf-shellfuncs", OCF);
        nodes.put("crm_mon", "#!/bin/sh\ncat \"$TEST_VIEW\"\n");
        nodes.put("crm_node", "#!/bin/sh\necho 1\n");
        nodes.put("guard", "#!/bin/sh\necho \"$1\" >>\"$TEST_GUARD\"\n");
        let (shown, urls) = (nodes.dir.display(), etcd.urls().join(","));
        let config = format!(
            "cluster=c1 resource=site-clone side_a=c1-a side_b=c1-b stop_wait=1\netcd={urls}\njet9={JET9}\nguard={shown}/guard\n"
        );
        nodes.put("c1.conf", &config);
        nodes
    }

    /// A file that may be executed.
    fn put(&self, name: &str, text: &str) {
        let path = self.dir.join(name);
        fs::write(&path, text).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).expect("our own file");
    }

    /// Runs an agent on a node, where the cluster looks like a capture; its exit code.
    fn run(&self, agent: &str, node: &str, view: &str, set: impl FnOnce(&mut Command)) -> i32 {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pacemaker");
        let path = std::env::var("PATH").expect("a path");
        let mut command = Command::new("sh");
        command
            .arg(deploy.join(agent))
            .env("PATH", format!("{}:{path}", self.dir.display()))
            .env("JET9_LIB", deploy.join("pacemaker.sh"))
            .env("OCF_FUNCTIONS_DIR", &self.dir)
            .env("HA_RSCTMP", self.dir.join(node))
            .env("OCF_RESKEY_cluster", "c1")
            .env("OCF_RESKEY_config", self.dir.join("c1.conf"))
            .env("TEST_NODE", node)
            .env("TEST_GUARD", self.dir.join(node).join("guarded"))
            .env("TEST_VIEW", capture(view));
        set(&mut command);
        let done = command.output().expect("a shell");
        eprintln!(
            "{agent} on {node}, {view}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        done.status.code().expect("it ended by itself")
    }

    fn publisher(&self, node: &str, view: &str, action: &str) -> i32 {
        self.run("publisher", node, view, |command| {
            command.arg(action);
        })
    }

    fn alert(&self, view: &str) -> i32 {
        let config = self.dir.join("c1.conf");
        self.run("alert", "c1-q", view, |command| {
            command
                .env("CRM_alert_kind", "node")
                .env("CRM_alert_recipient", config);
        })
    }

    /// Runs `jet9 cluster`; what it said.
    fn jet9(&self, words: &str) -> String {
        let done = Command::new(JET9)
            .arg("cluster")
            .args(words.split(' '))
            .args(["--etcd", &self.etcd.urls().join(",")])
            .output()
            .expect("a program");
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{words}: {errors}");
        String::from_utf8(done.stdout).expect("text")
    }

    /// Epoch, phase, master, how the one before ended, and why.
    fn document(&self) -> String {
        let told: Value = serde_json::from_str(&self.jet9("get c1 -o json")).expect("JSON");
        let document = &told["document"];
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        format!(
            "{} {} {} {} {}",
            document["epoch"],
            word(&document["phase"]),
            word(&document["master"]),
            word(&document["prev"]["ended"]),
            word(&document["reason"])
        )
    }

    /// The numbers that the guard of a node was given.
    fn guarded(&self, node: &str) -> String {
        let told = fs::read_to_string(self.dir.join(node).join("guarded")).unwrap_or_default();
        told.trim().replace('\n', " ")
    }

    fn begin(&self, fencing: &str) {
        let first = json!({
            "v": 1, "cluster": "c1", "epoch": 1, "phase": "switching", "master": null, "fencing": fencing, "edge_lease_ms": 100,
            "sides": {"a": {"addrs": ["192.0.2.1:80"]}, "b": {"addrs": ["192.0.2.2:80"]}},
        });
        let file = self.dir.join("first.json");
        fs::write(&file, first.to_string()).expect("a file");
        let words = format!(
            "publish --cluster c1 --expect-epoch 0 --file {}",
            file.display()
        );
        self.jet9(&words);
    }
}

/// The capture of a series whose name begins so.
fn capture(name: &str) -> PathBuf {
    let (series, number) = name.split_once('/').expect("a series and a number");
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster/tests/captures");
    let files = fs::read_dir(captures.join(series)).expect("a series");
    let mut files = files.map(|file| file.expect("a file").path());
    let is_it = |file: &PathBuf| {
        let name = file.file_name().expect("a name").to_string_lossy();
        name.starts_with(number)
    };
    files.find(is_it).expect("a capture")
}

/// Side a is promoted, side b is its reserve.
const BOTH: &str = "sw-clean-pub/00";
/// Side a is lost, side b is being promoted.
const LOST: &str = "part-nostonith-1/01";
/// Side a is lost, side b is promoted.
const MOVED: &str = "part-nostonith-1/02";
/// Side a is back as a reserve, side b is promoted.
const BACK: &str = "part-nostonith-1/03";

#[test]
fn a_side_is_lost_and_the_other_one_is_published() {
    scene(LIMIT, |scene| {
        let etcd = Etcd::start(scene);
        let nodes = Nodes::new(scene, &etcd);
        nodes.begin("lease");
        assert_eq!(nodes.publisher("c1-a", BOTH, "monitor"), 7);
        assert_eq!(nodes.publisher("c1-a", BOTH, "start"), 0);
        assert_eq!(nodes.document(), "2 serving a demoted standby");
        assert_eq!(nodes.publisher("c1-a", BOTH, "monitor"), 0);
        assert_eq!(nodes.alert(BOTH), 0);
        assert_eq!(nodes.document(), "2 serving a demoted standby");

        assert_eq!(nodes.alert(LOST), 0);
        assert_eq!(nodes.document(), "3 switching - - crash");
        assert_eq!(nodes.publisher("c1-b", MOVED, "start"), 0);
        assert_eq!(nodes.document(), "4 serving b unconfirmed crash");
        // The old side hears of it late, and has nothing to say any more.
        assert_eq!(nodes.publisher("c1-a", BOTH, "monitor"), 1);
        assert_eq!(nodes.publisher("c1-a", BOTH, "stop"), 0);
        assert_eq!(nodes.document(), "4 serving b unconfirmed crash");

        assert_eq!(nodes.publisher("c1-b", BACK, "stop"), 0);
        assert_eq!(nodes.document(), "5 switching - - standby");
        assert_eq!(nodes.publisher("c1-b", BACK, "stop"), 0);
        assert_eq!(nodes.publisher("c1-b", BACK, "start"), 0);
        assert_eq!(nodes.document(), "6 serving b - restart");
        assert_eq!(nodes.guarded("c1-a"), "2 0");
        assert_eq!(nodes.guarded("c1-b"), "4 0 6");
    });
}

#[test]
fn what_the_operator_drained_stays_so() {
    scene(LIMIT, |scene| {
        let etcd = Etcd::start(scene);
        let nodes = Nodes::new(scene, &etcd);
        nodes.begin("confirmed");
        assert_eq!(nodes.publisher("c1-b", BACK, "start"), 0);
        nodes.jet9("publish --cluster c1 --expect-epoch 2 --phase drained");
        assert_eq!(nodes.publisher("c1-b", BACK, "monitor"), 0);
        assert_eq!(nodes.alert(BOTH), 0);
        assert_eq!(nodes.publisher("c1-b", BACK, "stop"), 0);
        assert_eq!(nodes.publisher("c1-b", BACK, "start"), 0);
        assert_eq!(nodes.document(), "3 drained - - operator");
        nodes.jet9("publish --cluster c1 --expect-epoch 3 --phase switching");
        assert_eq!(nodes.publisher("c1-b", BACK, "monitor"), 1);
        assert_eq!(nodes.publisher("c1-b", BACK, "stop"), 0);
        assert_eq!(nodes.publisher("c1-b", BACK, "start"), 0);
        assert_eq!(nodes.document(), "5 serving b - restart");
        assert_eq!(nodes.guarded("c1-b"), "2 0 0 0 0 5");
    });
}

#[test]
fn a_side_stops_though_the_store_is_away() {
    scene(LIMIT, |scene| {
        let etcd = Etcd::start(scene);
        let nodes = Nodes::new(scene, &etcd);
        nodes.begin("lease");
        assert_eq!(nodes.publisher("c1-a", BOTH, "start"), 0);
        (0..3).for_each(|member| etcd.kill(member));
        assert_eq!(nodes.publisher("c1-a", BOTH, "monitor"), 0);
        assert_eq!(nodes.publisher("c1-a", BOTH, "stop"), 0);
        assert_eq!(nodes.publisher("c1-a", BOTH, "monitor"), 7);
        assert_eq!(nodes.guarded("c1-a"), "2 0");
    });
}

#[test]
fn an_agent_that_is_set_up_wrongly_says_so() {
    scene(LIMIT, |scene| {
        let etcd = Etcd::start(scene);
        let nodes = Nodes::new(scene, &etcd);
        let check = |name: &str, value: &str, action: &str, expected: i32| {
            let code = nodes.run("publisher", "c1-a", BOTH, |command| {
                command.arg(action).env(name, value);
            });
            assert_eq!(code, expected, "{name}={value} {action}");
        };
        check("OCF_CHECK_LEVEL", "10", "validate-all", 0);
        check("OCF_RESKEY_cluster", "", "validate-all", 6);
        check("OCF_RESKEY_cluster", "c 1", "start", 6);
        check("OCF_RESKEY_cluster", "c2", "start", 2);
        check("OCF_RESKEY_config", "/nowhere", "start", 2);
        check("OCF_RESKEY_config", "/nowhere", "monitor", 7);
        check("OCF_RESKEY_config", "/nowhere", "stop", 0);
        check("JET9_LIB", "/nowhere", "start", 5);
        check("TEST_NODE", "c1-q", "start", 2);
        check("TEST_NODE", "c1-q", "promote", 3);
    });
}
