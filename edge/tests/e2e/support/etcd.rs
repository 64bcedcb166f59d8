//! An etcd of three members, Debian's, on loopback; in clear, or over TLS with users.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use rustix::process::Signal;
use serde_json::json;

use super::cluster::Cluster;
use super::http1::Client;
use super::nginx::free_address;
use super::process::Process;
use super::scene::{Scene, Stage};
use super::tls::{Authority, issue};
use super::wait::{SOON, until, until_true};

/// How many members there are: the fewest that can lose one.
pub(crate) const MEMBERS: usize = 3;

/// How often other ports are tried when somebody took one meanwhile.
const ATTEMPTS: usize = 5;

/// How long a member may take for a document; a frozen one never answers.
const PUT_WAIT: Duration = Duration::from_millis(1_500);

/// Where a key begins in a file that has a certificate and its key.
const KEY: &str = "-----BEGIN PRIVATE KEY-----";

/// A running etcd.
pub(crate) struct Etcd {
    members: Vec<Member>,
    secured: Option<Secured>,
    /// Whether it asks who comes.
    has_users: bool,
    stage: Stage,
}

struct Member {
    client: SocketAddr,
    arguments: Vec<String>,
    process: Mutex<Arc<Process>>,
}

/// What clients of an etcd with TLS and users need.
#[derive(Clone)]
pub(crate) struct Secured {
    /// The certificate to trust.
    pub(crate) ca: PathBuf,
    /// The user that may read and write what begins with `/jet9/`, and the file with its password.
    pub(crate) user: &'static str,
    pub(crate) password: PathBuf,
    /// What the members show.
    server: Pair,
    /// What they ask their clients for: certificate and key.
    pub(crate) certificate: Option<PathBuf>,
}

/// A certificate and its key, in two files.
#[derive(Clone)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn write(directory: &Path, issued: &str) -> Self {
        let (certificate, key) = issued.split_at(issued.find(KEY).expect("a key"));
        let written = Self {
            certificate: directory.join("server.pem"),
            key: directory.join("server.key"),
        };
        fs::write(&written.certificate, certificate).expect("a file");
        fs::write(&written.key, key).expect("a file");
        written
    }
}

impl Etcd {
    /// Starts the members; they have a leader.
    pub(crate) fn start(scene: &Scene) -> Self {
        Self::start_as(scene, None)
    }

    /// As [`Etcd::start`], over TLS, with a user.
    pub(crate) fn start_secured(scene: &Scene) -> Self {
        let server = Pair::write(scene.dir(), &issue(&["127.0.0.1", "localhost"]).pem);
        let ca = server.certificate.clone();
        Self::start_with_users(scene, server, ca, None)
    }

    /// As [`Etcd::start_secured`], where the members take only clients with a certificate of their authority.
    pub(crate) fn start_certified(scene: &Scene) -> Self {
        let authority = Authority::new();
        let server = Pair::write(
            scene.dir(),
            &authority.issue(&["127.0.0.1", "localhost"], Some("etcd")),
        );
        let put = |name: &str, text: String| {
            let path = scene.dir().join(name);
            fs::write(&path, text).expect("a file");
            path
        };
        let ca = put("etcd-ca.pem", authority.pem());
        let client = put("etcd-client.pem", authority.issue(&["edge.test"], None));
        put(
            "etcd-named.pem",
            authority.issue(&["edge.test"], Some("jet9")),
        );
        Self::start_with_users(scene, server, ca, Some(client))
    }

    fn start_with_users(
        scene: &Scene,
        server: Pair,
        ca: PathBuf,
        certificate: Option<PathBuf>,
    ) -> Self {
        let secured = Secured {
            ca,
            user: "jet9",
            password: scene.dir().join("password"),
            server,
            certificate,
        };
        fs::write(&secured.password, "se cret\nsecond line\n").expect("a file");
        let mut etcd = Self::start_as(scene, Some(&secured));
        for words in [
            "user add root:top",
            "user grant-role root root",
            "role add jet9",
            "role grant-permission jet9 --prefix=true readwrite /jet9/",
            "user add jet9:se\u{a0}cret",
            "user grant-role jet9 jet9",
            "auth enable",
        ] {
            let words = words.split(' ').map(|word| word.replace('\u{a0}', " "));
            let words: Vec<String> = words.collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert!(etcd.control(0, &words), "etcdctl {words:?}");
        }
        etcd.has_users = true;
        etcd
    }

    fn start_as(scene: &Scene, secured: Option<&Secured>) -> Self {
        (0..ATTEMPTS)
            .find_map(|attempt| Self::try_start(scene, attempt, secured))
            .expect("ports for an etcd")
    }

