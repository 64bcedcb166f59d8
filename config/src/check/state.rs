//! The reader of `[state]` in node files: where sites and cluster state come from.
//!
//! Called by [`super::node()`]. Knows the schema and what this version cannot do yet; reaches no etcd and looks at no directory.
//! Invariant: a source of cluster state that is read here can be followed; what is missing to it is a problem with its place.

use std::path::Path;

use super::node::path;
use crate::node::{ClusterSource, Etcd, EtcdEndpoint, State};
use crate::reader::{Item, Table};

pub(super) fn read(table: &mut Table<'_>, base: &Path) -> State {
    if let Some(item) = table.take("kind")
        && item.word(&[("directory", false), ("etcd", true)]) == Some(true)
    {
        item.not_yet(
            "sites in etcd; use \"directory\" here, and [state.clusters] for cluster state",
        );
    }
    if let Some(item) = table.take("endpoints")
        && item
            .list(|item| item.string().map(drop))
            .is_some_and(|list| !list.is_empty())
    {
        item.not_yet("sites in etcd; the members for cluster state are in [state.clusters]");
    }
    if let Some(item) = table.take("prefix")
        && item
            .string()
            .is_some_and(|prefix| !matches!(prefix, "" | "/jet9"))
    {
        item.not_yet("sites in etcd; the prefix for cluster state is in [state.clusters]");
    }
    if let Some(item) = table.take("secret_file")
        && item.string().is_some_and(|path| !path.is_empty())
    {
        item.not_yet("sites in etcd, and with it the encryption of what is kept there");
    }
    let path = table.value("path", base.join("state"), |item| path(&item, base));
    let own = ClusterSource::Directory(path.join("clusters"));
    let clusters = table.take("clusters").and_then(|item| {
        let base = base.to_owned();
        item.table(|table| cluster_source(table, &base))
    });
    State {
        clusters: clusters.unwrap_or(own),
        path,
    }
}

fn cluster_source(table: &mut Table<'_>, base: &Path) -> Option<ClusterSource> {
    let kinds = [("directory", false), ("etcd", true)];
    let is_etcd = table
        .require("kind", "\"directory\" or \"etcd\"")?
        .word(&kinds)?;
    if is_etcd {
        let beside = table.value("beside", None, |item| Some(Some(path(&item, base)?)));
        return etcd(table, base).map(|etcd| ClusterSource::Etcd { etcd, beside });
    }
    let own = table.require("path", "the directory of the clusters' documents")?;
    path(&own, base).map(ClusterSource::Directory)
}

fn etcd(table: &mut Table<'_>, base: &Path) -> Option<Etcd> {
    let endpoints = table.require(
        "endpoints",
        "its members, such as [\"http://192.0.2.1:2379\"]",
    );
    let endpoints = endpoints.and_then(|item| {
        let list = item.list(|item| endpoint(&item))?;
        if item.array().is_some_and(|all| all.is_empty()) {
            item.problem("an etcd has at least one member");
        }
        Some(list).filter(|list| !list.is_empty())
    });
    let prefix = table.value("prefix", "/jet9".to_owned(), |item| key_prefix(&item));
    let ca = table.value("ca", None, |item| Some(Some(path(&item, base)?)));
    let certificate = table.value("certificate", None, |item| Some(Some(path(&item, base)?)));
    if ca.is_none() && certificate.is_some() {
        table.complain(
            "certificate",
            "only who verifies the members (`ca`) shows them one",
        );
    }
    let username = table.value("username", None, |item| {
        Some(Some(item.string()?.to_owned()))
    });
    let file = table.value("password_file", None, |item| Some(Some(path(&item, base)?)));
    let login = match (username, file) {
        (Some(username), Some(file)) => Some((username, file)),
        (None, None) => None,
        (Some(_), None) => {
            table.complain("username", "a user needs `password_file`");
            None
        }
        (None, Some(_)) => {
            table.complain("password_file", "a password needs `username`");
            None
        }
    };
    let endpoints = endpoints?;
    if ca.is_none() && endpoints.iter().any(|endpoint| endpoint.tls) {
        table.complain(
            "endpoints",
            "https needs `ca`, the certificates that the members' are signed with",
        );
    }
    Some(Etcd {
        endpoints,
        prefix,
        ca,
        certificate,
        login,
    })
}

fn endpoint(item: &Item<'_>) -> Option<EtcdEndpoint> {
    match EtcdEndpoint::parse(item.string()?) {
        Some(endpoint) => Some(endpoint),
        None => item.expected("a URL with a port and no path, such as \"http://192.0.2.1:2379\""),
    }
}

fn key_prefix(item: &Item<'_>) -> Option<String> {
    let text = item.string()?;
    if Etcd::is_prefix(text) {
        return Some(text.to_owned());
    }
    item.expected("what keys begin with: a slash first and none at the end, such as \"/jet9\"")
}
