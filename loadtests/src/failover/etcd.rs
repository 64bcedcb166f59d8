//! An etcd of three members, and a publisher that speaks to its JSON gateway.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::now;
use crate::servers::{Server, free_address, wait_for};

/// How long a member may take; longer ones are errors of the measurement.
const WAIT: Duration = Duration::from_secs(5);

/// A running etcd.
pub(super) struct Etcd {
    members: Vec<Server>,
}

/// When a document was sent to the etcd, and when it had said that it is committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit {
    pub(super) sent: Instant,
    pub(super) answered: Instant,
}

impl Etcd {
    pub(super) fn start(home: &Path) -> Result<Self> {
        let addresses: Vec<(SocketAddr, SocketAddr)> = (0..3)
            .map(|_| Ok((free_address()?, free_address()?)))
            .collect::<Result<_>>()?;
        let peers: Vec<String> = (addresses.iter().enumerate())
            .map(|(index, (_, peer))| format!("m{index}=http://{peer}"))
            .collect();
        let mut members = Vec::new();
        for (index, (client, peer)) in addresses.iter().enumerate() {
            let log = File::create(home.join(format!("etcd-{index}.log")))?;
            let child = Command::new("etcd")
                .arg(format!("--name=m{index}"))
                .arg(format!(
                    "--data-dir={}",
                    home.join(format!("etcd-{index}")).display()
                ))
                .arg(format!("--listen-client-urls=http://{client}"))
                .arg(format!("--advertise-client-urls=http://{client}"))
                .arg(format!("--listen-peer-urls=http://{peer}"))
                .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
                .arg(format!("--initial-cluster={}", peers.join(",")))
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .context("starting etcd (is etcd-server installed?)")?;
            members.push(Server::new(*client, child));
        }
        for member in &members {
            wait_for(member.address)?;
        }
        let etcd = Self { members };
        for _ in 0..50 {
            if etcd.publish("warm-up", "{}").is_ok() {
                return Ok(etcd);
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
        bail!("the etcd takes nothing")
    }

    /// Its members, as a node file names them.
    pub(super) fn endpoints(&self) -> String {
        let urls = self
            .members
            .iter()
            .map(|member| format!("\"http://{}\"", member.address));
        urls.collect::<Vec<_>>().join(", ")
    }

    /// Puts a document under a name.
    pub(super) fn publish(&self, name: &str, document: &str) -> Result<Commit> {
        let key = STANDARD.encode(format!("/jet9/clusters/{name}"));
        let value = STANDARD.encode(document);
        let body = format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}");
        let mut stream = TcpStream::connect(self.members[0].address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT))?;
        let request = format!(
            "POST /v3/kv/put HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = now();
        stream.write_all(request.as_bytes())?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        let answered = now();
        ensure!(&answer == b"HTTP/1.1 200", "etcd refuses");
        Ok(Commit { sent, answered })
    }
}