    fn try_start(scene: &Scene, attempt: usize, secured: Option<&Secured>) -> Option<Self> {
        let scheme = if secured.is_some() { "https" } else { "http" };
        let addresses: Vec<_> = (0..MEMBERS)
            .map(|_| (free_address(), free_address()))
            .collect();
        let cluster: Vec<String> = (addresses.iter().enumerate())
            .map(|(index, (_, peer))| format!("m{index}=http://{peer}"))
            .collect();
        let members = addresses.iter().enumerate().map(|(index, (client, peer))| {
            let dir = scene.dir().join(format!("etcd-{attempt}-{index}"));
            fs::create_dir_all(&dir).expect("a directory");
            let mut arguments = vec![
                format!("--name=m{index}"),
                format!("--data-dir={}", dir.join("data").display()),
                format!("--listen-client-urls={scheme}://{client}"),
                format!("--advertise-client-urls={scheme}://{client}"),
                format!("--listen-peer-urls=http://{peer}"),
                format!("--initial-advertise-peer-urls=http://{peer}"),
                format!("--initial-cluster={}", cluster.join(",")),
                "--initial-cluster-state=new".to_owned(),
            ];
            if let Some(secured) = secured {
                let Pair { certificate, key } = &secured.server;
                arguments.push(format!("--cert-file={}", certificate.display()));
                arguments.push(format!("--key-file={}", key.display()));
                if secured.certificate.is_some() {
                    arguments.push("--client-cert-auth".to_owned());
                    arguments.push(format!("--trusted-ca-file={}", secured.ca.display()));
                }
                arguments.push("--bcrypt-cost=4".to_owned()); // the cheapest: the machine is busy
            }
            let process = run(&scene.stage(), &arguments);
            Member {
                client: *client,
                arguments,
                process: Mutex::new(process),
            }
        });
        let etcd = Self {
            members: members.collect(),
            secured: secured.cloned(),
            has_users: false,
            stage: scene.stage(),
        };
        let lives = until("etcd has a leader, or a member ends", SOON, || {
            if etcd
                .members
                .iter()
                .any(|member| member.process.lock().ended().is_some())
            {
                return Some(false);
            }
            etcd.control(0, &["endpoint", "health", "--cluster"])
                .then_some(true)
        });
        lives.then_some(etcd)
    }

    /// The members' URLs.
    pub(crate) fn urls(&self) -> Vec<String> {
        (0..MEMBERS).map(|member| self.url(member)).collect()
    }

    fn url(&self, member: usize) -> String {
        let scheme = if self.secured.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.members[member].client)
    }

    /// What its clients need, where it has TLS and users.
    pub(crate) const fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }

    /// Publishes, through one of the members.
    pub(crate) fn publish(&self, through: usize, cluster: &Cluster) {
        let key = format!("/jet9/clusters/{}", cluster.id);
        let document = cluster.document().to_string();
        until_true("etcd takes the document", || {
            self.control(through, &["put", &key, &document])
        });
    }

    /// Publishes through the members that answer, beginning with one of them, by etcd's JSON gateway: faster than its tool.
    pub(crate) fn publish_fast(&self, from: usize, cluster: &Cluster) {
        let key = STANDARD.encode(format!("/jet9/clusters/{}", cluster.id));
        let value = STANDARD.encode(cluster.document().to_string());
        let body = json!({"key": key, "value": value}).to_string();
        let request = format!(
            "POST /v3/kv/put HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut members = (from..).map(|member| member % MEMBERS);
        until_true("etcd takes the document", || {
            let member = members.next().expect("there is always a next one");
            let client = Client::try_impatient(self.members[member].client, PUT_WAIT);
            client.is_ok_and(|mut client| {
                client.send(&request);
                client
                    .answer("POST")
                    .is_ok_and(|answer| answer.status == 200)
            })
        });
    }

    /// Deletes the document of a cluster.
    pub(crate) fn delete(&self, cluster: &Cluster) {
        let key = format!("/jet9/clusters/{}", cluster.id);
        assert!(self.control(0, &["del", &key]), "etcd deletes the document");
    }

    /// Stops a member as a debugger would: its connections stay.
    pub(crate) fn freeze(&self, member: usize) {
        self.members[member].process.lock().signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self, member: usize) {
        self.members[member].process.lock().signal(Signal::CONT);
    }

    /// Ends a member as a power failure would.
    pub(crate) fn kill(&self, member: usize) {
        self.members[member].process.lock().kill();
    }

    /// Starts a member again, with what it had.
    pub(crate) fn start_again(&self, member: usize) {
        let member = &self.members[member];
        let mut process = member.process.lock();
        process.kill();
        *process = run(&self.stage, &member.arguments);
    }

    /// What etcd's own tool says about one of the members, as its administrator where it has users.
    pub(crate) fn tool(&self, member: usize) -> Command {
        let mut tool = Command::new("/usr/bin/etcdctl");
        tool.env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.url(member)))
            .arg("--command-timeout=2s");
        if let Some(secured) = &self.secured {
            tool.arg(format!("--cacert={}", secured.ca.display()));
            if let Some(certificate) = &secured.certificate {
                tool.arg(format!("--cert={}", certificate.display()))
                    .arg(format!("--key={}", certificate.display()));
            }
        }
        if self.has_users {
            tool.arg("--user=root:top");
        }
        tool
    }

    fn control(&self, member: usize, arguments: &[&str]) -> bool {
        let done = self.tool(member).args(arguments).output();
        done.expect("etcdctl").status.success()
    }
}

fn run(stage: &Stage, arguments: &[String]) -> Arc<Process> {
    let name = arguments[0].replace("--name=", "etcd ");
    stage.spawn(&name, Command::new("/usr/bin/etcd").args(arguments))
}
