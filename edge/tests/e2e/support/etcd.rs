//! An etcd of three members, Debian's, on loopback.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;

use super::cluster::Cluster;
use super::nginx::free_address;
use super::process::Process;
use super::scene::Scene;
use super::wait::{SOON, until, until_true};

/// How many members there are: the fewest that can lose one.
const MEMBERS: usize = 3;

/// How often other ports are tried when somebody took one meanwhile.
const ATTEMPTS: usize = 5;

/// A running etcd.
pub(crate) struct Etcd {
    members: Vec<Member>,
}

struct Member {
    client: SocketAddr,
    process: Arc<Process>,
}

impl Etcd {
    /// Starts the members; they have a leader.
    pub(crate) fn start(scene: &Scene) -> Self {
        (0..ATTEMPTS)
            .find_map(|attempt| Self::try_start(scene, attempt))
            .expect("ports for an etcd")
    }

    fn try_start(scene: &Scene, attempt: usize) -> Option<Self> {
        let addresses: Vec<_> = (0..MEMBERS)
            .map(|_| (free_address(), free_address()))
            .collect();
        let cluster: Vec<String> = (addresses.iter().enumerate())
            .map(|(index, (_, peer))| format!("m{index}=http://{peer}"))
            .collect();
        let members = addresses.iter().enumerate().map(|(index, (client, peer))| {
            let dir = scene.dir().join(format!("etcd-{attempt}-{index}"));
            fs::create_dir_all(&dir).expect("a directory");
            let process = scene.spawn(
                &format!("etcd m{index}"),
                Command::new("/usr/bin/etcd")
                    .arg(format!("--name=m{index}"))
                    .arg(format!("--data-dir={}", dir.join("data").display()))
                    .arg(format!("--listen-client-urls=http://{client}"))
                    .arg(format!("--advertise-client-urls=http://{client}"))
                    .arg(format!("--listen-peer-urls=http://{peer}"))
                    .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
                    .arg(format!("--initial-cluster={}", cluster.join(",")))
                    .arg("--initial-cluster-state=new"),
            );
            Member {
                client: *client,
                process,
            }
        });
        let etcd = Self {
            members: members.collect(),
        };
        let lives = until("etcd has a leader, or a member ends", SOON, || {
            if etcd
                .members
                .iter()
                .any(|member| member.process.ended().is_some())
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
        self.members
            .iter()
            .map(|member| format!("http://{}", member.client))
            .collect()
    }

    /// Publishes, through one of the members.
    pub(crate) fn publish(&self, through: usize, cluster: &Cluster) {
        let key = format!("/jet9/clusters/{}", cluster.id);
        let document = cluster.document().to_string();
        until_true("etcd takes the document", || {
            self.control(through, &["put", &key, &document])
        });
    }

    /// Deletes the document of a cluster.
    pub(crate) fn delete(&self, cluster: &Cluster) {
        let key = format!("/jet9/clusters/{}", cluster.id);
        assert!(self.control(0, &["del", &key]), "etcd deletes the document");
    }

    /// Stops a member as a debugger would: its connections stay.
    pub(crate) fn freeze(&self, member: usize) {
        self.members[member].process.signal(Signal::STOP);
    }

    /// Ends a member as a power failure would.
    pub(crate) fn kill(&self, member: usize) {
        self.members[member].process.kill();
    }

    /// What etcd's own tool says about one of the members.
    pub(crate) fn tool(&self, member: usize) -> Command {
        let mut tool = Command::new("/usr/bin/etcdctl");
        tool.env("ETCDCTL_API", "3")
            .arg(format!(
                "--endpoints=http://{}",
                self.members[member].client
            ))
            .arg("--command-timeout=2s");
        tool
    }

    fn control(&self, member: usize, arguments: &[&str]) -> bool {
        let done = self.tool(member).args(arguments).output();
        done.expect("etcdctl").status.success()
    }
}
