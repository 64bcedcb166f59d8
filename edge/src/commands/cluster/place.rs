//! Where `jet9 cluster` reads and publishes: at an edge, or in the etcd itself.
//!
//! The agents on the sides of a cluster have no edge: they name the etcd (`--etcd`). Both ways compare and swap; only an edge has a view of its
//! own on who the live master is. Called by the commands next door; knows what neither means.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use jet9_cluster::{Document, Epoch};
use jet9_config::ClusterId;
use jet9_config::node::{Etcd, EtcdEndpoint};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::client::{Ask, Client, Target};
use crate::commands::{Code, Failure};
use crate::control::etcd::EtcdError;
use crate::control::mastership::{PublishError, Store};

/// How long the members of an etcd are asked in turn: a leader is elected meanwhile.
const PATIENCE: Duration = Duration::from_secs(6);

/// An edge, or an etcd; an argument of all commands that can ask both.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Where {
    /// Which edge.
    #[command(flatten)]
    pub target: Target,
    /// The members of an etcd, asked directly instead of an edge: URLs, separated by commas
    #[arg(long, value_name = "URLS", value_delimiter = ',', value_parser = endpoint, conflicts_with_all = ["admin", "config"])]
    pub etcd: Vec<EtcdEndpoint>,
    /// What our keys in it begin with
    #[arg(long, value_name = "PREFIX", default_value = "/jet9", requires = "etcd", value_parser = prefix)]
    pub prefix: String,
    /// A PEM file with the certificate and the key that its members ask for
    #[arg(long, value_name = "FILE", requires = "etcd")]
    pub certificate: Option<PathBuf>,
    /// Its user
    #[arg(long, value_name = "NAME", requires_all = ["etcd", "password_file"])]
    pub username: Option<String>,
    /// A file whose first line is the password
    #[arg(long, value_name = "FILE", requires_all = ["etcd", "username"])]
    pub password_file: Option<PathBuf>,
}

/// Where documents are read and published.
pub(super) struct Place {
    kind: Kind,
    runtime: Runtime,
}

enum Kind {
    Edge(Client),
    Store(Store),
}

impl Place {
    /// The place that the arguments and the environment name.
    pub(super) fn find(asked: &Where) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let kind = if asked.etcd.is_empty() {
            Kind::Edge(Client::find(&asked.target)?)
        } else {
            let store = Store::open(&asked.config()?, PATIENCE).map_err(Failure::new)?;
            Kind::Store(store)
        };
        Ok(Self {
            kind,
            runtime: runtime.map_err(Failure::new)?,
        })
    }

    /// All clusters: the whole answer, and its rows.
    pub(super) fn list(&self) -> Result<(Value, Vec<Value>), Failure> {
        self.runtime.block_on(async {
            let body = match &self.kind {
                Kind::Edge(client) => client.call(&Ask::get("/v1/clusters")).await?.body,
                Kind::Store(store) => {
                    let found = store.list().await.map_err(Failure::new)?;
                    let rows = found.iter().map(|(name, text)| describe(name, text));
                    json!({"clusters": rows.collect::<Vec<_>>()})
                }
            };
            let rows = body["clusters"].as_array().cloned().unwrap_or_default();
            Ok((body, rows))
        })
    }

    /// One cluster with its `document`.
    pub(super) fn one(&self, id: &ClusterId) -> Result<Value, Failure> {
        self.runtime.block_on(async {
            match &self.kind {
                Kind::Edge(client) => Ok(client.call(&Ask::get(&path_of(id))).await?.body),
                Kind::Store(store) => {
                    let text = store.published(id).await.map_err(Failure::new)?;
                    let text = text.ok_or_else(|| unknown(id))?;
                    let mut body = describe(id.as_str(), &text);
                    body["document"] = serde_json::from_slice(&text).unwrap_or(Value::Null);
                    Ok(body)
                }
            }
        })
    }

    /// Publishes by compare-and-swap over this epoch (0: none is there), after a wait for leases that may take as long as this.
    pub(super) fn publish(
        &self,
        id: &ClusterId,
        document: &Value,
        expected: u64,
        wait: Duration,
    ) -> Result<Value, Failure> {
        self.runtime.block_on(async {
            match &self.kind {
                Kind::Edge(client) => {
                    let path = path_of(id);
                    let mut ask = Ask::send(Method::PUT, &path, document);
                    ask.if_match = Some(expected);
                    ask.wait = wait;
                    Ok(client.call(&ask).await?.body)
                }
                Kind::Store(store) => {
                    let text = document.to_string().into_bytes();
                    let published = store.publish(id, &text, Epoch(expected)).await;
                    published.map_err(refusal)?;
                    Ok(describe(id.as_str(), &text))
                }
            }
        })
    }
}

impl Where {
    fn config(&self) -> Result<Etcd, Failure> {
        if self.target.ca.is_none() && self.etcd.iter().any(|endpoint| endpoint.tls) {
            let message = "https needs --ca, the certificates that the members' are signed with";
            return Err(Failure::with(Code::Usage, message));
        }
        Ok(Etcd {
            endpoints: self.etcd.clone(),
            prefix: self.prefix.clone(),
            ca: self.target.ca.clone(),
            certificate: self.certificate.clone(),
            login: self.username.clone().zip(self.password_file.clone()),
        })
    }
}

/// A document as a row, like those of the admin API without what only an edge can know.
fn describe(name: &str, text: &[u8]) -> Value {
    match Document::parse(text) {
        Ok(document) => json!({
            "cluster": name,
            "master": document.phase.master().map(jet9_config::Side::as_str),
            "epoch": document.epoch.0,
            "phase": document.phase.as_str(),
            "fencing": document.fencing.as_str(),
            "reason": document.reason,
        }),
        Err(error) => json!({"cluster": name, "refused": error.to_string()}),
    }
}

fn refusal(error: PublishError) -> Failure {
    let code = match error {
        PublishError::Moved { .. } | PublishError::Overtaken(_) | PublishError::Older { .. } => {
            Code::Conflict
        }
        PublishError::Owed(_) => Code::Usage,
        PublishError::Etcd(EtcdError::Refused { .. })
        | PublishError::Document(_)
        | PublishError::ReadOnly
        | PublishError::Read(_)
        | PublishError::Write(_) => Code::Failure,
        PublishError::Etcd(_) | PublishError::NotSeen => Code::Partial,
    };
    Failure::with(code, error)
}

fn unknown(id: &ClusterId) -> Failure {
    Failure::with(
        Code::NotFound,
        format!("nothing was published of a cluster `{id}`"),
    )
}

fn path_of(id: &ClusterId) -> String {
    format!("/v1/clusters/{id}")
}

fn endpoint(text: &str) -> Result<EtcdEndpoint, io::Error> {
    EtcdEndpoint::parse(text).ok_or_else(|| {
        io::Error::other("expected a URL with a port and no path, such as http://192.0.2.1:2379")
    })
}

fn prefix(text: &str) -> Result<String, io::Error> {
    if Etcd::is_prefix(text) {
        return Ok(text.to_owned());
    }
    Err(io::Error::other(
        "expected a slash first and none at the end, such as /jet9",
    ))
}
